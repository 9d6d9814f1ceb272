/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every trust store owes the host, run against each; then the file format of trust-file. */
#include <errno.h>
#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "host.h"
#include "mock-trust-store.h"
#include "trust-file.h"

typedef struct
{
  const gchar *name;
  GType (*get_type) (void);
} Candidate;

static const Candidate candidates[] = {
  { "trust-file", pilot_trust_file_get_type },
  { "mock-trust-store", mock_trust_store_get_type },
};

typedef struct
{
  const Candidate *candidate;
  gchar *folder;
  gchar *path;
  PilotTrustStore *store;
} Fixture;

static void
start (Fixture *f)
{
  g_autoptr (GError) error = NULL;

  f->store = host_new (f->candidate->get_type (), f->candidate->name, f->folder, NULL);
  g_assert_cmpstr (G_OBJECT_TYPE_NAME (f->store), ==, g_type_name (f->candidate->get_type ()));
  g_assert_cmpstr (pilot_plugin_get_name (PILOT_PLUGIN (f->store)), ==, f->candidate->name);
  g_assert_true (host_enable (f->store, &error));
  g_assert_no_error (error);
}

static void
stop (Fixture *f)
{
  g_assert_true (host_disable (f->store, NULL));
  g_assert_finalize_object (f->store);
  f->store = NULL;
}

static void
load (Fixture *f)
{
  g_autoptr (GError) error = NULL;

  pilot_call_load (f->store, &error);
  g_assert_no_error (error);
}

/* A new process as far as the store can tell. */
static void
restart (Fixture *f)
{
  stop (f);
  start (f);
  load (f);
}

static void
set_up (Fixture *f,
        gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  f->candidate = data;
  f->folder = g_dir_make_tmp ("plugins-trust-XXXXXX", &error);
  g_assert_no_error (error);
  f->path = g_build_filename (f->folder, "trust.json", NULL);
  start (f);
}

static void
tear_down (Fixture *f,
           gconstpointer data)
{
  g_autoptr (GDir) dir = NULL;

  stop (f);
  g_remove (f->path);
  /* Nothing but the file was left: no temporary one either. */
  g_assert_cmpint (g_rmdir (f->folder), ==, 0);
  g_free (f->folder);
  g_free (f->path);
}

static PilotTrustRecord *
make_record (PilotTrustKind kind,
             guint32 node)
{
  PilotTrustRecord *record = pilot_trust_record_new (kind, node);
  guint8 key[PILOT_TRUST_KEY_SIZE];

  memset (key, (gint) (node & 0xff), sizeof key);
  switch (kind) {
  case PILOT_TRUST_TRUSTED:
    pilot_trust_record_set_key (record, key);
    record->time = 1790000000;
    record->mutual = node % 2 == 0;
    record->network = (guint16) (node % 3);
    break;
  case PILOT_TRUST_PENDING:
    pilot_trust_record_set_key (record, key);
    record->time = 1790000001;
    record->source = node;
    record->justification = g_strdup ("let me \"read\" your <page> & ünïcödé \\ \n\t\x01\x7f");
    break;
  case PILOT_TRUST_OUTGOING:
    record->time = 1790000002;
    record->justification = g_strdup ("please");
    break;
  case PILOT_TRUST_REVOKED:
  default:
    record->until = 4000000000;
    break;
  }
  return record;
}

static void
put (Fixture *f,
     const PilotTrustRecord *record)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (pilot_call_put (f->store, record, &error));
  g_assert_no_error (error);
}

static void
flush (Fixture *f)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (pilot_call_flush (f->store, &error));
  g_assert_no_error (error);
}

static void
assert_list (Fixture *f,
             PilotTrustKind kind,
             const gchar *nodes)
{
  g_autoptr (GPtrArray) list = pilot_call_list (f->store, kind);
  g_autoptr (GString) text = g_string_new (NULL);

  for (guint i = 0; i < list->len; i++)
    g_string_append_printf (text, "%s%u", i > 0 ? " " : "", ((PilotTrustRecord *) g_ptr_array_index (list, i))->node);
  g_assert_cmpstr (text->str, ==, nodes);
}

static void
assert_record (Fixture *f,
               const PilotTrustRecord *expected)
{
  g_autoptr (GPtrArray) list = pilot_call_list (f->store, expected->kind);

  for (guint i = 0; i < list->len; i++)
    if (((PilotTrustRecord *) g_ptr_array_index (list, i))->node == expected->node) {
      g_assert_true (pilot_trust_record_equal (g_ptr_array_index (list, i), expected));
      return;
    }
  g_assert_not_reached ();
}

static void
test_empty (Fixture *f,
            gconstpointer data)
{
  load (f);
  for (guint kind = 0; kind < PILOT_TRUST_N_KINDS; kind++)
    assert_list (f, (PilotTrustKind) kind, "");
  flush (f);
}

static void
test_not_loaded (Fixture *f,
                 gconstpointer data)
{
  g_autoptr (PilotTrustRecord) record = make_record (PILOT_TRUST_TRUSTED, 7);
  g_autoptr (GError) error = NULL;

  g_assert_false (pilot_call_put (f->store, record, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING);
  g_clear_error (&error);
  g_assert_false (pilot_call_flush (f->store, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING);
}

static void
test_round_trip (Fixture *f,
                 gconstpointer data)
{
  load (f);
  for (guint kind = 0; kind < PILOT_TRUST_N_KINDS; kind++)
    for (guint32 node = 3; node > 0; node--) {
      g_autoptr (PilotTrustRecord) record = make_record ((PilotTrustKind) kind, node == 3 ? G_MAXUINT32 : node);

      put (f, record);
    }
  flush (f);
  restart (f);
  for (guint kind = 0; kind < PILOT_TRUST_N_KINDS; kind++) {
    assert_list (f, (PilotTrustKind) kind, "1 2 4294967295");
    for (guint32 node = 1; node <= 3; node++) {
      g_autoptr (PilotTrustRecord) record = make_record ((PilotTrustKind) kind, node == 3 ? G_MAXUINT32 : node);

      assert_record (f, record);
    }
  }
}

static void
test_replace (Fixture *f,
              gconstpointer data)
{
  g_autoptr (PilotTrustRecord) first = make_record (PILOT_TRUST_TRUSTED, 7);
  g_autoptr (PilotTrustRecord) second = make_record (PILOT_TRUST_TRUSTED, 7);

  pilot_trust_record_set_key (second, NULL);
  second->time++;
  load (f);
  put (f, first);
  flush (f);
  put (f, second);
  assert_list (f, PILOT_TRUST_TRUSTED, "7");
  assert_record (f, second);
  flush (f);
  restart (f);
  assert_list (f, PILOT_TRUST_TRUSTED, "7");
  assert_record (f, second);
}

static void
test_remove (Fixture *f,
             gconstpointer data)
{
  g_autoptr (PilotTrustRecord) trusted = make_record (PILOT_TRUST_TRUSTED, 7);
  g_autoptr (PilotTrustRecord) pending = make_record (PILOT_TRUST_PENDING, 7);
  g_autoptr (GError) error = NULL;

  load (f);
  put (f, trusted);
  put (f, pending);
  flush (f);
  g_assert_true (pilot_call_remove (f->store, PILOT_TRUST_PENDING, 7, &error));
  g_assert_no_error (error);
  g_assert_false (pilot_call_remove (f->store, PILOT_TRUST_PENDING, 7, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND);
  flush (f);
  restart (f);
  assert_list (f, PILOT_TRUST_PENDING, "");
  assert_record (f, trusted);
}

/* What was not flushed did not happen. */
static void
test_not_flushed (Fixture *f,
                  gconstpointer data)
{
  g_autoptr (PilotTrustRecord) first = make_record (PILOT_TRUST_TRUSTED, 7);
  g_autoptr (PilotTrustRecord) second = make_record (PILOT_TRUST_TRUSTED, 8);

  load (f);
  put (f, first);
  flush (f);
  put (f, second);
  g_assert_true (pilot_call_remove (f->store, PILOT_TRUST_TRUSTED, 7, NULL));
  restart (f);
  assert_list (f, PILOT_TRUST_TRUSTED, "7");
}

static void
test_copies (Fixture *f,
             gconstpointer data)
{
  g_autoptr (PilotTrustRecord) record = make_record (PILOT_TRUST_PENDING, 7);
  g_autoptr (PilotTrustRecord) expected = pilot_trust_record_copy (record);
  g_autoptr (GPtrArray) list = NULL;

  load (f);
  put (f, record);
  record->justification[0] = 'X';
  record->source = 99;
  list = pilot_call_list (f->store, PILOT_TRUST_PENDING);
  assert_record (f, expected);
  stop (f);
  g_assert_true (pilot_trust_record_equal (g_ptr_array_index (list, 0), expected));
  start (f);
}

/* Full disk: told to the caller, what was stored stays, and what is listed is what is stored. */
static void
test_disk_full (Fixture *f,
                gconstpointer data)
{
  g_autoptr (PilotTrustRecord) first = make_record (PILOT_TRUST_TRUSTED, 7);
  g_autoptr (PilotTrustRecord) second = make_record (PILOT_TRUST_TRUSTED, 8);
  struct rlimit before, tight;
  g_autoptr (GError) error = NULL;
  gboolean flushed;

  load (f);
  put (f, first);
  flush (f);
  put (f, second);
  g_assert_true (pilot_call_remove (f->store, PILOT_TRUST_TRUSTED, 7, NULL));

  if (MOCK_IS_TRUST_STORE (f->store))
    mock_trust_store_fill_disk (MOCK_TRUST_STORE (f->store));
  g_assert_cmpint (getrlimit (RLIMIT_FSIZE, &before), ==, 0);
  signal (SIGXFSZ, SIG_IGN);
  tight = before;
  tight.rlim_cur = 16;
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &tight), ==, 0);
  flushed = pilot_call_flush (f->store, &error);
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &before), ==, 0);

  g_assert_false (flushed);
  g_assert_nonnull (error);
  g_assert_cmpint (pilot_error_code (error), ==, PILOT_ERROR_IO);
  g_assert_true (g_str_has_prefix (error->message, f->candidate->name));
  assert_list (f, PILOT_TRUST_TRUSTED, "7");
  assert_record (f, first);
  restart (f);
  assert_list (f, PILOT_TRUST_TRUSTED, "7");
  put (f, second);
  flush (f);
  restart (f);
  assert_list (f, PILOT_TRUST_TRUSTED, "7 8");
}

static void
test_settings (Fixture *f,
               gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GObject) other = host_new (f->candidate->get_type (), f->candidate->name, f->folder,
                                        host_settings ("{'no-such-key': <1>}"));

  g_assert_false (host_enable (other, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
}

/* trust-file */

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
put_contents (Fixture *f,
              const gchar *text)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (g_file_set_contents_full (f->path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, &error));
  g_assert_no_error (error);
}

static gchar *
get_contents (Fixture *f)
{
  gchar *text = NULL;

  g_assert_true (g_file_get_contents (f->path, &text, NULL, NULL));
  return text;
}

static void
test_go (Fixture *f,
         gconstpointer data)
{
  g_autoptr (GPtrArray) trusted = NULL;
  g_autoptr (GPtrArray) pending = NULL;
  const PilotTrustRecord *record;
  g_autofree gchar *key = NULL;

  put_contents (f, go_file);
  load (f);
  assert_list (f, PILOT_TRUST_TRUSTED, "7 8");
  assert_list (f, PILOT_TRUST_REVOKED, "10");
  assert_list (f, PILOT_TRUST_OUTGOING, "");
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
test_written (Fixture *f,
              gconstpointer data)
{
  g_autoptr (PilotTrustRecord) outgoing = pilot_trust_record_new (PILOT_TRUST_OUTGOING, 20);
  g_autofree gchar *text = NULL;
  g_autofree gchar *empty = NULL;
  GStatBuf info;

  outgoing->time = 1790856000;
  outgoing->justification = g_strdup ("a<b");
  put_contents (f, go_file);
  load (f);
  put (f, outgoing);
  flush (f);
  text = get_contents (f);
  g_assert_cmpstr (text, ==, written);
  g_assert_cmpint (g_stat (f->path, &info), ==, 0);
  g_assert_cmpint (info.st_mode & 07777, ==, 0600);

  g_remove (f->path);
  load (f);
  put (f, outgoing);
  g_assert_true (pilot_call_remove (f->store, PILOT_TRUST_OUTGOING, 20, NULL));
  flush (f);
  empty = get_contents (f);
  g_assert_cmpstr (empty, ==, "{\n  \"trusted\": null\n}");
}

static void
test_null (Fixture *f,
           gconstpointer data)
{
  put_contents (f, "{\"trusted\":null,\"pending\":null}");
  load (f);
  assert_list (f, PILOT_TRUST_TRUSTED, "");
  put_contents (f, "{}");
  load (f);
  assert_list (f, PILOT_TRUST_TRUSTED, "");
}

static void
test_corrupt (Fixture *f,
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
  g_autoptr (PilotTrustRecord) record = make_record (PILOT_TRUST_TRUSTED, 7);

  for (guint i = 0; i < G_N_ELEMENTS (texts); i++) {
    g_autofree gchar *after = NULL;
    g_autoptr (GError) error = NULL;

    put_contents (f, texts[i]);
    if (pilot_call_load (f->store, &error))
      g_error ("accepted: %s", texts[i]);
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT);
    g_assert_nonnull (strstr (error->message, f->path));
    g_clear_error (&error);
    assert_list (f, PILOT_TRUST_TRUSTED, "");
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
test_deep (Fixture *f,
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
test_writable_by_others (Fixture *f,
                         gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  put_contents (f, go_file);
  g_assert_cmpint (g_chmod (f->path, 0666), ==, 0);
  g_assert_false (pilot_call_load (f->store, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED);
}

static void
test_long_justification (Fixture *f,
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
  load (f);
  put (f, record);
  flush (f);
  restart (f);
  list = pilot_call_list (f->store, PILOT_TRUST_PENDING);
  read = g_ptr_array_index (list, 0);
  g_assert_true (g_utf8_validate (read->justification, -1, NULL));
  g_assert_cmpuint (strlen (read->justification), <=, PILOT_TRUST_JUSTIFICATION_MAX);
  g_assert_cmpuint (strlen (read->justification), >=, PILOT_TRUST_JUSTIFICATION_MAX - 1);
}

static void
test_no_folder (Fixture *f,
                gconstpointer data)
{
  g_autoptr (PilotTrustStore) store = host_new (f->candidate->get_type (), f->candidate->name, NULL, NULL);
  g_autoptr (GError) error = NULL;

  g_assert_false (host_enable (store, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
}

static void
add (const Candidate *candidate,
     const gchar *name,
     void (*func) (Fixture *, gconstpointer))
{
  g_autofree gchar *path = g_strdup_printf ("/%s/%s", candidate->name, name);

  g_test_add (path, Fixture, candidate, set_up, func, tear_down);
}

int
main (int argc,
      char *argv[])
{
  g_setenv ("TZ", "UTC", TRUE);
  g_test_init (&argc, &argv, NULL);
  /* A left-out entry is warned of, which is the subject of a test here. */
  g_log_set_always_fatal (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL | G_LOG_FLAG_RECURSION);
  for (guint i = 0; i < G_N_ELEMENTS (candidates); i++) {
    add (&candidates[i], "empty", test_empty);
    add (&candidates[i], "not-loaded", test_not_loaded);
    add (&candidates[i], "round-trip", test_round_trip);
    add (&candidates[i], "replace", test_replace);
    add (&candidates[i], "remove", test_remove);
    add (&candidates[i], "not-flushed", test_not_flushed);
    add (&candidates[i], "copies", test_copies);
    add (&candidates[i], "disk-full", test_disk_full);
    add (&candidates[i], "settings", test_settings);
  }
  add (&candidates[0], "go", test_go);
  add (&candidates[0], "written", test_written);
  add (&candidates[0], "null", test_null);
  add (&candidates[0], "corrupt", test_corrupt);
  add (&candidates[0], "deep", test_deep);
  add (&candidates[0], "writable-by-others", test_writable_by_others);
  add (&candidates[0], "long-justification", test_long_justification);
  add (&candidates[0], "no-folder", test_no_folder);
  return g_test_run ();
}
