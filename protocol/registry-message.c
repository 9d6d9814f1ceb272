/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/registry-message.h"

#include <string.h>

#include "libpilot/pilot-error.h"
#include "protocol/bytes.h"
#include "protocol/json.h"

/* What a signature covers, for every signed request (registry.md section 5): a word and the values of some fields, with colons between. */
typedef struct
{
  const gchar *type;
  const gchar *word;
  const gchar *signer;    /* field with the node id of the signer; NULL: the key in the message */
  const gchar *fields[3]; /* in order; a leading '$' marks a string, the others are node or network ids */
} Challenge;

static const Challenge CHALLENGES[] = {
  { "register", "register", NULL, { "$listen_addr", "$public_key" } },
  { "heartbeat", "heartbeat", "node_id", { "node_id" } },
  { "lookup", "lookup", "requester_id", { "requester_id", "node_id" } },
  { "resolve", "resolve", "requester_id", { "requester_id", "node_id" } },
  { "resolve_hostname", "resolve_hostname", "requester_id", { "requester_id" } },
  { "list_nodes", "list_nodes", "requester_id", { "requester_id", "network_id" } },
  { "check_trust", "check_trust", "requester_id", { "node_id", "peer_id" } },
  { "poll_handshakes", "poll_handshakes", "node_id", { "node_id" } },
  { "request_handshake", "handshake", "from_node_id", { "from_node_id", "to_node_id" } },
  { "respond_handshake", "respond", "node_id", { "node_id", "peer_id" } },
  { "report_trust", "report_trust", "node_id", { "node_id", "peer_id" } },
  { "revoke_trust", "revoke_trust", "node_id", { "node_id", "peer_id" } },
  { "set_hostname", "set_hostname", "node_id", { "node_id" } },
  { "set_visibility", "set_visibility", "node_id", { "node_id" } },
  { "set_tags", "set_tags", "node_id", { "node_id" } },
  { "set_task_exec", "set_task_exec", "node_id", { "node_id" } },
  { "deregister", "deregister", "node_id", { "node_id" } },
  { "punch", "punch", "requester_id", { "node_a", "node_b" } },
  { "join_network", "join_network", "node_id", { "node_id", "network_id" } },
  { "leave_network", "leave_network", "node_id", { "node_id", "network_id" } },
  { "invite_to_network", "invite", "inviter_id", { "inviter_id", "network_id", "target_node_id" } },
  { "poll_invites", "poll_invites", "node_id", { "node_id" } },
  { "respond_invite", "respond_invite", "node_id", { "node_id", "network_id" } },
  { "rotate_key", "rotate", "node_id", { "node_id", "$new_public_key" } },
  { "set_key_expiry", "set_key_expiry", "node_id", { "node_id" } },
  { "submit_badge", "submit_badge", "node_id", { "node_id", "$badge" } },
};

struct _PilotRegistryReader {
  GByteArray *body;
  gsize max_length;
  gsize body_length; /* announced by the header */
  guint header_have;
  guint8 header[PILOT_REGISTRY_HEADER_SIZE];
};

PilotRegistryReader *
pilot_registry_reader_new (gsize max_length)
{
  PilotRegistryReader *reader = g_new0 (PilotRegistryReader, 1);

  reader->max_length = max_length;
  return reader;
}

void
pilot_registry_reader_free (PilotRegistryReader *reader)
{
  if (reader == NULL)
    return;
  g_clear_pointer (&reader->body, g_byte_array_unref);
  g_free (reader);
}

gsize
pilot_registry_reader_pending (PilotRegistryReader *reader)
{
  return reader->header_have + (reader->body != NULL ? reader->body->len : 0);
}

/* FALSE: too long. */
static gboolean
take_header (PilotRegistryReader *reader, const guint8 *data, gsize length, gsize *consumed, GError **error)
{
  gsize part = MIN (length, PILOT_REGISTRY_HEADER_SIZE - reader->header_have);

  if (part > 0)
    memcpy (reader->header + reader->header_have, data, part);
  reader->header_have += part;
  *consumed = part;
  if (reader->header_have < PILOT_REGISTRY_HEADER_SIZE)
    return TRUE;
  reader->body_length = pilot_bytes_get_u32 (reader->header);
  if (reader->body_length > reader->max_length) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT,
                 "registry message of %" G_GSIZE_FORMAT " bytes (max %" G_GSIZE_FORMAT ")",
                 reader->body_length, reader->max_length);
    return FALSE;
  }
  return TRUE;
}

gboolean
pilot_registry_reader_push (PilotRegistryReader *reader, const guint8 *data, gsize length, gsize *consumed, JsonObject **message, GError **error)
{
  gsize have, part;

  *message = NULL;
  if (!take_header (reader, data, length, consumed, error))
    return FALSE;
  if (reader->header_have < PILOT_REGISTRY_HEADER_SIZE)
    return TRUE;
  have = reader->body != NULL ? reader->body->len : 0;
  part = MIN (length - *consumed, reader->body_length - have);
  /* Nothing is kept between messages: ten thousand idle connections cost no buffers. */
  if (reader->body == NULL && part > 0)
    reader->body = g_byte_array_new ();
  if (part > 0)
    g_byte_array_append (reader->body, data + *consumed, part);
  *consumed += part;
  if (have + part < reader->body_length)
    return TRUE;

  *message = pilot_json_parse_object (reader->body != NULL ? (const gchar *) reader->body->data : "", reader->body_length,
                                      reader->max_length, error);
  g_clear_pointer (&reader->body, g_byte_array_unref);
  reader->header_have = 0;
  reader->body_length = 0;
  return *message != NULL;
}

GBytes *
pilot_registry_frame_text (const gchar *body)
{
  gsize length = strlen (body);
  guint8 *frame = g_malloc (PILOT_REGISTRY_HEADER_SIZE + length);

  pilot_bytes_put_u32 (frame, length);
  memcpy (frame + PILOT_REGISTRY_HEADER_SIZE, body, length);
  return g_bytes_new_take (frame, PILOT_REGISTRY_HEADER_SIZE + length);
}

GBytes *
pilot_registry_frame_object (JsonObject *object)
{
  g_autofree gchar *body = pilot_json_print (object);

  return pilot_registry_frame_text (body);
}

GBytes *
pilot_registry_frame_error (const gchar *text)
{
  g_autoptr (JsonObject) object = json_object_new ();

  json_object_set_string_member (object, "type", "error");
  json_object_set_string_member (object, "error", text);
  return pilot_registry_frame_object (object);
}

static const Challenge *
find_challenge (JsonObject *request)
{
  const gchar *type = pilot_json_get_string (request, "type");

  for (guint i = 0; i < G_N_ELEMENTS (CHALLENGES); i++)
    if (g_str_equal (CHALLENGES[i].type, type))
      return &CHALLENGES[i];
  return NULL;
}

gchar *
pilot_registry_message_challenge (JsonObject *request)
{
  const Challenge *challenge = find_challenge (request);
  GString *text;

  if (challenge == NULL)
    return NULL;
  text = g_string_new (challenge->word);
  for (guint i = 0; i < G_N_ELEMENTS (challenge->fields) && challenge->fields[i] != NULL; i++) {
    const gchar *field = challenge->fields[i];

    g_string_append_c (text, ':');
    if (field[0] == '$')
      g_string_append (text, pilot_json_get_string (request, field + 1));
    else
      g_string_append_printf (text, "%" G_GUINT32_FORMAT, pilot_json_get_uint32 (request, field));
  }
  return g_string_free (text, FALSE);
}

guint32
pilot_registry_message_signer (JsonObject *request)
{
  const Challenge *challenge = find_challenge (request);

  return challenge != NULL && challenge->signer != NULL ? pilot_json_get_uint32 (request, challenge->signer) : 0;
}

PilotRegistrySignature
pilot_registry_message_verify (JsonObject *request, const guint8 public_key[PILOT_ED25519_PUBLIC_SIZE])
{
  g_autofree gchar *challenge = pilot_registry_message_challenge (request);
  const gchar *text = pilot_json_get_string (request, "signature");
  guint8 signature[PILOT_ED25519_SIGNATURE_SIZE];

  if (challenge == NULL)
    return PILOT_REGISTRY_SIGNATURE_NONE;
  if (text[0] == '\0')
    return PILOT_REGISTRY_SIGNATURE_MISSING;
  if (!pilot_base64_decode (text, -1, signature, sizeof signature))
    return PILOT_REGISTRY_SIGNATURE_ENCODING;
  if (!pilot_ed25519_verify (public_key, challenge, strlen (challenge), signature))
    return PILOT_REGISTRY_SIGNATURE_WRONG;
  return PILOT_REGISTRY_SIGNATURE_VALID;
}

gboolean
pilot_registry_message_sign (JsonObject *request, const PilotIdentity *identity)
{
  g_autofree gchar *challenge = pilot_registry_message_challenge (request);
  g_autofree gchar *signature = NULL;

  if (challenge == NULL)
    return FALSE;
  signature = pilot_identity_sign_text (identity, challenge);
  json_object_set_string_member (request, "signature", signature);
  return TRUE;
}

static gboolean
is_not_found (const gchar *text)
{
  return strstr (text, "not found") != NULL || strstr (text, "not registered") != NULL;
}

gboolean
pilot_registry_response_check (JsonObject *response, const gchar *request_type, GError **error)
{
  const gchar *type = pilot_json_get_string (response, "type");
  PilotError code;

  if (json_object_has_member (response, "error")) {
    const gchar *text = pilot_json_get_string (response, "error");

    if (is_not_found (text))
      code = PILOT_ERROR_NOT_FOUND;
    else if (strstr (text, "already") != NULL)
      code = PILOT_ERROR_ALREADY_EXISTS;
    else if (g_str_has_prefix (text, "invalid hostname"))
      code = PILOT_ERROR_INVALID_ARGUMENT;
    else
      code = PILOT_ERROR_REFUSED;
    g_set_error (error, PILOT_ERROR, code, "registry: %s", text[0] != '\0' ? text : "request failed");
    return FALSE;
  }
  if (type[0] == '\0') {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "registry: malformed response (missing \"type\" field)");
    return FALSE;
  }
  if (request_type != NULL && !(g_str_has_prefix (type, request_type) && g_str_equal (type + strlen (request_type), "_ok"))) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "registry: \"%s\" is no answer to \"%s\"", type, request_type);
    return FALSE;
  }
  return TRUE;
}
