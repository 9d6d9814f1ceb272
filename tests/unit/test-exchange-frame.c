/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "libpilot/pilot-error.h"
#include "protocol/exchange-frame.h"
#include "tests/unit/vectors.h"

static JsonObject *notes;

static JsonObject *
part (const gchar *name)
{
  return json_object_get_object_member (notes, name);
}

/* The payload of a whole frame of the vectors, which must be of this type. */
static guint8 *
payload_of (JsonObject *vector, const gchar *member, guint32 type, gsize *length)
{
  gsize frame_length;
  g_autofree guint8 *frame = vectors_hex_member (vector, member, &frame_length);
  g_autoptr (PilotExchangeReader) reader = pilot_exchange_reader_new (PILOT_EXCHANGE_DEFAULT_LIMIT);
  g_autoptr (GError) error = NULL;
  PilotExchangeFrame got;
  gboolean complete;
  gsize used;

  g_assert_true (pilot_exchange_reader_push (reader, frame, frame_length, &used, &complete, &error));
  g_assert_no_error (error);
  g_assert_true (complete);
  g_assert_cmpuint (used, ==, frame_length);
  pilot_exchange_reader_get (reader, &got);
  g_assert_cmpuint (got.type, ==, type);
  *length = got.length;
  return g_memdup2 (got.payload, got.length);
}

static void
assert_frame (GByteArray *out, JsonObject *vector, const gchar *member)
{
  gsize length;
  g_autofree guint8 *wanted = vectors_hex_member (vector, member, &length);

  g_assert_cmpmem (out->data, out->len, wanted, length);
  g_byte_array_set_size (out, 0);
}

/* All frames one behind the other, cut at every place: each comes out whole, once, in order. */
static void
test_reader (void)
{
  JsonArray *frames = json_object_get_array_member (notes, "frames");
  g_autoptr (GByteArray) all = g_byte_array_new ();

  for (guint i = 0; i < json_array_get_length (frames); i++) {
    JsonObject *vector = json_array_get_object_element (frames, i);
    gsize length;
    g_autofree guint8 *payload = vectors_hex_member (vector, "payload", &length);
    g_autoptr (GByteArray) one = g_byte_array_new ();

    pilot_exchange_append (one, (guint32) json_object_get_int_member (vector, "type"), payload, length);
    g_byte_array_append (all, one->data, one->len);
    assert_frame (one, vector, "frame");
  }
  for (gsize cut = 1; cut <= all->len; cut++) {
    g_autoptr (PilotExchangeReader) reader = pilot_exchange_reader_new (PILOT_EXCHANGE_DEFAULT_LIMIT);
    gsize at = 0;
    guint n = 0;

    while (at < all->len) {
      gboolean complete;
      gsize used;

      g_assert_true (pilot_exchange_reader_push (reader, all->data + at, MIN (cut, all->len - at), &used, &complete, NULL));
      g_assert_cmpuint (used, >, 0);
      at += used;
      if (complete) {
        JsonObject *vector = json_array_get_object_element (frames, n++);
        guint32 type;
        g_autoptr (GBytes) bytes = pilot_exchange_reader_take (reader, &type);
        gsize length;
        g_autofree guint8 *wanted = vectors_hex_member (vector, "payload", &length);

        g_assert_cmpuint (type, ==, json_object_get_int_member (vector, "type"));
        g_assert_cmpmem (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), wanted, length);
      }
    }
    g_assert_cmpuint (n, ==, json_array_get_length (frames));
  }
}

/* The limit itself is taken, one byte more is not; what is announced is not allocated. */
static void
test_limit (void)
{
  static const guint8 at_limit[] = { 0, 0, 0, 1, 1, 0, 0, 0 }, above[] = { 0, 0, 0, 1, 1, 0, 0, 1 };
  g_autoptr (PilotExchangeReader) reader = pilot_exchange_reader_new (PILOT_EXCHANGE_MAX_PAYLOAD), other = pilot_exchange_reader_new (PILOT_EXCHANGE_MAX_PAYLOAD);
  g_autoptr (GError) error = NULL;
  gboolean complete;
  gsize used;

  g_assert_true (pilot_exchange_reader_push (reader, at_limit, sizeof at_limit, &used, &complete, NULL));
  g_assert_false (complete);
  g_assert_cmpuint (pilot_exchange_reader_held (reader), ==, 0);
  g_assert_false (pilot_exchange_reader_push (other, above, sizeof above, &used, &complete, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT);
}

static void
test_file (void)
{
  static const guint8 cut[] = { 0, 9, 'a' }, empty_name[] = { 0, 0, 'x' };
  JsonObject *vector = part ("file");
  gsize length, data_length, wanted_length;
  g_autofree guint8 *payload = payload_of (vector, "frame", PILOT_EXCHANGE_FILE, &length);
  g_autofree guint8 *wanted = vectors_hex_member (vector, "data", &wanted_length);
  g_autoptr (GByteArray) out = g_byte_array_new ();
  g_autofree gchar *name = NULL;
  const guint8 *data;

  g_assert_true (pilot_exchange_parse_file (payload, length, &name, &data, &data_length, NULL));
  g_assert_cmpstr (name, ==, json_object_get_string_member (vector, "name"));
  g_assert_cmpmem (data, data_length, wanted, wanted_length);
  pilot_exchange_append_file_header (out, name, data_length);
  g_byte_array_append (out, data, (guint) data_length);
  assert_frame (out, vector, "frame");

  /* No room for the name: all of it is data. */
  g_clear_pointer (&name, g_free);
  g_assert_true (pilot_exchange_parse_file (cut, sizeof cut, &name, &data, &data_length, NULL));
  g_assert_cmpstr (name, ==, "");
  g_assert_cmpmem (data, data_length, cut, sizeof cut);
  g_clear_pointer (&name, g_free);
  g_assert_true (pilot_exchange_parse_file (empty_name, sizeof empty_name, &name, &data, &data_length, NULL));
  g_assert_cmpstr (name, ==, "");
  g_assert_cmpmem (data, data_length, "x", 1);
}

static gboolean
file_name_is_taken (const gchar *name, gsize name_length)
{
  g_autoptr (GByteArray) payload = g_byte_array_new ();
  guint8 length[2] = { (guint8) (name_length >> 8), (guint8) name_length };
  g_autofree gchar *got = NULL;
  const guint8 *data;
  gsize data_length;

  g_byte_array_append (payload, length, 2);
  g_byte_array_append (payload, (const guint8 *) name, (guint) name_length);
  return pilot_exchange_parse_file (payload->data, payload->len, &got, &data, &data_length, NULL);
}

static void
test_names (void)
{
  JsonArray *refused = json_object_get_array_member (notes, "names_refused"), *taken = json_object_get_array_member (notes, "names_taken");
  gchar longest[PILOT_EXCHANGE_MAX_NAME + 1];

  for (guint i = 0; i < json_array_get_length (refused); i++) {
    const gchar *name = json_array_get_string_element (refused, i);

    g_assert_false (pilot_exchange_name_is_valid (name, strlen (name)));
    g_assert_cmpint (file_name_is_taken (name, strlen (name)), ==, *name == '\0');
  }
  for (guint i = 0; i < json_array_get_length (taken); i++) {
    const gchar *name = json_array_get_string_element (taken, i);

    g_assert_true (pilot_exchange_name_is_valid (name, strlen (name)));
    g_assert_true (file_name_is_taken (name, strlen (name)));
  }
  memset (longest, 'x', sizeof longest);
  g_assert_true (file_name_is_taken (longest, PILOT_EXCHANGE_MAX_NAME));
  g_assert_false (file_name_is_taken (longest, PILOT_EXCHANGE_MAX_NAME + 1));
  g_assert_false (file_name_is_taken ("a\xff", 2));
  g_assert_false (file_name_is_taken ("a\0b", 3));
}

static void
test_trace (void)
{
  JsonObject *vector = part ("trace");
  gsize length;
  g_autofree guint8 *payload = payload_of (vector, "frame", PILOT_EXCHANGE_TRACE, &length);
  g_autoptr (GByteArray) out = g_byte_array_new ();
  guint32 type;
  gint64 sent;

  g_assert_true (pilot_exchange_parse_trace (payload, length, &type, &sent));
  g_assert_cmpuint (type, ==, json_object_get_int_member (vector, "inner_type"));
  g_assert_cmpint (sent, ==, json_object_get_int_member (vector, "sent_at_ns"));
  pilot_exchange_append_trace (out, type, sent, payload + PILOT_EXCHANGE_TRACE_SIZE, length - PILOT_EXCHANGE_TRACE_SIZE);
  assert_frame (out, vector, "frame");
  g_assert_false (pilot_exchange_parse_trace (payload, PILOT_EXCHANGE_TRACE_SIZE - 1, &type, &sent));
}

static void
test_tagged (void)
{
  JsonObject *vector = part ("tagged");
  JsonArray *refused = json_object_get_array_member (notes, "tagged_refused");
  gsize length;
  g_autofree guint8 *payload = payload_of (vector, "frame", PILOT_EXCHANGE_TAGGED, &length);
  g_autoptr (GByteArray) out = g_byte_array_new ();
  g_autoptr (GError) error = NULL;
  guint8 key[PILOT_SHA256_SIZE], wanted[PILOT_SHA256_SIZE];
  PilotExchangeTag tag;

  g_assert_true (pilot_exchange_parse_tagged (payload, length, &tag, &error));
  g_assert_no_error (error);
  g_assert_cmpstr (tag.message_id, ==, "m1");
  g_assert_cmpstr (tag.reply_to, ==, "r1");
  g_assert_cmpuint (tag.inner_type, ==, PILOT_EXCHANGE_TEXT);
  g_assert_cmpmem (payload + tag.inner_offset, length - tag.inner_offset, "hello", 5);
  pilot_exchange_append_tagged (out, "m1", "r1", tag.inner_type, payload + tag.inner_offset, length - tag.inner_offset);
  assert_frame (out, vector, "frame");
  pilot_exchange_duplicate_key (json_object_get_string_member (vector, "source"), tag.inner_type, NULL, tag.message_id, tag.reply_to,
                                payload + tag.inner_offset, length - tag.inner_offset, key);
  vectors_hex_into (vector, "duplicate_key", wanted, sizeof wanted);
  g_assert_cmpmem (key, sizeof key, wanted, sizeof wanted);
  pilot_exchange_tag_clear (&tag);

  for (guint i = 0; i < json_array_get_length (refused); i++) {
    gsize bad_length;
    g_autofree guint8 *bad = vectors_unhex (json_array_get_string_element (refused, i), &bad_length);

    g_assert_false (pilot_exchange_parse_tagged (bad, bad_length, &tag, NULL));
  }
}

static void
test_stream (void)
{
  JsonObject *vector = part ("stream");
  gsize data_length, length;
  g_autofree guint8 *data = vectors_hex_member (vector, "data", &data_length);
  const gchar *name = json_object_get_string_member (vector, "name");
  g_autoptr (GByteArray) out = g_byte_array_new ();
  g_autofree guint8 *init = payload_of (vector, "init", PILOT_EXCHANGE_FILESTREAM, &length);
  PilotExchangeStreamMessage message;
  guint8 sha256[PILOT_SHA256_SIZE];

  vectors_hex_into (vector, "sha256", sha256, sizeof sha256);
  pilot_exchange_append_stream_init (out, sha256, data_length, name);
  assert_frame (out, vector, "init");
  pilot_exchange_append_stream_offset (out, PILOT_EXCHANGE_INIT_ACK, sha256, 0, NULL, 0);
  assert_frame (out, vector, "init_ack");
  pilot_exchange_append_stream_offset (out, PILOT_EXCHANGE_CHUNK, sha256, 0, data, data_length);
  assert_frame (out, vector, "chunk");
  pilot_exchange_append_stream_offset (out, PILOT_EXCHANGE_ACK, sha256, data_length, NULL, 0);
  assert_frame (out, vector, "ack");
  pilot_exchange_append_stream_done (out, sha256);
  assert_frame (out, vector, "done");
  pilot_exchange_append_stream_complete (out, sha256, NULL);
  assert_frame (out, vector, "complete");
  pilot_exchange_append_stream_complete (out, sha256, json_object_get_string_member (vector, "failed_reason"));
  assert_frame (out, vector, "failed");
  pilot_exchange_append_stream_abort (out, sha256, json_object_get_string_member (vector, "abort_reason"));
  assert_frame (out, vector, "abort");

  g_assert_true (pilot_exchange_parse_stream (init, length, &message));
  g_assert_cmpuint (message.kind, ==, PILOT_EXCHANGE_INIT);
  g_assert_cmpuint (message.size, ==, data_length);
  g_assert_cmpmem (message.sha256, PILOT_SHA256_SIZE, sha256, sizeof sha256);
  g_assert_cmpmem (message.id, PILOT_EXCHANGE_TRANSFER_ID_SIZE, sha256, PILOT_EXCHANGE_TRANSFER_ID_SIZE);
  g_assert_cmpmem (message.data, message.length, name, strlen (name));
}

/* Every kind, cut at every place: only what is whole parses. */
static void
test_stream_cuts (void)
{
  static const struct {
    const gchar *member;
    gsize least; /* the shortest payload that parses */
    gboolean exact;
  } cases[] = {
    { "init", 72, TRUE },
    { "init_ack", 25, TRUE },
    { "chunk", 25, FALSE },
    { "ack", 25, TRUE },
    { "done", 17, FALSE },
    { "complete", 18, FALSE },
    { "abort", 17, FALSE },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    gsize length;
    g_autofree guint8 *payload = payload_of (part ("stream"), cases[i].member, PILOT_EXCHANGE_FILESTREAM, &length);

    for (gsize cut = 0; cut <= length; cut++) {
      g_autofree guint8 *copy = g_memdup2 (payload, cut);
      PilotExchangeStreamMessage message;
      gboolean parsed = pilot_exchange_parse_stream (copy, cut, &message);

      g_assert_cmpint (parsed, ==, cases[i].exact ? cut == length : cut >= cases[i].least);
      g_assert_cmpint (message.id != NULL, ==, cut >= 17);
    }
  }
}

static void
test_replies (void)
{
  static const gchar *const meanings[] = { "other", "accepted", "duplicate", "rejected", "no tags" };
  JsonArray *replies = json_object_get_array_member (notes, "replies");

  for (guint i = 0; i < json_array_get_length (replies); i++) {
    JsonObject *vector = json_array_get_object_element (replies, i);
    const gchar *text = json_object_get_string_member (vector, "text");

    g_assert_cmpstr (meanings[pilot_exchange_reply_classify (text, strlen (text))], ==, json_object_get_string_member (vector, "meaning"));
  }
}

static void
test_types (void)
{
  static const struct {
    guint32 type;
    const gchar *name;
  } cases[] = { { 0, "UNKNOWN(0)" }, { 1, "TEXT" }, { 2, "BINARY" }, { 3, "JSON" }, { 4, "FILE" }, { 6, "UNKNOWN(6)" }, { 8, "GOVERNED" }, { 11, "UNKNOWN(11)" }, { G_MAXUINT32, "UNKNOWN(4294967295)" } };
  guint32 type;

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree gchar *name = pilot_exchange_type_to_string (cases[i].type);

    g_assert_cmpstr (name, ==, cases[i].name);
  }
  g_assert_true (pilot_exchange_type_from_string ("json", &type));
  g_assert_cmpuint (type, ==, PILOT_EXCHANGE_JSON);
  g_assert_false (pilot_exchange_type_from_string ("file", &type));
}

int
main (int argc, char **argv)
{
  int status;

  g_test_init (&argc, &argv, NULL);
  notes = vectors_load ("exchange.json");
  g_test_add_func ("/exchange-frame/reader", test_reader);
  g_test_add_func ("/exchange-frame/limit", test_limit);
  g_test_add_func ("/exchange-frame/file", test_file);
  g_test_add_func ("/exchange-frame/names", test_names);
  g_test_add_func ("/exchange-frame/trace", test_trace);
  g_test_add_func ("/exchange-frame/tagged", test_tagged);
  g_test_add_func ("/exchange-frame/stream", test_stream);
  g_test_add_func ("/exchange-frame/stream-cuts", test_stream_cuts);
  g_test_add_func ("/exchange-frame/replies", test_replies);
  g_test_add_func ("/exchange-frame/types", test_types);
  status = g_test_run ();
  json_object_unref (notes);
  return status;
}
