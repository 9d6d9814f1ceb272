/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/ipc/ipc-private.h"

#include <string.h>

#include "daemon/node/node-describe.h"
#include "protocol/json.h"

/* What the tools may count on (ipc.md section 4.3); a name stands here only when the behaviour is there. */
static const char *const features[] = { "dgram_confirm", "dial_awaits_key", "key_request", "reply_window" };

/* --- cutting --- */

static gsize
printed_length (JsonObject *object)
{
  g_autofree char *text = pilot_json_print (object);

  return strlen (text);
}

void
pilot_ipc_cut_list (JsonObject *body, const char *list, gsize max)
{
  JsonArray *rows = json_object_get_array_member (body, list), *kept;
  g_autofree char *flag = g_strconcat (list, "_truncated", NULL);
  gsize length = printed_length (body);
  gsize rows_length = 0;

  if (length <= max)
    return;
  for (guint i = 0; i < json_array_get_length (rows); i++)
    rows_length += printed_length (json_array_get_object_element (rows, i)) + 1;
  length += strlen (flag) + strlen ("\"\":true,");
  length -= MIN (length, rows_length);
  kept = json_array_new ();
  for (guint i = 0; i < json_array_get_length (rows); i++) {
    JsonObject *row = json_array_get_object_element (rows, i);

    length += printed_length (row) + 1;
    if (length > max)
      break;
    json_array_add_object_element (kept, json_object_ref (row));
  }
  json_object_set_array_member (body, list, kept);
  json_object_set_boolean_member (body, flag, TRUE);
}

/* --- lists --- */

static JsonObject *
to_object (GVariant *floating)
{
  g_autoptr (GVariant) variant = g_variant_ref_sink (floating);
  JsonNode *node = json_gvariant_serialize (variant);
  JsonObject *object = json_node_dup_object (node);

  json_node_unref (node);
  return object;
}

static JsonArray *
to_array (GVariant *floating)
{
  g_autoptr (GVariant) variant = g_variant_ref_sink (floating);
  JsonNode *node = json_gvariant_serialize (variant);
  JsonArray *array = json_node_dup_array (node);

  json_node_unref (node);
  return array;
}

JsonObject *
pilot_ipc_trust_list (PilotIpc *ipc, PilotTrustKind kind)
{
  const char *name = kind == PILOT_TRUST_PENDING ? "pending" : "trusted";
  JsonObject *body = json_object_new ();

  json_object_set_array_member (body, name, to_array (pilot_describe_trust (ipc->node, kind)));
  pilot_ipc_cut_list (body, name, PILOT_IPC_MAX_BODY);
  /* wait_for_trust() of the Python SDK looks for the list under a name that no daemon gives it (ipc.md W16). */
  if (kind == PILOT_TRUST_TRUSTED && printed_length (body) < PILOT_IPC_MAX_BODY / 2)
    json_object_set_array_member (body, "peers", json_array_ref (json_object_get_array_member (body, name)));
  return body;
}

/* --- info --- */

/* Those with streams first: they are what is looked for when not all fit. */
static int
busy_first (gconstpointer a, gconstpointer b)
{
  const PilotPeerView *x = *(PilotPeerView *const *) a, *y = *(PilotPeerView *const *) b;

  if ((x->info.streams > 0) != (y->info.streams > 0))
    return x->info.streams > 0 ? -1 : 1;
  return x->info.node < y->info.node ? -1 : x->info.node > y->info.node;
}

static JsonArray *
list_peers (PilotNode *node)
{
  g_autoptr (GPtrArray) views = pilot_node_list_peers (node);
  JsonArray *list = json_array_new ();

  g_ptr_array_sort (views, busy_first);
  for (guint i = 0; i < views->len; i++) {
    const PilotPeerView *view = views->pdata[i];
    char endpoint[PILOT_ENDPOINT_TEXT_SIZE] = "";
    JsonObject *row;

    /* The tools' peers are those of the tunnel, not all that are trusted. */
    if (!view->info.session)
      continue;
    row = to_object (pilot_describe_peer (view));
    if (view->info.path == PILOT_PATH_DIRECT)
      pilot_endpoint_format (&view->info.endpoint, endpoint);
    json_object_set_string_member (row, "endpoint", view->info.path == PILOT_PATH_RELAY ? "(relay)" : endpoint);
    json_array_add_object_element (list, row);
  }
  return list;
}

/* Go's node closes both directions at once, and has fewer states. */
static const char *
go_state (PilotStreamState state)
{
  switch (state) {
  case PILOT_STREAM_STATE_FIN_WAIT_1:
  case PILOT_STREAM_STATE_FIN_WAIT_2:
  case PILOT_STREAM_STATE_CLOSING:
    return "FIN_WAIT";
  case PILOT_STREAM_STATE_LAST_ACK:
    return "CLOSE_WAIT";
  default:
    return pilot_stream_state_to_string (state);
  }
}

static JsonArray *
list_connections (PilotNode *node)
{
  g_autoptr (GArray) infos = pilot_node_list_connections (node);
  JsonArray *list = json_array_new ();

  for (guint i = 0; i < infos->len; i++) {
    const PilotStreamInfo *info = &g_array_index (infos, PilotStreamInfo, i);
    JsonObject *row = to_object (pilot_describe_connection (info));

    json_object_set_string_member (row, "state", go_state (info->state));
    /* pilotctl prints it as a number without looking whether it is there. */
    if (!json_object_has_member (row, "ssthresh"))
      json_object_set_int_member (row, "ssthresh", 0);
    json_array_add_object_element (list, row);
  }
  return list;
}

static JsonObject *
statistics (PilotIpc *ipc)
{
  JsonObject *body = to_object (pilot_node_get_statistics (ipc->node));

  /* What this node has none of. */
  json_object_set_int_member (body, "accept_queue_drops", 0);
  json_object_set_int_member (body, "webhook_queue_dropped", 0);
  json_object_set_int_member (body, "webhook_circuit_skips", 0);
  return body;
}

JsonObject *
pilot_ipc_info (PilotIpc *ipc)
{
  PilotNode *node = ipc->node;
  g_autofree char *address = pilot_describe_node (pilot_node_get_id (node));
  JsonObject *body = statistics (ipc);
  JsonArray *names = json_array_new ();

  json_object_remove_member (body, "transports");
  json_object_set_int_member (body, "node_id", pilot_node_get_id (node));
  json_object_set_string_member (body, "address", address);
  json_object_set_string_member (body, "endpoint", pilot_node_get_endpoint (node));
  json_object_set_string_member (body, "hostname", pilot_node_get_hostname (node));
  json_object_set_string_member (body, "public_key", pilot_node_get_public_key (node));
  json_object_set_string_member (body, "version", PILOT_VERSION);
  json_object_set_string_member (body, "motd", "");
  json_object_set_null_member (body, "networks");
  for (guint i = 0; i < G_N_ELEMENTS (features); i++)
    json_array_add_string_element (names, features[i]);
  json_object_set_array_member (body, "features", names);
  json_object_set_array_member (body, "peer_list", list_peers (node));
  json_object_set_array_member (body, "conn_list", list_connections (node));
  pilot_ipc_cut_list (body, "peer_list", PILOT_IPC_MAX_BODY);
  pilot_ipc_cut_list (body, "conn_list", PILOT_IPC_MAX_BODY);
  return body;
}

JsonObject *
pilot_ipc_health (PilotIpc *ipc)
{
  static const char *const members[] = {
    "connections",
    "peers",
    "bytes_sent",
    "bytes_recv",
    "encrypted_peers",
    "authenticated_peers",
    "handshake_pending_count",
    "relay_peer_count",
    "accept_queue_drops",
    "webhook_queue_dropped",
    "webhook_circuit_skips",
    "beacon_addr",
  };
  g_autoptr (JsonObject) all = statistics (ipc);
  JsonObject *body = json_object_new ();

  json_object_set_string_member (body, "status", "ok");
  json_object_set_int_member (body, "uptime_seconds", pilot_json_get_int64 (all, "uptime_secs"));
  for (guint i = 0; i < G_N_ELEMENTS (members); i++)
    if (json_object_has_member (all, members[i]))
      json_object_set_member (body, members[i], json_object_dup_member (all, members[i]));
  return body;
}
