/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rate-limit.h"

#include <string.h>

/* Credit is kept as the time at which the bucket would be empty if it refilled for ever: full is burst * interval in the past. */
gboolean
pilot_token_bucket_reserve (PilotTokenBucket *bucket,
                            gint64 interval,
                            guint burst,
                            gint64 patience,
                            gint64 now,
                            gint64 *at)
{
  gint64 full = now - (gint64) burst * interval;
  gint64 empty_at = MAX (bucket->empty_at, full);

  if (bucket->empty_at == 0)
    empty_at = full;
  if (empty_at + interval > now + patience)
    return FALSE;
  bucket->empty_at = empty_at + interval;
  *at = MAX (bucket->empty_at, now);
  return TRUE;
}

gboolean
pilot_token_bucket_take (PilotTokenBucket *bucket,
                         gint64 interval,
                         guint burst,
                         gint64 now)
{
  gint64 at;

  return pilot_token_bucket_reserve (bucket, interval, burst, 0, now, &at);
}

void
pilot_rate_limit_init (PilotRateLimit *limit,
                       gint64 interval_us,
                       guint burst,
                       guint64 secret)
{
  memset (limit, 0, sizeof *limit);
  limit->interval_us = interval_us;
  limit->burst = burst;
  limit->secret = secret;
}

/* Keyed, so that nobody outside can choose keys that share a set. */
static guint64
hash (guint64 secret,
      const guint8 *key,
      gsize length)
{
  guint64 value = secret ^ 0x9e3779b97f4a7c15u;

  for (gsize i = 0; i < length; i++) {
    value = (value ^ key[i]) * 0xff51afd7ed558ccdu;
    value ^= value >> 32;
  }
  value = (value ^ secret) * 0xc4ceb9fe1a85ec53u;
  value ^= value >> 29;
  return value == 0 ? 1 : value;
}

gboolean
pilot_rate_limit_take (PilotRateLimit *limit,
                       const void *key,
                       gsize length,
                       gint64 now)
{
  guint64 value = hash (limit->secret, key, length);
  PilotRateEntry *set = limit->entries[value % PILOT_RATE_LIMIT_SETS];
  PilotRateEntry *entry = NULL;
  PilotTokenBucket bucket;
  gboolean taken;

  for (guint i = 0; i < PILOT_RATE_LIMIT_WAYS; i++) {
    if (set[i].key == value) {
      entry = &set[i];
      break;
    }
    /* A bucket that is full again says nothing: it can go. */
    if (entry == NULL && (set[i].key == 0 || set[i].empty_at + limit->interval_us * limit->burst <= now))
      entry = &set[i];
  }
  if (entry == NULL)
    return FALSE;
  if (entry->key != value)
    *entry = (PilotRateEntry) { value, 0 };
  bucket.empty_at = entry->empty_at;
  taken = pilot_token_bucket_take (&bucket, limit->interval_us, limit->burst, now);
  entry->empty_at = bucket.empty_at;
  return taken;
}
