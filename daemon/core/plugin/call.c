/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/plugin/call.h"

/* Passes an outcome on: the plugin's name in front of an error; an error of ours where the plugin broke the rule. */
static gboolean
settle (gpointer plugin,
        const gchar *function,
        gboolean success,
        GError *raw,
        GError **error)
{
  const gchar *name = pilot_plugin_get_name (PILOT_PLUGIN (plugin));

  if (success && raw == NULL)
    return TRUE;
  if (raw == NULL) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_FAILED, "%s: %s failed without saying why (a fault of the plugin)",
                 name, function);
    return FALSE;
  }
  if (success)
    g_warning ("%s: %s reported success and an error; taken as failed (a fault of the plugin)", name, function);
  g_propagate_prefixed_error (error, raw, "%s: ", name);
  return FALSE;
}

static void
complain (gpointer plugin,
          const gchar *function,
          const gchar *what)
{
  g_warning ("%s: %s %s (a fault of the plugin)", pilot_plugin_get_name (PILOT_PLUGIN (plugin)), function, what);
}

/* One enable or disable under way. Lives as long as its task; `timeout` is 0 once the outcome is decided. */
typedef struct
{
  guint timeout;
  guint deadline_ms;
  gboolean enabling;
  GCancellable *inner;
  GCancellable *outer;
  gulong cancelled_id;
} Procedure;

static void
procedure_free (gpointer data)
{
  Procedure *procedure = data;

  if (procedure->outer != NULL)
    g_signal_handler_disconnect (procedure->outer, procedure->cancelled_id);
  g_clear_object (&procedure->outer);
  g_clear_object (&procedure->inner);
  g_clear_handle_id (&procedure->timeout, g_source_remove);
  g_free (procedure);
}

static gboolean
procedure_timed_out (gpointer user_data)
{
  g_autoptr (GTask) task = g_object_ref (G_TASK (user_data));
  Procedure *procedure = g_task_get_task_data (task);

  procedure->timeout = 0;
  g_task_return_new_error (task, PILOT_ERROR, PILOT_ERROR_TIMEOUT, "%s: %s did not complete within %u ms",
                           pilot_plugin_get_name (g_task_get_source_object (task)),
                           procedure->enabling ? "enable" : "disable", procedure->deadline_ms);
  g_cancellable_cancel (procedure->inner);
  return G_SOURCE_REMOVE;
}

static void
procedure_done (GObject *source,
                GAsyncResult *result,
                gpointer user_data)
{
  g_autoptr (GTask) task = user_data;
  Procedure *procedure = g_task_get_task_data (task);
  PilotPlugin *plugin = PILOT_PLUGIN (source);
  g_autoptr (GError) error = NULL;
  GError *raw = NULL;
  gboolean success;

  if (procedure->enabling)
    success = pilot_plugin_enable_finish (plugin, result, &raw);
  else
    success = pilot_plugin_disable_finish (plugin, result, &raw);
  if (procedure->timeout == 0) {
    g_clear_error (&raw);
    return;
  }
  g_clear_handle_id (&procedure->timeout, g_source_remove);
  if (settle (plugin, procedure->enabling ? "enable" : "disable", success, raw, &error))
    g_task_return_boolean (task, TRUE);
  else
    g_task_return_error (task, g_steal_pointer (&error));
}

static void
forward_cancel (GCancellable *outer,
                gpointer inner)
{
  g_cancellable_cancel (inner);
}

static void
procedure_start (PilotPlugin *plugin,
                 gboolean enabling,
                 guint deadline_ms,
                 GCancellable *cancellable,
                 GAsyncReadyCallback callback,
                 gpointer user_data)
{
  GTask *task = g_task_new (plugin, NULL, callback, user_data);
  Procedure *procedure = g_new0 (Procedure, 1);

  procedure->enabling = enabling;
  procedure->deadline_ms = deadline_ms;
  procedure->inner = g_cancellable_new ();
  g_task_set_task_data (task, procedure, procedure_free);
  if (cancellable != NULL) {
    procedure->outer = g_object_ref (cancellable);
    /* Not g_cancellable_connect(): its disconnect waits for ever when the plugin completes inside the emission. */
    procedure->cancelled_id = g_signal_connect (cancellable, "cancelled", G_CALLBACK (forward_cancel), procedure->inner);
    if (g_cancellable_is_cancelled (cancellable))
      g_cancellable_cancel (procedure->inner);
  }
  /* The plugin's callback owns a reference to the task: if it never comes, the task leaks, which is all that is lost. */
  procedure->timeout = g_timeout_add (deadline_ms, procedure_timed_out, task);
  if (enabling)
    pilot_plugin_enable_async (plugin, procedure->inner, procedure_done, task);
  else
    pilot_plugin_disable_async (plugin, procedure->inner, procedure_done, task);
}

void
pilot_call_enable_async (PilotPlugin *plugin,
                         guint deadline_ms,
                         GCancellable *cancellable,
                         GAsyncReadyCallback callback,
                         gpointer user_data)
{
  procedure_start (plugin, TRUE, deadline_ms, cancellable, callback, user_data);
}

gboolean
pilot_call_enable_finish (PilotPlugin *plugin,
                          GAsyncResult *result,
                          GError **error)
{
  return g_task_propagate_boolean (G_TASK (result), error);
}

void
pilot_call_disable_async (PilotPlugin *plugin,
                          guint deadline_ms,
                          GCancellable *cancellable,
                          GAsyncReadyCallback callback,
                          gpointer user_data)
{
  procedure_start (plugin, FALSE, deadline_ms, cancellable, callback, user_data);
}

gboolean
pilot_call_disable_finish (PilotPlugin *plugin,
                           GAsyncResult *result,
                           GError **error)
{
  return g_task_propagate_boolean (G_TASK (result), error);
}

gboolean
pilot_call_change_setting (PilotPlugin *plugin,
                           const gchar *key,
                           GVariant *value,
                           GError **error)
{
  GError *raw = NULL;
  gboolean success = pilot_plugin_change_setting (plugin, key, value, &raw);

  return settle (plugin, "change", success, raw, error);
}

gboolean
pilot_call_send (PilotTransport *transport,
                 const PilotSendBatch *items,
                 guint n_items,
                 guint *n_sent,
                 GError **error)
{
  GError *raw = NULL;
  gboolean success;

  *n_sent = 0;
  success = pilot_transport_send (transport, items, n_items, n_sent, &raw);
  if (G_UNLIKELY (*n_sent > n_items)) {
    complain (transport, "send", "says it sent more than it was given");
    *n_sent = n_items;
  }
  if (G_LIKELY (success && raw == NULL))
    return TRUE;
  return settle (transport, "send", success, raw, error);
}

GArray *
pilot_call_get_endpoints (PilotTransport *transport)
{
  GArray *endpoints = pilot_transport_get_endpoints (transport);

  if (endpoints != NULL && g_array_get_element_size (endpoints) == sizeof (PilotEndpoint))
    return endpoints;
  complain (transport, "get_endpoints", "returned no array of endpoints");
  g_clear_pointer (&endpoints, g_array_unref);
  return g_array_new (FALSE, TRUE, sizeof (PilotEndpoint));
}

gboolean
pilot_call_parse_endpoint (PilotTransport *transport,
                           const gchar *text,
                           PilotEndpoint *endpoint,
                           GError **error)
{
  GError *raw = NULL;
  gboolean success = pilot_transport_parse_endpoint (transport, text, endpoint, &raw);

  return settle (transport, "parse_endpoint", success, raw, error);
}

gchar *
pilot_call_format_endpoint (PilotTransport *transport,
                            const PilotEndpoint *endpoint)
{
  gchar *text = pilot_transport_format_endpoint (transport, endpoint);

  if (text == NULL) {
    complain (transport, "format_endpoint", "returned NULL");
    text = pilot_endpoint_to_string (endpoint);
  }
  return text;
}

GInetAddressMask *
pilot_call_get_subnet (PilotAllocator *allocator,
                       GError **error)
{
  const gchar *cidr = pilot_allocator_get_subnet (allocator);
  GInetAddressMask *mask = NULL;
  GError *raw = NULL;

  if (cidr != NULL)
    mask = pilot_subnet_parse (cidr, &raw);
  settle (allocator, "get_subnet", mask != NULL, raw, error);
  return mask;
}

GInetAddress *
pilot_call_allocate (PilotAllocator *allocator,
                     const PilotAddress *address,
                     GInetAddress *wanted,
                     GError **error)
{
  g_autoptr (GInetAddressMask) subnet = pilot_call_get_subnet (allocator, error);
  g_autoptr (GInetAddress) given = NULL;
  GError *raw = NULL;

  if (subnet == NULL)
    return NULL;
  given = pilot_allocator_allocate (allocator, address, wanted, &raw);
  if (!settle (allocator, "allocate", given != NULL, raw, error))
    return NULL;
  if (!g_inet_address_mask_matches (subnet, given) || (wanted != NULL && !g_inet_address_equal (wanted, given))) {
    g_autofree gchar *text = g_inet_address_to_string (given);

    g_set_error (error, PILOT_ERROR, PILOT_ERROR_FAILED,
                 "%s: allocate gave \"%s\", which is outside its subnet or not what was asked for (a fault of the plugin)",
                 pilot_plugin_get_name (PILOT_PLUGIN (allocator)), text);
    return NULL;
  }
  return g_steal_pointer (&given);
}

gboolean
pilot_call_release (PilotAllocator *allocator,
                    const PilotAddress *address,
                    GError **error)
{
  GError *raw = NULL;
  gboolean success = pilot_allocator_release (allocator, address, &raw);

  return settle (allocator, "release", success, raw, error);
}

gboolean
pilot_call_restore (PilotAllocator *allocator,
                    const PilotAddress *address,
                    GInetAddress *local,
                    GError **error)
{
  GError *raw = NULL;
  gboolean success = pilot_allocator_restore (allocator, address, local, &raw);

  return settle (allocator, "restore", success, raw, error);
}

gboolean
pilot_call_set_subnet (PilotAllocator *allocator,
                       const gchar *cidr,
                       GError **error)
{
  GError *raw = NULL;
  gboolean success = pilot_allocator_set_subnet (allocator, cidr, &raw);

  return settle (allocator, "set_subnet", success, raw, error);
}

gboolean
pilot_call_load (PilotTrustStore *store,
                 GError **error)
{
  GError *raw = NULL;
  gboolean success = pilot_trust_store_load (store, &raw);

  return settle (store, "load", success, raw, error);
}

gboolean
pilot_call_put (PilotTrustStore *store,
                const PilotTrustRecord *record,
                GError **error)
{
  GError *raw = NULL;
  gboolean success = pilot_trust_store_put (store, record, &raw);

  return settle (store, "put", success, raw, error);
}

gboolean
pilot_call_remove (PilotTrustStore *store,
                   PilotTrustKind kind,
                   guint32 node,
                   GError **error)
{
  GError *raw = NULL;
  gboolean success = pilot_trust_store_remove (store, kind, node, &raw);

  return settle (store, "remove", success, raw, error);
}

GPtrArray *
pilot_call_list (PilotTrustStore *store,
                 PilotTrustKind kind)
{
  g_autoptr (GPtrArray) raw = pilot_trust_store_list (store, kind);
  GPtrArray *checked = g_ptr_array_new_with_free_func ((GDestroyNotify) pilot_trust_record_free);
  g_autoptr (GHashTable) seen = g_hash_table_new (NULL, NULL);

  if (raw == NULL) {
    complain (store, "list", "returned NULL");
    return checked;
  }
  for (guint i = 0; i < raw->len; i++) {
    const PilotTrustRecord *record = g_ptr_array_index (raw, i);

    if (record == NULL || record->kind != kind || !g_hash_table_add (seen, GUINT_TO_POINTER (record->node)))
      complain (store, "list", "returned a record of another kind, or one twice");
    else
      g_ptr_array_add (checked, pilot_trust_record_copy (record));
  }
  return checked;
}

gboolean
pilot_call_flush (PilotTrustStore *store,
                  GError **error)
{
  GError *raw = NULL;
  gboolean success = pilot_trust_store_flush (store, &raw);

  return settle (store, "flush", success, raw, error);
}
