/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "daemon/core/lock.h"
#include "daemon/node/identity-file.h"
#include "daemon/node/node-state.h"
#include "libpilot/pilot-error.h"

typedef struct {
  char *folder, *path;
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  fixture->folder = g_dir_make_tmp ("node-identity-XXXXXX", &error);
  g_assert_no_error (error);
  fixture->path = g_build_filename (fixture->folder, "state", "identity.json", NULL);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_autofree char *state = g_path_get_dirname (fixture->path);
  g_autofree char *lock = g_build_filename (state, "pilot.lock", NULL);
  g_autofree char *node = g_build_filename (state, "node.json", NULL);

  g_unlink (fixture->path);
  g_unlink (lock);
  g_unlink (node);
  g_rmdir (state);
  g_assert_cmpint (g_rmdir (fixture->folder), ==, 0);
  g_free (fixture->folder);
  g_free (fixture->path);
}

static void
make (Fixture *fixture, PilotIdentity *identity)
{
  g_autoptr (GError) error = NULL;
  gboolean created = FALSE;

  g_assert_true (pilot_identity_file_open (fixture->path, identity, &created, &error));
  g_assert_no_error (error);
  g_assert_true (created);
}

static void
test_create (Fixture *fixture, gconstpointer data)
{
  g_autofree char *state = g_path_get_dirname (fixture->path);
  g_autoptr (GError) error = NULL;
  PilotIdentity first, second;
  gboolean created = TRUE;
  struct stat status;

  make (fixture, &first);
  g_assert_cmpint (stat (fixture->path, &status), ==, 0);
  g_assert_cmpuint (status.st_mode & 07777, ==, 0600);
  g_assert_cmpint (stat (state, &status), ==, 0);
  g_assert_cmpuint (status.st_mode & 07777, ==, 0700);
  g_assert_true (pilot_identity_file_open (fixture->path, &second, &created, &error));
  g_assert_false (created);
  g_assert_cmpmem (&first, sizeof first, &second, sizeof second);
}

static void
assert_refused_untouched (Fixture *fixture, int code)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *before = NULL, *after = NULL;
  PilotIdentity identity;

  g_assert_true (g_file_get_contents (fixture->path, &before, NULL, NULL));
  g_assert_false (pilot_identity_file_open (fixture->path, &identity, NULL, &error));
  g_assert_error (error, PILOT_ERROR, code);
  g_assert_nonnull (strstr (error->message, "identity.json"));
  g_assert_true (g_file_get_contents (fixture->path, &after, NULL, NULL));
  g_assert_cmpstr (before, ==, after);
}

static void
test_loose_mode (Fixture *fixture, gconstpointer data)
{
  PilotIdentity identity;

  make (fixture, &identity);
  g_assert_cmpint (g_chmod (fixture->path, 0640), ==, 0);
  assert_refused_untouched (fixture, PILOT_ERROR_PERMISSION_DENIED);
}

static void
test_corrupt (Fixture *fixture, gconstpointer data)
{
  static const char *const texts[] = { "", "{", "{}", "{\"private_key\":\"AAAA\",\"public_key\":\"AAAA\"}", "[1]" };
  PilotIdentity identity;

  make (fixture, &identity);
  for (guint i = 0; i < G_N_ELEMENTS (texts); i++) {
    g_test_message ("text: %s", texts[i]);
    g_assert_true (g_file_set_contents_full (fixture->path, texts[i], -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, NULL));
    assert_refused_untouched (fixture, PILOT_ERROR_CORRUPT);
  }
}

static void
test_lock (Fixture *fixture, gconstpointer data)
{
  g_autofree char *state = g_path_get_dirname (fixture->path);
  g_autofree char *pid = g_strdup_printf ("pid %d", (int) getpid ());
  g_autoptr (GError) error = NULL;
  int lock = pilot_lock_claim (state, &error);

  g_assert_no_error (error);
  g_assert_cmpint (lock, >=, 0);
  g_assert_cmpint (pilot_lock_claim (state, &error), ==, -1);
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS);
  g_assert_nonnull (strstr (error->message, pid));
  close (lock);
  g_clear_error (&error);
  lock = pilot_lock_claim (state, &error);
  g_assert_no_error (error);
  close (lock);
}

static void
test_node_state (Fixture *fixture, gconstpointer data)
{
  g_autofree char *state_path = g_path_get_dirname (fixture->path);
  g_autofree char *path = g_build_filename (state_path, "node.json", NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (GArray) revocations = NULL;
  PilotNodeState *state;

  g_assert_cmpint (g_mkdir (state_path, 0700), ==, 0);
  state = pilot_node_state_new (path, "key");
  g_assert_cmpuint (pilot_node_state_get_node (state), ==, 0);
  g_assert_true (pilot_node_state_set_node (state, 893, &error));
  g_assert_true (pilot_node_state_set_ports (state, 7, "80,443", &error));
  g_assert_true (pilot_node_state_set_revocation (state, 9, TRUE, &error));
  pilot_node_state_free (state);

  state = pilot_node_state_new (path, "key");
  g_assert_cmpuint (pilot_node_state_get_node (state), ==, 893);
  g_assert_cmpstr (pilot_node_state_get_ports (state, 7), ==, "80,443");
  g_assert_null (pilot_node_state_get_ports (state, 8));
  revocations = pilot_node_state_list_revocations (state);
  g_assert_cmpuint (revocations->len, ==, 1);
  g_assert_cmpuint (g_array_index (revocations, guint32, 0), ==, 9);
  g_assert_true (pilot_node_state_set_ports (state, 7, NULL, &error));
  g_assert_true (pilot_node_state_set_revocation (state, 9, FALSE, &error));
  pilot_node_state_free (state);

  /* The id belongs to the key it was given to. */
  state = pilot_node_state_new (path, "another key");
  g_assert_cmpuint (pilot_node_state_get_node (state), ==, 0);
  pilot_node_state_free (state);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define ADD(name, func) g_test_add ("/daemon/" name, Fixture, NULL, set_up, func, tear_down)
  ADD ("identity/create", test_create);
  ADD ("identity/loose-mode", test_loose_mode);
  ADD ("identity/corrupt", test_corrupt);
  ADD ("lock", test_lock);
  ADD ("node-state", test_node_state);
  return g_test_run ();
}
