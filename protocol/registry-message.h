/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>

#include "protocol/identity.h"

G_BEGIN_DECLS

/* The registry's protocol: 4 bytes of length, big endian, and one JSON object (registry.md sections 3, 5, 7). */

#define PILOT_REGISTRY_HEADER_SIZE 4
/* What the protocol allows, what every version can read, and what our server takes from a client. Bytes of the body. */
#define PILOT_REGISTRY_MAX_FRAME (64 * 1024 * 1024)
#define PILOT_REGISTRY_MAX_RESPONSE (4 * 1024 * 1024)
#define PILOT_REGISTRY_MAX_REQUEST (64 * 1024)
#define PILOT_REGISTRY_MAX_JUSTIFICATION 1024

/* Cuts a byte stream into messages. Memory grows with what has arrived, never with what a header announces. */
typedef struct _PilotRegistryReader PilotRegistryReader;

/* (transfer full) `max_length` bounds one body, in bytes. */
PilotRegistryReader *pilot_registry_reader_new (gsize max_length);
void pilot_registry_reader_free (PilotRegistryReader *reader);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotRegistryReader, pilot_registry_reader_free)

/* Takes bytes up to the end of one message. `consumed` (out) is how many; call again with the rest. `message` (out) (transfer full) is the parsed object,
 * NULL while it is incomplete. On FALSE (too long, not a JSON object: PILOT_ERROR_CORRUPT) the connection is to be closed without an answer. */
gboolean pilot_registry_reader_push (PilotRegistryReader *reader,
                                     const guint8 *data,
                                     gsize length,
                                     gsize *consumed,
                                     JsonObject **message,
                                     GError **error);
/* Bytes held of a message that is not complete. 0 between messages: an end of file here is a clean one. */
gsize pilot_registry_reader_pending (PilotRegistryReader *reader);

/* (transfer full): header and body. */
GBytes *pilot_registry_frame_text (const gchar *body);
GBytes *pilot_registry_frame_object (JsonObject *object);
/* (transfer full): {"error":TEXT,"type":"error"} framed. */
GBytes *pilot_registry_frame_error (const gchar *text);

/* How a signature of a request fared. */
typedef enum {
  PILOT_REGISTRY_SIGNATURE_VALID,
  PILOT_REGISTRY_SIGNATURE_MISSING,  /* no or empty field "signature" */
  PILOT_REGISTRY_SIGNATURE_ENCODING, /* not canonical base64 of 64 bytes */
  PILOT_REGISTRY_SIGNATURE_WRONG,
  PILOT_REGISTRY_SIGNATURE_NONE, /* this type of message is never signed, or its fields are missing */
} PilotRegistrySignature;

/* (transfer full) The text that the signature of this request covers, made from its fields; NULL if its type is not in the table. */
gchar *pilot_registry_message_challenge (JsonObject *request);
/* The node whose key on file must have signed; 0 for register (the key in the message itself) and for types that are not signed. */
guint32 pilot_registry_message_signer (JsonObject *request);
/* With the key on file for the signer. */
PilotRegistrySignature pilot_registry_message_verify (JsonObject *request,
                                                      const guint8 public_key[PILOT_ED25519_PUBLIC_SIZE]);
/* Adds member "signature" over the challenge. FALSE if the type is not in the table. */
gboolean pilot_registry_message_sign (JsonObject *request,
                                      const PilotIdentity *identity);

/* What a node tells about itself. Strings may be NULL. */
typedef struct
{
  const gchar *listen_addr;      /* "host:port" as the node believes it is reached */
  const gchar *const *lan_addrs; /* NULL-terminated "ip:port" */
  const gchar *owner;
  const gchar *version;
  const gchar *hostname;
  gboolean relay_only;
} PilotRegistration;

/* Requests of a node, each (transfer full), framed and signed where the registry wants it. */
GBytes *pilot_registry_request_register (const PilotIdentity *identity, const PilotRegistration *registration);
GBytes *pilot_registry_request_heartbeat (const PilotIdentity *identity, guint32 node);
GBytes *pilot_registry_request_lookup (guint32 node);
GBytes *pilot_registry_request_resolve (const PilotIdentity *identity, guint32 requester, guint32 node);
/* `requester` 0 is left out; else it is sent and signed, which lets our registry find trusted private nodes. */
GBytes *pilot_registry_request_resolve_hostname (const PilotIdentity *identity, guint32 requester, const gchar *hostname);
GBytes *pilot_registry_request_set_visibility (const PilotIdentity *identity, guint32 node, gboolean is_public);
GBytes *pilot_registry_request_set_hostname (const PilotIdentity *identity, guint32 node, const gchar *hostname);
GBytes *pilot_registry_request_set_tags (const PilotIdentity *identity, guint32 node, const gchar *const *tags);
GBytes *pilot_registry_request_deregister (const PilotIdentity *identity, guint32 node);
GBytes *pilot_registry_request_report_trust (const PilotIdentity *identity, guint32 node, guint32 peer);
GBytes *pilot_registry_request_revoke_trust (const PilotIdentity *identity, guint32 node, guint32 peer);
GBytes *pilot_registry_request_check_trust (guint32 node, guint32 peer);
GBytes *pilot_registry_request_request_handshake (const PilotIdentity *identity, guint32 from, guint32 to, const gchar *justification);
GBytes *pilot_registry_request_poll_handshakes (const PilotIdentity *identity, guint32 node);
GBytes *pilot_registry_request_respond_handshake (const PilotIdentity *identity, guint32 node, guint32 peer, gboolean accept);
/* The refusal that tells the peer of trust taken back. Its "revoked", which other registries pass over, says that it answers no request: one that has just come
 * from the peer stays to be polled. */
GBytes *pilot_registry_request_tell_revoked (const PilotIdentity *identity, guint32 node, guint32 peer);
GBytes *pilot_registry_request_beacon_list (void);
/* Signed with the current key; the new one is given as its public half. */
GBytes *pilot_registry_request_rotate_key (const PilotIdentity *identity, guint32 node, const guint8 new_public_key[PILOT_ED25519_PUBLIC_SIZE]);

/* Whether this response is a success. Else PILOT_ERROR_NOT_FOUND, _ALREADY_EXISTS or _REFUSED with the registry's text, or _CORRUPT without a type.
 * A type other than the request's "_ok" is _CORRUPT too; `request_type` NULL takes any. */
gboolean pilot_registry_response_check (JsonObject *response,
                                        const gchar *request_type,
                                        GError **error);

G_END_DECLS
