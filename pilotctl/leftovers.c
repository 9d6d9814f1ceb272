/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/leftovers.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gi18n.h>
#include <glib/gstdio.h>
#include <ifaddrs.h>
#include <sys/file.h>
#include <unistd.h>

#include "libpilot/pilot-error.h"

gboolean
leftovers_has_addresses (guint32 uid)
{
  /* As daemon/helper/netlink-address.h has it. */
  g_autofree char *label = g_strdup_printf (uid <= 9999999 ? "lo:pilot%u" : "lo:p%u", uid);
  struct ifaddrs *addresses = NULL;
  gboolean found = FALSE;

  if (getifaddrs (&addresses) != 0)
    return FALSE;
  for (const struct ifaddrs *address = addresses; address != NULL && !found; address = address->ifa_next)
    found = g_str_equal (address->ifa_name, label);
  freeifaddrs (addresses);
  return found;
}

/* The lock a daemon holds as long as it runs (daemon/core/lock.h). Without its file none ever ran there. */
static gboolean
take_lock (const char *folder, int *fd, GError **error)
{
  g_autofree char *path = g_build_filename (folder, "pilot.lock", NULL);

  *fd = open (path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (*fd < 0 || flock (*fd, LOCK_EX | LOCK_NB) == 0)
    return TRUE;
  close (*fd);
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_BUSY, _("a daemon runs on \"%s\", but does not answer"), folder);
  if (error != NULL)
    pilot_error_set_hint (*error, "%s", _("try again, or say where it is with --bus PATH"));
  return FALSE;
}

gboolean
leftovers_forget_mappings (const char *folder, gboolean *found, GError **error)
{
  g_autofree char *path = g_build_filename (folder, "gateway.json", NULL);
  gboolean ok;
  int fd;

  if (access (path, F_OK) != 0)
    return TRUE;
  if (!take_lock (folder, &fd, error))
    return FALSE;
  ok = g_unlink (path) == 0 || errno == ENOENT;
  if (!ok)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, _("cannot remove \"%s\": %s"), path, g_strerror (errno));
  if (fd >= 0)
    close (fd);
  *found |= ok;
  return ok;
}
