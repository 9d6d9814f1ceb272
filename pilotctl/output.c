/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/output.h"

#include <json-glib/json-glib.h>
#include <stdio.h>
#include <string.h>

/* What a command forgot to clean. A character that is none for the eye is written as JSON writes it, so that a JSON line stays what it was. */
static void
append_visible (GString *text, gunichar c)
{
  if (c == '\n' || c == '\t' || g_unichar_isprint (c))
    g_string_append_unichar (text, c);
  else if (c <= 0xffff)
    g_string_append_printf (text, "\\u%04x", c);
  else
    g_string_append_printf (text, "\\u%04x\\u%04x", 0xd7c0 + (c >> 10), 0xdc00 + (c & 0x3ff));
}

/* What our own texts, and GLib's, have beyond ASCII, for terminals that have not. */
static const struct {
  gunichar character;
  const char *plain;
} stand_ins[] = {
  { 0x00b7, "-" },   /* · */
  { 0x2013, "-" },   /* – */
  { 0x2014, "-" },   /* — */
  { 0x2018, "'" },   /* ‘ */
  { 0x2019, "'" },   /* ’ */
  { 0x201c, "\"" },  /* “ */
  { 0x201d, "\"" },  /* ” */
  { 0x2026, "..." }, /* … */
  { 0x2192, "->" },  /* → */
  { 0x25cf, "*" },   /* ● */
};

static void
append_plain (GString *text, gunichar c)
{
  for (guint i = 0; i < G_N_ELEMENTS (stand_ins); i++)
    if (stand_ins[i].character == c) {
      g_string_append (text, stand_ins[i].plain);
      return;
    }
  append_visible (text, c);
}

static void
print_to (FILE *file, const char *text)
{
  g_autofree char *valid = g_utf8_make_valid (text, -1), *converted = NULL;
  GString *visible = g_string_new (NULL);
  const char *charset;
  const gboolean is_utf8 = g_get_charset (&charset);

  for (const char *p = valid; *p != '\0'; p = g_utf8_next_char (p))
    (is_utf8 ? append_visible : append_plain) (visible, g_utf8_get_char (p));
  if (!is_utf8)
    converted = g_convert_with_fallback (visible->str, (gssize) visible->len, charset, "UTF-8", "?", NULL, NULL, NULL);
  fputs (converted != NULL ? converted : visible->str, file);
  fflush (file);
  g_string_free (visible, TRUE);
}

static void
print_out (const char *text)
{
  print_to (stdout, text);
}

static void
print_error (const char *text)
{
  print_to (stderr, text);
}

void
output_guard_terminal (void)
{
  g_set_print_handler (print_out);
  g_set_printerr_handler (print_error);
}

static int
compare_names (gconstpointer a, gconstpointer b)
{
  return strcmp (a, b);
}

/* The same document with the members of every object in the order of their names, so that equal results are equal texts. */
static JsonNode *
sorted (JsonNode *node)
{
  if (JSON_NODE_HOLDS_OBJECT (node)) {
    JsonObject *object = json_node_get_object (node), *copy = json_object_new ();
    g_autoptr (GList) names = g_list_sort (json_object_get_members (object), compare_names);
    JsonNode *result = json_node_new (JSON_NODE_OBJECT);

    for (GList *link = names; link != NULL; link = link->next)
      json_object_set_member (copy, link->data, sorted (json_object_get_member (object, link->data)));
    json_node_take_object (result, copy);
    return result;
  }
  if (JSON_NODE_HOLDS_ARRAY (node)) {
    JsonArray *array = json_node_get_array (node), *copy = json_array_new ();
    JsonNode *result = json_node_new (JSON_NODE_ARRAY);

    for (guint i = 0; i < json_array_get_length (array); i++)
      json_array_add_element (copy, sorted (json_array_get_element (array, i)));
    json_node_take_array (result, copy);
    return result;
  }
  return json_node_copy (node);
}

/* (transfer full): one line, the same for equal documents. JSON lets U+007F to U+009F stand as they are; terminals obey some of them, so they are written as escapes. */
static char *
to_text (JsonNode *node)
{
  g_autoptr (JsonNode) ordered = sorted (node);
  g_autofree char *text = json_to_string (ordered, FALSE);
  GString *safe = g_string_sized_new (strlen (text));

  for (const char *p = text; *p != '\0'; p = g_utf8_next_char (p)) {
    gunichar c = g_utf8_get_char (p);

    if (c >= 0x7f && c < 0xa0)
      g_string_append_printf (safe, "\\u%04x", c);
    else
      g_string_append_len (safe, p, g_utf8_next_char (p) - p);
  }
  return g_string_free (safe, FALSE);
}

/* JSON is UTF-8 whatever the locale says (RFC 8259): g_print() would put "?" in the place of what a job of cron, which has none, cannot show. */
static void
print_line (JsonObject *envelope, FILE *file)
{
  g_autoptr (JsonNode) root = json_node_new (JSON_NODE_OBJECT);
  g_autofree char *text = NULL;

  json_node_take_object (root, envelope);
  text = to_text (root);
  fprintf (file, "%s\n", text);
  fflush (file);
}

int
output_ok (Invocation *invocation, GVariant *data)
{
  g_autoptr (GVariant) owned = g_variant_ref_sink (data);
  JsonObject *envelope;

  if (!invocation->json)
    return EXIT_OK;
  envelope = json_object_new ();
  json_object_set_string_member (envelope, "status", "ok");
  json_object_set_member (envelope, "data", json_gvariant_serialize (owned));
  print_line (envelope, stdout);
  return EXIT_OK;
}

static void
print_json_error (const char *code, const char *message, const char *hint)
{
  JsonObject *envelope = json_object_new ();

  json_object_set_string_member (envelope, "status", "error");
  json_object_set_string_member (envelope, "code", code);
  json_object_set_string_member (envelope, "message", message);
  json_object_set_string_member (envelope, "error", message);
  if (hint != NULL)
    json_object_set_string_member (envelope, "hint", hint);
  print_line (envelope, stderr);
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
    /* The daemon quotes what others have said; a terminal is not obeyed by what it forgot. */
    g_autofree char *clean = output_clean (message), *clean_hint = output_clean (hint != NULL ? hint : "");

    g_printerr (_("error: %s\n"), clean);
    if (hint != NULL)
      g_printerr (_("hint:  %s\n"), clean_hint);
  }
  return EXIT_FAILED;
}

char *
output_message (const GError *error)
{
  g_autofree char *message = pilot_error_dup_message (error);

  return output_clean (message);
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
  g_autofree char *valid = g_utf8_make_valid (text, -1);
  GString *clean = g_string_new (NULL);

  for (const char *p = valid; *p != '\0'; p = g_utf8_next_char (p)) {
    gunichar c = g_utf8_get_char (p);

    if (g_unichar_isprint (c))
      g_string_append_unichar (clean, c);
    else
      g_string_append_printf (clean, "\\x%02x", c);
  }
  return g_string_free (clean, FALSE);
}

void
output_insert_bytes (GVariantDict *dict, const char *name, const void *data, gsize length)
{
  const char *bytes = length > 0 ? data : "";
  g_autofree char *text = g_utf8_make_valid (bytes, (gssize) length);
  gboolean exact = g_utf8_validate_len (bytes, length, NULL);

  g_variant_dict_insert (dict, name, "s", text);
  if (!exact) {
    g_autofree char *key = g_strconcat (name, "_b64", NULL);
    g_autofree char *encoded = g_base64_encode (data, length);

    g_variant_dict_insert (dict, key, "s", encoded);
  }
}

gboolean
output_line (const void *data, gsize length)
{
  const char *text = data;

  if (fwrite (data, 1, length, stdout) != length || (length > 0 && text[length - 1] != '\n' && putchar ('\n') == EOF))
    return FALSE;
  return fflush (stdout) == 0;
}

gboolean
output_object (GVariant *data)
{
  g_autoptr (GVariant) owned = g_variant_ref_sink (data);
  g_autoptr (JsonNode) node = json_gvariant_serialize (owned);
  g_autofree char *text = to_text (node);

  return output_line (text, strlen (text));
}

GPtrArray *
output_table_new (void)
{
  return g_ptr_array_new_with_free_func ((GDestroyNotify) g_ptr_array_unref);
}

void
output_table_add (GPtrArray *table, ...)
{
  GPtrArray *row = g_ptr_array_new_with_free_func (g_free);
  va_list cells;
  const char *cell;

  va_start (cells, table);
  while ((cell = va_arg (cells, const char *)) != NULL)
    g_ptr_array_add (row, g_strdup (cell));
  va_end (cells);
  g_ptr_array_add (table, row);
}

static glong
column_width (GPtrArray *table, guint column)
{
  glong width = 0;

  for (guint i = 0; i < table->len; i++) {
    GPtrArray *row = table->pdata[i];

    if (column < row->len)
      width = MAX (width, g_utf8_strlen (row->pdata[column], -1));
  }
  return width;
}

void
output_table_print (GPtrArray *table)
{
  g_auto (GStrv) lines = output_table_lines (table);

  for (guint i = 0; lines[i] != NULL; i++)
    g_print ("%s\n", lines[i]);
}

char **
output_table_lines (GPtrArray *table)
{
  char **lines = g_new0 (char *, table->len + 1);

  for (guint i = 0; i < table->len; i++) {
    GPtrArray *row = table->pdata[i];
    GString *line = g_string_new (NULL);

    for (guint column = 0; column < row->len; column++) {
      glong width = column_width (table, column);

      if (width == 0)
        continue;
      g_string_append_printf (line, "%s%s%*s", line->len > 0 ? "  " : "", (char *) row->pdata[column],
                              (int) (width - g_utf8_strlen (row->pdata[column], -1)), "");
    }
    lines[i] = g_strchomp (g_string_free (line, FALSE));
  }
  return lines;
}
