/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* A bounded, ordered set of disjoint ranges of sequence numbers: what a receiver holds beyond a hole, what a sender was told of. */
typedef struct {
  guint32 left, right; /* first byte; the byte after the last */
  gboolean fresh;      /* changed since it was last reported */
} PilotStreamInterval;

typedef struct {
  PilotStreamInterval *items;
  guint n_items, n_allocated;
} PilotStreamIntervals;

#define PILOT_STREAM_MAX_INTERVALS 512

/* Adds a range, merging what touches. Returns its place; -1: the set is full, nothing changed. */
gint pilot_stream_intervals_add (PilotStreamIntervals *set, guint32 left, guint32 right);
/* Forgets everything before @sequence. */
void pilot_stream_intervals_trim (PilotStreamIntervals *set, guint32 sequence);
/* The first range that ends after @sequence; n_items if there is none. */
guint pilot_stream_intervals_find (const PilotStreamIntervals *set, guint32 sequence);
void pilot_stream_intervals_clear (PilotStreamIntervals *set);

G_END_DECLS
