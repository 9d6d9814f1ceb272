/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/bus/bus-private.h"

#include <errno.h>
#include <glib/gstdio.h>

#include "libpilot/pilot-error.h"

#define BUS_NAME "network.pilotprotocol.Pilot1"
/* A message bus that is not there may come, or come back. */
#define RETRY_SECONDS 5

static void own_name (PilotBus *bus);

/* Nothing is told on a connection that is gone, or that does not have our name. */
static void
drop_connection (PilotBus *bus, GDBusConnection *connection)
{
  g_signal_handlers_disconnect_by_data (connection, bus);
  pilot_bus_unexport (bus, connection);
}

static void
on_closed (GDBusConnection *connection, gboolean remote_vanished, GError *error, gpointer user_data)
{
  drop_connection (user_data, connection);
}

static void
on_arrived (GDBusConnection *connection, gpointer user_data)
{
  PilotBus *bus = user_data;

  pilot_bus_export (bus, connection);
  g_signal_connect (connection, "closed", G_CALLBACK (on_closed), bus);
}

static gboolean
listen_private (PilotBus *bus, GError **error)
{
  g_autofree char *folder = g_path_get_dirname (bus->socket_path);

  /* Others may pass through to ask for status. */
  if (g_mkdir_with_parents (folder, 0711) != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot make the folder \"%s\": %s", folder, g_strerror (errno));
    return FALSE;
  }
  bus->private_socket = pilot_private_socket_new (bus->socket_path, on_arrived, bus, error);
  return bus->private_socket != NULL;
}

static void
on_bus_acquired (GDBusConnection *connection, const char *name, gpointer user_data)
{
  PilotBus *bus = user_data;

  /* GIO would end the process with the message bus: a restarted bus or the end of a session is no reason to leave the overlay. */
  g_dbus_connection_set_exit_on_close (connection, FALSE);
  g_signal_connect (connection, "closed", G_CALLBACK (on_closed), bus);
  pilot_bus_export (bus, connection);
  bus->bus_missed = FALSE;
}

static gboolean
on_name_retry (gpointer user_data)
{
  PilotBus *bus = user_data;

  bus->name_retry = 0;
  /* Lets the old connection go: as long as somebody holds it GIO hands out that one, closed as it is. */
  g_bus_unown_name (bus->name_id);
  own_name (bus);
  return G_SOURCE_REMOVE;
}

static void
on_name_lost (GDBusConnection *connection, const char *name, gpointer user_data)
{
  PilotBus *bus = user_data;

  if (connection == NULL || g_dbus_connection_is_closed (connection)) {
    if (!bus->bus_missed)
      g_message ("there is no message bus: only \"%s\" is served until there is one", bus->socket_path);
    bus->bus_missed = TRUE;
    if (bus->name_retry == 0)
      bus->name_retry = g_timeout_add_seconds (RETRY_SECONDS, on_name_retry, bus);
    return;
  }
  g_message ("the bus name \"%s\" belongs to another daemon: only \"%s\" is served", name, bus->socket_path);
  drop_connection (bus, connection);
}

static void
own_name (PilotBus *bus)
{
  bus->name_id = g_bus_own_name (bus->system ? G_BUS_TYPE_SYSTEM : G_BUS_TYPE_SESSION, BUS_NAME, G_BUS_NAME_OWNER_FLAGS_DO_NOT_QUEUE, on_bus_acquired, NULL,
                                 on_name_lost, bus, NULL);
}

gboolean
pilot_bus_server_start (PilotBus *bus, GError **error)
{
  PilotConfig *config = pilot_node_get_config (bus->node);

  bus->system = pilot_config_get_boolean (config, "system");
  bus->socket_path = g_strdup (pilot_config_get_bus_path (config));
  if (!listen_private (bus, error))
    return FALSE;
  /* GIO would start a session bus of its own for us (dbus-launch) where there is none: not wanted of a daemon. */
  if (bus->system || g_getenv ("DBUS_SESSION_BUS_ADDRESS") != NULL)
    own_name (bus);
  return TRUE;
}

void
pilot_bus_server_stop (PilotBus *bus)
{
  GHashTableIter iter;
  gpointer connection;

  g_clear_handle_id (&bus->name_retry, g_source_remove);
  if (bus->name_id != 0)
    g_bus_unown_name (bus->name_id);
  bus->name_id = 0;
  g_clear_pointer (&bus->private_socket, pilot_private_socket_free);
  g_hash_table_iter_init (&iter, bus->connections);
  while (g_hash_table_iter_next (&iter, &connection, NULL)) {
    g_signal_handlers_disconnect_by_data (connection, bus);
    pilot_bus_unexport (bus, connection);
    g_hash_table_iter_init (&iter, bus->connections);
  }
  g_clear_pointer (&bus->socket_path, g_free);
}
