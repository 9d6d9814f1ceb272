/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/bus/bus-private.h"

#include "libpilot/pilot-error.h"

PilotBus *
pilot_bus_new (PilotNode *node, PilotGateway *gateway, PilotExchange *exchange, PilotPluginLoader *loader)
{
  PilotBus *bus = g_new0 (PilotBus, 1);

  bus->node = g_object_ref (node);
  bus->gateway = gateway != NULL ? g_object_ref (gateway) : NULL;
  bus->exchange = g_object_ref (exchange);
  bus->loader = g_object_ref (loader);
  bus->connections = g_hash_table_new_full (NULL, NULL, g_object_unref, NULL);
  bus->faces = g_ptr_array_new_with_free_func (g_object_unref);
  bus->objects = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_object_unref);
  return bus;
}

void
pilot_bus_set_broker (PilotBus *bus, PilotBroker *broker)
{
  bus->broker = broker;
}

gboolean
pilot_bus_start (PilotBus *bus, GError **error)
{
  bus->node_face = pilot_node_face_new (bus);
  bus->gateway_face = pilot_gateway_face_new (bus);
  bus->plugins_face = pilot_plugins_face_new (bus);
  bus->streams_face = pilot_streams_face_new (bus);
  bus->events_face = pilot_events_face_new (bus);
  g_ptr_array_add (bus->faces, g_object_ref (bus->node_face));
  g_ptr_array_add (bus->faces, g_object_ref (bus->gateway_face));
  g_ptr_array_add (bus->faces, g_object_ref (bus->plugins_face));
  bus->messages_face = pilot_messages_face_new (bus);
  g_ptr_array_add (bus->faces, g_object_ref (pilot_messages_face_get_skeleton (bus->messages_face)));
  pilot_object_faces_start (bus);
  return pilot_bus_server_start (bus, error);
}

void
pilot_bus_stop (PilotBus *bus)
{
  if (bus->node_face == NULL)
    return;
  pilot_object_faces_stop (bus);
  pilot_bus_server_stop (bus);
  g_signal_handlers_disconnect_by_data (bus->node, bus);
  g_signal_handlers_disconnect_by_data (pilot_node_get_trust (bus->node), bus);
  if (bus->gateway != NULL)
    g_signal_handlers_disconnect_by_data (bus->gateway, bus);
  g_clear_pointer (&bus->streams_face, pilot_streams_face_free);
  g_clear_pointer (&bus->events_face, pilot_events_face_free);
  g_hash_table_remove_all (bus->objects);
  g_ptr_array_set_size (bus->faces, 0);
  g_clear_object (&bus->node_face);
  g_clear_object (&bus->gateway_face);
  g_clear_object (&bus->plugins_face);
  g_clear_pointer (&bus->messages_face, pilot_messages_face_free);
}

void
pilot_bus_free (PilotBus *bus)
{
  if (bus == NULL)
    return;
  pilot_bus_stop (bus);
  g_hash_table_unref (bus->connections);
  g_hash_table_unref (bus->objects);
  g_ptr_array_unref (bus->faces);
  g_clear_object (&bus->gateway);
  g_object_unref (bus->exchange);
  g_object_unref (bus->loader);
  g_object_unref (bus->node);
  g_free (bus);
}

gboolean
pilot_bus_read_ports (GVariant *options, const char **ports, GError **error)
{
  GVariantIter iter;
  const char *key;
  GVariant *value;

  *ports = NULL;
  g_variant_iter_init (&iter, options);
  while (g_variant_iter_next (&iter, "{&sv}", &key, &value)) {
    gboolean known = g_str_equal (key, "ports") && g_variant_is_of_type (value, G_VARIANT_TYPE_STRING);
    g_autoptr (GVariant) owned = value;

    /* The text belongs to @options, which outlives the call. */
    if (known)
      *ports = g_variant_get_string (value, NULL);
    if (!known || **ports == '\0') {
      if (known)
        g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "the list of ports is empty: leave it out, or give \"none\"");
      else
        g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "unknown or malformed option \"%s\"", key);
      return FALSE;
    }
  }
  return TRUE;
}
