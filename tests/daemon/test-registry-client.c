/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "daemon/node/registry-client.h"
#include "daemon/node/registry-session.h"
#include "libpilot/pilot-error.h"
#include "protocol/json.h"

/*
 * A registry that follows a script: for each connection it accepts, a list of answers; "" closes the connection instead of answering,
 * "-" never answers.
 */
typedef struct {
  GSocketService *service;
  guint16 port;
  GQueue answers; /* char *, over all connections */
  guint connections, requests;
  GPtrArray *types; /* of the requests, in order */
  GPtrArray *streams;
} Server;

typedef struct {
  Server *server;
  GIOStream *stream;
  PilotRegistryReader *reader;
  guint8 buffer[4096];
} Peer;

static void read_more (Peer *peer);

static void
peer_free (Peer *peer)
{
  g_ptr_array_remove (peer->server->streams, peer->stream);
  g_io_stream_close (peer->stream, NULL, NULL);
  g_object_unref (peer->stream);
  pilot_registry_reader_free (peer->reader);
  g_free (peer);
}

/* FALSE when the script closes the connection. */
static gboolean
answer (Peer *peer, JsonObject *request)
{
  Server *server = peer->server;
  g_autofree char *text = g_queue_pop_head (&server->answers);
  g_autoptr (GBytes) frame = NULL;
  gsize length;
  gconstpointer data;

  server->requests++;
  g_ptr_array_add (server->types, g_strdup (pilot_json_get_string (request, "type")));
  if (text == NULL || *text == '\0')
    return FALSE;
  if (strcmp (text, "-") == 0)
    return TRUE;
  frame = pilot_registry_frame_text (text);
  data = g_bytes_get_data (frame, &length);
  return g_output_stream_write_all (g_io_stream_get_output_stream (peer->stream), data, length, NULL, NULL, NULL);
}

static void
on_read (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Peer *peer = user_data;
  gssize length = g_input_stream_read_finish (G_INPUT_STREAM (source), result, NULL);
  gsize done = 0;

  while (length > 0 && done < (gsize) length) {
    g_autoptr (JsonObject) request = NULL;
    gsize consumed = 0;

    if (!pilot_registry_reader_push (peer->reader, peer->buffer + done, (gsize) length - done, &consumed, &request, NULL))
      length = 0;
    else if (request != NULL && !answer (peer, request))
      length = 0;
    done += consumed;
  }
  if (length > 0)
    read_more (peer);
  else
    peer_free (peer);
}

static void
read_more (Peer *peer)
{
  g_input_stream_read_async (g_io_stream_get_input_stream (peer->stream), peer->buffer, sizeof peer->buffer, G_PRIORITY_DEFAULT, NULL, on_read, peer);
}

static gboolean
on_incoming (GSocketService *service, GSocketConnection *connection, GObject *source, gpointer user_data)
{
  Server *server = user_data;
  Peer *peer = g_new0 (Peer, 1);

  server->connections++;
  peer->server = server;
  peer->stream = G_IO_STREAM (g_object_ref (connection));
  peer->reader = pilot_registry_reader_new (PILOT_REGISTRY_MAX_REQUEST);
  g_ptr_array_add (server->streams, peer->stream);
  read_more (peer);
  return TRUE;
}

static void
server_listen (Server *server)
{
  g_autoptr (GInetAddress) loopback = g_inet_address_new_loopback (G_SOCKET_FAMILY_IPV4);
  g_autoptr (GSocketAddress) wanted = g_inet_socket_address_new (loopback, server->port);
  g_autoptr (GSocketAddress) bound = NULL;
  g_autoptr (GError) error = NULL;

  server->service = g_socket_service_new ();
  g_signal_connect (server->service, "incoming", G_CALLBACK (on_incoming), server);
  g_assert_true (g_socket_listener_add_address (G_SOCKET_LISTENER (server->service), wanted, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, NULL, &bound, &error));
  server->port = g_inet_socket_address_get_port (G_INET_SOCKET_ADDRESS (bound));
}

static void
server_close (Server *server)
{
  g_socket_service_stop (server->service);
  g_socket_listener_close (G_SOCKET_LISTENER (server->service));
  g_clear_object (&server->service);
  for (guint i = 0; i < server->streams->len; i++) {
    g_autoptr (GError) error = NULL;

    g_assert_true (g_socket_shutdown (g_socket_connection_get_socket (server->streams->pdata[i]), TRUE, TRUE, &error));
  }
}

typedef struct {
  Server server;
  PilotRegistryClient *client;
  GPtrArray *results; /* char *: the answer's "type" or "!code" */
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  g_autofree char *address = NULL;
  g_autoptr (GError) error = NULL;

  g_queue_init (&fixture->server.answers);
  fixture->server.types = g_ptr_array_new_with_free_func (g_free);
  fixture->server.streams = g_ptr_array_new ();
  server_listen (&fixture->server);
  address = g_strdup_printf ("127.0.0.1:%u", fixture->server.port);
  fixture->client = pilot_registry_client_new (address, PILOT_REGISTRY_TLS_NONE, NULL, &error);
  g_assert_no_error (error);
  fixture->results = g_ptr_array_new_with_free_func (g_free);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  pilot_registry_client_close (fixture->client);
  if (fixture->server.service != NULL)
    server_close (&fixture->server);
  while (fixture->server.streams->len > 0 || g_main_context_pending (NULL))
    g_main_context_iteration (NULL, TRUE);
  g_assert_finalize_object (fixture->client);
  g_queue_clear_full (&fixture->server.answers, g_free);
  g_ptr_array_unref (fixture->server.types);
  g_ptr_array_unref (fixture->server.streams);
  g_ptr_array_unref (fixture->results);
}

static void
script (Fixture *fixture, const char *text)
{
  g_queue_push_tail (&fixture->server.answers, g_strdup (text));
}

static void
on_result (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Fixture *fixture = user_data;
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) answer = pilot_registry_client_call_finish (PILOT_REGISTRY_CLIENT (source), result, &error);

  if (answer != NULL)
    g_ptr_array_add (fixture->results, g_strdup (pilot_json_get_string (answer, "type")));
  else
    g_ptr_array_add (fixture->results, g_strdup_printf ("!%s", pilot_error_code_to_string (pilot_error_code (error))));
}

static void
lookup (Fixture *fixture)
{
  pilot_registry_client_call_async (fixture->client, pilot_registry_request_lookup (7), "lookup", NULL, on_result, fixture);
}

static void
wait_results (Fixture *fixture, guint n)
{
  gint64 end = g_get_monotonic_time () + 20 * G_USEC_PER_SEC;

  while (fixture->results->len < n) {
    g_main_context_iteration (NULL, TRUE);
    g_assert_cmpint (g_get_monotonic_time (), <, end);
  }
}

static const char *
result (Fixture *fixture, guint i)
{
  return fixture->results->pdata[i];
}

#define LOOKUP_OK "{\"type\":\"lookup_ok\",\"node_id\":7}"

static void
test_queue (Fixture *fixture, gconstpointer data)
{
  for (guint i = 0; i < 5; i++) {
    script (fixture, i == 2 ? "{\"type\":\"error\",\"error\":\"node 7: node not found\"}" : LOOKUP_OK);
    lookup (fixture);
  }
  wait_results (fixture, 5);
  g_assert_cmpstr (result (fixture, 0), ==, "lookup_ok");
  g_assert_cmpstr (result (fixture, 2), ==, "!not_found");
  g_assert_cmpstr (result (fixture, 4), ==, "lookup_ok");
  g_assert_cmpuint (fixture->server.connections, ==, 1);
}

/* A connection that ends without an answer: once more, on a new one. */
static void
test_resend (Fixture *fixture, gconstpointer data)
{
  script (fixture, "");
  script (fixture, LOOKUP_OK);
  lookup (fixture);
  wait_results (fixture, 1);
  g_assert_cmpstr (result (fixture, 0), ==, "lookup_ok");
  g_assert_cmpuint (fixture->server.connections, ==, 2);
  g_assert_cmpuint (fixture->server.requests, ==, 2);

  script (fixture, "");
  script (fixture, "");
  lookup (fixture);
  wait_results (fixture, 2);
  g_assert_cmpstr (result (fixture, 1), ==, "!connection_failed");
  g_assert_cmpuint (fixture->server.requests, ==, 4);
}

static void
test_away (Fixture *fixture, gconstpointer data)
{
  gint64 began = g_get_monotonic_time ();

  server_close (&fixture->server);
  lookup (fixture);
  wait_results (fixture, 1);
  g_assert_cmpstr (result (fixture, 0), ==, "!connection_failed");
  /* At once, not after the time limit of a call: a dial has other ways to go on. */
  g_assert_cmpint (g_get_monotonic_time () - began, <, 3 * G_USEC_PER_SEC);
  g_assert_nonnull (strstr (pilot_registry_client_get_reason (fixture->client), "registry 127.0.0.1:"));

  /* It comes back, and is found without anybody asking. */
  server_listen (&fixture->server);
  while (!pilot_registry_client_is_connected (fixture->client))
    g_main_context_iteration (NULL, TRUE);
  g_assert_cmpstr (pilot_registry_client_get_reason (fixture->client), ==, "");
  script (fixture, LOOKUP_OK);
  lookup (fixture);
  wait_results (fixture, 2);
  g_assert_cmpstr (result (fixture, 1), ==, "lookup_ok");
}

/* No answer: the call ends in time, and a late answer is not taken for the next call's. */
static void
test_deadline (Fixture *fixture, gconstpointer data)
{
  gint64 began = g_get_monotonic_time ();

  script (fixture, "-");
  script (fixture, LOOKUP_OK);
  lookup (fixture);
  wait_results (fixture, 1);
  g_assert_cmpstr (result (fixture, 0), ==, "!timeout");
  g_assert_cmpint (g_get_monotonic_time () - began, <, 10 * G_USEC_PER_SEC);
  lookup (fixture);
  wait_results (fixture, 2);
  g_assert_cmpstr (result (fixture, 1), ==, "lookup_ok");
  g_assert_cmpuint (fixture->server.connections, ==, 2);
}

static void
test_rubbish (Fixture *fixture, gconstpointer data)
{
  script (fixture, "[1,2");
  lookup (fixture);
  wait_results (fixture, 1);
  g_assert_cmpstr (result (fixture, 0), ==, "!connection_failed");
  script (fixture, "{\"node_id\":7}");
  lookup (fixture);
  wait_results (fixture, 2);
  g_assert_cmpstr (result (fixture, 1), ==, "!corrupt");
  script (fixture, "{\"type\":\"resolve_ok\"}");
  lookup (fixture);
  wait_results (fixture, 3);
  g_assert_cmpstr (result (fixture, 2), ==, "!corrupt");
}

static void
test_bad_address (void)
{
  static const char *const addresses[] = { "", "host", "host:0", "host:x" };

  for (guint i = 0; i < G_N_ELEMENTS (addresses); i++) {
    g_autoptr (GError) error = NULL;

    g_assert_null (pilot_registry_client_new (addresses[i], PILOT_REGISTRY_TLS_NONE, NULL, &error));
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  }
}

/* --- session --- */

static void
on_registered (PilotRegistrySession *session, guint node, const char *hostname, guint32 *out)
{
  *out = node;
}

static void
test_session (Fixture *fixture, gconstpointer data)
{
  guint8 seed[PILOT_ED25519_SEED_SIZE] = { 1 };
  static const char *const expected[] = { "register", "register", "set_visibility", "set_hostname", "heartbeat", "register", "set_visibility", "set_hostname" };
  PilotIdentity identity;
  PilotRegistrySession *session;
  guint32 node = 0;

  pilot_identity_init (&identity, seed);
  session = pilot_registry_session_new (fixture->client, &identity, 100);
  g_signal_connect (session, "registered", G_CALLBACK (on_registered), &node);
  pilot_registry_session_profile (session)->hostname = g_strdup ("alpha");
  script (fixture, "{\"type\":\"error\",\"error\":\"registry full\"}");
  script (fixture, "{\"type\":\"register_ok\",\"node_id\":5,\"address\":\"0:0000.0000.0005\"}");
  script (fixture, "{\"type\":\"set_visibility_ok\"}");
  script (fixture, "{\"type\":\"set_hostname_ok\"}");
  script (fixture, "{\"type\":\"error\",\"error\":\"node 5: node not found\"}");
  script (fixture, "{\"type\":\"register_ok\",\"node_id\":6,\"address\":\"0:0000.0000.0006\"}");
  script (fixture, "{\"type\":\"set_visibility_ok\"}");
  script (fixture, "{\"type\":\"set_hostname_ok\"}");
  script (fixture, "-");
  pilot_registry_session_register (session);
  while (*pilot_registry_session_get_detail (session) == '\0' || strstr (pilot_registry_session_get_detail (session), "full") == NULL)
    g_main_context_iteration (NULL, TRUE);
  g_assert_false (pilot_registry_session_is_online (session));
  while (node != 5)
    g_main_context_iteration (NULL, TRUE);
  g_assert_true (pilot_registry_session_is_online (session));
  while (node != 6 || fixture->server.requests < G_N_ELEMENTS (expected))
    g_main_context_iteration (NULL, TRUE);
  for (guint i = 0; i < G_N_ELEMENTS (expected); i++)
    g_assert_cmpstr (fixture->server.types->pdata[i], ==, expected[i]);
  pilot_registry_session_stop (session);
  pilot_registry_client_close (fixture->client);
  while (g_main_context_iteration (NULL, FALSE))
    ;
  g_assert_finalize_object (session);
}

static GLogWriterOutput
ignore_log (GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer user_data)
{
  return level & (G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_ERROR) ? g_log_writer_default (level, fields, n_fields, user_data) : G_LOG_WRITER_HANDLED;
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_log_set_writer_func (ignore_log, NULL, NULL);
#define ADD(name, func) g_test_add ("/daemon/registry-client/" name, Fixture, NULL, set_up, func, tear_down)
  ADD ("queue", test_queue);
  ADD ("resend", test_resend);
  ADD ("away", test_away);
  ADD ("deadline", test_deadline);
  ADD ("rubbish", test_rubbish);
  g_test_add_func ("/daemon/registry-client/bad-address", test_bad_address);
  ADD ("session", test_session);
  return g_test_run ();
}
