/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/poller.h"

#include <errno.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "daemon/core/busy-poll.h"

#define EVENTS_PER_TURN 256
/* Before others of the context get theirs. */
#define TURNS_IN_A_ROW 8

struct _PilotPollerWatch {
  PilotPoller *poller;
  PilotPollerFunc func;
  gpointer user_data;
  int fd;
  guint32 events;
  gboolean removed;
  PilotPollerWatch *next_removed;
};

typedef struct {
  GSource source;
  PilotPoller *poller;
} PollerSource;

struct _PilotPoller {
  PollerSource *source;
  int epoll_fd;
  /* A timerfd, because the poll() of GMainContext counts in milliseconds: too coarse for pacing. */
  int timer_fd;
  gint64 deadline;
  gint64 armed; /* never later than @deadline outside of a turn; earlier when the deadline moved on */
  gboolean kicked;
  gboolean dispatching;
  /* Watches removed during a turn may still stand in its event array: freed when the turn is over. */
  PilotPollerWatch *removed;
  PilotPollerPump pump;
  gpointer pump_data;
  gboolean busy_poll;
  PilotBusyPoll busy;
  gsize carried; /* bytes in this turn */
};

static void
free_removed (PilotPoller *poller)
{
  PilotPollerWatch *watch;

  while ((watch = poller->removed) != NULL) {
    poller->removed = watch->next_removed;
    g_free (watch);
  }
}

static void
arm_timer (PilotPoller *poller)
{
  struct itimerspec spec = { 0 };
  gint64 at;

  /* Deadlines mostly move later (each acknowledgement moves one): a timer that goes off early costs one turn now and then, setting it
   * anew one system call each time. What it was set for comes first, so nothing is late. */
  if (poller->armed <= poller->deadline)
    return;
  /* An all-zero value would disarm the timer; 1 ns after boot is just as due. */
  at = MAX (poller->deadline, 0);
  spec.it_value.tv_sec = at / G_USEC_PER_SEC;
  spec.it_value.tv_nsec = MAX ((at % G_USEC_PER_SEC) * 1000, at == 0 ? 1 : 0);
  if (timerfd_settime (poller->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL) != 0)
    g_critical ("cannot set the pump's timer: %s", g_strerror (errno));
  poller->armed = poller->deadline;
}

static void
run_pump (PilotPoller *poller)
{
  poller->kicked = FALSE;
  if (poller->pump != NULL)
    poller->pump (g_get_monotonic_time (), poller->pump_data);
  arm_timer (poller);
}

static void
drain_timer (PilotPoller *poller)
{
  guint64 expirations;

  if (read (poller->timer_fd, &expirations, sizeof expirations) <= 0)
    return;
  poller->armed = G_MAXINT64;
  if (g_get_monotonic_time () >= poller->deadline)
    poller->kicked = TRUE;
}

static void
take_turn (PilotPoller *poller, struct epoll_event *events, int n_events)
{
  if (poller->busy_poll)
    pilot_busy_poll_turn_begins (&poller->busy, g_get_monotonic_time ());
  poller->carried = 0;
  for (int i = 0; i < n_events; i++) {
    PilotPollerWatch *watch = events[i].data.ptr;

    if (watch == NULL)
      drain_timer (poller);
    else if (!watch->removed) {
      watch->func (watch->fd, events[i].events, watch->user_data);
      poller->kicked = TRUE;
    }
  }
  if (poller->kicked)
    run_pump (poller);
  else
    arm_timer (poller);
  free_removed (poller);
  if (poller->busy_poll)
    pilot_busy_poll_turn_ends (&poller->busy, poller->carried, g_get_monotonic_time ());
}

/* What comes within the moment it is worth to wait for awake; 0 when nothing does. */
static int
look_on (PilotPoller *poller, struct epoll_event *events)
{
  while (pilot_busy_poll_look (&poller->busy, g_get_monotonic_time ())) {
    int n_events = epoll_wait (poller->epoll_fd, events, EVENTS_PER_TURN, 0);

    if (n_events > 0)
      return n_events;
    /* Whoever else wants this processor first: it may be who we wait for. */
    sched_yield ();
  }
  return 0;
}

static gboolean
poller_dispatch (GSource *source, GSourceFunc callback, gpointer user_data)
{
  PilotPoller *poller = ((PollerSource *) source)->poller;
  struct epoll_event events[EVENTS_PER_TURN];
  int n_events;
  guint turns = 0;

  /* A main loop inside a callback of ours: the turn it is in goes on afterwards. */
  if (poller->dispatching)
    return G_SOURCE_CONTINUE;
  g_source_set_ready_time (source, -1);
  poller->dispatching = TRUE;

  n_events = epoll_wait (poller->epoll_fd, events, EVENTS_PER_TURN, 0);
  do {
    take_turn (poller, events, n_events);
    n_events = poller->busy_poll && !poller->kicked && ++turns < TURNS_IN_A_ROW ? look_on (poller, events) : 0;
  } while (n_events > 0);

  poller->dispatching = FALSE;
  free_removed (poller);
  /* The pump may itself have asked for another turn, or what is waited for awake is still to come; others get theirs first. */
  if (poller->kicked || turns == TURNS_IN_A_ROW)
    g_source_set_ready_time (source, 0);
  return G_SOURCE_CONTINUE;
}

static GSourceFuncs poller_source_funcs = {
  .dispatch = poller_dispatch,
};

PilotPoller *
pilot_poller_new (GMainContext *context, GError **error)
{
  g_autofree PilotPoller *poller = g_new0 (PilotPoller, 1);
  struct epoll_event event = { .events = EPOLLIN };

  poller->deadline = poller->armed = G_MAXINT64;
  poller->epoll_fd = epoll_create1 (EPOLL_CLOEXEC);
  poller->timer_fd = timerfd_create (CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  if (poller->epoll_fd < 0 || poller->timer_fd < 0 ||
      epoll_ctl (poller->epoll_fd, EPOLL_CTL_ADD, poller->timer_fd, &event) != 0) {
    int saved = errno;

    if (poller->epoll_fd >= 0)
      close (poller->epoll_fd);
    if (poller->timer_fd >= 0)
      close (poller->timer_fd);
    g_set_error (error, G_IO_ERROR, g_io_error_from_errno (saved),
                 "cannot make the event descriptor: %s", g_strerror (saved));
    return NULL;
  }

  poller->source = (PollerSource *) g_source_new (&poller_source_funcs, sizeof (PollerSource));
  poller->source->poller = poller;
  g_source_set_name ((GSource *) poller->source, "pilot-poller");
  /* D-Bus and registry traffic go first: the data path must not starve them. */
  g_source_set_priority ((GSource *) poller->source, G_PRIORITY_DEFAULT + 10);
  /* GLib takes the descriptors of a source that must not recurse out of its list for each dispatch and puts them in again, and wakes
   * itself up by its eventfd both times: two writes, one read and often one idle turn for each turn of ours. */
  g_source_set_can_recurse ((GSource *) poller->source, TRUE);
  g_source_add_unix_fd ((GSource *) poller->source, poller->epoll_fd, G_IO_IN);
  g_source_attach ((GSource *) poller->source, context);
  return g_steal_pointer (&poller);
}

void
pilot_poller_free (PilotPoller *poller)
{
  if (poller == NULL)
    return;
  g_return_if_fail (!poller->dispatching);
  g_source_destroy ((GSource *) poller->source);
  g_source_unref ((GSource *) poller->source);
  free_removed (poller);
  close (poller->timer_fd);
  close (poller->epoll_fd);
  g_free (poller);
}

PilotPollerWatch *
pilot_poller_add (PilotPoller *poller, int fd, guint32 events, PilotPollerFunc func, gpointer user_data)
{
  PilotPollerWatch *watch = g_new0 (PilotPollerWatch, 1);
  struct epoll_event event = { .events = events, .data.ptr = watch };

  watch->poller = poller;
  watch->fd = fd;
  watch->events = events;
  watch->func = func;
  watch->user_data = user_data;
  /* Can fail only for a descriptor that cannot be polled or a limit of the system: a bug or a machine in ruins. */
  if (epoll_ctl (poller->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
    g_critical ("cannot watch descriptor %d: %s", fd, g_strerror (errno));
  return watch;
}

void
pilot_poller_modify (PilotPollerWatch *watch, guint32 events)
{
  struct epoll_event event = { .events = events, .data.ptr = watch };

  g_return_if_fail (!watch->removed);
  if (watch->events == events)
    return;
  watch->events = events;
  if (epoll_ctl (watch->poller->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) != 0)
    g_critical ("cannot change the watch of descriptor %d: %s", watch->fd, g_strerror (errno));
}

void
pilot_poller_remove (PilotPollerWatch *watch)
{
  PilotPoller *poller = watch->poller;

  g_return_if_fail (!watch->removed);
  epoll_ctl (poller->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
  watch->removed = TRUE;
  watch->next_removed = poller->removed;
  poller->removed = watch;
  if (!poller->dispatching)
    free_removed (poller);
}

void
pilot_poller_set_pump (PilotPoller *poller, PilotPollerPump pump, gpointer user_data)
{
  poller->pump = pump;
  poller->pump_data = user_data;
}

void
pilot_poller_set_deadline (PilotPoller *poller, gint64 deadline_us)
{
  poller->deadline = deadline_us;
  /* Within a turn the timer is set once, after the pump. */
  if (!poller->dispatching)
    arm_timer (poller);
}

void
pilot_poller_set_busy_poll (PilotPoller *poller, gboolean allowed)
{
  /* Alone on a processor, what is waited for cannot happen meanwhile. */
  poller->busy_poll = allowed && g_get_num_processors () > 1;
}

void
pilot_poller_carried (PilotPoller *poller, gsize bytes)
{
  poller->carried += bytes;
}

void
pilot_poller_kick (PilotPoller *poller)
{
  if (poller->kicked)
    return;
  poller->kicked = TRUE;
  if (!poller->dispatching)
    g_source_set_ready_time ((GSource *) poller->source, 0);
}
