/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/node/driver.h"
#include "daemon/node/network-watch.h"
#include "daemon/node/node-state.h"
#include "daemon/node/node.h"
#include "daemon/node/registry-session.h"
#include "protocol/path.h"

G_BEGIN_DECLS

/* Shared by the files node*.c and trust*.c; nobody else includes it. */

/* What is known of one peer beside the engine's state and the trust record. */
typedef struct {
  guint32 node;
  char *hostname;       /* (nullable) as the registry told */
  gboolean unreachable; /* the last attempt at a session failed */
  PilotEndpoint endpoints[PILOT_PATH_MAX_CANDIDATES];
  guint n_endpoints;
  gboolean relay_only;
  gboolean unknown;      /* the registry has no such node, by its last answer */
  gboolean direct, lost; /* how it is reached; it was direct, and what is known of its place is from before */
  gint64 resolved_at;    /* monotonic; 0 = never */
  gint64 contacted_at;   /* we dialled it; monotonic, 0 = never */
  gint64 dialled_at;     /* the same, but not to talk of trust, and since trust ended last */
  gboolean looking_up, resolving;
} PilotNodePeer;

typedef struct {
  guint16 port;
  gboolean open_to_strangers;
  PilotServiceFunc func;
  gpointer user_data;
} PilotNodeService;

typedef struct {
  PilotDatagramFunc func;
  gpointer user_data;
} PilotNodeDatagramPort;

struct _PilotNode {
  GObject parent_instance;

  PilotConfig *config;
  PilotPoller *poller;
  PilotPluginLoader *plugins;
  GCancellable *cancellable; /* of everything that goes on in the background */

  PilotIdentity identity;
  char *public_key;
  PilotNodeState *state;
  guint32 id;
  char *hostname;
  gboolean is_public;
  gboolean running;
  GTask *netcheck; /* (nullable): the check under way, netcheck.c */
  gint64 started;

  PilotOverlay *overlay;
  PilotDriver *driver;
  PilotRegistryClient *registry;
  char *registry_address; /* of that one: in compat mode another than the configured */
  PilotRegistrySession *session;
  PilotTrust *trust;
  PilotAccess *access;

  GHashTable *peers;          /* node -> PilotNodePeer */
  GHashTable *services;       /* port -> PilotNodeService */
  GHashTable *datagram_ports; /* port -> PilotNodeDatagramPort; 0 = all others */
  PilotServiceFunc bridge;
  gpointer bridge_data;
  GHashTable *names; /* host name -> CachedName, of node-resolve.c */

  PilotEndpoint beacon, observed;
  gboolean beacon_heard;  /* it has said where it sees us, and is not silent since */
  gboolean beacon_lookup; /* of its name is under way */
  gboolean beacon_lost;   /* its name cannot be looked up, and that has been said */
  char *beacon_trouble;   /* (nullable): why it is of no use, as a sentence */
  guint16 beacon_port;    /* of the name that is being looked up */
  guint beacon_source, register_source;
  PilotNetworkWatch *network_watch; /* (nullable) where the system lets us */
  PilotEndpoint source;             /* what we send from toward the beacon; none = there is no way to it */
  PilotEndpoint global;             /* our IPv6 address on the internet, or none */
};

PilotNodePeer *pilot_node_peer (PilotNode *node, guint32 peer); /* made on first use */
void pilot_node_emit_peer_changed (PilotNode *node, guint32 peer);
void pilot_node_security_event (PilotNode *node, const char *kind, guint32 peer, const char *message);

/* node-events.c */
void pilot_node_on_event (const PilotEvent *event, gpointer user_data);
/* Trust ended: what is dialled from now on may be answered, what was dialled before not. */
void pilot_node_await_no_answer (PilotNode *node, guint32 id);
PilotAdmit pilot_node_admit (guint32 peer, guint16 port, gpointer user_data);

/* node-datagrams.c */
gboolean pilot_node_admit_datagram (guint32 peer, guint16 port, gpointer user_data);
void pilot_node_datagram (PilotNode *node, const PilotEvent *event);

/* node-resolve.c */
gboolean pilot_node_is_hostname (const char *text);

/* node-settings.c: INVALID_ARGUMENT. @hostname: NULL and "": none is wanted. */
gboolean pilot_node_check_hostname (const char *hostname, GError **error);
gboolean pilot_node_check_settings (PilotConfig *config, GError **error);

/* node-registry.c: which registry, and how. @address (out) (transfer full): where it is. */
PilotRegistryClient *pilot_node_make_registry_client (PilotConfig *config, char **address, GError **error);

/* node-beacon.c: which beacon, and at which of its addresses. Looks (again), and goes on looking. */
void pilot_node_find_beacon (PilotNode *node);
/* It answers: sees us at @outside. */
void pilot_node_beacon_answered (PilotNode *node, const PilotEndpoint *outside);
/* It does not answer, or not any more: it is looked for as if it had never answered. */
void pilot_node_beacon_silent (PilotNode *node);
/* That it has not answered yet is worth saying now. */
void pilot_node_beacon_missed (PilotNode *node);

/* netcheck.c: a discover was answered. */
void pilot_netcheck_answered (PilotNode *node);

/* node-endpoint.c: where we are */
/* Nobody is to learn our address, or there is none. */
gboolean pilot_node_is_relay_only (PilotNode *node);
void pilot_node_start_endpoint (PilotNode *node);
/* Registers now. @anew: on a new connection; the old one may have an address that is gone, or a way that leads nowhere, and the beacon believes us only
 * when the registry sees us where we are. */
void pilot_node_register (PilotNode *node, gboolean anew);
void pilot_node_stop_endpoint (PilotNode *node);
void pilot_node_update_profile (PilotNode *node);
void pilot_node_observed (PilotNode *node, const PilotEndpoint *endpoint);

/* trust.c */
PilotTrust *pilot_trust_new (PilotNode *node, PilotTrustStore *store);
gboolean pilot_trust_start (PilotTrust *trust, GError **error);
void pilot_trust_stop (PilotTrust *trust);
/* Polls no more; what is under way is still handled. */
void pilot_trust_wind_down (PilotTrust *trust);
/* (Re-)registered: reports every trusted peer, asks again for what was never answered, polls. */
void pilot_trust_registered (PilotTrust *trust);
/* The beacon says that something waits. */
void pilot_trust_notified (PilotTrust *trust);
/* A session with this peer came up, or it knocked: a good moment for what it has not heard yet. */
void pilot_trust_heard (PilotTrust *trust, guint32 peer);
/* Whether a stranger's message on port 444 is expected: we asked him, or told him something. */
gboolean pilot_trust_expects (PilotTrust *trust, guint32 peer);

G_END_DECLS
