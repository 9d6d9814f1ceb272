/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/stream-internal.h"

/* Acknowledgements, round trips, and what is taken for lost: RTO (streams.md 4.4), RACK-TLP (RFC 8985), duplicate acknowledgements. */

#define RTO_MIN (200 * STREAM_MS)
#define RTO_MAX (10 * STREAM_SECOND)
#define RTO_VARIANCE_MIN (10 * STREAM_MS)
#define MAX_TRANSMISSIONS 8
/* A path may be gone for longer than eight tries last: RFC 1122 4.2.3.5 (R2) wants at least 100 s. A Go peer still has the stream then: it ends an
 * idle one after 105 s to 120 s (streams.md 4.8). */
#define SILENCE_PATIENCE (100 * STREAM_SECOND)
/* A Go node that lives and no longer has the stream says nothing to its packets, not even a reset (streams.md 4.1). What it sends beside them shows that
 * silence is its answer: so many tries in vain after each of which it was heard, and so long a silence, because fast retransmissions count
 * among the tries, and a short queue eats eight of them in seconds. */
#define UNHEEDED_TRIES 3
#define UNHEEDED_PATIENCE (10 * STREAM_SECOND)
#define DUPLICATE_THRESHOLD 3
#define PROBE_SLACK (5 * STREAM_MS)
#define PROBE_MIN (10 * STREAM_MS)
#define MAX_REORDER_MULT 8
/* RFC 8985 section 6.2, step 4: so many recoveries without a needless retransmission, and the patience is as at first. */
#define REORDER_PERSIST 16

/* What one packet told, gathered over its cumulative and its selective part. */
typedef struct {
  gint64 now;
  guint64 delivered;
  gint64 rtt;
  gboolean sampled, app_limited;
  guint64 prior_delivered;
  gint64 prior_at, send_elapsed;
  guint32 known_end; /* highest byte known to be received before: what one packet tells comes in no order */
} Gathered;

void
stream_rtt_sample (PilotStream *self,
                   gint64 rtt)
{
  if (self->srtt == 0) {
    self->srtt = rtt;
    self->rttvar = rtt / 2;
  } else {
    self->rttvar = (3 * self->rttvar + ABS (self->srtt - rtt)) / 4;
    self->srtt = (7 * self->srtt + rtt) / 8;
  }
  self->rto = CLAMP (self->srtt + MAX (RTO_VARIANCE_MIN, 4 * self->rttvar), RTO_MIN, RTO_MAX);
}

static void
enter_recovery (PilotStream *self,
                guint64 in_flight,
                gint64 now)
{
  if (self->in_recovery)
    return;
  self->in_recovery = TRUE;
  self->recovery_end = self->snd_nxt;
  self->congestion.class->lost (&self->congestion, in_flight, now);
}

void
stream_mark_lost (PilotStream *self,
                  guint64 id)
{
  PilotStreamRecord *record = pilot_stream_records_get (&self->records, id);

  if (record->flags & (PILOT_SEGMENT_LOST | PILOT_SEGMENT_SACKED))
    return;
  pilot_stream_records_unlink (&self->records, &self->records.in_flight, id);
  self->in_flight -= record->length;
  self->lost_since += record->length;
  record->flags |= PILOT_SEGMENT_LOST;
  pilot_stream_records_link (&self->records, &self->records.lost, id);
  self->changed = TRUE;
}

void
stream_mark_all_lost (PilotStream *self)
{
  for (guint64 id = self->records.head; id != self->records.head + self->records.n_records; id++)
    stream_mark_lost (self, id);
}

static void
leave_recovery (PilotStream *self)
{
  self->in_recovery = FALSE;
  if (self->reorder_persist > 0 && --self->reorder_persist == 0)
    self->reorder_window_mult = 1;
}

static void
rack_update (PilotStream *self,
             const PilotStreamRecord *record,
             const Gathered *gathered)
{
  guint32 end = pilot_stream_record_end (record);
  gint64 rtt = gathered->now - record->sent;

  if (pilot_seq_lt (end, gathered->known_end) && !(record->flags & PILOT_SEGMENT_RETRANSMITTED))
    self->reordering_seen = TRUE;
  self->sacked_end = pilot_seq_max (self->sacked_end, end);
  if (record->flags & PILOT_SEGMENT_RETRANSMITTED && self->min_rtt >= 0 && rtt < self->min_rtt) {
    /* The first transmission arrived after all: that is reordering, too, which does not show otherwise where everything is repeated at once; and it wants more patience. */
    self->reordering_seen = TRUE;
    self->reorder_window_mult = MIN (self->reorder_window_mult + 1, MAX_REORDER_MULT);
    self->reorder_persist = REORDER_PERSIST;
    return;
  }
  if (record->sent > self->rack_sent || (record->sent == self->rack_sent && pilot_seq_gt (end, self->rack_end))) {
    self->rack_sent = record->sent;
    self->rack_end = end;
    self->rack_rtt = rtt;
  }
}

/* A segment has arrived at the peer, whichever way we learned it. */
static void
record_delivered (PilotStream *self,
                  guint64 id,
                  Gathered *gathered)
{
  PilotStreamRecord *record = pilot_stream_records_get (&self->records, id);
  gint64 rtt = gathered->now - record->sent;

  if (record->flags & PILOT_SEGMENT_LOST) {
    pilot_stream_records_unlink (&self->records, &self->records.lost, id);
    self->reordering_seen = TRUE;
  } else {
    pilot_stream_records_unlink (&self->records, &self->records.in_flight, id);
    self->in_flight -= record->length;
  }
  record->flags &= ~PILOT_SEGMENT_LOST;
  self->delivered += record->length;
  gathered->delivered += record->length;
  rack_update (self, record, gathered);
  if (!(record->flags & PILOT_SEGMENT_RETRANSMITTED) && (gathered->rtt < 0 || rtt < gathered->rtt))
    gathered->rtt = rtt;
  /* Sooner than the path allows: an earlier transmission has arrived, and what was so when it left is not known any more (as RFC 8985 section 6.2 has
   * it for round trips). Taken for the later one it would begin a round too early, and tell a rate that never was. */
  if (record->flags & PILOT_SEGMENT_RETRANSMITTED && self->min_rtt >= 0 && rtt < self->min_rtt)
    return;
  if (gathered->sampled && record->delivered < gathered->prior_delivered)
    return;
  gathered->sampled = TRUE;
  gathered->prior_delivered = record->delivered;
  gathered->prior_at = record->delivered_at;
  gathered->send_elapsed = record->sent - record->first_sent;
  gathered->app_limited = (record->flags & PILOT_SEGMENT_APP_LIMITED) != 0;
  self->first_sent = record->sent;
}

static void
acknowledge_to (PilotStream *self,
                guint32 ack,
                Gathered *gathered)
{
  while (self->records.n_records > 0) {
    guint64 id = self->records.head;
    PilotStreamRecord *record = pilot_stream_records_get (&self->records, id);

    if (pilot_seq_gt (pilot_stream_record_end (record), ack)) {
      gint32 part = pilot_seq_diff (ack, record->sequence);

      /* No reference peer does this; what it acknowledged is gone from the ring. */
      if (part > 0) {
        if (!(record->flags & (PILOT_SEGMENT_LOST | PILOT_SEGMENT_SACKED)))
          self->in_flight -= part;
        record->sequence = ack;
        record->length -= part;
      }
      break;
    }
    if (record->flags & PILOT_SEGMENT_SACKED)
      self->n_sacked--;
    else
      record_delivered (self, id, gathered);
    if (record->flags & PILOT_SEGMENT_FIN)
      self->fin_acked = TRUE;
    pilot_stream_records_pop (&self->records);
  }
}

static void
mark_sacked (PilotStream *self,
             guint32 left,
             guint32 right,
             Gathered *gathered)
{
  guint64 id = pilot_stream_records_find (&self->records, left);
  guint64 end = self->records.head + self->records.n_records;

  for (; id != end; id++) {
    PilotStreamRecord *record = pilot_stream_records_get (&self->records, id);

    if (pilot_seq_gt (pilot_stream_record_end (record), right))
      return;
    if (pilot_seq_lt (record->sequence, left) || record->flags & PILOT_SEGMENT_SACKED)
      continue;
    record_delivered (self, id, gathered);
    record->flags |= PILOT_SEGMENT_SACKED;
    self->n_sacked++;
  }
}

/* Only what a block tells anew costs anything: long blocks come again and again. */
static void
process_block (PilotStream *self,
               guint32 left,
               guint32 right,
               Gathered *gathered)
{
  guint32 at;

  left = pilot_seq_max (left, self->snd_una);
  if (pilot_seq_ge (left, right))
    return;
  for (at = left; pilot_seq_lt (at, right);) {
    guint i = pilot_stream_intervals_find (&self->sacked, at);
    guint32 end = right;

    if (i < self->sacked.n_items && pilot_seq_le (self->sacked.items[i].left, at)) {
      at = self->sacked.items[i].right;
      continue;
    }
    if (i < self->sacked.n_items)
      end = pilot_seq_min (end, self->sacked.items[i].left);
    mark_sacked (self, at, end, gathered);
    at = end;
  }
  pilot_stream_intervals_add (&self->sacked, left, right);
}

/* RFC 8985 section 6.2. */
static void
detect_losses (PilotStream *self,
               guint64 prior_in_flight,
               gint64 now)
{
  gint64 patience = 0;
  guint64 id;

  stream_timer_clear (self, STREAM_TIMER_REORDER);
  if (self->reordering_seen || !(self->in_recovery || self->n_sacked >= DUPLICATE_THRESHOLD))
    patience = MIN (MAX (self->min_rtt, 0) / 4 * self->reorder_window_mult, self->srtt);
  for (id = self->records.in_flight.first; id != PILOT_SEGMENT_NONE;) {
    PilotStreamRecord *record = pilot_stream_records_get (&self->records, id);
    guint64 next = record->next;
    gint64 due = record->sent + self->rack_rtt + patience;

    if (record->sent > self->rack_sent)
      break;
    if (record->sent < self->rack_sent || pilot_seq_lt (pilot_stream_record_end (record), self->rack_end)) {
      if (due > now) {
        stream_timer_set (self, STREAM_TIMER_REORDER, due);
        break;
      }
      stream_mark_lost (self, id);
      enter_recovery (self, prior_in_flight, now);
    }
    id = next;
  }
}

static void
report (PilotStream *self,
        Gathered *gathered)
{
  PilotSiblings *siblings = stream_siblings (self);
  PilotCongestionSample sample = {
    .now = gathered->now,
    .delivered = self->delivered,
    .newly_delivered = gathered->delivered,
    .newly_lost = self->lost_since,
    .in_flight = self->in_flight,
    .prior_delivered = gathered->prior_delivered,
    .rtt = gathered->rtt,
    .srtt = self->srtt,
    .min_rtt = self->min_rtt,
    .in_recovery = self->in_recovery,
    .app_limited = gathered->app_limited,
    .way_rtt = -1,
  };

  if (siblings != NULL) {
    if (gathered->rtt >= 0)
      pilot_siblings_measured (siblings, gathered->rtt, gathered->now);
    sample.shared = pilot_siblings_shared (siblings, gathered->now);
    /* Who is alone sees for himself. */
    if (sample.shared) {
      sample.asked = pilot_siblings_others_ask (siblings, self, gathered->now);
      sample.way_rtt = pilot_siblings_shortest (siblings, gathered->now);
    }
  }

  if (gathered->sampled) {
    gint64 interval = MAX (gathered->send_elapsed, gathered->now - gathered->prior_at);

    if (interval > 0 && interval >= self->min_rtt)
      sample.rate = (self->delivered - gathered->prior_delivered) * G_USEC_PER_SEC / (guint64) interval;
  }
  self->lost_since = 0;
  self->congestion.class->acked (&self->congestion, &sample);
}

/* Our FIN is acknowledged (RFC 9293 3.10.7.4). */
static void
fin_acknowledged (PilotStream *self,
                  gint64 now)
{
  if (self->state == PILOT_STREAM_STATE_FIN_WAIT_1) {
    self->state = PILOT_STREAM_STATE_FIN_WAIT_2;
    if (self->half_close && self->released)
      stream_timer_set (self, STREAM_TIMER_CLOSE, now + 60 * STREAM_SECOND);
  } else if (self->state == PILOT_STREAM_STATE_CLOSING)
    stream_enter_time_wait (self, now);
  else if (self->state == PILOT_STREAM_STATE_LAST_ACK)
    stream_close (self, PILOT_STREAM_ERROR_NONE, now);
  stream_check_drained (self);
}

static void
signal_space (PilotStream *self)
{
  /* Twice the window are on the way; a retransmission that is lost again takes two more. */
  self->write_limit = MAX (4 * self->congestion.window + 128 * 1024, 256 * 1024);
  self->write_limit = MIN (self->write_limit, self->config.send_buffer_max);
  if (self->write_blocked && self->send_length + self->write_limit / 4 <= self->write_limit) {
    self->write_blocked = FALSE;
    stream_signal (self, PILOT_STREAM_READY_WRITE);
  }
}

static void
count_duplicate (PilotStream *self,
                 gboolean candidate,
                 guint64 prior_in_flight,
                 gint64 now)
{
  if (!candidate || self->records.n_records == 0)
    return;
  self->duplicate_acks++;
  if (++self->duplicates != DUPLICATE_THRESHOLD)
    return;
  /* With SACK, RACK knows better; this is for a peer, or a path, that shows none. */
  if (self->sacked.n_items == 0) {
    stream_mark_lost (self, self->records.head);
    enter_recovery (self, prior_in_flight, now);
  }
}

void
stream_update_window (PilotStream *self,
                      const PilotPacket *packet,
                      gboolean empty,
                      gint64 now)
{
  guint64 before = self->peer_window;

  if (packet->flags & PILOT_PACKET_FIN && !self->half_close)
    return;
  if (self->own_kind && self->peer_scale >= 0)
    self->peer_window = (guint64) packet->window << self->peer_scale;
  else {
    /* A v1.9 keepalive says 0 and means nothing by it. */
    if (packet->window == 0 && empty && self->records.n_records == 0)
      return;
    self->peer_slots = packet->window;
    self->peer_slots_most = MAX (self->peer_slots_most, self->peer_slots);
    self->peer_window = (guint64) packet->window * STREAM_SEGMENT_SIZE;
  }
  if (self->peer_window > before) {
    self->window_probes = 0;
    stream_timer_clear (self, STREAM_TIMER_WINDOW);
  }
  self->changed = TRUE;
}

void
stream_process_ack (PilotStream *self,
                    const PilotPacket *packet,
                    const PilotStreamInterval *blocks,
                    guint n_blocks,
                    gint64 now)
{
  Gathered gathered = { .now = now, .rtt = -1, .known_end = self->sacked_end };
  guint64 prior_in_flight = self->in_flight;
  guint64 window = self->peer_window;
  guint32 ack = packet->ack;
  gboolean empty = packet->payload_length == 0, advanced;

  if (pilot_seq_lt (ack, self->snd_una))
    return;
  advanced = ack != self->snd_una;
  /* Data of ours may cross theirs: only an older packet of the peer must not shrink the window (RFC 9293 SND.WL1). */
  stream_update_window (self, packet, empty && !advanced, now);
  if (advanced) {
    gsize bytes = MIN ((gsize) pilot_seq_diff (ack, self->snd_una), self->send_sent);

    acknowledge_to (self, ack, &gathered);
    self->send_start += bytes;
    self->send_length -= bytes;
    self->send_sent -= bytes;
    self->snd_una = ack;
    self->last_progress = now;
    self->rto_backoff = self->duplicates = 0;
    pilot_stream_intervals_trim (&self->sacked, ack);
    if (self->in_recovery && pilot_seq_ge (ack, self->recovery_end))
      leave_recovery (self);
  }
  for (guint i = 0; i < n_blocks; i++)
    process_block (self, blocks[i].left, blocks[i].right, &gathered);
  if (gathered.delivered > 0) {
    self->delivered_at = now;
    self->probe_spent = FALSE;
  }
  if (gathered.rtt >= 0) {
    gathered.rtt = MAX (gathered.rtt, 1);
    if (self->min_rtt < 0 || gathered.rtt < self->min_rtt)
      self->min_rtt = gathered.rtt;
    stream_rtt_sample (self, gathered.rtt);
  }
  /* The answers to window probes repeat themselves too, and say nothing of loss. */
  count_duplicate (self, !advanced && self->peer_window > 0 && (n_blocks > 0 || (empty && window == self->peer_window)),
                   prior_in_flight, now);
  if (gathered.sampled)
    detect_losses (self, prior_in_flight, now);
  if (gathered.sampled || self->lost_since > 0)
    report (self, &gathered);
  if (advanced || gathered.delivered > 0)
    stream_arm_retransmit (self, now);
  if (self->records.n_records == 0)
    self->idle_since = now;
  signal_space (self);
  if (self->fin_acked && advanced)
    fin_acknowledged (self, now);
}

void
stream_arm_retransmit (PilotStream *self,
                       gint64 now)
{
  gint64 rto = MIN (self->rto << MIN (self->rto_backoff, 10), RTO_MAX);
  gint64 probe = 2 * self->srtt + PROBE_SLACK;

  stream_timer_clear (self, STREAM_TIMER_RETRANSMIT);
  stream_timer_clear (self, STREAM_TIMER_PROBE);
  if (self->records.n_records == 0)
    return;
  if (self->peer_window < pilot_stream_records_get (&self->records, self->records.head)->length) {
    /* The peer has no room even for the oldest: it is asked now and then, and may take as long as it answers. */
    if (!stream_timer_is_set (self, STREAM_TIMER_WINDOW))
      stream_timer_set (self, STREAM_TIMER_WINDOW, now + stream_window_probe_delay (self));
    return;
  }
  stream_timer_set (self, STREAM_TIMER_RETRANSMIT, now + rto);
  probe = MAX (probe, PROBE_MIN);
  if (self->own_kind && self->srtt > 0 && !self->in_recovery && !self->probe_spent && self->rto_backoff == 0 && probe < rto)
    stream_timer_set (self, STREAM_TIMER_PROBE, now + probe);
}

/* Everything the peer said it holds is doubted: only its cumulative word counts. */
static void
forget_sacks (PilotStream *self)
{
  pilot_stream_intervals_clear (&self->sacked);
  for (guint64 id = self->records.head; id != self->records.head + self->records.n_records; id++) {
    PilotStreamRecord *record = pilot_stream_records_get (&self->records, id);

    if (!(record->flags & PILOT_SEGMENT_SACKED))
      continue;
    record->flags = (record->flags & ~PILOT_SEGMENT_SACKED) | PILOT_SEGMENT_LOST;
    pilot_stream_records_link (&self->records, &self->records.lost, id);
  }
  self->n_sacked = 0;
}

/* What was sent so long ago that it would have been heard of (RFC 8985 section 6.3). The answer to the head alone may tell nothing:
 * it can come faster than any before, when the queue on the way has emptied meanwhile, and then passes for one to the first copy. */
static void
mark_overdue (PilotStream *self,
              gint64 now)
{
  gint64 patience = self->rack_rtt + self->srtt / 4;

  for (guint64 id = self->records.head; id != self->records.head + self->records.n_records; id++)
    if (pilot_stream_records_get (&self->records, id)->sent + patience <= now)
      stream_mark_lost (self, id);
}

/* Has the oldest segment been sent in vain so often and so long that nobody will ever acknowledge it? */
static gboolean
is_given_up (PilotStream *self,
             const PilotStreamRecord *head,
             gint64 now)
{
  gint64 silence = now - MAX (self->last_progress, self->last_received);

  if (head->transmissions < MAX_TRANSMISSIONS || (head->flags & PILOT_SEGMENT_FIN && !self->half_close))
    return FALSE;
  return silence >= SILENCE_PATIENCE || (!self->own_kind && self->unheeded >= UNHEEDED_TRIES && silence >= UNHEEDED_PATIENCE);
}

void
stream_retransmit_expired (PilotStream *self,
                           gint64 now)
{
  PilotStreamRecord *head;

  if (self->records.n_records == 0)
    return;
  head = pilot_stream_records_get (&self->records, self->records.head);
  if (self->config.hooks->heard != NULL && self->config.hooks->heard (self, self->config.overlay) > head->sent)
    self->unheeded++;
  if (is_given_up (self, head, now)) {
    self->rst_due = TRUE;
    stream_close (self, PILOT_STREAM_ERROR_LOST, now);
    return;
  }
  if (head->length > STREAM_SEGMENT_SIZE)
    self->links.path_suspect = TRUE;
  self->congestion.class->timeout (&self->congestion, self->in_flight, now);
  self->rto_backoff++;
  self->duplicates = 0;
  self->in_recovery = TRUE;
  self->recovery_end = self->snd_nxt;
  if (head->flags & PILOT_SEGMENT_SACKED)
    forget_sacks (self);
  stream_mark_lost (self, self->records.head);
  mark_overdue (self, now);
  /* The oldest goes first (RFC 6298 5.4), though it was sent in vain just now and others still wait for their second turn: its tries are those that
   * show that a Go peer is gone. Our own kind has keepalives for that, and there the oldest may be the large one that the path does not carry. */
  if (!self->own_kind)
    pilot_stream_records_move_first (&self->records, &self->records.lost, self->records.head);
  self->loss_probe_due = TRUE;
  stream_arm_retransmit (self, now);
}

void
stream_reorder_expired (PilotStream *self,
                        gint64 now)
{
  Gathered gathered = { .now = now, .rtt = -1 };

  detect_losses (self, self->in_flight, now);
  if (self->lost_since > 0)
    report (self, &gathered);
}
