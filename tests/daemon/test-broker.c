/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The event stream between two nodes on loopback: who gets what, the limits, a subscriber that does not read. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/services/broker.h"
#include "protocol/bytes.h"
#include "protocol/topic-message.h"
#include "world.h"

#define LANDS 5

/* A connection of host 0 to the broker of host 1. */
typedef struct {
  PilotStreamUser user; /* first */
  PilotStream *stream;
  GByteArray *got;
  gboolean open, closed, deaf;
} Peer;

typedef struct {
  World world;
  PilotBroker *broker;
} Fixture;

static guint32
id (Fixture *fixture, guint host)
{
  return pilot_node_get_id (fixture->world.hosts[host].node);
}

static void
peer_ready (PilotStreamUser *user, PilotStream *stream, guint ready)
{
  Peer *peer = (Peer *) user;
  struct iovec vectors[2];

  peer->open |= (ready & PILOT_STREAM_READY_OPEN) != 0;
  while (!peer->deaf && pilot_stream_read_vectors (stream, vectors) > 0) {
    g_byte_array_append (peer->got, vectors[0].iov_base, (guint) vectors[0].iov_len);
    pilot_stream_read_consume (stream, vectors[0].iov_len, g_get_monotonic_time ());
  }
  peer->closed |= (ready & (PILOT_STREAM_READY_CLOSED | PILOT_STREAM_READY_EOF)) != 0;
}

static void
say (Fixture *fixture, Peer *peer, const char *topic, const char *data)
{
  g_autoptr (GBytes) frame = pilot_topic_message_encode (topic, strlen (topic), data, strlen (data));

  g_assert_cmpuint (pilot_stream_write (peer->stream, g_bytes_get_data (frame, NULL), g_bytes_get_size (frame), g_get_monotonic_time ()), ==, g_bytes_get_size (frame));
  pilot_node_kick (fixture->world.hosts[0].node);
}

static void
peer_open (Fixture *fixture, Peer *peer, const char *topic)
{
  g_autoptr (GError) error = NULL;
  PilotBrokerStats before, stats;

  *peer = (Peer) { .user.ready = peer_ready, .got = g_byte_array_new () };
  pilot_broker_get_stats (fixture->broker, &before);
  peer->stream = pilot_node_connect (fixture->world.hosts[0].node, id (fixture, 1), PILOT_BROKER_PORT, &peer->user, &error);
  g_assert_no_error (error);
  WAIT (LANDS, peer->open);
  say (fixture, peer, topic, "");
  WAIT (LANDS, (pilot_broker_get_stats (fixture->broker, &stats), stats.subscribers > before.subscribers));
}

static void
peer_close (Fixture *fixture, Peer *peer)
{
  pilot_stream_set_user_data (peer->stream, NULL);
  pilot_stream_release (peer->stream, g_get_monotonic_time ());
  pilot_node_kick (fixture->world.hosts[0].node);
  g_byte_array_unref (peer->got);
}

/* "topic=data;" of each whole event that came. */
static char *
events (Peer *peer)
{
  GString *text = g_string_new (NULL);
  PilotTopicMessage message;

  for (gsize at = 0; pilot_topic_message_decode (&message, peer->got->data + at, peer->got->len - at) == PILOT_TOPIC_MESSAGE_OK; at += message.size)
    g_string_append_printf (text, "%.*s=%.*s;", (int) message.topic_length, message.topic, (int) message.payload_length, (const char *) message.payload);
  return g_string_free (text, FALSE);
}

static gboolean
has (Peer *peer, const char *expected)
{
  g_autofree char *found = events (peer);

  return g_str_equal (found, expected);
}

static void
set_up (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  const char *status;

  world_init (&fixture->world);
  host_start (&fixture->world, 0);
  host_start (&fixture->world, 1);
  g_assert_true (pilot_trust_handshake (pilot_node_get_trust (fixture->world.hosts[0].node), id (fixture, 1), "", NULL, &status, &error));
  g_assert_true (pilot_trust_handshake (pilot_node_get_trust (fixture->world.hosts[1].node), id (fixture, 0), "", NULL, &status, &error));
  WAIT (2 * LANDS, pilot_trust_is_trusted (pilot_node_get_trust (fixture->world.hosts[0].node), id (fixture, 1)) &&
                       pilot_trust_is_trusted (pilot_node_get_trust (fixture->world.hosts[1].node), id (fixture, 0)));
  fixture->broker = pilot_broker_new (fixture->world.hosts[1].node);
  g_assert_true (pilot_broker_start (fixture->broker, &error));
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  pilot_broker_free (fixture->broker);
  world_clear (&fixture->world);
}

static void
test_topics (Fixture *fixture, gconstpointer data)
{
  Peer publisher, same, other, all;

  peer_open (fixture, &publisher, "news");
  peer_open (fixture, &same, "news");
  peer_open (fixture, &other, "News");
  peer_open (fixture, &all, "*");
  say (fixture, &publisher, "news", "one");
  say (fixture, &publisher, "weather", "two");
  say (fixture, &publisher, "*", "three");
  say (fixture, &publisher, "", "four");
  say (fixture, &publisher, "News", "five");
  WAIT (LANDS, has (&all, "news=one;weather=two;*=three;=four;News=five;"));
  WAIT (LANDS, has (&same, "news=one;") && has (&other, "News=five;"));
  /* Never back. */
  g_assert_true (has (&publisher, ""));
  peer_close (fixture, &publisher);
  peer_close (fixture, &same);
  peer_close (fixture, &other);
  peer_close (fixture, &all);
}

static void
test_rate (Fixture *fixture, gconstpointer data)
{
  Peer publisher, subscriber;
  PilotBrokerStats stats;

  peer_open (fixture, &publisher, "burst");
  peer_open (fixture, &subscriber, "burst");
  for (guint i = 0; i < 400; i++)
    say (fixture, &publisher, "burst", "x");
  WAIT (LANDS, (pilot_broker_get_stats (fixture->broker, &stats), stats.published + stats.dropped_rate == 400));
  /* 200 at once, and 100 a second for the moment that it took. */
  g_assert_cmpuint (stats.published, >=, 200);
  g_assert_cmpuint (stats.dropped_rate, >, 0);
  WAIT (LANDS, (pilot_broker_get_stats (fixture->broker, &stats), stats.delivered == stats.published));
  g_assert_cmpuint (stats.dropped_slow, ==, 0);
  peer_close (fixture, &publisher);
  peer_close (fixture, &subscriber);
}

/* One byte of a frame that can be none closes the connection, and no other. */
static void
test_invalid (Fixture *fixture, gconstpointer data)
{
  static const guint8 invalid[][8] = { { 0x04, 0x01 }, { 0x00, 0x01, 'x', 0xff, 0xff, 0xff, 0xff }, { 0x00, 0x02, 0xc3, 0x28, 0, 0, 0, 0 } };
  Peer bystander;

  peer_open (fixture, &bystander, "news");
  for (guint i = 0; i < G_N_ELEMENTS (invalid); i++) {
    Peer peer;

    peer_open (fixture, &peer, "news");
    pilot_stream_write (peer.stream, invalid[i], sizeof invalid[i], g_get_monotonic_time ());
    pilot_node_kick (fixture->world.hosts[0].node);
    WAIT (LANDS, peer.closed);
    peer_close (fixture, &peer);
  }
  g_assert_false (bystander.closed);
  peer_close (fixture, &bystander);
}

/* A program of the machine and a deaf peer: what waits for each is bounded, the rest is counted, and who reads misses nothing. */
static void
test_slow (Fixture *fixture, gconstpointer data)
{
  g_autofree char *large = g_strnfill (1024 * 1024, 'x');
  g_autoptr (GBytes) frame = pilot_topic_message_encode ("news", 4, large, 1024 * 1024);
  g_autoptr (GError) error = NULL;
  PilotBrokerStats stats;
  Peer deaf, awake;
  int fd;

  peer_open (fixture, &deaf, "news");
  deaf.deaf = TRUE;
  peer_open (fixture, &awake, "news");
  fd = pilot_broker_subscribe (fixture->broker, "news", &error);
  g_assert_no_error (error);
  for (guint i = 1; i <= 24; i++) {
    g_assert_true (pilot_broker_publish (fixture->broker, frame, &error));
    WAIT (2 * LANDS, awake.got->len == i * g_bytes_get_size (frame));
  }
  pilot_broker_get_stats (fixture->broker, &stats);
  g_assert_cmpuint (stats.published, ==, 24);
  g_assert_cmpuint (stats.dropped_slow, >, 0);
  close (fd);
  WAIT (LANDS, (pilot_broker_get_stats (fixture->broker, &stats), stats.subscribers == 2));
  peer_close (fixture, &deaf);
  peer_close (fixture, &awake);
}

/* All but the end of an event of the largest kind. */
static void
hoard (Fixture *fixture, Peer *peer)
{
  const gsize length = PILOT_TOPIC_PAYLOAD_MAX - 4096;
  g_autofree guint8 *data = g_malloc0 (length);
  PilotStreamInfo info;
  gsize at = 0;

  peer_open (fixture, peer, "hoard");
  pilot_bytes_put_u32 (data + 2, PILOT_TOPIC_PAYLOAD_MAX);
  WAIT (4 * LANDS, (at += pilot_stream_write (peer->stream, data + at, length - at, g_get_monotonic_time ()), pilot_node_kick (fixture->world.hosts[0].node),
                    pilot_stream_info (peer->stream, &info), at == length && info.send_buffered == 0));
}

/* Who fills what there is for unfinished events goes, not who comes then with an event of his own. */
static void
test_hoarder (Fixture *fixture, gconstpointer data)
{
  g_autofree char *text = g_strnfill (32 * 1024, 'x'), *expected = g_strdup_printf ("news=%s;", text);
  Peer hoarders[4], publisher, subscriber;
  guint n_closed = 0;

  peer_open (fixture, &publisher, "news");
  peer_open (fixture, &subscriber, "news");
  for (guint i = 0; i < G_N_ELEMENTS (hoarders); i++)
    hoard (fixture, &hoarders[i]);
  say (fixture, &publisher, "news", text);
  WAIT (LANDS, has (&subscriber, expected) || publisher.closed);
  g_assert_false (publisher.closed);
  for (guint i = 0; i < G_N_ELEMENTS (hoarders); i++) {
    n_closed += hoarders[i].closed;
    peer_close (fixture, &hoarders[i]);
  }
  g_assert_cmpuint (n_closed, ==, 1);
  peer_close (fixture, &publisher);
  peer_close (fixture, &subscriber);
}

/* One peer has so many connections and no more; what is left is for others, and one that ends makes room for his next. */
static void
test_crowd (Fixture *fixture, gconstpointer data)
{
  g_autofree Peer *crowd = g_new0 (Peer, 256);
  g_autoptr (GError) error = NULL;
  Peer more = { .user.ready = peer_ready, .got = g_byte_array_new () };
  PilotBrokerStats stats;
  int fd;

  for (guint i = 0; i < 256; i++)
    peer_open (fixture, &crowd[i], i % 2 == 0 ? "news" : "weather");
  more.stream = pilot_node_connect (fixture->world.hosts[0].node, id (fixture, 1), PILOT_BROKER_PORT, &more.user, &error);
  g_assert_no_error (error);
  WAIT (LANDS, more.closed);
  g_assert_false (more.open);
  g_assert_cmpint (pilot_stream_get_error (more.stream), ==, PILOT_STREAM_ERROR_REFUSED);
  peer_close (fixture, &more);
  fd = pilot_broker_subscribe (fixture->broker, "news", &error);
  g_assert_no_error (error);
  peer_close (fixture, &crowd[0]);
  WAIT (LANDS, (pilot_broker_get_stats (fixture->broker, &stats), stats.subscribers == 256));
  peer_open (fixture, &crowd[0], "news");
  for (guint i = 0; i < 256; i++)
    peer_close (fixture, &crowd[i]);
  close (fd);
}

static void
test_local (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GBytes) frame = pilot_topic_message_encode ("news", 4, "own", 3), other = pilot_topic_message_encode ("other", 5, "x", 1);
  g_autoptr (GError) error = NULL;
  guint8 bytes[64];
  Peer peer;
  int fd = pilot_broker_subscribe (fixture->broker, "news", &error);

  g_assert_no_error (error);
  g_assert_true (pilot_broker_publish (fixture->broker, other, &error));
  g_assert_true (pilot_broker_publish (fixture->broker, frame, &error));
  g_assert_cmpint (recv (fd, bytes, sizeof bytes, 0), ==, g_bytes_get_size (frame));
  g_assert_cmpmem (bytes, g_bytes_get_size (frame), g_bytes_get_data (frame, NULL), g_bytes_get_size (frame));
  peer_open (fixture, &peer, "news");
  say (fixture, &peer, "news", "far");
  WAIT (LANDS, recv (fd, bytes, sizeof bytes, MSG_DONTWAIT) == 13);
  g_assert_cmpint (memcmp (bytes + 10, "far", 3), ==, 0);
  close (fd);
  peer_close (fixture, &peer);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define ADD(path, func) g_test_add (path, Fixture, NULL, set_up, func, tear_down)
  ADD ("/daemon/broker/topics", test_topics);
  ADD ("/daemon/broker/rate", test_rate);
  ADD ("/daemon/broker/invalid", test_invalid);
  ADD ("/daemon/broker/slow", test_slow);
  ADD ("/daemon/broker/hoarder", test_hoarder);
  ADD ("/daemon/broker/crowd", test_crowd);
  ADD ("/daemon/broker/local", test_local);
  return g_test_run ();
}
