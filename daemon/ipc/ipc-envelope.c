/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/ipc/ipc-private.h"

#include <string.h>

#include "daemon/node/node-describe.h"
#include "libpilot/pilot-error.h"
#include "protocol/envelope.h"
#include "protocol/json.h"

/* Signed requests (ipc.md section 8): the daemon states who it is and what the body is; nobody gets a signature over bytes of his choice. */

#define DEFAULT_SKEW 300

static JsonObject *
parse (const PilotIpcRequest *request, GError **error)
{
  return pilot_json_parse_object ((const char *) request->data, request->data_length, PILOT_IPC_MAX_LENGTH, error);
}

/* --- sign --- */

/* (transfer full): NULL unless the text is the base64 of something, and written the one way there is. */
static GBytes *
decode (const char *text)
{
  gsize length;
  guint8 *data = g_base64_decode (text, &length);
  g_autoptr (GBytes) bytes = g_bytes_new_take (data, length);
  g_autofree char *again = g_base64_encode (data, length);

  return strcmp (again, text) == 0 ? g_steal_pointer (&bytes) : NULL;
}

/* The hash in hex, of the body or as it was given. NULL when the call has been failed. */
static char *
take_hash (PilotIpcCall *call, JsonObject *body)
{
  const char *hash = pilot_json_get_string (body, "body_hash"), *encoded = pilot_json_get_string (body, "body_b64");
  g_autoptr (GBytes) data = NULL;

  if (*hash == '\0' && *encoded == '\0')
    pilot_ipc_call_fail (call, "sign_envelope: body_hash or body_b64 required");
  else if (*hash != '\0' && *encoded != '\0')
    pilot_ipc_call_fail (call, "sign_envelope: body_hash and body_b64 are mutually exclusive");
  else if (*hash != '\0')
    return g_strdup (hash);
  else {
    data = decode (encoded);
    if (data != NULL)
      return pilot_crypto_fingerprint (g_bytes_get_data (data, NULL), g_bytes_get_size (data));
    pilot_ipc_call_fail (call, "sign_envelope: body_b64 not base64: malformed text");
  }
  return NULL;
}

void
pilot_ipc_sign_envelope (PilotIpcCall *call, const PilotIpcRequest *request)
{
  PilotNode *node = call->client->ipc->node;
  const PilotAddress self = { .network = 0, .node = pilot_node_get_id (node) };
  GError *error = NULL;
  g_autoptr (JsonObject) asked = parse (request, &error);
  g_autofree char *hash = NULL, *text = NULL, *signature = NULL, *address = NULL;
  const char *nonce;
  PilotEnvelope envelope;
  JsonObject *body;

  if (asked == NULL) {
    pilot_ipc_call_fail_error (call, "sign_envelope: bad payload", error);
    return;
  }
  if (*pilot_json_get_string (asked, "audience") == '\0') {
    pilot_ipc_call_fail (call, "sign_envelope: audience required");
    return;
  }
  hash = take_hash (call, asked);
  if (hash == NULL)
    return;
  if (self.node == 0) {
    pilot_ipc_call_fail (call, "sign_envelope: daemon not registered (no address)");
    return;
  }
  nonce = pilot_json_get_string (asked, "nonce");
  if (!pilot_envelope_init (&envelope, &self, g_get_real_time () / G_USEC_PER_SEC, *nonce != '\0' ? nonce : NULL, hash,
                            pilot_json_get_string (asked, "audience"), &error)) {
    pilot_ipc_call_fail_error (call, "sign_envelope: reqsig", error);
    return;
  }
  text = pilot_envelope_print (&envelope);
  signature = pilot_node_sign_envelope (node, &envelope);
  address = pilot_describe_node (self.node);
  body = json_object_new ();
  json_object_set_string_member (body, "type", "sign_envelope_ok");
  json_object_set_string_member (body, "envelope", text);
  json_object_set_string_member (body, "signature", signature);
  json_object_set_string_member (body, "address", address);
  pilot_ipc_call_reply (call, body);
}

/* --- verify --- */

typedef struct {
  PilotIpcCall *call;
  PilotEnvelope envelope;
  char *text;
  guint8 signature[PILOT_ED25519_SIGNATURE_SIZE];
} Verify;

/* A check that fails is an answer, not an error. */
static void
reply_invalid (PilotIpcCall *call, const char *reason)
{
  JsonObject *body = json_object_new ();

  json_object_set_string_member (body, "type", "verify_envelope_ok");
  json_object_set_boolean_member (body, "valid", FALSE);
  json_object_set_string_member (body, "reason", reason);
  pilot_ipc_call_reply (call, body);
}

static void
verify_with (Verify *verify, PilotNode *node, const guint8 *key, const char *via)
{
  PilotIpcCall *call = verify->call;
  guint32 signer = verify->envelope.address.node;
  g_autofree char *address = pilot_describe_node (signer);
  JsonObject *body;

  if (key == NULL)
    reply_invalid (call, "no key of this node is known");
  else if (!pilot_ed25519_verify (key, verify->text, strlen (verify->text), verify->signature))
    reply_invalid (call, "signature mismatch");
  else {
    body = json_object_new ();
    json_object_set_string_member (body, "type", "verify_envelope_ok");
    json_object_set_boolean_member (body, "valid", TRUE);
    json_object_set_int_member (body, "node_id", signer);
    json_object_set_string_member (body, "address", address);
    json_object_set_string_member (body, "verified_via", via);
    json_object_set_boolean_member (body, "trusted", pilot_trust_is_trusted (pilot_node_get_trust (node), signer));
    pilot_ipc_call_reply (call, body);
  }
  g_free (verify->text);
  g_free (verify);
}

static void
on_key (PilotNode *node, guint32 peer, const guint8 *key, gpointer user_data)
{
  verify_with (user_data, node, key, "registry");
}

void
pilot_ipc_verify_envelope (PilotIpcCall *call, const PilotIpcRequest *request)
{
  PilotNode *node = call->client->ipc->node;
  GError *error = NULL;
  g_autoptr (JsonObject) asked = parse (request, &error);
  g_autoptr (PilotTrustRecord) record = NULL;
  const char *text, *signature;
  gint64 skew, age;
  Verify *verify;
  Verify taken = { .call = call };

  if (asked == NULL) {
    pilot_ipc_call_fail_error (call, "verify_envelope: bad payload", error);
    return;
  }
  text = pilot_json_get_string (asked, "envelope");
  signature = pilot_json_get_string (asked, "signature");
  skew = pilot_json_get_int64 (asked, "max_skew_secs");
  if (*text == '\0' || *signature == '\0') {
    pilot_ipc_call_fail (call, "verify_envelope: envelope and signature required");
    return;
  }
  if (!pilot_envelope_parse (&taken.envelope, text, NULL)) {
    reply_invalid (call, "malformed envelope");
    return;
  }
  if (!pilot_base64_decode (signature, strlen (signature), taken.signature, sizeof taken.signature)) {
    reply_invalid (call, "malformed signature");
    return;
  }
  age = g_get_real_time () / G_USEC_PER_SEC - taken.envelope.time;
  if (ABS (age) > (skew > 0 ? skew : DEFAULT_SKEW)) {
    reply_invalid (call, "timestamp outside the allowed skew");
    return;
  }
  if (taken.envelope.address.network != 0) {
    reply_invalid (call, "the signer's network is not one this node is in");
    return;
  }
  verify = g_memdup2 (&taken, sizeof taken);
  verify->text = g_strdup (text);
  /* The key that is trusted goes before what the registry says. */
  record = pilot_trust_lookup (pilot_node_get_trust (node), PILOT_TRUST_TRUSTED, taken.envelope.address.node);
  if (record != NULL && record->has_key)
    verify_with (verify, node, record->key, "cache");
  else
    pilot_node_lookup_key (node, taken.envelope.address.node, on_key, verify);
}
