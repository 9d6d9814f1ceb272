/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/local-socket.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "libpilot/pilot-error.h"

static gboolean
fill_address (struct sockaddr_un *address, const char *path, const char *flag, GError **error)
{
  *address = (struct sockaddr_un) { .sun_family = AF_UNIX };
  if (strlen (path) >= sizeof address->sun_path) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "the socket path \"%s\" is too long: give a shorter one with %s", path, flag);
    return FALSE;
  }
  strcpy (address->sun_path, path);
  return TRUE;
}

gboolean
pilot_local_socket_clear (const char *path, const char *flag, GError **error)
{
  struct sockaddr_un address;
  struct stat status;
  int fd, result, saved;

  if (!fill_address (&address, path, flag, error))
    return FALSE;
  /* To connect to a file is refused as to a dead socket is: it is not ours to remove. */
  if (lstat (path, &status) == 0 && !S_ISSOCK (status.st_mode)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS, "\"%s\" is there and is no socket: give another place with %s", path, flag);
    return FALSE;
  }
  fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  result = connect (fd, (struct sockaddr *) &address, sizeof address);
  saved = errno;
  close (fd);
  if (result == 0 || saved == EAGAIN || saved == EINPROGRESS) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS, "another daemon answers on \"%s\"", path);
    return FALSE;
  }
  if (saved == ECONNREFUSED && g_unlink (path) != 0 && errno != ENOENT) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot remove the stale socket \"%s\": %s", path, g_strerror (errno));
    return FALSE;
  }
  return TRUE;
}

int
pilot_local_socket_listen (const char *path, const char *flag, int backlog, PilotLocalSocketId *id, GError **error)
{
  struct sockaddr_un address;
  struct stat status;
  gboolean bound;
  int fd;

  if (!fill_address (&address, path, flag, error) || !pilot_local_socket_clear (path, flag, error))
    return -1;
  fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  bound = fd >= 0 && bind (fd, (struct sockaddr *) &address, sizeof address) == 0;
  /* Nobody can connect before listen(): whatever the umask, the mode is right by then. */
  if (!bound || g_chmod (path, 0600) != 0 || listen (fd, backlog) != 0 || g_lstat (path, &status) != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot serve \"%s\": %s", path, g_strerror (errno));
    if (bound)
      g_unlink (path);
    if (fd >= 0)
      close (fd);
    return -1;
  }
  *id = (PilotLocalSocketId) { status.st_dev, status.st_ino };
  return fd;
}

void
pilot_local_socket_unlink (const char *path, const PilotLocalSocketId *id)
{
  struct stat status;

  if (g_lstat (path, &status) == 0 && S_ISSOCK (status.st_mode) && status.st_dev == id->device && status.st_ino == id->inode)
    g_unlink (path);
}
