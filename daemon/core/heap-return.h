/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/*
 * PilotHeapReturn: when the memory that transfers used goes back to the system. While one transfer follows the other, malloc() keeps what the last one
 * has freed: new pages would have to be cleared by the kernel and faulted in, a third of the sender's time for a megabyte. When nothing of
 * size has been carried for a moment, the memory goes back. A rule without clock or system call; a plain value, all zero at first. Times in us.
 */
typedef struct {
  gsize carried; /* bytes, since the memory was given back last */
  gsize counted; /* of them, when @last was set */
  gint64 last;   /* when something of size was carried last */
} PilotHeapReturn;

/* Who has carried less than that left nothing worth the walk through the heap. */
#define PILOT_HEAP_RETURN_MUCH (1024 * 1024)
/* So much within @PILOT_HEAP_RETURN_QUIET is no quiet. */
#define PILOT_HEAP_RETURN_STEP (64 * 1024)
/* Streams let go of their own rings after a second (protocol/stream.c). */
#define PILOT_HEAP_RETURN_QUIET (3 * G_USEC_PER_SEC)

/* @bytes were carried. */
void pilot_heap_return_carried (PilotHeapReturn *rule, gsize bytes, gint64 now);
/* When to ask again; G_MAXINT64 = not before more was carried. */
gint64 pilot_heap_return_due (const PilotHeapReturn *rule);
/* TRUE: now is the time; not again for the same. */
gboolean pilot_heap_return_take (PilotHeapReturn *rule, gint64 now);

G_END_DECLS
