/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "libpilot/pilot-address.h"
#include "protocol/crypto.h"

G_BEGIN_DECLS

/* A signed statement "this node made the request with this body, to this audience, now" (ipc.md section 8), six fields with bars between:
 * pilot-req-v1|<address>|<unix seconds>|<nonce>|<sha256 of the body>|<audience>. */

#define PILOT_ENVELOPE_MAX_LENGTH 512
#define PILOT_ENVELOPE_NONCE_LENGTH 16
#define PILOT_ENVELOPE_HASH_LENGTH 64
#define PILOT_ENVELOPE_MAX_AUDIENCE 64

typedef struct {
  PilotAddress address;
  gint64 time; /* unix seconds */
  char nonce[PILOT_ENVELOPE_NONCE_LENGTH + 1];
  char body_hash[PILOT_ENVELOPE_HASH_LENGTH + 1];
  char audience[PILOT_ENVELOPE_MAX_AUDIENCE + 1];
} PilotEnvelope;

/* From outside texts; @nonce NULL: a random one. PILOT_ERROR_INVALID_ARGUMENT. */
gboolean pilot_envelope_init (PilotEnvelope *envelope, const PilotAddress *address, gint64 time, const char *nonce, const char *body_hash,
                              const char *audience, GError **error);
/* (transfer full): the text that is signed. */
char *pilot_envelope_print (const PilotEnvelope *envelope);
/* Takes the canonical text and no other. PILOT_ERROR_CORRUPT. */
gboolean pilot_envelope_parse (PilotEnvelope *envelope, const char *text, GError **error);

G_END_DECLS
