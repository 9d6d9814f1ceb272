/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilot-proxy-command.h"

#include <gio/gunixinputstream.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "pilot-error.h"
#include "pilot-proxy.h"

#define MAX_OUTPUT 4096
/* Seconds: less than a call to the registry has, so that whoever asks hears why. */
#define TIMEOUT 7

typedef struct
{
  GPid pid; /* of the shell, which leads a process group; 0 when nobody is left to wait for */
  GSource *timeout;
  GCancellable *asker; /* (nullable) */
  gulong asker_handler;
  GInputStream *pipe;
  GCancellable *stop; /* of reading: somebody who left the group may have the pipe open still */
  gboolean late;
  gsize length;
  gchar output[MAX_OUTPUT];
} Run;

static void
run_free (Run *run)
{
  if (run->asker_handler != 0)
    g_cancellable_disconnect (run->asker, run->asker_handler);
  g_clear_object (&run->asker);
  if (run->timeout != NULL)
    g_source_destroy (run->timeout);
  g_clear_pointer (&run->timeout, g_source_unref);
  g_clear_object (&run->pipe);
  g_clear_object (&run->stop);
  explicit_bzero (run->output, sizeof run->output); /* there are credentials in it */
  g_free (run);
}

/* Until the shell has been waited for nobody else can have its number. */
static void
run_kill (Run *run)
{
  if (run->pid != 0)
    kill (-run->pid, SIGKILL);
  g_cancellable_cancel (run->stop);
}

static gboolean
on_late (gpointer user_data)
{
  Run *run = user_data;

  run->late = TRUE;
  run_kill (run);
  return G_SOURCE_REMOVE;
}

/* Nobody wants the answer any more; that may be because the program ends. */
static void
on_asker_cancelled (GCancellable *asker,
                    gpointer user_data)
{
  run_kill (user_data);
}

static void
on_ended (GPid pid,
          gint status,
          gpointer user_data)
{
  g_autoptr (GTask) task = user_data;
  Run *run = g_task_get_task_data (task);
  g_autoptr (GError) error = NULL;
  g_autofree gchar *text = NULL;
  g_autofree gchar *url = NULL;

  run->pid = 0;
  if (run->late) {
    g_task_return_new_error (task, PILOT_ERROR, PILOT_ERROR_TIMEOUT, "the proxy command does not end within %d s", TIMEOUT);
    return;
  }
  /* Too much is no URL, and was killed for it. */
  if (run->length < sizeof run->output && !g_spawn_check_wait_status (status, &error)) { /* "Child process exited with code 1" */
    g_task_return_new_error (task, PILOT_ERROR, PILOT_ERROR_FAILED, "the proxy command failed: %s", error->message);
    return;
  }
  text = g_strndup (run->output, run->length < sizeof run->output ? run->length : 0);
  url = pilot_proxy_normalize (g_strstrip (text));
  if (url == NULL)
    g_task_return_new_error (task, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "the proxy command does not print the URL of a proxy");
  else
    g_task_return_pointer (task, g_steal_pointer (&url), g_free);
}

static void
on_output (GObject *source,
           GAsyncResult *result,
           gpointer user_data)
{
  GTask *task = user_data;
  Run *run = g_task_get_task_data (task);
  g_autoptr (GSource) watch = g_child_watch_source_new (run->pid);

  /* However reading ended: what has come is a URL or not. */
  g_input_stream_read_all_finish (G_INPUT_STREAM (source), result, &run->length, NULL);
  if (run->length == sizeof run->output)
    run_kill (run);
  g_source_set_callback (watch, G_SOURCE_FUNC (on_ended), task, NULL);
  g_source_attach (watch, g_main_context_get_thread_default ());
}

/* In the child, before it is the shell. */
static void
lead_group (gpointer user_data)
{
  setpgid (0, 0);
}

static gboolean
run_start (Run *run,
           const gchar *command,
           GError **error)
{
  const gchar *const words[] = { "/bin/sh", "-c", command, NULL };
  gint fd;

  /* What it complains of goes nowhere: there may be credentials in it. */
  if (!g_spawn_async_with_pipes (NULL, (gchar **) words, NULL, G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDERR_TO_DEV_NULL, lead_group, NULL, &run->pid, NULL,
                                 &fd, NULL, error))
    return FALSE;
  run->pipe = g_unix_input_stream_new (fd, TRUE);
  run->stop = g_cancellable_new ();
  run->timeout = g_timeout_source_new_seconds (TIMEOUT);
  g_source_set_callback (run->timeout, on_late, run, NULL);
  g_source_attach (run->timeout, g_main_context_get_thread_default ());
  return TRUE;
}

void
pilot_proxy_command_async (const gchar *command,
                           GCancellable *cancellable,
                           GAsyncReadyCallback callback,
                           gpointer user_data)
{
  g_autoptr (GTask) task = g_task_new (NULL, cancellable, callback, user_data);
  Run *run = g_new0 (Run, 1);
  GError *error = NULL;

  g_task_set_task_data (task, run, (GDestroyNotify) run_free);
  if (g_task_return_error_if_cancelled (task))
    return;
  if (!run_start (run, command, &error)) {
    g_task_return_error (task, error);
    return;
  }
  g_input_stream_read_all_async (run->pipe, run->output, sizeof run->output, G_PRIORITY_DEFAULT, run->stop, on_output, g_object_ref (task));
  if (cancellable != NULL) {
    run->asker = g_object_ref (cancellable);
    run->asker_handler = g_cancellable_connect (cancellable, G_CALLBACK (on_asker_cancelled), run, NULL);
  }
}

gchar *
pilot_proxy_command_finish (GAsyncResult *result,
                            GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, NULL), NULL);
  return g_task_propagate_pointer (G_TASK (result), error);
}
