/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/trust-message.h"

#include <string.h>

#include "libpilot/pilot-error.h"
#include "libpilot/pilot-json.h"
#include "protocol/json.h"

#define REVOKE_REASON "trust revoked"
/* "handshake:4294967295:4294967295" and the zero. */
#define SIGNED_TEXT_SIZE 40

static const gchar *const TYPE_TEXTS[] = {
  [PILOT_TRUST_MESSAGE_UNKNOWN] = "",
  [PILOT_TRUST_MESSAGE_REQUEST] = "handshake_request",
  [PILOT_TRUST_MESSAGE_ACCEPT] = "handshake_accept",
  [PILOT_TRUST_MESSAGE_REJECT] = "handshake_reject",
  [PILOT_TRUST_MESSAGE_REVOKE] = "handshake_revoke",
};

static void
write_signed_text (gchar text[SIGNED_TEXT_SIZE], guint32 sender, guint32 recipient)
{
  g_snprintf (text, SIGNED_TEXT_SIZE, "handshake:%" G_GUINT32_FORMAT ":%" G_GUINT32_FORMAT, sender, recipient);
}

static PilotTrustMessageType
type_from_text (const gchar *text)
{
  for (guint i = PILOT_TRUST_MESSAGE_REQUEST; i < G_N_ELEMENTS (TYPE_TEXTS); i++)
    if (g_str_equal (text, TYPE_TEXTS[i]))
      return i;
  return PILOT_TRUST_MESSAGE_UNKNOWN;
}

PilotTrustMessage *
pilot_trust_message_new (const PilotIdentity *identity, PilotTrustMessageType type, guint32 node, guint32 recipient, const gchar *text, gint64 timestamp)
{
  PilotTrustMessage *message = g_new0 (PilotTrustMessage, 1);
  gchar signed_text[SIGNED_TEXT_SIZE];

  write_signed_text (signed_text, node, recipient);
  message->type = type;
  message->type_text = g_strdup (TYPE_TEXTS[type]);
  message->node = node;
  message->timestamp = timestamp;
  message->public_key = pilot_base64_encode (identity->public_key, PILOT_ED25519_PUBLIC_SIZE);
  message->signature = pilot_identity_sign_text (identity, signed_text);
  message->justification = g_strdup (type == PILOT_TRUST_MESSAGE_REQUEST && text != NULL ? text : "");
  if (type == PILOT_TRUST_MESSAGE_REVOKE)
    message->reason = g_strdup (REVOKE_REASON);
  else
    message->reason = g_strdup (type == PILOT_TRUST_MESSAGE_REJECT && text != NULL ? text : "");
  return message;
}

void
pilot_trust_message_vary (PilotTrustMessage *message, guint variation)
{
  GString *text = g_string_new (message->signature);

  for (guint bit = 0; bit < PILOT_TRUST_MESSAGE_VARIATION_BITS; bit++)
    g_string_append_c (text, (variation >> bit & 1) != 0 ? '\n' : '\r');
  g_free (message->signature);
  message->signature = g_string_free (text, FALSE);
}

void
pilot_trust_message_free (PilotTrustMessage *message)
{
  if (message == NULL)
    return;
  g_free (message->type_text);
  g_free (message->public_key);
  g_free (message->signature);
  g_free (message->justification);
  g_free (message->reason);
  g_free (message);
}

static void
append_string_member (GString *out, const gchar *name, const gchar *value)
{
  g_string_append_printf (out, "\"%s\":", name);
  pilot_json_append_string (out, value, -1);
  g_string_append_c (out, ',');
}

gchar *
pilot_trust_message_print (const PilotTrustMessage *message, gsize *length)
{
  GString *out = g_string_new ("{");

  append_string_member (out, "type", message->type_text);
  g_string_append_printf (out, "\"node_id\":%" G_GUINT32_FORMAT ",", message->node);
  append_string_member (out, "public_key", message->public_key);
  append_string_member (out, "justification", message->justification);
  append_string_member (out, "signature", message->signature);
  append_string_member (out, "reason", message->reason);
  g_string_append_printf (out, "\"timestamp\":%" G_GINT64_FORMAT "}", message->timestamp);
  if (length != NULL)
    *length = out->len;
  return g_string_free (out, FALSE);
}

/* A walk over one object that pilot_json_scan() has found sound. json-glib would do, but for its order of duplicates that differ in case. */
typedef struct
{
  const gchar *p;
  const gchar *end;
} Walk;

static void
skip_space (Walk *walk)
{
  while (walk->p < walk->end && strchr (" \t\r\n", *walk->p) != NULL && *walk->p != '\0')
    walk->p++;
}

static guint32
take_hex4 (Walk *walk)
{
  guint32 value = 0;

  for (guint i = 0; i < 4; i++)
    value = value << 4 | (guint32) g_ascii_xdigit_value (*walk->p++);
  return value;
}

static void
take_escape (Walk *walk, GString *text)
{
  static const gchar CODES[] = "bfnrt", VALUES[] = "\b\f\n\r\t";
  gchar code = *walk->p++;
  const gchar *found = strchr (CODES, code);
  guint32 c;

  if (code != 'u') {
    g_string_append_c (text, found != NULL ? VALUES[found - CODES] : code);
    return;
  }
  c = take_hex4 (walk);
  if (c >= 0xd800 && c <= 0xdbff) {
    walk->p += strlen ("\\u");
    c = 0x10000 + ((c - 0xd800) << 10) + (take_hex4 (walk) - 0xdc00);
  }
  g_string_append_unichar (text, c);
}

/* The walk stands on the opening quote. */
static gchar *
take_string (Walk *walk)
{
  GString *text = g_string_new (NULL);

  for (walk->p++; *walk->p != '"';) {
    if (*walk->p != '\\') {
      g_string_append_c (text, *walk->p++);
      continue;
    }
    walk->p++;
    take_escape (walk, text);
  }
  walk->p++;
  return g_string_free (text, FALSE);
}

/* Over one value of any kind. */
static void
skip_value (Walk *walk)
{
  guint depth = 0;

  do {
    skip_space (walk);
    if (*walk->p == '"')
      g_free (take_string (walk));
    else if (*walk->p == '{' || *walk->p == '[')
      depth++, walk->p++;
    else if (*walk->p == '}' || *walk->p == ']')
      depth--, walk->p++;
    else if (*walk->p == ',' || *walk->p == ':')
      walk->p++;
    else
      while (walk->p < walk->end && strchr (",:]} \t\r\n", *walk->p) == NULL)
        walk->p++;
  } while (depth > 0);
}

static gboolean
fail_type (const gchar *name, GError **error)
{
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "trust message: \"%s\" has the wrong type", name);
  return FALSE;
}

/* null leaves a field as it is, as Go does. */
static gboolean
take_null (Walk *walk)
{
  if (*walk->p != 'n')
    return FALSE;
  walk->p += strlen ("null");
  return TRUE;
}

static gboolean
take_text_field (Walk *walk, const gchar *name, gchar **field, GError **error)
{
  if (take_null (walk))
    return TRUE;
  if (*walk->p != '"')
    return fail_type (name, error);
  g_free (*field);
  *field = take_string (walk);
  return TRUE;
}

/* Only a whole number written as one: Go refuses 893.0 and 8e2. */
static gboolean
take_integer_field (Walk *walk, const gchar *name, gint64 min, gint64 max, gint64 *field, GError **error)
{
  const gchar *start = walk->p;
  g_autofree gchar *number = NULL;
  gint64 value;

  if (take_null (walk))
    return TRUE;
  if (*start == '-')
    walk->p++;
  while (walk->p < walk->end && g_ascii_isdigit (*walk->p))
    walk->p++;
  if (walk->p == start || strchr (",} \t\r\n", *walk->p) == NULL || (min == 0 && *start == '-'))
    return fail_type (name, error);
  number = g_strndup (start, (gsize) (walk->p - start));
  value = g_ascii_strtoll (number, NULL, 10);
  if (value < min || value > max)
    return fail_type (name, error);
  *field = value;
  return TRUE;
}

static gboolean
take_member (Walk *walk, PilotTrustMessage *message, const gchar *name, GError **error)
{
  gint64 node = message->node;

  if (g_ascii_strcasecmp (name, "type") == 0)
    return take_text_field (walk, name, &message->type_text, error);
  if (g_ascii_strcasecmp (name, "public_key") == 0)
    return take_text_field (walk, name, &message->public_key, error);
  if (g_ascii_strcasecmp (name, "justification") == 0)
    return take_text_field (walk, name, &message->justification, error);
  if (g_ascii_strcasecmp (name, "signature") == 0)
    return take_text_field (walk, name, &message->signature, error);
  if (g_ascii_strcasecmp (name, "reason") == 0)
    return take_text_field (walk, name, &message->reason, error);
  if (g_ascii_strcasecmp (name, "timestamp") == 0)
    return take_integer_field (walk, name, G_MININT64, G_MAXINT64, &message->timestamp, error);
  if (g_ascii_strcasecmp (name, "node_id") == 0) {
    if (!take_integer_field (walk, name, 0, G_MAXUINT32, &node, error))
      return FALSE;
    message->node = (guint32) node;
    return TRUE;
  }
  skip_value (walk);
  return TRUE;
}

static gboolean
take_object (Walk *walk, PilotTrustMessage *message, GError **error)
{
  skip_space (walk);
  if (*walk->p != '{') {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "trust message: not an object");
    return FALSE;
  }
  walk->p++;
  for (;;) {
    g_autofree gchar *name = NULL;

    skip_space (walk);
    if (*walk->p == '}')
      return TRUE;
    if (*walk->p == ',') {
      walk->p++;
      skip_space (walk);
    }
    name = take_string (walk);
    skip_space (walk);
    walk->p++; /* the colon */
    skip_space (walk);
    if (!take_member (walk, message, name, error))
      return FALSE;
  }
}

PilotTrustMessage *
pilot_trust_message_parse (const gchar *data, gsize length, GError **error)
{
  g_autoptr (PilotTrustMessage) message = NULL;
  Walk walk = { data, data + length };

  if (!pilot_json_scan (data, length, PILOT_TRUST_MESSAGE_MAX_LENGTH, PILOT_JSON_MAX_DEPTH, error))
    return NULL;
  message = g_new0 (PilotTrustMessage, 1);
  message->type_text = g_strdup ("");
  message->public_key = g_strdup ("");
  message->signature = g_strdup ("");
  message->justification = g_strdup ("");
  message->reason = g_strdup ("");
  if (!take_object (&walk, message, error))
    return NULL;
  message->type = type_from_text (message->type_text);
  return g_steal_pointer (&message);
}

/* As tolerant as Go, since the text may be varied. */
static gboolean
decode_signature (const PilotTrustMessage *message, guint8 signature[PILOT_ED25519_SIGNATURE_SIZE])
{
  return pilot_base64_decode_tolerant (message->signature, signature, PILOT_ED25519_SIGNATURE_SIZE) == PILOT_ED25519_SIGNATURE_SIZE;
}

gboolean
pilot_trust_message_verify (const PilotTrustMessage *message, guint32 recipient, guint8 *public_key)
{
  guint8 key[PILOT_ED25519_PUBLIC_SIZE], signature[PILOT_ED25519_SIGNATURE_SIZE];
  gchar text[SIGNED_TEXT_SIZE];

  if (!pilot_base64_decode (message->public_key, -1, key, sizeof key) || !decode_signature (message, signature))
    return FALSE;
  write_signed_text (text, message->node, recipient);
  if (!pilot_ed25519_verify (key, text, strlen (text), signature))
    return FALSE;
  if (public_key != NULL)
    memcpy (public_key, key, sizeof key);
  return TRUE;
}

gboolean
pilot_trust_message_is_fresh (const PilotTrustMessage *message, gint64 now)
{
  /* The timestamp is a stranger's: compared so that nothing overflows. */
  return message->timestamp >= now - PILOT_TRUST_MAX_AGE && message->timestamp <= now + PILOT_TRUST_MAX_AHEAD;
}

gboolean
pilot_trust_message_replay_key (const PilotTrustMessage *message, guint32 recipient, guint8 key[PILOT_SHA256_SIZE])
{
  g_autoptr (GByteArray) text = NULL;
  guint8 signature[PILOT_ED25519_SIGNATURE_SIZE];
  gchar signed_text[SIGNED_TEXT_SIZE];

  if (!decode_signature (message, signature))
    return FALSE;
  write_signed_text (signed_text, message->node, recipient);
  text = g_byte_array_new ();
  g_byte_array_append (text, (const guint8 *) message->type_text, strlen (message->type_text) + 1);
  g_byte_array_append (text, (const guint8 *) signed_text, strlen (signed_text) + 1);
  g_byte_array_append (text, signature, sizeof signature);
  pilot_crypto_sha256 (text->data, text->len, key);
  return TRUE;
}

gchar *
pilot_trust_sanitize (const gchar *text)
{
  g_autofree gchar *valid = g_utf8_make_valid (text, -1);
  GString *out = g_string_new (NULL);

  for (const gchar *p = valid; *p != '\0'; p = g_utf8_next_char (p)) {
    gunichar c = g_utf8_get_char (p);
    gsize bytes = (gsize) (g_utf8_next_char (p) - p);

    /* Like Go's unicode.IsPrint: every graphic character, and of the spaces only the ASCII one. */
    if (c != ' ' && (!g_unichar_isgraph (c) || g_unichar_type (c) == G_UNICODE_FORMAT))
      continue;
    if (out->len + bytes > PILOT_TRUST_MAX_JUSTIFICATION)
      break;
    g_string_append_len (out, p, (gssize) bytes);
  }
  return g_string_free (out, FALSE);
}

struct _PilotTrustReader {
  GByteArray *text;
  guint depth;
  gboolean in_string, escaped, complete;
};

PilotTrustReader *
pilot_trust_reader_new (void)
{
  PilotTrustReader *reader = g_new0 (PilotTrustReader, 1);

  reader->text = g_byte_array_new ();
  return reader;
}

void
pilot_trust_reader_free (PilotTrustReader *reader)
{
  if (reader == NULL)
    return;
  g_byte_array_unref (reader->text);
  g_free (reader);
}

/* Follows brackets and strings only: what is between them is judged when the object is complete. FALSE: cannot become an object. */
static gboolean
follow (PilotTrustReader *reader, guint8 c)
{
  if (reader->in_string) {
    if (reader->escaped)
      reader->escaped = FALSE;
    else if (c == '\\')
      reader->escaped = TRUE;
    else if (c == '"')
      reader->in_string = FALSE;
    return TRUE;
  }
  if (reader->depth == 0 && !reader->complete && c != '{' && c != ' ' && c != '\t' && c != '\r' && c != '\n')
    return FALSE;
  if (c == '"')
    reader->in_string = TRUE;
  else if (c == '{' || c == '[')
    reader->depth++;
  else if ((c == '}' || c == ']') && reader->depth > 0)
    reader->complete = --reader->depth == 0;
  return TRUE;
}

gboolean
pilot_trust_reader_push (PilotTrustReader *reader, const guint8 *data, gsize length, PilotTrustMessage **message, GError **error)
{
  *message = NULL;
  if (length > PILOT_TRUST_MESSAGE_MAX_LENGTH - reader->text->len) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "trust message: longer than %d bytes", PILOT_TRUST_MESSAGE_MAX_LENGTH);
    return FALSE;
  }
  for (gsize i = 0; i < length; i++)
    if (!reader->complete && !follow (reader, data[i])) {
      g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "trust message: not an object");
      return FALSE;
    }
  if (length > 0)
    g_byte_array_append (reader->text, data, length);
  if (!reader->complete)
    return TRUE;
  /* All of it, so that bytes behind the object are an error. */
  *message = pilot_trust_message_parse ((const gchar *) reader->text->data, reader->text->len, error);
  return *message != NULL;
}
