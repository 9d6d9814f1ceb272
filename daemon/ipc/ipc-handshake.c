/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/ipc/ipc-private.h"

#include "libpilot/pilot-error.h"

/* Trust, as the tools ask for it and about it (ipc.md section 5). */

/* The longest a client may wait for trust, in milliseconds. */
#define MAX_WAIT 30000

static PilotTrust *
trust_of (PilotIpcCall *call)
{
  return pilot_node_get_trust (call->client->ipc->node);
}

static void
reply_status (PilotIpcCall *call, const char *status)
{
  JsonObject *body = json_object_new ();

  json_object_set_string_member (body, "status", status);
  json_object_set_int_member (body, "node_id", call->node);
  pilot_ipc_call_reply (call, body);
}

static void
on_asked (GObject *source, GAsyncResult *result, gpointer user_data)
{
  static const struct {
    const char *ours, *theirs;
  } words[] = { { "pending", "in_flight" }, { "trusted", "already_trusted" } };
  PilotIpcCall *call = user_data;
  GError *error = NULL;
  const char *status = pilot_trust_handshake_finish (PILOT_TRUST (source), result, &error);

  if (status == NULL) {
    pilot_ipc_call_fail_error (call, "handshake request", error);
    return;
  }
  for (guint i = 0; i < G_N_ELEMENTS (words); i++)
    if (g_str_equal (status, words[i].ours))
      status = words[i].theirs;
  reply_status (call, status);
}

/* --- lists and answers, which may be about something that the registry has and we have not seen yet --- */

typedef struct {
  PilotIpcCall *call;
  guint8 sub;
  char *reason;
} Answer;

static void
give_answer (Answer *answer)
{
  PilotIpcCall *call = answer->call;
  GError *error = NULL;

  if (answer->sub == PILOT_IPC_HANDSHAKE_PENDING)
    pilot_ipc_call_reply (call, pilot_ipc_trust_list (call->client->ipc, PILOT_TRUST_PENDING));
  else if (answer->sub == PILOT_IPC_HANDSHAKE_APPROVE) {
    if (pilot_trust_approve (trust_of (call), call->node, NULL, NULL, &error))
      reply_status (call, "approved");
    else
      pilot_ipc_call_fail_error (call, "handshake approve", error);
  } else if (pilot_trust_reject (trust_of (call), call->node, answer->reason, &error))
    reply_status (call, "rejected");
  else
    pilot_ipc_call_fail_error (call, "handshake reject", error);
  g_free (answer->reason);
  g_free (answer);
}

static void
on_refreshed (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Answer *answer = user_data;
  g_autoptr (GError) error = NULL;

  if (!pilot_trust_refresh_finish (PILOT_TRUST (source), result, &error))
    g_debug ("pending requests could not be asked for: %s", error->message);
  if (answer->call->client != NULL) {
    give_answer (answer);
    return;
  }
  pilot_ipc_call_reply_empty (answer->call);
  g_free (answer->reason);
  g_free (answer);
}

static void
answer_request (PilotIpcCall *call, guint8 sub, const char *reason)
{
  g_autoptr (PilotTrustRecord) known = NULL;
  Answer *answer = g_new (Answer, 1);

  *answer = (Answer) { call, sub, g_strdup (reason) };
  if (sub != PILOT_IPC_HANDSHAKE_PENDING)
    known = pilot_trust_lookup (trust_of (call), PILOT_TRUST_PENDING, call->node);
  if (known != NULL)
    give_answer (answer);
  else
    pilot_trust_refresh_async (trust_of (call), call->cancellable, on_refreshed, answer);
}

/* --- waiting for trust --- */

static void
reply_trusted (PilotIpcCall *call, gboolean trusted)
{
  JsonObject *body = json_object_new ();

  json_object_set_int_member (body, "node_id", call->node);
  json_object_set_boolean_member (body, "trusted", trusted);
  pilot_ipc_call_reply (call, body);
}

static void
wait_end (PilotIpcCall *call, gboolean trusted)
{
  g_clear_handle_id (&call->source, g_source_remove);
  g_clear_signal_handler (&call->handler, call->trust);
  g_clear_object (&call->trust);
  reply_trusted (call, trusted);
}

static void
on_trust_changed (PilotTrust *trust, guint node, const char *state, const char *reason, PilotIpcCall *call)
{
  if (node == call->node && pilot_trust_is_trusted (trust, node))
    wait_end (call, TRUE);
}

static gboolean
on_wait_timeout (gpointer user_data)
{
  PilotIpcCall *call = user_data;

  call->source = 0;
  wait_end (call, FALSE);
  return G_SOURCE_REMOVE;
}

static void
on_abandoned (PilotIpcCall *call)
{
  wait_end (call, FALSE);
}

static void
on_wait (PilotIpcCall *call, guint timeout_ms)
{
  PilotTrust *trust = trust_of (call);
  gboolean trusted = pilot_trust_is_trusted (trust, call->node);

  if (trusted || timeout_ms == 0) {
    reply_trusted (call, trusted);
    return;
  }
  call->trust = g_object_ref (trust);
  call->handler = g_signal_connect (trust, "changed", G_CALLBACK (on_trust_changed), call);
  call->source = g_timeout_add (MIN (timeout_ms, MAX_WAIT), on_wait_timeout, call);
  call->abandon = on_abandoned;
}

void
pilot_ipc_handshake (PilotIpcCall *call, const PilotIpcRequest *request)
{
  g_autofree char *text = g_utf8_make_valid ((const char *) request->data, (gssize) request->data_length);
  GError *error = NULL;

  call->node = request->node;
  switch ((PilotIpcHandshake) request->sub) {
  case PILOT_IPC_HANDSHAKE_SEND:
    pilot_trust_handshake_async (trust_of (call), call->node, text, NULL, call->cancellable, on_asked, call);
    break;
  case PILOT_IPC_HANDSHAKE_APPROVE:
  case PILOT_IPC_HANDSHAKE_REJECT:
  case PILOT_IPC_HANDSHAKE_PENDING:
    answer_request (call, request->sub, text);
    break;
  case PILOT_IPC_HANDSHAKE_TRUSTED:
    pilot_ipc_call_reply (call, pilot_ipc_trust_list (call->client->ipc, PILOT_TRUST_TRUSTED));
    break;
  case PILOT_IPC_HANDSHAKE_REVOKE:
    if (pilot_trust_untrust (trust_of (call), call->node, &error))
      reply_status (call, "revoked");
    else
      pilot_ipc_call_fail_error (call, "handshake revoke", error);
    break;
  case PILOT_IPC_HANDSHAKE_WAIT:
    on_wait (call, request->timeout_ms);
    break;
  }
}
