/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <pilot.h>

G_BEGIN_DECLS

#define PILOT_TYPE_TRANSPORT_WSS (pilot_transport_wss_get_type ())
G_DECLARE_FINAL_TYPE (PilotTransportWss, pilot_transport_wss, PILOT, TRANSPORT_WSS, PilotTransport)

G_END_DECLS
