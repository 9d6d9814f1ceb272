/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <locale.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"
#include "protocol/bytes.h"

/* The beacon over real sockets; every host in 127.0.0.0/8 is one of ours. Datagrams are written by hand. */

typedef struct
{
  Harness harness;
  Client client;
  Person alice;
  Person bob;
  int a; /* their tunnel sockets */
  int b;
} Fixture;

static void
udp_expect (int fd,
            gconstpointer data,
            gsize length)
{
  guint8 buffer[65536];
  gssize n = recv (fd, buffer, sizeof buffer, 0);

  g_assert_cmpmem (buffer, MAX (n, 0), data, length);
}

static void
udp_expect_nothing (Fixture *fixture,
                    int fd)
{
  guint8 byte;

  udp_settle (&fixture->harness);
  g_assert_cmpint (recv (fd, &byte, 1, MSG_DONTWAIT), ==, -1);
  g_assert_cmpint (errno, ==, EAGAIN);
}

static void
put_endpoint (int fd,
              guint8 *data)
{
  struct sockaddr_in name;
  socklen_t length = sizeof name;

  g_assert_cmpint (getsockname (fd, (struct sockaddr *) &name, &length), ==, 0);
  data[0] = 4;
  memcpy (data + 1, &name.sin_addr, 4);
  memcpy (data + 5, &name.sin_port, 2);
}

static void
discover (int fd,
          guint32 id,
          guint8 type)
{
  guint8 message[5] = { type }, reply[8] = { 2 };

  pilot_bytes_put_u32 (message + 1, id);
  put_endpoint (fd, reply + 1);
  g_assert_cmpint (send (fd, message, sizeof message, 0), ==, sizeof message);
  udp_expect (fd, reply, sizeof reply);
}

static void
fixture_init (Fixture *fixture)
{
  harness_start (&fixture->harness);
  client_open (&fixture->client, &fixture->harness.registry, NULL);
  person_init (&fixture->alice, 'a');
  person_init (&fixture->bob, 'b');
  person_register (&fixture->alice, &fixture->client, 4001);
  person_register (&fixture->bob, &fixture->client, 4002);
  fixture->a = udp_open ("127.0.0.1", &fixture->harness.beacon);
  fixture->b = udp_open ("127.0.0.1", &fixture->harness.beacon);
}

static void
fixture_clear (Fixture *fixture)
{
  close (fixture->a);
  close (fixture->b);
  client_close (&fixture->client);
  harness_stop (&fixture->harness);
  harness_clear (&fixture->harness);
}

static gsize
make_relay (guint8 *message,
            guint32 sender,
            guint32 destination,
            const gchar *frame)
{
  message[0] = 5;
  pilot_bytes_put_u32 (message + 1, sender);
  pilot_bytes_put_u32 (message + 5, destination);
  memcpy (message + 9, frame, strlen (frame));
  return 9 + strlen (frame);
}

static void
test_discover (void)
{
  Fixture fixture;
  int fd;

  harness_init (&fixture.harness, NULL);
  fixture_init (&fixture);
  discover (fixture.a, 0, 1); /* before registering */
  discover (fixture.a, 1, 1);
  discover (fixture.a, 77, 1); /* nobody's id: answered all the same */
  /* Rubbish is passed over. */
  send (fixture.a, "\1\0", 2, 0);
  send (fixture.a, "\7\0\0\0\1\0\0", 7, 0);
  send (fixture.a, "\x55xyz", 4, 0);
  send (fixture.a, "", 0, 0);
  udp_expect_nothing (&fixture, fixture.a);
  /* Bytes behind the body are ignored. */
  fd = udp_open ("127.0.0.1", &fixture.harness.beacon);
  discover (fd, 2, 8);
  close (fd);
  fixture_clear (&fixture);
}

static void
test_relay (void)
{
  Fixture fixture;
  guint8 message[64], deliver[64];
  gsize length;
  int spoof;

  harness_init (&fixture.harness, NULL);
  fixture_init (&fixture);
  discover (fixture.a, 1, 1);
  discover (fixture.b, 2, 1);
  length = make_relay (message, 1, 2, "PILSframe");
  g_assert_cmpint (send (fixture.a, message, length, 0), ==, length);
  memcpy (deliver, message + 4, length - 4);
  deliver[0] = 6;
  memcpy (deliver + 1, message + 1, 4);
  udp_expect (fixture.b, deliver, length - 4);

  /* In order, many in a burst, none lost (they fit the buffers). */
  for (guint i = 0; i < 200; i++) {
    g_autofree gchar *frame = g_strdup_printf ("PILS%u", i);

    length = make_relay (message, 1, 2, frame);
    g_assert_cmpint (send (fixture.a, message, length, 0), ==, length);
  }
  for (guint i = 0; i < 200; i++) {
    g_autofree gchar *frame = g_strdup_printf ("PILS%u", i);

    memcpy (deliver + 5, frame, strlen (frame));
    udp_expect (fixture.b, deliver, 5 + strlen (frame));
  }
  /* A frame as large as UDP takes. */
  {
    g_autofree guint8 *large = g_malloc0 (65507);

    make_relay (large, 1, 2, "PILS");
    g_assert_cmpint (send (fixture.a, large, 65507, 0), ==, 65507);
    memmove (large + 4, deliver, 5);
    memcpy (large + 9, "PILS", 4);
    udp_expect (fixture.b, large + 4, 65503);
  }
  /* Nobody there; and one who is not who he says: nothing comes. */
  length = make_relay (message, 1, 99, "PILSframe");
  send (fixture.a, message, length, 0);
  spoof = udp_open ("127.0.0.1", &fixture.harness.beacon);
  length = make_relay (message, 1, 2, "PILSspoof");
  send (spoof, message, length, 0);
  send (spoof, message, 8, 0);
  udp_expect_nothing (&fixture, fixture.b);
  close (spoof);

  /* 0x08: deliveries name the destination. */
  discover (fixture.b, 2, 8);
  length = make_relay (message, 1, 2, "PILSframe");
  send (fixture.a, message, length, 0);
  message[0] = 9;
  udp_expect (fixture.b, message, length);
  fixture_clear (&fixture);
}

/* What a limit lets through from then to now: a second's worth at once, and what has come back since. */
static guint
most_since (gint64 start,
            guint limit)
{
  return limit + (guint) ((g_get_monotonic_time () - start) * limit / G_USEC_PER_SEC) + 1;
}

static void
test_relay_limit (void)
{
  Fixture fixture;
  guint8 message[64];
  gsize length = make_relay (message, 1, 2, "PILSframe");
  gint64 start;
  guint n = 0;

  harness_init (&fixture.harness, NULL);
  fixture.harness.options.beacon_limits.relay_limit = 10;
  fixture_init (&fixture);
  discover (fixture.a, 1, 1);
  discover (fixture.b, 2, 1);
  start = g_get_monotonic_time ();
  for (guint i = 0; i < 50; i++)
    send (fixture.a, message, length, 0);
  udp_settle (&fixture.harness);
  while (recv (fixture.b, message, sizeof message, MSG_DONTWAIT) > 0)
    n++;
  g_assert_cmpuint (n, >=, 10);
  g_assert_cmpuint (n, <=, most_since (start, 10));
  fixture_clear (&fixture);
}

/* One message for the kernel to cut into datagrams of `size` bytes, as our daemons send them; one by one if it cannot. */
static void
send_coalesced (int fd,
                const guint8 *data,
                gsize length,
                gsize size)
{
  int value = (int) size;

  if (setsockopt (fd, SOL_UDP, UDP_SEGMENT, &value, sizeof value) == 0) {
    g_assert_cmpint (send (fd, data, length, 0), ==, length);
    value = 0;
    g_assert_cmpint (setsockopt (fd, SOL_UDP, UDP_SEGMENT, &value, sizeof value), ==, 0);
    return;
  }
  for (gsize i = 0; i < length; i += size)
    g_assert_cmpint (send (fd, data + i, MIN (size, length - i), 0), >, 0);
}

/* What came coalesced is judged datagram by datagram: each goes where its own header says, or nowhere. */
static void
test_coalesced (void)
{
  static const struct
  {
    guint32 sender, destination;
  } headers[] = { { 1, 2 }, { 1, 2 }, { 2, 1 }, { 1, 3 }, { 1, 3 }, { 3, 2 }, { 3, 2 }, { 1, 2 }, { 1, 99 }, { 1, 99 }, { 1, 1 }, { 1, 2 }, { 1, 2 } };
  enum { SIZE = 100,
         N = G_N_ELEMENTS (headers) };
  Fixture fixture;
  Person carol;
  guint8 data[N][SIZE] = { { 0 } };
  int c;

  harness_init (&fixture.harness, NULL);
  fixture_init (&fixture);
  person_init (&carol, 'c');
  person_register (&carol, &fixture.client, 4003);
  c = udp_open ("127.0.0.1", &fixture.harness.beacon);
  discover (fixture.a, 1, 1);
  discover (fixture.b, 2, 1);
  discover (c, 3, 8);
  for (guint i = 0; i < N; i++) {
    make_relay (data[i], headers[i].sender, headers[i].destination, "PILS");
    data[i][13] = (guint8) i;
  }
  send_coalesced (fixture.a, *data, sizeof data - 7, SIZE);
  for (guint i = 0; i < N; i++) {
    gsize length = SIZE - (i == N - 1 ? 7 : 0);

    if (headers[i].sender != 1 || headers[i].destination == 99)
      continue;
    data[i][0] = 9;
    if (headers[i].destination == 3) {
      udp_expect (c, data[i], length);
      continue;
    }
    memcpy (data[i] + 4, (guint8[]) { 6, 0, 0, 0, 1 }, 5);
    udp_expect (headers[i].destination == 1 ? fixture.a : fixture.b, data[i] + 4, length - 4);
  }
  udp_expect_nothing (&fixture, fixture.a);
  udp_expect_nothing (&fixture, fixture.b);
  udp_expect_nothing (&fixture, c);
  close (c);
  fixture_clear (&fixture);
}

/* The limit counts datagrams, not messages of the kernel; and who is above it takes nothing from others. */
static void
test_coalesced_limit (void)
{
  Fixture fixture;
  guint8 data[60][50] = { { 0 } }, got[64], deliver[64];
  guint n = 0;
  gsize length = make_relay (got, 2, 1, "PILSframe");
  gint64 start;

  harness_init (&fixture.harness, NULL);
  fixture.harness.options.beacon_limits.relay_limit = 10;
  fixture_init (&fixture);
  discover (fixture.a, 1, 1);
  discover (fixture.b, 2, 1);
  for (guint i = 0; i < G_N_ELEMENTS (data); i++)
    make_relay (data[i], 1, 2, "PILS");
  start = g_get_monotonic_time ();
  for (guint i = 0; i < 20; i++)
    send_coalesced (fixture.a, *data, sizeof data, sizeof *data);
  g_assert_cmpint (send (fixture.b, got, length, 0), ==, length);
  memcpy (deliver, got + 4, length - 4);
  memcpy (deliver, (guint8[]) { 6, 0, 0, 0, 2 }, 5);
  udp_expect (fixture.a, deliver, length - 4);
  while (recv (fixture.b, got, sizeof got, MSG_DONTWAIT) > 0)
    n++;
  g_assert_cmpuint (n, >=, 10);
  g_assert_cmpuint (n, <=, most_since (start, 10));
  fixture_clear (&fixture);
}

#define PAIRS 100
#define IN_FLIGHT 2
#define RELAYED 20000 /* in all */

typedef struct
{
  int from, to;
  guint received;
} Pair;

static void
pair_send (Pair *pair,
           guint index,
           guint n)
{
  guint8 data[64][500] = { { 0 } };

  for (guint i = 0; i < n; i++)
    make_relay (data[i], 2 * index + 1, 2 * index + 2, "PILS");
  send_coalesced (pair->from, *data, n * sizeof *data, sizeof *data);
}

/* Every pair sends as fast as what it sent before arrives. Stops when so much has arrived in all, and settles what is on the way. */
static void
pairs_run (Pair *pairs,
           guint most)
{
  struct pollfd waits[PAIRS];
  guint total = 0, outstanding = 0, first = 0;

  for (guint i = 0; i < PAIRS; i++) {
    waits[i] = (struct pollfd) { .fd = pairs[i].to, .events = POLLIN };
    pair_send (&pairs[i], i, IN_FLIGHT);
    outstanding += IN_FLIGHT;
  }
  while (outstanding > 0) {
    g_assert_cmpint (poll (waits, PAIRS, 10000), >, 0); /* else something is lost */
    /* Not from the same one each time: who is looked at first has his next datagram sooner there. */
    first += 37;
    for (guint k = 0; k < PAIRS; k++) {
      guint i = (first + k) % PAIRS;
      guint8 data[1000];
      guint n = 0;

      if ((waits[i].revents & POLLIN) == 0)
        continue;
      while (recv (pairs[i].to, data, sizeof data, MSG_DONTWAIT) == 496) {
        g_assert_cmpuint (pilot_bytes_get_u32 (data + 1), ==, 2 * i + 1);
        n++;
      }
      pairs[i].received += total < most ? n : 0;
      outstanding -= n;
      total += n;
      if (n > 0 && total < most) {
        pair_send (&pairs[i], i, n);
        outstanding += n;
      }
    }
  }
}

/* A hundred pairs get even shares of one beacon. */
static void
test_shares (void)
{
  Fixture fixture;
  Pair pairs[PAIRS] = { { 0 } };
  gdouble sum = 0, squares = 0;

  harness_init (&fixture.harness, NULL);
  fixture.harness.options.beacon_open = TRUE;
  fixture_init (&fixture);
  for (guint i = 0; i < PAIRS; i++) {
    pairs[i].from = udp_open ("127.0.0.1", &fixture.harness.beacon);
    pairs[i].to = udp_open ("127.0.0.1", &fixture.harness.beacon);
    discover (pairs[i].from, 2 * i + 1, 1);
    discover (pairs[i].to, 2 * i + 2, 1);
  }
  pairs_run (pairs, RELAYED);
  for (guint i = 0; i < PAIRS; i++) {
    sum += pairs[i].received;
    squares += (gdouble) pairs[i].received * pairs[i].received;
  }
  g_test_message ("index of fairness %.4f", sum * sum / (PAIRS * squares));
  g_assert_cmpfloat (sum, >=, RELAYED - PAIRS * IN_FLIGHT);
  g_assert_cmpfloat (sum * sum / (PAIRS * squares), >=, 0.95);
  for (guint i = 0; i < PAIRS; i++) {
    close (pairs[i].from);
    close (pairs[i].to);
  }
  fixture_clear (&fixture);
}

/* A registration stays with the host that the registry has authenticated. */
static void
test_hijack (void)
{
  Fixture fixture;
  guint8 message[64], deliver[64];
  gsize length = make_relay (message, 1, 2, "PILSframe");
  int thief;

  harness_init (&fixture.harness, NULL);
  fixture_init (&fixture);
  discover (fixture.a, 1, 1);
  discover (fixture.b, 2, 1);
  thief = udp_open ("127.0.0.66", &fixture.harness.beacon);
  discover (thief, 2, 1); /* answered, but it changes nothing */
  send (fixture.a, message, length, 0);
  deliver[0] = 6;
  memcpy (deliver + 1, message + 1, 4);
  memcpy (deliver + 5, "PILSframe", 9);
  udp_expect (fixture.b, deliver, 14);
  udp_expect_nothing (&fixture, thief);
  close (thief);
  /* The node itself, on a new port, counts at once. */
  close (fixture.b);
  fixture.b = udp_open ("127.0.0.1", &fixture.harness.beacon);
  discover (fixture.b, 2, 1);
  send (fixture.a, message, length, 0);
  udp_expect (fixture.b, deliver, 14);
  fixture_clear (&fixture);
}

static void
test_punch (void)
{
  Fixture fixture;
  guint8 request[9] = { 3, 0, 0, 0, 1, 0, 0, 0, 2 }, to_a[8] = { 4 }, to_b[8] = { 4 };
  int spoof;

  harness_init (&fixture.harness, NULL);
  fixture_init (&fixture);
  discover (fixture.a, 1, 1);
  discover (fixture.b, 2, 1);
  put_endpoint (fixture.b, to_a + 1);
  put_endpoint (fixture.a, to_b + 1);
  /* Without trust nobody learns where the other is. */
  send (fixture.a, request, sizeof request, 0);
  udp_expect_nothing (&fixture, fixture.a);
  udp_expect_nothing (&fixture, fixture.b);
  person_report (&fixture.alice, &fixture.client, 2);
  person_report (&fixture.bob, &fixture.client, 1);
  send (fixture.a, request, sizeof request, 0);
  udp_expect (fixture.a, to_a, sizeof to_a);
  udp_expect (fixture.b, to_b, sizeof to_b);
  /* Not by somebody else in its name, nor toward somebody who is not here. */
  spoof = udp_open ("127.0.0.66", &fixture.harness.beacon);
  send (spoof, request, sizeof request, 0);
  request[8] = 99;
  send (fixture.a, request, sizeof request, 0);
  udp_expect_nothing (&fixture, fixture.a);
  udp_expect_nothing (&fixture, fixture.b);
  udp_expect_nothing (&fixture, spoof);
  close (spoof);
  fixture_clear (&fixture);
}

/* 0A 01 to the target of a request and to the requester of an answer. */
static void
test_notify (void)
{
  Fixture fixture;
  JsonObject *response;

  harness_init (&fixture.harness, NULL);
  fixture_init (&fixture);
  discover (fixture.a, 1, 1);
  discover (fixture.b, 2, 1);
  person_request (&fixture.alice, &fixture.client, 2, "");
  udp_expect (fixture.b, "\x0a\1", 2);
  json_object_unref (person_poll (&fixture.bob, &fixture.client));
  response = client_expect (&fixture.client, "respond_handshake_ok", "{\"type\":\"respond_handshake\",\"node_id\":2,\"peer_id\":1,"
                                                                     "\"accept\":true,\"signature\":\"%s\"}",
                            person_sign (&fixture.bob, "respond:2:1"));
  json_object_unref (response);
  udp_expect (fixture.a, "\x0a\1", 2);
  /* Once a second at most. */
  person_request (&fixture.alice, &fixture.client, 2, "");
  udp_expect_nothing (&fixture, fixture.b);
  fixture_clear (&fixture);
}

static gchar *
resolve_bob (Fixture *fixture)
{
  g_autoptr (JsonObject) response = client_expect (&fixture->client, "resolve_ok", "{\"type\":\"resolve\",\"requester_id\":1,\"node_id\":2,"
                                                                                   "\"signature\":\"%s\"}",
                                                   person_sign (&fixture->alice, "resolve:1:2"));

  return g_strdup (json_object_get_string_member (response, "real_addr"));
}

/* The registry answers with what the beacon saw, when it is the host that the registry knows (verified-live.md). */
static void
test_resolve (void)
{
  Fixture fixture;
  g_autofree gchar *before = NULL, *seen = NULL, *wanted = NULL, *elsewhere = NULL;
  struct sockaddr_in name;
  socklen_t length = sizeof name;
  int other;

  harness_init (&fixture.harness, NULL);
  fixture_init (&fixture);
  person_report (&fixture.alice, &fixture.client, 2);
  person_report (&fixture.bob, &fixture.client, 1);
  before = resolve_bob (&fixture);
  g_assert_cmpstr (before, ==, "127.0.0.1:4002");
  /* Seen from another host than its registry connection's: as registered. */
  other = udp_open ("127.0.0.77", &fixture.harness.beacon);
  discover (other, 2, 1);
  elsewhere = resolve_bob (&fixture);
  g_assert_cmpstr (elsewhere, ==, "127.0.0.1:4002");
  close (other);
  discover (fixture.b, 2, 1);
  g_assert_cmpint (getsockname (fixture.b, (struct sockaddr *) &name, &length), ==, 0);
  wanted = g_strdup_printf ("127.0.0.1:%u", ntohs (name.sin_port));
  seen = resolve_bob (&fixture);
  g_assert_cmpstr (seen, ==, wanted);
  fixture_clear (&fixture);
}

/* Bound to every address, it answers from the one that was asked: connected sockets see nothing else. */
static void
test_source_address (void)
{
  Fixture fixture;
  guint8 message[64], deliver[64];
  gsize length = make_relay (message, 1, 2, "PILSframe");
  PilotEndpoint address;

  harness_init (&fixture.harness, NULL);
  g_assert_true (pilot_endpoint_parse ("[::]:0", &fixture.harness.options.beacon, NULL));
  harness_start (&fixture.harness);
  g_assert_true (pilot_endpoint_parse ("127.0.0.5:1", &address, NULL));
  address.port = fixture.harness.beacon.port;
  client_open (&fixture.client, &fixture.harness.registry, NULL);
  person_init (&fixture.alice, 'a');
  person_init (&fixture.bob, 'b');
  person_register (&fixture.alice, &fixture.client, 4001);
  person_register (&fixture.bob, &fixture.client, 4002);
  fixture.a = udp_open ("127.0.0.1", &address);
  address.address[3] = 6;
  fixture.b = udp_open ("127.0.0.1", &address);
  discover (fixture.a, 1, 1);
  discover (fixture.b, 2, 1);
  send (fixture.a, message, length, 0);
  deliver[0] = 6;
  memcpy (deliver + 1, message + 1, 4);
  memcpy (deliver + 5, "PILSframe", 9);
  udp_expect (fixture.b, deliver, 14);
  fixture_clear (&fixture);
}

int
main (int argc,
      char **argv)
{
  setlocale (LC_ALL, "");
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/rendezvous/beacon/discover", test_discover);
  g_test_add_func ("/rendezvous/beacon/relay", test_relay);
  g_test_add_func ("/rendezvous/beacon/relay-limit", test_relay_limit);
  g_test_add_func ("/rendezvous/beacon/coalesced", test_coalesced);
  g_test_add_func ("/rendezvous/beacon/coalesced-limit", test_coalesced_limit);
  g_test_add_func ("/rendezvous/beacon/shares", test_shares);
  g_test_add_func ("/rendezvous/beacon/hijack", test_hijack);
  g_test_add_func ("/rendezvous/beacon/punch", test_punch);
  g_test_add_func ("/rendezvous/beacon/notify", test_notify);
  g_test_add_func ("/rendezvous/beacon/resolve", test_resolve);
  g_test_add_func ("/rendezvous/beacon/source-address", test_source_address);
  return g_test_run ();
}
