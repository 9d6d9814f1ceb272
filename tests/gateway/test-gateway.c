/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The mappings of a gateway in a network namespace: what is taken, refused, kept over a crash. */
#include <errno.h>
#include <string.h>

#include "daemon/gateway/port-list.h"
#include "libpilot/pilot-error.h"
#include "tests/gateway/fixture.h"
#include "tests/gateway/namespace.h"
#include "tests/gateway/tcp.h"

static const guint32 two[] = { 2 };

static void
test_table (Fixture *fixture, gconstpointer data)
{
  static const guint32 nodes[] = { 2, 5 }, ourselves[] = { 3, 1 };
  g_autoptr (GPtrArray) mappings = NULL, more = NULL, list = NULL, none = NULL;
  g_autoptr (PilotMapping) third = NULL, again = NULL, fifth = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree char *before = NULL, *after = NULL, *alias = NULL;

  g_assert_null (fixture_map (fixture, 2, NULL, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING);
  g_clear_error (&error);
  mappings = fixture_start (fixture, "{'ports': <'80'>}", nodes, 2, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (pilot_mapping_get_local_address (g_ptr_array_index (mappings, 1)), ==, "10.4.0.2");
  third = fixture_map (fixture, 3, NULL, &error);
  g_assert_cmpstr (pilot_mapping_get_local_address (third), ==, "10.4.0.3");
  fifth = fixture_map (fixture, 7, "10.4.0.9", &error);
  g_assert_cmpstr (pilot_mapping_get_local_address (fifth), ==, "10.4.0.9");
  again = fixture_map (fixture, 3, NULL, &error);
  g_assert_true (again == third);
  g_assert_no_error (error);

  /* None of these changes anything. */
  before = output_of ("sh -c 'ip addr; nft list ruleset'");
  g_assert_null (fixture_map (fixture, 3, "10.4.0.8", &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS);
  g_clear_error (&error);
  g_assert_null (fixture_map (fixture, 8, "10.4.0.9", &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS);
  g_clear_error (&error);
  g_assert_null (fixture_map (fixture, 8, "10.5.0.1", &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  g_assert_null (fixture_map (fixture, 8, "10.4.0.255", &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  g_assert_null (fixture_map (fixture, 1, NULL, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  none = fixture_start (fixture, "{'ports': <'80,65536'>}", two, 1, &error);
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  none = fixture_start (fixture, "{'ports': <'0'>}", two, 1, &error);
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  none = fixture_start (fixture, "{}", ourselves + 1, 1, &error);
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  none = fixture_start (fixture, "{'subnet': <'10.6.0.0/16'>}", two, 1, &error);
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CONFLICT);
  g_clear_error (&error);
  g_assert_false (fixture_unmap (fixture, "10.4.0.77", &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND);
  g_clear_error (&error);
  g_assert_false (fixture_unmap (fixture, "127.0.0.1", &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND);
  g_clear_error (&error);
  after = output_of ("sh -c 'ip addr; nft list ruleset'");
  g_assert_cmpstr (before, ==, after);

  /* A second start adds. */
  more = fixture_start (fixture, "{'ports': <'8080'>}", two, 1, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (pilot_mapping_get_ports (g_ptr_array_index (more, 0))->len, ==, 2);
  g_assert_true (fixture_unmap (fixture, "10.4.0.1", &error));
  g_assert_no_error (error);
  alias = output_of ("ip -4 addr show to 10.4.0.1/32");
  g_assert_cmpstr (alias, ==, "");
  list = pilot_gateway_list (fixture->gateway);
  g_assert_cmpuint (list->len, ==, 3);
  g_assert_true (fixture_stop (fixture, &error));
  g_assert_no_error (error);
  g_assert_false (fixture_stop (fixture, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING);
  g_clear_error (&error);

  /* A new gateway begins anew, with what is the default. */
  g_clear_pointer (&more, g_ptr_array_unref);
  more = fixture_start (fixture, "{'subnet': <'10.6.0.0/16'>}", two, 1, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (pilot_mapping_get_local_address (g_ptr_array_index (more, 0)), ==, "10.6.0.1");
  g_assert_true (fixture_stop (fixture, &error));
  g_clear_pointer (&more, g_ptr_array_unref);
  more = fixture_start (fixture, "{}", two, 1, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (pilot_mapping_get_local_address (g_ptr_array_index (more, 0)), ==, "10.4.0.1");
}

static void
test_overlap (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GPtrArray) mappings = NULL, again = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree char *add = output_of ("ip route add blackhole 10.4.7.0/24");
  g_autofree char *path = g_build_filename (fixture->directory, "gateway.json", NULL);
  g_autofree char *del = NULL;

  mappings = fixture_start (fixture, "{}", two, 1, &error);
  g_assert_null (mappings);
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CONFLICT);
  g_assert_nonnull (strstr (error->message, "10.4.7.0/24"));
  g_clear_error (&error);
  g_assert_false (pilot_gateway_get_active (fixture->gateway));
  g_assert_false (g_file_test (path, G_FILE_TEST_EXISTS));
  del = output_of ("ip route del blackhole 10.4.7.0/24");
  /* What the failed start took is free again. */
  again = fixture_start (fixture, "{}", two, 1, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (again->len, ==, 1);
}

static void
test_held_ports (Fixture *fixture, gconstpointer data)
{
  static const guint32 five[] = { 5 };
  g_autoptr (GPtrArray) mappings = NULL, none = NULL;
  g_autoptr (GError) error = NULL;
  const PilotMappingPort *port;
  Server held;

  server_start (&held, "0.0.0.0", 8080);
  mappings = fixture_start (fixture, "{'ports': <'80,8080'>, 'mode': <'listen'>}", two, 1, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (pilot_mapping_get_state (g_ptr_array_index (mappings, 0)), ==, "partial");
  port = g_ptr_array_index (pilot_mapping_get_ports (g_ptr_array_index (mappings, 0)), 1);
  g_assert_cmpuint (port->port, ==, 8080);
  g_assert_cmpint (port->state, ==, PILOT_PORT_HELD);
  g_assert_nonnull (strstr (port->detail, "(pid "));
  none = fixture_start (fixture, "{'ports': <'8080'>}", five, 1, &error);
  g_assert_null (none);
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS);
  server_stop (&held);
}

static void
test_restore (Fixture *fixture, gconstpointer mode)
{
  static const guint32 nodes[] = { 3, 2 };
  g_autofree char *options = g_strdup_printf ("{'ports': <'8080'>, 'mode': <'%s'>}", (const char *) mode);
  g_autoptr (GPtrArray) mappings = fixture_start (fixture, options, nodes, 2, NULL);
  g_autoptr (GPtrArray) list = NULL;
  g_autofree char *foreign = output_of ("ip addr add 10.99.0.1/32 dev lo");
  g_autofree char *left = NULL, *check = NULL;
  g_autoptr (GError) error = NULL;
  Server server;
  Client client;

  g_assert_nonnull (mappings);
  g_clear_pointer (&mappings, g_ptr_array_unref);
  fixture_end_run (fixture);
  /* The addresses are still there, and nobody answers on them. */
  left = output_of ("ip -4 addr show lo label lo:pilot0");
  g_assert_nonnull (strstr (left, "10.4.0.2"));
  client = client_request ("10.4.0.2", 8080, 10);
  g_assert_cmpint (client.connect_error, ==, ECONNREFUSED);

  fixture_begin_run (fixture);
  g_assert_true (fixture_restore (fixture, &error));
  g_assert_no_error (error);
  list = pilot_gateway_list (fixture->gateway);
  g_assert_cmpuint (list->len, ==, 2);
  g_assert_cmpstr (pilot_mapping_get_local_address (g_ptr_array_index (list, 1)), ==, "10.4.0.2");
  g_assert_cmpstr (pilot_mapping_get_state (g_ptr_array_index (list, 1)), ==, "up");
  server_start (&server, "127.0.0.1", 8080);
  client = client_request ("10.4.0.2", 8080, 1000);
  g_assert_true (client.matches);
  server_stop (&server);
  check = output_of ("ip -4 addr show to 10.99.0.1/32");
  g_assert_nonnull (strstr (check, "10.99.0.1"));
  g_free (output_of ("ip addr del 10.99.0.1/32 dev lo"));
}

static void
test_corrupt_state (Fixture *fixture, gconstpointer data)
{
  static const char *const bad[] = {
    "",
    "{",
    "[]",
    "{}",
    "{\"subnet\":\"10.4.0.0/16\",\"ports\":\"\",\"mode\":\"\",\"mappings\":[{}]}",
    "{\"subnet\":\"10.4.0.0/16\",\"ports\":\"\",\"mode\":\"\",\"mappings\":[{\"pilot_addr\":\"0:0000.0000.0002\",\"local_ip\":\"10.5.0.1\",\"ports\":\"\"}]}",
    "{\"subnet\":\"10.4.0.0/16\",\"ports\":\"x\",\"mode\":\"\",\"mappings\":[]}",
  };
  g_autofree char *path = g_build_filename (fixture->directory, "gateway.json", NULL);

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;
    g_autofree char *text = NULL;

    g_assert_true (g_file_set_contents (path, bad[i], -1, NULL));
    g_assert_false (fixture_restore (fixture, &error));
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT);
    g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
    g_assert_cmpstr (text, ==, bad[i]);
  }
}

static void
test_port_lists (void)
{
  static const char *const bad[] = { "0", "65536", "80,", ",", "a", "80-", "90-80", "-1", "1-65535", "80;90" };
  g_autoptr (GArray) ports = pilot_port_list_parse (" 443, 80,80 ,8000-8002", NULL);
  g_autofree char *text = pilot_port_list_format (ports);

  g_assert_cmpstr (text, ==, "80,443,8000,8001,8002");
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;

    g_assert_false (pilot_port_list_check (bad[i], &error));
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  enter_namespace ();
#define ADD(path, data, func) g_test_add (path, Fixture, data, fixture_set_up, func, fixture_tear_down)
  g_test_add_func ("/gateway/port-lists", test_port_lists);
  ADD ("/gateway/table", NULL, test_table);
  ADD ("/gateway/overlap", NULL, test_overlap);
  ADD ("/gateway/held-ports", NULL, test_held_ports);
  ADD ("/gateway/restore/redirect", "redirect", test_restore);
  ADD ("/gateway/restore/listen", "listen", test_restore);
  ADD ("/gateway/corrupt-state", NULL, test_corrupt_state);
  return g_test_run ();
}
