/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/congestion.h"

/* What the rules of congestion control make of rounds given to them one by one; how they do on lines is in tests/sim. */

#define SEGMENT 1448
#define ROUND_TIME 30000
#define DELIVERED 37500 /* 10 Mbit/s in a round */

typedef struct {
  PilotCongestionPolicer policer;
  gint64 now;
} Fixture;

static void
rounds (Fixture *self,
        guint n,
        guint64 lost,
        gboolean queued)
{
  for (guint i = 0; i < n; i++) {
    self->now += ROUND_TIME;
    pilot_congestion_policer_round (&self->policer, DELIVERED, lost, queued, self->now);
  }
}

static void
test_policer (void)
{
  Fixture self = { .now = 1 };

  /* One interval that loses much may be an accident, two alike are not. */
  rounds (&self, 9, DELIVERED / 10, FALSE);
  g_assert_cmpuint (self.policer.rate, ==, 0);
  rounds (&self, 8, DELIVERED / 10, FALSE);
  g_assert_cmpuint (self.policer.rate, ==, 1250000);

  /* Nothing is lost at that rate: it is kept, and asked for again in the end. */
  rounds (&self, 40, 0, FALSE);
  g_assert_cmpuint (self.policer.rate, ==, 1250000);
  rounds (&self, 8, 0, FALSE);
  g_assert_cmpuint (self.policer.rate, ==, 0);

  /* It is still there: the first round that loses says so. */
  rounds (&self, 1, DELIVERED / 10, FALSE);
  g_assert_cmpuint (self.policer.rate, ==, 1250000);
}

static void
test_random_loss (void)
{
  Fixture self = { .now = 1 };

  rounds (&self, 17, DELIVERED / 10, FALSE);
  g_assert_cmpuint (self.policer.rate, >, 0);
  /* As much is lost at the limit: it was not the rate. */
  rounds (&self, 8, DELIVERED / 10, FALSE);
  g_assert_cmpuint (self.policer.rate, ==, 0);
  for (guint i = 0; i < 31 * 8; i++) {
    rounds (&self, 1, DELIVERED / 10, FALSE);
    g_assert_cmpuint (self.policer.rate, ==, 0);
  }
}

static void
test_no_policer (void)
{
  Fixture self = { .now = 1 };

  /* Too little is lost. */
  rounds (&self, 100, DELIVERED / 25, FALSE);
  g_assert_cmpuint (self.policer.rate, ==, 0);
  /* A queue explains it. */
  rounds (&self, 100, DELIVERED / 5, TRUE);
  g_assert_cmpuint (self.policer.rate, ==, 0);
  /* So little was sent that nothing can be said. */
  for (guint i = 0; i < 100; i++) {
    rounds (&self, 1, DELIVERED / 5, FALSE);
    pilot_congestion_policer_forget (&self.policer);
  }
  g_assert_cmpuint (self.policer.rate, ==, 0);
}

/* Acknowledgements of a segment each tell that the window has arrived, so many times over and so soon that only the part of CUBIC that is like Reno grows. Answers
 * by how many segments, in a hundred. */
static guint64
grow (PilotCongestion *cubic,
      guint n_rounds)
{
  const guint64 at_first = cubic->window;

  for (guint i = 0; i < n_rounds; i++)
    for (guint64 done = 0, window = cubic->window; done < window; done += SEGMENT) {
      PilotCongestionSample sample = { .now = 1, .newly_delivered = SEGMENT, .in_flight = cubic->window, .rtt = -1 };

      cubic->class->acked (cubic, &sample);
    }
  return (cubic->window - at_first) * 100 / SEGMENT;
}

/* RFC 9438 section 4.3: where Reno would have more CUBIC grows as fast, whatever the window is. */
static void
test_reno_friendly (void)
{
  static const guint64 windows[] = { 20000, 200000, 2000000, 20000000 };

  for (guint i = 0; i < G_N_ELEMENTS (windows); i++) {
    PilotCongestion cubic = { 0 };
    guint64 grown;

    pilot_congestion_init (&cubic, &pilot_congestion_cubic, SEGMENT, 1);
    cubic.window = windows[i];
    cubic.class->lost (&cubic, cubic.window, 1);
    g_assert_cmpuint (cubic.window, ==, windows[i] / 10 * 7);
    grown = grow (&cubic, 4);
    g_assert_cmpuint (grown, >=, 4 * 95);
    g_assert_cmpuint (grown, <=, 4 * 110);
  }
}

/* Also who has left slow start without a loss. */
static void
test_no_loss (void)
{
  PilotCongestion cubic = { 0 };

  pilot_congestion_init (&cubic, &pilot_congestion_cubic, SEGMENT, 1);
  cubic.window = cubic.cubic.threshold = 200000;
  g_assert_cmpuint (grow (&cubic, 10), >=, 10 * 95);
}

/* The bound of BBR, which loss lowers by a quarter, as RFC 9438 has it for that. */
static void
test_curve (void)
{
  PilotCongestionCurve curve = { 0 };
  guint64 window = pilot_congestion_curve_reduce (&curve, 2000000, 75, 1);

  g_assert_cmpuint (window, ==, 1500000);
  for (guint64 done = 0; done < 10 * 1500000; done += SEGMENT)
    window = pilot_congestion_curve_grow (&curve, window, SEGMENT, 1);
  g_assert_cmpuint (window, >, 1500000 + 10 * SEGMENT * 40 / 100);
  g_assert_cmpuint (window, <, 1500000 + 10 * SEGMENT * 45 / 100);
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/congestion/policer", test_policer);
  g_test_add_func ("/congestion/policer-random-loss", test_random_loss);
  g_test_add_func ("/congestion/policer-none", test_no_policer);
  g_test_add_func ("/congestion/reno-friendly", test_reno_friendly);
  g_test_add_func ("/congestion/no-loss", test_no_loss);
  g_test_add_func ("/congestion/curve", test_curve);
  return g_test_run ();
}
