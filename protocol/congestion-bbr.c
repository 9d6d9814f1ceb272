/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/congestion.h"

#include <string.h>

/* After draft-ietf-ccwg-bbr and its first version (draft-cardwell-iccrg-bbr-congestion-control-00): gains in percent, times in us. */
#define INITIAL_WINDOW 40960
#define MIN_SEGMENTS 4
/* 64 segments, as one system call takes. */
#define BURST_MAX (64 * 1152)
#define STARTUP_GAIN 277
#define DRAIN_GAIN 50
/* Of the window, for one that doubles in each round trip: 2 ln 2 and something. */
#define ROOM_PACING_GAIN 150
#define WINDOW_GAIN 200
#define MIN_RTT_LIFE (10 * G_USEC_PER_SEC)
#define PROBE_RTT_TIME 200000
#define DOUBT_PERCENT 200
#define DOUBT_ROUNDS 8
#define CYCLE 8
/* A probe that cannot fill what it asks for, and waiting for a queue that does not empty because it is others', must end all the same: in round trips. */
#define PROBE_ROUNDS_MAX 4
#define DRAIN_ROUNDS_MAX 2
#define START_DRAIN_ROUNDS_MAX 4
/* A wire this short is filled by the batches of its end points; a window of two products of a fraction of a millisecond would starve it. What is
 * more than these batches stands in the socket of a receiver that has no more processor time, in front of everybody else's packets. */
#define SHORT_RTT 1000
#define SHORT_WINDOW (256 * 1024)
/* And half of it where somebody waits behind it for an answer: that takes a fifth of a transfer, and more than half of a late answer's lateness. */
#define SHORT_WINDOW_ASKED (128 * 1024)
/* Below this the shortest round trip that any stream to the peer has seen counts for all; twice as much as is short, because even that of an empty wire
 * holds what hosts without processor time add to it. Longer ways show themselves to each: there it is jitter that makes some round trips short. */
#define SIBLINGS_RTT (2 * SHORT_RTT)
/* Who has the peer for himself fills it with as much as that takes in a millisecond: with less, both ends sleep by turns. */
#define SHORT_WINDOW_ALONE (1024 * 1024)
/* But half of that at least, while it does not stand longer than this: who shares the other end's processor with many peers is woken once for each window,
 * and finds nothing of his own in the caches of a processor that has moved megabytes meanwhile. */
#define SHORT_WAIT 10000
/* Below this random loss is taken as such: only a queue that overflows loses more of a whole round. */
#define HIGH_LOSS_PERCENT 12
#define HIGH_LOSS_EVENTS 8
/* Less waiting than this is no queue. */
#define QUEUE_MIN 1000
/* The bound learned from loss leaves room to find out what the path carries. */
#define BOUND_GAIN 100
#define BOUND_BETA 75
#define BASE_GAIN 100
#define QUEUE_LOSS_PERCENT 2
#define START_LOSS_PERCENT 6
/* Longer than any round trip. */
#define NO_ROUND (G_MAXINT64 / 2)

enum { STARTUP,
       DRAIN,
       PROBE,
       PROBE_RTT };

static const guint cycle_gain[CYCLE] = { 125, 75, 100, 100, 100, 100, 100, 100 };

static void
bbr_init (PilotCongestion *self,
          gint64 now)
{
  self->window = INITIAL_WINDOW;
  self->quantum = 65536;
  self->bbr.min_rtt = -1;
  self->bbr.emptiest = NO_ROUND;
  self->bbr.min_rtt_at = now;
  self->bbr.extra_at = now;
}

static guint64
product (PilotCongestion *self,
         guint gain)
{
  if (self->bbr.min_rtt < 0)
    return INITIAL_WINDOW;
  return self->bbr.rate * (guint64) MAX (self->bbr.min_rtt, 1) / G_USEC_PER_SEC * gain / 100;
}

static void
update_round (PilotCongestion *self,
              const PilotCongestionSample *sample)
{
  PilotCongestionBbr *bbr = &self->bbr;

  bbr->round_started = FALSE;
  if (sample->newly_delivered == 0 || sample->prior_delivered < bbr->next_round_delivered)
    return;
  bbr->next_round_delivered = sample->delivered;
  bbr->round++;
  bbr->round_started = TRUE;
}

static void
update_rate (PilotCongestion *self,
             const PilotCongestionSample *sample)
{
  PilotCongestionBbr *bbr = &self->bbr;
  guint64 *best;

  /* Rounds in which the application had too little to say do not make the older ones forgotten. */
  best = &bbr->rate_rounds[bbr->round % PILOT_BBR_ROUNDS];
  if (bbr->round_started)
    *best = sample->app_limited ? bbr->rate_rounds[(bbr->round + PILOT_BBR_ROUNDS - 1) % PILOT_BBR_ROUNDS] : 0;
  if (sample->rate > 0 && (!sample->app_limited || sample->rate >= bbr->rate))
    *best = MAX (*best, sample->rate);
  bbr->rate = 0;
  for (guint i = 0; i < PILOT_BBR_ROUNDS; i++)
    bbr->rate = MAX (bbr->rate, bbr->rate_rounds[i]);
}

/* Acknowledgements come in lumps: what came beyond the rate's explanation may be in flight on top (the draft's extra_acked). */
static void
update_extra (PilotCongestion *self,
              const PilotCongestionSample *sample)
{
  PilotCongestionBbr *bbr = &self->bbr;
  guint64 expected = bbr->rate * (guint64) MAX (sample->now - bbr->extra_at, 0) / G_USEC_PER_SEC;
  guint64 got = bbr->extra_base + sample->newly_delivered;
  guint64 extra;

  if (got <= expected || expected > 8 * 1024 * 1024) {
    bbr->extra_at = sample->now;
    got = sample->newly_delivered;
    expected = 0;
  }
  bbr->extra_base = got;
  extra = MIN (got - expected, self->window);
  if (bbr->round - bbr->extra_round >= 5) {
    bbr->extra_round = bbr->round;
    bbr->extra[1] = bbr->extra[0];
    bbr->extra[0] = 0;
  }
  bbr->extra[0] = MAX (bbr->extra[0], extra);
}

static void
check_full (PilotCongestion *self,
            const PilotCongestionSample *sample)
{
  PilotCongestionBbr *bbr = &self->bbr;

  if (bbr->full || !bbr->round_started || sample->app_limited)
    return;
  if (bbr->rate >= bbr->full_rate + bbr->full_rate / 4) {
    bbr->full_rate = bbr->rate;
    bbr->full_rate_rounds = 0;
    return;
  }
  bbr->full_rate_rounds++;
  if (bbr->full_rate_rounds >= 3 || bbr->rtt_rounds[bbr->round % PILOT_BBR_RTT_ROUNDS] > bbr->emptiest + MAX (bbr->emptiest / 4, QUEUE_MIN))
    bbr->full = TRUE;
}

/* The mean round trip of that one of the last @n rounds in which it was shortest. */
static gint64
emptiest_of (PilotCongestion *self,
             guint n)
{
  gint64 base = NO_ROUND;

  for (guint i = 0; i < n; i++) {
    const gint64 rtt = self->bbr.rtt_rounds[(self->bbr.round - i) % PILOT_BBR_RTT_ROUNDS];

    if (rtt > 0)
      base = MIN (base, rtt);
  }
  return base;
}

static void
update_rounds_rtt (PilotCongestion *self,
                   const PilotCongestionSample *sample)
{
  PilotCongestionBbr *bbr = &self->bbr;

  if (bbr->round_started) {
    bbr->rtt_rounds[bbr->round % PILOT_BBR_RTT_ROUNDS] = bbr->rtt_count > 0 ? (gint64) (bbr->rtt_sum / bbr->rtt_count) : 0;
    bbr->rtt_sum = bbr->rtt_count = 0;
    bbr->emptiest = emptiest_of (self, PILOT_BBR_RTT_ROUNDS);
  }
  if (sample->rtt >= 0) {
    bbr->rtt_sum += (guint64) sample->rtt;
    bbr->rtt_count++;
  }
}

/* Did this round stand in a queue? Its round trips were longer by an eighth than in the emptiest round of late: jitter lengthens all rounds
 * alike. Or they were longer than the shortest of all by a third, and more was lost than a path loses at random: a queue that never empties. */
static gboolean
stood_in_queue (PilotCongestion *self,
                gint64 rtt,
                gboolean heavy_loss)
{
  gint64 base = self->bbr.emptiest, shortest = self->bbr.min_rtt;

  if (rtt == 0 || shortest < SHORT_RTT)
    return FALSE;
  return rtt >= base + MAX (base / 8, QUEUE_MIN) || (heavy_loss && rtt >= shortest + MAX (shortest / 3, QUEUE_MIN));
}

/* At the start: is there more of a rate by a quarter than there was a round ago? */
static gboolean
still_grows (const PilotCongestionBbr *bbr)
{
  return !bbr->full && bbr->rate >= bbr->full_rate + bbr->full_rate / 4;
}

/* Is what was lost in this round to be blamed on a queue? Not while no more is lost than three times what is lost without one; and in the beginning, when
 * nothing is known of that, only if it is much. */
static gboolean
lost_in_queue (PilotCongestion *self,
               gint64 rtt,
               guint64 delivered)
{
  PilotCongestionBbr *bbr = &self->bbr;
  const guint64 share = bbr->round_lost * 1000000 / MAX (bbr->round_lost + delivered, 1);
  const gboolean heavy = share > QUEUE_LOSS_PERCENT * 10000;
  const gboolean queue = stood_in_queue (self, rtt, heavy);

  if (!queue)
    bbr->random_loss = (7 * bbr->random_loss + share) / 8;
  if (!queue || bbr->round_lost == 0)
    return FALSE;
  if (bbr->full)
    return share > 3 * bbr->random_loss;
  /* A pipe whose rate still grows is not full, whatever is lost. Nor is one that loses what others lose at random: a rate that nearly triples loses far more when it meets
   * the end of a queue, and a start that is over too soon costs seconds. */
  return share > START_LOSS_PERCENT * 10000 && bbr->round_lost_events >= HIGH_LOSS_EVENTS && !still_grows (bbr);
}

/* A loss while a queue stands is the queue's: others see it too, and what CUBIC would do then bounds us as well. A loss without a queue
 * is the path's, and says nothing of how much it carries. The bound never goes below what the model needs on the path as it is of late, or
 * a wrong verdict would bring about a lower rate, which would lower the next bound. */
static void
bound (PilotCongestion *self,
       guint64 flight,
       gint64 now)
{
  PilotCongestionBbr *bbr = &self->bbr;
  guint64 floor = MAX (product (self, BOUND_GAIN), (guint64) MIN_SEGMENTS * self->segment_size);
  gint64 base = bbr->emptiest;
  guint64 reduced;

  if (base < NO_ROUND)
    floor = MAX (floor, bbr->rate * (guint64) base / G_USEC_PER_SEC * BASE_GAIN / 100);
  if (bbr->inflight_high > 0)
    flight = MIN (flight, bbr->inflight_high);
  bbr->full = TRUE;
  /* Fast convergence only where the bound is down to what the model needs: always or never, and one flow takes half of the line from seven of CUBIC. */
  if (flight * BOUND_BETA / 100 > floor)
    bbr->curve.origin = 0;
  reduced = pilot_congestion_curve_reduce (&bbr->curve, flight, BOUND_BETA, now);
  bbr->inflight_high = MAX (reduced, floor);
}

/* Once a round: what was lost in it, and was it the path's or a queue's? Rounds that lose far more than random loss explains meet a policer, or a
 * queue too short to be seen. */
static void
check_loss (PilotCongestion *self,
            const PilotCongestionSample *sample)
{
  PilotCongestionBbr *bbr = &self->bbr;
  guint64 delivered = sample->delivered - bbr->round_delivered_at;
  gint64 rtt = bbr->rtt_rounds[bbr->round % PILOT_BBR_RTT_ROUNDS];

  if (bbr->inflight_high > 0)
    bbr->inflight_high = pilot_congestion_curve_grow (&bbr->curve, bbr->inflight_high, sample->newly_delivered, sample->now);
  bbr->round_lost += sample->newly_lost;
  bbr->round_lost_events += sample->newly_lost / self->segment_size;
  bbr->round_flight = MAX (bbr->round_flight, sample->in_flight + sample->newly_delivered + sample->newly_lost);
  if (!bbr->round_started)
    return;
  if (sample->app_limited || !bbr->full)
    pilot_congestion_policer_forget (&bbr->policer);
  else
    pilot_congestion_policer_round (&bbr->policer, delivered, bbr->round_lost, stood_in_queue (self, rtt, FALSE), sample->now);
  if (!still_grows (bbr) && bbr->round_lost * 100 > (bbr->round_lost + delivered) * HIGH_LOSS_PERCENT && bbr->round_lost_events >= HIGH_LOSS_EVENTS)
    bound (self, bbr->round_flight, sample->now);
  else if (bbr->round > bbr->bound_round + 1 && lost_in_queue (self, rtt, delivered)) {
    bound (self, bbr->round_flight, sample->now);
    bbr->bound_round = bbr->round;
  } else if (bbr->inflight_high > product (self, 2 * WINDOW_GAIN))
    bbr->inflight_high = 0;
  else if (bbr->inflight_high > 0 && bbr->state == PROBE && cycle_gain[bbr->cycle] > 100 &&
           rtt <= bbr->emptiest + MAX (bbr->emptiest / 16, QUEUE_MIN))
    bbr->inflight_high += bbr->inflight_high / 16;
  bbr->round_lost = bbr->round_lost_events = bbr->round_flight = 0;
  bbr->round_delivered_at = sample->delivered;
}

/* Is the shortest round trip out of date? Flows that follow the model leave about as much in a queue as is on the way. When no round of late was near that,
 * others keep the queue, or the path has changed; and a window of two products of a round trip that is not to be had any more starves. Where looking again
 * found nothing new it is not done again before its time. */
static gboolean
in_doubt (PilotCongestion *self)
{
  PilotCongestionBbr *bbr = &self->bbr;
  gint64 base = emptiest_of (self, DOUBT_ROUNDS);

  return base < NO_ROUND && base > bbr->min_rtt * DOUBT_PERCENT / 100 && bbr->min_rtt >= SHORT_RTT &&
         bbr->min_rtt > bbr->doubted_rtt + bbr->doubted_rtt / 4;
}

static void
update_min_rtt (PilotCongestion *self,
                const PilotCongestionSample *sample)
{
  PilotCongestionBbr *bbr = &self->bbr;
  gboolean expired = sample->now - bbr->min_rtt_at > MIN_RTT_LIFE;

  if (sample->rtt >= 0 && (bbr->min_rtt < 0 || sample->rtt <= bbr->min_rtt || (expired && bbr->state == PROBE_RTT))) {
    bbr->min_rtt = sample->rtt;
    bbr->min_rtt_at = sample->now;
  }
  /* Who begins while the batches of others stand at the far end of a short wire cannot see by himself how short it is. */
  if (sample->way_rtt >= 0 && sample->way_rtt < MIN (SIBLINGS_RTT, bbr->min_rtt))
    bbr->min_rtt = sample->way_rtt;
  if (bbr->state == PROBE && (expired || (bbr->round_started && !sample->app_limited && in_doubt (self)))) {
    if (sample->app_limited && sample->rtt >= 0) {
      /* Too little is sent to make a queue: this round trip is the path's. */
      bbr->min_rtt = sample->rtt;
      bbr->min_rtt_at = sample->now;
      return;
    }
    bbr->state = PROBE_RTT;
    bbr->probe_rtt_end = 0;
    bbr->doubted_rtt = expired ? 0 : bbr->min_rtt;
    bbr->min_rtt_at = sample->now - MIN_RTT_LIFE - 1;
  }
}

static void
probe_rtt (PilotCongestion *self,
           const PilotCongestionSample *sample)
{
  PilotCongestionBbr *bbr = &self->bbr;

  if (bbr->probe_rtt_end == 0) {
    if (sample->in_flight <= MAX (product (self, 50), (guint64) MIN_SEGMENTS * self->segment_size) + self->segment_size) {
      bbr->probe_rtt_end = sample->now + PROBE_RTT_TIME;
      bbr->probe_rtt_round = bbr->round + 1;
    }
    return;
  }
  if (sample->now < bbr->probe_rtt_end || bbr->round < bbr->probe_rtt_round)
    return;
  bbr->min_rtt_at = sample->now;
  bbr->state = PROBE;
  bbr->cycle = 2;
  bbr->cycle_at = sample->now;
}

static void
advance_cycle (PilotCongestion *self,
               const PilotCongestionSample *sample)
{
  PilotCongestionBbr *bbr = &self->bbr;
  const gint64 rtt = MAX (bbr->min_rtt, 1), elapsed = sample->now - bbr->cycle_at;
  gboolean over = elapsed > rtt;

  if (cycle_gain[bbr->cycle] > 100)
    over = (over && (sample->newly_lost > 0 || sample->in_flight >= product (self, 125))) || elapsed > PROBE_ROUNDS_MAX * rtt;
  else if (cycle_gain[bbr->cycle] < 100)
    /* Until the queue is gone, which is more than the probe has made: rates are overestimated where acknowledgements come in lumps. */
    over = sample->in_flight <= product (self, 100) || elapsed > DRAIN_ROUNDS_MAX * rtt;
  if (!over)
    return;
  bbr->cycle = (bbr->cycle + 1) % CYCLE;
  bbr->cycle_at = sample->now;
}

static guint
pacing_gain (PilotCongestion *self)
{
  switch (self->bbr.state) {
  case STARTUP:
    return STARTUP_GAIN;
  case DRAIN:
    return DRAIN_GAIN;
  case PROBE:
    return cycle_gain[self->bbr.cycle];
  default:
    return 100;
  }
}

/* Does the path still have room at the start? What was sent at a rate is known two round trips later, and so far behind are gains on it. As long as nothing
 * waits in a queue, and nothing was lost, the window doubles as in slow start. */
static gboolean
has_room (PilotCongestion *self,
          const PilotCongestionSample *sample)
{
  const PilotCongestionBbr *bbr = &self->bbr;

  if (bbr->full || bbr->round_lost > 0 || bbr->random_loss > 0 || bbr->min_rtt < SHORT_RTT)
    return FALSE;
  return sample->rtt >= 0 && sample->rtt <= bbr->min_rtt + MAX (bbr->min_rtt / 8, QUEUE_MIN);
}

static void
set_pacing (PilotCongestion *self,
            const PilotCongestionSample *sample)
{
  guint64 rate = self->bbr.rate * pacing_gain (self) / 100;

  if (has_room (self, sample))
    rate = MAX (rate, ROOM_PACING_GAIN * self->window * G_USEC_PER_SEC / (guint64) self->bbr.min_rtt / 100);

  if (self->bbr.policer.rate > 0)
    rate = MIN (rate, self->bbr.policer.rate);

  if (self->bbr.rate == 0)
    return;
  /* One percent below the model keeps queues from standing. */
  if (self->bbr.state == PROBE)
    rate = rate * 99 / 100;
  if (self->bbr.full || rate > self->pacing_rate)
    self->pacing_rate = MAX (rate, 2048);
  self->quantum = CLAMP (self->pacing_rate / 1000, (guint64) 4 * self->segment_size, MAX (BURST_MAX, (guint64) 4 * self->segment_size));
  if (self->bbr.min_rtt >= 0 && self->bbr.min_rtt < SHORT_RTT)
    self->quantum = MAX (BURST_MAX, (guint64) 4 * self->segment_size);
}

/* The bound, as it is now. In a long queue of others, which is known by the shortest round trip of late, a probe may pass it: CUBIC's curve is flat there
 * for seconds, and who once came to a small share would keep it. */
static guint64
bound_now (PilotCongestion *self,
           const PilotCongestionSample *sample)
{
  const PilotCongestionBbr *bbr = &self->bbr;
  const gboolean probes = bbr->state == PROBE && cycle_gain[bbr->cycle] > 100;

  return probes && bbr->min_rtt > sample->min_rtt + sample->min_rtt / 2 ? bbr->inflight_high * cycle_gain[bbr->cycle] / 100 : bbr->inflight_high;
}

static guint64
short_window (PilotCongestion *self,
              const PilotCongestionSample *sample)
{
  const guint64 rate = self->bbr.rate;
  guint64 least;

  if (sample->shared)
    return sample->asked ? SHORT_WINDOW_ASKED : SHORT_WINDOW;
  least = CLAMP (rate * SHORT_WAIT / G_USEC_PER_SEC, SHORT_WINDOW, SHORT_WINDOW_ALONE / 2);
  return CLAMP (rate * SHORT_RTT / G_USEC_PER_SEC, least, SHORT_WINDOW_ALONE);
}

static void
set_window (PilotCongestion *self,
            const PilotCongestionSample *sample)
{
  PilotCongestionBbr *bbr = &self->bbr;
  guint64 floor = (guint64) MIN_SEGMENTS * self->segment_size;
  guint64 target = product (self, WINDOW_GAIN);

  if (bbr->rate == 0) {
    self->window += sample->newly_delivered;
    return;
  }
  if (bbr->min_rtt >= 0 && bbr->min_rtt < SHORT_RTT)
    floor = short_window (self, sample);
  else
    target += 3 * self->quantum + MAX (bbr->extra[0], bbr->extra[1]);
  if (bbr->inflight_high > 0) {
    /* Somebody else keeps a queue that never empties: within the model we would be left what he does not take. */
    if (bbr->emptiest > bbr->min_rtt + bbr->min_rtt / 2)
      target = bbr->inflight_high;
    target = MIN (target, bound_now (self, sample));
  }
  target = MAX (target, floor);
  if (!bbr->full) {
    /* While the rate still doubles the window follows, but no further than the model; without a queue, than what it will be in a round trip. */
    if (has_room (self, sample))
      target *= 2;
    if (self->window < target)
      self->window += sample->newly_delivered;
  } else
    self->window = MIN (self->window + sample->newly_delivered, target);
  self->window = MAX (self->window, floor);
  if (bbr->state == PROBE_RTT)
    self->window = MIN (self->window, MAX (product (self, 50), (guint64) MIN_SEGMENTS * self->segment_size));
}

static void
bbr_acked (PilotCongestion *self,
           const PilotCongestionSample *sample)
{
  PilotCongestionBbr *bbr = &self->bbr;

  update_round (self, sample);
  update_rate (self, sample);
  update_extra (self, sample);
  update_rounds_rtt (self, sample);
  check_loss (self, sample);
  check_full (self, sample);
  if (bbr->state == STARTUP && bbr->full) {
    bbr->state = DRAIN;
    bbr->cycle_at = sample->now;
  }
  if (bbr->state == DRAIN && (sample->in_flight <= product (self, 100) || sample->now - bbr->cycle_at > START_DRAIN_ROUNDS_MAX * MAX (bbr->min_rtt, 1))) {
    bbr->state = PROBE;
    bbr->cycle = 2;
    bbr->cycle_at = sample->now;
  }
  if (bbr->state == PROBE)
    advance_cycle (self, sample);
  update_min_rtt (self, sample);
  if (bbr->state == PROBE_RTT)
    probe_rtt (self, sample);
  set_pacing (self, sample);
  set_window (self, sample);
}

static void
bbr_lost (PilotCongestion *self,
          guint64 in_flight,
          gint64 now)
{
  /* Rates and the share of loss in a round decide, not one loss. */
}

static void
bbr_timeout (PilotCongestion *self,
             guint64 in_flight,
             gint64 now)
{
  self->window = (guint64) MIN_SEGMENTS * self->segment_size;
}

static void
bbr_restart (PilotCongestion *self,
             gint64 idle_since,
             gint64 now)
{
  self->bbr.extra_at = now;
  self->bbr.extra_base = 0;
  if (self->bbr.state == PROBE) {
    self->bbr.cycle = 2;
    self->bbr.cycle_at = now;
  }
}

const PilotCongestionClass pilot_congestion_bbr = {
  "bbr",
  bbr_init,
  bbr_acked,
  bbr_lost,
  bbr_timeout,
  bbr_restart,
};
