/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/frame.h"
#include "protocol/overlay-private.h"
#include "sim-pair.h"

/* Which packets leave out their checksum, addresses and length (docs/extensions.md, types 7 and 8): opened on their way. */

typedef struct
{
  Pair pair;
  guint opening, summed, unsummed, brief; /* packets with SYN, and others: with and without a checksum, and with a short header */
} Seen;

static gboolean
look (SimHost *from, const guint8 *data, gsize length, gpointer user_data)
{
  Seen *seen = user_data;
  SimHost *to = from == seen->pair.alpha ? seen->pair.beta : seen->pair.alpha;
  g_autofree guint8 *copy = g_memdup2 (data, length);
  PilotPeer *peer = pilot_peer_lookup (to->overlay, from->node);
  PilotSealedFrame sealed;
  PilotPacket packet;
  gsize opened;

  if (pilot_frame_classify (copy, length) != PILOT_FRAME_PILS || peer == NULL || peer->session == NULL)
    return TRUE;
  g_assert_true (pilot_frame_parse_pils (&sealed, copy, length));
  g_assert_true (pilot_frame_open_pils (&sealed, peer->session->aead, &opened));
  g_assert_cmpint (pilot_packet_decode_sealed (&packet, sealed.sealed, opened), ==, PILOT_PACKET_OK);
  if (packet.protocol != PILOT_PROTOCOL_STREAM || (packet.flags & PILOT_PACKET_SYN) != 0) {
    g_assert_false (packet.unsummed || packet.short_header);
    seen->opening += packet.protocol == PILOT_PROTOCOL_STREAM;
  } else if (packet.short_header)
    seen->brief++;
  else if (packet.unsummed)
    seen->unsummed++;
  else
    seen->summed++;
  return TRUE;
}

static Seen
transfer (gboolean alpha_extends, gboolean beta_extends)
{
  Seen seen = { .pair = pair_new (-1, -1) };
  SimFlow *flow;

  seen.pair.sim->extensions = alpha_extends;
  sim_host_start (seen.pair.alpha);
  seen.pair.sim->extensions = beta_extends;
  sim_host_start (seen.pair.beta);
  pair_run (&seen.pair, SIM_SECOND);
  g_assert_true (pair_ping (&seen.pair, seen.pair.alpha, seen.pair.beta, SIM_SECOND));
  pair_run (&seen.pair, 5 * SIM_SECOND);
  seen.pair.sim->passes = look;
  seen.pair.sim->passes_data = &seen;
  flow = pair_dial (&seen.pair, SIM_FLOW_BOTH, 300000, 200000);
  pair_run (&seen.pair, 150 * SIM_SECOND);
  g_assert_true (flow->ended);
  g_assert_cmpint (flow->error, ==, PILOT_STREAM_ERROR_NONE);
  seen.pair.sim->passes = NULL;
  pair_end (&seen.pair);
  g_assert_cmpuint (seen.opening, >=, 2);
  return seen;
}

static void
test_own_nodes (void)
{
  Seen seen = transfer (TRUE, TRUE);

  g_assert_cmpuint (seen.summed + seen.unsummed, ==, 0);
  g_assert_cmpuint (seen.brief, >, 50);
}

static void
test_go_peer (void)
{
  for (guint i = 0; i < 3; i++) {
    Seen seen = transfer (i == 1, i == 2);

    g_assert_cmpuint (seen.unsummed + seen.brief, ==, 0);
    g_assert_cmpuint (seen.summed, >, 400);
  }
}

/* A node that has not offered it drops what has no checksum, as Go does. */
static void
test_not_offered (void)
{
  for (guint extends = 0; extends < 2; extends++) {
    Pair w = pair_new (-1, -1);
    PilotPacket ping = { .protocol = PILOT_PROTOCOL_CONTROL, .payload = (const guint8 *) "x", .payload_length = 1, .unsummed = TRUE };
    guint8 frame[256];
    PilotSession *session;
    guint64 malformed;
    gsize length;

    w.sim->extensions = extends != 0;
    pair_start (&w);
    g_assert_true (pair_ping (&w, w.alpha, w.beta, SIM_SECOND));
    session = pilot_peer_lookup (w.beta->overlay, w.alpha->node)->session;
    ping.source.node = w.beta->node;
    ping.destination.node = w.alpha->node;
    malformed = w.alpha->overlay->stats.dropped_malformed;
    length = pilot_packet_encode (&ping, frame + PILOT_FRAME_PILS_HEADER_SIZE, 128);
    length = pilot_session_seal (session, frame, w.beta->node, length);
    sim_inject (w.alpha, &w.beta->endpoint, frame, length);
    pair_run (&w, SIM_MS);
    g_assert_cmpuint (w.alpha->overlay->stats.dropped_malformed, ==, malformed + 1 - extends);
    pair_end (&w);
  }
}

typedef struct
{
  Pair pair;
  guint large, placed;
} Places;

static gboolean
is_placed (PilotPeer *peer, const PilotPacket *packet)
{
  guint8 head[PILOT_PACKET_SHORT_HEADER_SIZE];
  PilotPacket only_head = *packet;

  only_head.payload_length = 0;
  g_assert_cmpuint (pilot_packet_encode (&only_head, head, sizeof head), ==, sizeof head);
  return pilot_overlay_place (head, packet->payload_length, peer) != NULL;
}

/* Asks where a large segment would go, and where one that is not quite it; and somebody forges one that looks like it to him who does not see inside. */
static gboolean
look_for_places (SimHost *from, const guint8 *data, gsize length, gpointer user_data)
{
  Places *places = user_data;
  SimHost *to = places->pair.beta;
  g_autofree guint8 *copy = g_memdup2 (data, length);
  PilotPeer *peer = pilot_peer_lookup (to->overlay, from->node);
  PilotSealedFrame sealed;
  PilotPacket packet, other;
  gsize opened;

  if (from == to || length < 8192 || pilot_frame_classify (copy, length) != PILOT_FRAME_PILS)
    return TRUE;
  g_assert_true (pilot_frame_parse_pils (&sealed, copy, length));
  g_assert_true (pilot_frame_open_pils (&sealed, peer->session->aead, &opened));
  if (pilot_packet_decode_sealed (&packet, sealed.sealed, opened) != PILOT_PACKET_OK || !packet.short_header)
    return TRUE;
  places->large++;
  if (is_placed (peer, &packet)) {
    places->placed++;
    for (guint i = 0; i < 4; i++) {
      other = packet;
      other.seq += i == 0;
      other.source_port += i == 1;
      other.flags |= i == 2 ? PILOT_PACKET_FIN : 0;
      other.payload_length = i == 3 ? PILOT_PACKET_MAX_PAYLOAD * 1024 : 65000;
      g_assert_false (is_placed (peer, &other));
    }
  }
  memcpy (copy, data, length);
  copy[length - 1] ^= 1;
  sim_inject (to, &from->endpoint, copy, length);
  return TRUE;
}

/* What is opened straight into its place arrives whole, whatever was forged meanwhile; the flow looks at every byte. */
static void
test_placed (void)
{
  Places places = { .pair = pair_new (-1, -1) };
  Pair *w = &places.pair;
  SimFlow *flow;

  w->alpha->link.mtu = w->beta->link.mtu = 65535;
  pair_start (w);
  w->sim->passes = look_for_places;
  w->sim->passes_data = &places;
  flow = pair_dial (w, SIM_FLOW_BOTH, 16 * 1024 * 1024, 1000);
  pair_run (w, 60 * SIM_SECOND);
  g_assert_true (flow->ended && flow->error == PILOT_STREAM_ERROR_NONE);
  w->sim->passes = NULL;
  g_test_message ("%u of %u large segments have their place when they leave", places.placed, places.large);
  g_assert_cmpuint (places.placed, >, 0);
  g_assert_cmpuint (w->beta->overlay->stats.open_failures, >=, places.large);
  pair_end (w);
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/short-header/own-nodes", test_own_nodes);
  g_test_add_func ("/short-header/placed", test_placed);
  g_test_add_func ("/short-header/go-peer", test_go_peer);
  g_test_add_func ("/short-header/not-offered", test_not_offered);
  return g_test_run ();
}
