/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib/gstdio.h>
#include <locale.h>
#include <string.h>

#include "harness.h"

/* What the registry notes list as known weaknesses (section 17) and no other test shows to be answered. */

typedef struct
{
  Harness harness;
  Client client;
  Person alice, bob;
  gchar *folder, *path;
  gint start;
} Fixture;

/* With a store on disk, so that it can start again. */
static void
open_registry (Fixture *fixture,
               guint stale_threshold)
{
  g_autoptr (GError) error = NULL;
  PilotStore *store = pilot_store_sqlite_new (fixture->path, &error);

  g_assert_no_error (error);
  harness_init (&fixture->harness, store);
  fixture->harness.options.service.admin_token = (gchar *) "sesame";
  fixture->harness.options.stale_threshold = stale_threshold;
  harness_start (&fixture->harness);
  client_open (&fixture->client, &fixture->harness.registry, NULL);
}

static void
close_registry (Fixture *fixture)
{
  client_close (&fixture->client);
  harness_stop (&fixture->harness);
  harness_clear (&fixture->harness);
}

static void
fixture_init (Fixture *fixture,
              guint stale_threshold)
{
  g_autoptr (GError) error = NULL;

  fixture->start = g_atomic_int_get (&harness_time);
  fixture->folder = g_dir_make_tmp ("rendezvous-weaknesses-XXXXXX", &error);
  g_assert_no_error (error);
  fixture->path = g_build_filename (fixture->folder, "store.db", NULL);
  open_registry (fixture, stale_threshold);
  person_init (&fixture->alice, 'a');
  person_init (&fixture->bob, 'b');
  person_register (&fixture->alice, &fixture->client, 4001);
  person_register (&fixture->bob, &fixture->client, 4002);
}

static void
fixture_clear (Fixture *fixture)
{
  close_registry (fixture);
  g_atomic_int_set (&harness_time, fixture->start);
  g_assert_cmpint (g_unlink (fixture->path), ==, 0);
  g_assert_cmpint (g_rmdir (fixture->folder), ==, 0);
  g_free (fixture->path);
  g_free (fixture->folder);
}

static void
expect_ok (JsonObject *response)
{
  if (json_object_has_member (response, "error"))
    g_error ("%s", json_object_get_string_member (response, "error"));
  json_object_unref (response);
}

/* 17.5: a key that was proven once is never again taken unproven: not when its node was taken out for silence, nor after a restart then. */
static void
test_latch (void)
{
  Fixture fixture;
  gboolean gone = FALSE;

  fixture_init (&fixture, 100);
  g_atomic_int_set (&harness_time, fixture.start + 150);
  for (guint i = 0; i < 250 && !gone; i++) {
    g_autoptr (JsonObject) response = client_call (&fixture.client, "{\"type\":\"lookup\",\"node_id\":%u}", fixture.alice.id);

    gone = json_object_has_member (response, "error");
    if (!gone)
      g_usleep (100 * 1000);
  }
  g_assert_true (gone);
  for (guint round = 0; round < 2; round++) {
    if (round == 1) {
      close_registry (&fixture);
      open_registry (&fixture, 100);
    }
    client_expect_error (&fixture.client, "node 1: unsigned registration cannot modify a signature-verified key",
                         "{\"type\":\"register\",\"public_key\":\"%s\"}", fixture.alice.key);
  }
  person_register (&fixture.alice, &fixture.client, 4001);
  g_assert_cmpuint (fixture.alice.id, ==, 1);
  fixture_clear (&fixture);
}

/* 17.10: a request that its target has fetched and not answered can still be answered after a restart, and makes trust. */
static void
test_fetched_request (void)
{
  Fixture fixture;
  JsonObject *response;

  fixture_init (&fixture, 1800);
  person_request (&fixture.alice, &fixture.client, fixture.bob.id, "hello");
  response = person_poll (&fixture.bob, &fixture.client);
  g_assert_cmpuint (json_array_get_length (json_object_get_array_member (response, "requests")), ==, 1);
  json_object_unref (response);
  /* A next call says that the answer has arrived. */
  json_object_unref (person_poll (&fixture.bob, &fixture.client));
  close_registry (&fixture);
  open_registry (&fixture, 1800);
  expect_ok (client_call (&fixture.client, "{\"type\":\"respond_handshake\",\"node_id\":2,\"peer_id\":1,\"accept\":true,\"signature\":\"%s\"}",
                          person_sign (&fixture.bob, "respond:2:1")));
  g_assert_true (check_trust (&fixture.client, 1, 2));
  /* And the trust is on disk before the answer is on its way. */
  close_registry (&fixture);
  open_registry (&fixture, 1800);
  g_assert_true (check_trust (&fixture.client, 1, 2));
  fixture_clear (&fixture);
}

/* 17.7: no endpoint of a node that hides it, public as it may be, by any message; and nobody's by a punch message. */
static void
test_endpoints (void)
{
  enum {
    N_REQUESTS = 5
  };
  static const gchar *const hidden[] = { "198.51.100.7", "192.168.1.2" };
  Fixture fixture;
  gchar *requests[N_REQUESTS];

  fixture_init (&fixture, 1800);
  expect_ok (client_call (&fixture.client, "{\"type\":\"register\",\"listen_addr\":\"198.51.100.7:4000\",\"relay_only\":true,"
                                           "\"lan_addrs\":[\"192.168.1.2:4000\"],\"public_key\":\"%s\",\"signature\":\"%s\"}",
                          fixture.bob.key, person_sign (&fixture.bob, "register:198.51.100.7:4000:%s", fixture.bob.key)));
  expect_ok (client_call (&fixture.client, "{\"type\":\"set_visibility\",\"node_id\":2,\"public\":true,\"signature\":\"%s\"}",
                          person_sign (&fixture.bob, "set_visibility:2")));
  expect_ok (client_call (&fixture.client, "{\"type\":\"set_hostname\",\"node_id\":2,\"hostname\":\"bob\",\"signature\":\"%s\"}",
                          person_sign (&fixture.bob, "set_hostname:2")));
  requests[0] = g_strdup ("{\"type\":\"lookup\",\"node_id\":2}");
  requests[1] = g_strdup_printf ("{\"type\":\"resolve\",\"requester_id\":1,\"node_id\":2,\"signature\":\"%s\"}", person_sign (&fixture.alice, "resolve:1:2"));
  requests[2] = g_strdup ("{\"type\":\"resolve_hostname\",\"hostname\":\"bob\",\"requester_id\":1}");
  requests[3] = g_strdup ("{\"type\":\"list_nodes\",\"network_id\":0,\"admin_token\":\"sesame\"}");
  requests[4] = g_strdup_printf ("{\"type\":\"punch\",\"requester_id\":1,\"node_a\":1,\"node_b\":2,\"signature\":\"%s\"}", person_sign (&fixture.alice, "punch:1:2"));
  for (guint i = 0; i < N_REQUESTS; i++) {
    g_autoptr (JsonObject) response = client_call (&fixture.client, "%s", requests[i]);
    g_autoptr (JsonNode) node = json_node_init_object (json_node_alloc (), response);
    g_autofree gchar *text = json_to_string (node, FALSE);

    g_assert_true (json_object_has_member (response, "error") == (i == N_REQUESTS - 1));
    for (guint k = 0; k < G_N_ELEMENTS (hidden); k++)
      if (strstr (text, hidden[k]) != NULL)
        g_error ("request %u tells where bob is: %s", i, text);
    g_free (requests[i]);
  }
  fixture_clear (&fixture);
}

/* 17.8: no message gives a node any say over another one, whatever role it may claim: that is the operator's, who has the token. */
static void
test_roles (void)
{
  static const gchar *const refused[] = {
    "{\"type\":\"list_nodes\",\"network_id\":0,\"node_id\":1,\"role\":\"admin\"}",
    "{\"type\":\"beacon_register\",\"beacon_id\":2,\"addr\":\"192.0.2.1:9001\",\"node_id\":1}",
    "{\"type\":\"deregister\",\"node_id\":1}",
    "{\"type\":\"set_hostname\",\"node_id\":1,\"hostname\":\"x\"}",
    "{\"type\":\"kick_member\",\"network_id\":0,\"node_id\":1,\"target_node_id\":2}",
    "{\"type\":\"set_member_role\",\"network_id\":0,\"node_id\":1,\"target_node_id\":1,\"role\":\"owner\"}",
    "{\"type\":\"create_network\",\"node_id\":1,\"name\":\"mine\"}",
  };
  Fixture fixture;

  fixture_init (&fixture, 1800);
  for (guint i = 0; i < G_N_ELEMENTS (refused); i++) {
    g_autoptr (JsonObject) response = client_call (&fixture.client, "%s", refused[i]);

    if (!json_object_has_member (response, "error"))
      g_error ("%s is granted", refused[i]);
  }
  json_object_unref (client_expect (&fixture.client, "lookup_ok", "{\"type\":\"lookup\",\"node_id\":2}"));
  fixture_clear (&fixture);
}

/* 17.2: what the wire does not let us mend. A registration that was listened to and is sent again from elsewhere moves what the registry says of a
 * private address, and the node's own next one moves it back. No key, no trust and no name comes by it. */
static void
test_replayed_register (void)
{
  Fixture fixture;
  Client thief;
  g_autofree gchar *recorded = NULL;
  JsonObject *response;

  fixture_init (&fixture, 1800);
  recorded = g_strdup_printf ("{\"type\":\"register\",\"listen_addr\":\"\",\"public_key\":\"%s\",\"signature\":\"%s\"}", fixture.bob.key,
                              person_sign (&fixture.bob, "register::%s", fixture.bob.key));
  client_open (&thief, &fixture.harness.registry, "127.0.0.9");
  expect_ok (client_call (&thief, "%s", recorded));
  client_expect_error (&thief, "signature required for authenticated node", "{\"type\":\"set_hostname\",\"node_id\":2,\"hostname\":\"mine\"}");
  client_close (&thief);
  person_register (&fixture.bob, &fixture.client, 4002);
  expect_ok (client_call (&fixture.client, "{\"type\":\"set_visibility\",\"node_id\":2,\"public\":true,\"signature\":\"%s\"}",
                          person_sign (&fixture.bob, "set_visibility:2")));
  response = client_expect (&fixture.client, "lookup_ok", "{\"type\":\"lookup\",\"node_id\":2}");
  g_assert_cmpstr (json_object_get_string_member (response, "public_key"), ==, fixture.bob.key);
  g_assert_cmpstr (json_object_get_string_member (response, "real_addr"), ==, "127.0.0.1:4002");
  json_object_unref (response);
  fixture_clear (&fixture);
}

int
main (int argc,
      char **argv)
{
  setlocale (LC_ALL, "");
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/rendezvous/weaknesses/latch", test_latch);
  g_test_add_func ("/rendezvous/weaknesses/fetched-request", test_fetched_request);
  g_test_add_func ("/rendezvous/weaknesses/endpoints", test_endpoints);
  g_test_add_func ("/rendezvous/weaknesses/roles", test_roles);
  g_test_add_func ("/rendezvous/weaknesses/replayed-register", test_replayed_register);
  return g_test_run ();
}
