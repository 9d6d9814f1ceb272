/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/core/config.h"
#include "protocol/json.h"

static GLogLevelFlags threshold = G_LOG_LEVEL_INFO;
static gboolean as_json;

static const char *
level_name (GLogLevelFlags level)
{
  switch (level & G_LOG_LEVEL_MASK) {
  case G_LOG_LEVEL_ERROR:
  case G_LOG_LEVEL_CRITICAL:
    return "error";
  case G_LOG_LEVEL_WARNING:
    return "warn";
  case G_LOG_LEVEL_DEBUG:
    return "debug";
  default:
    return "info";
  }
}

static char *
format_line (GLogLevelFlags level, const char *domain, const char *message, gssize length)
{
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();
  g_autofree char *time = g_date_time_format (now, "%Y-%m-%dT%H:%M:%S");
  g_autofree char *stamp = g_strdup_printf ("%s.%03dZ", time, g_date_time_get_microsecond (now) / 1000);
  GString *line = g_string_new (NULL);

  if (!as_json) {
    g_autofree char *text = length < 0 ? g_strdup (message) : g_strndup (message, (gsize) length);

    /* One entry, one line: a newline in outside text must not look like an entry of its own. */
    g_string_printf (line, "%s %s %s: %s\n", stamp, level_name (level), domain, g_strdelimit (text, "\n\r\x1f", ' '));
    return g_string_free (line, FALSE);
  }
  g_string_printf (line, "{\"time\":\"%s\",\"level\":\"%s\",\"domain\":\"%s\",\"msg\":", stamp, level_name (level), domain);
  pilot_json_append_string (line, message, length);
  g_string_append (line, "}\n");
  return g_string_free (line, FALSE);
}

static GLogWriterOutput
write_log (GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer user_data)
{
  const char *domain = "pilotd", *message = "";
  gssize length = 0;
  g_autofree char *line = NULL;

  if ((level & G_LOG_LEVEL_MASK) > threshold)
    return G_LOG_WRITER_HANDLED;
  if (g_log_writer_is_journald (STDERR_FILENO) && g_log_writer_journald (level, fields, n_fields, NULL) == G_LOG_WRITER_HANDLED)
    return G_LOG_WRITER_HANDLED;
  for (gsize i = 0; i < n_fields; i++) {
    if (strcmp (fields[i].key, "GLIB_DOMAIN") == 0)
      domain = fields[i].value;
    else if (strcmp (fields[i].key, "MESSAGE") == 0) {
      message = fields[i].value;
      length = fields[i].length;
    }
  }
  /* What libraries say to their own developers is not for our log. */
  if ((level & G_LOG_LEVEL_DEBUG) && g_str_has_prefix (domain, "GLib"))
    return G_LOG_WRITER_HANDLED;
  line = format_line (level, domain, message, length);
  fputs (line, stderr);
  fflush (stderr);
  return G_LOG_WRITER_HANDLED;
}

gboolean
pilot_log_init (const char *level, const char *format, GError **error)
{
  static const struct {
    const char *name;
    GLogLevelFlags level;
  } levels[] = {
    { "debug", G_LOG_LEVEL_DEBUG },
    { "info", G_LOG_LEVEL_INFO },
    { "warn", G_LOG_LEVEL_WARNING },
    { "error", G_LOG_LEVEL_CRITICAL },
  };
  gboolean found = FALSE;

  for (guint i = 0; i < G_N_ELEMENTS (levels); i++) {
    if (strcmp (levels[i].name, level) != 0)
      continue;
    threshold = levels[i].level;
    found = TRUE;
  }
  as_json = strcmp (format, "json") == 0;
  if (!found)
    return pilot_config_refuse ("log_level", level, "debug, info, warn or error", error);
  if (!as_json && strcmp (format, "text") != 0)
    return pilot_config_refuse ("log_format", format, "text or json", error);
  g_log_set_writer_func (write_log, NULL, NULL);
  return TRUE;
}
