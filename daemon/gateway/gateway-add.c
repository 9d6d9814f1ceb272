/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Start and map: what both have in common, which is nearly everything, and the options of either. */
#include "daemon/gateway/gateway-private.h"

#include <arpa/inet.h>
#include <string.h>

#include "libpilot/pilot-error.h"

typedef struct {
  PilotOperation operation;    /* first */
  char *subnet, *ports, *mode; /* (nullable) */
  guint32 uid;                 /* PILOT_UID_ANY: not said */
  PilotAddress *addresses;
  guint n_addresses;
  guint32 wanted_local; /* of a map; 0 = none */
  gboolean is_map;
  GArray *port_list;
  PilotChange *change; /* on the way */
} Add;

static void
add_free (Add *add)
{
  g_free (add->subnet);
  g_free (add->ports);
  g_free (add->mode);
  g_free (add->addresses);
  g_clear_pointer (&add->port_list, g_array_unref);
  g_clear_pointer (&add->change, pilot_change_free);
  g_free (add);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Add, add_free)

static PilotTarget *
find_target (PilotChange *change, guint32 node)
{
  for (guint i = 0; i < change->targets->len; i++) {
    PilotTarget *target = g_ptr_array_index (change->targets, i);

    if (target->node == node)
      return target;
  }
  return NULL;
}

static gint
compare_u16 (gconstpointer a, gconstpointer b)
{
  return (gint) * (const guint16 *) a - (gint) * (const guint16 *) b;
}

/* A second start adds. Every port and some more is every port. */
static void
merge_ports (PilotTarget *target, const GArray *ports)
{
  if (target->ports->len == 0)
    return;
  if (ports->len == 0) {
    g_array_set_size (target->ports, 0);
    return;
  }
  for (guint i = 0; i < ports->len; i++) {
    guint16 port = g_array_index (ports, guint16, i);

    if (!pilot_port_list_contains (target->ports, port))
      g_array_append_val (target->ports, port);
  }
  g_array_sort (target->ports, compare_u16);
}

static gboolean
check_peer (PilotGateway *gateway, const PilotAddress *address, GError **error)
{
  char text[PILOT_ADDRESS_TEXT_SIZE];

  pilot_address_format (address, text);
  if (address->node == 0 || pilot_address_is_broadcast (address)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "\"%s\" is not the address of a node", text);
    return FALSE;
  }
  if (address->node == pilot_node_get_id (gateway->node)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "\"%s\" is this node itself: name the peer to reach", text);
    return FALSE;
  }
  return TRUE;
}

static char *
peer_hostname (PilotGateway *gateway, guint32 node)
{
  PilotPeerView *view = pilot_node_get_peer (gateway->node, node);
  char *hostname;

  if (view == NULL)
    return g_strdup ("");
  hostname = g_strdup (view->hostname != NULL ? view->hostname : "");
  pilot_peer_view_free (view);
  return hostname;
}

/* Asks the allocator. 0 with an error. */
static guint32
allocate (PilotGateway *gateway, const PilotAddress *address, guint32 wanted, GError **error)
{
  PilotAllocator *allocator = pilot_gateway_get_allocator (gateway, error);
  g_autoptr (GInetAddress) wish = NULL, given = NULL;
  char text[PILOT_IPV4_TEXT_SIZE];
  guint32 local;

  if (allocator == NULL)
    return 0;
  if (wanted != 0)
    wish = g_inet_address_new_from_string (pilot_ipv4_format (wanted, text));
  given = pilot_call_allocate (allocator, address, wish, error);
  if (given == NULL)
    return 0;
  if (g_inet_address_get_family (given) != G_SOCKET_FAMILY_IPV4) {
    pilot_call_release (allocator, address, NULL);
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_SUPPORTED, "allocator \"%s\" gives IPv6 addresses, which the gateway cannot use yet",
                 pilot_plugin_get_name (PILOT_PLUGIN (allocator)));
    return 0;
  }
  memcpy (&local, g_inet_address_to_bytes (given), sizeof local);
  return ntohl (local);
}

/* One address of a start or map becomes part of the change. */
static gboolean
add_target (PilotGateway *gateway, PilotChange *change, const Add *add, const PilotAddress *address,
            const GArray *ports, GError **error)
{
  PilotTarget *target = find_target (change, address->node);
  g_autofree char *hostname = NULL;
  char text[PILOT_IPV4_TEXT_SIZE];
  PilotSubnet subnet;
  guint32 local;

  if (!pilot_subnet_parse_text (change->subnet, &subnet, error) ||
      (add->wanted_local != 0 && !pilot_subnet_check_host (&subnet, add->wanted_local, error)))
    return FALSE;
  if (target != NULL) {
    if (add->wanted_local != 0 && add->wanted_local != target->local) {
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS, "node %u is mapped to %s already: unmap that first",
                   address->node, pilot_ipv4_format (target->local, text));
      return FALSE;
    }
    if (add->ports != NULL)
      merge_ports (target, ports);
    /* Said of a mapping that is there, it holds from now on; unsaid, a limit is never lifted. */
    if (add->uid != PILOT_UID_ANY)
      target->uid = add->uid;
    return TRUE;
  }
  local = allocate (gateway, address, add->wanted_local, error);
  if (local == 0)
    return FALSE;
  hostname = peer_hostname (gateway, address->node);
  target = pilot_target_new (address->node, local, hostname, ports);
  target->allocated = target->strict = TRUE;
  target->uid = add->uid;
  g_ptr_array_add (change->targets, target);
  /* The plugin is not trusted to stay inside: what it gave goes through the same check. */
  return pilot_subnet_check_host (&subnet, local, error);
}

/* Subnet and mode of a start: may differ from what runs only while nothing is mapped. */
static gboolean
settle_options (PilotGateway *gateway, PilotChange *change, const Add *add, GError **error)
{
  PilotAllocator *allocator = pilot_gateway_get_allocator (gateway, error);
  gboolean mapped = g_hash_table_size (gateway->by_local) > 0;
  g_autoptr (GInetAddressMask) mask = NULL;
  g_autofree char *current = NULL;
  const char *wanted;
  PilotSubnet subnet;

  if (allocator == NULL)
    return FALSE;
  if (add->mode != NULL && add->mode[0] != '\0') {
    if (strcmp (add->mode, "redirect") != 0 && strcmp (add->mode, "listen") != 0) {
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "mode is \"redirect\" or \"listen\"");
      return FALSE;
    }
    if (mapped && strcmp (add->mode, pilot_gateway_get_mode (gateway)) != 0) {
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_CONFLICT, "the gateway runs in mode \"%s\": stop it first",
                   pilot_gateway_get_mode (gateway));
      return FALSE;
    }
    g_free (change->mode_wanted);
    change->mode_wanted = g_strdup (add->mode);
  }
  mask = pilot_call_get_subnet (allocator, error);
  if (mask == NULL)
    return FALSE;
  current = g_inet_address_mask_to_string (mask);
  if (gateway->default_subnet == NULL)
    gateway->default_subnet = g_strdup (current);
  if (add->subnet != NULL && add->subnet[0] != '\0')
    wanted = add->subnet;
  else
    wanted = gateway->active ? gateway->subnet : gateway->default_subnet;
  if (!pilot_subnet_parse_text (wanted, &subnet, error))
    return FALSE;
  if (mapped && strcmp (wanted, gateway->subnet) != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CONFLICT, "the gateway runs with subnet %s: stop it first", gateway->subnet);
    return FALSE;
  }
  /* Said anew to a fresh gateway, which begins at the first address, and when a start that failed has left another one behind. */
  if (!mapped && (!gateway->active || strcmp (current, wanted) != 0) && !pilot_call_set_subnet (allocator, wanted, error))
    return FALSE;
  g_free (change->subnet);
  change->subnet = g_strdup (wanted);
  return TRUE;
}

static GPtrArray *
mappings_of (PilotGateway *gateway, const Add *add)
{
  GPtrArray *mappings = g_ptr_array_new_with_free_func (g_object_unref);

  for (guint i = 0; i < add->n_addresses; i++) {
    PilotMapping *mapping = g_hash_table_lookup (gateway->by_node, GUINT_TO_POINTER (add->addresses[i].node));

    if (mapping != NULL)
      g_ptr_array_add (mappings, g_object_ref (mapping));
  }
  return mappings;
}

static void
add_done (GObject *source, GAsyncResult *result, gpointer user_data)
{
  PilotGateway *gateway = PILOT_GATEWAY (source);
  GTask *task = user_data;
  GError *error = NULL;

  if (!pilot_gateway_change_finish (gateway, result, &error)) {
    pilot_operation_return (task, error, NULL, NULL);
    return;
  }
  pilot_gateway_emit_changed (gateway);
  pilot_operation_return (task, NULL, mappings_of (gateway, g_task_get_task_data (task)), (GDestroyNotify) g_ptr_array_unref);
}

/* What can be found wrong before anything is asked of anybody. */
static gboolean
prepare_add (PilotGateway *gateway, Add *add, PilotChange *change, GError **error)
{
  const char *port_text = add->ports != NULL ? add->ports : add->is_map ? gateway->ports
                                                                        : "";

  add->port_list = pilot_port_list_parse (port_text, error);
  if (add->port_list == NULL || !settle_options (gateway, change, add, error))
    return FALSE;
  for (guint i = 0; i < add->n_addresses; i++)
    if (!check_peer (gateway, &add->addresses[i], error))
      return FALSE;
  if (!add->is_map) {
    g_free (change->ports);
    change->ports = pilot_port_list_format (add->port_list);
  }
  return TRUE;
}

static void
add_targets (GTask *task)
{
  PilotGateway *gateway = g_task_get_source_object (task);
  Add *add = g_task_get_task_data (task);
  g_autoptr (PilotChange) change = g_steal_pointer (&add->change);
  GError *error = NULL;

  for (guint i = 0; i < add->n_addresses; i++)
    if (!add_target (gateway, change, add, &add->addresses[i], add->port_list, &error)) {
      pilot_change_give_back (change, gateway);
      pilot_operation_return (task, error, NULL, NULL);
      return;
    }
  pilot_gateway_change_async (gateway, g_steal_pointer (&change), add_done, task);
}

static void
probed (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (PilotPrivilegedPlan) plan = NULL;
  GError *error = NULL;

  plan = pilot_privileged_apply_finish (PILOT_PRIVILEGED (source), result, &error);
  if (plan != NULL)
    add_targets (user_data);
  else
    pilot_operation_return (user_data, error, NULL, NULL);
}

static void
probe_found (GObject *source, GAsyncResult *result, gpointer user_data)
{
  GError *error = NULL;
  g_autoptr (PilotPrivileged) privileged = pilot_privileged_find_finish (result, &error);
  PilotPrivilegedPlan *plan;

  if (privileged == NULL) {
    pilot_operation_return (user_data, error, NULL, NULL);
    return;
  }
  plan = pilot_privileged_plan_new ();
  plan->check_overlap = TRUE;
  pilot_privileged_apply_async (privileged, plan, NULL, probed, user_data);
}

static void
begin_add (GTask *task)
{
  PilotGateway *gateway = g_task_get_source_object (task);
  Add *add = g_task_get_task_data (task);
  GError *error = NULL;

  if (add->is_map && !gateway->active) {
    error = g_error_new (PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, "gateway is not running");
    pilot_error_set_hint (error, "run: sudo pilotctl gateway start …");
    pilot_operation_return (task, error, NULL, NULL);
    return;
  }
  add->change = pilot_change_new (gateway);
  if (!prepare_add (gateway, add, add->change, &error)) {
    pilot_operation_return (task, error, NULL, NULL);
    return;
  }
  /* An allocator that counts forward does not take back what it gave: a start that lacks the privilege, or has the wrong subnet, is to
   * fail before the first address is handed out. */
  if (gateway->privileged == NULL || !pilot_privileged_is_alive (gateway->privileged))
    pilot_privileged_find_async (add->change->subnet, pilot_gateway_helper_socket (gateway), NULL, probe_found, task);
  else
    add_targets (task);
}

/* What opens and closes ports is taken strictly: an option of another type or name is refused, not passed over. */
static gboolean
read_options (Add *add, GVariant *options, GError **error)
{
  GVariantIter iter;
  const char *key;
  GVariant *value;

  if (options == NULL)
    return TRUE;
  g_variant_iter_init (&iter, options);
  while (g_variant_iter_next (&iter, "{&sv}", &key, &value)) {
    char **text = g_str_equal (key, "ports") ? &add->ports : add->is_map               ? NULL
                                                         : g_str_equal (key, "subnet") ? &add->subnet
                                                         : g_str_equal (key, "mode")   ? &add->mode
                                                                                       : NULL;
    g_autoptr (GVariant) owned = value;

    if (g_str_equal (key, "uid") && g_variant_is_of_type (value, G_VARIANT_TYPE_UINT32))
      add->uid = g_variant_get_uint32 (value);
    else if (text != NULL && *text == NULL && g_variant_is_of_type (value, G_VARIANT_TYPE_STRING))
      *text = g_variant_dup_string (value, NULL);
    else {
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "unknown or malformed option \"%s\"", key);
      return FALSE;
    }
  }
  return TRUE;
}

/* NULL with an error. */
static Add *
add_new (gboolean is_map, GVariant *options, const PilotAddress *addresses, guint n_addresses, GError **error)
{
  g_autoptr (Add) add = g_new0 (Add, 1);

  add->operation.begin = begin_add;
  add->is_map = is_map;
  add->uid = PILOT_UID_ANY;
  add->n_addresses = n_addresses;
  if (n_addresses > 0)
    add->addresses = g_memdup2 (addresses, n_addresses * sizeof *addresses);
  return read_options (add, options, error) ? g_steal_pointer (&add) : NULL;
}

static void
queue_or_fail (GTask *task, Add *add, GError *error)
{
  if (error == NULL) {
    pilot_operation_queue (task, &add->operation, (GDestroyNotify) add_free);
    return;
  }
  g_clear_pointer (&add, add_free);
  g_task_return_error (task, error);
  g_object_unref (task);
}

void
pilot_gateway_start_async (PilotGateway *gateway, GVariant *options, const PilotAddress *addresses, guint n_addresses,
                           GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
  GError *error = NULL;
  Add *add = add_new (FALSE, options, addresses, n_addresses, &error);

  queue_or_fail (g_task_new (gateway, NULL, callback, user_data), add, error);
}

GPtrArray *
pilot_gateway_start_finish (PilotGateway *gateway, GAsyncResult *result, GError **error)
{
  return g_task_propagate_pointer (G_TASK (result), error);
}

void
pilot_gateway_map_async (PilotGateway *gateway, const PilotAddress *address, const char *local_ip, GVariant *options,
                         GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
  GError *error = NULL;
  Add *add = add_new (TRUE, options, address, 1, &error);

  if (add != NULL && local_ip != NULL && local_ip[0] != '\0')
    pilot_ipv4_parse (local_ip, &add->wanted_local, &error);
  queue_or_fail (g_task_new (gateway, NULL, callback, user_data), add, error);
}

PilotMapping *
pilot_gateway_map_finish (PilotGateway *gateway, GAsyncResult *result, GError **error)
{
  g_autoptr (GPtrArray) mappings = g_task_propagate_pointer (G_TASK (result), error);

  return mappings != NULL ? g_object_ref (g_ptr_array_index (mappings, 0)) : NULL;
}
