/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/helper/netlink.h"

#include <errno.h>

#include "libpilot/pilot-error.h"

/* What netlink(7) users take for dumps: the kernel fills up to this much a message. */
#define BUFFER_SIZE 32768
#define SEQUENCE 1

PilotNetlink *
pilot_netlink_open (int protocol)
{
  PilotNetlink *netlink = mnl_socket_open2 (protocol, SOCK_CLOEXEC);
  int saved;

  if (netlink == NULL || mnl_socket_bind (netlink, 0, MNL_SOCKET_AUTOPID) == 0)
    return netlink;
  saved = errno;
  mnl_socket_close (netlink);
  errno = saved;
  return NULL;
}

int
pilot_netlink_exchange (PilotNetlink *netlink, struct nlmsghdr *message, mnl_cb_t callback, gpointer user_data)
{
  g_autofree char *buffer = g_malloc (BUFFER_SIZE);
  int result = MNL_CB_OK;

  message->nlmsg_seq = SEQUENCE;
  if (mnl_socket_sendto (netlink, message, message->nlmsg_len) < 0)
    return errno;
  while (result > MNL_CB_STOP) {
    ssize_t length = mnl_socket_recvfrom (netlink, buffer, BUFFER_SIZE);

    if (length < 0 && errno == EINTR)
      continue;
    if (length < 0)
      return errno;
    result = mnl_cb_run (buffer, length, SEQUENCE, mnl_socket_get_portid (netlink), callback, user_data);
    if (result < 0)
      return errno;
  }
  return 0;
}

void
pilot_netlink_set_error (GError **error, int code, const char *what)
{
  PilotError ours = PILOT_ERROR_IO;

  if (code == EPERM || code == EACCES)
    ours = PILOT_ERROR_PERMISSION_DENIED;
  else if (code == EADDRNOTAVAIL || code == ESRCH || code == ENODEV || code == ENOENT)
    ours = PILOT_ERROR_NOT_FOUND;
  else if (code == EEXIST)
    ours = PILOT_ERROR_ALREADY_EXISTS;
  g_set_error (error, PILOT_ERROR, ours, "cannot %s: %s%s", what, g_strerror (code), ours == PILOT_ERROR_PERMISSION_DENIED ? " (CAP_NET_ADMIN is needed)" : "");
}
