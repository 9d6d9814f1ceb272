/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "tests/unit/stream-peer.h"

/* How streams end: FIN of either side, resets, and who goes without a word (streams.md sections 6 and 13). */

static void
test_our_fin (void)
{
  Fixture f;
  g_autofree WirePacket *fin = NULL;

  connect_go (&f);
  pilot_stream_write (f.stream, "abc", 3, f.wire->now);
  pilot_stream_release (f.stream, f.wire->now);
  g_free (expect (&f, PILOT_PACKET_ACK));
  expect_nothing (&f);
  ack (&f, 3, 512);
  fin = expect (&f, PILOT_PACKET_FIN);
  g_assert_cmphex (fin->packet.seq, ==, ISS + 4);
  g_assert_cmphex (fin->packet.ack, ==, 0);
  g_assert_cmphex (fin->packet.window, ==, 0);
  /* Its FIN-ACK ends it, and is not answered. */
  wire_put (f.wire, 0, PILOT_PACKET_FIN | PILOT_PACKET_ACK, 1, ISS + 5, 0, NULL, 0);
  expect_nothing (&f);
  g_assert_cmpint (pilot_stream_get_state (f.stream), ==, PILOT_STREAM_STATE_TIME_WAIT);
  wire_put (f.wire, 0, PILOT_PACKET_FIN, 1, 0, 0, NULL, 0);
  expect_nothing (&f);
  for (guint i = 0; i < 10 && !f.wire->ends[0].finished; i++) {
    expect_nothing (&f);
    wire_tick (f.wire, 0, G_MAXINT64);
  }
  g_assert_true (f.wire->ends[0].finished);
  end (&f);
}

static void
test_fin_unacknowledged_data (void)
{
  Fixture f;
  gint64 start;
  gboolean fin = FALSE;

  connect_go (&f);
  pilot_stream_write (f.stream, "abc", 3, f.wire->now);
  g_free (expect (&f, PILOT_PACKET_ACK));
  start = f.wire->now;
  pilot_stream_release (f.stream, start);
  while (!fin && f.wire->now < start + 20 * SECOND) {
    WirePacket *packet;

    wire_tick (f.wire, 0, G_MAXINT64);
    while ((packet = wire_take (f.wire, 0)) != NULL) {
      fin |= packet->packet.flags == PILOT_PACKET_FIN;
      g_free (packet);
    }
  }
  g_assert_cmpint (f.wire->now - start, ==, 5 * SECOND);
  while (!f.wire->ends[0].finished && f.wire->now < start + 60 * SECOND) {
    WirePacket *packet;

    wire_tick (f.wire, 0, G_MAXINT64);
    while ((packet = wire_take (f.wire, 0)) != NULL) {
      g_assert_cmphex (packet->packet.flags, !=, PILOT_PACKET_RST);
      g_free (packet);
    }
  }
  g_assert_cmpint (f.wire->now - start, <=, 16 * SECOND);
  end (&f);
}

static void
test_their_fin (void)
{
  Fixture f;
  g_autofree WirePacket *packet = NULL;

  connect_go (&f);
  wire_put (f.wire, 0, PILOT_PACKET_ACK, 1, ISS + 1, 512, "abc", 3);
  discard_output (&f);
  /* The FIN overtakes two bytes. */
  wire_put (f.wire, 0, PILOT_PACKET_FIN, 6, 0, 0, NULL, 0);
  g_assert_cmpint (pilot_stream_get_state (f.stream), ==, PILOT_STREAM_STATE_ESTABLISHED);
  packet = expect (&f, PILOT_PACKET_ACK);
  g_assert_cmpuint (packet->packet.ack, ==, 4);
  g_free (packet);
  wire_put (f.wire, 0, PILOT_PACKET_ACK, 4, ISS + 1, 512, "de", 2);
  g_assert_cmpuint (readable (&f), ==, 5);
  g_assert_cmpint (pilot_stream_get_state (f.stream), ==, PILOT_STREAM_STATE_TIME_WAIT);
  packet = expect (&f, PILOT_PACKET_FIN | PILOT_PACKET_ACK);
  g_assert_cmphex (packet->packet.seq, ==, ISS + 1);
  g_assert_cmpuint (packet->packet.ack, ==, 7);
  wire_put (f.wire, 0, PILOT_PACKET_FIN, 6, 0, 0, NULL, 0);
  {
    WirePacket *more;

    while ((more = wire_take (f.wire, 0)) != NULL) {
      g_assert_cmphex (more->packet.flags & PILOT_PACKET_FIN, ==, 0);
      g_free (more);
    }
  }
  g_assert_false (pilot_stream_is_eof (f.stream));
  pilot_stream_read_consume (f.stream, 5, f.wire->now);
  g_assert_true (pilot_stream_is_eof (f.stream));
  end (&f);
}

static void
test_fin_hold (void)
{
  Fixture f;
  gint64 start;

  connect_go (&f);
  start = f.wire->now;
  wire_put (f.wire, 0, PILOT_PACKET_FIN, 6, 0, 0, NULL, 0);
  discard_output (&f);
  while (pilot_stream_get_state (f.stream) == PILOT_STREAM_STATE_ESTABLISHED && f.wire->now < start + 60 * SECOND)
    wire_tick (f.wire, 0, G_MAXINT64);
  g_assert_cmpint (f.wire->now - start, ==, 15 * SECOND);
  g_assert_cmpint (pilot_stream_get_error (f.stream), ==, PILOT_STREAM_ERROR_LOST);
  end (&f);
}

static void
test_deferred_shutdown (void)
{
  Fixture f;

  connect_go (&f);
  pilot_stream_write (f.stream, "GET", 3, f.wire->now);
  pilot_stream_shutdown_write (f.stream, f.wire->now);
  g_free (expect (&f, PILOT_PACKET_ACK));
  ack (&f, 3, 512);
  /* A FIN now would silence the peer: its answer is still to come. */
  for (guint i = 0; i < 100; i++) {
    g_autofree WirePacket *packet = NULL;

    wire_tick (f.wire, 0, f.wire->now + SECOND);
    wire_put (f.wire, 0, PILOT_PACKET_ACK, 1 + 10 * i, ISS + 4, 512, zeros, 10);
    packet = wire_take (f.wire, 0);
    g_assert_true (packet == NULL || packet->packet.flags == PILOT_PACKET_ACK);
  }
  g_assert_cmpuint (readable (&f), ==, 1000);
  wire_put (f.wire, 0, PILOT_PACKET_FIN, 1001, 0, 0, NULL, 0);
  g_free (expect (&f, PILOT_PACKET_FIN | PILOT_PACKET_ACK));
  end (&f);
}

static void
test_reset (void)
{
  Fixture f;

  connect_go (&f);
  wire_put (f.wire, 0, PILOT_PACKET_RST, 0, 0, 0, NULL, 0);
  g_assert_cmpint (pilot_stream_get_error (f.stream), ==, PILOT_STREAM_ERROR_RESET);
  g_assert_cmpuint (pilot_stream_take_ready (f.stream) & PILOT_STREAM_READY_CLOSED, !=, 0);
  end (&f);
}

/* A slow peer gets everything before the FIN, however long it takes. */
static void
test_slow_close (void)
{
  Fixture f;
  guint32 acked = 0, highest = 0;
  gint64 start;
  gboolean fin = FALSE;

  connect_go (&f);
  start = f.wire->now;
  g_assert_cmpuint (pilot_stream_write (f.stream, zeros, 60000, start), ==, 60000);
  pilot_stream_release (f.stream, start);
  while (!fin && f.wire->now < start + 100 * SECOND) {
    WirePacket *packet;

    while ((packet = wire_take (f.wire, 0)) != NULL) {
      if (packet->packet.flags == PILOT_PACKET_FIN)
        fin = TRUE;
      else
        highest = MAX (highest, packet->packet.seq + packet->packet.payload_length - ISS - 1);
      g_free (packet);
    }
    wire_tick (f.wire, 0, f.wire->now + 100 * MS);
    /* 1152 bytes in half a second. */
    if ((f.wire->now - start) / (500 * MS) * 1152 > acked && acked < highest) {
      acked = MIN (acked + 1152, highest);
      ack (&f, acked, 512);
    }
  }
  g_assert_true (fin);
  g_assert_cmpuint (acked, ==, 60000);
  g_assert_cmpint (f.wire->now - start, >, 20 * SECOND);
  end (&f);
}

/* A reset that cannot leave does not keep the stream. */
static void
test_reset_without_tunnel (void)
{
  Fixture f;

  connect_go (&f);
  pilot_stream_reset (f.stream, f.wire->now);
  pilot_stream_release (f.stream, f.wire->now);
  g_assert_false (f.wire->ends[0].finished);
  wire_tick (f.wire, 0, G_MAXINT64);
  g_assert_true (f.wire->ends[0].finished);
  end (&f);
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/stream/end/our-fin", test_our_fin);
  g_test_add_func ("/stream/end/fin-unacknowledged-data", test_fin_unacknowledged_data);
  g_test_add_func ("/stream/end/their-fin", test_their_fin);
  g_test_add_func ("/stream/end/fin-hold", test_fin_hold);
  g_test_add_func ("/stream/end/deferred-shutdown", test_deferred_shutdown);
  g_test_add_func ("/stream/end/reset", test_reset);
  g_test_add_func ("/stream/end/slow-close", test_slow_close);
  g_test_add_func ("/stream/end/reset-without-tunnel", test_reset_without_tunnel);
  return g_test_run ();
}
