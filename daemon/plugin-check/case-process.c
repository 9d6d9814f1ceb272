/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/plugin-check/case-process.h"

#include <string.h>

#define PATIENCE_SECONDS 60

typedef struct
{
  GSubprocess *process;
  gchar *output;
  gboolean done, late;
} Wait;

static void
on_output (GObject *source,
           GAsyncResult *result,
           gpointer user_data)
{
  Wait *wait = user_data;
  g_autoptr (GBytes) bytes = NULL;

  g_subprocess_communicate_finish (G_SUBPROCESS (source), result, &bytes, NULL, NULL);
  if (bytes != NULL && g_bytes_get_size (bytes) > 0)
    wait->output = g_utf8_make_valid (g_bytes_get_data (bytes, NULL), (gssize) g_bytes_get_size (bytes));
  wait->done = TRUE;
}

static gboolean
on_late (gpointer user_data)
{
  Wait *wait = user_data;

  wait->late = TRUE;
  g_subprocess_force_exit (wait->process);
  return G_SOURCE_CONTINUE;
}

static gchar *
describe_end (const Wait *wait)
{
  if (wait->late)
    return g_strdup_printf ("did not end within %d s: something blocks, or never completes", PATIENCE_SECONDS);
  if (g_subprocess_get_if_signaled (wait->process))
    return g_strdup_printf ("ended by signal %d (%s)", g_subprocess_get_term_sig (wait->process), strsignal (g_subprocess_get_term_sig (wait->process)));
  return g_strdup_printf ("exit status %d", g_subprocess_get_exit_status (wait->process));
}

gboolean
case_process_run (const gchar *module,
                  gchar **assignments,
                  const gchar *name,
                  gchar **output,
                  gchar **why)
{
  g_autoptr (GSubprocessLauncher) launcher = g_subprocess_launcher_new (G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_MERGE);
  g_autoptr (GPtrArray) words = g_ptr_array_new ();
  g_autoptr (GError) error = NULL;
  Wait wait = { 0 };
  gboolean good;
  guint timer;

  g_subprocess_launcher_setenv (launcher, "G_DEBUG", "fatal-criticals", FALSE);
  g_ptr_array_add (words, (gpointer) "/proc/self/exe");
  g_ptr_array_add (words, (gpointer) "--case");
  g_ptr_array_add (words, (gpointer) name);
  for (gchar **one = assignments; one != NULL && *one != NULL; one++) {
    g_ptr_array_add (words, (gpointer) "--setting");
    g_ptr_array_add (words, *one);
  }
  g_ptr_array_add (words, (gpointer) "--");
  g_ptr_array_add (words, (gpointer) module);
  g_ptr_array_add (words, NULL);
  wait.process = g_subprocess_launcher_spawnv (launcher, (const gchar *const *) words->pdata, &error);
  if (wait.process == NULL) {
    *output = g_strdup ("");
    *why = g_strdup (error->message);
    return FALSE;
  }
  timer = g_timeout_add_seconds (PATIENCE_SECONDS, on_late, &wait);
  g_subprocess_communicate_async (wait.process, NULL, NULL, on_output, &wait);
  while (!wait.done)
    g_main_context_iteration (NULL, TRUE);
  g_source_remove (timer);
  good = !wait.late && g_subprocess_get_successful (wait.process);
  *output = wait.output != NULL ? wait.output : g_strdup ("");
  *why = good ? NULL : describe_end (&wait);
  g_object_unref (wait.process);
  return good;
}
