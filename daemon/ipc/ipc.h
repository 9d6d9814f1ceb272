/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/node/node.h"

G_BEGIN_DECLS

/*
 * PilotIpc: the local socket of the Go tools and SDKs (ipc.md), so that they work with this daemon as they are.
 *
 * Same authority as the owner's methods on D-Bus: the daemon's own user, and root. Configuration key "socket": a path, or "none". Without it
 * $XDG_RUNTIME_DIR/pilot.sock and, since the SDKs look nowhere else, /tmp/pilot.sock; /run/pilot/pilot.sock for the service of the machine.
 */
typedef struct _PilotIpc PilotIpc;

PilotIpc *pilot_ipc_new (PilotNode *node);
/* Listens once the node has an id, which to the tools is what a socket means. A path that was configured and cannot be served is an error, when the id is known
 * by then; a default one is only left out, with a message. */
gboolean pilot_ipc_start (PilotIpc *ipc, GError **error);
/* Ends every client's connection; what has found room in their streams is still sent. */
void pilot_ipc_stop (PilotIpc *ipc);
void pilot_ipc_free (PilotIpc *ipc);

G_END_DECLS
