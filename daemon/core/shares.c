/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shares.h"

struct _PilotShares {
  guint most, most_of_peer, taken;
  GHashTable *taken_by; /* node -> places; who has none is not in it */
};

static guint
taken_by (PilotShares *shares, guint32 peer)
{
  return GPOINTER_TO_UINT (g_hash_table_lookup (shares->taken_by, GUINT_TO_POINTER (peer)));
}

gboolean
pilot_shares_take (PilotShares *shares, guint32 peer)
{
  guint of_peer = taken_by (shares, peer);

  if (shares->taken >= shares->most || (peer != PILOT_SHARES_OWN && of_peer >= shares->most_of_peer))
    return FALSE;
  g_hash_table_insert (shares->taken_by, GUINT_TO_POINTER (peer), GUINT_TO_POINTER (of_peer + 1));
  shares->taken++;
  return TRUE;
}

void
pilot_shares_give_back (PilotShares *shares, guint32 peer)
{
  guint of_peer = taken_by (shares, peer);

  g_return_if_fail (of_peer > 0);
  if (of_peer > 1)
    g_hash_table_insert (shares->taken_by, GUINT_TO_POINTER (peer), GUINT_TO_POINTER (of_peer - 1));
  else
    g_hash_table_remove (shares->taken_by, GUINT_TO_POINTER (peer));
  shares->taken--;
}

guint
pilot_shares_get_taken (PilotShares *shares)
{
  return shares->taken;
}

PilotShares *
pilot_shares_new (guint most, guint most_of_peer)
{
  PilotShares *shares = g_new0 (PilotShares, 1);

  shares->most = most;
  shares->most_of_peer = most_of_peer;
  shares->taken_by = g_hash_table_new (NULL, NULL);
  return shares;
}

void
pilot_shares_free (PilotShares *shares)
{
  g_warn_if_fail (shares->taken == 0);
  g_hash_table_unref (shares->taken_by);
  g_free (shares);
}
