/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "libpilot/pilot-endpoint.h"

G_BEGIN_DECLS

/**
 * PilotBeaconSocket:
 *
 * The beacon's UDP socket. Datagrams come in batches, of which the kernel coalesces those of one sender (UDP_GRO), and go out in
 * batches, of which consecutive ones of equal size to one destination are one message for the kernel to cut (UDP_SEGMENT). What
 * is forwarded is never copied: a message is made of vectors into what was received. Nothing is allocated after opening.
 *
 *     receive, then next until FALSE, queue what it asks for, flush; while flush says FALSE, nothing else but flush
 *
 * A device or a path that refuses segmented messages gets the same datagrams one by one.
 */
typedef struct _PilotBeaconSocket PilotBeaconSocket;

/* What a queue call may need: a datagram that came in may cause as many to go out. */
#define PILOT_BEACON_SOCKET_ANSWERS 2
/* Room for a datagram that the socket itself keeps. */
#define PILOT_BEACON_SOCKET_SMALL 32

typedef struct
{
  guint64 received;      /* datagrams */
  guint64 sent;          /* datagrams */
  guint64 receive_calls; /* of the kernel */
  guint64 send_calls;
  guint64 refused;   /* datagrams that the kernel did not take */
  guint64 fallbacks; /* segmented messages that were refused and went one by one */
} PilotBeaconSocketStatistics;

/* (transfer full): bound to `address` (port 0: any). `offload` FALSE: as on a kernel that can neither coalesce nor segment. */
PilotBeaconSocket *pilot_beacon_socket_new (const PilotEndpoint *address,
                                            gboolean offload,
                                            GError **error);
void pilot_beacon_socket_free (PilotBeaconSocket *socket);
int pilot_beacon_socket_get_fd (PilotBeaconSocket *socket);
/* Reads a batch; only when the former one is used up and flushed. FALSE when there is none. */
gboolean pilot_beacon_socket_receive (PilotBeaconSocket *socket);
/* The next datagram of the batch. `data` (out) may be changed, and stays until everything queued is flushed and the next batch is
 * received. `local` (out) is the address of ours it was sent to. FALSE at the end of the batch. */
gboolean pilot_beacon_socket_next (PilotBeaconSocket *socket,
                                   PilotEndpoint *from,
                                   PilotEndpoint *local,
                                   guint8 **data,
                                   gsize *length);
/* The next datagram, if it came in one message with the last one, so from the same address to the same of ours, and begins with these bytes. */
gboolean pilot_beacon_socket_next_alike (PilotBeaconSocket *socket,
                                         const guint8 *head,
                                         gsize head_length,
                                         guint8 **data,
                                         gsize *length);
/* Whether pilot_beacon_socket_next() has something left. */
gboolean pilot_beacon_socket_has_next (PilotBeaconSocket *socket);
/* Whether PILOT_BEACON_SOCKET_ANSWERS datagrams more can be queued; if not, flush. */
gboolean pilot_beacon_socket_has_room (PilotBeaconSocket *socket);
/* Queues a datagram that leaves from `local` (none: as the system decides). `data` must stay until it is flushed. */
void pilot_beacon_socket_queue (PilotBeaconSocket *socket,
                                const PilotEndpoint *to,
                                const PilotEndpoint *local,
                                guint8 *data,
                                gsize length);
/* As pilot_beacon_socket_queue(), of a copy of at most PILOT_BEACON_SOCKET_SMALL bytes. */
void pilot_beacon_socket_queue_small (PilotBeaconSocket *socket,
                                      const PilotEndpoint *to,
                                      const PilotEndpoint *local,
                                      const guint8 *data,
                                      gsize length);
/* Sends what is queued. FALSE when the kernel's buffer is full: again when the descriptor is writable. What the kernel refuses for
 * another reason is lost, and counted; the others do not suffer. */
gboolean pilot_beacon_socket_flush (PilotBeaconSocket *socket);
/* Whether something is queued. */
gboolean pilot_beacon_socket_has_queued (PilotBeaconSocket *socket);
/* Forgets what is queued. Returns how many datagrams that were. */
guint pilot_beacon_socket_drop (PilotBeaconSocket *socket);
const PilotBeaconSocketStatistics *pilot_beacon_socket_get_statistics (PilotBeaconSocket *socket);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotBeaconSocket, pilot_beacon_socket_free)

G_END_DECLS
