/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/bus/authority.h"
#include "daemon/bus/bus-private.h"

#include "libpilot/pilot-error.h"

#define NODES_MAX 4096

/* A Start or Map in progress: names are resolved one after the other, then the gateway is asked once. */
typedef struct {
  PilotBus *bus;
  PilotDBusGateway *face;
  GDBusMethodInvocation *invocation; /* owned; answering takes it */
  gboolean map;
  char **names;
  guint next;
  GArray *addresses;
  char *local_ip;
  GVariant *options;
} Call;

static void
call_free (Call *call)
{
  g_object_unref (call->face);
  g_strfreev (call->names);
  g_array_unref (call->addresses);
  g_free (call->local_ip);
  g_variant_unref (call->options);
  g_free (call);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Call, call_free)

static Call *
call_new (PilotBus *bus, PilotDBusGateway *face, GDBusMethodInvocation *invocation, GVariant *options)
{
  Call *call = g_new0 (Call, 1);

  call->bus = bus;
  call->face = g_object_ref (face);
  call->invocation = invocation;
  call->addresses = g_array_new (FALSE, TRUE, sizeof (PilotAddress));
  call->options = g_variant_ref (options);
  return call;
}

const char *
pilot_gateway_face_port_state (PilotPortState state)
{
  switch (state) {
  case PILOT_PORT_REDIRECTED:
    return "redirected";
  case PILOT_PORT_LISTENING:
    return "listening";
  case PILOT_PORT_HELD:
    return "held";
  default:
    return "failed";
  }
}

GVariant *
pilot_gateway_face_describe (PilotMapping *mapping)
{
  const GPtrArray *ports = pilot_mapping_get_ports (mapping);
  g_autofree char *peer_state = pilot_mapping_dup_peer_state (mapping);
  PilotAddress address;
  char text[PILOT_ADDRESS_TEXT_SIZE];
  GVariantBuilder list;
  GVariantDict dict;

  pilot_mapping_get_pilot_address (mapping, &address);
  pilot_address_format (&address, text);
  g_variant_builder_init (&list, G_VARIANT_TYPE ("aa{sv}"));
  for (guint i = 0; ports != NULL && i < ports->len; i++) {
    const PilotMappingPort *port = ports->pdata[i];
    GVariantDict one;

    g_variant_dict_init (&one, NULL);
    g_variant_dict_insert (&one, "port", "q", port->port);
    g_variant_dict_insert (&one, "state", "s", pilot_gateway_face_port_state (port->state));
    g_variant_dict_insert (&one, "detail", "s", port->detail != NULL ? port->detail : "");
    g_variant_builder_add_value (&list, g_variant_dict_end (&one));
  }
  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "local_ip", "s", pilot_mapping_get_local_address (mapping));
  g_variant_dict_insert (&dict, "pilot_addr", "s", text);
  g_variant_dict_insert (&dict, "node_id", "u", address.node);
  g_variant_dict_insert (&dict, "hostname", "s", pilot_mapping_get_hostname (mapping));
  g_variant_dict_insert (&dict, "state", "s", pilot_mapping_get_state (mapping));
  g_variant_dict_insert (&dict, "all_ports", "b", pilot_mapping_get_all_ports (mapping));
  g_variant_dict_insert_value (&dict, "ports", g_variant_builder_end (&list));
  g_variant_dict_insert (&dict, "open", "u", pilot_mapping_get_open (mapping));
  g_variant_dict_insert (&dict, "total", "t", pilot_mapping_get_total (mapping));
  g_variant_dict_insert (&dict, "bytes_in", "t", pilot_mapping_get_bytes_in (mapping));
  g_variant_dict_insert (&dict, "bytes_out", "t", pilot_mapping_get_bytes_out (mapping));
  g_variant_dict_insert (&dict, "path", "s", pilot_mapping_get_path (mapping));
  g_variant_dict_insert (&dict, "peer_state", "s", peer_state);
  g_variant_dict_insert (&dict, "last_error", "s", pilot_mapping_get_last_error (mapping));
  if (pilot_mapping_get_uid (mapping) != PILOT_UID_ANY)
    g_variant_dict_insert (&dict, "uid", "u", pilot_mapping_get_uid (mapping));
  return g_variant_dict_end (&dict);
}

static GVariant *
describe_all (GPtrArray *mappings)
{
  GVariantBuilder list;

  g_variant_builder_init (&list, G_VARIANT_TYPE ("aa{sv}"));
  for (guint i = 0; i < mappings->len; i++)
    g_variant_builder_add_value (&list, pilot_gateway_face_describe (mappings->pdata[i]));
  return g_variant_builder_end (&list);
}

static void
on_started (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (Call) call = user_data;
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) mappings = pilot_gateway_start_finish (PILOT_GATEWAY (source), result, &error);

  if (mappings == NULL)
    g_dbus_method_invocation_take_error (call->invocation, g_steal_pointer (&error));
  else
    pilot_dbus_gateway_complete_start (call->face, call->invocation, describe_all (mappings));
}

static void
on_mapped (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (Call) call = user_data;
  g_autoptr (GError) error = NULL;
  PilotMapping *mapping = pilot_gateway_map_finish (PILOT_GATEWAY (source), result, &error);

  if (mapping == NULL)
    g_dbus_method_invocation_take_error (call->invocation, g_steal_pointer (&error));
  else
    pilot_dbus_gateway_complete_map (call->face, call->invocation, pilot_gateway_face_describe (mapping));
}

static void resolve_next (Call *call);

static void
on_resolved (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Call *call = user_data;
  g_autoptr (GError) error = NULL;
  PilotNodeName *name = pilot_node_resolve_finish (PILOT_NODE (source), result, &error);
  PilotAddress address = { 0 };

  if (name == NULL) {
    g_dbus_method_invocation_take_error (call->invocation, g_steal_pointer (&error));
    call_free (call);
    return;
  }
  address.node = name->node;
  g_array_append_val (call->addresses, address);
  pilot_node_name_free (name);
  resolve_next (call);
}

static void
resolve_next (Call *call)
{
  PilotGateway *gateway = call->bus->gateway;
  const char *name;
  PilotAddress address;

  /* Full addresses keep their network, which Resolve does not tell. */
  while ((name = call->names[call->next]) != NULL && pilot_address_parse (name, &address, NULL)) {
    g_array_append_val (call->addresses, address);
    call->next++;
  }
  if (name != NULL) {
    call->next++;
    pilot_node_resolve_async (call->bus->node, name, NULL, on_resolved, call);
  } else if (call->map)
    pilot_gateway_map_async (gateway, &g_array_index (call->addresses, PilotAddress, 0),
                             *call->local_ip != '\0' ? call->local_ip : NULL, call->options, NULL, on_mapped, call);
  else
    pilot_gateway_start_async (gateway, call->options, (PilotAddress *) (gpointer) call->addresses->data,
                               call->addresses->len, NULL, on_started, call);
}

static gboolean
on_start (PilotDBusGateway *face, GDBusMethodInvocation *invocation, GVariant *options, const char *const *nodes, PilotBus *bus)
{
  Call *call;

  if (g_strv_length ((char **) nodes) > NODES_MAX) {
    g_dbus_method_invocation_return_error (invocation, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "too many nodes in one start (at most %d)", NODES_MAX);
    return TRUE;
  }
  call = call_new (bus, face, invocation, options);
  call->names = g_strdupv ((char **) nodes);
  resolve_next (call);
  return TRUE;
}

static gboolean
on_map (PilotDBusGateway *face, GDBusMethodInvocation *invocation, const char *node, const char *local_ip, GVariant *options, PilotBus *bus)
{
  Call *call = call_new (bus, face, invocation, options);

  call->map = TRUE;
  call->names = g_new0 (char *, 2);
  call->names[0] = g_strdup (node);
  call->local_ip = g_strdup (local_ip);
  resolve_next (call);
  return TRUE;
}

static void
on_unmapped (GObject *source, GAsyncResult *result, gpointer user_data)
{
  GDBusMethodInvocation *invocation = user_data;
  g_autoptr (GError) error = NULL;

  if (!pilot_gateway_unmap_finish (PILOT_GATEWAY (source), result, &error))
    g_dbus_method_invocation_take_error (invocation, g_steal_pointer (&error));
  else
    g_dbus_method_invocation_return_value (invocation, NULL);
}

void
pilot_gateway_face_unmap (PilotBus *bus, GDBusMethodInvocation *invocation, const char *local_ip)
{
  pilot_gateway_unmap_async (bus->gateway, local_ip, NULL, on_unmapped, invocation);
}

static gboolean
on_unmap (PilotDBusGateway *face, GDBusMethodInvocation *invocation, const char *local_ip, PilotBus *bus)
{
  pilot_gateway_face_unmap (bus, invocation, local_ip);
  return TRUE;
}

static void
on_stopped (GObject *source, GAsyncResult *result, gpointer user_data)
{
  GDBusMethodInvocation *invocation = user_data;
  g_autoptr (GError) error = NULL;

  if (!pilot_gateway_stop_finish (PILOT_GATEWAY (source), result, &error))
    g_dbus_method_invocation_take_error (invocation, g_steal_pointer (&error));
  else
    g_dbus_method_invocation_return_value (invocation, NULL);
}

static gboolean
on_stop (PilotDBusGateway *face, GDBusMethodInvocation *invocation, PilotBus *bus)
{
  pilot_gateway_stop_async (bus->gateway, NULL, on_stopped, invocation);
  return TRUE;
}

static gboolean
on_list_mappings (PilotDBusGateway *face, GDBusMethodInvocation *invocation, PilotBus *bus)
{
  g_autoptr (GPtrArray) mappings = pilot_gateway_list (bus->gateway);

  pilot_dbus_gateway_complete_list_mappings (face, invocation, describe_all (mappings));
  return TRUE;
}

static void
on_gateway_changed (PilotGateway *gateway, PilotBus *bus)
{
  PilotDBusGateway *face = bus->gateway_face;

  pilot_dbus_gateway_set_active (face, pilot_gateway_get_active (gateway));
  pilot_dbus_gateway_set_subnet (face, pilot_gateway_get_subnet (gateway));
  pilot_dbus_gateway_set_ports (face, pilot_gateway_get_ports (gateway));
  pilot_dbus_gateway_set_mode (face, pilot_gateway_get_mode (gateway));
}

PilotDBusGateway *
pilot_gateway_face_new (PilotBus *bus)
{
  PilotDBusGateway *face = pilot_dbus_gateway_skeleton_new ();

  g_signal_connect (face, "handle-start", G_CALLBACK (on_start), bus);
  g_signal_connect (face, "handle-stop", G_CALLBACK (on_stop), bus);
  g_signal_connect (face, "handle-map", G_CALLBACK (on_map), bus);
  g_signal_connect (face, "handle-unmap", G_CALLBACK (on_unmap), bus);
  g_signal_connect (face, "handle-list-mappings", G_CALLBACK (on_list_mappings), bus);
  pilot_authority_guard (G_DBUS_INTERFACE_SKELETON (face));
  bus->gateway_face = face;
  on_gateway_changed (bus->gateway, bus);
  g_signal_connect (bus->gateway, "changed", G_CALLBACK (on_gateway_changed), bus);
  return face;
}
