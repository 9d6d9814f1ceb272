/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/hostname.h"

#include <string.h>

#include "libpilot/pilot-error.h"
#include "rendezvous/directory.h"

/* ^[a-z0-9]([a-z0-9-]*[a-z0-9])?$ */
static gboolean
is_label (const gchar *text)
{
  gsize length = strlen (text);

  for (gsize i = 0; i < length; i++)
    if (!g_ascii_islower (text[i]) && !g_ascii_isdigit (text[i]) && (text[i] != '-' || i == 0 || i == length - 1))
      return FALSE;
  return length > 0;
}

gboolean
pilot_hostname_check (const gchar *hostname,
                      GError **error)
{
  static const gchar *const reserved[] = { "localhost", "backbone", "broadcast", NULL };

  if (strlen (hostname) > 63) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "hostname too long (max 63 chars)");
    return FALSE;
  }
  if (!is_label (hostname)) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
                         "hostname must be lowercase alphanumeric with hyphens, start/end with alphanumeric");
    return FALSE;
  }
  if (g_strv_contains (reserved, hostname)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "hostname \"%s\" is reserved", hostname);
    return FALSE;
  }
  return TRUE;
}

static gboolean
tag_check (const gchar *tag,
           GError **error)
{
  g_autofree gchar *quoted = NULL;

  if (*tag == '\0') {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "empty tag not allowed");
    return FALSE;
  }
  if (strlen (tag) <= 32 && is_label (tag))
    return TRUE;
  quoted = pilot_error_quote (tag, -1);
  if (strlen (tag) > 32)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "tag \"%s\" too long (max 32 chars)", quoted);
  else
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "tag \"%s\" must be lowercase alphanumeric with hyphens", quoted);
  return FALSE;
}

gchar **
pilot_tags_normalize (const gchar *const *tags,
                      GError **error)
{
  g_autoptr (GPtrArray) kept = g_ptr_array_new_with_free_func (g_free);

  for (guint i = 0; tags[i] != NULL; i++) {
    const gchar *tag = tags[i][0] == '#' ? tags[i] + 1 : tags[i];

    if (!tag_check (tag, error))
      return NULL;
    if (!g_ptr_array_find_with_equal_func (kept, tag, g_str_equal, NULL))
      g_ptr_array_add (kept, g_strdup (tag));
  }
  if (kept->len > PILOT_DIRECTORY_MAX_TAGS) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "too many tags (max %d)", PILOT_DIRECTORY_MAX_TAGS);
    return NULL;
  }
  g_ptr_array_add (kept, NULL);
  return (gchar **) g_ptr_array_free (g_steal_pointer (&kept), FALSE);
}
