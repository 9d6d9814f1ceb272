/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/crypto.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <nettle/curve25519.h>
#include <nettle/eddsa.h>
#include <nettle/hkdf.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <nettle/sha2.h>
#include <string.h>

/* Random bytes come from GnuTLS, AES-256-GCM too or from something faster (aead.c). The rest comes from nettle, GnuTLS's own back end: the same code
 * without the key objects, so that judging a stranger's key exchange allocates nothing. */

#define SESSION_INFO "pilot-tunnel-v1"

void
pilot_x25519_public (const guint8 private_key[PILOT_X25519_KEY_SIZE], guint8 public_key[PILOT_X25519_KEY_SIZE])
{
  curve25519_mul_g (public_key, private_key);
}

gboolean
pilot_x25519_derive (const guint8 private_key[PILOT_X25519_KEY_SIZE],
                     const guint8 peer_public[PILOT_X25519_KEY_SIZE],
                     guint8 shared[PILOT_X25519_KEY_SIZE])
{
  static const guint8 zero[PILOT_X25519_KEY_SIZE] = { 0 };

  curve25519_mul (shared, private_key, peer_public);
  return !memeql_sec (shared, zero, sizeof zero);
}

gboolean
pilot_crypto_session_key (const guint8 private_key[PILOT_X25519_KEY_SIZE],
                          const guint8 peer_public[PILOT_X25519_KEY_SIZE],
                          guint8 key[PILOT_AEAD_KEY_SIZE])
{
  struct hmac_sha256_ctx hmac;
  guint8 shared[PILOT_X25519_KEY_SIZE];
  guint8 prk[SHA256_DIGEST_SIZE];
  gboolean valid;

  valid = pilot_x25519_derive (private_key, peer_public, shared);
  if (valid) {
    hmac_sha256_set_key (&hmac, 0, (const guint8 *) "");
    hkdf_extract (&hmac, (nettle_hash_update_func *) hmac_sha256_update, (nettle_hash_digest_func *) hmac_sha256_digest,
                  SHA256_DIGEST_SIZE, sizeof shared, shared, prk);
    hmac_sha256_set_key (&hmac, sizeof prk, prk);
    hkdf_expand (&hmac, (nettle_hash_update_func *) hmac_sha256_update, (nettle_hash_digest_func *) hmac_sha256_digest,
                 SHA256_DIGEST_SIZE, strlen (SESSION_INFO), (const guint8 *) SESSION_INFO, PILOT_AEAD_KEY_SIZE, key);
  } else
    pilot_crypto_wipe (key, PILOT_AEAD_KEY_SIZE);
  pilot_crypto_wipe (&hmac, sizeof hmac);
  pilot_crypto_wipe (shared, sizeof shared);
  pilot_crypto_wipe (prk, sizeof prk);
  return valid;
}

void
pilot_ed25519_public (const guint8 seed[PILOT_ED25519_SEED_SIZE], guint8 public_key[PILOT_ED25519_PUBLIC_SIZE])
{
  ed25519_sha512_public_key (public_key, seed);
}

void
pilot_ed25519_sign (const guint8 seed[PILOT_ED25519_SEED_SIZE],
                    const guint8 public_key[PILOT_ED25519_PUBLIC_SIZE],
                    gconstpointer data,
                    gsize length,
                    guint8 signature[PILOT_ED25519_SIGNATURE_SIZE])
{
  ed25519_sha512_sign (public_key, seed, length, data, signature);
}

gboolean
pilot_ed25519_verify (const guint8 public_key[PILOT_ED25519_PUBLIC_SIZE],
                      gconstpointer data,
                      gsize length,
                      const guint8 signature[PILOT_ED25519_SIGNATURE_SIZE])
{
  return ed25519_sha512_verify (public_key, length, data, signature) != 0;
}

gboolean
pilot_crypto_equal (gconstpointer a, gconstpointer b, gsize length)
{
  return memeql_sec (a, b, length) != 0;
}

void
pilot_crypto_wipe (gpointer data, gsize length)
{
  explicit_bzero (data, length);
}

void
pilot_crypto_random (gpointer data, gsize length)
{
  int status = gnutls_rnd (GNUTLS_RND_KEY, data, length);

  if (status < 0)
    g_error ("no random bytes: %s", gnutls_strerror (status));
}

void
pilot_crypto_sha256 (gconstpointer data, gsize length, guint8 digest[PILOT_SHA256_SIZE])
{
  struct sha256_ctx hash;

  sha256_init (&hash);
  sha256_update (&hash, length, data);
  sha256_digest (&hash, PILOT_SHA256_SIZE, digest);
}

struct _PilotSha256 {
  struct sha256_ctx context;
};

PilotSha256 *
pilot_sha256_new (void)
{
  PilotSha256 *hash = g_new (PilotSha256, 1);

  sha256_init (&hash->context);
  return hash;
}

void
pilot_sha256_free (PilotSha256 *hash)
{
  g_free (hash);
}

void
pilot_sha256_update (PilotSha256 *hash, gconstpointer data, gsize length)
{
  sha256_update (&hash->context, length, data);
}

void
pilot_sha256_finish (PilotSha256 *hash, guint8 digest[PILOT_SHA256_SIZE])
{
  sha256_digest (&hash->context, PILOT_SHA256_SIZE, digest);
}

gchar *
pilot_crypto_fingerprint (gconstpointer data, gsize length)
{
  return g_compute_checksum_for_data (G_CHECKSUM_SHA256, data, length);
}
