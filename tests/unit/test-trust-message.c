/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "libpilot/pilot-error.h"
#include "protocol/trust-message.h"
#include "tests/unit/vectors.h"

static PilotIdentity identity_a;
static JsonObject *vector;

static PilotTrustMessage *
parse (const gchar *text)
{
  g_autoptr (GError) error = NULL;
  PilotTrustMessage *message = pilot_trust_message_parse (text, strlen (text), &error);

  if (message == NULL)
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT);
  return message;
}

static void
test_vector (void)
{
  g_autoptr (PilotTrustMessage) message = pilot_trust_message_new (&identity_a, PILOT_TRUST_MESSAGE_REQUEST, 893, 7, "gateway test", 1760000000);
  const gchar *want = json_object_get_string_member (vector, "text");
  g_autoptr (PilotTrustMessage) back = parse (want);
  g_autofree gchar *text = NULL, *again = NULL, *digest = NULL;
  gsize length;

  text = pilot_trust_message_print (message, &length);
  g_assert_cmpuint (length, ==, 271);
  g_assert_cmpstr (text, ==, want);
  digest = pilot_crypto_fingerprint (text, length);
  g_assert_cmpstr (digest, ==, json_object_get_string_member (vector, "sha256"));
  g_assert_nonnull (back);
  again = pilot_trust_message_print (back, NULL);
  g_assert_cmpstr (again, ==, want);
  g_assert_true (pilot_trust_message_verify (back, 7, NULL));
  g_assert_false (pilot_trust_message_verify (back, 8, NULL));
}

/* All variations differ in text, which is what Go looks at, and in nothing that we look at. */
static void
test_vary (void)
{
  g_autoptr (GHashTable) seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  guint8 first[PILOT_SHA256_SIZE];

  for (guint i = 0; i < 1u << PILOT_TRUST_MESSAGE_VARIATION_BITS; i++) {
    g_autoptr (PilotTrustMessage) message = pilot_trust_message_new (&identity_a, PILOT_TRUST_MESSAGE_ACCEPT, 893, 7, NULL, 5);
    g_autoptr (PilotTrustMessage) back = NULL;
    g_autofree gchar *text = NULL;
    guint8 key[PILOT_SHA256_SIZE];

    if (i == 0)
      g_assert_true (pilot_trust_message_replay_key (message, 7, first));
    pilot_trust_message_vary (message, i);
    text = pilot_trust_message_print (message, NULL);
    back = parse (text);
    g_assert_nonnull (back);
    g_assert_true (pilot_trust_message_verify (back, 7, NULL));
    g_assert_false (pilot_trust_message_verify (back, 8, NULL));
    g_assert_true (pilot_trust_message_replay_key (back, 7, key));
    g_assert_cmpmem (key, sizeof key, first, sizeof first);
    g_assert_true (g_hash_table_add (seen, g_strdup (back->signature)));
  }
}

/* Every type is printed, read back and verified; text with everything Go escapes survives. */
static void
test_round_trip (void)
{
  for (guint type = PILOT_TRUST_MESSAGE_REQUEST; type <= PILOT_TRUST_MESSAGE_REVOKE; type++) {
    g_autoptr (PilotTrustMessage) message = pilot_trust_message_new (&identity_a, type, 893, 7, "<a&b> \"\\\n\t\xe2\x80\xa8 \xf0\x9f\x98\x80", 5);
    g_autofree gchar *text = pilot_trust_message_print (message, NULL);
    g_autoptr (PilotTrustMessage) back = parse (text);
    guint8 key[32];

    g_assert_nonnull (back);
    g_assert_cmpint (back->type, ==, type);
    g_assert_cmpstr (back->justification, ==, message->justification);
    g_assert_cmpstr (back->reason, ==, message->reason);
    g_assert_true (pilot_trust_message_verify (back, 7, key));
    g_assert_cmpmem (key, 32, identity_a.public_key, 32);
    if (type == PILOT_TRUST_MESSAGE_REVOKE)
      g_assert_cmpstr (back->reason, ==, "trust revoked");
  }
}

static void
test_go_rules (void)
{
  g_autoptr (PilotTrustMessage) message =
      parse (" { \"x\" : [ {\"node_id\": \"}\"} , -1.5e3, true ] , \"TYPE\":\"a\",\"type\":\"handshake_reject\",\"Type\":\"handshake_accept\","
             "\"node_id\":1,\"NODE_ID\":4294967295,\"timestamp\":-9223372036854775808,\"reason\":null,\"justification\":\"\\ud83d\\ude00\\u00e9\\/\" } ");

  g_assert_nonnull (message);
  g_assert_cmpint (message->type, ==, PILOT_TRUST_MESSAGE_ACCEPT);
  g_assert_cmpuint (message->node, ==, G_MAXUINT32);
  g_assert_cmpint (message->timestamp, ==, G_MININT64);
  g_assert_cmpstr (message->reason, ==, "");
  g_assert_cmpstr (message->justification, ==, "\xf0\x9f\x98\x80\xc3\xa9/");
  g_assert_false (pilot_trust_message_is_fresh (message, 1760000000));
}

static void
test_bad (void)
{
  static const gchar *const bad[] = {
    "",
    "null",
    "[]",
    "{\"node_id\":\"893\"}",
    "{\"node_id\":893.0}",
    "{\"node_id\":8e2}",
    "{\"node_id\":-1}",
    "{\"node_id\":-0}",
    "{\"node_id\":4294967296}",
    "{\"type\":1}",
    "{\"type\":{}}",
    "{\"timestamp\":1.5}",
    "{\"timestamp\":\"1\"}",
    "{\"reason\":false}",
    "{\"node_id\":\"x\",\"node_id\":1}",
    "{}{}",
    "{} x",
    "{\"timestamp\":9223372036854775808}",
  };
  g_autoptr (PilotTrustMessage) empty = parse ("{}");

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_test_message ("%s", bad[i]);
    g_assert_null (parse (bad[i]));
  }
  /* All zero is a message, but never a valid one. */
  g_assert_nonnull (empty);
  g_assert_cmpint (empty->type, ==, PILOT_TRUST_MESSAGE_UNKNOWN);
  g_assert_false (pilot_trust_message_verify (empty, 7, NULL));
}

static void
test_fresh (void)
{
  PilotTrustMessage message = { .timestamp = 1000 };

  g_assert_true (pilot_trust_message_is_fresh (&message, 1300));
  g_assert_false (pilot_trust_message_is_fresh (&message, 1301));
  g_assert_true (pilot_trust_message_is_fresh (&message, 970));
  g_assert_false (pilot_trust_message_is_fresh (&message, 969));
}

static void
test_replay_key (void)
{
  g_autoptr (PilotTrustMessage) message = parse (json_object_get_string_member (vector, "text"));
  g_autoptr (PilotTrustMessage) accept = pilot_trust_message_new (&identity_a, PILOT_TRUST_MESSAGE_ACCEPT, 893, 7, NULL, 1);
  g_autoptr (GByteArray) go = g_byte_array_new ();
  g_autofree gchar *digest = NULL;
  guint8 first[32], second[32];

  g_assert_true (pilot_trust_message_replay_key (message, 7, first));
  /* Another time, the same key: the signature does not cover it. */
  message->timestamp++;
  g_assert_true (pilot_trust_message_replay_key (message, 7, second));
  g_assert_cmpmem (first, 32, second, 32);
  g_assert_true (pilot_trust_message_replay_key (accept, 7, second));
  g_assert_false (pilot_crypto_equal (first, second, 32));
  message->signature[0] = '!';
  g_assert_false (pilot_trust_message_replay_key (message, 7, second));
  message->signature[0] = 'm';

  /* Go's form, over the text of the signature we carry. */
  g_byte_array_append (go, (const guint8 *) message->type_text, strlen (message->type_text) + 1);
  g_byte_array_append (go, (const guint8 *) "handshake:893:7", 16);
  g_byte_array_append (go, (const guint8 *) message->signature, strlen (message->signature));
  digest = pilot_crypto_fingerprint (go->data, go->len);
  g_assert_cmpstr (digest, ==, json_object_get_string_member (vector, "go_replay_key"));
}

static void
test_sanitize (void)
{
  g_autofree gchar *clean = pilot_trust_sanitize ("a\tb\nc\xc2\xa0"
                                                  "d\x1b[31m \xe2\x80\xae"
                                                  "e\xf0\x9f\x98\x80\xc3\xa9");
  g_autofree gchar *long_text = g_strnfill (2000, 'x');
  g_autofree gchar *cut = NULL, *cut_wide = NULL;
  g_autoptr (GString) wide = g_string_new ("x");

  g_assert_cmpstr (clean, ==, "abcd[31m e\xf0\x9f\x98\x80\xc3\xa9");
  cut = pilot_trust_sanitize (long_text);
  g_assert_cmpuint (strlen (cut), ==, PILOT_TRUST_MAX_JUSTIFICATION);
  for (guint i = 0; i < 600; i++)
    g_string_append (wide, "\xc3\xa9");
  cut_wide = pilot_trust_sanitize (wide->str);
  g_assert_cmpuint (strlen (cut_wide), ==, 1023);
  g_assert_true (g_utf8_validate (cut_wide, -1, NULL));
}

static void
test_reader (void)
{
  const gchar *text = json_object_get_string_member (vector, "text");
  gsize size = strlen (text);

  for (gsize step = 1; step < 300; step += 13) {
    g_autoptr (PilotTrustReader) reader = pilot_trust_reader_new ();
    g_autoptr (PilotTrustMessage) message = NULL;

    for (gsize at = 0; at < size; at += step) {
      g_assert_null (message);
      g_assert_true (pilot_trust_reader_push (reader, (const guint8 *) text + at, MIN (step, size - at), &message, NULL));
    }
    g_assert_nonnull (message);
    g_assert_true (pilot_trust_message_verify (message, 7, NULL));
  }
}

static gboolean
reader_takes (const gchar *text, gsize length)
{
  g_autoptr (PilotTrustReader) reader = pilot_trust_reader_new ();
  g_autoptr (PilotTrustMessage) message = NULL;
  g_autoptr (GError) error = NULL;
  gboolean good = pilot_trust_reader_push (reader, (const guint8 *) text, length, &message, &error);

  g_assert_cmpint (good, ==, error == NULL);
  return good;
}

static void
test_reader_bad (void)
{
  g_autofree gchar *large = g_strnfill (PILOT_TRUST_MESSAGE_MAX_LENGTH + 1, ' ');

  large[0] = '{';
  g_assert_true (reader_takes (large, PILOT_TRUST_MESSAGE_MAX_LENGTH));
  g_assert_false (reader_takes (large, PILOT_TRUST_MESSAGE_MAX_LENGTH + 1));
  g_assert_false (reader_takes ("x", 1));
  g_assert_false (reader_takes ("\"{\"", 3));
  g_assert_false (reader_takes ("{}x", 3));
  g_assert_false (reader_takes ("{]", 2));
  g_assert_true (reader_takes ("{\"a\":\"}\\\"}\"", 11));
  g_assert_true (reader_takes (" {} ", 4));
}

int
main (int argc, char **argv)
{
  g_autoptr (JsonObject) notes = NULL;
  guint8 seed[32];

  g_test_init (&argc, &argv, NULL);
  notes = vectors_load ("notes.json");
  vector = json_object_get_object_member (notes, "trust_message");
  vectors_hex_into (json_object_get_object_member (notes, "seeds"), "A", seed, 32);
  pilot_identity_init (&identity_a, seed);
  g_test_add_func ("/trust-message/vector", test_vector);
  g_test_add_func ("/trust-message/round-trip", test_round_trip);
  g_test_add_func ("/trust-message/vary", test_vary);
  g_test_add_func ("/trust-message/go-rules", test_go_rules);
  g_test_add_func ("/trust-message/bad", test_bad);
  g_test_add_func ("/trust-message/fresh", test_fresh);
  g_test_add_func ("/trust-message/replay-key", test_replay_key);
  g_test_add_func ("/trust-message/sanitize", test_sanitize);
  g_test_add_func ("/trust-message/reader", test_reader);
  g_test_add_func ("/trust-message/reader-bad", test_reader_bad);
  return g_test_run ();
}
