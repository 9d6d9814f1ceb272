/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/heap-return.h"

/* The rule in virtual time. */

#define SECOND G_USEC_PER_SEC

static void
test_transfer (void)
{
  PilotHeapReturn rule = { 0 };
  gint64 now = 100 * SECOND;

  for (guint i = 0; i < 1000; i++, now += 1000) {
    pilot_heap_return_carried (&rule, 65000, now);
    g_assert_false (pilot_heap_return_take (&rule, now));
  }
  g_assert_cmpint (pilot_heap_return_due (&rule), <=, now + PILOT_HEAP_RETURN_QUIET);
  g_assert_cmpint (pilot_heap_return_due (&rule), >, now);
  g_assert_true (pilot_heap_return_take (&rule, pilot_heap_return_due (&rule)));
  /* Once for each. */
  g_assert_cmpint (pilot_heap_return_due (&rule), ==, G_MAXINT64);
  g_assert_false (pilot_heap_return_take (&rule, now + 1000 * SECOND));
}

static void
test_pauses (void)
{
  PilotHeapReturn rule = { 0 };
  gint64 now = 100 * SECOND;

  /* A megabyte each second is one use of the memory, not many. */
  for (guint i = 0; i < 60; i++, now += SECOND) {
    g_assert_false (pilot_heap_return_take (&rule, now));
    pilot_heap_return_carried (&rule, 1000000, now);
  }
}

static void
test_little (void)
{
  PilotHeapReturn rule = { 0 };
  gint64 now = 100 * SECOND;

  /* Questions and answers leave nothing behind... */
  for (guint i = 0; i < 1000; i++, now += SECOND) {
    pilot_heap_return_carried (&rule, 200, now);
    g_assert_cmpint (pilot_heap_return_due (&rule), ==, G_MAXINT64);
  }
  /* ...and those after a transfer do not put off the end of it. */
  pilot_heap_return_carried (&rule, 10000000, now);
  for (guint i = 0; i < 30; i++, now += SECOND / 10) {
    g_assert_false (pilot_heap_return_take (&rule, now));
    pilot_heap_return_carried (&rule, 200, now);
  }
  g_assert_true (pilot_heap_return_take (&rule, now));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/heap-return/transfer", test_transfer);
  g_test_add_func ("/heap-return/pauses", test_pauses);
  g_test_add_func ("/heap-return/little", test_little);
  return g_test_run ();
}
