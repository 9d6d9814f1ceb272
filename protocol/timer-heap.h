/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/*
 * A binary heap of deadlines.  Its members are owned elsewhere and lend it one guint each, their place in the heap
 * (0 = not there), so that moving a timer is O(log n) and idle members cost nothing.
 */
typedef struct
{
  gint64 deadline;
  guint *index;
  gpointer owner;
  guint kind;
} PilotTimer;

typedef struct
{
  PilotTimer *timers;
  guint n_timers;
  guint capacity;
} PilotTimerHeap;

void pilot_timer_heap_clear (PilotTimerHeap *heap);
/* Inserts or moves. G_MAXINT64 removes. */
void pilot_timer_heap_set (PilotTimerHeap *heap,
                           guint *index,
                           gint64 deadline,
                           gpointer owner,
                           guint kind);
void pilot_timer_heap_remove (PilotTimerHeap *heap,
                              guint *index);
/* The earliest deadline; G_MAXINT64 = none. */
gint64 pilot_timer_heap_deadline (const PilotTimerHeap *heap);
/* Takes out the earliest timer if it is due. */
gboolean pilot_timer_heap_pop (PilotTimerHeap *heap,
                               gint64 now,
                               gpointer *owner,
                               guint *kind);

G_END_DECLS
