/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/plugin-check/host.h"

/* As in the daemon. */
#define DEADLINE_MS 20000

typedef struct
{
  GMainLoop *loop;
  gboolean enabling;
  gboolean success;
  GError **error;
} Wait;

static void
done_cb (GObject *source,
         GAsyncResult *result,
         gpointer user_data)
{
  Wait *wait = user_data;

  if (wait->enabling)
    wait->success = pilot_call_enable_finish (PILOT_PLUGIN (source), result, wait->error);
  else
    wait->success = pilot_call_disable_finish (PILOT_PLUGIN (source), result, wait->error);
  g_main_loop_quit (wait->loop);
}

static gboolean
run (gpointer plugin,
     gboolean enabling,
     GError **error)
{
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  Wait wait = { loop, enabling, FALSE, error };

  if (enabling)
    pilot_call_enable_async (plugin, DEADLINE_MS, NULL, done_cb, &wait);
  else
    pilot_call_disable_async (plugin, DEADLINE_MS, NULL, done_cb, &wait);
  g_main_loop_run (loop);
  return wait.success;
}

gpointer
host_new (GType type,
          const gchar *name,
          const gchar *state_dir,
          GVariant *settings)
{
  return g_object_new (type, "name", name, "state-dir", state_dir, "settings", settings, NULL);
}

gboolean
host_enable (gpointer plugin,
             GError **error)
{
  return run (plugin, TRUE, error);
}

gboolean
host_disable (gpointer plugin,
              GError **error)
{
  return run (plugin, FALSE, error);
}

GVariant *
host_settings (const gchar *text)
{
  g_autoptr (GError) error = NULL;
  GVariant *settings = g_variant_parse (G_VARIANT_TYPE_VARDICT, text, NULL, NULL, &error);

  g_assert_no_error (error);
  return settings;
}
