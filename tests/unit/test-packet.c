/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "protocol/crypto.h"
#include "protocol/packet.h"
#include "tests/unit/vectors.h"

static JsonObject *
load_packets (JsonObject **file)
{
  *file = vectors_load ("packets.json");
  return json_object_get_object_member (*file, "packets");
}

/* Decodes the bytes, encodes what came out, and wants the same bytes. */
static void
assert_round_trip (const guint8 *bytes, gsize length)
{
  PilotPacket packet;
  guint8 out[256];

  g_assert_cmpint (pilot_packet_decode (&packet, bytes, length), ==, PILOT_PACKET_OK);
  g_assert_cmpuint (pilot_packet_encode (&packet, out, sizeof out), ==, length);
  g_assert_cmpmem (out, length, bytes, length);
}

static void
test_vectors (void)
{
  g_autoptr (JsonObject) file = NULL;
  JsonArray *array = json_object_get_array_member (load_packets (&file), "encode_and_decode");

  g_assert_cmpuint (json_array_get_length (array), ==, 14);
  for (guint i = 0; i < json_array_get_length (array); i++) {
    JsonObject *vector = json_array_get_object_element (array, i);
    gsize length, payload_length;
    g_autofree guint8 *bytes = vectors_hex_member (vector, "hex", &length);
    g_autofree guint8 *payload = vectors_hex_member (vector, "payload", &payload_length);
    PilotPacket packet;

    g_test_message ("%s", json_object_get_string_member (vector, "name"));
    g_assert_cmpint (pilot_packet_decode (&packet, bytes, length), ==, PILOT_PACKET_OK);
    g_assert_cmpint (packet.flags, ==, json_object_get_int_member (vector, "flags"));
    g_assert_cmpint (packet.protocol, ==, json_object_get_int_member (vector, "protocol"));
    g_assert_cmpint (packet.source.network, ==, json_object_get_int_member (vector, "src_network"));
    g_assert_cmpint (packet.source.node, ==, json_object_get_int_member (vector, "src_node"));
    g_assert_cmpint (packet.destination.network, ==, json_object_get_int_member (vector, "dst_network"));
    g_assert_cmpint (packet.destination.node, ==, json_object_get_int_member (vector, "dst_node"));
    g_assert_cmpint (packet.source_port, ==, json_object_get_int_member (vector, "src_port"));
    g_assert_cmpint (packet.destination_port, ==, json_object_get_int_member (vector, "dst_port"));
    g_assert_cmpint (packet.seq, ==, json_object_get_int_member (vector, "seq"));
    g_assert_cmpint (packet.ack, ==, json_object_get_int_member (vector, "ack"));
    g_assert_cmpint (packet.window, ==, json_object_get_int_member (vector, "window"));
    g_assert_cmpmem (packet.payload, packet.payload_length, payload, payload_length);
    assert_round_trip (bytes, length);
  }
}

static void
test_stream_vectors (void)
{
  g_autoptr (JsonObject) notes = vectors_load ("notes.json");
  JsonArray *array = json_object_get_array_member (notes, "stream_packets");

  g_assert_cmpuint (json_array_get_length (array), ==, 21);
  for (guint i = 0; i < json_array_get_length (array); i++) {
    JsonObject *vector = json_array_get_object_element (array, i);
    gsize length;
    g_autofree guint8 *bytes = vectors_hex_member (vector, "hex", &length);

    g_test_message ("%s", json_object_get_string_member (vector, "name"));
    assert_round_trip (bytes, length);
  }
}

static void
test_errors (void)
{
  g_autoptr (JsonObject) file = NULL;
  JsonArray *array = json_object_get_array_member (load_packets (&file), "decode_error");

  for (guint i = 0; i < json_array_get_length (array); i++) {
    JsonObject *vector = json_array_get_object_element (array, i);
    gsize length;
    g_autofree guint8 *bytes = vectors_hex_member (vector, "hex", &length);
    g_autofree gchar *text = NULL;
    PilotPacket packet;
    PilotPacketStatus status = pilot_packet_decode (&packet, bytes, length);

    g_assert_cmpint (status, !=, PILOT_PACKET_OK);
    text = pilot_packet_describe_error (status, bytes, length);
    g_assert_cmpstr (text, ==, json_object_get_string_member (vector, "error"));
  }
}

static void
test_trailing (void)
{
  g_autoptr (JsonObject) file = NULL;
  JsonObject *vector = json_array_get_object_element (json_object_get_array_member (load_packets (&file), "decode_ok"), 0);
  gsize length, payload_length;
  g_autofree guint8 *bytes = vectors_hex_member (vector, "hex", &length);
  g_autofree guint8 *payload = vectors_hex_member (vector, "payload", &payload_length);
  PilotPacket packet;

  g_assert_cmpint (pilot_packet_decode (&packet, bytes, length), ==, PILOT_PACKET_OK);
  g_assert_cmpmem (packet.payload, packet.payload_length, payload, payload_length);
}

static void
test_largest (void)
{
  g_autoptr (JsonObject) file = NULL;
  JsonObject *vector = json_object_get_object_member (load_packets (&file), "max_payload");
  g_autofree guint8 *out = g_malloc (70000);
  g_autofree gchar *digest = NULL;
  PilotPacket packet = { .protocol = PILOT_PROTOCOL_STREAM, .payload_length = 65535 };
  guint8 header[PILOT_PACKET_HEADER_SIZE];

  memset (out, 0x5a, 70000);
  packet.payload = out + PILOT_PACKET_HEADER_SIZE;
  g_assert_cmpuint (pilot_packet_encode (&packet, out, 70000), ==, 65569);
  vectors_hex_into (vector, "header", header, sizeof header);
  g_assert_cmpmem (out, sizeof header, header, sizeof header);
  digest = pilot_crypto_fingerprint (out, 65569);
  g_assert_cmpstr (digest, ==, json_object_get_string_member (vector, "sha256"));

  g_assert_cmpuint (pilot_packet_encode (&packet, out, 65568), ==, 0);
  packet.payload_length = 65536;
  g_assert_cmpuint (pilot_packet_encode (&packet, out, 70000), ==, 0);
}

/* A payload that overlaps the place of the header must survive. */
static void
test_overlap (void)
{
  guint8 out[64] = "hello";
  PilotPacket packet = { .protocol = 1, .payload = out, .payload_length = 5 }, back;

  g_assert_cmpuint (pilot_packet_encode (&packet, out, sizeof out), ==, 39);
  g_assert_cmpint (pilot_packet_decode (&back, out, 39), ==, PILOT_PACKET_OK);
  g_assert_cmpmem (back.payload, back.payload_length, "hello", 5);
}

/* Only what is sealed may leave the checksum out, and where there is one it counts. */
static void
test_unsummed (void)
{
  guint8 out[64];
  PilotPacket packet = { .protocol = 1, .payload = (const guint8 *) "hello", .payload_length = 5, .unsummed = TRUE }, back;

  g_assert_cmpuint (pilot_packet_encode (&packet, out, sizeof out), ==, 39);
  g_assert_cmpint (pilot_packet_decode (&back, out, 39), ==, PILOT_PACKET_BAD_CHECKSUM);
  g_assert_cmpint (pilot_packet_decode_sealed (&back, out, 39), ==, PILOT_PACKET_OK);
  g_assert_true (back.unsummed);
  g_assert_cmpmem (back.payload, back.payload_length, "hello", 5);
  g_assert_cmpint (pilot_packet_decode_sealed (&back, out, 38), ==, PILOT_PACKET_TRUNCATED);
  out[33] = 1;
  g_assert_cmpint (pilot_packet_decode_sealed (&back, out, 39), ==, PILOT_PACKET_BAD_CHECKSUM);
  packet.unsummed = FALSE;
  g_assert_cmpuint (pilot_packet_encode (&packet, out, sizeof out), ==, 39);
  g_assert_cmpint (pilot_packet_decode_sealed (&back, out, 39), ==, PILOT_PACKET_OK);
  g_assert_false (back.unsummed);
  out[38] ^= 1;
  g_assert_cmpint (pilot_packet_decode_sealed (&back, out, 39), ==, PILOT_PACKET_BAD_CHECKSUM);
}

/* Only what is sealed may have a short header; its addresses are for the caller to fill in. */
static void
test_short_header (void)
{
  guint8 out[64], large[PILOT_PACKET_SHORT_HEADER_SIZE + PILOT_PACKET_MAX_PAYLOAD + 1] = { PILOT_PACKET_SHORT_VERSION << 4, PILOT_PROTOCOL_STREAM };
  PilotPacket packet = { .flags = PILOT_PACKET_ACK | PILOT_PACKET_FIN, .protocol = PILOT_PROTOCOL_STREAM, .source = { 1, 2 }, .destination = { 3, 4 }, .source_port = 5, .destination_port = 6, .seq = 7, .ack = 8, .window = 9, .payload = (const guint8 *) "hello", .payload_length = 5, .short_header = TRUE }, back;

  g_assert_cmpuint (pilot_packet_encode (&packet, out, 20), ==, 0);
  g_assert_cmpuint (pilot_packet_encode (&packet, out, sizeof out), ==, 21);
  g_assert_cmpint (pilot_packet_decode (&back, out, 21), ==, PILOT_PACKET_TOO_SHORT);
  g_assert_cmpint (pilot_packet_decode_sealed (&back, out, 15), ==, PILOT_PACKET_TOO_SHORT);
  g_assert_cmpint (pilot_packet_decode_sealed (&back, out, 21), ==, PILOT_PACKET_OK);
  g_assert_true (back.short_header && back.unsummed);
  g_assert_cmpuint (back.flags, ==, packet.flags);
  g_assert_cmpuint (back.protocol, ==, PILOT_PROTOCOL_STREAM);
  g_assert_cmpuint (back.source.network | back.source.node | back.destination.network | back.destination.node, ==, 0);
  g_assert_cmpuint (back.source_port, ==, 5);
  g_assert_cmpuint (back.destination_port, ==, 6);
  g_assert_cmpuint (back.seq, ==, 7);
  g_assert_cmpuint (back.ack, ==, 8);
  g_assert_cmpuint (back.window, ==, 9);
  g_assert_cmpmem (back.payload, back.payload_length, "hello", 5);
  g_assert_cmpint (pilot_packet_decode_sealed (&back, out, 16), ==, PILOT_PACKET_OK);
  g_assert_cmpuint (back.payload_length, ==, 0);
  /* 34 bytes that say version 2 are no long header, whatever their sum. */
  g_assert_cmpint (pilot_packet_decode_sealed (&back, large, sizeof large - 1), ==, PILOT_PACKET_OK);
  g_assert_cmpint (pilot_packet_decode_sealed (&back, large, sizeof large), ==, PILOT_PACKET_TOO_LONG);
  /* Of a stream, and not its beginning. */
  out[0] |= PILOT_PACKET_SYN;
  g_assert_cmpint (pilot_packet_decode_sealed (&back, out, 21), ==, PILOT_PACKET_BAD_VERSION);
  out[0] ^= PILOT_PACKET_SYN;
  out[1] = PILOT_PROTOCOL_CONTROL;
  g_assert_cmpint (pilot_packet_decode_sealed (&back, out, 21), ==, PILOT_PACKET_BAD_VERSION);
  /* The payload stands there already, or comes later. */
  memcpy (out + PILOT_PACKET_SHORT_HEADER_SIZE, "world", 5);
  packet.payload = out + PILOT_PACKET_SHORT_HEADER_SIZE;
  g_assert_cmpuint (pilot_packet_encode (&packet, out, sizeof out), ==, 21);
  packet.payload = NULL;
  g_assert_cmpuint (pilot_packet_encode (&packet, out, sizeof out), ==, 21);
  g_assert_cmpmem (out + PILOT_PACKET_SHORT_HEADER_SIZE, 5, "world", 5);
}

static void
test_serial (void)
{
  g_assert_true (pilot_seq_lt (0xfffffffe, 1));
  g_assert_false (pilot_seq_lt (1, 0xfffffffe));
  g_assert_true (pilot_seq_le (5, 5));
  g_assert_true (pilot_seq_ge (5, 5));
  g_assert_false (pilot_seq_gt (5, 5));
  g_assert_cmpuint (pilot_seq_max (0xffffffff, 2), ==, 2);
  g_assert_cmpuint (pilot_seq_min (0xffffffff, 2), ==, 0xffffffff);
  g_assert_cmpint (pilot_seq_diff (1, 0xffffffff), ==, 2);
  g_assert_cmphex (pilot_packet_crc32 (0, (const guint8 *) "123456789", 9), ==, 0xcbf43926);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/packet/vectors", test_vectors);
  g_test_add_func ("/packet/stream-vectors", test_stream_vectors);
  g_test_add_func ("/packet/errors", test_errors);
  g_test_add_func ("/packet/trailing", test_trailing);
  g_test_add_func ("/packet/largest", test_largest);
  g_test_add_func ("/packet/overlap", test_overlap);
  g_test_add_func ("/packet/unsummed", test_unsummed);
  g_test_add_func ("/packet/short-header", test_short_header);
  g_test_add_func ("/packet/serial", test_serial);
  return g_test_run ();
}
