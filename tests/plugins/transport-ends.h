/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "host.h"
#include "pipe-beacon.h"

G_BEGIN_DECLS

/* Two transports of one kind, and what comes out of each: what the tests of transports run on. Relays are connected to a beacon in this process. */

typedef struct
{
  const gchar *name;
  GType (*get_type) (void);
  const gchar *settings; /* NULL: a relay, that of pipe_beacon */
} Candidate;

/* One end of the wire and what came out of it. */
typedef struct
{
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
  const Candidate *candidate;
  End a;
  End b;
} Ends;

/* What the relays of a test are connected to. */
extern PipeBeacon *ends_beacon;

void end_start (End *end, const Candidate *candidate, const gchar *settings);
/* A relay logs in. Its one endpoint is its beacon. */
void end_connect (End *end);
void end_stop (End *end);
/* A receiver whose user data is the end: keeps what comes. */
void ends_receive (PilotTransport *transport, PilotReceivedDatagram *items, guint n_items, gpointer user_data);
/* The data is a Candidate. */
void ends_set_up (Ends *f, gconstpointer data);
void ends_tear_down (Ends *f, gconstpointer data);
/* Adds a test of that candidate: /NAME/@name. */
void ends_add (const Candidate *candidate, const gchar *name, void (*func) (Ends *, gconstpointer));
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
/* (transfer full): settings of a transport-wss for the beacon. */
gchar *ends_wss_settings (void);

G_END_DECLS
