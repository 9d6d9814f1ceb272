/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "transport-udp.h"

PILOT_PLUGIN_DEFINE (PILOT_PLUGIN_KIND_TRANSPORT, "transport-udp", "UDP over IPv4 and IPv6",
                     pilot_transport_udp_get_type)
