/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "daemon/ipc/ipc-private.h"
#include "protocol/json.h"

static JsonObject *
make_info (guint n_peers, guint n_conns)
{
  JsonObject *body = json_object_new ();
  JsonArray *peers = json_array_new (), *conns = json_array_new ();

  json_object_set_int_member (body, "peers", n_peers);
  for (guint i = 0; i < n_peers; i++) {
    JsonObject *row = json_object_new ();

    json_object_set_int_member (row, "node_id", i);
    json_object_set_string_member (row, "endpoint", "203.0.113.255:65535");
    json_object_set_boolean_member (row, "encrypted", TRUE);
    json_object_set_boolean_member (row, "authenticated", TRUE);
    json_array_add_object_element (peers, row);
  }
  for (guint i = 0; i < n_conns; i++) {
    JsonObject *row = json_object_new ();

    json_object_set_int_member (row, "id", i);
    json_object_set_string_member (row, "state", "ESTABLISHED");
    json_array_add_object_element (conns, row);
  }
  json_object_set_array_member (body, "peer_list", peers);
  json_object_set_array_member (body, "conn_list", conns);
  return body;
}

static gsize
printed (JsonObject *body)
{
  g_autofree char *text = pilot_json_print (body);

  return strlen (text);
}

/* As many rows as fit, from the first on, and not one less. */
static void
test_cut_list (void)
{
  g_autoptr (JsonObject) body = make_info (20000, 10);
  JsonArray *rows;
  guint kept;

  pilot_ipc_cut_list (body, "peer_list", PILOT_IPC_MAX_BODY);
  pilot_ipc_cut_list (body, "conn_list", PILOT_IPC_MAX_BODY);
  g_assert_cmpuint (printed (body), <=, PILOT_IPC_MAX_BODY);
  g_assert_cmpuint (printed (body), >, PILOT_IPC_MAX_BODY - 200);
  g_assert_true (json_object_get_boolean_member (body, "peer_list_truncated"));
  g_assert_false (json_object_has_member (body, "conn_list_truncated"));
  g_assert_cmpint (json_object_get_int_member (body, "peers"), ==, 20000);
  rows = json_object_get_array_member (body, "peer_list");
  kept = json_array_get_length (rows);
  g_assert_cmpuint (kept, >, 5000);
  for (guint i = 0; i < kept; i++)
    g_assert_cmpint (json_object_get_int_member (json_array_get_object_element (rows, i), "node_id"), ==, i);
}

static void
test_cut_nothing (void)
{
  g_autoptr (JsonObject) body = make_info (100, 100);
  g_autofree char *before = pilot_json_print (body), *after = NULL;

  pilot_ipc_cut_list (body, "peer_list", strlen (before));
  after = pilot_json_print (body);
  g_assert_cmpstr (before, ==, after);
}

static void
test_cut_all (void)
{
  g_autoptr (JsonObject) body = make_info (3, 100000);

  pilot_ipc_cut_list (body, "peer_list", PILOT_IPC_MAX_BODY);
  pilot_ipc_cut_list (body, "conn_list", PILOT_IPC_MAX_BODY);
  g_assert_cmpuint (printed (body), <=, PILOT_IPC_MAX_BODY);
  g_assert_true (json_object_get_boolean_member (body, "peer_list_truncated"));
  g_assert_true (json_object_get_boolean_member (body, "conn_list_truncated"));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/ipc/cut-list", test_cut_list);
  g_test_add_func ("/ipc/cut-nothing", test_cut_nothing);
  g_test_add_func ("/ipc/cut-all", test_cut_all);
  return g_test_run ();
}
