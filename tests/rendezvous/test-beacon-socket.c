/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <locale.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rendezvous/beacon-socket.h"

/* The beacon's socket on loopback, with a kernel that can be made to refuse: sendmmsg() of this program takes the place of libc's. */

#define RECEIVERS 3

typedef struct
{
  gint most;   /* messages it takes; 0: it fails */
  gint number; /* with this errno */
} Answer;

static GArray *script; /* of Answer: for the next calls; then the kernel is asked as usual */
static guint n_calls, n_messages, n_segmented;

int
sendmmsg (int fd,
          struct mmsghdr *messages,
          unsigned int n,
          int flags)
{
  gint sent;

  n_calls++;
  if (script->len > 0) {
    Answer answer = g_array_index (script, Answer, 0);

    g_array_remove_index (script, 0);
    if (answer.most == 0) {
      errno = answer.number;
      return -1;
    }
    n = MIN (n, (guint) answer.most);
  }
  sent = (gint) syscall (SYS_sendmmsg, fd, messages, n, flags);
  for (gint i = 0; i < sent; i++)
    n_segmented += messages[i].msg_hdr.msg_iovlen > 1;
  n_messages += (guint) MAX (sent, 0);
  return sent;
}

static void
answer_next (gint most,
             gint number)
{
  const Answer answer = { most, number };

  g_array_append_val (script, answer);
}

typedef struct
{
  PilotBeaconSocket *socket;
  PilotEndpoint address;
  int senders[RECEIVERS]; /* connected to the socket */
  int receivers[RECEIVERS];
  PilotEndpoint to[RECEIVERS];
} Fixture;

static void
get_name (int fd,
          PilotEndpoint *endpoint)
{
  struct sockaddr_storage name;
  socklen_t length = sizeof name;

  g_assert_cmpint (getsockname (fd, (struct sockaddr *) &name, &length), ==, 0);
  g_assert_true (pilot_endpoint_from_sockaddr (endpoint, (struct sockaddr *) &name, length));
}

static int
open_peer (void)
{
  struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
  struct timeval timeout = { .tv_sec = 10 };
  int fd = socket (AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

  g_assert_cmpint (bind (fd, (struct sockaddr *) &name, sizeof name), ==, 0);
  g_assert_cmpint (setsockopt (fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout), ==, 0);
  return fd;
}

static void
fixture_init (Fixture *fixture,
              gboolean offload)
{
  g_autoptr (GError) error = NULL;
  PilotEndpoint any;
  struct sockaddr_storage name;
  socklen_t length;

  g_assert_true (pilot_endpoint_parse ("127.0.0.1:0", &any, NULL));
  fixture->socket = pilot_beacon_socket_new (&any, offload, &error);
  g_assert_no_error (error);
  get_name (pilot_beacon_socket_get_fd (fixture->socket), &fixture->address);
  length = pilot_endpoint_to_sockaddr (&fixture->address, FALSE, &name);
  for (guint i = 0; i < RECEIVERS; i++) {
    fixture->senders[i] = open_peer ();
    g_assert_cmpint (connect (fixture->senders[i], (struct sockaddr *) &name, length), ==, 0);
    fixture->receivers[i] = open_peer ();
    get_name (fixture->receivers[i], &fixture->to[i]);
  }
  g_array_set_size (script, 0);
  n_calls = n_messages = n_segmented = 0;
}

static void
fixture_clear (Fixture *fixture)
{
  guint8 byte;

  for (guint i = 0; i < RECEIVERS; i++) {
    /* Everything was looked at, nothing came twice. */
    g_assert_cmpint (recv (fixture->receivers[i], &byte, 1, MSG_DONTWAIT), ==, -1);
    close (fixture->senders[i]);
    close (fixture->receivers[i]);
  }
  pilot_beacon_socket_free (fixture->socket);
}

/* Datagram `number`: its number, then bytes made from it. */
static void
make (guint8 *data,
      gsize length,
      guint number)
{
  for (gsize i = 0; i < length; i++)
    data[i] = (guint8) (i < 2 ? number >> (8 * i) : number + i);
}

static void
expect (Fixture *fixture,
        guint receiver,
        guint number,
        gsize length)
{
  guint8 data[2048], want[2048];
  gssize n = recv (fixture->receivers[receiver], data, sizeof data, 0);

  make (want, length, number);
  g_assert_cmpmem (data, MAX (n, 0), want, length);
}

/* Sends `n` datagrams as one message for the kernel to cut, if it can. */
static void
send_coalesced (int fd,
                guint n,
                gsize length,
                gsize last_length)
{
  g_autofree guint8 *data = g_malloc (n * length);
  int size = (int) length;

  for (guint i = 0; i < n; i++)
    make (data + i * length, length, i);
  if (setsockopt (fd, SOL_UDP, UDP_SEGMENT, &size, sizeof size) == 0) {
    gsize all = (n - 1) * length + last_length;

    g_assert_cmpint (send (fd, data, all, 0), ==, all);
    size = 0;
    g_assert_cmpint (setsockopt (fd, SOL_UDP, UDP_SEGMENT, &size, sizeof size), ==, 0);
    return;
  }
  for (guint i = 0; i < n; i++)
    g_assert_cmpint (send (fd, data + i * length, i == n - 1 ? last_length : length, 0), >, 0);
}

/* Waits for a batch; everything sent to us on loopback is there at once. */
static void
receive (Fixture *fixture)
{
  struct pollfd ready = { .fd = pilot_beacon_socket_get_fd (fixture->socket), .events = POLLIN };

  g_assert_cmpint (poll (&ready, 1, 10000), ==, 1);
  g_assert_true (pilot_beacon_socket_receive (fixture->socket));
}

/* What came in one message goes out as one, be the datagrams cut at their head, and in order. */
static void
test_coalesced (gconstpointer offload)
{
  const gboolean on = GPOINTER_TO_INT (offload);
  const PilotBeaconSocketStatistics *statistics;
  Fixture fixture;
  PilotEndpoint from, local, sender;
  guint8 *data;
  gsize length;
  guint n = 0;

  fixture_init (&fixture, on);
  get_name (fixture.senders[0], &sender);
  send_coalesced (fixture.senders[0], 40, 1000, 300);
  receive (&fixture);
  while (pilot_beacon_socket_next (fixture.socket, &from, &local, &data, &length)) {
    g_assert_true (pilot_endpoint_equal (&from, &sender));
    g_assert_true (pilot_endpoint_equal_host (&local, &fixture.address));
    g_assert_cmpuint (length, ==, n == 39 ? 300 : 1000);
    /* As for a delivery, whose header is shorter. */
    make (data + 4, length - 4, n++);
    pilot_beacon_socket_queue (fixture.socket, &fixture.to[0], &local, data + 4, length - 4);
  }
  g_assert_cmpuint (n, ==, 40);
  g_assert_true (pilot_beacon_socket_flush (fixture.socket));
  for (guint i = 0; i < 40; i++)
    expect (&fixture, 0, i, i == 39 ? 296 : 996);
  statistics = pilot_beacon_socket_get_statistics (fixture.socket);
  g_assert_cmpuint (statistics->received, ==, 40);
  g_assert_cmpuint (statistics->sent, ==, 40);
  g_assert_cmpuint (statistics->receive_calls, ==, 1);
  g_assert_cmpuint (statistics->send_calls, ==, 1);
  g_assert_cmpuint (n_messages, ==, on ? 1 : 40);
  g_assert_cmpuint (n_segmented, ==, on ? 1 : 0);
  fixture_clear (&fixture);
}

/* Those of one message that begin alike are had without asking who sent them; not what begins otherwise, is too short to tell, or came in another message. */
static void
test_alike (gconstpointer offload)
{
  const gboolean on = GPOINTER_TO_INT (offload);
  const PilotBeaconSocketStatistics *statistics;
  static const guint8 head[] = { 1, 2, 3 };
  Fixture fixture;
  PilotEndpoint from, local;
  guint8 sent[6][100] = { { 0 } }, *data;
  gsize length;
  int size = sizeof *sent;

  fixture_init (&fixture, on);
  statistics = pilot_beacon_socket_get_statistics (fixture.socket);
  g_assert_false (pilot_beacon_socket_next_alike (fixture.socket, head, sizeof head, &data, &length)); /* nothing is here */
  for (guint i = 0; i < G_N_ELEMENTS (sent); i++) {
    memcpy (sent[i], head, sizeof head);
    sent[i][3] = (guint8) i;
  }
  sent[3][2] = 4;
  /* The last one has two bytes. */
  if (setsockopt (fixture.senders[0], SOL_UDP, UDP_SEGMENT, &size, sizeof size) != 0) {
    g_test_skip ("this kernel cannot cut");
    fixture_clear (&fixture);
    return;
  }
  g_assert_cmpint (send (fixture.senders[0], sent, sizeof sent - 98, 0), ==, sizeof sent - 98);
  g_assert_cmpint (send (fixture.senders[1], sent, 100, 0), ==, 100);
  receive (&fixture);
  g_assert_false (pilot_beacon_socket_next_alike (fixture.socket, head, sizeof head, &data, &length)); /* of whom it is was not asked yet */
  for (guint i = 0; i < G_N_ELEMENTS (sent); i++) {
    const gboolean is_alike = on && i != 0 && i != 3 && i != 5;

    g_assert_cmpint (pilot_beacon_socket_next_alike (fixture.socket, head, sizeof head, &data, &length), ==, is_alike);
    if (!is_alike)
      g_assert_true (pilot_beacon_socket_next (fixture.socket, &from, &local, &data, &length));
    g_assert_cmpmem (data, length, sent[i], i == 5 ? 2 : 100);
    g_assert_cmpuint (statistics->received, ==, i + 1);
  }
  g_assert_false (pilot_beacon_socket_next_alike (fixture.socket, head, sizeof head, &data, &length)); /* another sender */
  g_assert_true (pilot_beacon_socket_next (fixture.socket, &from, &local, &data, &length));
  g_assert_cmpmem (data, length, sent[0], 100);
  g_assert_false (pilot_beacon_socket_next_alike (fixture.socket, head, 0, &data, &length));
  g_assert_false (pilot_beacon_socket_next (fixture.socket, &from, &local, &data, &length));
  g_assert_false (pilot_beacon_socket_next_alike (fixture.socket, head, 0, &data, &length));
  fixture_clear (&fixture);
}

static guint8 store[400][1200];

static void
queue (Fixture *fixture,
       guint receiver,
       guint number,
       gsize length)
{
  const PilotEndpoint none = PILOT_ENDPOINT_INIT;

  make (store[number], length, number);
  pilot_beacon_socket_queue (fixture->socket, &fixture->to[receiver], &none, store[number], length);
}

/* Only neighbours to one destination belong together, of equal size but for a shorter last one, and 64 at most. */
static void
test_groups (void)
{
  static const struct
  {
    guint receiver, n;
    gsize length;
  } runs[] = { { 0, 70, 100 }, { 1, 1, 100 }, { 0, 3, 100 }, { 0, 1, 50 }, { 0, 1, 50 }, { 2, 2, 600 }, { 2, 2, 700 }, { 1, 1, 700 }, { 2, 60, 1200 } };
  static const guint messages = 2 + 1 + 1 + 1 + 1 + 1 + 1 + 2;
  Fixture fixture;
  guint number = 0;

  fixture_init (&fixture, TRUE);
  for (guint i = 0; i < G_N_ELEMENTS (runs); i++)
    for (guint k = 0; k < runs[i].n; k++)
      queue (&fixture, runs[i].receiver, number++, runs[i].length);
  g_assert_true (pilot_beacon_socket_flush (fixture.socket));
  g_assert_cmpuint (n_messages, ==, messages);
  number = 0;
  for (guint i = 0; i < G_N_ELEMENTS (runs); i++)
    for (guint k = 0; k < runs[i].n; k++)
      expect (&fixture, runs[i].receiver, number++, runs[i].length);
  fixture_clear (&fixture);
}

/* The kernel refuses to cut: the same datagrams go one by one, at once; and others are not held up. */
static void
test_refused (gconstpointer data)
{
  const gint number = GPOINTER_TO_INT (data);
  Fixture fixture;

  fixture_init (&fixture, TRUE);
  for (guint i = 0; i < 10; i++)
    queue (&fixture, 0, i, 1000);
  queue (&fixture, 1, 10, 1000);
  answer_next (0, number);
  answer_next (4, 0); /* and the pieces do not all fit at once */
  answer_next (0, EAGAIN);
  g_assert_false (pilot_beacon_socket_flush (fixture.socket));
  g_assert_true (pilot_beacon_socket_flush (fixture.socket));
  g_assert_cmpuint (pilot_beacon_socket_get_statistics (fixture.socket)->fallbacks, ==, 1);
  g_assert_cmpuint (pilot_beacon_socket_get_statistics (fixture.socket)->sent, ==, 11);
  g_assert_cmpuint (pilot_beacon_socket_get_statistics (fixture.socket)->refused, ==, 0);
  for (guint i = 0; i < 10; i++)
    expect (&fixture, 0, i, 1000);
  expect (&fixture, 1, 10, 1000);
  g_assert_cmpuint (n_segmented, ==, 0);
  /* It is not tried again: nowhere when the device cannot, not there when the path cannot, and there only when segments are smaller. */
  for (guint i = 0; i < 4; i++)
    queue (&fixture, 0, i, 1000);
  for (guint i = 4; i < 8; i++)
    queue (&fixture, 1, i, 1000);
  for (guint i = 8; i < 12; i++)
    queue (&fixture, 0, i, 500);
  g_assert_true (pilot_beacon_socket_flush (fixture.socket));
  g_assert_cmpuint (n_segmented, ==, number == EIO ? 0 : number == EINVAL ? 1
                                                                          : 2);
  for (guint i = 0; i < 12; i++)
    expect (&fixture, i >= 4 && i < 8 ? 1 : 0, i, i < 8 ? 1000 : 500);
  fixture_clear (&fixture);
}

/* A kernel that really refuses: it cannot cut what has no checksum (net/ipv4/udp.c since 4.18). */
static void
test_no_checksum (void)
{
  static const int on = 1;
  Fixture fixture;

  fixture_init (&fixture, TRUE);
  g_assert_cmpint (setsockopt (pilot_beacon_socket_get_fd (fixture.socket), SOL_SOCKET, SO_NO_CHECK, &on, sizeof on), ==, 0);
  for (guint i = 0; i < 20; i++)
    queue (&fixture, 0, i, 1000);
  g_assert_true (pilot_beacon_socket_flush (fixture.socket));
  g_assert_cmpuint (pilot_beacon_socket_get_statistics (fixture.socket)->fallbacks, ==, 1);
  for (guint i = 0; i < 20; i++)
    expect (&fixture, 0, i, 1000);
  fixture_clear (&fixture);
}

/* What one destination refuses is lost, and no more than that. */
static void
test_lost (void)
{
  Fixture fixture;

  fixture_init (&fixture, TRUE);
  for (guint i = 0; i < 3; i++)
    queue (&fixture, 0, i, 400);
  queue (&fixture, 1, 3, 400);
  answer_next (0, EPERM);
  answer_next (0, EINTR);
  g_assert_true (pilot_beacon_socket_flush (fixture.socket));
  g_assert_cmpuint (pilot_beacon_socket_get_statistics (fixture.socket)->refused, ==, 3);
  expect (&fixture, 1, 3, 400);
  /* A piece too. */
  for (guint i = 0; i < 3; i++)
    queue (&fixture, 2, i, 400);
  answer_next (0, EINVAL);
  answer_next (0, EPERM);
  g_assert_true (pilot_beacon_socket_flush (fixture.socket));
  g_assert_cmpuint (pilot_beacon_socket_get_statistics (fixture.socket)->refused, ==, 4);
  expect (&fixture, 2, 1, 400);
  expect (&fixture, 2, 2, 400);
  /* And what is dropped is counted, without what has gone. */
  for (guint i = 0; i < 5; i++)
    queue (&fixture, 0, i, 400);
  queue (&fixture, 1, 5, 400);
  answer_next (1, 0);
  answer_next (0, EAGAIN);
  g_assert_false (pilot_beacon_socket_flush (fixture.socket));
  g_assert_cmpuint (pilot_beacon_socket_drop (fixture.socket), ==, 1);
  g_assert_false (pilot_beacon_socket_has_queued (fixture.socket));
  for (guint i = 0; i < 5; i++)
    expect (&fixture, 0, i, 400);
  fixture_clear (&fixture);
}

/* More than there is room for: it goes in several rounds, and a full buffer keeps the rest of the batch for later. */
static void
test_room (void)
{
  Fixture fixture;
  PilotEndpoint from, local;
  guint8 *data;
  gsize length;
  guint n = 0, n_full = 0;

  fixture_init (&fixture, TRUE);
  for (guint i = 0; i < 10; i++)
    send_coalesced (fixture.senders[i % RECEIVERS], 60, 20, 20);
  receive (&fixture);
  while (pilot_beacon_socket_has_next (fixture.socket)) {
    while (pilot_beacon_socket_has_room (fixture.socket) && pilot_beacon_socket_next (fixture.socket, &from, &local, &data, &length)) {
      /* In turns, so that nothing can be joined. */
      pilot_beacon_socket_queue (fixture.socket, &fixture.to[n % RECEIVERS], &local, data, length);
      n++;
    }
    answer_next (5, 0);
    answer_next (0, EAGAIN);
    g_assert_false (pilot_beacon_socket_flush (fixture.socket));
    g_assert_true (pilot_beacon_socket_flush (fixture.socket));
    n_full++;
    for (guint r = 0; r < RECEIVERS; r++) {
      guint8 got[64];

      while (recv (fixture.receivers[r], got, sizeof got, MSG_DONTWAIT) == 20)
        ;
    }
  }
  g_assert_cmpuint (n, ==, 600);
  g_assert_cmpuint (n_full, >=, 3);
  g_assert_cmpuint (pilot_beacon_socket_get_statistics (fixture.socket)->sent, ==, 600);
  fixture_clear (&fixture);
}

int
main (int argc,
      char **argv)
{
  setlocale (LC_ALL, "");
  g_test_init (&argc, &argv, NULL);
  script = g_array_new (FALSE, FALSE, sizeof (Answer));
  g_test_add_data_func ("/rendezvous/beacon-socket/coalesced", GINT_TO_POINTER (TRUE), test_coalesced);
  g_test_add_data_func ("/rendezvous/beacon-socket/one-by-one", GINT_TO_POINTER (FALSE), test_coalesced);
  g_test_add_data_func ("/rendezvous/beacon-socket/alike", GINT_TO_POINTER (TRUE), test_alike);
  g_test_add_data_func ("/rendezvous/beacon-socket/alike/one-by-one", GINT_TO_POINTER (FALSE), test_alike);
  g_test_add_func ("/rendezvous/beacon-socket/groups", test_groups);
  g_test_add_data_func ("/rendezvous/beacon-socket/refused/EIO", GINT_TO_POINTER (EIO), test_refused);
  g_test_add_data_func ("/rendezvous/beacon-socket/refused/EINVAL", GINT_TO_POINTER (EINVAL), test_refused);
  g_test_add_data_func ("/rendezvous/beacon-socket/refused/EMSGSIZE", GINT_TO_POINTER (EMSGSIZE), test_refused);
  g_test_add_func ("/rendezvous/beacon-socket/no-checksum", test_no_checksum);
  g_test_add_func ("/rendezvous/beacon-socket/lost", test_lost);
  g_test_add_func ("/rendezvous/beacon-socket/room", test_room);
  return g_test_run ();
}
