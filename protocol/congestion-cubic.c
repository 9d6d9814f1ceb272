/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/congestion.h"

/* RFC 9438, paced, with HyStart++ (RFC 9406). Bytes and microseconds. */
#define INITIAL_WINDOW 40960
#define MIN_SEGMENTS 2
#define BURST_MAX (64 * 1152)
#define BETA_PERCENT 70
#define PACING_PERCENT 120
#define PACING_SLOW_START_PERCENT 200
#define HYSTART_SAMPLES 8
#define HYSTART_MIN 4000
#define HYSTART_MAX 16000
#define HYSTART_DIVISOR 8
#define HYSTART_GROWTH_DIVISOR 4
#define HYSTART_ROUNDS 5

static void
cubic_init (PilotCongestion *self,
            gint64 now)
{
  self->window = INITIAL_WINDOW;
  self->quantum = 65536;
  self->cubic.threshold = G_MAXUINT64;
  self->cubic.round_rtt = self->cubic.last_round_rtt = self->cubic.baseline_rtt = G_MAXINT64;
}

/* RFC 9406 section 4.2: round trips that grow from one round to the next end slow start, after some rounds of growing more slowly. */
static void
hystart (PilotCongestion *self,
         const PilotCongestionSample *sample)
{
  PilotCongestionCubic *cubic = &self->cubic;

  if (sample->newly_delivered > 0 && sample->prior_delivered >= cubic->next_round_delivered) {
    cubic->next_round_delivered = sample->delivered;
    cubic->last_round_rtt = cubic->round_rtt;
    cubic->round_rtt = G_MAXINT64;
    cubic->n_samples = 0;
    if (cubic->conservative_rounds > 0 && ++cubic->conservative_rounds > HYSTART_ROUNDS)
      cubic->threshold = self->window;
  }
  if (sample->rtt < 0)
    return;
  cubic->round_rtt = MIN (cubic->round_rtt, sample->rtt);
  if (++cubic->n_samples < HYSTART_SAMPLES)
    return;
  if (cubic->conservative_rounds > 0) {
    if (cubic->round_rtt < cubic->baseline_rtt)
      cubic->conservative_rounds = 0;
  } else if (cubic->last_round_rtt != G_MAXINT64 &&
             cubic->round_rtt >= cubic->last_round_rtt + CLAMP (cubic->last_round_rtt / HYSTART_DIVISOR, HYSTART_MIN, HYSTART_MAX)) {
    cubic->conservative_rounds = 1;
    cubic->baseline_rtt = cubic->round_rtt;
  }
}

static void
set_pacing (PilotCongestion *self,
            const PilotCongestionSample *sample)
{
  guint percent = self->window < self->cubic.threshold ? PACING_SLOW_START_PERCENT : PACING_PERCENT;

  if (sample->srtt <= 0)
    return;
  self->pacing_rate = self->window * percent / 100 * G_USEC_PER_SEC / (guint64) sample->srtt;
  self->quantum = CLAMP (self->pacing_rate / 1000, (guint64) 4 * self->segment_size, MAX (BURST_MAX, (guint64) 4 * self->segment_size));
}

static void
cubic_acked (PilotCongestion *self,
             const PilotCongestionSample *sample)
{
  PilotCongestionCubic *cubic = &self->cubic;

  set_pacing (self, sample);
  /* What was not used is not known to be carried (RFC 9438 section 5.8). */
  if (sample->in_recovery || sample->newly_delivered == 0 || sample->in_flight + 2 * sample->newly_delivered + self->segment_size < self->window)
    return;
  if (self->window >= cubic->threshold) {
    guint64 window;

    /* Slow start ended without a loss. */
    if (cubic->curve.epoch == 0)
      pilot_congestion_curve_begin (&cubic->curve, self->window, sample->now);
    /* Half the window more in a round trip is the most (section 4.2). */
    window = pilot_congestion_curve_grow (&cubic->curve, self->window, sample->newly_delivered, sample->now);
    self->window = MIN (window, self->window + sample->newly_delivered / 2);
    return;
  }
  hystart (self, sample);
  self->window += cubic->conservative_rounds > 0 ? sample->newly_delivered / HYSTART_GROWTH_DIVISOR : sample->newly_delivered;
}

static void
reduce (PilotCongestion *self,
        guint64 in_flight,
        gint64 now)
{
  guint64 window = pilot_congestion_curve_reduce (&self->cubic.curve, MIN (self->window, MAX (in_flight, self->window / 2)), BETA_PERCENT, now);

  /* Section 4.3 has 0.53 at first, and 1 once the window is what it was. Who is paced meets the end of a queue more often than who sends in bursts: with 1 from the
   * beginning it has nearly half of the line beside a kernel's CUBIC, with 0.53 three eighths (tests/sim). */
  self->cubic.curve.alpha_permille = PILOT_CURVE_RENO;
  self->window = MAX (window, (guint64) MIN_SEGMENTS * self->segment_size);
  self->cubic.threshold = self->window;
}

static void
cubic_lost (PilotCongestion *self,
            guint64 in_flight,
            gint64 now)
{
  reduce (self, in_flight, now);
}

static void
cubic_timeout (PilotCongestion *self,
               guint64 in_flight,
               gint64 now)
{
  reduce (self, in_flight, now);
  self->window = (guint64) MIN_SEGMENTS * self->segment_size;
}

static void
cubic_restart (PilotCongestion *self,
               gint64 idle_since,
               gint64 now)
{
  /* The curve does not grow while nothing is sent (RFC 9438 section 5.8). */
  if (self->cubic.curve.epoch > 0)
    self->cubic.curve.epoch += MAX (now - MAX (idle_since, self->cubic.curve.epoch), 0);
}

const PilotCongestionClass pilot_congestion_cubic = {
  "cubic",
  cubic_init,
  cubic_acked,
  cubic_lost,
  cubic_timeout,
  cubic_restart,
};
