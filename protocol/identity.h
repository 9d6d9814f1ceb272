/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

#include "protocol/crypto.h"

G_BEGIN_DECLS

/* The long-term Ed25519 key pair of a node, a plain value. Wipe it after use. */
typedef struct
{
  guint8 seed[PILOT_ED25519_SEED_SIZE];
  guint8 public_key[PILOT_ED25519_PUBLIC_SIZE];
} PilotIdentity;

/* The longest identity file that is read, in bytes. */
#define PILOT_IDENTITY_MAX_LENGTH 16384

/* From a 32-byte seed (random, for a new identity). */
void pilot_identity_init (PilotIdentity *identity,
                          const guint8 seed[PILOT_ED25519_SEED_SIZE]);
void pilot_identity_clear (PilotIdentity *identity);

/* Reads the text of identity.json (packets-and-tunnel.md section 10). The public key is derived from the seed and compared with both copies in the
 * file. PILOT_ERROR_CORRUPT in the words of the notes; `identity` is wiped then. */
gboolean pilot_identity_parse (PilotIdentity *identity,
                               const gchar *text,
                               gsize length,
                               GError **error);
/* (transfer full): the text as the reference implementation writes it, byte for byte. Holds the private key: wipe it before freeing. */
gchar *pilot_identity_print (const PilotIdentity *identity);

void pilot_identity_sign (const PilotIdentity *identity,
                          gconstpointer data,
                          gsize length,
                          guint8 signature[PILOT_ED25519_SIGNATURE_SIZE]);
/* (transfer full): base64 of the signature over the bytes of `text`. */
gchar *pilot_identity_sign_text (const PilotIdentity *identity,
                                 const gchar *text);

G_END_DECLS
