/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "protocol/crypto.h"
#include "protocol/identity.h"
#include "tests/unit/vectors.h"

static JsonObject *tunnel, *notes;

static void
test_session_key (void)
{
  JsonObject *nodes = json_object_get_object_member (tunnel, "nodes");
  JsonObject *a = json_object_get_object_member (nodes, "A"), *b = json_object_get_object_member (nodes, "B");
  JsonObject *derivation = json_object_get_object_member (tunnel, "key_derivation");
  JsonArray *bad = json_object_get_array_member (derivation, "reject_peer_public");
  guint8 a_private[32], a_public[32], b_private[32], b_public[32], want[32], got[32], text[64];

  vectors_hex_into (a, "x25519_private", a_private, 32);
  vectors_hex_into (a, "x25519_public", a_public, 32);
  vectors_hex_into (b, "x25519_private", b_private, 32);
  vectors_hex_into (b, "x25519_public", b_public, 32);
  pilot_x25519_public (a_private, got);
  g_assert_cmpmem (got, 32, a_public, 32);
  g_assert_true (pilot_x25519_derive (a_private, b_public, got));
  vectors_hex_into (derivation, "shared_secret", want, 32);
  g_assert_cmpmem (got, 32, want, 32);

  /* The derivation of before March 2026, which must open nothing. */
  memcpy (text, "pilot-tunnel-v1:", 16);
  memcpy (text + 16, got, 32);
  pilot_crypto_sha256 (text, 48, got);
  vectors_hex_into (json_object_get_object_member (derivation, "obsolete_must_not_match"), "key", want, 32);
  g_assert_cmpmem (got, 32, want, 32);

  vectors_hex_into (derivation, "aes_256_gcm_key", want, 32);
  g_assert_false (pilot_crypto_equal (got, want, 32));
  g_assert_true (pilot_crypto_session_key (a_private, b_public, got));
  g_assert_cmpmem (got, 32, want, 32);
  g_assert_true (pilot_crypto_session_key (b_private, a_public, got));
  g_assert_cmpmem (got, 32, want, 32);
  for (guint i = 0; i < json_array_get_length (bad); i++) {
    vectors_hex_into (json_array_get_object_element (bad, i), "x25519_public", want, 32);
    g_assert_false (pilot_crypto_session_key (a_private, want, got));
  }
}

static void
test_signatures (void)
{
  JsonObject *seeds = json_object_get_object_member (notes, "seeds"), *keys = json_object_get_object_member (notes, "public_keys");
  JsonArray *array = json_object_get_array_member (notes, "signatures");

  g_assert_cmpuint (json_array_get_length (array), ==, 33);
  for (guint i = 0; i < json_array_get_length (array); i++) {
    JsonObject *vector = json_array_get_object_element (array, i);
    const gchar *key = json_object_get_string_member (vector, "key"), *text = json_object_get_string_member (vector, "text");
    g_autofree gchar *signature = NULL;
    guint8 seed[32], public_key[32], bytes[64];
    PilotIdentity identity;

    vectors_hex_into (seeds, key, seed, 32);
    vectors_hex_into (json_object_get_object_member (keys, key), "hex", public_key, 32);
    pilot_identity_init (&identity, seed);
    g_assert_cmpmem (identity.public_key, 32, public_key, 32);
    signature = pilot_identity_sign_text (&identity, text);
    g_assert_cmpstr (signature, ==, json_object_get_string_member (vector, "signature"));
    g_assert_true (pilot_base64_decode (signature, -1, bytes, sizeof bytes));
    g_assert_true (pilot_ed25519_verify (public_key, text, strlen (text), bytes));
    bytes[i] ^= 1;
    g_assert_false (pilot_ed25519_verify (public_key, text, strlen (text), bytes));
  }
}

static void
test_fingerprint (void)
{
  JsonObject *certificate = json_object_get_object_member (notes, "certificate");
  g_auto (GStrv) parts = g_strsplit (json_object_get_string_member (certificate, "pem"), "-----", -1);
  g_autofree gchar *pin = NULL;
  g_autofree guchar *der = NULL;
  gsize length;

  g_assert_cmpuint (g_strv_length (parts), ==, 5);
  der = g_base64_decode (parts[2], &length);
  pin = pilot_crypto_fingerprint (der, length);
  g_assert_cmpstr (pin, ==, json_object_get_string_member (certificate, "pin"));
}

static void
test_base64 (void)
{
  JsonObject *keys = json_object_get_object_member (notes, "malleable_keys");
  const gchar *good = json_object_get_string_member (keys, "good");
  JsonArray *bad = json_object_get_array_member (keys, "bad");
  g_autofree gchar *broken = NULL;
  guint8 key[33];

  g_assert_true (pilot_base64_decode (good, -1, key, 32));
  for (guint i = 0; i < json_array_get_length (bad); i++) {
    g_assert_false (pilot_base64_decode (json_array_get_string_element (bad, i), -1, key, 32));
    g_assert_cmpint (pilot_base64_decode_tolerant (json_array_get_string_element (bad, i), key, sizeof key), ==, 32);
  }
  broken = g_strdup_printf ("%.20s\r\n%s\n", good, good + 20);
  g_assert_false (pilot_base64_decode (broken, -1, key, 32));
  g_assert_cmpint (pilot_base64_decode_tolerant (broken, key, sizeof key), ==, 32);
  g_assert_cmpint (pilot_base64_decode_tolerant (good, key, 31), ==, -1);
  for (const gchar *const *p = (const gchar *const[]) { "=", "A===", "AA=", "AAA", "AA==A", "AAAA=", "AA-=", "A A=", NULL }; *p; p++)
    g_assert_cmpint (pilot_base64_decode_tolerant (*p, key, sizeof key), ==, -1);
  g_assert_false (pilot_base64_decode ("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo", -1, key, 32));
}

/* Our coder and GLib's agree for every length, and back. */
static void
test_base64_lengths (void)
{
  for (gsize size = 0; size < 70; size++) {
    guint8 bytes[70], back[70];
    g_autofree gchar *ours = NULL, *theirs = NULL;

    for (gsize i = 0; i < size; i++)
      bytes[i] = (guint8) g_test_rand_int ();
    ours = pilot_base64_encode (bytes, size);
    theirs = g_base64_encode (bytes, size);
    g_assert_cmpstr (ours, ==, theirs);
    g_assert_true (pilot_base64_decode (ours, -1, back, size));
    g_assert_cmpmem (back, size, bytes, size);
  }
}

static void
test_random (void)
{
  guint8 a[32] = { 0 }, b[32] = { 0 };

  pilot_crypto_random (a, sizeof a);
  pilot_crypto_random (b, sizeof b);
  g_assert_false (pilot_crypto_equal (a, b, sizeof a));
  pilot_crypto_wipe (a, sizeof a);
  memset (b, 0, sizeof b);
  g_assert_true (pilot_crypto_equal (a, b, sizeof a));
}

int
main (int argc, char **argv)
{
  int status;

  g_test_init (&argc, &argv, NULL);
  tunnel = vectors_load ("tunnel.json");
  notes = vectors_load ("notes.json");
  g_test_add_func ("/crypto/session-key", test_session_key);
  g_test_add_func ("/crypto/signatures", test_signatures);
  g_test_add_func ("/crypto/fingerprint", test_fingerprint);
  g_test_add_func ("/crypto/base64", test_base64);
  g_test_add_func ("/crypto/base64-lengths", test_base64_lengths);
  g_test_add_func ("/crypto/random", test_random);
  status = g_test_run ();
  json_object_unref (tunnel);
  json_object_unref (notes);
  return status;
}
