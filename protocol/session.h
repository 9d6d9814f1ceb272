/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

#include "protocol/crypto.h"
#include "protocol/frame.h"
#include "protocol/replay-window.h"

G_BEGIN_DECLS

/*
 * What must live as long as this process for one X25519 key of a peer, whatever becomes of its sessions and whichever
 * node ids announce it: deriving again gives the same AES key, so the send counter goes on and what was received
 * stays received (packets-and-tunnel.md sections 13.1 to 13.3, 13.6).
 */
typedef struct
{
  guint8 x25519[PILOT_X25519_KEY_SIZE];
  guint32 prefix;
  guint64 counter;  /* of the next frame */
  guint references; /* sessions that use it */
  guint64 used;
  PilotReceiveEpochs epochs;
  GHashTable *forgotten; /* (nullable) retired nonce prefixes that epochs has no room for */
} PilotKeyState;

typedef struct _PilotKeyStore PilotKeyStore;

typedef void (*PilotRandomFunc) (guint8 *out, gsize length, gpointer user_data);

PilotKeyStore *pilot_key_store_new (PilotRandomFunc random,
                                    gpointer user_data);
void pilot_key_store_free (PilotKeyStore *store);

typedef struct
{
  PilotAead *aead;
  PilotKeyState *key;
  PilotKeyStore *store;
  gint64 installed;
  gboolean confirmed; /* a frame was accepted under it */
  guint failures;     /* frames in a row that did not authenticate */
} PilotSession;

/* (transfer full) NULL for a peer key of low order. `low`: our node id is the lower of the two (start of the counter). */
PilotSession *pilot_session_new (PilotKeyStore *store,
                                 const guint8 private_key[PILOT_X25519_KEY_SIZE],
                                 const guint8 peer_public[PILOT_X25519_KEY_SIZE],
                                 gboolean low,
                                 gint64 now);
void pilot_session_free (PilotSession *session);
/* Seals the packet that stands at frame + PILOT_FRAME_PILS_HEADER_SIZE; returns the length of the frame, 0 for a fault of the library. */
gsize pilot_session_seal (PilotSession *session,
                          guint8 *frame,
                          guint32 own_node,
                          gsize packet_length);
/* The same for a packet of which only the first `head` bytes stand there and the rest elsewhere. */
gsize pilot_session_seal_gathered (PilotSession *session,
                                   guint8 *frame,
                                   guint32 own_node,
                                   gsize head,
                                   const PilotAeadRest *rest);
/* Whether the nonce prefix belongs to an epoch this session has seen. */
gboolean pilot_session_knows_prefix (const PilotSession *session,
                                     guint32 prefix);

typedef enum {
  PILOT_SESSION_OPENED,
  PILOT_SESSION_FORGED, /* does not authenticate; the frame is spoiled */
  PILOT_SESSION_REPLAY, /* refused by the window; the frame is intact unless it was judged after opening */
} PilotSessionVerdict;

/* Judges the window, opens in place, and only then commits to the window. */
PilotSessionVerdict pilot_session_open (PilotSession *session,
                                        const PilotSealedFrame *sealed,
                                        gsize *plaintext_length,
                                        PilotEpoch *epoch);

G_END_DECLS
