/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/sudo.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

gboolean
sudo_get_user (guint32 *uid)
{
  const char *text = g_getenv ("SUDO_UID");
  guint64 number;

  if (geteuid () != 0 || text == NULL || !g_ascii_string_to_unsigned (text, 10, 1, G_MAXUINT32 - 1, &number, NULL))
    return FALSE;
  *uid = (guint32) number;
  return TRUE;
}

const char *
sudo_getenv (const char *name)
{
  const char *value = g_getenv (name);
  guint32 uid;

  return value != NULL && *value != '\0' && !sudo_get_user (&uid) ? value : NULL;
}

gboolean
sudo_become (guint32 uid, GError **error)
{
  const struct passwd *user;
  gid_t gid;

  if (geteuid () != 0 || uid == 0)
    return TRUE;
  user = getpwuid (uid);
  gid = user != NULL ? user->pw_gid : (gid_t) uid;
  if (setgroups (0, NULL) == 0 && setresgid (gid, gid, gid) == 0 && setresuid (uid, uid, uid) == 0)
    return TRUE;
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_FAILED, _("cannot go on as user id %u: %s"), uid, g_strerror (errno));
  return FALSE;
}

gboolean
sudo_check_folder (const char *folder, GError **error)
{
  struct stat info;

  if (geteuid () != 0 || stat (folder, &info) != 0 || info.st_uid == 0)
    return TRUE;
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED, _("\"%s\" belongs to user id %u, and root keeps nothing there"), folder, (guint) info.st_uid);
  if (error != NULL)
    pilot_error_set_hint (*error, "%s", _("run it without sudo, or for root's own daemon with sudo -H"));
  return FALSE;
}
