/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/*
 * What the streams to one peer know of each other. They take one way, from one socket to one other, so what one of them has seen of it holds for all:
 * a stream that begins while the others' batches wait at the far end never sees for itself how short that way is. Who begins after a pause does, and then
 * nothing of before counts. Zeroed it knows nothing; times are microseconds.
 */
typedef struct {
  gconstpointer speaker; /* the stream whose packet came last, only to be compared */
  gint64 spoke_at;
  gint64 turned_at;    /* when two of them spoke closely after each other; 0 = never */
  gconstpointer asker; /* the stream of which a short message came last, only to be compared */
  gint64 asked_at;     /* when it came; 0 = never */
  gint64 shortest[2];  /* round trip in this half of the time it counts for, and in the one before; 0 = none */
  gint64 half_began;
  gint64 moved_at; /* to the way they take now */
} PilotSiblings;

/* A packet of @stream came. */
void pilot_siblings_spoke (PilotSiblings *self, gconstpointer stream, gint64 now);
/* Do at least two of them speak at this time? */
gboolean pilot_siblings_shared (const PilotSiblings *self, gint64 now);
/* A message came of @stream, of so few bytes that somebody may be waiting for what is said next. */
void pilot_siblings_asked (PilotSiblings *self, gconstpointer stream, gint64 now);
/* Does another of them than @stream exchange such messages at this time? */
gboolean pilot_siblings_others_ask (const PilotSiblings *self, gconstpointer stream, gint64 now);
/* One of them measured a round trip. */
void pilot_siblings_measured (PilotSiblings *self, gint64 rtt, gint64 now);
/* The shortest any of them has measured of late, -1 for none. */
gint64 pilot_siblings_shortest (const PilotSiblings *self, gint64 now);
/* They go another way from now on: what was measured, or is of what is still under way, does not hold for it. */
void pilot_siblings_moved (PilotSiblings *self, gint64 now);

G_END_DECLS
