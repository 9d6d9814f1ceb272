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

#define ACCEPTS_PER_TURN 64
#define PAUSE_MS 100
#define BACKLOG 1024
/* linux/netfilter_ipv4.h, which cannot be included beside netinet/in.h. */
#define SO_ORIGINAL_DST 80

struct _PilotListener {
  PilotPoller *poller;
  PilotPollerWatch *watch;
  PilotListenerFunc func;
  gpointer user_data;
  int fd;
  guint pause; /* timeout while the process is out of descriptors */
  gboolean redirect, silent;
  gboolean complained;
};

static gboolean
pause_over (gpointer user_data)
{
  PilotListener *listener = user_data;

  listener->pause = 0;
  if (!listener->silent)
    pilot_poller_modify (listener->watch, EPOLLIN);
  return G_SOURCE_REMOVE;
}

static gboolean
get_destination (PilotListener *listener, int fd, struct sockaddr_in *name)
{
  socklen_t length = sizeof *name;

  if (listener->redirect)
    return getsockopt (fd, SOL_IP, SO_ORIGINAL_DST, name, &length) == 0 && name->sin_family == AF_INET;
  return getsockname (fd, (struct sockaddr *) name, &length) == 0 && name->sin_family == AF_INET;
}

static void
listener_ready (int listening, guint32 events, gpointer user_data)
{
  PilotListener *listener = user_data;

  for (guint i = 0; i < ACCEPTS_PER_TURN; i++) {
    struct sockaddr_in name;
    int fd = accept4 (listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0 && (errno == EAGAIN || errno == EINVAL))
      return;
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
      /* The connection stays in the queue, and the socket readable: look away until something may have been freed. */
      if (!listener->complained)
        g_warning ("cannot accept a connection: %s; trying again", g_strerror (errno));
      listener->complained = TRUE;
      pilot_poller_modify (listener->watch, 0);
      listener->pause = g_timeout_add (PAUSE_MS, pause_over, listener);
      return;
    }
    if (fd < 0)
      continue; /* that connection's own trouble: ECONNABORTED and the network errors of accept(2) */
    listener->complained = FALSE;
    if (get_destination (listener, fd, &name))
      listener->func (fd, ntohl (name.sin_addr.s_addr), ntohs (name.sin_port), listener->user_data);
    else
      pilot_socket_reset (fd);
  }
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
  listener->watch = pilot_poller_add (poller, fd, EPOLLIN, listener_ready, listener);
  return listener;
}

void
pilot_listener_free (PilotListener *listener)
{
  g_clear_handle_id (&listener->pause, g_source_remove);
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
