/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "network-watch.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#include <glib-unix.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "libpilot/pilot-error.h"

/* A change of network is a burst of messages: what counts is what is there afterwards. Milliseconds, microseconds. */
#define SETTLE 300
#define SETTLE_LIMIT (2 * (gint64) G_USEC_PER_SEC)

struct _PilotNetworkWatch {
  PilotNetworkWatchFunc func;
  gpointer user_data;
  int fd;
  guint fd_source, settle_source;
  gint64 began; /* the burst, monotonic */
};

static gboolean
on_settled (gpointer user_data)
{
  PilotNetworkWatch *watch = user_data;

  watch->settle_source = 0;
  watch->func (watch->user_data);
  return G_SOURCE_REMOVE;
}

static gboolean
on_message (int fd, GIOCondition condition, gpointer user_data)
{
  PilotNetworkWatch *watch = user_data;
  gint64 now = g_get_monotonic_time ();
  char buffer[8192];
  gssize length;

  /* The content does not matter, and ENOBUFS, messages lost, is a change too. */
  do
    length = recv (fd, buffer, sizeof buffer, MSG_DONTWAIT);
  while (length > 0 || (length < 0 && (errno == EINTR || errno == ENOBUFS)));
  if (watch->settle_source == 0)
    watch->began = now;
  else if (now - watch->began > SETTLE_LIMIT)
    return G_SOURCE_CONTINUE;
  g_clear_handle_id (&watch->settle_source, g_source_remove);
  watch->settle_source = g_timeout_add (SETTLE, on_settled, watch);
  return G_SOURCE_CONTINUE;
}

PilotNetworkWatch *
pilot_network_watch_new (PilotNetworkWatchFunc func, gpointer user_data, GError **error)
{
  const struct sockaddr_nl groups = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE };
  int fd = socket (AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  PilotNetworkWatch *watch;

  if (fd < 0 || bind (fd, (const struct sockaddr *) &groups, sizeof groups) < 0) {
    int error_number = errno;

    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot listen for changes of the network: %s", g_strerror (error_number));
    if (fd >= 0)
      close (fd);
    return NULL;
  }
  watch = g_new0 (PilotNetworkWatch, 1);
  watch->func = func;
  watch->user_data = user_data;
  watch->fd = fd;
  watch->fd_source = g_unix_fd_add (fd, G_IO_IN | G_IO_ERR, on_message, watch);
  return watch;
}

void
pilot_network_watch_free (PilotNetworkWatch *watch)
{
  g_clear_handle_id (&watch->fd_source, g_source_remove);
  g_clear_handle_id (&watch->settle_source, g_source_remove);
  close (watch->fd);
  g_free (watch);
}

gboolean
pilot_network_source_address (const PilotEndpoint *to, PilotEndpoint *source)
{
  struct sockaddr_storage address = { 0 };
  socklen_t length = pilot_endpoint_to_sockaddr (to, FALSE, &address);
  int fd = length > 0 ? socket (address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
  gboolean found;

  if (fd < 0)
    return FALSE;
  /* Connecting a datagram socket asks the routes and sends nothing. */
  found = connect (fd, (struct sockaddr *) &address, length) == 0;
  length = sizeof address;
  found = found && getsockname (fd, (struct sockaddr *) &address, &length) == 0 &&
          pilot_endpoint_from_sockaddr (source, (struct sockaddr *) &address, length);
  close (fd);
  if (found)
    source->port = 0;
  return found;
}

gboolean
pilot_network_global_ipv6 (PilotEndpoint *source)
{
  /* Anywhere in 2000::/3. */
  static const PilotEndpoint internet = { .family = PILOT_ENDPOINT_IPV6, .address = { 0x20, 0x00, [15] = 1 }, .port = 9 };

  if (pilot_network_source_address (&internet, source) && pilot_endpoint_is_global_ipv6 (source))
    return TRUE;
  *source = (PilotEndpoint) PILOT_ENDPOINT_INIT;
  return FALSE;
}
