/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "node-private.h"

#include <string.h>

#include "libpilot/pilot-error.h"
#include "protocol/exchange-frame.h"
#include "protocol/json.h"
#include "trust-private.h"

#define RESOLVE_FRESH (60 * (gint64) G_USEC_PER_SEC)
#define RESOLVE_STALE (3600 * (gint64) G_USEC_PER_SEC)
/* How long an answer of somebody we have dialled may come unasked (trust.md section 5 and streams.md section 7.3, reply window). */
#define REPLY_WINDOW (300 * (gint64) G_USEC_PER_SEC)
/* Addresses of its own that a peer may list. */
#define LISTED 16

/* --- keys --- */

typedef struct {
  PilotNode *node;
  guint32 peer;
  PilotNodeKeyFunc func;
  gpointer user_data;
} Lookup;

static void
on_lookup (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Lookup *lookup = user_data;
  g_autoptr (PilotNode) node = lookup->node;
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) answer = pilot_registry_client_call_finish (PILOT_REGISTRY_CLIENT (source), result, &error);
  guint8 key[32];
  gboolean found = FALSE;

  if (answer != NULL) {
    const char *hostname = pilot_json_get_string (answer, "hostname");
    PilotNodePeer *peer = g_hash_table_lookup (node->peers, GUINT_TO_POINTER (lookup->peer));

    found = pilot_json_get_uint32 (answer, "node_id") == lookup->peer && pilot_json_read_base64 (answer, "public_key", key, sizeof key);
    /* It ends up on terminals: nothing but what a registry may give out. */
    if (peer != NULL && (*hostname == '\0' || pilot_node_is_hostname (hostname))) {
      g_free (peer->hostname);
      peer->hostname = g_strdup (hostname);
    }
  } else
    g_debug ("lookup of node %u: %s", lookup->peer, error->message);
  lookup->func (node, lookup->peer, found ? key : NULL, lookup->user_data);
  g_free (lookup);
}

void
pilot_node_lookup_key (PilotNode *node, guint32 peer, PilotNodeKeyFunc func, gpointer user_data)
{
  Lookup *lookup = g_new (Lookup, 1);

  lookup->node = g_object_ref (node);
  lookup->peer = peer;
  lookup->func = func;
  lookup->user_data = user_data;
  pilot_registry_client_call_async (node->registry, pilot_registry_request_lookup (peer), "lookup", NULL, on_lookup, lookup);
}

static void
give_key (PilotNode *node, guint32 peer, const guint8 *key, gpointer user_data)
{
  PilotPeerInfo info;

  if (!node->running)
    return;
  pilot_node_peer (node, peer)->looking_up = FALSE;
  pilot_overlay_peer_key (node->overlay, peer, key, g_get_monotonic_time ());
  /* Anybody can name a node id in a key exchange: of one that proved nothing nothing is kept. */
  if (!pilot_overlay_peer_info (node->overlay, peer, &info) && !pilot_trust_is_trusted (node->trust, peer))
    g_hash_table_remove (node->peers, GUINT_TO_POINTER (peer));
  pilot_node_kick (node);
}

static void
need_key (PilotNode *node, guint32 id)
{
  PilotNodePeer *peer = pilot_node_peer (node, id);

  if (peer->looking_up)
    return;
  peer->looking_up = TRUE;
  pilot_node_lookup_key (node, id, give_key, NULL);
}

/* --- endpoints --- */

static void
give_endpoints (PilotNode *node, PilotNodePeer *peer)
{
  for (guint i = 0; i < peer->n_endpoints; i++) {
    gchar text[PILOT_ENDPOINT_TEXT_SIZE];

    g_debug ("node %u may be at %s%s", peer->node, pilot_endpoint_format (&peer->endpoints[i], text), peer->relay_only ? " (relay only)" : "");
  }
  pilot_overlay_peer_endpoints (node->overlay, peer->node, peer->endpoints, peer->n_endpoints, peer->relay_only, g_get_monotonic_time ());
  pilot_node_kick (node);
}

static gboolean
same_prefix (GArray *own, const PilotEndpoint *endpoint, gsize length)
{
  for (guint i = 0; i < own->len; i++) {
    const PilotEndpoint *mine = &g_array_index (own, PilotEndpoint, i);

    if (mine->family == endpoint->family && memcmp (mine->address, endpoint->address, length) == 0)
      return TRUE;
  }
  return FALSE;
}

/* Whether what a peer lists as an address of its own is a place where we could meet it, and nobody else. An address of a LAN counts only when
 * both are seen from outside at the same one: 192.168.1.0/24 is everywhere (beacon-and-nat.md 6.3). IPv6 needs no such care: the first 48 bits
 * of a unique local address name one site (RFC 4193), and a global one is the same for everybody. */
static gboolean
may_be_met_at (PilotNode *node, GArray *own, const PilotEndpoint *endpoint, gboolean same_outside)
{
  if (endpoint->port == 0)
    return FALSE;
  if (endpoint->family == PILOT_ENDPOINT_IPV4)
    return same_outside && same_prefix (own, endpoint, 3);
  return pilot_endpoint_is_private (endpoint) ? same_prefix (own, endpoint, 6)
                                              : pilot_endpoint_is_global_ipv6 (endpoint) && !pilot_endpoint_is_none (&node->global);
}

static void
read_endpoints (PilotNode *node, PilotNodePeer *peer, JsonObject *answer)
{
  JsonArray *lan = pilot_json_get_array (answer, "lan_addrs");
  PilotEndpoint real = PILOT_ENDPOINT_INIT;
  gboolean has_real = pilot_endpoint_parse (pilot_json_get_string (answer, "real_addr"), &real, NULL) && real.port != 0;

  gboolean same_outside = has_real && !pilot_endpoint_is_loopback (&real) && pilot_endpoint_equal_host (&real, &node->observed);
  g_autoptr (GArray) own = pilot_driver_get_endpoints (node->driver);
  guint n = lan != NULL ? MIN (json_array_get_length (lan), LISTED) : 0;

  peer->n_endpoints = 0;
  peer->relay_only = pilot_json_get_boolean (answer, "relay_only");
  for (guint i = 0; i < n && !peer->relay_only && peer->n_endpoints < G_N_ELEMENTS (peer->endpoints) - 1; i++) {
    const char *text = pilot_json_array_get_string (lan, i);
    PilotEndpoint endpoint;

    if (text != NULL && pilot_endpoint_parse (text, &endpoint, NULL) && may_be_met_at (node, own, &endpoint, same_outside) &&
        !pilot_endpoint_equal (&endpoint, &real))
      peer->endpoints[peer->n_endpoints++] = endpoint;
  }
  if (has_real)
    peer->endpoints[peer->n_endpoints++] = real;
  peer->resolved_at = g_get_monotonic_time ();
}

typedef struct {
  PilotNode *node;
  guint32 peer;
} Resolve;

static void
on_resolved (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Resolve *resolve = user_data;
  g_autoptr (PilotNode) node = resolve->node;
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) answer = pilot_registry_client_call_finish (PILOT_REGISTRY_CLIENT (source), result, &error);
  guint32 id = resolve->peer;
  PilotNodePeer *peer;
  gboolean away;

  g_free (resolve);
  if (!node->running)
    return;
  peer = pilot_node_peer (node, id);
  peer->resolving = FALSE;
  peer->lost = FALSE;
  peer->unknown = g_error_matches (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND);
  if (answer != NULL) {
    read_endpoints (node, peer, answer);
    give_endpoints (node, peer);
    return;
  }
  g_debug ("resolve of node %u: %s", id, error->message);
  away = g_error_matches (error, PILOT_ERROR, PILOT_ERROR_CONNECTION_FAILED) || g_error_matches (error, PILOT_ERROR, PILOT_ERROR_TIMEOUT);
  /* Where it was an hour ago is a better guess than nothing while the registry is away; a denial is an answer. */
  if (away && peer->resolved_at != 0 && g_get_monotonic_time () - peer->resolved_at < RESOLVE_STALE) {
    give_endpoints (node, peer);
    return;
  }
  peer->resolved_at = 0;
  peer->n_endpoints = 0;
  pilot_overlay_peer_unresolved (node->overlay, id, g_get_monotonic_time ());
  pilot_node_kick (node);
}

static void
need_endpoints (PilotNode *node, guint32 id)
{
  PilotNodePeer *peer = pilot_node_peer (node, id);
  Resolve *resolve;

  if (peer->resolving)
    return;
  if (peer->resolved_at != 0 && !peer->unreachable && !peer->lost && g_get_monotonic_time () - peer->resolved_at < RESOLVE_FRESH) {
    give_endpoints (node, peer);
    return;
  }
  if (node->id == 0) {
    pilot_overlay_peer_unresolved (node->overlay, id, g_get_monotonic_time ());
    return;
  }
  peer->resolving = TRUE;
  resolve = g_new (Resolve, 1);
  resolve->node = g_object_ref (node);
  resolve->peer = id;
  pilot_registry_client_call_async (node->registry, pilot_registry_request_resolve (&node->identity, node->id, id), "resolve", NULL, on_resolved, resolve);
}

void
pilot_node_find_path (PilotNode *node, guint32 peer)
{
  if (!node->running || peer == 0 || peer == node->id)
    return;
  pilot_node_peer (node, peer)->resolved_at = 0;
  need_endpoints (node, peer);
}

/* --- who may come in --- */

static gboolean
expects_answer (PilotNode *node, guint32 id)
{
  PilotNodePeer *peer = g_hash_table_lookup (node->peers, GUINT_TO_POINTER (id));

  return pilot_trust_expects (node->trust, id) ||
         (peer != NULL && peer->contacted_at != 0 && g_get_monotonic_time () - peer->contacted_at < REPLY_WINDOW);
}

gboolean
pilot_node_awaits_answer (PilotNode *node, guint32 id)
{
  PilotNodePeer *peer = g_hash_table_lookup (node->peers, GUINT_TO_POINTER (id));

  return peer != NULL && peer->dialled_at != 0 && g_get_monotonic_time () - peer->dialled_at < REPLY_WINDOW;
}

void
pilot_node_await_no_answer (PilotNode *node, guint32 id)
{
  PilotNodePeer *peer = g_hash_table_lookup (node->peers, GUINT_TO_POINTER (id));

  if (peer != NULL)
    peer->dialled_at = 0;
}

static PilotAccessVerdict
check_access (PilotNode *node, guint32 peer, guint16 port)
{
  PilotPeerInfo info;

  if (!pilot_overlay_peer_info (node->overlay, peer, &info) || !info.has_key)
    return PILOT_ACCESS_DENIED;
  return pilot_access_check (node->access, peer, info.key, port);
}

/* Called by the engine for each new SYN, before anything answers: must not call it back, but for looking. */
PilotAdmit
pilot_node_admit (guint32 peer, guint16 port, gpointer user_data)
{
  PilotNode *node = user_data;
  PilotNodeService *service = g_hash_table_lookup (node->services, GUINT_TO_POINTER ((guint) port));

  if (!node->running)
    return PILOT_ADMIT_SILENCE;
  if (pilot_trust_is_trusted (node->trust, peer)) {
    if (service != NULL)
      return PILOT_ADMIT_ACCEPT;
    if (node->bridge != NULL && check_access (node, peer, port) != PILOT_ACCESS_DENIED)
      return PILOT_ADMIT_ACCEPT;
    return PILOT_ADMIT_REFUSE;
  }
  pilot_trust_heard (node->trust, peer);
  /* Services answer on a connection of their own (services.md section 3.4). */
  if (service != NULL && port == PILOT_EXCHANGE_PORT && pilot_node_awaits_answer (node, peer))
    return PILOT_ADMIT_ACCEPT;
  if (service == NULL || !service->open_to_strangers)
    return PILOT_ADMIT_SILENCE;
  if (node->is_public || (port == PILOT_TRUST_PORT && expects_answer (node, peer)))
    return PILOT_ADMIT_ACCEPT;
  return PILOT_ADMIT_SILENCE;
}

static void
stream_incoming (PilotNode *node, const PilotEvent *event)
{
  PilotNodeService *service;
  PilotStreamInfo info;

  pilot_stream_info (event->stream, &info);
  service = g_hash_table_lookup (node->services, GUINT_TO_POINTER ((guint) info.local_port));
  if (service != NULL)
    service->func (node, event->stream, event->node, service->user_data);
  else if (node->bridge != NULL && pilot_trust_is_trusted (node->trust, event->node))
    node->bridge (node, event->stream, event->node, node->bridge_data);
  else
    pilot_stream_refuse (event->stream, g_get_monotonic_time ());
}

/* --- events --- */

static void
ignore_key (PilotNode *node, guint32 peer, const guint8 *key, gpointer user_data)
{
  if (node->running)
    pilot_node_emit_peer_changed (node, peer);
}

/* The key of a trusted peer is on file, so after a restart nothing else would ask the registry who it is by name. Asked once for each run. */
static void
learn_hostname (PilotNode *node, PilotNodePeer *peer)
{
  if (peer->hostname != NULL || peer->looking_up || node->id == 0 || !pilot_trust_is_trusted (node->trust, peer->node))
    return;
  peer->hostname = g_strdup ("");
  pilot_node_lookup_key (node, peer->node, ignore_key, NULL);
}

static void
peer_changed (PilotNode *node, guint32 id)
{
  PilotNodePeer *peer = pilot_node_peer (node, id);
  PilotPeerInfo info;

  if (pilot_overlay_peer_info (node->overlay, id, &info) && info.session) {
    gchar text[PILOT_ENDPOINT_TEXT_SIZE];

    g_debug ("node %u: session %s, path %s, at %s", id, info.confirmed ? "confirmed" : "new", info.path == PILOT_PATH_DIRECT ? "direct" : "relay",
             pilot_endpoint_format (&info.endpoint, text));
    peer->unreachable = FALSE;
    peer->lost |= peer->direct && info.path == PILOT_PATH_RELAY;
    peer->direct = info.path == PILOT_PATH_DIRECT;
    pilot_trust_heard (node->trust, id);
    learn_hostname (node, peer);
  }
  pilot_node_emit_peer_changed (node, id);
}

static void
key_mismatch (PilotNode *node, guint32 id)
{
  pilot_node_security_event (node, "key-mismatch", id,
                             "its key is not the one trust was given to; nothing is carried. If the peer really has a new key, untrust it and handshake again");
  pilot_node_emit_peer_changed (node, id);
}

static void
peer_unreachable (PilotNode *node, guint32 id)
{
  /* What we knew of its place was wrong: ask again next time. */
  pilot_node_peer (node, id)->unreachable = TRUE;
  pilot_node_emit_peer_changed (node, id);
}

void
pilot_node_on_event (const PilotEvent *event, gpointer user_data)
{
  PilotNode *node = user_data;
  PilotStreamUser *user;

  switch (event->type) {
  case PILOT_EVENT_NEED_KEY:
    need_key (node, event->node);
    break;
  case PILOT_EVENT_NEED_ENDPOINTS:
    need_endpoints (node, event->node);
    break;
  case PILOT_EVENT_PEER_CHANGED:
    peer_changed (node, event->node);
    break;
  case PILOT_EVENT_KEY_MISMATCH:
    key_mismatch (node, event->node);
    break;
  case PILOT_EVENT_PEER_UNREACHABLE:
    peer_unreachable (node, event->node);
    break;
  case PILOT_EVENT_STREAM_INCOMING:
    stream_incoming (node, event);
    break;
  case PILOT_EVENT_STREAM:
    user = pilot_stream_get_user_data (event->stream);
    if (user != NULL)
      user->ready (user, event->stream, event->ready);
    break;
  case PILOT_EVENT_OBSERVED_ENDPOINT:
    pilot_node_beacon_answered (node, &event->endpoint);
    break;
  case PILOT_EVENT_BEACON_SILENT:
    pilot_node_beacon_silent (node);
    break;
  case PILOT_EVENT_HANDSHAKE_WAITING:
    pilot_trust_notified (node->trust);
    break;
  case PILOT_EVENT_DATAGRAM:
    pilot_node_datagram (node, event);
    break;
  case PILOT_EVENT_PONG:
    break;
  default:
    g_warning ("unknown event %d of the engine", (int) event->type);
  }
}
