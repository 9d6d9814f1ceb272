/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "libpilot/pilot-error.h"

static void
set_held_error (int fd, const char *directory, GError **error)
{
  char text[32] = "";
  gssize length = pread (fd, text, sizeof text - 1, 0);

  text[MAX (length, 0)] = '\0';
  g_strstrip (text);
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS, "a daemon is already running on \"%s\" (pid %s)", directory,
               *text != '\0' ? text : "unknown");
  if (error != NULL)
    pilot_error_set_hint (*error, "stop it first with: pilotctl daemon stop; or give this one a state directory of its own with --state-dir");
}

int
pilot_lock_claim (const char *directory, GError **error)
{
  g_autofree char *path = g_build_filename (directory, "pilot.lock", NULL);
  char text[32];
  int fd, length, saved;

  if (g_mkdir_with_parents (directory, 0700) < 0 || (fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0) {
    saved = errno;
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot open \"%s\": %s", path, g_strerror (saved));
    return -1;
  }
  if (flock (fd, LOCK_EX | LOCK_NB) < 0) {
    saved = errno;
    if (saved == EWOULDBLOCK)
      set_held_error (fd, directory, error);
    else
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot lock \"%s\": %s", path, g_strerror (saved));
    close (fd);
    return -1;
  }
  /* The pid is for people and for the message above; the lock alone decides. */
  length = g_snprintf (text, sizeof text, "%d\n", (int) getpid ());
  if (ftruncate (fd, 0) < 0 || pwrite (fd, text, (gsize) length, 0) != length)
    g_warning ("cannot write the pid to \"%s\": %s", path, g_strerror (errno));
  return fd;
}
