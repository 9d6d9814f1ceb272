/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/gateway/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/gateway/bridge.h"
#include "libpilot/pilot-acceptor.h"

#define BACKLOG 1024
/* linux/netfilter_ipv4.h, which cannot be included beside netinet/in.h. */
#define SO_ORIGINAL_DST 80

struct _PilotListener {
  PilotPoller *poller;
  PilotPollerWatch *watch;
  PilotAcceptor *acceptor;
  PilotListenerFunc func;
  gpointer user_data;
  int fd;
  gboolean redirect, silent;
};

static gboolean
get_destination (PilotListener *listener, int fd, struct sockaddr_in *name)
{
  socklen_t length = sizeof *name;

  if (listener->redirect)
    return getsockopt (fd, SOL_IP, SO_ORIGINAL_DST, name, &length) == 0 && name->sin_family == AF_INET;
  return getsockname (fd, (struct sockaddr *) name, &length) == 0 && name->sin_family == AF_INET;
}

static void
listener_accepted (int fd, const struct sockaddr *remote, socklen_t length, gpointer user_data)
{
  PilotListener *listener = user_data;
  struct sockaddr_in name;

  if (get_destination (listener, fd, &name))
    listener->func (fd, ntohl (name.sin_addr.s_addr), ntohs (name.sin_port), listener->user_data);
  else
    pilot_socket_reset (fd);
}

static void
listener_watch (gboolean wanted, gpointer user_data)
{
  PilotListener *listener = user_data;

  if (!listener->silent)
    pilot_poller_modify (listener->watch, wanted ? EPOLLIN : 0);
}

static const PilotAcceptorFuncs acceptor_funcs = { .accepted = listener_accepted, .watch = listener_watch };

static void
listener_ready (int fd, guint32 events, gpointer user_data)
{
  PilotListener *listener = user_data;

  pilot_acceptor_ready (listener->acceptor);
}

PilotListener *
pilot_listener_new (PilotPoller *poller, int fd, gboolean redirect, PilotListenerFunc func, gpointer user_data)
{
  PilotListener *listener = g_new0 (PilotListener, 1);
  int one = 1;

  /* What is accepted has it from here. Best effort: without it a connection works all the same. */
  setsockopt (fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  listener->poller = poller;
  listener->fd = fd;
  listener->redirect = redirect;
  listener->func = func;
  listener->user_data = user_data;
  listener->acceptor = pilot_acceptor_new (fd, &acceptor_funcs, listener);
  listener->watch = pilot_poller_add (poller, fd, EPOLLIN, listener_ready, listener);
  return listener;
}

void
pilot_listener_free (PilotListener *listener)
{
  pilot_acceptor_free (listener->acceptor);
  pilot_poller_remove (listener->watch);
  close (listener->fd);
  g_free (listener);
}

gboolean
pilot_listener_set_silent (PilotListener *listener, gboolean silent)
{
  if (listener->silent == silent)
    return TRUE;
  if (silent) {
    /* A listening socket that is shut down hangs up: nothing to watch for. */
    pilot_poller_modify (listener->watch, EPOLLET);
    shutdown (listener->fd, SHUT_RD);
  } else {
    if (listen (listener->fd, BACKLOG) != 0) {
      g_warning ("cannot listen again: %s", g_strerror (errno));
      return FALSE;
    }
    pilot_poller_modify (listener->watch, EPOLLIN);
  }
  listener->silent = silent;
  return TRUE;
}
