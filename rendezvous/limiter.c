/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/limiter.h"

#include <string.h>

#include "protocol/rate-limit.h"

#define MAX_HOSTS 65536

struct _PilotLimiter {
  guint burst;
  gint64 interval;     /* of one token, in microseconds, as all times here */
  GHashTable *buckets; /* PilotEndpoint -> PilotTokenBucket */
  gint64 swept;
};

PilotLimiter *
pilot_limiter_new (guint burst,
                   guint rate)
{
  PilotLimiter *self = g_new0 (PilotLimiter, 1);

  self->burst = burst;
  self->interval = 60 * G_USEC_PER_SEC / rate;
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
sweep (PilotLimiter *self,
       gint64 now)
{
  GHashTableIter iter;
  gpointer value;

  if (now == self->swept)
    return;
  self->swept = now;
  g_hash_table_iter_init (&iter, self->buckets);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    if (((PilotTokenBucket *) value)->empty_at <= now - self->burst * self->interval)
      g_hash_table_iter_remove (&iter);
}

gboolean
pilot_limiter_take (PilotLimiter *self,
                    const PilotEndpoint *host,
                    gint64 seconds)
{
  const gint64 now = seconds * G_USEC_PER_SEC;
  PilotEndpoint key = *host;
  PilotTokenBucket *bucket;

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
    bucket = g_new0 (PilotTokenBucket, 1);
    g_hash_table_insert (self->buckets, g_memdup2 (&key, sizeof key), bucket);
  }
  /* A clock that was set back must not make anybody wait until it is there again. */
  bucket->empty_at = MIN (bucket->empty_at, now);
  return pilot_token_bucket_take (bucket, self->interval, self->burst, now);
}
