/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "libpilot/pilot-error.h"
#include "protocol/json.h"

static JsonObject *
parse (const gchar *text)
{
  g_autoptr (GError) error = NULL;
  JsonObject *object = pilot_json_parse_object (text, strlen (text), 4096, &error);

  g_assert_no_error (error);
  g_assert_nonnull (object);
  return object;
}

static void
test_parse (void)
{
  static const gchar *const bad[] = { "", " ", "[]", "1", "\"a\"", "{}{}", "{'a':1}", "{\"a\":1,}", "/**/{}", "{\"a\":18446744073709551615}",
                                      "{\"a\":\"\\u0000\"}", "{\"a\":01}", "{\"a\":nul}", "{", "{\"a\":\"\xff\"}" };
  g_autoptr (JsonObject) null = parse ("null"), twice = parse ("{\"a\":1,\"a\":2}");

  g_assert_cmpuint (json_object_get_size (null), ==, 0);
  g_assert_cmpuint (pilot_json_get_uint32 (twice, "a"), ==, 2);
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;

    g_assert_null (pilot_json_parse_object (bad[i], strlen (bad[i]), 4096, &error));
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT);
  }
}

static void
test_deep (void)
{
  g_autoptr (GString) text = g_string_new ("{\"a\":");
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i < 100000; i++)
    g_string_append_c (text, '[');
  g_assert_null (pilot_json_parse_object (text->str, text->len, G_MAXSIZE, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT);
}

static void
test_numbers (void)
{
  g_autoptr (JsonObject) object = parse ("{\"n\":893,\"f\":893.9,\"neg\":-1,\"big\":4294967296,\"max\":4294967295,\"s\":\"1\","
                                         "\"u16\":65536,\"null\":null,\"i\":-9223372036854775808,\"huge\":1e300,\"exp\":8e2}");
  guint32 value = 5;

  g_assert_cmpuint (pilot_json_get_uint32 (object, "n"), ==, 893);
  g_assert_cmpuint (pilot_json_get_uint32 (object, "f"), ==, 893);
  g_assert_cmpuint (pilot_json_get_uint32 (object, "exp"), ==, 800);
  g_assert_cmpuint (pilot_json_get_uint32 (object, "max"), ==, G_MAXUINT32);
  g_assert_cmpuint (pilot_json_get_uint16 (object, "n"), ==, 893);
  for (const gchar *const *name = (const gchar *const[]) { "neg", "big", "s", "null", "none", "huge", NULL }; *name; name++) {
    g_assert_cmpuint (pilot_json_get_uint32 (object, *name), ==, 0);
    g_assert_false (pilot_json_read_uint32 (object, *name, &value));
  }
  g_assert_cmpuint (value, ==, 5);
  g_assert_cmpuint (pilot_json_get_uint16 (object, "u16"), ==, 0);
  g_assert_cmpint (pilot_json_get_int64 (object, "i"), ==, G_MININT64);
  g_assert_cmpint (pilot_json_get_int64 (object, "huge"), ==, 0);
}

static void
test_types (void)
{
  g_autoptr (JsonObject) object = parse ("{\"t\":true,\"one\":1,\"s\":\"x\",\"a\":[{\"b\":1},\"y\",2],\"o\":{},"
                                         "\"key\":\"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"}");
  JsonArray *array = pilot_json_get_array (object, "a");
  guint8 key[32];

  g_assert_true (pilot_json_get_boolean (object, "t"));
  g_assert_false (pilot_json_get_boolean (object, "one"));
  g_assert_cmpstr (pilot_json_get_string (object, "s"), ==, "x");
  g_assert_cmpstr (pilot_json_get_string (object, "one"), ==, "");
  g_assert_cmpstr (pilot_json_get_string (object, "a"), ==, "");
  g_assert_nonnull (pilot_json_get_object (object, "o"));
  g_assert_null (pilot_json_get_object (object, "a"));
  g_assert_null (pilot_json_get_array (object, "o"));
  g_assert_nonnull (pilot_json_array_get_object (array, 0));
  g_assert_null (pilot_json_array_get_object (array, 1));
  g_assert_cmpstr (pilot_json_array_get_string (array, 1), ==, "y");
  g_assert_null (pilot_json_array_get_string (array, 2));
  g_assert_null (pilot_json_array_get_string (array, 3));
  g_assert_true (pilot_json_read_base64 (object, "key", key, 32));
  g_assert_false (pilot_json_read_base64 (object, "key", key, 31));
  g_assert_false (pilot_json_read_base64 (object, "s", key, 32));
}

static void
test_print (void)
{
  g_autoptr (JsonObject) object = parse ("{\"b\":[1,null,-2.5,\"x\"],\"a\":{\"z\":false,\"y\":\"\"}}");
  g_autofree gchar *text = pilot_json_print (object);

  g_assert_cmpstr (text, ==, "{\"a\":{\"y\":\"\",\"z\":false},\"b\":[1,null,-2.5,\"x\"]}");
}

static void
test_escape (void)
{
  g_autoptr (GString) out = g_string_new (NULL);

  pilot_json_append_string (out, "<a&b> \"\\\n\r\t\x01\x7f \xe2\x80\xa8\xe2\x80\xa9 \xc3\xa9 \xff", -1);
  g_assert_cmpstr (out->str, ==, "\"\\u003ca\\u0026b\\u003e \\\"\\\\\\n\\r\\t\\u0001\x7f \\u2028\\u2029 \xc3\xa9 \\ufffd\"");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/json/parse", test_parse);
  g_test_add_func ("/json/deep", test_deep);
  g_test_add_func ("/json/numbers", test_numbers);
  g_test_add_func ("/json/types", test_types);
  g_test_add_func ("/json/print", test_print);
  g_test_add_func ("/json/escape", test_escape);
  return g_test_run ();
}
