/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/output.h"

#include <json-glib/json-glib.h>

int
output_ok (Invocation *invocation, GVariant *data)
{
  g_autoptr (GVariant) owned = g_variant_ref_sink (data);
  g_autoptr (JsonNode) root = NULL;
  g_autofree char *text = NULL;
  JsonObject *envelope;

  if (!invocation->json)
    return EXIT_OK;
  envelope = json_object_new ();
  json_object_set_string_member (envelope, "status", "ok");
  json_object_set_member (envelope, "data", json_gvariant_serialize (owned));
  root = json_node_new (JSON_NODE_OBJECT);
  json_node_take_object (root, envelope);
  text = json_to_string (root, FALSE);
  g_print ("%s\n", text);
  return EXIT_OK;
}

static void
print_json_error (const char *code, const char *message, const char *hint)
{
  g_autoptr (JsonNode) root = json_node_new (JSON_NODE_OBJECT);
  JsonObject *envelope = json_object_new ();
  g_autofree char *text = NULL;

  json_object_set_string_member (envelope, "status", "error");
  json_object_set_string_member (envelope, "code", code);
  json_object_set_string_member (envelope, "message", message);
  json_object_set_string_member (envelope, "error", message);
  if (hint != NULL)
    json_object_set_string_member (envelope, "hint", hint);
  json_node_take_object (root, envelope);
  text = json_to_string (root, FALSE);
  g_printerr ("%s\n", text);
}

int
output_error (Invocation *invocation, GError *error)
{
  g_autoptr (GError) owned = error;
  g_autofree char *message = NULL;
  const char *hint, *code;

  /* Our own errors come over D-Bus with their names, so that domain and code are what the daemon set. */
  code = pilot_error_code_to_string (pilot_error_code (error));
  hint = pilot_error_get_hint (error);
  message = pilot_error_dup_message (error);
  if (invocation->json)
    print_json_error (code, message, hint);
  else {
    g_printerr (_("error: %s\n"), message);
    if (hint != NULL)
      g_printerr (_("hint:  %s\n"), hint);
  }
  return EXIT_FAILED;
}

int
output_fail (Invocation *invocation, PilotError code, const char *hint, const char *format, ...)
{
  GError *error;
  va_list arguments;

  va_start (arguments, format);
  error = g_error_new_valist (PILOT_ERROR, code, format, arguments);
  va_end (arguments);
  if (hint != NULL)
    pilot_error_set_hint (error, "%s", hint);
  return output_error (invocation, error);
}

char *
output_age (gint64 seconds)
{
  if (seconds < 60)
    return g_strdup_printf ("%" G_GINT64_FORMAT "s", MAX (seconds, 0));
  if (seconds < 3600)
    return g_strdup_printf ("%" G_GINT64_FORMAT "m%" G_GINT64_FORMAT "s", seconds / 60, seconds % 60);
  if (seconds < 86400)
    return g_strdup_printf ("%" G_GINT64_FORMAT "h%" G_GINT64_FORMAT "m", seconds / 3600, seconds % 3600 / 60);
  return g_strdup_printf ("%" G_GINT64_FORMAT "d%" G_GINT64_FORMAT "h", seconds / 86400, seconds % 86400 / 3600);
}

char *
output_bytes (guint64 bytes)
{
  static const char *const units[] = { "KB", "MB", "GB", "TB" };
  double value = bytes;
  guint unit = 0;

  if (bytes < 1024)
    return g_strdup_printf ("%" G_GUINT64_FORMAT " B", bytes);
  for (value /= 1024; value >= 1024 && unit < G_N_ELEMENTS (units) - 1; unit++)
    value /= 1024;
  return g_strdup_printf ("%.1f %s", value, units[unit]);
}

char *
output_clean (const char *text)
{
  GString *clean = g_string_new (NULL);

  for (const char *p = text; *p != '\0'; p = g_utf8_next_char (p)) {
    gunichar c = g_utf8_get_char (p);

    if (g_unichar_isprint (c))
      g_string_append_unichar (clean, c);
    else
      g_string_append_printf (clean, "\\x%02x", c);
  }
  return g_string_free (clean, FALSE);
}
