/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/store.h"

gboolean
pilot_store_load (PilotStore *store,
                  const PilotStoreVisitor *visitor,
                  gpointer user_data,
                  GError **error)
{
  return store->load (store, visitor, user_data, error);
}

gboolean
pilot_store_apply (PilotStore *store,
                   GPtrArray *changes,
                   GError **error)
{
  return store->apply (store, changes, error);
}

void
pilot_store_close (PilotStore *store)
{
  if (store != NULL)
    store->close (store);
}
