/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <locale.h>
#include <string.h>

#include <glib/gstdio.h>

#include "fixture.h"

/* The records of the registry, over real sockets: from the conformance list of the registry notes, section 20. Numbers in
 * comments are those of the list. */

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

/* "LAN addresses" that are none would aim others at a victim; but one global IPv6 address, which nothing translates, may be told by who has
 * proven his key. */
static void
test_global_address (void)
{
  const gchar *lan = "\"[fd00:1::2]:4000\",\"[2001:db8::2]:4000\",\"[2001:db8::3]:4000\",\"[::1]:4000\",\"[fe80::1]:4000\",\"198.51.100.1:4000\"";
  JsonObject *response;
  JsonArray *kept;
  Fixture fixture;

  harness_init (&fixture.harness, NULL);
  harness_start (&fixture.harness);
  client_open (&fixture.client, &fixture.harness.registry, NULL);
  person_init (&fixture.alice, 'a');
  person_init (&fixture.bob, 'b');
  person_register (&fixture.alice, &fixture.client, 4001);
  for (guint is_signed = 0; is_signed < 2; is_signed++) {
    g_autofree gchar *signature = g_strdup_printf (",\"signature\":\"%s\"", person_sign (&fixture.bob, "register::%s", fixture.bob.key));

    response = client_expect (&fixture.client, "register_ok", "{\"type\":\"register\",\"lan_addrs\":[%s],\"listen_addr\":\"\",\"public_key\":\"%s\"%s}",
                              lan, fixture.bob.key, is_signed ? signature : "");
    fixture.bob.id = (guint32) json_object_get_int_member (response, "node_id");
    json_object_unref (response);
    expect_ok (client_call (&fixture.client, "{\"type\":\"set_visibility\",\"node_id\":%u,\"public\":true,\"signature\":\"%s\"}", fixture.bob.id,
                            person_sign (&fixture.bob, "set_visibility:%u", fixture.bob.id)));
    response = resolve (&fixture.client, &fixture.alice, fixture.bob.id);
    kept = json_object_get_array_member (response, "lan_addrs");
    g_assert_cmpuint (json_array_get_length (kept), ==, is_signed ? 3 : 2);
    g_assert_cmpstr (json_array_get_string_element (kept, 0), ==, "[fd00:1::2]:4000");
    g_assert_cmpstr (json_array_get_string_element (kept, 1), ==, is_signed ? "[2001:db8::2]:4000" : "[fe80::1]:4000");
    json_object_unref (response);
  }
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

int
main (int argc,
      char **argv)
{
  setlocale (LC_ALL, "");
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/rendezvous/registry/register", test_register);
  g_test_add_func ("/rendezvous/registry/register-weaknesses", test_register_weaknesses);
  g_test_add_func ("/rendezvous/registry/heartbeat", test_heartbeat);
  g_test_add_func ("/rendezvous/registry/reap", test_reap);
  g_test_add_func ("/rendezvous/registry/resolve", test_resolve);
  g_test_add_func ("/rendezvous/registry/relay-only", test_relay_only);
  g_test_add_func ("/rendezvous/registry/hostname", test_hostname);
  g_test_add_func ("/rendezvous/registry/tags", test_tags);
  g_test_add_func ("/rendezvous/registry/rotate", test_rotate);
  g_test_add_func ("/rendezvous/registry/networks", test_networks);
  g_test_add_func ("/rendezvous/registry/commit-fails", test_commit_fails);
  g_test_add_func ("/rendezvous/registry/restart", test_restart);
  g_test_add_func ("/rendezvous/registry/global-address", test_global_address);
  g_test_add_func ("/rendezvous/registry/registration-limit", test_registration_limit);
  return g_test_run ();
}
