/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/ipc/ipc-private.h"

#include <string.h>

#include "daemon/node/node-describe.h"
#include "libpilot/pilot-error.h"
#include "protocol/json.h"

#define MAX_TAGS 3

/* --- what this node is --- */

static void
on_info (PilotIpcCall *call, const PilotIpcRequest *request)
{
  pilot_ipc_call_reply (call, pilot_ipc_info (call->client->ipc));
}

static void
on_health (PilotIpcCall *call, const PilotIpcRequest *request)
{
  pilot_ipc_call_reply (call, pilot_ipc_health (call->client->ipc));
}

/* --- what the registry says --- */

/* The bytes of a request as text; what is no UTF-8 is replaced. */
static char *
take_text (const PilotIpcRequest *request)
{
  return g_utf8_make_valid ((const char *) request->data, (gssize) request->data_length);
}

static void
on_resolved (GObject *source, GAsyncResult *result, gpointer user_data)
{
  GError *error = NULL;
  PilotNodeName *name = pilot_node_resolve_finish (PILOT_NODE (source), result, &error);
  g_autofree char *address = NULL;
  JsonObject *body;

  if (name == NULL) {
    pilot_ipc_call_fail_error (user_data, "resolve_hostname", error);
    return;
  }
  address = pilot_describe_node (name->node);
  body = json_object_new ();
  json_object_set_string_member (body, "type", "resolve_hostname_ok");
  json_object_set_int_member (body, "node_id", name->node);
  json_object_set_string_member (body, "address", address);
  json_object_set_string_member (body, "hostname", name->hostname);
  json_object_set_boolean_member (body, "public", name->is_public);
  pilot_node_name_free (name);
  pilot_ipc_call_reply (user_data, body);
}

static void
on_resolve_hostname (PilotIpcCall *call, const PilotIpcRequest *request)
{
  g_autofree char *name = take_text (request);

  pilot_node_resolve_async (call->client->ipc->node, name, call->cancellable, on_resolved, call);
}

/* {"type": …, "node_id": …} and what the caller adds. */
static JsonObject *
changed (PilotNode *node, const char *type)
{
  JsonObject *body = json_object_new ();

  json_object_set_string_member (body, "type", type);
  json_object_set_int_member (body, "node_id", pilot_node_get_id (node));
  return body;
}

static void
on_hostname_set (GObject *source, GAsyncResult *result, gpointer user_data)
{
  PilotNode *node = PILOT_NODE (source);
  GError *error = NULL;
  JsonObject *body;

  if (!pilot_node_set_hostname_finish (node, result, &error)) {
    pilot_ipc_call_fail_error (user_data, "set_hostname", error);
    return;
  }
  body = changed (node, "set_hostname_ok");
  json_object_set_string_member (body, "hostname", pilot_node_get_hostname (node));
  pilot_ipc_call_reply (user_data, body);
}

static void
on_set_hostname (PilotIpcCall *call, const PilotIpcRequest *request)
{
  g_autofree char *name = take_text (request);

  pilot_node_set_hostname_async (call->client->ipc->node, name, call->cancellable, on_hostname_set, call);
}

static void
on_public_set (GObject *source, GAsyncResult *result, gpointer user_data)
{
  PilotNode *node = PILOT_NODE (source);
  GError *error = NULL;
  JsonObject *body;

  if (!pilot_node_set_public_finish (node, result, &error)) {
    pilot_ipc_call_fail_error (user_data, "set_visibility", error);
    return;
  }
  body = changed (node, "set_visibility_ok");
  json_object_set_boolean_member (body, "public", pilot_node_get_public (node));
  json_object_set_string_member (body, "visibility", pilot_node_get_public (node) ? "public" : "private");
  pilot_ipc_call_reply (user_data, body);
}

static void
on_set_visibility (PilotIpcCall *call, const PilotIpcRequest *request)
{
  pilot_node_set_public_async (call->client->ipc->node, request->sub, call->cancellable, on_public_set, call);
}

/* pilotctl prints what the reply says, so the tags go with the call. */
typedef struct {
  PilotIpcCall *call;
  JsonArray *tags;
} Tags;

static void
on_tags_set (GObject *source, GAsyncResult *result, gpointer user_data)
{
  PilotNode *node = PILOT_NODE (source);
  Tags *tags = user_data;
  GError *error = NULL;
  JsonObject *body;

  if (pilot_node_set_tags_finish (node, result, &error)) {
    body = changed (node, "set_tags_ok");
    json_object_set_array_member (body, "tags", json_array_ref (tags->tags));
    pilot_ipc_call_reply (tags->call, body);
  } else
    pilot_ipc_call_fail_error (tags->call, "set_tags", error);
  json_array_unref (tags->tags);
  g_free (tags);
}

/* NULL with an error unless the text is an array of strings and nothing else. */
static JsonArray *
parse_tags (const PilotIpcRequest *request, JsonObject **holder, GError **error)
{
  g_autoptr (GString) text = g_string_new ("{\"tags\":");
  JsonArray *tags;

  g_string_append_len (text, (const char *) request->data, (gssize) request->data_length);
  g_string_append_c (text, '}');
  *holder = pilot_json_parse_object (text->str, text->len, text->len, error);
  if (*holder == NULL)
    return NULL;
  tags = json_object_get_size (*holder) == 1 ? pilot_json_get_array (*holder, "tags") : NULL;
  for (guint i = 0; tags != NULL && i < json_array_get_length (tags); i++)
    if (pilot_json_array_get_string (tags, i) == NULL)
      tags = NULL;
  if (tags == NULL)
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "not an array of strings");
  return tags;
}

static void
on_set_tags (PilotIpcCall *call, const PilotIpcRequest *request)
{
  g_autoptr (JsonObject) holder = NULL;
  GError *error = NULL;
  JsonArray *tags = parse_tags (request, &holder, &error);
  const char *list[MAX_TAGS + 1] = { NULL };
  Tags *with_call;

  if (tags == NULL)
    pilot_ipc_call_fail_error (call, "set_tags: invalid JSON", error);
  else if (json_array_get_length (tags) > MAX_TAGS)
    pilot_ipc_call_fail (call, "set_tags: maximum %d tags allowed", MAX_TAGS);
  else {
    for (guint i = 0; i < json_array_get_length (tags); i++)
      list[i] = pilot_json_array_get_string (tags, i);
    with_call = g_new (Tags, 1);
    *with_call = (Tags) { call, json_array_ref (tags) };
    pilot_node_set_tags_async (call->client->ipc->node, list, call->cancellable, on_tags_set, with_call);
  }
}

static void
on_deregistered (GObject *source, GAsyncResult *result, gpointer user_data)
{
  PilotNode *node = PILOT_NODE (source);
  GError *error = NULL;

  if (pilot_node_deregister_finish (node, result, &error))
    pilot_ipc_call_reply (user_data, changed (node, "deregister_ok"));
  else
    pilot_ipc_call_fail_error (user_data, "deregister", error);
}

static void
on_deregister (PilotIpcCall *call, const PilotIpcRequest *request)
{
  pilot_node_deregister_async (call->client->ipc->node, call->cancellable, on_deregistered, call);
}

/* --- paths --- */

/* A direct path is looked for all the time here: this only looks again at once. */
static void
on_prefer_direct (PilotIpcCall *call, const PilotIpcRequest *request)
{
  PilotNode *node = call->client->ipc->node;
  JsonObject *body = json_object_new ();
  PilotPeerInfo info;
  gboolean known = pilot_overlay_peer_info (pilot_node_get_overlay (node), request->node, &info);

  json_object_set_int_member (body, "node_id", request->node);
  json_object_set_boolean_member (body, "had_tunnel", known && info.session);
  json_object_set_boolean_member (body, "was_relay_active", known && info.path == PILOT_PATH_RELAY);
  json_object_set_boolean_member (body, "was_relay_pinned", FALSE);
  json_object_set_boolean_member (body, "pila_pushed", FALSE);
  json_object_set_string_member (body, "resolve_error", "");
  if (known)
    pilot_node_find_path (node, request->node);
  pilot_ipc_call_reply (call, body);
}

/* --- datagrams --- */

static gboolean
send_to (PilotIpcClient *client, const PilotIpcRequest *request, GError **error)
{
  if (request->address.node == PILOT_NODE_BROADCAST) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "broadcast address requires admin token: use BroadcastDatagram");
    return FALSE;
  }
  if (request->address.network != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_SUPPORTED, "network %u is not one this node is in", request->address.network);
    return FALSE;
  }
  return pilot_node_send_datagram (client->ipc->node, request->address.node, 0, request->port, request->data, request->data_length, error);
}

static void
on_send_to_confirm (PilotIpcCall *call, const PilotIpcRequest *request)
{
  GError *error = NULL;

  if (send_to (call->client, request, &error))
    pilot_ipc_call_reply_empty (call);
  else
    pilot_ipc_call_fail_error (call, "sendto", error);
}

/* --- what this node does not have: the answer is the one of a Go node that is in no network --- */

static void
on_set_webhook (PilotIpcCall *call, const PilotIpcRequest *request)
{
  if (request->data_length > 0) {
    pilot_ipc_call_fail (call, "set_webhook: webhooks are not supported by this daemon: events are signals on D-Bus");
    return;
  }
  /* There is none, as was asked for. */
  {
    JsonObject *body = json_object_new ();

    json_object_set_string_member (body, "webhook", "");
    pilot_ipc_call_reply (call, body);
  }
}

static void
on_network (PilotIpcCall *call, const PilotIpcRequest *request)
{
  static const char *const names[] = {
    [PILOT_IPC_NETWORK_LIST] = "list",
    [PILOT_IPC_NETWORK_JOIN] = "join",
    [PILOT_IPC_NETWORK_LEAVE] = "leave",
    [PILOT_IPC_NETWORK_MEMBERS] = "members",
    [PILOT_IPC_NETWORK_INVITE] = "invite",
    [PILOT_IPC_NETWORK_POLL_INVITES] = "poll-invites",
    [PILOT_IPC_NETWORK_RESPOND_INVITE] = "respond-invite",
  };

  pilot_ipc_call_fail (call, "network %s: networks are not supported by this daemon", names[request->sub]);
}

static void
on_policy (PilotIpcCall *call, const PilotIpcRequest *request)
{
  JsonObject *body;

  if (request->action == 1) {
    pilot_ipc_call_fail (call, "managed policy set: networks are not supported by this daemon");
    return;
  }
  body = json_object_new ();
  json_object_set_string_member (body, "type", "managed_policy_ok");
  json_object_set_int_member (body, "network_id", request->network);
  json_object_set_string_member (body, "engine", "none");
  pilot_ipc_call_reply (call, body);
}

static void
on_managed (PilotIpcCall *call, const PilotIpcRequest *request)
{
  switch ((PilotIpcManaged) request->sub) {
  case PILOT_IPC_MANAGED_STATUS:
  case PILOT_IPC_MANAGED_CYCLE:
    pilot_ipc_call_fail (call, "managed: no active managed networks");
    break;
  case PILOT_IPC_MANAGED_POLICY:
    on_policy (call, request);
    break;
  case PILOT_IPC_MANAGED_MEMBER_TAGS:
    pilot_ipc_call_fail (call, "member-tags %s: networks are not supported by this daemon", request->action == 0 ? "get" : "set");
    break;
  case PILOT_IPC_MANAGED_RECONCILE:
    pilot_ipc_call_fail (call, "managed: no active policy runner for network");
    break;
  }
}

static void
on_broadcast (PilotIpcCall *call, const PilotIpcRequest *request)
{
  pilot_ipc_call_fail (call, "broadcast: broadcast denied: daemon has no admin token configured");
}

/* The registry would take another key. Those who trust this node would not: trust is given to a key, and there is no message in which the old one vouches
 * for the new. All that would be left is the number. */
static void
on_rotate_key (PilotIpcCall *call, const PilotIpcRequest *request)
{
  pilot_ipc_call_fail (call, "rotate_key: not supported by this daemon: peers trust the key and would refuse another; "
                             "for a new identity stop the daemon, move its identity file away and ask for trust anew");
}

static void
on_badge (PilotIpcCall *call, const PilotIpcRequest *request)
{
  pilot_ipc_call_fail (call, "%s: not supported by this daemon: badges are the public registry's",
                       request->opcode == PILOT_IPC_SUBMIT_BADGE ? "submit_badge" : "enroll_recovery");
}

/* --- the table --- */

/* Requests with one answer each. Those without, and Dial, whose answer may be none, are below. */
static const struct {
  guint8 opcode;
  void (*func) (PilotIpcCall *call, const PilotIpcRequest *request);
} commands[] = {
  { PILOT_IPC_BIND, pilot_ipc_bind },
  { PILOT_IPC_UNBIND, pilot_ipc_unbind },
  { PILOT_IPC_CLOSE, pilot_ipc_close },
  { PILOT_IPC_INFO, on_info },
  { PILOT_IPC_HEALTH, on_health },
  { PILOT_IPC_HANDSHAKE, pilot_ipc_handshake },
  { PILOT_IPC_RESOLVE_HOSTNAME, on_resolve_hostname },
  { PILOT_IPC_SET_HOSTNAME, on_set_hostname },
  { PILOT_IPC_SET_VISIBILITY, on_set_visibility },
  { PILOT_IPC_SET_TAGS, on_set_tags },
  { PILOT_IPC_SEND_TO_CONFIRM, on_send_to_confirm },
  { PILOT_IPC_SET_WEBHOOK, on_set_webhook },
  { PILOT_IPC_NETWORK, on_network },
  { PILOT_IPC_MANAGED, on_managed },
  { PILOT_IPC_BROADCAST, on_broadcast },
  { PILOT_IPC_DEREGISTER, on_deregister },
  { PILOT_IPC_ROTATE_KEY, on_rotate_key },
  { PILOT_IPC_PREFER_DIRECT, on_prefer_direct },
  { PILOT_IPC_SUBMIT_BADGE, on_badge },
  { PILOT_IPC_ENROLL_RECOVERY, on_badge },
  { PILOT_IPC_SIGN_ENVELOPE, pilot_ipc_sign_envelope },
  { PILOT_IPC_VERIFY_ENVELOPE, pilot_ipc_verify_envelope },
};

static void
dispatch_unanswered (PilotIpcClient *client, const PilotIpcRequest *request)
{
  g_autoptr (GError) error = NULL;

  switch (request->opcode) {
  case PILOT_IPC_DIAL:
    pilot_ipc_dial (client, request);
    break;
  case PILOT_IPC_CANCEL:
    pilot_ipc_cancel (client);
    break;
  case PILOT_IPC_SEND:
    pilot_ipc_send (client, request);
    break;
  case PILOT_IPC_SEND_TO:
    if (!send_to (client, request, &error))
      g_debug ("a datagram of a local client is dropped: %s", error->message);
    break;
  default:
    g_assert_not_reached ();
  }
}

void
pilot_ipc_dispatch (PilotIpcClient *client, const guint8 *frame, gsize length)
{
  g_autoptr (GError) error = NULL;
  PilotIpcRequest request;

  if (!pilot_ipc_parse (frame, length, &request, &error)) {
    if (pilot_ipc_is_silent (request.opcode))
      g_debug ("a frame of a local client is passed over: %s", error->message);
    else
      pilot_ipc_call_fail (pilot_ipc_call_new (client, request.opcode), "%s", error->message);
    return;
  }
  for (guint i = 0; i < G_N_ELEMENTS (commands); i++)
    if (commands[i].opcode == request.opcode) {
      commands[i].func (pilot_ipc_call_new (client, request.opcode), &request);
      return;
    }
  dispatch_unanswered (client, &request);
}
