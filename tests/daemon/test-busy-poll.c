/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/busy-poll.h"

/* The rule in virtual time: no clock, no processor. */

#define SECOND 1000000
/* What one look takes, with others let go first who want nothing. */
#define LOOK 2

typedef struct {
  PilotBusyPoll rule;
  gint64 now;
  gint64 awake; /* spent looking */
  guint slept, missed;
} Loop;

/* Waits for what comes after @wait, and takes a turn that carries @bytes and takes 10 us. */
static void
wait_and_turn (Loop *loop, gint64 wait, gsize bytes)
{
  gint64 due = loop->now + wait, began = loop->now;
  gboolean looked = FALSE;

  while (loop->now < due && pilot_busy_poll_look (&loop->rule, loop->now)) {
    looked = TRUE;
    loop->now += LOOK;
  }
  loop->awake += loop->now - began;
  if (loop->now < due) {
    loop->slept++;
    loop->missed += looked;
    loop->now = due;
  }
  pilot_busy_poll_turn_begins (&loop->rule, loop->now);
  loop->now += 10;
  pilot_busy_poll_turn_ends (&loop->rule, bytes, loop->now);
}

static void
repeat (Loop *loop, guint n, gint64 wait, gsize bytes)
{
  while (n-- > 0)
    wait_and_turn (loop, wait, bytes);
}

static void
test_questions (void)
{
  Loop loop = { .now = SECOND };

  repeat (&loop, 1, SECOND, 134);
  repeat (&loop, PILOT_BUSY_POLL_STREAK, 100, 134);
  g_assert_cmpint (loop.awake, ==, 0);
  loop.slept = 0;
  repeat (&loop, 10000, 100, 134);
  g_assert_cmpuint (loop.slept, ==, 0);
  g_assert_cmpuint (loop.missed, ==, 0);
  /* They end: that costs one wait, and nothing more until there are as many again. */
  loop.awake = 0;
  repeat (&loop, 1, SECOND, 134);
  g_assert_cmpuint (loop.missed, ==, 1);
  g_assert_cmpint (loop.awake, <=, PILOT_BUSY_POLL_LONGEST + LOOK);
  loop.awake = 0;
  repeat (&loop, PILOT_BUSY_POLL_STREAK, 100, 134);
  g_assert_cmpint (loop.awake, ==, 0);
  repeat (&loop, 1, 100, 134);
  g_assert_cmpint (loop.awake, ==, 100);
}

/* A question of 100 a second, answered at once: every second wait is short, which is no reason. */
static void
test_trickle (void)
{
  Loop loop = { .now = SECOND };

  for (guint i = 0; i < 1000; i++) {
    repeat (&loop, 1, 9900, 134);
    repeat (&loop, 1, 60, 134);
  }
  g_assert_cmpint (loop.awake, ==, 0);
}

/* What comes by chance, 1000 times a second: a hundredth of a processor at most, though some waits are short. */
static void
test_chance (void)
{
  Loop loop = { .now = SECOND };
  GRand *random = g_rand_new_with_seed (7);
  gint64 began = loop.now;

  for (guint i = 0; i < 100000; i++)
    repeat (&loop, 1, g_rand_int_range (random, 0, 2000), 134);
  g_rand_free (random);
  g_assert_cmpint (loop.awake, <=, (loop.now - began) / 100);
}

/* A transfer, however its packets come: nothing, also when acknowledgements go between. */
static void
test_transfer (void)
{
  Loop loop = { .now = SECOND };

  repeat (&loop, 1000, 50, 1222);
  for (guint i = 0; i < 1000; i++) {
    repeat (&loop, 4, 30, 70);
    repeat (&loop, 1, 100, 2444);
  }
  g_assert_cmpint (loop.awake, ==, 0);
}

/* Another program keeps the processor whenever it is let go first. Answers how long the rule then stays away, at which @found looks in a row found something before. */
static gint64
retreat_after (Loop *loop, guint found)
{
  gint64 began;

  repeat (loop, 1 + PILOT_BUSY_POLL_STREAK + found, 100, 134);
  g_assert_true (pilot_busy_poll_look (&loop->rule, loop->now));
  loop->now += 4000;
  g_assert_false (pilot_busy_poll_look (&loop->rule, loop->now));
  began = loop->now;
  do
    repeat (loop, PILOT_BUSY_POLL_STREAK, 100, 134);
  while (!pilot_busy_poll_look (&loop->rule, loop->now));
  loop->rule.looked = 0;
  return loop->now - began;
}

static void
test_wanted_processor (void)
{
  const gint64 slack = 2 * PILOT_BUSY_POLL_STREAK * 110;
  Loop loop = { .now = SECOND };
  gint64 expected = PILOT_BUSY_POLL_RETREAT_FIRST;

  for (guint i = 0; i < 10; i++) {
    gint64 retreat = retreat_after (&loop, 0);

    g_assert_cmpint (retreat, >=, expected);
    g_assert_cmpint (retreat, <=, expected + slack);
    expected = MIN (2 * expected, PILOT_BUSY_POLL_RETREAT_LAST);
  }
  g_assert_cmpint (expected, ==, PILOT_BUSY_POLL_RETREAT_LAST);
  /* The processor was free for a while: trust grows again. */
  g_assert_cmpint (retreat_after (&loop, 20000), <=, PILOT_BUSY_POLL_RETREAT_FIRST + slack);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/busy-poll/questions", test_questions);
  g_test_add_func ("/busy-poll/trickle", test_trickle);
  g_test_add_func ("/busy-poll/chance", test_chance);
  g_test_add_func ("/busy-poll/transfer", test_transfer);
  g_test_add_func ("/busy-poll/wanted-processor", test_wanted_processor);
  return g_test_run ();
}
