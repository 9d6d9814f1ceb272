/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-proxy.h"

#include <string.h>

struct _FakeProxy {
  GSocketService *service;
  GTlsCertificate *certificate; /* (nullable): TLS with every client */
  guint16 port;
  gchar *password;
  const gchar *answer;
  GString *log;
  guint clients;
};

typedef enum {
  ANY,
  SOCKS_LOGIN,
  SOCKS_REQUEST,
} Stage;

typedef struct {
  FakeProxy *proxy;
  GIOStream *stream;
  Stage stage;
  gsize length;
  gchar data[4096];
} Client;

static void
client_free (Client *client)
{
  client->proxy->clients--;
  g_io_stream_close (client->stream, NULL, NULL);
  g_object_unref (client->stream);
  g_free (client);
}

static void
say (Client *client,
     gconstpointer data,
     gsize length)
{
  g_output_stream_write_all (g_io_stream_get_output_stream (client->stream), data, length, NULL, NULL, NULL);
}

static void
on_spliced (GObject *source,
            GAsyncResult *result,
            gpointer user_data)
{
  g_io_stream_splice_finish (result, NULL);
  client_free (user_data);
}

static void
note (Client *client,
      guint status,
      const gchar *target)
{
  g_string_append_printf (client->proxy->log, "%s%u:%s", client->proxy->log->len > 0 ? " " : "", status, target);
}

/* FALSE when nobody is there. */
static gboolean
join (Client *client,
      const gchar *target,
      gconstpointer yes,
      gsize length)
{
  g_autoptr (GSocketClient) dialler = g_socket_client_new ();
  guint64 port = g_ascii_strtoull (strrchr (target, ':') + 1, NULL, 10);
  g_autoptr (GSocketConnection) there = NULL;

  g_socket_client_set_enable_proxy (dialler, FALSE);
  note (client, 200, target);
  there = g_socket_client_connect_to_host (dialler, "127.0.0.1", (guint16) port, NULL, NULL);
  if (there == NULL)
    return FALSE;
  say (client, yes, length);
  g_io_stream_splice_async (client->stream, G_IO_STREAM (there),
                            G_IO_STREAM_SPLICE_CLOSE_STREAM1 | G_IO_STREAM_SPLICE_CLOSE_STREAM2, G_PRIORITY_DEFAULT, NULL, on_spliced, client);
  return TRUE;
}

/* Each of these: FALSE when the client is to go, *taken when it does not read any more. */

static gboolean
take_http (Client *client,
           gboolean *taken)
{
  g_auto (GStrv) words = NULL;
  g_autofree gchar *pair = g_strdup_printf ("user:%s", client->proxy->password);
  g_autofree gchar *encoded = g_base64_encode ((const guchar *) pair, strlen (pair));
  g_autofree gchar *wanted = g_strdup_printf ("\r\nProxy-Authorization: Basic %s\r\n", encoded);
  static const gchar yes[] = "HTTP/1.1 201 Whatever\r\nVia: fake\r\n\r\n";
  static const gchar no[] = "HTTP/1.1 407 secret of the proxy\r\nProxy-Authenticate: Basic realm=\"fake\"\r\nContent-Length: 0\r\n\r\n";

  if (strstr (client->data, "\r\n\r\n") == NULL)
    return TRUE;
  words = g_strsplit (client->data, " ", 3);
  g_assert_cmpstr (words[0], ==, "CONNECT");
  if (client->proxy->answer != NULL) {
    note (client, 0, words[1]);
    say (client, client->proxy->answer, strlen (client->proxy->answer));
    return FALSE;
  }
  if (strstr (client->data, wanted) == NULL) {
    note (client, 407, words[1]);
    say (client, no, sizeof no - 1);
    client->length = 0;
    return TRUE;
  }
  return *taken = join (client, words[1], yes, sizeof yes - 1);
}

/* RFC 1928 and 1929. */
static gboolean
take_socks (Client *client,
            gboolean *taken)
{
  const guint8 *data = (const guint8 *) client->data;
  g_autofree gchar *pair = g_strdup_printf ("%c%c%s%c%s", 1, 4, "user", (gint) strlen (client->proxy->password), client->proxy->password);
  g_autofree gchar *target = NULL;
  gsize n = client->length;

  if (client->stage == ANY) {
    if (n < 2 || n < 2u + data[1])
      return TRUE;
    say (client, memchr (data + 2, 2, data[1]) != NULL ? "\5\2" : "\5\xff", 2);
    client->stage = SOCKS_LOGIN;
  } else if (client->stage == SOCKS_LOGIN) {
    if (n < 2 || n < 3u + data[1] || n < 3u + data[1] + data[2 + data[1]])
      return TRUE;
    if (n != strlen (pair) || memcmp (data, pair, n) != 0) {
      note (client, 407, "?");
      say (client, "\1\1", 2);
      return FALSE;
    }
    say (client, "\1\0", 2);
    client->stage = SOCKS_REQUEST;
  } else {
    gsize end;

    if (n < 5)
      return TRUE;
    g_assert_cmpmem (data, 3, "\5\1\0", 3);
    end = data[3] == 1 ? 8 : 5u + data[4];
    if (n < end + 2)
      return TRUE;
    if (data[3] == 1) /* an address of four bytes, else a name behind its length */
      target = g_strdup_printf ("%u.%u.%u.%u:%u", data[4], data[5], data[6], data[7], data[end] << 8 | data[end + 1]);
    else
      target = g_strdup_printf ("%.*s:%u", data[4], client->data + 5, data[end] << 8 | data[end + 1]);
    return *taken = join (client, target, "\5\0\0\1\0\0\0\0\0\0", 10);
  }
  client->length = 0;
  return TRUE;
}

static void read_more (Client *client);

static void
on_read (GObject *source,
         GAsyncResult *result,
         gpointer user_data)
{
  Client *client = user_data;
  gssize length = g_input_stream_read_finish (G_INPUT_STREAM (source), result, NULL);
  gboolean taken = FALSE, stays;

  if (length <= 0) {
    client_free (client);
    return;
  }
  client->length += (gsize) length;
  g_assert_cmpuint (client->length, <, sizeof client->data);
  client->data[client->length] = '\0';
  stays = client->stage != ANY || client->data[0] == 5 ? take_socks (client, &taken) : take_http (client, &taken);
  if (!stays)
    client_free (client);
  else if (!taken)
    read_more (client);
}

static void
read_more (Client *client)
{
  g_input_stream_read_async (g_io_stream_get_input_stream (client->stream), client->data + client->length, sizeof client->data - 1 - client->length,
                             G_PRIORITY_DEFAULT, NULL, on_read, client);
}

static gboolean
on_incoming (GSocketService *service,
             GSocketConnection *connection,
             GObject *source,
             gpointer user_data)
{
  Client *client = g_new0 (Client, 1);

  client->proxy = user_data;
  client->proxy->clients++;
  if (client->proxy->certificate != NULL)
    client->stream = g_tls_server_connection_new (G_IO_STREAM (connection), client->proxy->certificate, NULL);
  else
    client->stream = G_IO_STREAM (g_object_ref (connection));
  read_more (client);
  return TRUE;
}

FakeProxy *
fake_proxy_new (GTlsCertificate *certificate)
{
  FakeProxy *self = g_new0 (FakeProxy, 1);
  /* Of one address: a client asks each that a name leads to. */
  g_autoptr (GInetAddress) loopback = g_inet_address_new_loopback (G_SOCKET_FAMILY_IPV4);
  g_autoptr (GSocketAddress) any = g_inet_socket_address_new (loopback, 0);
  g_autoptr (GSocketAddress) bound = NULL;
  g_autoptr (GError) error = NULL;

  self->log = g_string_new (NULL);
  self->certificate = certificate != NULL ? g_object_ref (certificate) : NULL;
  self->service = g_socket_service_new ();
  g_socket_listener_add_address (G_SOCKET_LISTENER (self->service), any, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, NULL, &bound, &error);
  g_assert_no_error (error);
  self->port = g_inet_socket_address_get_port (G_INET_SOCKET_ADDRESS (bound));
  g_signal_connect (self->service, "incoming", G_CALLBACK (on_incoming), self);
  return self;
}

void
fake_proxy_free (FakeProxy *self)
{
  g_socket_service_stop (self->service);
  g_socket_listener_close (G_SOCKET_LISTENER (self->service));
  while (self->clients > 0)
    g_main_context_iteration (NULL, TRUE);
  g_object_unref (self->service);
  g_clear_object (&self->certificate);
  g_string_free (self->log, TRUE);
  g_free (self->password);
  g_free (self);
}

guint
fake_proxy_get_port (FakeProxy *self)
{
  return self->port;
}

void
fake_proxy_set_password (FakeProxy *self,
                         const gchar *password)
{
  g_free (self->password);
  self->password = g_strdup (password);
}

void
fake_proxy_set_answer (FakeProxy *self,
                       const gchar *answer)
{
  self->answer = answer;
}

gchar *
fake_proxy_take_log (FakeProxy *self)
{
  GString *log = g_steal_pointer (&self->log);

  self->log = g_string_new (NULL);
  return g_string_free (log, FALSE);
}
