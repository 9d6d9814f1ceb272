/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/gateway/bridge.h"
#include "daemon/gateway/gateway.h"
#include "daemon/gateway/listener.h"

G_BEGIN_DECLS

/* What gateway.c may do with a PilotMapping; everybody else sees the getters of gateway.h. */

PilotMapping *pilot_mapping_new (PilotNode *node, guint32 peer, guint32 local, const char *hostname);
guint32 pilot_mapping_get_peer (PilotMapping *mapping);
guint32 pilot_mapping_get_local (PilotMapping *mapping); /* host byte order */
/* What was asked for: guint16, ascending; empty = every port. */
const GArray *pilot_mapping_get_wanted (PilotMapping *mapping);
gboolean pilot_mapping_get_silent (PilotMapping *mapping);
void pilot_mapping_set_wanted (PilotMapping *mapping, const GArray *ports);
void pilot_mapping_set_uid (PilotMapping *mapping, guint32 uid);
void pilot_mapping_set_hostname (PilotMapping *mapping, const char *hostname);
void pilot_mapping_set_last_error (PilotMapping *mapping, const char *text);

/* Signals "changed" at most five times a second, "silent-changed" at once. */

/* Every wanted port is reached by the rules. */
void pilot_mapping_set_redirected (PilotMapping *mapping);
/* What became of one port; takes @fd unless it is -1. */
void pilot_mapping_add_listener (PilotMapping *mapping, guint16 port, int fd, const GError *error);
gboolean pilot_mapping_has_listener (PilotMapping *mapping, guint16 port);
/* "needs-privilege" or "failed": nothing of it is in force. */
void pilot_mapping_set_down (PilotMapping *mapping, gboolean needs_privilege, const char *why);
gboolean pilot_mapping_is_down (PilotMapping *mapping);
/* A connection was accepted for it: takes @fd, dials, or resets it. */
void pilot_mapping_accept (PilotMapping *mapping, int fd, guint16 port);
/* The node says that something about the peer changed. */
void pilot_mapping_peer_changed (PilotMapping *mapping);
/* Ends connections. To be done while the address is still there: a reset from an address that is gone reaches nobody. */
void pilot_mapping_reset_connections (PilotMapping *mapping);
/* Ends connections and listeners. */
void pilot_mapping_close (PilotMapping *mapping);

G_END_DECLS
