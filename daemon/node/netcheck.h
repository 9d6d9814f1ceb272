/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/node/node.h"

G_BEGIN_DECLS

/*
 * What the network around this node is like: asks beacon and registry, from a socket of its own beside the tunnel's, and answers facts as
 * a{sv} (the keys stand at Node.NetCheck in data/network.pilotprotocol.Pilot1.xml). In compat mode the beacon is asked through the tunnel. Takes
 * as long as the registry takes to answer, 8 s at most, and 1.5 s when a beacon is silent, 3 s in compat mode. One at a time: BUSY.
 */
void pilot_netcheck_async (PilotNode *node, GAsyncReadyCallback callback, gpointer user_data);
/* (transfer full) */
GVariant *pilot_netcheck_finish (PilotNode *node, GAsyncResult *result, GError **error);

G_END_DECLS
