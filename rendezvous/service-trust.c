/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/service-private.h"

#include <string.h>

#include "libpilot/pilot-error.h"

static JsonObject *
handle_report_trust (PilotCall *call,
                     GError **error)
{
  guint32 node = pilot_json_get_uint32 (call->request, "node_id");

  if (!pilot_call_authenticate (call, node, NULL, FALSE, error) ||
      !pilot_directory_report_trust (call->service->directory, node, pilot_json_get_uint32 (call->request, "peer_id"), error))
    return NULL;
  return json_object_new ();
}

static JsonObject *
handle_revoke_trust (PilotCall *call,
                     GError **error)
{
  guint32 node = pilot_json_get_uint32 (call->request, "node_id");

  if (!pilot_call_authenticate (call, node, NULL, FALSE, error) ||
      !pilot_directory_revoke_trust (call->service->directory, node, pilot_json_get_uint32 (call->request, "peer_id"), error))
    return NULL;
  return json_object_new ();
}

static JsonObject *
handle_check_trust (PilotCall *call,
                    GError **error)
{
  PilotDirectory *directory = call->service->directory;
  guint32 a = pilot_json_get_uint32 (call->request, "node_id"), b = pilot_json_get_uint32 (call->request, "peer_id");
  JsonObject *response = json_object_new ();

  json_object_set_boolean_member (response, "trusted",
                                  pilot_directory_find (directory, a) != NULL && pilot_directory_find (directory, b) != NULL &&
                                      pilot_directory_is_trusted (directory, a, b));
  return response;
}

static JsonObject *
handle_request_handshake (PilotCall *call,
                          GError **error)
{
  guint32 from = pilot_json_get_uint32 (call->request, "from_node_id");
  guint32 to = pilot_json_get_uint32 (call->request, "to_node_id");
  JsonObject *response;

  if (!pilot_call_authenticate (call, from, "handshake request", FALSE, error))
    return NULL;
  /* What the target has polled no longer counts as pending. */
  pilot_service_settle_node (call->service, to);
  if (!pilot_directory_request (call->service->directory, from, to, pilot_json_get_string (call->request, "justification"),
                                call->now, error))
    return NULL;
  call->notify = to;
  response = json_object_new ();
  json_object_set_string_member (response, "status", "delivered");
  return response;
}

static JsonObject *
handle_respond_handshake (PilotCall *call,
                          GError **error)
{
  guint32 node = pilot_json_get_uint32 (call->request, "node_id");
  guint32 peer = pilot_json_get_uint32 (call->request, "peer_id");
  gboolean accept = pilot_json_get_boolean (call->request, "accept"), revoked = pilot_json_get_boolean (call->request, "revoked");
  PilotResponseKind kind = accept ? PILOT_RESPONSE_ACCEPT : revoked ? PILOT_RESPONSE_REVOKE
                                                                    : PILOT_RESPONSE_REJECT;
  JsonObject *response;

  if (!pilot_call_authenticate (call, node, "handshake response", FALSE, error) ||
      !pilot_directory_respond (call->service->directory, node, peer, kind, call->now, error))
    return NULL;
  if (kind == PILOT_RESPONSE_REJECT)
    pilot_directory_settle_request (call->service->directory, node, peer);
  call->notify = peer;
  response = json_object_new ();
  json_object_set_boolean_member (response, "accept", accept);
  json_object_set_int_member (response, "peer_id", peer);
  return response;
}

static JsonObject *
make_item (PilotCall *call,
           const PilotDirectoryItem *item)
{
  const PilotNodeRecord *record = pilot_directory_find (call->service->directory, item->peer);
  JsonObject *object = json_object_new ();
  gchar key[PILOT_BASE64_KEY_TEXT_SIZE];

  json_object_set_int_member (object, "from_node_id", item->peer);
  if (item->is_request) {
    json_object_set_string_member (object, "justification", item->justification);
    /* Some v1.9 servers tell the key too; others pass it over. It spares the target a look-up. */
    if (record != NULL)
      json_object_set_string_member (object, "public_key", pilot_base64_encode_to (record->key, PILOT_KEY_SIZE, key));
  } else {
    json_object_set_boolean_member (object, "accept", item->response == PILOT_RESPONSE_ACCEPT);
    if (item->response == PILOT_RESPONSE_REVOKE)
      json_object_set_boolean_member (object, "revoked", TRUE);
  }
  json_object_set_int_member (object, "timestamp", item->time);
  return object;
}

/* Remembers what this session was handed out, until it has arrived. A session that polled the same node before and whose
 * answer has not arrived gives way: it is handed out again here, since twice is better than never. */
static void
begin_delivery (PilotCall *call,
                guint32 node,
                GArray *items)
{
  GHashTable *polls = call->service->polls;
  PilotSession *before = g_hash_table_lookup (polls, GUINT_TO_POINTER (node));

  if (before != NULL)
    pilot_service_lost (call->service, before);
  pilot_service_lost (call->service, call->session);
  if (items->len == 0)
    return;
  for (guint i = 0; i < items->len; i++)
    g_array_index (items, PilotDirectoryItem, i).justification = NULL; /* the directory's, and no longer of use */
  call->session->polled = node;
  call->session->delivery = g_array_ref (items);
  g_hash_table_insert (polls, GUINT_TO_POINTER (node), call->session);
}

static JsonObject *
handle_poll_handshakes (PilotCall *call,
                        GError **error)
{
  guint32 node = pilot_json_get_uint32 (call->request, "node_id");
  g_autoptr (GArray) items = NULL;
  JsonArray *requests, *responses;
  JsonObject *response;

  if (!pilot_call_authenticate (call, node, NULL, FALSE, error))
    return NULL;
  pilot_service_settle_node (call->service, node);
  items = pilot_directory_poll (call->service->directory, node);
  requests = json_array_new ();
  responses = json_array_new ();
  for (guint i = 0; i < items->len; i++) {
    const PilotDirectoryItem *item = &g_array_index (items, PilotDirectoryItem, i);

    json_array_add_object_element (item->is_request ? requests : responses, make_item (call, item));
  }
  begin_delivery (call, node, items);
  response = json_object_new ();
  json_object_set_array_member (response, "requests", requests);
  json_object_set_array_member (response, "responses", responses);
  return response;
}

const PilotHandlerEntry pilot_service_trust_handlers[] = {
  { "poll_handshakes", handle_poll_handshakes },
  { "check_trust", handle_check_trust },
  { "report_trust", handle_report_trust },
  { "revoke_trust", handle_revoke_trust },
  { "request_handshake", handle_request_handshake },
  { "respond_handshake", handle_respond_handshake },
  { NULL, NULL },
};
