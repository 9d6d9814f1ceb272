/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <locale.h>
#include <string.h>
#include <sys/socket.h>

#include "fixture.h"

/* Trust in the registry: handshakes, consent, inboxes, over real sockets: from the conformance list of the registry notes, section 20. Numbers in
 * comments are those of the list. */

/* 26, 27, 28 */
static void
test_handshake (void)
{
  Fixture fixture;
  Client *client = &fixture.client;
  g_autofree gchar *large = g_strnfill (1025, 'x');
  JsonObject *response, *item;
  guint32 a, b;

  fixture_init (&fixture);
  register_both (&fixture);
  a = fixture.alice.id;
  b = fixture.bob.id;
  client_expect_error (client, "handshake request signature verification failed", "{\"type\":\"request_handshake\",\"from_node_id\":%u,"
                                                                                  "\"to_node_id\":%u,\"signature\":\"%s\"}",
                       a, b, person_sign (&fixture.bob, "handshake:%u:%u", a, b));
  client_expect_error (client, "handshake request requires signature", "{\"type\":\"request_handshake\",\"from_node_id\":%u,"
                                                                       "\"to_node_id\":%u}",
                       a, b);
  client_expect_error (client, "justification too large: 1025 bytes (max 1024)", "{\"type\":\"request_handshake\",\"from_node_id\":%u,"
                                                                                 "\"to_node_id\":%u,\"justification\":\"%s\",\"signature\":\"%s\"}",
                       a, b, large,
                       person_sign (&fixture.alice, "handshake:%u:%u", a, b));
  client_expect_error (client, "node 99: node not found", "{\"type\":\"request_handshake\",\"from_node_id\":%u,\"to_node_id\":99,"
                                                          "\"signature\":\"%s\"}",
                       a, person_sign (&fixture.alice, "handshake:%u:99", a));
  client_expect_error (client, "no pending handshake request from node 1", "{\"type\":\"respond_handshake\",\"node_id\":%u,\"peer_id\":%u,"
                                                                           "\"accept\":true,\"signature\":\"%s\"}",
                       b, a, person_sign (&fixture.bob, "respond:%u:%u", b, a));

  person_request (&fixture.alice, client, b, "let me in");
  client_expect_error (client, "handshake request already pending from node 1", "{\"type\":\"request_handshake\",\"from_node_id\":%u,"
                                                                                "\"to_node_id\":%u,\"justification\":\"again\",\"signature\":\"%s\"}",
                       a, b,
                       person_sign (&fixture.alice, "handshake:%u:%u", a, b));
  client_expect_error (client, "signature verification failed", "{\"type\":\"poll_handshakes\",\"node_id\":%u,\"signature\":\"%s\"}", b,
                       person_sign (&fixture.alice, "poll_handshakes:%u", b));
  response = person_poll (&fixture.bob, client);
  g_assert_cmpuint (json_array_get_length (json_object_get_array_member (response, "requests")), ==, 1);
  g_assert_cmpuint (json_array_get_length (json_object_get_array_member (response, "responses")), ==, 0);
  item = json_array_get_object_element (json_object_get_array_member (response, "requests"), 0);
  g_assert_cmpint (json_object_get_int_member (item, "from_node_id"), ==, a);
  g_assert_cmpstr (json_object_get_string_member (item, "justification"), ==, "let me in");
  g_assert_cmpint (json_object_get_int_member (item, "timestamp"), ==, g_atomic_int_get (&harness_time));
  json_object_unref (response);
  response = person_poll (&fixture.bob, client);
  g_assert_cmpuint (json_array_get_length (json_object_get_array_member (response, "requests")), ==, 0);
  json_object_unref (response);

  /* No, and then, later, yes. */
  expect_ok (respond (client, &fixture.bob, a, FALSE));
  g_assert_false (check_trust (client, a, b));
  response = person_poll (&fixture.alice, client);
  item = json_array_get_object_element (json_object_get_array_member (response, "responses"), 0);
  g_assert_false (json_object_get_boolean_member (item, "accept"));
  g_assert_cmpint (json_object_get_int_member (item, "from_node_id"), ==, b);
  json_object_unref (response);
  expect_ok (respond (client, &fixture.bob, a, TRUE));
  g_assert_true (check_trust (client, a, b));
  g_assert_true (check_trust (client, b, a));
  g_assert_true (can_resolve (client, &fixture.alice, b));
  g_assert_true (can_resolve (client, &fixture.bob, a));
  /* A Go daemon answers twice; the requester hears it once. */
  expect_ok (respond (client, &fixture.bob, a, TRUE));
  response = person_poll (&fixture.alice, client);
  g_assert_cmpuint (json_array_get_length (json_object_get_array_member (response, "responses")), ==, 1);
  item = json_array_get_object_element (json_object_get_array_member (response, "responses"), 0);
  g_assert_true (json_object_get_boolean_member (item, "accept"));
  json_object_unref (response);
  response = person_poll (&fixture.alice, client);
  g_assert_cmpuint (json_array_get_length (json_object_get_array_member (response, "responses")), ==, 0);
  json_object_unref (response);
  fixture_clear (&fixture);
}

static JsonObject *
revoke_trust (Client *client,
              Person *who,
              guint32 peer)
{
  return client_call (client, "{\"type\":\"revoke_trust\",\"node_id\":%u,\"peer_id\":%u,\"signature\":\"%s\"}", who->id, peer,
                      person_sign (who, "revoke_trust:%u:%u", who->id, peer));
}

/* 29, 30, 31 */
static void
test_consent (void)
{
  Fixture fixture;
  Client *client = &fixture.client;
  g_autoptr (JsonObject) error = NULL;
  guint32 a, b;

  fixture_init (&fixture);
  register_both (&fixture);
  a = fixture.alice.id;
  b = fixture.bob.id;
  /* One side alone gets nothing by it. */
  person_report (&fixture.alice, client, b);
  g_assert_false (check_trust (client, a, b));
  g_assert_false (can_resolve (client, &fixture.alice, b));
  person_report (&fixture.bob, client, a);
  g_assert_true (check_trust (client, a, b));
  g_assert_true (can_resolve (client, &fixture.alice, b));
  g_assert_true (can_resolve (client, &fixture.bob, a));
  g_assert_false (check_trust (client, a, 99));
  g_assert_false (check_trust (client, 98, 99));

  expect_ok (revoke_trust (client, &fixture.bob, a));
  g_assert_false (check_trust (client, a, b));
  g_assert_false (can_resolve (client, &fixture.alice, b));
  error = revoke_trust (client, &fixture.bob, a);
  g_assert_cmpstr (json_object_get_string_member (error, "error"), ==, "no trust pair between 2 and 1");

  /* A request and the approver's report, in the order in which Go sends them; the report must not eat the request. */
  person_request (&fixture.alice, client, b, "");
  person_report (&fixture.bob, client, a);
  g_assert_true (check_trust (client, a, b));
  expect_ok (respond (client, &fixture.bob, a, TRUE));
  g_assert_true (can_resolve (client, &fixture.alice, b));

  /* Revoked before the answer was polled: it is not delivered any more. */
  expect_ok (revoke_trust (client, &fixture.bob, a));
  {
    g_autoptr (JsonObject) response = person_poll (&fixture.alice, client);

    g_assert_cmpuint (json_array_get_length (json_object_get_array_member (response, "responses")), ==, 0);
  }

  /* A peer that is away: the order of coming back does not matter. */
  expect_ok (client_call (client, "{\"type\":\"deregister\",\"node_id\":%u,\"signature\":\"%s\"}", b,
                          person_sign (&fixture.bob, "deregister:%u", b)));
  person_report (&fixture.alice, client, b);
  person_register (&fixture.bob, client, 4002);
  g_assert_cmpuint (fixture.bob.id, ==, b);
  person_report (&fixture.bob, client, a);
  g_assert_true (check_trust (client, a, b));
  fixture_clear (&fixture);
}

static void
test_reference_consent (void)
{
  Fixture fixture;

  harness_init (&fixture.harness, NULL);
  fixture.harness.options.reference_consent = TRUE;
  harness_start (&fixture.harness);
  client_open (&fixture.client, &fixture.harness.registry, NULL);
  person_init (&fixture.alice, 'a');
  person_init (&fixture.bob, 'b');
  register_both (&fixture);
  person_request (&fixture.alice, &fixture.client, fixture.bob.id, "");
  g_assert_false (check_trust (&fixture.client, 1, 2));
  person_report (&fixture.alice, &fixture.client, fixture.bob.id);
  g_assert_true (check_trust (&fixture.client, 1, 2));
  g_assert_true (can_resolve (&fixture.client, &fixture.alice, fixture.bob.id));
  fixture_clear (&fixture);
}

/* 26: the hundred and first. */
static void
test_inbox_full (void)
{
  Fixture fixture;
  Client *client = &fixture.client;
  Person person;

  fixture_init (&fixture);
  person_register (&fixture.bob, client, 4002);
  for (guint i = 0; i < 101; i++) {
    guint8 seed[PILOT_ED25519_SEED_SIZE] = { 1, (guint8) i };
    g_autofree gchar *key = NULL;

    memset (&person, 0, sizeof person);
    pilot_identity_init (&person.identity, seed);
    key = g_base64_encode (person.identity.public_key, sizeof person.identity.public_key);
    g_strlcpy (person.key, key, sizeof person.key);
    person_register (&person, client, 4000);
    if (i < 100)
      person_request (&person, client, fixture.bob.id, "me too");
  }
  client_expect_error (client, "handshake inbox full for node 1", "{\"type\":\"request_handshake\",\"from_node_id\":%u,\"to_node_id\":1,"
                                                                  "\"justification\":\"\",\"signature\":\"%s\"}",
                       person.id, person_sign (&person, "handshake:%u:1", person.id));
  fixture_clear (&fixture);
}

/* 17.9: the answer to a poll that never arrived is given again. */
static void
test_lost_poll (void)
{
  Fixture fixture;
  Client broken;
  struct linger linger = { 1, 0 };
  JsonObject *response;
  guint8 byte;

  fixture_init (&fixture);
  register_both (&fixture);
  person_request (&fixture.alice, &fixture.client, 2, "hello");
  client_open (&broken, &fixture.harness.registry, NULL);
  {
    g_autofree gchar *body = g_strdup_printf ("{\"type\":\"poll_handshakes\",\"node_id\":2,\"signature\":\"%s\"}",
                                              person_sign (&fixture.bob, "poll_handshakes:2"));

    client_send (&broken, body);
  }
  /* The answer is in the host, and the program dies before it reads it: a reset. */
  g_assert_cmpint (recv (broken.fd, &byte, 1, MSG_PEEK), ==, 1);
  g_assert_cmpint (setsockopt (broken.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), ==, 0);
  client_close (&broken);
  response = person_poll (&fixture.bob, &fixture.client);
  g_assert_cmpuint (json_array_get_length (json_object_get_array_member (response, "requests")), ==, 1);
  json_object_unref (response);
  response = person_poll (&fixture.bob, &fixture.client);
  g_assert_cmpuint (json_array_get_length (json_object_get_array_member (response, "requests")), ==, 0);
  json_object_unref (response);
  fixture_clear (&fixture);
}

int
main (int argc,
      char **argv)
{
  setlocale (LC_ALL, "");
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/rendezvous/trust/handshake", test_handshake);
  g_test_add_func ("/rendezvous/trust/consent", test_consent);
  g_test_add_func ("/rendezvous/trust/reference-consent", test_reference_consent);
  g_test_add_func ("/rendezvous/trust/inbox-full", test_inbox_full);
  g_test_add_func ("/rendezvous/trust/lost-poll", test_lost_poll);
  return g_test_run ();
}
