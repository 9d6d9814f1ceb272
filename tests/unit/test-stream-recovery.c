/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "tests/unit/stream-peer.h"

/* How long what is missing is waited for (RFC 8985), against a scripted peer whose round trip is 20 ms. */

#define SEGMENT 1152
#define RTT (20 * MS)

/* From the peer: everything up to segment @number has come, and of those after it the ones from @left to before @right, block by block. */
static void
sack (Fixture *f,
      guint32 number,
      guint n_blocks,
      const guint32 (*blocks)[2])
{
  guint8 payload[5 + 4 * 8] = { 'S', 'A', 'C', 'K', (guint8) n_blocks };

  for (guint i = 0; i < n_blocks; i++)
    for (guint edge = 0; edge < 2; edge++) {
      guint32 value = GUINT32_TO_BE (ISS + 1 + blocks[i][edge] * SEGMENT);

      memcpy (payload + 5 + 8 * i + 4 * edge, &value, 4);
    }
  wire_put (f->wire, 0, PILOT_PACKET_ACK, 1, ISS + 1 + number * SEGMENT, 512, payload, 5 + 8 * n_blocks);
}

/* @n full segments leave, those from @first on. */
static void
send (Fixture *f,
      guint32 first,
      guint n)
{
  g_assert_cmpuint (pilot_stream_write (f->stream, zeros, n * SEGMENT, f->wire->now), ==, n * SEGMENT);
  for (guint i = 0; i < n; i++) {
    WirePacket *packet;

    for (guint tries = 0; (packet = wire_take (f->wire, 0)) == NULL && tries < 100; tries++)
      wire_tick (f->wire, 0, G_MAXINT64);
    g_assert_nonnull (packet);
    g_assert_cmphex (packet->packet.seq, ==, ISS + 1 + (first + i) * SEGMENT);
    g_assert_cmpuint (packet->packet.payload_length, ==, SEGMENT);
    g_free (packet);
  }
}

/* How long it takes from now on until segment @number is sent again. */
static gint64
repeated_after (Fixture *f,
                guint32 number)
{
  const gint64 start = f->wire->now;
  g_autofree WirePacket *packet = wire_take (f->wire, 0);

  for (guint tries = 0; packet == NULL && tries < 10; tries++) {
    wire_tick (f->wire, 0, G_MAXINT64);
    packet = wire_take (f->wire, 0);
  }
  g_assert_nonnull (packet);
  g_assert_cmphex (packet->packet.seq, ==, ISS + 1 + number * SEGMENT);
  return f->wire->now - start;
}

/* Of two segments from @first on the first is lost; what comes of it again arrives after @rtt. Tells how long that was waited for beyond the round trip. */
static gint64
lose_one (Fixture *f,
          guint32 first,
          gint64 rtt)
{
  const guint32 others[1][2] = { { first + 1, first + 2 } };
  gint64 after;

  send (f, first, 2);
  f->wire->now += RTT;
  sack (f, first, 1, others);
  after = repeated_after (f, first);
  expect_nothing (f);
  f->wire->now += rtt;
  ack (f, (first + 2) * SEGMENT, 512);
  /* Until nothing is owed to the pace. */
  f->wire->now += 20 * RTT;
  return after;
}

/* Two holes that one packet tells of, the later first, as whoever receives in batches does: nothing came out of order, and neither is waited for. */
static void
test_blocks_in_any_order (void)
{
  static const guint32 blocks[2][2] = { { 8, 12 }, { 3, 6 } };
  Fixture f;

  connect_go (&f);
  send (&f, 0, 12);
  f.wire->now += RTT;
  sack (&f, 2, 2, blocks);
  g_assert_cmpint (repeated_after (&f, 2), ==, 0);
  g_assert_cmpint (repeated_after (&f, 6), ==, 0);
  g_assert_cmpint (repeated_after (&f, 7), ==, 0);
  expect_nothing (&f);
  end (&f);
}

/* One that was overtaken: from then on a quarter of the round trip is waited; more when something was repeated for nothing; and as before when sixteen
 * losses were none of that kind. */
static void
test_patience (void)
{
  static const guint32 third[1][2] = { { 2, 3 } }, both[1][2] = { { 1, 3 } };
  Fixture f;
  guint32 at = 3;

  connect_go (&f);
  send (&f, 0, 3);
  f.wire->now += RTT;
  sack (&f, 0, 1, third);
  sack (&f, 0, 1, both);
  ack (&f, 3 * SEGMENT, 512);
  g_assert_cmpint (lose_one (&f, at, RTT), ==, RTT / 4);
  at += 2;
  /* It had only been late: the second copy cannot have come so soon. */
  g_assert_cmpint (lose_one (&f, at, MS), ==, RTT / 4);
  for (guint i = 0; i < 15; i++)
    g_assert_cmpint (lose_one (&f, at += 2, RTT), ==, 2 * RTT / 4);
  g_assert_cmpint (lose_one (&f, at += 2, RTT), ==, RTT / 4);
  end (&f);
}

/* Where everything is repeated at once nothing is seen to overtake anything: the needless repetition itself shows it. */
static void
test_late (void)
{
  static const guint32 others[1][2] = { { 1, 5 } };
  Fixture f;

  connect_go (&f);
  send (&f, 0, 5);
  f.wire->now += RTT;
  sack (&f, 0, 1, others);
  g_assert_cmpint (repeated_after (&f, 0), ==, 0);
  f.wire->now += MS;
  ack (&f, 5 * SEGMENT, 512);
  f.wire->now += 20 * RTT;
  g_assert_cmpint (lose_one (&f, 5, RTT), ==, 2 * RTT / 4);
  end (&f);
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/stream/recovery/blocks-in-any-order", test_blocks_in_any_order);
  g_test_add_func ("/stream/recovery/patience", test_patience);
  g_test_add_func ("/stream/recovery/late", test_late);
  return g_test_run ();
}
