/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The private socket with users who have nothing to say, too many of them, and no descriptors. */
#include <glib/gstdio.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/bus/private-socket.h"

#define DEADLINE (30 * (gint64) G_USEC_PER_SEC)
#define GUEST 65534
#define GUESTS 100
/* As in private-socket.c. */
#define SHARE 64

typedef struct {
  PilotPrivateSocket *socket;
  char *folder, *path;
  GPtrArray *arrived;
  guint wake;
} Fixture;

static void
on_arrived (GDBusConnection *connection, gpointer user_data)
{
  g_ptr_array_add (((Fixture *) user_data)->arrived, g_object_ref (connection));
}

static gboolean
go_on (gpointer user_data)
{
  return G_SOURCE_CONTINUE;
}

static void
set_up (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  fixture->folder = g_dir_make_tmp ("private-socket-XXXXXX", &error);
  g_assert_no_error (error);
  g_assert_cmpint (g_chmod (fixture->folder, 0711), ==, 0);
  fixture->path = g_build_filename (fixture->folder, "bus", NULL);
  fixture->arrived = g_ptr_array_new_with_free_func (g_object_unref);
  fixture->socket = pilot_private_socket_new (fixture->path, on_arrived, fixture, &error);
  g_assert_no_error (error);
  fixture->wake = g_timeout_add (100, go_on, NULL);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_ptr_array_unref (fixture->arrived);
  pilot_private_socket_free (fixture->socket);
  g_source_remove (fixture->wake);
  g_assert_false (g_file_test (fixture->path, G_FILE_TEST_EXISTS));
  g_assert_cmpint (g_rmdir (fixture->folder), ==, 0);
  g_free (fixture->folder);
  g_free (fixture->path);
}

static int
connect_raw (const char *path)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  g_strlcpy (address.sun_path, path, sizeof address.sun_path);
  return connect (fd, (struct sockaddr *) &address, sizeof address) == 0 ? fd : -1;
}

static void
on_done (GObject *source, GAsyncResult *result, gpointer user_data)
{
  *(GAsyncResult **) user_data = g_object_ref (result);
}

static GAsyncResult *
wait_for (GAsyncResult **result)
{
  gint64 deadline = g_get_monotonic_time () + DEADLINE;

  while (*result == NULL) {
    g_assert_cmpint (g_get_monotonic_time (), <, deadline);
    g_main_context_iteration (NULL, TRUE);
  }
  return g_steal_pointer (result);
}

/* A program that connects as it should, and is answered. */
static GDBusConnection *
connect_well (Fixture *fixture)
{
  g_autofree char *address = g_strdup_printf ("unix:path=%s", fixture->path);
  g_autoptr (GAsyncResult) connected = NULL, answered = NULL;
  g_autoptr (GVariant) reply = NULL;
  g_autoptr (GError) error = NULL;
  GAsyncResult *result = NULL;
  GDBusConnection *connection;

  g_dbus_connection_new_for_address (address, G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT, NULL, NULL, on_done, &result);
  connected = wait_for (&result);
  connection = g_dbus_connection_new_for_address_finish (connected, &error);
  g_assert_no_error (error);
  g_dbus_connection_call (connection, NULL, "/", "org.freedesktop.DBus.Peer", "Ping", NULL, NULL, G_DBUS_CALL_FLAGS_NONE, -1, NULL, on_done, &result);
  answered = wait_for (&result);
  reply = g_dbus_connection_call_finish (connection, answered, &error);
  g_assert_no_error (error);
  return connection;
}

static void
test_calls (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GDBusConnection) one = connect_well (fixture), other = connect_well (fixture);

  g_assert_cmpuint (fixture->arrived->len, ==, 2);
}

/* Of the connections that are not over yet: how many are in so many milliseconds. */
static guint
count_over (struct pollfd *fds, guint n, int milliseconds)
{
  guint over = 0;

  poll (fds, n, milliseconds);
  for (guint i = 0; i < n; i++)
    if (fds[i].fd >= 0 && fds[i].revents != 0) {
      char byte;

      /* Nobody greets who has said nothing. */
      if (recv (fds[i].fd, &byte, 1, MSG_DONTWAIT) > 0)
        _exit (3);
      close (fds[i].fd);
      fds[i].fd = -1;
      over++;
    }
  return over;
}

/* What another user of the machine saw. */
typedef struct {
  guint over;    /* connections, or calls */
  gboolean soon; /* before anybody is sent away for saying nothing */
} Report;

static void
tell (int reports, guint over, gint64 began)
{
  Report report = { over, g_get_monotonic_time () - began < 4 * G_USEC_PER_SEC };

  if (write (reports, &report, sizeof report) != sizeof report)
    _exit (4);
}

static void
become_guest (void)
{
  if (setgid (GUEST) != 0 || setuid (GUEST) != 0)
    _exit (1);
}

/* In a process of his own: connects, says nothing, and tells how many were sent away at once, then when all were. */
static void
be_guest (const char *path, int reports)
{
  struct pollfd fds[GUESTS];
  gint64 began = g_get_monotonic_time ();
  guint over = 0;

  become_guest ();
  for (guint i = 0; i < GUESTS; i++) {
    fds[i] = (struct pollfd) { .fd = connect_raw (path), .events = POLLIN };
    if (fds[i].fd < 0)
      _exit (2);
  }
  while (over < GUESTS - SHARE && g_get_monotonic_time () < began + DEADLINE)
    over += count_over (fds, GUESTS, 100);
  tell (reports, over, began);
  while (over < GUESTS && g_get_monotonic_time () < began + DEADLINE)
    over += count_over (fds, GUESTS, 100);
  tell (reports, over, began);
  _exit (0);
}

/* And again: connects until he is not sent away at once. */
static void
be_guest_again (const char *path, int reports)
{
  gint64 began = g_get_monotonic_time ();
  guint over = 0;

  become_guest ();
  for (gboolean kept = FALSE; !kept && g_get_monotonic_time () < began + DEADLINE;) {
    struct pollfd fd = { .fd = connect_raw (path), .events = POLLIN };

    kept = count_over (&fd, 1, 500) == 0;
    over = kept ? 0 : 1;
  }
  tell (reports, over, began);
  _exit (0);
}

#define CALLS 20000

/* A call that is answered. */
static guint8 *call;
static gsize call_length;

static void
make_call (void)
{
  g_autoptr (GDBusMessage) message = g_dbus_message_new_method_call (NULL, "/", "org.freedesktop.DBus.Peer", "Ping");

  g_dbus_message_set_serial (message, 1);
  call = g_dbus_message_to_blob (message, &call_length, G_DBUS_CAPABILITY_FLAGS_NONE, NULL);
  g_assert_nonnull (call);
}

/* Asks and asks, and reads no answer: tells after how often he was sent away. */
static void
be_greedy_guest (const char *path, int reports)
{
  static const char greeting[] = "\0AUTH EXTERNAL 3635353334\r\n", begin[] = "BEGIN\r\n"; /* "65534" */
  gint64 began = g_get_monotonic_time ();
  struct pollfd fd = { .events = POLLOUT };
  char answer[256];
  guint asked = 0;

  become_guest ();
  fd.fd = connect_raw (path);
  if (fd.fd < 0 || send (fd.fd, greeting, sizeof greeting - 1, MSG_NOSIGNAL) < 0 || recv (fd.fd, answer, sizeof answer, 0) <= 0 ||
      send (fd.fd, begin, sizeof begin - 1, MSG_NOSIGNAL) < 0)
    _exit (2);
  while (asked < CALLS && poll (&fd, 1, 1000 * (int) (DEADLINE / G_USEC_PER_SEC)) > 0 && send (fd.fd, call, call_length, MSG_NOSIGNAL) == (gssize) call_length)
    asked++;
  tell (reports, asked, began);
  _exit (0);
}

static Report
read_report (int reports)
{
  gint64 deadline = g_get_monotonic_time () + DEADLINE + 10 * G_USEC_PER_SEC;
  struct pollfd fd = { .fd = reports, .events = POLLIN };
  Report report;

  while (poll (&fd, 1, 0) == 0) {
    g_assert_cmpint (g_get_monotonic_time (), <, deadline);
    g_main_context_iteration (NULL, TRUE);
  }
  g_assert_cmpint (read (reports, &report, sizeof report), ==, sizeof report);
  return report;
}

static pid_t
start_guest (Fixture *fixture, void (*be) (const char *path, int reports), int reports)
{
  pid_t child = fork ();

  g_assert_cmpint (child, >=, 0);
  if (child == 0)
    be (fixture->path, reports);
  return child;
}

static void
end_guest (pid_t child)
{
  int status;

  g_assert_cmpint (waitpid (child, &status, 0), ==, child);
  g_assert_cmpint (status, ==, 0);
}

/* Another user has a share, and holds nobody up by saying nothing; he is sent away, and may come again. */
static void
test_guest (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GDBusConnection) own = NULL;
  Report report;
  int reports[2];
  pid_t child;

  if (geteuid () != 0) {
    g_test_skip ("needs root to be another user");
    return;
  }
  g_assert_cmpint (pipe (reports), ==, 0);
  child = start_guest (fixture, be_guest, reports[1]);
  report = read_report (reports[0]);
  if (report.soon)
    g_assert_cmpuint (report.over, ==, GUESTS - SHARE);
  own = connect_well (fixture);
  g_assert_cmpuint (fixture->arrived->len, ==, 1);
  report = read_report (reports[0]);
  g_assert_cmpuint (report.over, ==, GUESTS);
  end_guest (child);

  child = start_guest (fixture, be_guest_again, reports[1]);
  report = read_report (reports[0]);
  g_assert_cmpuint (report.over, ==, 0);
  end_guest (child);
  close (reports[0]);
  close (reports[1]);
}

static void
test_greedy (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GDBusConnection) own = NULL;
  int reports[2];
  pid_t child;

  if (geteuid () != 0) {
    g_test_skip ("needs root to be another user");
    return;
  }
  make_call ();
  g_assert_cmpint (pipe (reports), ==, 0);
  child = start_guest (fixture, be_greedy_guest, reports[1]);
  g_assert_cmpuint (read_report (reports[0]).over, <, CALLS);
  end_guest (child);
  own = connect_well (fixture);
  g_clear_pointer (&call, g_free);
  close (reports[0]);
  close (reports[1]);
}

/* Without descriptors it waits, and serves who is there when it has some. */
static void
test_exhausted (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GDBusConnection) connection = NULL;
  struct rlimit before, none;
  gint64 until;
  int raw = connect_raw (fixture->path), lowest = dup (0);
  guint turns = 0;

  close (lowest);
  g_assert_cmpint (getrlimit (RLIMIT_NOFILE, &before), ==, 0);
  none = before;
  none.rlim_cur = (rlim_t) lowest;
  g_assert_cmpint (setrlimit (RLIMIT_NOFILE, &none), ==, 0);
  for (until = g_get_monotonic_time () + G_USEC_PER_SEC / 2; g_get_monotonic_time () < until; turns++)
    g_main_context_iteration (NULL, TRUE);
  /* Five pauses, five attempts, five times the fixture's own timer; who spins makes thousands. */
  g_assert_cmpuint (turns, <, 40);
  g_assert_cmpint (setrlimit (RLIMIT_NOFILE, &before), ==, 0);
  connection = connect_well (fixture);
  g_assert_cmpuint (fixture->arrived->len, ==, 1);
  close (raw);
}

static GLogWriterOutput
drop_expected (GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer user_data)
{
  for (gsize i = 0; i < n_fields; i++)
    if (g_str_equal (fields[i].key, "MESSAGE") && g_str_has_prefix (fields[i].value, "cannot accept a connection"))
      return G_LOG_WRITER_HANDLED;
  return g_log_writer_default (level, fields, n_fields, user_data);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_log_set_always_fatal (G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);
  g_log_set_writer_func (drop_expected, NULL, NULL);
  g_test_add ("/private-socket/calls", Fixture, NULL, set_up, test_calls, tear_down);
  g_test_add ("/private-socket/guest", Fixture, NULL, set_up, test_guest, tear_down);
  g_test_add ("/private-socket/greedy", Fixture, NULL, set_up, test_greedy, tear_down);
  g_test_add ("/private-socket/exhausted", Fixture, NULL, set_up, test_exhausted, tear_down);
  return g_test_run ();
}
