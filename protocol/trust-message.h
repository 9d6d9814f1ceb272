/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

#include "protocol/identity.h"

G_BEGIN_DECLS

/* The JSON messages on port 444 (trust.md sections 2 and 3). One message a stream, no answer on it. */

/* Bytes of one message, and of a request that still fits one segment of any Go peer. */
#define PILOT_TRUST_MESSAGE_MAX_LENGTH (64 * 1024)
#define PILOT_TRUST_MESSAGE_SEGMENT_LENGTH 1152
#define PILOT_TRUST_MAX_JUSTIFICATION 1024
#define PILOT_TRUST_MESSAGE_VARIATION_BITS 10
/* Seconds a message may be old, or ahead. */
#define PILOT_TRUST_MAX_AGE 300
#define PILOT_TRUST_MAX_AHEAD 30

typedef enum {
  PILOT_TRUST_MESSAGE_UNKNOWN, /* ignored after all checks */
  PILOT_TRUST_MESSAGE_REQUEST,
  PILOT_TRUST_MESSAGE_ACCEPT,
  PILOT_TRUST_MESSAGE_REJECT,
  PILOT_TRUST_MESSAGE_REVOKE,
} PilotTrustMessageType;

/* A message; strings are owned and never NULL. */
typedef struct
{
  PilotTrustMessageType type;
  guint32 node;         /* the sender, as stated */
  gint64 timestamp;     /* Unix seconds */
  gchar *type_text;     /* as sent */
  gchar *public_key;    /* base64, as sent; may be "" */
  gchar *signature;     /* base64, as sent; may be "" */
  gchar *justification; /* as sent: pass it through pilot_trust_sanitize() before it is kept or shown */
  gchar *reason;
} PilotTrustMessage;

/* (transfer full) A signed message from `node` to `recipient`. `text` is the justification of a request or the reason of a reject, may be NULL; a revoke says
 * "trust revoked". `timestamp` in Unix seconds. */
PilotTrustMessage *pilot_trust_message_new (const PilotIdentity *identity,
                                            PilotTrustMessageType type,
                                            guint32 node,
                                            guint32 recipient,
                                            const gchar *text,
                                            gint64 timestamp);
/* Gives the signature one of 2^PILOT_TRUST_MESSAGE_VARIATION_BITS texts, by line ends behind it, which every base64 decoder in use passes over. Go knows a
 * message again by type and signature *text* alone, for 10 to 15 minutes (trust.md 3.4): without this an honest second message of a type is lost. To be called
 * once. */
void pilot_trust_message_vary (PilotTrustMessage *message,
                               guint variation);
void pilot_trust_message_free (PilotTrustMessage *message);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotTrustMessage, pilot_trust_message_free)

/* (transfer full): the bytes Go would send, without a final newline. `length` (out) (nullable) in bytes. */
gchar *pilot_trust_message_print (const PilotTrustMessage *message,
                                  gsize *length);
/* (transfer full) By Go's rules: unknown names ignored, names matched without regard to case, the last duplicate wins, missing or null is zero, a wrong
 * type or anything behind the object is PILOT_ERROR_CORRUPT. Verifies nothing. */
PilotTrustMessage *pilot_trust_message_parse (const gchar *data,
                                              gsize length,
                                              GError **error);

/* Whether the message carries a key, in canonical base64, and a signature by it, meant for `recipient`. `public_key` (out) (nullable) 32 bytes: the key it carries.
 * Whose key that is remains for the caller to find out. Stricter than Go: a message without a key is not valid. */
gboolean pilot_trust_message_verify (const PilotTrustMessage *message,
                                     guint32 recipient,
                                     guint8 *public_key);
/* Whether the timestamp is within the limits at `now`, Unix seconds. */
gboolean pilot_trust_message_is_fresh (const PilotTrustMessage *message,
                                       gint64 now);
/* The key of the replay set: SHA-256 over type, signed text and the *decoded* signature, since several texts decode to one signature. FALSE if the
 * signature does not decode. */
gboolean pilot_trust_message_replay_key (const PilotTrustMessage *message,
                                         guint32 recipient,
                                         guint8 key[PILOT_SHA256_SIZE]);

/* (transfer full): printable characters only (letters, marks, numbers, punctuation, symbols, the ASCII space), at most PILOT_TRUST_MAX_JUSTIFICATION bytes, whole
 * characters. */
gchar *pilot_trust_sanitize (const gchar *text);

/* Collects one message from a stream. */
typedef struct _PilotTrustReader PilotTrustReader;

PilotTrustReader *pilot_trust_reader_new (void);
void pilot_trust_reader_free (PilotTrustReader *reader);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotTrustReader, pilot_trust_reader_free)

/* `message` (out) (transfer full) is set once the object is complete, NULL until then. FALSE (PILOT_ERROR_CORRUPT) for what can never become a message; do not push after that
 * or after a message. */
gboolean pilot_trust_reader_push (PilotTrustReader *reader,
                                  const guint8 *data,
                                  gsize length,
                                  PilotTrustMessage **message,
                                  GError **error);

G_END_DECLS
