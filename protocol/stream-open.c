/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/stream-internal.h"

/* Opening: SYN and SYN-ACK, the extensions in them, the schedule of a dial (streams.md section 3). */

#define DIAL_FIRST (250 * STREAM_MS)
#define DIAL_CAP (8 * STREAM_SECOND)
#define DIAL_EXPIRIES 8
/* The third expiry is where the path changes to the relay: the schedule starts anew (0, .25, .75, 1.75, 2.25, 3.25, 5.25, 9.25; 17.25 s). */
#define DIAL_RESTART 3
#define FIN_DEFERRED (60 * STREAM_SECOND)
#define DIAL_TOTAL (17250 * STREAM_MS)

gsize
stream_encode_extensions (PilotStream *self,
                          guint8 *out)
{
  PilotStreamExtensions offer = {
    .window_scale = self->receive_scale,
    .half_close = TRUE,
    .sack_blocks = PILOT_STREAM_SACK_MAX,
    .segment_size = 65000,
    .mtu_probes = TRUE,
    .unsummed = TRUE,
    .short_headers = TRUE,
  };

  return pilot_stream_extensions_encode (&offer, out);
}

/* What the peer's SYN or SYN-ACK says of it. */
static void
learn (PilotStream *self,
       const PilotPacket *packet)
{
  PilotStreamExtensions theirs;

  self->irs = packet->seq;
  self->rcv_nxt = self->advertised_edge = packet->seq + 1;
  self->peer_slots = self->peer_slots_most = packet->window;
  self->peer_window = (guint64) packet->window * STREAM_SEGMENT_SIZE;
  if (!self->config.extensions || !pilot_stream_extensions_decode (&theirs, packet->payload, packet->payload_length))
    return;
  self->own_kind = TRUE;
  self->peer_scale = theirs.window_scale;
  self->half_close = theirs.half_close;
  self->peer_blocks = theirs.sack_blocks;
  self->peer_segment_size = theirs.segment_size;
  self->mtu_probes = theirs.mtu_probes;
  self->unsummed = theirs.unsummed;
  self->short_headers = theirs.short_headers;
}

void
stream_established (PilotStream *self,
                    gint64 now)
{
  self->state = PILOT_STREAM_STATE_ESTABLISHED;
  self->snd_una = self->iss + 1;
  self->sacked_end = self->rack_end = self->snd_una;
  self->last_received = self->last_progress = now;
  self->delivered_at = self->first_sent = now;
  stream_timer_clear (self, STREAM_TIMER_DIAL);
  stream_timer_set (self, STREAM_TIMER_IDLE, now + 60 * STREAM_SECOND);
  if (self->fin_wanted) {
    if (self->half_close)
      self->fin_allowed = TRUE;
    else
      stream_timer_set (self, STREAM_TIMER_CLOSE, now + FIN_DEFERRED);
  }
  self->changed = TRUE;
}

void
pilot_stream_input_syn (PilotStream *self,
                        const PilotPacket *syn,
                        gint64 now)
{
  self->segments_received++;
  learn (self, syn);
  stream_flush (self, now);
}

void
pilot_stream_accept (PilotStream *self,
                     gint64 now)
{
  if (self->state == PILOT_STREAM_STATE_SYN_RECEIVED) {
    self->accepted = self->syn_ack_due = TRUE;
    stream_established (self, now);
  }
  stream_flush (self, now);
}

void
pilot_stream_refuse (PilotStream *self,
                     gint64 now)
{
  self->released = TRUE;
  pilot_stream_fail (self, PILOT_STREAM_ERROR_REFUSED, TRUE, now);
}

void
pilot_stream_ignore (PilotStream *self,
                     gint64 now)
{
  self->released = TRUE;
  pilot_stream_fail (self, PILOT_STREAM_ERROR_NONE, FALSE, now);
}

void
stream_input_repeated_syn (PilotStream *self,
                           const PilotPacket *packet,
                           gint64 now)
{
  if (self->state == PILOT_STREAM_STATE_SYN_SENT || self->state == PILOT_STREAM_STATE_SYN_RECEIVED ||
      self->state == PILOT_STREAM_STATE_CLOSED || self->config.initiator)
    return;
  if (packet->seq != self->irs) {
    /* Another connection from the same port: the peer has lost this one, it was restarted. */
    stream_close (self, PILOT_STREAM_ERROR_RESET, now);
    return;
  }
  self->syn_ack_due = self->changed = TRUE;
  /* It never heard the SYN-ACK, so what followed fell on deaf ears. */
  if (self->snd_una == self->iss + 1)
    stream_mark_all_lost (self);
}

void
stream_input_syn_ack (PilotStream *self,
                      const PilotPacket *packet,
                      gint64 now)
{
  if (self->state != PILOT_STREAM_STATE_SYN_SENT || self->syn_transmissions == 0 || packet->ack != self->iss + 1)
    return;
  learn (self, packet);
  stream_established (self, now);
  if (self->syn_transmissions == 1)
    stream_rtt_sample (self, MAX (now - self->syn_sent, 1));
  self->ack_now = TRUE;
  stream_signal (self, PILOT_STREAM_READY_OPEN);
}

gboolean
pilot_stream_wants_syn (PilotStream *self)
{
  return self->state == PILOT_STREAM_STATE_SYN_SENT && self->syn_due;
}

void
pilot_stream_hold_syn (PilotStream *self,
                       gint64 until)
{
  if (self->state != PILOT_STREAM_STATE_SYN_SENT || !(self->syn_due || self->syn_held))
    return;
  self->syn_due = FALSE;
  self->syn_held = TRUE;
  stream_timer_set (self, STREAM_TIMER_DIAL, MIN (until, self->created + DIAL_TOTAL));
}

void
stream_dial_expired (PilotStream *self,
                     gint64 now)
{
  if (self->state != PILOT_STREAM_STATE_SYN_SENT)
    return;
  if (self->syn_held && now - self->created < DIAL_TOTAL) {
    self->syn_held = FALSE;
    self->syn_due = TRUE;
    return;
  }
  if (self->syn_transmissions >= DIAL_EXPIRIES || now - self->created >= DIAL_TOTAL) {
    stream_close (self, PILOT_STREAM_ERROR_TIMEOUT, now);
    return;
  }
  self->dial_timeout = self->syn_transmissions == DIAL_RESTART ? 2 * DIAL_FIRST : MIN (self->dial_timeout * 2, DIAL_CAP);
  self->syn_due = TRUE;
}
