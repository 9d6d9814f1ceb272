/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/services/exchange-seen.h"

#include <string.h>

#define MEMORY (10 * 60 * (gint64) G_USEC_PER_SEC)
#define MAX_STORED 8192

typedef struct {
  guint8 key[PILOT_SHA256_SIZE]; /* first: it is the key of the table */
  char *answer;                  /* NULL: being stored */
  gint64 stored_at;
  GList link; /* in stored, oldest first */
} Seen;

struct _PilotExchangeSeen {
  GHashTable *table;
  GQueue stored;
};

static guint
key_hash (gconstpointer key)
{
  guint value;

  /* A digest is as good a hash as there is. */
  memcpy (&value, key, sizeof value);
  return value;
}

static gboolean
key_equal (gconstpointer a, gconstpointer b)
{
  return memcmp (a, b, PILOT_SHA256_SIZE) == 0;
}

static void
seen_free (gpointer data)
{
  Seen *item = data;

  g_free (item->answer);
  g_free (item);
}

PilotExchangeSeen *
pilot_exchange_seen_new (void)
{
  PilotExchangeSeen *seen = g_new0 (PilotExchangeSeen, 1);

  seen->table = g_hash_table_new_full (key_hash, key_equal, NULL, seen_free);
  g_queue_init (&seen->stored);
  return seen;
}

void
pilot_exchange_seen_free (PilotExchangeSeen *seen)
{
  if (seen == NULL)
    return;
  g_hash_table_unref (seen->table);
  g_free (seen);
}

static void
forget (PilotExchangeSeen *seen, Seen *item)
{
  if (item->answer != NULL)
    g_queue_unlink (&seen->stored, &item->link);
  g_hash_table_remove (seen->table, item->key);
}

static void
expire (PilotExchangeSeen *seen, gint64 now)
{
  while (seen->stored.head != NULL) {
    Seen *oldest = seen->stored.head->data;

    if (seen->stored.length <= MAX_STORED && now - oldest->stored_at < MEMORY)
      return;
    forget (seen, oldest);
  }
}

PilotExchangeSeenState
pilot_exchange_seen_begin (PilotExchangeSeen *seen, const guint8 key[PILOT_SHA256_SIZE], gint64 now, const char **answer)
{
  Seen *item;

  expire (seen, now);
  item = g_hash_table_lookup (seen->table, key);
  if (item != NULL) {
    *answer = item->answer;
    return item->answer != NULL ? PILOT_EXCHANGE_SEEN_STORED : PILOT_EXCHANGE_SEEN_RUNNING;
  }
  item = g_new0 (Seen, 1);
  memcpy (item->key, key, sizeof item->key);
  item->link.data = item;
  g_hash_table_add (seen->table, item);
  return PILOT_EXCHANGE_SEEN_NEW;
}

void
pilot_exchange_seen_end (PilotExchangeSeen *seen, const guint8 key[PILOT_SHA256_SIZE], gint64 now, const char *answer)
{
  Seen *item = g_hash_table_lookup (seen->table, key);

  if (item == NULL || item->answer != NULL)
    return;
  if (answer == NULL) {
    forget (seen, item);
    return;
  }
  item->answer = g_strdup (answer);
  item->stored_at = now;
  g_queue_push_tail_link (&seen->stored, &item->link);
  expire (seen, now);
}
