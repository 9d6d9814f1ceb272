/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

#include "protocol/crypto.h"

G_BEGIN_DECLS

/* Deliveries that are known again (services.md 3.6): those stored in the last ten minutes, at most 8192, and those being stored. */
typedef struct _PilotExchangeSeen PilotExchangeSeen;

typedef enum {
  PILOT_EXCHANGE_SEEN_NEW,     /* remembered as being stored: pilot_exchange_seen_end() must follow */
  PILOT_EXCHANGE_SEEN_RUNNING, /* an identical one is being stored */
  PILOT_EXCHANGE_SEEN_STORED,
} PilotExchangeSeenState;

PilotExchangeSeen *pilot_exchange_seen_new (void);
void pilot_exchange_seen_free (PilotExchangeSeen *seen);
/* `now`: monotonic, us. `answer` (out) (borrowed): what the first one was told, with STORED. */
PilotExchangeSeenState pilot_exchange_seen_begin (PilotExchangeSeen *seen, const guint8 key[PILOT_SHA256_SIZE], gint64 now, const char **answer);
/* `answer` NULL: it was not stored, and is forgotten. */
void pilot_exchange_seen_end (PilotExchangeSeen *seen, const guint8 key[PILOT_SHA256_SIZE], gint64 now, const char *answer);

G_END_DECLS
