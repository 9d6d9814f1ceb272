/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/registry-message.h"

#include <string.h>

#include "libpilot/pilot-error.h"
#include "protocol/bytes.h"
#include "protocol/json.h"

/* --- framing --- */

struct _PilotRegistryReader {
  gsize max_length;
  guint8 header[PILOT_REGISTRY_HEADER_SIZE];
  gsize n_header;
  gsize expected;
  GByteArray *body; /* NULL between messages: an idle connection holds no buffer */
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

static gsize
take_header (PilotRegistryReader *reader, const guint8 *data, gsize length)
{
  gsize n = MIN (length, PILOT_REGISTRY_HEADER_SIZE - reader->n_header);

  memcpy (reader->header + reader->n_header, data, n);
  reader->n_header += n;
  return n;
}

gboolean
pilot_registry_reader_push (PilotRegistryReader *reader, const guint8 *data, gsize length, gsize *consumed, JsonObject **message, GError **error)
{
  gsize used = 0, n;

  *message = NULL;
  if (reader->n_header < PILOT_REGISTRY_HEADER_SIZE) {
    used = take_header (reader, data, length);
    *consumed = used;
    if (reader->n_header < PILOT_REGISTRY_HEADER_SIZE)
      return TRUE;
    reader->expected = pilot_bytes_get_u32 (reader->header);
    if (reader->expected == 0 || reader->expected > reader->max_length) {
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "message of %" G_GSIZE_FORMAT " bytes (max %" G_GSIZE_FORMAT ")",
                   reader->expected, reader->max_length);
      return FALSE;
    }
    reader->body = g_byte_array_new ();
  }

  n = MIN (length - used, reader->expected - reader->body->len);
  g_byte_array_append (reader->body, data + used, (guint) n);
  *consumed = used + n;
  if (reader->body->len < reader->expected)
    return TRUE;
  *message = pilot_json_parse_object ((const gchar *) reader->body->data, reader->body->len, reader->max_length, error);
  g_clear_pointer (&reader->body, g_byte_array_unref);
  reader->n_header = 0;
  return *message != NULL;
}

gsize
pilot_registry_reader_pending (PilotRegistryReader *reader)
{
  return reader->n_header + (reader->body != NULL ? reader->body->len : 0);
}

GBytes *
pilot_registry_frame_text (const gchar *body)
{
  gsize length = strlen (body);
  guint8 *frame = g_malloc (PILOT_REGISTRY_HEADER_SIZE + length);

  pilot_bytes_put_u32 (frame, (guint32) length);
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

  json_object_set_string_member (object, "error", text);
  json_object_set_string_member (object, "type", "error");
  return pilot_registry_frame_object (object);
}

/* --- what is signed --- */

/* registry.md section 5. Each challenge is `word` and the named fields, joined by colons. A field is a number unless it begins with '$', which
 * means a text exactly as sent. */
static const struct {
  const gchar *type, *signer, *word;
  const gchar *fields[3];
} challenges[] = {
  { "register", NULL, "register", { "$listen_addr", "$public_key" } },
  { "heartbeat", "node_id", "heartbeat", { "node_id" } },
  { "resolve", "requester_id", "resolve", { "requester_id", "node_id" } },
  { "poll_handshakes", "node_id", "poll_handshakes", { "node_id" } },
  { "request_handshake", "from_node_id", "handshake", { "from_node_id", "to_node_id" } },
  { "respond_handshake", "node_id", "respond", { "node_id", "peer_id" } },
  { "report_trust", "node_id", "report_trust", { "node_id", "peer_id" } },
  { "revoke_trust", "node_id", "revoke_trust", { "node_id", "peer_id" } },
  { "set_hostname", "node_id", "set_hostname", { "node_id" } },
  { "set_visibility", "node_id", "set_visibility", { "node_id" } },
  { "set_tags", "node_id", "set_tags", { "node_id" } },
  { "set_task_exec", "node_id", "set_task_exec", { "node_id" } },
  { "deregister", "node_id", "deregister", { "node_id" } },
  { "punch", "requester_id", "punch", { "node_a", "node_b" } },
  { "join_network", "node_id", "join_network", { "node_id", "network_id" } },
  { "leave_network", "node_id", "leave_network", { "node_id", "network_id" } },
  { "invite_to_network", "inviter_id", "invite", { "inviter_id", "network_id", "target_node_id" } },
  { "poll_invites", "node_id", "poll_invites", { "node_id" } },
  { "respond_invite", "node_id", "respond_invite", { "node_id", "network_id" } },
  { "rotate_key", "node_id", "rotate", { "node_id", "$new_public_key" } },
  { "set_key_expiry", "node_id", "set_key_expiry", { "node_id" } },
  { "lookup", "requester_id", "lookup", { "requester_id", "node_id" } },
  { "resolve_hostname", "requester_id", "resolve_hostname", { "requester_id" } },
  { "list_nodes", "requester_id", "list_nodes", { "requester_id", "network_id" } },
  { "check_trust", "requester_id", "check_trust", { "node_id", "peer_id" } },
};

static gint
find_challenge (JsonObject *request)
{
  const gchar *type = pilot_json_get_string (request, "type");

  for (guint i = 0; i < G_N_ELEMENTS (challenges); i++)
    if (g_str_equal (challenges[i].type, type))
      return (gint) i;
  return -1;
}

gchar *
pilot_registry_message_challenge (JsonObject *request)
{
  gint index = find_challenge (request);
  GString *text;

  if (index < 0)
    return NULL;
  text = g_string_new (challenges[index].word);
  for (guint i = 0; i < G_N_ELEMENTS (challenges[index].fields) && challenges[index].fields[i] != NULL; i++) {
    const gchar *field = challenges[index].fields[i];

    if (*field == '$')
      g_string_append_printf (text, ":%s", pilot_json_get_string (request, field + 1));
    else
      g_string_append_printf (text, ":%u", pilot_json_get_uint32 (request, field));
  }
  return g_string_free (text, FALSE);
}

guint32
pilot_registry_message_signer (JsonObject *request)
{
  gint index = find_challenge (request);

  return index < 0 || challenges[index].signer == NULL ? 0 : pilot_json_get_uint32 (request, challenges[index].signer);
}

PilotRegistrySignature
pilot_registry_message_verify (JsonObject *request, const guint8 public_key[PILOT_ED25519_PUBLIC_SIZE])
{
  g_autofree gchar *challenge = pilot_registry_message_challenge (request);
  guint8 signature[PILOT_ED25519_SIGNATURE_SIZE];
  const gchar *text = pilot_json_get_string (request, "signature");

  if (challenge == NULL)
    return PILOT_REGISTRY_SIGNATURE_NONE;
  if (*text == '\0')
    return PILOT_REGISTRY_SIGNATURE_MISSING;
  if (!pilot_base64_decode (text, -1, signature, sizeof signature))
    return PILOT_REGISTRY_SIGNATURE_ENCODING;
  return pilot_ed25519_verify (public_key, challenge, strlen (challenge), signature)
    ? PILOT_REGISTRY_SIGNATURE_VALID : PILOT_REGISTRY_SIGNATURE_WRONG;
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

/* --- requests of a node --- */

static JsonObject *
request_new (const gchar *type)
{
  JsonObject *request = json_object_new ();

  json_object_set_string_member (request, "type", type);
  return request;
}

/* Signs where an identity is given, frames, and takes the object. */
static GBytes *
finish (JsonObject *request, const PilotIdentity *identity)
{
  GBytes *frame;

  if (identity != NULL)
    pilot_registry_message_sign (request, identity);
  frame = pilot_registry_frame_object (request);
  json_object_unref (request);
  return frame;
}

static GBytes *
request_node (const gchar *type, const PilotIdentity *identity, guint32 node)
{
  JsonObject *request = request_new (type);

  json_object_set_int_member (request, "node_id", node);
  return finish (request, identity);
}

static GBytes *
request_pair (const gchar *type, const PilotIdentity *identity, guint32 node, guint32 peer)
{
  JsonObject *request = request_new (type);

  json_object_set_int_member (request, "node_id", node);
  json_object_set_int_member (request, "peer_id", peer);
  return finish (request, identity);
}

static JsonArray *
array_of (const gchar *const *strings)
{
  JsonArray *array = json_array_new ();

  for (guint i = 0; strings != NULL && strings[i] != NULL; i++)
    json_array_add_string_element (array, strings[i]);
  return array;
}

static void
set_text (JsonObject *request, const gchar *name, const gchar *text)
{
  if (text != NULL && *text != '\0')
    json_object_set_string_member (request, name, text);
}

GBytes *
pilot_registry_request_register (const PilotIdentity *identity, const PilotRegistration *registration)
{
  JsonObject *request = request_new ("register");
  gchar key[PILOT_BASE64_KEY_TEXT_SIZE];

  json_object_set_string_member (request, "public_key", pilot_base64_encode_to (identity->public_key, sizeof identity->public_key, key));
  json_object_set_string_member (request, "listen_addr", registration->listen_addr != NULL ? registration->listen_addr : "");
  if (registration->lan_addrs != NULL && registration->lan_addrs[0] != NULL)
    json_object_set_array_member (request, "lan_addrs", array_of (registration->lan_addrs));
  set_text (request, "owner", registration->owner);
  set_text (request, "version", registration->version);
  set_text (request, "hostname", registration->hostname);
  if (registration->relay_only)
    json_object_set_boolean_member (request, "relay_only", TRUE);
  return finish (request, identity);
}

GBytes *
pilot_registry_request_heartbeat (const PilotIdentity *identity, guint32 node)
{
  return request_node ("heartbeat", identity, node);
}

GBytes *
pilot_registry_request_lookup (guint32 node)
{
  return request_node ("lookup", NULL, node);
}

GBytes *
pilot_registry_request_resolve (const PilotIdentity *identity, guint32 requester, guint32 node)
{
  JsonObject *request = request_new ("resolve");

  json_object_set_int_member (request, "node_id", node);
  json_object_set_int_member (request, "requester_id", requester);
  return finish (request, identity);
}

GBytes *
pilot_registry_request_resolve_hostname (const PilotIdentity *identity, guint32 requester, const gchar *hostname)
{
  JsonObject *request = request_new ("resolve_hostname");

  json_object_set_string_member (request, "hostname", hostname);
  if (requester == 0)
    return finish (request, NULL);
  json_object_set_int_member (request, "requester_id", requester);
  return finish (request, identity);
}

GBytes *
pilot_registry_request_set_visibility (const PilotIdentity *identity, guint32 node, gboolean is_public)
{
  JsonObject *request = request_new ("set_visibility");

  json_object_set_int_member (request, "node_id", node);
  json_object_set_boolean_member (request, "public", is_public);
  return finish (request, identity);
}

GBytes *
pilot_registry_request_set_hostname (const PilotIdentity *identity, guint32 node, const gchar *hostname)
{
  JsonObject *request = request_new ("set_hostname");

  json_object_set_int_member (request, "node_id", node);
  json_object_set_string_member (request, "hostname", hostname);
  return finish (request, identity);
}

GBytes *
pilot_registry_request_set_tags (const PilotIdentity *identity, guint32 node, const gchar *const *tags)
{
  JsonObject *request = request_new ("set_tags");

  json_object_set_int_member (request, "node_id", node);
  json_object_set_array_member (request, "tags", array_of (tags));
  return finish (request, identity);
}

GBytes *
pilot_registry_request_deregister (const PilotIdentity *identity, guint32 node)
{
  return request_node ("deregister", identity, node);
}

GBytes *
pilot_registry_request_report_trust (const PilotIdentity *identity, guint32 node, guint32 peer)
{
  return request_pair ("report_trust", identity, node, peer);
}

GBytes *
pilot_registry_request_revoke_trust (const PilotIdentity *identity, guint32 node, guint32 peer)
{
  return request_pair ("revoke_trust", identity, node, peer);
}

GBytes *
pilot_registry_request_check_trust (guint32 node, guint32 peer)
{
  return request_pair ("check_trust", NULL, node, peer);
}

GBytes *
pilot_registry_request_request_handshake (const PilotIdentity *identity, guint32 from, guint32 to, const gchar *justification)
{
  JsonObject *request = request_new ("request_handshake");

  json_object_set_int_member (request, "from_node_id", from);
  json_object_set_int_member (request, "to_node_id", to);
  json_object_set_string_member (request, "justification", justification != NULL ? justification : "");
  return finish (request, identity);
}

GBytes *
pilot_registry_request_poll_handshakes (const PilotIdentity *identity, guint32 node)
{
  return request_node ("poll_handshakes", identity, node);
}

GBytes *
pilot_registry_request_respond_handshake (const PilotIdentity *identity, guint32 node, guint32 peer, gboolean accept)
{
  JsonObject *request = request_new ("respond_handshake");

  json_object_set_int_member (request, "node_id", node);
  json_object_set_int_member (request, "peer_id", peer);
  json_object_set_boolean_member (request, "accept", accept);
  return finish (request, identity);
}

GBytes *
pilot_registry_request_beacon_list (void)
{
  return finish (request_new ("beacon_list"), NULL);
}

GBytes *
pilot_registry_request_rotate_key (const PilotIdentity *identity, guint32 node, const guint8 new_public_key[PILOT_ED25519_PUBLIC_SIZE])
{
  JsonObject *request = request_new ("rotate_key");
  gchar key[PILOT_BASE64_KEY_TEXT_SIZE];

  json_object_set_int_member (request, "node_id", node);
  json_object_set_string_member (request, "new_public_key", pilot_base64_encode_to (new_public_key, PILOT_ED25519_PUBLIC_SIZE, key));
  return finish (request, identity);
}

gboolean
pilot_registry_response_check (JsonObject *response, const gchar *request_type, GError **error)
{
  const gchar *type = pilot_json_get_string (response, "type");

  if (json_object_has_member (response, "error")) {
    const gchar *text = pilot_json_get_string (response, "error");
    g_autofree gchar *quoted = pilot_error_quote (text, -1);
    PilotError code = strstr (text, "not found") != NULL ? PILOT_ERROR_NOT_FOUND
      : strstr (text, "already") != NULL ? PILOT_ERROR_ALREADY_EXISTS : PILOT_ERROR_REFUSED;

    g_set_error (error, PILOT_ERROR, code, "registry: %s", quoted);
    return FALSE;
  }
  if (*type == '\0') {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "registry: malformed response (missing \"type\" field)");
    return FALSE;
  }
  if (request_type != NULL && (!g_str_has_prefix (type, request_type) || !g_str_equal (type + strlen (request_type), "_ok"))) {
    g_autofree gchar *quoted = pilot_error_quote (type, -1);

    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "registry: \"%s\" is no answer to \"%s\"", quoted, request_type);
    return FALSE;
  }
  return TRUE;
}
