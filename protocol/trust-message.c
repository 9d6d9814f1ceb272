/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/trust-message.h"

#include <string.h>

#include "libpilot/pilot-error.h"
#include "protocol/json.h"

static const gchar *const type_names[] = {
  "", "handshake_request", "handshake_accept", "handshake_reject", "handshake_revoke",
};

static gchar *
signed_text (guint32 node, guint32 recipient)
{
  return g_strdup_printf ("handshake:%u:%u", node, recipient);
}

PilotTrustMessage *
pilot_trust_message_new (const PilotIdentity *identity, PilotTrustMessageType type, guint32 node, guint32 recipient, const gchar *text, gint64 timestamp)
{
  PilotTrustMessage *message = g_new0 (PilotTrustMessage, 1);
  g_autofree gchar *challenge = signed_text (node, recipient);

  g_return_val_if_fail (type != PILOT_TRUST_MESSAGE_UNKNOWN, NULL);
  message->type = type;
  message->node = node;
  message->timestamp = timestamp;
  message->type_text = g_strdup (type_names[type]);
  message->public_key = pilot_base64_encode (identity->public_key, sizeof identity->public_key);
  message->signature = pilot_identity_sign_text (identity, challenge);
  message->justification = g_strdup (type == PILOT_TRUST_MESSAGE_REQUEST && text != NULL ? text : "");
  message->reason = g_strdup (type == PILOT_TRUST_MESSAGE_REVOKE ? "trust revoked"
    : type == PILOT_TRUST_MESSAGE_REJECT && text != NULL ? text : "");
  return message;
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
append_member (GString *out, const gchar *name, const gchar *text)
{
  g_string_append_printf (out, ",\"%s\":", name);
  pilot_json_append_string (out, text, -1);
}

gchar *
pilot_trust_message_print (const PilotTrustMessage *message, gsize *length)
{
  GString *out = g_string_new ("{\"type\":");

  pilot_json_append_string (out, message->type_text, -1);
  g_string_append_printf (out, ",\"node_id\":%u", message->node);
  append_member (out, "public_key", message->public_key);
  append_member (out, "justification", message->justification);
  append_member (out, "signature", message->signature);
  append_member (out, "reason", message->reason);
  g_string_append_printf (out, ",\"timestamp\":%" G_GINT64_FORMAT "}", message->timestamp);
  if (length != NULL)
    *length = out->len;
  return g_string_free (out, FALSE);
}

/* The value of a member by Go's rules; NULL for a missing or null one. Names that differ in case only: json-glib keeps the order of the document, so
 * the last one wins here too. */
static JsonNode *
find_member (JsonObject *object, const gchar *name)
{
  g_autoptr (GList) members = json_object_get_members (object);
  JsonNode *found = NULL;

  for (GList *link = members; link != NULL; link = link->next)
    if (g_ascii_strcasecmp (link->data, name) == 0)
      found = json_object_get_member (object, link->data);
  return found != NULL && !JSON_NODE_HOLDS_NULL (found) ? found : NULL;
}

static gboolean
read_text (JsonObject *object, const gchar *name, gchar **text, GError **error)
{
  JsonNode *node = find_member (object, name);

  if (node != NULL && !(JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == G_TYPE_STRING)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "\"%s\" is no string", name);
    return FALSE;
  }
  *text = g_strdup (node != NULL ? json_node_get_string (node) : "");
  return TRUE;
}

static gboolean
read_integer (JsonObject *object, const gchar *name, gint64 min, gint64 max, gint64 *value, GError **error)
{
  JsonNode *node = find_member (object, name);

  *value = 0;
  if (node == NULL)
    return TRUE;
  if (!JSON_NODE_HOLDS_VALUE (node) || json_node_get_value_type (node) != G_TYPE_INT64 ||
      json_node_get_int (node) < min || json_node_get_int (node) > max) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "\"%s\" is no integer in range", name);
    return FALSE;
  }
  *value = json_node_get_int (node);
  return TRUE;
}

PilotTrustMessage *
pilot_trust_message_parse (const gchar *data, gsize length, GError **error)
{
  g_autoptr (JsonObject) object = pilot_json_parse_object (data, length, PILOT_TRUST_MESSAGE_MAX_LENGTH, error);
  g_autoptr (PilotTrustMessage) message = g_new0 (PilotTrustMessage, 1);
  gint64 node;

  if (object == NULL ||
      !read_text (object, "type", &message->type_text, error) ||
      !read_integer (object, "node_id", 0, G_MAXUINT32, &node, error) ||
      !read_text (object, "public_key", &message->public_key, error) ||
      !read_text (object, "justification", &message->justification, error) ||
      !read_text (object, "signature", &message->signature, error) ||
      !read_text (object, "reason", &message->reason, error) ||
      !read_integer (object, "timestamp", G_MININT64, G_MAXINT64, &message->timestamp, error))
    return NULL;
  message->node = (guint32) node;
  for (guint i = 1; i < G_N_ELEMENTS (type_names); i++)
    if (g_str_equal (message->type_text, type_names[i]))
      message->type = (PilotTrustMessageType) i;
  return g_steal_pointer (&message);
}

gboolean
pilot_trust_message_verify (const PilotTrustMessage *message, guint32 recipient, guint8 *public_key)
{
  g_autofree gchar *challenge = signed_text (message->node, recipient);
  guint8 key[PILOT_ED25519_PUBLIC_SIZE], signature[PILOT_ED25519_SIGNATURE_SIZE];

  if (!pilot_base64_decode (message->public_key, -1, key, sizeof key) ||
      !pilot_base64_decode (message->signature, -1, signature, sizeof signature) ||
      !pilot_ed25519_verify (key, challenge, strlen (challenge), signature))
    return FALSE;
  if (public_key != NULL)
    memcpy (public_key, key, sizeof key);
  return TRUE;
}

gboolean
pilot_trust_message_is_fresh (const PilotTrustMessage *message, gint64 now)
{
  /* Compared without a difference, which a hostile timestamp could make overflow. */
  return message->timestamp >= now - PILOT_TRUST_MAX_AGE && message->timestamp <= now + PILOT_TRUST_MAX_AHEAD;
}

gboolean
pilot_trust_message_replay_key (const PilotTrustMessage *message, guint32 recipient, guint8 key[PILOT_SHA256_SIZE])
{
  g_autofree gchar *challenge = signed_text (message->node, recipient);
  g_autoptr (GByteArray) text = g_byte_array_new ();
  guint8 signature[PILOT_ED25519_SIGNATURE_SIZE];

  if (!pilot_base64_decode (message->signature, -1, signature, sizeof signature))
    return FALSE;
  /* Both texts with their final zero, as separator. */
  g_byte_array_append (text, (const guint8 *) message->type_text, (guint) strlen (message->type_text) + 1);
  g_byte_array_append (text, (const guint8 *) challenge, (guint) strlen (challenge) + 1);
  g_byte_array_append (text, signature, sizeof signature);
  pilot_crypto_sha256 (text->data, text->len, key);
  return TRUE;
}

static gboolean
is_printable (gunichar c)
{
  switch (g_unichar_type (c)) {
  case G_UNICODE_CONTROL:
  case G_UNICODE_FORMAT:
  case G_UNICODE_UNASSIGNED:
  case G_UNICODE_PRIVATE_USE:
  case G_UNICODE_SURROGATE:
  case G_UNICODE_LINE_SEPARATOR:
  case G_UNICODE_PARAGRAPH_SEPARATOR:
    return FALSE;
  case G_UNICODE_SPACE_SEPARATOR:
    return c == ' ';
  default:
    return TRUE;
  }
}

gchar *
pilot_trust_sanitize (const gchar *text)
{
  g_autofree gchar *valid = g_utf8_make_valid (text, -1);
  GString *out = g_string_new (NULL);

  for (const gchar *p = valid; *p != '\0'; p = g_utf8_next_char (p)) {
    gsize size = (gsize) (g_utf8_next_char (p) - p);

    if (!is_printable (g_utf8_get_char (p)))
      continue;
    if (out->len + size > PILOT_TRUST_MAX_JUSTIFICATION)
      break;
    g_string_append_len (out, p, (gssize) size);
  }
  return g_string_free (out, FALSE);
}

/* --- one message from a stream --- */

struct _PilotTrustReader {
  GByteArray *data;
  gsize scanned;
  guint depth;
  gboolean in_string, escaped;
};

PilotTrustReader *
pilot_trust_reader_new (void)
{
  PilotTrustReader *reader = g_new0 (PilotTrustReader, 1);

  reader->data = g_byte_array_new ();
  return reader;
}

void
pilot_trust_reader_free (PilotTrustReader *reader)
{
  if (reader == NULL)
    return;
  g_byte_array_unref (reader->data);
  g_free (reader);
}

/* Follows brackets and strings to the end of the object; whether it is sound JSON is the parser's question. TRUE once the outermost bracket closed. */
static gboolean
scan_byte (PilotTrustReader *reader, guint8 byte)
{
  if (reader->in_string) {
    if (reader->escaped)
      reader->escaped = FALSE;
    else if (byte == '\\')
      reader->escaped = TRUE;
    else if (byte == '"')
      reader->in_string = FALSE;
    return FALSE;
  }
  if (byte == '"')
    reader->in_string = TRUE;
  else if (byte == '{' || byte == '[')
    reader->depth++;
  else if ((byte == '}' || byte == ']') && reader->depth > 0)
    return --reader->depth == 0;
  return FALSE;
}

gboolean
pilot_trust_reader_push (PilotTrustReader *reader, const guint8 *data, gsize length, PilotTrustMessage **message, GError **error)
{
  gboolean complete = FALSE;

  *message = NULL;
  if (reader->data->len + length > PILOT_TRUST_MESSAGE_MAX_LENGTH) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "message of more than %d bytes", PILOT_TRUST_MESSAGE_MAX_LENGTH);
    return FALSE;
  }
  g_byte_array_append (reader->data, data, (guint) length);
  while (!complete && reader->scanned < reader->data->len) {
    guint8 byte = reader->data->data[reader->scanned++];

    if (reader->depth == 0 && !reader->in_string && byte != '{' && strchr (" \t\r\n", byte) == NULL) {
      g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "not a JSON object");
      return FALSE;
    }
    complete = scan_byte (reader, byte);
  }
  if (!complete)
    return TRUE;
  *message = pilot_trust_message_parse ((const gchar *) reader->data->data, reader->data->len, error);
  return *message != NULL;
}
