/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/stream-internal.h"

#include <string.h>

/* What leaves next. Each call makes one packet; the order is: reset, opening, acknowledgements that carry news, what was lost, new
 * data, FIN, plain acknowledgements. */

#define HOLD_GO (40 * STREAM_MS)
#define HOLD_OWN (1 * STREAM_MS)
#define FIN_PATIENCE_GO (10 * STREAM_SECOND)
#define DIAL_TOTAL (17250 * STREAM_MS)
#define DIAL_FIRST (250 * STREAM_MS)
/* Of the 512 slots of a Go peer these are not filled, but by questions. */
#define GO_RESERVE 8
#define PACING_MIN_RTT 500
#define PACING_SLACK_NS (2 * 1000 * 1000)
#define PACING_OWED_MAX_NS (100 * (gint64) 1000000000)

static gboolean
finish (PilotStream *self,
        PilotStreamSegment *segment,
        gint64 now)
{
  self->segments_sent++;
  self->last_sent = now;
  return TRUE;
}

static void
header (PilotStream *self,
        PilotStreamSegment *segment,
        guint8 flags)
{
  segment->flags = flags;
  segment->seq = self->snd_nxt;
  segment->ack = self->rcv_nxt;
  segment->window = stream_window_field (self, FALSE);
  segment->n_payload = 0;
  segment->before = 0;
  segment->payload_length = 0;
}

static void
attach_small (PilotStreamSegment *segment,
              gsize length)
{
  segment->payload[0].iov_base = segment->small;
  segment->payload[0].iov_len = length;
  segment->n_payload = 1;
  segment->payload_length = length;
}

static gboolean
output_reset (PilotStream *self,
              PilotStreamSegment *segment,
              gint64 now)
{
  self->rst_due = FALSE;
  stream_timer_clear (self, STREAM_TIMER_CLOSE);
  header (self, segment, PILOT_PACKET_RST);
  segment->window = 0;
  /* Before the SYN-ACK nobody knows of what kind the peer is: ours wants the number, and the reference looks at none. */
  if (!self->own_kind && !self->rst_numbered)
    segment->seq = segment->ack = 0;
  else if (self->error == PILOT_STREAM_ERROR_REFUSED)
    segment->seq = 0;
  return finish (self, segment, now);
}

static gboolean
output_syn (PilotStream *self,
            PilotStreamSegment *segment,
            gint64 now)
{
  gint64 until;

  self->syn_due = FALSE;
  header (self, segment, PILOT_PACKET_SYN);
  segment->seq = self->iss;
  segment->ack = 0;
  segment->window = stream_window_field (self, TRUE);
  if (self->config.extensions)
    attach_small (segment, stream_encode_extensions (self, segment->small));
  if (self->syn_transmissions++ == 0)
    self->dial_timeout = DIAL_FIRST;
  else
    self->retransmits++;
  self->syn_sent = now;
  until = MIN (now + self->dial_timeout, self->created + DIAL_TOTAL);
  stream_timer_set (self, STREAM_TIMER_DIAL, MAX (until, now + DIAL_FIRST));
  return finish (self, segment, now);
}

static gboolean
output_syn_ack (PilotStream *self,
                PilotStreamSegment *segment,
                gint64 now)
{
  self->syn_ack_due = FALSE;
  header (self, segment, PILOT_PACKET_SYN | PILOT_PACKET_ACK);
  segment->seq = self->iss;
  segment->window = stream_window_field (self, TRUE);
  if (self->own_kind) {
    attach_small (segment, stream_encode_extensions (self, segment->small));
    self->advertised_edge = self->rcv_nxt + segment->window * STREAM_SEGMENT_SIZE;
  }
  return finish (self, segment, now);
}

static gboolean
output_fin_ack (PilotStream *self,
                PilotStreamSegment *segment,
                gint64 now)
{
  self->fin_ack_due = FALSE;
  header (self, segment, PILOT_PACKET_FIN | PILOT_PACKET_ACK);
  segment->window = 0;
  return finish (self, segment, now);
}

/* An empty acknowledgement, or one with SACK while there is a hole. */
static gboolean
output_ack (PilotStream *self,
            PilotStreamSegment *segment,
            gboolean with_sack,
            gint64 now)
{
  PilotStreamInterval blocks[PILOT_STREAM_SACK_MAX];
  guint n_blocks = 0;

  header (self, segment, PILOT_PACKET_ACK);
  if (with_sack && self->held.n_items > 0)
    n_blocks = stream_choose_blocks (self, blocks);
  if (n_blocks > 0) {
    attach_small (segment, pilot_stream_sack_encode (blocks, n_blocks, segment->small));
    self->sacks_sent++;
  }
  stream_note_acknowledged (self, segment->window);
  return finish (self, segment, now);
}

/* The acknowledgements a Go peer wants to count, one by one. */
static gboolean
output_counted_ack (PilotStream *self,
                    PilotStreamSegment *segment,
                    gint64 now)
{
  if (self->n_ack_points > 0) {
    guint32 ack = self->ack_points[0];

    self->n_ack_points--;
    memmove (self->ack_points, self->ack_points + 1, self->n_ack_points * sizeof *self->ack_points);
    output_ack (self, segment, FALSE, now);
    segment->ack = ack;
    return TRUE;
  }
  if (self->duplicate_acks_due > 0) {
    self->duplicate_acks_due--;
    return output_ack (self, segment, TRUE, now);
  }
  self->empty_acks_due--;
  return output_ack (self, segment, FALSE, now);
}

/* What was sent at a rate that turned out too low is not waited for at that rate: the first answers to a few bytes say little of what a path
 * carries, and a burst counted by them would hold the stream up for seconds. */
static void
pacing_rescale (PilotStream *self,
                gint64 now_ns)
{
  const guint64 rate = self->congestion.pacing_rate;
  gint64 owed = MIN (self->pace_at_ns - now_ns, PACING_OWED_MAX_NS);

  if (owed > 0 && self->pace_rate > 0 && rate > self->pace_rate)
    self->pace_at_ns = now_ns + (gint64) ((guint64) owed / 1000 * self->pace_rate / rate * 1000);
  self->pace_rate = rate;
}

/* Bursts of a quantum; what the clock of the caller came late is made good up to 2 ms. */
static gboolean
pacing_allows (PilotStream *self,
               gint64 now)
{
  gint64 now_ns = now * 1000;

  if (self->congestion.pacing_rate == 0 || (self->min_rtt >= 0 && self->min_rtt < PACING_MIN_RTT))
    return TRUE;
  if (self->burst_left > 0)
    return TRUE;
  pacing_rescale (self, now_ns);
  if (self->pace_at_ns > now_ns) {
    stream_timer_set (self, STREAM_TIMER_PACE, (self->pace_at_ns + 999) / 1000);
    return FALSE;
  }
  self->pace_at_ns = MAX (self->pace_at_ns, now_ns - PACING_SLACK_NS);
  self->burst_left = MAX (self->congestion.quantum, 1);
  return TRUE;
}

static void
pacing_spend (PilotStream *self,
              gsize length)
{
  if (self->congestion.pacing_rate == 0)
    return;
  self->burst_left -= MIN (self->burst_left, length);
  self->pace_at_ns += (gint64) (length * 1000000000u / self->congestion.pacing_rate);
  self->pace_rate = self->congestion.pacing_rate;
}

static void
stamp (PilotStream *self,
       PilotStreamRecord *record,
       gint64 now)
{
  if (self->in_flight == 0)
    self->delivered_at = self->first_sent = now;
  record->sent = now;
  record->first_sent = self->first_sent;
  record->delivered_at = self->delivered_at;
  record->delivered = self->delivered;
  record->flags &= ~PILOT_SEGMENT_APP_LIMITED;
  if (self->delivered < self->app_limited_until)
    record->flags |= PILOT_SEGMENT_APP_LIMITED;
}

static gboolean
output_record (PilotStream *self,
               PilotStreamSegment *segment,
               PilotStreamRecord *record,
               gint64 now)
{
  guint64 offset = self->send_start + (guint32) (record->sequence - self->snd_una);

  if (record->flags & PILOT_SEGMENT_FIN) {
    header (self, segment, self->half_close ? PILOT_PACKET_FIN | PILOT_PACKET_ACK : PILOT_PACKET_FIN);
    if (!self->half_close)
      segment->ack = segment->window = 0;
    segment->seq = record->sequence;
  } else {
    header (self, segment, PILOT_PACKET_ACK);
    segment->seq = record->sequence;
    segment->n_payload = pilot_ring_spans (&self->send_ring, offset, record->length, segment->payload);
    segment->before = (gsize) ((const guint8 *) segment->payload[0].iov_base - self->send_ring.data);
    segment->payload_length = record->length;
    self->last_data_sent = now;
  }
  if (segment->flags & PILOT_PACKET_ACK) {
    stream_note_acknowledged (self, segment->window);
    self->n_ack_points = 0;
  }
  pacing_spend (self, record->length);
  return finish (self, segment, now);
}

/* The path carries less than it did: what was sent for it goes again in smaller pieces. Only our own kind takes these (streams.md 4.1), and
 * only it was sent more than STREAM_SEGMENT_SIZE. */
static guint64
cut_records (PilotStream *self,
             guint64 id)
{
  const guint32 sequence = pilot_stream_records_get (&self->records, id)->sequence;
  const guint64 lost = self->lost_since;

  stream_mark_all_lost (self);
  /* The congestion of the path is not to blame. */
  self->lost_since = lost;
  pilot_stream_records_split (&self->records, self->congestion.segment_size);
  self->n_sacked = 0;
  for (guint64 i = self->records.head; i != self->records.head + self->records.n_records; i++)
    self->n_sacked += (pilot_stream_records_get (&self->records, i)->flags & PILOT_SEGMENT_SACKED) != 0;
  return pilot_stream_records_find (&self->records, sequence);
}

static gboolean
retransmit (PilotStream *self,
            PilotStreamSegment *segment,
            guint64 id,
            gboolean counts,
            gint64 now)
{
  PilotStreamRecord *record = pilot_stream_records_get (&self->records, id);

  if (record->length > self->congestion.segment_size) {
    id = cut_records (self, id);
    record = pilot_stream_records_get (&self->records, id);
  }
  if (record->flags & PILOT_SEGMENT_LOST) {
    pilot_stream_records_unlink (&self->records, &self->records.lost, id);
    record->flags &= ~PILOT_SEGMENT_LOST;
  } else {
    pilot_stream_records_unlink (&self->records, &self->records.in_flight, id);
    self->in_flight -= record->length;
  }
  stamp (self, record, now);
  record->flags |= PILOT_SEGMENT_RETRANSMITTED;
  if (counts && record->transmissions < 255)
    record->transmissions++;
  pilot_stream_records_link (&self->records, &self->records.in_flight, id);
  self->in_flight += record->length;
  self->retransmits++;
  if (self->rto_backoff == 0)
    self->fast_retransmits++;
  if (!stream_timer_is_set (self, STREAM_TIMER_RETRANSMIT))
    stream_arm_retransmit (self, now);
  return output_record (self, segment, record, now);
}

static gboolean
output_new (PilotStream *self,
            PilotStreamSegment *segment,
            guint length,
            gboolean fin,
            gint64 now)
{
  guint64 id;
  PilotStreamRecord *record;

  if (self->records.n_records == 0)
    self->congestion.class->restart (&self->congestion, self->idle_since, now);
  record = pilot_stream_records_append (&self->records, &id);
  record->sequence = self->snd_nxt;
  record->length = (guint16) length;
  record->flags = fin ? PILOT_SEGMENT_FIN : 0;
  record->transmissions = 1;
  stamp (self, record, now);
  pilot_stream_records_link (&self->records, &self->records.in_flight, id);
  self->in_flight += length;
  self->send_sent += length;
  self->bytes_sent += length;
  self->snd_nxt = pilot_stream_record_end (record);
  if (length < self->congestion.segment_size)
    self->short_end = self->snd_nxt;
  if (!stream_timer_is_set (self, STREAM_TIMER_RETRANSMIT) || (self->own_kind && !self->in_recovery))
    stream_arm_retransmit (self, now);
  return output_record (self, segment, record, now);
}

static gboolean
output_fin (PilotStream *self,
            PilotStreamSegment *segment,
            gint64 now)
{
  self->fin_sent = TRUE;
  self->state = self->state == PILOT_STREAM_STATE_CLOSE_WAIT ? PILOT_STREAM_STATE_LAST_ACK : PILOT_STREAM_STATE_FIN_WAIT_1;
  if (!self->half_close)
    stream_timer_set (self, STREAM_TIMER_CLOSE, now + FIN_PATIENCE_GO);
  return output_new (self, segment, 0, TRUE, now);
}

/* A segment that a receiver would take for SACK is sent in two pieces, neither of which can be (streams.md section 5). */
static guint
avoid_sack (PilotStream *self,
            guint64 offset,
            guint length)
{
  guint8 start[5];
  struct iovec spans[2];
  guint n_spans, n = 0;

  if (length < PILOT_STREAM_SACK_SIZE (1))
    return length;
  n_spans = pilot_ring_spans (&self->send_ring, offset, sizeof start, spans);
  for (guint i = 0; i < n_spans; i++) {
    memcpy (start + n, spans[i].iov_base, spans[i].iov_len);
    n += spans[i].iov_len;
  }
  return pilot_stream_sack_resembles (start, length, 255) ? 4 : length;
}

/* Should a short tail wait for more (streams.md 4.6)? Toward our own kind only within a bulk transfer. */
static gboolean
hold_back (PilotStream *self,
           guint64 offset,
           guint length,
           guint segment_size,
           gint64 now)
{
  gboolean short_out = self->records.n_records > 0 && pilot_seq_gt (self->short_end, self->snd_una);

  if (length >= segment_size || self->fin_wanted || offset + length <= self->push_offset || !short_out)
    return FALSE;
  if (self->own_kind && self->in_flight < 10 * STREAM_SEGMENT_SIZE)
    return FALSE;
  if (!stream_timer_is_set (self, STREAM_TIMER_HOLD))
    stream_timer_set (self, STREAM_TIMER_HOLD, now + (self->own_kind ? HOLD_OWN : HOLD_GO));
  return TRUE;
}

/* How many segments may be on the way to a Go peer. When its queue is full, its node handles no packet at all for up to a second for each segment that comes
 * all the same (streams.md 4.1), not even what acknowledges its own data; and as it never says when it has room again, it has to be asked, with a segment. The last
 * slots are kept for that. */
static guint
go_slots (const PilotStream *self)
{
  guint reserve = MIN (GO_RESERVE, self->peer_slots_most / 64);
  guint slots = self->peer_slots > reserve ? self->peer_slots - reserve : 0;

  return MIN (STREAM_GO_SEGMENTS, slots);
}

/* How many of @length new bytes the peer's window lets out. */
static guint
window_allows (PilotStream *self,
               guint length,
               gint64 now)
{
  guint64 room = self->peer_window > self->send_sent ? self->peer_window - self->send_sent : 0;

  if (!self->own_kind || self->peer_scale < 0) {
    if (self->records.n_records < go_slots (self))
      return length;
  } else if (room >= MIN (length, STREAM_SEGMENT_SIZE))
    return MIN (length, room);
  if (self->window_probe_due)
    return self->records.n_records == 0 ? MIN (length, STREAM_SEGMENT_SIZE) : 0;
  if (self->records.n_records == 0 && !stream_timer_is_set (self, STREAM_TIMER_WINDOW))
    stream_timer_set (self, STREAM_TIMER_WINDOW, now + stream_window_probe_delay (self));
  return 0;
}

static guint
choose_length (PilotStream *self,
               gint64 now)
{
  guint segment_size = self->congestion.segment_size;
  guint64 offset = self->send_start + self->send_sent;
  guint length = MIN (self->send_length - self->send_sent, segment_size);

  if (length == 0 || self->fin_sent || self->fin_forced || self->records.n_records >= PILOT_STREAM_MAX_RECORDS)
    return 0;
  if (hold_back (self, offset, length, segment_size, now))
    return 0;
  length = window_allows (self, length, now);
  return length > 0 ? avoid_sack (self, offset, length) : 0;
}

/* Regardless of window and pacing: the head after a timeout, the tail as a probe (RFC 8985 section 7.3). */
static gboolean
output_probe (PilotStream *self,
              PilotStreamSegment *segment,
              gint64 now)
{
  guint length;

  self->loss_probe_due = FALSE;
  if (self->records.n_records == 0)
    return FALSE;
  if (self->records.lost.first != PILOT_SEGMENT_NONE)
    return retransmit (self, segment, self->records.lost.first, TRUE, now);
  self->probe_spent = TRUE;
  length = choose_length (self, now);
  if (length > 0)
    return output_new (self, segment, length, FALSE, now);
  if (self->records.in_flight.last == PILOT_SEGMENT_NONE)
    return FALSE;
  return retransmit (self, segment, self->records.in_flight.last, TRUE, now);
}

static gboolean
output_data (PilotStream *self,
             PilotStreamSegment *segment,
             gint64 now)
{
  gboolean probing = self->window_probe_due;
  guint length;

  if (self->loss_probe_due && output_probe (self, segment, now))
    return TRUE;
  if (probing && self->records.n_records > 0) {
    /* Only data makes a Go peer answer: the oldest segment again. */
    self->window_probe_due = FALSE;
    self->window_probes++;
    stream_timer_clear (self, STREAM_TIMER_WINDOW);
    retransmit (self, segment, self->records.head, FALSE, now);
    stream_arm_retransmit (self, now);
    return TRUE;
  }
  if (self->records.lost.first != PILOT_SEGMENT_NONE) {
    if (self->in_flight >= self->congestion.window || !pacing_allows (self, now))
      return FALSE;
    return retransmit (self, segment, self->records.lost.first, TRUE, now);
  }
  if (self->send_length == self->send_sent) {
    self->window_probe_due = FALSE;
    /* A writer that waits for room is held up by the path, not by itself. */
    if (self->in_flight < self->congestion.window && self->send_length < self->write_limit / 2)
      self->app_limited_until = MAX (self->delivered + self->in_flight, 1);
    if (!self->fin_wanted || !self->fin_allowed || self->fin_sent)
      return FALSE;
    if (!self->half_close && self->records.n_records > 0 && !self->fin_forced)
      return FALSE;
    return output_fin (self, segment, now);
  }
  if (self->fin_forced && !self->fin_sent)
    return output_fin (self, segment, now);
  if (!probing && (self->in_flight >= self->congestion.window || !pacing_allows (self, now)))
    return FALSE;
  length = choose_length (self, now);
  self->window_probe_due = FALSE;
  if (length == 0)
    return FALSE;
  if (probing)
    self->window_probes++;
  return output_new (self, segment, length, FALSE, now);
}

static gboolean
output_any (PilotStream *self,
            PilotStreamSegment *segment,
            gint64 now)
{
  if (self->rst_due)
    return output_reset (self, segment, now);
  if (self->state == PILOT_STREAM_STATE_CLOSED || self->state == PILOT_STREAM_STATE_SYN_RECEIVED)
    return FALSE;
  if (self->state == PILOT_STREAM_STATE_SYN_SENT)
    return self->syn_due && output_syn (self, segment, now);
  if (self->syn_ack_due)
    return output_syn_ack (self, segment, now);
  if (self->fin_ack_due)
    return output_fin_ack (self, segment, now);
  if (self->n_ack_points > 0 || self->duplicate_acks_due > 0 || self->empty_acks_due > 0)
    return output_counted_ack (self, segment, now);
  if (self->ack_now && self->held.n_items > 0)
    return output_ack (self, segment, TRUE, now);
  if (stream_can_send (self) && output_data (self, segment, now))
    return TRUE;
  if (self->ack_now || self->keepalive_due) {
    self->keepalive_due = FALSE;
    return output_ack (self, segment, TRUE, now);
  }
  return FALSE;
}

gboolean
pilot_stream_output (PilotStream *self,
                     PilotStreamSegment *segment,
                     guint mss_limit,
                     gint64 now)
{
  const guint segment_size = MIN (mss_limit, self->own_kind ? self->peer_segment_size : STREAM_SEGMENT_SIZE);
  gboolean made;

  stream_timer_clear (self, STREAM_TIMER_PACE);
  if (segment_size != self->congestion.segment_size)
    pilot_congestion_set_segment_size (&self->congestion, segment_size, self->delivered == 0);
  made = output_any (self, segment, now);
  /* The caller is here: it asks for the deadline itself. */
  self->changed = FALSE;
  stream_flush (self, now);
  return made;
}
