/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <locale.h>
#include <string.h>

#include "harness.h"
#include "protocol/bytes.h"
#include "rendezvous/service-private.h"

/* Every handler, asked with members that are missing, of any type, and out of any range, signed and not: each request must get one
 * well-formed answer, whatever it says. Random, and the seed of GTest replays it (--seed). */

#define N_REQUESTS 10000
#define N_PEOPLE 4

typedef struct
{
  PilotStore *store;
  PilotDirectory *directory;
  PilotJournal *journal;
  PilotServiceOptions options;
  PilotService *service;
  PilotSession session;
  Person people[N_PEOPLE];
} Fixture;

static const gchar *const members[] = {
  "node_id",
  "peer_id",
  "requester_id",
  "from_node_id",
  "to_node_id",
  "network_id",
  "beacon_id",
  "accept",
  "public",
  "relay_only",
  "hostname",
  "listen_addr",
  "owner",
  "version",
  "justification",
  "addr",
  "admin_token",
  "public_key",
  "new_public_key",
  "signature",
  "lan_addrs",
  "tags",
  "after",
};

static void
settled (PilotJournal *journal,
         guint64 ticket,
         const GError *error,
         gpointer user_data)
{
  g_assert_no_error (error);
}

static gboolean
is_delivered (PilotSession *session)
{
  return g_test_rand_int_range (0, 2) == 0;
}

static gint64
fixed_time (void)
{
  return 1790000000;
}

static JsonNode *
random_value (Fixture *fixture,
              guint depth)
{
  static const gchar *const texts[] = {
    "",
    "a",
    "alpha",
    "-",
    "127.0.0.1:4000",
    "203.0.113.7:4000",
    "[2001:db8::1]:1",
    ":",
    "::::",
    "name:99999",
    "10.0.0.1:65535",
    "sesame",
    "\xc3\xa4\n\t\"\\",
    "%s%n%n",
    "never",
    "AAAA",
    "192.168.1.1:1",
  };
  g_autofree gchar *large = NULL;
  JsonNode *node = json_node_alloc ();

  switch (g_test_rand_int_range (0, depth > 2 ? 6 : 8)) {
  case 0:
    return json_node_init_int (node, g_test_rand_int_range (0, 8));
  case 1:
    return json_node_init_int (node, (gint64) ((guint64) (guint32) g_test_rand_int () << 32 | (guint32) g_test_rand_int ()));
  case 2:
    return json_node_init_double (node, g_test_rand_double_range (-1e12, 1e12));
  case 3:
    return json_node_init_boolean (node, g_test_rand_int_range (0, 2));
  case 4:
    if (g_test_rand_int_range (0, 20) == 0) {
      large = g_strnfill ((gsize) g_test_rand_int_range (0, 5000), 'x');
      return json_node_init_string (node, large);
    }
    return json_node_init_string (node, texts[g_test_rand_int_range (0, G_N_ELEMENTS (texts))]);
  case 5:
    return json_node_init_string (node, fixture->people[g_test_rand_int_range (0, N_PEOPLE)].key);
  case 6: {
    g_autoptr (JsonArray) array = json_array_new ();

    for (gint n = g_test_rand_int_range (0, 30); n > 0; n--)
      json_array_add_element (array, random_value (fixture, depth + 1));
    return json_node_init_array (node, array);
  }
  default:
    json_node_free (node);
    return json_node_new (JSON_NODE_NULL);
  }
}

static const gchar *
random_type (void)
{
  static const PilotHandlerEntry *const tables[] = {
    pilot_service_node_handlers,
    pilot_service_trust_handlers,
    pilot_service_network_handlers,
  };
  const PilotHandlerEntry *table = tables[g_test_rand_int_range (0, G_N_ELEMENTS (tables))];
  gint n = 0;

  while (table[n].type != NULL)
    n++;
  return table[g_test_rand_int_range (0, n)].type;
}

static JsonObject *
random_request (Fixture *fixture)
{
  JsonObject *request = json_object_new ();

  json_object_set_string_member (request, "type", random_type ());
  for (guint i = 0; i < G_N_ELEMENTS (members); i++)
    if (g_test_rand_int_range (0, 3) != 0)
      json_object_set_member (request, members[i], random_value (fixture, 0));
  /* Most of them so that they get past the signature. */
  if (g_test_rand_int_range (0, 4) != 0) {
    Person *person = &fixture->people[g_test_rand_int_range (0, N_PEOPLE)];

    for (guint i = 0; i < 5; i++)
      json_object_set_int_member (request, members[i], g_test_rand_int_range (1, N_PEOPLE + 2));
    json_object_set_string_member (request, "public_key", person->key);
    if (g_test_rand_int_range (0, 5) != 0) {
      guint32 signer = pilot_registry_message_signer (request);

      if (signer >= 1 && signer <= N_PEOPLE)
        person = &fixture->people[signer - 1];
      json_object_remove_member (request, "signature");
      pilot_registry_message_sign (request, &person->identity);
    }
  }
  return request;
}

/* TRUE when it is a success. */
static gboolean
check_answer (PilotAnswer *answer)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (GError) error = NULL;
  gsize size;
  const guint8 *data = g_bytes_get_data (answer->frame, &size);

  g_assert_cmpuint (size, >, 4);
  g_assert_cmpuint (pilot_bytes_get_u32 (data), ==, size - 4);
  json_parser_load_from_data (parser, (const gchar *) data + 4, (gssize) size - 4, &error);
  g_assert_no_error (error);
  g_assert_true (json_object_has_member (json_node_get_object (json_parser_get_root (parser)), "type"));
  return !json_object_has_member (json_node_get_object (json_parser_get_root (parser)), "error");
}

static void
test_random (void)
{
  Fixture fixture = { .store = pilot_store_memory_new (),
                      .options = { .admin_token = (gchar *) "sesame", .beacon_port = 9001, .registration_burst = 1000, .registration_rate = 1000 },
                      .session = { .is_delivered = is_delivered } };
  g_autoptr (GError) error = NULL;
  guint n_ok = 0;

  for (guint i = 0; i < N_PEOPLE; i++)
    person_init (&fixture.people[i], (gchar) ('a' + i));
  g_assert_true (pilot_endpoint_parse ("192.0.2.1:5000", &fixture.session.remote, NULL));
  g_assert_true (pilot_endpoint_parse ("192.0.2.2:9000", &fixture.session.local, NULL));
  fixture.directory = pilot_directory_new (fixture.store, FALSE, &error);
  fixture.journal = pilot_journal_new (fixture.store, settled, NULL);
  pilot_directory_set_journal (fixture.directory, fixture.journal);
  fixture.service = pilot_service_new (fixture.directory, fixture.journal, NULL, &fixture.options, fixed_time);
  for (guint i = 0; i < N_REQUESTS; i++) {
    g_autoptr (JsonObject) request = random_request (&fixture);
    PilotAnswer answer = { 0 };

    pilot_service_handle (fixture.service, &fixture.session, request, &answer);
    n_ok += check_answer (&answer);
    g_bytes_unref (answer.frame);
    if (i % 100 == 0) {
      pilot_journal_flush (fixture.journal);
      g_main_context_iteration (NULL, FALSE);
    }
  }
  /* It is no test of errors alone. */
  g_test_message ("%u of %u succeeded", n_ok, N_REQUESTS);
  g_assert_cmpuint (n_ok, >, N_REQUESTS / 10);
  pilot_service_end (fixture.service, &fixture.session);
  pilot_service_free (fixture.service);
  g_assert_true (pilot_journal_close (fixture.journal, &error));
  pilot_directory_free (fixture.directory);

  /* What came of it loads again. */
  fixture.directory = pilot_directory_new (fixture.store, FALSE, &error);
  g_assert_no_error (error);
  pilot_directory_free (fixture.directory);
  pilot_store_close (fixture.store);
}

int
main (int argc,
      char **argv)
{
  setlocale (LC_ALL, "");
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/rendezvous/service/random", test_random);
  return g_test_run ();
}
