/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/mailbox.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pilotctl/config-file.h"
#include "pilotctl/duration.h"
#include "pilotctl/output.h"
#include "pilotctl/sudo.h"

/* What a daemon, or a home, says of where a user's messages are, root would have to believe. The user himself may be sent to whatever is his. */
static gboolean
become_owner (Client *client, GError **error)
{
  guint32 uid;

  if (client != NULL ? !client_get_uid (client, &uid, error) : !sudo_get_user (&uid))
    return client == NULL;
  return sudo_become (uid, error);
}

char *
mailbox_find (Invocation *invocation, Client **client, GError **error)
{
  g_autoptr (GError) local = NULL;
  g_autoptr (GVariant) folder = NULL;

  *client = client_new (invocation, &local);
  /* A socket that was named and does not answer is a mistake; no daemon at all is none. */
  if (*client == NULL && (invocation->bus != NULL || !g_error_matches (local, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING))) {
    g_propagate_error (error, g_steal_pointer (&local));
    return NULL;
  }
  if (*client != NULL) {
    folder = client_get_property (*client, "Messages", "Folder", error);
    if (folder == NULL)
      return NULL;
  }
  if (!become_owner (*client, error))
    return NULL;
  return folder != NULL ? g_variant_dup_string (folder, NULL) : config_file_folder ();
}

gboolean
mailbox_parse_time (const char *text, gint64 *time, GError **error)
{
  const double seconds = duration_parse (text);
  g_autoptr (GTimeZone) utc = g_time_zone_new_utc ();
  g_autoptr (GDateTime) date = NULL;

  if (seconds > 0 && seconds < 1e10) {
    *time = g_get_real_time () - (gint64) (seconds * G_USEC_PER_SEC);
    return TRUE;
  }
  date = g_date_time_new_from_iso8601 (text, utc);
  if (date == NULL) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, _("\"%s\" is no time: give one such as 5m or 24h, or a date such as 2026-11-25T12:00:00Z"), text);
    return FALSE;
  }
  *time = g_date_time_to_unix (date) * G_USEC_PER_SEC + g_date_time_get_microsecond (date);
  return TRUE;
}

void
mailbox_print_text (gconstpointer data, gsize length)
{
  g_autofree char *text = NULL;
  g_auto (GStrv) lines = NULL;

  if (!g_utf8_validate_len (data, length, NULL)) {
    g_print (_("%u bytes that are no text: pilotctl inbox read ID >FILE\n"), (guint) length);
    return;
  }
  text = g_strndup (data, length);
  lines = g_strsplit (text, "\n", -1);
  for (guint i = 0; lines[i] != NULL && (lines[i + 1] != NULL || *lines[i] != '\0'); i++) {
    g_autofree char *clean = output_clean (lines[i]);

    g_print ("%s\n", clean);
  }
}

void
mailbox_print_data (gconstpointer data, gsize length)
{
  if (isatty (STDOUT_FILENO)) {
    mailbox_print_text (data, length);
    return;
  }
  fflush (stdout);
  fwrite (data, 1, length, stdout);
  fflush (stdout);
}
