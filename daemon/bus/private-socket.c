/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/bus/private-socket.h"

#include <errno.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/core/local-socket.h"
#include "daemon/core/shares.h"
#include "libpilot/pilot-acceptor.h"
#include "libpilot/pilot-private-bus.h"
#include "protocol/rate-limit.h"

#define BACKLOG 128
/* Connections of all other users together, and of one of them. */
#define MAX_GUESTS 256
#define MAX_OF_GUEST 64
/* Of one connection, at one time. */
#define CALLS_OF_GUEST 64
/* Who has not said who he is by then is sent away, in seconds. */
#define GREETING_LIMIT 5
/* Who are greeted at one time. */
#define GREETERS 64
#define GUEST_GREETERS 16
#define SAY_EVERY (60 * (gint64) G_USEC_PER_SEC)

/* A connection, from when it is accepted until it ends. */
typedef struct {
  PilotPrivateSocket *socket;
  GList link;
  guint32 share; /* the user's, in socket->shares */
  GSocketConnection *stream;
  guint timeout_source;
  GDBusConnection *connection; /* NULL: has not said who it is */
  GError *error;               /* and will not */
  gulong closed_handler;
} Visit;

struct _PilotPrivateSocket {
  char *path, *guid;
  PilotLocalSocketId id;
  PilotPrivateSocketFunc arrived;
  gpointer user_data;
  PilotAcceptor *acceptor;
  int fd;
  guint source; /* 0: not watched */
  GDBusAuthObserver *observer;
  PilotShares *shares;      /* user id -> connections; our own and root's are PILOT_SHARES_OWN and not counted */
  GQueue visits;            /* Visit */
  GThreadPool *greeters[2]; /* for root and our own, for others */
  GAsyncQueue *greeted;     /* of Visit, from the threads */
  GSource *greeted_source;  /* made ready by them */
  PilotTokenBucket said;    /* that somebody was sent away */
};

/* --- greeting, in threads --- */

/* Any user may authenticate: methods decide (authority.c). A peer refused here would see only a broken connection. */
static gboolean
on_authorize_peer (GDBusAuthObserver *observer, GIOStream *stream, GCredentials *credentials, gpointer user_data)
{
  return credentials != NULL;
}

static gboolean
on_allow_mechanism (GDBusAuthObserver *observer, const char *mechanism, gpointer user_data)
{
  return g_str_equal (mechanism, "EXTERNAL");
}

static void
greet (gpointer data, gpointer user_data)
{
  PilotPrivateSocket *self = user_data;
  Visit *visit = data;

  visit->connection = g_dbus_connection_new_sync (G_IO_STREAM (visit->stream), self->guid,
                                                  G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_SERVER | G_DBUS_CONNECTION_FLAGS_DELAY_MESSAGE_PROCESSING,
                                                  self->observer, NULL, &visit->error);
  g_async_queue_push (self->greeted, visit);
  g_source_set_ready_time (self->greeted_source, 0);
}

/* --- visits --- */

static void
visit_end (Visit *visit)
{
  PilotPrivateSocket *self = visit->socket;

  g_queue_unlink (&self->visits, &visit->link);
  if (visit->share != PILOT_SHARES_OWN)
    pilot_shares_give_back (self->shares, visit->share);
  g_clear_handle_id (&visit->timeout_source, g_source_remove);
  if (visit->closed_handler != 0)
    g_signal_handler_disconnect (visit->connection, visit->closed_handler);
  g_clear_object (&visit->connection);
  g_clear_error (&visit->error);
  g_object_unref (visit->stream);
  g_free (visit);
}

static void
on_closed (GDBusConnection *connection, gboolean remote_vanished, GError *error, gpointer user_data)
{
  visit_end (user_data);
}

static void
visit_greeted (Visit *visit)
{
  PilotPrivateSocket *self = visit->socket;
  g_autoptr (GDBusConnection) connection = NULL;

  g_clear_handle_id (&visit->timeout_source, g_source_remove);
  /* Who is gone already will not be told to us as closed any more. */
  if (visit->connection == NULL || g_dbus_connection_is_closed (visit->connection)) {
    g_debug ("a program that connected went away: %s", visit->error != NULL ? visit->error->message : "closed");
    visit_end (visit);
    return;
  }
  connection = g_object_ref (visit->connection);
  visit->closed_handler = g_signal_connect (connection, "closed", G_CALLBACK (on_closed), visit);
  if (visit->share != PILOT_SHARES_OWN)
    pilot_private_bus_limit_calls (connection, CALLS_OF_GUEST);
  self->arrived (connection, self->user_data);
  g_dbus_connection_start_message_processing (connection);
}

static gboolean
greeted_dispatch (GSource *source, GSourceFunc callback, gpointer user_data)
{
  PilotPrivateSocket *self = user_data;
  Visit *visit;

  g_source_set_ready_time (source, -1);
  while ((visit = g_async_queue_try_pop (self->greeted)) != NULL)
    visit_greeted (visit);
  return G_SOURCE_CONTINUE;
}

static GSourceFuncs greeted_funcs = { .dispatch = greeted_dispatch };

static gboolean
never_called (gpointer user_data)
{
  g_assert_not_reached ();
}

/* Nobody will read from it any more, and who waits for a word sees its end. Not by a cancellable: to wait with one takes a descriptor, and GLib ends the process
 * when there is none. */
static void
send_away (Visit *visit)
{
  g_socket_shutdown (g_socket_connection_get_socket (visit->stream), TRUE, TRUE, NULL);
}

static gboolean
on_too_late (gpointer user_data)
{
  Visit *visit = user_data;

  visit->timeout_source = 0;
  send_away (visit);
  return G_SOURCE_REMOVE;
}

/* --- accepting --- */

static void
say_sent_away (PilotPrivateSocket *self, guint32 uid)
{
  if (pilot_token_bucket_take (&self->said, SAY_EVERY, 1, g_get_monotonic_time ()))
    g_message ("a connection of user id %u to \"%s\" was sent away: other users have too many", uid, self->path);
}

/* FALSE when there is no place for it. */
static gboolean
take_share (PilotPrivateSocket *self, int fd, guint32 *share)
{
  struct ucred peer;
  socklen_t length = sizeof peer;

  if (getsockopt (fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
    return FALSE;
  *share = peer.uid == 0 || peer.uid == geteuid () ? PILOT_SHARES_OWN : peer.uid;
  if (*share == PILOT_SHARES_OWN || pilot_shares_take (self->shares, *share))
    return TRUE;
  say_sent_away (self, peer.uid);
  return FALSE;
}

static void
accepted (int fd, const struct sockaddr *remote, socklen_t length, gpointer user_data)
{
  PilotPrivateSocket *self = user_data;
  g_autoptr (GSocket) socket = NULL;
  g_autoptr (GError) error = NULL;
  guint32 share;
  Visit *visit;

  if (!take_share (self, fd, &share)) {
    close (fd);
    return;
  }
  socket = g_socket_new_from_fd (fd, &error);
  if (socket == NULL) {
    g_warning ("cannot serve a program that connected: %s", error->message);
    if (share != PILOT_SHARES_OWN)
      pilot_shares_give_back (self->shares, share);
    close (fd);
    return;
  }
  visit = g_new0 (Visit, 1);
  visit->socket = self;
  visit->link.data = visit;
  visit->share = share;
  visit->stream = g_socket_connection_factory_create_connection (socket);
  visit->timeout_source = g_timeout_add_seconds (GREETING_LIMIT, on_too_late, visit);
  g_queue_push_tail_link (&self->visits, &visit->link);
  g_thread_pool_push (self->greeters[share != PILOT_SHARES_OWN], visit, NULL);
}

static gboolean
on_readable (gint fd, GIOCondition condition, gpointer user_data)
{
  PilotPrivateSocket *self = user_data;

  pilot_acceptor_ready (self->acceptor);
  /* Without descriptors it is not watched any more, and the source is gone. */
  return self->source != 0 ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static void
watch (gboolean wanted, gpointer user_data)
{
  PilotPrivateSocket *self = user_data;

  if (wanted)
    self->source = g_unix_fd_add (self->fd, G_IO_IN, on_readable, self);
  else
    g_clear_handle_id (&self->source, g_source_remove);
}

static const PilotAcceptorFuncs acceptor_funcs = { .accepted = accepted, .watch = watch };

/* --- life --- */

PilotPrivateSocket *
pilot_private_socket_new (const char *path, PilotPrivateSocketFunc arrived, gpointer user_data, GError **error)
{
  PilotLocalSocketId id;
  int fd = pilot_local_socket_listen (path, "--bus", BACKLOG, &id, error);
  PilotPrivateSocket *self;

  if (fd < 0)
    return NULL;
  if (g_chmod (path, 0666) != 0)
    g_warning ("cannot open \"%s\" to other users of this machine: %s", path, g_strerror (errno));
  self = g_new0 (PilotPrivateSocket, 1);
  self->path = g_strdup (path);
  self->guid = g_dbus_generate_guid ();
  self->id = id;
  self->fd = fd;
  self->arrived = arrived;
  self->user_data = user_data;
  self->shares = pilot_shares_new (MAX_GUESTS, MAX_OF_GUEST);
  self->observer = g_dbus_auth_observer_new ();
  g_signal_connect (self->observer, "authorize-authenticated-peer", G_CALLBACK (on_authorize_peer), NULL);
  g_signal_connect (self->observer, "allow-mechanism", G_CALLBACK (on_allow_mechanism), NULL);
  self->greeters[0] = g_thread_pool_new (greet, self, GREETERS, FALSE, NULL);
  self->greeters[1] = g_thread_pool_new (greet, self, GUEST_GREETERS, FALSE, NULL);
  self->greeted = g_async_queue_new ();
  self->greeted_source = g_source_new (&greeted_funcs, sizeof (GSource));
  g_source_set_callback (self->greeted_source, never_called, self, NULL);
  g_source_attach (self->greeted_source, g_main_context_get_thread_default ());
  self->acceptor = pilot_acceptor_new (fd, &acceptor_funcs, self);
  watch (TRUE, self);
  return self;
}

void
pilot_private_socket_free (PilotPrivateSocket *self)
{
  pilot_acceptor_free (self->acceptor);
  watch (FALSE, self);
  close (self->fd);
  pilot_local_socket_unlink (self->path, &self->id);
  for (GList *item = self->visits.head; item != NULL; item = item->next)
    if (((Visit *) item->data)->timeout_source != 0)
      send_away (item->data);
  /* Whoever they wait for has just been sent away. */
  for (guint i = 0; i < G_N_ELEMENTS (self->greeters); i++)
    g_thread_pool_free (self->greeters[i], FALSE, TRUE);
  while (self->visits.head != NULL)
    visit_end (self->visits.head->data);
  g_source_destroy (self->greeted_source);
  g_source_unref (self->greeted_source);
  g_async_queue_unref (self->greeted);
  g_object_unref (self->observer);
  pilot_shares_free (self->shares);
  g_free (self->guid);
  g_free (self->path);
  g_free (self);
}
