/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libpilot/pilot-acceptor.h"
#include "libpilot/pilot-error.h"
#include "rendezvous/socket.h"

#define BACKLOG 4096

struct _PilotServerListener {
  PilotReactorWatch watch; /* first: the watch is the listener */
  PilotReactor *reactor;
  PilotTls *tls;
  const PilotServerListenerFuncs *funcs;
  gpointer user_data;
  PilotAcceptor *acceptor;
};

static void
listener_accepted (int fd,
                   const struct sockaddr *name,
                   socklen_t length,
                   gpointer user_data)
{
  PilotServerListener *self = user_data;
  PilotEndpoint remote;

  if (pilot_endpoint_from_sockaddr (&remote, name, length))
    self->funcs->accepted (fd, self->tls, &remote, self->user_data);
  else
    close (fd);
}

static void
listener_watch (gboolean wanted,
                gpointer user_data)
{
  PilotServerListener *self = user_data;

  pilot_reactor_modify (self->reactor, &self->watch, wanted ? EPOLLIN : 0);
}

static gboolean
listener_make_room (gpointer user_data)
{
  PilotServerListener *self = user_data;

  return self->funcs->evict (self->user_data);
}

static const PilotAcceptorFuncs acceptor_funcs = { listener_accepted, listener_watch, listener_make_room };

static void
listener_ready (PilotReactorWatch *watch,
                guint32 events)
{
  PilotServerListener *self = (PilotServerListener *) watch;

  pilot_acceptor_ready (self->acceptor);
}

gboolean
pilot_server_listener_add (GPtrArray *listeners,
                           PilotReactor *reactor,
                           const PilotEndpoint *address,
                           PilotTls *tls,
                           const PilotServerListenerFuncs *funcs,
                           gpointer user_data,
                           PilotEndpoint *bound,
                           GError **error)
{
  static const int on = 1;
  PilotServerListener *self;
  gboolean is_ipv6;
  int fd = pilot_socket_bind (address, SOCK_STREAM, &is_ipv6, error);

  if (fd < 0)
    return FALSE;
  /* What is accepted has both from here. */
  if (setsockopt (fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 || setsockopt (fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) != 0 ||
      listen (fd, BACKLOG) != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot listen: %s", g_strerror (errno));
    close (fd);
    return FALSE;
  }
  self = g_new0 (PilotServerListener, 1);
  self->watch.ready = listener_ready;
  self->reactor = reactor;
  self->tls = tls;
  self->funcs = funcs;
  self->user_data = user_data;
  if (!pilot_reactor_add (reactor, &self->watch, fd, EPOLLIN, error)) {
    close (fd);
    g_free (self);
    return FALSE;
  }
  self->acceptor = pilot_acceptor_new (fd, &acceptor_funcs, self);
  pilot_socket_get_address (fd, bound);
  g_ptr_array_add (listeners, self);
  return TRUE;
}

void
pilot_server_listener_free (PilotServerListener *self)
{
  pilot_acceptor_free (self->acceptor);
  pilot_reactor_remove (self->reactor, &self->watch);
  close (self->watch.fd);
  g_free (self);
}
