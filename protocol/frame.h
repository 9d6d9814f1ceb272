/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

#include "protocol/crypto.h"
#include "protocol/identity.h"
#include "protocol/packet.h"

G_BEGIN_DECLS

/* The datagrams of the tunnel socket (packets-and-tunnel.md section 3). */

#define PILOT_FRAME_MAGIC_SIZE 4
#define PILOT_FRAME_PILT_HEADER_SIZE 4
#define PILOT_FRAME_PILK_SIZE 40
#define PILOT_FRAME_PILA_SIZE 136
#define PILOT_FRAME_PILS_HEADER_SIZE 20
#define PILOT_FRAME_PILS_OVERHEAD (PILOT_FRAME_PILS_HEADER_SIZE + PILOT_AEAD_TAG_SIZE)
#define PILOT_FRAME_PILP_SIZE 4
/* What a PILS frame adds to the payload of one packet. */
#define PILOT_FRAME_PACKET_OVERHEAD (PILOT_FRAME_PILS_OVERHEAD + PILOT_PACKET_HEADER_SIZE)
/* Room for any datagram that may arrive. */
#define PILOT_FRAME_RECEIVE_SIZE 65573

typedef enum {
  PILOT_FRAME_IGNORED, /* empty, too short, unknown magic: no answer */
  PILOT_FRAME_BEACON,  /* first byte below 0x10: for pilot_beacon_message_decode() */
  PILOT_FRAME_PILT,    /* packet in the clear */
  PILOT_FRAME_PILS,    /* sealed packet */
  PILOT_FRAME_PILK,    /* key exchange without identity; a key request */
  PILOT_FRAME_PILA,    /* key exchange with identity */
  PILOT_FRAME_PILP,    /* hole punch: nothing to do */
} PilotFrameKind;

/* Looks at the first bytes only. Inside a relay delivery a result of PILOT_FRAME_BEACON or PILOT_FRAME_PILP is to be ignored too. */
PilotFrameKind pilot_frame_classify (const guint8 *data,
                                     gsize length);

/* View of a PILA or PILK; the pointers point into the frame. */
typedef struct
{
  guint32 node;
  const guint8 *x25519_public;  /* 32 bytes */
  const guint8 *ed25519_public; /* 32 bytes; NULL in a PILK */
  const guint8 *signature;      /* 64 bytes; NULL in a PILK */
} PilotKeyExchange;

/* Bytes beyond the frame are ignored. FALSE if it is too short or neither PILA nor PILK. Verifies nothing. */
gboolean pilot_frame_parse_key_exchange (PilotKeyExchange *exchange,
                                         const guint8 *data,
                                         gsize length);
/* Whether the signature of a PILA is by the Ed25519 key it carries. That the key is the sender's is for the caller to find out. */
gboolean pilot_frame_verify_pila (const PilotKeyExchange *exchange);
void pilot_frame_build_pila (guint8 frame[PILOT_FRAME_PILA_SIZE],
                             guint32 node,
                             const guint8 x25519_public[PILOT_X25519_KEY_SIZE],
                             const PilotIdentity *identity);
void pilot_frame_build_pilk (guint8 frame[PILOT_FRAME_PILK_SIZE],
                             guint32 node,
                             const guint8 x25519_public[PILOT_X25519_KEY_SIZE]);
void pilot_frame_build_pilp (guint8 frame[PILOT_FRAME_PILP_SIZE]);

/* View of a PILS. */
typedef struct
{
  guint32 node;
  guint32 prefix;                /* first 4 bytes of the nonce: the receive epoch */
  guint64 counter;               /* the other 8 */
  guint8 *sealed;                /* ciphertext and tag, inside the frame */
  gsize sealed_length;           /* with the tag; at least PILOT_AEAD_TAG_SIZE */
  PilotAeadPlacement *placement; /* NULL, or for the opener to fill in: where the rest of the plaintext may go instead */
} PilotSealedFrame;

/* FALSE if too short or not a PILS. `data` is not written to, but pilot_frame_open() will. */
gboolean pilot_frame_parse_pils (PilotSealedFrame *sealed,
                                 guint8 *data,
                                 gsize length);
/* Opens in place: on success the plaintext stands at sealed->sealed, `plaintext_length` bytes, but for what sealed->placement says is elsewhere. FALSE: not authentic, frame spoiled. */
gboolean pilot_frame_open_pils (const PilotSealedFrame *sealed,
                                PilotAead *aead,
                                gsize *plaintext_length);
/* Seals in place: the plaintext stands at frame + PILOT_FRAME_PILS_HEADER_SIZE, with room for PILOT_AEAD_TAG_SIZE bytes behind it. Writes the header, returns the
 * length of the frame; 0 for a fault of the library. A (prefix, counter) pair must never be used twice with one key. */
gsize pilot_frame_seal_pils (guint8 *frame,
                             PilotAead *aead,
                             guint32 node,
                             guint32 prefix,
                             guint64 counter,
                             gsize plaintext_length);
/* The same for a plaintext of which only the first `head` bytes stand there and the rest elsewhere: see pilot_aead_seal_gathered(). */
gsize pilot_frame_seal_pils_gathered (guint8 *frame,
                                      PilotAead *aead,
                                      guint32 node,
                                      guint32 prefix,
                                      guint64 counter,
                                      gsize head,
                                      const PilotAeadRest *rest);

G_END_DECLS
