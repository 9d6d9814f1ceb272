/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* load-one FOLDER NAME: loads, enables and uses an allocator of a folder as the daemon would. Exit code 0 if all of it worked. */
#include <stdio.h>

#include "daemon/core/plugin/call.h"
#include "daemon/core/plugin/loader.h"

typedef struct
{
  GMainLoop *loop;
  gboolean success;
} Wait;

static void
enabled_cb (GObject *source,
            GAsyncResult *result,
            gpointer user_data)
{
  Wait *wait = user_data;

  wait->success = pilot_plugin_loader_enable_finish (PILOT_PLUGIN_LOADER (source), result, NULL);
  g_main_loop_quit (wait->loop);
}

static int
fail (const gchar *what,
      const gchar *why)
{
  fprintf (stderr, "%s: %s\n", what, why != NULL ? why : "?");
  return 1;
}

int
main (int argc,
      char *argv[])
{
  const gchar *folders[] = { argc == 3 ? argv[1] : NULL, NULL };
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr (PilotPluginLoader) loader = NULL;
  g_autoptr (GInetAddress) given = NULL;
  g_autofree gchar *text = NULL;
  g_autoptr (GError) error = NULL;
  const PilotAddress address = { 0, 893 };
  const PilotPluginInfo *info;
  Wait wait = { loop, FALSE };

  if (argc != 3)
    return fail ("usage", "load-one FOLDER NAME");
  loader = pilot_plugin_loader_new (folders, NULL);
  if (!pilot_plugin_loader_load (loader, &error))
    return fail ("load", error->message);
  pilot_plugin_loader_enable_async (loader, NULL, enabled_cb, &wait);
  g_main_loop_run (loop);
  info = pilot_plugin_loader_lookup (loader, argv[2]);
  if (!wait.success || info == NULL || info->state != PILOT_PLUGIN_STATE_ENABLED)
    return fail ("enable", info != NULL ? info->error : "not found");
  given = pilot_call_allocate (PILOT_ALLOCATOR (info->plugin), &address, NULL, &error);
  if (given == NULL)
    return fail ("allocate", error->message);
  text = g_inet_address_to_string (given);
  printf ("%s\n", text);
  if (!pilot_call_release (PILOT_ALLOCATOR (info->plugin), &address, &error))
    return fail ("release", error->message);
  return 0;
}
