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

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/short-header/own-nodes", test_own_nodes);
  g_test_add_func ("/short-header/go-peer", test_go_peer);
  g_test_add_func ("/short-header/not-offered", test_not_offered);
  return g_test_run ();
}
