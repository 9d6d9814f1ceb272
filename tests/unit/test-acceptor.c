/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <glib-unix.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

#include "libpilot/pilot-acceptor.h"
#include "tests/unit/count-warnings.h"

/* A listening socket in the main loop, with clients that connect and say nothing. */

#define DEADLINE (20 * (gint64) G_USEC_PER_SEC)

typedef struct {
  PilotAcceptor *acceptor;
  struct sockaddr_un address;
  socklen_t address_length;
  int fd;
  guint source; /* 0: not watched */
  GArray *clients, *accepted;
  GArray *to_give_up; /* descriptors that make room */
  guint n_ready, n_away, n_back;
} Fixture;

static gboolean
socket_ready (gint fd, GIOCondition condition, gpointer user_data)
{
  Fixture *fixture = user_data;

  fixture->n_ready++;
  pilot_acceptor_ready (fixture->acceptor);
  return G_SOURCE_CONTINUE;
}

static void
watch (gboolean wanted, gpointer user_data)
{
  Fixture *fixture = user_data;

  g_assert_true (wanted == (fixture->source == 0));
  if (wanted) {
    fixture->source = g_unix_fd_add (fixture->fd, G_IO_IN, socket_ready, fixture);
    fixture->n_back++;
  } else {
    g_clear_handle_id (&fixture->source, g_source_remove);
    fixture->n_away++;
  }
}

static void
accepted (int fd, const struct sockaddr *remote, socklen_t length, gpointer user_data)
{
  Fixture *fixture = user_data;

  g_assert_cmpint (remote->sa_family, ==, AF_UNIX);
  g_array_append_val (fixture->accepted, fd);
}

static gboolean
make_room (gpointer user_data)
{
  Fixture *fixture = user_data;

  if (fixture->to_give_up->len == 0)
    return FALSE;
  close (g_array_index (fixture->to_give_up, int, fixture->to_give_up->len - 1));
  g_array_set_size (fixture->to_give_up, fixture->to_give_up->len - 1);
  return TRUE;
}

static const PilotAcceptorFuncs funcs = { .accepted = accepted, .watch = watch };
static const PilotAcceptorFuncs yielding_funcs = { accepted, watch, make_room };

static void
set_up (Fixture *fixture, gconstpointer data)
{
  n_warnings = 0;
  fixture->clients = g_array_new (FALSE, FALSE, sizeof (int));
  fixture->accepted = g_array_new (FALSE, FALSE, sizeof (int));
  fixture->to_give_up = g_array_new (FALSE, FALSE, sizeof (int));
  fixture->fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  fixture->address.sun_family = AF_UNIX;
  /* The kernel finds an abstract name for it. */
  g_assert_cmpint (bind (fixture->fd, (struct sockaddr *) &fixture->address, sizeof (sa_family_t)), ==, 0);
  g_assert_cmpint (listen (fixture->fd, 1000), ==, 0);
  fixture->address_length = sizeof fixture->address;
  g_assert_cmpint (getsockname (fixture->fd, (struct sockaddr *) &fixture->address, &fixture->address_length), ==, 0);
  fixture->source = g_unix_fd_add (fixture->fd, G_IO_IN, socket_ready, fixture);
  fixture->acceptor = pilot_acceptor_new (fixture->fd, data, fixture);
}

static void
close_all (GArray *fds)
{
  for (guint i = 0; i < fds->len; i++)
    close (g_array_index (fds, int, i));
  g_array_unref (fds);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_clear_pointer (&fixture->acceptor, pilot_acceptor_free);
  g_clear_handle_id (&fixture->source, g_source_remove);
  close (fixture->fd);
  close_all (fixture->clients);
  close_all (fixture->accepted);
  close_all (fixture->to_give_up);
}

static void
connect_clients (Fixture *fixture, guint n)
{
  for (guint i = 0; i < n; i++) {
    int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint (connect (fd, (struct sockaddr *) &fixture->address, fixture->address_length), ==, 0);
    g_array_append_val (fixture->clients, fd);
  }
}

static gboolean
go_on (gpointer user_data)
{
  return G_SOURCE_CONTINUE;
}

/* Until @count reaches @wanted. */
static void
run_until (const guint *count, guint wanted)
{
  gint64 deadline = g_get_monotonic_time () + DEADLINE;
  guint wake = g_timeout_add_seconds (1, go_on, NULL);

  while (*count < wanted) {
    g_assert_cmpint (g_get_monotonic_time (), <, deadline);
    g_main_context_iteration (NULL, TRUE);
  }
  g_source_remove (wake);
}

/* No descriptor can be made until the limit is what it was. Not below those in use: poll(2) wants none more than the limit. */
static struct rlimit
forbid_descriptors (void)
{
  struct rlimit before, none;
  int lowest = dup (0);

  close (lowest);
  g_assert_cmpint (getrlimit (RLIMIT_NOFILE, &before), ==, 0);
  none = before;
  none.rlim_cur = (rlim_t) lowest;
  g_assert_cmpint (setrlimit (RLIMIT_NOFILE, &none), ==, 0);
  g_assert_cmpint (dup (0), ==, -1);
  return before;
}

/* Of many, a part in a turn: others wait too. */
static void
test_many (Fixture *fixture, gconstpointer data)
{
  connect_clients (fixture, 200);
  run_until (&fixture->n_ready, 1);
  g_assert_cmpuint (fixture->accepted->len, ==, 64);
  run_until (&fixture->accepted->len, 200);
  g_assert_cmpuint (fixture->n_ready, ==, 4);
  for (guint i = 0; i < 200; i++) {
    int fd = g_array_index (fixture->accepted, int, i);

    g_assert_cmpint (fcntl (fd, F_GETFL) & O_NONBLOCK, ==, O_NONBLOCK);
    g_assert_cmpint (fcntl (fd, F_GETFD) & FD_CLOEXEC, ==, FD_CLOEXEC);
  }
  g_assert_cmpuint (fixture->n_away + n_warnings, ==, 0);
}

/* Without descriptors one attempt is made now and then, and said once; what waits is taken as soon as there are some. */
static void
test_exhausted (Fixture *fixture, gconstpointer data)
{
  struct rlimit limit;

  connect_clients (fixture, 2);
  limit = forbid_descriptors ();
  run_until (&fixture->n_back, 3);
  g_assert_cmpuint (fixture->n_ready, ==, 3);
  g_assert_cmpuint (fixture->n_away, ==, 3);
  g_assert_cmpuint (n_warnings, ==, 1);
  g_assert_cmpuint (fixture->accepted->len, ==, 0);
  g_assert_cmpint (setrlimit (RLIMIT_NOFILE, &limit), ==, 0);
  run_until (&fixture->accepted->len, 2);
  g_assert_cmpuint (fixture->source, !=, 0);
}

/* What can be given up is, one for each who comes; then as above. */
static void
test_room (Fixture *fixture, gconstpointer data)
{
  struct rlimit limit;

  for (guint i = 0; i < 2; i++) {
    int fd = dup (0);

    g_array_append_val (fixture->to_give_up, fd);
  }
  connect_clients (fixture, 3);
  limit = forbid_descriptors ();
  run_until (&fixture->n_away, 1);
  g_assert_cmpuint (fixture->accepted->len, ==, 2);
  g_assert_cmpuint (fixture->to_give_up->len, ==, 0);
  g_assert_cmpuint (fixture->n_ready, ==, 1);
  g_assert_cmpint (setrlimit (RLIMIT_NOFILE, &limit), ==, 0);
  run_until (&fixture->accepted->len, 3);
}

static gboolean
count_up (gpointer user_data)
{
  (*(guint *) user_data)++;
  return G_SOURCE_REMOVE;
}

/* Who goes while it looks away is not called back. */
static void
test_end_in_pause (Fixture *fixture, gconstpointer data)
{
  guint n_later = 0;
  struct rlimit limit;

  connect_clients (fixture, 1);
  limit = forbid_descriptors ();
  run_until (&fixture->n_away, 1);
  g_assert_cmpint (setrlimit (RLIMIT_NOFILE, &limit), ==, 0);
  g_clear_pointer (&fixture->acceptor, pilot_acceptor_free);
  g_timeout_add (300, count_up, &n_later);
  run_until (&n_later, 1);
  g_assert_cmpuint (fixture->n_back, ==, 0);
}

/* A socket that was shut down refuses who comes: nothing to say of it. */
static void
test_shut_down (Fixture *fixture, gconstpointer data)
{
  shutdown (fixture->fd, SHUT_RD);
  pilot_acceptor_ready (fixture->acceptor);
  g_assert_cmpuint (fixture->n_away + n_warnings, ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  count_warnings_begin ();
  g_test_add ("/acceptor/many", Fixture, &funcs, set_up, test_many, tear_down);
  g_test_add ("/acceptor/exhausted", Fixture, &funcs, set_up, test_exhausted, tear_down);
  g_test_add ("/acceptor/room", Fixture, &yielding_funcs, set_up, test_room, tear_down);
  g_test_add ("/acceptor/end-in-pause", Fixture, &funcs, set_up, test_end_in_pause, tear_down);
  g_test_add ("/acceptor/shut-down", Fixture, &funcs, set_up, test_shut_down, tear_down);
  return g_test_run ();
}
