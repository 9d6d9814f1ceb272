/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/identity.h"

#include <string.h>

#include "libpilot/pilot-error.h"
#include "protocol/json.h"

void
pilot_identity_init (PilotIdentity *identity, const guint8 seed[PILOT_ED25519_SEED_SIZE])
{
  memcpy (identity->seed, seed, sizeof identity->seed);
  pilot_ed25519_public (identity->seed, identity->public_key);
}

void
pilot_identity_clear (PilotIdentity *identity)
{
  pilot_crypto_wipe (identity, sizeof *identity);
}

/* Go matches names without regard to case; the last one wins. */
static const gchar *
find_text (JsonObject *object, const gchar *name)
{
  g_autoptr (GList) members = json_object_get_members (object);
  const gchar *text = "";

  for (GList *link = members; link != NULL; link = link->next)
    if (g_ascii_strcasecmp (link->data, name) == 0)
      text = pilot_json_get_string (object, link->data);
  return text;
}

static gboolean
decode (JsonObject *object, const gchar *name, const gchar *words, guint8 *out, gssize size, GError **error)
{
  guint8 buffer[128];
  gssize n = pilot_base64_decode_tolerant (find_text (object, name), buffer, sizeof buffer);

  if (n < 0)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "decode %s: not base64, or too long", words);
  else if (n != size)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "invalid %s size: %d", words, (int) n);
  else
    memcpy (out, buffer, (gsize) size);
  pilot_crypto_wipe (buffer, sizeof buffer);
  return n == size;
}

gboolean
pilot_identity_parse (PilotIdentity *identity, const gchar *text, gsize length, GError **error)
{
  g_autoptr (JsonObject) object = NULL;
  guint8 private_key[64], public_key[PILOT_ED25519_PUBLIC_SIZE];
  gboolean sound;

  pilot_identity_clear (identity);
  object = pilot_json_parse_object (text, length, PILOT_IDENTITY_MAX_LENGTH, error);
  if (object == NULL)
    return FALSE;
  sound = decode (object, "private_key", "private key", private_key, sizeof private_key, error) &&
          decode (object, "public_key", "public key", public_key, sizeof public_key, error);
  if (sound) {
    pilot_identity_init (identity, private_key);
    /* The reference compares the two copies only; a seed that does not belong to them would sign what nobody can verify. */
    sound = pilot_crypto_equal (public_key, private_key + PILOT_ED25519_SEED_SIZE, sizeof public_key) &&
            pilot_crypto_equal (public_key, identity->public_key, sizeof public_key);
    if (!sound) {
      pilot_identity_clear (identity);
      g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "identity file corrupted: public key does not match private key");
    }
  }
  pilot_crypto_wipe (private_key, sizeof private_key);
  return sound;
}

gchar *
pilot_identity_print (const PilotIdentity *identity)
{
  guint8 private_key[64];
  gchar private_text[PILOT_BASE64_SIGNATURE_TEXT_SIZE], public_text[PILOT_BASE64_KEY_TEXT_SIZE];
  gchar *text;

  memcpy (private_key, identity->seed, PILOT_ED25519_SEED_SIZE);
  memcpy (private_key + PILOT_ED25519_SEED_SIZE, identity->public_key, PILOT_ED25519_PUBLIC_SIZE);
  pilot_base64_encode_to (private_key, sizeof private_key, private_text);
  pilot_base64_encode_to (identity->public_key, sizeof identity->public_key, public_text);
  text = g_strdup_printf ("{\n  \"private_key\": \"%s\",\n  \"public_key\": \"%s\"\n}", private_text, public_text);
  pilot_crypto_wipe (private_key, sizeof private_key);
  pilot_crypto_wipe (private_text, sizeof private_text);
  return text;
}

void
pilot_identity_sign (const PilotIdentity *identity, gconstpointer data, gsize length, guint8 signature[PILOT_ED25519_SIGNATURE_SIZE])
{
  pilot_ed25519_sign (identity->seed, identity->public_key, data, length, signature);
}

gchar *
pilot_identity_sign_text (const PilotIdentity *identity, const gchar *text)
{
  guint8 signature[PILOT_ED25519_SIGNATURE_SIZE];

  pilot_identity_sign (identity, text, strlen (text), signature);
  return pilot_base64_encode (signature, sizeof signature);
}
