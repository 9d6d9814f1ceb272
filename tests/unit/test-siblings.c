/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/siblings.h"

#define SECOND G_USEC_PER_SEC

/* A way is shared while packets of two come in turns, not by one that spoke long ago. */
static void
test_shared (void)
{
  PilotSiblings siblings = { 0 };
  const gchar *one = "one", *other = "other";
  gint64 now = 5 * SECOND;

  pilot_siblings_spoke (&siblings, one, now);
  pilot_siblings_spoke (&siblings, one, now + 1000);
  g_assert_false (pilot_siblings_shared (&siblings, now + 1000));
  pilot_siblings_spoke (&siblings, other, now + SECOND);
  g_assert_false (pilot_siblings_shared (&siblings, now + SECOND));
  pilot_siblings_spoke (&siblings, one, now + SECOND + 1000);
  g_assert_true (pilot_siblings_shared (&siblings, now + SECOND + 1000));
  g_assert_true (pilot_siblings_shared (&siblings, now + SECOND + 99000));
  g_assert_false (pilot_siblings_shared (&siblings, now + SECOND + 102000));
}

/* Who exchanges short messages is asked of by the others, for so long. */
static void
test_asked (void)
{
  PilotSiblings siblings = { 0 };
  const gchar *bulk = "bulk", *talk = "talk";
  gint64 now = 5 * SECOND;

  g_assert_false (pilot_siblings_others_ask (&siblings, bulk, now));
  pilot_siblings_asked (&siblings, talk, now);
  g_assert_true (pilot_siblings_others_ask (&siblings, bulk, now + 99000));
  g_assert_false (pilot_siblings_others_ask (&siblings, talk, now + 99000));
  g_assert_false (pilot_siblings_others_ask (&siblings, bulk, now + 101000));
}

/* @rtt is measured every 50 ms, by one of two in turn. */
static gint64
talk (PilotSiblings *siblings,
      gint64 from,
      gint64 to,
      gint64 rtt)
{
  static const gchar *const names[] = { "one", "other" };

  for (; from < to; from += 50000) {
    pilot_siblings_spoke (siblings, names[from / 50000 % 2], from);
    pilot_siblings_measured (siblings, rtt, from);
  }
  return to;
}

/* The shortest counts for at least 10 s and at most 20 s. */
static void
test_shortest (void)
{
  PilotSiblings siblings = { 0 };
  gint64 now = 100 * SECOND;

  g_assert_cmpint (pilot_siblings_shortest (&siblings, now), ==, -1);
  now = talk (&siblings, now, now + SECOND, 800);
  g_assert_cmpint (pilot_siblings_shortest (&siblings, now), ==, 800);
  now = talk (&siblings, now, now + SECOND, 300);
  g_assert_cmpint (pilot_siblings_shortest (&siblings, now), ==, 300);
  now = talk (&siblings, now, now + 9 * SECOND, 5000);
  g_assert_cmpint (pilot_siblings_shortest (&siblings, now), ==, 300);
  now = talk (&siblings, now, now + 10 * SECOND, 4000);
  g_assert_cmpint (pilot_siblings_shortest (&siblings, now), ==, 4000);
  now = talk (&siblings, now, now + SECOND, 0);
  g_assert_cmpint (pilot_siblings_shortest (&siblings, now), ==, 1);
  /* Also when nobody measures any more. */
  g_assert_cmpint (pilot_siblings_shortest (&siblings, now + 21 * SECOND), ==, -1);
}

/* After a pause whoever begins sees the way as it is then: it may have become a longer one. */
static void
test_pause (void)
{
  PilotSiblings siblings = { 0 };
  gint64 now = talk (&siblings, 100 * SECOND, 101 * SECOND, 200);

  g_assert_cmpint (pilot_siblings_shortest (&siblings, now), ==, 200);
  now = talk (&siblings, now + SECOND / 5, now + SECOND, 30000);
  g_assert_cmpint (pilot_siblings_shortest (&siblings, now), ==, 30000);
}

/* Another way: what is answered of the one before says nothing of it. */
static void
test_moved (void)
{
  PilotSiblings siblings = { 0 };
  gint64 now = talk (&siblings, 100 * SECOND, 101 * SECOND, 200);

  pilot_siblings_moved (&siblings, now);
  g_assert_cmpint (pilot_siblings_shortest (&siblings, now), ==, -1);
  pilot_siblings_measured (&siblings, 200, now + 100);
  g_assert_cmpint (pilot_siblings_shortest (&siblings, now + 100), ==, -1);
  pilot_siblings_measured (&siblings, 30000, now + 40000);
  g_assert_cmpint (pilot_siblings_shortest (&siblings, now + 40000), ==, 30000);
}

int
main (int argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/siblings/shared", test_shared);
  g_test_add_func ("/siblings/asked", test_asked);
  g_test_add_func ("/siblings/shortest", test_shortest);
  g_test_add_func ("/siblings/pause", test_pause);
  g_test_add_func ("/siblings/moved", test_moved);
  return g_test_run ();
}
