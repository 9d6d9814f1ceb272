/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/service-private.h"

#include <string.h>

#include "libpilot/pilot-error.h"
#include "protocol/crypto.h"

static void
set_strv (JsonObject *response,
          const gchar *name,
          gchar **strv)
{
  JsonArray *array;

  if (strv == NULL || strv[0] == NULL)
    return;
  array = json_array_new ();
  for (guint i = 0; strv[i] != NULL; i++)
    json_array_add_string_element (array, strv[i]);
  json_object_set_array_member (response, name, array);
}

static void
set_key (JsonObject *response,
         const guint8 *key)
{
  gchar text[PILOT_BASE64_KEY_TEXT_SIZE];

  json_object_set_string_member (response, "public_key", pilot_base64_encode_to (key, PILOT_KEY_SIZE, text));
}

static gchar *
format_time (gint64 time)
{
  g_autoptr (GDateTime) when = g_date_time_new_from_unix_utc (time);

  return g_date_time_format (when, "%Y-%m-%dT%H:%M:%SZ");
}

/* Where others reach the node. The beacon knows the tunnel's own socket, which a Go daemon's registration does not; but
 * anybody can send a discover, so its word counts only for the host that the registry has authenticated (verified-live.md). */
static gchar *
get_endpoint (PilotCall *call,
              const PilotNodeRecord *record)
{
  const PilotEndpoint *source = pilot_directory_get_source (call->service->directory, record->id);
  PilotEndpoint seen;

  if (record->relay_only)
    return pilot_call_beacon_address (call);
  if (source != NULL && call->service->beacon != NULL && pilot_beacon_find (call->service->beacon, record->id, &seen) &&
      pilot_endpoint_equal_host (source, &seen))
    return pilot_endpoint_to_string (&seen);
  return g_strdup (record->endpoint);
}

/* register */

/* FALSE, with an error, for a signature that is there and wrong. */
static gboolean
check_register_signature (PilotCall *call,
                          const guint8 *key,
                          gboolean *is_signed,
                          GError **error)
{
  switch (pilot_registry_message_verify (call->request, key)) {
  case PILOT_REGISTRY_SIGNATURE_VALID:
    *is_signed = TRUE;
    return TRUE;
  case PILOT_REGISTRY_SIGNATURE_MISSING:
    *is_signed = FALSE; /* v1.9 daemons do not sign */
    return TRUE;
  case PILOT_REGISTRY_SIGNATURE_ENCODING:
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED, "registration: invalid signature encoding");
    return FALSE;
  case PILOT_REGISTRY_SIGNATURE_WRONG:
  case PILOT_REGISTRY_SIGNATURE_NONE:
  default:
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED, "registration: signature verification failed");
    return FALSE;
  }
}

static gboolean
get_register_key (PilotCall *call,
                  guint8 *key,
                  GError **error)
{
  const gchar *text = pilot_json_get_string (call->request, "public_key");

  if (*text == '\0')
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "registration requires public_key");
  else if (!pilot_base64_decode (text, -1, key, PILOT_KEY_SIZE))
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
                         "invalid public key: want canonical standard base64 of 32 bytes");
  else
    return TRUE;
  return FALSE;
}

static gchar **
get_strings (JsonObject *request,
             const gchar *name)
{
  JsonArray *array = pilot_json_get_array (request, name);
  g_autoptr (GPtrArray) strings = g_ptr_array_new ();

  for (guint i = 0; array != NULL && i < json_array_get_length (array); i++) {
    const gchar *text = pilot_json_array_get_string (array, i);

    g_ptr_array_add (strings, g_strdup (text != NULL ? text : ""));
  }
  g_ptr_array_add (strings, NULL);
  return (gchar **) g_ptr_array_free (g_steal_pointer (&strings), FALSE);
}

/* The string, or NULL when it is longer than a label may be. */
static const gchar *
get_label (PilotCall *call,
           const gchar *name,
           gsize max)
{
  const gchar *text = pilot_json_get_string (call->request, name);

  return strlen (text) <= max && strchr (text, '\n') == NULL ? text : NULL;
}

static JsonObject *
handle_register (PilotCall *call,
                 GError **error)
{
  guint8 key[PILOT_KEY_SIZE];
  g_auto (GStrv) lan_addrs = get_strings (call->request, "lan_addrs");
  g_autofree gchar *hostname_error = NULL;
  PilotDirectoryRegistration registration = {
    .key = key,
    .listen_addr = pilot_json_get_string (call->request, "listen_addr"),
    .source = call->session->remote,
    .lan_addrs = (const gchar *const *) lan_addrs,
    .owner = get_label (call, "owner", PILOT_DIRECTORY_MAX_OWNER),
    .version = get_label (call, "version", PILOT_DIRECTORY_MAX_VERSION),
    .hostname = pilot_json_get_string (call->request, "hostname"),
    .relay_only = pilot_json_get_boolean (call->request, "relay_only"),
  };
  const PilotNodeRecord *record;
  JsonObject *response;

  if (!get_register_key (call, key, error) || !check_register_signature (call, key, &registration.is_signed, error))
    return NULL;
  if (pilot_directory_find_key (call->service->directory, key) == NULL &&
      !pilot_limiter_take (call->service->registrations, &call->session->remote, call->now)) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_BUSY, "rate limited: too many registrations from this host");
    return NULL;
  }
  record = pilot_directory_register (call->service->directory, &registration, call->now, &hostname_error, error);
  if (record == NULL)
    return NULL;
  if (registration.is_signed)
    call->session->node = record->id;
  response = json_object_new ();
  pilot_response_set_node (response, record->id);
  json_object_set_int_member (response, "network_id", 0);
  set_key (response, record->key);
  json_object_set_string_member (response, "observed_addr", record->endpoint);
  json_object_set_int_member (response, "protocol_version", 1);
  if (record->hostname != NULL)
    json_object_set_string_member (response, "hostname", record->hostname);
  if (hostname_error != NULL)
    json_object_set_string_member (response, "hostname_error", hostname_error);
  return response;
}

/* Reading */

static JsonObject *
handle_heartbeat (PilotCall *call,
                  GError **error)
{
  JsonObject *response;

  if (!pilot_call_authenticate (call, pilot_json_get_uint32 (call->request, "node_id"), NULL, FALSE, error))
    return NULL;
  response = json_object_new ();
  json_object_set_int_member (response, "time", call->now);
  return response;
}

static void
set_networks (JsonObject *response)
{
  JsonArray *networks = json_array_new ();

  json_array_add_int_element (networks, 0);
  json_object_set_array_member (response, "networks", networks);
}

static JsonObject *
handle_lookup (PilotCall *call,
               GError **error)
{
  const PilotNodeRecord *record = pilot_directory_require (call->service->directory,
                                                           pilot_json_get_uint32 (call->request, "node_id"), error);
  JsonObject *response;

  if (record == NULL)
    return NULL;
  response = json_object_new ();
  pilot_response_set_node (response, record->id);
  set_networks (response);
  set_key (response, record->key);
  json_object_set_boolean_member (response, "public", record->is_public);
  json_object_set_int_member (response, "last_seen_unix", record->last_seen);
  json_object_set_int_member (response, "key_generation", record->rotate_count);
  if (record->hostname != NULL)
    json_object_set_string_member (response, "hostname", record->hostname);
  set_strv (response, "tags", record->tags);
  if (record->version != NULL)
    json_object_set_string_member (response, "version", record->version);
  if (record->is_public) {
    g_autofree gchar *endpoint = get_endpoint (call, record);

    json_object_set_string_member (response, "real_addr", endpoint);
    json_object_set_string_member (response, "endpoint", endpoint);
    if (record->relay_only)
      json_object_set_boolean_member (response, "relay_only", TRUE);
  }
  return response;
}

static JsonObject *
handle_resolve (PilotCall *call,
                GError **error)
{
  guint32 requester = pilot_json_get_uint32 (call->request, "requester_id");
  guint32 target = pilot_json_get_uint32 (call->request, "node_id");
  g_autofree gchar *endpoint = NULL;
  const PilotNodeRecord *record;
  JsonObject *response;

  if (pilot_directory_find (call->service->directory, requester) == NULL) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED, "resolve denied: requester node %u is not registered", requester);
    return NULL;
  }
  if (!pilot_call_authenticate (call, requester, NULL, FALSE, error) ||
      (record = pilot_directory_require (call->service->directory, target, error)) == NULL)
    return NULL;
  if (!pilot_directory_may_resolve (call->service->directory, requester, target)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED,
                 "resolve denied: node %u is private (establish mutual trust first)", target);
    return NULL;
  }
  endpoint = get_endpoint (call, record);
  response = json_object_new ();
  json_object_set_int_member (response, "node_id", record->id);
  json_object_set_string_member (response, "real_addr", endpoint);
  if (record->relay_only)
    json_object_set_boolean_member (response, "relay_only", TRUE);
  else
    set_strv (response, "lan_addrs", record->lan_addrs);
  json_object_set_int_member (response, "key_age_days", MAX (0, call->now - record->key_created) / (24 * 60 * 60));
  set_key (response, record->key);
  return response;
}

/* Go daemons do not say who asks; who authenticated last on this connection does (notes, 17.17). A claimed id without a
 * signature counts for nothing. */
static gboolean
may_find (PilotCall *call,
          const PilotNodeRecord *record)
{
  guint32 requester = pilot_json_get_uint32 (call->request, "requester_id");

  if (record->is_public)
    return TRUE;
  if (requester != 0 && requester != call->session->node && !pilot_call_authenticate (call, requester, NULL, FALSE, NULL))
    return FALSE;
  if (requester == 0)
    requester = call->session->node;
  return requester != 0 && pilot_directory_may_resolve (call->service->directory, requester, record->id);
}

static JsonObject *
handle_resolve_hostname (PilotCall *call,
                         GError **error)
{
  const gchar *hostname = pilot_json_get_string (call->request, "hostname");
  g_autofree gchar *quoted = NULL;
  const PilotNodeRecord *record;
  JsonObject *response;

  if (*hostname == '\0') {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "hostname required");
    return NULL;
  }
  record = pilot_directory_find_hostname (call->service->directory, hostname);
  if (record == NULL || !may_find (call, record)) {
    quoted = pilot_error_quote (hostname, -1);
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "hostname \"%s\" not found", quoted);
    return NULL;
  }
  response = json_object_new ();
  pilot_response_set_node (response, record->id);
  json_object_set_boolean_member (response, "public", record->is_public);
  json_object_set_string_member (response, "hostname", record->hostname);
  json_object_set_int_member (response, "last_seen_unix", record->last_seen);
  return response;
}

static JsonObject *
handle_get_key_info (PilotCall *call,
                     GError **error)
{
  const PilotNodeRecord *record = pilot_directory_require (call->service->directory,
                                                           pilot_json_get_uint32 (call->request, "node_id"), error);
  g_autofree gchar *created = NULL;
  JsonObject *response;

  if (record == NULL)
    return NULL;
  created = format_time (record->key_created);
  response = json_object_new ();
  json_object_set_int_member (response, "node_id", record->id);
  json_object_set_string_member (response, "created_at", created);
  json_object_set_int_member (response, "rotate_count", record->rotate_count);
  if (record->key_rotated != 0) {
    g_autofree gchar *rotated = format_time (record->key_rotated);

    json_object_set_string_member (response, "rotated_at", rotated);
  }
  json_object_set_int_member (response, "key_age_days", MAX (0, call->now - record->key_created) / (24 * 60 * 60));
  return response;
}

/* Changing */

static JsonObject *
handle_set_visibility (PilotCall *call,
                       GError **error)
{
  guint32 node = pilot_json_get_uint32 (call->request, "node_id");
  gboolean is_public = pilot_json_get_boolean (call->request, "public");
  JsonObject *response;

  if (!pilot_call_authenticate (call, node, NULL, TRUE, error) ||
      !pilot_directory_set_visibility (call->service->directory, node, is_public, error))
    return NULL;
  response = json_object_new ();
  json_object_set_int_member (response, "node_id", node);
  json_object_set_string_member (response, "visibility", is_public ? "public" : "private");
  return response;
}

static JsonObject *
handle_set_hostname (PilotCall *call,
                     GError **error)
{
  guint32 node = pilot_json_get_uint32 (call->request, "node_id");
  const gchar *hostname = pilot_json_get_string (call->request, "hostname");
  JsonObject *response;

  if (!pilot_call_authenticate (call, node, NULL, TRUE, error) ||
      !pilot_directory_set_hostname (call->service->directory, node, hostname, error))
    return NULL;
  response = json_object_new ();
  json_object_set_int_member (response, "node_id", node);
  json_object_set_string_member (response, "hostname", hostname);
  return response;
}

static JsonObject *
handle_set_tags (PilotCall *call,
                 GError **error)
{
  guint32 node = pilot_json_get_uint32 (call->request, "node_id");
  g_auto (GStrv) tags = get_strings (call->request, "tags");
  const PilotNodeRecord *record;
  JsonObject *response;

  if (!pilot_call_authenticate (call, node, NULL, TRUE, error) ||
      !pilot_directory_set_tags (call->service->directory, node, (const gchar *const *) tags, error))
    return NULL;
  record = pilot_directory_find (call->service->directory, node);
  response = json_object_new ();
  json_object_set_int_member (response, "node_id", node);
  json_object_set_null_member (response, "tags");
  set_strv (response, "tags", record->tags);
  return response;
}

static JsonObject *
handle_deregister (PilotCall *call,
                   GError **error)
{
  guint32 node = pilot_json_get_uint32 (call->request, "node_id");

  /* Unknown nodes are gone already: that is what was asked for. */
  if (pilot_directory_find (call->service->directory, node) != NULL) {
    if (!pilot_call_authenticate (call, node, NULL, TRUE, error))
      return NULL;
    pilot_directory_deregister (call->service->directory, node);
  }
  return json_object_new ();
}

static JsonObject *
handle_rotate_key (PilotCall *call,
                   GError **error)
{
  guint32 node = pilot_json_get_uint32 (call->request, "node_id");
  const gchar *text = pilot_json_get_string (call->request, "new_public_key");
  g_autoptr (GError) local_error = NULL;
  guint8 key[PILOT_KEY_SIZE];
  JsonObject *response;

  if (pilot_directory_require (call->service->directory, node, error) == NULL)
    return NULL;
  if (*pilot_json_get_string (call->request, "signature") == '\0')
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED, "rotate_key requires a valid signature");
  else if (*text == '\0')
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "rotate_key requires new_public_key");
  else if (!pilot_base64_decode (text, -1, key, sizeof key))
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
                         "invalid new_public_key: want canonical standard base64 of 32 bytes");
  else if (pilot_call_authenticate (call, node, NULL, FALSE, error) &&
           pilot_directory_rotate_key (call->service->directory, node, key, call->now, error)) {
    response = json_object_new ();
    pilot_response_set_node (response, node);
    set_key (response, key);
    return response;
  }
  return NULL;
}

const PilotHandlerEntry pilot_service_node_handlers[] = {
  { "heartbeat", handle_heartbeat },
  { "lookup", handle_lookup },
  { "resolve", handle_resolve },
  { "register", handle_register },
  { "resolve_hostname", handle_resolve_hostname },
  { "set_visibility", handle_set_visibility },
  { "set_hostname", handle_set_hostname },
  { "set_tags", handle_set_tags },
  { "deregister", handle_deregister },
  { "rotate_key", handle_rotate_key },
  { "get_key_info", handle_get_key_info },
  { NULL, NULL },
};
