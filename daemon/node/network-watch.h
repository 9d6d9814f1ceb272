/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

#include "libpilot/pilot-endpoint.h"

G_BEGIN_DECLS

/* Tells when addresses or routes of this machine have changed: another network, a new lease, a VPN. */
typedef struct _PilotNetworkWatch PilotNetworkWatch;
typedef void (*PilotNetworkWatchFunc) (gpointer user_data);

/* Listens on rtnetlink in the default main context. @func is called once for a burst of changes, when it has been quiet for 300 ms or at
 * the latest 2 s after its beginning. NULL with an error of domain PILOT_ERROR, code IO. */
PilotNetworkWatch *pilot_network_watch_new (PilotNetworkWatchFunc func, gpointer user_data, GError **error);
void pilot_network_watch_free (PilotNetworkWatch *watch);

/* The address the kernel would send from to reach @to, with port 0. Sends nothing. FALSE when there is no way there. */
gboolean pilot_network_source_address (const PilotEndpoint *to, PilotEndpoint *source);

/* The global IPv6 address the kernel sends from to the internet, with port 0: of several (temporary ones, RFC 8981) the only one to which a
 * firewall that keeps state lets answers in. FALSE, and none, when there is no such address or no way out. */
gboolean pilot_network_global_ipv6 (PilotEndpoint *source);

G_END_DECLS
