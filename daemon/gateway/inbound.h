/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/node/node.h"

G_BEGIN_DECLS

/*
 * PilotInbound: the inbound bridge. A stream from a trusted peer that PilotAccess lets in, to a port no service has, is connected to
 * that port of this machine. The stream is accepted only after the local connect succeeded, and refused when it was.
 *
 * The local connection comes from the peer's mapped address, where it has one, else from a loopback address of its own in
 * 127.83.0.0/16, so that the server's log tells peers apart and nobody passes for 127.0.0.1.
 */
typedef struct _PilotInbound PilotInbound;

/* The mapped address (host byte order) of a peer, 0 = none. */
typedef guint32 (*PilotInboundSource) (guint32 node, gpointer user_data);
/* Is this a listener of the gateway's own, which must never be reached from outside? */
typedef gboolean (*PilotInboundForbidden) (guint16 port, gpointer user_data);

/* Installs itself with pilot_node_set_bridge(). */
PilotInbound *pilot_inbound_new (PilotNode *node, PilotInboundSource source, PilotInboundForbidden forbidden, gpointer user_data);
void pilot_inbound_free (PilotInbound *inbound);
/* Resets every stream of @peer at once: trust was withdrawn. */
void pilot_inbound_reset_peer (PilotInbound *inbound, guint32 peer);
/* 127.83.x.y, the same for a node at all times; host byte order. */
guint32 pilot_inbound_loopback_source (guint32 node);

G_END_DECLS
