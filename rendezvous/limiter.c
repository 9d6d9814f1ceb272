/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/limiter.h"

#include <string.h>

#define MAX_HOSTS 65536

typedef struct
{
  gdouble tokens;
  gint64 time; /* when `tokens` was right */
} Bucket;

struct _PilotLimiter {
  gdouble burst;
  gdouble rate;        /* a second */
  GHashTable *buckets; /* PilotEndpoint -> Bucket */
  gint64 swept;
};

PilotLimiter *
pilot_limiter_new (guint burst,
                   guint rate)
{
  PilotLimiter *self = g_new0 (PilotLimiter, 1);

  self->burst = burst;
  self->rate = rate / 60.0;
  self->buckets = g_hash_table_new_full (pilot_endpoint_hash, pilot_endpoint_equal_func, g_free, g_free);
  return self;
}

void
pilot_limiter_free (PilotLimiter *self)
{
  if (self == NULL)
    return;
  g_hash_table_unref (self->buckets);
  g_free (self);
}

static void
refill (PilotLimiter *self,
        Bucket *bucket,
        gint64 now)
{
  bucket->tokens = MIN (self->burst, bucket->tokens + MAX (0, now - bucket->time) * self->rate);
  bucket->time = now;
}

static void
sweep (PilotLimiter *self,
       gint64 now)
{
  GHashTableIter iter;
  gpointer value;

  if (now == self->swept)
    return;
  self->swept = now;
  g_hash_table_iter_init (&iter, self->buckets);
  while (g_hash_table_iter_next (&iter, NULL, &value)) {
    refill (self, value, now);
    if (((Bucket *) value)->tokens >= self->burst)
      g_hash_table_iter_remove (&iter);
  }
}

gboolean
pilot_limiter_take (PilotLimiter *self,
                    const PilotEndpoint *host,
                    gint64 now)
{
  PilotEndpoint key = *host;
  Bucket *bucket;

  key.port = 0;
  key.transport = 0;
  if (key.family == PILOT_ENDPOINT_IPV6)
    memset (key.address + 8, 0, 8);
  bucket = g_hash_table_lookup (self->buckets, &key);
  if (bucket == NULL) {
    if (g_hash_table_size (self->buckets) >= MAX_HOSTS)
      sweep (self, now);
    if (g_hash_table_size (self->buckets) >= MAX_HOSTS)
      return FALSE;
    bucket = g_new (Bucket, 1);
    bucket->tokens = self->burst;
    bucket->time = now;
    g_hash_table_insert (self->buckets, g_memdup2 (&key, sizeof key), bucket);
  }
  refill (self, bucket, now);
  if (bucket->tokens < 1.0)
    return FALSE;
  bucket->tokens -= 1.0;
  return TRUE;
}
