/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "sim-pair.h"

#include "protocol/overlay-private.h"

/* Many connections at once. A host without extensions bounds SYNs as a Go node does: 64 at once from one node, then ten a second. */

static void
dial_many (Pair *w,
           guint n)
{
  for (guint i = 0; i < n; i++)
    pair_dial (w, SIM_FLOW_BOTH, 10, 10);
}

/* How many have got their answer; none may have failed. */
static guint
count_answered (Pair *w)
{
  guint n = 0;

  for (guint i = 0; i < w->sim->n_flows; i++) {
    g_assert_cmpint (w->sim->flows[i].error, ==, PILOT_STREAM_ERROR_NONE);
    n += w->sim->flows[i].client.read == 10;
  }
  return n;
}

static guint64
dropped (SimHost *host)
{
  PilotOverlayStats stats;

  pilot_overlay_stats (host->overlay, &stats);
  return stats.dropped_rate;
}

static Pair
toward_go (void)
{
  Pair w = pair_new (-1, -1);

  sim_host_start (w.alpha);
  w.sim->extensions = FALSE;
  sim_host_start (w.beta);
  pair_run (&w, SIM_SECOND);
  g_assert_true (pair_ping (&w, w.alpha, w.beta, SIM_SECOND));
  return w;
}

/* All succeed, as fast as the limit lets them, and none runs into it. */
static void
test_go (void)
{
  Pair w = toward_go ();
  const guint64 before = dropped (w.beta);

  dial_many (&w, 190);
  pair_run (&w, SIM_SECOND);
  g_assert_cmpuint (count_answered (&w), >=, 60);
  g_assert_cmpuint (count_answered (&w), <, 75);
  pair_run (&w, 19 * SIM_SECOND);
  g_assert_cmpuint (count_answered (&w), ==, 190);
  g_assert_cmpuint (dropped (w.beta), ==, before);
  pair_end (&w);
}

/* The last of too many do not get there in the time of a dial, and take nothing from those before them. */
static void
test_too_many (void)
{
  Pair w = toward_go ();
  const guint64 before = dropped (w.beta);
  guint answered = 0, failed = 0;

  for (guint i = 0; i < 220; i++)
    pair_dial (&w, SIM_FLOW_BOTH, 10, 10)->may_fail = TRUE;
  pair_run (&w, 20 * SIM_SECOND);
  for (guint i = 0; i < w.sim->n_flows; i++) {
    answered += w.sim->flows[i].client.read == 10;
    failed += w.sim->flows[i].error == PILOT_STREAM_ERROR_TIMEOUT;
  }
  g_assert_cmpuint (failed, <, 30);
  g_assert_cmpuint (answered, ==, 220 - failed);
  g_assert_cmpuint (dropped (w.beta), ==, before);
  pair_end (&w);
}

/* What is lost is sent again within the same limit. */
static void
test_go_loss (void)
{
  Pair w = toward_go ();
  const guint64 before = dropped (w.beta);

  w.alpha->link.loss = 50;
  dial_many (&w, 100);
  pair_run (&w, 20 * SIM_SECOND);
  g_assert_cmpuint (count_answered (&w), ==, 100);
  g_assert_cmpuint (dropped (w.beta), ==, before);
  pair_end (&w);
}

/* A burst from a trusted peer of our own kind meets no limit meant for others. That it is of our own kind is known with the first answer, and those that waited then go at once. */
static void
test_own (void)
{
  Pair w = pair_new (-1, -1);

  pair_start (&w);
  dial_many (&w, 300);
  pair_run (&w, SIM_SECOND);
  g_assert_cmpuint (count_answered (&w), ==, 300);
  pair_end (&w);
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/burst/go", test_go);
  g_test_add_func ("/burst/too-many", test_too_many);
  g_test_add_func ("/burst/go-loss", test_go_loss);
  g_test_add_func ("/burst/own", test_own);
  return g_test_run ();
}
