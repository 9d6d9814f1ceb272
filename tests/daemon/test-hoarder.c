/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/services/hoarder.h"

static PilotHolding
describe (gconstpointer session)
{
  return *(const PilotHolding *) session;
}

static const PilotHolding *
find (const PilotHolding *holdings, guint n)
{
  g_auto (GQueue) sessions = G_QUEUE_INIT;

  for (guint i = 0; i < n; i++)
    g_queue_push_tail (&sessions, (gpointer) &holdings[i]);
  return pilot_hoarder_find (&sessions, describe);
}

static void
test_find (void)
{
  /* Node 2 has the largest one, node 3 most in all: its largest that can be taken, though what is kept counts. */
  const PilotHolding many[] = { { 1, 10, FALSE }, { 2, 100, FALSE }, { 3, 40, FALSE }, { 3, 50, FALSE }, { 3, 60, TRUE }, { 1, 20, FALSE }, { 3, 45, FALSE } };
  /* Who holds most can give nothing: the next one. */
  const PilotHolding kept[] = { { 1, 10, FALSE }, { 2, 100, TRUE }, { 3, 0, FALSE }, { 4, 30, FALSE } };
  const PilotHolding equal[] = { { 1, 5, FALSE }, { 2, 5, FALSE } };
  const PilotHolding nothing[] = { { 1, 0, FALSE }, { 2, 7, TRUE } };

  g_assert_true (find (many, G_N_ELEMENTS (many)) == &many[3]);
  g_assert_true (find (kept, G_N_ELEMENTS (kept)) == &kept[3]);
  g_assert_true (find (equal, G_N_ELEMENTS (equal)) == &equal[0]);
  g_assert_null (find (nothing, G_N_ELEMENTS (nothing)));
  g_assert_null (find (NULL, 0));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/daemon/hoarder/find", test_find);
  return g_test_run ();
}
