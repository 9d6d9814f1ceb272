/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <json-glib/json-glib.h>
#include <string.h>

#include "protocol/ring.h"
#include "protocol/stream-internal.h"

/* The nouns a stream is made of. */

static void
check_ring (const PilotRing *ring,
            guint64 start,
            const guint8 *expected,
            gsize length,
            guint n_spans)
{
  struct iovec spans[2];

  g_assert_cmpuint (pilot_ring_spans (ring, start, length, spans), ==, n_spans);
  g_assert_cmpmem (spans[0].iov_base, spans[0].iov_len, expected, spans[0].iov_len);
  if (n_spans == 2)
    g_assert_cmpmem (spans[1].iov_base, spans[1].iov_len, expected + spans[0].iov_len, length - spans[0].iov_len);
}

static void
test_ring (void)
{
  PilotRing ring = { NULL, 0 };
  guint8 bytes[20000];
  struct iovec spans[2];
  const guint64 first = 777, start = first + 4090;

  for (guint i = 0; i < sizeof bytes; i++)
    bytes[i] = (guint8) (i * 31 + (i >> 8));
  g_assert_true (pilot_ring_reserve (&ring, first, 0, 100, 1 << 20));
  g_assert_cmpuint (ring.capacity, ==, 4096);
  /* Further on it goes round the end. */
  pilot_ring_write (&ring, start, bytes, 100);
  check_ring (&ring, start, bytes, 100, 2);
  g_assert_cmpuint (pilot_ring_spans (&ring, start, 100, spans), ==, 2);
  g_assert_cmpuint (spans[0].iov_len, ==, 6);
  /* Grown: what was there is there still, at its offset, in one piece. */
  g_assert_true (pilot_ring_reserve (&ring, start, 100, 5000, 1 << 20));
  g_assert_cmpuint (ring.capacity, ==, 8192);
  check_ring (&ring, start, bytes, 100, 1);
  pilot_ring_write (&ring, start + 100, bytes + 100, 4900);
  check_ring (&ring, start, bytes, 5000, 2);
  /* By more than once what it was, full to the last byte. */
  pilot_ring_write (&ring, start + 5000, bytes + 5000, 3192);
  g_assert_true (pilot_ring_reserve (&ring, start, 8192, sizeof bytes, 1 << 20));
  g_assert_cmpuint (ring.capacity, ==, 32768);
  check_ring (&ring, start, bytes, 8192, 1);
  pilot_ring_write (&ring, start + 8192, bytes + 8192, sizeof bytes - 8192);
  check_ring (&ring, start, bytes, sizeof bytes, 1);
  g_assert_false (pilot_ring_reserve (&ring, start, 0, (1 << 20) + 1, 1 << 20));
  pilot_ring_clear (&ring);
  g_assert_cmpuint (pilot_ring_spans (&ring, 7, 0, spans), ==, 0);
}

/* Against the stream itself: bytes come and go in any amounts, and the ring grows whenever it must. */
static void
test_ring_random (void)
{
  for (guint round = 0; round < 200; round++) {
    PilotRing ring = { NULL, 0 };
    guint64 start = g_test_rand_int (), end = start;

    for (guint step = 0; step < 200; step++) {
      guint more = g_test_rand_int_range (1, 3000), less = g_test_rand_int_range (0, 2900);
      gsize before = end - start;

      if (pilot_ring_reserve (&ring, start, before, before + more, 40000))
        for (guint i = 0; i < more; i++, end++)
          pilot_ring_write (&ring, end, &(guint8) { (guint8) (end * 31 + (end >> 8)) }, 1);
      for (less = MIN (less, end - start); less > 0; less--, start++) {
        struct iovec spans[2];

        g_assert_cmpuint (pilot_ring_spans (&ring, start, 1, spans), ==, 1);
        g_assert_cmpuint (*(guint8 *) spans[0].iov_base, ==, (guint8) (start * 31 + (start >> 8)));
      }
      if (start == end && g_test_rand_bit ())
        pilot_ring_rewind (&ring, start);
    }
    pilot_ring_clear (&ring);
  }
}

/* An empty ring begins where it is told to, and keeps what is put in from there on, also when it grows. */
static void
test_ring_rewind (void)
{
  PilotRing ring = { NULL, 0 };
  struct iovec spans[2];
  guint8 bytes[6000];

  for (guint i = 0; i < sizeof bytes; i++)
    bytes[i] = (guint8) (i * 31 >> 3);
  for (guint64 start = 5000; start < 100000; start += 17777) {
    pilot_ring_rewind (&ring, start);
    g_assert_true (pilot_ring_reserve (&ring, start, 0, 3000, 1 << 20));
    pilot_ring_write (&ring, start, bytes, 3000);
    g_assert_cmpuint (pilot_ring_spans (&ring, start, 3000, spans), ==, 1);
    g_assert_true (spans[0].iov_base == ring.data);
    g_assert_cmpmem (spans[0].iov_base, 3000, bytes, 3000);
    g_assert_true (pilot_ring_reserve (&ring, start, 3000, sizeof bytes, 1 << 20));
    pilot_ring_write (&ring, start + 3000, bytes + 3000, sizeof bytes - 3000);
    g_assert_cmpuint (pilot_ring_spans (&ring, start, sizeof bytes, spans), ==, 1);
    g_assert_cmpmem (spans[0].iov_base, sizeof bytes, bytes, sizeof bytes);
  }
  pilot_ring_clear (&ring);
}

/* Against a bitmap, across the wrap of sequence numbers. */
static void
test_intervals (void)
{
  guint32 base = 0xffffff80u;

  for (guint32 seed = 0; seed < 200; seed++) {
    g_autoptr (GRand) rand = g_rand_new_with_seed (seed);
    PilotStreamIntervals set = { NULL };
    gboolean map[256] = { FALSE };
    guint trimmed = 0;

    for (guint round = 0; round < 40; round++) {
      guint left = g_rand_int_range (rand, (gint) trimmed, 255);
      guint length = g_rand_int_range (rand, 1, 12), right = MIN (256, left + length);
      guint expected = 0, at = 0;

      if (round % 8 == 7) {
        trimmed = MAX (trimmed, left / 4);
        pilot_stream_intervals_trim (&set, base + trimmed);
        memset (map, 0, trimmed * sizeof *map);
      } else {
        g_assert_cmpint (pilot_stream_intervals_add (&set, base + left, base + right), >=, 0);
        for (guint i = left; i < right; i++)
          map[i] = TRUE;
      }
      for (guint i = 0; i < 256; i++)
        if (map[i] && (i == 0 || !map[i - 1])) {
          g_assert_cmpuint (at, <, set.n_items);
          g_assert_cmphex (set.items[at].left, ==, base + i);
          at++;
          expected++;
        } else if (!map[i] && i > 0 && map[i - 1])
          g_assert_cmphex (set.items[at - 1].right, ==, base + i);
      g_assert_cmpuint (set.n_items, ==, expected);
    }
    pilot_stream_intervals_clear (&set);
  }
}

static void
test_intervals_bound (void)
{
  PilotStreamIntervals set = { NULL };

  for (guint i = 0; i < PILOT_STREAM_MAX_INTERVALS; i++)
    g_assert_cmpint (pilot_stream_intervals_add (&set, 10 * i, 10 * i + 5), ==, (gint) i);
  g_assert_cmpint (pilot_stream_intervals_add (&set, 7, 8), ==, -1);
  g_assert_cmpint (pilot_stream_intervals_add (&set, 5, 10), ==, 0);
  g_assert_cmpuint (set.n_items, ==, PILOT_STREAM_MAX_INTERVALS - 1);
  pilot_stream_intervals_clear (&set);
}

static guint8 *
from_hex (const char *hex,
          gsize *length)
{
  guint8 *out = g_malloc (strlen (hex) / 2 + 1);

  *length = strlen (hex) / 2;
  for (gsize i = 0; i < *length; i++)
    out[i] = (guint8) (g_ascii_xdigit_value (hex[2 * i]) << 4 | g_ascii_xdigit_value (hex[2 * i + 1]));
  return out;
}

static void
test_extension_vectors (void)
{
  g_autofree char *file = g_test_build_filename (G_TEST_DIST, "vectors", "extensions.json", NULL);
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (GError) error = NULL;
  JsonArray *payloads;
  JsonObject *root;
  g_autofree guint8 *syn = NULL;
  guint8 encoded[PILOT_STREAM_EXTENSIONS_SIZE];
  PilotStreamExtensions offer = { 8, TRUE, 7, 65000, TRUE, TRUE, TRUE };
  gsize syn_length, n;
  PilotPacket packet;

  json_parser_load_from_file (parser, file, &error);
  g_assert_no_error (error);
  root = json_node_get_object (json_parser_get_root (parser));
  payloads = json_object_get_array_member (root, "payloads");
  g_assert_cmpuint (json_array_get_length (payloads), >=, 9);
  for (guint i = 0; i < json_array_get_length (payloads); i++) {
    JsonObject *vector = json_array_get_object_element (payloads, i);
    PilotStreamExtensions got = { 0 };
    gsize length;
    g_autofree guint8 *data = from_hex (json_object_get_string_member (vector, "payload"), &length);
    gboolean own = json_object_get_boolean_member (vector, "own_kind");

    g_test_message ("%s", json_object_get_string_member (vector, "name"));
    g_assert_cmpint (pilot_stream_extensions_decode (&got, data, length), ==, own);
    if (!own)
      continue;
    g_assert_cmpint (got.window_scale, ==, json_object_get_int_member (vector, "window_scale"));
    g_assert_cmpint (got.half_close, ==, json_object_get_boolean_member (vector, "half_close"));
    g_assert_cmpint (got.sack_blocks, ==, json_object_get_int_member (vector, "sack_blocks"));
    g_assert_cmpint (got.segment_size, ==, json_object_get_int_member (vector, "segment_size"));
    g_assert_cmpint (got.mtu_probes, ==, json_object_get_boolean_member (vector, "mtu_probes"));
    g_assert_cmpint (got.unsummed, ==, json_object_get_boolean_member (vector, "unsummed"));
    g_assert_cmpint (got.short_headers, ==, json_object_get_boolean_member (vector, "short_headers"));
  }
  syn = from_hex (json_object_get_string_member (root, "syn_packet"), &syn_length);
  g_assert_cmpint (pilot_packet_decode (&packet, syn, syn_length), ==, PILOT_PACKET_OK);
  n = pilot_stream_extensions_encode (&offer, encoded);
  g_assert_cmpmem (packet.payload, packet.payload_length, encoded, n);
}

static void
check_packet_vector (JsonObject *root,
                     const char *name,
                     const PilotPacket *packet)
{
  gsize length, n;
  g_autofree guint8 *expected = from_hex (json_object_get_string_member (root, name), &length);
  guint8 encoded[128];

  n = pilot_packet_encode (packet, encoded, sizeof encoded);
  g_assert_cmpmem (encoded, n, expected, length);
}

static void
test_probe_vectors (void)
{
  g_autofree char *file = g_test_build_filename (G_TEST_DIST, "vectors", "extensions.json", NULL);
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (GError) error = NULL;
  const guint8 zeros[16] = { 0 };
  const PilotPacket probe = { .protocol = PILOT_PROTOCOL_CONTROL, .source = { 0, 1 }, .destination = { 0, 0x37d }, .source_port = PILOT_PORT_MTU_PROBE, .destination_port = PILOT_PORT_MTU_PROBE, .seq = 3, .payload = zeros, .payload_length = sizeof zeros };
  const PilotPacket data = { .flags = PILOT_PACKET_ACK, .protocol = PILOT_PROTOCOL_STREAM, .source_port = 49152, .destination_port = 1001, .window = 0x1234, .seq = 0xfffffffe, .ack = 7, .payload = (const guint8 *) "hello", .payload_length = 5, .short_header = TRUE };
  const PilotPacket answer = { .flags = PILOT_PACKET_ACK, .protocol = PILOT_PROTOCOL_CONTROL, .source = { 0, 0x37d }, .destination = { 0, 1 }, .source_port = PILOT_PORT_MTU_PROBE, .destination_port = PILOT_PORT_MTU_PROBE, .seq = 3, .ack = sizeof zeros };

  json_parser_load_from_file (parser, file, &error);
  g_assert_no_error (error);
  check_packet_vector (json_node_get_object (json_parser_get_root (parser)), "mtu_probe_packet", &probe);
  check_packet_vector (json_node_get_object (json_parser_get_root (parser)), "mtu_answer_packet", &answer);
  check_packet_vector (json_node_get_object (json_parser_get_root (parser)), "short_packet", &data);
}

static void
test_sack_codec (void)
{
  static const guint8 vector[21] = { 'S', 'A', 'C', 'K', 2, 0, 0, 9, 1, 0, 0, 0x0d, 0x81, 0, 0, 0x12, 1, 0, 0, 0x16, 0x81 };
  PilotStreamInterval blocks[PILOT_STREAM_SACK_MAX];
  guint8 out[64];

  g_assert_cmpuint (pilot_stream_sack_decode (vector, 21, 4, 6000, blocks), ==, 2);
  g_assert_cmpuint (blocks[0].left, ==, 2305);
  g_assert_cmpuint (blocks[1].right, ==, 5761);
  g_assert_cmpuint (pilot_stream_sack_encode (blocks, 2, out), ==, 21);
  g_assert_cmpmem (out, 21, vector, 21);
  /* One byte more, one less, an edge not sent yet, too many blocks for the peer: data. */
  g_assert_cmpuint (pilot_stream_sack_decode (vector, 20, 4, 6000, blocks), ==, 0);
  g_assert_cmpuint (pilot_stream_sack_decode (vector, 21, 4, 5760, blocks), ==, 0);
  g_assert_cmpuint (pilot_stream_sack_decode (vector, 21, 1, 6000, blocks), ==, 0);
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/stream/ring", test_ring);
  g_test_add_func ("/stream/ring-random", test_ring_random);
  g_test_add_func ("/stream/ring-rewind", test_ring_rewind);
  g_test_add_func ("/stream/intervals", test_intervals);
  g_test_add_func ("/stream/intervals-bound", test_intervals_bound);
  g_test_add_func ("/stream/extension-vectors", test_extension_vectors);
  g_test_add_func ("/stream/probe-vectors", test_probe_vectors);
  g_test_add_func ("/stream/sack-codec", test_sack_codec);
  return g_test_run ();
}
