/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/ring.h"

#include <string.h>

gboolean
pilot_ring_reserve (PilotRing *ring,
                    guint64 start,
                    gsize valid,
                    gsize size,
                    gsize limit)
{
  PilotRing grown = { NULL, MAX (ring->capacity, PILOT_RING_MIN_CAPACITY), ring->base };
  struct iovec spans[2];
  guint n_spans;

  if (size > limit)
    return FALSE;
  if (size <= ring->capacity)
    return TRUE;
  while (grown.capacity < size)
    grown.capacity *= 2;
  grown.data = g_malloc (grown.capacity);
  n_spans = pilot_ring_spans (ring, start, MIN (valid, ring->capacity), spans);
  for (guint i = 0; i < n_spans; i++) {
    pilot_ring_write (&grown, start, spans[i].iov_base, spans[i].iov_len);
    start += spans[i].iov_len;
  }
  g_free (ring->data);
  *ring = grown;
  return TRUE;
}

guint
pilot_ring_spans (const PilotRing *ring,
                  guint64 offset,
                  gsize length,
                  struct iovec spans[2])
{
  gsize at, first;

  if (length == 0)
    return 0;
  at = (offset - ring->base) & (ring->capacity - 1);
  first = MIN (length, ring->capacity - at);
  spans[0].iov_base = ring->data + at;
  spans[0].iov_len = first;
  if (first == length)
    return 1;
  spans[1].iov_base = ring->data;
  spans[1].iov_len = length - first;
  return 2;
}

void
pilot_ring_write (PilotRing *ring,
                  guint64 offset,
                  const guint8 *data,
                  gsize length)
{
  struct iovec spans[2];
  guint n_spans = pilot_ring_spans (ring, offset, length, spans);

  for (guint i = 0; i < n_spans; i++) {
    /* It may stand there already: it was deciphered into its place. */
    if (spans[i].iov_base != data)
      memmove (spans[i].iov_base, data, spans[i].iov_len);
    data += spans[i].iov_len;
  }
}

void
pilot_ring_rewind (PilotRing *ring,
                   guint64 offset)
{
  ring->base = offset;
}

void
pilot_ring_clear (PilotRing *ring)
{
  g_clear_pointer (&ring->data, g_free);
  ring->capacity = 0;
}
