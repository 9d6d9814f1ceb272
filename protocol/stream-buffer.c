/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/stream-internal.h"

#include <string.h>

/* The user's side of the rings. */

/* Less than so many free bytes are not worth a read of their own. */
#define SLIVER (64 * 1024)

static gboolean
may_write (PilotStream *self)
{
  return !self->fin_wanted && !self->released &&
         (self->state == PILOT_STREAM_STATE_SYN_SENT || self->state == PILOT_STREAM_STATE_SYN_RECEIVED ||
          self->state == PILOT_STREAM_STATE_ESTABLISHED || self->state == PILOT_STREAM_STATE_CLOSE_WAIT);
}

/* Free space, unless it is less than @least bytes or none. */
static guint
free_vectors (PilotStream *self,
              gsize least,
              struct iovec vectors[2])
{
  gsize room, wanted;

  if (!may_write (self))
    return 0;
  room = self->write_limit > self->send_length ? self->write_limit - self->send_length : 0;
  if (room < self->write_limit / 4)
    self->write_blocked = TRUE;
  if (room < MAX (least, 1))
    return 0;
  /* Grown when more than half is in use, so that a quiet stream stays small. */
  wanted = MAX (2 * self->send_length, PILOT_RING_MIN_CAPACITY * 4);
  wanted = MAX (MIN (wanted, self->write_limit), self->send_length + 1);
  if (!pilot_ring_reserve (&self->send_ring, self->send_start, self->send_length, wanted, MAX (self->write_limit, wanted)))
    return 0;
  if (!stream_timer_is_set (self, STREAM_TIMER_MEMORY))
    self->timers[STREAM_TIMER_MEMORY] = self->last_sent + STREAM_SECOND;
  room = MIN (room, self->send_ring.capacity - self->send_length);
  return pilot_ring_spans (&self->send_ring, self->send_start + self->send_length, room, vectors);
}

guint
pilot_stream_write_vectors (PilotStream *self,
                            struct iovec vectors[2])
{
  /* The sliver that is left above a whole number of reads would cost as many system calls as they do. At least a quarter is free when WRITE comes. */
  return free_vectors (self, MIN (self->write_limit / 4, SLIVER), vectors);
}

void
pilot_stream_write_commit (PilotStream *self,
                           gsize length,
                           gint64 now)
{
  if (length > 0 && may_write (self)) {
    self->send_length += length;
    /* The tail of a large write does not wait. */
    if (length >= STREAM_SEGMENT_SIZE)
      self->push_offset = self->send_start + self->send_length;
    if (!stream_timer_is_set (self, STREAM_TIMER_MEMORY) || self->timers[STREAM_TIMER_MEMORY] < now)
      stream_timer_set (self, STREAM_TIMER_MEMORY, now + STREAM_SECOND);
    self->changed = TRUE;
  }
  stream_flush (self, now);
}

gsize
pilot_stream_write (PilotStream *self,
                    const void *data,
                    gsize length,
                    gint64 now)
{
  gsize taken = 0;

  while (taken < length) {
    struct iovec vectors[2];
    guint n = free_vectors (self, 1, vectors);
    gsize put = 0;

    for (guint i = 0; i < n && taken + put < length; i++) {
      gsize part = MIN (vectors[i].iov_len, length - taken - put);

      memcpy (vectors[i].iov_base, (const guint8 *) data + taken + put, part);
      put += part;
    }
    if (put == 0)
      break;
    pilot_stream_write_commit (self, put, now);
    taken += put;
  }
  return taken;
}

guint
pilot_stream_read_vectors (PilotStream *self,
                           struct iovec vectors[2])
{
  return pilot_ring_spans (&self->receive_ring, self->read_offset, self->readable, vectors);
}

void
pilot_stream_read_consume (PilotStream *self,
                           gsize length,
                           gint64 now)
{
  gsize unit = self->own_kind ? 2 * STREAM_SEGMENT_SIZE : STREAM_GO_WINDOW_UNIT;
  gint32 gain, open;
  gboolean told_soon;

  length = MIN (length, self->readable);
  self->read_offset += length;
  self->readable -= length;
  self->consumed_since += length;
  /* A reader that keeps up gets more; one that does not, holds no more than it had. */
  if (self->consumed_since >= self->receive_limit && self->readable < self->receive_limit / 4) {
    self->receive_limit = MIN (self->receive_limit * 2, self->config.receive_window_max);
    self->consumed_since = 0;
  }
  if (self->readable == 0 && self->state == PILOT_STREAM_STATE_CLOSED)
    pilot_ring_clear (&self->receive_ring);
  if (stream_can_receive (self)) {
    gsize space = self->receive_limit - MIN (self->readable, self->receive_limit);

    if (!self->own_kind)
      space = MIN (space, (gsize) 512 * STREAM_GO_WINDOW_UNIT);
    open = pilot_seq_diff (self->advertised_edge, self->rcv_nxt);
    gain = (gint32) space - open;
    /* The SYN-ACK told of less room than there is. Who has asked something short so far can wait for the acknowledgement that is owed. */
    told_soon = self->ack_pending && self->bytes_received < STREAM_SEGMENT_SIZE;
    if ((gain >= (gint32) (self->receive_limit / 2) && !told_soon) || (open < (gint32) unit && gain >= (gint32) MIN (unit, self->receive_limit / 2)))
      self->ack_now = self->changed = TRUE;
  }
  stream_flush (self, now);
}
