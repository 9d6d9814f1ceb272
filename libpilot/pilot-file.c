/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilot-file.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pilot-error.h"

static gboolean
fail_errno (GError **error,
            const gchar *what,
            const gchar *path)
{
  const gint saved = errno;

  g_set_error (error, G_FILE_ERROR, (gint) g_file_error_from_errno (saved), "cannot %s \"%s\": %s", what, path,
               g_strerror (saved));
  return FALSE;
}

static gboolean
write_all (gint fd,
           const guint8 *data,
           gsize length)
{
  while (length > 0) {
    const gssize written = write (fd, data, length);

    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      return FALSE;
    data += written;
    length -= (gsize) written;
  }
  return TRUE;
}

/* The new contents, on disk, under the temporary name. */
static gboolean
write_temporary (gchar *temporary,
                 gconstpointer data,
                 gsize length,
                 gint mode,
                 GError **error)
{
  gint fd = g_mkstemp_full (temporary, O_WRONLY | O_CLOEXEC, 0600);
  gboolean good;
  gint saved;

  if (fd < 0)
    return fail_errno (error, "create", temporary);
  good = write_all (fd, data, length) && fchmod (fd, (mode_t) mode) == 0 && fsync (fd) == 0;
  saved = errno;
  /* Some file systems say only here that there was no space. */
  if (close (fd) != 0 && good) {
    good = FALSE;
    saved = errno;
  }
  if (good)
    return TRUE;
  g_unlink (temporary);
  errno = saved;
  return fail_errno (error, "write", temporary);
}

static gboolean
sync_folder (const gchar *folder,
             GError **error)
{
  gint fd = open (folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  gboolean good;
  gint saved;

  if (fd < 0)
    return fail_errno (error, "open the folder", folder);
  /* EINVAL: a file system that cannot sync a folder has nothing to wait for. */
  good = fsync (fd) == 0 || errno == EINVAL;
  saved = errno;
  close (fd);
  errno = saved;
  return good || fail_errno (error, "write the folder", folder);
}

gboolean
pilot_file_replace (const gchar *path,
                    gconstpointer data,
                    gsize length,
                    gint mode,
                    GError **error)
{
  g_autofree gchar *target = NULL;
  g_autofree gchar *folder = NULL;
  g_autofree gchar *temporary = NULL;
  char *resolved;

  g_return_val_if_fail (path != NULL, FALSE);
  g_return_val_if_fail (data != NULL || length == 0, FALSE);

  resolved = realpath (path, NULL);
  if (resolved == NULL && errno != ENOENT)
    return fail_errno (error, "find", path);
  target = g_strdup (resolved != NULL ? resolved : path);
  free (resolved);

  folder = g_path_get_dirname (target);
  temporary = g_strconcat (target, ".XXXXXX", NULL);
  if (!write_temporary (temporary, data, length, mode, error))
    return FALSE;
  if (g_rename (temporary, target) != 0) {
    const gint saved = errno;

    g_unlink (temporary);
    errno = saved;
    return fail_errno (error, "replace", target);
  }
  return sync_folder (folder, error);
}

static gboolean
check_file (gint fd,
            const gchar *path,
            gsize max_length,
            gint forbidden_mode_bits,
            GError **error)
{
  struct stat info;

  if (fstat (fd, &info) != 0)
    return fail_errno (error, "look at", path);
  if (!S_ISREG (info.st_mode)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "\"%s\" is not a regular file", path);
    return FALSE;
  }
  if (((gint) info.st_mode & forbidden_mode_bits) != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED,
                 "\"%s\" is open to others (mode %04o), run: chmod %04o %s", path, (guint) info.st_mode & 07777,
                 (guint) info.st_mode & 07777 & ~(guint) forbidden_mode_bits, path);
    return FALSE;
  }
  if (info.st_size > 0 && (guint64) info.st_size > max_length) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "\"%s\" is longer than %" G_GSIZE_FORMAT " bytes", path,
                 max_length);
    return FALSE;
  }
  return TRUE;
}

/* Reads on until the end, not until the size seen before: the file may grow meanwhile. */
static gboolean
read_all (gint fd,
          const gchar *path,
          gsize max_length,
          gchar **data,
          gsize *length,
          GError **error)
{
  g_autoptr (GByteArray) bytes = g_byte_array_new ();
  guint8 block[16 * 1024];

  for (;;) {
    const gssize n = read (fd, block, sizeof block);

    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return fail_errno (error, "read", path);
    if (n == 0)
      break;
    if ((gsize) n > max_length - bytes->len) {
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "\"%s\" is longer than %" G_GSIZE_FORMAT " bytes", path,
                   max_length);
      return FALSE;
    }
    g_byte_array_append (bytes, block, (guint) n);
  }
  *length = bytes->len;
  g_byte_array_append (bytes, (const guint8 *) "", 1);
  *data = (gchar *) g_byte_array_free (g_steal_pointer (&bytes), FALSE);
  return TRUE;
}

gboolean
pilot_file_load (const gchar *path,
                 gsize max_length,
                 gint forbidden_mode_bits,
                 gchar **data,
                 gsize *length,
                 GError **error)
{
  gboolean good;
  gsize size;
  gint fd;

  g_return_val_if_fail (path != NULL && data != NULL, FALSE);

  /* Not blocking: opening a pipe must not hang the daemon. */
  fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0)
    return fail_errno (error, "open", path);
  good = check_file (fd, path, max_length, forbidden_mode_bits, error) &&
         read_all (fd, path, max_length, data, &size, error);
  close (fd);
  if (good && length != NULL)
    *length = size;
  return good;
}
