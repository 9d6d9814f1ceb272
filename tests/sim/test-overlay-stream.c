/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "sim-pair.h"

#include <string.h>

#include "protocol/overlay-private.h"

/* Streams between two hosts of a small world, as far as the overlay has a part in them: who may open one, what ends them, what they leave to each other. */

static void
test_transfer (void)
{
  Pair w = pair_new (-1, -1);
  SimFlow *flow;

  pair_start (&w);
  flow = pair_dial (&w, SIM_FLOW_BOTH, 300000, 200000);
  pair_run (&w, 30 * SIM_SECOND);
  g_assert_true (flow->ended);
  g_assert_cmpint (flow->error, ==, PILOT_STREAM_ERROR_NONE);
  flow = pair_dial (&w, SIM_FLOW_HALF_CLOSE, 10000, 20000);
  pair_run (&w, 30 * SIM_SECOND);
  g_assert_true (flow->ended);
  g_assert_cmpint (flow->error, ==, PILOT_STREAM_ERROR_NONE);
  pair_end (&w);
}

static void
add_windows (const PilotStreamInfo *info,
             gpointer user_data)
{
  guint64 *windows = user_data;

  if (info->bytes_in_flight == 0)
    return;
  windows[0] = MAX (windows[0], info->congestion_window);
  windows[1]++;
}

/* The largest window of the streams that have something under way, of which there are @n. */
static guint64
largest_window (SimHost *host,
                guint64 n)
{
  guint64 windows[2] = { 0, 0 };

  pilot_overlay_foreach_stream (host->overlay, add_windows, windows);
  g_assert_cmpuint (windows[1], ==, n);
  return windows[0];
}

typedef struct {
  guint64 rate;   /* bytes/s */
  guint64 window; /* bytes */
} AloneCase;

/* Of 80, 800 and 10000 Mbit/s, on a short way to a peer nobody else speaks to. */
static const AloneCase alone_cases[] = { { 10000000, 256 * 1024 }, { 100000000, 512 * 1024 }, { 1250000000, 1024 * 1024 } };

static void
test_alone (gconstpointer data)
{
  const AloneCase *line = data;
  Pair w = pair_new (-1, -1);

  w.alpha->link = w.beta->link = (SimLink) { .delay = 20, .rate = line->rate, .queue = 8000000 };
  pair_start (&w);
  pair_dial (&w, SIM_FLOW_BOTH, 500000000, 1);
  pair_run (&w, 300 * SIM_MS);
  g_assert_cmpuint (largest_window (w.alpha, 1), ==, line->window);
  pair_end (&w);
}

/* On a short way a stream has a large window while no other speaks to the same peer, and again soon after. */
static void
test_shared (void)
{
  const guint64 alone = 1024 * 1024;
  Pair w = pair_new (-1, -1);
  SimFlow *small;

  w.alpha->link = w.beta->link = (SimLink) { .delay = 20, .rate = 1250000000, .queue = 8000000 };
  pair_start (&w);
  pair_dial (&w, SIM_FLOW_BOTH, 500000000, 1);
  pair_run (&w, 30 * SIM_MS);
  g_assert_cmpuint (largest_window (w.alpha, 1), ==, alone);
  small = pair_dial (&w, SIM_FLOW_BOTH, 3000000, 1);
  pair_run (&w, 5 * SIM_MS);
  g_assert_cmpuint (largest_window (w.alpha, 2), <=, alone / 4);
  pair_run (&w, 30 * SIM_MS);
  g_assert_true (small->ended);
  pair_run (&w, 120 * SIM_MS);
  g_assert_cmpuint (largest_window (w.alpha, 1), ==, alone);
  pair_end (&w);
}

/* Half of the window that is left to one of several stands before somebody who waits for answers, and is there again when he is silent. */
static void
test_asked (void)
{
  const guint64 asked = 128 * 1024;
  Pair w = pair_new (-1, -1);
  SimFlow *talk;

  w.alpha->link = w.beta->link = (SimLink) { .delay = 20, .rate = 500000000, .queue = 8000000 };
  pair_start (&w);
  pair_dial (&w, SIM_FLOW_BOTH, 1, 500000000);
  talk = pair_dial (&w, SIM_FLOW_BOTH, 64, 2);
  talk->server.to_write = 1;
  talk->server.to_read = 64 * 60;
  pair_run (&w, 30 * SIM_MS);
  for (guint i = 1; i < 50; i++) {
    guint8 message[64];

    for (guint k = 0; k < sizeof message; k++)
      message[k] = sim_flow_content (talk, TRUE, i * sizeof message + k);
    g_assert_cmpuint (pilot_stream_write (talk->client.stream, message, sizeof message, w.sim->now), ==, sizeof message);
    pair_run (&w, SIM_MS);
  }
  g_assert_cmpuint (largest_window (w.beta, 1), ==, asked);
  pair_run (&w, 120 * SIM_MS);
  g_assert_cmpuint (largest_window (w.beta, 1), >, asked);
  pair_end (&w);
}

static guint64
sent_by (const SimFlow *flow)
{
  PilotStreamInfo info;

  pilot_stream_info (flow->client.stream, &info);
  return info.bytes_sent;
}

static void
write_zeros (SimFlow *flow,
             gsize length)
{
  g_autofree guint8 *data = g_malloc0 (length);

  g_assert_cmpuint (pilot_stream_write (flow->client.stream, data, length, flow->sim->now), ==, length);
}

/* Beside ten that have more to send than may go at once, one that was idle has its say in the next buffer that is filled, not behind all of them. */
static void
test_order (void)
{
  PilotTransmit item = { .capacity = PILOT_TRANSMIT_CAPACITY };
  /* So that each has a window and may send a burst. */
  const guint64 before = 300000;
  SimFlow *bulk[10], *idle;
  Pair w = pair_new (-1, -1);

  w.alpha->link = w.beta->link = (SimLink) { .delay = 20, .rate = 1250000000, .queue = 8000000 };
  pair_start (&w);
  for (guint i = 0; i < G_N_ELEMENTS (bulk); i++)
    bulk[i] = pair_dial (&w, SIM_FLOW_BOTH, before, 2);
  idle = pair_dial (&w, SIM_FLOW_BOTH, before, 2);
  /* Who waits for more than comes keeps the connection. */
  for (guint i = 0; i < w.sim->n_flows; i++)
    w.sim->flows[i].server.to_write = 1;
  pair_run (&w, SIM_SECOND);

  item.data = w.sim->buffers;
  for (guint i = 0; i < G_N_ELEMENTS (bulk); i++)
    write_zeros (bulk[i], 150000);
  /* The first turn of each. */
  for (guint i = 0; i < G_N_ELEMENTS (bulk); i++) {
    g_assert_cmpuint (pilot_overlay_transmit (w.alpha->overlay, &item, 1, w.sim->now), ==, 1);
    g_assert_cmpuint (sent_by (bulk[i]), >, before + 50000);
    g_assert_cmpuint (i + 1 < G_N_ELEMENTS (bulk) ? sent_by (bulk[i + 1]) : 0, <, before + 20000);
  }
  write_zeros (idle, 64);
  g_assert_cmpuint (pilot_overlay_transmit (w.alpha->overlay, &item, 1, w.sim->now), ==, 1);
  g_assert_cmpuint (sent_by (idle), ==, before + 64);
  /* Then those go on that are in the middle. */
  g_assert_cmpuint (pilot_overlay_transmit (w.alpha->overlay, &item, 1, w.sim->now), ==, 1);
  g_assert_cmpuint (sent_by (bulk[0]), >, before + PILOT_TRANSMIT_CAPACITY);
  pair_end (&w);
}

/* A stream that is over before its host has heard of it: the host is told both, in order. */
static void
test_incoming_ends_at_once (void)
{
  Pair w = pair_new (-1, -1);
  PilotAddress to = { 0, w.beta->node };
  PilotTransmit items[4];
  PilotEvent event;
  gboolean incoming = FALSE;
  guint ready = 0, n;

  pair_start (&w);
  g_assert_true (pair_ping (&w, w.alpha, w.beta, SIM_SECOND));
  pair_run (&w, 2 * SIM_SECOND);
  w.sim->flows[0] = (SimFlow) { .sim = w.sim, .port = 1000, .kind = SIM_FLOW_BOTH, .client.host = w.alpha, .server.host = w.beta };
  w.sim->n_flows = 1;
  g_assert_nonnull (pilot_overlay_connect (w.alpha->overlay, &to, 1000, w.sim->now));
  for (guint i = 0; i < G_N_ELEMENTS (items); i++)
    items[i] = (PilotTransmit) { .data = w.sim->buffers + (gsize) i * PILOT_TRANSMIT_CAPACITY, .capacity = PILOT_TRANSMIT_CAPACITY };
  n = pilot_overlay_transmit (w.alpha->overlay, items, G_N_ELEMENTS (items), w.sim->now);
  for (guint i = 0; i < n; i++) {
    PilotReceivedDatagram datagram = { .from = w.alpha->endpoint, .data = items[i].data, .length = items[i].length, .segment_size = items[i].segment_size };

    pilot_overlay_receive (w.beta->overlay, &datagram, 1, w.sim->now);
  }
  pilot_overlay_set_trusted (w.beta->overlay, w.alpha->node, FALSE, NULL, w.sim->now);
  while (pilot_overlay_next_event (w.beta->overlay, &event)) {
    incoming |= event.type == PILOT_EVENT_STREAM_INCOMING;
    if (event.type == PILOT_EVENT_STREAM) {
      g_assert_true (incoming);
      ready |= event.ready;
    }
  }
  g_assert_true (incoming);
  g_assert_cmpuint (ready & PILOT_STREAM_READY_CLOSED, !=, 0);
  w.sim->n_flows = 0;
  pair_end (&w);
}

static void
test_closed_port (void)
{
  Pair w = pair_new (SIM_NAT_PORT_RESTRICTED, SIM_NAT_PORT_RESTRICTED);
  SimFlow *flow;

  pair_start (&w);
  flow = pair_dial (&w, SIM_FLOW_REFUSED, 1, 1);
  pair_run (&w, 3 * SIM_SECOND);
  g_assert_true (flow->ended);
  g_assert_cmpint (flow->error, ==, PILOT_STREAM_ERROR_REFUSED);
  pair_run (&w, 20 * SIM_SECOND);
  flow = pair_dial (&w, SIM_FLOW_REFUSED, 1, 1);
  pair_run (&w, (20 + 50) * SIM_MS);
  g_assert_true (flow->ended);
  g_assert_cmpint (flow->error, ==, PILOT_STREAM_ERROR_REFUSED);
  pair_end (&w);
}

static void
test_dead_peer (void)
{
  Pair w = pair_new (-1, -1);
  SimFlow *flow;

  pair_start (&w);
  sim_host_stop (w.beta);
  flow = pair_dial (&w, SIM_FLOW_BOTH, 1, 1);
  pair_run (&w, 18 * SIM_SECOND);
  g_assert_true (flow->ended);
  g_assert_cmpint (flow->error, ==, PILOT_STREAM_ERROR_NO_KEY_EXCHANGE);
  sim_host_start (w.beta);
  pair_run (&w, SIM_SECOND);
  g_assert_true (pair_ping (&w, w.beta, w.alpha, SIM_SECOND));
  sim_host_stop (w.beta);
  flow = pair_dial (&w, SIM_FLOW_BOTH, 1, 1);
  pair_run (&w, 18 * SIM_SECOND);
  g_assert_true (flow->ended);
  g_assert_cmpint (flow->error, ==, PILOT_STREAM_ERROR_TIMEOUT);
  g_assert_true (pair_peer (w.alpha, w.beta).silent);
  pair_end (&w);
}

static void
give_up_after (Pair *w,
               gint64 patience)
{
  SimFlow *flow = pair_dial (w, SIM_FLOW_BOTH, 1, 1);
  PilotStream *stream;

  pair_run (w, patience);
  g_assert_false (flow->ended);
  flow->ended = flow->client.done = TRUE;
  stream = g_steal_pointer (&flow->client.stream);
  pilot_stream_set_user_data (stream, NULL);
  pilot_stream_reset (stream, w->sim->now);
  pilot_stream_release (stream, w->sim->now);
  pair_run (w, SIM_SECOND);
}

/* A host that gives a dial up has learnt something of the peer, unless it was impatient. */
static void
test_given_up (void)
{
  Pair w = pair_new (-1, -1);

  pair_start (&w);
  g_assert_true (pair_ping (&w, w.alpha, w.beta, SIM_SECOND));
  sim_host_stop (w.beta);
  give_up_after (&w, 3 * SIM_SECOND);
  g_assert_false (pair_peer (w.alpha, w.beta).unheard);
  give_up_after (&w, 4100 * SIM_MS);
  g_assert_true (pair_peer (w.alpha, w.beta).unheard);
  g_assert_false (pair_peer (w.alpha, w.beta).resting);
  sim_host_start (w.beta);
  g_assert_true (pair_ping (&w, w.beta, w.alpha, SIM_SECOND));
  g_assert_false (pair_peer (w.alpha, w.beta).unheard);
  pair_end (&w);
}

static void
test_stranger (void)
{
  Pair w = pair_new (-1, -1);
  SimFlow *flow;

  pair_start (&w);
  flow = pair_dial (&w, SIM_FLOW_STRANGER, 1, 1);
  pair_run (&w, 18 * SIM_SECOND);
  g_assert_true (flow->ended);
  g_assert_cmpint (flow->error, ==, PILOT_STREAM_ERROR_TIMEOUT);
  pair_end (&w);
}

static void
test_mismatch_fails_dials (void)
{
  Pair w = pair_new (-1, -1);
  guint8 seed[PILOT_ED25519_SEED_SIZE] = { 99 };
  PilotIdentity impostor;
  SimFlow *flow;

  pair_start (&w);
  pilot_identity_init (&impostor, seed);
  memcpy (w.sim->lie, impostor.public_key, sizeof w.sim->lie);
  w.sim->lie_about = 1;
  sim_host_stop (w.beta);
  w.beta->identity = impostor;
  sim_host_start (w.beta);
  pair_run (&w, SIM_SECOND);
  flow = pair_dial (&w, SIM_FLOW_BOTH, 1000, 1000);
  pair_run (&w, 3 * SIM_SECOND);
  g_assert_true (flow->ended);
  g_assert_cmpint (flow->error, ==, PILOT_STREAM_ERROR_KEY_MISMATCH);
  g_assert_null (flow->server.stream);
  pair_end (&w);
}

/* The peer restarts in the middle: streams of its former life end, new ones work at once. */
static void
test_restart_ends_streams (void)
{
  Pair w = pair_new (-1, -1);
  SimFlow *flow, *next;

  pair_start (&w);
  w.alpha->link.rate = 100000;
  w.alpha->link.queue = 100000;
  flow = pair_dial (&w, SIM_FLOW_BOTH, 2000000, 0);
  pair_run (&w, 2 * SIM_SECOND);
  g_assert_false (flow->ended);
  sim_host_stop (w.beta);
  sim_host_start (w.beta);
  pair_run (&w, 5 * SIM_SECOND);
  g_assert_true (flow->ended);
  g_assert_cmpint (flow->error, ==, PILOT_STREAM_ERROR_RESET);
  next = pair_dial (&w, SIM_FLOW_BOTH, 1000, 1000);
  pair_run (&w, 2 * SIM_SECOND);
  g_assert_true (next->ended);
  g_assert_cmpint (next->error, ==, PILOT_STREAM_ERROR_NONE);
  pair_end (&w);
}

/* Toward a peer without our extension, as toward our own kind: a minute and more without a path costs no byte, and a peer that is gone is given up
 * after 100 s. */
static void
test_outage (void)
{
  Pair w = pair_new (-1, -1);
  SimFlow *flow;

  w.sim->extensions = FALSE;
  pair_start (&w);
  w.alpha->link.rate = 100000;
  w.alpha->link.queue = 100000;
  flow = pair_dial (&w, SIM_FLOW_BOTH, 1000000, 0);
  pair_run (&w, 2 * SIM_SECOND);
  g_assert_cmpuint (flow->server.read, <, 1000000);
  w.alpha->link.down_until = w.sim->now + 80 * SIM_SECOND;
  pair_run (&w, 110 * SIM_SECOND);
  g_assert_cmpuint (flow->server.read, ==, 1000000);

  flow = pair_dial (&w, SIM_FLOW_BOTH, 2000000, 0);
  pair_run (&w, 2 * SIM_SECOND);
  sim_host_stop (w.beta);
  pair_run (&w, 95 * SIM_SECOND);
  g_assert_false (flow->ended);
  pair_run (&w, 20 * SIM_SECOND);
  g_assert_true (flow->ended);
  g_assert_cmpint (flow->error, ==, PILOT_STREAM_ERROR_LOST);
  pair_end (&w);
}

int
main (int argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/overlay/stream/transfer", test_transfer);
  g_test_add_data_func ("/overlay/stream/alone/80", &alone_cases[0], test_alone);
  g_test_add_data_func ("/overlay/stream/alone/800", &alone_cases[1], test_alone);
  g_test_add_data_func ("/overlay/stream/alone/10000", &alone_cases[2], test_alone);
  g_test_add_func ("/overlay/stream/shared", test_shared);
  g_test_add_func ("/overlay/stream/asked", test_asked);
  g_test_add_func ("/overlay/stream/order", test_order);
  g_test_add_func ("/overlay/stream/incoming-ends-at-once", test_incoming_ends_at_once);
  g_test_add_func ("/overlay/stream/closed-port", test_closed_port);
  g_test_add_func ("/overlay/stream/dead-peer", test_dead_peer);
  g_test_add_func ("/overlay/stream/given-up", test_given_up);
  g_test_add_func ("/overlay/stream/stranger", test_stranger);
  g_test_add_func ("/overlay/stream/mismatch", test_mismatch_fails_dials);
  g_test_add_func ("/overlay/stream/restart", test_restart_ends_streams);
  g_test_add_func ("/overlay/stream/outage", test_outage);
  return g_test_run ();
}
