/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The gateway of an ordinary user's daemon, with pilot-helper, in a network namespace. */
#include <glib/gstdio.h>
#include <string.h>

#include "daemon/helper/privileged-remote.h"
#include "libpilot/pilot-error.h"
#include "tests/gateway/fake-node.h"
#include "tests/gateway/fixture.h"
#include "tests/gateway/namespace.h"
#include "tests/gateway/tcp.h"

static const guint32 two[] = { 2 };

#define USER 12345

static const char *helper_program;

static void
become (uid_t uid)
{
  /* The saved id stays root's; what counts, the effective capabilities, go. */
  g_assert_cmpint (setresuid (uid, uid, 0), ==, 0);
}

static void
start_helper (const char *socket)
{
  g_autofree char *command = g_strdup_printf ("%s --uid %d --subnet 10.4.0.0/16 --socket %s", helper_program, USER, socket);
  g_autoptr (GError) error = NULL;
  int status;

  become (0);
  g_spawn_command_line_sync (command, NULL, NULL, &status, &error);
  g_assert_no_error (error);
  g_assert_cmpint (status, ==, 0);
  become (USER);
}

static void
user_set_up (Fixture *fixture, gconstpointer data)
{
  fixture->directory = g_dir_make_tmp ("gateway-XXXXXX", NULL);
  g_assert_cmpint (chown (fixture->directory, USER, USER), ==, 0);
  become (USER);
  fixture_begin_run (fixture);
}

static void
user_tear_down (Fixture *fixture, gconstpointer data)
{
  become (0);
  fixture_tear_down (fixture, data);
}

/* A helper that has been told to end answers before it has. */
static void
wait_gone (const char *socket)
{
  for (guint tries = 0; g_file_test (socket, G_FILE_TEST_EXISTS) && tries < 2000; tries++)
    g_usleep (10000);
  g_assert_false (g_file_test (socket, G_FILE_TEST_EXISTS));
}

static void
test_user (Fixture *fixture, gconstpointer data)
{
  g_autofree char *folder = NULL, *socket = NULL, *lock = NULL, *state = g_build_filename (fixture->directory, "gateway.json", NULL);
  g_autoptr (GPtrArray) mappings = NULL, list = NULL;
  g_autoptr (GError) error = NULL;
  Server server;
  Client client;

  become (0);
  folder = g_dir_make_tmp ("gateway-XXXXXX", NULL);
  g_assert_cmpint (chmod (folder, 0755), ==, 0);
  socket = g_build_filename (folder, "helper.sock", NULL);
  lock = g_strconcat (socket, ".lock", NULL);
  become (USER);
  fake_node_set_helper_socket (fixture->node, socket);
  server_start (&server, "127.0.0.1", 8080);

  /* Nobody helps: refused, with the remedy, and nothing is left of it. */
  mappings = fixture_start (fixture, "{}", two, 1, &error);
  g_assert_null (mappings);
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED);
  g_assert_nonnull (strstr (pilot_error_get_hint (error), "sudo pilotctl gateway start"));
  g_clear_error (&error);
  g_assert_false (pilot_gateway_get_active (fixture->gateway));
  g_assert_false (g_file_test (state, G_FILE_TEST_EXISTS));

  start_helper (socket);
  mappings = fixture_start (fixture, "{}", two, 1, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (pilot_gateway_get_mode (fixture->gateway), ==, "redirect");
  client = client_request ("10.4.0.1", 8080, 100000);
  g_assert_true (client.matches);
  g_clear_pointer (&mappings, g_ptr_array_unref);

  /* The daemon dies and comes back; the helper has kept everything. */
  fixture_end_run (fixture);
  client = client_request ("10.4.0.1", 8080, 10);
  g_assert_cmpint (client.connect_error != 0 || client.read_error != 0, ==, TRUE);
  fixture_begin_run (fixture);
  fake_node_set_helper_socket (fixture->node, socket);
  g_assert_true (fixture_restore (fixture, &error));
  g_assert_no_error (error);
  g_clear_pointer (&list, g_ptr_array_unref);
  list = pilot_gateway_list (fixture->gateway);
  g_assert_cmpstr (pilot_mapping_get_last_error (g_ptr_array_index (list, 0)), ==, "");
  g_assert_cmpstr (pilot_mapping_get_state (g_ptr_array_index (list, 0)), ==, "up");
  g_clear_pointer (&list, g_ptr_array_unref);
  client = client_request ("10.4.0.1", 8080, 100000);
  g_assert_true (client.matches);
  fixture_end_run (fixture);

  /* As after a reboot: no helper, no address. The mapping is still known and says what it needs. */
  become (0);
  g_assert_true (pilot_helper_quit (socket, &error));
  wait_gone (socket);
  become (USER);
  fixture_begin_run (fixture);
  fake_node_set_helper_socket (fixture->node, socket);
  g_assert_true (fixture_restore (fixture, &error));
  g_assert_no_error (error);
  list = pilot_gateway_list (fixture->gateway);
  g_assert_cmpuint (list->len, ==, 1);
  g_assert_cmpstr (pilot_mapping_get_state (g_ptr_array_index (list, 0)), ==, "needs-privilege");
  start_helper (socket);
  mappings = fixture_start (fixture, "{}", NULL, 0, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (pilot_mapping_get_state (g_ptr_array_index (list, 0)), ==, "up");
  client = client_request ("10.4.0.1", 8080, 100000);
  g_assert_true (client.matches);

  g_assert_true (fixture_stop (fixture, &error));
  g_assert_no_error (error);
  server_stop (&server);
  become (0);
  wait_gone (socket);
  g_unlink (lock);
  g_rmdir (folder);
}

/* The 127.x subnet needs no privilege at all. */
static void
test_user_loopback (Fixture *fixture, gconstpointer data)
{
  g_autofree char *nobody = g_build_filename (fixture->directory, "helper.sock", NULL);
  g_autoptr (GPtrArray) mappings = NULL;
  g_autoptr (GError) error = NULL;
  Server server;
  Client client;

  fake_node_set_helper_socket (fixture->node, nobody);
  server_start (&server, "127.0.0.1", 8080);
  mappings = fixture_start (fixture, "{'subnet': <'127.84.0.0/16'>, 'ports': <'8080'>}", two, 1, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (pilot_gateway_get_mode (fixture->gateway), ==, "listen");
  client = client_request ("127.84.0.1", 8080, 100000);
  g_assert_true (client.matches);
  server_stop (&server);
  g_assert_true (fixture_stop (fixture, &error));
  g_assert_no_error (error);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_assert_cmpint (argc, ==, 2);
  helper_program = argv[1];
  enter_namespace ();
  g_test_add ("/gateway/user/helper", Fixture, NULL, user_set_up, test_user, user_tear_down);
  g_test_add ("/gateway/user/loopback", Fixture, NULL, user_set_up, test_user_loopback, user_tear_down);
  return g_test_run ();
}
