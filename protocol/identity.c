/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/identity.h"

#include <json-glib/json-glib.h>
#include <string.h>

#include "libpilot/pilot-error.h"
#include "protocol/json.h"

/* Seed and public key, as the file keeps them together. */
#define PRIVATE_SIZE (PILOT_ED25519_SEED_SIZE + PILOT_ED25519_PUBLIC_SIZE)

void
pilot_identity_init (PilotIdentity *identity, const guint8 seed[PILOT_ED25519_SEED_SIZE])
{
  memcpy (identity->seed, seed, PILOT_ED25519_SEED_SIZE);
  pilot_ed25519_public (identity->seed, identity->public_key);
}

void
pilot_identity_clear (PilotIdentity *identity)
{
  pilot_crypto_wipe (identity, sizeof *identity);
}

/* Names are matched without regard to case, as Go does; the last one wins. */
static const gchar *
find_string (JsonObject *object, const gchar *name)
{
  JsonObjectIter iter;
  const gchar *member, *found = "";
  JsonNode *node;

  json_object_iter_init (&iter, object);
  while (json_object_iter_next (&iter, &member, &node))
    if (g_ascii_strcasecmp (member, name) == 0 && JSON_NODE_HOLDS_VALUE (node) &&
        json_node_get_value_type (node) == G_TYPE_STRING)
      found = json_node_get_string (node);
  return found;
}

static gboolean
read_key (JsonObject *object, const gchar *name, const gchar *what, guint8 *key, gsize size, GError **error)
{
  /* Roomy, so that a key of the wrong length is reported with its length. */
  guint8 decoded[256];
  gssize length = pilot_base64_decode_tolerant (find_string (object, name), decoded, sizeof decoded);

  if (length == (gssize) size)
    memcpy (key, decoded, size);
  pilot_crypto_wipe (decoded, sizeof decoded);
  if (length < 0)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "decode %s key: illegal base64 data", what);
  else if (length != (gssize) size)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "invalid %s key size: %" G_GSSIZE_FORMAT, what, length);
  return length == (gssize) size;
}

gboolean
pilot_identity_parse (PilotIdentity *identity, const gchar *text, gsize length, GError **error)
{
  g_autoptr (JsonObject) object = NULL;
  guint8 private_key[PRIVATE_SIZE], public_key[PILOT_ED25519_PUBLIC_SIZE];
  gboolean good;

  pilot_identity_clear (identity);
  object = pilot_json_parse_object (text, length, PILOT_IDENTITY_MAX_LENGTH, error);
  if (object == NULL)
    return FALSE;
  good = read_key (object, "private_key", "private", private_key, sizeof private_key, error) &&
         read_key (object, "public_key", "public", public_key, sizeof public_key, error);
  if (good) {
    pilot_identity_init (identity, private_key);
    good = pilot_crypto_equal (identity->public_key, public_key, sizeof public_key) &&
           pilot_crypto_equal (identity->public_key, private_key + PILOT_ED25519_SEED_SIZE, sizeof public_key);
    if (!good)
      g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_CORRUPT,
                           "identity file corrupted: public key does not match private key");
  }
  if (!good)
    pilot_identity_clear (identity);
  pilot_crypto_wipe (private_key, sizeof private_key);
  return good;
}

gchar *
pilot_identity_print (const PilotIdentity *identity)
{
  guint8 private_key[PRIVATE_SIZE];
  gchar private_text[PILOT_BASE64_SIGNATURE_TEXT_SIZE], public_text[PILOT_BASE64_KEY_TEXT_SIZE];
  gchar *text;

  memcpy (private_key, identity->seed, PILOT_ED25519_SEED_SIZE);
  memcpy (private_key + PILOT_ED25519_SEED_SIZE, identity->public_key, PILOT_ED25519_PUBLIC_SIZE);
  pilot_base64_encode_to (private_key, sizeof private_key, private_text);
  pilot_base64_encode_to (identity->public_key, PILOT_ED25519_PUBLIC_SIZE, public_text);
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
