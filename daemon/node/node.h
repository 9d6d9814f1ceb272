/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>
#include "daemon/core/config.h"
#include "daemon/core/poller.h"
#include "daemon/core/plugin/loader.h"
#include "daemon/node/access.h"
#include "daemon/node/trust.h"
#include "protocol/envelope.h"
#include "protocol/overlay.h"

G_BEGIN_DECLS

/*
 * PilotNode: this machine as a node of the overlay: identity, registry session, engine, transports, peers, trust, access.
 *
 * Signals: "changed" () identity, address, host name, visibility or state;
 *          "peer-changed" (guint node) something in PilotPeerView;  "peer-removed" (guint node);
 *          "security-event" (const char *kind, guint node, const char *message)
 */
#define PILOT_TYPE_NODE (pilot_node_get_type ())
G_DECLARE_FINAL_TYPE (PilotNode, pilot_node, PILOT, NODE, GObject)

PilotNode *pilot_node_new (PilotConfig *config, PilotPoller *poller, PilotPluginLoader *plugins);
/* Completes when the local side is up; nobody has been told of it by then. Fails on corrupt identity.json, trust.json or access.json, leaving the files
 * untouched. */
void pilot_node_start_async (PilotNode *node, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data);
gboolean pilot_node_start_finish (PilotNode *node, GAsyncResult *result, GError **error);
/* Goes to beacon and registry, once after the start, when nothing that could fail here is left; the registry session goes on connecting for ever (state
 * "connecting"). */
void pilot_node_join (PilotNode *node);
void pilot_node_stop_async (PilotNode *node, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data);
gboolean pilot_node_stop_finish (PilotNode *node, GAsyncResult *result, GError **error);

guint32 pilot_node_get_id (PilotNode *node);             /* 0 until registered for the first time (remembered over restarts) */
const char *pilot_node_get_hostname (PilotNode *node);   /* "" = none */
const char *pilot_node_get_endpoint (PilotNode *node);   /* where the registry says we are; "" = not registered yet */
const char *pilot_node_get_public_key (PilotNode *node); /* base64 */
/* The registry in use: "host:port". */
const char *pilot_node_get_registry_address (PilotNode *node);
const char *pilot_node_get_state (PilotNode *node);        /* "connecting", "online" */
const char *pilot_node_get_state_detail (PilotNode *node); /* why it is not online, or of little use though it is; "" = nothing to say */
gboolean pilot_node_get_public (PilotNode *node);
gint64 pilot_node_get_started (PilotNode *node); /* unix seconds */
PilotTrust *pilot_node_get_trust (PilotNode *node);
PilotAccess *pilot_node_get_access (PilotNode *node);
PilotOverlay *pilot_node_get_overlay (PilotNode *node);
PilotConfig *pilot_node_get_config (PilotNode *node);
PilotPoller *pilot_node_get_poller (PilotNode *node);
/* (transfer full): base64 of our signature. There is no way to sign bytes of somebody's choice. */
char *pilot_node_sign_envelope (PilotNode *node, const PilotEnvelope *envelope);
/* Counters of cli.md 2.1 "info" and transport statistics as a{sv}; floating. */
GVariant *pilot_node_get_statistics (PilotNode *node);

typedef struct {
  guint32 node;
  char *hostname; /* "" = unknown */
  gboolean is_public;
} PilotNodeName;
void pilot_node_name_free (PilotNodeName *name);
/* @text: pilot address, decimal node id (both answered without the registry), or host name (registry, with requester_id and
 * signature; trusted private nodes are found). INVALID_ARGUMENT, NOT_FOUND, CONNECTION_FAILED. */
void pilot_node_resolve_async (PilotNode *node, const char *text, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data);
PilotNodeName *pilot_node_resolve_finish (PilotNode *node, GAsyncResult *result, GError **error);
/* What the registry says of a node, trusted or not. NOT_FOUND, CONNECTION_FAILED, NOT_RUNNING. */
void pilot_node_lookup_async (PilotNode *node, guint32 peer, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data);
PilotNodeName *pilot_node_lookup_finish (PilotNode *node, GAsyncResult *result, GError **error);
void pilot_node_set_hostname_async (PilotNode *node, const char *hostname, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data);
gboolean pilot_node_set_hostname_finish (PilotNode *node, GAsyncResult *result, GError **error);
void pilot_node_set_public_async (PilotNode *node, gboolean is_public, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data);
gboolean pilot_node_set_public_finish (PilotNode *node, GAsyncResult *result, GError **error);
/* One echo of "ping-<sequence>" on a new stream to port 7. rtt_us includes the dial. */
void pilot_node_ping_async (PilotNode *node, guint32 peer, guint sequence, guint timeout_ms, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data);
gboolean pilot_node_ping_finish (PilotNode *node, GAsyncResult *result, gint64 *rtt_us, guint *bytes, GError **error);

/* Tags by which the registry lists us; replaces those there were. */
void pilot_node_set_tags_async (PilotNode *node, const char *const *tags, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data);
gboolean pilot_node_set_tags_finish (PilotNode *node, GAsyncResult *result, GError **error);
/* The key the registry has on file for a node, NULL when it has none or does not answer. Always called, once, also
 * when the node has stopped meanwhile. */
typedef void (*PilotNodeKeyFunc) (PilotNode *node, guint32 peer, const guint8 *key, gpointer user_data);
void pilot_node_lookup_key (PilotNode *node, guint32 peer, PilotNodeKeyFunc func, gpointer user_data);
/* Takes this node out of the registry, where it stays out until the daemon is started again. Tunnels that are up stay. */
void pilot_node_deregister_async (PilotNode *node, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data);
gboolean pilot_node_deregister_finish (PilotNode *node, GAsyncResult *result, GError **error);

typedef struct {
  PilotPeerInfo info; /* of the engine */
  gboolean trusted, mutual;
  char *hostname; /* "" = unknown */
  char *state;    /* "connected", "quiet", "connecting", "idle", "silent", "key-mismatch", "unreachable" */
} PilotPeerView;
void pilot_peer_view_free (PilotPeerView *view);
/* Trusted peers and those with a session. PilotPeerView* elements. */
GPtrArray *pilot_node_list_peers (PilotNode *node);
PilotPeerView *pilot_node_get_peer (PilotNode *node, guint32 peer); /* NULL = unknown */
/* Asks the registry anew where a peer is, and tries the ways it names. What is open stays. */
void pilot_node_find_path (PilotNode *node, guint32 peer);
/* Every stream, PilotStreamInfo elements. */
GArray *pilot_node_list_connections (PilotNode *node);

/* --- streams for the gateway, the inbound bridge and the services --- */

/* What a stream's user data points at: embed it first in your own struct, no allocation more. The handler gets masks of PilotStreamReady,
 * never from inside a call you make. */
typedef struct _PilotStreamUser PilotStreamUser;
struct _PilotStreamUser {
  void (*ready) (PilotStreamUser *user, PilotStream *stream, guint ready);
};
/* Opens a stream; @user stands until pilot_stream_release(). NULL with an error: INVALID_ARGUMENT (ourselves), EXHAUSTED, NOT_RUNNING (no node id yet). */
PilotStream *pilot_node_connect (PilotNode *node, guint32 peer, guint16 port, PilotStreamUser *user, GError **error);
/* The code and sentence for a closed stream ("node 2 refused the connection to port 80", …). */
GError *pilot_node_stream_error (PilotNode *node, guint32 peer, guint16 port, PilotStreamError error);
/* A service on a pilot port. It gets the incoming stream not yet accepted and must accept, refuse or ignore it, now or later, and set a PilotStreamUser.
 * Services see only trusted peers, unless open_to_strangers (444 handshake needs it; a private node still keeps strangers out), and port 1001 those of which we await an answer. */
typedef void (*PilotServiceFunc) (PilotNode *node, PilotStream *stream, guint32 peer, gpointer user_data);
gboolean pilot_node_bind (PilotNode *node, guint16 port, gboolean open_to_strangers, PilotServiceFunc func, gpointer user_data, GError **error);
/* Whether a stranger may write to port 1001 because we have dialled it, on whatever port but that of trust messages, within the last 5 minutes, and no
 * trust has ended since (the reply window of streams.md section 7.3). */
gboolean pilot_node_awaits_answer (PilotNode *node, guint32 peer);
void pilot_node_unbind (PilotNode *node, guint16 port);
/* Gets incoming streams from trusted peers, allowed by PilotAccess, to ports that nothing is bound to: the inbound bridge. */
void pilot_node_set_bridge (PilotNode *node, PilotServiceFunc func, gpointer user_data);
/* Ends the stream of this number (PilotStreamInfo.id), whoever uses it here. FALSE when there is none. */
gboolean pilot_node_disconnect (PilotNode *node, guint32 id);
/* To be called after stream functions were used outside a poller callback. */
void pilot_node_kick (PilotNode *node);

/* --- datagrams: neither delivery nor order is promised --- */

typedef struct {
  guint32 peer;
  guint16 source_port, port; /* the peer's, ours */
  const guint8 *data;        /* borrowed for the call */
  gsize length;
} PilotNodeDatagram;
/* @source_port 0: an ephemeral one. Success means on its way, or waiting for the tunnel to come up, no more. INVALID_ARGUMENT (port 0, empty, above
 * PILOT_DATAGRAM_MAX, ourselves), NOT_RUNNING, EXHAUSTED (too much waits: try later), CONNECTION_FAILED (did not answer a moment ago), KEY_MISMATCH. */
gboolean pilot_node_send_datagram (PilotNode *node, guint32 peer, guint16 source_port, guint16 port, const void *data, gsize length, GError **error);
/* @func gets what trusted peers send to @port; everybody else's is dropped unseen. Port 0: what comes to ports that nothing is bound to.
 * ALREADY_EXISTS. Datagram and stream ports are different things. */
typedef void (*PilotDatagramFunc) (PilotNode *node, const PilotNodeDatagram *datagram, gpointer user_data);
gboolean pilot_node_bind_datagram (PilotNode *node, guint16 port, PilotDatagramFunc func, gpointer user_data, GError **error);
void pilot_node_unbind_datagram (PilotNode *node, guint16 port);

G_END_DECLS
