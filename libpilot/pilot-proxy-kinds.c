/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilot-proxy-kinds.h"

#include <errno.h>
#include <gio/gio.h>
#include <sys/socket.h>
#include <unistd.h>

/* Before GIO's, whose priority is 0. */
#define PRIORITY 10

typedef struct
{
  GObject parent_instance;
} PilotProxyTls;

typedef struct
{
  GObjectClass parent_class;
} PilotProxyTlsClass;

static void proxy_iface_init (GProxyInterface *iface);
static GType pilot_proxy_tls_get_type (void);

G_DEFINE_TYPE_WITH_CODE (PilotProxyTls, pilot_proxy_tls, G_TYPE_OBJECT, G_IMPLEMENT_INTERFACE (G_TYPE_PROXY, proxy_iface_init))

/* TLS with the proxy is the proxy's affair: an error of the domain of TLS would be taken for one of the target's certificate. */
static GError *
explain (const GError *error)
{
  if (g_error_matches (error, G_TLS_ERROR, G_TLS_ERROR_BAD_CERTIFICATE))
    return g_error_new_literal (G_IO_ERROR, G_IO_ERROR_PROXY_FAILED, "the proxy's certificate is not one this system trusts for its name");
  if (error->domain == G_TLS_ERROR)
    return g_error_new (G_IO_ERROR, G_IO_ERROR_PROXY_FAILED, "no TLS with the proxy: %s", error->message);
  return g_error_copy (error);
}

/* (transfer full): TLS on the connection to the proxy, its certificate to be one for the name in the proxy's URL. */
static GIOStream *
make_tls (GIOStream *connection,
          GProxyAddress *address,
          GError **error)
{
  g_autoptr (GSocketConnectable) identity = g_network_address_parse_uri (g_proxy_address_get_uri (address), 443, error);

  return identity != NULL ? g_tls_client_connection_new (connection, identity, error) : NULL;
}

static GIOStream *
proxy_connect (GProxy *proxy,
               GIOStream *connection,
               GProxyAddress *address,
               GCancellable *cancellable,
               GError **error)
{
  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED, "proxies are not waited for");
  return NULL;
}

/* (transfer full): one end of a pair of sockets, whose other end is joined to the tunnel. What goes through the tunnel is mostly TLS again, and a
 * GTlsConnection on another one may wait for ever: the source of the outer one does not tell of what that has decrypted already (glib-networking
 * 2.74), and libsoup waits for the source before it reads. */
static GIOStream *
make_plain (GIOStream *tunnel,
            GError **error)
{
  g_autoptr (GSocketConnection) ours = NULL;
  g_autoptr (GSocketConnection) theirs = NULL;
  g_autoptr (GSocket) one = NULL;
  g_autoptr (GSocket) other = NULL;
  gint fds[2];

  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
    g_set_error (error, G_IO_ERROR, g_io_error_from_errno (errno), "socketpair: %s", g_strerror (errno));
    return NULL;
  }
  one = g_socket_new_from_fd (fds[0], error);
  other = g_socket_new_from_fd (fds[1], one != NULL ? error : NULL);
  if (one == NULL)
    close (fds[0]);
  if (other == NULL)
    close (fds[1]);
  if (one == NULL || other == NULL)
    return NULL;
  ours = g_socket_connection_factory_create_connection (one);
  theirs = g_socket_connection_factory_create_connection (other);
  g_io_stream_splice_async (tunnel, G_IO_STREAM (ours), G_IO_STREAM_SPLICE_CLOSE_STREAM1 | G_IO_STREAM_SPLICE_CLOSE_STREAM2, G_PRIORITY_DEFAULT, NULL,
                            NULL, NULL);
  return G_IO_STREAM (g_steal_pointer (&theirs));
}

static void
on_connected (GObject *source,
              GAsyncResult *result,
              gpointer user_data)
{
  g_autoptr (GTask) task = user_data;
  GError *error = NULL;
  g_autoptr (GIOStream) tunnel = g_proxy_connect_finish (G_PROXY (source), result, &error);
  GIOStream *stream = tunnel != NULL ? make_plain (tunnel, &error) : NULL;

  if (stream == NULL)
    g_task_return_error (task, error);
  else
    g_task_return_pointer (task, stream, g_object_unref);
}

static void
on_handshake (GObject *source,
              GAsyncResult *result,
              gpointer user_data)
{
  g_autoptr (GTask) task = user_data;
  g_autoptr (GProxy) http = g_proxy_get_default_for_protocol ("http");
  g_autoptr (GError) error = NULL;

  if (!g_tls_connection_handshake_finish (G_TLS_CONNECTION (source), result, &error))
    g_task_return_error (task, explain (error));
  else
    /* From here on as with any other. */
    g_proxy_connect_async (http, G_IO_STREAM (source), g_task_get_task_data (task), g_task_get_cancellable (task), on_connected,
                           g_object_ref (task));
}

static void
proxy_connect_async (GProxy *proxy,
                     GIOStream *connection,
                     GProxyAddress *address,
                     GCancellable *cancellable,
                     GAsyncReadyCallback callback,
                     gpointer user_data)
{
  g_autoptr (GTask) task = g_task_new (proxy, cancellable, callback, user_data);
  GError *error = NULL;
  g_autoptr (GIOStream) tls = make_tls (connection, address, &error);

  g_task_set_task_data (task, g_object_ref (address), g_object_unref);
  if (tls == NULL)
    g_task_return_error (task, error);
  else
    g_tls_connection_handshake_async (G_TLS_CONNECTION (tls), G_PRIORITY_DEFAULT, cancellable, on_handshake, g_object_ref (task));
}

static GIOStream *
proxy_connect_finish (GProxy *proxy,
                      GAsyncResult *result,
                      GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, proxy), NULL);
  return g_task_propagate_pointer (G_TASK (result), error);
}

static gboolean
proxy_supports_hostname (GProxy *proxy)
{
  return TRUE;
}

static void
proxy_iface_init (GProxyInterface *iface)
{
  iface->connect = proxy_connect;
  iface->connect_async = proxy_connect_async;
  iface->connect_finish = proxy_connect_finish;
  iface->supports_hostname = proxy_supports_hostname;
}

static void
pilot_proxy_tls_class_init (PilotProxyTlsClass *klass)
{
}

static void
pilot_proxy_tls_init (PilotProxyTls *self)
{
}

void
pilot_proxy_kinds_register (void)
{
  static gsize once;
  g_autoptr (GProxy) http = NULL;
  GTypeQuery query;
  GType type;

  if (!g_once_init_enter (&once))
    return;
  http = g_proxy_get_default_for_protocol ("http");
  /* A type stands there under one name only. */
  g_type_query (G_OBJECT_TYPE (http), &query);
  type = g_type_register_static_simple (query.type, "PilotProxyHttp", query.class_size, NULL, query.instance_size, NULL, 0);
  g_io_extension_point_implement (G_PROXY_EXTENSION_POINT_NAME, type, PILOT_PROXY_HTTP, PRIORITY);
  g_io_extension_point_implement (G_PROXY_EXTENSION_POINT_NAME, pilot_proxy_tls_get_type (), "https", PRIORITY);
  g_once_init_leave (&once, 1);
}
