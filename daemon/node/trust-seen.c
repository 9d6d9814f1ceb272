/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/node/trust-seen.h"

typedef struct {
  GBytes *key;
  gint64 at;
} Entry;

struct _PilotTrustSeen {
  GHashTable *keys; /* GBytes: those of the entries */
  GQueue entries;   /* Entry, oldest first */
  guint max;
  gint64 lifetime;
};

PilotTrustSeen *
pilot_trust_seen_new (guint max, gint64 lifetime)
{
  PilotTrustSeen *seen = g_new0 (PilotTrustSeen, 1);

  seen->keys = g_hash_table_new (g_bytes_hash, g_bytes_equal);
  g_queue_init (&seen->entries);
  seen->max = max;
  seen->lifetime = lifetime;
  return seen;
}

static void
forget_oldest (PilotTrustSeen *seen)
{
  Entry *entry = g_queue_pop_head (&seen->entries);

  g_hash_table_remove (seen->keys, entry->key);
  g_bytes_unref (entry->key);
  g_free (entry);
}

void
pilot_trust_seen_free (PilotTrustSeen *seen)
{
  while (seen->entries.length > 0)
    forget_oldest (seen);
  g_hash_table_unref (seen->keys);
  g_free (seen);
}

gboolean
pilot_trust_seen_add (PilotTrustSeen *seen, gconstpointer key, gsize length, gint64 now)
{
  g_autoptr (GBytes) bytes = g_bytes_new (key, length);
  Entry *entry;

  while (seen->entries.length > 0 && ((Entry *) seen->entries.head->data)->at + seen->lifetime < now)
    forget_oldest (seen);
  if (g_hash_table_contains (seen->keys, bytes))
    return FALSE;
  if (seen->entries.length >= seen->max)
    forget_oldest (seen);
  entry = g_new (Entry, 1);
  *entry = (Entry) { g_steal_pointer (&bytes), now };
  g_queue_push_tail (&seen->entries, entry);
  g_hash_table_add (seen->keys, entry->key);
  return TRUE;
}
