/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <locale.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "harness.h"
#include "protocol/bytes.h"

/* The registry over real sockets: the conformance list of the registry notes, section 20, as far as it is about the server, and
 * clients that mean harm. Numbers in comments are those of the list. */

typedef struct
{
  Harness harness;
  Client client;
  Person alice;
  Person bob;
} Fixture;

static void
fixture_init (Fixture *fixture)
{
  harness_init (&fixture->harness, NULL);
  harness_start (&fixture->harness);
  client_open (&fixture->client, &fixture->harness.registry, NULL);
  person_init (&fixture->alice, 'a');
  person_init (&fixture->bob, 'b');
}

static void
fixture_clear (Fixture *fixture)
{
  client_close (&fixture->client);
  harness_stop (&fixture->harness);
  g_assert_null (fixture->harness.failure);
  harness_clear (&fixture->harness);
}

static void
register_both (Fixture *fixture)
{
  person_register (&fixture->alice, &fixture->client, 4001);
  person_register (&fixture->bob, &fixture->client, 4002);
}

static JsonObject *
lookup (Client *client,
        guint32 id)
{
  return client_expect (client, "lookup_ok", "{\"type\":\"lookup\",\"node_id\":%u}", id);
}

static JsonObject *
resolve (Client *client,
         Person *who,
         guint32 target)
{
  return client_call (client, "{\"type\":\"resolve\",\"requester_id\":%u,\"node_id\":%u,\"signature\":\"%s\"}", who->id, target,
                      person_sign (who, "resolve:%u:%u", who->id, target));
}

static gboolean
can_resolve (Client *client,
             Person *who,
             guint32 target)
{
  g_autoptr (JsonObject) response = resolve (client, who, target);

  if (!json_object_has_member (response, "error"))
    return TRUE;
  g_assert_nonnull (strstr (json_object_get_string_member (response, "error"), "is private"));
  return FALSE;
}

static JsonObject *
respond (Client *client,
         Person *who,
         guint32 peer,
         gboolean accept)
{
  return client_call (client, "{\"type\":\"respond_handshake\",\"node_id\":%u,\"peer_id\":%u,\"accept\":%s,\"signature\":\"%s\"}",
                      who->id, peer, accept ? "true" : "false", person_sign (who, "respond:%u:%u", who->id, peer));
}

static void
expect_ok (JsonObject *response)
{
  if (json_object_has_member (response, "error"))
    g_error ("unexpected: %s", json_object_get_string_member (response, "error"));
  json_object_unref (response);
}

/* 1, 3, 38 */
static void
test_framing (void)
{
  Fixture fixture;
  guint8 bytes[200] = { 0, 0, 0, 22 };
  g_autoptr (JsonObject) first = NULL, second = NULL, third = NULL;

  fixture_init (&fixture);
  memcpy (bytes + 4, "{\"type\":\"beacon_list\"}", 22);
  memcpy (bytes + 26, "\0\0\0\x19{\"type\":\"list_networks\"} ", 29);
  /* Back to back in one segment; then the rest a byte at a time. */
  client_write (&fixture.client, bytes, 26 + 4 + 25);
  first = client_receive (&fixture.client);
  second = client_receive (&fixture.client);
  g_assert_cmpstr (json_object_get_string_member (first, "type"), ==, "beacon_list_ok");
  g_assert_cmpstr (json_object_get_string_member (second, "type"), ==, "list_networks_ok");
  for (guint i = 0; i < 26; i++)
    client_write (&fixture.client, bytes + i, 1);
  third = client_receive (&fixture.client);
  g_assert_cmpstr (json_object_get_string_member (third, "type"), ==, "beacon_list_ok");

  client_expect_error (&fixture.client, "unknown message type: \"fly\"", "{\"type\":\"fly\"}");
  client_expect_error (&fixture.client, "unknown message type: \"\"", "{\"typ\":\"beacon_list\"}");
  client_expect_error (&fixture.client, "unknown message type: \"\"", "{\"type\":5}");
  expect_ok (client_call (&fixture.client, "{\"type\":\"beacon_list\"}"));
  fixture_clear (&fixture);
}

/* A hundred requests at once are answered in order. */
static void
test_pipeline (void)
{
  Fixture fixture;
  g_autoptr (GByteArray) all = g_byte_array_new ();

  fixture_init (&fixture);
  register_both (&fixture);
  for (guint i = 0; i < 100; i++) {
    /* Every other one is a change that waits for the store. */
    g_autofree gchar *body = i % 2 == 0
                                 ? g_strdup_printf ("{\"type\":\"set_hostname\",\"node_id\":%u,\"hostname\":\"h%u\",\"signature\":\"%s\"}", fixture.alice.id, i,
                                                    person_sign (&fixture.alice, "set_hostname:%u", fixture.alice.id))
                                 : g_strdup_printf ("{\"type\":\"lookup\",\"node_id\":%u}", fixture.alice.id);
    guint32 length = GUINT32_TO_BE ((guint32) strlen (body));

    g_byte_array_append (all, (guint8 *) &length, sizeof length);
    g_byte_array_append (all, (guint8 *) body, (guint) strlen (body));
  }
  client_write (&fixture.client, all->data, all->len);
  for (guint i = 0; i < 100; i++) {
    g_autoptr (JsonObject) response = client_receive (&fixture.client);
    g_autofree gchar *name = g_strdup_printf ("h%u", i - i % 2);

    g_assert_nonnull (response);
    g_assert_cmpstr (json_object_get_string_member (response, "type"), ==, i % 2 == 0 ? "set_hostname_ok" : "lookup_ok");
    g_assert_cmpstr (json_object_get_string_member (response, "hostname"), ==, name);
  }
  fixture_clear (&fixture);
}

/* 2 */
static void
test_rubbish (void)
{
  static const struct {
    const gchar *bytes;
    gsize length;
  } rubbish[] = {
    { "\0\0\0\0", 4 },
    { "\0\1\0\1", 4 }, /* 65537 */
    { "\4\0\0\0", 4 }, /* 64 MiB */
    { "\377\377\377\377", 4 },
    { "GET / HTTP/1.1\r\n\r\n", 18 },
    { "PILT\1", 5 },
    { "\0\0\0\2[]", 6 },
    { "\0\0\0\5hello", 9 },
    { "\0\0\0\1{", 5 },
    { "\0\0\0\4\"ab\"", 8 },
    { "\0\0\0\3{}}", 7 },
    { "\0\0\0\5{\"\xff\":1}", 9 },
  };
  Fixture fixture;

  fixture_init (&fixture);
  for (guint i = 0; i < G_N_ELEMENTS (rubbish); i++) {
    Client client;

    client_open (&client, &fixture.harness.registry, NULL);
    client_write (&client, rubbish[i].bytes, rubbish[i].length);
    client_expect_close (&client);
    client_close (&client);
    /* Nobody else suffers. */
    expect_ok (client_call (&fixture.client, "{\"type\":\"beacon_list\"}"));
  }
  fixture_clear (&fixture);
}

/* 7, 8, 9, 10, 11, 12, 13, 14 */
static void
test_register (void)
{
  static const struct {
    const gchar *listen, *stored;
  } endpoints[] = {
    { "127.0.0.1:4000", "127.0.0.1:4000" },
    { "0.0.0.0:4000", "127.0.0.1:4000" },
    { "10.0.0.5:4000", "127.0.0.1:4000" },
    { "[::]:4000", "127.0.0.1:4000" },
    { ":4000", "127.0.0.1:4000" },
    { "name.example:4000", "127.0.0.1:4000" },
    { "224.0.0.1:4000", "127.0.0.1:4000" },
    { "203.0.113.7:4000", "203.0.113.7:4000" }, /* public, and signed */
    { "[2001:db8::7]:4000", "[2001:db8::7]:4000" },
  };
  Fixture fixture;
  Person *alice = &fixture.alice;
  JsonObject *response;

  fixture_init (&fixture);
  client_expect_error (&fixture.client, "registration requires public_key", "{\"type\":\"register\",\"listen_addr\":\"\"}");
  for (guint i = 0; i < 3; i++) {
    g_autofree gchar *key = g_strdup (alice->key);
    g_autofree gchar *signature = g_strdup (person_sign (alice, "register:127.0.0.1:1:%s", alice->key));

    signature[3] = i == 0 ? (signature[3] == 'A' ? 'B' : 'A') : signature[3];
    key[3] = i == 2 ? (key[3] == 'A' ? 'B' : 'A') : key[3];
    client_expect_error (&fixture.client, "registration: signature verification failed", "{\"type\":\"register\",\"listen_addr\":"
                                                                                         "\"127.0.0.1:%d\",\"public_key\":\"%s\",\"signature\":\"%s\"}",
                         i == 1 ? 2 : 1, key, signature);
  }
  client_expect_error (&fixture.client, "registration: invalid signature encoding",
                       "{\"type\":\"register\",\"public_key\":\"%s\",\"signature\":\"??\"}", alice->key);

  /* Unsigned, as v1.9 does; its claim of a public address counts for nothing. */
  response = client_expect (&fixture.client, "register_ok", "{\"type\":\"register\",\"listen_addr\":\"203.0.113.9:4000\",\"public_key\":\"%s\"}",
                            alice->key);
  g_assert_cmpint (json_object_get_int_member (response, "node_id"), ==, 1);
  g_assert_cmpstr (json_object_get_string_member (response, "address"), ==, "0:0000.0000.0001");
  g_assert_cmpstr (json_object_get_string_member (response, "observed_addr"), ==, "127.0.0.1:4000");
  g_assert_cmpstr (json_object_get_string_member (response, "public_key"), ==, alice->key);
  g_assert_cmpint (json_object_get_int_member (response, "network_id"), ==, 0);
  g_assert_cmpint (json_object_get_int_member (response, "protocol_version"), ==, 1);
  json_object_unref (response);

  for (guint i = 0; i < G_N_ELEMENTS (endpoints); i++) {
    response = client_expect (&fixture.client, "register_ok", "{\"type\":\"register\",\"listen_addr\":\"%s\",\"public_key\":\"%s\","
                                                              "\"signature\":\"%s\"}",
                              endpoints[i].listen, alice->key,
                              person_sign (alice, "register:%s:%s", endpoints[i].listen, alice->key));
    g_assert_cmpint (json_object_get_int_member (response, "node_id"), ==, 1);
    g_assert_cmpstr (json_object_get_string_member (response, "observed_addr"), ==, endpoints[i].stored);
    json_object_unref (response);
  }
  /* Once signed, always signed; also when it was gone for a while. */
  client_expect_error (&fixture.client, "node 1: unsigned registration cannot modify a signature-verified key",
                       "{\"type\":\"register\",\"public_key\":\"%s\"}", alice->key);
  alice->id = 1;
  expect_ok (client_call (&fixture.client, "{\"type\":\"deregister\",\"node_id\":1,\"signature\":\"%s\"}",
                          person_sign (alice, "deregister:1")));
  client_expect_error (&fixture.client, "node 1: node not found", "{\"type\":\"lookup\",\"node_id\":1}");
  client_expect_error (&fixture.client, "node 1: unsigned registration cannot modify a signature-verified key",
                       "{\"type\":\"register\",\"public_key\":\"%s\"}", alice->key);

  person_register (&fixture.bob, &fixture.client, 4000);
  g_assert_cmpuint (fixture.bob.id, ==, 2);
  person_register (alice, &fixture.client, 4000);
  g_assert_cmpuint (alice->id, ==, 1);

  /* An empty listen_addr: the connection's address and port. */
  response = client_expect (&fixture.client, "register_ok", "{\"type\":\"register\",\"public_key\":\"%s\",\"signature\":\"%s\"}",
                            alice->key, person_sign (alice, "register::%s", alice->key));
  g_assert_true (g_str_has_prefix (json_object_get_string_member (response, "observed_addr"), "127.0.0.1:"));
  g_assert_cmpstr (json_object_get_string_member (response, "observed_addr"), !=, "127.0.0.1:4000");
  json_object_unref (response);
  fixture_clear (&fixture);
}

/* 17.4, 17.6, 17.11: an owner is a label, a key has one spelling, lists are bounded. */
static void
test_register_weaknesses (void)
{
  Fixture fixture;
  g_autoptr (GString) lan = g_string_new ("\"8.8.8.8:53\",\"127.0.0.1:1\",\"rubbish\"");
  g_autofree gchar *key = NULL;
  JsonObject *response;
  gsize last;

  fixture_init (&fixture);
  for (guint i = 0; i < 2; i++) {
    Person *who = i == 0 ? &fixture.alice : &fixture.bob;

    response = client_expect (&fixture.client, "register_ok", "{\"type\":\"register\",\"owner\":\"me@example.org\",\"public_key\":\"%s\"}",
                              who->key);
    who->id = (guint32) json_object_get_int_member (response, "node_id");
    json_object_unref (response);
  }
  g_assert_cmpuint (fixture.alice.id, !=, fixture.bob.id);

  /* The last digit's unused bits. */
  key = g_strdup (fixture.alice.key);
  last = strlen (key) - 2;
  key[last]++;
  client_expect_error (&fixture.client, "invalid public key: want canonical standard base64 of 32 bytes",
                       "{\"type\":\"register\",\"public_key\":\"%s\"}", key);

  for (guint i = 0; i < 40; i++)
    g_string_append_printf (lan, ",\"192.168.1.%u:4000\"", i);
  person_register (&fixture.bob, &fixture.client, 4002);
  expect_ok (client_call (&fixture.client, "{\"type\":\"register\",\"lan_addrs\":[%s],\"listen_addr\":\"\",\"public_key\":\"%s\",\"signature\":"
                                           "\"%s\"}",
                          lan->str, fixture.bob.key, person_sign (&fixture.bob, "register::%s", fixture.bob.key)));
  expect_ok (client_call (&fixture.client, "{\"type\":\"set_visibility\",\"node_id\":%u,\"public\":true,\"signature\":\"%s\"}", fixture.bob.id,
                          person_sign (&fixture.bob, "set_visibility:%u", fixture.bob.id)));
  person_register (&fixture.alice, &fixture.client, 4001);
  response = resolve (&fixture.client, &fixture.alice, fixture.bob.id);
  g_assert_cmpuint (json_array_get_length (json_object_get_array_member (response, "lan_addrs")), ==, 16);
  g_assert_cmpstr (json_array_get_string_element (json_object_get_array_member (response, "lan_addrs"), 0), ==, "192.168.1.0:4000");
  json_object_unref (response);
  fixture_clear (&fixture);
}

/* 15, 16, 17, 18 */
static void
test_heartbeat (void)
{
  Fixture fixture;
  g_autofree gchar *url = NULL;
  JsonObject *response;
  guint32 a, b;

  fixture_init (&fixture);
  register_both (&fixture);
  a = fixture.alice.id;
  b = fixture.bob.id;
  for (guint i = 0; i < 2; i++) {
    response = client_expect (&fixture.client, "heartbeat_ok", "{\"type\":\"heartbeat\",\"node_id\":%u,\"signature\":\"%s\"}", a,
                              person_sign (&fixture.alice, "heartbeat:%u", a));
    g_assert_cmpint (json_object_get_int_member (response, "time"), ==, g_atomic_int_get (&harness_time));
    json_object_unref (response);
    /* Verified every time, also right after a good one. */
    client_expect_error (&fixture.client, "signature verification failed", "{\"type\":\"heartbeat\",\"node_id\":%u,\"signature\":\"%s\"}", a,
                         person_sign (&fixture.bob, "heartbeat:%u", a));
    client_expect_error (&fixture.client, "signature required for authenticated node", "{\"type\":\"heartbeat\",\"node_id\":%u}", a);
  }
  url = g_strdup (person_sign (&fixture.alice, "heartbeat:%u", a));
  url[0] = '_';
  response = client_call (&fixture.client, "{\"type\":\"heartbeat\",\"node_id\":%u,\"signature\":\"%s\"}", a, url);
  g_assert_true (g_str_has_prefix (json_object_get_string_member (response, "error"), "invalid signature encoding"));
  json_object_unref (response);
  client_expect_error (&fixture.client, "node 77: node not found", "{\"type\":\"heartbeat\",\"node_id\":77,\"signature\":\"%s\"}",
                       person_sign (&fixture.alice, "heartbeat:77"));
  client_expect_error (&fixture.client, "node 0: node not found", "{\"type\":\"heartbeat\",\"node_id\":\"%u\"}", a);
  g_assert_cmpuint (a, <, b);
  fixture_clear (&fixture);
}

/* 18: silence; and nobody is reaped in the first threshold after a start (17.12). */
static void
test_reap (void)
{
  Fixture fixture;
  gint start = g_atomic_int_get (&harness_time);
  gboolean gone = FALSE;

  harness_init (&fixture.harness, NULL);
  fixture.harness.options.stale_threshold = 100;
  harness_start (&fixture.harness);
  client_open (&fixture.client, &fixture.harness.registry, NULL);
  person_init (&fixture.alice, 'a');
  person_init (&fixture.bob, 'b');
  register_both (&fixture);
  expect_ok (client_call (&fixture.client, "{\"type\":\"set_hostname\",\"node_id\":%u,\"hostname\":\"alice\",\"signature\":\"%s\"}",
                          fixture.alice.id, person_sign (&fixture.alice, "set_hostname:%u", fixture.alice.id)));
  g_atomic_int_set (&harness_time, start + 150);
  expect_ok (client_call (&fixture.client, "{\"type\":\"heartbeat\",\"node_id\":%u,\"signature\":\"%s\"}", fixture.bob.id,
                          person_sign (&fixture.bob, "heartbeat:%u", fixture.bob.id)));
  for (guint i = 0; i < 250 && !gone; i++) {
    g_autoptr (JsonObject) response = client_call (&fixture.client, "{\"type\":\"lookup\",\"node_id\":%u}", fixture.alice.id);

    gone = json_object_has_member (response, "error");
    if (!gone)
      g_usleep (100 * 1000);
  }
  g_assert_true (gone);
  json_object_unref (lookup (&fixture.client, fixture.bob.id));
  /* The name is free; the id is not. */
  expect_ok (client_call (&fixture.client, "{\"type\":\"set_hostname\",\"node_id\":%u,\"hostname\":\"alice\",\"signature\":\"%s\"}",
                          fixture.bob.id, person_sign (&fixture.bob, "set_hostname:%u", fixture.bob.id)));
  person_register (&fixture.alice, &fixture.client, 4001);
  g_assert_cmpuint (fixture.alice.id, ==, 1);
  fixture_clear (&fixture);
  g_atomic_int_set (&harness_time, start);
}

/* 19, 20, 21, 22, 23 */
static void
test_resolve (void)
{
  Fixture fixture;
  Client *client = &fixture.client;
  JsonObject *response;
  guint32 a, b;

  fixture_init (&fixture);
  register_both (&fixture);
  a = fixture.alice.id;
  b = fixture.bob.id;
  response = lookup (client, b);
  g_assert_false (json_object_get_boolean_member (response, "public"));
  g_assert_cmpstr (json_object_get_string_member (response, "public_key"), ==, fixture.bob.key);
  g_assert_cmpuint (json_array_get_length (json_object_get_array_member (response, "networks")), ==, 1);
  g_assert_false (json_object_has_member (response, "real_addr"));
  g_assert_false (json_object_has_member (response, "endpoint"));
  json_object_unref (response);
  g_assert_false (can_resolve (client, &fixture.alice, b));

  expect_ok (client_call (client, "{\"type\":\"set_visibility\",\"node_id\":%u,\"public\":true,\"signature\":\"%s\"}", b,
                          person_sign (&fixture.bob, "set_visibility:%u", b)));
  response = lookup (client, b);
  g_assert_cmpstr (json_object_get_string_member (response, "real_addr"), ==, "127.0.0.1:4002");
  json_object_unref (response);
  response = resolve (client, &fixture.alice, b);
  g_assert_cmpstr (json_object_get_string_member (response, "real_addr"), ==, "127.0.0.1:4002");
  g_assert_cmpint (json_object_get_int_member (response, "key_age_days"), ==, 0);
  json_object_unref (response);

  client_expect_error (client, "signature verification failed", "{\"type\":\"resolve\",\"requester_id\":%u,\"node_id\":%u,"
                                                                "\"signature\":\"%s\"}",
                       a, b, person_sign (&fixture.alice, "resolve:%u:%u", b, a));
  client_expect_error (client, "resolve denied: requester node 99 is not registered", "{\"type\":\"resolve\",\"requester_id\":99,"
                                                                                      "\"node_id\":%u,\"signature\":\"%s\"}",
                       b, person_sign (&fixture.alice, "resolve:99:%u", b));
  client_expect_error (client, "node 99: node not found", "{\"type\":\"resolve\",\"requester_id\":%u,\"node_id\":99,\"signature\":\"%s\"}",
                       a, person_sign (&fixture.alice, "resolve:%u:99", a));
  fixture_clear (&fixture);
}

/* 24 */
static void
test_relay_only (void)
{
  Fixture fixture;
  Client *client = &fixture.client;
  JsonObject *response;

  fixture_init (&fixture);
  person_register (&fixture.alice, client, 4001);
  response = client_expect (client, "register_ok", "{\"type\":\"register\",\"listen_addr\":\"203.0.113.7:4000\",\"relay_only\":true,"
                                                   "\"lan_addrs\":[\"192.168.1.2:4000\"],\"public_key\":\"%s\",\"signature\":\"%s\"}",
                            fixture.bob.key,
                            person_sign (&fixture.bob, "register:203.0.113.7:4000:%s", fixture.bob.key));
  fixture.bob.id = (guint32) json_object_get_int_member (response, "node_id");
  json_object_unref (response);
  expect_ok (client_call (client, "{\"type\":\"set_visibility\",\"node_id\":%u,\"public\":true,\"signature\":\"%s\"}", fixture.bob.id,
                          person_sign (&fixture.bob, "set_visibility:%u", fixture.bob.id)));
  for (guint i = 0; i < 2; i++) {
    g_autofree gchar *beacon = pilot_endpoint_to_string (&fixture.harness.beacon);

    response = i == 0 ? lookup (client, fixture.bob.id) : resolve (client, &fixture.alice, fixture.bob.id);
    g_assert_cmpstr (json_object_get_string_member (response, "real_addr"), ==, beacon);
    g_assert_true (json_object_get_boolean_member (response, "relay_only"));
    g_assert_false (json_object_has_member (response, "lan_addrs"));
    json_object_unref (response);
  }
  fixture_clear (&fixture);
}

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

/* 32, 33, 17.17 */
static void
test_hostname (void)
{
  static const struct {
    const gchar *name, *error;
  } bad[] = {
    { "Alice", "invalid hostname: hostname must be lowercase alphanumeric with hyphens, start/end with alphanumeric" },
    { "-a", "invalid hostname: hostname must be lowercase alphanumeric with hyphens, start/end with alphanumeric" },
    { "a.b", "invalid hostname: hostname must be lowercase alphanumeric with hyphens, start/end with alphanumeric" },
    { "localhost", "invalid hostname: hostname \"localhost\" is reserved" },
    { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "invalid hostname: hostname too long (max 63 chars)" },
    { "taken", "hostname \"taken\" already in use by node 2" },
  };
  Fixture fixture;
  Client *client = &fixture.client, stranger;
  JsonObject *response;
  guint32 a;

  fixture_init (&fixture);
  register_both (&fixture);
  a = fixture.alice.id;
  expect_ok (client_call (client, "{\"type\":\"set_hostname\",\"node_id\":2,\"hostname\":\"taken\",\"signature\":\"%s\"}",
                          person_sign (&fixture.bob, "set_hostname:2")));
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++)
    client_expect_error (client, bad[i].error, "{\"type\":\"set_hostname\",\"node_id\":%u,\"hostname\":\"%s\",\"signature\":\"%s\"}", a,
                         bad[i].name, person_sign (&fixture.alice, "set_hostname:%u", a));
  response = client_expect (client, "set_hostname_ok", "{\"type\":\"set_hostname\",\"node_id\":%u,\"hostname\":\"alice-1\","
                                                       "\"signature\":\"%s\"}",
                            a, person_sign (&fixture.alice, "set_hostname:%u", a));
  g_assert_cmpstr (json_object_get_string_member (response, "hostname"), ==, "alice-1");
  json_object_unref (response);

  /* Private: a stranger hears what he hears of a name that does not exist. A claimed id without a signature is no help. */
  client_open (&stranger, &fixture.harness.registry, NULL);
  client_expect_error (&stranger, "hostname \"alice-1\" not found", "{\"type\":\"resolve_hostname\",\"hostname\":\"alice-1\"}");
  client_expect_error (&stranger, "hostname \"alice-1\" not found",
                       "{\"type\":\"resolve_hostname\",\"hostname\":\"alice-1\",\"requester_id\":%u}", a);
  client_expect_error (&stranger, "hostname \"nobody\" not found", "{\"type\":\"resolve_hostname\",\"hostname\":\"nobody\"}");
  client_expect_error (&stranger, "hostname required", "{\"type\":\"resolve_hostname\"}");
  /* Who authenticated on this connection asks, as a Go daemon does, without saying who he is; and may when he is trusted. */
  expect_ok (client_call (&stranger, "{\"type\":\"heartbeat\",\"node_id\":2,\"signature\":\"%s\"}", person_sign (&fixture.bob, "heartbeat:2")));
  client_expect_error (&stranger, "hostname \"alice-1\" not found", "{\"type\":\"resolve_hostname\",\"hostname\":\"alice-1\"}");
  person_report (&fixture.alice, client, 2);
  person_report (&fixture.bob, client, a);
  response = client_expect (&stranger, "resolve_hostname_ok", "{\"type\":\"resolve_hostname\",\"hostname\":\"alice-1\"}");
  g_assert_cmpint (json_object_get_int_member (response, "node_id"), ==, a);
  g_assert_false (json_object_get_boolean_member (response, "public"));
  json_object_unref (response);
  client_close (&stranger);
  client_open (&stranger, &fixture.harness.registry, NULL);
  response = client_expect (&stranger, "resolve_hostname_ok", "{\"type\":\"resolve_hostname\",\"hostname\":\"alice-1\",\"requester_id\":2,"
                                                              "\"signature\":\"%s\"}",
                            person_sign (&fixture.bob, "resolve_hostname:2"));
  json_object_unref (response);
  client_close (&stranger);

  /* Cleared, it is free. */
  expect_ok (client_call (client, "{\"type\":\"set_hostname\",\"node_id\":%u,\"hostname\":\"\",\"signature\":\"%s\"}", a,
                          person_sign (&fixture.alice, "set_hostname:%u", a)));
  expect_ok (client_call (client, "{\"type\":\"set_hostname\",\"node_id\":2,\"hostname\":\"alice-1\",\"signature\":\"%s\"}",
                          person_sign (&fixture.bob, "set_hostname:2")));
  fixture_clear (&fixture);
}

static void
test_tags (void)
{
  Fixture fixture;
  Client *client = &fixture.client;
  const gchar *signature;
  JsonObject *response;

  fixture_init (&fixture);
  person_register (&fixture.alice, client, 4001);
  signature = person_sign (&fixture.alice, "set_tags:1");
  response = client_expect (client, "set_tags_ok", "{\"type\":\"set_tags\",\"node_id\":1,\"tags\":[\"#web\",\"web\",\"b-2\"],\"signature\":\"%s\"}",
                            signature);
  g_assert_cmpuint (json_array_get_length (json_object_get_array_member (response, "tags")), ==, 2);
  g_assert_cmpstr (json_array_get_string_element (json_object_get_array_member (response, "tags"), 0), ==, "web");
  json_object_unref (response);
  client_expect_error (client, "empty tag not allowed", "{\"type\":\"set_tags\",\"node_id\":1,\"tags\":[\"#\"],\"signature\":\"%s\"}", signature);
  client_expect_error (client, "tag \"A\" must be lowercase alphanumeric with hyphens",
                       "{\"type\":\"set_tags\",\"node_id\":1,\"tags\":[\"A\"],\"signature\":\"%s\"}", signature);
  client_expect_error (client, "too many tags (max 10)", "{\"type\":\"set_tags\",\"node_id\":1,\"tags\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\","
                                                         "\"h\",\"i\",\"j\",\"k\"],\"signature\":\"%s\"}",
                       signature);
  response = client_expect (client, "set_tags_ok", "{\"type\":\"set_tags\",\"node_id\":1,\"tags\":[],\"signature\":\"%s\"}", signature);
  g_assert_true (json_object_get_null_member (response, "tags"));
  json_object_unref (response);
  fixture_clear (&fixture);
}

/* 34, 35 */
static void
test_rotate (void)
{
  Fixture fixture;
  Client *client = &fixture.client;
  Person carol;
  JsonObject *response;

  fixture_init (&fixture);
  register_both (&fixture);
  person_init (&carol, 'c');
  client_expect_error (client, "signature verification failed", "{\"type\":\"rotate_key\",\"node_id\":1,\"new_public_key\":\"%s\","
                                                                "\"signature\":\"%s\"}",
                       carol.key, person_sign (&fixture.alice, "rotate:1")); /* the old, short form */
  client_expect_error (client, "rotate_key requires a valid signature", "{\"type\":\"rotate_key\",\"node_id\":1,\"new_public_key\":\"%s\"}", carol.key);
  client_expect_error (client, "invalid new_public_key: already in use by node 2", "{\"type\":\"rotate_key\",\"node_id\":1,"
                                                                                   "\"new_public_key\":\"%s\",\"signature\":\"%s\"}",
                       fixture.bob.key,
                       person_sign (&fixture.alice, "rotate:1:%s", fixture.bob.key));
  response = client_expect (client, "rotate_key_ok", "{\"type\":\"rotate_key\",\"node_id\":1,\"new_public_key\":\"%s\",\"signature\":\"%s\"}",
                            carol.key, person_sign (&fixture.alice, "rotate:1:%s", carol.key));
  g_assert_cmpstr (json_object_get_string_member (response, "public_key"), ==, carol.key);
  g_assert_cmpstr (json_object_get_string_member (response, "address"), ==, "0:0000.0000.0001");
  json_object_unref (response);
  response = lookup (client, 1);
  g_assert_cmpstr (json_object_get_string_member (response, "public_key"), ==, carol.key);
  g_assert_cmpint (json_object_get_int_member (response, "key_generation"), ==, 1);
  json_object_unref (response);
  client_expect_error (client, "signature verification failed", "{\"type\":\"heartbeat\",\"node_id\":1,\"signature\":\"%s\"}",
                       person_sign (&fixture.alice, "heartbeat:1"));
  person_register (&carol, client, 4001);
  g_assert_cmpuint (carol.id, ==, 1);
  expect_ok (client_call (client, "{\"type\":\"deregister\",\"node_id\":99}"));
  client_expect_error (client, "signature required for authenticated node", "{\"type\":\"deregister\",\"node_id\":1}");
  fixture_clear (&fixture);
}

/* 36, 37 */
static void
test_networks (void)
{
  Fixture fixture;
  Client *client = &fixture.client;
  JsonObject *response, *network;

  harness_init (&fixture.harness, NULL);
  fixture.harness.options.service.admin_token = (gchar *) "sesame";
  fixture.harness.options.service.advertised_beacon = (gchar *) "beacon.example:9001";
  harness_start (&fixture.harness);
  client_open (client, &fixture.harness.registry, NULL);
  person_init (&fixture.alice, 'a');
  person_init (&fixture.bob, 'b');
  register_both (&fixture);
  client_expect_error (client, "listing backbone nodes is not permitted (use lookup with a specific node_id)",
                       "{\"type\":\"list_nodes\",\"network_id\":0}");
  client_expect_error (client, "invalid admin token", "{\"type\":\"list_nodes\",\"network_id\":0,\"admin_token\":\"sesamf\"}");
  client_expect_error (client, "network 7: network not found", "{\"type\":\"list_nodes\",\"network_id\":7}");
  response = client_expect (client, "list_nodes_ok", "{\"type\":\"list_nodes\",\"network_id\":0,\"admin_token\":\"sesame\"}");
  g_assert_cmpuint (json_array_get_length (json_object_get_array_member (response, "nodes")), ==, 2);
  json_object_unref (response);
  response = client_expect (client, "list_networks_ok", "{\"type\":\"list_networks\"}");
  network = json_array_get_object_element (json_object_get_array_member (response, "networks"), 0);
  g_assert_cmpint (json_object_get_int_member (network, "id"), ==, 0);
  g_assert_cmpstr (json_object_get_string_member (network, "name"), ==, "backbone");
  g_assert_cmpint (json_object_get_int_member (network, "created"), >, 0);
  json_object_unref (response);
  response = client_expect (client, "get_network_policy_ok", "{\"type\":\"get_network_policy\",\"network_id\":0}");
  g_assert_cmpuint (json_array_get_length (json_object_get_array_member (response, "allowed_ports")), ==, 0);
  json_object_unref (response);
  response = client_expect (client, "poll_invites_ok", "{\"type\":\"poll_invites\",\"node_id\":1,\"signature\":\"%s\"}",
                            person_sign (&fixture.alice, "poll_invites:1"));
  g_assert_cmpuint (json_array_get_length (json_object_get_array_member (response, "invites")), ==, 0);
  json_object_unref (response);

  client_expect_error (client, "invalid admin token", "{\"type\":\"beacon_register\",\"beacon_id\":2,\"addr\":\"192.0.2.1:9001\"}");
  expect_ok (client_call (client, "{\"type\":\"beacon_register\",\"beacon_id\":2,\"addr\":\"192.0.2.1:9001\",\"admin_token\":\"sesame\"}"));
  response = client_expect (client, "beacon_list_ok", "{\"type\":\"beacon_list\"}");
  g_assert_cmpuint (json_array_get_length (json_object_get_array_member (response, "beacons")), ==, 2);
  json_object_unref (response);
  /* The operator may name a node, where its signature is missing. */
  expect_ok (client_call (client, "{\"type\":\"set_hostname\",\"node_id\":1,\"hostname\":\"first\",\"admin_token\":\"sesame\"}"));
  client_expect_error (client, "signature required for authenticated node", "{\"type\":\"heartbeat\",\"node_id\":1,\"admin_token\":\"sesame\"}");
  fixture_clear (&fixture);
}

static void
fail_next (Harness *harness,
           gpointer data)
{
  pilot_store_memory_fail (harness->store, GPOINTER_TO_UINT (data));
}

/* A full disk: the caller is told, the change is undone, and the server goes on. */
static void
test_commit_fails (void)
{
  Fixture fixture;
  Client *client = &fixture.client;
  JsonObject *response;

  fixture_init (&fixture);
  register_both (&fixture);
  person_report (&fixture.alice, client, 2);
  g_log_set_always_fatal (G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL); /* the server warns, as it should */
  harness_run (&fixture.harness, fail_next, GUINT_TO_POINTER (1));
  client_expect_error (client, "request failed: the registry cannot save its state", "{\"type\":\"report_trust\",\"node_id\":2,\"peer_id\":1,"
                                                                                     "\"signature\":\"%s\"}",
                       person_sign (&fixture.bob, "report_trust:2:1"));
  g_assert_false (check_trust (client, 1, 2));
  /* A new id that was refused is given to the next one. */
  harness_run (&fixture.harness, fail_next, GUINT_TO_POINTER (1));
  client_expect_error (client, "request failed: the registry cannot save its state", "{\"type\":\"register\",\"public_key\":\"%s\"}",
                       "/FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU=");
  response = client_expect (client, "register_ok", "{\"type\":\"register\",\"public_key\":\"%s\"}",
                            "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=");
  g_assert_cmpint (json_object_get_int_member (response, "node_id"), ==, 3);
  json_object_unref (response);
  person_report (&fixture.bob, client, 1);
  g_assert_true (check_trust (client, 1, 2));
  fixture_clear (&fixture);
}

/* 11, 46: everything is there after a restart, in a store on disk. */
static void
test_restart (void)
{
  g_autoptr (GError) error = NULL;
  g_autofree gchar *folder = g_dir_make_tmp ("rendezvous-restart-XXXXXX", &error);
  g_autofree gchar *path = g_build_filename (folder, "store.db", NULL);
  Fixture fixture;
  JsonObject *response;

  for (guint round = 0; round < 2; round++) {
    PilotStore *store = pilot_store_sqlite_new (path, &error);

    g_assert_no_error (error);
    harness_init (&fixture.harness, store);
    harness_start (&fixture.harness);
    client_open (&fixture.client, &fixture.harness.registry, NULL);
    if (round == 0) {
      person_init (&fixture.alice, 'a');
      person_init (&fixture.bob, 'b');
      register_both (&fixture);
      person_report (&fixture.alice, &fixture.client, 2);
      person_request (&fixture.bob, &fixture.client, 1, "hello");
    } else {
      g_assert_true (check_trust (&fixture.client, 1, 2));
      client_expect_error (&fixture.client, "node 1: unsigned registration cannot modify a signature-verified key",
                           "{\"type\":\"register\",\"public_key\":\"%s\"}", fixture.alice.key);
      response = person_poll (&fixture.alice, &fixture.client);
      g_assert_cmpuint (json_array_get_length (json_object_get_array_member (response, "requests")), ==, 1);
      json_object_unref (response);
      person_register (&fixture.bob, &fixture.client, 4002);
      g_assert_cmpuint (fixture.bob.id, ==, 2);
    }
    fixture_clear (&fixture);
  }
  g_unlink (path);
  g_assert_cmpint (g_rmdir (folder), ==, 0);
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

/* A started request has a deadline; it holds nobody else, and idle ones stay. */
static void
test_slow (void)
{
  Fixture fixture;
  Client slow[20];
  gint64 start;

  harness_init (&fixture.harness, NULL);
  fixture.harness.options.server.frame_timeout = 2;
  harness_start (&fixture.harness);
  client_open (&fixture.client, &fixture.harness.registry, NULL);
  start = g_get_monotonic_time ();
  for (guint i = 0; i < G_N_ELEMENTS (slow); i++) {
    client_open (&slow[i], &fixture.harness.registry, NULL);
    client_write (&slow[i], "\0\0\xff\xff{\"type", 10);
  }
  expect_ok (client_call (&fixture.client, "{\"type\":\"beacon_list\"}"));
  for (guint i = 0; i < G_N_ELEMENTS (slow); i++) {
    client_expect_close (&slow[i]);
    client_close (&slow[i]);
  }
  g_assert_cmpint (g_get_monotonic_time () - start, >=, 2 * G_USEC_PER_SEC);
  expect_ok (client_call (&fixture.client, "{\"type\":\"beacon_list\"}"));
  fixture_clear (&fixture);
}

/* Incomplete requests of all together are bounded, and modest ones pass all the same. */
static void
test_frame_memory (void)
{
  Fixture fixture;
  g_autofree gchar *filler = g_strnfill (60000, ' ');
  struct pollfd fds[3];
  Client greedy[3];

  harness_init (&fixture.harness, NULL);
  fixture.harness.options.server.frame_memory = 130000;
  harness_start (&fixture.harness);
  client_open (&fixture.client, &fixture.harness.registry, NULL);
  for (guint i = 0; i < 3; i++) {
    client_open (&greedy[i], &fixture.harness.registry, NULL);
    client_write (&greedy[i], "\0\0\xff\xff{", 5);
    client_write (&greedy[i], filler, 60000);
  }
  /* One of them has to go, long before its time is over; two have room. */
  for (guint i = 0; i < 3; i++)
    fds[i] = (struct pollfd) { .fd = greedy[i].fd, .events = POLLIN };
  g_assert_cmpint (poll (fds, 3, 10000), ==, 1);
  for (guint i = 0; i < 3; i++)
    if (fds[i].revents != 0)
      client_expect_close (&greedy[i]);
  expect_ok (client_call (&fixture.client, "{\"type\":\"beacon_list\"}"));
  for (guint i = 0; i < 3; i++)
    client_close (&greedy[i]);
  fixture_clear (&fixture);
}

/* Who asks too much is slowed down, and not closed; others are not slowed. */
static void
test_throttle (void)
{
  Fixture fixture;
  gint64 start;

  harness_init (&fixture.harness, NULL);
  fixture.harness.options.server.request_burst = 20;
  fixture.harness.options.server.request_rate = 20;
  harness_start (&fixture.harness);
  client_open (&fixture.client, &fixture.harness.registry, NULL);
  start = g_get_monotonic_time ();
  for (guint i = 0; i < 60; i++)
    client_send (&fixture.client, "{\"type\":\"beacon_list\"}");
  {
    Client other;

    client_open (&other, &fixture.harness.registry, NULL);
    expect_ok (client_call (&other, "{\"type\":\"beacon_list\"}"));
    g_assert_cmpint (g_get_monotonic_time () - start, <, G_USEC_PER_SEC);
    client_close (&other);
  }
  for (guint i = 0; i < 60; i++)
    json_object_unref (client_receive (&fixture.client));
  g_assert_cmpint (g_get_monotonic_time () - start, >=, 3 * G_USEC_PER_SEC / 2);
  fixture_clear (&fixture);
}

/* Full house: who never said who he is makes room; who did stays. */
static void
test_eviction (void)
{
  Fixture fixture;
  Client anonymous[10], late;

  harness_init (&fixture.harness, NULL);
  fixture.harness.options.server.max_connections = 11;
  harness_start (&fixture.harness);
  client_open (&fixture.client, &fixture.harness.registry, NULL);
  person_init (&fixture.alice, 'a');
  person_register (&fixture.alice, &fixture.client, 4001);
  for (guint i = 0; i < 10; i++) {
    client_open (&anonymous[i], &fixture.harness.registry, NULL);
    expect_ok (client_call (&anonymous[i], "{\"type\":\"beacon_list\"}"));
  }
  client_open (&late, &fixture.harness.registry, NULL);
  expect_ok (client_call (&late, "{\"type\":\"beacon_list\"}"));
  client_expect_close (&anonymous[0]);
  expect_ok (client_call (&anonymous[9], "{\"type\":\"beacon_list\"}"));
  expect_ok (client_call (&fixture.client, "{\"type\":\"beacon_list\"}"));
  for (guint i = 0; i < 10; i++)
    client_close (&anonymous[i]);
  client_close (&late);
  fixture_clear (&fixture);
}

static void
test_registration_limit (void)
{
  Fixture fixture;

  harness_init (&fixture.harness, NULL);
  fixture.harness.options.service.registration_burst = 1;
  harness_start (&fixture.harness);
  client_open (&fixture.client, &fixture.harness.registry, NULL);
  person_init (&fixture.alice, 'a');
  person_init (&fixture.bob, 'b');
  person_register (&fixture.alice, &fixture.client, 4001);
  client_expect_error (&fixture.client, "rate limited: too many registrations from this host",
                       "{\"type\":\"register\",\"public_key\":\"%s\"}", fixture.bob.key);
  person_register (&fixture.alice, &fixture.client, 4003); /* known keys always */
  fixture_clear (&fixture);
}

static void
test_tls (void)
{
  g_autoptr (GError) error = NULL;
  g_autofree gchar *folder = g_dir_make_tmp ("rendezvous-tls-XXXXXX", &error);
  g_autofree gchar *certificate = g_build_filename (folder, "cert.pem", NULL);
  g_autofree gchar *key = g_build_filename (folder, "key.pem", NULL);
  g_autofree gchar *fingerprint = NULL;
  g_autofree gchar *padding = g_strnfill (20000, 'x');
  g_autoptr (PilotTls) tls = NULL;
  const gnutls_datum_t *der;
  Client client, plain;
  Fixture fixture;
  GStatBuf status;
  guint n;

  g_assert_true (pilot_tls_generate (certificate, key, &error));
  g_assert_false (pilot_tls_generate (certificate, key, NULL));
  g_assert_cmpint (g_stat (key, &status), ==, 0);
  g_assert_cmpint (status.st_mode & 0777, ==, 0600);
  tls = pilot_tls_new (certificate, key, &error);
  g_assert_no_error (error);
  harness_init (&fixture.harness, NULL);
  fixture.harness.options.tls = tls;
  fixture.harness.options.server.frame_timeout = 2;
  harness_start (&fixture.harness);
  person_init (&fixture.alice, 'a');
  client_open_tls (&client, &fixture.harness.registry);
  der = gnutls_certificate_get_peers (client.tls, &n);
  g_assert_nonnull (der);
  fingerprint = g_compute_checksum_for_data (G_CHECKSUM_SHA256, der[0].data, der[0].size);
  g_assert_cmpstr (fingerprint, ==, pilot_tls_get_fingerprint (tls));
  person_register (&fixture.alice, &client, 4001);
  /* A request of several records, and several requests in one record. */
  expect_ok (client_call (&client, "{\"type\":\"beacon_list\",\"padding\":\"%s%s\"}", padding, padding));
  client_write (&client, "\0\0\0\x16{\"type\":\"beacon_list\"}\0\0\0\x16{\"type\":\"beacon_list\"}", 52);
  expect_ok (client_receive (&client));
  expect_ok (client_receive (&client));

  /* Who does not speak TLS, or does not finish its handshake, is cut off. */
  client_open (&plain, &fixture.harness.registry, NULL);
  client_write (&plain, "\0\0\0\x16{\"type\":\"beacon_list\"}", 26);
  while (TRUE) {
    guint8 byte;

    if (recv (plain.fd, &byte, 1, 0) <= 0) /* an alert may come first */
      break;
  }
  client_close (&plain);
  client_open (&plain, &fixture.harness.registry, NULL);
  client_write (&plain, "\x16\x03\x01", 3);
  client_expect_close (&plain);
  client_close (&plain);
  expect_ok (client_call (&client, "{\"type\":\"beacon_list\"}"));
  client_close (&client);
  harness_stop (&fixture.harness);
  harness_clear (&fixture.harness);
  g_unlink (certificate);
  g_unlink (key);
  g_assert_cmpint (g_rmdir (folder), ==, 0);
}

static gdouble
time_requests (Client *client,
               guint n)
{
  gint64 start = g_get_monotonic_time ();

  for (guint i = 0; i < n; i++)
    json_object_unref (client_call (client, "{\"type\":\"check_trust\",\"node_id\":1,\"peer_id\":2}"));
  return (gdouble) (g_get_monotonic_time () - start) / n;
}

#define N_IDLE 10000

static guint
raise_limit (void)
{
  struct rlimit limit;

  g_assert_cmpint (getrlimit (RLIMIT_NOFILE, &limit), ==, 0);
  limit.rlim_cur = limit.rlim_max;
  g_assert_cmpint (setrlimit (RLIMIT_NOFILE, &limit), ==, 0);
  return (guint) MIN (limit.rlim_max, G_MAXINT);
}

/* A process of its own, so that each side stays below a limit of 20 000: connects, says that it has, holds them all until told
 * to end, then asks something on some of them. */
static void
hold_connections (int orders,
                  int reports)
{
  Client *idle = g_new (Client, N_IDLE);
  PilotEndpoint to;

  g_assert_cmpint (read (orders, &to, sizeof to), ==, sizeof to);
  for (guint i = 0; i < N_IDLE; i++)
    client_open (&idle[i], &to, NULL);
  /* The last one was accepted, so all were. */
  expect_ok (client_call (&idle[N_IDLE - 1], "{\"type\":\"beacon_list\"}"));
  g_assert_cmpint (write (reports, "h", 1), ==, 1);
  g_assert_cmpint (read (orders, &to, 1), ==, 1);
  for (guint i = 0; i < N_IDLE; i += 100)
    expect_ok (client_call (&idle[i], "{\"type\":\"beacon_list\"}"));
  _exit (0);
}

/* Ten thousand that say nothing, and one that works. */
static void
test_idle (void)
{
  int orders[2], reports[2], status;
  gdouble alone, crowded;
  Fixture fixture;
  pid_t child;
  gchar byte;

  if (raise_limit () < N_IDLE + 200) {
    g_test_skip ("needs 10200 open files: raise the hard limit");
    return;
  }
  g_assert_cmpint (pipe (orders), ==, 0);
  g_assert_cmpint (pipe (reports), ==, 0);
  child = fork (); /* before there are threads */
  g_assert_cmpint (child, >=, 0);
  if (child == 0)
    hold_connections (orders[0], reports[1]);
  harness_init (&fixture.harness, NULL);
  fixture.harness.options.server.max_connections = N_IDLE + 10;
  harness_start (&fixture.harness);
  client_open (&fixture.client, &fixture.harness.registry, NULL);
  alone = time_requests (&fixture.client, 2000);
  g_assert_cmpint (write (orders[1], &fixture.harness.registry, sizeof fixture.harness.registry), ==, sizeof fixture.harness.registry);
  g_assert_cmpint (read (reports[0], &byte, 1), ==, 1);
  crowded = time_requests (&fixture.client, 2000);
  g_test_message ("%.1f us a request alone, %.1f us beside %u idle connections", alone, crowded, N_IDLE);
  g_assert_cmpint (write (orders[1], "e", 1), ==, 1);
  g_assert_cmpint (waitpid (child, &status, 0), ==, child);
  g_assert_true (WIFEXITED (status));
  g_assert_cmpint (WEXITSTATUS (status), ==, 0);
  for (guint i = 0; i < 2; i++) {
    close (orders[i]);
    close (reports[i]);
  }
  fixture_clear (&fixture);
}

int
main (int argc,
      char **argv)
{
  setlocale (LC_ALL, "");
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/rendezvous/registry/idle", test_idle);
  g_test_add_func ("/rendezvous/registry/framing", test_framing);
  g_test_add_func ("/rendezvous/registry/pipeline", test_pipeline);
  g_test_add_func ("/rendezvous/registry/rubbish", test_rubbish);
  g_test_add_func ("/rendezvous/registry/register", test_register);
  g_test_add_func ("/rendezvous/registry/register-weaknesses", test_register_weaknesses);
  g_test_add_func ("/rendezvous/registry/heartbeat", test_heartbeat);
  g_test_add_func ("/rendezvous/registry/reap", test_reap);
  g_test_add_func ("/rendezvous/registry/resolve", test_resolve);
  g_test_add_func ("/rendezvous/registry/relay-only", test_relay_only);
  g_test_add_func ("/rendezvous/registry/handshake", test_handshake);
  g_test_add_func ("/rendezvous/registry/consent", test_consent);
  g_test_add_func ("/rendezvous/registry/reference-consent", test_reference_consent);
  g_test_add_func ("/rendezvous/registry/inbox-full", test_inbox_full);
  g_test_add_func ("/rendezvous/registry/hostname", test_hostname);
  g_test_add_func ("/rendezvous/registry/tags", test_tags);
  g_test_add_func ("/rendezvous/registry/rotate", test_rotate);
  g_test_add_func ("/rendezvous/registry/networks", test_networks);
  g_test_add_func ("/rendezvous/registry/commit-fails", test_commit_fails);
  g_test_add_func ("/rendezvous/registry/restart", test_restart);
  g_test_add_func ("/rendezvous/registry/lost-poll", test_lost_poll);
  g_test_add_func ("/rendezvous/registry/slow", test_slow);
  g_test_add_func ("/rendezvous/registry/frame-memory", test_frame_memory);
  g_test_add_func ("/rendezvous/registry/throttle", test_throttle);
  g_test_add_func ("/rendezvous/registry/eviction", test_eviction);
  g_test_add_func ("/rendezvous/registry/registration-limit", test_registration_limit);
  g_test_add_func ("/rendezvous/registry/tls", test_tls);
  return g_test_run ();
}
