/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/services/exchange-senders.h"

/* Lines of files that are gone, and older ones of a name that came again, are dropped once there are many. */
static void
test_many (void)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *state = g_dir_make_tmp ("pilot-senders-XXXXXX", &error), *path = g_build_filename (state, "received-senders", NULL);
  g_autofree char *received = g_build_filename (state, "received", NULL), *here = g_build_filename (received, "here", NULL), *text = NULL;
  g_autoptr (GString) lines = g_string_new (NULL);
  int folder;

  g_assert_no_error (error);
  g_assert_cmpint (g_mkdir (received, 0700), ==, 0);
  g_assert_true (g_file_set_contents (here, "", 0, NULL));
  folder = open (received, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_assert_cmpint (folder, >=, 0);
  for (guint i = 0; i < 16384; i++)
    g_string_append_printf (lines, "%08x %s\n", i, i % 2 ? "here" : "gone");
  g_assert_true (g_file_set_contents (path, lines->str, -1, NULL));
  g_assert_cmpint (g_chmod (path, 0600), ==, 0);
  pilot_exchange_senders_note (state, "here", 42);
  for (guint i = 0; i < 2; i++) {
    g_autoptr (GHashTable) senders = pilot_exchange_senders_load (state, folder);

    g_assert_cmpuint (g_hash_table_size (senders), ==, 1);
    g_assert_cmpuint (GPOINTER_TO_UINT (g_hash_table_lookup (senders, "here")), ==, 42);
  }
  g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
  g_assert_cmpstr (text, ==, "0000002a here\n");
  close (folder);
  g_unlink (here);
  g_unlink (path);
  g_rmdir (received);
  g_rmdir (state);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/daemon/exchange/senders-file", test_many);
  return g_test_run ();
}
