/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>

#include "protocol/aead-private.h"

/* What a key carries before something faster is looked for. An idle node never gets there, and does not pay for it with memory. */
#define MUCH (1024 * 1024)
/* To copy less takes no longer than to put a head before it and take it away again. */
#define LEND_LEAST 256

struct _PilotAead {
  gnutls_aead_cipher_hd_t cipher;
  AeadIpsecMb *fast;
  gsize until_fast; /* bytes; 0: no more question, and the key is wiped */
  guint8 key[PILOT_AEAD_KEY_SIZE];
};

PilotAead *
pilot_aead_new_of (PilotAeadKind kind, const guint8 key[PILOT_AEAD_KEY_SIZE])
{
  gnutls_datum_t datum = { (unsigned char *) key, PILOT_AEAD_KEY_SIZE };
  gnutls_aead_cipher_hd_t cipher;
  PilotAead *aead;

  if (gnutls_aead_cipher_init (&cipher, GNUTLS_CIPHER_AES_256_GCM, &datum) < 0)
    return NULL;
  aead = g_new0 (PilotAead, 1);
  aead->cipher = cipher;
  if (kind == PILOT_AEAD_AUTO) {
    aead->until_fast = MUCH;
    memcpy (aead->key, key, sizeof aead->key);
  } else if (kind == PILOT_AEAD_IPSEC_MB && (aead->fast = aead_ipsec_mb_new (key)) == NULL)
    g_clear_pointer (&aead, pilot_aead_free);
  return aead;
}

PilotAead *
pilot_aead_new (const guint8 key[PILOT_AEAD_KEY_SIZE])
{
  return pilot_aead_new_of (PILOT_AEAD_AUTO, key);
}

void
pilot_aead_free (PilotAead *aead)
{
  if (aead == NULL)
    return;
  gnutls_aead_cipher_deinit (aead->cipher);
  aead_ipsec_mb_free (aead->fast);
  pilot_crypto_wipe (aead, sizeof *aead);
  g_free (aead);
}

PilotAeadKind
pilot_aead_get_kind (const PilotAead *aead)
{
  return aead->fast != NULL ? PILOT_AEAD_IPSEC_MB : PILOT_AEAD_GNUTLS;
}

/* Nonces are the caller's, so it does not matter which implementation has used the ones before. */
static void
count (PilotAead *aead, gsize length)
{
  if (aead->until_fast == 0)
    return;
  aead->until_fast -= MIN (aead->until_fast, length);
  if (aead->until_fast > 0)
    return;
  aead->fast = aead_ipsec_mb_new (aead->key);
  pilot_crypto_wipe (aead->key, sizeof aead->key);
}

/* The plaintext may stand where its ciphertext is to stand, or elsewhere. */
static gboolean
seal_from (PilotAead *aead, const guint8 *nonce, const guint8 *aad, guint8 *data, const guint8 *plain, gsize length)
{
  size_t sealed_length = length + PILOT_AEAD_TAG_SIZE;

  count (aead, length);
  if (aead->fast != NULL) {
    aead_ipsec_mb_seal (aead->fast, nonce, aad, data, plain, length);
    return TRUE;
  }
  return gnutls_aead_cipher_encrypt (aead->cipher, nonce, PILOT_AEAD_NONCE_SIZE, aad, PILOT_AEAD_AAD_SIZE,
                                     PILOT_AEAD_TAG_SIZE, plain, length, data, &sealed_length) == 0;
}

gboolean
pilot_aead_seal (PilotAead *aead,
                 const guint8 nonce[PILOT_AEAD_NONCE_SIZE],
                 const guint8 aad[PILOT_AEAD_AAD_SIZE],
                 guint8 *data,
                 gsize length)
{
  return seal_from (aead, nonce, aad, data, data, length);
}

/* The head goes before the rest for so long: one piece, which is ciphered at once. */
static gboolean
seal_lent (PilotAead *aead, const guint8 *nonce, const guint8 *aad, guint8 *data, gsize head, const struct iovec *rest)
{
  guint8 *plain = (guint8 *) rest->iov_base - head, stood[PILOT_AEAD_HEAD_MOST];
  gboolean sealed;

  memcpy (stood, plain, head);
  memcpy (plain, data, head);
  sealed = seal_from (aead, nonce, aad, data, plain, head + rest->iov_len);
  memcpy (plain, stood, head);
  return sealed;
}

static gboolean
is_lent (const PilotAeadRest *rest, gsize head)
{
  return rest->n_vectors == 1 && rest->before >= head && head <= PILOT_AEAD_HEAD_MOST;
}

gboolean
pilot_aead_rest_pays (const PilotAeadRest *rest,
                      gsize head,
                      gsize length)
{
  return length >= (is_lent (rest, head) ? LEND_LEAST : PILOT_AEAD_GATHER_LEAST);
}

gboolean
pilot_aead_seal_gathered (PilotAead *aead,
                          const guint8 nonce[PILOT_AEAD_NONCE_SIZE],
                          const guint8 aad[PILOT_AEAD_AAD_SIZE],
                          guint8 *data,
                          gsize head,
                          const PilotAeadRest *rest)
{
  gsize length = head;

  if (is_lent (rest, head))
    return seal_lent (aead, nonce, aad, data, head, rest->vectors);
  if (aead->fast != NULL) {
    aead_ipsec_mb_seal_gathered (aead->fast, nonce, aad, data, head, rest);
    return TRUE;
  }
  for (guint i = 0; i < rest->n_vectors; i++) {
    memcpy (data + length, rest->vectors[i].iov_base, rest->vectors[i].iov_len);
    length += rest->vectors[i].iov_len;
  }
  return pilot_aead_seal (aead, nonce, aad, data, length);
}

gboolean
pilot_aead_open (PilotAead *aead,
                 const guint8 nonce[PILOT_AEAD_NONCE_SIZE],
                 const guint8 aad[PILOT_AEAD_AAD_SIZE],
                 guint8 *data,
                 gsize length)
{
  size_t plain_length = length;

  if (length < PILOT_AEAD_TAG_SIZE)
    return FALSE;
  length -= PILOT_AEAD_TAG_SIZE;
  if (aead->fast != NULL)
    return aead_ipsec_mb_open (aead->fast, nonce, aad, data, length);
  if (gnutls_aead_cipher_decrypt (aead->cipher, nonce, PILOT_AEAD_NONCE_SIZE, aad, PILOT_AEAD_AAD_SIZE,
                                  PILOT_AEAD_TAG_SIZE, data, length + PILOT_AEAD_TAG_SIZE, data, &plain_length) != 0) {
    pilot_crypto_wipe (data, length);
    return FALSE;
  }
  /* What is forged does not count. */
  count (aead, length);
  return TRUE;
}

gboolean
pilot_aead_open_placed (PilotAead *aead,
                        const guint8 nonce[PILOT_AEAD_NONCE_SIZE],
                        const guint8 aad[PILOT_AEAD_AAD_SIZE],
                        guint8 *data,
                        gsize length,
                        PilotAeadPlacement *placement)
{
  placement->placed = NULL;
  if (aead->fast == NULL || length < placement->head + PILOT_AEAD_GATHER_LEAST + PILOT_AEAD_TAG_SIZE)
    return pilot_aead_open (aead, nonce, aad, data, length);
  return aead_ipsec_mb_open_placed (aead->fast, nonce, aad, data, length - PILOT_AEAD_TAG_SIZE, placement);
}
