/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "protocol/frame.h"
#include "protocol/stream-private.h"

G_BEGIN_DECLS

/*
 * Flows that share one bottleneck, in virtual time: streams of ours without tunnel and encryption, and a small TCP model to share it
 * with.  Data crosses the bottleneck, acknowledgements come back over a way of their own that only takes time.  Everything follows
 * from the seed.  Times are microseconds, but for those that end in _ns.
 */

#define BOTTLENECK_MS G_GINT64_CONSTANT (1000)
#define BOTTLENECK_SECOND G_GINT64_CONSTANT (1000000)
#define BOTTLENECK_MAX_FLOWS 8
#define BOTTLENECK_STEP (100 * BOTTLENECK_MS) /* deliveries are counted in steps of this */
#define BOTTLENECK_STEPS 1200

/* A full frame of Ethernet, and what our packets have on it around their payload: the headers of Ethernet, IPv4, UDP, tunnel and packet. */
#define BOTTLENECK_FRAME 1514
#define BOTTLENECK_OVERHEAD (14 + 20 + 8 + PILOT_FRAME_PILS_OVERHEAD + PILOT_PACKET_SHORT_HEADER_SIZE)
#define BOTTLENECK_PLAIN_OVERHEAD (BOTTLENECK_OVERHEAD - PILOT_PACKET_SHORT_HEADER_SIZE + PILOT_PACKET_HEADER_SIZE)

typedef struct
{
  gint64 delay;                           /* one way */
  guint64 rate;                           /* bytes a second */
  guint64 queue;                          /* bytes in front of it; more are dropped at the tail */
  gboolean codel;                         /* RFC 8289, besides the bound */
  gdouble loss;                           /* share, each packet for itself */
  gdouble burst_loss;                     /* share, in bursts (Gilbert-Elliott) */
  gdouble burst_length;                   /* their mean length in packets */
  gdouble reorder;                        /* share that arrives late */
  gint64 reorder_delay;                   /* by this */
  gint64 jitter;                          /* 0 to this on top of the delay, uniform; keeps the order */
  guint64 police_rate;                    /* bytes a second; what exceeds it after a burst is dropped, not queued */
  guint64 police_burst;                   /* bytes */
  guint mss;                              /* payload of our segments; 0 = what fills a frame, or 1152 for plain ones */
  const PilotCongestionClass *congestion; /* of our streams; NULL = the default */
  gboolean plain;                         /* our streams know nothing of our extensions: what goes to a Go peer */
  gboolean siblings;                      /* our streams go to one peer and know of each other, not each to another */
} BottleneckConfig;

typedef enum {
  BOTTLENECK_STREAM, /* ours */
  BOTTLENECK_CUBIC,  /* the model, RFC 9438 with the delay part of HyStart */
  BOTTLENECK_RENO,   /* the model, RFC 5681 with SACK */
} BottleneckKind;

typedef struct _Bottleneck Bottleneck;

typedef struct
{
  Bottleneck *line;
  BottleneckKind kind;
  gint64 start;
  gint64 extra_delay; /* of its own, one way, on top of the line's: its ends are farther away */
  guint64 bytes;      /* to send; 0 = without end */
  guint64 written;
  guint64 delivered;               /* payload, in order, at the receiver */
  guint64 steps[BOTTLENECK_STEPS]; /* of it, in each step of time */
  gint64 finished_at;              /* when the last byte was delivered; -1 */
  guint64 sent_packets, dropped_packets;
  guint64 window;          /* now, bytes */
  PilotStream *streams[2]; /* ours: sender, receiver */
  gint64 wake_at[2];
  gpointer model;
} BottleneckFlow;

typedef struct
{
  gint64 worst_wait; /* longest time a packet stood in the queue, since bottleneck_forget_waits() */
  gdouble total_wait;
  guint64 n_waits;
  guint64 dropped_tail, dropped_codel, dropped_loss, dropped_police;
} BottleneckCounters;

Bottleneck *bottleneck_new (const BottleneckConfig *config, guint32 seed);
void bottleneck_free (Bottleneck *self);
BottleneckFlow *bottleneck_add (Bottleneck *self, BottleneckKind kind, gint64 start, guint64 bytes);
/* Moves the time to @until, or to the end of the last flow that has one. */
void bottleneck_run (Bottleneck *self, gint64 until);
gint64 bottleneck_now (Bottleneck *self);
const BottleneckCounters *bottleneck_counters (Bottleneck *self);
void bottleneck_forget_waits (Bottleneck *self);
/* Bytes a second that @flow delivered between @from and @to (multiples of BOTTLENECK_STEP). */
gdouble bottleneck_rate (const BottleneckFlow *flow, gint64 from, gint64 to);
/* What the line carries at most with segments of ours, in bytes of payload a second. */
gdouble bottleneck_capacity (const BottleneckConfig *config);

G_END_DECLS
