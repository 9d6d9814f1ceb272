/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <unistd.h>

#include "libpilot/pilot-error.h"
#include "libpilot/pilot-mailbox.h"

/* sudo pilotctl received --clear: the user's link may lead to his own disk, and not to what root alone may delete. */
static void
test_link (void)
{
  g_autofree char *state = g_dir_make_tmp ("mailbox-XXXXXX", NULL), *target = g_dir_make_tmp ("mailbox-XXXXXX", NULL);
  g_autofree char *link_path = g_build_filename (state, "received", NULL), *file = g_build_filename (target, "file", NULL);
  g_autoptr (GPtrArray) list = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_true (g_file_set_contents (file, "x", 1, NULL));
  g_assert_cmpint (symlink (target, link_path), ==, 0);
  list = pilot_mailbox_list (state, PILOT_MAILBOX_RECEIVED, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (list->len, ==, 1);
  if (geteuid () == 0) {
    g_assert_cmpint (chown (state, 12345, 12345), ==, 0);
    g_assert_null (pilot_mailbox_list (state, PILOT_MAILBOX_RECEIVED, &error));
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED);
    g_clear_error (&error);
    g_assert_false (pilot_mailbox_delete (state, PILOT_MAILBOX_RECEIVED, "file", &error));
    g_assert_true (g_file_test (file, G_FILE_TEST_EXISTS));
    g_clear_error (&error);
    /* To a folder of his own. */
    g_assert_cmpint (chown (target, 12345, 12345), ==, 0);
  }
  g_assert_true (pilot_mailbox_delete (state, PILOT_MAILBOX_RECEIVED, "file", &error));
  g_assert_no_error (error);
  g_unlink (link_path);
  g_rmdir (state);
  g_rmdir (target);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/mailbox/link", test_link);
  return g_test_run ();
}
