/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "trust-private.h"

#include <string.h>

#include "libpilot/pilot-error.h"
#include "protocol/json.h"

/* The registry's inbox (trust.md sections 4 and 4.3). Times in microseconds. */
#define SECOND ((gint64) G_USEC_PER_SEC)
#define BASELINE (60 * SECOND)
#define FAST (2 * SECOND)
#define FAST_WINDOW (120 * SECOND)
/* Just registered, the beacon may not know us yet: what came meanwhile was not notified. */
#define SETTLE_WINDOW (4 * SECOND)
#define CLIENT_WAIT 3000 /* milliseconds a local client is held */
#define NOTIFY_BURST 3
#define NOTIFY_REFILL (5 * SECOND)
#define MAX_ITEMS 1000
/* A rejection from somebody trusted may mean a revocation we did not hear of: asked twice, this far apart (milliseconds), before it is believed. */
#define DOUBT_DELAY 1500

struct _PilotTrustRelay {
  PilotTrust *trust;
  guint timer;
  gint64 last_poll;    /* when the last one began; 0 = never */
  gint64 fast_until;   /* poll every 2 s until then: an answer is waited for */
  gint64 settle_until; /* likewise, after a registration */
  gboolean polling, owed;
  guint lookups; /* of keys, for what the last poll brought */
  gint64 tokens_at;
  guint tokens;
  GQueue waiting; /* Waiter */
  GQueue doubts;  /* Doubt */
  gboolean running, winding_down;
};

typedef struct {
  GTask *task;
  PilotTrustRelay *relay;
  guint timeout_source;
} Waiter;

typedef struct {
  PilotTrustRelay *relay;
  guint32 peer;
  guint round;
  guint timeout_source;
} Doubt;

static void schedule (PilotTrustRelay *relay);

/* --- one-way requests: what they fail with is logged, and made good at the next registration --- */

typedef struct {
  PilotTrust *trust;
  guint32 peer;
  const char *what;
  gboolean is_request; /* for trust: its user is told what became of it */
} Note;

static void
on_noted (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Note *note = user_data;
  g_autoptr (PilotTrust) trust = note->trust;
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) answer = pilot_registry_client_call_finish (PILOT_REGISTRY_CLIENT (source), result, &error);

  if (answer == NULL)
    g_debug ("%s, node %u: %s", note->what, note->peer, error->message);
  if (note->is_request)
    pilot_trust_note_delivery (trust, note->peer, error);
  g_free (note);
}

static void
call (PilotTrustRelay *relay, guint32 peer, GBytes *request, const char *type)
{
  Note *note;

  if (relay->trust->node->id == 0) {
    g_bytes_unref (request);
    return;
  }
  note = g_new (Note, 1);
  note->trust = g_object_ref (relay->trust);
  note->peer = peer;
  note->what = type;
  note->is_request = strcmp (type, "request_handshake") == 0;
  pilot_registry_client_call_async (relay->trust->node->registry, request, type, NULL, on_noted, note);
}

void
pilot_trust_relay_respond (PilotTrustRelay *relay, guint32 peer, gboolean accept)
{
  PilotNode *node = relay->trust->node;

  call (relay, peer, pilot_registry_request_respond_handshake (&node->identity, node->id, peer, accept), "respond_handshake");
}

void
pilot_trust_relay_tell_revoked (PilotTrustRelay *relay, guint32 peer)
{
  PilotNode *node = relay->trust->node;

  call (relay, peer, pilot_registry_request_tell_revoked (&node->identity, node->id, peer), "respond_handshake");
}

void
pilot_trust_relay_report (PilotTrustRelay *relay, guint32 peer)
{
  PilotNode *node = relay->trust->node;

  call (relay, peer, pilot_registry_request_report_trust (&node->identity, node->id, peer), "report_trust");
}

void
pilot_trust_relay_revoke (PilotTrustRelay *relay, guint32 peer)
{
  PilotNode *node = relay->trust->node;

  call (relay, peer, pilot_registry_request_revoke_trust (&node->identity, node->id, peer), "revoke_trust");
}

void
pilot_trust_relay_request (PilotTrustRelay *relay, guint32 peer, const char *justification)
{
  PilotNode *node = relay->trust->node;

  call (relay, peer, pilot_registry_request_request_handshake (&node->identity, node->id, peer, justification), "request_handshake");
  relay->fast_until = g_get_monotonic_time () + FAST_WINDOW;
  schedule (relay);
}

/* --- somebody trusted seems to have ended it --- */

static void ask_registry (Doubt *doubt);

static void
doubt_free (Doubt *doubt)
{
  g_clear_handle_id (&doubt->timeout_source, g_source_remove);
  g_free (doubt);
}

static gboolean
on_doubt_timer (gpointer user_data)
{
  Doubt *doubt = user_data;

  doubt->timeout_source = 0;
  ask_registry (doubt);
  return G_SOURCE_REMOVE;
}

typedef struct {
  PilotTrust *trust;
  guint32 peer;
} Question;

static void
on_checked (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Question *question = user_data;
  g_autoptr (PilotTrust) trust = question->trust;
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) answer = pilot_registry_client_call_finish (PILOT_REGISTRY_CLIENT (source), result, &error);
  PilotTrustRelay *relay = trust->relay;
  Doubt *doubt = NULL;

  for (GList *item = relay->doubts.head; doubt == NULL && item != NULL; item = item->next)
    if (((Doubt *) item->data)->peer == question->peer)
      doubt = item->data;
  g_free (question);
  if (doubt == NULL || !relay->running)
    return;
  if (answer != NULL && !pilot_json_get_boolean (answer, "trusted")) {
    guint32 peer = doubt->peer;

    if (doubt->round++ == 0) {
      doubt->timeout_source = g_timeout_add (DOUBT_DELAY, on_doubt_timer, doubt);
      return;
    }
    g_queue_remove (&relay->doubts, doubt);
    doubt_free (doubt);
    /* Nobody says when: what the user has asked since stands. */
    pilot_trust_handle_revoke (trust, peer, 0);
    return;
  }
  g_queue_remove (&relay->doubts, doubt);
  doubt_free (doubt);
}

static void
ask_registry (Doubt *doubt)
{
  PilotTrust *trust = doubt->relay->trust;
  Question *question = g_new (Question, 1);

  question->trust = g_object_ref (trust);
  question->peer = doubt->peer;
  pilot_registry_client_call_async (trust->node->registry, pilot_registry_request_check_trust (trust->node->id, doubt->peer), "check_trust", NULL, on_checked,
                                    question);
}

static void
start_doubt (PilotTrustRelay *relay, guint32 peer)
{
  Doubt *doubt;

  for (GList *item = relay->doubts.head; item != NULL; item = item->next)
    if (((Doubt *) item->data)->peer == peer)
      return;
  doubt = g_new0 (Doubt, 1);
  doubt->relay = relay;
  doubt->peer = peer;
  g_queue_push_tail (&relay->doubts, doubt);
  ask_registry (doubt);
}

/* --- local clients that wait for a poll --- */

static void
waiter_end (Waiter *waiter)
{
  g_clear_handle_id (&waiter->timeout_source, g_source_remove);
  g_task_return_boolean (waiter->task, TRUE);
  g_object_unref (waiter->task);
  g_free (waiter);
}

static void
end_waiting (PilotTrustRelay *relay)
{
  GQueue waiting = relay->waiting;
  Waiter *waiter;

  g_queue_init (&relay->waiting);
  while ((waiter = g_queue_pop_head (&waiting)) != NULL)
    waiter_end (waiter);
}

/* Once the keys of what came are known too: the client wants to see it. */
static void
end_waiting_when_done (PilotTrustRelay *relay)
{
  if (!relay->polling && relay->lookups == 0)
    end_waiting (relay);
}

/* --- what was in the inbox --- */

static void
on_request_key (PilotNode *node, guint32 peer, const guint8 *key, gpointer user_data)
{
  g_autofree char *justification = user_data;
  PilotTrustRelay *relay = node->trust->relay;

  relay->lookups--;
  if (!relay->running)
    return;
  pilot_trust_handle_request (node->trust, peer, key, justification);
  end_waiting_when_done (relay);
}

static void
on_accept_key (PilotNode *node, guint32 peer, const guint8 *key, gpointer user_data)
{
  PilotTrustRelay *relay = node->trust->relay;

  relay->lookups--;
  if (!relay->running)
    return;
  pilot_trust_handle_accept (node->trust, peer, key);
  end_waiting_when_done (relay);
}

static gboolean
is_peer (PilotTrustRelay *relay, guint32 peer)
{
  return peer != 0 && peer != G_MAXUINT32 && peer != relay->trust->node->id;
}

static void
handle_inbox (PilotTrustRelay *relay, JsonObject *answer)
{
  JsonArray *requests = pilot_json_get_array (answer, "requests");
  JsonArray *responses = pilot_json_get_array (answer, "responses");
  guint n = requests != NULL ? MIN (json_array_get_length (requests), MAX_ITEMS) : 0;

  for (guint i = 0; i < n; i++) {
    JsonObject *item = pilot_json_array_get_object (requests, i);
    guint32 peer = item != NULL ? pilot_json_get_uint32 (item, "from_node_id") : 0;

    /* The registry vouches for the sender, not for a key: that is looked up (trust.md 11.6). */
    if (!is_peer (relay, peer))
      continue;
    relay->lookups++;
    pilot_node_lookup_key (relay->trust->node, peer, on_request_key, g_strdup (pilot_json_get_string (item, "justification")));
  }
  n = responses != NULL ? MIN (json_array_get_length (responses), MAX_ITEMS) : 0;
  for (guint i = 0; i < n; i++) {
    JsonObject *item = pilot_json_array_get_object (responses, i);
    guint32 peer = item != NULL ? pilot_json_get_uint32 (item, "from_node_id") : 0;

    if (!is_peer (relay, peer))
      continue;
    if (pilot_json_get_boolean (item, "accept")) {
      relay->lookups++;
      pilot_node_lookup_key (relay->trust->node, peer, on_accept_key, NULL);
    } else if (pilot_trust_is_trusted (relay->trust, peer))
      start_doubt (relay, peer);
    else if (!pilot_json_get_boolean (item, "revoked")) /* which answers nothing we have asked */
      pilot_trust_handle_reject (relay->trust, peer);
  }
}

/* --- polling --- */

static void
on_polled (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (PilotTrust) trust = user_data;
  PilotTrustRelay *relay = trust->relay;
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) answer = pilot_registry_client_call_finish (PILOT_REGISTRY_CLIENT (source), result, &error);

  relay->polling = FALSE;
  if (!relay->running)
    return;
  /* A node may run for months: once a minute is often enough. */
  pilot_trust_expire_pending (trust);
  if (answer != NULL)
    handle_inbox (relay, answer);
  else
    g_debug ("poll: %s", error->message);
  end_waiting_when_done (relay);
  schedule (relay);
}

void
pilot_trust_relay_poll (PilotTrustRelay *relay)
{
  PilotNode *node = relay->trust->node;

  if (!relay->running || relay->winding_down || relay->polling || node->id == 0)
    return;
  relay->polling = TRUE;
  relay->owed = FALSE;
  relay->last_poll = g_get_monotonic_time ();
  /* Not cancellable: the answer empties the inbox. */
  pilot_registry_client_call_async (node->registry, pilot_registry_request_poll_handshakes (&node->identity, node->id), "poll_handshakes", NULL, on_polled,
                                    g_object_ref (relay->trust));
}

static gboolean
on_timer (gpointer user_data)
{
  PilotTrustRelay *relay = user_data;

  relay->timer = 0;
  pilot_trust_relay_poll (relay);
  schedule (relay);
  return G_SOURCE_REMOVE;
}

static void
schedule (PilotTrustRelay *relay)
{
  gint64 now = g_get_monotonic_time ();
  gint64 interval = BASELINE;
  gint64 due;

  g_clear_handle_id (&relay->timer, g_source_remove);
  if (!relay->running)
    return;
  if (g_hash_table_size (relay->trust->tables[PILOT_TRUST_OUTGOING]) == 0)
    relay->fast_until = 0;
  if (relay->owed || now < relay->fast_until || now < relay->settle_until)
    interval = FAST;
  /* The registry has said that there is something, and somebody here waits for it: how often it may say so is bounded. */
  if (relay->owed && relay->waiting.length > 0)
    interval = 0;
  due = relay->polling ? now + FAST : relay->last_poll + interval;
  relay->timer = g_timeout_add ((guint) (MAX (due - now, 0) / 1000 + 1), on_timer, relay);
}

void
pilot_trust_relay_notified (PilotTrustRelay *relay)
{
  gint64 now = g_get_monotonic_time ();
  guint refill = (guint) MIN ((now - relay->tokens_at) / NOTIFY_REFILL, NOTIFY_BURST);

  if (refill > 0) {
    relay->tokens = MIN (relay->tokens + refill, NOTIFY_BURST);
    relay->tokens_at = now;
  }
  if (relay->tokens == 0 || relay->owed)
    return;
  relay->tokens--;
  relay->owed = TRUE;
  schedule (relay);
}

static gboolean
on_waiter_timeout (gpointer user_data)
{
  Waiter *waiter = user_data;

  waiter->timeout_source = 0;
  g_queue_remove (&waiter->relay->waiting, waiter);
  waiter_end (waiter);
  return G_SOURCE_REMOVE;
}

void
pilot_trust_relay_refresh (PilotTrustRelay *relay, GTask *task)
{
  gint64 now = g_get_monotonic_time ();
  gboolean recent = relay->last_poll != 0 && now - relay->last_poll < FAST;
  Waiter *waiter;

  /* Asked a moment ago, and nobody said that there is something new: that answer stands. */
  if (!relay->running || relay->winding_down || relay->trust->node->id == 0 || (recent && !relay->polling && !relay->owed && relay->lookups == 0)) {
    g_task_return_boolean (task, TRUE);
    g_object_unref (task);
    return;
  }
  waiter = g_new0 (Waiter, 1);
  waiter->relay = relay;
  waiter->task = task;
  waiter->timeout_source = g_timeout_add (CLIENT_WAIT, on_waiter_timeout, waiter);
  g_queue_push_tail (&relay->waiting, waiter);
  if (!recent)
    pilot_trust_relay_poll (relay);
  else
    schedule (relay);
}

/* --- life --- */

void
pilot_trust_relay_start (PilotTrustRelay *relay)
{
  relay->running = TRUE;
  relay->settle_until = g_get_monotonic_time () + SETTLE_WINDOW;
  pilot_trust_relay_poll (relay);
  schedule (relay);
}

void
pilot_trust_relay_wind_down (PilotTrustRelay *relay)
{
  relay->winding_down = TRUE;
}

void
pilot_trust_relay_stop (PilotTrustRelay *relay)
{
  Doubt *doubt;

  relay->running = FALSE;
  g_clear_handle_id (&relay->timer, g_source_remove);
  while ((doubt = g_queue_pop_head (&relay->doubts)) != NULL)
    doubt_free (doubt);
  end_waiting (relay);
}

PilotTrustRelay *
pilot_trust_relay_new (PilotTrust *trust)
{
  PilotTrustRelay *relay = g_new0 (PilotTrustRelay, 1);

  relay->trust = trust;
  relay->tokens = NOTIFY_BURST;
  relay->tokens_at = g_get_monotonic_time ();
  g_queue_init (&relay->waiting);
  g_queue_init (&relay->doubts);
  return relay;
}

void
pilot_trust_relay_free (PilotTrustRelay *relay)
{
  pilot_trust_relay_stop (relay);
  g_free (relay);
}
