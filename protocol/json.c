/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/json.h"

#include <math.h>
#include <string.h>

#include "libpilot/pilot-error.h"
#include "libpilot/pilot-json.h"
#include "protocol/crypto.h"

JsonObject *
pilot_json_parse_object (const gchar *data, gsize length, gsize max_length, GError **error)
{
  g_autoptr (JsonParser) parser = NULL;
  g_autoptr (GError) local = NULL;
  JsonNode *root;

  if (!pilot_json_scan (data, length, max_length, PILOT_JSON_MAX_DEPTH, error))
    return NULL;
  parser = json_parser_new_immutable ();
  if (!json_parser_load_from_data (parser, data, (gssize) length, &local)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "bad JSON: %s", local->message);
    return NULL;
  }
  root = json_parser_get_root (parser);
  if (root == NULL || JSON_NODE_HOLDS_NULL (root))
    return json_object_new ();
  if (!JSON_NODE_HOLDS_OBJECT (root)) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "bad JSON: not an object");
    return NULL;
  }
  return json_object_ref (json_node_get_object (root));
}

static JsonNode *
find_value (JsonObject *object, const gchar *name, GType type)
{
  JsonNode *node = json_object_get_member (object, name);

  if (node == NULL || !JSON_NODE_HOLDS_VALUE (node) || json_node_get_value_type (node) != type)
    return NULL;
  return node;
}

gboolean
pilot_json_read_int64 (JsonObject *object, const gchar *name, gint64 *value)
{
  JsonNode *node = find_value (object, name, G_TYPE_INT64);
  gdouble number;

  if (node != NULL) {
    *value = json_node_get_int (node);
    return TRUE;
  }
  node = find_value (object, name, G_TYPE_DOUBLE);
  if (node == NULL)
    return FALSE;
  number = trunc (json_node_get_double (node));
  /* 2^63 is a double, G_MAXINT64 is not. */
  if (!(number >= -0x1p63 && number < 0x1p63))
    return FALSE;
  *value = (gint64) number;
  return TRUE;
}

gboolean
pilot_json_read_uint32 (JsonObject *object, const gchar *name, guint32 *value)
{
  gint64 number;

  if (!pilot_json_read_int64 (object, name, &number) || number < 0 || number > G_MAXUINT32)
    return FALSE;
  *value = (guint32) number;
  return TRUE;
}

gboolean
pilot_json_read_boolean (JsonObject *object, const gchar *name, gboolean *value)
{
  JsonNode *node = find_value (object, name, G_TYPE_BOOLEAN);

  if (node == NULL)
    return FALSE;
  *value = json_node_get_boolean (node);
  return TRUE;
}

gboolean
pilot_json_read_string (JsonObject *object, const gchar *name, const gchar **value)
{
  JsonNode *node = find_value (object, name, G_TYPE_STRING);

  if (node == NULL || json_node_get_string (node) == NULL)
    return FALSE;
  *value = json_node_get_string (node);
  return TRUE;
}

gboolean
pilot_json_read_base64 (JsonObject *object, const gchar *name, guint8 *data, gsize size)
{
  const gchar *text;

  return pilot_json_read_string (object, name, &text) && pilot_base64_decode (text, -1, data, size);
}

guint32
pilot_json_get_uint32 (JsonObject *object, const gchar *name)
{
  guint32 value = 0;

  pilot_json_read_uint32 (object, name, &value);
  return value;
}

guint16
pilot_json_get_uint16 (JsonObject *object, const gchar *name)
{
  guint32 value = pilot_json_get_uint32 (object, name);

  return value > G_MAXUINT16 ? 0 : (guint16) value;
}

gint64
pilot_json_get_int64 (JsonObject *object, const gchar *name)
{
  gint64 value = 0;

  pilot_json_read_int64 (object, name, &value);
  return value;
}

gboolean
pilot_json_get_boolean (JsonObject *object, const gchar *name)
{
  gboolean value = FALSE;

  pilot_json_read_boolean (object, name, &value);
  return value;
}

const gchar *
pilot_json_get_string (JsonObject *object, const gchar *name)
{
  const gchar *value = "";

  pilot_json_read_string (object, name, &value);
  return value;
}

JsonArray *
pilot_json_get_array (JsonObject *object, const gchar *name)
{
  JsonNode *node = json_object_get_member (object, name);

  return node != NULL && JSON_NODE_HOLDS_ARRAY (node) ? json_node_get_array (node) : NULL;
}

JsonObject *
pilot_json_get_object (JsonObject *object, const gchar *name)
{
  JsonNode *node = json_object_get_member (object, name);

  return node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
}

JsonObject *
pilot_json_array_get_object (JsonArray *array, guint index)
{
  JsonNode *node = index < json_array_get_length (array) ? json_array_get_element (array, index) : NULL;

  return node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
}

const gchar *
pilot_json_array_get_string (JsonArray *array, guint index)
{
  JsonNode *node = index < json_array_get_length (array) ? json_array_get_element (array, index) : NULL;

  if (node == NULL || !JSON_NODE_HOLDS_VALUE (node) || json_node_get_value_type (node) != G_TYPE_STRING)
    return NULL;
  return json_node_get_string (node);
}

static void
append_ascii (GString *out, gchar c)
{
  switch (c) {
  case '"':
  case '\\':
    g_string_append_c (out, '\\');
    g_string_append_c (out, c);
    break;
  case '\n':
    g_string_append (out, "\\n");
    break;
  case '\r':
    g_string_append (out, "\\r");
    break;
  case '\t':
    g_string_append (out, "\\t");
    break;
  /* \b and \f are written short since Go 1.22; the long form reads the same everywhere. */
  default:
    if ((guchar) c < 0x20 || c == '<' || c == '>' || c == '&')
      g_string_append_printf (out, "\\u%04x", (guint) c);
    else
      g_string_append_c (out, c);
  }
}

void
pilot_json_append_string (GString *out, const gchar *text, gssize length)
{
  const gchar *p = text;
  const gchar *end = text + (length < 0 ? strlen (text) : (gsize) length);

  g_string_append_c (out, '"');
  while (p < end) {
    gunichar c;

    if ((guchar) *p < 0x80) {
      append_ascii (out, *p++);
      continue;
    }
    c = g_utf8_get_char_validated (p, end - p);
    if (c == (gunichar) -1 || c == (gunichar) -2) {
      g_string_append (out, "\\ufffd");
      p++;
      continue;
    }
    if (c == 0x2028 || c == 0x2029)
      g_string_append_printf (out, "\\u%04x", c);
    else
      g_string_append_unichar (out, c);
    p = g_utf8_next_char (p);
  }
  g_string_append_c (out, '"');
}

static void append_node (GString *out, JsonNode *node);

static void
append_object (GString *out, JsonObject *object)
{
  g_autoptr (GList) names = g_list_sort (json_object_get_members (object), (GCompareFunc) strcmp);

  g_string_append_c (out, '{');
  for (GList *l = names; l != NULL; l = l->next) {
    if (l != names)
      g_string_append_c (out, ',');
    pilot_json_append_string (out, l->data, -1);
    g_string_append_c (out, ':');
    append_node (out, json_object_get_member (object, l->data));
  }
  g_string_append_c (out, '}');
}

static void
append_array (GString *out, JsonArray *array)
{
  g_string_append_c (out, '[');
  for (guint i = 0; i < json_array_get_length (array); i++) {
    if (i > 0)
      g_string_append_c (out, ',');
    append_node (out, json_array_get_element (array, i));
  }
  g_string_append_c (out, ']');
}

static void
append_value (GString *out, JsonNode *node)
{
  gchar buffer[G_ASCII_DTOSTR_BUF_SIZE];

  switch (json_node_get_value_type (node)) {
  case G_TYPE_STRING:
    pilot_json_append_string (out, json_node_get_string (node), -1);
    break;
  case G_TYPE_BOOLEAN:
    g_string_append (out, json_node_get_boolean (node) ? "true" : "false");
    break;
  case G_TYPE_DOUBLE:
    g_string_append (out, g_ascii_dtostr (buffer, sizeof buffer, json_node_get_double (node)));
    break;
  default:
    g_string_append_printf (out, "%" G_GINT64_FORMAT, json_node_get_int (node));
  }
}

static void
append_node (GString *out, JsonNode *node)
{
  switch (json_node_get_node_type (node)) {
  case JSON_NODE_OBJECT:
    append_object (out, json_node_get_object (node));
    break;
  case JSON_NODE_ARRAY:
    append_array (out, json_node_get_array (node));
    break;
  case JSON_NODE_VALUE:
    append_value (out, node);
    break;
  case JSON_NODE_NULL:
    g_string_append (out, "null");
    break;
  }
}

gchar *
pilot_json_print (JsonObject *object)
{
  GString *out = g_string_new (NULL);

  append_object (out, object);
  return g_string_free (out, FALSE);
}
