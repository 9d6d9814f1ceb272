/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilot-proxy.h"

#include <string.h>

#include "pilot-error.h"
#include "pilot-proxy-command.h"
#include "pilot-proxy-kinds.h"

#define URL_FLAGS (G_URI_FLAGS_HAS_PASSWORD | G_URI_FLAGS_ENCODED)
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

/* --- the resolver --- */

/* (transfer full): for GIO, which frees it with g_strfreev(). */
static gchar **
make_list (const gchar *url)
{
  g_autofree gchar *http = g_str_has_prefix (url, "http://") ? g_strconcat (PILOT_PROXY_HTTP, url + strlen ("http"), NULL) : NULL;
  const gchar *const list[] = { http != NULL ? http : url, NULL };

  return g_strdupv ((gchar **) list);
}

static void
on_printed (GObject *source,
            GAsyncResult *result,
            gpointer user_data)
{
  g_autoptr (GTask) task = user_data;
  PilotProxyResolver *self = g_task_get_source_object (task);
  GError *error = NULL;
  gchar *url = pilot_proxy_command_finish (result, &error);

  if (url == NULL) {
    g_task_return_error (task, error);
    return;
  }
  g_free (self->url);
  self->url = url;
  self->fresh_until = g_get_monotonic_time () + FRESH_FOR;
  g_task_return_pointer (task, make_list (self->url), (GDestroyNotify) g_strfreev);
}

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
    pilot_proxy_command_async (self->command, cancellable, on_printed, g_object_ref (task));
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
