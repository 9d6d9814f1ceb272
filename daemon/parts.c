/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "parts.h"

#include "daemon/core/local-socket.h"
#include "daemon/core/plugin/loader.h"
#include "daemon/core/transport-choice.h"
#include "daemon/node/node.h"
#include "daemon/services/broker.h"
#include "daemon/services/echo.h"
#include "daemon/services/exchange.h"
#include "libpilot/pilot-error.h"
#include "daemon/gateway/gateway.h"
#include "daemon/ipc/ipc.h"
#include "daemon/bus/bus.h"

struct _PilotParts {
  PilotConfig *config;
  PilotPluginLoader *plugins;
  PilotNode *node;
  PilotEcho *echo;
  PilotExchange *exchange;
  PilotBroker *broker;
  PilotGateway *gateway;
  PilotBus *bus;
  PilotIpc *ipc;
};

static void
return_boolean (GTask *task, gboolean ok, GError *error)
{
  if (ok)
    g_task_return_boolean (task, TRUE);
  else
    g_task_return_error (task, error);
  g_object_unref (task);
}

/* --- sockets: what another daemon holds is none for this one; told before anything goes to the network --- */

static void
start_sockets (gpointer part, GTask *task)
{
  PilotConfig *config = ((PilotParts *) part)->config;
  const char *socket = pilot_config_get (config, "socket");
  GError *error = NULL;
  gboolean ok = pilot_local_socket_clear (pilot_config_get_bus_path (config), "--bus", &error);

  if (ok && socket != NULL && *socket != '\0' && !g_str_equal (socket, "none"))
    ok = pilot_local_socket_clear (socket, "--socket", &error);
  return_boolean (task, ok, error);
}

/* --- UDP or compat mode: decided before the transports are loaded --- */

static void
on_transport_chosen (GObject *source, GAsyncResult *result, gpointer user_data)
{
  GError *error = NULL;
  gboolean ok = pilot_transport_choose_finish (PILOT_CONFIG (source), result, &error);

  return_boolean (user_data, ok, error);
}

static void
start_transport (gpointer part, GTask *task)
{
  pilot_transport_choose_async (((PilotParts *) part)->config, g_task_get_cancellable (task), on_transport_chosen, task);
}

/* --- plugins --- */

/* $PILOT_PLUGIN_PATH (a program run from its build folder), else the installed folder. */
static char **
plugin_directories (void)
{
  const char *path = g_getenv ("PILOT_PLUGIN_PATH");

  return g_strsplit (path != NULL && *path != '\0' ? path : PILOT_PLUGIN_DIR, ":", -1);
}

static void
add_mode (GHashTable *modes, PilotConfig *config, const char *name)
{
  g_hash_table_replace (modes, g_strdup (name), g_strdup (pilot_config_get_plugin_mode (config, name)));
}

static GHashTable *
plugin_modes (PilotConfig *config, char **directories)
{
  static const char *const always[] = { "transport-udp", "allocator-sequential", "trust-file" };
  GHashTable *modes = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);

  for (guint i = 0; i < G_N_ELEMENTS (always); i++)
    add_mode (modes, config, always[i]);
  for (guint i = 0; directories[i] != NULL; i++) {
    g_autoptr (GDir) dir = g_dir_open (directories[i], 0, NULL);
    const char *file;

    while (dir != NULL && (file = g_dir_read_name (dir)) != NULL) {
      g_autofree char *name = g_strdup (file);

      if (!g_str_has_suffix (name, ".so"))
        continue;
      name[strlen (name) - 3] = '\0';
      add_mode (modes, config, name);
    }
  }
  return modes;
}

static GVariant *
plugin_settings (const gchar *name, gpointer user_data)
{
  return pilot_config_get_plugin_settings (user_data, name);
}

static void
on_plugins_enabled (GObject *source, GAsyncResult *result, gpointer user_data)
{
  GError *error = NULL;
  gboolean ok = pilot_plugin_loader_enable_finish (PILOT_PLUGIN_LOADER (source), result, &error);

  return_boolean (user_data, ok, error);
}

static void
start_plugins (gpointer part, GTask *task)
{
  PilotParts *parts = part;
  g_auto (GStrv) directories = plugin_directories ();
  g_autoptr (GHashTable) modes = plugin_modes (parts->config, directories);
  GError *error = NULL;

  pilot_plugin_loader_set_settings (parts->plugins, plugin_settings, parts->config);
  if (!pilot_plugin_loader_set_modes (parts->plugins, modes, &error) || !pilot_plugin_loader_load (parts->plugins, &error))
    return_boolean (task, FALSE, error);
  else
    pilot_plugin_loader_enable_async (parts->plugins, NULL, on_plugins_enabled, task);
}

static void
on_plugins_disabled (GObject *source, GAsyncResult *result, gpointer user_data)
{
  GError *error = NULL;
  gboolean ok = pilot_plugin_loader_disable_finish (PILOT_PLUGIN_LOADER (source), result, &error);

  return_boolean (user_data, ok, error);
}

static void
stop_plugins (gpointer part, GTask *task)
{
  pilot_plugin_loader_disable_async (((PilotParts *) part)->plugins, on_plugins_disabled, task);
}

/* --- node and services --- */

static void
on_node_started (GObject *source, GAsyncResult *result, gpointer user_data)
{
  GError *error = NULL;
  gboolean ok = pilot_node_start_finish (PILOT_NODE (source), result, &error);

  return_boolean (user_data, ok, error);
}

static void
start_node (gpointer part, GTask *task)
{
  pilot_node_start_async (((PilotParts *) part)->node, NULL, on_node_started, task);
}

static void
on_node_stopped (GObject *source, GAsyncResult *result, gpointer user_data)
{
  GError *error = NULL;
  gboolean ok = pilot_node_stop_finish (PILOT_NODE (source), result, &error);

  return_boolean (user_data, ok, error);
}

static void
stop_node (gpointer part, GTask *task)
{
  pilot_node_stop_async (((PilotParts *) part)->node, NULL, on_node_stopped, task);
}

static void
start_services (gpointer part, GTask *task)
{
  PilotParts *parts = part;
  GError *error = NULL;
  gboolean ok = (pilot_config_get_boolean (parts->config, "no_echo") || pilot_echo_start (parts->echo, &error)) &&
                pilot_exchange_start (parts->exchange, &error);

  ok = ok && (pilot_config_get_boolean (parts->config, "no_eventstream") || pilot_broker_start (parts->broker, &error));

  return_boolean (task, ok, error);
}

static void
stop_services (gpointer part, GTask *task)
{
  PilotParts *parts = part;

  pilot_exchange_stop (parts->exchange);
  pilot_echo_stop (parts->echo);
  pilot_broker_stop (parts->broker);
  return_boolean (task, TRUE, NULL);
}

/* --- gateway and faces --- */

static void
on_gateway_restored (GObject *source, GAsyncResult *result, gpointer user_data)
{
  GError *error = NULL;
  gboolean ok = pilot_gateway_restore_finish (PILOT_GATEWAY (source), result, &error);

  return_boolean (user_data, ok, error);
}

static void
start_gateway (gpointer part, GTask *task)
{
  PilotParts *parts = part;

  parts->gateway = pilot_gateway_new (parts->node, parts->plugins);
  pilot_gateway_restore_async (parts->gateway, NULL, on_gateway_restored, task);
}

static void
stop_gateway (gpointer part, GTask *task)
{
  pilot_gateway_shutdown (((PilotParts *) part)->gateway);
  return_boolean (task, TRUE, NULL);
}

static void
start_bus (gpointer part, GTask *task)
{
  PilotParts *parts = part;
  GError *error = NULL;
  gboolean ok;

  parts->bus = pilot_bus_new (parts->node, parts->gateway, parts->exchange, parts->plugins);
  pilot_bus_set_broker (parts->bus, parts->broker);
  ok = pilot_bus_start (parts->bus, &error);
  return_boolean (task, ok, error);
}

static void
stop_bus (gpointer part, GTask *task)
{
  pilot_bus_stop (((PilotParts *) part)->bus);
  return_boolean (task, TRUE, NULL);
}

static void
start_ipc (gpointer part, GTask *task)
{
  PilotParts *parts = part;
  GError *error = NULL;
  gboolean ok;

  parts->ipc = pilot_ipc_new (parts->node);
  ok = pilot_ipc_start (parts->ipc, &error);
  return_boolean (task, ok, error);
}

static void
stop_ipc (gpointer part, GTask *task)
{
  pilot_ipc_stop (((PilotParts *) part)->ipc);
  return_boolean (task, TRUE, NULL);
}

/* --- last: everything that can fail on this machine has not --- */

static void
start_joining (gpointer part, GTask *task)
{
  pilot_node_join (((PilotParts *) part)->node);
  return_boolean (task, TRUE, NULL);
}

PilotParts *
pilot_parts_new (PilotConfig *config, PilotPoller *poller, PilotCore *core)
{
  PilotParts *parts = g_new0 (PilotParts, 1);
  g_auto (GStrv) directories = plugin_directories ();

  parts->config = g_object_ref (config);
  parts->plugins = pilot_plugin_loader_new ((const gchar *const *) directories, pilot_config_get_state_directory (config));
  parts->node = pilot_node_new (config, poller, parts->plugins);
  parts->echo = pilot_echo_new (parts->node);
  parts->exchange = pilot_exchange_new (parts->node);
  parts->broker = pilot_broker_new (parts->node);
  pilot_core_add (core, "sockets", start_sockets, NULL, parts);
  pilot_core_add (core, "transport", start_transport, NULL, parts);
  pilot_core_add (core, "plugins", start_plugins, stop_plugins, parts);
  pilot_core_add (core, "node", start_node, stop_node, parts);
  pilot_core_add (core, "services", start_services, stop_services, parts);
  pilot_core_add (core, "gateway", start_gateway, stop_gateway, parts);
  pilot_core_add (core, "bus", start_bus, stop_bus, parts);
  pilot_core_add (core, "local socket", start_ipc, stop_ipc, parts);
  pilot_core_add (core, "network", start_joining, NULL, parts);
  return parts;
}

void
pilot_parts_free (PilotParts *parts)
{
  g_clear_pointer (&parts->ipc, pilot_ipc_free);
  g_clear_pointer (&parts->bus, pilot_bus_free);
  g_clear_object (&parts->gateway);
  g_object_unref (parts->exchange);
  pilot_echo_free (parts->echo);
  pilot_broker_free (parts->broker);
  g_object_unref (parts->node);
  g_object_unref (parts->plugins);
  g_object_unref (parts->config);
  g_free (parts);
}
