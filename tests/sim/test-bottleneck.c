/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bottleneck.h"

#include <string.h>

/*
 * Throughput, queues and fairness of our streams over one bottleneck.  Each case prints what it measured: read together these lines
 * are the table of docs/performance.md.
 */

#define LINE 50000000u     /* 400 Mbit/s */
#define LONG_LINE 6250000u /* 50 Mbit/s: long runs with other flows cost less at this rate, and only the product counts */
#define GO_LINE 2500000u   /* 20 Mbit/s: less of a product than may be on the way to a Go peer */

typedef struct
{
  const gchar *name;
  BottleneckConfig config;
  gint64 length;     /* of the transfer */
  gdouble least;     /* share of what the line carries, after loss */
  gdouble most_rtt;  /* worst time in the queue after the start, in empty round trips; 0 = not checked */
  gdouble most_lost; /* share of what is sent after the start; 0 = not checked */
} Single;

static gdouble
product (const BottleneckConfig *config)
{
  return (gdouble) config->rate * 2 * (gdouble) config->delay / BOTTLENECK_SECOND;
}

static const Single singles[] = {
  { "400 Mbit/s, 30 ms", { .delay = 15 * BOTTLENECK_MS, .rate = LINE, .queue = 1500000 }, 5 * BOTTLENECK_SECOND, 0.95, 0.5 },
  { "400 Mbit/s, 30 ms, loss 0.5 %", { .delay = 15 * BOTTLENECK_MS, .rate = LINE, .queue = 1500000, .loss = 0.005 }, 5 * BOTTLENECK_SECOND, 0.95, 0.5 },
  { "400 Mbit/s, 30 ms, loss 2 %", { .delay = 15 * BOTTLENECK_MS, .rate = LINE, .queue = 1500000, .loss = 0.02 }, 5 * BOTTLENECK_SECOND, 0.95, 0.5 },
  { "400 Mbit/s, 100 ms", { .delay = 50 * BOTTLENECK_MS, .rate = LINE, .queue = 5000000 }, 8 * BOTTLENECK_SECOND, 0.95, 0.5 },
  { "400 Mbit/s, 30 ms, bursts 1 %", { .delay = 15 * BOTTLENECK_MS, .rate = LINE, .queue = 1500000, .burst_loss = 0.01, .burst_length = 8 }, 5 * BOTTLENECK_SECOND, 0.9, 0.5 },
  { "400 Mbit/s, 30 ms, late 5 %", { .delay = 15 * BOTTLENECK_MS, .rate = LINE, .queue = 1500000, .reorder = 0.05, .reorder_delay = 4 * BOTTLENECK_MS }, 5 * BOTTLENECK_SECOND, 0.9, 0.5 },
  { "50 Mbit/s, 30 ms, 20 % are 25 ms late", { .delay = 15 * BOTTLENECK_MS, .rate = LONG_LINE, .queue = 187500, .reorder = 0.2, .reorder_delay = 25 * BOTTLENECK_MS }, 20 * BOTTLENECK_SECOND, 0.9, 0 },
  /* As much as hosts that are busy put into the times of acknowledgements. */
  { "400 Mbit/s, 30 ms, jitter 1 ms", { .delay = 15 * BOTTLENECK_MS, .rate = LINE, .queue = 1500000, .jitter = BOTTLENECK_MS }, 5 * BOTTLENECK_SECOND, 0.95, 0.5 },
  { "400 Mbit/s, 30 ms, jitter 5 ms", { .delay = 15 * BOTTLENECK_MS, .rate = LINE, .queue = 1500000, .jitter = 5 * BOTTLENECK_MS }, 5 * BOTTLENECK_SECOND, 0.9, 1 },
  { "400 Mbit/s, 30 ms, jitter 5 ms, loss 0.5 %", { .delay = 15 * BOTTLENECK_MS, .rate = LINE, .queue = 1500000, .jitter = 5 * BOTTLENECK_MS, .loss = 0.005 }, 10 * BOTTLENECK_SECOND, 0.9, 0 },
  { "400 Mbit/s, 30 ms, jitter 10 ms, loss 0.5 %", { .delay = 15 * BOTTLENECK_MS, .rate = LINE, .queue = 1500000, .jitter = 10 * BOTTLENECK_MS, .loss = 0.005 }, 10 * BOTTLENECK_SECOND, 0.9, 0 },
  { "400 Mbit/s, 30 ms, jitter 10 ms, loss 2 %", { .delay = 15 * BOTTLENECK_MS, .rate = LINE, .queue = 1500000, .jitter = 10 * BOTTLENECK_MS, .loss = 0.02 }, 10 * BOTTLENECK_SECOND, 0.85, 0 },
  { "50 Mbit/s, 30 ms, queue 0.1 BDP", { .delay = 15 * BOTTLENECK_MS, .rate = LONG_LINE, .queue = 18750 }, 20 * BOTTLENECK_SECOND, 0.9, 0.5 },
  { "50 Mbit/s, 30 ms, CoDel", { .delay = 15 * BOTTLENECK_MS, .rate = LONG_LINE, .queue = 750000, .codel = TRUE }, 20 * BOTTLENECK_SECOND, 0.9, 0.5 },
  { "50 Mbit/s, policed to 10 Mbit/s", { .delay = 15 * BOTTLENECK_MS, .rate = LONG_LINE, .queue = 187500, .police_rate = 1250000, .police_burst = 60000 }, 20 * BOTTLENECK_SECOND, 0.95, 0, 0.03 },
  { "50 Mbit/s, policed to 20, burst 200 kB", { .delay = 15 * BOTTLENECK_MS, .rate = LONG_LINE, .queue = 187500, .police_rate = 2500000, .police_burst = 200000 }, 20 * BOTTLENECK_SECOND, 0.95, 0, 0.03 },
  { "50 Mbit/s, 100 ms, policed to 10 Mbit/s", { .delay = 50 * BOTTLENECK_MS, .rate = LONG_LINE, .queue = 625000, .police_rate = 1250000, .police_burst = 60000 }, 30 * BOTTLENECK_SECOND, 0.95, 0, 0.03 },
  /* As much as a policer drops, but at any rate. */
  { "50 Mbit/s, 30 ms, loss 6 %", { .delay = 15 * BOTTLENECK_MS, .rate = LONG_LINE, .queue = 187500, .loss = 0.06 }, 20 * BOTTLENECK_SECOND, 0.95, 0.5 },
  { "400 Mbit/s, 30 ms, CUBIC", { .delay = 15 * BOTTLENECK_MS, .rate = LINE, .queue = 1500000, .congestion = &pilot_congestion_cubic }, 5 * BOTTLENECK_SECOND, 0.95, 1 },
  /* Segments of 1152 bytes, and at most 120 of them on the way. */
  { "to a Go peer, 20 Mbit/s, 30 ms", { .delay = 15 * BOTTLENECK_MS, .rate = GO_LINE, .queue = 75000, .plain = TRUE }, 20 * BOTTLENECK_SECOND, 0.9, 1.1 },
  { "to a Go peer, 20 Mbit/s, 30 ms, loss 2 %", { .delay = 15 * BOTTLENECK_MS, .rate = GO_LINE, .queue = 75000, .loss = 0.02, .plain = TRUE }, 20 * BOTTLENECK_SECOND, 0.9, 1.1 },
  { "1 Mbit/s, 200 ms, long queue", { .delay = 100 * BOTTLENECK_MS, .rate = 125000, .queue = 500000 }, 40 * BOTTLENECK_SECOND, 0.9, 0.6 },
};

static void
test_single (gconstpointer data)
{
  const Single *single = data;
  const BottleneckConfig config = single->config;
  gint64 settled = single->length / 4 / BOTTLENECK_STEP * BOTTLENECK_STEP;
  gdouble rate, start, share, capacity, worst_start, worst, lost;
  const BottleneckCounters *counters;
  guint64 sent, dropped;
  Bottleneck *line;
  BottleneckFlow *flow;

  line = bottleneck_new (&config, 1);
  counters = bottleneck_counters (line);
  flow = bottleneck_add (line, BOTTLENECK_STREAM, 0, 0);
  bottleneck_run (line, settled);
  worst_start = (gdouble) counters->worst_wait / (gdouble) (2 * config.delay);
  bottleneck_forget_waits (line);
  sent = flow->sent_packets;
  dropped = flow->dropped_packets;
  bottleneck_run (line, single->length);
  lost = (gdouble) (flow->dropped_packets - dropped) / (gdouble) MAX (flow->sent_packets - sent, 1);
  worst = (gdouble) counters->worst_wait / (gdouble) (2 * config.delay);
  start = bottleneck_rate (flow, 0, settled);
  rate = bottleneck_rate (flow, settled, single->length);
  capacity = bottleneck_capacity (&config) * (1 - config.loss) * (1 - config.burst_loss);
  if (config.police_rate > 0)
    capacity *= (gdouble) config.police_rate / (gdouble) config.rate;
  share = rate / capacity;
  g_test_message ("%-34s %6.1f Mbit/s = %.3f of the line (first quarter %6.1f); queue: mean %.3f, worst %.2f, at the start %.2f round trips; sent %" G_GUINT64_FORMAT ", dropped %" G_GUINT64_FORMAT " (%.1f %% after the start)",
                  single->name, rate * 8e-6, share, start * 8e-6,
                  counters->n_waits > 0 ? counters->total_wait / (gdouble) counters->n_waits / (gdouble) (2 * config.delay) : 0,
                  worst, worst_start, flow->sent_packets, flow->dropped_packets, 100 * lost);
  bottleneck_free (line);
  if (single->most_lost > 0)
    g_assert_cmpfloat (lost, <=, single->most_lost);
  g_assert_cmpfloat (share, >=, single->least);
  if (single->most_rtt > 0)
    g_assert_cmpfloat (worst, <=, single->most_rtt);
  g_assert_cmpfloat (worst_start, <=, 2);
}

/* Starts that something disturbs which is not the end of the line: the mean of twelve. */
#define STARTS 12

typedef struct
{
  const gchar *name;
  BottleneckConfig config;
  gint64 from, to;
  gdouble least; /* share of what the line carries in that time, after loss */
} Start;

static const Start starts[] = {
  /* The first window alone is longer than these queues. */
  { "50 Mbit/s, 30 ms, queue 0.1 BDP", { .delay = 15 * BOTTLENECK_MS, .rate = LONG_LINE, .queue = 18750, .jitter = BOTTLENECK_MS / 2 }, 0, BOTTLENECK_SECOND, 0.7 },
  { "50 Mbit/s, 30 ms, queue 0.05 BDP", { .delay = 15 * BOTTLENECK_MS, .rate = LONG_LINE, .queue = 9375, .jitter = BOTTLENECK_MS / 2 }, 0, BOTTLENECK_SECOND, 0.6 },
  /* Acknowledgements that come in lumps make round trips longer and rates stand still for a moment, and two of hundred are lost anyway. */
  { "400 Mbit/s, 30 ms, jitter 8 ms, loss 2 %", { .delay = 15 * BOTTLENECK_MS, .rate = LINE, .queue = 1500000, .jitter = 8 * BOTTLENECK_MS, .loss = 0.02 }, BOTTLENECK_SECOND, 3 * BOTTLENECK_SECOND, 0.89 },
};

static void
test_start (gconstpointer data)
{
  const Start *start = data;
  gdouble worst = G_MAXDOUBLE, mean = 0;

  for (guint32 seed = 1; seed <= STARTS; seed++) {
    Bottleneck *line = bottleneck_new (&start->config, seed);
    BottleneckFlow *flow = bottleneck_add (line, BOTTLENECK_STREAM, 0, 0);
    gdouble share;

    bottleneck_run (line, start->to);
    share = bottleneck_rate (flow, start->from, start->to) / bottleneck_capacity (&start->config) / (1 - start->config.loss);
    worst = MIN (worst, share);
    mean += share / STARTS;
    bottleneck_free (line);
  }
  g_test_message ("start, %-40s %.3f of the line, the worst %.3f", start->name, mean, worst);
  g_assert_cmpfloat (mean, >=, start->least);
}

typedef struct
{
  const gchar *name;
  BottleneckKind other;
  gdouble queue; /* in products */
  gboolean codel;
  const PilotCongestionClass *congestion; /* of ours; NULL = the default */
  gint64 lab;                             /* we start so much later than the other, and it is over after 18 s, as tools/bench has it; 0 = a longer run */
  gint64 jitter;
  gboolean plain; /* ours speaks as to a Go peer, on a line whose product is less than what may be on the way to one */
} Shared;

static const Shared shared[] = {
  { "two of ours, queue 0.5 BDP", BOTTLENECK_STREAM, 0.5, FALSE, NULL },
  { "two of ours, queue 1 BDP", BOTTLENECK_STREAM, 1, FALSE, NULL },
  { "two of ours, queue 4 BDP", BOTTLENECK_STREAM, 4, FALSE, NULL },
  { "two of ours, CoDel", BOTTLENECK_STREAM, 4, TRUE, NULL },
  { "beside CUBIC, queue 0.5 BDP", BOTTLENECK_CUBIC, 0.5, FALSE, NULL },
  { "beside CUBIC, queue 1 BDP", BOTTLENECK_CUBIC, 1, FALSE, NULL },
  { "beside CUBIC, queue 4 BDP", BOTTLENECK_CUBIC, 4, FALSE, NULL },
  { "beside CUBIC, 0.5 BDP, as in the lab", BOTTLENECK_CUBIC, 0.5, FALSE, NULL, 50 * BOTTLENECK_MS },
  { "beside CUBIC, 1 BDP, as in the lab", BOTTLENECK_CUBIC, 1, FALSE, NULL, 50 * BOTTLENECK_MS },
  { "beside CUBIC, 4 BDP, as in the lab", BOTTLENECK_CUBIC, 4, FALSE, NULL, 50 * BOTTLENECK_MS },
  /* What we learn of the path is soon out of date: the other fills the queue meanwhile. */
  { "beside CUBIC, 4 BDP, jitter 3 ms", BOTTLENECK_CUBIC, 4, FALSE, NULL, 100 * BOTTLENECK_MS, 3 * BOTTLENECK_MS },
  { "beside CUBIC, 8 BDP, as in the lab", BOTTLENECK_CUBIC, 8, FALSE, NULL, 50 * BOTTLENECK_MS },
  { "beside Reno, queue 0.5 BDP", BOTTLENECK_RENO, 0.5, FALSE, NULL },
  { "beside Reno, queue 1 BDP", BOTTLENECK_RENO, 1, FALSE, NULL },
  { "beside Reno, queue 4 BDP", BOTTLENECK_RENO, 4, FALSE, NULL },
  { "to a Go peer, beside Reno, 1 BDP", BOTTLENECK_RENO, 1, FALSE, NULL, .plain = TRUE },
  { "to a Go peer, beside CUBIC, 1 BDP", BOTTLENECK_CUBIC, 1, FALSE, NULL, .plain = TRUE },
  { "two of ours to Go peers, 1 BDP", BOTTLENECK_STREAM, 1, FALSE, NULL, .plain = TRUE },
  { "our CUBIC beside CUBIC, 0.5 BDP", BOTTLENECK_CUBIC, 0.5, FALSE, &pilot_congestion_cubic },
  { "our CUBIC beside CUBIC, 1 BDP", BOTTLENECK_CUBIC, 1, FALSE, &pilot_congestion_cubic },
  { "our CUBIC beside CUBIC, 4 BDP", BOTTLENECK_CUBIC, 4, FALSE, &pilot_congestion_cubic },
};

static void
test_shared (gconstpointer data)
{
  const Shared *world = data;
  BottleneckConfig config = { .delay = 15 * BOTTLENECK_MS, .rate = world->plain ? GO_LINE : LONG_LINE, .codel = world->codel, .congestion = world->congestion, .jitter = world->jitter, .plain = world->plain };
  /* CUBIC gives way to a newcomer only at its losses, which a long queue puts far apart. */
  const gboolean slow = world->congestion == &pilot_congestion_cubic && world->queue >= 4;
  const gint64 settled = (world->lab > 0 ? 6 : slow ? 60
                                                    : 20) *
                         BOTTLENECK_SECOND,
               end = world->lab > 0 ? 18 * BOTTLENECK_SECOND : settled + 40 * BOTTLENECK_SECOND;
  gdouble ours, theirs, total, share, least = 1;
  const BottleneckCounters *counters;
  BottleneckFlow *flows[2];
  Bottleneck *line;

  config.queue = (guint64) (product (&config) * world->queue);
  line = bottleneck_new (&config, 7);
  counters = bottleneck_counters (line);
  flows[1] = bottleneck_add (line, world->other, 0, 0);
  flows[0] = bottleneck_add (line, BOTTLENECK_STREAM, world->lab > 0 ? world->lab : 3 * BOTTLENECK_SECOND, 0);
  bottleneck_run (line, settled);
  bottleneck_forget_waits (line);
  bottleneck_run (line, end);
  ours = bottleneck_rate (flows[0], settled, end);
  theirs = bottleneck_rate (flows[1], settled, end);
  for (gint64 at = settled; at + 5 * BOTTLENECK_SECOND <= end; at += 5 * BOTTLENECK_SECOND) {
    gdouble a = bottleneck_rate (flows[0], at, at + 5 * BOTTLENECK_SECOND), b = bottleneck_rate (flows[1], at, at + 5 * BOTTLENECK_SECOND);

    least = MIN (least, MIN (a, b) / (a + b));
  }
  share = ours / (ours + theirs);
  total = (ours + theirs) / bottleneck_capacity (&config);
  g_test_message ("%-38s the later one gets %.3f, together %.3f of the line; least share in any 5 s %.3f; queue: mean %.2f, worst %.2f round trips; dropped %" G_GUINT64_FORMAT " and %" G_GUINT64_FORMAT,
                  world->name, share, total, least,
                  counters->total_wait / (gdouble) MAX (counters->n_waits, 1) / (gdouble) (2 * config.delay),
                  (gdouble) counters->worst_wait / (gdouble) (2 * config.delay), flows[0]->dropped_packets, flows[1]->dropped_packets);
  bottleneck_free (line);
  g_assert_cmpfloat (share, >=, 0.25);
  g_assert_cmpfloat (share, <=, 0.75);
  g_assert_cmpfloat (least, >=, 0.1);
  g_assert_cmpfloat (total, >=, 0.95);
}

/* More than two, or two that live at different distances. The line is one of 100 Mbit/s with 30 ms for the nearest, flows begin half a second apart. */
typedef struct
{
  const gchar *name;
  gdouble queue; /* in products of the nearest */
  gboolean codel;
  guint n_ours, n_others; /* in turn as long as there are both */
  BottleneckKind other;
  gint64 delay, farther; /* of the nearest, one way, 0 = 15 ms; and of the last on top of it */
  gdouble least;         /* of the fair share, for each */
  gdouble most_ours;     /* share of all of ours; 0 = not checked */
} Crowd;

static const Crowd crowds[] = {
  { "ours at 10 and 80 ms, queue of 80 ms", 8, FALSE, 2, 0, BOTTLENECK_STREAM, 5 * BOTTLENECK_MS, 35 * BOTTLENECK_MS, 0.25, 0 },
  { "ours at 10 and 80 ms, queue of 20 ms", 2, FALSE, 2, 0, BOTTLENECK_STREAM, 5 * BOTTLENECK_MS, 35 * BOTTLENECK_MS, 0.4, 0 },
  { "eight of ours, queue 0.5 BDP", 0.5, FALSE, 8, 0, BOTTLENECK_STREAM, 0, 0, 0.4, 0 },
  { "eight of ours, CoDel", 4, TRUE, 8, 0, BOTTLENECK_STREAM, 0, 0, 0.4, 0 },
  { "four of ours, four CUBIC, queue 0.5 BDP", 0.5, FALSE, 4, 4, BOTTLENECK_CUBIC, 0, 0, 0.4, 0.75 },
  { "four of ours, four CUBIC, queue 1 BDP", 1, FALSE, 4, 4, BOTTLENECK_CUBIC, 0, 0, 0.4, 0.75 },
  { "four of ours, four CUBIC, queue 4 BDP", 4, FALSE, 4, 4, BOTTLENECK_CUBIC, 0, 0, 0.25, 0.75 },
  { "one of ours, seven CUBIC, queue 1 BDP", 1, FALSE, 1, 7, BOTTLENECK_CUBIC, 0, 0, 0.3, 0.5 },
  { "seven of ours, one CUBIC, queue 1 BDP", 1, FALSE, 7, 1, BOTTLENECK_CUBIC, 0, 0, 0.25, 0 },
  { "one of ours, one CUBIC, CoDel", 4, TRUE, 1, 1, BOTTLENECK_CUBIC, 0, 0, 0.3, 0.85 },
  { "one of ours, one Reno, CoDel", 4, TRUE, 1, 1, BOTTLENECK_RENO, 0, 0, 0.3, 0.85 },
};

static void
test_crowd (gconstpointer data)
{
  const Crowd *crowd = data;
  const gint64 settled = 20 * BOTTLENECK_SECOND, end = 60 * BOTTLENECK_SECOND;
  const guint n = crowd->n_ours + crowd->n_others;
  BottleneckConfig config = { .delay = crowd->delay > 0 ? crowd->delay : 15 * BOTTLENECK_MS, .rate = 2 * LONG_LINE, .codel = crowd->codel, .jitter = BOTTLENECK_MS / 2 };
  gdouble rates[BOTTLENECK_MAX_FLOWS], total = 0, ours = 0, least = G_MAXDOUBLE, squares = 0;
  guint64 sent = 0, dropped = 0;
  guint n_ours = crowd->n_ours, n_others = crowd->n_others;
  BottleneckFlow *flows[BOTTLENECK_MAX_FLOWS];
  Bottleneck *line;

  config.queue = (guint64) (product (&config) * crowd->queue);
  line = bottleneck_new (&config, 17);
  for (guint i = 0; i < n; i++) {
    const gboolean other = n_others > 0 && (i % 2 == 0 || n_ours == 0);

    flows[i] = bottleneck_add (line, other ? crowd->other : BOTTLENECK_STREAM, i * BOTTLENECK_SECOND / 2, 0);
    n_others -= other;
    n_ours -= !other;
  }
  flows[n - 1]->extra_delay = crowd->farther;
  bottleneck_run (line, end);
  for (guint i = 0; i < n; i++) {
    rates[i] = bottleneck_rate (flows[i], settled, end);
    total += rates[i];
    squares += rates[i] * rates[i];
    least = MIN (least, rates[i]);
    if (flows[i]->kind != BOTTLENECK_STREAM)
      continue;
    ours += rates[i];
    sent += flows[i]->sent_packets;
    dropped += flows[i]->dropped_packets;
  }
  least *= n / total;
  g_test_message ("%-40s together %.3f of the line, ours %.2f of it; the least has %.2f of the fair share, fairness %.2f; lost of ours %.1f %%", crowd->name,
                  total / bottleneck_capacity (&config), ours / total, least, total * total / squares / n, 100.0 * (gdouble) dropped / (gdouble) sent);
  bottleneck_free (line);
  g_assert_cmpfloat (total / bottleneck_capacity (&config), >=, 0.95);
  g_assert_cmpfloat (least, >=, crowd->least);
  if (crowd->most_ours > 0)
    g_assert_cmpfloat (ours / total, <=, crowd->most_ours);
}

/* A file of 10 MB over a line nobody knows yet. */
static void
test_cold_start (gconstpointer data)
{
  const gint64 delay = GPOINTER_TO_INT (data) * BOTTLENECK_MS / 2;
  BottleneckConfig config = { .delay = delay, .rate = LINE };
  const BottleneckCounters *counters;
  Bottleneck *line;
  BottleneckFlow *flow;
  gdouble best;

  config.queue = (guint64) product (&config);
  line = bottleneck_new (&config, 3);
  counters = bottleneck_counters (line);
  flow = bottleneck_add (line, BOTTLENECK_STREAM, 0, 10000000);
  bottleneck_run (line, 60 * BOTTLENECK_SECOND);
  /* Doubling from 40960 bytes a round trip until the line is full, after one round trip for the SYN. */
  best = 10000000 / bottleneck_capacity (&config) * BOTTLENECK_SECOND + 2 * (gdouble) delay;
  for (gdouble window = 40960; window < product (&config); window *= 2)
    best += 2 * (gdouble) delay * (1 - window / product (&config));
  g_test_message ("10 MB, cold, 400 Mbit/s, %3d ms     %.3f s = %.2f of doubling each round trip; worst queue %.2f round trips; dropped %" G_GUINT64_FORMAT,
                  GPOINTER_TO_INT (data), (gdouble) flow->finished_at / BOTTLENECK_SECOND, (gdouble) flow->finished_at / best,
                  (gdouble) counters->worst_wait / (gdouble) (2 * delay), flow->dropped_packets);
  g_assert_cmpint (flow->finished_at, >, 0);
  g_assert_cmpfloat ((gdouble) flow->finished_at, <=, best * 1.1);
  bottleneck_free (line);
}

typedef struct {
  const gchar *name; /* Mbit/s */
  guint64 rate;      /* bytes/s */
  gdouble queued;    /* bytes in the queue, at most */
} ShortCase;

/* On a short wire, whose acknowledgements come in lumps as from a host that is short of processor time, no more than the batches of the ends may
 * be on the way: the rest would stand in front of what others send. */
static void
test_short (gconstpointer data)
{
  const ShortCase *wire = data;
  const BottleneckConfig config = { .delay = 100, .rate = wire->rate, .queue = 8000000, .jitter = 600 };
  const BottleneckCounters *counters;
  Bottleneck *line;
  BottleneckFlow *flow;
  gdouble share, queued;

  line = bottleneck_new (&config, 11);
  counters = bottleneck_counters (line);
  flow = bottleneck_add (line, BOTTLENECK_STREAM, 0, 0);
  bottleneck_run (line, BOTTLENECK_SECOND / 2);
  bottleneck_forget_waits (line);
  bottleneck_run (line, 2 * BOTTLENECK_SECOND);
  share = bottleneck_rate (flow, BOTTLENECK_SECOND / 2, 2 * BOTTLENECK_SECOND) / bottleneck_capacity (&config);
  queued = (gdouble) counters->worst_wait * (gdouble) config.rate / BOTTLENECK_SECOND;
  g_test_message ("%s Mbit/s, 0.2 ms, lumps of 0.6 ms  %.3f of the line; at most %.0f kB in the queue", wire->name, share, queued / 1000);
  bottleneck_free (line);
  g_assert_cmpfloat (share, >=, 0.9);
  g_assert_cmpfloat (queued, <=, wire->queued);
}

/* A quarter of a MiB is 21 ms of the one, half a MiB 4 ms of the other. */
static const ShortCase short_cases[] = { { "100", 12500000, 300000 }, { "1000", 125000000, 500000 } };

/* Streams to one peer that begin one after another on a short wire: those that come later never see it without the batches of those before, and must have
 * no more for it. */
static void
test_siblings (gconstpointer data)
{
  const BottleneckConfig config = { .delay = 100, .rate = 500000000, .queue = 8000000, .jitter = GPOINTER_TO_INT (data), .siblings = TRUE };
  Bottleneck *line = bottleneck_new (&config, 13);
  BottleneckFlow *flows[BOTTLENECK_MAX_FLOWS];
  gdouble sum = 0, squares = 0, index;

  for (guint i = 0; i < G_N_ELEMENTS (flows); i++)
    flows[i] = bottleneck_add (line, BOTTLENECK_STREAM, i * 5 * BOTTLENECK_MS, 0);
  bottleneck_run (line, BOTTLENECK_SECOND);
  for (guint i = 0; i < G_N_ELEMENTS (flows); i++) {
    gdouble rate = bottleneck_rate (flows[i], BOTTLENECK_SECOND / 2, BOTTLENECK_SECOND);

    sum += rate;
    squares += rate * rate;
  }
  index = sum * sum / squares / G_N_ELEMENTS (flows);
  g_test_message ("eight of ours, 4 Gbit/s, 0.2 ms, lumps of %d us: fairness %.3f, together %.3f of the line", GPOINTER_TO_INT (data), index, sum / bottleneck_capacity (&config));
  bottleneck_free (line);
  g_assert_cmpfloat (index, >=, 0.95);
  g_assert_cmpfloat (sum / bottleneck_capacity (&config), >=, 0.95);
}

/* On a way of 64 KiB the first window is a single segment if nobody looks after it, and its receiver waits for a second one before it answers. */
static void
test_first_window (gconstpointer data)
{
  const BottleneckConfig config = { .delay = 50, .rate = 1250000000, .queue = 8000000, .mss = 65000, .congestion = data };
  Bottleneck *line = bottleneck_new (&config, 3);
  BottleneckFlow *flow = bottleneck_add (line, BOTTLENECK_STREAM, 0, 100000);

  bottleneck_run (line, BOTTLENECK_SECOND);
  g_test_message ("100 kB with segments of 65 000 bytes: %" G_GINT64_FORMAT " us", flow->finished_at);
  g_assert_cmpint (flow->finished_at, >, 0);
  g_assert_cmpint (flow->finished_at, <, BOTTLENECK_MS);
  bottleneck_free (line);
}

/* The model itself: alone, it fills the line as its kind does. */
static void
test_model (gconstpointer data)
{
  const BottleneckKind kind = GPOINTER_TO_INT (data);
  BottleneckConfig config = { .delay = 15 * BOTTLENECK_MS, .rate = LONG_LINE };
  BottleneckFlow *flow;
  Bottleneck *line;
  gdouble share;

  config.queue = (guint64) product (&config);
  line = bottleneck_new (&config, 5);
  flow = bottleneck_add (line, kind, 0, 0);
  bottleneck_run (line, 30 * BOTTLENECK_SECOND);
  share = bottleneck_rate (flow, 10 * BOTTLENECK_SECOND, 30 * BOTTLENECK_SECOND) / (LONG_LINE * 1448.0 / 1514);
  g_test_message ("%s alone, queue 1 BDP              %.3f of the line", kind == BOTTLENECK_CUBIC ? "CUBIC" : "Reno ", share);
  g_assert_cmpfloat (share, >=, 0.9);
  g_assert_cmpuint (flow->dropped_packets, >, 0);
  bottleneck_free (line);

  /* One loss in 200 makes either small: 1.22 / sqrt (p) segments a round trip for Reno (RFC 5348 section 3.1, simplified). */
  config.loss = 0.005;
  line = bottleneck_new (&config, 5);
  flow = bottleneck_add (line, kind, 0, 0);
  bottleneck_run (line, 30 * BOTTLENECK_SECOND);
  share = bottleneck_rate (flow, 0, 30 * BOTTLENECK_SECOND) * 0.03 / 1448;
  g_test_message ("  with 0.5 %% loss                  %.1f segments a round trip", share);
  g_assert_cmpfloat (share, >, 1.22 / 0.0707 * 0.6);
  g_assert_cmpfloat (share, <, 1.22 / 0.0707 * 2.2);
  bottleneck_free (line);
}

static void
add (const gchar *group,
     const gchar *name,
     gconstpointer data,
     GTestDataFunc func)
{
  g_autofree gchar *path = g_strdup_printf ("/bottleneck/%s/%s", group, name);

  g_strdelimit (path + strlen ("/bottleneck/") + strlen (group) + 1, "/", '-');
  g_test_add_data_func (path, data, func);
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (singles); i++)
    add ("single", singles[i].name, &singles[i], test_single);
  for (guint i = 0; i < G_N_ELEMENTS (shared); i++)
    add ("shared", shared[i].name, &shared[i], test_shared);
  for (guint i = 0; i < G_N_ELEMENTS (starts); i++)
    add ("start", starts[i].name, &starts[i], test_start);
  for (guint i = 0; i < G_N_ELEMENTS (crowds); i++)
    add ("crowd", crowds[i].name, &crowds[i], test_crowd);
  for (guint i = 0; i < G_N_ELEMENTS (short_cases); i++)
    add ("short", short_cases[i].name, &short_cases[i], test_short);
  add ("siblings", "even", GINT_TO_POINTER (0), test_siblings);
  add ("siblings", "in lumps", GINT_TO_POINTER (300), test_siblings);
  add ("siblings", "between busy hosts", GINT_TO_POINTER (1000), test_siblings);
  add ("cold", "30 ms", GINT_TO_POINTER (30), test_cold_start);
  add ("cold", "100 ms", GINT_TO_POINTER (100), test_cold_start);
  add ("first-window", "bbr", &pilot_congestion_bbr, test_first_window);
  add ("first-window", "cubic", &pilot_congestion_cubic, test_first_window);
  add ("model", "cubic", GINT_TO_POINTER (BOTTLENECK_CUBIC), test_model);
  add ("model", "reno", GINT_TO_POINTER (BOTTLENECK_RENO), test_model);
  return g_test_run ();
}
