/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "overlay-private.h"

#include <string.h>

#define FAILURES 5
#define FAILURES_AGE (3 * PILOT_SECOND)
#define PUNCH_FRAMES 3
#define PUNCH_INTERVAL (50 * PILOT_MS)
#define PUNCH_BURST 20
#define PROBE_REPLY_SPACING (50 * PILOT_MS)
#define CUT_NOTICE_SPACING PILOT_SECOND

static void
punch_command (PilotOverlay *self,
               const PilotEndpoint *target,
               gint64 now)
{
  guint8 frame[PILOT_FRAME_PILP_SIZE];
  PilotEndpoint to = *target;

  if (self->relay_only || pilot_endpoint_is_any (target) || pilot_endpoint_is_multicast (target) || target->port == 0)
    return;
  /* A beacon on the internet has no business pointing us at our own network (13.16). */
  if ((pilot_endpoint_is_private (target) || pilot_endpoint_is_loopback (target) || pilot_endpoint_is_link_local (target)) &&
      !pilot_endpoint_is_private (&self->beacon) && !pilot_endpoint_is_loopback (&self->beacon) &&
      !pilot_endpoint_is_link_local (&self->beacon))
    return;
  if (!pilot_token_bucket_take (&self->punches, PUNCH_INTERVAL, PUNCH_BURST, now)) {
    self->stats.dropped_rate++;
    return;
  }
  to.transport = self->beacon.transport;
  pilot_frame_build_pilp (frame);
  for (guint i = 0; i < PUNCH_FRAMES; i++)
    pilot_overlay_queue (self, &to, frame, sizeof frame);
}

static void receive_frame (PilotOverlay *self, const PilotEndpoint *from, guint8 *data, gsize length, gboolean relayed,
                           gint64 now);

static void
receive_beacon (PilotOverlay *self,
                const PilotEndpoint *from,
                guint8 *data,
                gsize length,
                gint64 now)
{
  PilotBeaconMessage message;

  if (!self->have_beacon || !pilot_endpoint_equal (from, &self->beacon)) {
    self->stats.dropped_unauthenticated++;
    return;
  }
  if (!pilot_beacon_message_decode (&message, data, length)) {
    self->stats.dropped_malformed++;
    return;
  }
  self->relay_silent_since = 0;
  switch (message.type) {
  case PILOT_BEACON_DISCOVER_REPLY:
    pilot_overlay_discover_answered (self, &message.endpoint, now);
    break;
  case PILOT_BEACON_PUNCH_COMMAND:
    punch_command (self, &message.endpoint, now);
    break;
  case PILOT_BEACON_RELAY_DELIVER:
    /* The stated sender is worth nothing: the frame inside says who it is, and proves it. */
    receive_frame (self, from, data + (message.frame - data), message.frame_length, TRUE, now);
    break;
  case PILOT_BEACON_NOTIFY:
    if (message.kind == PILOT_BEACON_NOTIFY_HANDSHAKE) {
      PilotEvent event = { .type = PILOT_EVENT_HANDSHAKE_WAITING };

      pilot_overlay_emit (self, &event);
    }
    break;
  default:
    break;
  }
}

static void
mtu_answer (PilotPeer *peer,
            const PilotPacket *packet,
            guint32 number,
            guint32 arrived,
            gint64 now)
{
  PilotPacket answer = { .flags = PILOT_PACKET_ACK, .protocol = PILOT_PROTOCOL_CONTROL, .source = packet->destination, .destination = packet->source, .source_port = PILOT_PORT_MTU_PROBE, .destination_port = PILOT_PORT_MTU_PROBE, .seq = number, .ack = arrived };

  pilot_overlay_queue_packet (peer, &answer, NULL, now);
}

/* docs/extensions.md, type 6: the probe says nothing but its length, and the answer repeats that. */
static void
mtu_probe (PilotPeer *peer,
           const PilotPacket *packet,
           gint64 now)
{
  if ((packet->flags & PILOT_PACKET_ACK) != 0) {
    if (packet->seq == PILOT_MTU_NUMBER_CUT) {
      if (pilot_path_mtu_too_large (&peer->mtu, now))
        pilot_peer_schedule (peer, now);
    } else
      pilot_path_mtu_answered (&peer->mtu, packet->seq, packet->ack, now);
  }
  /* A relay sends on as its system does, which may cut what the next link does not carry. That a probe has arrived so says nothing. */
  else if (peer->overlay->extensions && !peer->overlay->receives_cut)
    mtu_answer (peer, packet, packet->seq, packet->payload_length, now);
}

/* It was made for a path that carries more than this one does now, and the sender does not see that: everything arrives, in pieces. */
static void
notice_cut (PilotPeer *peer,
            const PilotPacket *packet,
            gint64 now)
{
  if (!peer->overlay->extensions || !peer->own_kind || packet->payload_length <= PILOT_SEGMENT_PAYLOAD ||
      (peer->cut_noticed_at != 0 && now - peer->cut_noticed_at < CUT_NOTICE_SPACING))
    return;
  peer->cut_noticed_at = now;
  mtu_answer (peer, packet, PILOT_MTU_NUMBER_CUT, 0, now);
}

static void
control_packet (PilotPeer *peer,
                const PilotPacket *packet,
                gint64 now)
{
  PilotPacket pong = { .flags = PILOT_PACKET_ACK, .protocol = PILOT_PROTOCOL_CONTROL, .source = packet->destination, .destination = packet->source, .destination_port = packet->source_port, .seq = packet->seq, .ack = packet->seq + 1, .payload = packet->payload, .payload_length = packet->payload_length };

  if (packet->destination_port == PILOT_PORT_MTU_PROBE) {
    mtu_probe (peer, packet, now);
    return;
  }
  /* Never answered: two that do so never stop. */
  if ((packet->flags & PILOT_PACKET_ACK) != 0) {
    pilot_peer_pong (peer, packet, now);
    return;
  }
  if (packet->destination_port != PILOT_PORT_PING || packet->payload_length == 0 ||
      packet->payload_length > PILOT_MAX_PONG_PAYLOAD)
    return;
  if (pong.source.node == 0)
    pong.source.node = peer->overlay->node;
  pilot_overlay_queue_packet (peer, &pong, NULL, now);
}

static void
deliver (PilotPeer *peer,
         const PilotPacket *packet,
         gint64 now)
{
  PilotOverlay *self = peer->overlay;
  gboolean is_control = packet->protocol == PILOT_PROTOCOL_CONTROL;

  if (packet->destination.node != self->node && !(is_control && packet->destination.node == 0)) {
    self->stats.dropped_spoofed++;
    return;
  }
  if (is_control)
    control_packet (peer, packet, now);
  else if (packet->protocol == PILOT_PROTOCOL_STREAM) {
    if (self->receives_cut)
      notice_cut (peer, packet, now);
    pilot_overlay_stream_packet (peer, packet, now);
  } else if (packet->protocol == PILOT_PROTOCOL_DATAGRAM)
    pilot_overlay_datagram_packet (peer, packet, now);
}

/* Nodes before 1.12.1 leave the source of a keepalive empty. */
static gboolean
source_is_bound (PilotPeer *peer,
                 const PilotPacket *packet)
{
  return packet->source.node == peer->node ||
         (packet->source.node == 0 && packet->protocol == PILOT_PROTOCOL_CONTROL && packet->destination_port == 0 &&
          packet->payload_length == 0);
}

/* The probe of somebody who wants to leave the relay. A pong is acknowledged one higher than its ping: v1.9 sends one for every keepalive and every
 * probe, and if that were answered the two would never stop. */
static gboolean
is_direct_probe (const PilotPacket *packet)
{
  return packet->protocol == PILOT_PROTOCOL_CONTROL && packet->payload_length == 0 && (packet->flags & PILOT_PACKET_ACK) != 0 &&
         packet->seq == 1 && packet->ack != packet->seq + 1;
}

/* It got through directly: show it the way back, so that it need not wait for our next round of probes. A probe is answered
 * with a probe only by somebody who wants to leave the relay too, so this ends. */
static void
answer_direct (PilotPeer *peer,
               const PilotPacket *packet,
               gboolean on_relay,
               gint64 now)
{
  if (peer->path.pinned || (!on_relay && !is_direct_probe (packet)) || now - peer->last_probe_reply < PROBE_REPLY_SPACING)
    return;
  peer->last_probe_reply = now;
  if (on_relay)
    pilot_peer_probe_direct (peer, now);
  else
    pilot_peer_keepalive (peer, &peer->path.direct, now);
}

static void
accepted (PilotPeer *peer,
          const PilotSealedFrame *sealed,
          gsize length,
          const PilotEndpoint *from,
          PilotEpoch epoch,
          gint64 now)
{
  PilotOverlay *self = peer->overlay;
  gboolean first = !peer->session->confirmed;
  PilotPacketStatus status;
  PilotPacket packet;

  self->stats.opened++;
  status = self->extensions ? pilot_packet_decode_sealed (&packet, sealed->sealed, length) : pilot_packet_decode (&packet, sealed->sealed, length);
  if (status != PILOT_PACKET_OK) {
    self->stats.dropped_malformed++;
    return;
  }
  if (packet.short_header) {
    packet.source.node = peer->node;
    packet.destination.node = self->node;
    if (sealed->placement != NULL && sealed->placement->placed != NULL)
      packet.payload = sealed->placement->placed;
  }
  if (!source_is_bound (peer, &packet)) {
    self->stats.dropped_spoofed++;
    return;
  }
  peer->packets_received++;
  peer->bytes_received += sealed->sealed_length + PILOT_FRAME_PILS_HEADER_SIZE;
  pilot_peer_alive (peer, now);
  if (peer->kx.pending)
    pilot_key_exchange_done (peer);
  if (first)
    pilot_key_exchange_confirm (peer, now);
  if (epoch == PILOT_EPOCH_NEWEST || first) {
    gboolean on_relay = pilot_path_choose (&peer->path, self->have_beacon) == PILOT_PATH_RELAY;

    if (pilot_path_received (&peer->path, from, now)) {
      pilot_peer_path_changed (peer, now);
      for (PilotStream *stream = peer->streams; stream != NULL; stream = pilot_stream_links (stream)->peer_next)
        pilot_turn_order_join (&self->turns, stream);
    }
    if (from != NULL)
      answer_direct (peer, &packet, on_relay, now);
  }
  if (packet.source.node != 0)
    deliver (peer, &packet, now);
}

static void
forged (PilotOverlay *self,
        PilotPeer *peer,
        const PilotEndpoint *from,
        gint64 now)
{
  self->stats.open_failures++;
  self->stats.dropped_unauthenticated++;
  /* Anybody can forge; the session stays. If the peer has in fact another key, our PILA makes it tell us. */
  if (peer->session->failures >= FAILURES && now - peer->session->installed >= FAILURES_AGE) {
    peer->session->failures = 0;
    pilot_key_exchange_unopened (self, peer->node, from, now);
  }
}

/* With two keys at hand: tells by the nonce prefix whose frame it is, and keeps a copy when that does not help. */
static PilotSessionVerdict
open_with_two (PilotPeer *peer,
               PilotSealedFrame *sealed,
               gsize *length,
               PilotEpoch *epoch,
               gboolean *previous)
{
  PilotOverlay *self = peer->overlay;
  PilotSessionVerdict verdict;

  *previous = FALSE;
  if (pilot_session_knows_prefix (peer->session, sealed->prefix))
    return pilot_session_open (peer->session, sealed, length, epoch);
  *previous = pilot_session_knows_prefix (peer->previous, sealed->prefix);
  if (*previous || sealed->sealed_length > PILOT_FRAME_RECEIVE_SIZE)
    return pilot_session_open (*previous ? peer->previous : peer->session, sealed, length, epoch);
  memcpy (self->scratch, sealed->sealed, sealed->sealed_length);
  verdict = pilot_session_open (peer->session, sealed, length, epoch);
  if (verdict == PILOT_SESSION_OPENED)
    return verdict;
  memcpy (sealed->sealed, self->scratch, sealed->sealed_length);
  *previous = TRUE;
  return pilot_session_open (peer->previous, sealed, length, epoch);
}

static void
receive_pils (PilotOverlay *self,
              const PilotEndpoint *from,
              guint8 *data,
              gsize length,
              gboolean relayed,
              gint64 now)
{
  PilotAeadPlacement placement = { .head = PILOT_PACKET_SHORT_HEADER_SIZE, .place = pilot_overlay_place };
  PilotSealedFrame sealed;
  PilotPeer *peer;
  PilotEpoch epoch = PILOT_EPOCH_NEWEST;
  PilotSessionVerdict verdict;
  gboolean previous = FALSE;
  gsize packet_length = 0;

  if (!pilot_frame_parse_pils (&sealed, data, length)) {
    self->stats.dropped_malformed++;
    return;
  }
  if (sealed.node == self->node || self->node == 0) {
    self->stats.dropped_spoofed++;
    return;
  }
  peer = pilot_peer_lookup (self, sealed.node);
  placement.user_data = peer;
  if (peer == NULL || peer->session == NULL) {
    self->stats.dropped_unauthenticated++;
    pilot_key_exchange_unopened (self, sealed.node, from, now);
    return;
  }
  if (peer->previous != NULL)
    verdict = open_with_two (peer, &sealed, &packet_length, &epoch, &previous);
  else {
    sealed.placement = &placement;
    verdict = pilot_session_open (peer->session, &sealed, &packet_length, &epoch);
  }
  if (verdict == PILOT_SESSION_REPLAY)
    self->stats.dropped_replay++;
  else if (verdict == PILOT_SESSION_FORGED)
    forged (self, peer, from, now);
  else {
    if (previous)
      pilot_key_exchange_previous (peer, now);
    accepted (peer, &sealed, packet_length, relayed ? NULL : from, epoch, now);
  }
}

static void
receive_frame (PilotOverlay *self,
               const PilotEndpoint *from,
               guint8 *data,
               gsize length,
               gboolean relayed,
               gint64 now)
{
  switch (pilot_frame_classify (data, length)) {
  case PILOT_FRAME_BEACON:
    if (!relayed)
      receive_beacon (self, from, data, length, now);
    break;
  case PILOT_FRAME_PILS:
    receive_pils (self, from, data, length, relayed, now);
    break;
  case PILOT_FRAME_PILA:
    pilot_key_exchange_pila (self, from, data, length, now);
    break;
  case PILOT_FRAME_PILK:
    pilot_key_exchange_pilk (self, from, data, length, now);
    break;
  case PILOT_FRAME_PILP: /* has opened the NAT on its way: nothing more to do */
    break;
  case PILOT_FRAME_PILT: /* in the clear: never */
  case PILOT_FRAME_IGNORED:
    self->stats.dropped_malformed++;
    break;
  }
}

void
pilot_overlay_receive (PilotOverlay *self,
                       PilotReceivedDatagram *items,
                       guint n_items,
                       gint64 now)
{
  self->now = now;
  for (guint i = 0; i < n_items; i++) {
    PilotReceivedDatagram *item = &items[i];
    gsize step = item->segment_size == 0 ? item->length : item->segment_size;

    self->stats.bytes_received += item->length;
    self->receives_cut = item->segment_size == PILOT_TRANSPORT_CUT;
    for (gsize at = 0; at < item->length; at += step) {
      self->stats.datagrams_received++;
      receive_frame (self, &item->from, item->data + at, MIN (step, item->length - at), FALSE, now);
    }
  }
  pilot_overlay_reap_streams (self);
}
