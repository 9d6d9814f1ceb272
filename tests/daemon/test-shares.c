/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/shares.h"

static guint
take_all (PilotShares *shares, guint32 peer)
{
  guint n = 0;

  while (pilot_shares_take (shares, peer))
    g_assert_cmpuint (++n, <=, 1000);
  return n;
}

static void
give_back (PilotShares *shares, guint32 peer, guint n)
{
  for (guint i = 0; i < n; i++)
    pilot_shares_give_back (shares, peer);
}

/* However much one takes, the others find their share, until there is none left for anybody. */
static void
test_crowd (void)
{
  g_autoptr (PilotShares) shares = pilot_shares_new (10, 4);

  g_assert_cmpuint (take_all (shares, 1), ==, 4);
  g_assert_cmpuint (take_all (shares, G_MAXUINT32), ==, 4);
  g_assert_cmpuint (take_all (shares, 3), ==, 2);
  g_assert_cmpuint (take_all (shares, 4), ==, 0);
  g_assert_cmpuint (pilot_shares_get_taken (shares), ==, 10);
  give_back (shares, 1, 4);
  give_back (shares, G_MAXUINT32, 4);
  give_back (shares, 3, 2);
  g_assert_cmpuint (pilot_shares_get_taken (shares), ==, 0);
}

/* What is given back is there again: to who gave it, or to another. */
static void
test_again (void)
{
  g_autoptr (PilotShares) shares = pilot_shares_new (3, 2);

  g_assert_cmpuint (take_all (shares, 1), ==, 2);
  give_back (shares, 1, 1);
  g_assert_cmpuint (take_all (shares, 1), ==, 1);
  g_assert_cmpuint (take_all (shares, 2), ==, 1);
  give_back (shares, 1, 2);
  g_assert_cmpuint (take_all (shares, 2), ==, 1);
  g_assert_cmpuint (take_all (shares, 1), ==, 1);
  give_back (shares, 1, 1);
  give_back (shares, 2, 2);
  g_assert_cmpuint (take_all (shares, 1), ==, 2);
  give_back (shares, 1, 2);
}

/* This machine itself has no share, but counts. */
static void
test_own (void)
{
  g_autoptr (PilotShares) shares = pilot_shares_new (5, 2);

  g_assert_cmpuint (take_all (shares, 7), ==, 2);
  g_assert_cmpuint (take_all (shares, PILOT_SHARES_OWN), ==, 3);
  g_assert_false (pilot_shares_take (shares, 8));
  give_back (shares, PILOT_SHARES_OWN, 3);
  g_assert_true (pilot_shares_take (shares, 8));
  give_back (shares, 8, 1);
  give_back (shares, 7, 2);
}

static void
test_no_total (void)
{
  g_autoptr (PilotShares) shares = pilot_shares_new (G_MAXUINT, 2);

  for (guint32 peer = 1; peer <= 100; peer++)
    g_assert_cmpuint (take_all (shares, peer), ==, 2);
  for (guint32 peer = 1; peer <= 100; peer++)
    give_back (shares, peer, 2);
}

/* Who gives back what he never took does not make room for himself. */
static void
test_not_taken (void)
{
  g_autoptr (PilotShares) shares = pilot_shares_new (2, 1);

  g_assert_true (pilot_shares_take (shares, 1));
  g_test_expect_message ("core", G_LOG_LEVEL_CRITICAL, "*of_peer > 0*");
  pilot_shares_give_back (shares, 2);
  g_test_assert_expected_messages ();
  g_assert_cmpuint (pilot_shares_get_taken (shares), ==, 1);
  g_assert_false (pilot_shares_take (shares, 1));
  pilot_shares_give_back (shares, 1);
}

/* A service that goes before its sessions has forgotten one. */
static void
test_forgotten (void)
{
  PilotShares *shares = pilot_shares_new (2, 1);

  g_assert_true (pilot_shares_take (shares, 1));
  g_test_expect_message ("core", G_LOG_LEVEL_WARNING, "*taken == 0*");
  pilot_shares_free (shares);
  g_test_assert_expected_messages ();
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/daemon/shares/crowd", test_crowd);
  g_test_add_func ("/daemon/shares/again", test_again);
  g_test_add_func ("/daemon/shares/own", test_own);
  g_test_add_func ("/daemon/shares/no-total", test_no_total);
  g_test_add_func ("/daemon/shares/not-taken", test_not_taken);
  g_test_add_func ("/daemon/shares/forgotten", test_forgotten);
  return g_test_run ();
}
