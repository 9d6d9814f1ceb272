/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/core/poller.h"
#include "daemon/core/shares.h"
#include "daemon/node/node.h"

G_BEGIN_DECLS

/*
 * PilotBridge: one local TCP connection, or socket pair, joined to one stream, both ways, straight between the socket and the stream's rings.
 *
 * FIN ↔ shutdown(SHUT_WR), RST ↔ RST; a stream that is refused or fails resets the local connection. What one side does not read stops
 * the other side's reading: nothing is buffered beyond the rings. One struct per connection, no allocation per event.
 */
typedef struct _PilotBridge PilotBridge;

/*
 * PilotBridgeGroup: the bridges of one mapping, or of the inbound side: counters, and a way to end them all. Its struct is the owner's.
 * @ended: called when a bridge ended; @error is NONE when both sides closed in order or the local side reset it. May be NULL
 * @shares: (nullable): whoever joins a stream has taken a place of its peer's; the bridge gives it back when it ends
 */
typedef struct _PilotBridgeGroup PilotBridgeGroup;
struct _PilotBridgeGroup {
  PilotPoller *poller;
  void (*opened) (PilotBridgeGroup *group, guint16 port, gpointer user_data);
  void (*ended) (PilotBridgeGroup *group, guint16 port, PilotStreamError error, gpointer user_data);
  gpointer user_data;
  PilotShares *shares;
  PilotBridge *first;         /* the bridges */
  PilotBridge *dialing_first; /* those whose stream is not open yet, oldest first */
  PilotBridge *dialing_last;
  GSource *dial_timer;
  gint64 dial_timeout_us; /* 0 = the stream's own limits are enough */
  guint open;
  guint64 total, bytes_in, bytes_out; /* in: stream to socket */
};

/* Opens the stream; a trampoline for pilot_node_connect(), so that the bridge knows no node. NULL with an error. */
typedef PilotStream *(*PilotBridgeDial) (PilotStreamUser *user, gpointer user_data, GError **error);

void pilot_bridge_group_init (PilotBridgeGroup *group, PilotPoller *poller);
/* Resets every bridge; the group can be used on. */
void pilot_bridge_group_reset (PilotBridgeGroup *group);
/* Resets those with @peer. */
void pilot_bridge_group_reset_peer (PilotBridgeGroup *group, guint32 peer);

/* For a connection that was accepted here: takes @fd (non-blocking, TCP_NODELAY) and dials. On error the client has been reset and @fd is closed. */
gboolean pilot_bridge_open (PilotBridgeGroup *group, int fd, guint16 port, PilotBridgeDial dial, gpointer user_data, GError **error);
/* For a stream that @peer opened toward us: takes @fd (connected, non-blocking) and the accepted stream. */
void pilot_bridge_join (PilotBridgeGroup *group, int fd, guint16 port, PilotStream *stream, guint32 peer);
/* The same for a program of this machine that was handed the other end of a pilot_socket_pair_new(): takes ours. */
void pilot_bridge_join_pair (PilotBridgeGroup *group, int fd, guint16 port, PilotStream *stream);
/* Closes a socket with a reset instead of a FIN. */
void pilot_socket_reset (int fd);

G_END_DECLS
