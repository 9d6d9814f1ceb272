/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/congestion.h"

/* What the rules of congestion control make of rounds given to them one by one; how they do on lines is in tests/sim. */

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

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/congestion/policer", test_policer);
  g_test_add_func ("/congestion/policer-random-loss", test_random_loss);
  g_test_add_func ("/congestion/policer-none", test_no_policer);
  return g_test_run ();
}
