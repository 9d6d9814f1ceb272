/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/envelope.h"

#include <string.h>

#include "libpilot/pilot-error.h"

#define MAGIC "pilot-req-v1"
#define N_FIELDS 6

static gboolean
is_hex (const char *text, gsize length)
{
  return strlen (text) == length && strspn (text, "0123456789abcdef") == length;
}

static gboolean
is_audience (const char *text)
{
  gsize length = strlen (text);

  return length >= 1 && length <= PILOT_ENVELOPE_MAX_AUDIENCE && strspn (text, "abcdefghijklmnopqrstuvwxyz0123456789.-") == length;
}

gboolean
pilot_envelope_init (PilotEnvelope *envelope, const PilotAddress *address, gint64 time, const char *nonce, const char *body_hash, const char *audience,
                     GError **error)
{
  guint8 random[PILOT_ENVELOPE_NONCE_LENGTH / 2];
  const char *problem = NULL;

  if (!is_audience (audience))
    problem = "the audience must be 1 to 64 of a-z, 0-9, '.' and '-'";
  else if (!is_hex (body_hash, PILOT_ENVELOPE_HASH_LENGTH))
    problem = "the body's hash must be 64 lower-case hex digits";
  else if (nonce != NULL && !is_hex (nonce, PILOT_ENVELOPE_NONCE_LENGTH))
    problem = "the nonce must be 16 lower-case hex digits";
  if (problem != NULL) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, problem);
    return FALSE;
  }
  *envelope = (PilotEnvelope) { .address = *address, .time = time };
  strcpy (envelope->audience, audience);
  strcpy (envelope->body_hash, body_hash);
  if (nonce != NULL) {
    strcpy (envelope->nonce, nonce);
    return TRUE;
  }
  pilot_crypto_random (random, sizeof random);
  for (guint i = 0; i < sizeof random; i++)
    g_snprintf (envelope->nonce + 2 * i, 3, "%02x", random[i]);
  return TRUE;
}

char *
pilot_envelope_print (const PilotEnvelope *envelope)
{
  return g_strdup_printf (MAGIC "|%04x%08x|%" G_GINT64_FORMAT "|%s|%s|%s", envelope->address.network, envelope->address.node, envelope->time,
                          envelope->nonce, envelope->body_hash, envelope->audience);
}

gboolean
pilot_envelope_parse (PilotEnvelope *envelope, const char *text, GError **error)
{
  g_auto (GStrv) fields = NULL;
  g_autofree char *again = NULL;
  PilotAddress address;
  guint64 number, time;

  if (strlen (text) > PILOT_ENVELOPE_MAX_LENGTH)
    goto corrupt;
  fields = g_strsplit (text, "|", N_FIELDS + 1);
  if (g_strv_length (fields) != N_FIELDS || strcmp (fields[0], MAGIC) != 0 || !is_hex (fields[1], 12) ||
      !g_ascii_string_to_unsigned (fields[2], 10, 0, G_MAXINT64, &time, NULL))
    goto corrupt;
  number = g_ascii_strtoull (fields[1], NULL, 16);
  address = (PilotAddress) { .network = (guint16) (number >> 32), .node = (guint32) number };
  if (!pilot_envelope_init (envelope, &address, (gint64) time, fields[3], fields[4], fields[5], NULL))
    goto corrupt;
  /* One text for one meaning: leading zeros and the like are another. */
  again = pilot_envelope_print (envelope);
  if (strcmp (again, text) == 0)
    return TRUE;
corrupt:
  g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "malformed envelope");
  return FALSE;
}
