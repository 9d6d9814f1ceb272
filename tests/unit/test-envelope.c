/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "libpilot/pilot-error.h"
#include "protocol/envelope.h"
#include "protocol/identity.h"
#include "tests/unit/vectors.h"

static JsonObject *vector;

static const char *
get (const char *name)
{
  return json_object_get_string_member (vector, name);
}

static void
test_vector (void)
{
  const PilotAddress address = { 0, 0x37D };
  g_autofree char *hash = pilot_crypto_fingerprint (get ("body"), strlen (get ("body")));
  g_autofree char *text = NULL, *signature = NULL, *key = NULL;
  g_autoptr (GError) error = NULL;
  PilotIdentity identity;
  PilotEnvelope envelope, back;
  guint8 seed[PILOT_ED25519_SEED_SIZE];

  for (guint i = 0; i < sizeof seed; i++)
    seed[i] = (guint8) i;
  pilot_identity_init (&identity, seed);
  pilot_envelope_init (&envelope, &address, 1760000000, "0011223344556677", hash, "example.svc", &error);
  g_assert_no_error (error);
  text = pilot_envelope_print (&envelope);
  g_assert_cmpstr (text, ==, get ("envelope"));
  signature = pilot_identity_sign_text (&identity, text);
  g_assert_cmpstr (signature, ==, get ("signature"));
  key = pilot_base64_encode (identity.public_key, sizeof identity.public_key);
  g_assert_cmpstr (key, ==, get ("public_key"));
  pilot_envelope_parse (&back, text, &error);
  g_assert_no_error (error);
  g_assert_true (pilot_address_equal (&back.address, &address));
  g_assert_cmpint (back.time, ==, 1760000000);
  g_assert_cmpstr (back.audience, ==, "example.svc");
}

static void
test_malformed (void)
{
  const char *good = get ("envelope");
  static const struct {
    const char *from, *to;
  } changes[] = {
    { "v1", "v2" },
    { "|1760000000|", "|01760000000|" },
    { "|1760000000|", "|-1760000000|" },
    { "|1760000000|", "|+1760000000|" },
    { "|1760000000|", "||" },
    { "|1760000000|", "|9223372036854775808|" },
    { "00000000037d", "00000000037D" },
    { "00000000037d", "0000000037d" },
    { "2cf24d", "2CF24D" },
    { "example.svc", "" },
    { "example.svc", "example svc" },
    { "example.svc", "example.svc|" },
    { "0011223344556677", "001122334455667" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (changes); i++) {
    g_autoptr (GString) text = g_string_new (good);
    g_autoptr (GError) error = NULL;
    PilotEnvelope envelope;

    g_assert_cmpuint (g_string_replace (text, changes[i].from, changes[i].to, 1), ==, 1);
    g_assert_false (pilot_envelope_parse (&envelope, text->str, &error));
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT);
  }
}

int
main (int argc, char **argv)
{
  g_autoptr (JsonObject) vectors = NULL;

  g_test_init (&argc, &argv, NULL);
  vectors = vectors_load ("ipc.json");
  vector = json_object_get_object_member (vectors, "envelope");
  g_test_add_func ("/envelope/vector", test_vector);
  g_test_add_func ("/envelope/malformed", test_malformed);
  return g_test_run ();
}
