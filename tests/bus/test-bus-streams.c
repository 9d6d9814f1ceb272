/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Streams and Events on D-Bus: what belongs to a caller goes with it; descriptors carry the stream. */
#include <gio/gunixfdlist.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bus/service.h"

/* The answer's first descriptor, in *@fd; NULL with the error. */
static GVariant *
call_fd (Service *service, const char *method, GVariant *arguments, int *fd, GError **error)
{
  g_autoptr (GUnixFDList) list = NULL;
  GVariant *reply = service_call_fds (service, "Streams", method, arguments, NULL, &list, error);

  if (reply != NULL)
    *fd = g_unix_fd_list_get (list, 0, error);
  return reply;
}

static gboolean
holds (Service *service, guint16 port)
{
  g_autoptr (GVariant) reply = service_ask (service, "", "Streams.ListPorts", "()");
  g_autofree char *text = g_variant_print (reply, TRUE), *wanted = g_strdup_printf ("'port': <uint16 %u>", port);

  return strstr (text, wanted) != NULL;
}

/* The echo of host 1, through a descriptor: bytes there and back, the end of one direction, the end of all. */
static void
test_dial (Service *service, gconstpointer via)
{
  g_autoptr (GVariant) reply = NULL;
  g_autoptr (GError) error = NULL;
  char buffer[16];
  gssize got = -1;
  int fd = -1;

  service_befriend (service);
  reply = call_fd (service, "Dial", g_variant_new ("(uq@a{sv})", service_id (service, 1), 7, g_variant_new ("a{sv}", NULL)), &fd, &error);
  g_assert_no_error (error);
  g_assert_cmpint (send (fd, "hello", 5, 0), ==, 5);
  WAIT (LANDS, (got = recv (fd, buffer, sizeof buffer, MSG_DONTWAIT)) >= 0);
  g_assert_cmpmem (buffer, got, "hello", 5);
  g_assert_cmpint (shutdown (fd, SHUT_WR), ==, 0);
  WAIT (LANDS, recv (fd, buffer, sizeof buffer, MSG_DONTWAIT) == 0);
  close (fd);
}

static void
test_dial_fails (Service *service, gconstpointer via)
{
  g_autofree char *options = NULL, *itself = NULL, *closed = NULL;

  options = service_refused (service, "", "Streams.Dial", "InvalidArgument", "(uint32 %u, @q 7, {'timeout': <uint32 5>})", service_id (service, 1));
  itself = service_refused (service, "", "Streams.Dial", "InvalidArgument", "(uint32 %u, @q 7, @a{sv} {})", service_id (service, 0));
  service_befriend (service);
  closed = service_refused (service, "", "Streams.Dial", "Refused", "(uint32 %u, @q 4444, @a{sv} {})", service_id (service, 1));
  g_assert_nonnull (strstr (closed, "4444"));
}

/* A port belongs to who listens on it: others cannot accept there, and when he leaves it is free. */
static void
test_listen (Service *service, gconstpointer via)
{
  GDBusConnection *first = service->connection;
  const char *name = service->name;
  g_autoptr (GDBusConnection) second = service_connect (service, &service->name);
  g_autoptr (GAsyncResult) closed = NULL;
  g_autofree char *taken = NULL, *foreign = NULL, *nobody = NULL, *timeout = NULL;

  g_variant_unref (service_ask (service, "", "Streams.Listen", "(@q 5000, @a{sv} {})"));
  taken = service_refused (service, "", "Streams.Listen", "AlreadyExists", "(@q 5000, @a{sv} {})");
  service->connection = second;
  g_assert_true (holds (service, 5000));
  foreign = service_refused (service, "", "Streams.Unlisten", "NotFound", "(@q 5000,)");
  nobody = service_refused (service, "", "Streams.Accept", "NotFound", "(@q 5000, @a{sv} {})");
  g_variant_unref (service_ask (service, "", "Streams.Listen", "(@q 5001, @a{sv} {})"));
  timeout = service_refused (service, "", "Streams.Accept", "Timeout", "(@q 5001, {'timeout_ms': <uint32 50>})");
  service->connection = first;
  service->name = name;
  g_dbus_connection_close (second, NULL, service_on_done, &closed);
  WAIT (LANDS, closed != NULL);
  WAIT (LANDS, !holds (service, 5001));
  g_assert_true (holds (service, 5000));
  g_variant_unref (service_ask (service, "", "Streams.Unlisten", "(@q 5000,)"));
  g_assert_false (holds (service, 5000));
}

/* --- a stream that comes in --- */

typedef struct {
  PilotStreamUser user; /* first */
  PilotStream *stream;
  gboolean open, ended;
  char got[16];
  gsize length;
} Dialler;

static void
on_dialler_ready (PilotStreamUser *user, PilotStream *stream, guint ready)
{
  Dialler *dialler = (Dialler *) user;
  struct iovec vectors[2];
  guint n;

  dialler->open |= (ready & PILOT_STREAM_READY_OPEN) != 0;
  while ((n = pilot_stream_read_vectors (stream, vectors)) > 0) {
    gsize length = vectors[0].iov_len;

    g_assert_cmpuint (dialler->length + length, <=, sizeof dialler->got);
    memcpy (dialler->got + dialler->length, vectors[0].iov_base, length);
    dialler->length += length;
    pilot_stream_read_consume (stream, length, g_get_monotonic_time ());
  }
  dialler->ended |= (ready & (PILOT_STREAM_READY_EOF | PILOT_STREAM_READY_CLOSED)) != 0;
}

/* Host 1 dials a port that the client on the bus listens on. */
static void
dial_in (Service *service, Dialler *dialler)
{
  PilotNode *node = service->world.hosts[1].node;
  g_autoptr (GError) error = NULL;

  *dialler = (Dialler) { .user = { on_dialler_ready } };
  dialler->stream = pilot_node_connect (node, service_id (service, 0), 5000, &dialler->user, &error);
  g_assert_no_error (error);
}

static void
talk (Service *service, Dialler *dialler, int fd)
{
  PilotNode *node = service->world.hosts[1].node;
  char buffer[16];
  gssize got = -1;

  WAIT (LANDS, dialler->open);
  g_assert_cmpuint (pilot_stream_write (dialler->stream, "hello", 5, g_get_monotonic_time ()), ==, 5);
  pilot_node_kick (node);
  WAIT (LANDS, (got = recv (fd, buffer, sizeof buffer, MSG_DONTWAIT)) >= 0);
  g_assert_cmpmem (buffer, got, "hello", 5);
  g_assert_cmpint (send (fd, "good bye", 8, 0), ==, 8);
  close (fd);
  WAIT (LANDS, dialler->ended);
  g_assert_cmpmem (dialler->got, dialler->length, "good bye", 8);
  pilot_stream_set_user_data (dialler->stream, NULL);
  pilot_stream_release (dialler->stream, g_get_monotonic_time ());
  pilot_node_kick (node);
}

/* A stream that waits is accepted; and one that comes while somebody waits for it. */
static void
test_accept (Service *service, gconstpointer via)
{
  g_autoptr (GVariant) reply = NULL, later = NULL;
  g_autoptr (GUnixFDList) list = NULL;
  g_autoptr (GAsyncResult) result = NULL;
  g_autoptr (GError) error = NULL;
  Dialler dialler;
  guint32 node = 0;
  int fd = -1;

  service_befriend (service);
  g_variant_unref (service_ask (service, "", "Streams.Listen", "(@q 5000, @a{sv} {})"));
  dial_in (service, &dialler);
  reply = call_fd (service, "Accept", g_variant_new ("(qa{sv})", 5000, NULL), &fd, &error);
  g_assert_no_error (error);
  g_variant_get (reply, "(uqhb)", &node, NULL, NULL, NULL);
  g_assert_cmpuint (node, ==, service_id (service, 1));
  talk (service, &dialler, fd);

  g_dbus_connection_call_with_unix_fd_list (service->connection, service->name, ROOT, PREFIX "Streams", "Accept", g_variant_new ("(qa{sv})", 5000, NULL), NULL,
                                            G_DBUS_CALL_FLAGS_NONE, G_MAXINT, NULL, NULL, service_on_done, &result);
  g_assert_true (holds (service, 5000));
  g_assert_null (result);
  dial_in (service, &dialler);
  WAIT (20, result != NULL);
  later = g_dbus_connection_call_with_unix_fd_list_finish (service->connection, &list, result, &error);
  g_assert_no_error (error);
  fd = g_unix_fd_list_get (list, 0, &error);
  g_assert_no_error (error);
  /* Which holds a descriptor of its own: the stream would not end. */
  g_clear_object (&result);
  g_clear_object (&list);
  talk (service, &dialler, fd);
}

static void
test_datagrams (Service *service, gconstpointer via)
{
  g_autoptr (GVariant) reply = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree char *taken = NULL, *empty = NULL;
  guint16 bound;
  int fd = -1;

  reply = call_fd (service, "OpenDatagrams", g_variant_new ("(q@a{sv})", 4000, g_variant_new ("a{sv}", NULL)), &fd, &error);
  g_assert_no_error (error);
  g_variant_get (reply, "(hq)", NULL, &bound);
  g_assert_cmpuint (bound, ==, 4000);
  taken = service_refused (service, "", "Streams.OpenDatagrams", "AlreadyExists", "(@q 4000, @a{sv} {})");
  empty = service_refused (service, "", "Streams.SendDatagram", "InvalidArgument", "(uint32 %u, @q 4000, @ay [], @a{sv} {})", service_id (service, 1));
  g_assert_true (holds (service, 4000));
  close (fd);
  WAIT (LANDS, !holds (service, 4000));
}

int
main (int argc, char **argv)
{
  service_init (&argc, &argv);
  service_add_test ("/bus/streams/dial", test_dial);
  service_add_test ("/bus/streams/dial-fails", test_dial_fails);
  service_add_test ("/bus/streams/listen", test_listen);
  service_add_test ("/bus/streams/accept", test_accept);
  service_add_test ("/bus/streams/datagrams", test_datagrams);
  return g_test_run ();
}
