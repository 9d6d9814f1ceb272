/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "udp-socket.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <unistd.h>

static gboolean
set_int (gint fd,
         gint level,
         gint option,
         gint value)
{
  return setsockopt (fd, level, option, &value, sizeof value) == 0;
}

/* FORCE passes the system's limit, and needs a privilege. Neither is worth failing for. */
static void
request_buffers (gint fd,
                 gint size)
{
  if (!set_int (fd, SOL_SOCKET, SO_RCVBUFFORCE, size) && !set_int (fd, SOL_SOCKET, SO_RCVBUF, size))
    g_debug ("cannot enlarge the receive buffer: %s", g_strerror (errno));
  if (!set_int (fd, SOL_SOCKET, SO_SNDBUFFORCE, size) && !set_int (fd, SOL_SOCKET, SO_SNDBUF, size))
    g_debug ("cannot enlarge the send buffer: %s", g_strerror (errno));
}

guint
udp_socket_get_buffer (UdpSocket *self,
                       gint option)
{
  gint value = 0;
  socklen_t length = sizeof value;

  return getsockopt (self->fd, SOL_SOCKET, option, &value, &length) == 0 ? (guint) value : 0;
}

/* That a datagram was put together from pieces is told with it; nothing is told of others. Linux 4.10. */
static void
request_cuts (UdpSocket *self)
{
  if (!set_int (self->fd, IPPROTO_IP, IP_RECVFRAGSIZE, 1) || (self->ipv6 && !set_int (self->fd, IPPROTO_IPV6, IPV6_RECVFRAGSIZE, 1)))
    g_debug ("not told which datagrams were cut: %s", g_strerror (errno));
}

/* An unconnected socket hears of ICMP errors only through its error queue, which says whom they are about. */
static void
request_errors (UdpSocket *self)
{
  if (!set_int (self->fd, IPPROTO_IP, IP_RECVERR, 1))
    g_debug ("no error queue for IPv4: %s", g_strerror (errno));
  if (self->ipv6 && !set_int (self->fd, IPPROTO_IPV6, IPV6_RECVERR, 1))
    g_debug ("no error queue for IPv6: %s", g_strerror (errno));
}

gboolean
udp_socket_set_whole (UdpSocket *self,
                      gboolean on)
{
  self->whole = set_int (self->fd, IPPROTO_IP, IP_MTU_DISCOVER, on ? IP_PMTUDISC_DO : IP_PMTUDISC_WANT) && on;
  if (self->ipv6)
    self->whole = set_int (self->fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, on ? IPV6_PMTUDISC_DO : IPV6_PMTUDISC_WANT) && self->whole;
  return self->whole == on;
}

void
udp_socket_set_offload (UdpSocket *self,
                        gboolean on)
{
  gint value = 0;
  socklen_t length = sizeof value;

  self->gso = on && getsockopt (self->fd, SOL_UDP, UDP_SEGMENT, &value, &length) == 0;
  if (on || self->gro)
    self->gro = set_int (self->fd, SOL_UDP, UDP_GRO, on) && on;
}

static gboolean
bind_to (UdpSocket *self,
         const PilotEndpoint *endpoint,
         gboolean dual_stack,
         GError **error)
{
  gchar text[PILOT_ENDPOINT_TEXT_SIZE];
  struct sockaddr_storage address;
  socklen_t length;
  gint saved;

  self->ipv6 = endpoint->family == PILOT_ENDPOINT_IPV6;
  self->fd = socket (self->ipv6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  length = pilot_endpoint_to_sockaddr (endpoint, FALSE, &address);
  if (self->fd >= 0 &&
      (!self->ipv6 || set_int (self->fd, IPPROTO_IPV6, IPV6_V6ONLY, !dual_stack)) &&
      bind (self->fd, (struct sockaddr *) &address, length) == 0) {
    length = sizeof address;
    if (getsockname (self->fd, (struct sockaddr *) &address, &length) == 0 &&
        pilot_endpoint_from_sockaddr (&self->bound, (struct sockaddr *) &address, length))
      return TRUE;
  }
  saved = errno;
  udp_socket_close (self);
  errno = saved;
  g_set_error (error, PILOT_ERROR, saved == EADDRINUSE ? PILOT_ERROR_ALREADY_EXISTS : PILOT_ERROR_IO,
               "cannot bind UDP \"%s\": %s", pilot_endpoint_format (endpoint, text), g_strerror (saved));
  return FALSE;
}

gboolean
udp_socket_open (UdpSocket *self,
                 const gchar *listen,
                 gboolean offload,
                 guint buffer,
                 GError **error)
{
  g_autofree gchar *full = NULL;
  PilotEndpoint endpoint;
  gboolean any;

  *self = (UdpSocket) { .fd = -1 };
  any = listen[0] == ':';
  if (any)
    full = g_strconcat ("[::]", listen, NULL);
  if (!pilot_endpoint_parse (any ? full : listen, &endpoint, error))
    return FALSE;

  /* "[::]:PORT" means both families too, as everywhere on Linux. */
  if (!bind_to (self, &endpoint, pilot_endpoint_is_any (&endpoint), any ? NULL : error)) {
    if (!any)
      return FALSE;
    /* A kernel without IPv6, or with it switched off. */
    endpoint = (PilotEndpoint) { .family = PILOT_ENDPOINT_IPV4, .port = endpoint.port };
    if (!bind_to (self, &endpoint, FALSE, error))
      return FALSE;
  }
  request_buffers (self->fd, (gint) buffer);
  request_errors (self);
  request_cuts (self);
  udp_socket_set_offload (self, offload);
  return TRUE;
}

void
udp_socket_close (UdpSocket *self)
{
  if (self->fd >= 0)
    close (self->fd);
  *self = (UdpSocket) { .fd = -1 };
}

static gboolean
is_listed (GArray *endpoints,
           const PilotEndpoint *endpoint)
{
  for (guint i = 0; i < endpoints->len; i++)
    if (pilot_endpoint_equal (&g_array_index (endpoints, PilotEndpoint, i), endpoint))
      return TRUE;
  return FALSE;
}

GArray *
udp_socket_get_endpoints (UdpSocket *self)
{
  GArray *endpoints = g_array_new (FALSE, TRUE, sizeof (PilotEndpoint));
  struct ifaddrs *list = NULL;

  if (self->fd < 0)
    return endpoints;
  if (!pilot_endpoint_is_any (&self->bound)) {
    g_array_append_val (endpoints, self->bound);
    return endpoints;
  }
  if (getifaddrs (&list) != 0) {
    g_warning ("cannot list the addresses of this host: %s", g_strerror (errno));
    return endpoints;
  }
  for (struct ifaddrs *entry = list; entry != NULL; entry = entry->ifa_next) {
    PilotEndpoint endpoint;

    if (entry->ifa_addr == NULL || (entry->ifa_flags & IFF_UP) == 0 || (entry->ifa_flags & IFF_LOOPBACK) != 0 ||
        !pilot_endpoint_from_sockaddr (&endpoint, entry->ifa_addr,
                                       entry->ifa_addr->sa_family == AF_INET6 ? sizeof (struct sockaddr_in6)
                                                                              : sizeof (struct sockaddr_in)))
      continue;
    /* A link-local address means nothing to who is on another link, and nobody can tell. */
    if (pilot_endpoint_is_link_local (&endpoint) || (endpoint.family == PILOT_ENDPOINT_IPV6 && !self->ipv6))
      continue;
    endpoint.port = self->bound.port;
    if (!is_listed (endpoints, &endpoint))
      g_array_append_val (endpoints, endpoint);
  }
  freeifaddrs (list);
  return endpoints;
}
