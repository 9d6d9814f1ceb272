/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "overlay-private.h"

#include <string.h>

/* Datagrams of the overlay (streams.md section 8): neither acknowledged nor ordered nor cut. */

/* What one peer, and all of them, may have waiting for the host. */
#define MAX_WAITING_OF_PEER 64
#define MAX_WAITING_BYTES (1024 * 1024)
/* What waits for a session: a first question and its like, not a transfer. */
#define MAX_PARKED 16
#define MAX_PARKED_BYTES (256 * 1024) /* of all peers together */
/* Key exchanges and acknowledgements of streams leave through the same queue: half of it stays theirs. */
#define MAX_QUEUED_BYTES (PILOT_CONTROL_QUEUE_MAX / 2)

struct _PilotParkedDatagram {
  PilotParkedDatagram *next;
  guint16 network, source_port, port;
  guint32 length;
  guint8 data[];
};

static guint16
ephemeral_port (PilotOverlay *self)
{
  if (self->datagram_port < PILOT_PORT_EPHEMERAL_FIRST)
    self->datagram_port = PILOT_PORT_EPHEMERAL_FIRST;
  return self->datagram_port++;
}

static gboolean
queue (PilotPeer *peer,
       guint16 network,
       guint16 source_port,
       guint16 port,
       const guint8 *data,
       guint32 length,
       gint64 now)
{
  PilotPacket packet = { .protocol = PILOT_PROTOCOL_DATAGRAM, .source = { network, peer->overlay->node }, .destination = { network, peer->node }, .source_port = source_port, .destination_port = port, .payload = data, .payload_length = length };

  if (peer->overlay->control_data->len > MAX_QUEUED_BYTES)
    return FALSE;
  return pilot_overlay_queue_packet (peer, &packet, NULL, now);
}

static gboolean
park (PilotPeer *peer,
      guint16 network,
      guint16 source_port,
      guint16 port,
      const guint8 *data,
      guint32 length)
{
  PilotOverlay *self = peer->overlay;
  PilotParkedDatagram **at = &peer->parked_datagrams;
  PilotParkedDatagram *parked;
  guint n = 0;

  for (; *at != NULL; at = &(*at)->next)
    n++;
  if (n >= MAX_PARKED || self->parked_bytes + length > MAX_PARKED_BYTES)
    return FALSE;
  parked = g_malloc (sizeof *parked + length);
  *parked = (PilotParkedDatagram) { .network = network, .source_port = source_port, .port = port, .length = length };
  memcpy (parked->data, data, length);
  self->parked_bytes += length;
  *at = parked;
  return TRUE;
}

static PilotParkedDatagram *
take_parked (PilotPeer *peer)
{
  PilotParkedDatagram *parked = peer->parked_datagrams;

  if (parked != NULL) {
    peer->parked_datagrams = parked->next;
    peer->overlay->parked_bytes -= parked->length;
  }
  return parked;
}

void
pilot_overlay_flush_datagrams (PilotPeer *peer,
                               gint64 now)
{
  PilotParkedDatagram *parked;

  while ((parked = take_parked (peer)) != NULL) {
    if (!queue (peer, parked->network, parked->source_port, parked->port, parked->data, parked->length, now))
      peer->overlay->stats.dropped_datagrams++;
    g_free (parked);
  }
}

void
pilot_overlay_drop_datagrams (PilotPeer *peer)
{
  PilotParkedDatagram *parked;

  while ((parked = take_parked (peer)) != NULL) {
    peer->overlay->stats.dropped_datagrams++;
    g_free (parked);
  }
}

PilotDatagramStatus
pilot_overlay_send_datagram (PilotOverlay *self,
                             const PilotAddress *remote,
                             guint16 source_port,
                             guint16 port,
                             const guint8 *data,
                             gsize length,
                             gint64 now)
{
  PilotPeer *peer;

  self->now = now;
  if (length == 0 || length > PILOT_DATAGRAM_MAX)
    return PILOT_DATAGRAM_BAD_LENGTH;
  if (remote->node == self->node || remote->node == 0 || pilot_address_is_broadcast (remote) || self->node == 0)
    return PILOT_DATAGRAM_UNREACHABLE;
  peer = pilot_peer_ensure (self, remote->node, FALSE);
  if (peer == NULL)
    return PILOT_DATAGRAM_FULL;
  if (!pilot_peer_can_send (peer) && (peer->key_mismatch || now < peer->kx.gave_up_until))
    return PILOT_DATAGRAM_UNREACHABLE;
  if (source_port == 0)
    source_port = ephemeral_port (self);
  peer->last_app = now;
  if (!pilot_peer_can_send (peer)) {
    if (!park (peer, remote->network, source_port, port, data, (guint32) length))
      return PILOT_DATAGRAM_FULL;
    pilot_overlay_begin_dial (peer, now);
    return PILOT_DATAGRAM_QUEUED;
  }
  if (!queue (peer, remote->network, source_port, port, data, (guint32) length, now))
    return PILOT_DATAGRAM_FULL;
  pilot_peer_schedule (peer, now);
  return PILOT_DATAGRAM_QUEUED;
}

/* Authenticated, and its source is the peer's own. The host is asked before anything is kept of it. */
void
pilot_overlay_datagram_packet (PilotPeer *peer,
                               const PilotPacket *packet,
                               gint64 now)
{
  PilotOverlay *self = peer->overlay;
  PilotEvent event = { .type = PILOT_EVENT_DATAGRAM, .node = peer->node, .network = packet->source.network, .source_port = packet->source_port, .port = packet->destination_port, .length = packet->payload_length };

  if (packet->payload_length == 0)
    return;
  if (!peer->trusted || self->host.admit_datagram == NULL ||
      !self->host.admit_datagram (peer->node, packet->destination_port, self->host.user_data)) {
    self->stats.dropped_datagrams++;
    return;
  }
  peer->last_app = now;
  if (peer->waiting_datagrams >= MAX_WAITING_OF_PEER || self->waiting_bytes + packet->payload_length > MAX_WAITING_BYTES) {
    self->stats.dropped_datagrams++;
    return;
  }
  peer->waiting_datagrams++;
  self->waiting_bytes += packet->payload_length;
  event.data = g_memdup2 (packet->payload, packet->payload_length);
  pilot_overlay_emit (self, &event);
}

/* The host has it now: the one before goes. */
void
pilot_overlay_datagram_taken (PilotOverlay *self,
                              const PilotEvent *event)
{
  PilotPeer *peer = pilot_peer_lookup (self, event->node);

  self->waiting_bytes -= event->length;
  /* A peer that was forgotten and came back meanwhile starts at 0. */
  if (peer != NULL && peer->waiting_datagrams > 0)
    peer->waiting_datagrams--;
  g_free (self->taken_datagram);
  self->taken_datagram = (guint8 *) event->data;
}
