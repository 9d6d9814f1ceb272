/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdint.h>
#include <string.h>

#include "protocol/exchange-frame.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

/* What a parser takes, the writer gives back, byte by byte. */
static void
try_payload (guint32 type, const guint8 *payload, gsize length)
{
  g_autofree gchar *name = NULL, *type_name = pilot_exchange_type_to_string (type);
  g_autoptr (GByteArray) out = g_byte_array_new ();
  PilotExchangeStreamMessage message;
  PilotExchangeTag tag;
  const guint8 *inner;
  gsize inner_length;
  guint32 inner_type;
  gint64 sent;

  if (pilot_exchange_parse_file (payload, length, &name, &inner, &inner_length, NULL)) {
    g_assert (inner + inner_length == payload + length);
    g_assert (*name == '\0' || pilot_exchange_name_is_valid (name, strlen (name)));
  }
  if (pilot_exchange_parse_trace (payload, length, &inner_type, &sent)) {
    pilot_exchange_append_trace (out, inner_type, sent, payload + PILOT_EXCHANGE_TRACE_SIZE, length - PILOT_EXCHANGE_TRACE_SIZE);
    g_assert (out->len == PILOT_EXCHANGE_HEADER_SIZE + length && memcmp (out->data + PILOT_EXCHANGE_HEADER_SIZE, payload, length) == 0);
    g_byte_array_set_size (out, 0);
  }
  if (pilot_exchange_parse_tagged (payload, length, &tag, NULL)) {
    PilotExchangeTag again;

    g_assert (tag.inner_offset <= length && tag.inner_type != PILOT_EXCHANGE_TAGGED);
    pilot_exchange_append_tagged (out, tag.message_id, tag.reply_to, tag.inner_type, payload + tag.inner_offset, length - tag.inner_offset);
    g_assert (pilot_exchange_parse_tagged (out->data + PILOT_EXCHANGE_HEADER_SIZE, out->len - PILOT_EXCHANGE_HEADER_SIZE, &again, NULL));
    g_assert (g_strcmp0 (again.message_id, tag.message_id) == 0 && g_strcmp0 (again.reply_to, tag.reply_to) == 0);
    pilot_exchange_tag_clear (&again);
    pilot_exchange_tag_clear (&tag);
    g_byte_array_set_size (out, 0);
  }
  if (pilot_exchange_parse_stream (payload, length, &message) && message.kind == PILOT_EXCHANGE_CHUNK) {
    pilot_exchange_append_stream_offset (out, PILOT_EXCHANGE_CHUNK, message.id, message.offset, message.data, message.length);
    g_assert (out->len == PILOT_EXCHANGE_HEADER_SIZE + length && memcmp (out->data + PILOT_EXCHANGE_HEADER_SIZE, payload, length) == 0);
  }
  pilot_exchange_reply_classify ((const gchar *) payload, length);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autoptr (PilotExchangeReader) reader = pilot_exchange_reader_new (4096);
  size_t at = 0;

  while (at < size) {
    size_t used;
    gboolean complete;

    /* Pieces of uneven length. */
    if (!pilot_exchange_reader_push (reader, data + at, MIN (size - at, (size_t) 1 + data[at] % 64), &used, &complete, NULL))
      break;
    g_assert (used > 0);
    at += used;
    if (complete) {
      PilotExchangeFrame frame;

      pilot_exchange_reader_get (reader, &frame);
      try_payload (frame.type, frame.payload, frame.length);
      pilot_exchange_reader_next (reader);
    }
  }
  return 0;
}
