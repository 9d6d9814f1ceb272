/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every trust store owes the host, run against each; then the file format of trust-file. */
#include <errno.h>
#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/plugin-check/trust-fixture.h"
#include "mock-trust-store.h"
#include "trust-file.h"

static void
fill_mock (PilotTrustStore *store)
{
  mock_trust_store_fill_disk (MOCK_TRUST_STORE (store));
}

static const CheckCandidate candidates[] = {
  { .name = "trust-file", .get_type = pilot_trust_file_get_type, .strict = TRUE },
  { .name = "mock-trust-store", .get_type = mock_trust_store_get_type, .fill_disk = fill_mock, .strict = TRUE },
};

static const gchar go_file[] =
    "{\n"
    "  \"trusted\": [\n"
    "    { \"node_id\": 7, \"public_key\": \"PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=\",\n"
    "      \"approved_at\": \"2026-10-01T12:00:00Z\", \"mutual\": true, \"network\": 3 },\n"
    "    { \"node_id\": 8, \"public_key\": \"\", \"approved_at\": \"2026-10-01T14:00:00.25+02:00\", \"mutual\": false },\n"
    "    { \"node_id\": 12, \"public_key\": \"\", \"approved_at\": \"yesterday\", \"mutual\": false }\n"
    "  ],\n"
    "  \"pending\": [\n"
    "    { \"node_id\": 9, \"justification\": \"hello\", \"received_at\": \"2026-10-01T12:00:00+02:00\", \"source\": 9 }\n"
    "  ],\n"
    "  \"revoked\": [ { \"node_id\": 11, \"until\": \"2001-01-01T00:00:00Z\" }, { \"node_id\": 10, \"until\": \"2096-10-01T12:05:00Z\" } ],\n"
    "  \"their_own\": { \"a\": [1, 2.5, true, null, \"x<y\"], \"b\": {} }\n"
    "}";

static void
put_contents (TrustFixture *f,
              const gchar *text)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (g_file_set_contents_full (f->path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, &error));
  g_assert_no_error (error);
}

static gchar *
get_contents (TrustFixture *f)
{
  gchar *text = NULL;

  g_assert_true (g_file_get_contents (f->path, &text, NULL, NULL));
  return text;
}

static void
test_go (TrustFixture *f,
         gconstpointer data)
{
  g_autoptr (GPtrArray) trusted = NULL;
  g_autoptr (GPtrArray) pending = NULL;
  const PilotTrustRecord *record;
  g_autofree gchar *key = NULL;

  put_contents (f, go_file);
  trust_fixture_load (f);
  trust_fixture_expect_list (f, PILOT_TRUST_TRUSTED, "7 8");
  trust_fixture_expect_list (f, PILOT_TRUST_REVOKED, "10");
  trust_fixture_expect_list (f, PILOT_TRUST_OUTGOING, "");
  trusted = pilot_call_list (f->store, PILOT_TRUST_TRUSTED);
  record = g_ptr_array_index (trusted, 0);
  key = g_base64_encode (record->key, sizeof record->key);
  g_assert_true (record->has_key);
  g_assert_cmpstr (key, ==, "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=");
  g_assert_cmpint (record->time, ==, 1790856000);
  g_assert_true (record->mutual);
  g_assert_cmpuint (record->network, ==, 3);
  record = g_ptr_array_index (trusted, 1);
  g_assert_false (record->has_key);
  g_assert_cmpint (record->time, ==, 1790856000);
  pending = pilot_call_list (f->store, PILOT_TRUST_PENDING);
  record = g_ptr_array_index (pending, 0);
  g_assert_cmpstr (record->justification, ==, "hello");
  g_assert_cmpint (record->time, ==, 1790848800);
  g_assert_cmpuint (record->source, ==, 9);
}

static const gchar written[] =
    "{\n"
    "  \"trusted\": [\n"
    "    {\n"
    "      \"node_id\": 7,\n"
    "      \"public_key\": \"PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=\",\n"
    "      \"approved_at\": \"2026-10-01T12:00:00Z\",\n"
    "      \"mutual\": true,\n"
    "      \"network\": 3\n"
    "    },\n"
    "    {\n"
    "      \"node_id\": 8,\n"
    "      \"public_key\": \"\",\n"
    "      \"approved_at\": \"2026-10-01T12:00:00Z\",\n"
    "      \"mutual\": false\n"
    "    }\n"
    "  ],\n"
    "  \"pending\": [\n"
    "    {\n"
    "      \"node_id\": 9,\n"
    "      \"justification\": \"hello\",\n"
    "      \"received_at\": \"2026-10-01T10:00:00Z\",\n"
    "      \"source\": 9\n"
    "    }\n"
    "  ],\n"
    "  \"outgoing\": [\n"
    "    {\n"
    "      \"node_id\": 20,\n"
    "      \"justification\": \"a\\u003cb\",\n"
    "      \"requested_at\": \"2026-10-01T12:00:00Z\"\n"
    "    }\n"
    "  ],\n"
    "  \"revoked\": [\n"
    "    {\n"
    "      \"node_id\": 10,\n"
    "      \"until\": \"2096-10-01T12:05:00Z\"\n"
    "    }\n"
    "  ],\n"
    "  \"their_own\": {\n"
    "    \"a\": [\n"
    "      1,\n"
    "      2.5,\n"
    "      true,\n"
    "      null,\n"
    "      \"x\\u003cy\"\n"
    "    ],\n"
    "    \"b\": {}\n"
    "  }\n"
    "}";

static void
test_written (TrustFixture *f,
              gconstpointer data)
{
  g_autoptr (PilotTrustRecord) outgoing = pilot_trust_record_new (PILOT_TRUST_OUTGOING, 20);
  g_autofree gchar *text = NULL;
  g_autofree gchar *empty = NULL;
  GStatBuf info;

  outgoing->time = 1790856000;
  outgoing->justification = g_strdup ("a<b");
  put_contents (f, go_file);
  trust_fixture_load (f);
  trust_fixture_put (f, outgoing);
  trust_fixture_flush (f);
  text = get_contents (f);
  g_assert_cmpstr (text, ==, written);
  g_assert_cmpint (g_stat (f->path, &info), ==, 0);
  g_assert_cmpint (info.st_mode & 07777, ==, 0600);

  g_remove (f->path);
  trust_fixture_load (f);
  trust_fixture_put (f, outgoing);
  g_assert_true (pilot_call_remove (f->store, PILOT_TRUST_OUTGOING, 20, NULL));
  trust_fixture_flush (f);
  empty = get_contents (f);
  g_assert_cmpstr (empty, ==, "{\n  \"trusted\": null\n}");
}

static void
test_null (TrustFixture *f,
           gconstpointer data)
{
  put_contents (f, "{\"trusted\":null,\"pending\":null}");
  trust_fixture_load (f);
  trust_fixture_expect_list (f, PILOT_TRUST_TRUSTED, "");
  put_contents (f, "{}");
  trust_fixture_load (f);
  trust_fixture_expect_list (f, PILOT_TRUST_TRUSTED, "");
}

static void
test_corrupt (TrustFixture *f,
              gconstpointer data)
{
  const gchar *texts[] = {
    "",
    "{",
    "[]",
    "null",
    "{} {}",
    "{'trusted':null}",
    "{\"trusted\":{}}",
    "{\"trusted\":[1]}",
    "{\"trusted\":[{\"node_id\":\"7\"}]}",
    "{\"trusted\":[{\"node_id\":-1}]}",
    "{\"trusted\":[{\"node_id\":4294967296}]}",
    "{\"trusted\":[{\"node_id\":1.5}]}",
    "{\"trusted\":[{\"node_id\":7,\"public_key\":\"AAAA\",\"approved_at\":\"2026-10-01T12:00:00Z\"}]}",
    "{\"trusted\":[{\"node_id\":7,\"public_key\":\"PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw\",\"approved_at\":\"2026-10-01T12:00:00Z\"}]}",
    "{\"trusted\":[{\"node_id\":7,\"public_key\":5,\"approved_at\":\"2026-10-01T12:00:00Z\"}]}",
    "{\"trusted\":[{\"node_id\":7,\"mutual\":1,\"approved_at\":\"2026-10-01T12:00:00Z\"}]}",
    "{\"pending\":[{\"node_id\":7,\"justification\":[],\"received_at\":\"2026-10-01T12:00:00Z\"}]}",
    "{\"trusted\":[{\"node_id\":99999999999999999999}]}",
    "{\"trusted\":null}\xff",
  };
  g_autoptr (PilotTrustRecord) record = trust_fixture_make (PILOT_TRUST_TRUSTED, 7);

  for (guint i = 0; i < G_N_ELEMENTS (texts); i++) {
    g_autofree gchar *after = NULL;
    g_autoptr (GError) error = NULL;

    put_contents (f, texts[i]);
    if (pilot_call_load (f->store, &error))
      g_error ("accepted: %s", texts[i]);
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT);
    g_assert_nonnull (strstr (error->message, f->path));
    g_clear_error (&error);
    trust_fixture_expect_list (f, PILOT_TRUST_TRUSTED, "");
    g_assert_false (pilot_call_put (f->store, record, &error));
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING);
    g_clear_error (&error);
    g_assert_false (pilot_call_flush (f->store, &error));
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING);
    after = get_contents (f);
    g_assert_cmpstr (after, ==, texts[i]);
  }
}

static void
test_deep (TrustFixture *f,
           gconstpointer data)
{
  g_autofree gchar *open = g_strnfill (100000, '[');
  g_autofree gchar *text = g_strconcat ("{\"x\":", open, NULL);
  g_autoptr (GError) error = NULL;

  put_contents (f, text);
  g_assert_false (pilot_call_load (f->store, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT);
}

static void
test_writable_by_others (TrustFixture *f,
                         gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  put_contents (f, go_file);
  g_assert_cmpint (g_chmod (f->path, 0666), ==, 0);
  g_assert_false (pilot_call_load (f->store, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED);
}

static void
test_long_justification (TrustFixture *f,
                         gconstpointer data)
{
  g_autoptr (PilotTrustRecord) record = pilot_trust_record_new (PILOT_TRUST_PENDING, 7);
  g_autoptr (GPtrArray) list = NULL;
  g_autoptr (GString) text = g_string_new ("\xff");
  const PilotTrustRecord *read;

  for (guint i = 0; i < 1000; i++)
    g_string_append (text, "ä");
  record->time = 1790000000;
  record->justification = g_strdup (text->str);
  trust_fixture_load (f);
  trust_fixture_put (f, record);
  trust_fixture_flush (f);
  trust_fixture_restart (f);
  list = pilot_call_list (f->store, PILOT_TRUST_PENDING);
  read = g_ptr_array_index (list, 0);
  g_assert_true (g_utf8_validate (read->justification, -1, NULL));
  g_assert_cmpuint (strlen (read->justification), <=, PILOT_TRUST_JUSTIFICATION_MAX);
  g_assert_cmpuint (strlen (read->justification), >=, PILOT_TRUST_JUSTIFICATION_MAX - 1);
}

static void
test_no_folder (TrustFixture *f,
                gconstpointer data)
{
  g_autoptr (PilotTrustStore) store = host_new (f->candidate->get_type (), f->candidate->name, NULL, NULL);
  g_autoptr (GError) error = NULL;

  g_assert_false (host_enable (store, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
}

int
main (int argc,
      char *argv[])
{
  g_setenv ("TZ", "UTC", TRUE);
  g_test_init (&argc, &argv, NULL);
  /* A left-out entry is warned of, which is the subject of a test here. */
  g_log_set_always_fatal (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL | G_LOG_FLAG_RECURSION);
  for (guint i = 0; i < G_N_ELEMENTS (candidates); i++)
    check_add_trust_store (&candidates[i]);
  trust_fixture_add (&candidates[0], "go", test_go);
  trust_fixture_add (&candidates[0], "written", test_written);
  trust_fixture_add (&candidates[0], "null", test_null);
  trust_fixture_add (&candidates[0], "corrupt", test_corrupt);
  trust_fixture_add (&candidates[0], "deep", test_deep);
  trust_fixture_add (&candidates[0], "writable-by-others", test_writable_by_others);
  trust_fixture_add (&candidates[0], "long-justification", test_long_justification);
  trust_fixture_add (&candidates[0], "no-folder", test_no_folder);
  return g_test_run ();
}
