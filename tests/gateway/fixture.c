/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/gateway/fixture.h"

#include <glib/gstdio.h>

#include "allocator-sequential.h"
#include "tests/gateway/fake-node.h"

/* The one plugin there is. */
PilotPlugin *
pilot_plugin_loader_get_enabled (PilotPluginLoader *loader, PilotPluginKind kind, const gchar *name)
{
  return PILOT_PLUGIN ((gpointer) loader);
}

char *
output_of (const char *command)
{
  char *output = NULL;

  g_spawn_command_line_sync (command, &output, NULL, NULL, NULL);
  return output;
}

void
fixture_begin_run (Fixture *fixture)
{
  fixture->poller = pilot_poller_new (NULL, NULL);
  fixture->node = fake_node_new (fixture->poller, fixture->directory);
  fixture->allocator = g_object_new (PILOT_TYPE_ALLOCATOR_SEQUENTIAL, NULL);
  fixture->gateway = pilot_gateway_new (fixture->node, (gpointer) fixture->allocator);
}

/* As a crash would: nothing is told, nothing cleaned, descriptors are closed. */
void
fixture_end_run (Fixture *fixture)
{
  pilot_gateway_shutdown (fixture->gateway);
  while (g_main_context_iteration (NULL, FALSE))
    ;
  g_object_unref (fixture->gateway);
  g_object_unref (fixture->allocator);
  g_object_unref (fixture->node);
  pilot_poller_free (fixture->poller);
}

static void
got_result (GObject *source, GAsyncResult *result, gpointer user_data)
{
  *(GAsyncResult **) user_data = g_object_ref (result);
}

static GAsyncResult *
wait_for (GAsyncResult **result)
{
  while (*result == NULL)
    g_main_context_iteration (NULL, TRUE);
  return *result;
}

GPtrArray *
fixture_start (Fixture *fixture, const char *options, const guint32 *nodes, guint n_nodes, GError **error)
{
  g_autoptr (GVariant) variant = g_variant_ref_sink (g_variant_parse (G_VARIANT_TYPE_VARDICT, options, NULL, NULL, NULL));
  g_autofree PilotAddress *addresses = g_new0 (PilotAddress, n_nodes + 1);
  g_autoptr (GAsyncResult) result = NULL;

  for (guint i = 0; i < n_nodes; i++)
    addresses[i].node = nodes[i];
  pilot_gateway_start_async (fixture->gateway, variant, addresses, n_nodes, NULL, got_result, &result);
  return pilot_gateway_start_finish (fixture->gateway, wait_for (&result), error);
}

PilotMapping *
fixture_map (Fixture *fixture, guint32 node, const char *local, GError **error)
{
  PilotAddress address = { 0, node };
  g_autoptr (GAsyncResult) result = NULL;

  pilot_gateway_map_async (fixture->gateway, &address, local, NULL, NULL, got_result, &result);
  return pilot_gateway_map_finish (fixture->gateway, wait_for (&result), error);
}

gboolean
fixture_unmap (Fixture *fixture, const char *local, GError **error)
{
  g_autoptr (GAsyncResult) result = NULL;

  pilot_gateway_unmap_async (fixture->gateway, local, NULL, got_result, &result);
  return pilot_gateway_unmap_finish (fixture->gateway, wait_for (&result), error);
}

gboolean
fixture_stop (Fixture *fixture, GError **error)
{
  g_autoptr (GAsyncResult) result = NULL;

  pilot_gateway_stop_async (fixture->gateway, NULL, got_result, &result);
  return pilot_gateway_stop_finish (fixture->gateway, wait_for (&result), error);
}

gboolean
fixture_restore (Fixture *fixture, GError **error)
{
  g_autoptr (GAsyncResult) result = NULL;

  pilot_gateway_restore_async (fixture->gateway, NULL, got_result, &result);
  return pilot_gateway_restore_finish (fixture->gateway, wait_for (&result), error);
}

void
fixture_set_up (Fixture *fixture, gconstpointer data)
{
  fixture->directory = g_dir_make_tmp ("gateway-XXXXXX", NULL);
  fixture_begin_run (fixture);
}

void
fixture_tear_down (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = g_build_filename (fixture->directory, "gateway.json", NULL);
  g_autofree char *addresses = NULL, *rules = NULL;

  fixture_stop (fixture, NULL);
  fixture_end_run (fixture);
  addresses = output_of ("ip -4 addr show lo label lo:pilot*");
  g_assert_cmpstr (addresses, ==, "");
  rules = output_of ("nft list ruleset");
  g_assert_cmpstr (rules, ==, "");
  g_unlink (path);
  g_assert_cmpint (g_rmdir (fixture->directory), ==, 0);
  g_free (fixture->directory);
}
