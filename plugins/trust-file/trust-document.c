/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "trust-document.h"

#include <string.h>

static const gchar *const section_names[PILOT_TRUST_N_KINDS] = {
  [PILOT_TRUST_TRUSTED] = "trusted",
  [PILOT_TRUST_PENDING] = "pending",
  [PILOT_TRUST_OUTGOING] = "outgoing", /* our own: the Go daemon's name for it is not known */
  [PILOT_TRUST_REVOKED] = "revoked",
};

static const gchar *const time_names[PILOT_TRUST_N_KINDS] = {
  [PILOT_TRUST_TRUSTED] = "approved_at",
  [PILOT_TRUST_PENDING] = "received_at",
  [PILOT_TRUST_OUTGOING] = "requested_at",
  [PILOT_TRUST_REVOKED] = "until",
};

/* Reading. Where one entry stands, for messages. */
typedef struct
{
  const gchar *section;
  guint index;
  JsonObject *object;
} Entry;

static gboolean
fail_field (const Entry *entry,
            const gchar *key,
            const gchar *expected,
            GError **error)
{
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "\"%s\" of entry %u in \"%s\" is not %s", key, entry->index + 1,
               entry->section, expected);
  return FALSE;
}

/* Absent and null are zero, as for the Go daemon. */
static JsonNode *
get_field (const Entry *entry,
           const gchar *key)
{
  JsonNode *node = json_object_get_member (entry->object, key);

  return node == NULL || JSON_NODE_HOLDS_NULL (node) ? NULL : node;
}

static gboolean
read_number (const Entry *entry,
             const gchar *key,
             gint64 maximum,
             gint64 *value,
             GError **error)
{
  JsonNode *node = get_field (entry, key);

  *value = 0;
  if (node == NULL)
    return TRUE;
  if (!JSON_NODE_HOLDS_VALUE (node) || json_node_get_value_type (node) != G_TYPE_INT64)
    return fail_field (entry, key, "a whole number", error);
  *value = json_node_get_int (node);
  if (*value < 0 || *value > maximum)
    return fail_field (entry, key, "in range", error);
  return TRUE;
}

static gboolean
read_string (const Entry *entry,
             const gchar *key,
             const gchar **value,
             GError **error)
{
  JsonNode *node = get_field (entry, key);

  *value = "";
  if (node == NULL)
    return TRUE;
  if (!JSON_NODE_HOLDS_VALUE (node) || json_node_get_value_type (node) != G_TYPE_STRING)
    return fail_field (entry, key, "a string", error);
  *value = json_node_get_string (node);
  return TRUE;
}

static gboolean
read_boolean (const Entry *entry,
              const gchar *key,
              gboolean *value,
              GError **error)
{
  JsonNode *node = get_field (entry, key);

  *value = FALSE;
  if (node == NULL)
    return TRUE;
  if (!JSON_NODE_HOLDS_VALUE (node) || json_node_get_value_type (node) != G_TYPE_BOOLEAN)
    return fail_field (entry, key, "true or false", error);
  *value = json_node_get_boolean (node);
  return TRUE;
}

/* A key that cannot be read is never taken for "no key": that would undo the binding. */
static gboolean
read_key (const Entry *entry,
          PilotTrustRecord *record,
          GError **error)
{
  g_autofree guint8 *bytes = NULL;
  g_autofree gchar *again = NULL;
  const gchar *text;
  gsize length;

  if (!read_string (entry, "public_key", &text, error))
    return FALSE;
  if (text[0] == '\0')
    return TRUE;
  bytes = g_base64_decode (text, &length);
  again = g_base64_encode (bytes, length);
  if (length != PILOT_TRUST_KEY_SIZE || !g_str_equal (again, text))
    return fail_field (entry, "public_key", "base64 of 32 bytes", error);
  pilot_trust_record_set_key (record, bytes);
  return TRUE;
}

/* RFC 3339 with a zone; GLib alone would take other ISO 8601 forms too. */
static gboolean
parse_time (const gchar *text,
            gint64 *seconds)
{
  static const gchar pattern[] = "0000-00-00T00:00:00";
  g_autoptr (GDateTime) time = NULL;
  gsize length = strlen (text);

  if (length < sizeof pattern)
    return FALSE;
  for (guint i = 0; i < sizeof pattern - 1; i++)
    if (pattern[i] == '0' ? !g_ascii_isdigit (text[i]) : text[i] != pattern[i])
      return FALSE;
  if (text[length - 1] != 'Z' && (text[length - 3] != ':' || (text[length - 6] != '+' && text[length - 6] != '-')))
    return FALSE;
  time = g_date_time_new_from_iso8601 (text, NULL);
  if (time == NULL)
    return FALSE;
  *seconds = g_date_time_to_unix (time);
  return TRUE;
}

static gboolean
read_fields (const Entry *entry,
             PilotTrustRecord *record,
             gboolean *time_is_good,
             GError **error)
{
  const gchar *time, *justification;
  gint64 node, network, source, seconds = 0;

  if (!read_number (entry, "node_id", G_MAXUINT32, &node, error) ||
      !read_number (entry, "network", G_MAXUINT16, &network, error) ||
      !read_number (entry, "source", G_MAXUINT32, &source, error) ||
      !read_boolean (entry, "mutual", &record->mutual, error) ||
      !read_string (entry, "justification", &justification, error) ||
      !read_string (entry, time_names[record->kind], &time, error) ||
      !read_key (entry, record, error))
    return FALSE;
  *time_is_good = parse_time (time, &seconds);
  record->node = (guint32) node;
  record->network = (guint16) network;
  record->source = (guint32) source;
  if (justification[0] != '\0')
    record->justification = g_strdup (justification);
  if (record->kind == PILOT_TRUST_REVOKED)
    record->until = seconds;
  else
    record->time = seconds;
  return TRUE;
}

static gboolean
read_section (JsonObject *root,
              PilotTrustKind kind,
              gint64 now,
              GPtrArray *records,
              GError **error)
{
  const gchar *section = section_names[kind];
  JsonNode *node = json_object_get_member (root, section);
  JsonArray *array;

  if (node == NULL || JSON_NODE_HOLDS_NULL (node))
    return TRUE;
  if (!JSON_NODE_HOLDS_ARRAY (node)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "\"%s\" is not a list", section);
    return FALSE;
  }
  array = json_node_get_array (node);
  for (guint i = 0; i < json_array_get_length (array); i++) {
    g_autoptr (PilotTrustRecord) record = pilot_trust_record_new (kind, 0);
    JsonNode *element = json_array_get_element (array, i);
    gboolean time_is_good;

    if (!JSON_NODE_HOLDS_OBJECT (element)) {
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "entry %u in \"%s\" is not an object", i + 1, section);
      return FALSE;
    }
    if (!read_fields (&(Entry) { section, i, json_node_get_object (element) }, record, &time_is_good, error))
      return FALSE;
    if (!time_is_good)
      g_warning ("entry %u in \"%s\" left out: \"%s\" is not a time", i + 1, section, time_names[kind]);
    else if (kind != PILOT_TRUST_REVOKED || record->until > now)
      g_ptr_array_add (records, g_steal_pointer (&record));
  }
  return TRUE;
}

gboolean
trust_document_parse (const gchar *data,
                      gsize length,
                      gint64 now,
                      GPtrArray *records,
                      JsonObject **rest,
                      GError **error)
{
  g_autoptr (JsonParser) parser = NULL;
  g_autoptr (GError) parse_error = NULL;
  JsonNode *root;

  if (!pilot_json_scan (data, length, TRUST_DOCUMENT_MAX_LENGTH, PILOT_JSON_MAX_DEPTH, error))
    return FALSE;
  parser = json_parser_new ();
  if (!json_parser_load_from_data (parser, data, (gssize) length, &parse_error)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "not JSON: %s", parse_error->message);
    return FALSE;
  }
  root = json_parser_get_root (parser);
  if (root == NULL || !JSON_NODE_HOLDS_OBJECT (root)) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "not a JSON object");
    return FALSE;
  }
  for (guint kind = 0; kind < PILOT_TRUST_N_KINDS; kind++)
    if (!read_section (json_node_get_object (root), (PilotTrustKind) kind, now, records, error))
      return FALSE;
  *rest = json_node_dup_object (root);
  return TRUE;
}

/* Writing. json-glib's own pretty form puts a space before the colon, which the Go daemon does not. */
static void
append_string (GString *out,
               const gchar *text)
{
  g_string_append_c (out, '"');
  for (const gchar *p = text; *p != '\0'; p = g_utf8_next_char (p)) {
    const gunichar c = g_utf8_get_char (p);

    if (c == '"' || c == '\\')
      g_string_append_printf (out, "\\%c", (gchar) c);
    else if (c == '\n')
      g_string_append (out, "\\n");
    else if (c == '\r')
      g_string_append (out, "\\r");
    else if (c == '\t')
      g_string_append (out, "\\t");
    else if (c < 0x20 || c == '<' || c == '>' || c == '&' || c == 0x2028 || c == 0x2029)
      g_string_append_printf (out, "\\u%04x", c);
    else
      g_string_append_unichar (out, c);
  }
  g_string_append_c (out, '"');
}

static void
append_line (GString *out,
             guint depth)
{
  g_string_append_printf (out, "\n%*s", (int) depth * 2, "");
}

static void append_node (GString *out,
                         JsonNode *node,
                         guint depth);

static void
append_object (GString *out,
               JsonObject *object,
               guint depth)
{
  JsonObjectIter iter;
  const gchar *key;
  JsonNode *node;
  gboolean first = TRUE;

  g_string_append_c (out, '{');
  json_object_iter_init_ordered (&iter, object);
  while (json_object_iter_next_ordered (&iter, &key, &node)) {
    g_string_append (out, first ? "" : ",");
    first = FALSE;
    append_line (out, depth + 1);
    append_string (out, key);
    g_string_append (out, ": ");
    append_node (out, node, depth + 1);
  }
  if (!first)
    append_line (out, depth);
  g_string_append_c (out, '}');
}

static void
append_array (GString *out,
              JsonArray *array,
              guint depth)
{
  const guint n = json_array_get_length (array);

  g_string_append_c (out, '[');
  for (guint i = 0; i < n; i++) {
    g_string_append (out, i == 0 ? "" : ",");
    append_line (out, depth + 1);
    append_node (out, json_array_get_element (array, i), depth + 1);
  }
  if (n > 0)
    append_line (out, depth);
  g_string_append_c (out, ']');
}

static void
append_node (GString *out,
             JsonNode *node,
             guint depth)
{
  gchar number[G_ASCII_DTOSTR_BUF_SIZE];

  if (JSON_NODE_HOLDS_OBJECT (node))
    append_object (out, json_node_get_object (node), depth);
  else if (JSON_NODE_HOLDS_ARRAY (node))
    append_array (out, json_node_get_array (node), depth);
  else if (JSON_NODE_HOLDS_NULL (node))
    g_string_append (out, "null");
  else if (json_node_get_value_type (node) == G_TYPE_BOOLEAN)
    g_string_append (out, json_node_get_boolean (node) ? "true" : "false");
  else if (json_node_get_value_type (node) == G_TYPE_STRING)
    append_string (out, json_node_get_string (node));
  else if (json_node_get_value_type (node) == G_TYPE_INT64)
    g_string_append_printf (out, "%" G_GINT64_FORMAT, json_node_get_int (node));
  else
    g_string_append (out, g_ascii_dtostr (number, sizeof number, json_node_get_double (node)));
}

/* Local zone, whole seconds. */
static gchar *
format_time (gint64 seconds)
{
  g_autoptr (GDateTime) time = g_date_time_new_from_unix_local (seconds);

  if (time == NULL)
    time = g_date_time_new_from_unix_utc (0);
  return g_date_time_format (time, g_date_time_get_utc_offset (time) == 0 ? "%Y-%m-%dT%H:%M:%SZ" : "%Y-%m-%dT%H:%M:%S%:z");
}

static JsonObject *
record_to_object (const PilotTrustRecord *record)
{
  JsonObject *object = json_object_new ();
  g_autofree gchar *time = format_time (record->kind == PILOT_TRUST_REVOKED ? record->until : record->time);
  g_autofree gchar *key = record->has_key ? g_base64_encode (record->key, sizeof record->key) : g_strdup ("");

  json_object_set_int_member (object, "node_id", record->node);
  if (record->kind == PILOT_TRUST_TRUSTED || (record->has_key && record->kind != PILOT_TRUST_REVOKED))
    json_object_set_string_member (object, "public_key", key);
  if (record->kind != PILOT_TRUST_TRUSTED && record->justification != NULL && record->justification[0] != '\0')
    json_object_set_string_member (object, "justification", record->justification);
  json_object_set_string_member (object, time_names[record->kind], time);
  if (record->kind == PILOT_TRUST_TRUSTED) {
    json_object_set_boolean_member (object, "mutual", record->mutual);
    if (record->network != 0)
      json_object_set_int_member (object, "network", record->network);
  }
  if (record->kind == PILOT_TRUST_PENDING && record->source != 0)
    json_object_set_int_member (object, "source", record->source);
  return object;
}

static gboolean
is_ours (const gchar *key)
{
  for (guint kind = 0; kind < PILOT_TRUST_N_KINDS; kind++)
    if (g_str_equal (section_names[kind], key))
      return TRUE;
  return FALSE;
}

gchar *
trust_document_format (GPtrArray *records,
                       JsonObject *rest)
{
  g_autoptr (JsonObject) root = json_object_new ();
  GString *out = g_string_new (NULL);
  JsonObjectIter iter;
  const gchar *key;
  JsonNode *node;

  for (guint kind = 0; kind < PILOT_TRUST_N_KINDS; kind++) {
    g_autoptr (JsonArray) array = json_array_new ();

    for (guint i = 0; i < records->len; i++) {
      const PilotTrustRecord *record = g_ptr_array_index (records, i);

      if (record->kind == (PilotTrustKind) kind)
        json_array_add_object_element (array, record_to_object (record));
    }
    if (json_array_get_length (array) > 0)
      json_object_set_array_member (root, section_names[kind], g_steal_pointer (&array));
    else if (kind == PILOT_TRUST_TRUSTED)
      json_object_set_null_member (root, section_names[kind]);
  }
  if (rest != NULL) {
    json_object_iter_init_ordered (&iter, rest);
    while (json_object_iter_next_ordered (&iter, &key, &node))
      if (!is_ours (key))
        json_object_set_member (root, key, json_node_copy (node));
  }
  append_object (out, root, 0);
  return g_string_free (out, FALSE);
}
