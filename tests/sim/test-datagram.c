/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Datagrams between two overlays: both ways, bounds, what waits for a session. */
#include "sim-pair.h"

#include <string.h>

#include "protocol/overlay-private.h"

static void
datagrams_begin (SimHost *host)
{
  host->datagrams_admitted = TRUE;
  host->datagrams = g_ptr_array_new_with_free_func (g_free);
}

static void
datagrams_end (SimHost *host)
{
  g_clear_pointer (&host->datagrams, g_ptr_array_unref);
}

static PilotDatagramStatus
send_datagram (SimHost *from,
               guint32 to,
               guint16 source_port,
               guint16 port,
               const char *text)
{
  PilotAddress remote = { 0, to };
  PilotDatagramStatus status = pilot_overlay_send_datagram (from->overlay, &remote, source_port, port, (const guint8 *) text, strlen (text), from->sim->now);

  sim_host_run (from);
  return status;
}

/* The first waits for the session, the second does not; the answer finds the way back. */
static void
test_datagram (void)
{
  Pair w = pair_new (SIM_NAT_PORT_RESTRICTED, SIM_NAT_SYMMETRIC);

  pair_start (&w);
  datagrams_begin (w.alpha);
  datagrams_begin (w.beta);
  g_assert_cmpint (send_datagram (w.alpha, 8, 4001, 4000, "one"), ==, PILOT_DATAGRAM_QUEUED);
  g_assert_cmpint (send_datagram (w.alpha, 8, 4001, 4000, "two"), ==, PILOT_DATAGRAM_QUEUED);
  g_assert_cmpuint (w.beta->datagrams->len, ==, 0);
  pair_run (&w, SIM_SECOND);
  g_assert_cmpuint (w.beta->datagrams->len, ==, 2);
  g_assert_cmpstr (w.beta->datagrams->pdata[0], ==, "7:4001>4000 one");
  g_assert_cmpstr (w.beta->datagrams->pdata[1], ==, "7:4001>4000 two");
  g_assert_cmpint (send_datagram (w.beta, 7, 4000, 4001, "back"), ==, PILOT_DATAGRAM_QUEUED);
  g_assert_cmpint (send_datagram (w.beta, 7, 0, 4001, "ephemeral"), ==, PILOT_DATAGRAM_QUEUED);
  pair_run (&w, 100 * SIM_MS);
  g_assert_cmpuint (w.alpha->datagrams->len, ==, 2);
  g_assert_cmpstr (w.alpha->datagrams->pdata[0], ==, "8:4000>4001 back");
  g_assert_cmpstr (w.alpha->datagrams->pdata[1], ==, "8:49152>4001 ephemeral");
  datagrams_end (w.alpha);
  datagrams_end (w.beta);
  pair_end (&w);
}

static void
test_datagram_length (void)
{
  Pair w = pair_new (-1, -1);
  PilotAddress remote = { 0, 8 };
  g_autofree guint8 *data = g_malloc (PILOT_DATAGRAM_MAX + 1);

  memset (data, 'x', PILOT_DATAGRAM_MAX + 1);
  pair_start (&w);
  datagrams_begin (w.beta);
  g_assert_cmpint (pilot_overlay_send_datagram (w.alpha->overlay, &remote, 1, 2, data, 0, w.sim->now), ==, PILOT_DATAGRAM_BAD_LENGTH);
  g_assert_cmpint (pilot_overlay_send_datagram (w.alpha->overlay, &remote, 1, 2, data, PILOT_DATAGRAM_MAX + 1, w.sim->now), ==, PILOT_DATAGRAM_BAD_LENGTH);
  g_assert_false (pilot_overlay_peer_info (w.alpha->overlay, 99, &(PilotPeerInfo) { 0 }));
  g_assert_cmpint (send_datagram (w.alpha, 7, 1, 2, "to itself"), ==, PILOT_DATAGRAM_UNREACHABLE);
  /* The largest, parked and through the relay: still one UDP datagram (transmit checks what it fills). */
  w.alpha->relay_only = TRUE;
  sim_host_stop (w.alpha);
  sim_host_start (w.alpha);
  g_assert_cmpint (pilot_overlay_send_datagram (w.alpha->overlay, &remote, 1, 2, data, PILOT_DATAGRAM_MAX, w.sim->now), ==, PILOT_DATAGRAM_QUEUED);
  sim_host_run (w.alpha);
  pair_run (&w, SIM_SECOND);
  g_assert_cmpuint (w.beta->datagrams->len, ==, 1);
  g_assert_cmpuint (strlen (w.beta->datagrams->pdata[0]), ==, strlen ("7:1>2 ") + 64);
  datagrams_end (w.beta);
  pair_end (&w);
}

/* Neither a port that nobody has bound nor a peer that is not trusted (any more) leaves anything behind. */
static void
test_datagram_not_admitted (void)
{
  Pair w = pair_new (-1, -1);
  PilotOverlayStats stats;

  pair_start (&w);
  datagrams_begin (w.beta);
  send_datagram (w.alpha, 8, 1, SIM_UNBOUND_PORT, "nobody");
  pair_run (&w, SIM_SECOND);
  pilot_overlay_stats (w.beta->overlay, &stats);
  g_assert_cmpuint (stats.dropped_datagrams, ==, 1);
  g_assert_cmpuint (w.beta->datagrams->len, ==, 0);
  pilot_overlay_set_trusted (w.beta->overlay, 7, FALSE, NULL, w.sim->now);
  sim_host_run (w.beta);
  send_datagram (w.alpha, 8, 1, 4000, "untrusted");
  pair_run (&w, 20 * SIM_SECOND);
  g_assert_cmpuint (w.beta->datagrams->len, ==, 0);
  datagrams_end (w.beta);
  pair_end (&w);
}

/* What waits for a session is bounded, is dropped when none comes, and does not come late. */
static void
test_datagram_parked (void)
{
  Pair w = pair_new (-1, -1);
  PilotOverlayStats stats;
  guint n = 0;

  pair_start (&w);
  datagrams_begin (w.beta);
  w.beta->link.down_until = w.sim->now + 40 * SIM_SECOND;
  while (send_datagram (w.alpha, 8, 1, 4000, "early") == PILOT_DATAGRAM_QUEUED)
    n++;
  g_assert_cmpuint (n, ==, 16);
  pair_run (&w, 20 * SIM_SECOND);
  pilot_overlay_stats (w.alpha->overlay, &stats);
  g_assert_cmpuint (stats.dropped_datagrams, ==, 16);
  pair_run (&w, 30 * SIM_SECOND);
  g_assert_cmpuint (w.beta->datagrams->len, ==, 0);
  g_assert_cmpint (send_datagram (w.alpha, 8, 1, 4000, "later"), ==, PILOT_DATAGRAM_QUEUED);
  pair_run (&w, SIM_SECOND);
  g_assert_cmpuint (w.beta->datagrams->len, ==, 1);
  datagrams_end (w.beta);
  pair_end (&w);
}

/* A peer that sends faster than the host takes loses its own, and no more than 64 wait. */
static void
test_datagram_flood (void)
{
  Pair w = pair_new (-1, -1);
  PilotOverlayStats stats;
  PilotEvent event;
  guint sent = 0, taken = 0;

  pair_start (&w);
  datagrams_begin (w.beta);
  g_assert_true (pair_ping (&w, w.alpha, w.beta, SIM_SECOND));
  for (; sent < 200; sent++) {
    PilotAddress remote = { 0, 8 };
    static guint8 buffer[PILOT_TRANSMIT_CAPACITY];
    PilotTransmit item = { .data = buffer, .capacity = sizeof buffer };
    PilotReceivedDatagram received = { .from = w.alpha->endpoint, .data = buffer };

    g_assert_cmpint (pilot_overlay_send_datagram (w.alpha->overlay, &remote, 1, 4000, (const guint8 *) "x", 1, w.sim->now), ==, PILOT_DATAGRAM_QUEUED);
    while (pilot_overlay_transmit (w.alpha->overlay, &item, 1, w.sim->now) > 0) {
      received.length = item.length;
      pilot_overlay_receive (w.beta->overlay, &received, 1, w.sim->now);
    }
  }
  while (pilot_overlay_next_event (w.beta->overlay, &event))
    taken += event.type == PILOT_EVENT_DATAGRAM && event.length == 1 && event.data[0] == 'x';
  pilot_overlay_stats (w.beta->overlay, &stats);
  g_assert_cmpuint (taken, ==, 64);
  g_assert_cmpuint (stats.dropped_datagrams, ==, 136);
  datagrams_end (w.beta);
  pair_end (&w);
}

int
main (int argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/overlay/datagram/both-ways", test_datagram);
  g_test_add_func ("/overlay/datagram/length", test_datagram_length);
  g_test_add_func ("/overlay/datagram/not-admitted", test_datagram_not_admitted);
  g_test_add_func ("/overlay/datagram/parked", test_datagram_parked);
  g_test_add_func ("/overlay/datagram/flood", test_datagram_flood);
  return g_test_run ();
}
