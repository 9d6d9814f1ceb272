/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/services/hoarder.h"

/* node -> bytes, as pointers: a sum of what fits into memory fits into one. */
static GHashTable *
sum_up (GQueue *sessions, PilotHolding (*describe) (gconstpointer session))
{
  GHashTable *sums = g_hash_table_new (NULL, NULL);

  for (GList *item = sessions->head; item != NULL; item = item->next) {
    const PilotHolding holding = describe (item->data);
    gsize before = GPOINTER_TO_SIZE (g_hash_table_lookup (sums, GUINT_TO_POINTER (holding.peer)));

    g_hash_table_insert (sums, GUINT_TO_POINTER (holding.peer), GSIZE_TO_POINTER (before + holding.held));
  }
  return sums;
}

gpointer
pilot_hoarder_find (GQueue *sessions, PilotHolding (*describe) (gconstpointer session))
{
  g_autoptr (GHashTable) sums = sum_up (sessions, describe);
  gpointer found = NULL;
  gsize most = 0, largest = 0;

  for (GList *item = sessions->head; item != NULL; item = item->next) {
    const PilotHolding holding = describe (item->data);
    gsize sum = GPOINTER_TO_SIZE (g_hash_table_lookup (sums, GUINT_TO_POINTER (holding.peer)));

    if (holding.kept || holding.held == 0 || sum < most || (sum == most && holding.held <= largest))
      continue;
    found = item->data;
    most = sum;
    largest = holding.held;
  }
  return found;
}
