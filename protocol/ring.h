/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/uio.h>
#include <glib.h>

G_BEGIN_DECLS

/* A byte ring addressed by offsets in the stream: the byte of offset N always stands at N - base modulo the capacity, so data can be
 * put in out of order. Its owner knows which bytes are valid. A plain value; all zero is an empty ring without memory. */
typedef struct {
  guint8 *data;
  gsize capacity; /* a power of two, or 0 */
  guint64 base;   /* the offset of the byte at the beginning of the memory, or of one a number of capacities away */
} PilotRing;

#define PILOT_RING_MIN_CAPACITY 4096

/* Grows the ring to hold at least @size bytes from offset @start on; @valid of them (from @start) are kept. @limit is the most it
 * may hold. FALSE: @size is above the limit, nothing changed. */
gboolean pilot_ring_reserve (PilotRing *ring, guint64 start, gsize valid, gsize size, gsize limit);
/* The one or two spans of @length bytes at @offset. Returns how many. @length must not exceed the capacity. */
guint pilot_ring_spans (const PilotRing *ring, guint64 offset, gsize length, struct iovec spans[2]);
/* Copies @length bytes to @offset. */
void pilot_ring_write (PilotRing *ring, guint64 offset, const guint8 *data, gsize length);
/* Of a ring that holds nothing: the byte of @offset is to stand at its beginning, in the memory that was used last and is still in the processor's cache. */
void pilot_ring_rewind (PilotRing *ring, guint64 offset);
/* Gives the memory back. */
void pilot_ring_clear (PilotRing *ring);

G_END_DECLS
