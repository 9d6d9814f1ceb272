/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "protocol/websocket.h"
#include "tests/unit/vectors.h"

#define REQUEST                                                          \
  "GET /v1/compat HTTP/1.1\r\nHost: beacon.example.org\r\n"              \
  "Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"            \
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"                      \
  "Sec-WebSocket-Protocol: pilot.v0 , pilot.v1\r\nOrigin:pilot://x \r\n" \
  "Sec-WebSocket-Version: 13\r\n\r\n"

static void
test_request (void)
{
  PilotHttpRequest request;
  gchar accept[PILOT_WEBSOCKET_ACCEPT_SIZE];

  g_assert_cmpuint (pilot_http_find_end (REQUEST, strlen (REQUEST) - 1), ==, 0);
  g_assert_cmpuint (pilot_http_find_end (REQUEST "xyz", strlen (REQUEST) + 3), ==, strlen (REQUEST));
  g_assert_true (pilot_http_request_parse (REQUEST, strlen (REQUEST), &request));
  g_assert_true (pilot_http_text_equal (request.method, request.method_length, "GET"));
  g_assert_true (pilot_http_text_equal (request.path, request.path_length, "/v1/compat"));
  g_assert_true (pilot_http_text_equal (request.origin, request.origin_length, "pilot://x"));
  g_assert_true (request.wants_upgrade && request.is_version_13 && request.offers_pilot);
  /* The example of RFC 6455, and of the notes. */
  g_assert_true (pilot_websocket_is_key (request.key, request.key_length));
  pilot_websocket_accept (request.key, request.key_length, accept);
  g_assert_cmpstr (accept, ==, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

static void
test_bad_requests (void)
{
  static const gchar *const bad[] = {
    "\r\n\r\n",
    "GET\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET http://x/ HTTP/1.1\r\n\r\n",
    "GET /a b HTTP/1.1\r\n\r\n",
    " GET / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\r\nno colon\r\n\r\n",
    "GET / HTTP/1.1\r\n: empty\r\n\r\n",
    "GET / HTTP/1.1\r\nName : value\r\n\r\n",
    "GET / HTTP/1.1\r\nName: value\r\n folded\r\n\r\n",
    "GET / HTTP/1.1\r\nName: a\nb: c\r\n\r\n",
    "GET / HTTP/1.1\r\nSec-WebSocket-Key: a\r\nSec-WebSocket-Key: b\r\n\r\n",
  };
  PilotHttpRequest request;

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_test_message ("%s", bad[i]);
    g_assert_false (pilot_http_request_parse (bad[i], strlen (bad[i]), &request));
  }
  g_assert_false (pilot_http_request_parse ("GET / HTTP/1.1\r\nA: b\0c\r\n\r\n", 24, &request));
  g_assert_false (pilot_websocket_is_key ("c2hvcnQ=", 8));
  g_assert_true (pilot_http_request_parse ("GET /?q HTTP/1.1\r\n\r\n", 20, &request));
  g_assert_cmpuint (request.path_length, ==, 1);
  g_assert_false (request.wants_upgrade || request.is_version_13 || request.offers_pilot);
}

/* The frames of the notes, section 10. */
static void
test_vectors (void)
{
  g_autoptr (PilotWebsocketReader) reader = pilot_websocket_reader_new (65536);
  gsize length, consumed;
  g_autofree guint8 *frame = vectors_unhex ("828537fa213d36fa213e4a", &length);
  PilotWebsocketMessage message;
  PilotWebsocketStatus status;
  guint8 header[PILOT_WEBSOCKET_MAX_HEADER];

  g_assert_true (pilot_websocket_reader_push (reader, frame, length, &consumed, &message, &status));
  g_assert_cmpuint (consumed, ==, length);
  g_assert_cmpint (message.opcode, ==, PILOT_WEBSOCKET_BINARY);
  g_assert_cmpmem (message.data, message.length, "\x01\x00\x00\x03\x7d", 5);
  g_assert_cmpuint (pilot_websocket_reader_pending (reader), ==, 0);
  g_assert_cmpmem (header, pilot_websocket_write_header (header, PILOT_WEBSOCKET_BINARY, 45), "\x82\x2d", 2);
  g_assert_cmpmem (header, pilot_websocket_write_header (header, PILOT_WEBSOCKET_TEXT, 18), "\x81\x12", 2);
  g_assert_cmpmem (header, pilot_websocket_write_header (header, PILOT_WEBSOCKET_BINARY, 126), "\x82\x7e\x00\x7e", 4);
  g_assert_cmpmem (header, pilot_websocket_write_header (header, PILOT_WEBSOCKET_BINARY, 65536), "\x82\x7f\0\0\0\0\0\1\0\0", 10);
}

/* Appends a client's frame; its mask is 01 02 03 04. */
static void
add_frame (GByteArray *out, guint8 first, const guint8 *data, gsize length)
{
  guint8 header[14] = { first, 0x80 };
  gsize size = 2;

  if (length < 126)
    header[1] |= (guint8) length;
  else if (length <= 65535) {
    header[1] |= 126;
    header[2] = (guint8) (length >> 8);
    header[3] = (guint8) length;
    size = 4;
  } else {
    header[1] |= 127;
    for (guint i = 0; i < 8; i++)
      header[2 + i] = (guint8) ((guint64) length >> (56 - 8 * i));
    size = 10;
  }
  for (guint i = 0; i < 4; i++)
    header[size++] = (guint8) (i + 1);
  g_byte_array_append (out, header, (guint) size);
  for (gsize i = 0; i < length; i++) {
    guint8 byte = data[i] ^ (guint8) (i % 4 + 1);

    g_byte_array_append (out, &byte, 1);
  }
}

/* Fragments with a ping between them, long messages, empty ones, cut anywhere. */
static void
test_pieces (void)
{
  static const gsize steps[] = { 1, 2, 3, 5, 7, 1000, 1000000 };
  g_autofree guint8 *bytes = g_malloc (70000);
  g_autoptr (GByteArray) stream = g_byte_array_new ();

  for (guint i = 0; i < 70000; i++)
    bytes[i] = (guint8) (i * 7);
  add_frame (stream, 0x02, bytes, 300);
  add_frame (stream, 0x89, (const guint8 *) "ping", 4);
  add_frame (stream, 0x00, bytes + 300, 0);
  add_frame (stream, 0x80, bytes + 300, 65236);
  add_frame (stream, 0x82, bytes, 65536);
  add_frame (stream, 0x82, bytes, 0);
  add_frame (stream, 0x81, (const guint8 *) "text", 4);
  for (guint k = 0; k < G_N_ELEMENTS (steps); k++) {
    g_autoptr (PilotWebsocketReader) reader = pilot_websocket_reader_new (65536);
    g_autofree guint8 *copy = g_memdup2 (stream->data, stream->len);
    g_autoptr (GString) seen = g_string_new (NULL);

    for (gsize at = 0; at < stream->len;) {
      gsize part = MIN (steps[k], stream->len - at), consumed;
      PilotWebsocketMessage message;
      PilotWebsocketStatus status;

      g_assert_true (pilot_websocket_reader_push (reader, copy + at, part, &consumed, &message, &status));
      g_assert_cmpuint (consumed, >, 0);
      at += consumed;
      if (message.opcode == PILOT_WEBSOCKET_NONE)
        continue;
      g_string_append_printf (seen, "%x:%" G_GSIZE_FORMAT " ", (guint) message.opcode, message.length);
      if (message.opcode == PILOT_WEBSOCKET_BINARY)
        g_assert_cmpmem (message.data, message.length, bytes, message.length);
    }
    g_assert_cmpstr (seen->str, ==, "9:4 2:65536 2:65536 2:0 1:4 ");
    g_assert_cmpuint (pilot_websocket_reader_pending (reader), ==, 0);
  }
}

static void
test_bad_frames (void)
{
  static const struct {
    const gchar *hex;
    PilotWebsocketStatus status;
    const gchar *what;
  } bad[] = {
    { "820568656c6c6f", PILOT_WEBSOCKET_PROTOCOL_ERROR, "not masked" },
    { "c28100000000ff", PILOT_WEBSOCKET_PROTOCOL_ERROR, "a reserved bit" },
    { "a28100000000ff", PILOT_WEBSOCKET_PROTOCOL_ERROR, "another" },
    { "838100000000ff", PILOT_WEBSOCKET_PROTOCOL_ERROR, "an unknown opcode" },
    { "8b8100000000ff", PILOT_WEBSOCKET_PROTOCOL_ERROR, "an unknown control opcode" },
    { "808100000000ff", PILOT_WEBSOCKET_PROTOCOL_ERROR, "a continuation of nothing" },
    { "028100000000ff028100000000ff", PILOT_WEBSOCKET_PROTOCOL_ERROR, "a message inside a message" },
    { "098100000000ff", PILOT_WEBSOCKET_PROTOCOL_ERROR, "a ping in fragments" },
    { "89fe007e00000000", PILOT_WEBSOCKET_PROTOCOL_ERROR, "a ping of 126 bytes" },
    { "82fe007d00000000", PILOT_WEBSOCKET_PROTOCOL_ERROR, "125 bytes in the long form" },
    { "82ff000000000000ffff00000000", PILOT_WEBSOCKET_PROTOCOL_ERROR, "65535 bytes in the longest form" },
    { "82ff800000000000000100000000", PILOT_WEBSOCKET_PROTOCOL_ERROR, "2^63 bytes" },
    { "82ff7fffffffffffffff00000000", PILOT_WEBSOCKET_TOO_BIG, "2^63 - 1 bytes" },
    { "82ff000000000001000100000000", PILOT_WEBSOCKET_TOO_BIG, "65537 bytes" },
    { "028100000000ff80ff000000000001000000000000", PILOT_WEBSOCKET_TOO_BIG, "65537 bytes in two fragments" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (PilotWebsocketReader) reader = pilot_websocket_reader_new (65536);
    gsize length, at = 0, consumed;
    g_autofree guint8 *data = vectors_unhex (bad[i].hex, &length);
    PilotWebsocketMessage message;
    PilotWebsocketStatus status = PILOT_WEBSOCKET_NORMAL;

    g_test_message ("%s", bad[i].what);
    while (at < length && pilot_websocket_reader_push (reader, data + at, length - at, &consumed, &message, &status))
      at += consumed;
    g_assert_cmpint (status, ==, bad[i].status);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/websocket/request", test_request);
  g_test_add_func ("/websocket/bad-requests", test_bad_requests);
  g_test_add_func ("/websocket/vectors", test_vectors);
  g_test_add_func ("/websocket/pieces", test_pieces);
  g_test_add_func ("/websocket/bad-frames", test_bad_frames);
  return g_test_run ();
}
