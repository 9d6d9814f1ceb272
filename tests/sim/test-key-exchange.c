/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "protocol/beacon-message.h"
#include "protocol/frame.h"
#include "protocol/overlay-private.h"
#include "sim-pair.h"

/* Key exchange in all orders: frames that are lost, doubled, overtaken, forged or recorded, and peers that start or restart at any moment. What each
 * must not cost is a session; what no order may bring about is a nonce that is used twice, which the simulator watches in every test. */

/* The bare frame, out of its relay envelope. */
static const guint8 *
unwrap (const guint8 *data,
        gsize *length)
{
  if (*length > PILOT_BEACON_RELAY_HEADER_SIZE && data[0] == PILOT_BEACON_RELAY) {
    *length -= PILOT_BEACON_RELAY_HEADER_SIZE;
    return data + PILOT_BEACON_RELAY_HEADER_SIZE;
  }
  return data;
}

static PilotFrameKind
kind_of (const guint8 *data,
         gsize length)
{
  data = unwrap (data, &length);
  return pilot_frame_classify (data, length);
}

static void
ping_at_once (Pair *pair,
              SimHost *from,
              SimHost *to)
{
  pilot_overlay_ping (from->overlay, to->node, pair->sim->now);
  sim_host_run (from);
}

static void
assert_agreed (Pair *pair)
{
  g_assert_true (pair_ping (pair, pair->alpha, pair->beta, SIM_SECOND));
  g_assert_true (pair_ping (pair, pair->beta, pair->alpha, SIM_SECOND));
  g_assert_true (pair_peer (pair->alpha, pair->beta).confirmed);
  g_assert_true (pair_peer (pair->beta, pair->alpha).confirmed);
}

static PilotSession *
session_of (SimHost *host,
            SimHost *other)
{
  return pilot_peer_lookup (host->overlay, other->node)->session;
}

/* Loses those of the first frames of the exchange whose bit is set. */
typedef struct
{
  guint mask, seen;
} Loss;

static gboolean
lose (SimHost *from,
      const guint8 *data,
      gsize length,
      gpointer user_data)
{
  Loss *loss = user_data;
  PilotFrameKind kind = kind_of (data, length);

  if (kind != PILOT_FRAME_PILA && kind != PILOT_FRAME_PILK)
    return TRUE;
  return (loss->mask >> MIN (loss->seen++, 31) & 1) == 0;
}

/* Every pattern of loss among the first eight frames, PILAs of either side, PILKs and their relayed copies. */
static void
lost_frames (gboolean simultaneous)
{
  for (guint mask = 0; mask < 256; mask++) {
    Pair p = pair_new (-1, -1);
    Loss loss = { .mask = mask };

    p.sim->passes = lose;
    p.sim->passes_data = &loss;
    pair_start (&p);
    ping_at_once (&p, p.alpha, p.beta);
    if (simultaneous)
      ping_at_once (&p, p.beta, p.alpha);
    /* A ping waits 10 s for a session. */
    pair_run (&p, 10 * SIM_SECOND);
    if (simultaneous) {
      /* A ping that reaches the other side before the key does is lost: like the packets of a stream it is for its sender to repeat. */
      g_assert_true (pair_peer (p.alpha, p.beta).session);
      g_assert_true (pair_peer (p.beta, p.alpha).session);
    } else
      g_assert_cmpuint (p.alpha->pongs, ==, 1);
    assert_agreed (&p);
    g_assert_cmpuint (p.alpha->rekeyed + p.beta->rekeyed, ==, 0);
    pair_end (&p);
  }
}

static void
test_lost_pila (void)
{
  lost_frames (FALSE);
}

static void
test_lost_pila_simultaneous (void)
{
  lost_frames (TRUE);
}

/* Both begin in the same instant: one session on each side, and no storm of answers. */
static void
test_simultaneous (void)
{
  Pair p = pair_new (-1, -1);
  guint64 before;

  pair_start (&p);
  before = p.sim->n_datagrams;
  ping_at_once (&p, p.alpha, p.beta);
  ping_at_once (&p, p.beta, p.alpha);
  pair_run (&p, 300 * SIM_MS);
  g_assert_cmpuint (p.alpha->pongs, ==, 1);
  g_assert_cmpuint (p.beta->pongs, ==, 1);
  assert_agreed (&p);
  g_assert_cmpuint (p.alpha->rekeyed + p.beta->rekeyed, ==, 0);
  pair_run (&p, 2 * SIM_SECOND);
  g_assert_cmpuint (p.sim->n_datagrams - before, <, 60);
  pair_end (&p);
}

/* New keys on both sides, and each believes that it has a session with the other. */
static void
test_both_restart (void)
{
  Pair p = pair_new (-1, -1);

  pair_start (&p);
  assert_agreed (&p);
  for (guint i = 0; i < 2; i++)
    sim_host_stop (&p.sim->hosts[i]);
  pair_run (&p, 2 * SIM_SECOND);
  for (guint i = 0; i < 2; i++)
    sim_host_start (&p.sim->hosts[i]);
  ping_at_once (&p, p.alpha, p.beta);
  ping_at_once (&p, p.beta, p.alpha);
  pair_run (&p, SIM_SECOND);
  assert_agreed (&p);
  pair_end (&p);
}

/* The peer restarts, again and again, while we send all the time; its new self speaks first or waits to be spoken to. */
static void
restart_while_sending (gboolean peer_speaks)
{
  Pair p = pair_new (-1, -1);

  pair_start (&p);
  assert_agreed (&p);
  for (guint round = 0; round < 10; round++) {
    guint before;

    sim_host_stop (p.beta);
    for (guint i = 0; i < 20; i++) {
      ping_at_once (&p, p.alpha, p.beta);
      pair_run (&p, (gint64) (3 + 7 * round) * SIM_MS);
    }
    sim_host_start (p.beta);
    before = p.alpha->pongs;
    if (peer_speaks)
      ping_at_once (&p, p.beta, p.alpha);
    for (guint i = 0; i < 25; i++) {
      ping_at_once (&p, p.alpha, p.beta);
      pair_run (&p, 20 * SIM_MS);
    }
    g_assert_cmpuint (p.alpha->pongs, >, before);
    assert_agreed (&p);
    pair_run (&p, 5 * SIM_SECOND);
  }
  pair_end (&p);
}

static void
test_restart_while_sending (void)
{
  restart_while_sending (FALSE);
}

static void
test_restart_while_sending_crossed (void)
{
  restart_while_sending (TRUE);
}

static gboolean
count_answers (SimHost *from,
               const guint8 *data,
               gsize length,
               gpointer user_data)
{
  guint *answers = user_data;

  if (from->index == 0 && kind_of (data, length) == PILOT_FRAME_PILA)
    (*answers)++;
  return TRUE;
}

/* A PILK is a question: it is answered with our PILA, and installs and replaces nothing, whatever key it carries. */
static void
test_pilk (void)
{
  Pair p = pair_new (-1, -1);
  guint8 frame[PILOT_FRAME_PILK_SIZE], other[32] = { 9 };
  PilotSession *session;
  guint answers = 0;

  pair_start (&p);
  assert_agreed (&p);
  pair_run (&p, 10 * SIM_SECOND);
  session = session_of (p.alpha, p.beta);
  p.sim->passes = count_answers;
  p.sim->passes_data = &answers;
  for (guint i = 0; i < 2; i++) {
    pilot_frame_build_pilk (frame, p.beta->node, i == 0 ? other : p.beta->overlay->x25519_public);
    pair_inject (&p, frame, sizeof frame);
    pair_run (&p, SIM_SECOND);
    g_assert_cmpuint (answers, ==, i + 1);
    g_assert_true (session_of (p.alpha, p.beta) == session);
  }
  assert_agreed (&p);
  g_assert_cmpuint (p.alpha->rekeyed, ==, 0);
  pair_end (&p);
}

/* The PILA we have already: not a bit of the session changes, and the answers do not outnumber one a second. */
static void
test_same_key_pila (void)
{
  Pair p = pair_new (-1, -1);
  PilotSession *session;
  PilotKeyState before;
  guint answers = 0;

  pair_start (&p);
  assert_agreed (&p);
  pair_run (&p, 10 * SIM_SECOND);
  session = session_of (p.alpha, p.beta);
  before = *session->key;
  p.sim->passes = count_answers;
  p.sim->passes_data = &answers;
  for (guint i = 0; i < 30; i++) {
    pair_inject (&p, p.beta->overlay->pila, sizeof p.beta->overlay->pila);
    pair_run (&p, 100 * SIM_MS);
  }
  g_assert_cmpuint (answers, <=, 4);
  g_assert_true (session_of (p.alpha, p.beta) == session);
  g_assert_true (session->confirmed);
  g_assert_cmphex (session->key->prefix, ==, before.prefix);
  g_assert_cmphex (session->key->counter, >=, before.counter);
  assert_agreed (&p);
  g_assert_cmpuint (p.alpha->rekeyed, ==, 0);
  pair_end (&p);
}

/* The v1.9 fork appends two numbers to its PILA. */
static void
test_trailer (void)
{
  Pair p = pair_new (-1, -1);
  guint8 frame[PILOT_FRAME_PILA_SIZE + 3] = { 0 }, key[32] = { 7, 7 };

  pair_start (&p);
  pilot_frame_build_pila (frame, p.beta->node, key, &p.beta->identity);
  frame[PILOT_FRAME_PILA_SIZE] = 0x81;
  frame[PILOT_FRAME_PILA_SIZE + 1] = 1;
  frame[PILOT_FRAME_PILA_SIZE + 2] = 1;
  pair_inject (&p, frame, sizeof frame);
  pair_run (&p, 100 * SIM_MS);
  g_assert_cmpmem (session_of (p.alpha, p.beta)->key->x25519, 32, key, 32);
  pair_end (&p);
}

typedef struct
{
  gboolean asked; /* a PILK has come from alpha since the last answer */
} Reluctant;

/* Go 1.10 to 1.18: whoever has our key already does not answer a PILA with it, but a PILK. */
static gboolean
reluctant (SimHost *from,
           const guint8 *data,
           gsize length,
           gpointer user_data)
{
  Reluctant *state = user_data;
  PilotFrameKind kind = kind_of (data, length);

  if (from->index == 0)
    state->asked |= kind == PILOT_FRAME_PILK;
  return from->index == 0 || kind != PILOT_FRAME_PILA || state->asked;
}

/* We have lost our half and the peer has not: it must be asked with a PILK, because a PILA is met with silence. */
static void
test_half_session (void)
{
  Pair p = pair_new (-1, -1);
  Reluctant state = { FALSE };

  pair_start (&p);
  assert_agreed (&p);
  pilot_overlay_set_trusted (p.alpha->overlay, p.beta->node, FALSE, NULL, p.sim->now);
  g_assert_false (pair_peer (p.alpha, p.beta).session);
  pilot_overlay_set_trusted (p.alpha->overlay, p.beta->node, TRUE, p.beta->identity.public_key, p.sim->now);
  p.sim->passes = reluctant;
  p.sim->passes_data = &state;
  g_assert_true (pair_ping (&p, p.alpha, p.beta, 2 * SIM_SECOND));
  g_assert_true (state.asked);
  pair_end (&p);
}

/* The same, but it is the peer who speaks first, in frames that we cannot open. */
static void
test_half_session_unopened (void)
{
  Pair p = pair_new (-1, -1);
  Reluctant state = { FALSE };

  pair_start (&p);
  assert_agreed (&p);
  pilot_overlay_set_trusted (p.alpha->overlay, p.beta->node, FALSE, NULL, p.sim->now);
  pilot_overlay_set_trusted (p.alpha->overlay, p.beta->node, TRUE, p.beta->identity.public_key, p.sim->now);
  p.sim->passes = reluctant;
  p.sim->passes_data = &state;
  g_assert_false (pair_ping (&p, p.beta, p.alpha, 100 * SIM_MS));
  g_assert_true (state.asked);
  g_assert_true (pair_ping (&p, p.beta, p.alpha, SIM_SECOND));
  pair_end (&p);
}

/* Every datagram comes twice, many too late, for five minutes: in a session that is older than a minute one duplicate makes Go drop its half. */
static void
test_duplicated (void)
{
  Pair p = pair_new (-1, -1);
  PilotSession *sessions[2];
  PilotOverlayStats stats;

  for (guint i = 0; i < 2; i++) {
    p.sim->hosts[i].link.duplicate = 1000;
    p.sim->hosts[i].link.jitter = 20 * SIM_MS;
    p.sim->hosts[i].link.reorder = 100;
  }
  pair_start (&p);
  assert_agreed (&p);
  sessions[0] = session_of (p.alpha, p.beta);
  sessions[1] = session_of (p.beta, p.alpha);
  for (guint i = 0; i < 100; i++) {
    ping_at_once (&p, p.alpha, p.beta);
    ping_at_once (&p, p.beta, p.alpha);
    if (i % 20 == 0)
      pair_dial (&p, SIM_FLOW_BOTH, 100000, 100000);
    pair_run (&p, 3 * SIM_SECOND);
  }
  for (guint i = 0; i < p.sim->n_flows; i++)
    g_assert_true (p.sim->flows[i].ended && p.sim->flows[i].error == PILOT_STREAM_ERROR_NONE);
  /* 100, and that of assert_agreed(). */
  g_assert_cmpuint (p.alpha->pongs, ==, 101);
  g_assert_cmpuint (p.beta->pongs, ==, 101);
  g_assert_cmpuint (p.alpha->rekeyed + p.beta->rekeyed, ==, 0);
  g_assert_true (session_of (p.alpha, p.beta) == sessions[0]);
  g_assert_true (session_of (p.beta, p.alpha) == sessions[1]);
  pilot_overlay_stats (p.alpha->overlay, &stats);
  g_assert_cmpuint (stats.dropped_replay, >, 100);
  pair_end (&p);
}

/* A PILA in the peer's name by somebody else's key: refused, with a session and without one, and where there is none the user hears of it. */
static void
test_wrong_key (void)
{
  Pair p = pair_new (-1, -1);
  PilotIdentity impostor;
  PilotSession *session;
  guint8 seed[PILOT_ED25519_SEED_SIZE] = { 99 }, key[32] = { 6 }, frame[PILOT_FRAME_PILA_SIZE];

  pilot_identity_init (&impostor, seed);
  pair_start (&p);
  pilot_frame_build_pila (frame, p.beta->node, key, &impostor);
  pair_inject (&p, frame, sizeof frame);
  pair_run (&p, SIM_SECOND);
  g_assert_false (pair_peer (p.alpha, p.beta).session);
  /* The registry names the right key: it was a forgery, and nothing to tell anybody. */
  g_assert_cmpuint (p.alpha->key_events, ==, 0);
  assert_agreed (&p);
  session = session_of (p.alpha, p.beta);
  for (guint i = 0; i < 10; i++) {
    pair_inject (&p, frame, sizeof frame);
    pair_run (&p, SIM_SECOND);
  }
  g_assert_true (session_of (p.alpha, p.beta) == session);
  assert_agreed (&p);
  /* The registry names another key than the one that trust was given to, and the peer presents it: refused and reported. A refusal is remembered for
   * some seconds, in which nobody is asked. */
  pair_run (&p, 5 * SIM_SECOND);
  memcpy (p.sim->lie, impostor.public_key, sizeof p.sim->lie);
  p.sim->lie_about = 1;
  sim_host_stop (p.beta);
  pilot_overlay_set_trusted (p.alpha->overlay, p.beta->node, FALSE, NULL, p.sim->now);
  pilot_overlay_set_trusted (p.alpha->overlay, p.beta->node, TRUE, p.beta->identity.public_key, p.sim->now);
  pair_inject (&p, frame, sizeof frame);
  pair_run (&p, SIM_SECOND);
  g_assert_false (pair_peer (p.alpha, p.beta).session);
  g_assert_true (pair_peer (p.alpha, p.beta).key_mismatch);
  g_assert_cmpuint (p.alpha->key_events, ==, 1);
  pair_end (&p);
}

/* The registry lies about a peer that is there, and somebody speaks in its name, but not with the key that the registry names: by a key of his own,
 * or without being able to sign. That is no other key of the peer: nothing to tell, and a dial goes on until the peer answers. */
static void
test_unproven_key (void)
{
  PilotIdentity impostor, named;
  guint8 seed[PILOT_ED25519_SEED_SIZE] = { 99 }, key[32] = { 6 }, frames[2][PILOT_FRAME_PILA_SIZE];

  pilot_identity_init (&impostor, seed);
  seed[0]++;
  pilot_identity_init (&named, seed);
  for (guint i = 0; i < G_N_ELEMENTS (frames); i++) {
    Pair p = pair_new (-1, -1);
    SimFlow *flow;

    memcpy (p.sim->lie, named.public_key, sizeof p.sim->lie);
    p.sim->lie_about = 1;
    pilot_frame_build_pila (frames[i], p.beta->node, key, i == 0 ? &impostor : &named);
    if (i == 1)
      frames[i][PILOT_FRAME_PILA_SIZE - 1] ^= 1;
    pair_start (&p);
    p.beta->link.down_until = p.sim->now + 2 * SIM_SECOND;
    flow = pair_dial (&p, SIM_FLOW_BOTH, 1000, 1000);
    pair_inject (&p, frames[i], PILOT_FRAME_PILA_SIZE);
    pair_run (&p, 15 * SIM_SECOND);
    g_assert_cmpuint (p.alpha->key_events, ==, 0);
    g_assert_false (pair_peer (p.alpha, p.beta).key_mismatch);
    g_assert_true (flow->ended);
    g_assert_cmpint (flow->error, ==, PILOT_STREAM_ERROR_NONE);
    pair_end (&p);
  }
}

typedef struct
{
  guint32 prefix;
  guint64 counter; /* of the last frame; 0 = none yet */
  guint frames;
} Counters;

static gboolean
watch_counters (SimHost *from,
                const guint8 *data,
                gsize length,
                gpointer user_data)
{
  Counters *counters = (Counters *) user_data + from->index;
  PilotSealedFrame sealed;

  data = unwrap (data, &length);
  if (pilot_frame_classify (data, length) != PILOT_FRAME_PILS || !pilot_frame_parse_pils (&sealed, (guint8 *) data, length))
    return TRUE;
  if (counters->counter == 0) {
    /* The lower node id begins at 2^62, the higher at 2^63: the two never meet under their one key, nor a peer that counts from 1. */
    g_assert_cmphex (sealed.counter, ==, from->index == 0 ? G_GUINT64_CONSTANT (1) << 62 : G_GUINT64_CONSTANT (1) << 63);
    counters->prefix = sealed.prefix;
  } else {
    g_assert_cmphex (sealed.prefix, ==, counters->prefix);
    g_assert_cmphex (sealed.counter, ==, counters->counter + 1);
  }
  counters->counter = sealed.counter;
  counters->frames++;
  return TRUE;
}

/* Send counters start high and go on where they stood when the same keys are agreed again, however often that is. */
static void
test_counters (void)
{
  Pair p = pair_new (-1, -1);
  Counters counters[2] = { 0 };

  p.sim->passes = watch_counters;
  p.sim->passes_data = counters;
  pair_start (&p);
  assert_agreed (&p);
  for (guint i = 0; i < 5; i++) {
    SimHost *loser = i % 2 == 0 ? p.alpha : p.beta, *other = i % 2 == 0 ? p.beta : p.alpha;

    pilot_overlay_set_trusted (loser->overlay, other->node, FALSE, NULL, p.sim->now);
    pilot_overlay_set_trusted (loser->overlay, other->node, TRUE, other->identity.public_key, p.sim->now);
    pair_run (&p, 5 * SIM_SECOND);
    /* What comes for the half that is lost goes with it; the next is heard. */
    pair_ping (&p, other, loser, 200 * SIM_MS);
    assert_agreed (&p);
  }
  g_assert_cmpuint (counters[0].frames, >=, 15);
  g_assert_cmpuint (counters[1].frames, >=, 15);
  /* A new process has a new key, so it may start again. */
  sim_host_stop (p.alpha);
  sim_host_start (p.alpha);
  memset (counters, 0, sizeof counters);
  p.sim->passes = NULL;
  assert_agreed (&p);
  pair_end (&p);
}

int
main (int argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/key-exchange/simultaneous", test_simultaneous);
  g_test_add_func ("/key-exchange/lost-pila", test_lost_pila);
  g_test_add_func ("/key-exchange/lost-pila/simultaneous", test_lost_pila_simultaneous);
  g_test_add_func ("/key-exchange/both-restart", test_both_restart);
  g_test_add_func ("/key-exchange/restart-while-sending", test_restart_while_sending);
  g_test_add_func ("/key-exchange/restart-while-sending/crossed", test_restart_while_sending_crossed);
  g_test_add_func ("/key-exchange/pilk", test_pilk);
  g_test_add_func ("/key-exchange/same-key-pila", test_same_key_pila);
  g_test_add_func ("/key-exchange/trailer", test_trailer);
  g_test_add_func ("/key-exchange/half-session", test_half_session);
  g_test_add_func ("/key-exchange/half-session/unopened", test_half_session_unopened);
  g_test_add_func ("/key-exchange/duplicated", test_duplicated);
  g_test_add_func ("/key-exchange/wrong-key", test_wrong_key);
  g_test_add_func ("/key-exchange/unproven-key", test_unproven_key);
  g_test_add_func ("/key-exchange/counters", test_counters);
  return g_test_run ();
}
