/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "datagram-socket.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "libpilot/pilot-error.h"
#include "protocol/bytes.h"

#define MAX_SOCKETS 256
#define EPHEMERAL_FIRST 49152
#define EPHEMERAL_COUNT 16384
/* Datagrams that one socket may send in one turn: the others come next. */
#define TURN_BUDGET 64

typedef struct {
  PilotDatagramSockets *owner;
  int fd;
  guint16 port;
  PilotPollerWatch *watch;
  GList link;
} Socket;

struct _PilotDatagramSockets {
  PilotNode *node;
  GQueue sockets;
  guint64 dropped;
  guint8 *buffer; /* of one packet, made at the first */
};

static void
socket_close (Socket *self)
{
  pilot_node_unbind_datagram (self->owner->node, self->port);
  pilot_poller_remove (self->watch);
  close (self->fd);
  g_queue_unlink (&self->owner->sockets, &self->link);
  g_free (self);
}

static void
on_datagram (PilotNode *node, const PilotNodeDatagram *datagram, gpointer user_data)
{
  Socket *self = user_data;
  guint8 header[PILOT_DATAGRAM_SOCKET_HEADER] = { 0 };
  struct iovec parts[] = { { header, sizeof header }, { (void *) datagram->data, datagram->length } };
  struct msghdr message = { .msg_iov = parts, .msg_iovlen = G_N_ELEMENTS (parts) };

  pilot_bytes_put_u32 (header, datagram->peer);
  pilot_bytes_put_u16 (header + 4, datagram->source_port);
  /* A program that does not read loses its datagrams, as with any socket. That it is gone the poller tells. */
  if (sendmsg (self->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
    self->owner->dropped++;
}

static void
on_ready (int fd, guint32 events, gpointer user_data)
{
  Socket *self = user_data;
  PilotDatagramSockets *owner = self->owner;

  for (guint i = 0; i < TURN_BUDGET; i++) {
    g_autoptr (GError) error = NULL;
    gssize got = recv (fd, owner->buffer, PILOT_DATAGRAM_SOCKET_HEADER + PILOT_DATAGRAM_MAX + 1, MSG_DONTWAIT);

    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0 && errno == EAGAIN)
      return;
    /* An empty packet looks like the end. */
    if (got == 0 && (events & (EPOLLHUP | EPOLLRDHUP)) == 0)
      continue;
    if (got <= 0) {
      socket_close (self);
      return;
    }
    /* Nobody is there to be told: as everywhere, datagrams may be lost. */
    if (got < PILOT_DATAGRAM_SOCKET_HEADER ||
        !pilot_node_send_datagram (owner->node, pilot_bytes_get_u32 (owner->buffer), self->port, pilot_bytes_get_u16 (owner->buffer + 4),
                                   owner->buffer + PILOT_DATAGRAM_SOCKET_HEADER, (gsize) got - PILOT_DATAGRAM_SOCKET_HEADER, &error))
      g_debug ("a datagram from port %u is not sent: %s", self->port, error != NULL ? error->message : "it has no header");
  }
}

static gboolean
bind_port (Socket *self, guint16 *port, GError **error)
{
  guint start;

  if (*port != 0)
    return pilot_node_bind_datagram (self->owner->node, *port, on_datagram, self, error);
  start = g_random_int ();
  for (guint i = 0; i < EPHEMERAL_COUNT; i++) {
    guint16 candidate = (guint16) (EPHEMERAL_FIRST + (start + i) % EPHEMERAL_COUNT);

    if (pilot_node_bind_datagram (self->owner->node, candidate, on_datagram, self, NULL)) {
      *port = candidate;
      return TRUE;
    }
  }
  g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "no ephemeral port is free");
  return FALSE;
}

int
pilot_datagram_sockets_open (PilotDatagramSockets *sockets, guint16 *port, GError **error)
{
  Socket *self;
  int fds[2];

  if (sockets->sockets.length >= MAX_SOCKETS) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "%d datagram sockets are open already", MAX_SOCKETS);
    return -1;
  }
  self = g_new0 (Socket, 1);
  self->owner = sockets;
  if (!bind_port (self, port, error)) {
    g_free (self);
    return -1;
  }
  if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot make a pair of sockets: %s", g_strerror (errno));
    pilot_node_unbind_datagram (sockets->node, *port);
    g_free (self);
    return -1;
  }
  if (sockets->buffer == NULL)
    sockets->buffer = g_malloc (PILOT_DATAGRAM_SOCKET_HEADER + PILOT_DATAGRAM_MAX + 1);
  self->fd = fds[0];
  self->port = *port;
  self->link.data = self;
  g_queue_push_tail_link (&sockets->sockets, &self->link);
  self->watch = pilot_poller_add (pilot_node_get_poller (sockets->node), self->fd, EPOLLIN | EPOLLRDHUP, on_ready, self);
  return fds[1];
}

void
pilot_datagram_sockets_foreach (PilotDatagramSockets *sockets, void (*func) (guint16 port, gpointer user_data), gpointer user_data)
{
  for (GList *item = sockets->sockets.head; item != NULL; item = item->next)
    func (((Socket *) item->data)->port, user_data);
}

guint64
pilot_datagram_sockets_get_dropped (PilotDatagramSockets *sockets)
{
  return sockets->dropped;
}

PilotDatagramSockets *
pilot_datagram_sockets_new (PilotNode *node)
{
  PilotDatagramSockets *sockets = g_new0 (PilotDatagramSockets, 1);

  sockets->node = node;
  g_queue_init (&sockets->sockets);
  return sockets;
}

void
pilot_datagram_sockets_free (PilotDatagramSockets *sockets)
{
  if (sockets == NULL)
    return;
  while (sockets->sockets.head != NULL)
    socket_close (sockets->sockets.head->data);
  g_free (sockets->buffer);
  g_free (sockets);
}
