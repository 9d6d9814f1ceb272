/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "registry-client.h"

#include <string.h>

#include "libpilot/pilot-error.h"
#include "libpilot/pilot-tls.h"
#include "protocol/crypto.h"
#include "protocol/registry-message.h"

#define CONNECT_TIMEOUT 5  /* seconds without anything */
#define ATTEMPT_TIMEOUT 30 /* seconds, for all of an attempt: the proxy, its command, TLS */
#define BACKOFF_MIN 100    /* milliseconds */
#define BACKOFF_MAX 30000
/* A call that comes while we wait may try again, but not more often than this: a dial must not wait 30 s for a registry that is back. */
#define IMPATIENCE (G_USEC_PER_SEC)
#define MAX_QUEUE 1024

typedef struct {
  GTask *task;
  GBytes *request;
  char *type;
  gint64 deadline; /* monotonic */
  gboolean resent;
} Call;

struct _PilotRegistryClient {
  GObject parent_instance;

  char *address;
  PilotRegistryTls tls;
  char *fingerprint;
  char *refused;             /* of the last certificate that was not the pinned one */
  PilotProxyResolver *proxy; /* (nullable) */
  gboolean proxy_refused;    /* the last attempt, and this one is the second with other credentials */

  GQueue queue;  /* Call, those not sent yet */
  Call *current; /* the one on the connection */

  GIOStream *stream;
  GCancellable *io; /* of the connection in use, or being made */
  gboolean connecting;
  gboolean answered; /* something came on this connection */
  PilotRegistryReader *reader;
  guint8 buffer[16384];

  guint backoff; /* milliseconds; 0 = the last attempt succeeded */
  gint64 last_attempt;
  guint retry_source, deadline_source, idle_source, attempt_source;
  char *reason;
  gboolean closed;
};

G_DEFINE_FINAL_TYPE (PilotRegistryClient, pilot_registry_client, G_TYPE_OBJECT)

static guint signal_link_changed;

static void pump (PilotRegistryClient *client);
static void connect_now (PilotRegistryClient *client);

/* --- calls --- */

static void
call_free (Call *call)
{
  g_clear_object (&call->task);
  g_bytes_unref (call->request);
  g_free (call->type);
  g_free (call);
}

static void
call_fail (Call *call, const GError *error)
{
  g_task_return_error (call->task, g_error_copy (error));
  call_free (call);
}

static void
fail_all (PilotRegistryClient *client, const GError *error)
{
  Call *current = g_steal_pointer (&client->current);
  GQueue queue = client->queue;
  Call *call;

  /* What the callbacks ask anew is not failed by this. */
  g_queue_init (&client->queue);
  if (current != NULL)
    call_fail (current, error);
  while ((call = g_queue_pop_head (&queue)) != NULL)
    call_fail (call, error);
}

/* --- the connection --- */

static void
set_reason (PilotRegistryClient *client, const char *reason)
{
  if (g_strcmp0 (client->reason, reason) == 0)
    return;
  g_free (client->reason);
  client->reason = g_strdup (reason);
  g_signal_emit (client, signal_link_changed, 0);
}

static void
drop_connection (PilotRegistryClient *client)
{
  if (client->io != NULL)
    g_cancellable_cancel (client->io);
  g_clear_object (&client->io);
  client->connecting = client->proxy_refused = FALSE;
  g_clear_handle_id (&client->attempt_source, g_source_remove);
  g_clear_pointer (&client->reader, pilot_registry_reader_free);
  if (client->stream != NULL) {
    /* Without waiting: TLS would want to say goodbye. */
    g_io_stream_close_async (client->stream, G_PRIORITY_DEFAULT, NULL, NULL, NULL);
    g_clear_object (&client->stream);
  }
}

static gboolean
on_retry (gpointer user_data)
{
  PilotRegistryClient *client = user_data;

  client->retry_source = 0;
  if (!client->closed && client->stream == NULL && !client->connecting)
    connect_now (client);
  return G_SOURCE_REMOVE;
}

static void
schedule_retry (PilotRegistryClient *client)
{
  guint delay;

  client->backoff = client->backoff == 0 ? BACKOFF_MIN : MIN (client->backoff * 2, BACKOFF_MAX);
  delay = client->backoff / 2 + (guint) g_random_int_range (0, (gint32) client->backoff / 2 + 1);
  g_clear_handle_id (&client->retry_source, g_source_remove);
  client->retry_source = g_timeout_add (delay, on_retry, client);
}

/* The connection, or the attempt at one, is over. */
static void
connection_lost (PilotRegistryClient *client, const char *what, gboolean was_attempt)
{
  g_autofree char *reason = g_strdup_printf ("registry %s: %s", client->address, what);
  Call *call = client->current;

  g_object_ref (client);
  drop_connection (client);
  if (!was_attempt && call != NULL && !call->resent) {
    call->resent = TRUE;
    client->current = NULL;
    g_queue_push_head (&client->queue, call);
  } else if (was_attempt || call != NULL) {
    g_autoptr (GError) error = g_error_new_literal (PILOT_ERROR, PILOT_ERROR_CONNECTION_FAILED, reason);

    fail_all (client, error);
  }
  set_reason (client, reason);
  if (!client->closed) {
    if (was_attempt)
      schedule_retry (client);
    else
      pump (client);
  }
  g_object_unref (client);
}

static void on_read (GObject *source, GAsyncResult *result, gpointer user_data);

static void
read_more (PilotRegistryClient *client)
{
  g_input_stream_read_async (g_io_stream_get_input_stream (client->stream), client->buffer, sizeof client->buffer, G_PRIORITY_DEFAULT, client->io,
                             on_read, g_object_ref (client));
}

static void
answer_current (PilotRegistryClient *client, JsonObject *message)
{
  Call *call = g_steal_pointer (&client->current);
  g_autoptr (GError) error = NULL;

  if (pilot_registry_response_check (message, call->type, &error))
    g_task_return_pointer (call->task, json_object_ref (message), (GDestroyNotify) json_object_unref);
  else
    g_task_return_error (call->task, g_steal_pointer (&error));
  call_free (call);
}

/* What a server that expects TLS answers to plain text: an alert, in a record of TLS. */
static gboolean
is_tls_record (const guint8 *data, gsize length)
{
  return length >= 3 && data[0] == 0x15 && data[1] == 3;
}

/* FALSE when the connection was dropped. */
static gboolean
take_bytes (PilotRegistryClient *client, gsize length)
{
  const guint8 *data = client->buffer;

  while (length > 0) {
    g_autoptr (JsonObject) message = NULL;
    g_autoptr (GError) error = NULL;
    GIOStream *stream = client->stream;
    gsize consumed = 0;

    if (!pilot_registry_reader_push (client->reader, data, length, &consumed, &message, &error)) {
      Call *call = client->current;

      if (call != NULL)
        call->resent = TRUE; /* it would only be answered so again */
      connection_lost (client, is_tls_record (client->buffer, (gsize) (data - client->buffer) + length) ? "it speaks TLS on this port: use --registry-tls" : error->message, FALSE);
      return FALSE;
    }
    data += consumed;
    length -= consumed;
    if (message == NULL)
      continue;
    if (client->current == NULL) {
      connection_lost (client, "it sent an answer nobody asked for", FALSE);
      return FALSE;
    }
    answer_current (client, message);
    /* The callback may have closed or reconnected us. */
    if (client->closed || client->stream != stream)
      return FALSE;
  }
  return TRUE;
}

/* @error NULL: it closed the connection. */
static char *
explain_end (PilotRegistryClient *client, const GError *error)
{
  const char *what = error != NULL ? error->message : "it closed the connection";

  if (client->answered || client->tls != PILOT_REGISTRY_TLS_NONE)
    return g_strdup (what);
  return g_strconcat (what, ", without an answer: if it speaks TLS on this port, use --registry-tls", NULL);
}

static void
on_read (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (PilotRegistryClient) client = user_data;
  g_autoptr (GError) error = NULL;
  gssize length = g_input_stream_read_finish (G_INPUT_STREAM (source), result, &error);

  /* A connection that was dropped meanwhile: its buffer is another's now. */
  if (client->stream == NULL || g_io_stream_get_input_stream (client->stream) != G_INPUT_STREAM (source))
    return;
  if (length <= 0) {
    g_autofree char *what = explain_end (client, error);

    connection_lost (client, what, FALSE);
    return;
  }
  client->answered = TRUE;
  if (take_bytes (client, (gsize) length)) {
    read_more (client);
    pump (client);
  }
}

/* The call may end before the write does, so the write has its own hold on the bytes. */
typedef struct {
  PilotRegistryClient *client;
  GBytes *bytes;
} Write;

static void
on_written (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Write *write = user_data;
  g_autoptr (PilotRegistryClient) client = write->client;
  g_autoptr (GBytes) bytes = write->bytes;
  g_autoptr (GError) error = NULL;

  g_free (write);

  if (g_output_stream_write_all_finish (G_OUTPUT_STREAM (source), result, NULL, &error))
    return;
  if (client->stream != NULL && g_io_stream_get_output_stream (client->stream) == G_OUTPUT_STREAM (source))
    connection_lost (client, error->message, FALSE);
}

static gboolean
on_accept_certificate (GTlsConnection *connection, GTlsCertificate *certificate, GTlsCertificateFlags errors, gpointer user_data)
{
  PilotRegistryClient *client = user_data;
  g_autoptr (GByteArray) der = NULL;
  g_autofree char *fingerprint = NULL;

  g_object_get (certificate, "certificate", &der, NULL);
  fingerprint = pilot_crypto_fingerprint (der->data, der->len);
  if (g_ascii_strcasecmp (fingerprint, client->fingerprint) == 0)
    return TRUE;
  /* Once: it is asked again and again. */
  if (g_strcmp0 (client->refused, fingerprint) != 0)
    g_warning ("the registry's certificate has the fingerprint %s, not the pinned one, %s", fingerprint, client->fingerprint);
  g_free (client->refused);
  client->refused = g_steal_pointer (&fingerprint);
  return FALSE;
}

static void
on_client_event (GSocketClient *socket_client, GSocketClientEvent event, GSocketConnectable *connectable, GIOStream *connection, gpointer user_data)
{
  PilotRegistryClient *client = user_data;

  if (event == G_SOCKET_CLIENT_TLS_HANDSHAKING)
    pilot_tls_hide_address (connection);
  if (event != G_SOCKET_CLIENT_TLS_HANDSHAKING || client->tls != PILOT_REGISTRY_TLS_PINNED)
    return;
  /* Pinned means this certificate and no other: also one the system trusts goes through our check. */
  g_tls_connection_set_database (G_TLS_CONNECTION (connection), NULL);
  g_signal_connect_object (connection, "accept-certificate", G_CALLBACK (on_accept_certificate), client, 0);
}

/* What GIO says of a failed TLS handshake, in words of this program. */
static char *
explain_failure (PilotRegistryClient *client, const GError *error)
{
  if (g_error_matches (error, G_TLS_ERROR, G_TLS_ERROR_BAD_CERTIFICATE) && client->refused != NULL)
    return g_strdup_printf ("its certificate has the fingerprint %s, not the pinned one, %s", client->refused, client->fingerprint);
  if (g_error_matches (error, G_TLS_ERROR, G_TLS_ERROR_BAD_CERTIFICATE))
    return g_strdup ("its certificate is not one this system trusts: pin it with --registry-fingerprint");
  if (g_error_matches (error, G_TLS_ERROR, G_TLS_ERROR_NOT_TLS))
    return g_strdup ("it does not speak TLS on this port");
  return g_strdup (error->message);
}

typedef struct {
  PilotRegistryClient *client;
  GCancellable *io;
} Attempt;

static void start_attempt (PilotRegistryClient *client);

/* Once more with other credentials, if the proxy wants others and there is somebody to ask (beacon-and-nat.md section 8.3). */
static gboolean
try_again (PilotRegistryClient *client, const GError *error)
{
  if (client->proxy == NULL || client->proxy_refused || !pilot_proxy_is_refusal (error) || !pilot_proxy_resolver_refuse (client->proxy))
    return FALSE;
  client->proxy_refused = TRUE;
  g_clear_object (&client->io);
  start_attempt (client);
  return TRUE;
}

static void
on_connected (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Attempt *attempt = user_data;
  g_autoptr (PilotRegistryClient) client = attempt->client;
  g_autoptr (GCancellable) io = attempt->io;
  g_autoptr (GError) error = NULL;
  g_autoptr (GSocketConnection) connection = g_socket_client_connect_to_host_finish (G_SOCKET_CLIENT (source), result, &error);

  g_free (attempt);
  if (client->io != io) /* given up meanwhile */
    return;
  if (connection == NULL && try_again (client, error))
    return;
  if (connection == NULL) {
    g_autofree char *what = explain_failure (client, error);

    connection_lost (client, what, TRUE);
    return;
  }
  /* The time limit was for connecting; an idle connection is in order. */
  g_socket_set_timeout (g_socket_connection_get_socket (connection), 0);
  client->connecting = client->proxy_refused = FALSE;
  g_clear_handle_id (&client->attempt_source, g_source_remove);
  client->stream = G_IO_STREAM (g_steal_pointer (&connection));
  client->reader = pilot_registry_reader_new (PILOT_REGISTRY_MAX_FRAME);
  client->backoff = 0;
  client->answered = FALSE;
  g_clear_pointer (&client->refused, g_free);
  g_clear_handle_id (&client->retry_source, g_source_remove);
  set_reason (client, "");
  g_signal_emit (client, signal_link_changed, 0);
  if (client->stream == NULL)
    return;
  read_more (client);
  pump (client);
}

static void
start_attempt (PilotRegistryClient *client)
{
  g_autoptr (GSocketClient) socket_client = g_socket_client_new ();
  Attempt *attempt;

  client->io = g_cancellable_new ();
  g_socket_client_set_enable_proxy (socket_client, client->proxy != NULL);
  if (client->proxy != NULL)
    g_socket_client_set_proxy_resolver (socket_client, G_PROXY_RESOLVER (client->proxy));
  g_socket_client_set_timeout (socket_client, CONNECT_TIMEOUT);
  if (client->tls != PILOT_REGISTRY_TLS_NONE) {
    g_socket_client_set_tls (socket_client, TRUE);
    g_signal_connect_object (socket_client, "event", G_CALLBACK (on_client_event), client, 0);
  }
  attempt = g_new (Attempt, 1);
  attempt->client = g_object_ref (client);
  attempt->io = g_object_ref (client->io);
  g_socket_client_connect_to_host_async (socket_client, client->address, 0, client->io, on_connected, attempt);
}

static gboolean
on_attempt_timeout (gpointer user_data)
{
  PilotRegistryClient *client = user_data;

  client->attempt_source = 0;
  connection_lost (client, "no connection in time", TRUE);
  return G_SOURCE_REMOVE;
}

static void
connect_now (PilotRegistryClient *client)
{
  g_clear_handle_id (&client->retry_source, g_source_remove);
  client->last_attempt = g_get_monotonic_time ();
  client->connecting = TRUE;
  client->attempt_source = g_timeout_add_seconds (ATTEMPT_TIMEOUT, on_attempt_timeout, client);
  start_attempt (client);
}

/* --- the queue --- */

static gboolean on_deadline (gpointer user_data);

static void
schedule_deadline (PilotRegistryClient *client)
{
  gint64 first = client->current != NULL ? client->current->deadline : G_MAXINT64;
  gint64 now = g_get_monotonic_time ();

  for (GList *item = client->queue.head; item != NULL; item = item->next)
    first = MIN (first, ((Call *) item->data)->deadline);
  g_clear_handle_id (&client->deadline_source, g_source_remove);
  if (first == G_MAXINT64)
    return;
  client->deadline_source = g_timeout_add ((guint) (MAX (first - now, 0) / 1000 + 1), on_deadline, client);
}

static gboolean
on_deadline (gpointer user_data)
{
  g_autoptr (PilotRegistryClient) client = g_object_ref (user_data);
  g_autofree char *text = g_strdup_printf ("registry %s did not answer in time", client->address);
  g_autoptr (GError) error = g_error_new_literal (PILOT_ERROR, PILOT_ERROR_TIMEOUT, text);
  gint64 now = g_get_monotonic_time ();
  GQueue late = G_QUEUE_INIT;
  Call *call;

  client->deadline_source = 0;
  for (GList *item = client->queue.head; item != NULL;) {
    GList *next = item->next;

    call = item->data;
    if (call->deadline <= now) {
      g_queue_push_tail (&late, call);
      g_queue_delete_link (&client->queue, item);
    }
    item = next;
  }
  if (client->current != NULL && client->current->deadline <= now) {
    /* Its answer may still come and would be taken for the next one's: this connection cannot be used any more. */
    g_queue_push_head (&late, g_steal_pointer (&client->current));
    drop_connection (client);
    set_reason (client, text);
  }
  while ((call = g_queue_pop_head (&late)) != NULL)
    call_fail (call, error);
  pump (client);
  return G_SOURCE_REMOVE;
}

static void
send_next (PilotRegistryClient *client)
{
  Write *write = g_new (Write, 1);
  gsize length;
  gconstpointer data;

  client->current = g_queue_pop_head (&client->queue);
  write->client = g_object_ref (client);
  write->bytes = g_bytes_ref (client->current->request);
  data = g_bytes_get_data (write->bytes, &length);
  g_output_stream_write_all_async (g_io_stream_get_output_stream (client->stream), data, length, G_PRIORITY_DEFAULT, client->io, on_written, write);
}

static void
pump (PilotRegistryClient *client)
{
  if (client->closed)
    return;
  if (client->stream != NULL) {
    if (client->current == NULL && !g_queue_is_empty (&client->queue))
      send_next (client);
  } else if (!client->connecting && !g_queue_is_empty (&client->queue)) {
    if (client->retry_source == 0 || g_get_monotonic_time () - client->last_attempt >= IMPATIENCE)
      connect_now (client);
  }
  schedule_deadline (client);
}

static gboolean
on_idle (gpointer user_data)
{
  PilotRegistryClient *client = user_data;

  client->idle_source = 0;
  pump (client);
  return G_SOURCE_REMOVE;
}

void
pilot_registry_client_call_async (PilotRegistryClient *client, GBytes *request, const char *type, GCancellable *cancellable,
                                  GAsyncReadyCallback callback, gpointer user_data)
{
  GTask *task = g_task_new (client, cancellable, callback, user_data);
  Call *call;

  g_task_set_source_tag (task, pilot_registry_client_call_async);
  if (client->closed || g_queue_get_length (&client->queue) >= MAX_QUEUE) {
    g_task_return_new_error (task, PILOT_ERROR, client->closed ? PILOT_ERROR_CANCELLED : PILOT_ERROR_BUSY,
                             client->closed ? "the node is stopping" : "too many requests wait for the registry");
    g_object_unref (task);
    g_bytes_unref (request);
    return;
  }
  call = g_new0 (Call, 1);
  call->task = task;
  call->request = request;
  call->type = g_strdup (type);
  call->deadline = g_get_monotonic_time () + PILOT_REGISTRY_CALL_TIMEOUT * 1000;
  g_queue_push_tail (&client->queue, call);
  if (client->idle_source == 0)
    client->idle_source = g_idle_add_full (G_PRIORITY_DEFAULT, on_idle, client, NULL);
}

JsonObject *
pilot_registry_client_call_finish (PilotRegistryClient *client, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, client), NULL);
  return g_task_propagate_pointer (G_TASK (result), error);
}

/* --- life --- */

void
pilot_registry_client_close (PilotRegistryClient *client)
{
  g_autoptr (GError) error = g_error_new_literal (PILOT_ERROR, PILOT_ERROR_CANCELLED, "the node is stopping");

  client->closed = TRUE;
  g_clear_handle_id (&client->retry_source, g_source_remove);
  g_clear_handle_id (&client->deadline_source, g_source_remove);
  g_clear_handle_id (&client->idle_source, g_source_remove);
  drop_connection (client);
  fail_all (client, error);
}

void
pilot_registry_client_reconnect (PilotRegistryClient *client)
{
  if (client->closed)
    return;
  drop_connection (client);
  if (client->current != NULL)
    g_queue_push_head (&client->queue, g_steal_pointer (&client->current));
  client->backoff = 0;
  g_clear_handle_id (&client->retry_source, g_source_remove);
  pump (client);
}

gboolean
pilot_registry_client_is_connected (PilotRegistryClient *client)
{
  return client->stream != NULL;
}

gboolean
pilot_registry_client_is_idle (PilotRegistryClient *client)
{
  return client->current == NULL && g_queue_is_empty (&client->queue);
}

const char *
pilot_registry_client_get_reason (PilotRegistryClient *client)
{
  return client->reason;
}

static gboolean
is_fingerprint (const char *text)
{
  gsize length = text != NULL ? strlen (text) : 0;

  for (gsize i = 0; i < length; i++)
    if (!g_ascii_isxdigit (text[i]))
      return FALSE;
  return length == 64;
}

PilotRegistryClient *
pilot_registry_client_new (const char *address, PilotRegistryTls tls, const char *fingerprint, GError **error)
{
  g_autoptr (GSocketConnectable) connectable = NULL;
  PilotRegistryClient *client;

  connectable = g_network_address_parse (address, 0, NULL);
  if (connectable == NULL || g_network_address_get_port (G_NETWORK_ADDRESS (connectable)) == 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "registry address \"%s\" is not of the form HOST:PORT", address);
    return NULL;
  }
  if (tls == PILOT_REGISTRY_TLS_PINNED && !is_fingerprint (fingerprint)) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
                         "a pinned registry certificate needs its SHA-256 fingerprint, 64 hex digits (registry_fingerprint)");
    return NULL;
  }
  if (tls != PILOT_REGISTRY_TLS_NONE && !g_tls_backend_supports_tls (g_tls_backend_get_default ())) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_NOT_SUPPORTED, "TLS needs the package glib-networking");
    return NULL;
  }
  client = g_object_new (PILOT_TYPE_REGISTRY_CLIENT, NULL);
  client->address = g_strdup (address);
  client->tls = tls;
  client->fingerprint = g_strdup (fingerprint);
  return client;
}

void
pilot_registry_client_set_proxy (PilotRegistryClient *client, PilotProxyResolver *proxy)
{
  g_set_object (&client->proxy, proxy);
}

static void
pilot_registry_client_dispose (GObject *object)
{
  pilot_registry_client_close (PILOT_REGISTRY_CLIENT (object));
  G_OBJECT_CLASS (pilot_registry_client_parent_class)->dispose (object);
}

static void
pilot_registry_client_finalize (GObject *object)
{
  PilotRegistryClient *client = PILOT_REGISTRY_CLIENT (object);

  g_free (client->address);
  g_free (client->fingerprint);
  g_free (client->refused);
  g_clear_object (&client->proxy);
  g_free (client->reason);
  G_OBJECT_CLASS (pilot_registry_client_parent_class)->finalize (object);
}

static void
pilot_registry_client_class_init (PilotRegistryClientClass *klass)
{
  G_OBJECT_CLASS (klass)->dispose = pilot_registry_client_dispose;
  G_OBJECT_CLASS (klass)->finalize = pilot_registry_client_finalize;
  signal_link_changed = g_signal_new ("link-changed", G_TYPE_FROM_CLASS (klass), G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
}

static void
pilot_registry_client_init (PilotRegistryClient *client)
{
  g_queue_init (&client->queue);
  client->reason = g_strdup ("");
}
