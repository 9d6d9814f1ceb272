/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <locale.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "fixture.h"

/* Connections to the registry, and clients that mean harm, over real sockets: from the conformance list of the registry notes, section 20. Numbers in
 * comments are those of the list. */

static gdouble
time_requests (Client *client,
               guint n)
{
  gint64 start = g_get_monotonic_time ();

  for (guint i = 0; i < n; i++)
    json_object_unref (client_call (client, "{\"type\":\"check_trust\",\"node_id\":1,\"peer_id\":2}"));
  return (gdouble) (g_get_monotonic_time () - start) / n;
}

#define N_IDLE 10000

static guint
raise_limit (void)
{
  struct rlimit limit;

  g_assert_cmpint (getrlimit (RLIMIT_NOFILE, &limit), ==, 0);
  limit.rlim_cur = limit.rlim_max;
  g_assert_cmpint (setrlimit (RLIMIT_NOFILE, &limit), ==, 0);
  return (guint) MIN (limit.rlim_max, G_MAXINT);
}

/* A process of its own, so that each side stays below a limit of 20 000: connects, says that it has, holds them all until told
 * to end, then asks something on some of them. */
static void
hold_connections (int orders,
                  int reports)
{
  Client *idle = g_new (Client, N_IDLE);
  PilotEndpoint to;

  g_assert_cmpint (read (orders, &to, sizeof to), ==, sizeof to);
  for (guint i = 0; i < N_IDLE; i++)
    client_open (&idle[i], &to, NULL);
  /* The last one was accepted, so all were. */
  expect_ok (client_call (&idle[N_IDLE - 1], "{\"type\":\"beacon_list\"}"));
  g_assert_cmpint (write (reports, "h", 1), ==, 1);
  g_assert_cmpint (read (orders, &to, 1), ==, 1);
  for (guint i = 0; i < N_IDLE; i += 100)
    expect_ok (client_call (&idle[i], "{\"type\":\"beacon_list\"}"));
  _exit (0);
}

/* Ten thousand that say nothing, and one that works. */
static void
test_idle (void)
{
  int orders[2], reports[2], status;
  gdouble alone, crowded;
  Fixture fixture;
  pid_t child;
  gchar byte;

  if (raise_limit () < N_IDLE + 200) {
    g_test_skip ("needs 10200 open files: raise the hard limit");
    return;
  }
  g_assert_cmpint (pipe (orders), ==, 0);
  g_assert_cmpint (pipe (reports), ==, 0);
  child = fork (); /* before there are threads */
  g_assert_cmpint (child, >=, 0);
  if (child == 0)
    hold_connections (orders[0], reports[1]);
  harness_init (&fixture.harness, NULL);
  fixture.harness.options.server.max_connections = N_IDLE + 10;
  harness_start (&fixture.harness);
  client_open (&fixture.client, &fixture.harness.registry, NULL);
  alone = time_requests (&fixture.client, 2000);
  g_assert_cmpint (write (orders[1], &fixture.harness.registry, sizeof fixture.harness.registry), ==, sizeof fixture.harness.registry);
  g_assert_cmpint (read (reports[0], &byte, 1), ==, 1);
  crowded = time_requests (&fixture.client, 2000);
  g_test_message ("%.1f us a request alone, %.1f us beside %u idle connections", alone, crowded, N_IDLE);
  g_assert_cmpint (write (orders[1], "e", 1), ==, 1);
  g_assert_cmpint (waitpid (child, &status, 0), ==, child);
  g_assert_true (WIFEXITED (status));
  g_assert_cmpint (WEXITSTATUS (status), ==, 0);
  for (guint i = 0; i < 2; i++) {
    close (orders[i]);
    close (reports[i]);
  }
  fixture_clear (&fixture);
}

/* 1, 3, 38 */
static void
test_framing (void)
{
  Fixture fixture;
  guint8 bytes[200] = { 0, 0, 0, 22 };
  g_autoptr (JsonObject) first = NULL, second = NULL, third = NULL;

  fixture_init (&fixture);
  memcpy (bytes + 4, "{\"type\":\"beacon_list\"}", 22);
  memcpy (bytes + 26, "\0\0\0\x19{\"type\":\"list_networks\"} ", 29);
  /* Back to back in one segment; then the rest a byte at a time. */
  client_write (&fixture.client, bytes, 26 + 4 + 25);
  first = client_receive (&fixture.client);
  second = client_receive (&fixture.client);
  g_assert_cmpstr (json_object_get_string_member (first, "type"), ==, "beacon_list_ok");
  g_assert_cmpstr (json_object_get_string_member (second, "type"), ==, "list_networks_ok");
  for (guint i = 0; i < 26; i++)
    client_write (&fixture.client, bytes + i, 1);
  third = client_receive (&fixture.client);
  g_assert_cmpstr (json_object_get_string_member (third, "type"), ==, "beacon_list_ok");

  client_expect_error (&fixture.client, "unknown message type: \"fly\"", "{\"type\":\"fly\"}");
  client_expect_error (&fixture.client, "unknown message type: \"\"", "{\"typ\":\"beacon_list\"}");
  client_expect_error (&fixture.client, "unknown message type: \"\"", "{\"type\":5}");
  expect_ok (client_call (&fixture.client, "{\"type\":\"beacon_list\"}"));
  fixture_clear (&fixture);
}

/* A hundred requests at once are answered in order. */
static void
test_pipeline (void)
{
  Fixture fixture;
  g_autoptr (GByteArray) all = g_byte_array_new ();

  fixture_init (&fixture);
  register_both (&fixture);
  for (guint i = 0; i < 100; i++) {
    /* Every other one is a change that waits for the store. */
    g_autofree gchar *body = i % 2 == 0
                                 ? g_strdup_printf ("{\"type\":\"set_hostname\",\"node_id\":%u,\"hostname\":\"h%u\",\"signature\":\"%s\"}", fixture.alice.id, i,
                                                    person_sign (&fixture.alice, "set_hostname:%u", fixture.alice.id))
                                 : g_strdup_printf ("{\"type\":\"lookup\",\"node_id\":%u}", fixture.alice.id);
    guint32 length = GUINT32_TO_BE ((guint32) strlen (body));

    g_byte_array_append (all, (guint8 *) &length, sizeof length);
    g_byte_array_append (all, (guint8 *) body, (guint) strlen (body));
  }
  client_write (&fixture.client, all->data, all->len);
  for (guint i = 0; i < 100; i++) {
    g_autoptr (JsonObject) response = client_receive (&fixture.client);
    g_autofree gchar *name = g_strdup_printf ("h%u", i - i % 2);

    g_assert_nonnull (response);
    g_assert_cmpstr (json_object_get_string_member (response, "type"), ==, i % 2 == 0 ? "set_hostname_ok" : "lookup_ok");
    g_assert_cmpstr (json_object_get_string_member (response, "hostname"), ==, name);
  }
  fixture_clear (&fixture);
}

/* 2 */
static void
test_rubbish (void)
{
  static const struct {
    const gchar *bytes;
    gsize length;
  } rubbish[] = {
    { "\0\0\0\0", 4 },
    { "\0\1\0\1", 4 }, /* 65537 */
    { "\4\0\0\0", 4 }, /* 64 MiB */
    { "\377\377\377\377", 4 },
    { "GET / HTTP/1.1\r\n\r\n", 18 },
    { "PILT\1", 5 },
    { "\0\0\0\2[]", 6 },
    { "\0\0\0\5hello", 9 },
    { "\0\0\0\1{", 5 },
    { "\0\0\0\4\"ab\"", 8 },
    { "\0\0\0\3{}}", 7 },
    { "\0\0\0\5{\"\xff\":1}", 9 },
  };
  Fixture fixture;

  fixture_init (&fixture);
  for (guint i = 0; i < G_N_ELEMENTS (rubbish); i++) {
    Client client;

    client_open (&client, &fixture.harness.registry, NULL);
    client_write (&client, rubbish[i].bytes, rubbish[i].length);
    client_expect_close (&client);
    client_close (&client);
    /* Nobody else suffers. */
    expect_ok (client_call (&fixture.client, "{\"type\":\"beacon_list\"}"));
  }
  fixture_clear (&fixture);
}

/* A started request has a deadline; it holds nobody else, and idle ones stay. */
static void
test_slow (void)
{
  Fixture fixture;
  Client slow[20];
  gint64 start;

  harness_init (&fixture.harness, NULL);
  fixture.harness.options.server.frame_timeout = 2;
  harness_start (&fixture.harness);
  client_open (&fixture.client, &fixture.harness.registry, NULL);
  start = g_get_monotonic_time ();
  for (guint i = 0; i < G_N_ELEMENTS (slow); i++) {
    client_open (&slow[i], &fixture.harness.registry, NULL);
    client_write (&slow[i], "\0\0\xff\xff{\"type", 10);
  }
  expect_ok (client_call (&fixture.client, "{\"type\":\"beacon_list\"}"));
  for (guint i = 0; i < G_N_ELEMENTS (slow); i++) {
    client_expect_close (&slow[i]);
    client_close (&slow[i]);
  }
  g_assert_cmpint (g_get_monotonic_time () - start, >=, 2 * G_USEC_PER_SEC);
  expect_ok (client_call (&fixture.client, "{\"type\":\"beacon_list\"}"));
  fixture_clear (&fixture);
}

/* Incomplete requests of all together are bounded, and modest ones pass all the same. */
static void
test_frame_memory (void)
{
  Fixture fixture;
  g_autofree gchar *filler = g_strnfill (60000, ' ');
  struct pollfd fds[3];
  Client greedy[3];

  harness_init (&fixture.harness, NULL);
  fixture.harness.options.server.frame_memory = 130000;
  harness_start (&fixture.harness);
  client_open (&fixture.client, &fixture.harness.registry, NULL);
  for (guint i = 0; i < 3; i++) {
    client_open (&greedy[i], &fixture.harness.registry, NULL);
    client_write (&greedy[i], "\0\0\xff\xff{", 5);
    client_write (&greedy[i], filler, 60000);
  }
  /* One of them has to go, long before its time is over; two have room. */
  for (guint i = 0; i < 3; i++)
    fds[i] = (struct pollfd) { .fd = greedy[i].fd, .events = POLLIN };
  g_assert_cmpint (poll (fds, 3, 10000), ==, 1);
  for (guint i = 0; i < 3; i++)
    if (fds[i].revents != 0)
      client_expect_close (&greedy[i]);
  expect_ok (client_call (&fixture.client, "{\"type\":\"beacon_list\"}"));
  for (guint i = 0; i < 3; i++)
    client_close (&greedy[i]);
  fixture_clear (&fixture);
}

/* Who asks too much is slowed down, and not closed; others are not slowed. */
static void
test_throttle (void)
{
  Fixture fixture;
  gint64 start;

  harness_init (&fixture.harness, NULL);
  fixture.harness.options.server.request_burst = 20;
  fixture.harness.options.server.request_rate = 20;
  harness_start (&fixture.harness);
  client_open (&fixture.client, &fixture.harness.registry, NULL);
  start = g_get_monotonic_time ();
  for (guint i = 0; i < 60; i++)
    client_send (&fixture.client, "{\"type\":\"beacon_list\"}");
  {
    Client other;

    client_open (&other, &fixture.harness.registry, NULL);
    expect_ok (client_call (&other, "{\"type\":\"beacon_list\"}"));
    g_assert_cmpint (g_get_monotonic_time () - start, <, G_USEC_PER_SEC);
    client_close (&other);
  }
  for (guint i = 0; i < 60; i++)
    json_object_unref (client_receive (&fixture.client));
  g_assert_cmpint (g_get_monotonic_time () - start, >=, 3 * G_USEC_PER_SEC / 2);
  fixture_clear (&fixture);
}

/* Full house: who never said who he is makes room; who did stays. */
static void
test_eviction (void)
{
  Fixture fixture;
  Client anonymous[10], late;

  harness_init (&fixture.harness, NULL);
  fixture.harness.options.server.max_connections = 11;
  harness_start (&fixture.harness);
  client_open (&fixture.client, &fixture.harness.registry, NULL);
  person_init (&fixture.alice, 'a');
  person_register (&fixture.alice, &fixture.client, 4001);
  for (guint i = 0; i < 10; i++) {
    client_open (&anonymous[i], &fixture.harness.registry, NULL);
    expect_ok (client_call (&anonymous[i], "{\"type\":\"beacon_list\"}"));
  }
  client_open (&late, &fixture.harness.registry, NULL);
  expect_ok (client_call (&late, "{\"type\":\"beacon_list\"}"));
  client_expect_close (&anonymous[0]);
  expect_ok (client_call (&anonymous[9], "{\"type\":\"beacon_list\"}"));
  expect_ok (client_call (&fixture.client, "{\"type\":\"beacon_list\"}"));
  for (guint i = 0; i < 10; i++)
    client_close (&anonymous[i]);
  client_close (&late);
  fixture_clear (&fixture);
}

/* Frames of one request, one behind the other, in one write. */
static void
send_at_once (Client *client,
              const gchar *request,
              guint n)
{
  const guint32 length = GUINT32_TO_BE ((guint32) strlen (request));
  g_autoptr (GByteArray) bytes = g_byte_array_new ();

  for (guint i = 0; i < n; i++) {
    g_byte_array_append (bytes, (const guint8 *) &length, sizeof length);
    g_byte_array_append (bytes, (const guint8 *) request, (guint) strlen (request));
  }
  client_write (client, bytes->data, bytes->len);
}

/* Full house of people who ask too much and are slowed down: one of them makes room, and not who said who he is and asks for little. */
static void
test_eviction_of_greedy (void)
{
  Fixture fixture;
  Client greedy[3], late;

  harness_init (&fixture.harness, NULL);
  fixture.harness.options.server.max_connections = 4;
  fixture.harness.options.server.request_burst = 3;
  fixture.harness.options.server.request_rate = 1;
  harness_start (&fixture.harness);
  client_open (&fixture.client, &fixture.harness.registry, NULL);
  person_init (&fixture.alice, 'a');
  person_register (&fixture.alice, &fixture.client, 4001);
  for (guint i = 0; i < 3; i++) {
    client_open (&greedy[i], &fixture.harness.registry, NULL);
    send_at_once (&greedy[i], "{\"type\":\"beacon_list\"}", 100);
    for (guint j = 0; j < 3; j++)
      expect_ok (client_receive (&greedy[i]));
  }
  client_open (&late, &fixture.harness.registry, NULL);
  expect_ok (client_call (&late, "{\"type\":\"beacon_list\"}"));
  expect_ok (client_call (&fixture.client, "{\"type\":\"beacon_list\"}"));
  for (guint i = 0; i < 3; i++)
    client_close (&greedy[i]);
  client_close (&late);
  fixture_clear (&fixture);
}

static void
test_tls (void)
{
  g_autoptr (GError) error = NULL;
  g_autofree gchar *folder = g_dir_make_tmp ("rendezvous-tls-XXXXXX", &error);
  g_autofree gchar *certificate = g_build_filename (folder, "cert.pem", NULL);
  g_autofree gchar *key = g_build_filename (folder, "key.pem", NULL);
  g_autofree gchar *fingerprint = NULL;
  g_autofree gchar *padding = g_strnfill (20000, 'x');
  g_autoptr (PilotTls) tls = NULL;
  const gnutls_datum_t *der;
  Client client, plain;
  Fixture fixture;
  GStatBuf status;
  guint n;

  g_assert_true (pilot_tls_generate (certificate, key, &error));
  g_assert_false (pilot_tls_generate (certificate, key, NULL));
  g_assert_cmpint (g_stat (key, &status), ==, 0);
  g_assert_cmpint (status.st_mode & 0777, ==, 0600);
  tls = pilot_tls_new (certificate, key, &error);
  g_assert_no_error (error);
  harness_init (&fixture.harness, NULL);
  fixture.harness.options.tls = tls;
  fixture.harness.options.server.frame_timeout = 2;
  harness_start (&fixture.harness);
  person_init (&fixture.alice, 'a');
  client_open_tls (&client, &fixture.harness.registry);
  der = gnutls_certificate_get_peers (client.tls, &n);
  g_assert_nonnull (der);
  fingerprint = g_compute_checksum_for_data (G_CHECKSUM_SHA256, der[0].data, der[0].size);
  g_assert_cmpstr (fingerprint, ==, pilot_tls_get_fingerprint (tls));
  person_register (&fixture.alice, &client, 4001);
  /* A request of several records, and several requests in one record. */
  expect_ok (client_call (&client, "{\"type\":\"beacon_list\",\"padding\":\"%s%s\"}", padding, padding));
  client_write (&client, "\0\0\0\x16{\"type\":\"beacon_list\"}\0\0\0\x16{\"type\":\"beacon_list\"}", 52);
  expect_ok (client_receive (&client));
  expect_ok (client_receive (&client));

  /* Who does not speak TLS, or does not finish its handshake, is cut off. */
  client_open (&plain, &fixture.harness.registry, NULL);
  client_write (&plain, "\0\0\0\x16{\"type\":\"beacon_list\"}", 26);
  while (TRUE) {
    guint8 byte;

    if (recv (plain.fd, &byte, 1, 0) <= 0) /* an alert may come first */
      break;
  }
  client_close (&plain);
  client_open (&plain, &fixture.harness.registry, NULL);
  client_write (&plain, "\x16\x03\x01", 3);
  client_expect_close (&plain);
  client_close (&plain);
  expect_ok (client_call (&client, "{\"type\":\"beacon_list\"}"));
  client_close (&client);
  harness_stop (&fixture.harness);
  harness_clear (&fixture.harness);
  g_unlink (certificate);
  g_unlink (key);
  g_assert_cmpint (g_rmdir (folder), ==, 0);
}

int
main (int argc,
      char **argv)
{
  setlocale (LC_ALL, "");
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/rendezvous/connection/idle", test_idle);
  g_test_add_func ("/rendezvous/connection/framing", test_framing);
  g_test_add_func ("/rendezvous/connection/pipeline", test_pipeline);
  g_test_add_func ("/rendezvous/connection/rubbish", test_rubbish);
  g_test_add_func ("/rendezvous/connection/slow", test_slow);
  g_test_add_func ("/rendezvous/connection/frame-memory", test_frame_memory);
  g_test_add_func ("/rendezvous/connection/throttle", test_throttle);
  g_test_add_func ("/rendezvous/connection/eviction", test_eviction);
  g_test_add_func ("/rendezvous/connection/eviction-of-greedy", test_eviction_of_greedy);
  g_test_add_func ("/rendezvous/connection/tls", test_tls);
  return g_test_run ();
}
