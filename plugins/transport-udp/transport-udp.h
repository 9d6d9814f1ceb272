/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <pilot.h>

G_BEGIN_DECLS

#define PILOT_TYPE_TRANSPORT_UDP (pilot_transport_udp_get_type ())
G_DECLARE_FINAL_TYPE (PilotTransportUdp, pilot_transport_udp, PILOT, TRANSPORT_UDP, PilotTransport)

G_END_DECLS
