/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>
#include <sys/uio.h>

G_BEGIN_DECLS

/* The primitives, and nothing about where they are used. No function here keeps state but PilotAead. */

#define PILOT_X25519_KEY_SIZE 32
#define PILOT_ED25519_SEED_SIZE 32
#define PILOT_ED25519_PUBLIC_SIZE 32
#define PILOT_ED25519_SIGNATURE_SIZE 64
#define PILOT_AEAD_KEY_SIZE 32
#define PILOT_AEAD_NONCE_SIZE 12
#define PILOT_AEAD_AAD_SIZE 4
#define PILOT_AEAD_TAG_SIZE 16
#define PILOT_SHA256_SIZE 32
/* Text of a 32-byte key and of a 64-byte signature, with the final zero. */
#define PILOT_BASE64_KEY_TEXT_SIZE 45
#define PILOT_BASE64_SIGNATURE_TEXT_SIZE 89

/* X25519 (RFC 7748). `private_key` is any 32 random bytes. */
void pilot_x25519_public (const guint8 private_key[PILOT_X25519_KEY_SIZE],
                          guint8 public_key[PILOT_X25519_KEY_SIZE]);
/* FALSE, with `shared` wiped, for a peer key of low order (all-zero result). */
gboolean pilot_x25519_derive (const guint8 private_key[PILOT_X25519_KEY_SIZE],
                              const guint8 peer_public[PILOT_X25519_KEY_SIZE],
                              guint8 shared[PILOT_X25519_KEY_SIZE]);

/* The key of a tunnel, the same for both ends and both directions: X25519, then HKDF-SHA-256 with empty salt and info "pilot-tunnel-v1"
 * (packets-and-tunnel.md section 5.1). FALSE for a peer key of low order. */
gboolean pilot_crypto_session_key (const guint8 private_key[PILOT_X25519_KEY_SIZE],
                                   const guint8 peer_public[PILOT_X25519_KEY_SIZE],
                                   guint8 key[PILOT_AEAD_KEY_SIZE]);

/* AES-256-GCM with one key. The nonce is (prefix, counter), big endian; the associated data the 4 bytes of the sender's node id. */
typedef struct _PilotAead PilotAead;

typedef enum {
  PILOT_AEAD_AUTO,     /* GnuTLS at first; once the key has carried much, what is fastest on this processor */
  PILOT_AEAD_GNUTLS,   /* there on every machine */
  PILOT_AEAD_IPSEC_MB, /* Intel's Multi-Buffer library: where the build found it, and the processor has AVX-512 with VAES */
} PilotAeadKind;

/* (transfer full) NULL if the library cannot make a cipher (out of memory, forbidden by policy). */
PilotAead *pilot_aead_new (const guint8 key[PILOT_AEAD_KEY_SIZE]);
/* (transfer full) The same with one implementation; NULL also where this one is not to be had. For tests. */
PilotAead *pilot_aead_new_of (PilotAeadKind kind,
                              const guint8 key[PILOT_AEAD_KEY_SIZE]);
/* Which one it uses now, never PILOT_AEAD_AUTO. */
PilotAeadKind pilot_aead_get_kind (const PilotAead *aead);
void pilot_aead_free (PilotAead *aead);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotAead, pilot_aead_free)

/* Encrypts `data` in place; the tag is written to data + length, so there must be room for length + PILOT_AEAD_TAG_SIZE bytes.
 * FALSE only for a fault of the library. Allocates nothing but once, when the implementation changes. */
gboolean pilot_aead_seal (PilotAead *aead,
                          const guint8 nonce[PILOT_AEAD_NONCE_SIZE],
                          const guint8 aad[PILOT_AEAD_AAD_SIZE],
                          guint8 *data,
                          gsize length);
/* A plaintext in pieces that is shorter is better copied together first: ciphering in pieces takes longer than the copy. */
#define PILOT_AEAD_GATHER_LEAST 4096

/* Where all of a plaintext stands but its head. */
typedef struct
{
  const struct iovec *vectors;
  guint n_vectors;
  gsize before; /* so many bytes before the first of them may be written to during a call; afterwards they are as they were */
} PilotAeadRest;

/* A longer head is never put before its rest. */
#define PILOT_AEAD_HEAD_MOST 64
/* Whether a rest of @length bytes is worth ciphering from where it stands: in pieces that takes longer than copying them together first, unless they are long.
 * A single one becomes one piece with its head, in the place before it. */
gboolean pilot_aead_rest_pays (const PilotAeadRest *rest,
                               gsize head,
                               gsize length);
/* The same where only the first `head` bytes of the plaintext stand at `data` and the rest elsewhere: it is ciphered on its way to its place behind them, which saves
 * a copy. */
gboolean pilot_aead_seal_gathered (PilotAead *aead,
                                   const guint8 nonce[PILOT_AEAD_NONCE_SIZE],
                                   const guint8 aad[PILOT_AEAD_AAD_SIZE],
                                   guint8 *data,
                                   gsize head,
                                   const PilotAeadRest *rest);
/* Decrypts in place. `length` counts the tag; the plaintext is `length` - PILOT_AEAD_TAG_SIZE bytes. FALSE if it does not authenticate; the
 * buffer is spoiled then, and holds no plaintext: to try a second key, keep a copy. */
gboolean pilot_aead_open (PilotAead *aead,
                          const guint8 nonce[PILOT_AEAD_NONCE_SIZE],
                          const guint8 aad[PILOT_AEAD_AAD_SIZE],
                          guint8 *data,
                          gsize length);
/* Where the plaintext behind the first `head` bytes is to be put, `length` bytes of it, told by those `head`; NULL: behind them. Nothing is authenticated yet:
 * it may look, but not change anything that somebody would see, and the place must hold nothing that counts. */
typedef guint8 *(*PilotAeadPlaceFunc) (const guint8 *head,
                                       gsize length,
                                       gpointer user_data);
typedef struct
{
  gsize head;
  PilotAeadPlaceFunc place;
  gpointer user_data;
  guint8 *placed; /* out: where what follows the head is, if not behind it */
} PilotAeadPlacement;

/* The same for a plaintext of at least `placement->head` bytes, whose rest is deciphered on its way to where it belongs: this saves the copy. Where the
 * implementation cannot, or it does not pay, everything stays in place. After FALSE both places are wiped. */
gboolean pilot_aead_open_placed (PilotAead *aead,
                                 const guint8 nonce[PILOT_AEAD_NONCE_SIZE],
                                 const guint8 aad[PILOT_AEAD_AAD_SIZE],
                                 guint8 *data,
                                 gsize length,
                                 PilotAeadPlacement *placement);

/* Ed25519 (RFC 8032, pure). */
void pilot_ed25519_public (const guint8 seed[PILOT_ED25519_SEED_SIZE],
                           guint8 public_key[PILOT_ED25519_PUBLIC_SIZE]);
void pilot_ed25519_sign (const guint8 seed[PILOT_ED25519_SEED_SIZE],
                         const guint8 public_key[PILOT_ED25519_PUBLIC_SIZE],
                         gconstpointer data,
                         gsize length,
                         guint8 signature[PILOT_ED25519_SIGNATURE_SIZE]);
gboolean pilot_ed25519_verify (const guint8 public_key[PILOT_ED25519_PUBLIC_SIZE],
                               gconstpointer data,
                               gsize length,
                               const guint8 signature[PILOT_ED25519_SIGNATURE_SIZE]);

/* Constant time in `length`. */
gboolean pilot_crypto_equal (gconstpointer a,
                             gconstpointer b,
                             gsize length);
/* A wipe the compiler keeps. */
void pilot_crypto_wipe (gpointer data,
                        gsize length);
/* Random bytes fit for keys. For programs; the engine is handed its randomness. Aborts if the system has none. */
void pilot_crypto_random (gpointer data,
                          gsize length);

void pilot_crypto_sha256 (gconstpointer data,
                          gsize length,
                          guint8 digest[PILOT_SHA256_SIZE]);
/* The same piece by piece. */
typedef struct _PilotSha256 PilotSha256;

PilotSha256 *pilot_sha256_new (void);
void pilot_sha256_free (PilotSha256 *hash);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotSha256, pilot_sha256_free)
void pilot_sha256_update (PilotSha256 *hash,
                          gconstpointer data,
                          gsize length);
/* The digest of what came so far; the hash begins anew. */
void pilot_sha256_finish (PilotSha256 *hash,
                          guint8 digest[PILOT_SHA256_SIZE]);
/* (transfer full) 64 lower-case hex digits: the fingerprint of a DER certificate (registry.md section 2). */
gchar *pilot_crypto_fingerprint (gconstpointer data,
                                 gsize length);

/* Standard base64 (RFC 4648, padded). The decoder takes exactly the text that encoding `size` bytes gives, and nothing else that decodes
 * to the same bytes; `length` -1 for a text that ends in zero. */
gchar *pilot_base64_encode (gconstpointer data,
                            gsize size);
/* Into `text`, which has room for 4 * ceil (size / 3) + 1 bytes; returns `text`. */
gchar *pilot_base64_encode_to (gconstpointer data,
                               gsize size,
                               gchar *text);
gboolean pilot_base64_decode (const gchar *text,
                              gssize length,
                              guint8 *data,
                              gsize size);
/* For identity.json alone: CR and LF are skipped and the unused bits of the last digit disregarded, as Go does. Returns the number of
 * bytes decoded, at most `size`, or -1 if the text is not base64 or longer than that. */
gssize pilot_base64_decode_tolerant (const gchar *text,
                                     guint8 *data,
                                     gsize size);

G_END_DECLS
