/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "libpilot/pilot-error.h"
#include "protocol/identity.h"
#include "tests/unit/vectors.h"

#define PRIVATE "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2DXWpgBgrEKt9VL/tPJZAc6DuFy89qmIyWvAhpo9wdRGg=="
#define PUBLIC "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
#define OTHER_PUBLIC "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw="

static void
test_vector (void)
{
  g_autoptr (JsonObject) tunnel = vectors_load ("tunnel.json");
  JsonObject *vector = json_object_get_object_member (tunnel, "identity_file");
  const gchar *text = json_object_get_string_member (vector, "file_text");
  g_autofree gchar *printed = NULL, *with_newline = g_strconcat (text, "\n", NULL);
  g_autoptr (GError) error = NULL;
  PilotIdentity identity;
  guint8 seed[32];

  vectors_hex_into (vector, "seed", seed, 32);
  pilot_identity_init (&identity, seed);
  printed = pilot_identity_print (&identity);
  g_assert_cmpstr (printed, ==, text);
  pilot_identity_clear (&identity);
  g_assert_true (pilot_identity_parse (&identity, with_newline, strlen (with_newline), &error));
  g_assert_no_error (error);
  g_assert_cmpmem (identity.seed, 32, seed, 32);
}

static gboolean
parses (const gchar *text, const gchar *want)
{
  g_autoptr (GError) error = NULL;
  static const PilotIdentity empty;
  PilotIdentity identity;
  gboolean good = pilot_identity_parse (&identity, text, strlen (text), &error);

  if (good)
    return TRUE;
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT);
  if (want != NULL && strstr (error->message, want) == NULL)
    g_error ("\"%s\" lacks \"%s\"", error->message, want);
  g_assert_cmpmem (&identity, sizeof identity, &empty, sizeof empty);
  return FALSE;
}

static void
test_tolerance (void)
{
  g_assert_true (parses ("{\"Private_Key\":\"" PRIVATE "\",\"PUBLIC_KEY\":\"" PUBLIC "\",\"more\":[1]}", NULL));
  g_assert_true (parses ("{\"private_key\":\"" PRIVATE "\\r\\n\",\"public_key\":\"\\n" PUBLIC "\"}", NULL));
}

static void
test_bad (void)
{
  g_autofree gchar *half = g_strdup_printf ("{\"private_key\":\"%.40s", PRIVATE);

  g_assert_false (parses ("", NULL));
  g_assert_false (parses ("[]", NULL));
  g_assert_false (parses (half, NULL));
  g_assert_false (parses ("{}", "invalid private key size: 0"));
  g_assert_false (parses ("{\"private_key\":\"-\"}", "decode private key"));
  g_assert_false (parses ("{\"private_key\":\"" PRIVATE "\",\"public_key\":\"AAAA\"}", "invalid public key size: 3"));
  g_assert_false (parses ("{\"private_key\":\"" PRIVATE "\",\"public_key\":\"" OTHER_PUBLIC "\"}",
                          "identity file corrupted: public key does not match private key"));
}

/* Both public halves agree with each other but not with the seed: Go loads this, we do not. */
static void
test_seed_mismatch (void)
{
  g_autofree gchar *private_key = NULL, *text = NULL;
  guint8 bytes[64] = { 0 };

  g_assert_true (pilot_base64_decode (PUBLIC, -1, bytes + 32, 32));
  private_key = pilot_base64_encode (bytes, sizeof bytes);
  text = g_strdup_printf ("{\"private_key\":\"%s\",\"public_key\":\"" PUBLIC "\"}", private_key);
  g_assert_false (parses (text, "does not match"));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/identity/vector", test_vector);
  g_test_add_func ("/identity/tolerance", test_tolerance);
  g_test_add_func ("/identity/bad", test_bad);
  g_test_add_func ("/identity/seed-mismatch", test_seed_mismatch);
  return g_test_run ();
}
