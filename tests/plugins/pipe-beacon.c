/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pipe-beacon.h"

#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include <libsoup/soup.h>
#include <string.h>

#include "protocol/crypto.h"
#include "rendezvous/tls.h"

#define NODE 893
#define NONCE "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define TIME 1760000000

struct _PipeBeacon {
  SoupServer *server;
  GPtrArray *clients; /* SoupWebsocketConnection */
  gchar *url;
  gchar *fingerprint;
  gboolean refuse, old;
  const gchar *greeting;
};

static const guint8 seed[PILOT_ED25519_SEED_SIZE] = { 7 };

gboolean
pipe_beacon_prove (PilotTransport *transport,
                   const gchar *challenge,
                   PilotTransportProof *proof,
                   gpointer user_data,
                   GError **error)
{
  g_autofree gchar *text = g_strdup_printf ("compat_auth:%u:%s", NODE, challenge);

  proof->node = NODE;
  pilot_ed25519_public (seed, proof->public_key);
  pilot_ed25519_sign (seed, proof->public_key, text, strlen (text), proof->signature);
  return TRUE;
}

static gboolean
is_login (PipeBeacon *self,
          const gchar *reply,
          gsize length)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autofree gchar *text = self->old ? g_strdup_printf ("compat_auth:%u:%s", NODE, NONCE)
                                     : g_strdup_printf ("compat_auth:%u:%d:%s", NODE, TIME, NONCE);
  guint8 key[PILOT_ED25519_PUBLIC_SIZE], signature[PILOT_ED25519_SIGNATURE_SIZE];
  JsonObject *object;

  g_assert_true (json_parser_load_from_data (parser, reply, (gssize) length, NULL));
  object = json_node_get_object (json_parser_get_root (parser));
  g_assert_cmpstr (json_object_get_string_member (object, "type"), ==, "auth_reply");
  g_assert_cmpint (json_object_get_int_member (object, "node_id"), ==, NODE);
  g_assert_true (pilot_base64_decode (json_object_get_string_member (object, "public_key"), -1, key, sizeof key));
  g_assert_true (pilot_base64_decode (json_object_get_string_member (object, "sig"), -1, signature, sizeof signature));
  return pilot_ed25519_verify (key, text, strlen (text), signature);
}

static void
on_message (SoupWebsocketConnection *connection,
            gint type,
            GBytes *message,
            PipeBeacon *self)
{
  gsize length;
  gconstpointer data = g_bytes_get_data (message, &length);

  if (type == SOUP_WEBSOCKET_DATA_TEXT) {
    g_assert_true (is_login (self, data, length));
    if (self->refuse) {
      soup_websocket_connection_close (connection, 1008, "auth failed");
      return;
    }
    soup_websocket_connection_send_text (connection, "{\"type\":\"auth_ok\"}");
    g_ptr_array_add (self->clients, g_object_ref (connection));
    return;
  }
  for (guint i = 0; i < self->clients->len; i++)
    if (self->clients->pdata[i] != connection && soup_websocket_connection_get_state (self->clients->pdata[i]) == SOUP_WEBSOCKET_STATE_OPEN)
      soup_websocket_connection_send_binary (self->clients->pdata[i], data, length);
}

static void
on_closed (SoupWebsocketConnection *connection,
           PipeBeacon *self)
{
  g_ptr_array_remove (self->clients, connection);
  g_signal_handlers_disconnect_by_data (connection, self);
  g_object_unref (connection);
}

static void
on_client (SoupServer *server,
           SoupServerMessage *message,
           const char *path,
           SoupWebsocketConnection *connection,
           gpointer user_data)
{
  PipeBeacon *self = user_data;
  SoupMessageHeaders *headers = soup_server_message_get_request_headers (message);
  g_autofree gchar *challenge = self->old ? g_strdup ("{\"type\":\"auth_challenge\",\"nonce\":\"" NONCE "\"}")
                                          : g_strdup_printf ("{\"type\":\"auth_challenge\",\"nonce\":\"" NONCE "\",\"ts\":%d}", TIME);

  g_assert_null (soup_message_headers_get_one (headers, "Origin"));
  g_assert_null (soup_message_headers_get_one (headers, "Sec-WebSocket-Extensions"));
  g_assert_cmpstr (soup_websocket_connection_get_protocol (connection), ==, "pilot.v1");
  g_signal_connect (g_object_ref (connection), "message", G_CALLBACK (on_message), self);
  g_signal_connect (connection, "closed", G_CALLBACK (on_closed), self);
  soup_websocket_connection_send_text (connection, self->greeting != NULL ? self->greeting : challenge);
}

static GTlsCertificate *
make_certificate (gchar **fingerprint)
{
  g_autoptr (GError) error = NULL;
  g_autofree gchar *folder = g_dir_make_tmp ("pipe-beacon-XXXXXX", &error);
  g_autofree gchar *crt = g_build_filename (folder, "cert.pem", NULL);
  g_autofree gchar *key = g_build_filename (folder, "key.pem", NULL);
  g_autoptr (PilotTls) tls = NULL;
  GTlsCertificate *certificate;

  g_assert_true (pilot_tls_generate (crt, key, &error));
  tls = pilot_tls_new (crt, key, &error);
  g_assert_no_error (error);
  *fingerprint = g_strdup (pilot_tls_get_fingerprint (tls));
  certificate = g_tls_certificate_new_from_files (crt, key, &error);
  g_assert_no_error (error);
  g_unlink (crt);
  g_unlink (key);
  g_rmdir (folder);
  return certificate;
}

/* The server's library warns of clients that leave during the handshake; ours do, on purpose. */
static gboolean
is_fatal (const gchar *domain,
          GLogLevelFlags level,
          const gchar *message,
          gpointer user_data)
{
  return g_strcmp0 (domain, "libsoup") != 0 || strstr (message, "could not get remote address") == NULL;
}

/* GTest's own handler would say "Bail out!" of a warning before it asks whether that is fatal. */
static void
tell (const gchar *domain,
      GLogLevelFlags level,
      const gchar *message,
      gpointer user_data)
{
  g_test_message ("%s: %s", domain, message);
}

PipeBeacon *
pipe_beacon_new (void)
{
  static const gchar *const protocols[] = { "pilot.v1", NULL };
  PipeBeacon *self = g_new0 (PipeBeacon, 1);
  g_autoptr (GTlsCertificate) certificate = make_certificate (&self->fingerprint);
  g_autoptr (GError) error = NULL;
  GSList *uris;

  g_test_log_set_fatal_handler (is_fatal, NULL);
  g_log_set_handler ("libsoup", G_LOG_LEVEL_WARNING | G_LOG_FLAG_FATAL, tell, NULL);
  self->clients = g_ptr_array_new_with_free_func (g_object_unref);
  self->server = g_object_new (SOUP_TYPE_SERVER, "tls-certificate", certificate, NULL);
  soup_server_remove_websocket_extension (self->server, SOUP_TYPE_WEBSOCKET_EXTENSION_DEFLATE);
  soup_server_add_websocket_handler (self->server, "/v1/compat", NULL, (char **) protocols, on_client, self, NULL);
  soup_server_listen_local (self->server, 0, SOUP_SERVER_LISTEN_HTTPS | SOUP_SERVER_LISTEN_IPV4_ONLY, &error);
  g_assert_no_error (error);
  uris = soup_server_get_uris (self->server);
  self->url = g_strdup_printf ("wss://127.0.0.1:%d/v1/compat", g_uri_get_port (uris->data));
  g_slist_free_full (uris, (GDestroyNotify) g_uri_unref);
  return self;
}

void
pipe_beacon_free (PipeBeacon *self)
{
  pipe_beacon_drop_all (self);
  soup_server_disconnect (self->server);
  g_object_unref (self->server);
  g_ptr_array_unref (self->clients);
  g_free (self->url);
  g_free (self->fingerprint);
  g_free (self);
}

const gchar *
pipe_beacon_get_url (PipeBeacon *self)
{
  return self->url;
}

const gchar *
pipe_beacon_get_fingerprint (PipeBeacon *self)
{
  return self->fingerprint;
}

void
pipe_beacon_drop_all (PipeBeacon *self)
{
  for (guint i = 0; i < self->clients->len; i++) {
    SoupWebsocketConnection *client = self->clients->pdata[i];

    g_signal_handlers_disconnect_by_data (client, self);
    g_io_stream_close (soup_websocket_connection_get_io_stream (client), NULL, NULL);
    g_object_unref (client); /* that of on_client() */
  }
  g_ptr_array_set_size (self->clients, 0);
}

void
pipe_beacon_close_all (PipeBeacon *self)
{
  for (guint i = 0; i < self->clients->len; i++)
    soup_websocket_connection_close (self->clients->pdata[i], 1001, "the server stops");
}

void
pipe_beacon_set_refuse (PipeBeacon *self,
                        gboolean refuse)
{
  self->refuse = refuse;
}

void
pipe_beacon_set_old (PipeBeacon *self,
                     gboolean old)
{
  self->old = old;
}

void
pipe_beacon_set_greeting (PipeBeacon *self,
                          const gchar *greeting)
{
  self->greeting = greeting;
}

/* --- for the tests of a relay --- */

PipeBeacon *pipe_beacon;

static void
begin (void)
{
  pipe_beacon = pipe_beacon_new ();
}

static void
end (void)
{
  g_clear_pointer (&pipe_beacon, pipe_beacon_free);
}

static gchar *
make_settings (void)
{
  return g_strdup_printf ("{'url': <'%s'>, 'trust': <'pinned'>, 'fingerprint': <'%s'>}", pipe_beacon_get_url (pipe_beacon),
                          pipe_beacon_get_fingerprint (pipe_beacon));
}

static const gchar *
get_address (void)
{
  return pipe_beacon_get_url (pipe_beacon);
}

const CheckRelay pipe_beacon_relay = { begin, end, make_settings, get_address, pipe_beacon_prove };
