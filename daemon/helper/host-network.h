/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

#include "daemon/helper/nft-rules.h"

G_BEGIN_DECLS

/*
 * PilotHostNetwork: the privileged work for one uid inside one subnet. Daemon (when it has the capabilities) and pilot-helper use
 * this same object. Every argument is checked here, as if an attacker sent it. Calls wait for the kernel only. Used by one thread at a time.
 */
#define PILOT_TYPE_HOST_NETWORK (pilot_host_network_get_type ())
G_DECLARE_FINAL_TYPE (PilotHostNetwork, pilot_host_network, PILOT, HOST_NETWORK, GObject)

PilotHostNetwork *pilot_host_network_new (guint32 uid, const PilotSubnet *subnet);
guint32 pilot_host_network_get_uid (PilotHostNetwork *network);
const PilotSubnet *pilot_host_network_get_subnet (PilotHostNetwork *network);
/* CONFLICT, named, when the subnet overlaps something of this machine. */
gboolean pilot_host_network_check_overlap (PilotHostNetwork *network, GError **error);
/* Addresses of ours that are on lo now (for a 127.x subnet, where none is added: those added in this run). (transfer full) guint32 */
GArray *pilot_host_network_list_addresses (PilotHostNetwork *network, GError **error);
gboolean pilot_host_network_add_address (PilotHostNetwork *network, guint32 address, GError **error);
gboolean pilot_host_network_remove_address (PilotHostNetwork *network, guint32 address, GError **error);
/* Replaces all our rules; connections are turned to the redirect listener, which is opened when it is not there. An empty array
 * removes the table. @redirects: PilotRedirect*. */
gboolean pilot_host_network_set_rules (PilotHostNetwork *network, const GPtrArray *redirects, GError **error);
/* A listening, non-blocking socket on @address:@port, bound to lo. -1 on error; ALREADY_EXISTS when the port is held. */
int pilot_host_network_open_listener (PilotHostNetwork *network, guint32 address, guint16 port, GError **error);
/* A duplicate of the listening socket on 127.0.0.1 that the rules lead to. The object keeps its own, so that the port stays ours when the
 * daemon dies, and gives the same socket to the next one. -1 on error. */
int pilot_host_network_open_redirect_listener (PilotHostNetwork *network, guint16 *port, GError **error);
/* The daemon has gone: connections are refused by the kernel until rules are set again, and those that wait in the queue are reset. */
void pilot_host_network_suspend (PilotHostNetwork *network);
/* Takes away every address with our label, our table and the listener; nothing else. */
gboolean pilot_host_network_cleanup (PilotHostNetwork *network, GError **error);
/* The same where nobody is left who knows what was made: label and table carry the uid, and only root can have made either. *@found: something was there. */
gboolean pilot_host_network_remove_leftovers (guint32 uid, gboolean *found, GError **error);

G_END_DECLS
