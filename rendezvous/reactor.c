/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/reactor.h"

#include <errno.h>
#include <unistd.h>

#include "libpilot/pilot-error.h"

#define BATCH 128

struct _PilotReactor {
  int fd;
  GSource *source;
  void (*turn) (gpointer user_data);
  gpointer user_data;
  guint n_watches;
  struct epoll_event events[BATCH]; /* of this turn */
  guint n_events;
  guint position; /* in events */
};

typedef struct
{
  GSource base;
  PilotReactor *reactor;
} ReactorSource;

static gboolean
reactor_dispatch (GSource *source,
                  GSourceFunc callback,
                  gpointer user_data)
{
  PilotReactor *self = ((ReactorSource *) source)->reactor;
  int n = epoll_wait (self->fd, self->events, BATCH, 0);

  if (n < 0) {
    if (errno != EINTR)
      g_critical ("cannot wait for descriptors: %s", g_strerror (errno));
    return G_SOURCE_CONTINUE;
  }
  self->n_events = (guint) n;
  for (self->position = 0; self->position < self->n_events; self->position++) {
    struct epoll_event *event = &self->events[self->position];
    PilotReactorWatch *watch = event->data.ptr;

    if (watch != NULL)
      watch->ready (watch, event->events);
  }
  self->n_events = 0;
  if (self->turn != NULL)
    self->turn (self->user_data);
  return G_SOURCE_CONTINUE;
}

static GSourceFuncs reactor_funcs = { .dispatch = reactor_dispatch };

PilotReactor *
pilot_reactor_new (GError **error)
{
  PilotReactor *self;
  int fd = epoll_create1 (EPOLL_CLOEXEC);

  if (fd < 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot make an epoll descriptor: %s", g_strerror (errno));
    return NULL;
  }
  self = g_new0 (PilotReactor, 1);
  self->fd = fd;
  self->source = g_source_new (&reactor_funcs, sizeof (ReactorSource));
  ((ReactorSource *) self->source)->reactor = self;
  g_source_set_name (self->source, "[pilot] reactor");
  /* Else its descriptor is taken out of the poll around each dispatch and put back, which wakes the context twice: two writes, a read and a turn for nothing. No
   * watch runs the context. */
  g_source_set_can_recurse (self->source, TRUE);
  g_source_add_unix_fd (self->source, fd, G_IO_IN);
  g_source_attach (self->source, g_main_context_get_thread_default ());
  return self;
}

void
pilot_reactor_free (PilotReactor *self)
{
  if (self == NULL)
    return;
  g_warn_if_fail (self->n_watches == 0);
  g_source_destroy (self->source);
  g_source_unref (self->source);
  close (self->fd);
  g_free (self);
}

void
pilot_reactor_set_turn_func (PilotReactor *self,
                             void (*turn) (gpointer user_data),
                             gpointer user_data)
{
  self->turn = turn;
  self->user_data = user_data;
}

gboolean
pilot_reactor_add (PilotReactor *self,
                   PilotReactorWatch *watch,
                   int fd,
                   guint32 events,
                   GError **error)
{
  struct epoll_event event = { .events = events, .data.ptr = watch };

  if (epoll_ctl (self->fd, EPOLL_CTL_ADD, fd, &event) != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot watch a descriptor: %s", g_strerror (errno));
    return FALSE;
  }
  watch->fd = fd;
  watch->events = events;
  watch->added = TRUE;
  self->n_watches++;
  return TRUE;
}

void
pilot_reactor_modify (PilotReactor *self,
                      PilotReactorWatch *watch,
                      guint32 events)
{
  struct epoll_event event = { .events = events, .data.ptr = watch };

  if (watch->events == events)
    return;
  watch->events = events;
  if (epoll_ctl (self->fd, EPOLL_CTL_MOD, watch->fd, &event) != 0)
    g_critical ("cannot change the watch of a descriptor: %s", g_strerror (errno));
}

void
pilot_reactor_remove (PilotReactor *self,
                      PilotReactorWatch *watch)
{
  if (!watch->added)
    return;
  if (epoll_ctl (self->fd, EPOLL_CTL_DEL, watch->fd, NULL) != 0)
    g_critical ("cannot end the watch of a descriptor: %s", g_strerror (errno));
  watch->added = FALSE;
  self->n_watches--;
  /* What this turn still holds for it must not be delivered. */
  for (guint i = self->position; i < self->n_events; i++)
    if (self->events[i].data.ptr == watch)
      self->events[i].data.ptr = NULL;
}
