/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/notify.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "libpilot/pilot-error.h"

gboolean
pilot_notify (const gchar *state,
              GError **error)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  const gchar *path = g_getenv ("NOTIFY_SOCKET");
  gsize length;
  gboolean ok;
  int fd;

  if (path == NULL || *path == '\0')
    return TRUE;
  length = strlen (path);
  if ((*path != '/' && *path != '@') || length >= sizeof address.sun_path) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "NOTIFY_SOCKET \"%s\" is not a socket address", path);
    return FALSE;
  }
  memcpy (address.sun_path, path, length);
  if (*path == '@')
    address.sun_path[0] = '\0'; /* abstract */
  fd = socket (AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ok = fd >= 0 && sendto (fd, state, strlen (state), MSG_NOSIGNAL, (struct sockaddr *) &address,
                          (socklen_t) (offsetof (struct sockaddr_un, sun_path) + length)) >= 0;
  if (!ok)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot notify \"%s\": %s", path, g_strerror (errno));
  if (fd >= 0)
    close (fd);
  return ok;
}
