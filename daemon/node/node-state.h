/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/*
 * PilotNodeState: what a node remembers over restarts and that is neither configuration nor trust (node.json): its node id, what its own
 * requests for trust promised to open, and revocations the peer has not heard of yet.
 */
typedef struct _PilotNodeState PilotNodeState;

/* A missing file is fine. One that is corrupt or of another identity is started afresh with a warning: nothing in it cannot be had again. */
PilotNodeState *pilot_node_state_new (const char *path, const char *public_key);
void pilot_node_state_free (PilotNodeState *state);

guint32 pilot_node_state_get_node (PilotNodeState *state);
gboolean pilot_node_state_set_node (PilotNodeState *state, guint32 node, GError **error);
/* NULL = nothing. */
const char *pilot_node_state_get_ports (PilotNodeState *state, guint32 peer);
gboolean pilot_node_state_set_ports (PilotNodeState *state, guint32 peer, const char *ports, GError **error);
/* Revocations that still have to reach the peer. guint32 elements. */
GArray *pilot_node_state_list_revocations (PilotNodeState *state);
gboolean pilot_node_state_has_revocation (PilotNodeState *state, guint32 peer);
gboolean pilot_node_state_set_revocation (PilotNodeState *state, guint32 peer, gboolean undelivered, GError **error);

G_END_DECLS
