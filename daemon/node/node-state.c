/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "node-state.h"

#include <string.h>

#include "libpilot/pilot-error.h"
#include "libpilot/pilot-file.h"
#include "protocol/json.h"

#define MAX_LENGTH (1024 * 1024)

struct _PilotNodeState {
  char *path;
  char *public_key;
  guint32 node;
  GHashTable *ports;       /* node -> char * */
  GHashTable *revocations; /* node */
};

static guint32
parse_node (const char *text)
{
  guint64 value;

  if (!g_ascii_string_to_unsigned (text, 10, 1, G_MAXUINT32 - 1, &value, NULL))
    return 0;
  return (guint32) value;
}

static void
read_object (PilotNodeState *state, JsonObject *object)
{
  JsonObject *ports = pilot_json_get_object (object, "handshake_ports");
  JsonArray *revocations = pilot_json_get_array (object, "revocations");

  state->node = pilot_json_get_uint32 (object, "node_id");
  if (ports != NULL) {
    g_autoptr (GList) names = json_object_get_members (ports);

    for (GList *item = names; item != NULL; item = item->next) {
      guint32 node = parse_node (item->data);

      if (node != 0)
        g_hash_table_insert (state->ports, GUINT_TO_POINTER (node), g_strdup (pilot_json_get_string (ports, item->data)));
    }
  }
  for (guint i = 0; revocations != NULL && i < json_array_get_length (revocations); i++) {
    const char *text = pilot_json_array_get_string (revocations, i);
    guint32 node = text != NULL ? parse_node (text) : 0;

    if (node != 0)
      g_hash_table_add (state->revocations, GUINT_TO_POINTER (node));
  }
}

PilotNodeState *
pilot_node_state_new (const char *path, const char *public_key)
{
  PilotNodeState *state = g_new0 (PilotNodeState, 1);
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) object = NULL;
  g_autofree char *text = NULL;
  gsize length = 0;

  state->path = g_strdup (path);
  state->public_key = g_strdup (public_key);
  state->ports = g_hash_table_new_full (NULL, NULL, NULL, g_free);
  state->revocations = g_hash_table_new (NULL, NULL);
  if (pilot_file_load (path, MAX_LENGTH, 0, &text, &length, &error))
    object = pilot_json_parse_object (text, length, MAX_LENGTH, &error);
  if (object != NULL && strcmp (pilot_json_get_string (object, "public_key"), public_key) == 0)
    read_object (state, object);
  else if (error != NULL && !g_error_matches (error, G_FILE_ERROR, G_FILE_ERROR_NOENT))
    g_warning ("\"%s\" is started afresh: %s", path, error->message);
  return state;
}

void
pilot_node_state_free (PilotNodeState *state)
{
  g_hash_table_unref (state->ports);
  g_hash_table_unref (state->revocations);
  g_free (state->path);
  g_free (state->public_key);
  g_free (state);
}

static gboolean
save (PilotNodeState *state, GError **error)
{
  g_autoptr (JsonObject) object = json_object_new ();
  JsonObject *ports = json_object_new ();
  JsonArray *revocations = json_array_new ();
  g_autofree char *text = NULL;
  GHashTableIter iter;
  gpointer key, value;

  g_hash_table_iter_init (&iter, state->ports);
  while (g_hash_table_iter_next (&iter, &key, &value)) {
    g_autofree char *name = g_strdup_printf ("%u", GPOINTER_TO_UINT (key));

    json_object_set_string_member (ports, name, value);
  }
  g_hash_table_iter_init (&iter, state->revocations);
  while (g_hash_table_iter_next (&iter, &key, NULL)) {
    g_autofree char *name = g_strdup_printf ("%u", GPOINTER_TO_UINT (key));

    json_array_add_string_element (revocations, name);
  }
  json_object_set_int_member (object, "node_id", state->node);
  json_object_set_string_member (object, "public_key", state->public_key);
  json_object_set_object_member (object, "handshake_ports", ports);
  json_object_set_array_member (object, "revocations", revocations);
  text = pilot_json_print (object);
  return pilot_file_replace (state->path, text, strlen (text), 0600, error);
}

guint32
pilot_node_state_get_node (PilotNodeState *state)
{
  return state->node;
}

gboolean
pilot_node_state_set_node (PilotNodeState *state, guint32 node, GError **error)
{
  if (state->node == node)
    return TRUE;
  state->node = node;
  return save (state, error);
}

const char *
pilot_node_state_get_ports (PilotNodeState *state, guint32 peer)
{
  return g_hash_table_lookup (state->ports, GUINT_TO_POINTER (peer));
}

gboolean
pilot_node_state_set_ports (PilotNodeState *state, guint32 peer, const char *ports, GError **error)
{
  g_autofree char *old = g_strdup (pilot_node_state_get_ports (state, peer));

  if (g_strcmp0 (old, ports) == 0)
    return TRUE;
  if (ports != NULL)
    g_hash_table_insert (state->ports, GUINT_TO_POINTER (peer), g_strdup (ports));
  else
    g_hash_table_remove (state->ports, GUINT_TO_POINTER (peer));
  if (save (state, error))
    return TRUE;
  if (old != NULL)
    g_hash_table_insert (state->ports, GUINT_TO_POINTER (peer), g_steal_pointer (&old));
  else
    g_hash_table_remove (state->ports, GUINT_TO_POINTER (peer));
  return FALSE;
}

GArray *
pilot_node_state_list_revocations (PilotNodeState *state)
{
  GArray *nodes = g_array_new (FALSE, FALSE, sizeof (guint32));
  GHashTableIter iter;
  gpointer key;

  g_hash_table_iter_init (&iter, state->revocations);
  while (g_hash_table_iter_next (&iter, &key, NULL)) {
    guint32 node = GPOINTER_TO_UINT (key);

    g_array_append_val (nodes, node);
  }
  return nodes;
}

gboolean
pilot_node_state_has_revocation (PilotNodeState *state, guint32 peer)
{
  return g_hash_table_contains (state->revocations, GUINT_TO_POINTER (peer));
}

gboolean
pilot_node_state_set_revocation (PilotNodeState *state, guint32 peer, gboolean undelivered, GError **error)
{
  if (pilot_node_state_has_revocation (state, peer) == !!undelivered)
    return TRUE;
  if (undelivered)
    g_hash_table_add (state->revocations, GUINT_TO_POINTER (peer));
  else
    g_hash_table_remove (state->revocations, GUINT_TO_POINTER (peer));
  return save (state, error);
}
