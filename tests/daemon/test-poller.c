/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "daemon/core/poller.h"

/* How often the context was woken by a descriptor, which tells turns that were for nothing. */
static guint n_woken;

typedef struct {
  GMainContext *context;
  PilotPoller *poller;
  int pipe[2];
  PilotPollerWatch *watch;
  PilotPollerWatch *other;
  guint n_readable, n_pumped, kicks;
  gint64 pumped_at, next_deadline;
} Fixture;

static gint
counting_poll (GPollFD *descriptors, guint n, gint timeout)
{
  gint ready = g_poll (descriptors, n, timeout);

  n_woken += ready > 0;
  return ready;
}

static void
on_pump (gint64 now, gpointer user_data)
{
  Fixture *fixture = user_data;

  fixture->n_pumped++;
  fixture->pumped_at = now;
  if (fixture->kicks > 0) {
    fixture->kicks--;
    pilot_poller_kick (fixture->poller);
  }
  pilot_poller_set_deadline (fixture->poller, fixture->next_deadline);
}

static void
on_readable (int fd, guint32 events, gpointer user_data)
{
  Fixture *fixture = user_data;
  char byte;

  g_assert_cmpuint (events, ==, EPOLLIN);
  g_assert_cmpint (read (fd, &byte, 1), ==, 1);
  fixture->n_readable++;
}

static void
set_up (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  fixture->context = g_main_context_new ();
  g_main_context_set_poll_func (fixture->context, counting_poll);
  fixture->poller = pilot_poller_new (fixture->context, &error);
  g_assert_no_error (error);
  g_assert_cmpint (pipe2 (fixture->pipe, O_CLOEXEC | O_NONBLOCK), ==, 0);
  fixture->watch = pilot_poller_add (fixture->poller, fixture->pipe[0], EPOLLIN, on_readable, fixture);
  fixture->next_deadline = G_MAXINT64;
  pilot_poller_set_pump (fixture->poller, on_pump, fixture);
  while (g_main_context_iteration (fixture->context, FALSE))
    ;
  fixture->n_pumped = n_woken = 0;
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_clear_pointer (&fixture->other, pilot_poller_remove);
  g_clear_pointer (&fixture->watch, pilot_poller_remove);
  pilot_poller_free (fixture->poller);
  close (fixture->pipe[0]);
  close (fixture->pipe[1]);
  g_main_context_unref (fixture->context);
}

static gboolean
set_flag (gpointer user_data)
{
  *(gboolean *) user_data = TRUE;
  return G_SOURCE_REMOVE;
}

/* Turns the loop until @at. */
static void
run_until (Fixture *fixture, gint64 at)
{
  GSource *source = g_timeout_source_new (0);
  gboolean over = FALSE;

  g_source_set_callback (source, set_flag, &over, NULL);
  g_source_set_ready_time (source, at);
  g_source_attach (source, fixture->context);
  while (!over)
    g_main_context_iteration (fixture->context, TRUE);
  g_source_unref (source);
}

static void
say (Fixture *fixture)
{
  g_assert_cmpint (write (fixture->pipe[1], "x", 1), ==, 1);
}

static void
test_watch (Fixture *fixture, gconstpointer data)
{
  /* Level-triggered: what was left in the pipe comes in the next turn. Each turn ends with one pump. */
  say (fixture);
  say (fixture);
  g_assert_true (g_main_context_iteration (fixture->context, TRUE));
  g_assert_cmpuint (fixture->n_readable, ==, 1);
  g_assert_cmpuint (fixture->n_pumped, ==, 1);
  g_assert_true (g_main_context_iteration (fixture->context, TRUE));
  g_assert_cmpuint (fixture->n_readable, ==, 2);
  g_assert_cmpuint (fixture->n_pumped, ==, 2);
  pilot_poller_modify (fixture->watch, 0);
  say (fixture);
  g_assert_false (g_main_context_iteration (fixture->context, FALSE));
  pilot_poller_modify (fixture->watch, EPOLLIN);
  g_assert_true (g_main_context_iteration (fixture->context, TRUE));
  g_assert_cmpuint (fixture->n_readable, ==, 3);
}

static void
test_no_idle_turn (Fixture *fixture, gconstpointer data)
{
  for (guint i = 1; i <= 10; i++) {
    say (fixture);
    g_assert_true (g_main_context_iteration (fixture->context, TRUE));
    g_assert_false (g_main_context_iteration (fixture->context, FALSE));
    g_assert_cmpuint (fixture->n_readable, ==, i);
    g_assert_cmpuint (n_woken, ==, i);
  }
}

/* Takes out the other one of the two, and then itself. */
static void
on_first (int fd, guint32 events, gpointer user_data)
{
  Fixture *fixture = user_data;

  fixture->n_readable++;
  g_clear_pointer (&fixture->watch, pilot_poller_remove);
  g_clear_pointer (&fixture->other, pilot_poller_remove);
}

static void
test_remove_in_same_turn (Fixture *fixture, gconstpointer data)
{
  int second = dup (fixture->pipe[0]);

  /* Both are ready at once; the kernel says which comes first. */
  pilot_poller_remove (fixture->watch);
  fixture->watch = pilot_poller_add (fixture->poller, fixture->pipe[0], EPOLLIN, on_first, fixture);
  fixture->other = pilot_poller_add (fixture->poller, second, EPOLLIN, on_first, fixture);
  say (fixture);
  g_assert_true (g_main_context_iteration (fixture->context, TRUE));
  g_assert_cmpuint (fixture->n_readable, ==, 1);
  g_assert_false (g_main_context_iteration (fixture->context, FALSE));
  close (second);
}

static void
test_kick (Fixture *fixture, gconstpointer data)
{
  pilot_poller_kick (fixture->poller);
  pilot_poller_kick (fixture->poller);
  g_assert_true (g_main_context_iteration (fixture->context, TRUE));
  g_assert_false (g_main_context_iteration (fixture->context, FALSE));
  g_assert_cmpuint (fixture->n_pumped, ==, 1);
  /* From within the pump: one more turn for each. */
  fixture->kicks = 2;
  pilot_poller_kick (fixture->poller);
  while (g_main_context_iteration (fixture->context, FALSE))
    ;
  g_assert_cmpuint (fixture->n_pumped, ==, 4);
}

static void
test_deadline (Fixture *fixture, gconstpointer data)
{
  gint64 start = g_get_monotonic_time ();

  pilot_poller_set_deadline (fixture->poller, start + 20000);
  while (fixture->n_pumped == 0)
    g_main_context_iteration (fixture->context, TRUE);
  g_assert_cmpint (fixture->pumped_at, >=, start + 20000);
  /* One that has passed is due at once, also one from before boot. */
  pilot_poller_set_deadline (fixture->poller, -5);
  while (fixture->n_pumped == 1)
    g_main_context_iteration (fixture->context, TRUE);
}

static void
test_deadline_earlier (Fixture *fixture, gconstpointer data)
{
  gint64 start = g_get_monotonic_time ();

  pilot_poller_set_deadline (fixture->poller, start + G_TIME_SPAN_HOUR);
  pilot_poller_set_deadline (fixture->poller, start + 20000);
  while (fixture->n_pumped == 0)
    g_main_context_iteration (fixture->context, TRUE);
  g_assert_cmpint (fixture->pumped_at, >=, start + 20000);
}

static void
test_deadline_later (Fixture *fixture, gconstpointer data)
{
  gint64 start = g_get_monotonic_time ();

  /* Moved on again and again, as by acknowledgements: the pump runs once, not before the last of them. */
  pilot_poller_set_deadline (fixture->poller, start + 10000);
  pilot_poller_set_deadline (fixture->poller, start + 30000);
  pilot_poller_set_deadline (fixture->poller, start + 50000);
  while (fixture->n_pumped == 0)
    g_main_context_iteration (fixture->context, TRUE);
  g_assert_cmpint (fixture->pumped_at, >=, start + 50000);
  run_until (fixture, g_get_monotonic_time () + 30000);
  g_assert_cmpuint (fixture->n_pumped, ==, 1);
}

static void
test_deadline_within_turn (Fixture *fixture, gconstpointer data)
{
  gint64 start = g_get_monotonic_time ();

  /* The pump moves it later, then a turn moves it earlier than what the timer stands at. */
  pilot_poller_set_deadline (fixture->poller, start + 100000);
  fixture->next_deadline = start + G_TIME_SPAN_HOUR;
  say (fixture);
  g_assert_true (g_main_context_iteration (fixture->context, TRUE));
  fixture->next_deadline = start + 30000;
  say (fixture);
  g_assert_true (g_main_context_iteration (fixture->context, TRUE));
  fixture->n_pumped = 0;
  fixture->next_deadline = G_MAXINT64;
  while (fixture->n_pumped == 0)
    g_main_context_iteration (fixture->context, TRUE);
  g_assert_cmpint (fixture->pumped_at, >=, start + 30000);
  /* Nothing is left of the 100 ms. */
  run_until (fixture, start + 150000);
  g_assert_cmpuint (fixture->n_pumped, ==, 1);
}

static void
test_deadline_cleared (Fixture *fixture, gconstpointer data)
{
  gint64 start = g_get_monotonic_time ();

  pilot_poller_set_deadline (fixture->poller, start + 10000);
  pilot_poller_set_deadline (fixture->poller, G_MAXINT64);
  run_until (fixture, start + 40000);
  g_assert_cmpuint (fixture->n_pumped, ==, 0);
  /* And the one after it is heeded. */
  pilot_poller_set_deadline (fixture->poller, start + 50000);
  while (fixture->n_pumped == 0)
    g_main_context_iteration (fixture->context, TRUE);
  g_assert_cmpint (fixture->pumped_at, >=, start + 50000);
}

static void
on_nested (int fd, guint32 events, gpointer user_data)
{
  Fixture *fixture = user_data;

  fixture->n_readable++;
  /* The byte is still there: our own source is ready, and must not be entered again. */
  g_main_context_iteration (fixture->context, FALSE);
  on_readable (fd, events, user_data);
}

static void
test_nested_loop (Fixture *fixture, gconstpointer data)
{
  pilot_poller_remove (fixture->watch);
  fixture->watch = pilot_poller_add (fixture->poller, fixture->pipe[0], EPOLLIN, on_nested, fixture);
  say (fixture);
  g_assert_true (g_main_context_iteration (fixture->context, TRUE));
  g_assert_cmpuint (fixture->n_readable, ==, 2);
  g_assert_cmpuint (fixture->n_pumped, ==, 1);
}

static void
on_readable_again (int fd, guint32 events, gpointer user_data)
{
  on_readable (fd, events, user_data);
  say (user_data);
}

/* However closely they follow each other, others of the context get theirs. (When to wait awake is the rule's, test-busy-poll.c.) */
static void
test_busy_poll (Fixture *fixture, gconstpointer data)
{
  pilot_poller_set_busy_poll (fixture->poller, TRUE);
  pilot_poller_remove (fixture->watch);
  fixture->watch = pilot_poller_add (fixture->poller, fixture->pipe[0], EPOLLIN, on_readable_again, fixture);
  say (fixture);
  for (guint i = 0; i < 100; i++) {
    guint before = fixture->n_readable;
    GSource *source = g_idle_source_new ();
    gboolean had_its_turn = FALSE;

    g_assert_true (g_main_context_iteration (fixture->context, TRUE));
    g_assert_cmpuint (fixture->n_readable - before, >=, 1);
    g_assert_cmpuint (fixture->n_readable - before, <=, 8);
    g_assert_cmpuint (fixture->n_readable, ==, fixture->n_pumped);
    g_source_set_priority (source, G_PRIORITY_DEFAULT);
    g_source_set_callback (source, set_flag, &had_its_turn, NULL);
    g_source_attach (source, fixture->context);
    g_assert_true (g_main_context_iteration (fixture->context, FALSE));
    g_assert_true (had_its_turn);
    g_source_unref (source);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define ADD(path, func) g_test_add (path, Fixture, NULL, set_up, func, tear_down)
  ADD ("/poller/watch", test_watch);
  ADD ("/poller/no-idle-turn", test_no_idle_turn);
  ADD ("/poller/remove-in-same-turn", test_remove_in_same_turn);
  ADD ("/poller/kick", test_kick);
  ADD ("/poller/deadline", test_deadline);
  ADD ("/poller/deadline-earlier", test_deadline_earlier);
  ADD ("/poller/deadline-later", test_deadline_later);
  ADD ("/poller/deadline-within-turn", test_deadline_within_turn);
  ADD ("/poller/deadline-cleared", test_deadline_cleared);
  ADD ("/poller/nested-loop", test_nested_loop);
  ADD ("/poller/busy-poll", test_busy_poll);
  return g_test_run ();
}
