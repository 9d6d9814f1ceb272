/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdint.h>
#include <string.h>

#include "protocol/overlay-private.h"

/*
 * The engine's receive path.  Two overlays agree on keys first; then the input is cut into records, each one datagram: raw, from
 * the beacon, or sealed as an authenticated peer would, so that what lies behind the cipher is reached too.
 *
 * A record: kind u8, length u8 (times 4), bytes.
 */

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

#define NODE_A 7
#define NODE_B 8

static guint64 state;

static void
fuzz_random (guint8 *out,
             gsize length,
             gpointer user_data)
{
  for (gsize i = 0; i < length; i++)
    out[i] = (guint8) ((state = state * 6364136223846793005u + 1442695040888963407u) >> 56);
}

static PilotAdmit
fuzz_admit (guint32 node,
            guint16 port,
            gpointer user_data)
{
  return (PilotAdmit) (port % 3);
}

static gboolean
fuzz_admit_datagram (guint32 node,
                     guint16 port,
                     gpointer user_data)
{
  return port % 2 == 0;
}

static PilotEndpoint
endpoint (guint8 last)
{
  return (PilotEndpoint) { .family = PILOT_ENDPOINT_IPV4, .port = 4000, .address = { 45, 0, 0, last } };
}

static PilotOverlay *
make (guint32 node)
{
  PilotOverlayConfig config = { .node_id = node, .extensions = TRUE, .ed25519_seed = { (guint8) node } };
  PilotOverlayHost host = { fuzz_random, fuzz_admit, NULL, fuzz_admit_datagram };
  PilotEndpoint beacon = endpoint (1);
  PilotOverlay *overlay = pilot_overlay_new (&config, &host, PILOT_SECOND);

  pilot_overlay_set_beacon (overlay, &beacon, PILOT_SECOND);
  return overlay;
}

static void
introduce (PilotOverlay *overlay,
           PilotOverlay *other,
           guint8 last)
{
  PilotReceivedDatagram item = { .from = endpoint (last), .length = PILOT_FRAME_PILA_SIZE };
  guint8 frame[PILOT_FRAME_PILA_SIZE];

  pilot_overlay_set_trusted (overlay, other->node, TRUE, other->identity.public_key, PILOT_SECOND);
  memcpy (frame, other->pila, sizeof frame);
  item.data = frame;
  pilot_overlay_receive (overlay, &item, 1, PILOT_SECOND);
  g_assert (pilot_peer_lookup (overlay, other->node)->session != NULL);
}

/* Does all that a driver would. */
static void
drain (PilotOverlay *overlay,
       gint64 now)
{
  static guint8 buffer[PILOT_TRANSMIT_CAPACITY];
  PilotTransmit item = { .data = buffer, .capacity = sizeof buffer };
  PilotEvent event;

  while (pilot_overlay_next_event (overlay, &event))
    if (event.type == PILOT_EVENT_STREAM_INCOMING)
      pilot_stream_accept (event.stream, now);
    else if (event.type == PILOT_EVENT_STREAM) {
      struct iovec vectors[2];
      guint n = pilot_stream_read_vectors (event.stream, vectors);

      for (guint i = 0; i < n; i++)
        pilot_stream_read_consume (event.stream, vectors[i].iov_len, now);
      if ((event.ready & PILOT_STREAM_READY_CLOSED) != 0)
        pilot_stream_release (event.stream, now);
    } else if (event.type == PILOT_EVENT_DATAGRAM) {
      g_assert (event.length > 0 && event.port % 2 == 0 && event.node == NODE_B);
      /* All of it is there to be read. */
      state ^= pilot_packet_crc32 (0, event.data, event.length);
    } else if (event.type == PILOT_EVENT_NEED_KEY)
      pilot_overlay_peer_key (overlay, event.node, event.node % 2 == 0 ? overlay->identity.public_key : NULL, now);
  while (pilot_overlay_transmit (overlay, &item, 1, now) > 0)
    g_assert (item.length > 0 && item.length <= sizeof buffer);
}

static gsize
seal (PilotOverlay *sender,
      const guint8 *data,
      gsize length,
      gboolean dress,
      guint8 *frame)
{
  PilotPeer *peer = pilot_peer_lookup (sender, NODE_A);
  guint8 *packet = frame + PILOT_FRAME_PILS_HEADER_SIZE;

  memcpy (packet, data, length);
  if (dress && length >= PILOT_PACKET_HEADER_SIZE) {
    /* The fuzzer need not find version, length, addresses and checksum. */
    PilotPacket view = { .flags = data[0] & 15, .protocol = data[1], .source = { 0, NODE_B }, .destination = { 0, NODE_A }, .source_port = data[4], .destination_port = data[5], .window = data[6], .payload = data + 34, .payload_length = (guint32) length - 34 };

    memcpy (&view.seq, data + 8, 4);
    memcpy (&view.ack, data + 12, 4);
    view.short_header = (data[7] & 1) != 0 && view.protocol == PILOT_PROTOCOL_STREAM && (view.flags & PILOT_PACKET_SYN) == 0;
    length = pilot_packet_encode (&view, packet, 2048);
  }
  return pilot_session_seal (peer->session, frame, NODE_B, length);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data,
                        size_t size)
{
  PilotOverlay *a, *b;
  gint64 now = PILOT_SECOND;

  state = 1;
  a = make (NODE_A);
  b = make (NODE_B);
  introduce (a, b, 3);
  introduce (b, a, 2);
  while (size >= 2) {
    guint8 kind = data[0], frame[4096];
    gsize length = MIN ((gsize) data[1] * 4, size - 2);
    PilotReceivedDatagram item = { .from = endpoint (kind % 8 == 1 ? 1 : 3), .data = frame };

    if (kind % 4 >= 2)
      item.length = seal (b, data + 2, length, kind % 4 == 3, frame);
    else {
      memcpy (frame, data + 2, length);
      item.length = length;
    }
    item.segment_size = kind >= 0xf0 ? 40 : kind >= 0xe0 ? PILOT_TRANSPORT_CUT
                                                         : 0;
    now += (gint64) (kind >> 4) * 50 * PILOT_MS;
    pilot_overlay_receive (a, &item, 1, now);
    pilot_overlay_advance (a, now);
    drain (a, now);
    data += 2 + length;
    size -= 2 + length;
  }
  g_assert (pilot_peer_lookup (a, NODE_B)->session != NULL);
  pilot_overlay_free (a);
  pilot_overlay_free (b);
  return 0;
}
