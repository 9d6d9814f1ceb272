/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "timer-heap.h"

static void
place (PilotTimerHeap *heap,
       guint at,
       PilotTimer timer)
{
  heap->timers[at - 1] = timer;
  *timer.index = at;
}

static void
sift_up (PilotTimerHeap *heap,
         guint at,
         PilotTimer timer)
{
  while (at > 1 && heap->timers[at / 2 - 1].deadline > timer.deadline) {
    place (heap, at, heap->timers[at / 2 - 1]);
    at /= 2;
  }
  place (heap, at, timer);
}

static void
sift_down (PilotTimerHeap *heap,
           guint at,
           PilotTimer timer)
{
  for (;;) {
    guint child = at * 2;

    if (child > heap->n_timers)
      break;
    if (child < heap->n_timers && heap->timers[child].deadline < heap->timers[child - 1].deadline)
      child++;
    if (heap->timers[child - 1].deadline >= timer.deadline)
      break;
    place (heap, at, heap->timers[child - 1]);
    at = child;
  }
  place (heap, at, timer);
}

void
pilot_timer_heap_clear (PilotTimerHeap *heap)
{
  g_free (heap->timers);
  *heap = (PilotTimerHeap) { 0 };
}

void
pilot_timer_heap_remove (PilotTimerHeap *heap,
                         guint *index)
{
  guint at = *index;
  PilotTimer last;

  if (at == 0)
    return;
  *index = 0;
  last = heap->timers[--heap->n_timers];
  if (at == heap->n_timers + 1)
    return;
  if (at > 1 && heap->timers[at / 2 - 1].deadline > last.deadline)
    sift_up (heap, at, last);
  else
    sift_down (heap, at, last);
}

void
pilot_timer_heap_set (PilotTimerHeap *heap,
                      guint *index,
                      gint64 deadline,
                      gpointer owner,
                      guint kind)
{
  PilotTimer timer = { deadline, index, owner, kind };

  if (*index != 0 && heap->timers[*index - 1].deadline == deadline)
    return;
  pilot_timer_heap_remove (heap, index);
  if (deadline == G_MAXINT64)
    return;
  if (heap->n_timers == heap->capacity) {
    heap->capacity = MAX (32, heap->capacity * 2);
    heap->timers = g_renew (PilotTimer, heap->timers, heap->capacity);
  }
  heap->n_timers++;
  sift_up (heap, heap->n_timers, timer);
}

gint64
pilot_timer_heap_deadline (const PilotTimerHeap *heap)
{
  return heap->n_timers == 0 ? G_MAXINT64 : heap->timers[0].deadline;
}

gboolean
pilot_timer_heap_pop (PilotTimerHeap *heap,
                      gint64 now,
                      gpointer *owner,
                      guint *kind)
{
  if (pilot_timer_heap_deadline (heap) > now)
    return FALSE;
  *owner = heap->timers[0].owner;
  *kind = heap->timers[0].kind;
  pilot_timer_heap_remove (heap, heap->timers[0].index);
  return TRUE;
}
