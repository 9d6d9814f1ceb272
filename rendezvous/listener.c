/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/listener.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libpilot/pilot-error.h"
#include "rendezvous/socket.h"

#define BACKLOG 4096
#define ACCEPTS_PER_TURN 64
#define COMPLAIN_EVERY (60 * G_USEC_PER_SEC)

struct _PilotListener {
  PilotReactorWatch watch; /* first: the watch is the listener */
  PilotReactor *reactor;
  PilotTls *tls;
  const PilotServerListenerFuncs *funcs;
  gpointer user_data;
  gint64 complained;
};

static void
complain (PilotServerListener *self,
          int code)
{
  gint64 now = g_get_monotonic_time ();

  if (self->complained != 0 && now - self->complained < COMPLAIN_EVERY)
    return;
  self->complained = now;
  g_warning ("cannot accept a connection: %s", g_strerror (code));
}

static void
listener_ready (PilotReactorWatch *watch,
                guint32 events)
{
  PilotServerListener *self = (PilotServerListener *) watch;

  for (guint i = 0; i < ACCEPTS_PER_TURN; i++) {
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    PilotEndpoint remote;
    int fd = accept4 (watch->fd, (struct sockaddr *) &name, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0) {
      if (errno == EMFILE || errno == ENFILE) {
        complain (self, errno);
        self->funcs->evict (self->user_data);
      } else if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
        complain (self, errno);
      return;
    }
    if (pilot_endpoint_from_sockaddr (&remote, (struct sockaddr *) &name, length))
      self->funcs->accepted (fd, self->tls, &remote, self->user_data);
    else
      close (fd);
  }
}

PilotServerListener *
pilot_server_listener_new (PilotReactor *reactor,
                           const PilotEndpoint *address,
                           PilotTls *tls,
                           const PilotServerListenerFuncs *funcs,
                           gpointer user_data,
                           PilotEndpoint *bound,
                           GError **error)
{
  PilotServerListener *self;
  gboolean is_ipv6;
  int fd = pilot_socket_bind (address, SOCK_STREAM, &is_ipv6, error);

  if (fd < 0)
    return NULL;
  if (listen (fd, BACKLOG) != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot listen: %s", g_strerror (errno));
    close (fd);
    return NULL;
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
    return NULL;
  }
  pilot_socket_get_address (fd, bound);
  return self;
}

void
pilot_server_listener_free (PilotServerListener *self)
{
  pilot_reactor_remove (self->reactor, &self->watch);
  close (self->watch.fd);
  g_free (self);
}
