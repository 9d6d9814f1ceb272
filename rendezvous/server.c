/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/server-private.h"

#include <unistd.h>

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
  self->listeners = g_ptr_array_new_with_free_func ((GDestroyNotify) pilot_server_listener_free);
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

/* Makes room: who never said who he is and was silent for longest goes first, then who is slowest with a request or in taking an answer, then who asks too
 * much. Only then who did say who he is and waits. */
static gboolean
evict (gpointer user_data)
{
  PilotServer *self = user_data;
  static const PilotConnectionState order[] = { PILOT_CONNECTION_ANONYMOUS, PILOT_CONNECTION_FRAME, PILOT_CONNECTION_WRITE, PILOT_CONNECTION_PAUSE, PILOT_CONNECTION_IDLE };

  for (guint i = 0; i < G_N_ELEMENTS (order); i++) {
    PilotConnection *connection = g_queue_peek_head (&self->states[order[i]]);

    if (connection == NULL)
      continue;
    pilot_connection_close (connection);
    return TRUE;
  }
  return FALSE;
}

static gboolean
make_room (PilotServer *self)
{
  return self->n_connections < self->limits.max_connections || evict (self);
}

static void
accepted (int fd,
          PilotTls *tls,
          const PilotEndpoint *remote,
          gpointer user_data)
{
  PilotServer *self = user_data;

  if (make_room (self))
    pilot_connection_open (self, tls, fd, remote);
  else
    close (fd);
}

static const PilotServerListenerFuncs listener_funcs = { accepted, evict };

gboolean
pilot_server_listen (PilotServer *self,
                     const PilotEndpoint *address,
                     PilotTls *tls,
                     PilotEndpoint *bound,
                     GError **error)
{
  return pilot_server_listener_add (self->listeners, self->reactor, address, tls, &listener_funcs, self, bound, error);
}

void
pilot_server_adopt (PilotServer *self,
                    int fd,
                    gnutls_session_t tls,
                    const PilotEndpoint *remote,
                    const guint8 *data,
                    gsize length)
{
  if (make_room (self)) {
    pilot_connection_adopt (self, fd, tls, remote, data, length);
    return;
  }
  if (tls != NULL)
    gnutls_deinit (tls);
  close (fd);
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
