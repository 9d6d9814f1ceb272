/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/service-private.h"

#include <string.h>

#include "libpilot/pilot-error.h"

/* There is one network, the backbone, and everybody is in it. Daemons ask about it all the same. */

#define BEACON_LIFETIME 60 /* seconds */
#define MAX_BEACONS 64
#define MAX_LISTED 10000 /* nodes: the answer stays below 4 MiB */

typedef struct
{
  gchar addr[256];
  gint64 seen;
} OtherBeacon;

static gboolean
check_network (PilotCall *call,
               GError **error)
{
  guint16 network = pilot_json_get_uint16 (call->request, "network_id");

  if (network == 0)
    return TRUE;
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "network %u: network not found", network);
  return FALSE;
}

static JsonObject *
handle_list_networks (PilotCall *call,
                      GError **error)
{
  JsonObject *response = json_object_new ();
  JsonObject *backbone = json_object_new ();
  JsonArray *networks = json_array_new ();

  json_object_set_int_member (backbone, "id", 0);
  json_object_set_string_member (backbone, "name", "backbone");
  json_object_set_string_member (backbone, "join_rule", "open");
  json_object_set_boolean_member (backbone, "enterprise", FALSE);
  json_object_set_int_member (backbone, "created", call->service->options->created);
  /* How many there are is the operator's business. */
  if (json_object_has_member (call->request, "admin_token") && pilot_call_check_admin (call, NULL))
    json_object_set_int_member (backbone, "members", pilot_directory_count_live (call->service->directory));
  json_array_add_object_element (networks, backbone);
  json_object_set_array_member (response, "networks", networks);
  return response;
}

static JsonObject *
handle_get_network_policy (PilotCall *call,
                           GError **error)
{
  JsonObject *response;

  if (!check_network (call, error))
    return NULL;
  response = json_object_new ();
  json_object_set_int_member (response, "network_id", 0);
  json_object_set_int_member (response, "max_members", 0);
  json_object_set_array_member (response, "allowed_ports", json_array_new ());
  json_object_set_string_member (response, "description", "");
  return response;
}

static JsonObject *
handle_poll_invites (PilotCall *call,
                     GError **error)
{
  JsonObject *response;

  if (!pilot_call_authenticate (call, pilot_json_get_uint32 (call->request, "node_id"), NULL, FALSE, error))
    return NULL;
  response = json_object_new ();
  json_object_set_array_member (response, "invites", json_array_new ());
  return response;
}

static JsonObject *
make_listed_node (const PilotNodeRecord *record)
{
  g_autoptr (GDateTime) seen = g_date_time_new_from_unix_utc (record->last_seen);
  g_autofree gchar *text = g_date_time_format (seen, "%Y-%m-%dT%H:%M:%SZ");
  JsonObject *node = json_object_new ();

  pilot_response_set_node (node, record->id);
  json_object_set_boolean_member (node, "public", record->is_public);
  json_object_set_string_member (node, "last_seen", text);
  if (record->hostname != NULL)
    json_object_set_string_member (node, "hostname", record->hostname);
  if (record->version != NULL)
    json_object_set_string_member (node, "version", record->version);
  /* No endpoint of a node that hides it, not even from the operator's terminal (notes, 17.7). */
  if (record->is_public && !record->relay_only)
    json_object_set_string_member (node, "real_addr", record->endpoint);
  return node;
}

static JsonObject *
handle_list_nodes (PilotCall *call,
                   GError **error)
{
  g_autoptr (GPtrArray) records = NULL;
  JsonObject *response;
  JsonArray *nodes;

  if (!check_network (call, error))
    return NULL;
  if (*pilot_json_get_string (call->request, "admin_token") == '\0') {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED,
                         "listing backbone nodes is not permitted (use lookup with a specific node_id)");
    return NULL;
  }
  if (!pilot_call_check_admin (call, error))
    return NULL;
  /* "after" is ours: it continues a list that was cut. */
  records = pilot_directory_list (call->service->directory, pilot_json_get_uint32 (call->request, "after"), MAX_LISTED);
  nodes = json_array_new ();
  for (guint i = 0; i < records->len; i++)
    json_array_add_object_element (nodes, make_listed_node (g_ptr_array_index (records, i)));
  response = json_object_new ();
  json_object_set_array_member (response, "nodes", nodes);
  return response;
}

static gboolean
is_gone (gpointer key,
         gpointer value,
         gpointer user_data)
{
  return *(gint64 *) user_data - ((OtherBeacon *) value)->seen >= BEACON_LIFETIME;
}

static void
add_beacon (JsonArray *beacons,
            guint32 id,
            const gchar *addr)
{
  JsonObject *beacon = json_object_new ();

  json_object_set_int_member (beacon, "id", id);
  json_object_set_string_member (beacon, "addr", addr);
  json_array_add_object_element (beacons, beacon);
}

static JsonObject *
handle_beacon_list (PilotCall *call,
                    GError **error)
{
  JsonObject *response = json_object_new ();
  JsonArray *beacons = json_array_new ();
  GHashTableIter iter;
  gpointer key, value;

  /* Our own only if we were told by which name the world knows it; every daemon has a first beacon in its configuration. */
  if (call->service->options->advertised_beacon != NULL)
    add_beacon (beacons, 1, call->service->options->advertised_beacon);
  g_hash_table_foreach_remove (call->service->beacons, is_gone, &call->now);
  g_hash_table_iter_init (&iter, call->service->beacons);
  while (g_hash_table_iter_next (&iter, &key, &value))
    add_beacon (beacons, GPOINTER_TO_UINT (key), ((OtherBeacon *) value)->addr);
  json_object_set_array_member (response, "beacons", beacons);
  return response;
}

static JsonObject *
handle_beacon_register (PilotCall *call,
                        GError **error)
{
  guint32 id = pilot_json_get_uint32 (call->request, "beacon_id");
  const gchar *addr = pilot_json_get_string (call->request, "addr");
  GHashTable *beacons = call->service->beacons;
  JsonObject *response;
  OtherBeacon *beacon;

  if (!pilot_call_check_admin (call, error))
    return NULL;
  g_hash_table_foreach_remove (beacons, is_gone, &call->now);
  if (id == 0)
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "beacon_id required");
  else if (*addr == '\0')
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "addr required");
  else if (strlen (addr) >= sizeof beacon->addr || strchr (addr, ':') == NULL)
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "beacon addr invalid: want host:port");
  else if (g_hash_table_size (beacons) >= MAX_BEACONS && !g_hash_table_contains (beacons, GUINT_TO_POINTER (id)))
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "too many beacons (max %d)", MAX_BEACONS);
  else {
    beacon = g_new0 (OtherBeacon, 1);
    g_strlcpy (beacon->addr, addr, sizeof beacon->addr);
    beacon->seen = call->now;
    g_hash_table_insert (beacons, GUINT_TO_POINTER (id), beacon);
    response = json_object_new ();
    json_object_set_int_member (response, "beacon_id", id);
    return response;
  }
  return NULL;
}

const PilotHandlerEntry pilot_service_network_handlers[] = {
  { "beacon_list", handle_beacon_list },
  { "list_networks", handle_list_networks },
  { "get_network_policy", handle_get_network_policy },
  { "poll_invites", handle_poll_invites },
  { "list_nodes", handle_list_nodes },
  { "beacon_register", handle_beacon_register },
  { NULL, NULL },
};
