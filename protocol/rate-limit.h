/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Token bucket that keeps credit as time: one token is worth `interval`, at most `burst` tokens are held. The unit is whatever `now` counts,
 * microseconds with most. All zero is a full one. */
typedef struct
{
  gint64 empty_at; /* when it was, or would have been, empty */
} PilotTokenBucket;

gboolean pilot_token_bucket_take (PilotTokenBucket *bucket,
                                  gint64 interval,
                                  guint burst,
                                  gint64 now);
/* Takes the next token even if it is not there yet, and says when it will be (`at`, `now` at the earliest). FALSE, and none taken, when that is later
 * than `now` + `patience`. Who asks first is served first. */
gboolean pilot_token_bucket_reserve (PilotTokenBucket *bucket,
                                     gint64 interval,
                                     guint burst,
                                     gint64 patience,
                                     gint64 now,
                                     gint64 *at);

#define PILOT_RATE_LIMIT_SETS 256
#define PILOT_RATE_LIMIT_WAYS 4

/* Buckets for many keys in a table of fixed size, for what arrives before authentication (packets-and-tunnel.md section 6.8). */
typedef struct
{
  guint64 key;
  gint64 empty_at;
} PilotRateEntry;

typedef struct
{
  guint64 secret;
  gint64 interval_us;
  guint burst;
  PilotRateEntry entries[PILOT_RATE_LIMIT_SETS][PILOT_RATE_LIMIT_WAYS];
} PilotRateLimit;

void pilot_rate_limit_init (PilotRateLimit *limit,
                            gint64 interval_us,
                            guint burst,
                            guint64 secret);
/* FALSE: no token, or the table has no room because all entries that share its set are in use. */
gboolean pilot_rate_limit_take (PilotRateLimit *limit,
                                const void *key,
                                gsize length,
                                gint64 now);

G_END_DECLS
