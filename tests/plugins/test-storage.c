/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The strict JSON scan and the atomic files every store is made of. */
#include <errno.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libpilot/pilot.h"

static gboolean
scan (const gchar *text,
      gsize length)
{
  /* A copy of exactly that size: reading past it is seen by the sanitizer. */
  g_autofree gchar *copy = g_memdup2 (text, length);
  g_autoptr (GError) error = NULL;
  const gboolean good = pilot_json_scan (copy != NULL ? copy : "", length, PILOT_JSON_MAX_LENGTH, PILOT_JSON_MAX_DEPTH, &error);

  if (good)
    g_assert_no_error (error);
  else
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT);
  return good;
}

static void
test_json_good (void)
{
  const gchar *texts[] = {
    "{}",
    "[]",
    " \t\r\n{ } ",
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-1.5e+10",
    "1E2",
    "1.0",
    "\"\"",
    "\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\"",
    "\"\\ud83d\\ude00\"",
    "\"ä\"",
    "[1,2,[3,{\"a\":[]}]]",
    "{\"a\":{},\"b\":[{}],\"c\":null}",
    "9223372036854775807",
    "-9223372036854775808",
    "1.7976931348623157e308",
    "[[],[[]],{}]",
  };

  for (guint i = 0; i < G_N_ELEMENTS (texts); i++)
    if (!scan (texts[i], strlen (texts[i])))
      g_error ("refused: %s", texts[i]);
}

static void
test_json_bad (void)
{
  const gchar *texts[] = {
    "",
    " ",
    "{",
    "}",
    "[",
    "]",
    "[1",
    "[1,",
    "[1,]",
    "[,1]",
    "[1 2]",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{,}",
    "{a:1}",
    "{'a':1}",
    "{1:1}",
    "{\"a\":1 \"b\":2}",
    "[}",
    "{]",
    "[1}",
    "{\"a\":1]",
    "{}{}",
    "{} x",
    "1 2",
    "nul",
    "nulll",
    "True",
    "NaN",
    "Infinity",
    "-",
    "+1",
    "01",
    "-01",
    "1.",
    ".5",
    "1e",
    "1e+",
    "0x1",
    "1_000",
    "\"",
    "\"\\\"",
    "\"\\x\"",
    "\"\\u12\"",
    "\"\\u12g4\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"\\udc00\"",
    "\"\\ud800\\u0041\"",
    "\"\\ud800x\"",
    "\"a\nb\"",
    "\"\x01\"",
    "\"\xff\"",
    "\"\xed\xa0\x80\"",
    "// c\n{}",
    "/* c */ {}",
    "{} // c",
    "var a = {}",
    "9223372036854775808",
    "-9223372036854775809",
    "99999999999999999999",
    "1e309",
    "-1e309",
    "\xef\xbb\xbf{}",
  };

  for (guint i = 0; i < G_N_ELEMENTS (texts); i++)
    if (scan (texts[i], strlen (texts[i])))
      g_error ("accepted: %s", texts[i]);
  g_assert_false (scan ("{}\0", 3));
  g_assert_false (scan ("\"a\0b\"", 5));
}

/* Every prefix of a document is refused, and none is read past its end. */
static void
test_json_prefixes (void)
{
  const gchar text[] = "{\"a\":[true,false,null,-1.5e+3,\"\\ud83d\\ude00\\n\"],\"b\":{\"c\":\"ä\"}}";

  for (gsize i = 0; i < sizeof text - 1; i++)
    g_assert_false (scan (text, i));
  g_assert_true (scan (text, sizeof text - 1));
}

static void
test_json_bounds (void)
{
  g_autofree gchar *open = g_strnfill (PILOT_JSON_MAX_DEPTH, '[');
  g_autofree gchar *close = g_strnfill (PILOT_JSON_MAX_DEPTH, ']');
  g_autofree gchar *deepest = g_strconcat (open, close, NULL);
  g_autofree gchar *deeper = g_strconcat ("[", deepest, "]", NULL);
  g_autofree gchar *number = g_strnfill (300, '1');
  g_autofree gchar *fraction = g_strconcat ("0.", number, NULL);
  g_autoptr (GError) error = NULL;

  g_assert_true (scan (deepest, strlen (deepest)));
  g_assert_false (scan (deeper, strlen (deeper)));
  g_assert_false (scan (fraction, strlen (fraction)));
  g_assert_true (pilot_json_scan ("[1]", 3, 3, 1, &error));
  g_assert_no_error (error);
  g_assert_false (pilot_json_scan ("[1]", 3, 2, 1, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT);
  g_clear_error (&error);
  g_assert_false (pilot_json_scan ("[1]", 3, 3, 0, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT);
}

typedef struct
{
  gchar *folder;
  gchar *path;
} Fixture;

static void
set_up (Fixture *f,
        gconstpointer data)
{
  f->folder = g_dir_make_tmp ("plugins-storage-XXXXXX", NULL);
  g_assert_nonnull (f->folder);
  f->path = g_build_filename (f->folder, "file", NULL);
}

static void
tear_down (Fixture *f,
           gconstpointer data)
{
  g_remove (f->path);
  /* No temporary file is left. */
  g_assert_cmpint (g_rmdir (f->folder), ==, 0);
  g_free (f->folder);
  g_free (f->path);
}

static void
assert_contents (Fixture *f,
                 const gchar *expected,
                 gint mode)
{
  g_autofree gchar *data = NULL;
  g_autoptr (GError) error = NULL;
  GStatBuf info;
  gsize length;

  g_assert_true (pilot_file_load (f->path, 100, 077, &data, &length, &error));
  g_assert_no_error (error);
  g_assert_cmpstr (data, ==, expected);
  g_assert_cmpuint (length, ==, strlen (expected));
  g_assert_cmpint (g_stat (f->path, &info), ==, 0);
  g_assert_cmpint (info.st_mode & 07777, ==, mode);
}

static void
test_replace (Fixture *f,
              gconstpointer data)
{
  const mode_t before = umask (0777);
  g_autoptr (GError) error = NULL;

  g_assert_true (pilot_file_replace (f->path, "one", 3, 0600, &error));
  g_assert_no_error (error);
  umask (before);
  assert_contents (f, "one", 0600);
  g_assert_true (pilot_file_replace (f->path, "", 0, 0400, &error));
  assert_contents (f, "", 0400);
}

static void
test_replace_link (Fixture *f,
                   gconstpointer data)
{
  g_autofree gchar *target = g_build_filename (f->folder, "target", NULL);
  g_autofree gchar *text = NULL;

  g_assert_true (g_file_set_contents (target, "old", -1, NULL));
  g_assert_cmpint (symlink ("target", f->path), ==, 0);
  g_assert_true (pilot_file_replace (f->path, "new", 3, 0600, NULL));
  g_assert_true (g_file_test (f->path, G_FILE_TEST_IS_SYMLINK));
  g_assert_true (g_file_get_contents (target, &text, NULL, NULL));
  g_assert_cmpstr (text, ==, "new");
  g_remove (target);
}

static void
test_replace_full (Fixture *f,
                   gconstpointer data)
{
  struct rlimit before, tight;
  g_autoptr (GError) error = NULL;
  gboolean good;

  g_assert_true (pilot_file_replace (f->path, "old", 3, 0600, NULL));
  g_assert_cmpint (getrlimit (RLIMIT_FSIZE, &before), ==, 0);
  signal (SIGXFSZ, SIG_IGN);
  tight = before;
  tight.rlim_cur = 4;
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &tight), ==, 0);
  good = pilot_file_replace (f->path, "much longer", 11, 0600, &error);
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &before), ==, 0);
  g_assert_false (good);
  g_assert_true (error->domain == G_FILE_ERROR);
  assert_contents (f, "old", 0600);
}

static void
test_replace_nowhere (Fixture *f,
                      gconstpointer data)
{
  g_autofree gchar *path = g_build_filename (f->folder, "no", "such", "folder", NULL);
  g_autoptr (GError) error = NULL;

  g_assert_false (pilot_file_replace (path, "x", 1, 0600, &error));
  g_assert_error (error, G_FILE_ERROR, G_FILE_ERROR_NOENT);
}

static void
test_load_refused (Fixture *f,
                   gconstpointer data)
{
  g_autofree gchar *contents = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_false (pilot_file_load (f->path, 10, 0, &contents, NULL, &error));
  g_assert_error (error, G_FILE_ERROR, G_FILE_ERROR_NOENT);
  g_clear_error (&error);
  g_assert_false (pilot_file_load (f->folder, 10, 0, &contents, NULL, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT);
  g_clear_error (&error);

  g_assert_true (pilot_file_replace (f->path, "0123456789", 10, 0640, NULL));
  g_assert_true (pilot_file_load (f->path, 10, 0, &contents, NULL, &error));
  g_assert_no_error (error);
  g_clear_pointer (&contents, g_free);
  g_assert_false (pilot_file_load (f->path, 9, 0, &contents, NULL, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT);
  g_clear_error (&error);
  g_assert_false (pilot_file_load (f->path, 10, 077, &contents, NULL, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED);
  g_assert_nonnull (strstr (error->message, "chmod 0600"));
  g_clear_error (&error);

  /* A file that says it is empty and is not. */
  g_assert_false (pilot_file_load ("/proc/self/environ", 1, 0, &contents, NULL, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT);
  g_clear_error (&error);
  /* A pipe nobody writes to does not block. */
  g_remove (f->path);
  g_assert_cmpint (mkfifo (f->path, 0600), ==, 0);
  g_assert_false (pilot_file_load (f->path, 10, 0, &contents, NULL, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT);
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/json/good", test_json_good);
  g_test_add_func ("/json/bad", test_json_bad);
  g_test_add_func ("/json/prefixes", test_json_prefixes);
  g_test_add_func ("/json/bounds", test_json_bounds);
  g_test_add ("/file/replace", Fixture, NULL, set_up, test_replace, tear_down);
  g_test_add ("/file/replace-link", Fixture, NULL, set_up, test_replace_link, tear_down);
  g_test_add ("/file/replace-full", Fixture, NULL, set_up, test_replace_full, tear_down);
  g_test_add ("/file/replace-nowhere", Fixture, NULL, set_up, test_replace_nowhere, tear_down);
  g_test_add ("/file/load-refused", Fixture, NULL, set_up, test_load_refused, tear_down);
  return g_test_run ();
}
