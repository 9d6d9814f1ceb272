/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/vectors.h"

#include <string.h>

gchar *
vectors_load_text (const gchar *name)
{
  g_autofree gchar *path = g_test_build_filename (G_TEST_DIST, "vectors", name, NULL);
  g_autoptr (GError) error = NULL;
  gchar *text;

  g_file_get_contents (path, &text, NULL, &error);
  g_assert_no_error (error);
  return text;
}

JsonObject *
vectors_load (const gchar *name)
{
  g_autofree gchar *text = vectors_load_text (name);
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (GError) error = NULL;

  json_parser_load_from_data (parser, text, -1, &error);
  g_assert_no_error (error);
  return json_object_ref (json_node_get_object (json_parser_get_root (parser)));
}

guint8 *
vectors_unhex (const gchar *hex, gsize *length)
{
  gsize size = strlen (hex) / 2;
  guint8 *bytes = g_malloc (size + 1);

  g_assert_cmpuint (strlen (hex) % 2, ==, 0);
  for (gsize i = 0; i < size; i++) {
    gint high = g_ascii_xdigit_value (hex[2 * i]), low = g_ascii_xdigit_value (hex[2 * i + 1]);

    g_assert_true (high >= 0 && low >= 0);
    bytes[i] = (guint8) (high << 4 | low);
  }
  bytes[size] = 0;
  *length = size;
  return bytes;
}

guint8 *
vectors_hex_member (JsonObject *object, const gchar *name, gsize *length)
{
  g_assert_true (json_object_has_member (object, name));
  return vectors_unhex (json_object_get_string_member (object, name), length);
}

void
vectors_hex_into (JsonObject *object, const gchar *name, guint8 *out, gsize size)
{
  gsize length;
  g_autofree guint8 *bytes = vectors_hex_member (object, name, &length);

  g_assert_cmpuint (length, ==, size);
  memcpy (out, bytes, size);
}
