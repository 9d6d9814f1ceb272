/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/node/node.h"

G_BEGIN_DECLS

/* What is said of a peer, a stream or a record of trust to whoever asks: D-Bus hands it out as it is, the socket of the Go tools as JSON. The names are
 * those of ipc.md and cli.md. Variants are floating. */

char *pilot_describe_node (guint32 node);     /* "0:0000.0000.0002", "" for 0 */
char *pilot_describe_key (const guint8 *key); /* base64 */
const char *pilot_describe_path (PilotPath path);
GVariant *pilot_describe_trust (PilotNode *node, PilotTrustKind kind); /* aa{sv}, the newest first */
GVariant *pilot_describe_peer (const PilotPeerView *view);             /* a{sv} */
GVariant *pilot_describe_connection (const PilotStreamInfo *info);     /* a{sv} */

G_END_DECLS
