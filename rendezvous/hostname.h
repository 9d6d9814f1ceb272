/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Host names and tags (registry notes, 7.7 and 7.8). Errors are PILOT_ERROR_INVALID_ARGUMENT with the text of the notes,
 * without the prefix "invalid hostname: ". */
gboolean pilot_hostname_check (const gchar *hostname,
                               GError **error);
/* (transfer full): without leading '#', each once; NULL-terminated, possibly empty. NULL on error. */
gchar **pilot_tags_normalize (const gchar *const *tags,
                              GError **error);

G_END_DECLS
