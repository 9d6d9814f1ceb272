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

/* All that alpha has to send, to beta, on a line without delay. */
static void
carry (Pair *w)
{
  g_autofree guint8 *buffer = g_malloc (PILOT_TRANSMIT_CAPACITY);
  PilotTransmit item = { .data = buffer, .capacity = PILOT_TRANSMIT_CAPACITY };

  while (pilot_overlay_transmit (w->alpha->overlay, &item, 1, w->sim->now) == 1) {
    PilotReceivedDatagram datagram = { .from = w->alpha->endpoint, .data = item.data, .length = item.length, .segment_size = item.segment_size };

    pilot_overlay_receive (w->beta->overlay, &datagram, 1, w->sim->now);
  }
}

/* What has come to beta: refused, or left to wait as by a server that hangs. */
static guint
count_incoming (Pair *w,
                gboolean refuse,
                GPtrArray *waiting)
{
  PilotEvent event;
  guint n = 0;

  while (pilot_overlay_next_event (w->beta->overlay, &event)) {
    if (event.type != PILOT_EVENT_STREAM_INCOMING)
      continue;
    n++;
    if (refuse)
      pilot_stream_refuse (event.stream, w->sim->now);
    else
      g_ptr_array_add (waiting, event.stream);
  }
  return n;
}

/* Of what waits for the host's answer one peer has a share, so that it does not take the others' whole. An answer makes room. */
static void
test_unanswered (void)
{
  Pair w = pair_new (-1, -1);
  const PilotAddress to = { 0, w.beta->node };
  g_autoptr (GPtrArray) waiting = g_ptr_array_new ();

  pair_start (&w);
  /* The first says that both are of one kind; the rest is not limited by it. */
  pair_dial (&w, SIM_FLOW_BOTH, 10, 10);
  pair_run (&w, 2 * SIM_SECOND);
  g_assert_cmpuint (count_answered (&w), ==, 1);
  for (guint i = 0; i < PILOT_MAX_INCOMING_OF_PEER + 10; i++)
    g_assert_nonnull (pilot_overlay_connect (w.alpha->overlay, &to, 1000, w.sim->now));
  carry (&w);
  g_assert_cmpuint (count_incoming (&w, FALSE, waiting), ==, PILOT_MAX_INCOMING_OF_PEER);
  g_assert_cmpuint (w.beta->overlay->n_incoming, ==, PILOT_MAX_INCOMING_OF_PEER);
  g_assert_cmpuint (PILOT_MAX_INCOMING_OF_PEER, <, PILOT_MAX_INCOMING);
  for (guint i = 0; i < waiting->len; i++)
    pilot_stream_refuse (waiting->pdata[i], w.sim->now);
  g_assert_cmpuint (w.beta->overlay->n_incoming, ==, 0);
  g_assert_nonnull (pilot_overlay_connect (w.alpha->overlay, &to, 1000, w.sim->now));
  carry (&w);
  g_assert_cmpuint (count_incoming (&w, TRUE, NULL), ==, 1);
  w.sim->n_flows = 0;
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
  g_test_add_func ("/burst/unanswered", test_unanswered);
  return g_test_run ();
}
