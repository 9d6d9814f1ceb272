/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <locale.h>
#include <string.h>

#include "harness.h"

/* The session that was captured between Go daemons and their rendezvous (tests/vectors/registry-session.jsonl), asked of
 * ours: the keys are new, since we do not have those of the capture, and so are the signatures; the ids are mapped. Each answer
 * must be of the type the capture has, and have the members it has. */

typedef struct
{
  Harness harness;
  Client client;
  GHashTable *people; /* public key of the capture -> Person */
  GHashTable *ids;    /* id of the capture -> Person */
  guint n_found;      /* names that ours resolved and the capture did not */
} Fixture;

static void
set_signature (Fixture *fixture,
               JsonObject *request,
               Person *person)
{
  const gchar *type = json_object_get_string_member (request, "type");
  guint32 node = (guint32) json_object_get_int_member_with_default (request, "node_id", 0);
  guint32 peer = (guint32) json_object_get_int_member_with_default (request, "peer_id", 0);
  const gchar *signature;

  if (strcmp (type, "register") == 0)
    signature = person_sign (person, "register:%s:%s", json_object_get_string_member (request, "listen_addr"), person->key);
  else if (strcmp (type, "resolve") == 0)
    signature = person_sign (person, "resolve:%u:%u", person->id, node);
  else if (strcmp (type, "request_handshake") == 0)
    signature = person_sign (person, "handshake:%u:%u", person->id, (guint32) json_object_get_int_member (request, "to_node_id"));
  else if (strcmp (type, "respond_handshake") == 0)
    signature = person_sign (person, "respond:%u:%u", person->id, peer);
  else if (strcmp (type, "report_trust") == 0 || strcmp (type, "revoke_trust") == 0)
    signature = person_sign (person, "%s:%u:%u", type, person->id, peer);
  else
    signature = person_sign (person, "%s:%u", type, person->id);
  json_object_set_string_member (request, "signature", signature);
}

/* Ids of the capture to ours; an id nobody has yet becomes one nobody has. Returns who signs. */
static Person *
map_ids (Fixture *fixture,
         JsonObject *request)
{
  static const gchar *const members[] = { "node_id", "peer_id", "to_node_id", "from_node_id", "requester_id" };
  static const gchar *const signers[] = { "requester_id", "from_node_id", "node_id" };
  Person *signer = NULL;

  for (guint i = 0; signer == NULL && i < G_N_ELEMENTS (signers); i++)
    if (json_object_has_member (request, signers[i]))
      signer = g_hash_table_lookup (fixture->ids, GINT_TO_POINTER (json_object_get_int_member (request, signers[i])));
  for (guint i = 0; i < G_N_ELEMENTS (members); i++)
    if (json_object_has_member (request, members[i])) {
      Person *person = g_hash_table_lookup (fixture->ids, GINT_TO_POINTER (json_object_get_int_member (request, members[i])));

      json_object_set_int_member (request, members[i], person != NULL ? person->id : 4000000);
    }
  return signer;
}

static Person *
get_person (Fixture *fixture,
            JsonObject *request)
{
  const gchar *key = json_object_get_string_member (request, "public_key");
  Person *person = g_hash_table_lookup (fixture->people, key);

  if (person == NULL) {
    person = g_new0 (Person, 1);
    person_init (person, (gchar) ('a' + g_hash_table_size (fixture->people)));
    g_hash_table_insert (fixture->people, g_strdup (key), person);
  }
  json_object_set_string_member (request, "public_key", person->key);
  return person;
}

/* What the newer reference no longer sends, or sends to the operator only (registry notes, 7.3 and 7.13). */
static gboolean
is_excused (const gchar *name)
{
  return strcmp (name, "polo_score") == 0 || strcmp (name, "members") == 0;
}

static void
compare (JsonNode *wanted,
         JsonNode *got,
         const gchar *where)
{
  g_autofree gchar *text = json_to_string (got, FALSE);

  if (json_node_get_node_type (wanted) != json_node_get_node_type (got))
    g_error ("%s: %s", where, text);
  if (JSON_NODE_HOLDS_OBJECT (wanted)) {
    g_autoptr (GList) names = json_object_get_members (json_node_get_object (wanted));

    for (GList *link = names; link != NULL; link = link->next) {
      g_autofree gchar *member = g_strconcat (where, ".", link->data, NULL);

      if (is_excused (link->data))
        continue;
      if (!json_object_has_member (json_node_get_object (got), link->data))
        g_error ("%s is missing: %s", member, text);
      compare (json_object_get_member (json_node_get_object (wanted), link->data),
               json_object_get_member (json_node_get_object (got), link->data), member);
    }
  } else if (JSON_NODE_HOLDS_ARRAY (wanted)) {
    JsonArray *a = json_node_get_array (wanted), *b = json_node_get_array (got);

    for (guint i = 0; i < MIN (json_array_get_length (a), json_array_get_length (b)); i++)
      compare (json_array_get_element (a, i), json_array_get_element (b, i), where);
  } else if (json_node_get_value_type (wanted) != json_node_get_value_type (got))
    g_error ("%s has another type: %s", where, text);
}

static void
replay (Fixture *fixture,
        const gchar *line)
{
  g_autoptr (JsonNode) root = json_from_string (line, NULL);
  g_autoptr (JsonNode) got = json_node_new (JSON_NODE_OBJECT);
  g_autoptr (JsonObject) response = NULL;
  g_autofree gchar *body = NULL;
  JsonObject *request = json_object_get_object_member (json_node_get_object (root), "request");
  JsonNode *wanted = json_object_get_member (json_node_get_object (root), "response");
  const gchar *type = json_object_get_string_member (request, "type");
  gint64 captured = json_object_get_int_member_with_default (json_node_get_object (wanted), "node_id", 0);
  gboolean is_register = strcmp (type, "register") == 0;
  Person *person = is_register ? get_person (fixture, request) : map_ids (fixture, request);

  if (json_object_has_member (request, "signature")) {
    g_assert_nonnull (person);
    set_signature (fixture, request, person);
  }
  body = json_to_string (json_object_get_member (json_node_get_object (root), "request"), FALSE);
  client_send (&fixture->client, body);
  response = client_receive (&fixture->client);
  g_assert_nonnull (response);
  json_node_set_object (got, response);
  /* A trusted private node is found by name, which the reference does not manage (registry notes, 17.17). */
  if (strcmp (type, "resolve_hostname") == 0 && !json_object_has_member (response, "error")) {
    fixture->n_found++;
    return;
  }
  g_assert_cmpstr (json_object_get_string_member (response, "type"), ==,
                   json_object_get_string_member (json_node_get_object (wanted), "type"));
  compare (wanted, got, type);
  if (is_register) {
    person->id = (guint32) json_object_get_int_member (response, "node_id");
    g_hash_table_insert (fixture->ids, GINT_TO_POINTER (captured), person);
  }
}

static void
test_replay (void)
{
  g_autoptr (GError) error = NULL;
  g_autofree gchar *path = g_test_build_filename (G_TEST_DIST, "vectors", "registry-session.jsonl", NULL);
  g_autofree gchar *text = NULL;
  g_auto (GStrv) lines = NULL;
  Fixture fixture = { 0 };
  guint n = 0;

  g_file_get_contents (path, &text, NULL, &error);
  g_assert_no_error (error);
  lines = g_strsplit (text, "\n", -1);
  harness_init (&fixture.harness, NULL);
  harness_start (&fixture.harness);
  client_open (&fixture.client, &fixture.harness.registry, NULL);
  fixture.people = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  fixture.ids = g_hash_table_new (NULL, NULL);
  for (guint i = 0; lines[i] != NULL; i++) {
    if (*lines[i] == '\0')
      continue;
    g_test_message ("line %u", i + 1);
    replay (&fixture, lines[i]);
    n++;
  }
  g_assert_cmpuint (n, >=, 40);
  g_assert_cmpuint (fixture.n_found, ==, 1);
  g_hash_table_unref (fixture.ids);
  g_hash_table_unref (fixture.people);
  client_close (&fixture.client);
  harness_stop (&fixture.harness);
  harness_clear (&fixture.harness);
}

int
main (int argc,
      char **argv)
{
  setlocale (LC_ALL, "");
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/rendezvous/session/replay", test_replay);
  return g_test_run ();
}
