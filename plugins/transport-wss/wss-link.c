/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wss-link.h"

#include <json-glib/json-glib.h>
#include <libsoup/soup.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#define PROTOCOL "pilot.v1"
#define ATTEMPT_TIMEOUT 20 /* seconds: names, proxy, TLS, upgrade, login */
#define BACKOFF_MIN 250    /* milliseconds */
#define BACKOFF_MAX 30000
/* A connection that lasted this long was a good one: the next attempt comes soon. One that is ended at once every time (by another daemon with the
 * same identity) is not made four times a second. */
#define GOOD_AFTER (10 * G_USEC_PER_SEC)
#define PING_EVERY 30 /* seconds */
#define DEAD_AFTER (40 * G_USEC_PER_SEC)
#define WATCH_EVERY 5 /* seconds */
#define MAX_INCOMING 65536
#define MAX_LOGIN 4096
/* What libsoup may hold of ours that the kernel has not taken. */
#define SEND_CREDIT (256 * 1024)
/* What the kernel may hold that is not on its way: more would only be a queue in front of the engine's congestion control. */
#define NOT_SENT_LOWAT (128 * 1024)
/* Behind libsoup's own sources, before the host's data path (see wait_drained()). */
#define DRAIN_PRIORITY (G_PRIORITY_DEFAULT + 5)

typedef enum {
  STATE_IDLE, /* nothing goes on, or a retry waits for its time */
  STATE_DIALLING,
  STATE_LOGIN,
  STATE_OPEN,
} State;

struct _WssLink {
  gint references; /* of the owner and of an attempt under way */
  WssLinkSettings settings;
  WssLinkFuncs funcs;
  gpointer user_data;
  gboolean freed;

  State state;
  PilotProxyResolver *proxy; /* (nullable) */
  gboolean proxy_refused;    /* the last attempt, and this one is the second with other credentials */
  SoupSession *session;
  GCancellable *attempt;
  SoupWebsocketConnection *connection;
  gboolean answered; /* the challenge */
  guint timeout_source, retry_source, watch_source;
  GSource *drain_source;
  guint backoff; /* milliseconds; 0: the last one was good */
  gint64 opened, heard;
  gsize sent; /* since everything was out last */
  gboolean full;
  guint logins;
};

static void dial (WssLink *self);

static void
unref (WssLink *self)
{
  if (--self->references > 0)
    return;
  g_free (self->settings.url);
  g_free (self->settings.fingerprint);
  g_free (self->settings.proxy);
  g_free (self->settings.command);
  g_clear_object (&self->proxy);
  g_free (self);
}

/* --- the end of an attempt, or of a connection --- */

static void
stop_draining (WssLink *self)
{
  if (self->drain_source == NULL)
    return;
  g_source_destroy (self->drain_source);
  g_clear_pointer (&self->drain_source, g_source_unref);
}

static void
drop (WssLink *self,
      gushort code,
      const gchar *reason)
{
  g_clear_handle_id (&self->timeout_source, g_source_remove);
  g_clear_handle_id (&self->watch_source, g_source_remove);
  g_clear_handle_id (&self->retry_source, g_source_remove);
  stop_draining (self);
  if (self->attempt != NULL)
    g_cancellable_cancel (self->attempt);
  g_clear_object (&self->attempt);
  if (self->connection != NULL) {
    g_signal_handlers_disconnect_by_data (self->connection, self);
    if (soup_websocket_connection_get_state (self->connection) == SOUP_WEBSOCKET_STATE_OPEN)
      soup_websocket_connection_close (self->connection, code, reason);
    g_clear_object (&self->connection);
  }
  if (self->session != NULL)
    soup_session_abort (self->session);
  g_clear_object (&self->session);
  self->proxy_refused = FALSE;
  self->state = STATE_IDLE;
  self->answered = self->full = FALSE;
  self->sent = 0;
}

static gboolean
on_retry (gpointer user_data)
{
  WssLink *self = user_data;

  self->retry_source = 0;
  dial (self);
  return G_SOURCE_REMOVE;
}

static void
fail (WssLink *self,
      const gchar *trouble)
{
  gboolean was_good = self->state == STATE_OPEN && g_get_monotonic_time () - self->opened > GOOD_AFTER;
  guint delay;

  drop (self, SOUP_WEBSOCKET_CLOSE_POLICY_VIOLATION, NULL);
  self->backoff = was_good || self->backoff == 0 ? BACKOFF_MIN : MIN (self->backoff * 2, BACKOFF_MAX);
  /* Half of it at random, so that the nodes of a beacon that comes back do not come in step. */
  delay = self->backoff / 2 + (guint) g_random_int_range (0, (gint32) self->backoff / 2 + 1);
  self->retry_source = g_timeout_add (delay, on_retry, self);
  self->funcs.changed (trouble, self->user_data);
}

/* --- sending --- */

static gboolean
on_drained (GObject *stream,
            gpointer user_data)
{
  WssLink *self = user_data;
  gboolean was_full = self->full;

  stop_draining (self);
  self->sent = 0;
  self->full = FALSE;
  if (was_full)
    self->funcs.drained (self->user_data);
  return G_SOURCE_REMOVE;
}

/* libsoup queues without bound and does not say what is left. But as long as it has something its own source waits for the same stream, with
 * a higher priority than this one, and is dispatched instead: so when this one is, the queue is empty and the socket has room. */
static void
wait_drained (WssLink *self)
{
  GOutputStream *stream;

  if (self->drain_source != NULL)
    return;
  stream = g_io_stream_get_output_stream (soup_websocket_connection_get_io_stream (self->connection));
  self->drain_source = g_pollable_output_stream_create_source (G_POLLABLE_OUTPUT_STREAM (stream), NULL);
  g_source_set_callback (self->drain_source, G_SOURCE_FUNC (on_drained), self, NULL);
  g_source_set_priority (self->drain_source, DRAIN_PRIORITY);
  g_source_attach (self->drain_source, g_main_context_get_thread_default ());
}

/* When the beacon has said goodbye libsoup takes nothing more; that the connection is over it says only when it is. */
gboolean
wss_link_is_open (WssLink *self)
{
  return self->state == STATE_OPEN && soup_websocket_connection_get_state (self->connection) == SOUP_WEBSOCKET_STATE_OPEN;
}

gboolean
wss_link_is_full (WssLink *self)
{
  return self->full;
}

void
wss_link_send (WssLink *self,
               gconstpointer data,
               gsize length)
{
  if (!wss_link_is_open (self))
    return;
  soup_websocket_connection_send_binary (self->connection, data, length);
  self->sent += length;
  self->full = self->sent >= SEND_CREDIT;
  wait_drained (self);
}

/* --- the login --- */

/* The member when it is a value of that type; else NULL. What holds an object or an array has no type to be asked for. */
static JsonNode *
get_value (JsonObject *object,
           const gchar *name,
           GType type)
{
  JsonNode *node = json_object_get_member (object, name);

  return node != NULL && JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == type ? node : NULL;
}

/* (transfer full) (nullable): a message of the login, with its "type"; NULL for anything else. */
static JsonObject *
parse_message (const gchar *data,
               gsize length,
               const gchar *wanted)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  JsonObject *object;
  JsonNode *type;

  if (!pilot_json_scan (data, length, MAX_LOGIN, PILOT_JSON_MAX_DEPTH, NULL) ||
      !json_parser_load_from_data (parser, data, (gssize) length, NULL) || !JSON_NODE_HOLDS_OBJECT (json_parser_get_root (parser)))
    return NULL;
  object = json_node_get_object (json_parser_get_root (parser));
  type = get_value (object, "type", G_TYPE_STRING);
  return type != NULL && g_str_equal (json_node_get_string (type), wanted) ? json_object_ref (object) : NULL;
}

/* "TS:NONCE", or "NONCE" from beacons that send no time (notes, 7.2); NULL for anything else. */
static gchar *
parse_challenge (const gchar *data,
                 gsize length)
{
  g_autoptr (JsonObject) object = parse_message (data, length, "auth_challenge");
  JsonNode *nonce, *ts;

  if (object == NULL)
    return NULL;
  nonce = get_value (object, "nonce", G_TYPE_STRING);
  ts = get_value (object, "ts", G_TYPE_INT64);
  if (nonce == NULL || (ts == NULL && json_object_has_member (object, "ts")))
    return NULL;
  if (ts == NULL)
    return g_strdup (json_node_get_string (nonce));
  return g_strdup_printf ("%" G_GINT64_FORMAT ":%s", json_node_get_int (ts), json_node_get_string (nonce));
}

static void
answer_challenge (WssLink *self,
                  const gchar *data,
                  gsize length)
{
  g_autofree gchar *challenge = parse_challenge (data, length);
  g_autofree gchar *key = NULL;
  g_autofree gchar *signature = NULL;
  g_autofree gchar *reply = NULL;
  g_autoptr (GError) error = NULL;
  PilotTransportProof proof;

  if (challenge == NULL) {
    fail (self, "what answers there is no beacon: it asked no challenge");
    return;
  }
  if (!self->funcs.prove (challenge, &proof, self->user_data, &error)) {
    fail (self, error->message);
    return;
  }
  key = g_base64_encode (proof.public_key, sizeof proof.public_key);
  signature = g_base64_encode (proof.signature, sizeof proof.signature);
  reply = g_strdup_printf ("{\"type\":\"auth_reply\",\"node_id\":%u,\"public_key\":\"%s\",\"sig\":\"%s\"}", proof.node, key, signature);
  soup_websocket_connection_send_text (self->connection, reply);
  self->answered = TRUE;
}

static gboolean
on_watch (gpointer user_data)
{
  WssLink *self = user_data;

  if (g_get_monotonic_time () - self->heard < DEAD_AFTER)
    return G_SOURCE_CONTINUE;
  self->watch_source = 0;
  fail (self, "the beacon does not answer any more");
  return G_SOURCE_REMOVE;
}

static void
take_login (WssLink *self,
            gint type,
            const gchar *data,
            gsize length)
{
  g_autoptr (JsonObject) ok = NULL;

  if (type != SOUP_WEBSOCKET_DATA_TEXT) {
    fail (self, "what answers there is no beacon: it sent data before the login");
    return;
  }
  if (!self->answered) {
    answer_challenge (self, data, length);
    return;
  }
  ok = parse_message (data, length, "auth_ok");
  if (ok == NULL) {
    fail (self, "the beacon did not take the login");
    return;
  }
  g_clear_handle_id (&self->timeout_source, g_source_remove);
  self->state = STATE_OPEN;
  self->opened = g_get_monotonic_time ();
  self->logins++;
  self->watch_source = g_timeout_add_seconds (WATCH_EVERY, on_watch, self);
  self->funcs.changed (NULL, self->user_data);
}

/* --- what libsoup reports --- */

static void
on_message (SoupWebsocketConnection *connection,
            gint type,
            GBytes *message,
            WssLink *self)
{
  gsize length;
  gconstpointer data = g_bytes_get_data (message, &length);

  self->heard = g_get_monotonic_time ();
  self->references++;
  if (self->state == STATE_LOGIN)
    take_login (self, type, data, length);
  else if (self->state == STATE_OPEN && type == SOUP_WEBSOCKET_DATA_BINARY && length > 0)
    self->funcs.message (data, length, self->user_data);
  unref (self);
}

static void
on_pong (SoupWebsocketConnection *connection,
         GBytes *message,
         WssLink *self)
{
  self->heard = g_get_monotonic_time ();
}

static void
on_closed (SoupWebsocketConnection *connection,
           WssLink *self)
{
  const gchar *data = soup_websocket_connection_get_close_data (connection);
  gushort code = soup_websocket_connection_get_close_code (connection);
  g_autofree gchar *quoted = NULL;
  g_autofree gchar *trouble = NULL;

  if (data != NULL && *data != '\0') {
    quoted = pilot_error_quote (data, -1);
    trouble = g_strdup_printf ("the beacon closed the connection: %u \"%s\"", code, quoted);
  } else
    trouble = g_strdup (code != 0 ? "the beacon closed the connection" : "the connection was lost");
  fail (self, trouble);
}

/* A status instead of an upgrade says more than libsoup's words. */
static gchar *
describe_failure (WssLink *self,
                  SoupMessage *message,
                  const GError *error)
{
  guint status = soup_message_get_status (message);
  const gchar *name = soup_status_get_phrase (status);

  if (g_error_matches (error, G_TLS_ERROR, G_TLS_ERROR_BAD_CERTIFICATE))
    return g_strdup (self->settings.fingerprint != NULL ? "its certificate is not the pinned one" : "its certificate is not one the system trusts for that name");
  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_PROXY_AUTH_FAILED) || g_error_matches (error, G_IO_ERROR, G_IO_ERROR_PROXY_NEED_AUTH))
    return g_strdup ("the proxy does not take the credentials: set them in the URL of the proxy");
  if (status != 0 && status != SOUP_STATUS_SWITCHING_PROTOCOLS)
    return g_strdup_printf ("it answers %u (%s) instead of a WebSocket", status, name);
  return g_strdup (error->message);
}

/* Whether it is worth another attempt, with other credentials, because there is somebody to ask for them (notes, 8.3). */
static gboolean
is_worth_another (WssLink *self,
                  const GError *error)
{
  return self->proxy != NULL && !self->proxy_refused && pilot_proxy_is_refusal (error) && pilot_proxy_resolver_refuse (self->proxy);
}

typedef struct
{
  WssLink *link;
  GCancellable *attempt;
  SoupMessage *message;
} Attempt;

static void
on_connected (GObject *source,
              GAsyncResult *result,
              gpointer user_data)
{
  Attempt *attempt = user_data;
  WssLink *self = attempt->link;
  g_autoptr (GCancellable) cancellable = attempt->attempt;
  g_autoptr (SoupMessage) message = attempt->message;
  g_autoptr (GError) error = NULL;
  g_autoptr (SoupWebsocketConnection) connection = soup_session_websocket_connect_finish (SOUP_SESSION (source), result, &error);

  g_free (attempt);
  if (self->freed || self->attempt != cancellable) /* given up meanwhile */
    ;
  else if (connection == NULL && is_worth_another (self, error)) {
    drop (self, 0, NULL);
    dial (self);
    self->proxy_refused = TRUE;
  } else if (connection == NULL) {
    g_autofree gchar *trouble = describe_failure (self, message, error);

    fail (self, trouble);
  } else {
    self->proxy_refused = FALSE;
    self->state = STATE_LOGIN;
    self->heard = g_get_monotonic_time ();
    self->connection = g_steal_pointer (&connection);
    soup_websocket_connection_set_max_incoming_payload_size (self->connection, MAX_INCOMING);
    soup_websocket_connection_set_keepalive_interval (self->connection, PING_EVERY);
    g_signal_connect (self->connection, "message", G_CALLBACK (on_message), self);
    g_signal_connect (self->connection, "pong", G_CALLBACK (on_pong), self);
    g_signal_connect (self->connection, "closed", G_CALLBACK (on_closed), self);
  }
  unref (self);
}

static gboolean
on_timeout (gpointer user_data)
{
  WssLink *self = user_data;

  self->timeout_source = 0;
  fail (self, "no answer in time");
  return G_SOURCE_REMOVE;
}

/* --- dialling --- */

static gboolean
on_accept_certificate (SoupMessage *message,
                       GTlsCertificate *certificate,
                       GTlsCertificateFlags errors,
                       gpointer user_data)
{
  const gchar *wanted = user_data;
  g_autoptr (GByteArray) der = NULL;
  g_autofree gchar *fingerprint = NULL;

  if (wanted == NULL)
    return FALSE;
  g_object_get (certificate, "certificate", &der, NULL);
  fingerprint = g_compute_checksum_for_data (G_CHECKSUM_SHA256, der->data, der->len);
  return g_ascii_strcasecmp (fingerprint, wanted) == 0;
}

static void
on_network_event (SoupMessage *message,
                  GSocketClientEvent event,
                  GIOStream *stream,
                  gpointer user_data)
{
  const int on = 1, lowat = NOT_SENT_LOWAT;
  GSocket *socket;
  gint fd;

  if (event == G_SOCKET_CLIENT_TLS_HANDSHAKING)
    pilot_tls_hide_address (stream);
  if (event != G_SOCKET_CLIENT_CONNECTED || !G_IS_SOCKET_CONNECTION (stream))
    return;
  socket = g_socket_connection_get_socket (G_SOCKET_CONNECTION (stream));
  fd = g_socket_get_fd (socket);
  /* Neither is needed for it to work. */
  setsockopt (fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt (fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof lowat);
}

static void
dial (WssLink *self)
{
  static const gchar *const protocols[] = { PROTOCOL, NULL };
  Attempt *attempt = g_new (Attempt, 1);

  self->state = STATE_DIALLING;
  self->session = soup_session_new_with_options ("proxy-resolver", self->proxy, "user-agent", "pilotd ", NULL);
  /* Nothing is compressed that is sealed, and beacons offer no extension (notes, 7.1). */
  soup_session_remove_feature_by_type (self->session, SOUP_TYPE_WEBSOCKET_EXTENSION_MANAGER);
  /* Pinned means this certificate and no other: also one the system trusts goes through our check. */
  if (self->settings.fingerprint != NULL)
    soup_session_set_tls_database (self->session, NULL);
  self->attempt = g_cancellable_new ();
  self->timeout_source = g_timeout_add_seconds (ATTEMPT_TIMEOUT, on_timeout, self);
  attempt->link = self;
  attempt->attempt = g_object_ref (self->attempt);
  attempt->message = soup_message_new (SOUP_METHOD_GET, self->settings.url);
  soup_message_add_flags (attempt->message, SOUP_MESSAGE_NO_REDIRECT);
  g_signal_connect_data (attempt->message, "accept-certificate", G_CALLBACK (on_accept_certificate), g_strdup (self->settings.fingerprint),
                         (GClosureNotify) (void (*) (void)) g_free, 0);
  g_signal_connect (attempt->message, "network-event", G_CALLBACK (on_network_event), NULL);
  self->references++;
  soup_session_websocket_connect_async (self->session, attempt->message, NULL, (char **) protocols, G_PRIORITY_DEFAULT, self->attempt, on_connected,
                                        attempt);
}

void
wss_link_reconnect (WssLink *self)
{
  drop (self, SOUP_WEBSOCKET_CLOSE_GOING_AWAY, NULL);
  self->backoff = 0;
  dial (self);
}

guint
wss_link_get_logins (WssLink *self)
{
  return self->logins;
}

/* --- life --- */

static gboolean
check (const WssLinkSettings *settings,
       GError **error)
{
  g_autoptr (GUri) url = g_uri_parse (settings->url, SOUP_HTTP_URI_FLAGS, NULL);
  g_autofree gchar *proxy = settings->proxy != NULL ? pilot_proxy_normalize (settings->proxy) : NULL;

  if (url == NULL || !g_str_equal (g_uri_get_scheme (url), "wss") || g_uri_get_host (url) == NULL || *g_uri_get_host (url) == '\0' ||
      g_uri_get_userinfo (url) != NULL) {
    g_autofree gchar *quoted = pilot_error_quote (settings->url, -1);

    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "setting \"url\" is \"%s\" (expected wss://HOST/v1/compat)", quoted);
    return FALSE;
  }
  /* Not quoted: there may be a password in it. */
  if (settings->proxy != NULL && proxy == NULL) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
                         "setting \"proxy\" is not of the form http://[USER:PASSWORD@]HOST:PORT (also https:// and socks5://)");
    return FALSE;
  }
  if (settings->fingerprint != NULL &&
      (strlen (settings->fingerprint) != 64 || strspn (settings->fingerprint, "0123456789abcdefABCDEF") != 64)) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "setting \"fingerprint\" is not of 64 hex digits");
    return FALSE;
  }
  return TRUE;
}

WssLink *
wss_link_new (const WssLinkSettings *settings,
              const WssLinkFuncs *funcs,
              gpointer user_data,
              GError **error)
{
  WssLink *self;

  if (!check (settings, error))
    return NULL;
  self = g_new0 (WssLink, 1);
  self->references = 1;
  self->settings =
      (WssLinkSettings) { g_strdup (settings->url), g_strdup (settings->fingerprint), g_strdup (settings->proxy), g_strdup (settings->command) };
  if (settings->proxy != NULL || settings->command != NULL)
    self->proxy = pilot_proxy_resolver_new (settings->proxy, settings->command);
  self->funcs = *funcs;
  self->user_data = user_data;
  return self;
}

void
wss_link_free (WssLink *self)
{
  self->freed = TRUE;
  drop (self, SOUP_WEBSOCKET_CLOSE_GOING_AWAY, NULL);
  unref (self);
}
