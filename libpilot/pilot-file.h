/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

#include "pilot-macros.h"

G_BEGIN_DECLS

/**
 * pilot_file_replace:
 * @path: the file; symbolic links are followed, the file they lead to is replaced
 * @data: the new contents
 * @length: their length in bytes
 * @mode: permission bits of the new file, umask disregarded
 *
 * Replaces a file as a whole: an exclusively created file with an unpredictable name in the same folder, write, fsync, rename,
 * fsync of the folder. Whatever fails, a full disk included, the old file stays whole and no temporary file is left.
 * If the folder itself cannot be written to disk after the rename, that is reported although the new file is in place.
 *
 * Returns: %TRUE on success, else %FALSE with an error of the domain G_FILE_ERROR
 */
PILOT_API gboolean pilot_file_replace (const gchar *path,
                                       gconstpointer data,
                                       gsize length,
                                       gint mode,
                                       GError **error);

/**
 * pilot_file_load:
 * @path: the file
 * @max_length: the longest file that is accepted, in bytes
 * @forbidden_mode_bits: permission bits that must not be set (077 for secrets), 0 for no check
 * @data: (out) (transfer full): the contents, with a zero byte behind them that @length does not count
 * @length: (out) (nullable): their length in bytes
 *
 * Reads a regular file. Wrong permissions are PILOT_ERROR_PERMISSION_DENIED and say how to repair them, a file that is too long
 * or not a regular one PILOT_ERROR_CORRUPT, anything else (a missing file: G_FILE_ERROR_NOENT) of the domain G_FILE_ERROR.
 *
 * Returns: %TRUE on success
 */
PILOT_API gboolean pilot_file_load (const gchar *path,
                                    gsize max_length,
                                    gint forbidden_mode_bits,
                                    gchar **data,
                                    gsize *length,
                                    GError **error);

G_END_DECLS
