/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/node/node.h"

G_BEGIN_DECLS

/*
 * PilotGateway: gives remote nodes local IPs. Mappings are part of the state (gateway.json in the state directory): a restarted
 * daemon has the same mappings on the same addresses; stop forgets them, a crash does not.
 *
 * Signals: "mapping-added" (PilotMapping*), "mapping-removed" (PilotMapping*), "mapping-changed" (PilotMapping*), "changed" ()
 */
#define PILOT_TYPE_GATEWAY (pilot_gateway_get_type ())
G_DECLARE_FINAL_TYPE (PilotGateway, pilot_gateway, PILOT, GATEWAY, GObject)
#define PILOT_TYPE_MAPPING (pilot_mapping_get_type ())
G_DECLARE_FINAL_TYPE (PilotMapping, pilot_mapping, PILOT, MAPPING, GObject)

typedef enum {
  PILOT_PORT_REDIRECTED, /* reached through the rules */
  PILOT_PORT_LISTENING,  /* a plain listener */
  PILOT_PORT_HELD,       /* somebody else has it: detail names the holder */
  PILOT_PORT_FAILED,     /* detail says why */
} PilotPortState;

typedef struct {
  guint16 port;
  PilotPortState state;
  char *detail; /* "" or a sentence */
} PilotMappingPort;

const char *pilot_mapping_get_local_address (PilotMapping *mapping); /* "10.4.0.1" */
void pilot_mapping_get_pilot_address (PilotMapping *mapping, PilotAddress *address);
const char *pilot_mapping_get_hostname (PilotMapping *mapping);
/* "up", "partial" (some ports held), "failed", "needs-privilege" */
const char *pilot_mapping_get_state (PilotMapping *mapping);
gboolean pilot_mapping_get_all_ports (PilotMapping *mapping);
const GPtrArray *pilot_mapping_get_ports (PilotMapping *mapping); /* PilotMappingPort* */
guint pilot_mapping_get_open (PilotMapping *mapping);
guint64 pilot_mapping_get_total (PilotMapping *mapping);
guint64 pilot_mapping_get_bytes_in (PilotMapping *mapping); /* peer to here */
guint64 pilot_mapping_get_bytes_out (PilotMapping *mapping);
const char *pilot_mapping_get_path (PilotMapping *mapping);       /* "direct", "relay", "" */
char *pilot_mapping_dup_peer_state (PilotMapping *mapping);       /* (transfer full): as that of a PilotPeerView, or "untrusted" */
const char *pilot_mapping_get_last_error (PilotMapping *mapping); /* "" = none */
/* No user has this id: (uid_t) -1. */
#define PILOT_UID_ANY G_MAXUINT32
guint32 pilot_mapping_get_uid (PilotMapping *mapping); /* the only user who may connect, or PILOT_UID_ANY */

/* The allocator is the plugin that is enabled (configuration key "allocator": by that name) when it is first needed. Also installs the inbound bridge.
 * Configuration key "helper-socket", or $PILOT_HELPER_SOCKET: where pilot-helper listens, if not at /run/pilot-helper/UID.sock. */
PilotGateway *pilot_gateway_new (PilotNode *node, PilotPluginLoader *loader);
/* Restores mappings of the last run (state needs-privilege where the helper is missing). Never fails the daemon; a corrupt gateway.json does (CORRUPT). */
void pilot_gateway_restore_async (PilotGateway *gateway, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data);
gboolean pilot_gateway_restore_finish (PilotGateway *gateway, GAsyncResult *result, GError **error);

/* @options a{sv}: "subnet" s, "ports" s ("" or absent: every port where rules do it, else cli.md's default list), "mode" s ("redirect"|"listen"; absent: redirect first),
 * "uid" u (the only user of this machine who may connect; absent: everybody). @addresses: pilot addresses (already resolved by the caller from names). Nothing is changed when it fails. A second start adds.
 * Result: PilotMapping* elements, in the order of @addresses (already mapped ones too). Errors: PERMISSION_DENIED with the remedy as hint, INVALID_ARGUMENT, ALREADY_EXISTS, EXHAUSTED, CONFLICT (overlap, named). */
void pilot_gateway_start_async (PilotGateway *gateway, GVariant *options, const PilotAddress *addresses, guint n_addresses, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data);
GPtrArray *pilot_gateway_start_finish (PilotGateway *gateway, GAsyncResult *result, GError **error);
void pilot_gateway_map_async (PilotGateway *gateway, const PilotAddress *address, const char *local_ip, GVariant *options, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data);
PilotMapping *pilot_gateway_map_finish (PilotGateway *gateway, GAsyncResult *result, GError **error);
/* NOT_FOUND for an unknown address; no foreign address is touched. */
void pilot_gateway_unmap_async (PilotGateway *gateway, const char *local_ip, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data);
gboolean pilot_gateway_unmap_finish (PilotGateway *gateway, GAsyncResult *result, GError **error);
void pilot_gateway_stop_async (PilotGateway *gateway, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data);
gboolean pilot_gateway_stop_finish (PilotGateway *gateway, GAsyncResult *result, GError **error);
/* Daemon shutdown: connections end, mappings and rules stay for the next run (the helper keeps them; connections meanwhile are refused). */
void pilot_gateway_shutdown (PilotGateway *gateway);

gboolean pilot_gateway_get_active (PilotGateway *gateway);
const char *pilot_gateway_get_subnet (PilotGateway *gateway);
const char *pilot_gateway_get_ports (PilotGateway *gateway); /* "" = all */
const char *pilot_gateway_get_mode (PilotGateway *gateway);  /* "redirect", "listen" */
GPtrArray *pilot_gateway_list (PilotGateway *gateway);       /* PilotMapping*, sorted by local address, transfer full */

G_END_DECLS
