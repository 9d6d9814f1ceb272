/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilot-service-manager.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void
pilot_service_manager_notify (const char *message)
{
  const char *path = g_getenv ("NOTIFY_SOCKET");
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  gsize length = path != NULL ? strlen (path) : 0;
  int fd;

  if (length == 0)
    return;
  if (length == 1 || length >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@')) {
    g_warning ("the service manager cannot be told: NOTIFY_SOCKET \"%s\" is not the address of a socket", path);
    return;
  }
  memcpy (address.sun_path, path, length);
  if (path[0] == '@')
    address.sun_path[0] = '\0'; /* the abstract name space */
  fd = socket (AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 || sendto (fd, message, strlen (message), MSG_NOSIGNAL, (struct sockaddr *) &address,
                        (socklen_t) (offsetof (struct sockaddr_un, sun_path) + length)) < 0)
    g_warning ("the service manager cannot be told: %s", g_strerror (errno));
  if (fd >= 0)
    close (fd);
}
