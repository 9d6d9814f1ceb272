/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* PilotBridge between a socket pair's one end and a stream in memory. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "daemon/gateway/bridge.h"
#include "daemon/gateway/socket-pair.h"
#include "tests/gateway/namespace.h"
#include "tests/gateway/fake-node.h"

typedef struct {
  PilotStreamUser user;
  PilotPoller *poller;
  PilotNode *node;
  PilotBridgeGroup group;
  PilotStream *far; /* the peer's end */
  guint ready;
  int client; /* the local program's end */
  guint ended;
  PilotStreamError error;
} Fixture;

static void
far_ready (PilotStreamUser *user, PilotStream *stream, guint ready)
{
  ((Fixture *) user)->ready |= ready;
}

static void
bridge_ended (PilotBridgeGroup *group, guint16 port, PilotStreamError error, gpointer user_data)
{
  Fixture *fixture = user_data;

  fixture->ended++;
  fixture->error = error;
}

/* A TCP connection over loopback: @server is non-blocking. */
static void
connect_pair (int *client, int *server, int buffer_size)
{
  struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
  socklen_t length = sizeof name;
  int listener = socket (AF_INET, SOCK_STREAM, 0);

  if (buffer_size > 0)
    setsockopt (listener, SOL_SOCKET, SO_SNDBUF, &buffer_size, sizeof buffer_size);
  g_assert_cmpint (bind (listener, (struct sockaddr *) &name, sizeof name), ==, 0);
  g_assert_cmpint (listen (listener, 1), ==, 0);
  g_assert_cmpint (getsockname (listener, (struct sockaddr *) &name, &length), ==, 0);
  *client = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (buffer_size > 0)
    setsockopt (*client, SOL_SOCKET, SO_RCVBUF, &buffer_size, sizeof buffer_size);
  g_assert_cmpint (connect (*client, (struct sockaddr *) &name, sizeof name), ==, 0);
  *server = accept4 (listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  g_assert_cmpint (*server, >=, 0);
  fcntl (*client, F_SETFL, O_NONBLOCK);
  close (listener);
}

static PilotStream *
set_up_node (Fixture *fixture, gsize capacity)
{
  PilotStream *near;

  fixture->user.ready = far_ready;
  fixture->poller = pilot_poller_new (NULL, NULL);
  fixture->node = fake_node_new (fixture->poller, "/nonexistent");
  pilot_bridge_group_init (&fixture->group, fixture->poller);
  fixture->group.ended = bridge_ended;
  fixture->group.user_data = fixture;
  fake_node_set_capacity (fixture->node, capacity);
  fake_stream_pair (fixture->node, &near, &fixture->far);
  pilot_stream_set_user_data (fixture->far, &fixture->user);
  return near;
}

static void
set_up (Fixture *fixture, gconstpointer data)
{
  PilotStream *near = set_up_node (fixture, (gsize) GPOINTER_TO_INT (data));
  int server;

  connect_pair (&fixture->client, &server, GPOINTER_TO_INT (data));
  pilot_bridge_join (&fixture->group, server, 80, near, 2);
}

/* The local program has one end of a socket pair. */
static void
set_up_pair (Fixture *fixture, gconstpointer data)
{
  PilotStream *near = set_up_node (fixture, (gsize) GPOINTER_TO_INT (data));
  int fds[2];

  g_assert_true (pilot_socket_pair_new (fds, NULL));
  fixture->client = fds[1];
  fcntl (fixture->client, F_SETFL, O_NONBLOCK);
  pilot_bridge_join_pair (&fixture->group, fds[0], 80, near);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  pilot_bridge_group_reset (&fixture->group);
  if (fixture->far != NULL)
    pilot_stream_release (fixture->far, 0);
  while (g_main_context_iteration (NULL, FALSE))
    ;
  g_assert_cmpuint (fixture->group.open, ==, 0);
  g_assert_cmpuint (fake_node_count_streams (fixture->node), ==, 0);
  g_object_unref (fixture->node);
  pilot_poller_free (fixture->poller);
  if (fixture->client >= 0)
    close (fixture->client);
}

#define wait_until(condition)                                       \
  G_STMT_START                                                      \
  {                                                                 \
    gint64 give_up = g_get_monotonic_time () + 10 * G_USEC_PER_SEC; \
    while (!(condition)) {                                          \
      g_assert_cmpint (g_get_monotonic_time (), <, give_up);        \
      if (!g_main_context_iteration (NULL, FALSE))                  \
        g_usleep (200);                                             \
    }                                                               \
  }                                                                 \
  G_STMT_END

/* One try to read from the client's end: bytes, 0 at the end, or -errno. */
static gssize
client_read (Fixture *fixture, char *buffer, gsize length)
{
  gssize got = recv (fixture->client, buffer, length, MSG_DONTWAIT);

  return got < 0 ? -errno : got;
}

static void
test_half_close (Fixture *fixture, gconstpointer data)
{
  char buffer[64];
  struct iovec spans[2];
  gssize got;

  g_assert_cmpint (send (fixture->client, "request", 7, 0), ==, 7);
  g_assert_cmpint (shutdown (fixture->client, SHUT_WR), ==, 0);
  wait_until ((fixture->ready & PILOT_STREAM_READY_EOF) != 0);
  g_assert_cmpuint (pilot_stream_read_vectors (fixture->far, spans), ==, 1);
  g_assert_cmpmem (spans[0].iov_base, spans[0].iov_len, "request", 7);
  pilot_stream_read_consume (fixture->far, 7, 0);

  /* The other direction still works, and ends by itself. */
  g_assert_cmpuint (pilot_stream_write_vectors (fixture->far, spans), >, 0);
  memcpy (spans[0].iov_base, "answer", 6);
  pilot_stream_write_commit (fixture->far, 6, 0);
  wait_until ((got = client_read (fixture, buffer, sizeof buffer)) != -EAGAIN);
  g_assert_cmpmem (buffer, got, "answer", 6);
  g_assert_cmpuint (fixture->ended, ==, 0);
  pilot_stream_shutdown_write (fixture->far, 0);
  wait_until ((got = client_read (fixture, buffer, sizeof buffer)) != -EAGAIN);
  g_assert_cmpint (got, ==, 0);
  wait_until (fixture->ended == 1);
  g_assert_cmpint (fixture->error, ==, PILOT_STREAM_ERROR_NONE);
  g_assert_cmpuint (fixture->group.bytes_out, ==, 7);
  g_assert_cmpuint (fixture->group.bytes_in, ==, 6);
}

/* After the client's FIN more comes in each turn than one turn moves, and the socket takes it all: nobody but the socket says that there is more to do. */
static void
test_half_close_large (Fixture *fixture, gconstpointer data)
{
  const gsize total = 8 * 1024 * 1024;
  g_autofree char *buffer = g_malloc (65536);
  gint64 give_up = g_get_monotonic_time () + 10 * G_USEC_PER_SEC;
  gsize written = 0, read = 0;
  struct iovec spans[2];
  gssize got;

  g_assert_cmpint (shutdown (fixture->client, SHUT_WR), ==, 0);
  wait_until ((fixture->ready & PILOT_STREAM_READY_EOF) != 0);
  do {
    while (written < total && pilot_stream_write_vectors (fixture->far, spans) > 0) {
      gsize n = MIN (spans[0].iov_len, total - written);

      memset (spans[0].iov_base, 'x', n);
      pilot_stream_write_commit (fixture->far, n, 0);
      written += n;
    }
    g_main_context_iteration (NULL, FALSE);
    got = client_read (fixture, buffer, 65536);
    read += MAX (got, 0);
    g_assert_cmpint (g_get_monotonic_time (), <, give_up);
  } while (read < total);
  pilot_stream_shutdown_write (fixture->far, 0);
  wait_until (client_read (fixture, buffer, 1) == 0);
  wait_until (fixture->ended == 1);
}

static void
test_peer_resets (Fixture *fixture, gconstpointer data)
{
  char buffer[64];
  gssize got;

  pilot_stream_reset (fixture->far, 0);
  wait_until ((got = client_read (fixture, buffer, sizeof buffer)) != -EAGAIN);
  g_assert_cmpint (got, ==, -ECONNRESET);
  g_assert_cmpuint (fixture->ended, ==, 1);
  g_assert_cmpint (fixture->error, ==, PILOT_STREAM_ERROR_RESET);
}

static void
test_client_resets (Fixture *fixture, gconstpointer data)
{
  pilot_socket_reset (fixture->client);
  fixture->client = -1;
  wait_until ((fixture->ready & PILOT_STREAM_READY_CLOSED) != 0);
  g_assert_cmpint (pilot_stream_get_error (fixture->far), ==, PILOT_STREAM_ERROR_RESET);
  g_assert_cmpuint (fixture->ended, ==, 1);
}

static void
far_writes (Fixture *fixture, const char *text)
{
  struct iovec spans[2];

  g_assert_cmpuint (pilot_stream_write_vectors (fixture->far, spans), >, 0);
  memcpy (spans[0].iov_base, text, strlen (text));
  pilot_stream_write_commit (fixture->far, strlen (text), 0);
}

static void
far_expects (Fixture *fixture, const char *text)
{
  struct iovec spans[2];

  wait_until (pilot_stream_read_vectors (fixture->far, spans) > 0 && spans[0].iov_len >= strlen (text));
  g_assert_cmpmem (spans[0].iov_base, spans[0].iov_len, text, strlen (text));
  pilot_stream_read_consume (fixture->far, strlen (text), 0);
}

/* What came before the reset is read first. */
static void
test_peer_resets_later (Fixture *fixture, gconstpointer data)
{
  char buffer[64];
  gssize got;

  g_assert_cmpint (send (fixture->client, "request", 7, 0), ==, 7);
  far_expects (fixture, "request");
  far_writes (fixture, "half an answer");
  wait_until (fixture->group.bytes_in == 14);
  pilot_stream_reset (fixture->far, 0);
  wait_until (fixture->ended == 1);
  got = client_read (fixture, buffer, sizeof buffer);
  g_assert_cmpmem (buffer, got, "half an answer", 14);
  g_assert_cmpint (client_read (fixture, buffer, sizeof buffer), ==, -ECONNRESET);
}

/* A program that closes with something unread resets; one that has read everything ends in order. */
static void
test_pair_closed_unread (Fixture *fixture, gconstpointer data)
{
  far_writes (fixture, "unread");
  wait_until (fixture->group.bytes_in == 6);
  g_assert_cmpint (send (fixture->client, "last words", 10, 0), ==, 10);
  close (fixture->client);
  fixture->client = -1;
  wait_until ((fixture->ready & PILOT_STREAM_READY_CLOSED) != 0);
  g_assert_cmpint (pilot_stream_get_error (fixture->far), ==, PILOT_STREAM_ERROR_RESET);
  g_assert_cmpuint (fixture->ended, ==, 1);
}

static void
test_pair_closed (Fixture *fixture, gconstpointer data)
{
  g_assert_cmpint (send (fixture->client, "one", 3, 0), ==, 3);
  far_expects (fixture, "one");
  g_assert_cmpint (send (fixture->client, "last", 4, 0), ==, 4);
  g_assert_cmpint (send (fixture->client, " words", 6, 0), ==, 6);
  close (fixture->client);
  fixture->client = -1;
  wait_until ((fixture->ready & PILOT_STREAM_READY_EOF) != 0);
  far_expects (fixture, "last words");
  wait_until (fixture->ended == 1);
  g_assert_cmpint (fixture->error, ==, PILOT_STREAM_ERROR_NONE);
  g_assert_cmpuint (fixture->group.bytes_out, ==, 13);
}

/* Every byte, in order, whatever the pieces: the byte that stays in the queue is neither lost nor told twice. */
static void
test_pair_every_byte (Fixture *fixture, gconstpointer data)
{
  const gsize total = 3 * 1024 * 1024;
  gint64 give_up = g_get_monotonic_time () + 20 * G_USEC_PER_SEC;
  g_autoptr (GRand) random = g_rand_new_with_seed (7);
  g_autofree guint8 *block = g_malloc (40000);
  gsize sent = 0, seen = 0;

  while (seen < total || (fixture->ready & PILOT_STREAM_READY_EOF) == 0) {
    struct iovec spans[2];
    gsize piece = (gsize) g_rand_int_range (random, 1, g_rand_boolean (random) ? 5 : 40000), length = MIN (total - sent, piece);
    gssize put;
    guint n;

    for (gsize i = 0; i < length; i++)
      block[i] = (guint8) ((sent + i) * 2654435761u >> 13);
    put = length > 0 ? send (fixture->client, block, length, MSG_DONTWAIT) : 0;
    sent += (gsize) MAX (put, 0);
    if (length > 0 && sent == total)
      g_assert_cmpint (shutdown (fixture->client, SHUT_WR), ==, 0);
    g_main_context_iteration (NULL, FALSE);
    n = pilot_stream_read_vectors (fixture->far, spans);
    for (guint i = 0; i < n; i++) {
      for (gsize k = 0; k < spans[i].iov_len; k++, seen++)
        if (((guint8 *) spans[i].iov_base)[k] != (guint8) (seen * 2654435761u >> 13))
          g_error ("byte %" G_GSIZE_FORMAT " is wrong", seen);
      pilot_stream_read_consume (fixture->far, spans[i].iov_len, 0);
    }
    g_assert_cmpint (g_get_monotonic_time (), <, give_up);
  }
  g_assert_cmpuint (seen, ==, total);
}

static gint64
cpu_time (void)
{
  struct rusage usage;

  getrusage (RUSAGE_SELF, &usage);
  return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * G_USEC_PER_SEC + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

static gboolean
set_flag (gpointer user_data)
{
  *(gboolean *) user_data = TRUE;
  return G_SOURCE_REMOVE;
}

/* The loop sleeps for half a second; anything that spins shows in the time used. */
static void
assert_idle (void)
{
  gboolean over = FALSE;
  gint64 before = cpu_time ();

  g_timeout_add (500, set_flag, &over);
  while (!over)
    g_main_context_iteration (NULL, TRUE);
  g_assert_cmpint (cpu_time () - before, <, 200000);
}

static void
test_peer_never_reads (Fixture *fixture, gconstpointer data)
{
  g_autofree char *block = g_malloc0 (65536);
  gsize sent = 0;
  gint64 quiet;

  /* Until nothing moves for a while: the ring is full, then the socket. */
  quiet = g_get_monotonic_time ();
  while (g_get_monotonic_time () - quiet < 200000) {
    gssize put = send (fixture->client, block, 65536, MSG_DONTWAIT);

    g_main_context_iteration (NULL, FALSE);
    if (put > 0) {
      sent += put;
      quiet = g_get_monotonic_time ();
    }
  }
  g_assert_cmpuint (sent, <, 64 * 1024 * 1024);
  g_assert_cmpuint (fixture->group.bytes_out, ==, FAKE_BUFFER);
  assert_idle ();

  /* The client hangs up meanwhile, both directions are shut, and the ring stays full: still nothing spins. */
  pilot_stream_shutdown_write (fixture->far, 0);
  g_assert_cmpint (shutdown (fixture->client, SHUT_WR), ==, 0);
  assert_idle ();

  /* The peer reads at last: all of it arrives. */
  while (fixture->ended == 0) {
    struct iovec spans[2];
    guint n = pilot_stream_read_vectors (fixture->far, spans);

    for (guint i = 0; i < n; i++)
      pilot_stream_read_consume (fixture->far, spans[i].iov_len, 0);
    g_main_context_iteration (NULL, FALSE);
  }
  g_assert_cmpuint (fixture->group.bytes_out, ==, sent);
}

static void
test_client_never_reads (Fixture *fixture, gconstpointer data)
{
  gsize sent = 0;
  gint64 quiet = g_get_monotonic_time ();

  while (g_get_monotonic_time () - quiet < 200000) {
    struct iovec spans[2];
    guint n = pilot_stream_write_vectors (fixture->far, spans);

    for (guint i = 0; i < n; i++) {
      memset (spans[i].iov_base, 'x', spans[i].iov_len);
      pilot_stream_write_commit (fixture->far, spans[i].iov_len, 0);
      sent += spans[i].iov_len;
      quiet = g_get_monotonic_time ();
    }
    g_main_context_iteration (NULL, FALSE);
  }
  g_assert_cmpuint (sent, <, 64 * 1024 * 1024);
  g_assert_cmpuint (sent - fixture->group.bytes_in, ==, FAKE_BUFFER);
  assert_idle ();
}

static PilotStream *
dial_silent (PilotStreamUser *user, gpointer user_data, GError **error)
{
  return pilot_node_connect (((Fixture *) user_data)->node, 5, 80, user, error);
}

static void
test_dial_timeout (Fixture *fixture, gconstpointer data)
{
  gint64 begin = g_get_monotonic_time ();
  g_autoptr (GError) error = NULL;
  char buffer[16];
  int client, server;
  gssize got;

  fixture->group.dial_timeout_us = 300000;
  connect_pair (&client, &server, 0);
  g_assert_true (pilot_bridge_open (&fixture->group, server, 80, dial_silent, fixture, &error));
  g_assert_no_error (error);
  wait_until ((got = recv (client, buffer, sizeof buffer, MSG_DONTWAIT)) >= 0 || errno != EAGAIN);
  g_assert_cmpint (got, ==, -1);
  g_assert_cmpint (errno, ==, ECONNRESET);
  g_assert_cmpint (g_get_monotonic_time () - begin, >=, 300000);
  g_assert_cmpint (fixture->error, ==, PILOT_STREAM_ERROR_TIMEOUT);
  close (client);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define ADD(path, func) g_test_add (path, Fixture, NULL, set_up, func, tear_down)
  ADD ("/bridge/half-close", test_half_close);
  g_test_add ("/bridge/half-close-large", Fixture, GINT_TO_POINTER (1024 * 1024), set_up, test_half_close_large, tear_down);
  ADD ("/bridge/peer-resets", test_peer_resets);
  ADD ("/bridge/client-resets", test_client_resets);
  ADD ("/bridge/peer-never-reads", test_peer_never_reads);
  ADD ("/bridge/client-never-reads", test_client_never_reads);
  ADD ("/bridge/dial-timeout", test_dial_timeout);
  ADD ("/bridge/peer-resets-later", test_peer_resets_later);
#define ADD_PAIR(path, func) g_test_add (path, Fixture, NULL, set_up_pair, func, tear_down)
  ADD_PAIR ("/bridge/pair/half-close", test_half_close);
  g_test_add ("/bridge/pair/half-close-large", Fixture, GINT_TO_POINTER (1024 * 1024), set_up_pair, test_half_close_large, tear_down);
  ADD_PAIR ("/bridge/pair/peer-resets", test_peer_resets);
  ADD_PAIR ("/bridge/pair/peer-resets-later", test_peer_resets_later);
  ADD_PAIR ("/bridge/pair/peer-never-reads", test_peer_never_reads);
  ADD_PAIR ("/bridge/pair/client-never-reads", test_client_never_reads);
  ADD_PAIR ("/bridge/pair/closed-unread", test_pair_closed_unread);
  ADD_PAIR ("/bridge/pair/closed", test_pair_closed);
  ADD_PAIR ("/bridge/pair/every-byte", test_pair_every_byte);
  return g_test_run ();
}
