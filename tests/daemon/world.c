/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "world.h"

#include <string.h>
#include <glib/gstdio.h>

#include "libpilot/pilot-error.h"

gboolean
world_tick_cb (gpointer user_data)
{
  return G_SOURCE_CONTINUE;
}

static void
on_rendezvous_failed (const GError *error, gpointer user_data)
{
  g_error ("the rendezvous failed: %s", error->message);
}

void
world_start_rendezvous (World *world)
{
  PilotRendezvousOptions options;
  g_autoptr (GError) error = NULL;

  pilot_rendezvous_options_init (&options);
  options.registry = world->registry;
  options.beacon = world->beacon;
  world->rendezvous = pilot_rendezvous_new (world->store, &options, on_rendezvous_failed, NULL, &error);
  g_assert_no_error (error);
  pilot_rendezvous_get_registry (world->rendezvous, &world->registry);
  pilot_rendezvous_get_beacon (world->rendezvous, &world->beacon);
}

void
world_stop_rendezvous (World *world)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (pilot_rendezvous_close (g_steal_pointer (&world->rendezvous), &error));
  g_assert_no_error (error);
}

void
world_init (World *world)
{
  g_autoptr (GError) error = NULL;

  memset (world, 0, sizeof *world);
  world->folder = g_dir_make_tmp ("node-world-XXXXXX", &error);
  g_assert_no_error (error);
  g_assert_true (pilot_endpoint_parse ("127.0.0.1:0", &world->registry, &error));
  world->beacon = world->registry;
  world->store = pilot_store_memory_new ();
  world_start_rendezvous (world);
}

static void
remove_tree (const char *path)
{
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  const char *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL) {
    g_autofree char *child = g_build_filename (path, name, NULL);

    remove_tree (child);
  }
  g_remove (path);
}

void
world_clear (World *world)
{
  for (guint i = 0; i < G_N_ELEMENTS (world->hosts); i++)
    if (world->hosts[i].node != NULL)
      host_stop (&world->hosts[i]);
  for (guint i = 0; i < G_N_ELEMENTS (world->hosts); i++)
    g_free (world->hosts[i].folder);
  if (world->rendezvous != NULL)
    world_stop_rendezvous (world);
  pilot_store_close (world->store);
  remove_tree (world->folder);
  g_free (world->folder);
}

/* --- hosts --- */

static GVariant *
plugin_settings (const gchar *name, gpointer user_data)
{
  return pilot_config_get_plugin_settings (user_data, name);
}

static void
on_done (GObject *source, GAsyncResult *result, gpointer user_data)
{
  *(GAsyncResult **) user_data = g_object_ref (result);
}

static void
wait_result (GAsyncResult **result)
{
  while (*result == NULL)
    g_main_context_iteration (NULL, TRUE);
}

static void
on_trust_changed (PilotTrust *trust, guint node, const char *state, const char *reason, Host *host)
{
  g_string_append_printf (host->events, "%u %s %s;", node, state, reason);
}

static void
load_plugins (Host *host)
{
  g_auto (GStrv) directories = g_strsplit (g_getenv ("PILOT_PLUGIN_PATH"), ":", -1);
  g_autoptr (GAsyncResult) result = NULL;
  g_autoptr (GError) error = NULL;

  host->plugins = pilot_plugin_loader_new ((const gchar *const *) directories, host->folder);
  pilot_plugin_loader_set_settings (host->plugins, plugin_settings, host->config);
  g_assert_true (pilot_plugin_loader_load (host->plugins, &error));
  g_assert_no_error (error);
  pilot_plugin_loader_enable_async (host->plugins, NULL, on_done, &result);
  wait_result (&result);
  g_assert_true (pilot_plugin_loader_enable_finish (host->plugins, result, &error));
  g_assert_no_error (error);
}

static void
make_config (World *world, Host *host)
{
  g_autofree char *registry = pilot_endpoint_to_string (&world->registry);
  g_autofree char *beacon = world->beacon_name != NULL ? g_strdup_printf ("%s:%u", world->beacon_name, world->beacon.port) : pilot_endpoint_to_string (&world->beacon);
  g_autofree char *path = g_build_filename (host->folder, "config.json", NULL);
  g_autoptr (GError) error = NULL;

  host->config = pilot_config_new ();
  pilot_config_set_flag (host->config, "registry", registry);
  pilot_config_set_flag (host->config, "beacon", beacon);
  pilot_config_set_flag (host->config, "state-dir", host->folder);
  pilot_config_set_flag (host->config, "listen", "127.0.0.1:0");
  g_assert_true (pilot_config_load (host->config, path, &error));
}

gboolean
host_try_start (World *world, guint index, GError **error)
{
  Host *host = &world->hosts[index];
  g_autoptr (GAsyncResult) result = NULL;
  g_autoptr (GError) local = NULL;

  if (host->folder == NULL) {
    host->folder = g_strdup_printf ("%s/%u", world->folder, index);
    g_assert_cmpint (g_mkdir (host->folder, 0700), ==, 0);
  }
  make_config (world, host);
  host->poller = pilot_poller_new (NULL, &local);
  g_assert_no_error (local);
  load_plugins (host);
  host->node = pilot_node_new (host->config, host->poller, host->plugins);
  host->echo = pilot_echo_new (host->node);
  host->exchange = pilot_exchange_new (host->node);
  host->events = g_string_new (NULL);
  pilot_node_start_async (host->node, NULL, on_done, &result);
  wait_result (&result);
  if (!pilot_node_start_finish (host->node, result, error))
    return FALSE;
  g_signal_connect (pilot_node_get_trust (host->node), "changed", G_CALLBACK (on_trust_changed), host);
  g_assert_true (pilot_echo_start (host->echo, &local));
  g_assert_no_error (local);
  g_assert_true (pilot_exchange_start (host->exchange, &local));
  g_assert_no_error (local);
  pilot_node_join (host->node);
  return TRUE;
}

void
host_start (World *world, guint index)
{
  Host *host = &world->hosts[index];
  g_autoptr (GError) error = NULL;

  g_assert_true (host_try_start (world, index, &error));
  g_assert_no_error (error);
  WAIT (5, strcmp (pilot_node_get_state (host->node), "online") == 0);
  g_assert_cmpuint (pilot_node_get_id (host->node), !=, 0);
}

void
host_stop (Host *host)
{
  g_autoptr (GAsyncResult) stopped = NULL, disabled = NULL;
  g_autoptr (GError) error = NULL;

  pilot_exchange_stop (host->exchange);
  pilot_echo_stop (host->echo);
  pilot_node_stop_async (host->node, NULL, on_done, &stopped);
  wait_result (&stopped);
  g_assert_true (pilot_node_stop_finish (host->node, stopped, &error));
  g_clear_object (&stopped);
  pilot_plugin_loader_disable_async (host->plugins, on_done, &disabled);
  wait_result (&disabled);
  g_assert_true (pilot_plugin_loader_disable_finish (host->plugins, disabled, &error));
  g_clear_object (&disabled);
  g_clear_pointer (&host->echo, pilot_echo_free);
  while (g_main_context_iteration (NULL, FALSE))
    ;
  g_assert_finalize_object (g_steal_pointer (&host->exchange));
  g_assert_finalize_object (g_steal_pointer (&host->node));
  g_clear_object (&host->plugins);
  g_clear_pointer (&host->poller, pilot_poller_free);
  g_clear_object (&host->config);
  g_string_free (g_steal_pointer (&host->events), TRUE);
}

char *
host_ping (Host *host, guint32 peer, guint timeout_ms)
{
  g_autoptr (GAsyncResult) result = NULL;
  g_autoptr (GError) error = NULL;
  gint64 rtt = -1;
  guint bytes = 0;

  pilot_node_ping_async (host->node, peer, 3, timeout_ms, NULL, on_done, &result);
  wait_result (&result);
  if (!pilot_node_ping_finish (host->node, result, &rtt, &bytes, &error))
    return g_strdup (pilot_error_code_to_string (pilot_error_code (error)));
  g_assert_cmpint (rtt, >=, 0);
  g_assert_cmpuint (bytes, ==, strlen ("ping-3"));
  return g_strdup ("");
}
