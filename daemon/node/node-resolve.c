/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "node-private.h"

#include <string.h>

#include "libpilot/pilot-error.h"
#include "protocol/json.h"

#define NAME_FRESH (60 * (gint64) G_USEC_PER_SEC)
#define MAX_NAMES 1024

typedef struct {
  PilotNodeName name;
  gint64 expires;
} CachedName;

void
pilot_node_name_free (PilotNodeName *name)
{
  if (name == NULL)
    return;
  g_free (name->hostname);
  g_free (name);
}

static void
cached_name_free (gpointer data)
{
  CachedName *cached = data;

  g_free (cached->name.hostname);
  g_free (cached);
}

static PilotNodeName *
name_new (guint32 node, const char *hostname, gboolean is_public)
{
  PilotNodeName *name = g_new0 (PilotNodeName, 1);

  name->node = node;
  name->hostname = g_strdup (hostname != NULL ? hostname : "");
  name->is_public = is_public;
  return name;
}

static void
remember (PilotNode *node, const char *text, const PilotNodeName *name)
{
  CachedName *cached = g_new0 (CachedName, 1);

  if (node->names == NULL)
    node->names = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, cached_name_free);
  if (g_hash_table_size (node->names) >= MAX_NAMES)
    g_hash_table_remove_all (node->names);
  cached->name = *name;
  cached->name.hostname = g_strdup (name->hostname);
  cached->expires = g_get_monotonic_time () + NAME_FRESH;
  g_hash_table_insert (node->names, g_strdup (text), cached);
}

/* The registry's rule for names (registry.md 7.7). */
gboolean
pilot_node_is_hostname (const char *text)
{
  gsize length = strlen (text);

  if (length == 0 || length > 63 || text[0] == '-' || text[length - 1] == '-')
    return FALSE;
  for (gsize i = 0; i < length; i++)
    if (!g_ascii_islower (text[i]) && !g_ascii_isdigit (text[i]) && text[i] != '-')
      return FALSE;
  return TRUE;
}

static void
on_name (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GTask) task = user_data;
  PilotNode *node = g_task_get_source_object (task);
  const char *text = g_task_get_task_data (task);
  GError *error = NULL;
  g_autoptr (JsonObject) answer = pilot_registry_client_call_finish (PILOT_REGISTRY_CLIENT (source), result, &error);
  PilotNodePeer *peer;
  PilotNodeName *name;
  guint32 id;

  if (answer == NULL) {
    g_prefix_error (&error, "host name \"%s\": ", text);
    /* What the registry says of a private node to those it does not trust, too. */
    if (g_error_matches (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND))
      pilot_error_set_hint (error, "a private node has a name only for those it trusts: give its number or address");
    g_task_return_error (task, error);
    return;
  }
  id = pilot_json_get_uint32 (answer, "node_id");
  if (id == 0 || id == G_MAXUINT32) {
    g_task_return_new_error (task, PILOT_ERROR, PILOT_ERROR_CORRUPT, "host name \"%s\": the registry gave no node id", text);
    return;
  }
  name = name_new (id, text, pilot_json_get_boolean (answer, "public"));
  remember (node, text, name);
  peer = g_hash_table_lookup (node->peers, GUINT_TO_POINTER (id));
  if (peer != NULL) {
    g_free (peer->hostname);
    peer->hostname = g_strdup (text);
  }
  g_task_return_pointer (task, name, (GDestroyNotify) pilot_node_name_free);
}

void
pilot_node_resolve_async (PilotNode *node, const char *text, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
  g_autoptr (GTask) task = g_task_new (node, cancellable, callback, user_data);
  g_autofree char *lower = g_ascii_strdown (text, -1);
  CachedName *cached = node->names != NULL ? g_hash_table_lookup (node->names, lower) : NULL;
  g_autoptr (GError) error = NULL;
  PilotAddress address;

  if (pilot_address_parse_cli (text, &address, &error) && (address.node == 0 || address.node == G_MAXUINT32))
    g_task_return_new_error (task, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "\"%s\" is no node's address: no node has the id %u", text, address.node);
  else if (error == NULL) {
    PilotNodePeer *peer = g_hash_table_lookup (node->peers, GUINT_TO_POINTER (address.node));

    g_task_return_pointer (task, name_new (address.node, peer != NULL ? peer->hostname : NULL, FALSE), (GDestroyNotify) pilot_node_name_free);
  } else if (strchr (text, ':') != NULL)
    g_task_return_error (task, g_steal_pointer (&error)); /* meant as an address */
  else if (!pilot_node_is_hostname (lower)) {
    g_autofree char *quoted = pilot_error_quote (text, -1);

    g_task_return_new_error (task, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "\"%s\" is neither a pilot address, a node id nor a host name", quoted);
  } else if (cached != NULL && cached->expires > g_get_monotonic_time ())
    g_task_return_pointer (task, name_new (cached->name.node, lower, cached->name.is_public), (GDestroyNotify) pilot_node_name_free);
  else if (!node->running)
    g_task_return_new_error (task, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, "the node is not running");
  else {
    g_task_set_task_data (task, g_strdup (lower), g_free);
    pilot_registry_client_call_async (node->registry, pilot_registry_request_resolve_hostname (&node->identity, node->id, lower), "resolve_hostname", NULL,
                                      on_name, g_object_ref (task));
  }
}

PilotNodeName *
pilot_node_resolve_finish (PilotNode *node, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, node), NULL);
  return g_task_propagate_pointer (G_TASK (result), error);
}

static void
on_looked_up (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GTask) task = user_data;
  GError *error = NULL;
  g_autoptr (JsonObject) answer = pilot_registry_client_call_finish (PILOT_REGISTRY_CLIENT (source), result, &error);
  const char *hostname;

  if (answer == NULL) {
    g_task_return_error (task, error);
    return;
  }
  hostname = pilot_json_get_string (answer, "hostname");
  g_task_return_pointer (task, name_new (pilot_json_get_uint32 (answer, "node_id"), pilot_node_is_hostname (hostname) ? hostname : "", pilot_json_get_boolean (answer, "public")),
                         (GDestroyNotify) pilot_node_name_free);
}

void
pilot_node_lookup_async (PilotNode *node, guint32 peer, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
  g_autoptr (GTask) task = g_task_new (node, cancellable, callback, user_data);

  if (!node->running)
    g_task_return_new_error (task, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, "the node is not running");
  else
    pilot_registry_client_call_async (node->registry, pilot_registry_request_lookup (peer), "lookup", NULL, on_looked_up, g_object_ref (task));
}

PilotNodeName *
pilot_node_lookup_finish (PilotNode *node, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, node), NULL);
  return g_task_propagate_pointer (G_TASK (result), error);
}
