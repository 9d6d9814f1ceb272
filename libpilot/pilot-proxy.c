/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilot-proxy.h"

#include <string.h>

#include "pilot-error.h"
#include "pilot-proxy-kinds.h"

#define URL_FLAGS (G_URI_FLAGS_HAS_PASSWORD | G_URI_FLAGS_ENCODED)
#define MAX_OUTPUT 4096
/* Seconds: less than a call to the registry has, so that whoever asks hears why. */
#define COMMAND_TIMEOUT 7
#define FRESH_FOR (60 * G_USEC_PER_SEC)

struct _PilotProxyResolver {
  GObject parent_instance;
  gchar *url;     /* as GIO takes it; of a command: what it printed last. NULL before */
  gchar *command; /* (nullable) */
  gint64 fresh_until;
};

static void resolver_iface_init (GProxyResolverInterface *iface);

G_DEFINE_FINAL_TYPE_WITH_CODE (PilotProxyResolver, pilot_proxy_resolver, G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (G_TYPE_PROXY_RESOLVER, resolver_iface_init))

static const struct
{
  const gchar *scheme, *name; /* for GIO, which has SOCKS 5 under one name and sends names in it as they are */
  gint port;
} schemes[] = {
  { "http", "http", 80 },
  { "https", "https", 443 },
  { "socks5", "socks5", 1080 },
  { "socks5h", "socks5", 1080 },
};

gchar *
pilot_proxy_normalize (const gchar *url)
{
  g_autoptr (GUri) parsed = g_uri_parse (url, URL_FLAGS, NULL);

  if (parsed == NULL || g_uri_get_host (parsed) == NULL || *g_uri_get_host (parsed) == '\0')
    return NULL;
  for (guint i = 0; i < G_N_ELEMENTS (schemes); i++)
    if (g_str_equal (g_uri_get_scheme (parsed), schemes[i].scheme))
      return g_uri_join (URL_FLAGS, schemes[i].name, g_uri_get_userinfo (parsed), g_uri_get_host (parsed),
                         g_uri_get_port (parsed) > 0 ? g_uri_get_port (parsed) : schemes[i].port, "", NULL, NULL);
  return NULL;
}

/* --- the command --- */

typedef struct
{
  GSubprocess *process;
  GSource *timeout;
  GCancellable *stop; /* of reading: others may have the pipe open still when the process has gone */
  gboolean late;
  gsize length;
  gchar output[MAX_OUTPUT];
} Run;

static void
run_free (Run *run)
{
  if (run->timeout != NULL)
    g_source_destroy (run->timeout);
  g_clear_pointer (&run->timeout, g_source_unref);
  g_clear_object (&run->stop);
  g_clear_object (&run->process);
  memset (run->output, 0, sizeof run->output); /* there are credentials in it */
  g_free (run);
}

static gboolean
on_late (gpointer user_data)
{
  Run *run = user_data;

  run->late = TRUE;
  g_subprocess_force_exit (run->process);
  g_cancellable_cancel (run->stop);
  return G_SOURCE_REMOVE;
}

/* (transfer full): for GIO, which frees it with g_strfreev(). */
static gchar **
make_list (const gchar *url)
{
  g_autofree gchar *http = g_str_has_prefix (url, "http://") ? g_strconcat (PILOT_PROXY_HTTP, url + strlen ("http"), NULL) : NULL;
  const gchar *const list[] = { http != NULL ? http : url, NULL };

  return g_strdupv ((gchar **) list);
}

/* (transfer full) (nullable): what was printed, as a proxy. */
static gchar *
read_url (Run *run)
{
  g_autofree gchar *text = g_strndup (run->output, run->length);

  return pilot_proxy_normalize (g_strstrip (text));
}

static void
on_ended (GObject *source,
          GAsyncResult *result,
          gpointer user_data)
{
  g_autoptr (GTask) task = user_data;
  PilotProxyResolver *self = g_task_get_source_object (task);
  Run *run = g_task_get_task_data (task);
  g_autoptr (GError) error = NULL;
  g_autofree gchar *url = NULL;
  gboolean ended_well = g_subprocess_wait_check_finish (run->process, result, &error);

  if (run->late) {
    g_task_return_new_error (task, PILOT_ERROR, PILOT_ERROR_TIMEOUT, "the proxy command does not end within %d s", COMMAND_TIMEOUT);
    return;
  }
  if (!ended_well && run->length < sizeof run->output) { /* "Child process exited with code 1" */
    g_task_return_new_error (task, PILOT_ERROR, PILOT_ERROR_FAILED, "the proxy command failed: %s", error->message);
    return;
  }
  url = read_url (run);
  if (url == NULL) {
    g_task_return_new_error (task, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "the proxy command does not print the URL of a proxy");
    return;
  }
  g_free (self->url);
  self->url = g_steal_pointer (&url);
  self->fresh_until = g_get_monotonic_time () + FRESH_FOR;
  g_task_return_pointer (task, make_list (self->url), (GDestroyNotify) g_strfreev);
}

static void
on_output (GObject *source,
           GAsyncResult *result,
           gpointer user_data)
{
  GTask *task = user_data;
  Run *run = g_task_get_task_data (task);

  /* Nothing, or too much, is no URL. */
  g_input_stream_read_all_finish (G_INPUT_STREAM (source), result, &run->length, NULL);
  if (run->length == sizeof run->output)
    g_subprocess_force_exit (run->process);
  g_subprocess_wait_check_async (run->process, NULL, on_ended, task);
}

static void
start_command (PilotProxyResolver *self,
               GTask *task)
{
  const gchar *const words[] = { "/bin/sh", "-c", self->command, NULL };
  Run *run = g_new0 (Run, 1);
  GError *error = NULL;

  g_task_set_task_data (task, run, (GDestroyNotify) run_free);
  /* What it complains of goes nowhere: there may be credentials in it. */
  run->process = g_subprocess_newv (words, G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_SILENCE, &error);
  if (run->process == NULL) {
    g_task_return_error (task, error);
    return;
  }
  run->timeout = g_timeout_source_new_seconds (COMMAND_TIMEOUT);
  g_source_set_callback (run->timeout, on_late, run, NULL);
  g_source_attach (run->timeout, g_main_context_get_thread_default ());
  /* To its end, though whoever asked may give up: the next one will ask again. */
  run->stop = g_cancellable_new ();
  g_input_stream_read_all_async (g_subprocess_get_stdout_pipe (run->process), run->output, sizeof run->output, G_PRIORITY_DEFAULT, run->stop,
                                 on_output, g_object_ref (task));
}

/* --- the resolver --- */

static gboolean
is_fresh (PilotProxyResolver *self)
{
  return self->command == NULL || g_get_monotonic_time () < self->fresh_until;
}

static gboolean
is_supported (GProxyResolver *resolver)
{
  return TRUE;
}

static gchar **
lookup (GProxyResolver *resolver,
        const gchar *uri,
        GCancellable *cancellable,
        GError **error)
{
  PilotProxyResolver *self = PILOT_PROXY_RESOLVER (resolver);

  if (is_fresh (self))
    return make_list (self->url);
  /* Nothing in this program dials synchronously. */
  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED, "the proxy command is not waited for");
  return NULL;
}

static void
lookup_async (GProxyResolver *resolver,
              const gchar *uri,
              GCancellable *cancellable,
              GAsyncReadyCallback callback,
              gpointer user_data)
{
  PilotProxyResolver *self = PILOT_PROXY_RESOLVER (resolver);
  g_autoptr (GTask) task = g_task_new (self, cancellable, callback, user_data);

  if (is_fresh (self))
    g_task_return_pointer (task, make_list (self->url), (GDestroyNotify) g_strfreev);
  else
    start_command (self, task);
}

static gchar **
lookup_finish (GProxyResolver *resolver,
               GAsyncResult *result,
               GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, resolver), NULL);
  return g_task_propagate_pointer (G_TASK (result), error);
}

static void
resolver_iface_init (GProxyResolverInterface *iface)
{
  iface->is_supported = is_supported;
  iface->lookup = lookup;
  iface->lookup_async = lookup_async;
  iface->lookup_finish = lookup_finish;
}

PilotProxyResolver *
pilot_proxy_resolver_new (const gchar *url,
                          const gchar *command)
{
  PilotProxyResolver *self;

  g_return_val_if_fail (url != NULL || command != NULL, NULL);
  pilot_proxy_kinds_register ();
  self = g_object_new (PILOT_TYPE_PROXY_RESOLVER, NULL);
  self->url = url != NULL ? pilot_proxy_normalize (url) : NULL;
  self->command = g_strdup (command);
  return self;
}

gboolean
pilot_proxy_resolver_refuse (PilotProxyResolver *self)
{
  self->fresh_until = 0;
  return self->command != NULL;
}

gboolean
pilot_proxy_is_refusal (const GError *error)
{
  return g_error_matches (error, G_IO_ERROR, G_IO_ERROR_PROXY_AUTH_FAILED) || g_error_matches (error, G_IO_ERROR, G_IO_ERROR_PROXY_NEED_AUTH) ||
         g_error_matches (error, G_IO_ERROR, G_IO_ERROR_PROXY_FAILED);
}

static void
pilot_proxy_resolver_finalize (GObject *object)
{
  PilotProxyResolver *self = PILOT_PROXY_RESOLVER (object);

  g_free (self->url);
  g_free (self->command);
  G_OBJECT_CLASS (pilot_proxy_resolver_parent_class)->finalize (object);
}

static void
pilot_proxy_resolver_class_init (PilotProxyResolverClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = pilot_proxy_resolver_finalize;
}

static void
pilot_proxy_resolver_init (PilotProxyResolver *self)
{
}
