/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libpilot/pilot-error.h"

gboolean
pilot_socket_parse (const gchar *text,
                    PilotEndpoint *address,
                    GError **error)
{
  g_autofree gchar *whole = NULL;
  const gchar *port = text;

  if (g_str_has_prefix (text, "*:"))
    port = text + 2;
  else if (*text == ':')
    port = text + 1;
  else if (strchr (text, ':') != NULL)
    return pilot_endpoint_parse (text, address, error);
  whole = g_strconcat ("[::]:", port, NULL);
  if (pilot_endpoint_parse (whole, address, NULL))
    return TRUE;
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
               "invalid listening address \"%s\": give ADDRESS:PORT or :PORT", text);
  return FALSE;
}

static int
bind_as (const PilotEndpoint *address,
         gboolean is_ipv6,
         int type)
{
  static const int on = 1, off = 0;
  struct sockaddr_storage name;
  socklen_t length;
  int fd, saved;

  if (is_ipv6)
    length = pilot_endpoint_to_sockaddr (address, TRUE, &name);
  else {
    PilotEndpoint ipv4 = { .family = PILOT_ENDPOINT_IPV4, .port = address->port };

    length = pilot_endpoint_to_sockaddr (address->family == PILOT_ENDPOINT_IPV4 ? address : &ipv4, FALSE, &name);
  }
  fd = socket (is_ipv6 ? AF_INET6 : AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return -1;
  if ((!is_ipv6 || setsockopt (fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0) &&
      (type != SOCK_STREAM || setsockopt (fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0) &&
      bind (fd, (struct sockaddr *) &name, length) == 0)
    return fd;
  saved = errno;
  close (fd);
  errno = saved;
  return -1;
}

int
pilot_socket_bind (const PilotEndpoint *address,
                   int type,
                   gboolean *is_ipv6,
                   GError **error)
{
  gchar text[PILOT_ENDPOINT_TEXT_SIZE];
  int fd;

  *is_ipv6 = address->family == PILOT_ENDPOINT_IPV6;
  fd = bind_as (address, *is_ipv6, type);
  if (fd < 0 && *is_ipv6 && pilot_endpoint_is_any (address) && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) {
    *is_ipv6 = FALSE;
    fd = bind_as (address, FALSE, type);
  }
  if (fd < 0)
    g_set_error (error, PILOT_ERROR, errno == EADDRINUSE ? PILOT_ERROR_ALREADY_EXISTS : PILOT_ERROR_IO,
                 "cannot listen on %s %s: %s", type == SOCK_STREAM ? "TCP" : "UDP", pilot_endpoint_format (address, text),
                 g_strerror (errno));
  return fd;
}

void
pilot_socket_get_address (int fd,
                          PilotEndpoint *address)
{
  struct sockaddr_storage name;
  socklen_t length = sizeof name;

  *address = (PilotEndpoint) PILOT_ENDPOINT_INIT;
  if (getsockname (fd, (struct sockaddr *) &name, &length) == 0)
    pilot_endpoint_from_sockaddr (address, (struct sockaddr *) &name, length);
}
