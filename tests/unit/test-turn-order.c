/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/overlay.h"
#include "protocol/turn-order.h"

#define N 8
#define TURN PILOT_TRANSMIT_CAPACITY

static PilotStream *streams[N];

static void
on_hook (PilotStream *stream,
         gpointer overlay)
{
}

static void
on_finished (PilotStream *stream,
             gint64 now,
             gpointer overlay)
{
}

static const PilotStreamHooks hooks = { .changed = on_hook, .ready = on_hook, .finished = on_finished };

static void
set_up (void)
{
  for (guint i = 0; i < N; i++) {
    PilotStreamConfig config = { .id = i + 1, .initiator = TRUE, .hooks = &hooks };

    streams[i] = pilot_stream_new (&config, 0);
  }
}

static void
tear_down (PilotTurnOrder *order)
{
  for (guint i = 0; i < N; i++) {
    pilot_turn_order_leave (order, streams[i]);
    pilot_stream_free (streams[i]);
  }
  g_assert_null (pilot_turn_order_next (order));
}

/* So many that have much to say, all of them after their first turn. */
static void
join_bulk (PilotTurnOrder *order,
           guint n)
{
  for (guint i = 0; i < n; i++)
    pilot_turn_order_join (order, streams[i]);
  for (guint i = 0; i < n; i++) {
    g_assert_true (pilot_turn_order_next (order) == streams[i]);
    g_assert_true (pilot_turn_order_sent (order, streams[i], TURN, TRUE, TRUE));
  }
  g_assert_true (pilot_turn_order_next (order) == streams[0]);
}

/* Who was idle is next, before those that are in the middle of much, and then they go on where they were. */
static void
test_newcomer (void)
{
  PilotTurnOrder order = { 0 };

  set_up ();
  join_bulk (&order, 3);
  pilot_turn_order_join (&order, streams[3]);
  pilot_turn_order_join (&order, streams[3]);
  g_assert_true (pilot_turn_order_next (&order) == streams[3]);
  /* It stands behind them until each had its turn. */
  g_assert_true (pilot_turn_order_sent (&order, streams[3], 100, FALSE, TRUE));
  for (guint i = 0; i < 3; i++) {
    pilot_turn_order_join (&order, streams[3]);
    g_assert_true (pilot_turn_order_next (&order) == streams[i]);
    g_assert_true (pilot_turn_order_sent (&order, streams[i], TURN, TRUE, TRUE));
  }
  g_assert_true (pilot_turn_order_next (&order) == streams[3]);
  g_assert_false (pilot_turn_order_sent (&order, streams[3], 0, FALSE, FALSE));
  pilot_turn_order_join (&order, streams[3]);
  g_assert_true (pilot_turn_order_next (&order) == streams[3]);
  tear_down (&order);
}

/* Alone it is out as soon as it has said all. */
static void
test_alone (void)
{
  PilotTurnOrder order = { 0 };

  set_up ();
  g_assert_null (pilot_turn_order_next (&order));
  pilot_turn_order_join (&order, streams[0]);
  g_assert_false (pilot_turn_order_sent (&order, streams[0], 100, FALSE, FALSE));
  g_assert_null (pilot_turn_order_next (&order));
  tear_down (&order);
}

/* A newcomer that has much to say has no more than one turn before the others. */
static void
test_newcomer_with_much (void)
{
  PilotTurnOrder order = { 0 };

  set_up ();
  join_bulk (&order, 2);
  pilot_turn_order_join (&order, streams[2]);
  for (gsize sent = 0; pilot_turn_order_next (&order) == streams[2]; sent += 1472) {
    g_assert_cmpuint (sent, <, TURN);
    g_assert_true (pilot_turn_order_sent (&order, streams[2], 1472, TRUE, FALSE));
  }
  g_assert_true (pilot_turn_order_next (&order) == streams[0]);
  tear_down (&order);
}

/* Six that are idle and active again all the time, with as much as a turn holds or little, do not keep the other two from their turns. */
static void
test_no_starvation (void)
{
  static const gsize sizes[] = { 64, TURN };

  for (guint s = 0; s < G_N_ELEMENTS (sizes); s++) {
    PilotTurnOrder order = { 0 };
    guint served[N] = { 0 };

    set_up ();
    join_bulk (&order, 2);
    for (guint step = 0; step < 8000; step++) {
      PilotStream *stream;
      guint i = 0;

      for (guint k = 2; k < N; k++)
        pilot_turn_order_join (&order, streams[k]);
      stream = pilot_turn_order_next (&order);
      while (streams[i] != stream)
        i++;
      served[i]++;
      pilot_turn_order_sent (&order, stream, i < 2 ? TURN : sizes[s], i < 2, TRUE);
    }
    for (guint i = 0; i < N; i++)
      g_assert_cmpuint (served[i], >=, 8000 / (2 * N));
    tear_down (&order);
  }
}

/* Bytes count, not packets: large segments against small ones that share a buffer with others. */
static void
test_even (void)
{
  static const gsize size[] = { 65000, 1472, 500, 9000 };
  PilotTurnOrder order = { 0 };
  gsize sent[N] = { 0 }, filled = 0;

  set_up ();
  join_bulk (&order, G_N_ELEMENTS (size));
  for (guint step = 0; step < 400000; step++) {
    PilotStream *stream = pilot_turn_order_next (&order);
    gboolean full;
    guint i = 0;

    while (streams[i] != stream)
      i++;
    if (filled + size[i] > TURN)
      filled = 0;
    filled += size[i];
    sent[i] += size[i];
    full = filled + size[i] > TURN;
    g_assert_true (pilot_turn_order_sent (&order, stream, size[i], TRUE, full));
  }
  for (guint i = 1; i < G_N_ELEMENTS (size); i++) {
    g_assert_cmpuint (sent[i], <=, sent[0] + 2 * TURN);
    g_assert_cmpuint (sent[i] + 2 * TURN, >=, sent[0]);
  }
  tear_down (&order);
}

/* A buffer that is full ends the turn of whom little is left, and of nobody else. */
static void
test_full (void)
{
  PilotTurnOrder order = { 0 };

  set_up ();
  join_bulk (&order, 2);
  g_assert_true (pilot_turn_order_sent (&order, streams[0], TURN / 4, TRUE, TRUE));
  g_assert_true (pilot_turn_order_next (&order) == streams[0]);
  g_assert_true (pilot_turn_order_sent (&order, streams[0], TURN / 2, TRUE, TRUE));
  g_assert_true (pilot_turn_order_next (&order) == streams[1]);
  tear_down (&order);
}

static void
test_leave (void)
{
  PilotTurnOrder order = { 0 };

  set_up ();
  join_bulk (&order, 3);
  pilot_turn_order_join (&order, streams[3]);
  pilot_turn_order_join (&order, streams[4]);
  pilot_turn_order_leave (&order, streams[1]);
  pilot_turn_order_leave (&order, streams[1]);
  pilot_turn_order_leave (&order, streams[3]);
  g_assert_true (pilot_turn_order_next (&order) == streams[4]);
  pilot_turn_order_leave (&order, streams[4]);
  g_assert_true (pilot_turn_order_next (&order) == streams[0]);
  pilot_turn_order_leave (&order, streams[0]);
  g_assert_true (pilot_turn_order_next (&order) == streams[2]);
  tear_down (&order);
}

int
main (int argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/turn-order/alone", test_alone);
  g_test_add_func ("/turn-order/newcomer", test_newcomer);
  g_test_add_func ("/turn-order/newcomer-with-much", test_newcomer_with_much);
  g_test_add_func ("/turn-order/no-starvation", test_no_starvation);
  g_test_add_func ("/turn-order/even", test_even);
  g_test_add_func ("/turn-order/full", test_full);
  g_test_add_func ("/turn-order/leave", test_leave);
  return g_test_run ();
}
