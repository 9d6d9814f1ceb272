/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <locale.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"
#include "protocol/bytes.h"
#include "protocol/registry-message.h"
#include "tests/fuzz/mangle.h"
#include "tests/unit/vectors.h"

/* A hundred thousand mangled frames of the registry and of the beacon, over real sockets: whoever sends them is answered with an error or cut off,
 * nobody else notices, and nothing of it is kept. The frames are what Go nodes sent, signed anew; all follows from one seed. */

#define MANGLED 100000
/* Hosts of their own: the beacon takes a node for where its registry connection comes from, and nowhere else. */
#define ALICE "127.0.0.2"
#define BOB "127.0.0.3"
/* The server takes as many connections as there are rude clients, one after the other. */
#define RUDE_FRAMES 5000

typedef struct
{
  Harness harness;
  Client alices, bobs;
  Person alice, bob;
  GPtrArray *models; /* of GBytes: whole frames */
  GRand *random;
} Fixture;

/* What a Go node said, said by alice: her id, her key, her signature. */
static GBytes *
model_from (Fixture *fixture,
            JsonObject *request)
{
  g_autofree gchar *body = NULL;
  GByteArray *frame = g_byte_array_new ();
  guint8 header[4];

  for (guint i = 0; i < 3; i++) {
    static const gchar *const own[] = { "node_id", "requester_id", "from_node_id" };

    if (json_object_has_member (request, own[i]))
      json_object_set_int_member (request, own[i], fixture->alice.id);
  }
  if (json_object_has_member (request, "public_key"))
    json_object_set_string_member (request, "public_key", fixture->alice.key);
  if (json_object_has_member (request, "signature")) {
    json_object_remove_member (request, "signature");
    pilot_registry_message_sign (request, &fixture->alice.identity);
  }
  {
    g_autoptr (JsonNode) node = json_node_init_object (json_node_alloc (), request);

    body = json_to_string (node, FALSE);
  }
  pilot_bytes_put_u32 (header, (guint32) strlen (body));
  g_byte_array_append (frame, header, sizeof header);
  g_byte_array_append (frame, (const guint8 *) body, (guint) strlen (body));
  return g_byte_array_free_to_bytes (frame);
}

static void
load_models (Fixture *fixture)
{
  g_autofree gchar *text = vectors_load_text ("registry-session.jsonl");
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);
  g_autoptr (GHashTable) seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

  fixture->models = g_ptr_array_new_with_free_func ((GDestroyNotify) g_bytes_unref);
  for (guint i = 0; lines[i] != NULL && *lines[i] != '\0'; i++) {
    g_autoptr (JsonParser) parser = json_parser_new ();
    JsonObject *request;

    g_assert_true (json_parser_load_from_data (parser, lines[i], -1, NULL));
    request = json_object_get_object_member (json_node_get_object (json_parser_get_root (parser)), "request");
    /* One of each type. */
    if (g_hash_table_add (seen, g_strdup (json_object_get_string_member (request, "type"))))
      g_ptr_array_add (fixture->models, model_from (fixture, request));
  }
  g_assert_cmpuint (fixture->models->len, >=, 10);
}

static void
fixture_init (Fixture *fixture)
{
  harness_init (&fixture->harness, NULL);
  /* The pace of one connection is another test's. */
  fixture->harness.options.server.request_burst = MANGLED;
  fixture->harness.options.server.request_rate = MANGLED;
  harness_start (&fixture->harness);
  person_init (&fixture->alice, 'a');
  person_init (&fixture->bob, 'b');
  client_open (&fixture->alices, &fixture->harness.registry, ALICE);
  client_open (&fixture->bobs, &fixture->harness.registry, BOB);
  person_register (&fixture->alice, &fixture->alices, 4001);
  person_register (&fixture->bob, &fixture->bobs, 4002);
  fixture->random = g_rand_new_with_seed (7);
  load_models (fixture);
}

static void
fixture_clear (Fixture *fixture)
{
  client_close (&fixture->alices);
  client_close (&fixture->bobs);
  harness_stop (&fixture->harness);
  harness_clear (&fixture->harness);
  g_ptr_array_unref (fixture->models);
  g_rand_free (fixture->random);
}

typedef struct
{
  guint live, connections;
} Counts;

static void
count (Harness *harness,
       gpointer data)
{
  Counts *counts = data;

  counts->live = pilot_directory_count_live (pilot_rendezvous_get_directory (harness->rendezvous));
  counts->connections = pilot_server_count (pilot_rendezvous_get_server (harness->rendezvous));
}

static void
assert_untouched (Fixture *fixture)
{
  JsonObject *response;
  Counts counts;

  response = client_expect (&fixture->bobs, "lookup_ok", "{\"type\":\"lookup\",\"node_id\":%u}", fixture->bob.id);
  g_assert_cmpstr (json_object_get_string_member (response, "public_key"), ==, fixture->bob.key);
  json_object_unref (response);
  person_register (&fixture->bob, &fixture->bobs, 4002);
  harness_run (&fixture->harness, count, &counts);
  g_assert_cmpuint (counts.connections, ==, 2);
  /* A key that was mangled into another key is another node's: the limit of new nodes from one host bounds that. */
  g_assert_cmpuint (counts.live, <=, 2 + 100);
}

/* Right length, mangled body: an answer that says what is wrong, or the end of the connection. */
static void
test_registry (void)
{
  Fixture fixture;
  Client client;
  guint answers = 0, errors = 0;

  fixture_init (&fixture);
  client_open (&client, &fixture.harness.registry, ALICE);
  for (guint i = 0; i < MANGLED; i++) {
    GBytes *model = g_ptr_array_index (fixture.models, i % fixture.models->len);
    gsize size;
    const guint8 *data = g_bytes_get_data (model, &size);
    g_autoptr (GByteArray) body = mangle_for_sure (data + 4, size - 4, fixture.random);
    g_autoptr (JsonObject) response = NULL;
    guint8 header[4];

    pilot_bytes_put_u32 (header, body->len);
    g_byte_array_prepend (body, header, sizeof header);
    client_write (&client, body->data, body->len);
    response = client_receive (&client);
    if (response == NULL) {
      client_close (&client);
      client_open (&client, &fixture.harness.registry, ALICE);
      continue;
    }
    answers++;
    errors += json_object_has_member (response, "error");
  }
  g_test_message ("%u of %u answered, %u with an error", answers, MANGLED, errors);
  client_close (&client);
  assert_untouched (&fixture);
  fixture_clear (&fixture);
}

/* The length mangled too, and the client does not wait: half a frame, two, or far too long a one. */
static void
test_registry_frames (void)
{
  Fixture fixture;

  fixture_init (&fixture);
  for (guint i = 0; i < RUDE_FRAMES; i++) {
    GBytes *model = g_ptr_array_index (fixture.models, i % fixture.models->len);
    gsize size;
    const guint8 *data = g_bytes_get_data (model, &size);
    g_autoptr (GByteArray) frame = mangle_for_sure (data, size, fixture.random);
    Client client;

    /* Every other in its head, where a mangler that picks any byte seldom gets. */
    if (i % 2 == 0)
      frame->data[i / 2 % MIN (frame->len, 4)] = (guint8) g_rand_int (fixture.random);
    client_open (&client, &fixture.harness.registry, ALICE);
    client_write (&client, frame->data, frame->len);
    g_assert_cmpint (shutdown (client.fd, SHUT_WR), ==, 0);
    for (JsonObject *response; (response = client_receive (&client)) != NULL;)
      json_object_unref (response);
    client_close (&client);
  }
  assert_untouched (&fixture);
  fixture_clear (&fixture);
}

static guint
drain (int fd)
{
  guint8 buffer[2048];
  guint n = 0;

  while (recv (fd, buffer, sizeof buffer, MSG_DONTWAIT) >= 0)
    n++;
  g_assert_cmpint (errno, ==, EAGAIN);
  return n;
}

static void
statistics (Harness *harness,
            gpointer data)
{
  *(PilotBeaconStatistics *) data = *pilot_beacon_get_statistics (pilot_rendezvous_get_beacon_object (harness->rendezvous));
}

static void
test_beacon (void)
{
  static const struct
  {
    const gchar *bytes;
    gsize length;
  } models[] = {
    { "\1\0\0\0\1", 5 },                           /* discover of alice's */
    { "\3\0\0\0\1\0\0\0\2", 9 },                   /* her punch request for bob */
    { "\5\0\0\0\1\0\0\0\2PILSwhat bob gets", 26 }, /* her frame for bob */
    { "\10\0\0\0\1", 5 },                          /* discover-ex */
    { "\7\0\0\0\1\0\1\0\0\0\2", 11 },              /* gossip, which is not spoken */
  };
  Fixture fixture;
  PilotBeaconStatistics before, after;
  PilotEndpoint endpoint;
  guint8 reply[64];
  guint relayed = 0, answered = 0;
  int a, b;

  fixture_init (&fixture);
  a = udp_open (ALICE, &fixture.harness.beacon);
  b = udp_open (BOB, &fixture.harness.beacon);
  for (guint i = 0; i < 2; i++) {
    const guint8 discover[] = { 1, 0, 0, 0, (guint8) (i + 1) };

    g_assert_cmpint (send (i == 0 ? a : b, discover, sizeof discover, 0), ==, sizeof discover);
    g_assert_cmpint (recv (i == 0 ? a : b, reply, sizeof reply, 0), ==, 8);
  }
  harness_run (&fixture.harness, statistics, &before);
  for (guint i = 0; i < MANGLED; i++) {
    guint which = i % G_N_ELEMENTS (models);
    g_autoptr (GByteArray) data = mangle_for_sure ((const guint8 *) models[which].bytes, models[which].length, fixture.random);

    g_assert_cmpint (send (a, data->data, data->len, 0), ==, data->len);
    if (i % 100 == 99) {
      /* No buffer overflows, so that each is counted. */
      udp_settle (&fixture.harness);
      answered += drain (a);
      relayed += drain (b);
    }
  }
  harness_run (&fixture.harness, statistics, &after);
  g_assert_cmpuint (after.received - before.received, ==, MANGLED + MANGLED / 100);
  g_test_message ("%u answers, %u relayed, %u malformed", answered, relayed, (guint) (after.dropped_malformed - before.dropped_malformed));
  /* One answer each at most, and what bob got is what alice may send him. */
  g_assert_cmpuint (answered, <=, MANGLED * 2 / 5);
  g_assert_cmpuint (relayed, <=, MANGLED * 2 / 5);
  /* Both are where they were. */
  g_assert_cmpint (send (a, "\5\0\0\0\1\0\0\0\2PILSthe last", 21, 0), ==, 21);
  g_assert_cmpint (recv (b, reply, sizeof reply, 0), ==, 17);
  g_assert_cmpmem (reply, 17, "\6\0\0\0\1PILSthe last", 17);
  g_assert_true (pilot_beacon_find (pilot_rendezvous_get_beacon_object (fixture.harness.rendezvous), 2, &endpoint));
  assert_untouched (&fixture);
  close (a);
  close (b);
  fixture_clear (&fixture);
}

int
main (int argc,
      char **argv)
{
  setlocale (LC_ALL, "");
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/rendezvous/mangled/registry", test_registry);
  g_test_add_func ("/rendezvous/mangled/registry-frames", test_registry_frames);
  g_test_add_func ("/rendezvous/mangled/beacon", test_beacon);
  return g_test_run ();
}
