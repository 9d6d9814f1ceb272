/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/stream-internal.h"

#include <string.h>

/* Life, timers, closing and what a user can ask. */

#define TIME_WAIT_GO (10 * STREAM_SECOND)
#define TIME_WAIT_MIN (1 * STREAM_SECOND)
#define FIN_PATIENCE_GO (10 * STREAM_SECOND)
#define FIN_DELAY_GO (5 * STREAM_SECOND)
#define RESET_PATIENCE (10 * STREAM_SECOND)
#define FIN_DEFERRED (60 * STREAM_SECOND)
#define ORPHAN_PATIENCE (60 * STREAM_SECOND)
#define KEEPALIVE_OWN (300 * STREAM_SECOND)
#define KEEPALIVE_REPEAT (30 * STREAM_SECOND)
#define KEEPALIVES 3
#define IDLE_GO (240 * STREAM_SECOND)
#define MEMORY_IDLE (1 * STREAM_SECOND)
/* Nobody waits for the end of TIME_WAIT: of thousands of streams many end in one turn of the host's loop, instead of waking it once each. */
#define TIME_WAIT_GRAIN (100 * STREAM_MS)

PilotStream *
pilot_stream_new (const PilotStreamConfig *config,
                  gint64 now)
{
  PilotStream *self = g_new0 (PilotStream, 1);

  self->config = *config;
  if (self->config.receive_window_max == 0)
    self->config.receive_window_max = STREAM_DEFAULT_BUFFER;
  if (self->config.send_buffer_max == 0)
    self->config.send_buffer_max = STREAM_DEFAULT_BUFFER;
  self->state = config->initiator ? PILOT_STREAM_STATE_SYN_SENT : PILOT_STREAM_STATE_SYN_RECEIVED;
  self->created = self->last_received = self->last_sent = self->last_progress = self->last_data_sent = now;
  self->delivered_at = self->first_sent = self->idle_since = now;
  for (guint i = 0; i < STREAM_N_TIMERS; i++)
    self->timers[i] = STREAM_NEVER;
  self->iss = config->initial_sequence;
  self->snd_una = self->iss;
  self->snd_nxt = self->iss + 1;
  self->rto = STREAM_SECOND;
  self->min_rtt = -1;
  self->peer_scale = -1;
  self->peer_blocks = 4;
  self->peer_segment_size = STREAM_SEGMENT_SIZE;
  self->reorder_window_mult = 1;
  self->receive_limit = MIN (self->config.receive_window_max, STREAM_INITIAL_LIMIT);
  self->write_limit = MIN (self->config.send_buffer_max, 256 * 1024);
  while (self->receive_scale < 14 && self->config.receive_window_max >> self->receive_scale > 65535)
    self->receive_scale++;
  pilot_stream_records_init (&self->records);
  pilot_congestion_init (&self->congestion, config->congestion != NULL ? config->congestion : &pilot_congestion_bbr, STREAM_SEGMENT_SIZE, now);
  return self;
}

void
pilot_stream_free (PilotStream *self)
{
  pilot_ring_clear (&self->send_ring);
  pilot_ring_clear (&self->receive_ring);
  pilot_stream_intervals_clear (&self->sacked);
  pilot_stream_intervals_clear (&self->held);
  pilot_stream_records_clear (&self->records);
  g_free (self);
}

PilotStreamLinks *
pilot_stream_links (PilotStream *self)
{
  return &self->links;
}

void
stream_signal (PilotStream *self,
               guint ready)
{
  /* An event that was queued before the release must find nothing. */
  if (self->released)
    return;
  if (self->ready == 0)
    self->ready_new = TRUE;
  self->ready |= ready;
}

/* Tells the overlay what happened, once per entry point and after the stream is consistent again. */
void
stream_flush (PilotStream *self,
              gint64 now)
{
  if (self->changed) {
    self->changed = FALSE;
    self->config.hooks->changed (self, self->config.overlay);
  }
  if (self->ready_new && !self->released) {
    self->ready_new = FALSE;
    self->config.hooks->ready (self, self->config.overlay);
  }
  if (self->released && !self->finished && self->state == PILOT_STREAM_STATE_CLOSED && !self->rst_due) {
    self->finished = TRUE;
    self->config.hooks->finished (self, now, self->config.overlay);
  }
}

void
stream_drop_send_side (PilotStream *self)
{
  pilot_stream_records_clear (&self->records);
  pilot_stream_intervals_clear (&self->sacked);
  pilot_ring_clear (&self->send_ring);
  self->send_start += self->send_length;
  self->send_length = self->send_sent = 0;
  self->in_flight = self->n_sacked = 0;
  self->snd_una = self->snd_nxt;
  self->loss_probe_due = FALSE;
  stream_timer_clear (self, STREAM_TIMER_RETRANSMIT);
  stream_timer_clear (self, STREAM_TIMER_PROBE);
  stream_timer_clear (self, STREAM_TIMER_REORDER);
  stream_timer_clear (self, STREAM_TIMER_WINDOW);
  stream_timer_clear (self, STREAM_TIMER_HOLD);
  stream_timer_clear (self, STREAM_TIMER_PACE);
}

/* What was received in order stays readable; everything else goes. */
void
stream_close (PilotStream *self,
              PilotStreamError error,
              gint64 now)
{
  if (self->state == PILOT_STREAM_STATE_CLOSED)
    return;
  if (self->error == PILOT_STREAM_ERROR_NONE && self->state != PILOT_STREAM_STATE_TIME_WAIT)
    self->error = error;
  if (self->state != PILOT_STREAM_STATE_TIME_WAIT)
    stream_signal (self, PILOT_STREAM_READY_CLOSED);
  self->state = PILOT_STREAM_STATE_CLOSED;
  stream_drop_send_side (self);
  pilot_stream_intervals_clear (&self->held);
  if (self->readable == 0)
    pilot_ring_clear (&self->receive_ring);
  for (guint i = 0; i < STREAM_N_TIMERS; i++)
    self->timers[i] = STREAM_NEVER;
  self->ack_now = self->ack_pending = self->syn_ack_due = self->syn_due = FALSE;
  self->n_ack_points = self->duplicate_acks_due = self->empty_acks_due = 0;
  /* Without a tunnel the reset cannot leave: it must not keep a released stream for ever. */
  if (self->rst_due)
    self->timers[STREAM_TIMER_CLOSE] = now + RESET_PATIENCE;
  self->changed = TRUE;
}

void
stream_enter_time_wait (PilotStream *self,
                        gint64 now)
{
  gint64 wait = self->half_close ? CLAMP (4 * self->rto, TIME_WAIT_MIN, TIME_WAIT_GO) : TIME_WAIT_GO;
  gint64 over = (now + wait + TIME_WAIT_GRAIN - 1) / TIME_WAIT_GRAIN * TIME_WAIT_GRAIN;

  self->state = PILOT_STREAM_STATE_TIME_WAIT;
  stream_drop_send_side (self);
  if (self->readable == 0) {
    /* Nothing can come any more, so there is no ring left to look after. */
    pilot_ring_clear (&self->receive_ring);
    pilot_stream_intervals_clear (&self->held);
    stream_timer_clear (self, STREAM_TIMER_MEMORY);
  }
  stream_timer_clear (self, STREAM_TIMER_FIN_HOLD);
  stream_timer_clear (self, STREAM_TIMER_IDLE);
  stream_timer_set (self, STREAM_TIMER_CLOSE, over);
  stream_signal (self, PILOT_STREAM_READY_CLOSED);
}

void
stream_check_drained (PilotStream *self)
{
  if (self->drained_told || !self->fin_acked)
    return;
  self->drained_told = TRUE;
  stream_signal (self, PILOT_STREAM_READY_DRAINED);
}

/* The state after the FIN of one side; see stream-receive.c and stream-recovery.c for the other steps. */
static void
close_expired (PilotStream *self,
               gint64 now)
{
  gint64 moved = MAX (self->last_received, self->last_progress);

  if (self->state == PILOT_STREAM_STATE_CLOSED) {
    self->rst_due = FALSE;
    return;
  }
  if (self->state == PILOT_STREAM_STATE_TIME_WAIT) {
    stream_close (self, PILOT_STREAM_ERROR_NONE, now);
    return;
  }
  if (!self->fin_sent && self->fin_wanted && !self->fin_allowed) {
    /* Deferred: a Go peer would stop sending. */
    if (now - moved < FIN_DEFERRED)
      stream_timer_set (self, STREAM_TIMER_CLOSE, moved + FIN_DEFERRED);
    else {
      self->fin_allowed = TRUE;
      stream_timer_set (self, STREAM_TIMER_CLOSE, now + FIN_DELAY_GO);
    }
    return;
  }
  if (!self->fin_sent && !self->fin_forced && self->fin_wanted && !self->half_close) {
    /* A slow peer that goes on taking data gets all of it, also what still waits for its turn; one that stands still has had its time: the FIN goes anyway. */
    if (now - moved < FIN_DELAY_GO) {
      stream_timer_set (self, STREAM_TIMER_CLOSE, moved + FIN_DELAY_GO);
      return;
    }
    self->fin_forced = self->changed = TRUE;
    stream_timer_set (self, STREAM_TIMER_CLOSE, now + FIN_PATIENCE_GO);
    return;
  }
  if (!self->half_close && (self->fin_sent || self->fin_forced)) {
    stream_close (self, PILOT_STREAM_ERROR_NONE, now);
    return;
  }
  if (self->released && self->state == PILOT_STREAM_STATE_FIN_WAIT_2) {
    if (now - moved < ORPHAN_PATIENCE)
      stream_timer_set (self, STREAM_TIMER_CLOSE, moved + ORPHAN_PATIENCE);
    else
      stream_close (self, PILOT_STREAM_ERROR_NONE, now);
  }
}

static void
idle_expired (PilotStream *self,
              gint64 now)
{
  gint64 patience = self->own_kind ? KEEPALIVE_OWN : IDLE_GO;

  if (self->last_received + patience > now) {
    self->keepalives = 0;
    stream_timer_set (self, STREAM_TIMER_IDLE, self->last_received + patience);
    return;
  }
  /* A Go peer probes by itself when idle: this long a silence is its end. Our own kind answers a probe. */
  if (!self->own_kind || self->keepalives >= KEEPALIVES) {
    stream_close (self, PILOT_STREAM_ERROR_LOST, now);
    return;
  }
  self->keepalives++;
  self->keepalive_due = TRUE;
  stream_timer_set (self, STREAM_TIMER_IDLE, now + KEEPALIVE_REPEAT);
}

static void
memory_expired (PilotStream *self,
                gint64 now)
{
  gint64 used = MAX (self->last_received, self->last_sent);

  if (now - used < MEMORY_IDLE) {
    stream_timer_set (self, STREAM_TIMER_MEMORY, used + MEMORY_IDLE);
    return;
  }
  if (self->send_length == 0 && self->records.n_records == 0) {
    pilot_ring_clear (&self->send_ring);
    pilot_stream_records_clear (&self->records);
    pilot_stream_intervals_clear (&self->sacked);
  }
  if (self->readable == 0 && self->held.n_items == 0) {
    pilot_ring_clear (&self->receive_ring);
    pilot_stream_intervals_clear (&self->held);
  }
  /* Armed again by the next use of a ring; what still holds data is looked at once a minute. */
  if (self->send_ring.data != NULL || self->receive_ring.data != NULL)
    stream_timer_set (self, STREAM_TIMER_MEMORY, now + 60 * STREAM_SECOND);
}

static void
timer_expired (PilotStream *self,
               StreamTimer timer,
               gint64 now)
{
  self->changed = TRUE;
  switch (timer) {
  case STREAM_TIMER_DIAL:
    stream_dial_expired (self, now);
    break;
  case STREAM_TIMER_RETRANSMIT:
    stream_retransmit_expired (self, now);
    break;
  case STREAM_TIMER_PROBE:
    self->loss_probe_due = TRUE;
    break;
  case STREAM_TIMER_REORDER:
    stream_reorder_expired (self, now);
    break;
  case STREAM_TIMER_ACK:
    self->ack_now = TRUE;
    break;
  case STREAM_TIMER_HOLD:
    self->push_offset = self->send_start + self->send_length;
    break;
  case STREAM_TIMER_WINDOW:
    self->window_probe_due = TRUE;
    break;
  case STREAM_TIMER_CLOSE:
    close_expired (self, now);
    break;
  case STREAM_TIMER_FIN_HOLD:
    stream_fin_hold_expired (self, now);
    break;
  case STREAM_TIMER_IDLE:
    idle_expired (self, now);
    break;
  case STREAM_TIMER_MEMORY:
    memory_expired (self, now);
    break;
  case STREAM_TIMER_PACE:
  case STREAM_N_TIMERS:
    break;
  }
}

gint64
pilot_stream_deadline (PilotStream *self)
{
  gint64 deadline = STREAM_NEVER;

  for (guint i = 0; i < STREAM_N_TIMERS; i++)
    deadline = MIN (deadline, self->timers[i]);
  return deadline;
}

void
pilot_stream_advance (PilotStream *self,
                      gint64 now)
{
  for (guint i = 0; i < STREAM_N_TIMERS; i++)
    if (self->timers[i] <= now) {
      self->timers[i] = STREAM_NEVER;
      timer_expired (self, i, now);
    }
  stream_flush (self, now);
}

guint
pilot_stream_take_ready (PilotStream *self)
{
  guint ready = self->ready;

  self->ready = 0;
  self->ready_new = FALSE;
  return ready;
}

void
pilot_stream_fail (PilotStream *self,
                   PilotStreamError error,
                   gboolean send_rst,
                   gint64 now)
{
  if (self->state != PILOT_STREAM_STATE_CLOSED) {
    self->rst_due = send_rst && self->state != PILOT_STREAM_STATE_SYN_SENT;
    stream_close (self, error, now);
  }
  stream_flush (self, now);
}

void
pilot_stream_reset (PilotStream *self,
                    gint64 now)
{
  pilot_ring_clear (&self->receive_ring);
  self->readable = 0;
  pilot_stream_fail (self, PILOT_STREAM_ERROR_RESET, TRUE, now);
}

void
pilot_stream_shutdown_write (PilotStream *self,
                             gint64 now)
{
  if (!self->fin_wanted && self->state != PILOT_STREAM_STATE_CLOSED && self->state != PILOT_STREAM_STATE_TIME_WAIT) {
    self->fin_wanted = TRUE;
    self->push_offset = self->send_start + self->send_length;
    self->changed = TRUE;
    self->last_progress = MAX (self->last_progress, now);
    if (self->half_close || self->released)
      self->fin_allowed = TRUE;
    else if (self->state != PILOT_STREAM_STATE_SYN_SENT && self->state != PILOT_STREAM_STATE_SYN_RECEIVED)
      stream_timer_set (self, STREAM_TIMER_CLOSE, now + FIN_DEFERRED);
  }
  stream_flush (self, now);
}

void
pilot_stream_release (PilotStream *self,
                      gint64 now)
{
  self->released = TRUE;
  self->ready = 0;
  self->readable = 0;
  pilot_ring_clear (&self->receive_ring);
  pilot_stream_intervals_clear (&self->held);
  switch (self->state) {
  case PILOT_STREAM_STATE_SYN_SENT:
    /* The peer opens its side when the SYN arrives, and would hold it until its keepalives have found out. */
    self->rst_due = self->rst_numbered = self->syn_sent != 0;
    stream_close (self, PILOT_STREAM_ERROR_NONE, now);
    break;
  case PILOT_STREAM_STATE_SYN_RECEIVED:
    self->rst_due = !self->accepted;
    stream_close (self, PILOT_STREAM_ERROR_NONE, now);
    break;
  case PILOT_STREAM_STATE_FIN_WAIT_2:
    stream_timer_set (self, STREAM_TIMER_CLOSE, now + ORPHAN_PATIENCE);
    break;
  case PILOT_STREAM_STATE_CLOSED:
  case PILOT_STREAM_STATE_TIME_WAIT:
    break;
  default:
    self->fin_wanted = self->fin_allowed = TRUE;
    self->push_offset = self->send_start + self->send_length;
    if (!self->half_close && !self->fin_sent)
      stream_timer_set (self, STREAM_TIMER_CLOSE, now + FIN_DELAY_GO);
    self->changed = TRUE;
  }
  stream_flush (self, now);
}

void
pilot_stream_tunnel_ready (PilotStream *self,
                           gint64 now)
{
  gboolean first = !self->tunnel_ready;

  self->tunnel_ready = TRUE;
  self->changed = TRUE;
  if (first && self->state == PILOT_STREAM_STATE_SYN_SENT)
    self->syn_due = TRUE;
  else if (!first && self->state == PILOT_STREAM_STATE_SYN_SENT && self->syn_transmissions > 1 && !self->syn_due && !self->syn_held) {
    /* The same for a SYN, which is one more than those that are counted. */
    self->syn_transmissions--;
    self->syn_due = TRUE;
  } else if (!first && self->rto_backoff > 0 && self->records.n_records > 0) {
    /* The path is back: ask at once instead of at the end of a long back-off. */
    self->rto_backoff = 0;
    stream_timer_set (self, STREAM_TIMER_RETRANSMIT, now);
  }
  stream_flush (self, now);
}

PilotStreamState
pilot_stream_get_state (PilotStream *self)
{
  return self->state;
}

gboolean
pilot_stream_is_own_kind (PilotStream *self)
{
  return self->own_kind;
}

gboolean
pilot_stream_answers_probes (PilotStream *self)
{
  return self->mtu_probes;
}

gboolean
pilot_stream_takes_unsummed (PilotStream *self)
{
  return self->unsummed;
}

gboolean
pilot_stream_takes_short_headers (PilotStream *self)
{
  return self->short_headers;
}

gboolean
pilot_stream_is_eof (PilotStream *self)
{
  return self->fin_received && self->readable == 0;
}

PilotStreamError
pilot_stream_get_error (PilotStream *self)
{
  return self->error;
}

void
pilot_stream_set_user_data (PilotStream *self,
                            gpointer user_data)
{
  self->user_data = user_data;
}

gpointer
pilot_stream_get_user_data (PilotStream *self)
{
  return self->user_data;
}

const char *
pilot_stream_error_to_string (PilotStreamError error)
{
  static const char *const texts[] = {
    "closed",
    "connection refused",
    "connection reset",
    "dial timeout",
    "dial timeout: key exchange with peer did not complete",
    "the registry does not tell where the peer is",
    "the peer's key is not the trusted one",
    "connection lost",
    "trust withdrawn",
  };

  return (guint) error < G_N_ELEMENTS (texts) ? texts[error] : "unknown error";
}

const char *
pilot_stream_state_to_string (PilotStreamState state)
{
  static const char *const texts[] = {
    "CLOSED",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT_1",
    "FIN_WAIT_2",
    "CLOSE_WAIT",
    "CLOSING",
    "LAST_ACK",
    "TIME_WAIT",
  };

  return (guint) state < G_N_ELEMENTS (texts) ? texts[state] : "UNKNOWN";
}

void
pilot_stream_info (PilotStream *self,
                   PilotStreamInfo *info)
{
  guint64 held = 0;

  for (guint i = 0; i < self->held.n_items; i++)
    held += (guint32) (self->held.items[i].right - self->held.items[i].left);
  *info = (PilotStreamInfo){
    .id = self->config.id,
    .state = self->state,
    .local = self->config.local,
    .remote = self->config.remote,
    .local_port = self->config.local_port,
    .remote_port = self->config.remote_port,
    .initiator = self->config.initiator,
    .own_kind = self->own_kind,
    .half_close = self->half_close,
    .bytes_sent = self->bytes_sent,
    .bytes_received = self->bytes_received,
    .segments_sent = self->segments_sent,
    .segments_received = self->segments_received,
    .retransmits = self->retransmits,
    .fast_retransmits = self->fast_retransmits,
    .sacks_sent = self->sacks_sent,
    .sacks_received = self->sacks_received,
    .duplicate_acks = self->duplicate_acks,
    .slow_start_threshold = pilot_congestion_get_threshold (&self->congestion),
    .held = held,
    .in_recovery = self->in_recovery,
    .congestion_window = self->congestion.window,
    .bytes_in_flight = self->in_flight,
    .send_buffered = self->send_length,
    .receive_buffered = self->readable,
    .peer_window = self->peer_window,
    .receive_window = self->receive_limit,
    .srtt_us = self->srtt,
    .rttvar_us = self->rttvar,
    .rto_us = self->rto,
    .min_rtt_us = MAX (self->min_rtt, 0),
    .pacing_rate = self->congestion.pacing_rate,
  };
}
