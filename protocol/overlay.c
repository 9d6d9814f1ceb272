/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "overlay-private.h"

#include <string.h>

#define DISCOVER_EVERY (25 * PILOT_SECOND)
/* When a beacon counts as silent: it has not answered so many, and so long. */
#define SILENT_DISCOVERS 3
#define SILENT_TIME (5 * PILOT_SECOND)
/* Key exchanges before cryptography: 5 a second from one host, bursts of 5 (packets-and-tunnel.md section 6.8). */
#define EXCHANGE_INTERVAL (200 * PILOT_MS)
#define EXCHANGE_BURST 5
#define UNOPENED_INTERVAL (3 * PILOT_SECOND)
#define SCRATCH_SIZE PILOT_FRAME_RECEIVE_SIZE

static guint64
random_u64 (PilotOverlay *self)
{
  guint64 value;

  self->host.random ((guint8 *) &value, sizeof value, self->host.user_data);
  return value;
}

static void
build_frames (PilotOverlay *self)
{
  pilot_frame_build_pila (self->pila, self->node, self->x25519_public, &self->identity);
  pilot_frame_build_pilk (self->pilk, self->node, self->x25519_public);
}

PilotOverlay *
pilot_overlay_new (const PilotOverlayConfig *config,
                   const PilotOverlayHost *host,
                   gint64 now)
{
  PilotOverlay *self = g_new0 (PilotOverlay, 1);

  self->host = *host;
  self->node = config->node_id;
  self->extensions = config->extensions;
  self->relay_only = config->relay_only;
  self->congestion = config->congestion != NULL ? pilot_congestion_by_name (config->congestion) : NULL;
  self->receive_window = config->receive_window;
  self->send_buffer = config->send_buffer;
  self->now = now;
  pilot_identity_init (&self->identity, config->ed25519_seed);
  host->random (self->x25519_private, sizeof self->x25519_private, host->user_data);
  pilot_x25519_public (self->x25519_private, self->x25519_public);
  build_frames (self);
  self->peers = g_hash_table_new (NULL, NULL);
  self->keys = pilot_key_store_new (host->random, host->user_data);
  pilot_rate_limit_init (&self->exchange_by_host, EXCHANGE_INTERVAL, EXCHANGE_BURST, random_u64 (self));
  pilot_rate_limit_init (&self->exchange_by_node, EXCHANGE_INTERVAL, EXCHANGE_BURST, random_u64 (self));
  pilot_rate_limit_init (&self->unopened_by_node, UNOPENED_INTERVAL, 1, random_u64 (self));
  self->hash_secret = (guint32) random_u64 (self);
  pilot_overlay_streams_init (self);
  self->control_data = g_byte_array_new ();
  self->control = g_array_new (FALSE, FALSE, sizeof (PilotControlDatagram));
  self->stash = g_malloc (PILOT_TRANSMIT_CAPACITY);
  self->scratch = g_malloc (SCRATCH_SIZE);
  return self;
}

static void
free_peers (PilotOverlay *self)
{
  g_autoptr (GList) peers = g_hash_table_get_values (self->peers);

  g_list_free_full (g_steal_pointer (&peers), (GDestroyNotify) pilot_peer_free);
}

void
pilot_overlay_free (PilotOverlay *self)
{
  pilot_overlay_streams_clear (self);
  free_peers (self);
  g_hash_table_unref (self->peers);
  pilot_key_store_free (self->keys);
  pilot_timer_heap_clear (&self->timers);
  pilot_overlay_clear_events (self);
  g_byte_array_unref (self->control_data);
  g_array_unref (self->control);
  g_free (self->stash);
  g_free (self->scratch);
  pilot_identity_clear (&self->identity);
  pilot_crypto_wipe (self, sizeof *self);
  g_free (self);
}

void
pilot_overlay_set_node_id (PilotOverlay *self,
                           guint32 node_id,
                           gint64 now)
{
  GHashTableIter iter;
  PilotPeer *peer;

  self->now = now;
  if (node_id == self->node)
    return;
  g_hash_table_iter_init (&iter, self->peers);
  while (g_hash_table_iter_next (&iter, NULL, (gpointer *) &peer)) {
    /* They know us by an id that is no longer ours. */
    pilot_overlay_fail_streams (peer, PILOT_STREAM_ERROR_RESET, FALSE, now);
    pilot_peer_drop_session (peer);
    pilot_overlay_emit_peer (peer, PILOT_EVENT_PEER_CHANGED);
  }
  self->node = node_id;
  build_frames (self);
  pilot_overlay_discover (self, now);
}

void
pilot_overlay_set_beacon (PilotOverlay *self,
                          const PilotEndpoint *beacon,
                          gint64 now)
{
  GHashTableIter iter;
  PilotPeer *peer;

  self->now = now;
  if (beacon != NULL ? self->have_beacon && pilot_endpoint_equal (beacon, &self->beacon) : !self->have_beacon)
    return;
  self->have_beacon = beacon != NULL;
  self->beacon = beacon != NULL ? *beacon : (PilotEndpoint) PILOT_ENDPOINT_INIT;
  self->discover_unanswered = 0;
  self->beacon_silent = FALSE;
  self->relay_doubtful = TRUE;
  pilot_overlay_discover (self, now);
  g_hash_table_iter_init (&iter, self->peers);
  while (g_hash_table_iter_next (&iter, NULL, (gpointer *) &peer)) {
    for (PilotStream *stream = peer->streams; stream != NULL; stream = pilot_stream_links (stream)->peer_next)
      pilot_turn_order_join (&self->turns, stream);
    pilot_peer_schedule (peer, now);
  }
}

/* Until the beacon has answered nobody reaches us through it: a lost discover is repeated soon. */
static void
discover_schedule (PilotOverlay *self,
                   gint64 now)
{
  gint64 wait = DISCOVER_EVERY;

  if (self->discover_unanswered > 0 && self->discover_unanswered < 6)
    wait = (PILOT_SECOND / 2) << self->discover_unanswered;
  pilot_timer_heap_set (&self->timers, &self->discover_timer,
                        self->have_beacon ? now + MIN (wait, DISCOVER_EVERY) : G_MAXINT64, self, PILOT_TIMER_DISCOVER);
}

static void
note_silence (PilotOverlay *self,
              gint64 now)
{
  PilotEvent event = { .type = PILOT_EVENT_BEACON_SILENT };

  if (self->discover_unanswered == 0)
    self->unanswered_since = now;
  else if (now - self->unanswered_since >= PILOT_SECOND)
    self->relay_doubtful = TRUE;
  /* Many may be sent in a moment, and none of them has been waited for. */
  if (self->beacon_silent || self->discover_unanswered < SILENT_DISCOVERS || now - self->unanswered_since < SILENT_TIME)
    return;
  self->beacon_silent = TRUE;
  pilot_overlay_emit (self, &event);
}

/* What a beacon that was away, or the one before, has swallowed need not wait for the end of its back-off. */
static void
relay_is_back (PilotOverlay *self,
               gint64 now)
{
  GHashTableIter iter;
  PilotPeer *peer;

  self->relay_doubtful = FALSE;
  g_hash_table_iter_init (&iter, self->peers);
  while (g_hash_table_iter_next (&iter, NULL, (gpointer *) &peer)) {
    pilot_key_exchange_relay_again (peer);
    if (peer->session != NULL && pilot_path_choose (&peer->path, TRUE) == PILOT_PATH_RELAY)
      pilot_overlay_tunnel_ready (peer, now);
  }
}

void
pilot_overlay_discover_answered (PilotOverlay *self,
                                 const PilotEndpoint *outside,
                                 gint64 now)
{
  PilotEvent event = { .type = PILOT_EVENT_OBSERVED_ENDPOINT, .endpoint = *outside };

  self->discover_unanswered = 0;
  self->beacon_silent = FALSE;
  discover_schedule (self, now);
  pilot_overlay_emit (self, &event);
  if (self->relay_doubtful)
    relay_is_back (self, now);
}

void
pilot_overlay_discover (PilotOverlay *self,
                        gint64 now)
{
  self->now = now;
  if (self->have_beacon)
    note_silence (self, now);
  pilot_overlay_discover_send (self);
  self->discover_unanswered++;
  self->discovered_at = now;
  discover_schedule (self, now);
}

void
pilot_overlay_advance (PilotOverlay *self,
                       gint64 now)
{
  gpointer owner;
  guint kind;

  self->now = now;
  while (pilot_timer_heap_pop (&self->timers, now, &owner, &kind))
    switch ((PilotTimerKind) kind) {
    case PILOT_TIMER_PEER:
      pilot_peer_advance (owner, now);
      break;
    case PILOT_TIMER_STREAM:
      pilot_stream_advance (owner, now);
      /* It may have something to say; its next deadline is taken when it was asked. */
      pilot_turn_order_join (&self->turns, owner);
      break;
    case PILOT_TIMER_DISCOVER:
      pilot_overlay_discover (self, now);
      break;
    }
  pilot_overlay_reap_streams (self);
}

void
pilot_overlay_send_failed (PilotOverlay *self,
                           const PilotEndpoint *to,
                           gint64 now)
{
  GHashTableIter iter;
  PilotPeer *peer;

  self->now = now;
  g_hash_table_iter_init (&iter, self->peers);
  while (g_hash_table_iter_next (&iter, NULL, (gpointer *) &peer))
    if (pilot_endpoint_equal (&peer->path.direct, to) && pilot_path_send_failed (&peer->path, self->have_beacon))
      pilot_peer_path_changed (peer, now);
}

void
pilot_overlay_too_large (PilotOverlay *self,
                         const PilotEndpoint *to,
                         gint64 now)
{
  GHashTableIter iter;
  PilotPeer *peer;

  self->now = now;
  g_hash_table_iter_init (&iter, self->peers);
  while (g_hash_table_iter_next (&iter, NULL, (gpointer *) &peer))
    if (pilot_endpoint_equal (&peer->mtu.to, to) && pilot_path_mtu_too_large (&peer->mtu, now))
      pilot_peer_schedule (peer, now);
}

static void
untrust (PilotPeer *peer,
         gint64 now)
{
  peer->has_pin = FALSE;
  pilot_overlay_fail_streams (peer, PILOT_STREAM_ERROR_REVOKED, TRUE, now);
  pilot_peer_drop_session (peer);
  peer->dial_deadline = 0;
  pilot_overlay_emit_peer (peer, PILOT_EVENT_PEER_CHANGED);
}

static void
pin (PilotPeer *peer,
     const guint8 *key,
     gint64 now)
{
  /* A session under another key than the one trust was given to ends here. */
  if (peer->session != NULL && (!peer->has_key || memcmp (peer->key, key, sizeof peer->key) != 0)) {
    pilot_overlay_fail_streams (peer, PILOT_STREAM_ERROR_KEY_MISMATCH, FALSE, now);
    pilot_peer_drop_session (peer);
    pilot_overlay_emit_peer (peer, PILOT_EVENT_PEER_CHANGED);
  }
  if (!peer->has_pin || memcmp (peer->pin, key, sizeof peer->pin) != 0)
    peer->key_mismatch = FALSE;
  peer->has_pin = TRUE;
  memcpy (peer->pin, key, sizeof peer->pin);
  peer->has_key = TRUE;
  memcpy (peer->key, key, sizeof peer->key);
}

void
pilot_overlay_set_trusted (PilotOverlay *self,
                           guint32 node,
                           gboolean trusted,
                           const guint8 *key,
                           gint64 now)
{
  PilotPeer *peer = pilot_peer_lookup (self, node);

  self->now = now;
  if (node == 0 || node == self->node || (peer == NULL && !trusted))
    return;
  if (peer == NULL)
    peer = pilot_peer_ensure (self, node, TRUE);
  if (peer->trusted != trusted) {
    peer->trusted = trusted;
    self->n_untrusted += trusted ? -1 : 1;
    if (!trusted)
      untrust (peer, now);
    else /* the registry tells its place from now on: no waiting for the next attempt to leave the relay */
      pilot_peer_upgrade_soon (peer, now);
  }
  if (trusted && key != NULL)
    pin (peer, key, now);
  else if (trusted)
    peer->has_pin = FALSE;
  pilot_peer_schedule (peer, now);
}

void
pilot_overlay_peer_key (PilotOverlay *self,
                        guint32 node,
                        const guint8 *key,
                        gint64 now)
{
  self->now = now;
  pilot_key_exchange_key (self, node, key, now);
}

void
pilot_overlay_peer_endpoints (PilotOverlay *self,
                              guint32 node,
                              const PilotEndpoint *candidates,
                              guint n_candidates,
                              gboolean relay_only,
                              gint64 now)
{
  PilotPeer *peer = pilot_peer_lookup (self, node);

  self->now = now;
  if (peer == NULL)
    return;
  peer->endpoints_asked = FALSE;
  peer->endpoints_at = now;
  pilot_path_set_candidates (&peer->path, candidates, n_candidates, relay_only || self->relay_only);
  if (peer->session == NULL && (peer->dial_deadline != 0 || peer->n_queued_pings > 0 || peer->kx.pending)) {
    pilot_peer_request_punch (peer, now);
    pilot_key_exchange_retarget (peer, now);
  }
  pilot_peer_schedule (peer, now);
}

void
pilot_overlay_peer_unresolved (PilotOverlay *self,
                               guint32 node,
                               gint64 now)
{
  PilotPeer *peer = pilot_peer_lookup (self, node);

  self->now = now;
  if (peer == NULL)
    return;
  peer->endpoints_asked = FALSE;
  peer->endpoints_at = 0;
  if (pilot_peer_can_send (peer))
    return;
  peer->dial_deadline = 0;
  pilot_overlay_fail_dials (peer, PILOT_STREAM_ERROR_UNRESOLVED, now);
  pilot_peer_schedule (peer, now);
}

void
pilot_overlay_forget_peer (PilotOverlay *self,
                           guint32 node,
                           gint64 now)
{
  PilotPeer *peer = pilot_peer_lookup (self, node);

  self->now = now;
  if (peer == NULL)
    return;
  pilot_overlay_fail_streams (peer, PILOT_STREAM_ERROR_REVOKED, TRUE, now);
  pilot_peer_free (peer);
}

gboolean
pilot_overlay_peer_info (PilotOverlay *self,
                         guint32 node,
                         PilotPeerInfo *info)
{
  PilotPeer *peer = pilot_peer_lookup (self, node);

  if (peer != NULL)
    pilot_peer_fill_info (peer, info);
  return peer != NULL;
}

void
pilot_overlay_foreach_peer (PilotOverlay *self,
                            void (*func) (const PilotPeerInfo *info, gpointer user_data),
                            gpointer user_data)
{
  GHashTableIter iter;
  PilotPeer *peer;

  g_hash_table_iter_init (&iter, self->peers);
  while (g_hash_table_iter_next (&iter, NULL, (gpointer *) &peer)) {
    PilotPeerInfo info;

    pilot_peer_fill_info (peer, &info);
    func (&info, user_data);
  }
}

void
pilot_overlay_stats (PilotOverlay *self,
                     PilotOverlayStats *stats)
{
  *stats = self->stats;
  stats->peers = g_hash_table_size (self->peers);
  stats->sessions = self->n_sessions;
  stats->streams = self->n_streams;
}

void
pilot_overlay_announce (PilotOverlay *self,
                        gint64 now)
{
  GHashTableIter iter;
  PilotPeer *peer;

  self->now = now;
  pilot_overlay_discover (self, now);
  g_hash_table_iter_init (&iter, self->peers);
  while (g_hash_table_iter_next (&iter, NULL, (gpointer *) &peer)) {
    if (peer->session == NULL || pilot_path_choose (&peer->path, self->have_beacon) != PILOT_PATH_RELAY)
      continue;
    pilot_peer_keepalive (peer, NULL, now);
    pilot_peer_upgrade_soon (peer, now);
  }
}

void
pilot_overlay_network_changed (PilotOverlay *self,
                               gint64 now)
{
  GHashTableIter iter;
  PilotPeer *peer;

  self->now = now;
  pilot_overlay_discover (self, now);
  g_hash_table_iter_init (&iter, self->peers);
  while (g_hash_table_iter_next (&iter, NULL, (gpointer *) &peer)) {
    if (peer->session == NULL)
      continue;
    /* First along the old way, from the new address: whoever still hears us learns it from this. */
    pilot_peer_probe_direct (peer, now);
    pilot_path_reset (&peer->path, self->have_beacon);
    peer->endpoints_at = 0;
    pilot_peer_keepalive (peer, NULL, now);
    pilot_peer_path_changed (peer, now);
  }
}
