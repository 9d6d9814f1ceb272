/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/stream-peer.h"

const guint8 zeros[65536];

WirePacket *
expect (Fixture *f,
        guint8 flags)
{
  WirePacket *packet = wire_take (f->wire, 0);

  g_assert_nonnull (packet);
  g_assert_cmphex (packet->packet.flags, ==, flags);
  return packet;
}

void
expect_nothing (Fixture *f)
{
  g_autofree WirePacket *packet = wire_take (f->wire, 0);

  g_assert_null (packet);
}

void
discard_output (Fixture *f)
{
  WirePacket *packet;

  while ((packet = wire_take (f->wire, 0)) != NULL)
    g_free (packet);
}

void
begin (Fixture *f)
{
  WireConfig config = { .delay = 0 };

  f->wire = wire_new (&config, 1);
  f->stream = wire_open (f->wire, 0, TRUE, 8 * 1024 * 1024);
}

/* Connected to a peer without extensions: its ISN is 0, its window so many segments. */
void
connect_window (Fixture *f,
                guint16 window)
{
  begin (f);
  g_free (expect (f, PILOT_PACKET_SYN));
  f->wire->now += 20 * MS;
  wire_put (f->wire, 0, PILOT_PACKET_SYN | PILOT_PACKET_ACK, 0, ISS + 1, window, NULL, 0);
  g_free (expect (f, PILOT_PACKET_ACK));
  expect_nothing (f);
  g_assert_cmpint (pilot_stream_get_state (f->stream), ==, PILOT_STREAM_STATE_ESTABLISHED);
  g_assert_cmpuint (pilot_stream_take_ready (f->stream) & PILOT_STREAM_READY_OPEN, !=, 0);
  g_assert_false (pilot_stream_is_own_kind (f->stream));
}

/* The window of Go peers is 512. */
void
connect_go (Fixture *f)
{
  connect_window (f, 512);
}

void
ack (Fixture *f,
     guint32 number,
     guint16 window)
{
  wire_put (f->wire, 0, PILOT_PACKET_ACK, 1, ISS + 1 + number, window, NULL, 0);
}

void
data (Fixture *f,
      guint32 seq,
      gsize length)
{
  wire_put (f->wire, 0, PILOT_PACKET_ACK, seq, ISS + 1, 512, zeros, length);
}

gsize
readable (Fixture *f)
{
  struct iovec vectors[2];
  guint n = pilot_stream_read_vectors (f->stream, vectors);

  return n == 0 ? 0 : n == 1 ? vectors[0].iov_len
                             : vectors[0].iov_len + vectors[1].iov_len;
}
