/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/aead-private.h"

#include <intel-ipsec-mb.h>
#include <string.h>

/* Without these the library is no faster than GnuTLS. */
#define WANTED (IMB_CPUFLAGS_AVX512 | IMB_FEATURE_VAES | IMB_FEATURE_VPCLMULQDQ)

struct _AeadIpsecMb {
  struct gcm_key_data key;         /* first: it wants to be aligned */
  struct gcm_context_data context; /* of one call; here, so that it can be wiped with the key */
  IMB_MGR *manager;                /* the process's */
};

/* One for the process: of it only pointers to functions are used, which do not change. Made late, as its own tests touch 3 MB of the library. */
static IMB_MGR *
manager (void)
{
  static gsize made = 0;
  static IMB_MGR *shared = NULL;

  if (g_once_init_enter (&made)) {
    if ((imb_get_feature_flags () & WANTED) == WANTED)
      shared = alloc_mb_mgr (0);
    if (shared != NULL) {
      init_mb_mgr_avx512 (shared);
      if (imb_get_errno (shared) != 0 || (shared->features & IMB_FEATURE_SELF_TEST_PASS) == 0) {
        g_warning ("the IPsec-MB library does not pass its own tests: GnuTLS goes on");
        g_clear_pointer (&shared, free_mb_mgr);
      }
    }
    g_once_init_leave (&made, 1);
  }
  return shared;
}

AeadIpsecMb *
aead_ipsec_mb_new (const guint8 key[PILOT_AEAD_KEY_SIZE])
{
  IMB_MGR *shared = manager ();
  AeadIpsecMb *aead;

  if (shared == NULL)
    return NULL;
  aead = g_aligned_alloc0 (1, sizeof *aead, 64);
  aead->manager = shared;
  IMB_AES256_GCM_PRE (shared, key, &aead->key);
  return aead;
}

void
aead_ipsec_mb_free (AeadIpsecMb *aead)
{
  if (aead == NULL)
    return;
  pilot_crypto_wipe (aead, sizeof *aead);
  g_aligned_free (aead);
}

void
aead_ipsec_mb_seal (AeadIpsecMb *aead, const guint8 *nonce, const guint8 *aad, guint8 *data, const guint8 *plain, gsize length)
{
  IMB_AES256_GCM_ENC (aead->manager, &aead->key, &aead->context, data, plain, length, nonce, aad, PILOT_AEAD_AAD_SIZE, data + length, PILOT_AEAD_TAG_SIZE);
}

void
aead_ipsec_mb_seal_gathered (AeadIpsecMb *aead, const guint8 *nonce, const guint8 *aad, guint8 *data, gsize head, const PilotAeadRest *rest)
{
  IMB_MGR *shared = aead->manager;

  IMB_AES256_GCM_INIT (shared, &aead->key, &aead->context, nonce, aad, PILOT_AEAD_AAD_SIZE);
  IMB_AES256_GCM_ENC_UPDATE (shared, &aead->key, &aead->context, data, data, head);
  data += head;
  for (guint i = 0; i < rest->n_vectors; i++) {
    IMB_AES256_GCM_ENC_UPDATE (shared, &aead->key, &aead->context, data, rest->vectors[i].iov_base, rest->vectors[i].iov_len);
    data += rest->vectors[i].iov_len;
  }
  IMB_AES256_GCM_ENC_FINALIZE (shared, &aead->key, &aead->context, data, PILOT_AEAD_TAG_SIZE);
}

/* In constant time, as pilot_crypto_equal(), whose loop over bytes is a tenth of what opening a packet takes. */
static gboolean
same_tag (const guint8 *a, const guint8 *b)
{
  guint64 left[2], right[2];

  G_STATIC_ASSERT (sizeof left == PILOT_AEAD_TAG_SIZE);
  memcpy (left, a, sizeof left);
  memcpy (right, b, sizeof right);
  return ((left[0] ^ right[0]) | (left[1] ^ right[1])) == 0;
}

gboolean
aead_ipsec_mb_open (AeadIpsecMb *aead, const guint8 *nonce, const guint8 *aad, guint8 *data, gsize length)
{
  guint8 tag[PILOT_AEAD_TAG_SIZE];

  IMB_AES256_GCM_DEC (aead->manager, &aead->key, &aead->context, data, data, length, nonce, aad, PILOT_AEAD_AAD_SIZE, tag, sizeof tag);
  if (same_tag (tag, data + length))
    return TRUE;
  /* Deciphered before it was known to be right: nobody may see it. */
  pilot_crypto_wipe (data, length);
  return FALSE;
}

gboolean
aead_ipsec_mb_open_placed (AeadIpsecMb *aead, const guint8 *nonce, const guint8 *aad, guint8 *data, gsize length, PilotAeadPlacement *placement)
{
  IMB_MGR *shared = aead->manager;
  const gsize rest = length - placement->head;
  guint8 tag[PILOT_AEAD_TAG_SIZE], *sealed = data + placement->head, *place;

  IMB_AES256_GCM_INIT (shared, &aead->key, &aead->context, nonce, aad, PILOT_AEAD_AAD_SIZE);
  IMB_AES256_GCM_DEC_UPDATE (shared, &aead->key, &aead->context, data, data, placement->head);
  placement->placed = placement->place (data, rest, placement->user_data);
  place = placement->placed != NULL ? placement->placed : sealed;
  IMB_AES256_GCM_DEC_UPDATE (shared, &aead->key, &aead->context, place, sealed, rest);
  IMB_AES256_GCM_DEC_FINALIZE (shared, &aead->key, &aead->context, tag, sizeof tag);
  if (same_tag (tag, data + length))
    return TRUE;
  pilot_crypto_wipe (data, placement->head);
  pilot_crypto_wipe (place, rest);
  placement->placed = NULL;
  return FALSE;
}
