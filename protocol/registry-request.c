/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/registry-message.h"

#include <string.h>

/* The requests of a node, one function each (registry.md section 7). */

static JsonObject *
new_request (const gchar *type)
{
  JsonObject *request = json_object_new ();

  json_object_set_string_member (request, "type", type);
  return request;
}

static JsonObject *
new_node_request (const gchar *type, guint32 node)
{
  JsonObject *request = new_request (type);

  json_object_set_int_member (request, "node_id", node);
  return request;
}

static GBytes *
finish_signed (JsonObject *request, const PilotIdentity *identity)
{
  gboolean is_signed = pilot_registry_message_sign (request, identity);

  g_assert (is_signed);
  return pilot_registry_frame_object (request);
}

static JsonArray *
new_string_array (const gchar *const *strings)
{
  JsonArray *array = json_array_new ();

  for (guint i = 0; strings != NULL && strings[i] != NULL; i++)
    json_array_add_string_element (array, strings[i]);
  return array;
}

GBytes *
pilot_registry_request_register (const PilotIdentity *identity, const PilotRegistration *registration)
{
  g_autoptr (JsonObject) request = new_request ("register");
  gchar key[PILOT_BASE64_KEY_TEXT_SIZE];

  pilot_base64_encode_to (identity->public_key, PILOT_ED25519_PUBLIC_SIZE, key);
  json_object_set_string_member (request, "listen_addr", registration->listen_addr != NULL ? registration->listen_addr : "");
  json_object_set_string_member (request, "public_key", key);
  if (registration->lan_addrs != NULL && registration->lan_addrs[0] != NULL)
    json_object_set_array_member (request, "lan_addrs", new_string_array (registration->lan_addrs));
  if (registration->owner != NULL)
    json_object_set_string_member (request, "owner", registration->owner);
  if (registration->version != NULL)
    json_object_set_string_member (request, "version", registration->version);
  if (registration->hostname != NULL)
    json_object_set_string_member (request, "hostname", registration->hostname);
  if (registration->relay_only)
    json_object_set_boolean_member (request, "relay_only", TRUE);
  return finish_signed (request, identity);
}

GBytes *
pilot_registry_request_heartbeat (const PilotIdentity *identity, guint32 node)
{
  g_autoptr (JsonObject) request = new_node_request ("heartbeat", node);

  return finish_signed (request, identity);
}

GBytes *
pilot_registry_request_lookup (guint32 node)
{
  g_autoptr (JsonObject) request = new_node_request ("lookup", node);

  return pilot_registry_frame_object (request);
}

GBytes *
pilot_registry_request_resolve (const PilotIdentity *identity, guint32 requester, guint32 node)
{
  g_autoptr (JsonObject) request = new_node_request ("resolve", node);

  json_object_set_int_member (request, "requester_id", requester);
  return finish_signed (request, identity);
}

GBytes *
pilot_registry_request_resolve_hostname (const PilotIdentity *identity, guint32 requester, const gchar *hostname)
{
  g_autoptr (JsonObject) request = new_request ("resolve_hostname");

  json_object_set_string_member (request, "hostname", hostname);
  if (requester == 0)
    return pilot_registry_frame_object (request);
  json_object_set_int_member (request, "requester_id", requester);
  return finish_signed (request, identity);
}

GBytes *
pilot_registry_request_set_visibility (const PilotIdentity *identity, guint32 node, gboolean is_public)
{
  g_autoptr (JsonObject) request = new_node_request ("set_visibility", node);

  json_object_set_boolean_member (request, "public", is_public);
  return finish_signed (request, identity);
}

GBytes *
pilot_registry_request_set_hostname (const PilotIdentity *identity, guint32 node, const gchar *hostname)
{
  g_autoptr (JsonObject) request = new_node_request ("set_hostname", node);

  json_object_set_string_member (request, "hostname", hostname);
  return finish_signed (request, identity);
}

GBytes *
pilot_registry_request_set_tags (const PilotIdentity *identity, guint32 node, const gchar *const *tags)
{
  g_autoptr (JsonObject) request = new_node_request ("set_tags", node);

  json_object_set_array_member (request, "tags", new_string_array (tags));
  return finish_signed (request, identity);
}

GBytes *
pilot_registry_request_deregister (const PilotIdentity *identity, guint32 node)
{
  g_autoptr (JsonObject) request = new_node_request ("deregister", node);

  return finish_signed (request, identity);
}

static GBytes *
request_about_peer (const gchar *type, const PilotIdentity *identity, guint32 node, guint32 peer)
{
  g_autoptr (JsonObject) request = new_node_request (type, node);

  json_object_set_int_member (request, "peer_id", peer);
  return identity != NULL ? finish_signed (request, identity) : pilot_registry_frame_object (request);
}

GBytes *
pilot_registry_request_report_trust (const PilotIdentity *identity, guint32 node, guint32 peer)
{
  return request_about_peer ("report_trust", identity, node, peer);
}

GBytes *
pilot_registry_request_revoke_trust (const PilotIdentity *identity, guint32 node, guint32 peer)
{
  return request_about_peer ("revoke_trust", identity, node, peer);
}

GBytes *
pilot_registry_request_check_trust (guint32 node, guint32 peer)
{
  return request_about_peer ("check_trust", NULL, node, peer);
}

GBytes *
pilot_registry_request_request_handshake (const PilotIdentity *identity, guint32 from, guint32 to, const gchar *justification)
{
  g_autoptr (JsonObject) request = new_request ("request_handshake");

  json_object_set_int_member (request, "from_node_id", from);
  json_object_set_int_member (request, "to_node_id", to);
  json_object_set_string_member (request, "justification", justification != NULL ? justification : "");
  return finish_signed (request, identity);
}

GBytes *
pilot_registry_request_poll_handshakes (const PilotIdentity *identity, guint32 node)
{
  g_autoptr (JsonObject) request = new_node_request ("poll_handshakes", node);

  return finish_signed (request, identity);
}

GBytes *
pilot_registry_request_respond_handshake (const PilotIdentity *identity, guint32 node, guint32 peer, gboolean accept)
{
  g_autoptr (JsonObject) request = new_node_request ("respond_handshake", node);

  json_object_set_int_member (request, "peer_id", peer);
  json_object_set_boolean_member (request, "accept", accept);
  return finish_signed (request, identity);
}

GBytes *
pilot_registry_request_tell_revoked (const PilotIdentity *identity, guint32 node, guint32 peer)
{
  g_autoptr (JsonObject) request = new_node_request ("respond_handshake", node);

  json_object_set_int_member (request, "peer_id", peer);
  json_object_set_boolean_member (request, "accept", FALSE);
  json_object_set_boolean_member (request, "revoked", TRUE);
  return finish_signed (request, identity);
}

GBytes *
pilot_registry_request_beacon_list (void)
{
  g_autoptr (JsonObject) request = new_request ("beacon_list");

  return pilot_registry_frame_object (request);
}

GBytes *
pilot_registry_request_rotate_key (const PilotIdentity *identity, guint32 node, const guint8 new_public_key[PILOT_ED25519_PUBLIC_SIZE])
{
  g_autoptr (JsonObject) request = new_node_request ("rotate_key", node);
  gchar key[PILOT_BASE64_KEY_TEXT_SIZE];

  pilot_base64_encode_to (new_public_key, PILOT_ED25519_PUBLIC_SIZE, key);
  json_object_set_string_member (request, "new_public_key", key);
  return finish_signed (request, identity);
}
