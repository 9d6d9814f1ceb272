/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/frame.h"

#include "protocol/beacon-message.h"
#include "protocol/bytes.h"

#define MAGIC_PILT 0x50494c54u
#define MAGIC_PILS 0x50494c53u
#define MAGIC_PILK 0x50494c4bu
#define MAGIC_PILA 0x50494c41u
#define MAGIC_PILP 0x50494c50u

/* Offsets of PILA, PILK and PILS. */
enum {
  OFFSET_NODE = 4,
  OFFSET_X25519 = 8,
  OFFSET_ED25519 = 40,
  OFFSET_SIGNATURE = 72,
  OFFSET_NONCE = 8,
  OFFSET_COUNTER = 12,
};

/* "auth", node id, X25519 key: what the signature of a PILA covers. */
#define SIGNED_SIZE (4 + 4 + PILOT_X25519_KEY_SIZE)

PilotFrameKind
pilot_frame_classify (const guint8 *data, gsize length)
{
  if (length == 0)
    return PILOT_FRAME_IGNORED;
  if (data[0] < PILOT_BEACON_TYPE_LIMIT)
    return PILOT_FRAME_BEACON;
  if (length < PILOT_FRAME_MAGIC_SIZE)
    return PILOT_FRAME_IGNORED;
  switch (pilot_bytes_get_u32 (data)) {
  case MAGIC_PILS:
    return PILOT_FRAME_PILS;
  case MAGIC_PILA:
    return PILOT_FRAME_PILA;
  case MAGIC_PILK:
    return PILOT_FRAME_PILK;
  case MAGIC_PILP:
    return PILOT_FRAME_PILP;
  case MAGIC_PILT:
    return PILOT_FRAME_PILT;
  default:
    return PILOT_FRAME_IGNORED;
  }
}

static void
fill_signed_message (guint8 message[SIGNED_SIZE], guint32 node, const guint8 *x25519_public)
{
  memcpy (message, "auth", 4);
  pilot_bytes_put_u32 (message + 4, node);
  memcpy (message + 8, x25519_public, PILOT_X25519_KEY_SIZE);
}

gboolean
pilot_frame_parse_key_exchange (PilotKeyExchange *exchange, const guint8 *data, gsize length)
{
  PilotFrameKind kind = pilot_frame_classify (data, length);

  if (!(kind == PILOT_FRAME_PILA && length >= PILOT_FRAME_PILA_SIZE) && !(kind == PILOT_FRAME_PILK && length >= PILOT_FRAME_PILK_SIZE))
    return FALSE;
  exchange->node = pilot_bytes_get_u32 (data + OFFSET_NODE);
  exchange->x25519_public = data + OFFSET_X25519;
  exchange->ed25519_public = kind == PILOT_FRAME_PILA ? data + OFFSET_ED25519 : NULL;
  exchange->signature = kind == PILOT_FRAME_PILA ? data + OFFSET_SIGNATURE : NULL;
  return TRUE;
}

gboolean
pilot_frame_verify_pila (const PilotKeyExchange *exchange)
{
  guint8 message[SIGNED_SIZE];

  if (exchange->ed25519_public == NULL || exchange->signature == NULL)
    return FALSE;
  fill_signed_message (message, exchange->node, exchange->x25519_public);
  return pilot_ed25519_verify (exchange->ed25519_public, message, sizeof message, exchange->signature);
}

void
pilot_frame_build_pila (guint8 frame[PILOT_FRAME_PILA_SIZE],
                        guint32 node,
                        const guint8 x25519_public[PILOT_X25519_KEY_SIZE],
                        const PilotIdentity *identity)
{
  guint8 message[SIGNED_SIZE];

  fill_signed_message (message, node, x25519_public);
  pilot_bytes_put_u32 (frame, MAGIC_PILA);
  pilot_bytes_put_u32 (frame + OFFSET_NODE, node);
  memcpy (frame + OFFSET_X25519, x25519_public, PILOT_X25519_KEY_SIZE);
  memcpy (frame + OFFSET_ED25519, identity->public_key, PILOT_ED25519_PUBLIC_SIZE);
  pilot_identity_sign (identity, message, sizeof message, frame + OFFSET_SIGNATURE);
}

void
pilot_frame_build_pilk (guint8 frame[PILOT_FRAME_PILK_SIZE], guint32 node, const guint8 x25519_public[PILOT_X25519_KEY_SIZE])
{
  pilot_bytes_put_u32 (frame, MAGIC_PILK);
  pilot_bytes_put_u32 (frame + OFFSET_NODE, node);
  memcpy (frame + OFFSET_X25519, x25519_public, PILOT_X25519_KEY_SIZE);
}

void
pilot_frame_build_pilp (guint8 frame[PILOT_FRAME_PILP_SIZE])
{
  pilot_bytes_put_u32 (frame, MAGIC_PILP);
}

gboolean
pilot_frame_parse_pils (PilotSealedFrame *sealed, guint8 *data, gsize length)
{
  if (length < PILOT_FRAME_PILS_OVERHEAD || pilot_bytes_get_u32 (data) != MAGIC_PILS)
    return FALSE;
  sealed->node = pilot_bytes_get_u32 (data + OFFSET_NODE);
  sealed->prefix = pilot_bytes_get_u32 (data + OFFSET_NONCE);
  sealed->counter = pilot_bytes_get_u64 (data + OFFSET_COUNTER);
  sealed->sealed = data + PILOT_FRAME_PILS_HEADER_SIZE;
  sealed->sealed_length = length - PILOT_FRAME_PILS_HEADER_SIZE;
  sealed->placement = NULL;
  return TRUE;
}

gboolean
pilot_frame_open_pils (const PilotSealedFrame *sealed, PilotAead *aead, gsize *plaintext_length)
{
  const guint8 *frame = sealed->sealed - PILOT_FRAME_PILS_HEADER_SIZE;

  if (sealed->placement != NULL ? !pilot_aead_open_placed (aead, frame + OFFSET_NONCE, frame + OFFSET_NODE, sealed->sealed, sealed->sealed_length, sealed->placement)
                                : !pilot_aead_open (aead, frame + OFFSET_NONCE, frame + OFFSET_NODE, sealed->sealed, sealed->sealed_length))
    return FALSE;
  *plaintext_length = sealed->sealed_length - PILOT_AEAD_TAG_SIZE;
  return TRUE;
}

static inline void
write_pils_header (guint8 *frame, guint32 node, guint32 prefix, guint64 counter)
{
  pilot_bytes_put_u32 (frame, MAGIC_PILS);
  pilot_bytes_put_u32 (frame + OFFSET_NODE, node);
  pilot_bytes_put_u32 (frame + OFFSET_NONCE, prefix);
  pilot_bytes_put_u64 (frame + OFFSET_COUNTER, counter);
}

gsize
pilot_frame_seal_pils (guint8 *frame, PilotAead *aead, guint32 node, guint32 prefix, guint64 counter, gsize plaintext_length)
{
  write_pils_header (frame, node, prefix, counter);
  if (!pilot_aead_seal (aead, frame + OFFSET_NONCE, frame + OFFSET_NODE, frame + PILOT_FRAME_PILS_HEADER_SIZE, plaintext_length))
    return 0;
  return PILOT_FRAME_PILS_OVERHEAD + plaintext_length;
}

gsize
pilot_frame_seal_pils_gathered (guint8 *frame, PilotAead *aead, guint32 node, guint32 prefix, guint64 counter, gsize head, const PilotAeadRest *rest)
{
  gsize length = PILOT_FRAME_PILS_OVERHEAD + head;

  write_pils_header (frame, node, prefix, counter);
  if (!pilot_aead_seal_gathered (aead, frame + OFFSET_NONCE, frame + OFFSET_NODE, frame + PILOT_FRAME_PILS_HEADER_SIZE, head, rest))
    return 0;
  for (guint i = 0; i < rest->n_vectors; i++)
    length += rest->vectors[i].iov_len;
  return length;
}
