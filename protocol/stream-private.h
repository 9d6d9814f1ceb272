/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "protocol/congestion.h"
#include "protocol/packet.h"
#include "protocol/siblings.h"
#include "protocol/stream.h"

G_BEGIN_DECLS

/*
 * What the overlay (demultiplexing, timers, tunnels) and a stream (state machine, rings, recovery) owe each other.
 * stream.c knows no peers, no datagrams and no other streams.
 */

/* Called by the stream when something about it changed that its overlay must act on. Cheap; may be called often. */
typedef struct {
  /* It may have something to send (ask pilot_stream_output()), or its deadline moved (pilot_stream_deadline()). */
  void (*changed) (PilotStream *stream, gpointer overlay);
  /* Bits of PilotStreamReady became set where the pending mask was empty. */
  void (*ready) (PilotStream *stream, gpointer overlay);
  /* Released by its user and over: the overlay may unlink and free it. */
  void (*finished) (PilotStream *stream, gint64 now, gpointer overlay);
  /* (nullable) When the peer was heard last, on whatever stream or none. */
  gint64 (*heard) (PilotStream *stream, gpointer overlay);
  /* (nullable) What the streams to its peer know of each other, or NULL. */
  PilotSiblings *(*siblings) (PilotStream *stream, gpointer overlay);
} PilotStreamHooks;

/* Room for the overlay's intrusive bookkeeping: no allocation per event, per timer, per packet. */
typedef struct {
  PilotStream *hash_next;
  PilotStream *turn_prev, *turn_next; /* may have output: see turn-order.h */
  gpointer turn_queue;                /* NULL: has none */
  gint turn_left;                     /* bytes it may send before others have their turn */
  PilotStream *event_next;
  gboolean event_queued;
  guint timer_index; /* place in the heap; 0 = not there */
  gint64 timer_deadline;
  gpointer peer;
  /* Set by the overlay when it makes the stream. */
  gpointer overlay;
  PilotAddress local, remote;
  guint16 local_port, remote_port;
  gboolean hash_linked, incoming, finished;
  gboolean path_suspect; /* set by the stream: a large segment was not answered in time */
  PilotStream *peer_prev, *peer_next, *all_prev, *all_next, *finished_next;
  guint64 event_number;
  gint64 dialed_at;
  gint64 syn_slot; /* when the SYN that is due may go, toward a peer that bounds them; 0 = not asked for */
} PilotStreamLinks;

typedef struct {
  guint32 id;
  PilotAddress local, remote;
  guint16 local_port, remote_port;
  gboolean initiator;
  guint32 initial_sequence;
  gboolean extensions; /* offer (initiator) or answer (responder) the TLV exchange of docs/extensions.md */
  gsize receive_window_max, send_buffer_max;
  const PilotCongestionClass *congestion; /* NULL = pilot_congestion_bbr */
  const PilotStreamHooks *hooks;
  gpointer overlay;
} PilotStreamConfig;

/* One packet to be sealed: the header's fields and where its payload lies (at most two spans of a ring, or the small inline one). */
typedef struct {
  guint8 flags;
  guint32 seq, ack;
  guint16 window;
  struct iovec payload[2];
  guint n_payload;
  gsize before; /* bytes before the first span that belong to the stream, too: see PilotAeadRest */
  guint payload_length;
  guint8 small[64]; /* SACK blocks and TLVs live here; payload[0] may point at it */
} PilotStreamSegment;

PilotStream *pilot_stream_new (const PilotStreamConfig *config, gint64 now);
void pilot_stream_free (PilotStream *stream);
PilotStreamLinks *pilot_stream_links (PilotStream *stream);

/* Responder: the SYN that made it (its TLVs are in the payload). The state stays SYN_RECEIVED, silent, until accept. */
void pilot_stream_input_syn (PilotStream *stream, const PilotPacket *syn, gint64 now);
/* Every later packet for it, SYN duplicates included. */
void pilot_stream_input (PilotStream *stream, const PilotPacket *packet, gint64 now);
/* Next packet to send now, FALSE when there is none (pacing, windows, nothing to say). The segment's payload
 * is valid until the next call on this stream. mss_limit: largest payload the path takes now. */
gboolean pilot_stream_output (PilotStream *stream, PilotStreamSegment *segment, guint mss_limit, gint64 now);
/* Absolute time of its earliest timer, pacing included; G_MAXINT64 = none. */
gint64 pilot_stream_deadline (PilotStream *stream);
void pilot_stream_advance (PilotStream *stream, gint64 now);
/* Takes and clears the mask of pending PilotStreamReady bits. */
guint pilot_stream_take_ready (PilotStream *stream);
/* Ends it from outside (no key exchange, unresolved, mismatch, revoked): CLOSED is signalled; send_rst where a peer can hear it. */
void pilot_stream_fail (PilotStream *stream, PilotStreamError error, gboolean send_rst, gint64 now);
/* The tunnel exists (again): SYN timers start counting from here (dials wait for the key without spending retries); path changed: RTT state is kept, probing resumes. */
void pilot_stream_tunnel_ready (PilotStream *stream, gint64 now);
PilotStreamState pilot_stream_get_state (PilotStream *stream);
gboolean pilot_stream_is_own_kind (PilotStream *stream);
/* Whether the next packet is a SYN that is due. */
gboolean pilot_stream_wants_syn (PilotStream *stream);
/* It goes at `until`, or when this is called again with another time. The dial takes no longer for it. */
void pilot_stream_hold_syn (PilotStream *stream, gint64 until);
/* Does the peer answer probes of the path (docs/extensions.md, type 6)? */
gboolean pilot_stream_answers_probes (PilotStream *stream);
/* Does the peer take packets without a checksum (type 7)? */
gboolean pilot_stream_takes_unsummed (PilotStream *stream);
/* Where the payload of a segment will stand once it is received, if that is known and there is room: @length bytes that hold nothing yet. NULL else. What is written
 * there counts for nothing until pilot_stream_input() is given the segment with its payload at this place. */
guint8 *pilot_stream_place (PilotStream *stream, guint32 seq, gsize length);
/* Does it take packets with a short header (type 8)? */
gboolean pilot_stream_takes_short_headers (PilotStream *stream);

G_END_DECLS
