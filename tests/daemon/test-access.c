/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* access.json: what a peer may reach, what is kept, and what is refused. */
#include <glib/gstdio.h>
#include <string.h>

#include "daemon/node/access.h"
#include "libpilot/pilot-error.h"

#define PEER 7

static const guint8 key[32] = { 1 }, other_key[32] = { 2 };

typedef struct {
  char *folder, *path;
  PilotAccess *access;
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  fixture->folder = g_dir_make_tmp ("access-XXXXXX", NULL);
  fixture->path = g_build_filename (fixture->folder, "access.json", NULL);
  fixture->access = pilot_access_new (fixture->path, "all");
  g_assert_true (pilot_access_load (fixture->access, NULL));
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_object_unref (fixture->access);
  g_unlink (fixture->path);
  g_rmdir (fixture->folder);
  g_free (fixture->path);
  g_free (fixture->folder);
}

static void
grant (Fixture *fixture, const guint8 *by_key, const char *ports, const char *opened)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *got = NULL;

  pilot_access_grant (fixture->access, PEER, by_key, ports, &got, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (got, ==, opened);
}

static void
take_back (Fixture *fixture, const char *ports, const char *left)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *got = NULL;

  pilot_access_revoke (fixture->access, PEER, ports, &error);
  g_assert_no_error (error);
  got = pilot_access_describe (fixture->access, PEER);
  g_assert_cmpstr (got, ==, left);
}

/* The same after a restart. */
static void
reload (Fixture *fixture)
{
  g_autoptr (GError) error = NULL;

  g_object_unref (fixture->access);
  fixture->access = pilot_access_new (fixture->path, "all");
  pilot_access_load (fixture->access, &error);
  g_assert_no_error (error);
}

static void
test_grants (Fixture *fixture, gconstpointer data)
{
  g_assert_cmpint (pilot_access_check (fixture->access, PEER, key, 22), ==, PILOT_ACCESS_DENIED);
  grant (fixture, key, "80, 22,8000-8100", "22,80,8000-8100");
  grant (fixture, key, "81", "22,80-81,8000-8100");
  reload (fixture);
  g_assert_cmpint (pilot_access_check (fixture->access, PEER, key, 8050), ==, PILOT_ACCESS_ALLOWED);
  g_assert_cmpint (pilot_access_check (fixture->access, PEER, key, 8101), ==, PILOT_ACCESS_DENIED);
  take_back (fixture, "8050", "22,80-81,8000-8049,8051-8100");
  take_back (fixture, NULL, "none");
  grant (fixture, key, NULL, "all");
  take_back (fixture, "22", "1-21,23-65535");
}

static void
test_key (Fixture *fixture, gconstpointer data)
{
  grant (fixture, key, "80", "80");
  g_assert_cmpint (pilot_access_check (fixture->access, PEER, other_key, 80), ==, PILOT_ACCESS_DENIED);
  /* The node id has a new holder: what the old one was granted does not pass on. */
  grant (fixture, other_key, "22", "22");
  g_assert_cmpint (pilot_access_check (fixture->access, PEER, other_key, 80), ==, PILOT_ACCESS_DENIED);
  g_assert_cmpint (pilot_access_check (fixture->access, PEER, key, 22), ==, PILOT_ACCESS_DENIED);
}

static void
test_network (Fixture *fixture, gconstpointer data)
{
  grant (fixture, key, "network", "network");
  g_assert_cmpint (pilot_access_check (fixture->access, PEER, key, 80), ==, PILOT_ACCESS_NETWORK_ONLY);
  take_back (fixture, "22", "1-21,23-65535 (network)");
  reload (fixture);
  take_back (fixture, "23", "1-21,24-65535 (network)");
  g_assert_cmpint (pilot_access_check (fixture->access, PEER, key, 80), ==, PILOT_ACCESS_NETWORK_ONLY);
}

/* Nothing is written that would not be taken when it is read. */
static void
test_bound (Fixture *fixture, gconstpointer data)
{
  g_autofree char *before = NULL, *after = NULL;
  gboolean refused = FALSE;

  grant (fixture, key, "all", "all");
  for (guint port = 2; port < 400 && !refused; port += 2) {
    g_autofree char *text = g_strdup_printf ("%u", port);
    g_autoptr (GError) error = NULL;

    g_free (before);
    before = pilot_access_describe (fixture->access, PEER);
    refused = !pilot_access_revoke (fixture->access, PEER, text, &error);
    if (refused)
      g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  }
  g_assert_true (refused);
  reload (fixture);
  after = pilot_access_describe (fixture->access, PEER);
  g_assert_cmpstr (after, ==, before);
}

static void
test_malformed (Fixture *fixture, gconstpointer data)
{
  static const char *const bad[] = { "", "0", "65536", "80,", ",", "90-80", "80-", "-5", "http", "80 81", "+80", "0x50" };

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;

    g_assert_false (pilot_access_parse_ports (bad[i], &error));
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  }
}

static void
test_corrupt (Fixture *fixture, gconstpointer data)
{
  static const char *const bad[] = {
    "{",
    "[]",
    "{\"peers\":7}",
    "{\"peers\":[{}]}",
    "{\"peers\":[{\"node_id\":7,\"ports\":\"x\"}]}",
    "{\"peers\":[{\"node_id\":7,\"ports\":\"80\",\"public_key\":\"short\"}]}",
  };

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;
    g_autofree char *text = NULL;

    g_assert_true (g_file_set_contents (fixture->path, bad[i], -1, NULL));
    g_chmod (fixture->path, 0600);
    g_assert_false (pilot_access_load (fixture->access, &error));
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT);
    g_assert_nonnull (strstr (error->message, "access.json"));
    g_assert_true (g_file_get_contents (fixture->path, &text, NULL, NULL));
    g_assert_cmpstr (text, ==, bad[i]);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define ADD(path, func) g_test_add (path, Fixture, NULL, set_up, func, tear_down)
  ADD ("/access/grants", test_grants);
  ADD ("/access/key", test_key);
  ADD ("/access/network", test_network);
  ADD ("/access/bound", test_bound);
  ADD ("/access/malformed", test_malformed);
  ADD ("/access/corrupt", test_corrupt);
  return g_test_run ();
}
