/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>
#include <json-glib/json-glib.h>

#include "libpilot/pilot-proxy.h"

G_BEGIN_DECLS

/* How long one call may take, queueing and connecting included, in milliseconds. */
#define PILOT_REGISTRY_CALL_TIMEOUT 8000

typedef enum {
  PILOT_REGISTRY_TLS_NONE,
  PILOT_REGISTRY_TLS_PINNED, /* the certificate with this SHA-256 and no other (registry.md section 2) */
  PILOT_REGISTRY_TLS_SYSTEM, /* a certificate the system trusts, for this name */
} PilotRegistryTls;

/*
 * PilotRegistryClient: one connection to the registry, dialled when there is something to ask, and kept. One request at a time stands on it
 * (responses carry no number); the others wait in a queue, in order. A connection that ends without an answer is dialled again and the request
 * sent once more (registry.md section 3). Attempts that fail are spaced 100 ms to 30 s apart, half of it random; what waits when an attempt fails
 * gets its reason at once, so nobody hangs on a registry that is away.
 *
 * Signal: "link-changed" (): connected, or not, or another reason why not.
 */
#define PILOT_TYPE_REGISTRY_CLIENT (pilot_registry_client_get_type ())
G_DECLARE_FINAL_TYPE (PilotRegistryClient, pilot_registry_client, PILOT, REGISTRY_CLIENT, GObject)

/* @address "host:port". @fingerprint: 64 hex digits, for PINNED. INVALID_ARGUMENT when one of them makes no sense. */
PilotRegistryClient *pilot_registry_client_new (const char *address, PilotRegistryTls tls, const char *fingerprint, GError **error);
/* Connects through this proxy from now on. The registry's name is told to it as it is. When it does not take the credentials, and there is a command
 * to ask for others, one more attempt follows at once. */
void pilot_registry_client_set_proxy (PilotRegistryClient *client, PilotProxyResolver *proxy);
/* Ends the connection; every call in progress ends with CANCELLED. Nothing is dialled after that. */
void pilot_registry_client_close (PilotRegistryClient *client);
/* Drops the connection (the network changed): the request that stands on it is sent again on a new one. */
void pilot_registry_client_reconnect (PilotRegistryClient *client);
gboolean pilot_registry_client_is_connected (PilotRegistryClient *client);
/* Whether nothing is asked and nothing waits. */
gboolean pilot_registry_client_is_idle (PilotRegistryClient *client);
/* Why there is no connection, as a sentence; "" when there is one or none was wanted. */
const char *pilot_registry_client_get_reason (PilotRegistryClient *client);

/* @request: (transfer full) a framed request. @type: its type, which the answer's must match. Errors: those of pilot_registry_response_check(),
 * CONNECTION_FAILED, TIMEOUT, CANCELLED. Cancelling forgets the answer, not the request: a poll empties the inbox, so its answer must be read. */
void pilot_registry_client_call_async (PilotRegistryClient *client, GBytes *request, const char *type, GCancellable *cancellable,
                                       GAsyncReadyCallback callback, gpointer user_data);
JsonObject *pilot_registry_client_call_finish (PilotRegistryClient *client, GAsyncResult *result, GError **error);

G_END_DECLS
