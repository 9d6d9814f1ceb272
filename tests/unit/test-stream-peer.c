/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "tests/unit/stream-peer.h"

/* Opening, data, acknowledgements and windows: the conformance checklist of streams.md section 13. */

static void
test_dial_schedule (void)
{
  static const gint64 times[] = { 0, 250, 750, 1750, 2250, 3250, 5250, 9250 };
  Fixture f;
  gint64 start;

  begin (&f);
  start = f.wire->now;
  for (guint i = 0; i < G_N_ELEMENTS (times); i++) {
    g_autofree WirePacket *syn = expect (&f, PILOT_PACKET_SYN);

    g_assert_cmpint (f.wire->now - start, ==, times[i] * MS);
    g_assert_cmphex (syn->packet.seq, ==, ISS);
    g_assert_cmphex (syn->packet.ack, ==, 0);
    g_assert_cmpuint (syn->packet.window, >=, 1);
    expect_nothing (&f);
    wire_tick (f.wire, 0, G_MAXINT64);
  }
  g_assert_cmpint (f.wire->now - start, ==, 17250 * MS);
  g_assert_cmpint (pilot_stream_get_error (f.stream), ==, PILOT_STREAM_ERROR_TIMEOUT);
  expect_nothing (&f);
  end (&f);
}

static void
test_refused (void)
{
  Fixture f;

  begin (&f);
  g_free (expect (&f, PILOT_PACKET_SYN));
  wire_put (f.wire, 0, PILOT_PACKET_RST, 0, 99, 0, NULL, 0);
  g_assert_cmpint (pilot_stream_get_state (f.stream), ==, PILOT_STREAM_STATE_SYN_SENT);
  wire_put (f.wire, 0, PILOT_PACKET_RST, 0, 0, 0, NULL, 0);
  g_assert_cmpint (pilot_stream_get_error (f.stream), ==, PILOT_STREAM_ERROR_REFUSED);
  end (&f);
}

static void
test_segment_limits (void)
{
  Fixture f;
  guint n = 0;
  WirePacket *packet;

  connect_go (&f);
  g_assert_cmpuint (pilot_stream_write (f.stream, zeros, 65536, f.wire->now), ==, 65536);
  g_assert_cmpuint (pilot_stream_write (f.stream, zeros, 65536, f.wire->now), ==, 65536);
  g_assert_cmpuint (pilot_stream_write (f.stream, zeros, 65536, f.wire->now), ==, 65536);
  /* Acknowledge all but the first segment's part selectively: the cap is in segments, SACKed ones included. */
  for (guint round = 0; round < 50; round++) {
    guint32 last = 0;

    while ((packet = wire_take (f.wire, 0)) != NULL) {
      g_assert_cmpuint (packet->packet.payload_length, <=, 1152);
      g_assert_cmpuint (packet->packet.payload_length, >, 0);
      if (pilot_seq_gt (packet->packet.seq + packet->packet.payload_length, ISS + 1 + 1152))
        last = packet->packet.seq + packet->packet.payload_length;
      if (packet->packet.seq != ISS + 1 || n == 0)
        n++;
      g_free (packet);
    }
    if (last != 0) {
      guint8 sack[13] = { 'S', 'A', 'C', 'K', 1 };
      guint32 left = GUINT32_TO_BE (ISS + 1 + 1152), right = GUINT32_TO_BE (last);

      memcpy (sack + 5, &left, 4);
      memcpy (sack + 9, &right, 4);
      wire_put (f.wire, 0, PILOT_PACKET_ACK, 1, ISS + 1, 512, sack, sizeof sack);
    }
  }
  g_assert_cmpuint (n, ==, 128);
  end (&f);
}

static void
test_small_window (void)
{
  Fixture f;

  guint32 highest = ISS + 1;

  connect_window (&f, 3);
  for (guint i = 0; i < 10; i++) {
    pilot_stream_write (f.stream, "x", 1, f.wire->now);
    for (guint turn = 0; turn < 4; turn++) {
      WirePacket *packet;

      while ((packet = wire_take (f.wire, 0)) != NULL) {
        g_assert_cmpuint (packet->packet.payload_length, ==, 1);
        highest = pilot_seq_max (highest, packet->packet.seq + 1);
        g_free (packet);
      }
      wire_tick (f.wire, 0, f.wire->now + 41 * MS);
    }
  }
  g_assert_cmphex (highest, ==, ISS + 1 + 3);
  end (&f);
}

static void
test_sack_blocks (void)
{
  Fixture f;
  guint sack_sizes[4] = { 13, 21, 29, 37 }, empty = 0;

  connect_go (&f);
  for (guint i = 0; i < 40; i++) {
    WirePacket *packet;
    guint sacks = 0;

    data (&f, 1 + 100 * (2 * i + 1), 100);
    while ((packet = wire_take (f.wire, 0)) != NULL) {
      g_assert_cmpuint (packet->packet.ack, ==, 1);
      if (packet->packet.payload_length == 0)
        empty++;
      else {
        guint32 left;

        sacks++;
        g_assert_cmpuint (packet->packet.payload_length, ==, sack_sizes[MIN (i, 3)]);
        memcpy (&left, packet->data + packet->packet.payload_length - 8, 4);
        g_assert_cmpuint (GUINT32_FROM_BE (left), ==, 1 + 100 * (2 * i + 1));
      }
      g_free (packet);
    }
    g_assert_cmpuint (sacks, ==, 1);
  }
  g_assert_cmpuint (empty, ==, 3);
  for (guint i = 0; i < 40; i++)
    data (&f, 1 + 200 * i, 100);
  g_assert_cmpuint (readable (&f), ==, 8000);
  end (&f);
}

static void
test_data_like_sack (void)
{
  guint8 fake[25] = { 'S', 'A', 'C', 'K', 1 };
  Fixture f;
  WirePacket *packet;
  guint total = 0;

  connect_go (&f);
  pilot_stream_write (f.stream, fake, sizeof fake, f.wire->now);
  for (guint i = 0; i < 10; i++) {
    while ((packet = wire_take (f.wire, 0)) != NULL) {
      g_assert_false (packet->packet.payload_length >= 5 && memcmp (packet->data, "SACK", 4) == 0);
      g_assert_cmpmem (packet->data, packet->packet.payload_length, fake + total, packet->packet.payload_length);
      total += packet->packet.payload_length;
      g_free (packet);
    }
    ack (&f, total, 512);
  }
  g_assert_cmpuint (total, ==, sizeof fake);
  /* From the peer: not exactly SACK, so data. */
  wire_put (f.wire, 0, PILOT_PACKET_ACK, 1, ISS + 1 + total, 512, fake, sizeof fake);
  g_assert_cmpuint (readable (&f), ==, sizeof fake);
  end (&f);
}

/* A segment that nobody acknowledges. A Go node that is heard otherwise has lost the stream, and eight tries are enough; silence may be an outage,
 * and 100 s must pass. */
static void
test_retransmission (gconstpointer heard)
{
  Fixture f;
  gint64 last = 0, start;
  guint n = 0;

  connect_go (&f);
  start = f.wire->now;
  pilot_stream_write (f.stream, zeros, 700, f.wire->now);
  for (guint i = 0; i < 40 && pilot_stream_get_state (f.stream) != PILOT_STREAM_STATE_CLOSED; i++) {
    WirePacket *packet;

    while ((packet = wire_take (f.wire, 0)) != NULL) {
      if (packet->packet.flags == PILOT_PACKET_ACK) {
        g_assert_cmphex (packet->packet.seq, ==, ISS + 1);
        g_assert_cmpuint (packet->packet.payload_length, ==, 700);
        g_assert_true (last == 0 || f.wire->now - last >= 200 * MS);
        last = f.wire->now;
        n++;
        if (GPOINTER_TO_INT (heard))
          f.wire->ends[0].heard = last + MS;
      }
      g_free (packet);
    }
    wire_tick (f.wire, 0, G_MAXINT64);
  }
  if (GPOINTER_TO_INT (heard)) {
    g_assert_cmpuint (n, ==, 8);
    g_assert_cmpint (f.wire->now - start, <, 40 * SECOND);
  } else {
    g_assert_cmpuint (n, >=, 8);
    g_assert_cmpint (f.wire->now - start, >=, 100 * SECOND);
    g_assert_cmpint (f.wire->now - start, <=, 110 * SECOND);
  }
  g_assert_cmpint (pilot_stream_get_error (f.stream), ==, PILOT_STREAM_ERROR_LOST);
  g_free (expect (&f, PILOT_PACKET_RST));
  end (&f);
}

static void
test_round_trips (void)
{
  static const gint64 rtts[] = { 100, 120, 80 };
  Fixture f;
  guint32 sent = 0;

  connect_go (&f);
  for (guint i = 0; i < 3; i++) {
    PilotStreamInfo info;

    /* The sample of the handshake is one too: start anew from the figures of section 4.4. */
    pilot_stream_write (f.stream, "x", 1, f.wire->now);
    g_free (expect (&f, PILOT_PACKET_ACK));
    f.wire->now += rtts[i] * MS;
    ack (&f, ++sent, 512);
    pilot_stream_info (f.stream, &info);
    if (i == 0) {
      /* 20 ms, then 100: srtt 30, rttvar 27.5. */
      g_assert_cmpint (info.srtt_us, ==, 30000);
      g_assert_cmpint (info.rto_us, ==, 200000);
    }
    g_assert_cmpint (info.rto_us, ==, CLAMP (info.srtt_us + MAX (10000, 4 * info.rttvar_us), 200000, 10000000));
  }
  end (&f);
}

static void
test_acknowledgements (void)
{
  Fixture f;
  g_autofree WirePacket *packet = NULL;

  connect_go (&f);
  /* Of what was never sent: ignored. */
  pilot_stream_write (f.stream, "abc", 3, f.wire->now);
  g_free (expect (&f, PILOT_PACKET_ACK));
  ack (&f, 4, 512);
  {
    PilotStreamInfo info;

    pilot_stream_info (f.stream, &info);
    g_assert_cmpuint (info.bytes_in_flight, ==, 3);
  }
  ack (&f, 3, 512);
  /* Every second full segment is acknowledged, each pair by its own packet. */
  for (guint i = 0; i < 4; i++)
    wire_put (f.wire, 0, PILOT_PACKET_ACK, 1 + 1152 * i, ISS + 4, 512, zeros, 1152);
  packet = expect (&f, PILOT_PACKET_ACK);
  g_assert_cmpuint (packet->packet.ack, ==, 1 + 2304);
  g_free (packet);
  packet = expect (&f, PILOT_PACKET_ACK);
  g_assert_cmpuint (packet->packet.ack, ==, 1 + 4608);
  expect_nothing (&f);
  /* A lone one within 5 ms. */
  wire_put (f.wire, 0, PILOT_PACKET_ACK, 1 + 4608, ISS + 4, 512, zeros, 1152);
  expect_nothing (&f);
  g_assert_cmpint (pilot_stream_deadline (f.stream) - f.wire->now, <=, 5 * MS);
  wire_tick (f.wire, 0, G_MAXINT64);
  g_free (expect (&f, PILOT_PACKET_ACK));
  /* A duplicate at once, one that overlaps yields the new part. */
  wire_put (f.wire, 0, PILOT_PACKET_ACK, 1, ISS + 4, 512, zeros, 1152);
  g_free (expect (&f, PILOT_PACKET_ACK));
  wire_put (f.wire, 0, PILOT_PACKET_ACK, 1 + 5000, ISS + 4, 512, zeros, 1000);
  g_assert_cmpuint (readable (&f), ==, 6000);
  /* Large segments. */
  wire_put (f.wire, 0, PILOT_PACKET_ACK, 6001, ISS + 4, 512, zeros, 16384);
  g_assert_cmpuint (readable (&f), ==, 22384);
  end (&f);
}

static void
test_zero_window (void)
{
  static const gint64 delays[] = { 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240, 20480, 30000, 30000 };
  Fixture f;
  gint64 last;

  connect_go (&f);
  pilot_stream_write (f.stream, zeros, 1152, f.wire->now);
  g_free (expect (&f, PILOT_PACKET_ACK));
  f.wire->now += 20 * MS;
  ack (&f, 1152, 0);
  pilot_stream_write (f.stream, zeros, 10000, f.wire->now);
  expect_nothing (&f);
  last = f.wire->now;
  for (guint i = 0; i < G_N_ELEMENTS (delays); i++) {
    g_autofree WirePacket *probe = NULL;
    gint64 until = last + delays[i] * MS;

    while (f.wire->now < until) {
      expect_nothing (&f);
      wire_tick (f.wire, 0, until);
    }
    probe = expect (&f, PILOT_PACKET_ACK);
    g_assert_cmpuint (probe->packet.payload_length, ==, 1152);
    g_assert_cmphex (probe->packet.seq, ==, ISS + 1 + 1152);
    last = f.wire->now;
    ack (&f, 1152, 0);
  }
  ack (&f, 1152, 16);
  g_free (expect (&f, PILOT_PACKET_ACK));
  g_assert_cmpint (pilot_stream_get_state (f.stream), ==, PILOT_STREAM_STATE_ESTABLISHED);
  end (&f);
}

/* The next packet, whichever timers go off before. */
static WirePacket *
wait_packet (Fixture *f)
{
  WirePacket *packet;

  while ((packet = wire_take (f->wire, 0)) == NULL) {
    g_assert_cmpint (f->wire->now, <, 3600 * G_GINT64_CONSTANT (1000) * MS);
    wire_tick (f->wire, 0, G_MAXINT64);
  }
  return packet;
}

/* A Go node stands still while the queue of one of its streams is full: the last slots are filled by questions alone, one at a time. */
static void
test_reserve (void)
{
  Fixture f;
  guint32 sent = 0;
  guint n = 0;
  WirePacket *packet;

  connect_go (&f);
  while (pilot_stream_write (f.stream, zeros, sizeof zeros, f.wire->now) > 0)
    ;
  /* Its program reads nothing: 512 slots fill up. */
  for (guint round = 0; round < 100; round++) {
    while ((packet = wire_take (f.wire, 0)) != NULL) {
      sent += packet->packet.payload_length;
      n++;
      g_free (packet);
    }
    f.wire->now += MS;
    ack (&f, sent, (guint16) (512 - n));
    pilot_stream_write (f.stream, zeros, sizeof zeros, f.wire->now);
  }
  g_assert_cmpuint (n, ==, 504);
  for (guint slots = 8; slots > 0; slots--) {
    packet = wait_packet (&f);
    g_assert_cmpuint (packet->packet.payload_length, ==, 1152);
    g_assert_cmphex (packet->packet.seq, ==, ISS + 1 + sent);
    g_free (packet);
    expect_nothing (&f);
    sent += 1152;
    ack (&f, sent, (guint16) (slots - 1));
    expect_nothing (&f);
  }
  /* It has read a hundred: on it goes. */
  g_free (wait_packet (&f));
  ack (&f, sent + 1152, 99);
  for (guint i = 0; i < 7; i++)
    g_free (expect (&f, PILOT_PACKET_ACK));
  end (&f);
}

static void
test_own_window (void)
{
  Fixture f;
  guint32 at = 0;
  g_autofree WirePacket *packet = NULL;
  guint16 window = 512;

  connect_go (&f);
  while (window > 0 && at < 8 * 1024 * 1024) {
    WirePacket *next;

    data (&f, 1 + at, 4096);
    at += 4096;
    while ((next = wire_take (f.wire, 0)) != NULL) {
      window = next->packet.window;
      g_free (next);
    }
    wire_tick (f.wire, 0, f.wire->now + 10 * MS);
  }
  g_assert_cmpuint (window, ==, 0);
  g_assert_cmpuint (readable (&f), <=, 2 * 1024 * 1024);
  /* Beyond the window nothing is taken. */
  data (&f, 1 + at, 8192);
  g_assert_cmpuint (readable (&f), ==, at);
  discard_output (&f);
  pilot_stream_read_consume (f.stream, 1024 * 1024, f.wire->now);
  packet = expect (&f, PILOT_PACKET_ACK);
  g_assert_cmpuint (packet->packet.window, >, 0);
  g_assert_cmpuint (packet->packet.payload_length, ==, 0);
  end (&f);
}

static void
test_keepalive (void)
{
  Fixture f;

  connect_go (&f);
  f.wire->now += 60 * SECOND;
  ack (&f, 0, 0);
  g_free (expect (&f, PILOT_PACKET_ACK));
  expect_nothing (&f);
  ack (&f, 0, 512);
  expect_nothing (&f);
  /* The window 0 of a v1.9 keepalive stalls nothing. */
  f.wire->now += 60 * SECOND;
  ack (&f, 0, 0);
  g_free (expect (&f, PILOT_PACKET_ACK));
  pilot_stream_write (f.stream, "x", 1, f.wire->now);
  g_free (expect (&f, PILOT_PACKET_ACK));
  end (&f);
}

static void
test_responder (void)
{
  WireConfig config = { .delay = 0 };
  Fixture f = { .wire = wire_new (&config, 1) };
  PilotPacket syn = { .flags = PILOT_PACKET_SYN, .seq = 0xfffffffeu, .window = 512 };
  g_autofree WirePacket *first = NULL, *again = NULL;

  f.stream = wire_open (f.wire, 1, TRUE, 0);
  pilot_stream_input_syn (f.stream, &syn, f.wire->now);
  g_assert_null (wire_take (f.wire, 1));
  g_assert_cmpint (pilot_stream_deadline (f.stream), ==, G_MAXINT64);
  pilot_stream_accept (f.stream, f.wire->now);
  first = wire_take (f.wire, 1);
  g_assert_cmphex (first->packet.flags, ==, PILOT_PACKET_SYN | PILOT_PACKET_ACK);
  g_assert_cmphex (first->packet.ack, ==, 0xffffffffu);
  g_assert_cmpuint (first->packet.payload_length, ==, 0);
  g_assert_cmpuint (pilot_stream_write (f.stream, "hello", 5, f.wire->now), ==, 5);
  g_free (wire_take (f.wire, 1));
  pilot_stream_input (f.stream, &syn, f.wire->now);
  again = wire_take (f.wire, 1);
  g_assert_cmphex (again->packet.flags, ==, PILOT_PACKET_SYN | PILOT_PACKET_ACK);
  g_assert_cmphex (again->packet.seq, ==, first->packet.seq);
  /* Data without a final ACK, across the wrap. */
  wire_put (f.wire, 1, PILOT_PACKET_ACK, 0xffffffffu, first->packet.seq + 1, 512, "abc", 3);
  {
    struct iovec vectors[2];

    g_assert_cmpuint (pilot_stream_read_vectors (f.stream, vectors), ==, 1);
    g_assert_cmpmem (vectors[0].iov_base, vectors[0].iov_len, "abc", 3);
  }
  end (&f);
}

static void
test_refuse (void)
{
  WireConfig config = { .delay = 0 };
  Fixture f = { .wire = wire_new (&config, 1) };
  PilotPacket syn = { .flags = PILOT_PACKET_SYN, .seq = 5, .window = 512 };
  g_autofree WirePacket *rst = NULL;

  f.stream = wire_open (f.wire, 1, TRUE, 0);
  pilot_stream_input_syn (f.stream, &syn, f.wire->now);
  pilot_stream_refuse (f.stream, f.wire->now);
  rst = wire_take (f.wire, 1);
  g_assert_cmphex (rst->packet.flags, ==, PILOT_PACKET_RST);
  g_assert_cmphex (rst->packet.seq | rst->packet.ack | rst->packet.window, ==, 0);
  g_assert_true (f.wire->ends[1].finished);
  end (&f);
}

/* A v1.9 SYN-ACK repeated after data was sent carries the wrong number. */
static void
test_drifted_syn_ack (void)
{
  Fixture f;

  begin (&f);
  g_free (expect (&f, PILOT_PACKET_SYN));
  wire_put (f.wire, 0, PILOT_PACKET_SYN | PILOT_PACKET_ACK, 20, ISS + 1, 512, NULL, 0);
  discard_output (&f);
  wire_put (f.wire, 0, PILOT_PACKET_ACK, 1, ISS + 1, 512, "SSH-2.0-OpenSSH_9.2\n", 20);
  g_assert_cmpuint (readable (&f), ==, 20);
  wire_put (f.wire, 0, PILOT_PACKET_ACK, 21, ISS + 1, 512, "more", 4);
  g_assert_cmpuint (readable (&f), ==, 24);
  end (&f);
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/stream/peer/dial-schedule", test_dial_schedule);
  g_test_add_func ("/stream/peer/refused", test_refused);
  g_test_add_func ("/stream/peer/segment-limits", test_segment_limits);
  g_test_add_func ("/stream/peer/small-window", test_small_window);
  g_test_add_func ("/stream/peer/sack-blocks", test_sack_blocks);
  g_test_add_func ("/stream/peer/data-like-sack", test_data_like_sack);
  g_test_add_data_func ("/stream/peer/retransmission/silence", GINT_TO_POINTER (FALSE), test_retransmission);
  g_test_add_data_func ("/stream/peer/retransmission/unheeded", GINT_TO_POINTER (TRUE), test_retransmission);
  g_test_add_func ("/stream/peer/round-trips", test_round_trips);
  g_test_add_func ("/stream/peer/acknowledgements", test_acknowledgements);
  g_test_add_func ("/stream/peer/zero-window", test_zero_window);
  g_test_add_func ("/stream/peer/reserve", test_reserve);
  g_test_add_func ("/stream/peer/own-window", test_own_window);
  g_test_add_func ("/stream/peer/keepalive", test_keepalive);
  g_test_add_func ("/stream/peer/responder", test_responder);
  g_test_add_func ("/stream/peer/refuse", test_refuse);
  g_test_add_func ("/stream/peer/drifted-syn-ack", test_drifted_syn_ack);
  return g_test_run ();
}
