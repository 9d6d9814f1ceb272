/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "protocol/congestion.h"
#include "protocol/ring.h"
#include "protocol/stream-extension.h"
#include "protocol/stream-interval.h"
#include "protocol/stream-private.h"
#include "protocol/stream-segment.h"

G_BEGIN_DECLS

/* What the files of a stream share. Nobody else includes this. */

#define STREAM_MS 1000
#define STREAM_SECOND ((gint64) G_USEC_PER_SEC)
#define STREAM_NEVER G_MAXINT64

#define STREAM_SEGMENT_SIZE 1152   /* toward the reference, and before we know */
#define STREAM_GO_WINDOW_UNIT 4096 /* what a v1.9 peer sends per slot we advertise */
#define STREAM_GO_SEGMENTS 128     /* most unacknowledged segments toward the reference */
#define STREAM_DEFAULT_BUFFER (16 * 1024 * 1024)
#define STREAM_INITIAL_LIMIT (2 * 1024 * 1024)

typedef enum {
  STREAM_TIMER_DIAL,
  STREAM_TIMER_RETRANSMIT, /* RTO */
  STREAM_TIMER_PROBE,      /* tail loss probe */
  STREAM_TIMER_REORDER,    /* RACK */
  STREAM_TIMER_ACK,
  STREAM_TIMER_HOLD, /* Nagle */
  STREAM_TIMER_PACE,
  STREAM_TIMER_WINDOW, /* zero-window probe */
  STREAM_TIMER_CLOSE,  /* TIME_WAIT, FIN that waits or is not answered */
  STREAM_TIMER_FIN_HOLD,
  STREAM_TIMER_IDLE,   /* keepalive */
  STREAM_TIMER_MEMORY, /* gives rings of idle streams back */
  STREAM_N_TIMERS
} StreamTimer;

#define STREAM_MAX_ACK_POINTS 16

struct _PilotStream {
  PilotStreamLinks links;
  PilotStreamConfig config;
  gpointer user_data;
  PilotStreamState state;
  PilotStreamError error;
  guint ready; /* pending bits */
  gint64 timers[STREAM_N_TIMERS];
  gint64 created;

  guint released : 1, finished : 1, tunnel_ready : 1, own_kind : 1, half_close : 1, accepted : 1;
  guint changed : 1, ready_new : 1; /* hooks to call when the entry point returns */
  guint syn_due : 1, syn_held : 1, syn_ack_due : 1, rst_due : 1, rst_numbered : 1, fin_ack_due : 1, fin_ack_sent : 1;
  guint fin_wanted : 1, fin_allowed : 1, fin_forced : 1, fin_sent : 1, fin_acked : 1; /* our side */
  guint fin_received : 1, fin_held : 1;                                               /* theirs */
  guint ack_now : 1, ack_pending : 1, window_probe_due : 1, keepalive_due : 1, loss_probe_due : 1;
  guint in_recovery : 1, write_blocked : 1, drained_told : 1, reordering_seen : 1, mtu_probes : 1, unsummed : 1, short_headers : 1;

  /* Opening. */
  guint syn_transmissions;
  gint64 dial_timeout, syn_sent;

  /* Sending. */
  guint32 iss, snd_una, snd_nxt;
  PilotRing send_ring;
  guint64 send_start;           /* offset in the stream of the byte snd_una stands for */
  gsize send_length, send_sent; /* bytes held; of these, bytes sent at least once */
  guint64 push_offset;          /* data before this is not held back */
  gsize write_limit;
  guint64 peer_window;   /* bytes */
  guint peer_slots;      /* a Go peer's window: segments */
  guint peer_slots_most; /* it ever had */
  guint peer_segment_size, peer_blocks;
  gint peer_scale;
  PilotStreamRecords records;
  PilotStreamIntervals sacked; /* what the peer has told so far */
  guint64 in_flight;           /* bytes */
  guint32 short_end;           /* end of the newest short segment */
  guint duplicates, n_sacked;
  guint32 recovery_end;
  gint64 last_sent, last_data_sent, last_progress, idle_since;
  guint window_probes;

  /* Timing. */
  gint64 srtt, rttvar, rto, min_rtt;
  guint rto_backoff;
  gboolean probe_spent; /* a tail probe was sent and nothing came since */
  gint64 rack_sent, rack_rtt;
  guint32 rack_end;
  guint reorder_window_mult, reorder_persist;
  guint32 sacked_end; /* highest byte known to be received */
  gint64 pace_at_ns;
  guint64 pace_rate; /* at which pace_at_ns was counted */
  guint64 burst_left;

  /* Delivery. */
  guint64 delivered, app_limited_until;
  gint64 delivered_at, first_sent;
  guint64 lost_since; /* since the last sample */
  PilotCongestion congestion;

  /* Receiving. */
  guint32 irs, rcv_nxt;
  PilotRing receive_ring;
  guint64 read_offset; /* of the first byte not consumed */
  gsize readable;
  PilotStreamIntervals held; /* beyond a hole */
  gsize receive_limit;       /* grows with a reader that keeps up */
  guint64 consumed_since;    /* the limit last grew */
  guint32 advertised_edge;   /* right edge last told */
  gint receive_scale;
  guint32 fin_sequence;
  guint segments_unacked;
  guint32 ack_points[STREAM_MAX_ACK_POINTS]; /* acknowledgements owed to a Go peer, in order */
  guint n_ack_points;
  guint duplicate_acks_due; /* with SACK */
  guint empty_acks_due, gap_segments;
  gboolean gap_told;
  guint32 newest_left; /* start of the segment that came last out of order */
  guint sack_cursor;
  gint64 last_received;
  guint keepalives;
  guint unheeded; /* tries that were answered by nothing on this stream while the peer was heard otherwise, since last_received */

  guint64 bytes_sent, bytes_received, segments_sent, segments_received, retransmits, fast_retransmits;
  guint64 sacks_sent, sacks_received, duplicate_acks;
};

static inline gboolean
stream_timer_is_set (PilotStream *self, StreamTimer timer)
{
  return self->timers[timer] != STREAM_NEVER;
}

/* How long to wait before a peer without room is asked. Our own kind says by itself when it has some, and the question only covers a lost word. A Go peer never
 * does: asked after the 500 ms of the reference, a transfer to a reader a little slower than the sender would stand still most of the time. */
static inline gint64
stream_window_probe_delay (const PilotStream *self)
{
  gint64 first = self->own_kind ? 500 * STREAM_MS : 20 * STREAM_MS;

  return MIN (first << MIN (self->window_probes, 12), 30 * STREAM_SECOND);
}

static inline void
stream_timer_set (PilotStream *self, StreamTimer timer, gint64 when)
{
  self->timers[timer] = when;
  self->changed = TRUE;
}

static inline void
stream_timer_clear (PilotStream *self, StreamTimer timer)
{
  self->timers[timer] = STREAM_NEVER;
}

/* May the peer still send us data? */
static inline gboolean
stream_can_receive (PilotStream *self)
{
  return self->state == PILOT_STREAM_STATE_ESTABLISHED || self->state == PILOT_STREAM_STATE_FIN_WAIT_1 ||
         self->state == PILOT_STREAM_STATE_FIN_WAIT_2;
}

/* May data (not FIN) of ours still be sent for the first time or again? */
static inline gboolean
stream_can_send (PilotStream *self)
{
  return self->state == PILOT_STREAM_STATE_ESTABLISHED || self->state == PILOT_STREAM_STATE_CLOSE_WAIT ||
         self->state == PILOT_STREAM_STATE_FIN_WAIT_1 || self->state == PILOT_STREAM_STATE_CLOSING ||
         self->state == PILOT_STREAM_STATE_LAST_ACK;
}

/* What the streams to its peer know of each other, NULL for nothing. */
static inline PilotSiblings *
stream_siblings (PilotStream *self)
{
  const PilotStreamHooks *hooks = self->config.hooks;

  return hooks->siblings != NULL ? hooks->siblings (self, self->config.overlay) : NULL;
}

/* stream.c */
void stream_signal (PilotStream *self, guint ready);
void stream_flush (PilotStream *self, gint64 now);                         /* last thing of every entry point: may free nothing, but tells */
void stream_close (PilotStream *self, PilotStreamError error, gint64 now); /* state CLOSED, everything dropped */
void stream_enter_time_wait (PilotStream *self, gint64 now);
void stream_drop_send_side (PilotStream *self);
void stream_check_drained (PilotStream *self);

/* stream-open.c */
void stream_established (PilotStream *self, gint64 now);
void stream_input_repeated_syn (PilotStream *self, const PilotPacket *packet, gint64 now);
void stream_input_syn_ack (PilotStream *self, const PilotPacket *packet, gint64 now);
void stream_dial_expired (PilotStream *self, gint64 now);
gsize stream_encode_extensions (PilotStream *self, guint8 *out);

/* stream-receive.c */
void stream_receive_data (PilotStream *self, const PilotPacket *packet, gint64 now);
void stream_receive_fin (PilotStream *self, const PilotPacket *packet, gint64 now);
void stream_fin_hold_expired (PilotStream *self, gint64 now);
guint16 stream_window_field (PilotStream *self, gboolean syn);
void stream_note_acknowledged (PilotStream *self, guint16 window);
guint stream_choose_blocks (PilotStream *self, PilotStreamInterval *blocks);

/* stream-recovery.c */
void stream_process_ack (PilotStream *self, const PilotPacket *packet, const PilotStreamInterval *blocks,
                         guint n_blocks, gint64 now);
void stream_update_window (PilotStream *self, const PilotPacket *packet, gboolean empty, gint64 now);
void stream_rtt_sample (PilotStream *self, gint64 rtt);
void stream_arm_retransmit (PilotStream *self, gint64 now);
void stream_retransmit_expired (PilotStream *self, gint64 now);
void stream_reorder_expired (PilotStream *self, gint64 now);
void stream_mark_lost (PilotStream *self, guint64 id);
void stream_mark_all_lost (PilotStream *self);

G_END_DECLS
