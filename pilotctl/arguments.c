/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/arguments.h"

#include "pilotctl/command.h"
#include "pilotctl/duration.h"

gboolean
port_parse (const char *text, guint16 *port, GError **error)
{
  guint64 value;

  if (!g_ascii_string_to_unsigned (text, 10, 1, 65535, &value, NULL)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, _("\"%s\" is no port: give a number from 1 to 65535"), text);
    return FALSE;
  }
  *port = (guint16) value;
  return TRUE;
}

gboolean
seconds_parse (const char *text, double standard, double *seconds, GError **error)
{
  *seconds = text != NULL ? duration_parse (text) : standard;
  /* "0" is a time too, where it means for ever. */
  if (*seconds > 0 || text == NULL || (standard == 0 && g_str_equal (text, "0")))
    return TRUE;
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, _("\"%s\" is no time: give one such as 500ms, 30s or 2m"), text);
  return FALSE;
}

gint64
deadline_after (double seconds)
{
  return seconds > 0 ? g_get_monotonic_time () + (gint64) (seconds * G_USEC_PER_SEC) : G_MAXINT64;
}
