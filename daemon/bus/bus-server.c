/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/bus/bus-private.h"

#include <errno.h>
#include <glib/gstdio.h>

#include "daemon/core/local-socket.h"
#include "libpilot/pilot-error.h"

#define BUS_NAME "network.pilotprotocol.Pilot1"

/* A GDBusObjectManagerServer takes only objects below its own path: the interfaces of the root object are exported beside it. */
static void
export_object (GDBusConnection *connection, GDBusObjectManagerServer *manager, GDBusObjectSkeleton *object)
{
  const char *path = g_dbus_object_get_object_path (G_DBUS_OBJECT (object));
  GList *interfaces;

  if (!g_str_equal (path, PILOT_BUS_ROOT)) {
    g_dbus_object_manager_server_export (manager, object);
    return;
  }
  interfaces = g_dbus_object_get_interfaces (G_DBUS_OBJECT (object));
  for (GList *l = interfaces; l != NULL; l = l->next) {
    g_autoptr (GError) error = NULL;

    if (!g_dbus_interface_skeleton_export (l->data, connection, path, &error))
      g_warning ("cannot export %s: %s", path, error->message);
  }
  g_list_free_full (interfaces, g_object_unref);
}

static void
unexport_object (GDBusConnection *connection, GDBusObjectManagerServer *manager, GDBusObjectSkeleton *object)
{
  const char *path = g_dbus_object_get_object_path (G_DBUS_OBJECT (object));
  GList *interfaces;

  if (!g_str_equal (path, PILOT_BUS_ROOT)) {
    g_dbus_object_manager_server_unexport (manager, path);
    return;
  }
  interfaces = g_dbus_object_get_interfaces (G_DBUS_OBJECT (object));
  for (GList *l = interfaces; l != NULL; l = l->next)
    if (g_dbus_interface_skeleton_has_connection (l->data, connection))
      g_dbus_interface_skeleton_unexport_from_connection (l->data, connection);
  g_list_free_full (interfaces, g_object_unref);
}

/* The interfaces of the root object: a GDBusObjectManagerServer takes objects below its own path only. */
static void
export_root (PilotBus *bus, GDBusConnection *connection)
{
  GDBusInterfaceSkeleton *const faces[] = {
    G_DBUS_INTERFACE_SKELETON (bus->node_face),
    G_DBUS_INTERFACE_SKELETON (bus->gateway_face),
    G_DBUS_INTERFACE_SKELETON (bus->plugins_face),
  };

  for (guint i = 0; i < G_N_ELEMENTS (faces); i++) {
    g_autoptr (GError) error = NULL;

    if (!g_dbus_interface_skeleton_export (faces[i], connection, PILOT_BUS_ROOT, &error))
      g_warning ("cannot export \"%s\": %s", g_dbus_interface_skeleton_get_info (faces[i])->name, error->message);
  }
}

static void
unexport_root (PilotBus *bus, GDBusConnection *connection)
{
  GDBusInterfaceSkeleton *const faces[] = {
    G_DBUS_INTERFACE_SKELETON (bus->node_face),
    G_DBUS_INTERFACE_SKELETON (bus->gateway_face),
    G_DBUS_INTERFACE_SKELETON (bus->plugins_face),
  };

  for (guint i = 0; i < G_N_ELEMENTS (faces); i++)
    if (g_dbus_interface_skeleton_has_connection (faces[i], connection))
      g_dbus_interface_skeleton_unexport_from_connection (faces[i], connection);
}

static void
manager_for (PilotBus *bus, GDBusConnection *connection)
{
  GDBusObjectManagerServer *manager = g_dbus_object_manager_server_new (PILOT_BUS_ROOT);
  GHashTableIter iter;
  gpointer object;

  g_hash_table_iter_init (&iter, bus->objects);
  while (g_hash_table_iter_next (&iter, NULL, &object))
    export_object (connection, manager, object);
  g_dbus_object_manager_server_set_connection (manager, connection);
  g_hash_table_insert (bus->managers, g_object_ref (connection), manager);
  export_root (bus, connection);
}

void
pilot_bus_add_object (PilotBus *bus, PilotDBusObjectSkeleton *object)
{
  const char *path = g_dbus_object_get_object_path (G_DBUS_OBJECT (object));
  GHashTableIter iter;
  gpointer connection, manager;

  pilot_bus_remove_object (bus, path);
  g_hash_table_insert (bus->objects, g_strdup (path), object);
  g_hash_table_iter_init (&iter, bus->managers);
  while (g_hash_table_iter_next (&iter, &connection, &manager))
    export_object (connection, manager, G_DBUS_OBJECT_SKELETON (object));
}

void
pilot_bus_remove_object (PilotBus *bus, const char *path)
{
  GDBusObjectSkeleton *object = g_hash_table_lookup (bus->objects, path);
  GHashTableIter iter;
  gpointer connection, manager;

  if (object == NULL)
    return;
  g_hash_table_iter_init (&iter, bus->managers);
  while (g_hash_table_iter_next (&iter, &connection, &manager))
    unexport_object (connection, manager, object);
  g_hash_table_remove (bus->objects, path);
}

PilotDBusObject *
pilot_bus_lookup_object (PilotBus *bus, const char *path)
{
  return g_hash_table_lookup (bus->objects, path);
}

/* GIO takes the objects of a manager that ends off every connection, not just its own: the other connections get them back. */
static void
restore_object (PilotBus *bus, GDBusObject *object)
{
  const char *path = g_dbus_object_get_object_path (object);
  GList *interfaces = g_dbus_object_get_interfaces (object);
  GHashTableIter iter;
  gpointer connection;

  g_hash_table_iter_init (&iter, bus->managers);
  while (g_hash_table_iter_next (&iter, &connection, NULL))
    for (GList *l = interfaces; l != NULL; l = l->next) {
      g_autoptr (GError) error = NULL;

      if (!g_dbus_interface_skeleton_has_connection (l->data, connection) &&
          !g_dbus_interface_skeleton_export (l->data, connection, path, &error))
        g_warning ("cannot export \"%s\" again: %s", path, error->message);
    }
  g_list_free_full (interfaces, g_object_unref);
}

static void
drop_connection (PilotBus *bus, GDBusConnection *connection)
{
  GHashTableIter iter;
  gpointer path, object;

  unexport_root (bus, connection);
  g_hash_table_remove (bus->managers, connection);
  g_hash_table_iter_init (&iter, bus->objects);
  while (g_hash_table_iter_next (&iter, &path, &object))
    restore_object (bus, object);
}

static void
on_closed (GDBusConnection *connection, gboolean remote_vanished, GError *error, gpointer user_data)
{
  g_signal_handlers_disconnect_by_data (connection, user_data);
  drop_connection (user_data, connection);
}

static gboolean
on_new_connection (GDBusServer *server, GDBusConnection *connection, gpointer user_data)
{
  PilotBus *bus = user_data;

  manager_for (bus, connection);
  g_signal_connect (connection, "closed", G_CALLBACK (on_closed), bus);
  return TRUE;
}

/* Any uid may authenticate: methods decide (authority.c). A peer refused here would see only a broken connection. */
static gboolean
on_authorize_peer (GDBusAuthObserver *observer, GIOStream *stream, GCredentials *credentials, gpointer user_data)
{
  return credentials != NULL;
}

static gboolean
on_allow_mechanism (GDBusAuthObserver *observer, const char *mechanism, gpointer user_data)
{
  return g_str_equal (mechanism, "EXTERNAL");
}

static gboolean
listen_private (PilotBus *bus, GError **error)
{
  g_autofree char *folder = g_path_get_dirname (bus->socket_path);
  g_autofree char *escaped = g_dbus_address_escape_value (bus->socket_path);
  g_autofree char *address = g_strdup_printf ("unix:path=%s", escaped);
  g_autofree char *guid = g_dbus_generate_guid ();
  g_autoptr (GDBusAuthObserver) observer = g_dbus_auth_observer_new ();

  /* Others may pass through to ask for status. */
  if (g_mkdir_with_parents (folder, 0711) != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot make the folder \"%s\": %s", folder, g_strerror (errno));
    return FALSE;
  }
  if (!pilot_local_socket_clear (bus->socket_path, "--bus", error))
    return FALSE;
  g_signal_connect (observer, "authorize-authenticated-peer", G_CALLBACK (on_authorize_peer), NULL);
  g_signal_connect (observer, "allow-mechanism", G_CALLBACK (on_allow_mechanism), NULL);
  bus->server = g_dbus_server_new_sync (address, G_DBUS_SERVER_FLAGS_NONE, guid, observer, NULL, error);
  if (bus->server == NULL) {
    g_prefix_error (error, "cannot serve \"%s\": ", bus->socket_path);
    return FALSE;
  }
  if (g_chmod (bus->socket_path, 0666) != 0)
    g_warning ("cannot open \"%s\" to other users of this machine: %s", bus->socket_path, g_strerror (errno));
  g_signal_connect (bus->server, "new-connection", G_CALLBACK (on_new_connection), bus);
  g_dbus_server_start (bus->server);
  return TRUE;
}

static void
on_bus_acquired (GDBusConnection *connection, const char *name, gpointer user_data)
{
  manager_for (user_data, connection);
}

static void
on_name_lost (GDBusConnection *connection, const char *name, gpointer user_data)
{
  PilotBus *bus = user_data;

  if (connection == NULL) {
    g_debug ("there is no message bus: only \"%s\" is served", bus->socket_path);
    return;
  }
  g_message ("the bus name \"%s\" belongs to another daemon: only \"%s\" is served", name, bus->socket_path);
  drop_connection (bus, connection);
}

gboolean
pilot_bus_server_start (PilotBus *bus, GError **error)
{
  PilotConfig *config = pilot_node_get_config (bus->node);
  gboolean system = pilot_config_get_boolean (config, "system");

  bus->socket_path = g_strdup (pilot_config_get_bus_path (config));
  if (!listen_private (bus, error))
    return FALSE;
  /* GIO would start a session bus of its own for us (dbus-launch) where there is none: not wanted of a daemon. */
  if (system || g_getenv ("DBUS_SESSION_BUS_ADDRESS") != NULL)
    bus->name_id = g_bus_own_name (system ? G_BUS_TYPE_SYSTEM : G_BUS_TYPE_SESSION, BUS_NAME,
                                   G_BUS_NAME_OWNER_FLAGS_DO_NOT_QUEUE, on_bus_acquired, NULL, on_name_lost, bus, NULL);
  return TRUE;
}

void
pilot_bus_server_stop (PilotBus *bus)
{
  GHashTableIter iter;
  gpointer connection;

  if (bus->name_id != 0)
    g_bus_unown_name (bus->name_id);
  bus->name_id = 0;
  if (bus->server != NULL) {
    g_dbus_server_stop (bus->server);
    g_unlink (bus->socket_path);
  }
  g_clear_object (&bus->server);
  g_hash_table_iter_init (&iter, bus->managers);
  while (g_hash_table_iter_next (&iter, &connection, NULL)) {
    g_signal_handlers_disconnect_by_data (connection, bus);
    unexport_root (bus, connection);
  }
  g_hash_table_remove_all (bus->managers);
  g_clear_pointer (&bus->socket_path, g_free);
}
