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
  gsize capacity = MAX (ring->capacity, PILOT_RING_MIN_CAPACITY);
  struct iovec spans[2];
  guint n_spans;
  gsize at;

  if (size > limit)
    return FALSE;
  if (size <= ring->capacity)
    return TRUE;
  while (capacity < size)
    capacity *= 2;
  /* A large block grows where it is or is moved with its pages: what it holds stays where it stands, and only what has gone round to its beginning
   * is put behind the old end. */
  n_spans = pilot_ring_spans (ring, start, MIN (valid, ring->capacity), spans);
  at = n_spans > 0 ? (const guint8 *) spans[0].iov_base - ring->data : 0;
  ring->data = g_realloc (ring->data, capacity);
  if (n_spans == 2)
    memcpy (ring->data + ring->capacity, ring->data, spans[1].iov_len);
  ring->base = start - at;
  ring->capacity = capacity;
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
