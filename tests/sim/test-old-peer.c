/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "protocol/beacon-message.h"
#include "protocol/bytes.h"
#include "protocol/frame.h"
#include "protocol/overlay-private.h"
#include "sim-pair.h"

/* A peer of an older kind than any Go program we can run, written by hand: its packets are sealed with beta's session, and what alpha sends it is
 * opened here and goes no further. */

#define OLD_PORT 7
#define FIRST_PORT 49200

typedef struct
{
  PilotPacket header; /* its payload is `data` */
  guint8 data[];
} Sent;

typedef struct
{
  Pair pair;
  GQueue sent; /* Sent: what alpha sent to the peer */
  guint frames;
} Old;

static PilotSession *
session_of (Old *old)
{
  return pilot_peer_lookup (old->pair.beta->overlay, old->pair.alpha->node)->session;
}

static gboolean
take (SimHost *from,
      const guint8 *data,
      gsize length,
      gpointer user_data)
{
  Old *old = user_data;
  g_autofree guint8 *copy = g_memdup2 (data, length);
  guint8 *frame = copy;
  PilotSealedFrame sealed;
  PilotPacket packet;
  Sent *sent;
  gsize opened;

  if (from == old->pair.beta)
    return FALSE;
  old->frames++;
  if (length > PILOT_BEACON_RELAY_HEADER_SIZE && data[0] == PILOT_BEACON_RELAY) {
    frame += PILOT_BEACON_RELAY_HEADER_SIZE;
    length -= PILOT_BEACON_RELAY_HEADER_SIZE;
  }
  if (pilot_frame_classify (frame, length) != PILOT_FRAME_PILS)
    return FALSE;
  g_assert_true (pilot_frame_parse_pils (&sealed, frame, length));
  g_assert_true (pilot_frame_open_pils (&sealed, session_of (old)->aead, &opened));
  g_assert_cmpint (pilot_packet_decode (&packet, sealed.sealed, opened), ==, PILOT_PACKET_OK);
  /* Peers since 1.12.1 drop what does not say who sent it. */
  g_assert_cmpuint (packet.source.node, ==, old->pair.alpha->node);
  sent = g_malloc (sizeof *sent + packet.payload_length);
  sent->header = packet;
  memcpy (sent->data, packet.payload, packet.payload_length);
  sent->header.payload = sent->data;
  g_queue_push_tail (&old->sent, sent);
  return FALSE;
}

static void
old_start (Old *old)
{
  old->pair = pair_new (-1, -1);
  g_queue_init (&old->sent);
  old->frames = 0;
  pair_start (&old->pair);
  g_assert_true (pair_ping (&old->pair, old->pair.alpha, old->pair.beta, SIM_SECOND));
  /* Until all probes are over and the path is direct. */
  pair_run (&old->pair, 5 * SIM_SECOND);
  old->pair.sim->passes = take;
  old->pair.sim->passes_data = old;
}

static void
old_end (Old *old)
{
  old->pair.sim->passes = NULL;
  g_queue_clear_full (&old->sent, g_free);
  pair_end (&old->pair);
}

static PilotPacket
packet_to_alpha (Old *old,
                 guint8 protocol,
                 guint8 flags)
{
  return (PilotPacket) { .protocol = protocol, .flags = flags, .source = { 0, old->pair.beta->node }, .destination = { 0, old->pair.alpha->node }, .window = 512 };
}

static void
old_send (Old *old,
          const PilotPacket *packet)
{
  g_autofree guint8 *frame = g_malloc (PILOT_FRAME_RECEIVE_SIZE + PILOT_FRAME_PACKET_OVERHEAD);
  gsize length = pilot_packet_encode (packet, frame + PILOT_FRAME_PILS_HEADER_SIZE, PILOT_FRAME_RECEIVE_SIZE);

  g_assert_cmpuint (length, >, 0);
  length = pilot_session_seal (session_of (old), frame, old->pair.beta->node, length);
  sim_inject (old->pair.alpha, &old->pair.beta->endpoint, frame, length);
  pair_run (&old->pair, SIM_MS);
}

/* (transfer full) The next packet of this protocol that alpha sent; NULL when there is none. Others are dropped. */
static Sent *
old_next (Old *old,
          guint8 protocol)
{
  Sent *sent;

  while ((sent = g_queue_pop_head (&old->sent)) != NULL && sent->header.protocol != protocol)
    g_free (sent);
  return sent;
}

static void
forget_sent (Old *old)
{
  g_queue_clear_full (&old->sent, g_free);
  old->frames = 0;
}

typedef struct
{
  SimFlow *flow;
  guint16 port; /* alpha's */
  guint32 isn;  /* of alpha */
  guint32 seq;  /* ours, of the next byte */
  guint32 ack;  /* alpha's next byte */
} OldStream;

/* alpha dials, and is answered as Go answers: no word of extensions. */
static OldStream
old_accept (Old *old,
            guint64 there,
            guint64 back)
{
  OldStream stream = { .flow = pair_dial (&old->pair, SIM_FLOW_BOTH, there, back), .seq = 1 };
  g_autofree Sent *syn = NULL;
  PilotPacket answer = packet_to_alpha (old, PILOT_PROTOCOL_STREAM, PILOT_PACKET_SYN | PILOT_PACKET_ACK);

  pair_run (&old->pair, 10 * SIM_MS);
  syn = old_next (old, PILOT_PROTOCOL_STREAM);
  g_assert_nonnull (syn);
  g_assert_cmpuint (syn->header.flags, ==, PILOT_PACKET_SYN);
  stream.port = syn->header.source_port;
  stream.isn = syn->header.seq;
  stream.ack = stream.isn + 1;
  answer.source_port = syn->header.destination_port;
  answer.destination_port = stream.port;
  answer.ack = stream.ack;
  old_send (old, &answer);
  return stream;
}

static PilotPacket
stream_packet (Old *old,
               OldStream *stream)
{
  PilotPacket packet = packet_to_alpha (old, PILOT_PROTOCOL_STREAM, PILOT_PACKET_ACK);

  packet.source_port = stream->flow->port;
  packet.destination_port = stream->port;
  packet.seq = stream->seq;
  packet.ack = stream->ack;
  return packet;
}

static void
send_segment (Old *old,
              OldStream *stream,
              guint64 at,
              gsize length)
{
  g_autofree guint8 *data = g_malloc (length);
  PilotPacket packet = stream_packet (old, stream);

  for (gsize i = 0; i < length; i++)
    data[i] = sim_flow_content (stream->flow, FALSE, at + i);
  packet.seq = 1 + (guint32) at;
  packet.payload = data;
  packet.payload_length = (guint32) length;
  old_send (old, &packet);
}

/* Segments of 4096 bytes, which v1.9 to v1.14 send, and far larger ones: in order, out of order, twice. The content is checked byte by byte. */
static void
test_large_segments (void)
{
  static const gsize sizes[] = { 4096, 16384, 65535 };
  Old old;

  old_start (&old);
  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++) {
    OldStream stream = old_accept (&old, 0, 8 * sizes[i]);
    guint32 acknowledged = 1;
    Sent *sent;

    for (guint k = 0; k < 3; k++)
      send_segment (&old, &stream, k * sizes[i], sizes[i]);
    g_assert_cmpuint (stream.flow->client.read, ==, 3 * sizes[i]);
    /* The fourth comes last. */
    for (guint k = 4; k < 8; k++)
      send_segment (&old, &stream, k * sizes[i], sizes[i]);
    g_assert_cmpuint (stream.flow->client.read, ==, 3 * sizes[i]);
    send_segment (&old, &stream, 2 * sizes[i], sizes[i]);
    send_segment (&old, &stream, 3 * sizes[i], sizes[i]);
    g_assert_cmpuint (stream.flow->client.read, ==, 8 * sizes[i]);
    pair_run (&old.pair, 10 * SIM_MS);
    while ((sent = old_next (&old, PILOT_PROTOCOL_STREAM)) != NULL) {
      acknowledged = pilot_seq_max (acknowledged, sent->header.ack);
      g_free (sent);
    }
    g_assert_cmpuint (acknowledged, ==, 1 + 8 * sizes[i]);
  }
  old_end (&old);
}

/* To a peer without our extension no segment is larger than 1152 bytes: not on a fast path, not after a loss, not to one that sends 4096 itself. */
static void
test_small_segments (void)
{
  const guint64 there = 3000000;
  Old old;
  OldStream stream;
  guint lost = 0;

  old_start (&old);
  stream = old_accept (&old, there, 4096);
  send_segment (&old, &stream, 0, 4096);
  stream.seq += 4096;
  for (guint turn = 0; turn < 20000 && stream.ack != stream.isn + 1 + there; turn++) {
    gboolean heard = FALSE;
    Sent *sent;

    while ((sent = old_next (&old, PILOT_PROTOCOL_STREAM)) != NULL) {
      g_assert_cmpuint (sent->header.payload_length, <=, 1152);
      /* Every hundredth is lost, so that the same bytes come again. */
      if (sent->header.payload_length > 0 && ++lost % 100 == 0) {
        g_free (sent);
        continue;
      }
      heard = TRUE;
      if (sent->header.payload_length > 0 && sent->header.seq == stream.ack) {
        for (guint32 i = 0; i < sent->header.payload_length; i++)
          g_assert_cmphex (sent->data[i], ==, sim_flow_content (stream.flow, TRUE, sent->header.seq - stream.isn - 1 + i));
        stream.ack += sent->header.payload_length;
      }
      g_free (sent);
    }
    if (heard) {
      PilotPacket packet = stream_packet (&old, &stream);

      old_send (&old, &packet);
    } else
      pair_run (&old.pair, 10 * SIM_MS);
  }
  g_assert_cmpuint (stream.ack - stream.isn - 1, ==, there);
  old_end (&old);
}

/* Whatever has the ACK flag is an answer or a probe: v1.9 answers it, and two that do so never stop. */
static void
test_acknowledged_pings (void)
{
  static const struct
  {
    guint32 seq, ack;
    guint16 source_port;
    const char *payload;
  } cases[] = {
    { 7, 8, 0, "ping" },          /* a pong nobody asked for */
    { 0, 1, 0, "" },              /* what v1.9 says to our keepalive, */
    { 1, 2, 0, "" },              /* to our probe, */
    { 0, 1, 0, "pathprobe.v1" },  /* to our path probe */
    { 7, 0, FIRST_PORT, "ping" }, /* a ping that is none */
    { 0, 0, 0, "pathprobe.v1" },
    { 0, 0, FIRST_PORT, "" },
  };
  Old old;

  old_start (&old);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    for (guint k = 0; k < 20; k++) {
      PilotPacket packet = packet_to_alpha (&old, PILOT_PROTOCOL_CONTROL, PILOT_PACKET_ACK);

      packet.seq = cases[i].seq;
      packet.ack = cases[i].ack;
      packet.source_port = cases[i].source_port;
      packet.payload = (const guint8 *) cases[i].payload;
      packet.payload_length = (guint32) strlen (cases[i].payload);
      /* Well within the 25 s after which alpha has to say something again. */
      forget_sent (&old);
      old_send (&old, &packet);
      pair_run (&old.pair, 60 * SIM_MS);
      if (old.frames != 0)
        g_error ("case %u: alpha answers", i);
    }
  g_assert_cmpuint (old.pair.alpha->pongs, ==, 1);
  old_end (&old);
}

/* A ping is answered once, also one that names no destination (path probes of 1.13.0 to 1.13.9), and on no other port. */
static void
test_pings (void)
{
  Old old;

  old_start (&old);
  for (guint i = 0; i < 3; i++) {
    PilotPacket ping = packet_to_alpha (&old, PILOT_PROTOCOL_CONTROL, 0);
    Sent *pong;

    if (i == 1)
      ping.destination.node = 0;
    ping.source_port = FIRST_PORT;
    ping.destination_port = i == 2 ? PILOT_PORT_CONTROL : PILOT_PORT_PING;
    ping.seq = 7 + i;
    ping.payload = (const guint8 *) "ping";
    ping.payload_length = 4;
    forget_sent (&old);
    old_send (&old, &ping);
    pong = old_next (&old, PILOT_PROTOCOL_CONTROL);
    g_assert_true ((pong == NULL) == (i == 2));
    if (pong == NULL)
      break;
    g_assert_cmpuint (pong->header.flags, ==, PILOT_PACKET_ACK);
    g_assert_cmpuint (pong->header.source_port, ==, 0);
    g_assert_cmpuint (pong->header.destination_port, ==, FIRST_PORT);
    g_assert_cmpuint (pong->header.seq, ==, 7 + i);
    g_assert_cmpuint (pong->header.ack, ==, 8 + i);
    g_assert_cmpmem (pong->data, pong->header.payload_length, "ping", 4);
    g_free (pong);
    g_assert_null (old_next (&old, PILOT_PROTOCOL_CONTROL));
  }
  old_end (&old);
}

/* The keepalive of 1.9.1 to 1.12.0 says nothing of its sender: it counts as a sign of life, and is the only packet that may be so. */
static void
test_legacy_keepalive (void)
{
  Old old;
  PilotOverlayStats stats;
  PilotPacket packet;
  gint64 heard;

  old_start (&old);
  pair_run (&old.pair, SIM_SECOND);
  packet = (PilotPacket) { .protocol = PILOT_PROTOCOL_CONTROL };
  forget_sent (&old);
  old_send (&old, &packet);
  heard = pair_peer (old.pair.alpha, old.pair.beta).last_receive_us;
  g_assert_cmpint (heard, >, old.pair.sim->now - 10 * SIM_MS);
  g_assert_cmpuint (old.frames, ==, 0);
  pair_run (&old.pair, 100 * SIM_MS);
  /* Any other packet without a sender, or in somebody else's name, is refused. */
  for (guint i = 0; i < 3; i++) {
    packet = packet_to_alpha (&old, i == 2 ? PILOT_PROTOCOL_STREAM : PILOT_PROTOCOL_CONTROL, i == 2 ? PILOT_PACKET_SYN : 0);
    packet.source.node = i == 0 ? 0 : 4711;
    packet.payload = (const guint8 *) "ping";
    packet.payload_length = i == 2 ? 0 : 4;
    old_send (&old, &packet);
    pilot_overlay_stats (old.pair.alpha->overlay, &stats);
    g_assert_cmpuint (stats.dropped_spoofed, ==, i + 1);
  }
  g_assert_cmpuint (old.frames, ==, 0);
  g_assert_cmpint (pair_peer (old.pair.alpha, old.pair.beta).last_receive_us, ==, heard);
  old_end (&old);
}

/* v1.3 and v1.9 send packets in the clear when they wait for a key: never taken, direct or relayed, and never sent. */
static void
test_clear_text (void)
{
  Old old;
  PilotPacket ping;
  guint8 frame[PILOT_FRAME_PILT_HEADER_SIZE + PILOT_PACKET_HEADER_SIZE + 4] = "PILT", relayed[5 + sizeof frame] = { PILOT_BEACON_RELAY_DELIVER };

  old_start (&old);
  ping = packet_to_alpha (&old, PILOT_PROTOCOL_CONTROL, 0);
  ping.source_port = FIRST_PORT;
  ping.payload = (const guint8 *) "ping";
  ping.payload_length = 4;
  g_assert_cmpuint (pilot_packet_encode (&ping, frame + PILOT_FRAME_PILT_HEADER_SIZE, sizeof frame - PILOT_FRAME_PILT_HEADER_SIZE), ==, 38);
  pilot_bytes_put_u32 (relayed + 1, old.pair.beta->node);
  memcpy (relayed + 5, frame, sizeof frame);
  forget_sent (&old);
  sim_inject (old.pair.alpha, &old.pair.beta->endpoint, frame, sizeof frame);
  sim_inject (old.pair.alpha, &old.pair.sim->beacon, relayed, sizeof relayed);
  pair_run (&old.pair, 100 * SIM_MS);
  g_assert_cmpuint (old.frames, ==, 0);
  old_end (&old);
}

int
main (int argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/old-peer/large-segments", test_large_segments);
  g_test_add_func ("/old-peer/small-segments", test_small_segments);
  g_test_add_func ("/old-peer/acknowledged-pings", test_acknowledged_pings);
  g_test_add_func ("/old-peer/pings", test_pings);
  g_test_add_func ("/old-peer/legacy-keepalive", test_legacy_keepalive);
  g_test_add_func ("/old-peer/clear-text", test_clear_text);
  return g_test_run ();
}
