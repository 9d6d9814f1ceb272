/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/node/trust-seen.h"

/* What is remembered of messages: copies are known, old ones are forgotten, and a flood makes nobody deaf. */

static gboolean
add (PilotTrustSeen *seen, guint number, gint64 now)
{
  return pilot_trust_seen_add (seen, &number, sizeof number, now);
}

static void
test_copies (void)
{
  PilotTrustSeen *seen = pilot_trust_seen_new (4, 600);

  g_assert_true (add (seen, 1, 1000));
  g_assert_false (add (seen, 1, 1000));
  g_assert_true (add (seen, 2, 1300));
  g_assert_false (add (seen, 1, 1600));
  /* It is not new because it came again. */
  g_assert_true (add (seen, 1, 1601));
  g_assert_false (add (seen, 2, 1601));
  pilot_trust_seen_free (seen);
}

static void
test_flood (void)
{
  PilotTrustSeen *seen = pilot_trust_seen_new (4, 600);

  for (guint i = 0; i < 1000; i++) {
    g_assert_true (add (seen, i, 1000));
    g_assert_false (add (seen, i, 1000));
  }
  /* The last four, and no more. */
  for (guint i = 996; i < 1000; i++)
    g_assert_false (add (seen, i, 1000));
  g_assert_true (add (seen, 995, 1000));
  pilot_trust_seen_free (seen);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/daemon/trust-seen/copies", test_copies);
  g_test_add_func ("/daemon/trust-seen/flood", test_flood);
  return g_test_run ();
}
