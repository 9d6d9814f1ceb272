/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "sim-pair.h"

#include <string.h>

#include "protocol/beacon-message.h"
#include "protocol/frame.h"
#include "protocol/overlay-private.h"

/* Sessions, key exchange and paths between two hosts of a small world, watched with pings. */

static void
test_direct (void)
{
  Pair w = pair_new (-1, -1);

  pair_start (&w);
  g_assert_false (pair_peer (w.alpha, w.beta).session);
  /* Key exchange and ping: two round trips. */
  g_assert_true (pair_ping (&w, w.alpha, w.beta, 100 * SIM_MS));
  pair_run (&w, 2 * SIM_SECOND);
  g_assert_true (pair_peer (w.alpha, w.beta).confirmed);
  g_assert_true (pair_peer (w.beta, w.alpha).confirmed);
  g_assert_cmpint (pair_peer (w.alpha, w.beta).path, ==, PILOT_PATH_DIRECT);
  g_assert_cmpint (pair_peer (w.beta, w.alpha).path, ==, PILOT_PATH_DIRECT);
  pair_end (&w);
}

static void
test_nat (gconstpointer data)
{
  const gint *nats = data;
  Pair w = pair_new (nats[0], nats[1]);

  pair_start (&w);
  g_assert_true (pair_ping (&w, w.alpha, w.beta, SIM_SECOND));
  pair_run (&w, 20 * SIM_SECOND);
  g_assert_true (pair_ping (&w, w.beta, w.alpha, SIM_SECOND));
  g_assert_cmpint (pair_peer (w.alpha, w.beta).path, ==, nats[2]);
  g_assert_cmpint (pair_peer (w.beta, w.alpha).path, ==, nats[2]);
  pair_end (&w);
}

static void
test_simultaneous (void)
{
  Pair w = pair_new (-1, -1);

  pair_start (&w);
  pilot_overlay_ping (w.alpha->overlay, w.beta->node, w.sim->now);
  pilot_overlay_ping (w.beta->overlay, w.alpha->node, w.sim->now);
  sim_host_run (w.alpha);
  sim_host_run (w.beta);
  pair_run (&w, 200 * SIM_MS);
  g_assert_cmpuint (w.alpha->pongs, ==, 1);
  g_assert_cmpuint (w.beta->pongs, ==, 1);
  pair_end (&w);
}

static void
test_lost_exchange (void)
{
  Pair w = pair_new (-1, -1);

  pair_start (&w);
  w.beta->link.down_until = w.sim->now + 400 * SIM_MS;
  g_assert_true (pair_ping (&w, w.alpha, w.beta, 700 * SIM_MS));
  pair_end (&w);
}

static void
test_no_key (void)
{
  Pair w = pair_new (-1, -1);

  w.sim->pins = FALSE;
  pair_start (&w);
  g_assert_true (pair_ping (&w, w.alpha, w.beta, 200 * SIM_MS));
  pair_end (&w);
}

static void
test_unregistered_key (void)
{
  Pair w = pair_new (-1, -1);

  w.sim->pins = FALSE;
  w.sim->lie_about = 1;
  pair_start (&w);
  g_assert_false (pair_ping (&w, w.alpha, w.beta, 20 * SIM_SECOND));
  g_assert_false (pair_peer (w.alpha, w.beta).session);
  pair_end (&w);
}

/* The registry names, and somebody holds, another key than trust was given to. */
static void
test_lying_registry (void)
{
  Pair w = pair_new (-1, -1);
  PilotIdentity impostor;
  guint8 seed[PILOT_ED25519_SEED_SIZE] = { 99 };

  pair_start (&w);
  pilot_identity_init (&impostor, seed);
  memcpy (w.sim->lie, impostor.public_key, sizeof w.sim->lie);
  w.sim->lie_about = 1;
  sim_host_stop (w.beta);
  w.beta->identity = impostor;
  sim_host_start (w.beta);
  pair_run (&w, SIM_SECOND);
  g_assert_false (pair_ping (&w, w.alpha, w.beta, 5 * SIM_SECOND));
  g_assert_false (pair_peer (w.alpha, w.beta).session);
  g_assert_true (pair_peer (w.alpha, w.beta).key_mismatch);
  g_assert_cmpuint (w.alpha->key_events, >=, 1);
  pair_end (&w);
}

/* The registry named one key when the session was made and names another when trust is given to that other: nothing of the first is left. */
static void
test_key_answered_later (void)
{
  Pair w = pair_new (-1, -1);
  PilotIdentity other;
  guint8 seed[PILOT_ED25519_SEED_SIZE] = { 99 };

  w.sim->pins = FALSE;
  pair_start (&w);
  g_assert_true (pair_ping (&w, w.alpha, w.beta, SIM_SECOND));
  g_assert_true (pair_peer (w.alpha, w.beta).confirmed);
  /* The same answer again changes nothing. */
  pilot_overlay_peer_key (w.alpha->overlay, w.beta->node, w.beta->identity.public_key, w.sim->now);
  g_assert_true (pair_peer (w.alpha, w.beta).confirmed);
  pilot_identity_init (&other, seed);
  pilot_overlay_peer_key (w.alpha->overlay, w.beta->node, other.public_key, w.sim->now);
  pilot_overlay_set_trusted (w.alpha->overlay, w.beta->node, TRUE, other.public_key, w.sim->now);
  g_assert_false (pair_peer (w.alpha, w.beta).session);
  g_assert_false (pair_ping (&w, w.alpha, w.beta, 5 * SIM_SECOND));
  g_assert_false (pair_ping (&w, w.beta, w.alpha, 5 * SIM_SECOND));
  g_assert_false (pair_peer (w.alpha, w.beta).session);
  pair_end (&w);
}

static void
test_restart (void)
{
  Pair w = pair_new (-1, -1);

  pair_start (&w);
  g_assert_true (pair_ping (&w, w.alpha, w.beta, SIM_SECOND));
  sim_host_stop (w.beta);
  pair_run (&w, SIM_SECOND);
  sim_host_start (w.beta);
  pair_run (&w, SIM_SECOND);
  /* The first is sealed for the dead process; its successor answers with its key. */
  g_assert_false (pair_ping (&w, w.alpha, w.beta, 200 * SIM_MS));
  g_assert_true (pair_ping (&w, w.alpha, w.beta, 200 * SIM_MS));
  /* And the other way round. */
  sim_host_stop (w.beta);
  sim_host_start (w.beta);
  g_assert_true (pair_ping (&w, w.beta, w.alpha, 200 * SIM_MS));
  g_assert_true (pair_ping (&w, w.alpha, w.beta, 200 * SIM_MS));
  pair_end (&w);
}

/* Forged frames, and the signed key exchange of an earlier run of the peer, change nothing for long. */
static void
test_recordings (void)
{
  Pair w = pair_new (-1, -1);
  guint8 old[PILOT_FRAME_PILA_SIZE], rubbish[80] = "PILS", key[32] = { 5, 5, 5 };

  pair_start (&w);
  g_assert_true (pair_ping (&w, w.alpha, w.beta, SIM_SECOND));
  pilot_frame_build_pila (old, w.beta->node, key, &w.beta->identity);
  rubbish[7] = (guint8) w.beta->node;
  pair_run (&w, 5 * SIM_SECOND);
  for (guint i = 0; i < 20; i++) {
    rubbish[15] = (guint8) i;
    pair_inject (&w, rubbish, sizeof rubbish);
  }
  pair_run (&w, 10 * SIM_MS);
  g_assert_true (pair_ping (&w, w.alpha, w.beta, 100 * SIM_MS));
  for (guint i = 0; i < 5; i++) {
    pair_inject (&w, old, sizeof old);
    /* Only the first has any effect, and alpha finds out by itself. */
    pair_run (&w, i == 0 ? 700 * SIM_MS : SIM_MS);
    g_assert_true (pair_ping (&w, w.alpha, w.beta, 100 * SIM_MS));
  }
  pair_end (&w);
}

static void
test_request_installs_nothing (void)
{
  Pair w = pair_new (-1, -1);
  guint8 frame[PILOT_FRAME_PILK_SIZE], key[32] = { 9 };
  PilotOverlayStats before, after;

  pair_start (&w);
  pilot_frame_build_pilk (frame, w.beta->node, key);
  pilot_overlay_stats (w.alpha->overlay, &before);
  pair_inject (&w, frame, sizeof frame);
  pair_run (&w, 10 * SIM_MS);
  pilot_overlay_stats (w.alpha->overlay, &after);
  g_assert_false (pair_peer (w.alpha, w.beta).session);
  g_assert_cmpuint (after.datagrams_sent, >, before.datagrams_sent);
  pair_end (&w);
}

static void
test_silent (void)
{
  Pair w = pair_new (-1, -1);

  pair_start (&w);
  sim_host_stop (w.beta);
  g_assert_false (pair_ping (&w, w.alpha, w.beta, 18 * SIM_SECOND));
  g_assert_true (pair_peer (w.alpha, w.beta).silent);
  sim_host_start (w.beta);
  g_assert_true (pair_ping (&w, w.beta, w.alpha, SIM_SECOND));
  g_assert_false (pair_peer (w.alpha, w.beta).silent);
  pair_end (&w);
}

static void
test_untrust (void)
{
  Pair w = pair_new (-1, -1);

  pair_start (&w);
  g_assert_true (pair_ping (&w, w.alpha, w.beta, SIM_SECOND));
  pilot_overlay_set_trusted (w.alpha->overlay, w.beta->node, FALSE, NULL, w.sim->now);
  g_assert_false (pair_peer (w.alpha, w.beta).session);
  pair_end (&w);
}

static void
test_rebind (void)
{
  Pair w = pair_new (SIM_NAT_PORT_RESTRICTED, SIM_NAT_PORT_RESTRICTED);

  pair_start (&w);
  g_assert_true (pair_ping (&w, w.alpha, w.beta, SIM_SECOND));
  pair_run (&w, 5 * SIM_SECOND);
  sim_nat_rebind (&w.sim->nats[w.beta->nat]);
  pair_run (&w, 60 * SIM_SECOND);
  g_assert_true (pair_ping (&w, w.alpha, w.beta, SIM_SECOND));
  g_assert_true (pair_ping (&w, w.beta, w.alpha, SIM_SECOND));
  pair_end (&w);
}

/* Three path probes after 55 s of silence, then the path is given up; the session stays. */
static void
test_watch (void)
{
  Pair w = pair_new (-1, -1);

  pair_start (&w);
  g_assert_true (pair_ping (&w, w.alpha, w.beta, SIM_SECOND));
  sim_host_stop (w.beta);
  pair_run (&w, 80 * SIM_SECOND);
  g_assert_false (pair_peer (w.alpha, w.beta).silent);
  pair_run (&w, 10 * SIM_SECOND);
  g_assert_true (pair_peer (w.alpha, w.beta).silent);
  g_assert_true (pair_peer (w.alpha, w.beta).session);
  pair_end (&w);
}

/* A peer that is there sends keepalives while there is something between the two; one that is not is missed after 40 s. */
static void
test_unheard (void)
{
  Pair w = pair_new (-1, -1);

  pair_start (&w);
  g_assert_true (pair_ping (&w, w.alpha, w.beta, SIM_SECOND));
  pair_run (&w, 115 * SIM_SECOND);
  g_assert_false (pair_peer (w.alpha, w.beta).unheard);
  g_assert_true (pair_ping (&w, w.alpha, w.beta, SIM_SECOND));
  sim_host_stop (w.beta);
  pair_run (&w, 38 * SIM_SECOND);
  g_assert_false (pair_peer (w.alpha, w.beta).unheard);
  pair_run (&w, 4 * SIM_SECOND);
  g_assert_true (pair_peer (w.alpha, w.beta).unheard);
  g_assert_false (pair_peer (w.alpha, w.beta).resting);
  sim_host_start (w.beta);
  g_assert_true (pair_ping (&w, w.beta, w.alpha, SIM_SECOND));
  g_assert_false (pair_peer (w.alpha, w.beta).unheard);
  pair_end (&w);
}

/* When neither has had anything to say for two minutes keepalives end, and nothing is missed. */
static void
test_resting (void)
{
  Pair w = pair_new (-1, -1);

  pair_start (&w);
  g_assert_true (pair_ping (&w, w.alpha, w.beta, SIM_SECOND));
  pair_run (&w, 300 * SIM_SECOND);
  g_assert_true (pair_peer (w.alpha, w.beta).session);
  g_assert_true (pair_peer (w.alpha, w.beta).unheard);
  g_assert_true (pair_peer (w.alpha, w.beta).resting);
  g_assert_true (pair_ping (&w, w.alpha, w.beta, SIM_SECOND));
  g_assert_false (pair_peer (w.alpha, w.beta).unheard);
  g_assert_false (pair_peer (w.alpha, w.beta).resting);
  pair_end (&w);
}

static void
test_network_changed (void)
{
  Pair w = pair_new (-1, -1);

  pair_start (&w);
  g_assert_true (pair_ping (&w, w.alpha, w.beta, SIM_SECOND));
  pair_run (&w, 5 * SIM_SECOND);
  g_assert_cmpint (pair_peer (w.alpha, w.beta).path, ==, PILOT_PATH_DIRECT);
  w.alpha->endpoint.port++;
  pilot_overlay_network_changed (w.alpha->overlay, w.sim->now);
  sim_host_run (w.alpha);
  g_assert_true (pair_ping (&w, w.alpha, w.beta, 100 * SIM_MS));
  g_assert_true (pair_ping (&w, w.beta, w.alpha, 100 * SIM_MS));
  pair_run (&w, 20 * SIM_SECOND);
  g_assert_cmpint (pair_peer (w.alpha, w.beta).path, ==, PILOT_PATH_DIRECT);
  g_assert_cmpuint (pair_peer (w.beta, w.alpha).endpoint.port, ==, w.alpha->endpoint.port);
  pair_end (&w);
}

/* Whoever proves nothing costs nothing. */
static void
test_flood (void)
{
  Pair w = pair_new (-1, -1);
  PilotIdentity identity;
  guint8 seed[PILOT_ED25519_SEED_SIZE] = { 77 }, key[32] = { 6 }, frame[PILOT_FRAME_PILA_SIZE];
  PilotOverlayStats stats;

  pair_start (&w);
  pilot_identity_init (&identity, seed);
  for (guint i = 0; i < 5000; i++) {
    PilotEndpoint from = sim_endpoint (0x2d000001 + i, 4000);

    pilot_frame_build_pila (frame, 1000 + i, key, &identity);
    sim_inject (w.alpha, &from, frame, sizeof frame);
  }
  pair_run (&w, SIM_SECOND);
  pilot_overlay_stats (w.alpha->overlay, &stats);
  g_assert_cmpuint (stats.peers, ==, 1);
  g_assert_cmpuint (stats.sessions, ==, 0);
  g_assert_cmpuint (stats.dropped_rate, >, 4000);
  /* One whose key is known is served all the same. */
  g_assert_true (pair_ping (&w, w.beta, w.alpha, 200 * SIM_MS));
  pair_end (&w);
}

/* A whole /64 is one subscriber: its addresses share what one host may ask for. */
static void
test_flood_of_one_network (void)
{
  Pair w = pair_new (-1, -1);
  PilotEndpoint from;
  guint8 key[32] = { 6 }, frame[PILOT_FRAME_PILK_SIZE];
  gchar text[PILOT_ENDPOINT_TEXT_SIZE];
  PilotOverlayStats stats;

  pair_start (&w);
  for (guint i = 0; i < 100; i++) {
    g_snprintf (text, sizeof text, "[2001:db8:1:2::%x]:4000", i + 1);
    g_assert_true (pilot_endpoint_parse (text, &from, NULL));
    pilot_frame_build_pilk (frame, 1000 + i, key);
    sim_inject (w.alpha, &from, frame, sizeof frame);
  }
  pair_run (&w, 10 * SIM_MS);
  pilot_overlay_stats (w.alpha->overlay, &stats);
  g_assert_cmpuint (stats.dropped_rate, ==, 95);
  pair_end (&w);
}

/* What carries our own node id or our own key is not from a peer: nobody may open what was meant for us under another name. */
static void
test_own_frames (void)
{
  Pair w = pair_new (-1, -1);
  PilotOverlayStats stats;
  guint8 key[32] = { 6 }, frame[PILOT_FRAME_PILA_SIZE];

  pair_start (&w);
  pilot_frame_build_pila (frame, w.alpha->node, key, &w.alpha->identity);
  pair_inject (&w, frame, sizeof frame);
  pilot_frame_build_pila (frame, w.beta->node, w.alpha->overlay->x25519_public, &w.beta->identity);
  pair_inject (&w, frame, sizeof frame);
  pair_run (&w, SIM_SECOND);
  pilot_overlay_stats (w.alpha->overlay, &stats);
  g_assert_cmpuint (stats.dropped_spoofed, ==, 2);
  g_assert_false (pair_peer (w.alpha, w.beta).session);
  pair_end (&w);
}

static void
punch_to (Pair *w,
          const char *target)
{
  PilotBeaconMessage message = { .type = PILOT_BEACON_PUNCH_COMMAND };
  guint8 data[PILOT_BEACON_ENDPOINT_MAX_SIZE];

  g_assert_true (pilot_endpoint_parse (target, &message.endpoint, NULL));
  sim_inject (w->alpha, &w->sim->beacon, data, pilot_beacon_message_encode (&message, data, sizeof data));
  pair_run (w, 10 * SIM_MS);
}

/* A beacon on the internet cannot make us knock inside our own network. */
static void
test_punch_targets (void)
{
  static const char *const inside[] = { "192.168.1.5:99", "10.0.0.1:99", "127.0.0.1:99", "169.254.1.1:99", "0.0.0.0:99",
                                        "224.0.0.1:99", "46.0.0.9:0" };
  Pair w = pair_new (-1, -1);
  guint before;

  pair_start (&w);
  before = w.alpha->sent_direct;
  for (guint i = 0; i < G_N_ELEMENTS (inside); i++)
    punch_to (&w, inside[i]);
  g_assert_cmpuint (w.alpha->sent_direct, ==, before);
  punch_to (&w, "46.0.0.9:99");
  g_assert_cmpuint (w.alpha->sent_direct, ==, before + 3);
  pair_end (&w);
}

/* A beacon that stops answering is told of once, what was sent in a burst is no proof of it, and its first answer counts again. */
static void
test_beacon_silent (void)
{
  Pair w = pair_new (-1, -1);
  guint before;

  pair_start (&w);
  before = w.alpha->beacon_answers;
  g_assert_cmpuint (before, >=, 1);
  for (guint i = 0; i < 10; i++)
    pilot_overlay_discover (w.alpha->overlay, w.sim->now);
  sim_host_run (w.alpha);
  pair_run (&w, SIM_SECOND);
  g_assert_cmpuint (w.alpha->beacon_silences, ==, 0);
  g_assert_cmpuint (w.alpha->beacon_answers, >, before);
  before = w.alpha->beacon_answers;
  w.sim->beacon_down_until = w.sim->now + 120 * SIM_SECOND;
  pilot_overlay_discover (w.alpha->overlay, w.sim->now);
  sim_host_run (w.alpha);
  pair_run (&w, 5 * SIM_SECOND);
  g_assert_cmpuint (w.alpha->beacon_silences, ==, 0);
  pair_run (&w, 5 * SIM_SECOND);
  g_assert_cmpuint (w.alpha->beacon_silences, ==, 1);
  pair_run (&w, 100 * SIM_SECOND);
  g_assert_cmpuint (w.alpha->beacon_silences, ==, 1);
  g_assert_cmpuint (w.alpha->beacon_answers, ==, before);
  pair_run (&w, 40 * SIM_SECOND);
  g_assert_cmpuint (w.alpha->beacon_answers, >, before);
  pair_end (&w);
}

/* What was dialled while the beacon was away goes on when it answers, and not at the end of its back-off: before there is a session, and with one. */
static void
test_beacon_back (void)
{
  for (guint round = 0; round < 2; round++) {
    Pair w = pair_new (SIM_NAT_SYMMETRIC, SIM_NAT_SYMMETRIC);
    SimFlow *flow;

    pair_start (&w);
    if (round == 1)
      g_assert_true (pair_ping (&w, w.alpha, w.beta, 2 * SIM_SECOND));
    w.sim->beacon_down_until = w.sim->now + 9 * SIM_SECOND;
    flow = pair_dial (&w, SIM_FLOW_BOTH, 1000, 1000);
    pair_run (&w, 9 * SIM_SECOND);
    g_assert_false (flow->ended);
    pilot_overlay_discover (w.alpha->overlay, w.sim->now);
    sim_host_run (w.alpha);
    pair_run (&w, SIM_SECOND);
    g_assert_true (flow->ended);
    g_assert_cmpint (flow->error, ==, PILOT_STREAM_ERROR_NONE);
    pair_end (&w);
  }
}

/* Whoever asked never to show his address shows it to nobody but the beacon, whatever he is sent. */
static void
test_relay_only (void)
{
  Pair w = pair_new (-1, -1);
  guint8 key[32] = { 6 }, frame[PILOT_FRAME_PILK_SIZE];

  w.alpha->relay_only = TRUE;
  pair_start (&w);
  g_assert_true (pair_ping (&w, w.alpha, w.beta, SIM_SECOND));
  g_assert_true (pair_ping (&w, w.beta, w.alpha, SIM_SECOND));
  punch_to (&w, "46.0.0.9:99");
  pilot_frame_build_pilk (frame, w.beta->node, key);
  pair_inject (&w, frame, sizeof frame);
  pilot_frame_build_pilk (frame, 4711, key);
  pair_inject (&w, frame, sizeof frame);
  pair_run (&w, 60 * SIM_SECOND);
  pilot_overlay_network_changed (w.alpha->overlay, w.sim->now);
  sim_host_run (w.alpha);
  sim_host_stop (w.beta);
  sim_host_start (w.beta);
  pair_run (&w, 60 * SIM_SECOND);
  g_assert_true (pair_ping (&w, w.beta, w.alpha, SIM_SECOND));
  g_assert_true (pair_ping (&w, w.alpha, w.beta, SIM_SECOND));
  g_assert_cmpint (pair_peer (w.alpha, w.beta).path, ==, PILOT_PATH_RELAY);
  g_assert_cmpint (pair_peer (w.beta, w.alpha).path, ==, PILOT_PATH_RELAY);
  g_assert_cmpuint (w.alpha->sent_direct, ==, 0);
  pair_end (&w);
}

/* A new outside port in the middle of a transfer, of who sends and of who only receives. The beacon and the peer know the old one. */
static void
test_rebind_in_transfer (void)
{
  for (guint i = 0; i < 2; i++) {
    Pair w = pair_new (SIM_NAT_PORT_RESTRICTED, SIM_NAT_PORT_RESTRICTED);
    SimHost *victim = i == 0 ? w.alpha : w.beta;
    SimFlow *flow;
    guint64 before;

    pair_start (&w);
    w.beta->link.rate = 250000;
    w.beta->link.queue = 50000;
    /* What is larger than the queue would not get through it. */
    w.alpha->link.mtu = w.beta->link.mtu = 1500;
    g_assert_true (pair_ping (&w, w.alpha, w.beta, SIM_SECOND));
    flow = pair_dial (&w, SIM_FLOW_HALF_CLOSE, 100, 5000000);
    pair_run (&w, 5 * SIM_SECOND);
    g_assert_cmpint (pair_peer (w.alpha, w.beta).path, ==, PILOT_PATH_DIRECT);
    before = flow->client.read;
    g_assert_cmpuint (before, >, 100000);
    sim_nat_rebind (&w.sim->nats[victim->nat]);
    pair_run (&w, 5 * SIM_SECOND);
    g_assert_cmpuint (flow->client.read, >, before + 50000);
    pair_run (&w, 3 * SIM_SECOND);
    g_assert_cmpint (pair_peer (w.alpha, w.beta).path, ==, PILOT_PATH_DIRECT);
    g_assert_cmpint (pair_peer (w.beta, w.alpha).path, ==, PILOT_PATH_DIRECT);
    pair_run (&w, 60 * SIM_SECOND);
    g_assert_true (flow->ended);
    g_assert_cmpint (flow->error, ==, PILOT_STREAM_ERROR_NONE);
    pair_end (&w);
  }
}

/* Two that cannot leave the relay try it at the pace of the reference in the end, not all the time. */
static void
test_upgrade_pace (void)
{
  Pair w = pair_new (SIM_NAT_SYMMETRIC, SIM_NAT_SYMMETRIC);
  guint64 before;
  PilotOverlayStats stats;

  pair_start (&w);
  g_assert_true (pair_ping (&w, w.alpha, w.beta, SIM_SECOND));
  pair_run (&w, 40 * SIM_SECOND);
  g_assert_cmpint (pair_peer (w.alpha, w.beta).path, ==, PILOT_PATH_RELAY);
  pilot_overlay_stats (w.alpha->overlay, &stats);
  before = stats.datagrams_sent;
  pair_run (&w, 60 * SIM_SECOND);
  pilot_overlay_stats (w.alpha->overlay, &stats);
  /* Four attempts of a punch request, punches and five probes to each place, and keepalives. */
  g_assert_cmpuint (stats.datagrams_sent - before, >, 10);
  g_assert_cmpuint (stats.datagrams_sent - before, <, 120);
  pair_end (&w);
}

/* A stream that rests costs nothing: no probe goes out but after a burst. */
static void
test_pause_is_asked_after_once (void)
{
  Pair w = pair_new (-1, -1);
  SimFlow *flow;
  PilotOverlayStats stats;
  guint64 before;

  pair_start (&w);
  g_assert_true (pair_ping (&w, w.alpha, w.beta, SIM_SECOND));
  flow = pair_dial (&w, SIM_FLOW_HALF_CLOSE, 100, 100000000);
  w.beta->link.rate = 1000000;
  w.beta->link.queue = 50000;
  pair_run (&w, 100 * SIM_MS);
  g_assert_cmpuint (flow->server.written, <, flow->server.to_write);
  flow->server.to_write = flow->server.written; /* and no end: the rest never comes */
  flow->server.shut = TRUE;
  pair_run (&w, 20 * SIM_SECOND);
  g_assert_cmpuint (flow->client.read, ==, flow->server.written);
  g_assert_false (flow->ended);
  pilot_overlay_stats (w.alpha->overlay, &stats);
  before = stats.datagrams_sent;
  pair_run (&w, 20 * SIM_SECOND);
  pilot_overlay_stats (w.alpha->overlay, &stats);
  g_assert_cmpuint (stats.datagrams_sent - before, <=, 4);
  pair_end (&w);
}

int
main (int argc,
      char **argv)
{
  static const gint both_full[] = { SIM_NAT_FULL_CONE, SIM_NAT_FULL_CONE, PILOT_PATH_DIRECT };
  static const gint both_port[] = { SIM_NAT_PORT_RESTRICTED, SIM_NAT_PORT_RESTRICTED, PILOT_PATH_DIRECT };
  static const gint one_symmetric[] = { SIM_NAT_SYMMETRIC, SIM_NAT_RESTRICTED, PILOT_PATH_DIRECT };
  static const gint both_symmetric[] = { SIM_NAT_SYMMETRIC, SIM_NAT_SYMMETRIC, PILOT_PATH_RELAY };

  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/overlay/direct", test_direct);
  g_test_add_data_func ("/overlay/nat/full-cone", both_full, test_nat);
  g_test_add_data_func ("/overlay/nat/port-restricted", both_port, test_nat);
  g_test_add_data_func ("/overlay/nat/one-symmetric", one_symmetric, test_nat);
  g_test_add_data_func ("/overlay/nat/both-symmetric", both_symmetric, test_nat);
  g_test_add_func ("/overlay/simultaneous", test_simultaneous);
  g_test_add_func ("/overlay/lost-exchange", test_lost_exchange);
  g_test_add_func ("/overlay/no-key", test_no_key);
  g_test_add_func ("/overlay/unregistered-key", test_unregistered_key);
  g_test_add_func ("/overlay/lying-registry", test_lying_registry);
  g_test_add_func ("/overlay/key-answered-later", test_key_answered_later);
  g_test_add_func ("/overlay/restart", test_restart);
  g_test_add_func ("/overlay/recordings", test_recordings);
  g_test_add_func ("/overlay/request-installs-nothing", test_request_installs_nothing);
  g_test_add_func ("/overlay/silent", test_silent);
  g_test_add_func ("/overlay/unheard", test_unheard);
  g_test_add_func ("/overlay/resting", test_resting);
  g_test_add_func ("/overlay/untrust", test_untrust);
  g_test_add_func ("/overlay/rebind", test_rebind);
  g_test_add_func ("/overlay/rebind-in-transfer", test_rebind_in_transfer);
  g_test_add_func ("/overlay/upgrade-pace", test_upgrade_pace);
  g_test_add_func ("/overlay/pause-is-asked-after-once", test_pause_is_asked_after_once);
  g_test_add_func ("/overlay/watch", test_watch);
  g_test_add_func ("/overlay/network-changed", test_network_changed);
  g_test_add_func ("/overlay/own-frames", test_own_frames);
  g_test_add_func ("/overlay/punch-targets", test_punch_targets);
  g_test_add_func ("/overlay/beacon-silent", test_beacon_silent);
  g_test_add_func ("/overlay/beacon-back", test_beacon_back);
  g_test_add_func ("/overlay/relay-only", test_relay_only);
  g_test_add_func ("/overlay/flood", test_flood);
  g_test_add_func ("/overlay/flood-of-one-network", test_flood_of_one_network);
  return g_test_run ();
}
