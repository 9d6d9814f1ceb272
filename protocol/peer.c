/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "overlay-private.h"

#include <string.h>

#define KEEPALIVE (25 * PILOT_SECOND)
#define IDLE (120 * PILOT_SECOND)
/* The reference looks every 5 s whether a keepalive is due; the rest is for one that comes late. */
#define UNHEARD_AFTER (KEEPALIVE + 15 * PILOT_SECOND)
#define WATCH_AFTER (55 * PILOT_SECOND)
#define WATCH_STEP (10 * PILOT_SECOND)
#define WATCH_PROBES 3
#define FLOW_STEP (1 * PILOT_SECOND)
#define FLOW_PACKETS 8
#define FLOW_PROBES 4
#define WATCH_REST (120 * PILOT_SECOND)
/* Between attempts to leave the relay: soon at first, because both sides must be there for it, then the pace of the reference. */
#define UPGRADE_AGAIN (1 * PILOT_SECOND)
#define UPGRADE_EVERY (15 * PILOT_SECOND)
#define UPGRADE_FIRST (300 * PILOT_MS)
#define UPGRADE_PROBES 5
#define PROBE_STEP (200 * PILOT_MS)
#define BEACON_SILENCE (1 * PILOT_SECOND)
#define PUNCH_SPACING (1 * PILOT_SECOND)
#define ENDPOINTS_FRESH (60 * PILOT_SECOND)
#define DOUBT_EVERY (2 * PILOT_SECOND)
#define STALE (300 * PILOT_SECOND)
#define PING_WAIT (10 * PILOT_SECOND)
#define KEY_WAIT (5 * PILOT_SECOND)

static const char path_probe[] = "pathprobe.v1";

PilotPeer *
pilot_peer_lookup (PilotOverlay *self,
                   guint32 node)
{
  return g_hash_table_lookup (self->peers, GUINT_TO_POINTER (node));
}

PilotPeer *
pilot_peer_ensure (PilotOverlay *self,
                   guint32 node,
                   gboolean trusted)
{
  PilotPeer *peer = pilot_peer_lookup (self, node);

  if (peer != NULL)
    return peer;
  if (!trusted && self->n_untrusted >= PILOT_MAX_UNTRUSTED_PEERS)
    return NULL;
  peer = g_new0 (PilotPeer, 1);
  peer->node = node;
  peer->overlay = self;
  peer->path.pinned = self->relay_only;
  self->n_untrusted++;
  g_hash_table_insert (self->peers, GUINT_TO_POINTER (node), peer);
  return peer;
}

void
pilot_peer_drop_session (PilotPeer *peer)
{
  if (peer->session != NULL)
    peer->overlay->n_sessions--;
  g_clear_pointer (&peer->session, pilot_session_free);
  g_clear_pointer (&peer->previous, pilot_session_free);
  peer->replaced = peer->unheard = FALSE;
  peer->kx = (PilotKeyExchangeState) { 0 };
}

void
pilot_peer_free (PilotPeer *peer)
{
  PilotOverlay *self = peer->overlay;

  pilot_overlay_detach_streams (peer);
  pilot_overlay_drop_datagrams (peer);
  pilot_overlay_drop_peer_events (self, peer);
  pilot_peer_drop_session (peer);
  pilot_timer_heap_remove (&self->timers, &peer->timer_index);
  if (!peer->trusted)
    self->n_untrusted--;
  g_hash_table_remove (self->peers, GUINT_TO_POINTER (peer->node));
  g_free (peer->port_blocks);
  pilot_crypto_wipe (peer, sizeof *peer);
  g_free (peer);
}

gboolean
pilot_peer_can_send (PilotPeer *peer)
{
  return peer->session != NULL && pilot_path_choose (&peer->path, peer->overlay->have_beacon) != PILOT_PATH_NONE;
}

const PilotEndpoint *
pilot_peer_way (PilotPeer *peer,
                PilotPath path)
{
  return path == PILOT_PATH_RELAY ? &peer->overlay->beacon : &peer->path.direct;
}

void
pilot_peer_need_endpoints (PilotPeer *peer,
                           gint64 now)
{
  if (peer->endpoints_asked || (peer->endpoints_at != 0 && now - peer->endpoints_at < ENDPOINTS_FRESH))
    return;
  peer->endpoints_asked = TRUE;
  pilot_overlay_emit_peer (peer, PILOT_EVENT_NEED_ENDPOINTS);
}

void
pilot_peer_need_key (PilotPeer *peer,
                     gint64 now)
{
  if (now < peer->key_refused_until || (peer->key_asked && now - peer->key_asked_at < KEY_WAIT))
    return;
  peer->key_asked = TRUE;
  peer->key_asked_at = now;
  pilot_overlay_emit_peer (peer, PILOT_EVENT_NEED_KEY);
}

static PilotPacket
control (PilotPeer *peer)
{
  return (PilotPacket) { .protocol = PILOT_PROTOCOL_CONTROL, .source = { 0, peer->overlay->node }, .destination = { 0, peer->node } };
}

void
pilot_peer_keepalive (PilotPeer *peer,
                      const PilotEndpoint *to,
                      gint64 now)
{
  PilotPacket packet = control (peer);

  packet.destination = (PilotAddress) PILOT_ADDRESS_INIT;
  pilot_overlay_queue_packet (peer, &packet, to, now);
}

static void
watch_probe (PilotPeer *peer,
             gint64 now)
{
  PilotPacket packet = control (peer);

  packet.payload = (const guint8 *) path_probe;
  packet.payload_length = sizeof path_probe - 1;
  pilot_overlay_queue_packet (peer, &packet, NULL, now);
}

/* Straight to every place where it may be: what arrives there counts toward its leaving the relay. */
void
pilot_peer_probe_direct (PilotPeer *peer,
                         gint64 now)
{
  PilotEndpoint targets[PILOT_PATH_MAX_CANDIDATES + 1];
  guint n = pilot_path_targets (&peer->path, targets);
  PilotPacket packet = control (peer);

  packet.flags = PILOT_PACKET_ACK;
  packet.seq = 1;
  for (guint i = 0; i < n; i++)
    pilot_overlay_queue_packet (peer, &packet, &targets[i], now);
}

void
pilot_peer_request_punch (PilotPeer *peer,
                          gint64 now)
{
  PilotOverlay *self = peer->overlay;
  PilotBeaconMessage message = { .type = PILOT_BEACON_PUNCH_REQUEST, .node = self->node, .target = peer->node };
  guint8 data[PILOT_BEACON_PUNCH_REQUEST_SIZE];

  if (!self->have_beacon || self->node == 0 || peer->path.pinned ||
      (peer->last_punch != 0 && now - peer->last_punch < PUNCH_SPACING))
    return;
  peer->last_punch = now;
  pilot_overlay_queue (self, &self->beacon, data, pilot_beacon_message_encode (&message, data, sizeof data));
}

static gboolean
is_idle (PilotPeer *peer,
         gint64 now)
{
  return peer->n_streams == 0 && now - peer->last_app >= IDLE;
}

static gboolean
wants_upgrade (PilotPeer *peer)
{
  return peer->session != NULL && peer->overlay->have_beacon && !peer->path.pinned &&
         pilot_path_choose (&peer->path, TRUE) == PILOT_PATH_RELAY;
}

void
pilot_peer_upgrade_soon (PilotPeer *peer,
                         gint64 now)
{
  peer->next_upgrade = now + UPGRADE_FIRST;
  peer->upgrades = 0;
  pilot_peer_schedule (peer, now);
}

static void
upgrade (PilotPeer *peer,
         gint64 now)
{
  peer->next_upgrade = now + MIN (UPGRADE_AGAIN << MIN (peer->upgrades, 4), UPGRADE_EVERY);
  peer->upgrades++;
  pilot_peer_need_endpoints (peer, now);
  pilot_peer_request_punch (peer, now);
  peer->probes_left = UPGRADE_PROBES;
  peer->next_probe = now + PROBE_STEP;
}

void
pilot_peer_path_changed (PilotPeer *peer,
                         gint64 now)
{
  PilotOverlay *self = peer->overlay;

  pilot_overlay_emit_peer (peer, PILOT_EVENT_PEER_CHANGED);
  pilot_siblings_moved (&peer->siblings, now);
  if (peer->session == NULL)
    return;
  /* What a dead path has swallowed need not wait for the end of its back-off. */
  pilot_overlay_tunnel_ready (peer, now);
  if (!wants_upgrade (peer))
    return;
  /* Perhaps the peer is somewhere else now. */
  peer->endpoints_at = 0;
  /* Perhaps it is our own NAT that has given us another port: the beacon must see it before it can lead the peer to it. */
  if (now - self->discovered_at >= PILOT_SECOND)
    pilot_overlay_discover (self, now);
  pilot_peer_upgrade_soon (peer, now);
}

/* Nothing comes back from the beacon: it may have started anew, or our NAT has given us another port. It relays for nobody
 * whose place it does not know. */
void
pilot_overlay_watch_beacon (PilotOverlay *self,
                            gint64 now)
{
  if (self->relay_silent_since == 0)
    self->relay_silent_since = now;
  else if (now - self->relay_silent_since >= BEACON_SILENCE && now - self->discovered_at >= BEACON_SILENCE)
    pilot_overlay_discover (self, now);
}

void
pilot_peer_sent (PilotPeer *peer,
                 PilotPath path,
                 guint n_frames,
                 gint64 now)
{
  if (path == PILOT_PATH_RELAY)
    pilot_overlay_watch_beacon (peer->overlay, now);
  if (pilot_path_sent (&peer->path, path, n_frames, peer->overlay->have_beacon, now))
    pilot_peer_path_changed (peer, now);
}

void
pilot_peer_alive (PilotPeer *peer,
                  gint64 now)
{
  peer->last_receive = now;
  peer->watch_probes = 0;
  peer->kx.gave_up_until = 0;
  if (peer->next_flow_look == 0 && peer->n_streams > 0) {
    peer->next_flow_look = now + FLOW_STEP;
    peer->flow_packets = peer->packets_received;
    peer->flow_probes = 0;
    pilot_peer_schedule (peer, now);
  }
  if (peer->silent || peer->unheard) {
    peer->silent = peer->unheard = FALSE;
    pilot_overlay_emit_peer (peer, PILOT_EVENT_PEER_CHANGED);
    pilot_peer_schedule (peer, now);
  }
}

void
pilot_peer_unheard (PilotPeer *peer,
                    gboolean resting)
{
  if (peer->session == NULL || (peer->unheard && peer->resting == resting))
    return;
  peer->unheard = TRUE;
  peer->resting = resting;
  pilot_overlay_emit_peer (peer, PILOT_EVENT_PEER_CHANGED);
}

static gint64
unheard_due (PilotPeer *peer)
{
  return peer->unheard ? G_MAXINT64 : MAX (peer->last_receive, peer->established_at) + UNHEARD_AFTER;
}

static gint64
watch_due (PilotPeer *peer)
{
  gint64 heard = MAX (peer->last_receive, peer->established_at);

  return MAX (heard + WATCH_AFTER + (gint64) peer->watch_probes * WATCH_STEP, peer->next_watch);
}

/* The session stays: dropping it on suspicion is what makes reference nodes go deaf (13.11). */
static void
watch (PilotPeer *peer,
       gint64 now)
{
  if (peer->watch_probes < WATCH_PROBES) {
    peer->watch_probes++;
    watch_probe (peer, now);
    return;
  }
  peer->watch_probes = 0;
  peer->next_watch = now + WATCH_REST;
  peer->silent = TRUE;
  peer->endpoints_at = 0;
  pilot_path_reset (&peer->path, peer->overlay->have_beacon);
  pilot_overlay_emit_peer (peer, PILOT_EVENT_PEER_CHANGED);
  pilot_peer_need_endpoints (peer, now);
  pilot_key_exchange_start (peer, NULL, now);
  pilot_peer_upgrade_soon (peer, now);
}

/* Who only receives does not see that nothing reaches him any more, because his NAT has given him another port, say: neither the peer nor
 * the beacon knows it until he sends. So a flow that stops is asked after, and the beacon is shown where we are. A pause of the
 * sender costs one probe. */
static void
look_at_flow (PilotPeer *peer,
              gint64 now)
{
  guint64 arrived = peer->packets_received - peer->flow_packets;

  peer->flow_packets = peer->packets_received;
  if (arrived > 0) {
    peer->flow_busy = arrived >= FLOW_PACKETS || (peer->flow_busy && peer->flow_probes == 0);
    peer->flow_probes = 0;
  } else if (!peer->flow_busy || peer->n_streams == 0 || peer->flow_probes >= FLOW_PROBES)
    peer->flow_busy = FALSE;
  else {
    if (peer->flow_probes++ == 0)
      pilot_overlay_discover (peer->overlay, now);
    watch_probe (peer, now);
  }
  peer->next_flow_look = peer->flow_busy ? now + FLOW_STEP : 0;
}

static gint64
earliest_ping (PilotPeer *peer)
{
  gint64 earliest = G_MAXINT64;

  for (guint i = 0; i < PILOT_MAX_PENDING; i++)
    if (peer->pings[i].queued || peer->pings[i].waiting)
      earliest = MIN (earliest, peer->pings[i].sent_at + PING_WAIT);
  return earliest;
}

static gboolean
in_doubt (PilotPeer *peer)
{
  return peer->previous != NULL && peer->previous->confirmed && peer->session != NULL && !peer->session->confirmed;
}

/* If the key exchange that replaced it was a recording, the peer still answers under the old key, and that undoes it. */
static void
doubt (PilotPeer *peer,
       gint64 now)
{
  PilotSession *current = peer->session;

  peer->next_doubt = now + DOUBT_EVERY;
  peer->session = peer->previous;
  watch_probe (peer, now);
  peer->session = current;
}

void
pilot_peer_schedule (PilotPeer *peer,
                     gint64 now)
{
  gint64 due = peer->previous != NULL ? peer->previous_until : G_MAXINT64;
  gboolean idle = is_idle (peer, now);

  if (in_doubt (peer))
    due = MIN (due, peer->next_doubt);
  if (peer->kx.pending)
    due = MIN (due, peer->kx.next_send);
  if (peer->dial_deadline != 0)
    due = MIN (due, peer->dial_deadline);
  if (peer->syn_deadline != 0)
    due = MIN (due, peer->syn_deadline);
  if (peer->session != NULL)
    due = MIN (due, unheard_due (peer));
  if (peer->session != NULL && !idle) {
    due = MIN (due, peer->path.last_send + KEEPALIVE);
    due = MIN (due, watch_due (peer));
    if (peer->next_flow_look != 0)
      due = MIN (due, peer->next_flow_look);
    if (wants_upgrade (peer))
      due = MIN (due, peer->next_upgrade);
    if (peer->n_streams == 0)
      due = MIN (due, peer->last_app + IDLE);
  }
  if (peer->probes_left > 0)
    due = MIN (due, peer->next_probe);
  if (peer->session != NULL)
    due = MIN (due, pilot_path_mtu_deadline (&peer->mtu));
  if (peer->n_queued_pings > 0)
    due = MIN (due, earliest_ping (peer));
  if (!peer->trusted && peer->n_streams == 0)
    due = MIN (due, MAX (MAX (peer->last_receive, peer->last_app), peer->path.last_send) + STALE);
  pilot_timer_heap_set (&peer->overlay->timers, &peer->timer_index, due == G_MAXINT64 ? due : MAX (due, now + 1), peer,
                        PILOT_TIMER_PEER);
}

static void
advance_session (PilotPeer *peer,
                 gint64 now)
{
  if (peer->session != NULL && now >= unheard_due (peer))
    pilot_peer_unheard (peer, is_idle (peer, now));
  if (peer->session == NULL || is_idle (peer, now))
    return;
  if (now - peer->path.last_send >= KEEPALIVE)
    pilot_peer_keepalive (peer, NULL, now);
  if (now >= watch_due (peer))
    watch (peer, now);
  if (peer->next_flow_look != 0 && now >= peer->next_flow_look)
    look_at_flow (peer, now);
  if (wants_upgrade (peer) && now >= peer->next_upgrade)
    upgrade (peer, now);
}

static void
advance_probe (PilotPeer *peer,
               gint64 now)
{
  if (peer->probes_left == 0 || now < peer->next_probe)
    return;
  if (!wants_upgrade (peer)) {
    peer->probes_left = 0;
    return;
  }
  peer->probes_left--;
  peer->next_probe = now + PROBE_STEP;
  pilot_peer_probe_direct (peer, now);
}

static void
advance_mtu (PilotPeer *peer,
             gint64 now)
{
  const PilotPath path = pilot_path_choose (&peer->path, peer->overlay->have_beacon);
  guint payload;

  /* Of a path that is not in use any more nothing needs to be known; what is asked on the new one comes with its first segments. */
  if (peer->session == NULL || path == PILOT_PATH_NONE ||
      !pilot_path_mtu_is_of (&peer->mtu, pilot_peer_way (peer, path), path == PILOT_PATH_RELAY)) {
    peer->mtu = (PilotPathMtu) { .number = peer->mtu.number + 1 };
    return;
  }
  while ((payload = pilot_path_mtu_next (&peer->mtu, peer->rtt_us, now)) > 0)
    pilot_overlay_queue_mtu_probe (peer, payload);
}

static void
advance_pings (PilotPeer *peer,
               gint64 now)
{
  for (guint i = 0; i < PILOT_MAX_PENDING && peer->n_queued_pings > 0; i++)
    if (peer->pings[i].queued && now >= peer->pings[i].sent_at + PING_WAIT) {
      peer->pings[i] = (PilotPing) { 0 };
      peer->n_queued_pings--;
    }
}

void
pilot_peer_advance (PilotPeer *peer,
                    gint64 now)
{
  if (peer->previous != NULL && now >= peer->previous_until)
    g_clear_pointer (&peer->previous, pilot_session_free);
  if (peer->dial_deadline != 0 && now >= peer->dial_deadline) {
    peer->dial_deadline = 0;
    if (pilot_peer_can_send (peer))
      pilot_overlay_flush_datagrams (peer, now);
    else
      pilot_overlay_fail_dials (peer, PILOT_STREAM_ERROR_NO_KEY_EXCHANGE, now);
  }
  if (peer->syn_deadline != 0 && now >= peer->syn_deadline)
    peer->syn_deadline = pilot_overlay_expire_dials (peer, now);
  if (peer->kx.pending && now >= peer->kx.next_send)
    pilot_key_exchange_timeout (peer, now);
  if (in_doubt (peer) && now >= peer->next_doubt)
    doubt (peer, now);
  advance_session (peer, now);
  advance_probe (peer, now);
  if (now >= pilot_path_mtu_deadline (&peer->mtu))
    advance_mtu (peer, now);
  advance_pings (peer, now);
  if (!peer->trusted && peer->n_streams == 0 &&
      now - MAX (MAX (peer->last_receive, peer->last_app), peer->path.last_send) >= STALE) {
    PilotEvent event = { .type = PILOT_EVENT_PEER_CHANGED, .node = peer->node };
    PilotOverlay *self = peer->overlay;

    /* The host forgets it too: what it keeps about strangers must not grow for ever. */
    pilot_peer_free (peer);
    pilot_overlay_emit (self, &event);
    return;
  }
  pilot_peer_schedule (peer, now);
}

static void
send_ping (PilotPeer *peer,
           PilotPing *ping,
           gint64 now)
{
  PilotPacket packet = control (peer);
  guint8 payload[4] = { 'p', 'i', 'n', 'g' };

  /* A source port of 49152 and more keeps two old nodes from answering each other for ever. */
  packet.source_port = PILOT_PORT_EPHEMERAL_FIRST;
  packet.seq = ping->sequence;
  packet.payload = payload;
  packet.payload_length = sizeof payload;
  ping->queued = FALSE;
  ping->waiting = pilot_overlay_queue_packet (peer, &packet, NULL, now);
  ping->sent_at = now;
}

guint32
pilot_overlay_ping (PilotOverlay *self,
                    guint32 node,
                    gint64 now)
{
  PilotPeer *peer;
  PilotPing *ping;

  self->now = now;
  peer = node == self->node || node == 0 || self->node == 0 ? NULL : pilot_peer_ensure (self, node, FALSE);
  if (peer == NULL)
    return 0;
  ping = &peer->pings[++peer->ping_sequence % PILOT_MAX_PENDING];
  peer->last_app = now;
  if (ping->queued) {
    /* Full of pings that wait for a session: the newest is refused, the first leave in order. */
    return peer->ping_sequence;
  }
  *ping = (PilotPing) { .sequence = peer->ping_sequence, .sent_at = now };
  if (pilot_peer_can_send (peer)) {
    send_ping (peer, ping, now);
    pilot_peer_schedule (peer, now);
    return ping->sequence;
  }
  ping->queued = TRUE;
  peer->n_queued_pings++;
  pilot_peer_need_endpoints (peer, now);
  if (!peer->has_key)
    pilot_peer_need_key (peer, now);
  pilot_key_exchange_start (peer, NULL, now);
  pilot_peer_schedule (peer, now);
  return ping->sequence;
}

void
pilot_peer_flush_pings (PilotPeer *peer,
                        gint64 now)
{
  if (peer->n_queued_pings == 0 || !pilot_peer_can_send (peer))
    return;
  for (guint32 i = 1; i <= PILOT_MAX_PENDING; i++) {
    PilotPing *ping = &peer->pings[(peer->ping_sequence + i) % PILOT_MAX_PENDING];

    if (ping->queued)
      send_ping (peer, ping, now);
  }
  peer->n_queued_pings = 0;
}

void
pilot_peer_pong (PilotPeer *peer,
                 const PilotPacket *packet,
                 gint64 now)
{
  PilotPing *ping = &peer->pings[packet->seq % PILOT_MAX_PENDING];
  PilotEvent event = { .type = PILOT_EVENT_PONG, .node = peer->node, .sequence = packet->seq };

  if (!ping->waiting || ping->sequence != packet->seq || packet->destination_port != PILOT_PORT_EPHEMERAL_FIRST)
    return;
  ping->waiting = FALSE;
  event.rtt_us = now - ping->sent_at;
  peer->rtt_us = peer->rtt_us == 0 ? event.rtt_us : (7 * peer->rtt_us + event.rtt_us) / 8;
  pilot_overlay_emit (peer->overlay, &event);
}

void
pilot_peer_fill_info (PilotPeer *peer,
                      PilotPeerInfo *info)
{
  PilotOverlay *self = peer->overlay;

  *info = (PilotPeerInfo){
    .node = peer->node,
    .session = peer->session != NULL,
    .confirmed = peer->session != NULL && peer->session->confirmed,
    .own_kind = peer->own_kind,
    .key_mismatch = peer->key_mismatch,
    .silent = peer->silent,
    .unheard = peer->unheard,
    .resting = peer->unheard && peer->resting,
    .has_key = peer->has_key,
    .path = pilot_path_choose (&peer->path, self->have_beacon),
    .last_receive_us = peer->last_receive,
    .rtt_us = peer->rtt_us,
    .bytes_sent = peer->bytes_sent,
    .bytes_received = peer->bytes_received,
    .packets_sent = peer->packets_sent,
    .packets_received = peer->packets_received,
    .streams = peer->n_streams,
  };
  if (peer->session == NULL)
    info->path = PILOT_PATH_NONE;
  info->endpoint = info->path == PILOT_PATH_RELAY ? self->beacon : peer->path.direct;
  memcpy (info->key, peer->key, sizeof info->key);
}
