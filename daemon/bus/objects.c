/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/bus/authority.h"
#include "daemon/bus/bus-private.h"

/*
 * The objects, the same on every connection whose other end may see them, and org.freedesktop.DBus.ObjectManager over them. Not a GDBusObjectManagerServer per connection:
 * an object that stands in several of those is withdrawn from all connections as soon as one of them ends.
 */

#define OBJECT_MANAGER "org.freedesktop.DBus.ObjectManager"

static const char object_manager_xml[] =
    "<node>"
    "  <interface name='" OBJECT_MANAGER "'>"
    "    <method name='GetManagedObjects'><arg name='objects' type='a{oa{sa{sv}}}' direction='out'/></method>"
    "    <signal name='InterfacesAdded'><arg name='object' type='o'/><arg name='interfaces' type='a{sa{sv}}'/></signal>"
    "    <signal name='InterfacesRemoved'><arg name='object' type='o'/><arg name='interfaces' type='as'/></signal>"
    "  </interface>"
    "</node>";

/* --- interfaces on a connection --- */

static void
export_interface (GDBusConnection *connection, GDBusInterfaceSkeleton *interface, const char *path)
{
  g_autoptr (GError) error = NULL;

  if (!g_dbus_interface_skeleton_export (interface, connection, path, &error))
    g_warning ("cannot export \"%s\" at \"%s\": %s", g_dbus_interface_skeleton_get_info (interface)->name, path, error->message);
}

static void
unexport_interface (GDBusConnection *connection, GDBusInterfaceSkeleton *interface)
{
  if (g_dbus_interface_skeleton_has_connection (interface, connection))
    g_dbus_interface_skeleton_unexport_from_connection (interface, connection);
}

/* A signal on a message bus is for everybody who listens: only a policy of the bus could keep it from some, and none knows our objects from each
 * other. The bus of one user has nobody else on it. */
gboolean
pilot_bus_is_for_owner (PilotBus *bus, GDBusConnection *connection)
{
  if (g_dbus_connection_get_flags (connection) & G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION)
    return !bus->system;
  return pilot_authority_is_owner (connection);
}

static gboolean
is_visible (PilotBus *bus, GDBusConnection *connection, GDBusObject *object)
{
  g_autolist (GDBusInterface) interfaces = g_dbus_object_get_interfaces (object);
  gboolean owner = pilot_bus_is_for_owner (bus, connection);

  for (GList *l = interfaces; l != NULL; l = l->next) {
    PilotAuthority authority = pilot_authority_lookup_object (g_dbus_interface_skeleton_get_info (l->data)->name);

    if (authority == PILOT_AUTHORITY_DENIED || (authority == PILOT_AUTHORITY_OWNER && !owner))
      return FALSE;
  }
  return TRUE;
}

static void
export_object (GDBusConnection *connection, GDBusObject *object)
{
  g_autolist (GDBusInterface) interfaces = g_dbus_object_get_interfaces (object);

  for (GList *l = interfaces; l != NULL; l = l->next)
    export_interface (connection, l->data, g_dbus_object_get_object_path (object));
}

static void
unexport_object (GDBusConnection *connection, GDBusObject *object)
{
  g_autolist (GDBusInterface) interfaces = g_dbus_object_get_interfaces (object);

  for (GList *l = interfaces; l != NULL; l = l->next)
    unexport_interface (connection, l->data);
}

/* --- the ObjectManager --- */

/* a{sa{sv}}; floating. */
static GVariant *
describe_interfaces (GDBusObject *object)
{
  g_autolist (GDBusInterface) interfaces = g_dbus_object_get_interfaces (object);
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a{sa{sv}}"));
  for (GList *l = interfaces; l != NULL; l = l->next) {
    g_autoptr (GVariant) properties = g_dbus_interface_skeleton_get_properties (l->data);

    g_variant_builder_add (&builder, "{s@a{sv}}", g_dbus_interface_skeleton_get_info (l->data)->name, properties);
  }
  return g_variant_builder_end (&builder);
}

static GVariant *
name_interfaces (GDBusObject *object)
{
  g_autolist (GDBusInterface) interfaces = g_dbus_object_get_interfaces (object);
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE_STRING_ARRAY);
  for (GList *l = interfaces; l != NULL; l = l->next)
    g_variant_builder_add (&builder, "s", g_dbus_interface_skeleton_get_info (l->data)->name);
  return g_variant_builder_end (&builder);
}

static void
emit_signal (PilotBus *bus, GDBusObject *object, const char *signal, GVariant *arguments)
{
  g_autoptr (GVariant) owned = g_variant_ref_sink (arguments);
  GHashTableIter iter;
  gpointer connection;

  g_hash_table_iter_init (&iter, bus->connections);
  while (g_hash_table_iter_next (&iter, &connection, NULL))
    if (is_visible (bus, connection, object))
      g_dbus_connection_emit_signal (connection, NULL, PILOT_BUS_ROOT, OBJECT_MANAGER, signal, owned, NULL);
}

static void
on_get_managed_objects (GDBusConnection *connection, const char *sender, const char *path, const char *interface, const char *method,
                        GVariant *parameters, GDBusMethodInvocation *invocation, gpointer user_data)
{
  PilotBus *bus = user_data;
  GVariantBuilder builder;
  GHashTableIter iter;
  gpointer object;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a{oa{sa{sv}}}"));
  g_hash_table_iter_init (&iter, bus->objects);
  while (g_hash_table_iter_next (&iter, NULL, &object))
    if (is_visible (bus, connection, object))
      g_variant_builder_add (&builder, "{o@a{sa{sv}}}", g_dbus_object_get_object_path (object), describe_interfaces (object));
  g_dbus_method_invocation_return_value (invocation, g_variant_new ("(a{oa{sa{sv}}})", &builder));
}

static guint
export_manager (PilotBus *bus, GDBusConnection *connection)
{
  static const GDBusInterfaceVTable vtable = { .method_call = on_get_managed_objects };
  g_autoptr (GDBusNodeInfo) info = g_dbus_node_info_new_for_xml (object_manager_xml, NULL);
  g_autoptr (GError) error = NULL;
  guint id = g_dbus_connection_register_object (connection, PILOT_BUS_ROOT, info->interfaces[0], &vtable, bus, NULL, &error);

  if (id == 0)
    g_warning ("cannot export the object manager: %s", error->message);
  return id;
}

/* --- connections and objects come and go --- */

void
pilot_bus_export (PilotBus *bus, GDBusConnection *connection)
{
  GHashTableIter iter;
  gpointer object;

  g_hash_table_iter_init (&iter, bus->objects);
  while (g_hash_table_iter_next (&iter, NULL, &object))
    if (is_visible (bus, connection, object))
      export_object (connection, object);
  for (guint i = 0; i < bus->faces->len; i++)
    export_interface (connection, bus->faces->pdata[i], PILOT_BUS_ROOT);
  g_hash_table_insert (bus->connections, g_object_ref (connection), GUINT_TO_POINTER (export_manager (bus, connection)));
}

void
pilot_bus_unexport (PilotBus *bus, GDBusConnection *connection)
{
  GHashTableIter iter;
  gpointer manager, object;

  if (!g_hash_table_lookup_extended (bus->connections, connection, NULL, &manager))
    return;
  if (GPOINTER_TO_UINT (manager) != 0)
    g_dbus_connection_unregister_object (connection, GPOINTER_TO_UINT (manager));
  for (guint i = 0; i < bus->faces->len; i++)
    unexport_interface (connection, bus->faces->pdata[i]);
  g_hash_table_iter_init (&iter, bus->objects);
  while (g_hash_table_iter_next (&iter, NULL, &object))
    unexport_object (connection, object);
  g_hash_table_remove (bus->connections, connection);
}

void
pilot_bus_add_object (PilotBus *bus, PilotDBusObjectSkeleton *skeleton)
{
  GDBusObject *object = G_DBUS_OBJECT (skeleton);
  const char *path = g_dbus_object_get_object_path (object);
  GHashTableIter iter;
  gpointer connection;

  pilot_bus_remove_object (bus, path);
  g_hash_table_insert (bus->objects, g_strdup (path), skeleton);
  g_hash_table_iter_init (&iter, bus->connections);
  while (g_hash_table_iter_next (&iter, &connection, NULL))
    if (is_visible (bus, connection, object))
      export_object (connection, object);
  emit_signal (bus, object, "InterfacesAdded", g_variant_new ("(o@a{sa{sv}})", path, describe_interfaces (object)));
}

void
pilot_bus_remove_object (PilotBus *bus, const char *path)
{
  GDBusObject *object = g_hash_table_lookup (bus->objects, path);
  GHashTableIter iter;
  gpointer connection;

  if (object == NULL)
    return;
  g_hash_table_iter_init (&iter, bus->connections);
  while (g_hash_table_iter_next (&iter, &connection, NULL))
    unexport_object (connection, object);
  emit_signal (bus, object, "InterfacesRemoved", g_variant_new ("(o@as)", path, name_interfaces (object)));
  g_hash_table_remove (bus->objects, path);
}

PilotDBusObject *
pilot_bus_lookup_object (PilotBus *bus, const char *path)
{
  return g_hash_table_lookup (bus->objects, path);
}
