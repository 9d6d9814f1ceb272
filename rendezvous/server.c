/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/server-private.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libpilot/pilot-error.h"
#include "rendezvous/socket.h"

#define BACKLOG 4096
#define ACCEPTS_PER_TURN 64

typedef struct
{
  PilotReactorWatch watch; /* first: the watch is the listener */
  PilotServer *server;
  PilotTls *tls;
} Listener;

static void
listener_free (Listener *listener)
{
  pilot_reactor_remove (listener->server->reactor, &listener->watch);
  close (listener->watch.fd);
  g_free (listener);
}

PilotServer *
pilot_server_new (PilotReactor *reactor,
                  PilotJournal *journal,
                  PilotService *service,
                  PilotBeacon *beacon,
                  const PilotServerLimits *limits)
{
  PilotServer *self = g_new0 (PilotServer, 1);

  self->reactor = reactor;
  self->journal = journal;
  self->service = service;
  self->beacon = beacon;
  self->limits = *limits;
  self->listeners = g_ptr_array_new_with_free_func ((GDestroyNotify) listener_free);
  for (guint i = 0; i < PILOT_CONNECTION_N_STATES; i++)
    g_queue_init (&self->states[i]);
  return self;
}

void
pilot_server_free (PilotServer *self)
{
  PilotConnection *connection;

  if (self == NULL)
    return;
  for (guint i = 0; i < PILOT_CONNECTION_N_STATES; i++)
    while ((connection = g_queue_peek_head (&self->states[i])) != NULL)
      pilot_connection_close (connection);
  g_ptr_array_unref (self->listeners);
  g_free (self);
}

/* Makes room: who never said who he is and was silent for longest goes first, then who is slowest with a request. */
static gboolean
evict (PilotServer *self)
{
  static const PilotConnectionState order[] = { PILOT_CONNECTION_ANONYMOUS, PILOT_CONNECTION_FRAME, PILOT_CONNECTION_IDLE };

  for (guint i = 0; i < G_N_ELEMENTS (order); i++) {
    PilotConnection *connection = g_queue_peek_head (&self->states[order[i]]);

    if (connection == NULL)
      continue;
    pilot_connection_close (connection);
    return TRUE;
  }
  return FALSE;
}

static void
complain (PilotServer *self,
          int code)
{
  gint64 now = g_get_monotonic_time ();

  if (self->complained != 0 && now - self->complained < 60 * G_USEC_PER_SEC)
    return;
  self->complained = now;
  g_warning ("cannot accept a connection: %s", g_strerror (code));
}

static void
listener_ready (PilotReactorWatch *watch,
                guint32 events)
{
  Listener *listener = (Listener *) watch;
  PilotServer *self = listener->server;

  for (guint i = 0; i < ACCEPTS_PER_TURN; i++) {
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    PilotEndpoint remote;
    int fd = accept4 (watch->fd, (struct sockaddr *) &name, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0) {
      /* One failed accept never ends the listener; with no descriptor left, somebody has to go. */
      if (errno == EMFILE || errno == ENFILE) {
        complain (self, errno);
        evict (self);
      } else if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
        complain (self, errno);
      return;
    }
    if ((self->n_connections >= self->limits.max_connections && !evict (self)) ||
        !pilot_endpoint_from_sockaddr (&remote, (struct sockaddr *) &name, length)) {
      close (fd);
      continue;
    }
    pilot_connection_open (self, listener->tls, fd, &remote);
  }
}

gboolean
pilot_server_listen (PilotServer *self,
                     const PilotEndpoint *address,
                     PilotTls *tls,
                     PilotEndpoint *bound,
                     GError **error)
{
  Listener *listener;
  gboolean is_ipv6;
  int fd = pilot_socket_bind (address, SOCK_STREAM, &is_ipv6, error);

  if (fd < 0)
    return FALSE;
  if (listen (fd, BACKLOG) != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot listen: %s", g_strerror (errno));
    close (fd);
    return FALSE;
  }
  listener = g_new0 (Listener, 1);
  listener->watch.ready = listener_ready;
  listener->server = self;
  listener->tls = tls;
  if (!pilot_reactor_add (self->reactor, &listener->watch, fd, EPOLLIN, error)) {
    close (fd);
    g_free (listener);
    return FALSE;
  }
  g_ptr_array_add (self->listeners, listener);
  pilot_socket_get_address (fd, bound);
  return TRUE;
}

void
pilot_server_committed (PilotServer *self)
{
  guint64 durable = pilot_journal_durable (self->journal);
  PilotConnection *connection;

  /* Tickets grow along the list. A released connection may come back to its end with a newer one. */
  while ((connection = g_queue_peek_head (&self->states[PILOT_CONNECTION_COMMIT])) != NULL && connection->ticket <= durable)
    pilot_connection_release (connection, TRUE);
}

void
pilot_server_commit_failed (PilotServer *self)
{
  /* Only those that wait now: what they send next is judged anew. */
  for (guint n = self->states[PILOT_CONNECTION_COMMIT].length; n > 0; n--) {
    PilotConnection *connection = g_queue_peek_head (&self->states[PILOT_CONNECTION_COMMIT]);

    if (connection == NULL)
      break;
    pilot_connection_release (connection, FALSE);
  }
}

static void
close_late (PilotServer *self,
            PilotConnectionState state,
            guint timeout,
            gint64 now)
{
  PilotConnection *connection;

  while ((connection = g_queue_peek_head (&self->states[state])) != NULL &&
         now - connection->since >= (gint64) timeout * G_USEC_PER_SEC)
    pilot_connection_close (connection);
}

void
pilot_server_sweep (PilotServer *self)
{
  gint64 now = g_get_monotonic_time ();

  close_late (self, PILOT_CONNECTION_ANONYMOUS, self->limits.idle_timeout, now);
  close_late (self, PILOT_CONNECTION_IDLE, self->limits.idle_timeout, now);
  close_late (self, PILOT_CONNECTION_FRAME, self->limits.frame_timeout, now);
  close_late (self, PILOT_CONNECTION_WRITE, self->limits.write_timeout, now);
  /* Those that come back to the list in this sweep wait for the next. */
  for (guint n = self->states[PILOT_CONNECTION_PAUSE].length; n > 0; n--) {
    PilotConnection *connection = g_queue_peek_head (&self->states[PILOT_CONNECTION_PAUSE]);

    if (connection == NULL)
      break;
    pilot_connection_resume (connection);
  }
}

guint
pilot_server_count (PilotServer *self)
{
  return self->n_connections;
}
