/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/gateway/gateway.h"

#include <arpa/inet.h>
#include <string.h>
#include <unistd.h>

#include "daemon/gateway/gateway-private.h"
#include "daemon/helper/netlink-address.h"
#include "libpilot/pilot-error.h"

#define STATE_FILE "gateway.json"

G_DEFINE_FINAL_TYPE (PilotGateway, pilot_gateway, G_TYPE_OBJECT)

enum { MAPPING_ADDED,
       MAPPING_REMOVED,
       MAPPING_CHANGED,
       CHANGED,
       N_SIGNALS };
static guint signals[N_SIGNALS];

static void queue_refresh (PilotGateway *gateway);

PilotAllocator *
pilot_gateway_get_allocator (PilotGateway *gateway, GError **error)
{
  const char *name = pilot_config_get (pilot_node_get_config (gateway->node), "allocator");
  PilotPlugin *plugin = NULL;

  if (gateway->loader != NULL)
    plugin = pilot_plugin_loader_get_enabled (gateway->loader, PILOT_PLUGIN_KIND_ALLOCATOR, name);
  if (plugin == NULL) {
    if (name != NULL)
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "the allocator \"%s\" is not enabled: see `pilotctl plugins`", name);
    else
      g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "no address allocator is enabled: see `pilotctl plugins`");
    return NULL;
  }
  return PILOT_ALLOCATOR (plugin);
}

const char *
pilot_gateway_helper_socket (PilotGateway *gateway)
{
  const char *path = pilot_config_get (pilot_node_get_config (gateway->node), "helper-socket");

  return path != NULL ? path : g_getenv ("PILOT_HELPER_SOCKET");
}

/* ---- mappings ---- */

static void
mapping_changed (PilotMapping *mapping, PilotGateway *gateway)
{
  g_signal_emit (gateway, signals[MAPPING_CHANGED], 0, mapping);
}

static void
mapping_silent_changed (PilotMapping *mapping, PilotGateway *gateway)
{
  /* Plain listeners have seen to it themselves. */
  if (gateway->redirect)
    queue_refresh (gateway);
}

void
pilot_gateway_mapping_added (PilotGateway *gateway, PilotMapping *mapping)
{
  g_hash_table_insert (gateway->by_local, GUINT_TO_POINTER (pilot_mapping_get_local (mapping)), g_object_ref (mapping));
  g_hash_table_insert (gateway->by_node, GUINT_TO_POINTER (pilot_mapping_get_peer (mapping)), mapping);
  g_signal_connect (mapping, "changed", G_CALLBACK (mapping_changed), gateway);
  g_signal_connect (mapping, "silent-changed", G_CALLBACK (mapping_silent_changed), gateway);
  pilot_mapping_peer_changed (mapping);
  g_signal_emit (gateway, signals[MAPPING_ADDED], 0, mapping);
}

static void
detach_mapping (PilotGateway *gateway, PilotMapping *mapping)
{
  g_signal_handlers_disconnect_by_data (mapping, gateway);
  pilot_mapping_close (mapping);
  g_hash_table_remove (gateway->by_node, GUINT_TO_POINTER (pilot_mapping_get_peer (mapping)));
  g_hash_table_remove (gateway->by_local, GUINT_TO_POINTER (pilot_mapping_get_local (mapping)));
}

void
pilot_gateway_mapping_removed (PilotGateway *gateway, PilotMapping *removed)
{
  g_autoptr (PilotMapping) mapping = g_object_ref (removed);
  PilotAllocator *allocator = pilot_gateway_get_allocator (gateway, NULL);
  PilotAddress address = { 0, pilot_mapping_get_peer (mapping) };
  g_autoptr (GError) error = NULL;

  detach_mapping (gateway, mapping);
  if (allocator != NULL && !pilot_call_release (allocator, &address, &error))
    g_warning ("%s", error->message);
  g_signal_emit (gateway, signals[MAPPING_REMOVED], 0, mapping);
}

void
pilot_gateway_deactivate (PilotGateway *gateway)
{
  g_autoptr (GList) mappings = g_hash_table_get_values (gateway->by_local);

  for (GList *item = mappings; item != NULL; item = item->next)
    pilot_gateway_mapping_removed (gateway, item->data);
  g_clear_pointer (&gateway->redirect_listener, pilot_listener_free);
  gateway->redirect_port = 0;
  g_clear_object (&gateway->privileged);
  gateway->active = gateway->redirect = gateway->overlap_checked = FALSE;
  g_free (gateway->subnet);
  g_free (gateway->ports);
  g_free (gateway->mode_wanted);
  gateway->subnet = g_strdup ("");
  gateway->ports = g_strdup ("");
  gateway->mode_wanted = g_strdup ("");
}

/* ---- connections ---- */

void
pilot_gateway_redirected (int fd, guint32 address, guint16 port, gpointer user_data)
{
  PilotGateway *gateway = user_data;
  PilotMapping *mapping = g_hash_table_lookup (gateway->by_local, GUINT_TO_POINTER (address));

  /* Somebody who connects to the listener itself, or by a rule that is older than a mapping's end. */
  if (mapping == NULL)
    pilot_socket_reset (fd);
  else
    pilot_mapping_accept (mapping, fd, port);
}

static guint32
inbound_source (guint32 node, gpointer user_data)
{
  PilotGateway *gateway = user_data;
  PilotMapping *mapping = g_hash_table_lookup (gateway->by_node, GUINT_TO_POINTER (node));

  return mapping != NULL && !pilot_mapping_is_down (mapping) ? pilot_mapping_get_local (mapping) : 0;
}

static gboolean
inbound_forbidden (guint16 port, gpointer user_data)
{
  PilotGateway *gateway = user_data;

  return gateway->redirect_listener != NULL && gateway->redirect_port == port;
}

static void
peer_changed (PilotNode *node, guint peer, PilotGateway *gateway)
{
  PilotMapping *mapping = g_hash_table_lookup (gateway->by_node, GUINT_TO_POINTER (peer));

  if (mapping != NULL)
    pilot_mapping_peer_changed (mapping);
}

/* What was let through under a trust that is withdrawn ends with it. */
static void
trust_changed (PilotTrust *trust, guint peer, const char *what, const char *reason, PilotGateway *gateway)
{
  PilotMapping *mapping = g_hash_table_lookup (gateway->by_node, GUINT_TO_POINTER (peer));

  if (!g_str_equal (what, "revoked"))
    return;
  pilot_inbound_reset_peer (gateway->inbound, peer);
  if (mapping != NULL)
    pilot_mapping_reset_connections (mapping);
}

/* ---- refresh: rules after a peer fell silent or came back ---- */

static void
refresh_done (GObject *source, GAsyncResult *result, gpointer user_data)
{
  GError *error = NULL;

  if (!pilot_gateway_change_finish (PILOT_GATEWAY (source), result, &error)) {
    g_message ("rules are not up to date: %s", error->message);
    g_clear_error (&error);
  }
  pilot_operation_return (user_data, NULL, NULL, NULL);
}

static void
begin_refresh (GTask *task)
{
  PilotGateway *gateway = g_task_get_source_object (task);
  PilotChange *change;

  gateway->refresh_queued = FALSE;
  /* A helper that has gone is not looked for just for this. */
  if (!gateway->active || !gateway->redirect || gateway->privileged == NULL || !pilot_privileged_is_alive (gateway->privileged)) {
    pilot_operation_return (task, NULL, NULL, NULL);
    return;
  }
  change = pilot_change_new (gateway);
  change->unsaved = TRUE;
  pilot_gateway_change_async (gateway, change, refresh_done, task);
}

static void
queue_refresh (PilotGateway *gateway)
{
  if (gateway->refresh_queued || gateway->shut_down)
    return;
  gateway->refresh_queued = TRUE;
  pilot_operation_queue_simple (g_task_new (gateway, NULL, NULL, NULL), begin_refresh);
}

void
pilot_gateway_emit_changed (PilotGateway *gateway)
{
  g_signal_emit (gateway, signals[CHANGED], 0);
}

/* ---- unmap ---- */

typedef struct {
  PilotOperation operation; /* first */
  guint32 local;
} Unmap;

static void
simple_done (GObject *source, GAsyncResult *result, gpointer user_data)
{
  GError *error = NULL;

  if (pilot_gateway_change_finish (PILOT_GATEWAY (source), result, &error))
    pilot_gateway_emit_changed (PILOT_GATEWAY (source));
  pilot_operation_return (user_data, error, NULL, NULL);
}

static void
begin_unmap (GTask *task)
{
  PilotGateway *gateway = g_task_get_source_object (task);
  const Unmap *unmap = g_task_get_task_data (task);
  PilotMapping *mapping = g_hash_table_lookup (gateway->by_local, GUINT_TO_POINTER (unmap->local));
  char text[PILOT_IPV4_TEXT_SIZE];
  PilotChange *change;

  if (!gateway->active || mapping == NULL) {
    pilot_operation_return (task,
                            gateway->active ? g_error_new (PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "no mapping for %s",
                                                           pilot_ipv4_format (unmap->local, text))
                                            : g_error_new (PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, "gateway is not running"),
                            NULL, NULL);
    return;
  }
  change = pilot_change_new (gateway);
  change->forget_down = pilot_mapping_is_down (mapping);
  for (guint i = 0; i < change->targets->len; i++)
    if (((PilotTarget *) g_ptr_array_index (change->targets, i))->mapping == mapping) {
      g_ptr_array_remove_index (change->targets, i);
      break;
    }
  pilot_gateway_change_async (gateway, change, simple_done, task);
}

void
pilot_gateway_unmap_async (PilotGateway *gateway, const char *local_ip, GCancellable *cancellable, GAsyncReadyCallback callback,
                           gpointer user_data)
{
  GTask *task = g_task_new (gateway, NULL, callback, user_data);
  Unmap *unmap = g_new0 (Unmap, 1);
  GError *error = NULL;

  unmap->operation.begin = begin_unmap;
  if (!pilot_ipv4_parse (local_ip, &unmap->local, &error)) {
    g_free (unmap);
    g_task_return_error (task, error);
    g_object_unref (task);
    return;
  }
  pilot_operation_queue (task, &unmap->operation, g_free);
}

gboolean
pilot_gateway_unmap_finish (PilotGateway *gateway, GAsyncResult *result, GError **error)
{
  return g_task_propagate_boolean (G_TASK (result), error);
}

/* ---- stop ---- */

static void
forget_everything (GTask *task)
{
  PilotGateway *gateway = g_task_get_source_object (task);
  g_autoptr (PilotGatewayState) nothing = pilot_gateway_state_new ();
  GError *error = NULL;

  pilot_gateway_deactivate (gateway);
  pilot_gateway_state_save (nothing, gateway->path, &error);
  pilot_gateway_emit_changed (gateway);
  pilot_operation_return (task, error, NULL, NULL);
}

static void
cleaned_up (GObject *source, GAsyncResult *result, gpointer user_data)
{
  GError *error = NULL;

  if (pilot_privileged_cleanup_finish (PILOT_PRIVILEGED (source), result, &error))
    forget_everything (user_data);
  else
    pilot_operation_return (user_data, error, NULL, NULL);
}

/* Asked of the kernel, which tells anybody: root may have cleaned up meanwhile ("sudo pilotctl gateway stop"), or the machine has been started anew. Rules go
 * before addresses, so where there is no address there is no rule. */
static gboolean
anything_left (void)
{
  char label[PILOT_LABEL_SIZE];
  g_autoptr (GArray) addresses = pilot_netlink_list_addresses (pilot_netlink_label (getuid (), label), NULL);

  return addresses == NULL || addresses->len > 0;
}

static void
clean_up (GTask *task, PilotPrivileged *privileged)
{
  PilotGateway *gateway = g_task_get_source_object (task);
  GHashTableIter iter;
  gpointer value;

  g_hash_table_iter_init (&iter, gateway->by_local);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    pilot_mapping_reset_connections (value);
  pilot_privileged_cleanup_async (privileged, TRUE, NULL, cleaned_up, task);
}

static void
stop_found (GObject *source, GAsyncResult *result, gpointer user_data)
{
  GTask *task = user_data;
  g_autoptr (PilotPrivileged) privileged = NULL;
  GError *error = NULL;

  privileged = pilot_privileged_find_finish (result, &error);
  if (privileged != NULL) {
    clean_up (task, privileged);
    return;
  }
  /* Nobody is there to take anything away, and nothing that could be. */
  if (pilot_error_code (error) == PILOT_ERROR_PERMISSION_DENIED && !anything_left ()) {
    g_error_free (error);
    forget_everything (task);
    return;
  }
  pilot_error_set_hint (error, "run: sudo pilotctl gateway stop");
  pilot_operation_return (task, error, NULL, NULL);
}

static void
begin_stop (GTask *task)
{
  PilotGateway *gateway = g_task_get_source_object (task);

  if (!gateway->active) {
    pilot_operation_return (task, g_error_new (PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, "gateway is not running"), NULL, NULL);
    return;
  }
  if (gateway->privileged != NULL && pilot_privileged_is_alive (gateway->privileged))
    clean_up (task, gateway->privileged);
  else
    pilot_privileged_find_async (gateway->subnet, pilot_gateway_helper_socket (gateway), NULL, stop_found, task);
}

void
pilot_gateway_stop_async (PilotGateway *gateway, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
  pilot_operation_queue_simple (g_task_new (gateway, NULL, callback, user_data), begin_stop);
}

gboolean
pilot_gateway_stop_finish (PilotGateway *gateway, GAsyncResult *result, GError **error)
{
  return g_task_propagate_boolean (G_TASK (result), error);
}

/* ---- restore ---- */

/* The mappings of the last run, down until the system is seen to. What cannot be restored is told, and the others live. */
static void
restore_mappings (PilotGateway *gateway, const PilotGatewayState *state)
{
  PilotAllocator *allocator = pilot_gateway_get_allocator (gateway, NULL);
  g_autoptr (GError) subnet_error = NULL;

  if (allocator != NULL && gateway->default_subnet == NULL) {
    g_autoptr (GInetAddressMask) mask = pilot_call_get_subnet (allocator, NULL);

    gateway->default_subnet = mask != NULL ? g_inet_address_mask_to_string (mask) : NULL;
  }
  if (allocator != NULL && !pilot_call_set_subnet (allocator, state->subnet, &subnet_error))
    g_warning ("%s", subnet_error->message);
  for (guint i = 0; i < state->mappings->len; i++) {
    const PilotSavedMapping *saved = g_ptr_array_index (state->mappings, i);
    g_autoptr (PilotMapping) mapping = pilot_mapping_new (gateway->node, saved->node, saved->local, saved->hostname);
    g_autoptr (GArray) ports = pilot_port_list_parse (saved->ports, NULL);
    PilotAddress address = { 0, saved->node };
    g_autoptr (GInetAddress) local = g_inet_address_new_from_string (pilot_mapping_get_local_address (mapping));
    g_autoptr (GError) error = NULL;

    if (allocator != NULL && !pilot_call_restore (allocator, &address, local, &error))
      g_warning ("%s", error->message);
    if (ports != NULL)
      pilot_mapping_set_wanted (mapping, ports);
    pilot_mapping_set_uid (mapping, saved->uid);
    pilot_mapping_set_down (mapping, TRUE, "");
    pilot_gateway_mapping_added (gateway, mapping);
  }
}

static void
restore_done (GObject *source, GAsyncResult *result, gpointer user_data)
{
  PilotGateway *gateway = PILOT_GATEWAY (source);
  g_autoptr (GError) error = NULL;
  g_autofree char *message = NULL;
  GHashTableIter iter;
  gpointer value;

  if (!pilot_gateway_change_finish (gateway, result, &error)) {
    gboolean needs_privilege = pilot_error_code (error) == PILOT_ERROR_PERMISSION_DENIED;

    message = needs_privilege ? g_strdup ("run: sudo pilotctl gateway start") : pilot_error_dup_message (error);
    g_message ("mappings are down: %s", error->message);
    g_hash_table_iter_init (&iter, gateway->by_local);
    while (g_hash_table_iter_next (&iter, NULL, &value))
      pilot_mapping_set_down (value, needs_privilege, message);
  }
  pilot_gateway_emit_changed (gateway);
  pilot_operation_return (user_data, NULL, NULL, NULL);
}

static void
begin_restore (GTask *task)
{
  PilotGateway *gateway = g_task_get_source_object (task);
  g_autoptr (PilotGatewayState) state = NULL;
  GError *error = NULL;
  PilotChange *change;

  state = pilot_gateway_state_load (gateway->path, &error);
  if (state == NULL || !state->active) {
    pilot_operation_return (task, error, NULL, NULL);
    return;
  }
  gateway->active = TRUE;
  g_free (gateway->subnet);
  g_free (gateway->ports);
  g_free (gateway->mode_wanted);
  gateway->subnet = g_strdup (state->subnet);
  gateway->ports = g_strdup (state->ports);
  gateway->mode_wanted = g_strdup (state->mode);
  restore_mappings (gateway, state);
  change = pilot_change_new (gateway);
  change->unsaved = TRUE;
  pilot_gateway_change_async (gateway, change, restore_done, task);
}

void
pilot_gateway_restore_async (PilotGateway *gateway, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
  pilot_operation_queue_simple (g_task_new (gateway, NULL, callback, user_data), begin_restore);
}

gboolean
pilot_gateway_restore_finish (PilotGateway *gateway, GAsyncResult *result, GError **error)
{
  return g_task_propagate_boolean (G_TASK (result), error);
}

/* ---- the object ---- */

void
pilot_gateway_shutdown (PilotGateway *gateway)
{
  g_autoptr (GList) mappings = g_hash_table_get_values (gateway->by_local);

  if (gateway->shut_down)
    return;
  gateway->shut_down = TRUE;
  g_signal_handlers_disconnect_by_data (gateway->node, gateway);
  g_signal_handlers_disconnect_by_data (pilot_node_get_trust (gateway->node), gateway);
  for (GList *item = mappings; item != NULL; item = item->next)
    detach_mapping (gateway, item->data);
  g_clear_pointer (&gateway->redirect_listener, pilot_listener_free);
  g_clear_pointer (&gateway->inbound, pilot_inbound_free);
  /* The helper hears that we have gone and has connections refused until the next run. */
  g_clear_object (&gateway->privileged);
  pilot_node_kick (gateway->node);
}

gboolean
pilot_gateway_get_active (PilotGateway *gateway)
{
  return gateway->active;
}

const char *
pilot_gateway_get_subnet (PilotGateway *gateway)
{
  return gateway->subnet;
}

const char *
pilot_gateway_get_ports (PilotGateway *gateway)
{
  return gateway->ports;
}

const char *
pilot_gateway_get_mode (PilotGateway *gateway)
{
  if (gateway->privileged == NULL)
    return strcmp (gateway->mode_wanted, "listen") == 0 ? "listen" : "redirect";
  return gateway->redirect ? "redirect" : "listen";
}

static gint
compare_locals (gconstpointer a, gconstpointer b)
{
  guint32 left = pilot_mapping_get_local (*(PilotMapping *const *) a);
  guint32 right = pilot_mapping_get_local (*(PilotMapping *const *) b);

  return left < right ? -1 : left > right;
}

GPtrArray *
pilot_gateway_list (PilotGateway *gateway)
{
  GPtrArray *list = g_ptr_array_new_with_free_func (g_object_unref);
  GHashTableIter iter;
  gpointer value;

  g_hash_table_iter_init (&iter, gateway->by_local);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    g_ptr_array_add (list, g_object_ref (value));
  g_ptr_array_sort (list, compare_locals);
  return list;
}

static void
pilot_gateway_init (PilotGateway *gateway)
{
  gateway->by_local = g_hash_table_new_full (NULL, NULL, NULL, g_object_unref);
  gateway->by_node = g_hash_table_new (NULL, NULL);
  gateway->subnet = g_strdup ("");
  gateway->ports = g_strdup ("");
  gateway->mode_wanted = g_strdup ("");
  g_queue_init (&gateway->operations);
}

static void
pilot_gateway_dispose (GObject *object)
{
  PilotGateway *gateway = PILOT_GATEWAY (object);

  if (gateway->node != NULL)
    pilot_gateway_shutdown (gateway);
  g_clear_object (&gateway->node);
  g_clear_object (&gateway->loader);
  G_OBJECT_CLASS (pilot_gateway_parent_class)->dispose (object);
}

static void
pilot_gateway_finalize (GObject *object)
{
  PilotGateway *gateway = PILOT_GATEWAY (object);

  g_hash_table_unref (gateway->by_local);
  g_hash_table_unref (gateway->by_node);
  g_free (gateway->path);
  g_free (gateway->subnet);
  g_free (gateway->default_subnet);
  g_free (gateway->ports);
  g_free (gateway->mode_wanted);
  G_OBJECT_CLASS (pilot_gateway_parent_class)->finalize (object);
}

static void
pilot_gateway_class_init (PilotGatewayClass *class)
{
  GType type = G_TYPE_FROM_CLASS (class);

  G_OBJECT_CLASS (class)->dispose = pilot_gateway_dispose;
  G_OBJECT_CLASS (class)->finalize = pilot_gateway_finalize;
  signals[MAPPING_ADDED] = g_signal_new ("mapping-added", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 1, PILOT_TYPE_MAPPING);
  signals[MAPPING_REMOVED] = g_signal_new ("mapping-removed", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 1, PILOT_TYPE_MAPPING);
  signals[MAPPING_CHANGED] = g_signal_new ("mapping-changed", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 1, PILOT_TYPE_MAPPING);
  signals[CHANGED] = g_signal_new ("changed", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
}

PilotGateway *
pilot_gateway_new (PilotNode *node, PilotPluginLoader *loader)
{
  PilotGateway *gateway = g_object_new (PILOT_TYPE_GATEWAY, NULL);

  gateway->node = g_object_ref (node);
  g_set_object (&gateway->loader, loader);
  gateway->path = g_build_filename (pilot_config_get_state_directory (pilot_node_get_config (node)), STATE_FILE, NULL);
  gateway->inbound = pilot_inbound_new (node, inbound_source, inbound_forbidden, gateway);
  g_signal_connect (node, "peer-changed", G_CALLBACK (peer_changed), gateway);
  g_signal_connect (pilot_node_get_trust (node), "changed", G_CALLBACK (trust_changed), gateway);
  return gateway;
}
