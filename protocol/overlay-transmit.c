/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "overlay-private.h"

#include <string.h>

#define MAX_SEGMENTS 64
#define HEADROOM (PILOT_BEACON_RELAY_HEADER_SIZE + PILOT_FRAME_PILS_HEADER_SIZE + PILOT_PACKET_HEADER_SIZE)
/* Room for any packet of a stream that may send so much payload in one. */
#define SEGMENT_ROOM(payload) (HEADROOM + (payload) + PILOT_AEAD_TAG_SIZE + 64)

/* Room for a datagram of at most `length` bytes at the end of the queue, where queued() finds it. NULL: it must not go, or there is none. */
static guint8 *
queue_room (PilotOverlay *self,
            const PilotEndpoint *to,
            gsize length)
{
  guint at = self->control_data->len;

  /* Whatever asked for it: the promise is kept here. */
  if (self->relay_only && !(self->have_beacon && pilot_endpoint_equal (to, &self->beacon)))
    return NULL;
  if (at + length > PILOT_CONTROL_QUEUE_MAX) {
    self->stats.dropped_rate++;
    return NULL;
  }
  g_byte_array_set_size (self->control_data, at + (guint) length);
  return self->control_data->data + at;
}

/* `length` bytes of what queue_room() gave were filled; 0 takes it back. */
static void
queued (PilotOverlay *self,
        const PilotEndpoint *to,
        const guint8 *room,
        gsize length)
{
  PilotControlDatagram datagram = { *to, (guint32) (room - self->control_data->data), (guint32) length, FALSE };

  g_byte_array_set_size (self->control_data, datagram.offset + datagram.length);
  if (length > 0)
    g_array_append_val (self->control, datagram);
}

void
pilot_overlay_queue (PilotOverlay *self,
                     const PilotEndpoint *to,
                     const guint8 *data,
                     gsize length)
{
  guint8 *room = queue_room (self, to, length);

  if (room == NULL)
    return;
  memcpy (room, data, length);
  queued (self, to, room, length);
}

void
pilot_overlay_queue_relay (PilotOverlay *self,
                           guint32 node,
                           const guint8 *frame,
                           gsize length)
{
  guint8 data[PILOT_BEACON_RELAY_HEADER_SIZE + 2048];

  g_return_if_fail (length <= 2048);
  if (!self->have_beacon)
    return;
  pilot_beacon_write_relay_header (data, self->node, node);
  memcpy (data + PILOT_BEACON_RELAY_HEADER_SIZE, frame, length);
  pilot_overlay_queue (self, &self->beacon, data, PILOT_BEACON_RELAY_HEADER_SIZE + length);
}

void
pilot_overlay_discover_send (PilotOverlay *self)
{
  PilotBeaconMessage message = { .type = PILOT_BEACON_DISCOVER, .node = self->node };
  guint8 data[PILOT_BEACON_DISCOVER_SIZE];

  if (self->have_beacon)
    pilot_overlay_queue (self, &self->beacon, data, pilot_beacon_message_encode (&message, data, sizeof data));
}

static void
count_sent (PilotPeer *peer,
            gsize length)
{
  peer->packets_sent++;
  peer->bytes_sent += length;
  peer->overlay->stats.sealed++;
}

static gsize
relay_header (PilotPath path)
{
  return path == PILOT_PATH_RELAY ? PILOT_BEACON_RELAY_HEADER_SIZE : 0;
}

/* Writes `packet` as one datagram along `path`. Its payload is in place or elsewhere; or, without a checksum, in `payload`. Returns its length. */
static gsize
build_gathered (PilotPeer *peer,
                const PilotPacket *packet,
                const PilotAeadRest *payload,
                PilotPath path,
                guint8 *out,
                gsize room)
{
  gsize offset = relay_header (path);
  gsize head = offset + PILOT_FRAME_PILS_HEADER_SIZE;
  gsize length;

  if (room < head + PILOT_AEAD_TAG_SIZE)
    return 0;
  length = pilot_packet_encode (packet, out + head, room - head - PILOT_AEAD_TAG_SIZE);
  if (length == 0)
    return 0;
  if (payload != NULL)
    length = pilot_session_seal_gathered (peer->session, out + offset, peer->overlay->node, pilot_packet_header_size (packet), payload);
  else
    length = pilot_session_seal (peer->session, out + offset, peer->overlay->node, length);
  if (length == 0)
    return 0;
  if (offset != 0)
    pilot_beacon_write_relay_header (out, peer->overlay->node, peer->node);
  count_sent (peer, offset + length);
  return offset + length;
}

static gsize
build (PilotPeer *peer,
       const PilotPacket *packet,
       PilotPath path,
       guint8 *out,
       gsize room)
{
  return build_gathered (peer, packet, NULL, path, out, room);
}

gboolean
pilot_overlay_queue_packet (PilotPeer *peer,
                            const PilotPacket *packet,
                            const PilotEndpoint *to,
                            gint64 now)
{
  PilotOverlay *self = peer->overlay;
  PilotPath path = PILOT_PATH_DIRECT;
  gsize size = HEADROOM + packet->payload_length + PILOT_AEAD_TAG_SIZE;
  guint8 *room;
  gsize length;

  if (peer->session == NULL)
    return FALSE;
  if (to == NULL) {
    path = pilot_path_choose (&peer->path, self->have_beacon);
    if (path == PILOT_PATH_NONE)
      return FALSE;
    to = pilot_peer_way (peer, path);
  }
  room = queue_room (self, to, size);
  if (room == NULL)
    return FALSE;
  length = build (peer, packet, path, room, size);
  queued (self, to, room, length);
  if (length == 0)
    return FALSE;
  pilot_peer_sent (peer, path, 1, now);
  return TRUE;
}

/* Not answered it says nothing of the path but its MTU: it is no reason to leave it. */
void
pilot_overlay_queue_mtu_probe (PilotPeer *peer,
                               guint payload_length)
{
  PilotOverlay *self = peer->overlay;
  const PilotPath path = peer->mtu.relayed ? PILOT_PATH_RELAY : PILOT_PATH_DIRECT;
  const gsize size = HEADROOM + payload_length + PILOT_AEAD_TAG_SIZE;
  PilotPacket packet = { .protocol = PILOT_PROTOCOL_CONTROL, .source_port = PILOT_PORT_MTU_PROBE, .destination_port = PILOT_PORT_MTU_PROBE, .source.node = self->node, .destination.node = peer->node, .seq = peer->mtu.number, .payload_length = payload_length };
  guint8 *room = queue_room (self, &peer->mtu.to, size), *payload;
  gsize length;

  if (room == NULL)
    return;
  payload = room + relay_header (path) + PILOT_FRAME_PILS_HEADER_SIZE + PILOT_PACKET_HEADER_SIZE;
  memset (payload, 0, payload_length);
  packet.payload = payload;
  length = build (peer, &packet, path, room, size);
  queued (self, &peer->mtu.to, room, length);
  if (length > 0)
    g_array_index (self->control, PilotControlDatagram, self->control->len - 1).whole = TRUE;
}

/* What a short header leaves out, the peer knows from the session; but for the network, which is one of several (docs/extensions.md, type 8). */
static gboolean
has_short_headers (PilotStream *stream)
{
  PilotStreamLinks *links = pilot_stream_links (stream);

  return pilot_stream_takes_short_headers (stream) && links->local.network == 0 && links->remote.network == 0;
}

/* The payload goes from the ring to its place, the one copy on this side: with the cipher where nothing else needs it there. */
static gsize
build_segment (PilotStream *stream,
               PilotPeer *peer,
               const PilotStreamSegment *segment,
               PilotPath path,
               guint8 *out,
               gsize room)
{
  PilotStreamLinks *links = pilot_stream_links (stream);
  PilotPacket packet = { .flags = segment->flags, .protocol = PILOT_PROTOCOL_STREAM, .window = segment->window, .seq = segment->seq, .ack = segment->ack, .payload_length = segment->payload_length, .source = links->local, .destination = links->remote, .source_port = links->local_port, .destination_port = links->remote_port };
  const PilotAeadRest rest = { segment->payload, segment->n_payload, segment->before };
  guint8 *payload;

  if (segment->payload_length + HEADROOM + PILOT_AEAD_TAG_SIZE > room)
    return 0;
  if ((segment->flags & PILOT_PACKET_SYN) == 0) {
    packet.short_header = has_short_headers (stream);
    /* The session says more about it than a checksum can. */
    packet.unsummed = packet.short_header || pilot_stream_takes_unsummed (stream);
  }
  if (packet.unsummed && pilot_aead_rest_pays (&rest, pilot_packet_header_size (&packet), segment->payload_length))
    return build_gathered (peer, &packet, &rest, path, out, room);
  payload = out + relay_header (path) + PILOT_FRAME_PILS_HEADER_SIZE + pilot_packet_header_size (&packet);
  packet.payload = payload;
  for (guint i = 0; i < segment->n_payload; i++) {
    memcpy (payload, segment->payload[i].iov_base, segment->payload[i].iov_len);
    payload += segment->payload[i].iov_len;
  }
  return build (peer, &packet, path, out, room);
}

void
pilot_overlay_drain_stream (PilotStream *stream,
                            gint64 now)
{
  PilotStreamLinks *links = pilot_stream_links (stream);
  PilotPeer *peer = links->peer;
  PilotStreamSegment segment;
  guint8 data[SEGMENT_ROOM (PILOT_SEGMENT_PAYLOAD)];

  if (peer == NULL || !pilot_peer_can_send (peer))
    return;
  for (guint i = 0; i < MAX_SEGMENTS && pilot_stream_output (stream, &segment, PILOT_SEGMENT_PAYLOAD, now); i++) {
    PilotPath path = pilot_path_choose (&peer->path, peer->overlay->have_beacon);
    gsize length = build_segment (stream, peer, &segment, path, data, sizeof data);

    if (length > 0)
      pilot_overlay_queue (peer->overlay, pilot_peer_way (peer, path), data, length);
  }
}

static void
settle (PilotOverlay *self,
        PilotStream *stream,
        gint64 now)
{
  PilotStreamLinks *links = pilot_stream_links (stream);
  gint64 deadline = pilot_stream_deadline (stream);

  pilot_turn_order_leave (&self->turns, stream);
  /* A deadline in the past right after asking for output would only spin. */
  if (deadline != G_MAXINT64)
    deadline = MAX (deadline, now + 1);
  links->timer_deadline = deadline;
  pilot_timer_heap_set (&self->timers, &links->timer_index, deadline, stream, PILOT_TIMER_STREAM);
}

typedef struct
{
  PilotTransmit *item;
  guint n_segments;
  gboolean full;
} Batch;

static void
batch_add (PilotOverlay *self,
           Batch *batch,
           const PilotEndpoint *to,
           gsize length)
{
  PilotTransmit *item = batch->item;

  if (batch->n_segments > 0 && length > item->segment_size) {
    /* Made before its size was known: it begins the next batch. */
    memcpy (self->stash, item->data + item->length, length);
    self->stash_length = length;
    self->stash_to = *to;
    batch->full = TRUE;
    return;
  }
  if (batch->n_segments == 0) {
    item->to = *to;
    item->segment_size = length;
  } else if (length < item->segment_size)
    batch->full = TRUE;
  item->length += length;
  if (++batch->n_segments >= MAX_SEGMENTS)
    batch->full = TRUE;
}

/* What the path toward the stream's peer carries in one packet, as far as is known. */
static guint
segment_limit (PilotPeer *peer,
               PilotStream *stream,
               PilotPath path,
               gint64 now)
{
  PilotStreamLinks *links = pilot_stream_links (stream);
  guint limit;

  if (links->path_suspect) {
    links->path_suspect = FALSE;
    pilot_path_mtu_black_hole (&peer->mtu, now);
    pilot_peer_schedule (peer, now);
  }
  if (!pilot_stream_is_own_kind (stream))
    return PILOT_SEGMENT_PAYLOAD;
  limit = pilot_path_mtu_size (&peer->mtu, pilot_peer_way (peer, path), path == PILOT_PATH_RELAY, PILOT_SEGMENT_PAYLOAD);
  /* It was found out by packets with the long one. */
  if (limit > PILOT_SEGMENT_PAYLOAD && has_short_headers (stream))
    limit += PILOT_PACKET_HEADER_SIZE - PILOT_PACKET_SHORT_HEADER_SIZE;
  return limit;
}

/* One turn of one stream. FALSE: it belongs to another endpoint, the batch must leave first. */
static gboolean
batch_take (PilotOverlay *self,
            Batch *batch,
            PilotStream *stream,
            gint64 now)
{
  PilotPeer *peer = pilot_stream_links (stream)->peer;
  PilotTransmit *item = batch->item;
  const gsize left = (gsize) pilot_stream_links (stream)->turn_left;
  gsize total = 0;
  guint n = 0, n_full = 0, limit;
  gboolean more = TRUE;
  PilotPath path;
  const PilotEndpoint *to;

  if (peer == NULL || !pilot_peer_can_send (peer)) {
    settle (self, stream, now);
    return TRUE;
  }
  if (!peer->own_kind && !pilot_overlay_syn_may_go (stream, now)) {
    settle (self, stream, now);
    return TRUE;
  }
  path = pilot_path_choose (&peer->path, self->have_beacon);
  to = pilot_peer_way (peer, path);
  if (batch->n_segments > 0 && !pilot_endpoint_equal (to, &item->to))
    return FALSE;
  limit = segment_limit (peer, stream, path, now);
  while (!batch->full && total < left) {
    PilotStreamSegment segment;
    gsize length;

    if (item->capacity - item->length < SEGMENT_ROOM (limit)) {
      batch->full = TRUE;
      break;
    }
    more = pilot_stream_output (stream, &segment, limit, now);
    if (!more)
      break;
    length = build_segment (stream, peer, &segment, path, item->data + item->length, item->capacity - item->length);
    if (length == 0) {
      /* A fault of the library: the segment is lost as on any path. */
      more = FALSE;
      break;
    }
    batch_add (self, batch, to, length);
    total += length;
    n++;
    n_full += segment.payload_length >= PILOT_SEGMENT_PAYLOAD;
  }
  if (n > 0)
    pilot_peer_sent (peer, path, n, now);
  if (n_full > 0 && pilot_stream_answers_probes (stream) && pilot_path_mtu_used (&peer->mtu, to, path == PILOT_PATH_RELAY, n_full, now))
    pilot_peer_schedule (peer, now);
  if (!pilot_turn_order_sent (&self->turns, stream, total, more, batch->full))
    settle (self, stream, now);
  return TRUE;
}

static void
fill_from_streams (PilotOverlay *self,
                   Batch *batch,
                   gint64 now)
{
  PilotStream *stream;

  while (!batch->full && (stream = pilot_turn_order_next (&self->turns)) != NULL)
    if (!batch_take (self, batch, stream, now))
      break;
}

static gboolean
take_control (PilotOverlay *self,
              PilotTransmit *item)
{
  PilotControlDatagram *datagram;

  if (self->control_next >= self->control->len)
    return FALSE;
  datagram = &g_array_index (self->control, PilotControlDatagram, self->control_next++);
  item->to = datagram->to;
  item->length = datagram->length;
  item->segment_size = datagram->whole ? datagram->length : 0;
  memcpy (item->data, self->control_data->data + datagram->offset, datagram->length);
  if (self->control_next == self->control->len) {
    g_array_set_size (self->control, 0);
    g_byte_array_set_size (self->control_data, 0);
    self->control_next = 0;
  }
  return TRUE;
}

guint
pilot_overlay_transmit (PilotOverlay *self,
                        PilotTransmit *items,
                        guint n_items,
                        gint64 now)
{
  guint n = 0;

  self->now = now;
  while (n < n_items) {
    PilotTransmit *item = &items[n];
    Batch batch = { .item = item };

    g_return_val_if_fail (item->capacity >= PILOT_TRANSMIT_CAPACITY, n);
    item->length = 0;
    item->segment_size = 0;
    if (take_control (self, item))
      batch.n_segments = 1;
    else {
      if (self->stash_length > 0) {
        gsize length = self->stash_length;

        memcpy (item->data, self->stash, length);
        self->stash_length = 0;
        batch_add (self, &batch, &self->stash_to, length);
      }
      fill_from_streams (self, &batch, now);
    }
    if (batch.n_segments == 0)
      break;
    self->stats.datagrams_sent += batch.n_segments;
    self->stats.bytes_sent += item->length;
    n++;
  }
  pilot_overlay_reap_streams (self);
  return n;
}

gint64
pilot_overlay_deadline (PilotOverlay *self)
{
  if (pilot_turn_order_next (&self->turns) != NULL || self->stash_length > 0 || self->control_next < self->control->len)
    return self->now;
  return pilot_timer_heap_deadline (&self->timers);
}
