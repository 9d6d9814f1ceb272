/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/stream-internal.h"

#include <string.h>

/* Packets in: dispatch, data into the ring, FIN, and which acknowledgements are owed (streams.md sections 4.1, 4.2, 9). */

#define DELAYED_ACK (5 * STREAM_MS)
#define FIN_HOLD (15 * STREAM_SECOND)
#define ANSWER_AFTER (5 * STREAM_SECOND)
#define GO_SLOTS 512
/* Bytes of a message whose sender may wait for the next. */
#define SHORT_MESSAGE 1024
#define MAX_DRIFT (2 * 1024 * 1024)

static gboolean
scaled (PilotStream *self)
{
  return self->own_kind && self->peer_scale >= 0;
}

guint16
stream_window_field (PilotStream *self,
                     gboolean syn)
{
  gsize space = self->receive_limit > self->readable ? self->receive_limit - self->readable : 0;

  if (self->released)
    space = self->receive_limit;
  /* No window too small to be of use (RFC 9293 3.8.6.2.2). */
  if (space < MIN (STREAM_GO_WINDOW_UNIT, self->receive_limit / 2))
    space = 0;
  if (syn || !scaled (self)) {
    gsize slots = MIN (space / STREAM_GO_WINDOW_UNIT, GO_SLOTS);

    return (guint16) (syn ? MAX (slots, 1) : slots);
  }
  return (guint16) MIN (space >> self->receive_scale, 65535);
}

/* An acknowledgement of everything leaves with this window. */
void
stream_note_acknowledged (PilotStream *self,
                          guint16 window)
{
  guint32 bytes = scaled (self) ? (guint32) window << self->receive_scale : (guint32) window * STREAM_GO_WINDOW_UNIT;

  self->advertised_edge = self->rcv_nxt + bytes;
  self->ack_now = self->ack_pending = FALSE;
  self->segments_unacked = 0;
  stream_timer_clear (self, STREAM_TIMER_ACK);
}

/* What to report: where the newest segment is, then what changed, then the others in turn. */
guint
stream_choose_blocks (PilotStream *self,
                      PilotStreamInterval *blocks)
{
  guint most = MIN (self->own_kind ? self->peer_blocks : 4, PILOT_STREAM_SACK_MAX);
  guint chosen[PILOT_STREAM_SACK_MAX];
  guint n = 0, n_items = self->held.n_items;
  guint newest = pilot_stream_intervals_find (&self->held, self->newest_left);

  most = MIN (most, n_items);
  for (guint pass = 0; pass < 3 && n < most; pass++)
    for (guint i = 0; i < n_items && n < most; i++) {
      guint at = pass == 2 ? (self->sack_cursor + i) % n_items : n_items - 1 - i;
      gboolean known = FALSE;

      if ((pass == 0 && at != newest) || (pass == 1 && !self->held.items[at].fresh))
        continue;
      for (guint k = 0; k < n; k++)
        known |= chosen[k] == at;
      if (!known)
        chosen[n++] = at;
    }
  self->sack_cursor = n_items > 0 ? (self->sack_cursor + most) % n_items : 0;
  /* The reference sends them in order. */
  for (guint i = 1; !self->own_kind && i < n; i++)
    for (guint k = i; k > 0 && chosen[k] < chosen[k - 1]; k--) {
      guint swap = chosen[k];

      chosen[k] = chosen[k - 1];
      chosen[k - 1] = swap;
    }
  for (guint i = 0; i < n; i++) {
    blocks[i] = self->held.items[chosen[i]];
    self->held.items[chosen[i]].fresh = FALSE;
  }
  return n;
}

static void
add_ack_point (PilotStream *self)
{
  if (self->n_ack_points == STREAM_MAX_ACK_POINTS)
    self->n_ack_points--;
  self->ack_points[self->n_ack_points++] = self->rcv_nxt;
  self->segments_unacked = 0;
  self->ack_pending = FALSE;
  stream_timer_clear (self, STREAM_TIMER_ACK);
}

/* It leaves with what goes back anyway, or by itself a moment later. */
static void
owe_ack_later (PilotStream *self,
               gint64 now)
{
  if (self->ack_now || self->ack_pending)
    return;
  self->ack_pending = TRUE;
  stream_timer_set (self, STREAM_TIMER_ACK, now + DELAYED_ACK);
}

/* A Go sender counts acknowledgements and grows by each: it gets one for every second segment, as from its own kind. */
static void
owe_ack_in_order (PilotStream *self,
                  gsize length,
                  gboolean gap,
                  gint64 now)
{
  self->segments_unacked++;
  if (self->own_kind) {
    if (gap || self->segments_unacked >= 2)
      self->ack_now = TRUE;
  } else if (gap || self->segments_unacked >= 2 || length < STREAM_SEGMENT_SIZE)
    add_ack_point (self);
  if (self->segments_unacked > 0)
    owe_ack_later (self, now);
}

static void
owe_ack_out_of_order (PilotStream *self)
{
  if (self->own_kind) {
    self->ack_now = TRUE;
    return;
  }
  self->duplicate_acks_due++;
  /* v1.9 counts only empty ones; once for each gap. */
  if (++self->gap_segments >= 3 && !self->gap_told) {
    self->gap_told = TRUE;
    self->empty_acks_due = 3;
  }
}

static void
deliver (PilotStream *self,
         gsize length)
{
  gboolean was_empty = self->readable == 0;

  self->rcv_nxt += length;
  self->readable += length;
  while (self->held.n_items > 0 && pilot_seq_le (self->held.items[0].left, self->rcv_nxt)) {
    gint32 more = pilot_seq_diff (self->held.items[0].right, self->rcv_nxt);

    if (more > 0) {
      self->rcv_nxt += more;
      self->readable += more;
    }
    pilot_stream_intervals_trim (&self->held, self->rcv_nxt);
  }
  if (was_empty)
    stream_signal (self, PILOT_STREAM_READY_READ);
}

static void
execute_fin (PilotStream *self,
             gint64 now)
{
  self->fin_held = FALSE;
  self->fin_received = TRUE;
  self->rcv_nxt = self->fin_sequence + 1;
  stream_timer_clear (self, STREAM_TIMER_FIN_HOLD);
  stream_signal (self, PILOT_STREAM_READY_EOF);
  if (!self->half_close) {
    /* Both directions are over. Our FIN-ACK is sent once, and not when the peer's answers ours. */
    if (!self->fin_ack_sent && !self->fin_acked)
      self->fin_ack_due = self->fin_ack_sent = TRUE;
    stream_enter_time_wait (self, now);
    return;
  }
  if (self->state == PILOT_STREAM_STATE_ESTABLISHED) {
    /* Most programs end their side, too, when they hear of it. */
    self->state = PILOT_STREAM_STATE_CLOSE_WAIT;
    owe_ack_later (self, now);
    return;
  }
  self->ack_now = TRUE;
  if (self->state == PILOT_STREAM_STATE_FIN_WAIT_1)
    self->state = PILOT_STREAM_STATE_CLOSING;
  else if (self->state == PILOT_STREAM_STATE_FIN_WAIT_2)
    stream_enter_time_wait (self, now);
}

static void
data_after_release (PilotStream *self,
                    gint64 now)
{
  /* Nobody will read it: our own kind is told (RFC 9293 3.10.7), a Go peer has been told by the FIN. */
  if (!self->half_close)
    return;
  self->rst_due = TRUE;
  stream_close (self, PILOT_STREAM_ERROR_NONE, now);
}

guint8 *
pilot_stream_place (PilotStream *self,
                    guint32 seq,
                    gsize length)
{
  const gsize size = self->readable + length;
  struct iovec spans[2];

  if (seq != self->rcv_nxt || self->held.n_items > 0 || self->fin_held || self->released || !stream_can_receive (self) ||
      size > self->receive_limit || size > self->receive_ring.capacity)
    return NULL;
  if (self->readable == 0)
    pilot_ring_rewind (&self->receive_ring, self->read_offset);
  return pilot_ring_spans (&self->receive_ring, self->read_offset + self->readable, length, spans) == 1 ? spans[0].iov_base : NULL;
}

static void
note_message (PilotStream *self,
              gint64 now)
{
  PilotSiblings *siblings = stream_siblings (self);

  if (siblings != NULL)
    pilot_siblings_asked (siblings, self, now);
}

void
stream_receive_data (PilotStream *self,
                     const PilotPacket *packet,
                     gint64 now)
{
  const guint8 *data = packet->payload;
  gsize length = packet->payload_length;
  gint32 ahead;
  gboolean gap = self->held.n_items > 0;
  gsize valid, size;

  /* v1.9 repeats a lost SYN-ACK with a number that has drifted past data it sent meanwhile; its numbers begin at 0. */
  if (!self->own_kind && self->config.initiator && packet->seq == 1 && self->bytes_received == 0 && self->irs < MAX_DRIFT)
    self->rcv_nxt = 1;
  ahead = pilot_seq_diff (packet->seq, self->rcv_nxt);
  if (!stream_can_receive (self) || ahead + (gint64) length <= 0) {
    if (self->half_close || stream_can_receive (self))
      self->ack_now = TRUE;
    return;
  }
  if (self->released) {
    data_after_release (self, now);
    return;
  }
  if (ahead < 0) {
    data += -ahead;
    length -= -ahead;
    ahead = 0;
  }
  size = self->readable + (gsize) ahead + length;
  if ((self->fin_held && pilot_seq_gt (self->rcv_nxt + ahead + length, self->fin_sequence)) || size > self->receive_limit) {
    self->ack_now = TRUE;
    return;
  }
  valid = self->readable;
  if (gap)
    valid += self->held.items[self->held.n_items - 1].right - self->rcv_nxt;
  if (ahead > 0 && pilot_stream_intervals_add (&self->held, packet->seq, packet->seq + length) < 0)
    return;
  if (valid == 0)
    pilot_ring_rewind (&self->receive_ring, self->read_offset);
  pilot_ring_reserve (&self->receive_ring, self->read_offset, valid, size, self->receive_limit);
  pilot_ring_write (&self->receive_ring, self->read_offset + self->readable + ahead, data, length);
  if (!stream_timer_is_set (self, STREAM_TIMER_MEMORY))
    stream_timer_set (self, STREAM_TIMER_MEMORY, now + STREAM_SECOND);
  self->bytes_received += length;
  if (ahead > 0) {
    self->newest_left = packet->seq;
    owe_ack_out_of_order (self);
    return;
  }
  deliver (self, length);
  if (length <= SHORT_MESSAGE)
    note_message (self, now);
  if (gap) {
    self->duplicate_acks_due = self->empty_acks_due = self->gap_segments = 0;
    self->gap_told = FALSE;
  }
  owe_ack_in_order (self, packet->payload_length, gap, now);
  if (self->fin_held && self->rcv_nxt == self->fin_sequence)
    execute_fin (self, now);
}

void
stream_receive_fin (PilotStream *self,
                    const PilotPacket *packet,
                    gint64 now)
{
  gint32 ahead = pilot_seq_diff (packet->seq, self->rcv_nxt);

  if (!stream_can_receive (self)) {
    /* Ours was lost on the way; never answered with a FIN. */
    if (self->half_close && self->fin_received) {
      self->ack_now = TRUE;
      if (self->state == PILOT_STREAM_STATE_TIME_WAIT)
        stream_enter_time_wait (self, now);
    }
    return;
  }
  if (ahead > 0) {
    if ((gsize) ahead > self->receive_limit)
      return;
    self->fin_held = self->ack_now = TRUE;
    self->fin_sequence = packet->seq;
    if (!self->half_close)
      stream_timer_set (self, STREAM_TIMER_FIN_HOLD, now + FIN_HOLD);
    return;
  }
  if (ahead < 0 && self->half_close) {
    self->ack_now = TRUE;
    return;
  }
  self->fin_sequence = self->rcv_nxt;
  execute_fin (self, now);
}

void
stream_fin_hold_expired (PilotStream *self,
                         gint64 now)
{
  if (!self->fin_held)
    return;
  if (now - self->last_received < FIN_HOLD)
    stream_timer_set (self, STREAM_TIMER_FIN_HOLD, self->last_received + FIN_HOLD);
  else
    stream_close (self, PILOT_STREAM_ERROR_LOST, now); /* bytes are missing: this is no orderly end */
}

static void
input_rst (PilotStream *self,
           const PilotPacket *packet,
           gint64 now)
{
  if (self->state == PILOT_STREAM_STATE_SYN_SENT) {
    if (self->syn_transmissions > 0 && (packet->ack == self->iss + 1 || (packet->ack == 0 && packet->seq == 0)))
      stream_close (self, PILOT_STREAM_ERROR_REFUSED, now);
    return;
  }
  /* The reference sends zeros, our own kind a number that must lie in the window: a late one of another connection does not. */
  if (self->own_kind && self->state != PILOT_STREAM_STATE_SYN_RECEIVED &&
      (guint32) (packet->seq - self->rcv_nxt) > self->receive_limit)
    return;
  if (self->own_kind && self->state == PILOT_STREAM_STATE_SYN_RECEIVED && packet->seq != 0 && packet->seq != self->irs + 1)
    return;
  stream_close (self, PILOT_STREAM_ERROR_RESET, now);
}

/* A keepalive or a window probe of the reference: it has no other way to learn that we live (streams.md 9, receiver 6). */
static void
answer_probe (PilotStream *self,
              gint64 now)
{
  guint32 edge = self->rcv_nxt;
  guint16 window = stream_window_field (self, FALSE);

  edge += scaled (self) ? (guint32) window << self->receive_scale : (guint32) window * STREAM_GO_WINDOW_UNIT;
  if (now - self->last_sent >= ANSWER_AFTER || edge != self->advertised_edge)
    self->ack_now = TRUE;
}

static void
input_ack (PilotStream *self,
           const PilotPacket *packet,
           gint64 now)
{
  PilotStreamInterval blocks[PILOT_STREAM_SACK_MAX];
  guint n_blocks = 0;
  gboolean news;
  guint32 una = self->snd_una;
  guint64 window = self->peer_window;

  if (pilot_seq_gt (packet->ack, self->snd_nxt))
    return;
  if (packet->payload_length > 0)
    n_blocks = pilot_stream_sack_decode (packet->payload, packet->payload_length,
                                         self->own_kind ? PILOT_STREAM_SACK_MAX : 4, self->snd_nxt, blocks);
  self->sacks_received += n_blocks > 0;
  stream_process_ack (self, packet, blocks, n_blocks, now);
  if (self->state == PILOT_STREAM_STATE_CLOSED)
    return;
  news = self->snd_una != una || self->peer_window != window || n_blocks > 0;
  if (packet->payload_length > 0 && n_blocks == 0)
    stream_receive_data (self, packet, now);
  else if (!news && packet->payload_length == 0)
    answer_probe (self, now);
}

void
pilot_stream_input (PilotStream *self,
                    const PilotPacket *packet,
                    gint64 now)
{
  guint8 flags = packet->flags;

  self->segments_received++;
  if (self->state == PILOT_STREAM_STATE_CLOSED)
    return;
  if (flags & PILOT_PACKET_SYN) {
    if (flags & PILOT_PACKET_ACK)
      stream_input_syn_ack (self, packet, now);
    else
      stream_input_repeated_syn (self, packet, now);
    stream_flush (self, now);
    return;
  }
  if (flags & PILOT_PACKET_RST && !(flags & PILOT_PACKET_FIN))
    input_rst (self, packet, now);
  else if (self->state != PILOT_STREAM_STATE_SYN_SENT && self->state != PILOT_STREAM_STATE_SYN_RECEIVED) {
    self->last_received = now;
    self->keepalives = self->unheeded = 0;
    if (flags & PILOT_PACKET_FIN) {
      if (flags & PILOT_PACKET_ACK && pilot_seq_le (packet->ack, self->snd_nxt))
        stream_process_ack (self, packet, NULL, 0, now);
      if (self->state != PILOT_STREAM_STATE_CLOSED)
        stream_receive_fin (self, packet, now);
    } else if (flags & PILOT_PACKET_ACK)
      input_ack (self, packet, now);
  }
  stream_flush (self, now);
}
