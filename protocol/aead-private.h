/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "protocol/crypto.h"

G_BEGIN_DECLS

/* AES-256-GCM by Intel's Multi-Buffer library: three times as fast as others on processors with AVX-512 and VAES, and only used there. */
typedef struct _AeadIpsecMb AeadIpsecMb;

#ifdef HAVE_IPSEC_MB

/* (transfer full) NULL where the processor would not be faster with it, or the library does not pass its own tests. */
AeadIpsecMb *aead_ipsec_mb_new (const guint8 key[PILOT_AEAD_KEY_SIZE]);
void aead_ipsec_mb_free (AeadIpsecMb *aead);
/* As pilot_aead_seal() and the like. What is sealed stands at @plain, which may be @data. */
void aead_ipsec_mb_seal (AeadIpsecMb *aead, const guint8 *nonce, const guint8 *aad, guint8 *data, const guint8 *plain, gsize length);
void aead_ipsec_mb_seal_gathered (AeadIpsecMb *aead, const guint8 *nonce, const guint8 *aad, guint8 *data, gsize head, const PilotAeadRest *rest);
/* Of these, @length does not count the tag. */
gboolean aead_ipsec_mb_open (AeadIpsecMb *aead, const guint8 *nonce, const guint8 *aad, guint8 *data, gsize length);
gboolean aead_ipsec_mb_open_placed (AeadIpsecMb *aead, const guint8 *nonce, const guint8 *aad, guint8 *data, gsize length, PilotAeadPlacement *placement);

#else

static inline AeadIpsecMb *
aead_ipsec_mb_new (const guint8 key[PILOT_AEAD_KEY_SIZE])
{
  return NULL;
}

static inline void
aead_ipsec_mb_free (AeadIpsecMb *aead)
{
}

static inline void
aead_ipsec_mb_seal (AeadIpsecMb *aead, const guint8 *nonce, const guint8 *aad, guint8 *data, const guint8 *plain, gsize length)
{
  g_assert_not_reached ();
}

static inline void
aead_ipsec_mb_seal_gathered (AeadIpsecMb *aead, const guint8 *nonce, const guint8 *aad, guint8 *data, gsize head, const PilotAeadRest *rest)
{
  g_assert_not_reached ();
}

static inline gboolean
aead_ipsec_mb_open (AeadIpsecMb *aead, const guint8 *nonce, const guint8 *aad, guint8 *data, gsize length)
{
  g_assert_not_reached ();
}

static inline gboolean
aead_ipsec_mb_open_placed (AeadIpsecMb *aead, const guint8 *nonce, const guint8 *aad, guint8 *data, gsize length, PilotAeadPlacement *placement)
{
  g_assert_not_reached ();
}

#endif

G_END_DECLS
