/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/stream-interval.h"

#include <string.h>

#include "protocol/packet.h"

guint
pilot_stream_intervals_find (const PilotStreamIntervals *set,
                             guint32 sequence)
{
  guint low = 0, high = set->n_items;

  while (low < high) {
    guint middle = (low + high) / 2;

    if (pilot_seq_gt (set->items[middle].right, sequence))
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

static gboolean
make_room (PilotStreamIntervals *set)
{
  if (set->n_items < set->n_allocated)
    return TRUE;
  if (set->n_allocated >= PILOT_STREAM_MAX_INTERVALS)
    return FALSE;
  set->n_allocated = MAX (8, set->n_allocated * 2);
  set->items = g_renew (PilotStreamInterval, set->items, set->n_allocated);
  return TRUE;
}

gint
pilot_stream_intervals_add (PilotStreamIntervals *set,
                            guint32 left,
                            guint32 right)
{
  /* One that ends exactly at left touches it. */
  guint first = pilot_stream_intervals_find (set, left - 1);
  guint end = first;

  while (end < set->n_items && pilot_seq_le (set->items[end].left, right))
    end++;
  if (end == first) {
    if (!make_room (set))
      return -1;
    memmove (set->items + first + 1, set->items + first, (set->n_items - first) * sizeof *set->items);
    set->items[first] = (PilotStreamInterval) { left, right, TRUE };
    set->n_items++;
    return (gint) first;
  }
  set->items[first].left = pilot_seq_min (set->items[first].left, left);
  set->items[first].right = pilot_seq_max (set->items[end - 1].right, right);
  set->items[first].fresh = TRUE;
  if (end > first + 1) {
    memmove (set->items + first + 1, set->items + end, (set->n_items - end) * sizeof *set->items);
    set->n_items -= end - first - 1;
  }
  return (gint) first;
}

void
pilot_stream_intervals_trim (PilotStreamIntervals *set,
                             guint32 sequence)
{
  guint n = pilot_stream_intervals_find (set, sequence);

  if (n > 0) {
    memmove (set->items, set->items + n, (set->n_items - n) * sizeof *set->items);
    set->n_items -= n;
  }
  if (set->n_items > 0 && pilot_seq_lt (set->items[0].left, sequence))
    set->items[0].left = sequence;
}

void
pilot_stream_intervals_clear (PilotStreamIntervals *set)
{
  g_clear_pointer (&set->items, g_free);
  set->n_items = set->n_allocated = 0;
}
