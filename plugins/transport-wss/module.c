/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "transport-wss.h"

PILOT_PLUGIN_DEFINE (PILOT_PLUGIN_KIND_TRANSPORT, "transport-wss", "the beacon over WebSocket and TLS, where UDP does not get out",
                     pilot_transport_wss_get_type)
