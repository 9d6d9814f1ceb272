/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol/bytes.h"

gint harness_time = 1790000000;

static gint64
harness_now (void)
{
  return g_atomic_int_get (&harness_time);
}

/* Server */

static void
harness_failed (const GError *error,
                gpointer user_data)
{
  Harness *harness = user_data;

  harness->failure = g_strdup (error->message);
}

static gpointer
harness_thread (gpointer user_data)
{
  Harness *harness = user_data;
  g_autoptr (GError) error = NULL;

  g_main_context_push_thread_default (harness->context);
  harness->rendezvous = pilot_rendezvous_new (harness->store, &harness->options, harness_failed, harness, &error);
  g_assert_no_error (error);
  pilot_rendezvous_get_registry (harness->rendezvous, &harness->registry);
  pilot_rendezvous_get_beacon (harness->rendezvous, &harness->beacon);
  pilot_rendezvous_get_compat (harness->rendezvous, &harness->compat);
  pilot_rendezvous_get_compat_plain (harness->rendezvous, &harness->compat_plain);
  g_async_queue_push (harness->started, harness);
  g_main_loop_run (harness->loop);
  pilot_rendezvous_close (harness->rendezvous, &error);
  g_assert_no_error (error);
  g_main_context_pop_thread_default (harness->context);
  return NULL;
}

void
harness_init (Harness *harness,
              PilotStore *store)
{
  memset (harness, 0, sizeof *harness);
  pilot_rendezvous_options_init (&harness->options);
  g_assert_true (pilot_endpoint_parse ("127.0.0.1:0", &harness->options.registry, NULL));
  harness->options.beacon = harness->options.registry;
  harness->options.now = harness_now;
  harness->options.server.request_burst = 100000;
  harness->options.service.registration_burst = 10000;
  harness->store = store != NULL ? store : pilot_store_memory_new ();
}

void
harness_start (Harness *harness)
{
  harness->context = g_main_context_new ();
  harness->loop = g_main_loop_new (harness->context, FALSE);
  harness->started = g_async_queue_new ();
  harness->thread = g_thread_new ("rendezvous", harness_thread, harness);
  g_async_queue_pop (harness->started);
}

static gboolean
quit (gpointer user_data)
{
  g_main_loop_quit (user_data);
  return G_SOURCE_REMOVE;
}

static void
attach_idle (Harness *harness,
             GSourceFunc func,
             gpointer data)
{
  g_autoptr (GSource) source = g_idle_source_new ();

  g_source_set_priority (source, G_PRIORITY_DEFAULT);
  g_source_set_callback (source, func, data, NULL);
  g_source_attach (source, harness->context);
}

void
harness_stop (Harness *harness)
{
  attach_idle (harness, quit, harness->loop);
  g_thread_join (harness->thread);
  g_main_loop_unref (harness->loop);
  g_main_context_unref (harness->context);
  g_async_queue_unref (harness->started);
}

void
harness_clear (Harness *harness)
{
  pilot_store_close (harness->store);
  g_free (harness->failure);
}

typedef struct
{
  Harness *harness;
  void (*func) (Harness *harness, gpointer data);
  gpointer data;
} Job;

static gboolean
run_job (gpointer user_data)
{
  Job *job = user_data;

  job->func (job->harness, job->data);
  g_async_queue_push (job->harness->started, job);
  return G_SOURCE_REMOVE;
}

void
harness_run (Harness *harness,
             void (*func) (Harness *harness, gpointer data),
             gpointer data)
{
  Job job = { harness, func, data };

  attach_idle (harness, run_job, &job);
  g_async_queue_pop (harness->started);
}

/* Client */

void
client_open (Client *client,
             const PilotEndpoint *to,
             const gchar *from)
{
  static const int on = 1;
  struct timeval timeout = { .tv_sec = 20 };
  struct sockaddr_storage address;
  socklen_t length = pilot_endpoint_to_sockaddr (to, FALSE, &address);

  *client = (Client) { .fd = socket (address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0) };
  g_assert_cmpint (client->fd, >=, 0);
  /* As Go does; else the second segment of each request waits for the acknowledgement of the first. */
  g_assert_cmpint (setsockopt (client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), ==, 0);
  if (from != NULL) {
    struct sockaddr_in source = { .sin_family = AF_INET };

    g_assert_cmpint (inet_pton (AF_INET, from, &source.sin_addr), ==, 1);
    g_assert_cmpint (bind (client->fd, (struct sockaddr *) &source, sizeof source), ==, 0);
  }
  g_assert_cmpint (setsockopt (client->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout), ==, 0);
  g_assert_cmpint (setsockopt (client->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout), ==, 0);
  g_assert_cmpint (connect (client->fd, (struct sockaddr *) &address, length), ==, 0);
}

void
client_open_tls (Client *client,
                 const PilotEndpoint *to)
{
  client_open (client, to, NULL);
  g_assert_cmpint (gnutls_init (&client->tls, GNUTLS_CLIENT), ==, 0);
  g_assert_cmpint (gnutls_certificate_allocate_credentials (&client->credentials), ==, 0);
  g_assert_cmpint (gnutls_set_default_priority (client->tls), ==, 0);
  g_assert_cmpint (gnutls_credentials_set (client->tls, GNUTLS_CRD_CERTIFICATE, client->credentials), ==, 0);
  gnutls_transport_set_int (client->tls, client->fd);
  g_assert_cmpint (gnutls_handshake (client->tls), ==, 0);
}

void
client_close (Client *client)
{
  if (client->tls != NULL) {
    gnutls_deinit (client->tls);
    gnutls_certificate_free_credentials (client->credentials);
  }
  close (client->fd);
}

void
client_write (Client *client,
              gconstpointer data,
              gsize length)
{
  const guint8 *bytes = data;

  while (length > 0) {
    gssize n = client->tls != NULL ? gnutls_record_send (client->tls, bytes, length)
                                   : send (client->fd, bytes, length, MSG_NOSIGNAL);

    g_assert_cmpint (n, >, 0);
    bytes += n;
    length -= (gsize) n;
  }
}

/* Two segments, as Go writes it. */
void
client_send (Client *client,
             const gchar *body)
{
  guint8 header[4];

  pilot_bytes_put_u32 (header, (guint32) strlen (body));
  client_write (client, header, sizeof header);
  client_write (client, body, strlen (body));
}

gboolean
client_read (Client *client,
             guint8 *data,
             gsize length)
{
  while (length > 0) {
    gssize n = client->tls != NULL ? gnutls_record_recv (client->tls, data, length) : recv (client->fd, data, length, 0);

    if (n < 0 && client->tls == NULL)
      g_assert_cmpint (errno, ==, ECONNRESET);
    if (n <= 0)
      return FALSE;
    data += n;
    length -= (gsize) n;
  }
  return TRUE;
}

JsonObject *
client_receive (Client *client)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (GError) error = NULL;
  g_autofree gchar *body = NULL;
  guint8 header[4];
  guint32 length;

  if (!client_read (client, header, sizeof header))
    return NULL;
  length = pilot_bytes_get_u32 (header);
  g_assert_cmpuint (length, <=, 4 * 1024 * 1024);
  body = g_malloc0 (length + 1);
  g_assert_true (client_read (client, (guint8 *) body, length));
  json_parser_load_from_data (parser, body, length, &error);
  g_assert_no_error (error);
  return json_object_ref (json_node_get_object (json_parser_get_root (parser)));
}

void
client_expect_close (Client *client)
{
  guint8 byte;

  g_assert_false (client_read (client, &byte, 1));
}

static JsonObject *
call (Client *client,
      const gchar *format,
      va_list args)
{
  g_autofree gchar *body = g_strdup_vprintf (format, args);
  JsonObject *response;

  client_send (client, body);
  response = client_receive (client);
  g_assert_nonnull (response);
  g_assert_true (json_object_has_member (response, "type"));
  return response;
}

JsonObject *
client_call (Client *client,
             const gchar *format,
             ...)
{
  JsonObject *response;
  va_list args;

  va_start (args, format);
  response = call (client, format, args);
  va_end (args);
  return response;
}

JsonObject *
client_expect (Client *client,
               const gchar *type,
               const gchar *format,
               ...)
{
  JsonObject *response;
  va_list args;

  va_start (args, format);
  response = call (client, format, args);
  va_end (args);
  if (json_object_has_member (response, "error"))
    g_test_message ("error: %s", json_object_get_string_member (response, "error"));
  g_assert_cmpstr (json_object_get_string_member (response, "type"), ==, type);
  return response;
}

void
client_expect_error (Client *client,
                     const gchar *text,
                     const gchar *format,
                     ...)
{
  g_autoptr (JsonObject) response = NULL;
  va_list args;

  va_start (args, format);
  response = call (client, format, args);
  va_end (args);
  g_assert_cmpstr (json_object_get_string_member (response, "type"), ==, "error");
  g_assert_cmpuint (json_object_get_size (response), ==, 2);
  g_assert_cmpstr (json_object_get_string_member (response, "error"), ==, text);
}

/* Datagrams */

int
udp_open (const gchar *from,
          const PilotEndpoint *to)
{
  struct timeval timeout = { .tv_sec = 20 };
  struct sockaddr_in source = { .sin_family = AF_INET };
  struct sockaddr_storage address;
  socklen_t length = pilot_endpoint_to_sockaddr (to, FALSE, &address);
  int fd = socket (AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

  g_assert_cmpint (inet_pton (AF_INET, from, &source.sin_addr), ==, 1);
  g_assert_cmpint (bind (fd, (struct sockaddr *) &source, sizeof source), ==, 0);
  g_assert_cmpint (setsockopt (fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout), ==, 0);
  g_assert_cmpint (connect (fd, (struct sockaddr *) &address, length), ==, 0);
  return fd;
}

void
udp_settle (Harness *harness)
{
  int fd = udp_open ("127.0.0.1", &harness->beacon);
  guint8 reply[8];

  g_assert_cmpint (send (fd, "\1\0\0\0\0", 5, 0), ==, 5);
  g_assert_cmpint (recv (fd, reply, sizeof reply, 0), ==, 8);
  close (fd);
}

/* Person */

void
person_init (Person *person,
             gchar letter)
{
  guint8 seed[PILOT_ED25519_SEED_SIZE];
  g_autofree gchar *key = NULL;

  memset (seed, letter, sizeof seed);
  memset (person, 0, sizeof *person);
  pilot_identity_init (&person->identity, seed);
  key = g_base64_encode (person->identity.public_key, sizeof person->identity.public_key);
  g_strlcpy (person->key, key, sizeof person->key);
}

const gchar *
person_sign (Person *person,
             const gchar *format,
             ...)
{
  static gchar texts[32][100];
  static guint next;
  guint8 signature[PILOT_ED25519_SIGNATURE_SIZE];
  g_autofree gchar *challenge = NULL;
  g_autofree gchar *text = NULL;
  gchar *slot = texts[next++ % G_N_ELEMENTS (texts)];
  va_list args;

  va_start (args, format);
  challenge = g_strdup_vprintf (format, args);
  va_end (args);
  pilot_ed25519_sign (person->identity.seed, person->identity.public_key, challenge, strlen (challenge), signature);
  text = g_base64_encode (signature, sizeof signature);
  g_strlcpy (slot, text, sizeof texts[0]);
  return slot;
}

void
person_register (Person *person,
                 Client *client,
                 guint16 port)
{
  g_autoptr (JsonObject) response = NULL;
  g_autofree gchar *listen = g_strdup_printf ("127.0.0.1:%u", port);

  response = client_expect (client, "register_ok", "{\"type\":\"register\",\"listen_addr\":\"%s\",\"public_key\":\"%s\",\"signature\":\"%s\"}",
                            listen, person->key, person_sign (person, "register:%s:%s", listen, person->key));
  person->id = (guint32) json_object_get_int_member (response, "node_id");
  g_assert_cmpuint (person->id, >, 0);
}

JsonObject *
person_poll (Person *person,
             Client *client)
{
  return client_expect (client, "poll_handshakes_ok", "{\"type\":\"poll_handshakes\",\"node_id\":%u,\"signature\":\"%s\"}",
                        person->id, person_sign (person, "poll_handshakes:%u", person->id));
}

void
person_request (Person *person,
                Client *client,
                guint32 to,
                const gchar *justification)
{
  g_autoptr (JsonObject) response = NULL;

  response = client_expect (client, "request_handshake_ok", "{\"type\":\"request_handshake\",\"from_node_id\":%u,\"to_node_id\":%u,"
                                                            "\"justification\":\"%s\",\"signature\":\"%s\"}",
                            person->id, to, justification,
                            person_sign (person, "handshake:%u:%u", person->id, to));
  g_assert_cmpstr (json_object_get_string_member (response, "status"), ==, "delivered");
}

void
person_report (Person *person,
               Client *client,
               guint32 peer)
{
  g_autoptr (JsonObject) response = NULL;

  response = client_expect (client, "report_trust_ok", "{\"type\":\"report_trust\",\"node_id\":%u,\"peer_id\":%u,\"signature\":\"%s\"}",
                            person->id, peer, person_sign (person, "report_trust:%u:%u", person->id, peer));
}

gboolean
check_trust (Client *client,
             guint32 a,
             guint32 b)
{
  g_autoptr (JsonObject) response = client_expect (client, "check_trust_ok",
                                                   "{\"type\":\"check_trust\",\"node_id\":%u,\"peer_id\":%u}", a, b);

  return json_object_get_boolean_member (response, "trusted");
}
