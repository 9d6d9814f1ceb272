/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/plugin-check/check.h"
#include "daemon/plugin-check/host.h"

G_BEGIN_DECLS

/* Two transports of one kind, and what comes out of each: what the tests of transports run on. */

/* One end of the wire and what came out of it. */
typedef struct
{
  const CheckRelay *relay; /* NULL: it is none */
  PilotTransport *transport;
  PilotEndpoint endpoint;
  GPtrArray *received; /* GBytes, one per datagram */
  GArray *senders;
  guint writable;
  guint failed;
  gint last_failure;
  PilotEndpoint last_failed;
} End;

typedef struct
{
  const CheckCandidate *candidate;
  End a;
  End b;
} Ends;

void end_start (End *end, const CheckCandidate *candidate, const gchar *settings);
/* A relay logs in. Its one endpoint is its beacon, which is in this process. */
void end_connect (End *end);
void end_stop (End *end);
/* A receiver whose user data is the end: keeps what comes. */
void ends_receive (PilotTransport *transport, PilotReceivedDatagram *items, guint n_items, gpointer user_data);
/* The data is a CheckCandidate. */
void ends_set_up (Ends *f, gconstpointer data);
void ends_tear_down (Ends *f, gconstpointer data);
/* Adds a test of that candidate: /NAME/@name. */
void ends_add (const CheckCandidate *candidate, const gchar *name, void (*func) (Ends *, gconstpointer));
/* One turn of the host's loop. FALSE when nothing happened in time. The other: for transports with sources of their own. */
gboolean ends_turn (Ends *f, gint timeout_ms);
gboolean ends_turn_context (gint timeout_ms);
/* Until the transport has no trouble (or, with `wanted` FALSE, has some). */
void ends_wait_trouble (PilotTransport *transport, gboolean wanted);
void ends_wait_received (Ends *f, End *end, guint n);
void ends_assert_received (End *end, guint index, const guint8 *data, gsize length);
/* (transfer full) */
guint8 *ends_pattern (gsize length, guint seed);
/* From a; sends all, turning the loop whenever it is "not now". */
void ends_send_all (Ends *f, const PilotSendBatch *items, guint n);
/* So many bytes in segments go from a to b. */
void ends_check_segments (Ends *f, gsize length, gsize segment);
guint64 ends_get_stat (PilotTransport *transport, const gchar *key);

G_END_DECLS
