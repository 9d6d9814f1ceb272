/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <locale.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "compat-client.h"
#include "protocol/bytes.h"

/* The beacon over WebSocket, with clients that write every byte by hand. */

typedef struct
{
  Harness harness;
  Client registry;
  Person alice;
  Person bob;
} Fixture;

static void
start (Fixture *fixture)
{
  harness_start (&fixture->harness);
  client_open (&fixture->registry, &fixture->harness.registry, NULL);
  person_init (&fixture->alice, 'a');
  person_init (&fixture->bob, 'b');
  person_register (&fixture->alice, &fixture->registry, 4001);
  person_register (&fixture->bob, &fixture->registry, 4002);
}

static void
init (Fixture *fixture)
{
  harness_init (&fixture->harness, NULL);
  fixture->harness.options.compat_plain = fixture->harness.options.registry;
}

static void
set_up (Fixture *fixture,
        gconstpointer data)
{
  init (fixture);
  start (fixture);
}

static void
tear_down (Fixture *fixture,
           gconstpointer data)
{
  client_close (&fixture->registry);
  harness_stop (&fixture->harness);
  harness_clear (&fixture->harness);
}

/* One request, one answer that begins with this; then the connection ends. */
static void
expect_answer (Fixture *fixture,
               const gchar *request,
               const gchar *status,
               const gchar *body)
{
  Client client;
  g_autofree gchar *head = NULL;
  g_autofree gchar *text = g_malloc0 (strlen (body) + 1);

  client_open (&client, &fixture->harness.compat_plain, NULL);
  client_write (&client, request, strlen (request));
  head = read_head (&client);
  g_test_message ("%s", head);
  g_assert_true (g_str_has_prefix (head, status));
  g_assert_true (client_read (&client, (guint8 *) text, strlen (body)));
  g_assert_cmpstr (text, ==, body);
  client_expect_close (&client);
  client_close (&client);
}

static void
log_in (Fixture *fixture,
        Client *client,
        Person *person)
{
  static const gchar ok[] = "{\"type\":\"auth_ok\"}";
  g_autofree gchar *challenge = NULL;

  client_open (client, &fixture->harness.compat_plain, NULL);
  challenge = upgrade (client, GOOD);
  send_login (client, person->id, person->key, person_sign (person, "compat_auth:%u:%s", person->id, challenge));
  expect_frame (client, 1, ok, sizeof ok - 1);
}

/* --- datagrams --- */

/* Registers the person's socket; the reply is read. */
static int
udp_discover (Fixture *fixture,
              Person *person)
{
  int fd = udp_open ("127.0.0.1", &fixture->harness.beacon);
  guint8 data[64] = { 1 };

  pilot_bytes_put_u32 (data + 1, person->id);
  g_assert_cmpint (send (fd, data, 5, 0), ==, 5);
  g_assert_cmpint (recv (fd, data, sizeof data, 0), ==, 8);
  g_assert_cmpuint (data[0], ==, 2);
  return fd;
}

/* --- what HTTP says --- */

static void
test_http (Fixture *fixture,
           gconstpointer data)
{
  g_autofree gchar *huge = g_strnfill (9000, 'x');
  g_autofree gchar *long_head = g_strconcat ("GET /", huge, NULL);

  expect_answer (fixture, "GET /v1/compat HTTP/1.1\r\nHost: x\r\nUser-Agent: pilot-daemon/transport-auto\r\nConnection: close\r\n\r\n",
                 "HTTP/1.1 426 Upgrade Required\r\n", "this is the beacon of a Pilot network\n");
  expect_answer (fixture, "GET /health HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n", "");
  expect_answer (fixture, "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 ", "");
  expect_answer (fixture, "POST /v1/compat HTTP/1.1\r\n\r\n", "HTTP/1.1 405 ", "");
  expect_answer (fixture, UPGRADE ("/v1/compat", "Origin: https://example.org\r\n"), "HTTP/1.1 403 ", "");
  expect_answer (fixture, "GET /v1/compat HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n\r\n",
                 "HTTP/1.1 426 ", "this is the beacon of a Pilot network\n");
  expect_answer (fixture, "GET /v1/compat HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
                 "HTTP/1.1 400 ", "");
  expect_answer (fixture, "rubbish\r\n\r\n", "HTTP/1.1 400 ", "");
  expect_answer (fixture, long_head, "HTTP/1.1 431 ", "");
}

/* A client may leave the protocol away, come from "pilot://", and send everything byte by byte. */
static void
test_upgrade (Fixture *fixture,
              gconstpointer data)
{
  static const gchar slow[] = UPGRADE ("/v1/compat?a=b", "Origin: pilot://desktop\r\n");
  g_autofree gchar *challenge = NULL;
  Client client;

  client_open (&client, &fixture->harness.compat_plain, NULL);
  for (gsize i = 0; i + 1 < sizeof slow - 1; i++)
    client_write (&client, slow + i, 1);
  challenge = upgrade (&client, "\n");
  g_assert_nonnull (challenge);
  client_close (&client);
}

/* The same port serves the registry. */
static void
test_registry (Fixture *fixture,
               gconstpointer data)
{
  g_autoptr (JsonObject) response = NULL;
  g_autoptr (JsonObject) again = NULL;
  Client client;

  client_open (&client, &fixture->harness.compat_plain, NULL);
  response = client_expect (&client, "lookup_ok", "{\"type\":\"lookup\",\"node_id\":%u}", fixture->alice.id);
  g_assert_cmpint (json_object_get_int_member (response, "node_id"), ==, fixture->alice.id);
  again = client_expect (&client, "lookup_ok", "{\"type\":\"lookup\",\"node_id\":%u}", fixture->bob.id);
  client_close (&client);
}

/* --- the login --- */

static void
expect_refused (Fixture *fixture,
                guint32 node,
                Person *signer,
                const gchar *word)
{
  g_autofree gchar *challenge = NULL;
  Client client;

  client_open (&client, &fixture->harness.compat_plain, NULL);
  challenge = upgrade (&client, GOOD);
  send_login (&client, node, signer->key, person_sign (signer, "%s:%u:%s", word, node, challenge));
  expect_closed (&client, 1008, "auth failed");
  client_close (&client);
}

static void
test_login (Fixture *fixture,
            gconstpointer data)
{
  static const gchar *const rubbish[] = { "", "{}", "[]", "{\"type\":\"auth_reply\",\"node_id\":\"1\"}", "\xff\xfe" };
  g_autofree gchar *first = NULL;
  g_autofree gchar *second = NULL;
  Client client, other;

  log_in (fixture, &client, &fixture->alice);
  client_close (&client);
  expect_refused (fixture, fixture->alice.id, &fixture->bob, "compat_auth");
  expect_refused (fixture, 12345, &fixture->alice, "compat_auth");
  expect_refused (fixture, 0, &fixture->alice, "compat_auth");
  expect_refused (fixture, fixture->alice.id, &fixture->alice, "heartbeat");
  for (guint i = 0; i < G_N_ELEMENTS (rubbish); i++) {
    g_autofree gchar *challenge = NULL;

    client_open (&client, &fixture->harness.compat_plain, NULL);
    challenge = upgrade (&client, GOOD);
    send_frame (&client, i == 0 ? 0x82 : 0x81, rubbish[i], strlen (rubbish[i]));
    expect_closed (&client, 1008, "auth failed");
    client_close (&client);
  }
  /* A signature is for one challenge only. */
  client_open (&client, &fixture->harness.compat_plain, NULL);
  client_open (&other, &fixture->harness.compat_plain, NULL);
  first = upgrade (&client, GOOD);
  second = upgrade (&other, GOOD);
  g_assert_cmpstr (first, !=, second);
  send_login (&other, fixture->alice.id, fixture->alice.key, person_sign (&fixture->alice, "compat_auth:%u:%s", fixture->alice.id, first));
  expect_closed (&other, 1008, "auth failed");
  client_close (&client);
  client_close (&other);
}

/* 31 s by the server's clock are too late, also within its patience. */
static void
test_late_login (Fixture *fixture,
                 gconstpointer data)
{
  g_autofree gchar *challenge = NULL;
  Client client;

  client_open (&client, &fixture->harness.compat_plain, NULL);
  challenge = upgrade (&client, GOOD);
  g_atomic_int_add (&harness_time, 31);
  send_login (&client, fixture->alice.id, fixture->alice.key, person_sign (&fixture->alice, "compat_auth:%u:%s", fixture->alice.id, challenge));
  expect_closed (&client, 1008, "auth failed");
  client_close (&client);
}

static void
test_patience (void)
{
  Fixture fixture = { 0 };
  Client silent, mute, idle;
  g_autofree gchar *challenge = NULL;

  init (&fixture);
  fixture.harness.options.compat_limits.head_timeout = 1;
  fixture.harness.options.compat_limits.auth_timeout = 1;
  fixture.harness.options.compat_limits.idle_timeout = 1;
  start (&fixture);
  client_open (&silent, &fixture.harness.compat_plain, NULL);
  client_write (&silent, "GET /v1", 7);
  client_open (&mute, &fixture.harness.compat_plain, NULL);
  challenge = upgrade (&mute, GOOD);
  log_in (&fixture, &idle, &fixture.alice);
  client_expect_close (&silent);
  expect_closed (&mute, 1008, "auth failed");
  expect_closed (&idle, 1008, "idle");
  client_close (&silent);
  client_close (&mute);
  client_close (&idle);
  tear_down (&fixture, NULL);
}

/* --- data --- */

static void
test_discover (Fixture *fixture,
               gconstpointer data)
{
  struct sockaddr_in name;
  socklen_t length = sizeof name;
  guint8 reply[8] = { 2, 4 };
  guint8 request[5] = { 1 };
  Client client;

  log_in (fixture, &client, &fixture->alice);
  g_assert_cmpint (getsockname (client.fd, (struct sockaddr *) &name, &length), ==, 0);
  memcpy (reply + 2, &name.sin_addr, 4);
  memcpy (reply + 6, &name.sin_port, 2);
  pilot_bytes_put_u32 (request + 1, fixture->alice.id);
  send_frame (&client, 0x82, request, 5);
  expect_frame (&client, 2, reply, 8);
  /* In fragments, with a ping between; texts are ignored; so is nothing at all. */
  send_frame (&client, 0x02, request, 2);
  send_frame (&client, 0x89, "hello", 5);
  send_frame (&client, 0x80, request + 2, 3);
  expect_frame (&client, 10, "hello", 5);
  expect_frame (&client, 2, reply, 8);
  send_frame (&client, 0x81, "{}", 2);
  send_frame (&client, 0x82, "", 0);
  send_frame (&client, 0x82, request, 5);
  expect_frame (&client, 2, reply, 8);
  client_close (&client);
}

/* Both ways between WebSocket and UDP, and between two WebSockets. */
static void
test_relay (Fixture *fixture,
            gconstpointer data)
{
  static const gsize lengths[] = { 0, 1, 100, 1222, 20000 };
  g_autofree guint8 *out = g_malloc (66000);
  guint8 in[66000];
  Client alice, bob;
  int fd;

  log_in (fixture, &alice, &fixture->alice);
  fd = udp_discover (fixture, &fixture->bob);
  for (guint i = 0; i < G_N_ELEMENTS (lengths); i++) {
    gsize length = relay (out, fixture->alice.id, fixture->bob.id, lengths[i]);

    send_frame (&alice, 0x82, out, length);
    g_assert_cmpint (recv (fd, in, sizeof in, 0), ==, (gssize) length - 4);
    g_assert_cmpuint (in[0], ==, 6);
    g_assert_cmpuint (pilot_bytes_get_u32 (in + 1), ==, fixture->alice.id);
    g_assert_cmpmem (in + 5, lengths[i], out + 9, lengths[i]);

    length = relay (out, fixture->bob.id, fixture->alice.id, lengths[i]);
    g_assert_cmpint (send (fd, out, length, 0), ==, (gssize) length);
    expect_delivery (&alice, fixture->bob.id, lengths[i]);
  }
  log_in (fixture, &bob, &fixture->bob);
  send_frame (&alice, 0x82, out, relay (out, fixture->alice.id, fixture->bob.id, 500));
  expect_delivery (&bob, fixture->alice.id, 500);
  /* What a client of the reference would choke on is left out; what comes behind arrives. */
  send_frame (&alice, 0x82, out, relay (out, fixture->alice.id, fixture->bob.id, 32764));
  send_frame (&alice, 0x82, out, relay (out, fixture->alice.id, fixture->bob.id, 32763));
  expect_delivery (&bob, fixture->alice.id, 32763);
  client_close (&alice);
  client_close (&bob);
  close (fd);
}

/* Nobody speaks for another, and a node with a connection cannot be stolen by datagrams, nor be made to punch. */
static void
test_spoofing (Fixture *fixture,
               gconstpointer data)
{
  guint8 out[128], in[128], punch[9] = { 3 };
  Client alice, bob;
  int thief;

  log_in (fixture, &alice, &fixture->alice);
  log_in (fixture, &bob, &fixture->bob);
  /* A discover for alice from elsewhere is answered, and moves nothing. */
  thief = udp_discover (fixture, &fixture->alice);
  send_frame (&alice, 0x82, out, relay (out, fixture->bob.id, fixture->bob.id, 10)); /* in bob's name */
  g_assert_cmpint (send (thief, out, relay (out, fixture->alice.id, fixture->bob.id, 20), 0), >, 0);
  pilot_bytes_put_u32 (punch + 1, fixture->alice.id);
  pilot_bytes_put_u32 (punch + 5, fixture->bob.id);
  send_frame (&alice, 0x82, punch, sizeof punch);
  g_assert_cmpint (send (thief, punch, sizeof punch, 0), ==, sizeof punch);
  close (udp_discover (fixture, &fixture->bob)); /* the thief's datagrams have been handled */
  send_frame (&alice, 0x82, out, relay (out, fixture->alice.id, fixture->bob.id, 30));
  expect_delivery (&bob, fixture->alice.id, 30);
  send_frame (&bob, 0x82, out, relay (out, fixture->bob.id, fixture->alice.id, 40));
  expect_delivery (&alice, fixture->bob.id, 40);
  g_assert_cmpint (recv (thief, in, sizeof in, MSG_DONTWAIT), ==, -1);
  g_assert_cmpint (errno, ==, EAGAIN);
  close (thief);
  client_close (&alice);
  client_close (&bob);
}

/* The newest connection of a node is the one; the end of the old one does not end it. */
static void
test_replaced (Fixture *fixture,
               gconstpointer data)
{
  guint8 out[128];
  Client first, second, bob;

  log_in (fixture, &first, &fixture->alice);
  log_in (fixture, &bob, &fixture->bob);
  log_in (fixture, &second, &fixture->alice);
  send_frame (&first, 0x82, out, relay (out, fixture->alice.id, fixture->bob.id, 11)); /* too late */
  expect_closed (&first, 1000, "replaced");
  client_close (&first);
  send_frame (&second, 0x82, out, relay (out, fixture->alice.id, fixture->bob.id, 12));
  expect_delivery (&bob, fixture->alice.id, 12);
  send_frame (&bob, 0x82, out, relay (out, fixture->bob.id, fixture->alice.id, 13));
  expect_delivery (&second, fixture->bob.id, 13);
  client_close (&second);
  client_close (&bob);
}

/* A handshake that waits in the registry is told of. */
static void
test_notify (Fixture *fixture,
             gconstpointer data)
{
  Client alice;

  log_in (fixture, &alice, &fixture->alice);
  person_request (&fixture->bob, &fixture->registry, fixture->alice.id, "hello");
  expect_frame (&alice, 2, "\x0a\x01", 2);
  client_close (&alice);
}

/* --- hostile --- */

static void
test_hostile (Fixture *fixture,
              gconstpointer data)
{
  static const struct {
    const gchar *bytes;
    gsize length;
    guint16 status;
    const gchar *reason;
  } bad[] = {
    { "\x82\x05hello", 7, 1002, "protocol error" },                                     /* not masked */
    { "\xf2\x80\0\0\0\0", 6, 1002, "protocol error" },                                  /* reserved bits */
    { "\x80\x80\0\0\0\0", 6, 1002, "protocol error" },                                  /* goes on with nothing */
    { "\x89\xfe\0\x80\0\0\0\0", 8, 1002, "protocol error" },                            /* a long ping */
    { "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 14, 1002, "protocol error" }, /* 2^64 - 1 bytes */
    { "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 14, 1009, "message too big" },
    { "\x82\xff\0\0\0\0\0\1\0\1\0\0\0\0", 14, 1009, "message too big" }, /* 65537 */
  };
  guint8 out[64];
  Client alice, bob;

  log_in (fixture, &bob, &fixture->bob);
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    log_in (fixture, &alice, &fixture->alice);
    client_write (&alice, bad[i].bytes, bad[i].length);
    expect_closed (&alice, bad[i].status, bad[i].reason);
    client_close (&alice);
  }
  /* Before the login the limit is that of a login. */
  {
    g_autofree gchar *challenge = NULL;

    client_open (&alice, &fixture->harness.compat_plain, NULL);
    challenge = upgrade (&alice, GOOD);
    client_write (&alice, "\x81\xfe\x10\x01", 4);
    client_write (&alice, "\0\0\0\0", 4);
    expect_closed (&alice, 1009, "message too big");
    client_close (&alice);
  }
  log_in (fixture, &alice, &fixture->alice);
  send_frame (&alice, 0x88, "\x03\xe8"
                            "bye",
              5);
  expect_frame (&alice, 8, "\x03\xe8", 2);
  client_expect_close (&alice);
  client_close (&alice);
  /* Nobody else felt any of it. */
  send_frame (&bob, 0x82, out, relay (out, fixture->bob.id, fixture->bob.id, 5));
  expect_delivery (&bob, fixture->bob.id, 5);
  client_close (&bob);
}

static void
test_ping_flood (Fixture *fixture,
                 gconstpointer data)
{
  Client alice;

  log_in (fixture, &alice, &fixture->alice);
  for (guint i = 0; i < 1000; i++)
    send_frame (&alice, 0x89, "p", 1);
  expect_closed (&alice, 1008, "too many pings");
  client_close (&alice);
}

static void
get_dropped (Harness *harness,
             gpointer data)
{
  *(guint64 *) data = pilot_compat_get_statistics (pilot_rendezvous_get_compat_object (harness->rendezvous))->dropped;
}

static void
get_count (Harness *harness,
           gpointer data)
{
  *(guint *) data = pilot_compat_count (pilot_rendezvous_get_compat_object (harness->rendezvous));
}

/* A client that reads nothing costs what the limit says, delays nobody, and is cut off in the end. */
static void
test_slow_client (void)
{
  Fixture fixture = { 0 };
  const gint64 deadline = g_get_monotonic_time () + 30 * G_USEC_PER_SEC;
  g_autofree guint8 *out = g_malloc (20009);
  guint64 dropped = 0;
  guint count = 2;
  guint8 byte[4096];
  Client alice, bob;

  init (&fixture);
  fixture.harness.options.compat_limits.write_timeout = 1;
  start (&fixture);
  log_in (&fixture, &alice, &fixture.alice);
  log_in (&fixture, &bob, &fixture.bob);
  while (dropped == 0) {
    for (guint i = 0; i < 50; i++)
      send_frame (&alice, 0x82, out, relay (out, fixture.alice.id, fixture.bob.id, 20000));
    harness_run (&fixture.harness, get_dropped, &dropped);
    g_assert_cmpint (g_get_monotonic_time (), <, deadline);
  }
  send_frame (&alice, 0x82, out, relay (out, fixture.alice.id, fixture.alice.id, 7));
  expect_delivery (&alice, fixture.alice.id, 7);
  while (count == 2) {
    g_usleep (20000);
    harness_run (&fixture.harness, get_count, &count);
    g_assert_cmpint (g_get_monotonic_time (), <, deadline);
  }
  while (client_read (&bob, byte, sizeof byte))
    g_assert_cmpint (g_get_monotonic_time (), <, deadline); /* what its host had taken; then the end */
  client_close (&alice);
  client_close (&bob);
  tear_down (&fixture, NULL);
}

static void
test_capacity (void)
{
  Fixture fixture = { 0 };
  Client alice, strangers[12];

  init (&fixture);
  fixture.harness.options.compat_limits.max_clients = 1;
  fixture.harness.options.compat_limits.max_strangers = 4;
  start (&fixture);
  log_in (&fixture, &alice, &fixture.alice);
  expect_answer (&fixture, GOOD, "HTTP/1.1 503 Service Unavailable\r\n", "wss: at capacity");
  /* Strangers push out strangers, not nodes. */
  for (guint i = 0; i < G_N_ELEMENTS (strangers); i++)
    client_open (&strangers[i], &fixture.harness.compat_plain, NULL);
  client_expect_close (&strangers[0]);
  send_frame (&alice, 0x89, "here", 4);
  expect_frame (&alice, 10, "here", 4);
  for (guint i = 0; i < G_N_ELEMENTS (strangers); i++)
    client_close (&strangers[i]);
  client_close (&alice);
  tear_down (&fixture, NULL);
}

/* Over TLS: the login, the registry, and the end of the server. */
static void
test_tls (void)
{
  static const gchar ok[] = "{\"type\":\"auth_ok\"}";
  g_autoptr (GError) error = NULL;
  g_autofree gchar *folder = g_dir_make_tmp ("rendezvous-compat-XXXXXX", &error);
  g_autofree gchar *certificate = g_build_filename (folder, "cert.pem", NULL);
  g_autofree gchar *key = g_build_filename (folder, "key.pem", NULL);
  g_autofree gchar *challenge = NULL;
  g_autoptr (JsonObject) response = NULL;
  g_autoptr (PilotTls) tls = NULL;
  g_autofree guint8 *out = g_malloc (40000);
  Fixture fixture = { 0 };
  Client alice, registry;
  Person *person = &fixture.alice;

  g_assert_true (pilot_tls_generate (certificate, key, &error));
  tls = pilot_tls_new (certificate, key, &error);
  g_assert_no_error (error);
  harness_init (&fixture.harness, NULL);
  fixture.harness.options.compat = fixture.harness.options.registry;
  fixture.harness.options.tls = tls;
  harness_start (&fixture.harness);
  client_open_tls (&fixture.registry, &fixture.harness.registry);
  person_init (person, 'a');
  person_register (person, &fixture.registry, 4001);

  client_open_tls (&alice, &fixture.harness.compat);
  challenge = upgrade (&alice, GOOD);
  send_login (&alice, person->id, person->key, person_sign (person, "compat_auth:%u:%s", person->id, challenge));
  expect_frame (&alice, 1, ok, sizeof ok - 1);
  for (guint i = 0; i < 200; i++)
    send_frame (&alice, 0x82, out, relay (out, person->id, person->id, 1200 + i));
  for (guint i = 0; i < 200; i++)
    expect_delivery (&alice, person->id, 1200 + i);

  client_open_tls (&registry, &fixture.harness.compat);
  response = client_expect (&registry, "lookup_ok", "{\"type\":\"lookup\",\"node_id\":%u}", person->id);
  client_close (&registry);
  client_close (&fixture.registry);
  harness_stop (&fixture.harness);
  expect_closed (&alice, 1001, "the server stops");
  client_close (&alice);
  harness_clear (&fixture.harness);
  g_unlink (certificate);
  g_unlink (key);
  g_rmdir (folder);
}

static void
add (const gchar *name,
     void (*func) (Fixture *, gconstpointer))
{
  g_autofree gchar *path = g_strdup_printf ("/rendezvous/compat/%s", name);

  g_test_add (path, Fixture, NULL, set_up, func, tear_down);
}

int
main (int argc,
      char **argv)
{
  setlocale (LC_ALL, "");
  g_test_init (&argc, &argv, NULL);
  add ("http", test_http);
  add ("upgrade", test_upgrade);
  add ("registry", test_registry);
  add ("login", test_login);
  add ("late-login", test_late_login);
  g_test_add_func ("/rendezvous/compat/patience", test_patience);
  add ("discover", test_discover);
  add ("relay", test_relay);
  add ("spoofing", test_spoofing);
  add ("replaced", test_replaced);
  add ("notify", test_notify);
  add ("hostile", test_hostile);
  add ("ping-flood", test_ping_flood);
  g_test_add_func ("/rendezvous/compat/slow-client", test_slow_client);
  g_test_add_func ("/rendezvous/compat/capacity", test_capacity);
  g_test_add_func ("/rendezvous/compat/tls", test_tls);
  return g_test_run ();
}
