/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilot-acceptor.h"

#include <errno.h>

#define ACCEPTS_PER_TURN 64
#define PAUSE_MS 100
#define COMPLAIN_EVERY (60 * (gint64) G_USEC_PER_SEC)

struct _PilotAcceptor {
  int fd;
  const PilotAcceptorFuncs *funcs;
  gpointer user_data;
  GSource *pause; /* NULL: the socket is watched */
  gint64 complained;
};

static void
complain (PilotAcceptor *acceptor, int code)
{
  gint64 now = g_get_monotonic_time ();

  if (acceptor->complained != 0 && now - acceptor->complained < COMPLAIN_EVERY)
    return;
  acceptor->complained = now;
  g_warning ("cannot accept a connection: %s; trying again", g_strerror (code));
}

static void
clear_pause (PilotAcceptor *acceptor)
{
  g_source_destroy (acceptor->pause);
  g_clear_pointer (&acceptor->pause, g_source_unref);
}

static gboolean
pause_over (gpointer user_data)
{
  PilotAcceptor *acceptor = user_data;

  clear_pause (acceptor);
  acceptor->funcs->watch (TRUE, acceptor->user_data);
  return G_SOURCE_REMOVE;
}

static void
look_away (PilotAcceptor *acceptor)
{
  if (acceptor->pause != NULL)
    return;
  acceptor->pause = g_timeout_source_new (PAUSE_MS);
  g_source_set_callback (acceptor->pause, pause_over, acceptor, NULL);
  g_source_attach (acceptor->pause, g_main_context_get_thread_default ());
  acceptor->funcs->watch (FALSE, acceptor->user_data);
}

/* The trouble of one connection, which has left the queue (accept(2)). */
static gboolean
is_of_connection (int code)
{
  static const int codes[] = { ECONNABORTED, EINTR, EPERM, EPROTO, ENOPROTOOPT, ENETDOWN, EHOSTDOWN, ENONET, EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH };

  for (guint i = 0; i < G_N_ELEMENTS (codes); i++)
    if (code == codes[i])
      return TRUE;
  return FALSE;
}

static gboolean
is_of_room (int code)
{
  return code == EMFILE || code == ENFILE || code == ENOBUFS || code == ENOMEM;
}

/* Whether to try again at once. */
static gboolean
failed (PilotAcceptor *acceptor, int code)
{
  if (is_of_connection (code))
    return TRUE;
  /* Nobody waits; or the socket was shut down, and whoever did that knows. */
  if (code == EAGAIN || code == EINVAL)
    return FALSE;
  complain (acceptor, code);
  if (is_of_room (code) && acceptor->funcs->make_room != NULL && acceptor->funcs->make_room (acceptor->user_data))
    return TRUE;
  look_away (acceptor);
  return FALSE;
}

void
pilot_acceptor_ready (PilotAcceptor *acceptor)
{
  for (guint i = 0; i < ACCEPTS_PER_TURN; i++) {
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    int fd = accept4 (acceptor->fd, (struct sockaddr *) &name, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0)
      acceptor->funcs->accepted (fd, (const struct sockaddr *) &name, length, acceptor->user_data);
    else if (!failed (acceptor, errno))
      return;
  }
}

PilotAcceptor *
pilot_acceptor_new (int fd, const PilotAcceptorFuncs *funcs, gpointer user_data)
{
  PilotAcceptor *acceptor = g_new0 (PilotAcceptor, 1);

  acceptor->fd = fd;
  acceptor->funcs = funcs;
  acceptor->user_data = user_data;
  return acceptor;
}

void
pilot_acceptor_free (PilotAcceptor *acceptor)
{
  if (acceptor->pause != NULL)
    clear_pause (acceptor);
  g_free (acceptor);
}
