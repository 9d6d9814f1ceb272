/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/gateway/gateway-state.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include <string.h>

#include "daemon/gateway/gateway.h"
#include "daemon/gateway/port-list.h"
#include "daemon/helper/nft-rules.h"
#include "libpilot/pilot-address.h"
#include "libpilot/pilot-error.h"
#include "libpilot/pilot-file.h"
#include "libpilot/pilot-json.h"

#define FILE_MAX (8 * 1024 * 1024)

static void
saved_mapping_free (PilotSavedMapping *mapping)
{
  g_free (mapping->hostname);
  g_free (mapping->ports);
  g_free (mapping);
}

PilotGatewayState *
pilot_gateway_state_new (void)
{
  PilotGatewayState *state = g_new0 (PilotGatewayState, 1);

  state->subnet = g_strdup ("");
  state->ports = g_strdup ("");
  state->mode = g_strdup ("");
  state->mappings = g_ptr_array_new_with_free_func ((GDestroyNotify) saved_mapping_free);
  return state;
}

void
pilot_gateway_state_free (PilotGatewayState *state)
{
  g_free (state->subnet);
  g_free (state->ports);
  g_free (state->mode);
  g_ptr_array_unref (state->mappings);
  g_free (state);
}

void
pilot_gateway_state_add (PilotGatewayState *state, guint32 node, guint32 local, const char *hostname, const char *ports, guint32 uid)
{
  PilotSavedMapping *mapping = g_new0 (PilotSavedMapping, 1);

  mapping->node = node;
  mapping->local = local;
  mapping->hostname = g_strdup (hostname);
  mapping->ports = g_strdup (ports);
  mapping->uid = uid;
  g_ptr_array_add (state->mappings, mapping);
}

/* NULL when the member is missing or no string. */
static const char *
get_string (JsonObject *object, const char *name)
{
  JsonNode *node = json_object_get_member (object, name);

  return node != NULL && JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == G_TYPE_STRING
             ? json_node_get_string (node)
             : NULL;
}

/* A limit that cannot be read must not become none. */
static gboolean
read_uid (JsonObject *object, guint32 *uid, GError **error)
{
  JsonNode *node = json_object_get_member (object, "uid");
  gint64 value;

  *uid = PILOT_UID_ANY;
  if (node == NULL)
    return TRUE;
  value = JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == G_TYPE_INT64 ? json_node_get_int (node) : -1;
  if (value < 0 || value >= PILOT_UID_ANY) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "\"uid\" of a mapping is not a user id");
    return FALSE;
  }
  *uid = (guint32) value;
  return TRUE;
}

static gboolean
read_mapping (PilotGatewayState *state, const PilotSubnet *subnet, JsonNode *node, GError **error)
{
  JsonObject *object = JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
  const char *pilot_text, *local_text, *hostname, *ports;
  PilotAddress address;
  guint32 local, uid;

  if (object == NULL) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "a mapping is not an object");
    return FALSE;
  }
  pilot_text = get_string (object, "pilot_addr");
  local_text = get_string (object, "local_ip");
  hostname = get_string (object, "hostname");
  ports = get_string (object, "ports");
  if (pilot_text == NULL || ports == NULL) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "a mapping lacks \"pilot_addr\" or \"ports\"");
    return FALSE;
  }
  if (!pilot_address_parse (pilot_text, &address, error) || !pilot_ipv4_parse (local_text, &local, error) ||
      !pilot_subnet_check_host (subnet, local, error) || !pilot_port_list_check (ports, error))
    return FALSE;
  for (guint i = 0; i < state->mappings->len; i++) {
    const PilotSavedMapping *other = g_ptr_array_index (state->mappings, i);

    if (other->node == address.node || other->local == local) {
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "%s or %s is mapped twice", pilot_text, local_text);
      return FALSE;
    }
  }
  if (!read_uid (object, &uid, error))
    return FALSE;
  pilot_gateway_state_add (state, address.node, local, hostname != NULL ? hostname : "", ports, uid);
  return TRUE;
}

static gboolean
read_document (PilotGatewayState *state, JsonNode *root, GError **error)
{
  JsonObject *object = root != NULL && JSON_NODE_HOLDS_OBJECT (root) ? json_node_get_object (root) : NULL;
  const char *subnet_text, *ports, *mode;
  JsonArray *mappings = NULL;
  PilotSubnet subnet;
  JsonNode *node;

  if (object == NULL) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "it is not an object");
    return FALSE;
  }
  subnet_text = get_string (object, "subnet");
  ports = get_string (object, "ports");
  mode = get_string (object, "mode");
  node = json_object_get_member (object, "mappings");
  if (node != NULL && JSON_NODE_HOLDS_ARRAY (node))
    mappings = json_node_get_array (node);
  if (subnet_text == NULL || ports == NULL || mode == NULL || mappings == NULL ||
      (mode[0] != '\0' && strcmp (mode, "redirect") != 0 && strcmp (mode, "listen") != 0)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "\"subnet\", \"ports\", \"mode\" or \"mappings\" is missing or wrong");
    return FALSE;
  }
  if (!pilot_subnet_parse_text (subnet_text, &subnet, error) || !pilot_port_list_check (ports, error))
    return FALSE;
  if (json_array_get_length (mappings) > PILOT_REDIRECTS_MAX) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "it has more than %u mappings", PILOT_REDIRECTS_MAX);
    return FALSE;
  }
  for (guint i = 0; i < json_array_get_length (mappings); i++)
    if (!read_mapping (state, &subnet, json_array_get_element (mappings, i), error))
      return FALSE;
  g_free (state->subnet);
  g_free (state->ports);
  g_free (state->mode);
  state->subnet = g_strdup (subnet_text);
  state->ports = g_strdup (ports);
  state->mode = g_strdup (mode);
  state->active = TRUE;
  return TRUE;
}

PilotGatewayState *
pilot_gateway_state_load (const char *path, GError **error)
{
  g_autoptr (PilotGatewayState) state = pilot_gateway_state_new ();
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (GError) local_error = NULL;
  g_autofree char *data = NULL;
  gsize length;

  if (!pilot_file_load (path, FILE_MAX, 0, &data, &length, &local_error)) {
    if (g_error_matches (local_error, G_FILE_ERROR, G_FILE_ERROR_NOENT))
      return g_steal_pointer (&state);
    g_propagate_error (error, g_steal_pointer (&local_error));
    return NULL;
  }
  if (pilot_json_scan (data, length, FILE_MAX, PILOT_JSON_MAX_DEPTH, &local_error) &&
      json_parser_load_from_data (parser, data, length, &local_error) &&
      read_document (state, json_parser_get_root (parser), &local_error))
    return g_steal_pointer (&state);
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "\"%s\" makes no sense: %s; repair it, or move it away to begin without mappings",
               path, local_error->message);
  return NULL;
}

gboolean
pilot_gateway_state_save (const PilotGatewayState *state, const char *path, GError **error)
{
  g_autoptr (JsonBuilder) builder = json_builder_new ();
  g_autoptr (JsonNode) root = NULL;
  g_autofree char *text = NULL;

  if (!state->active) {
    if (g_unlink (path) == 0 || errno == ENOENT)
      return TRUE;
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot remove \"%s\": %s", path, g_strerror (errno));
    return FALSE;
  }
  json_builder_begin_object (builder);
  json_builder_set_member_name (builder, "subnet");
  json_builder_add_string_value (builder, state->subnet);
  json_builder_set_member_name (builder, "ports");
  json_builder_add_string_value (builder, state->ports);
  json_builder_set_member_name (builder, "mode");
  json_builder_add_string_value (builder, state->mode);
  json_builder_set_member_name (builder, "mappings");
  json_builder_begin_array (builder);
  for (guint i = 0; i < state->mappings->len; i++) {
    const PilotSavedMapping *mapping = g_ptr_array_index (state->mappings, i);
    PilotAddress address = { 0, mapping->node };
    char pilot_text[PILOT_ADDRESS_TEXT_SIZE], local_text[PILOT_IPV4_TEXT_SIZE];

    json_builder_begin_object (builder);
    json_builder_set_member_name (builder, "local_ip");
    json_builder_add_string_value (builder, pilot_ipv4_format (mapping->local, local_text));
    json_builder_set_member_name (builder, "pilot_addr");
    json_builder_add_string_value (builder, pilot_address_format (&address, pilot_text));
    json_builder_set_member_name (builder, "hostname");
    json_builder_add_string_value (builder, mapping->hostname);
    json_builder_set_member_name (builder, "ports");
    json_builder_add_string_value (builder, mapping->ports);
    if (mapping->uid != PILOT_UID_ANY) {
      json_builder_set_member_name (builder, "uid");
      json_builder_add_int_value (builder, mapping->uid);
    }
    json_builder_end_object (builder);
  }
  json_builder_end_array (builder);
  json_builder_end_object (builder);
  root = json_builder_get_root (builder);
  text = json_to_string (root, TRUE);
  return pilot_file_replace (path, text, strlen (text), 0600, error);
}
