/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/exchange-frame.h"

#include <string.h>

#include "libpilot/pilot-error.h"
#include "protocol/bytes.h"
#include "protocol/json.h"

#define MAX_TAG_HEADER 1024
#define STREAM_HEADER_SIZE (1 + PILOT_EXCHANGE_TRANSFER_ID_SIZE)
/* Size, digest, chunk size, length of the name. */
#define INIT_BODY_SIZE (8 + PILOT_SHA256_SIZE + 4 + 2)

static const gchar *const type_names[] = {
  [PILOT_EXCHANGE_TEXT] = "TEXT",
  [PILOT_EXCHANGE_BINARY] = "BINARY",
  [PILOT_EXCHANGE_JSON] = "JSON",
  [PILOT_EXCHANGE_FILE] = "FILE",
  [PILOT_EXCHANGE_TRACE] = "TRACE",
  [PILOT_EXCHANGE_FILESTREAM] = "FILESTREAM",
  [PILOT_EXCHANGE_GOVERNED] = "GOVERNED",
  [PILOT_EXCHANGE_GOVERNED_FILESTREAM] = "GOVERNED_FILESTREAM",
  [PILOT_EXCHANGE_TAGGED] = "TAGGED",
};

gchar *
pilot_exchange_type_to_string (guint32 type)
{
  if (type < G_N_ELEMENTS (type_names) && type_names[type] != NULL)
    return g_strdup (type_names[type]);
  return g_strdup_printf ("UNKNOWN(%u)", type);
}

gboolean
pilot_exchange_type_from_string (const gchar *text, guint32 *type)
{
  for (guint32 i = PILOT_EXCHANGE_TEXT; i <= PILOT_EXCHANGE_JSON; i++)
    if (g_ascii_strcasecmp (text, type_names[i]) == 0) {
      *type = i;
      return TRUE;
    }
  return FALSE;
}

/* --- frames out of a stream of bytes --- */

struct _PilotExchangeReader {
  gsize limit;
  guint8 header[PILOT_EXCHANGE_HEADER_SIZE];
  gsize header_filled;
  GByteArray *payload;
};

PilotExchangeReader *
pilot_exchange_reader_new (gsize limit)
{
  PilotExchangeReader *reader = g_new0 (PilotExchangeReader, 1);

  reader->limit = MIN (limit, G_MAXINT32);
  reader->payload = g_byte_array_new ();
  return reader;
}

void
pilot_exchange_reader_free (PilotExchangeReader *reader)
{
  if (reader == NULL)
    return;
  g_byte_array_unref (reader->payload);
  g_free (reader);
}

static gsize
announced (PilotExchangeReader *reader)
{
  return pilot_bytes_get_u32 (reader->header + 4);
}

gboolean
pilot_exchange_reader_push (PilotExchangeReader *reader, const guint8 *data, gsize length, gsize *used, gboolean *complete, GError **error)
{
  gsize taken = MIN (length, sizeof reader->header - reader->header_filled), wanted;

  *complete = FALSE;
  *used = taken;
  if (taken > 0)
    memcpy (reader->header + reader->header_filled, data, taken);
  reader->header_filled += taken;
  if (reader->header_filled < sizeof reader->header)
    return TRUE;
  if (announced (reader) > reader->limit) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "a frame of %" G_GSIZE_FORMAT " bytes, where at most %" G_GSIZE_FORMAT " are taken", announced (reader),
                 reader->limit);
    return FALSE;
  }
  wanted = MIN (announced (reader) - reader->payload->len, length - taken);
  if (wanted > 0)
    g_byte_array_append (reader->payload, data + taken, (guint) wanted);
  *used += wanted;
  *complete = reader->payload->len == announced (reader);
  return TRUE;
}

void
pilot_exchange_reader_get (PilotExchangeReader *reader, PilotExchangeFrame *frame)
{
  frame->type = pilot_bytes_get_u32 (reader->header);
  /* Never NULL: of an array that nothing has been put into GLib has no data. */
  frame->payload = reader->payload->len > 0 ? reader->payload->data : (const guint8 *) "";
  frame->length = reader->payload->len;
}

GBytes *
pilot_exchange_reader_take (PilotExchangeReader *reader, guint32 *type)
{
  GByteArray *payload = reader->payload;

  *type = pilot_bytes_get_u32 (reader->header);
  reader->header_filled = 0;
  reader->payload = g_byte_array_new ();
  return g_byte_array_free_to_bytes (payload);
}

void
pilot_exchange_reader_next (PilotExchangeReader *reader)
{
  reader->header_filled = 0;
  g_byte_array_set_size (reader->payload, 0);
}

gsize
pilot_exchange_reader_held (PilotExchangeReader *reader)
{
  return reader->payload->len;
}

/* --- payloads --- */

gboolean
pilot_exchange_name_is_valid (const gchar *name, gsize length)
{
  if (length < 1 || length > PILOT_EXCHANGE_MAX_NAME || !g_utf8_validate_len (name, length, NULL))
    return FALSE;
  if (memchr (name, '/', length) != NULL || memchr (name, '\\', length) != NULL)
    return FALSE;
  return !(length <= 2 && name[0] == '.' && name[length - 1] == '.');
}

gboolean
pilot_exchange_parse_file (const guint8 *payload, gsize length, gchar **name, const guint8 **data, gsize *data_length, GError **error)
{
  gsize name_length = length >= 2 ? pilot_bytes_get_u16 (payload) : 0;

  if (length < 2 || 2 + name_length > length) {
    *name = g_strdup ("");
    *data = payload;
    *data_length = length;
    return TRUE;
  }
  if (name_length > 0 && !pilot_exchange_name_is_valid ((const gchar *) payload + 2, name_length)) {
    g_autofree gchar *quoted = pilot_error_quote ((const gchar *) payload + 2, (gssize) name_length);

    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "\"%s\" is no name for a file", quoted);
    return FALSE;
  }
  *name = g_strndup ((const gchar *) payload + 2, name_length);
  *data = payload + 2 + name_length;
  *data_length = length - 2 - name_length;
  return TRUE;
}

gboolean
pilot_exchange_parse_trace (const guint8 *payload, gsize length, guint32 *inner_type, gint64 *sent_at_ns)
{
  if (length < PILOT_EXCHANGE_TRACE_SIZE)
    return FALSE;
  *inner_type = pilot_bytes_get_u32 (payload);
  *sent_at_ns = (gint64) pilot_bytes_get_u64 (payload + 4);
  return TRUE;
}

gboolean
pilot_exchange_id_is_valid (const gchar *id)
{
  gsize length = strlen (id);

  if (length < 1 || length > PILOT_EXCHANGE_MAX_ID)
    return FALSE;
  for (gsize i = 0; i < length; i++)
    if (!g_ascii_isalnum (id[i]) && strchr ("-_.:", id[i]) == NULL)
      return FALSE;
  return TRUE;
}

void
pilot_exchange_tag_clear (PilotExchangeTag *tag)
{
  g_clear_pointer (&tag->message_id, g_free);
  g_clear_pointer (&tag->reply_to, g_free);
}

/* Absent, null and empty are all "none"; another type is not. */
static gboolean
read_id (JsonObject *header, const gchar *name, gchar **id)
{
  const gchar *text;

  *id = NULL;
  if (!json_object_has_member (header, name) || json_object_get_null_member (header, name))
    return TRUE;
  if (!pilot_json_read_string (header, name, &text))
    return FALSE;
  if (*text == '\0')
    return TRUE;
  if (!pilot_exchange_id_is_valid (text))
    return FALSE;
  *id = g_strdup (text);
  return TRUE;
}

gboolean
pilot_exchange_parse_tagged (const guint8 *payload, gsize length, PilotExchangeTag *tag, GError **error)
{
  gsize header_length = length >= 2 ? pilot_bytes_get_u16 (payload) : 0;
  g_autoptr (JsonObject) header = NULL;

  memset (tag, 0, sizeof *tag);
  if (header_length < 1 || header_length > MAX_TAG_HEADER || length < 2 + header_length + 4) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "a tagged frame whose header has no valid length");
    return FALSE;
  }
  header = pilot_json_parse_object ((const gchar *) payload + 2, header_length, MAX_TAG_HEADER, error);
  if (header == NULL)
    return FALSE;
  tag->inner_type = pilot_bytes_get_u32 (payload + 2 + header_length);
  tag->inner_offset = 2 + header_length + 4;
  if (tag->inner_type != PILOT_EXCHANGE_TAGGED && read_id (header, "message_id", &tag->message_id) && read_id (header, "reply_to", &tag->reply_to))
    return TRUE;
  pilot_exchange_tag_clear (tag);
  g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "a tagged frame with an id or an inner type that is not to be");
  return FALSE;
}

/* Size, digest, chunk size, name; the length must agree exactly. */
static gboolean
parse_init (const guint8 *body, gsize length, PilotExchangeStreamMessage *message)
{
  if (length < INIT_BODY_SIZE || length != (gsize) INIT_BODY_SIZE + pilot_bytes_get_u16 (body + INIT_BODY_SIZE - 2) ||
      length - INIT_BODY_SIZE > PILOT_EXCHANGE_MAX_NAME)
    return FALSE;
  message->size = pilot_bytes_get_u64 (body);
  message->sha256 = body + 8;
  message->data = body + INIT_BODY_SIZE;
  message->length = length - INIT_BODY_SIZE;
  return TRUE;
}

gboolean
pilot_exchange_parse_stream (const guint8 *payload, gsize length, PilotExchangeStreamMessage *message)
{
  const guint8 *body;

  memset (message, 0, sizeof *message);
  if (length < STREAM_HEADER_SIZE)
    return FALSE;
  body = payload + STREAM_HEADER_SIZE;
  message->kind = payload[0];
  message->id = payload + 1;
  length -= STREAM_HEADER_SIZE;
  switch (message->kind) {
  case PILOT_EXCHANGE_INIT:
    return parse_init (body, length, message);
  case PILOT_EXCHANGE_CHUNK:
  case PILOT_EXCHANGE_ACK:
  case PILOT_EXCHANGE_INIT_ACK:
    if (length < 8 || (message->kind != PILOT_EXCHANGE_CHUNK && length != 8))
      return FALSE;
    message->offset = pilot_bytes_get_u64 (body);
    message->data = body + 8;
    message->length = length - 8;
    return TRUE;
  case PILOT_EXCHANGE_COMPLETE:
    if (length < 1)
      return FALSE;
    message->failed = body[0] != 0;
    message->data = body + 1;
    message->length = length - 1;
    return TRUE;
  default:
    message->data = body;
    message->length = length;
    return TRUE;
  }
}

/* --- writing --- */

static void
append_u16 (GByteArray *out, guint16 value)
{
  guint8 bytes[2];

  pilot_bytes_put_u16 (bytes, value);
  g_byte_array_append (out, bytes, sizeof bytes);
}

static void
append_u32 (GByteArray *out, guint32 value)
{
  guint8 bytes[4];

  pilot_bytes_put_u32 (bytes, value);
  g_byte_array_append (out, bytes, sizeof bytes);
}

static void
append_u64 (GByteArray *out, guint64 value)
{
  guint8 bytes[8];

  pilot_bytes_put_u64 (bytes, value);
  g_byte_array_append (out, bytes, sizeof bytes);
}

static void
append_bytes (GByteArray *out, gconstpointer data, gsize length)
{
  if (length > 0)
    g_byte_array_append (out, data, (guint) length);
}

void
pilot_exchange_append_header (GByteArray *out, guint32 type, gsize length)
{
  append_u32 (out, type);
  append_u32 (out, (guint32) length);
}

void
pilot_exchange_append (GByteArray *out, guint32 type, gconstpointer payload, gsize length)
{
  pilot_exchange_append_header (out, type, length);
  append_bytes (out, payload, length);
}

void
pilot_exchange_append_file_header (GByteArray *out, const gchar *name, gsize data_length)
{
  gsize name_length = strlen (name);

  pilot_exchange_append_header (out, PILOT_EXCHANGE_FILE, 2 + name_length + data_length);
  append_u16 (out, (guint16) name_length);
  append_bytes (out, name, name_length);
}

void
pilot_exchange_append_trace (GByteArray *out, guint32 inner_type, gint64 sent_at_ns, gconstpointer payload, gsize length)
{
  pilot_exchange_append_header (out, PILOT_EXCHANGE_TRACE, PILOT_EXCHANGE_TRACE_SIZE + length);
  append_u32 (out, inner_type);
  append_u64 (out, (guint64) sent_at_ns);
  append_bytes (out, payload, length);
}

void
pilot_exchange_append_tagged (GByteArray *out, const gchar *message_id, const gchar *reply_to, guint32 inner_type, gconstpointer payload, gsize length)
{
  GString *header = g_string_new ("{");

  if (message_id != NULL)
    g_string_append_printf (header, "\"message_id\":\"%s\"", message_id);
  if (reply_to != NULL)
    g_string_append_printf (header, "%s\"reply_to\":\"%s\"", message_id != NULL ? "," : "", reply_to);
  g_string_append_c (header, '}');
  pilot_exchange_append_header (out, PILOT_EXCHANGE_TAGGED, 2 + header->len + 4 + length);
  append_u16 (out, (guint16) header->len);
  append_bytes (out, header->str, header->len);
  append_u32 (out, inner_type);
  append_bytes (out, payload, length);
  g_string_free (header, TRUE);
}

static void
append_stream_header (GByteArray *out, PilotExchangeStreamKind kind, const guint8 *id, gsize body_length)
{
  const guint8 byte = (guint8) kind;

  pilot_exchange_append_header (out, PILOT_EXCHANGE_FILESTREAM, STREAM_HEADER_SIZE + body_length);
  append_bytes (out, &byte, 1);
  append_bytes (out, id, PILOT_EXCHANGE_TRANSFER_ID_SIZE);
}

void
pilot_exchange_append_stream_offset (GByteArray *out, PilotExchangeStreamKind kind, const guint8 id[PILOT_EXCHANGE_TRANSFER_ID_SIZE], guint64 offset, gconstpointer data, gsize length)
{
  append_stream_header (out, kind, id, 8 + length);
  append_u64 (out, offset);
  append_bytes (out, data, length);
}

void
pilot_exchange_append_stream_init (GByteArray *out, const guint8 sha256[PILOT_SHA256_SIZE], guint64 size, const gchar *name)
{
  gsize name_length = strlen (name);

  append_stream_header (out, PILOT_EXCHANGE_INIT, sha256, INIT_BODY_SIZE + name_length);
  append_u64 (out, size);
  append_bytes (out, sha256, PILOT_SHA256_SIZE);
  append_u32 (out, PILOT_EXCHANGE_CHUNK_SIZE);
  append_u16 (out, (guint16) name_length);
  append_bytes (out, name, name_length);
}

void
pilot_exchange_append_stream_done (GByteArray *out, const guint8 id[PILOT_EXCHANGE_TRANSFER_ID_SIZE])
{
  append_stream_header (out, PILOT_EXCHANGE_DONE, id, 0);
}

void
pilot_exchange_append_stream_complete (GByteArray *out, const guint8 id[PILOT_EXCHANGE_TRANSFER_ID_SIZE], const gchar *reason)
{
  const guint8 status = reason != NULL;
  gsize length = reason != NULL ? strlen (reason) : 0;

  append_stream_header (out, PILOT_EXCHANGE_COMPLETE, id, 1 + length);
  append_bytes (out, &status, 1);
  append_bytes (out, reason, length);
}

void
pilot_exchange_append_stream_abort (GByteArray *out, const guint8 id[PILOT_EXCHANGE_TRANSFER_ID_SIZE], const gchar *reason)
{
  append_stream_header (out, PILOT_EXCHANGE_ABORT, id, strlen (reason));
  append_bytes (out, reason, strlen (reason));
}

/* --- answers --- */

static gboolean
begins (const gchar *text, gsize length, const gchar *with)
{
  return length >= strlen (with) && memcmp (text, with, strlen (with)) == 0;
}

PilotExchangeReply
pilot_exchange_reply_classify (const gchar *text, gsize length)
{
  static const gchar duplicate[] = " (duplicate)";
  const gsize tail = sizeof duplicate - 1;

  if (begins (text, length, "ERR UNKNOWN(10) ") || begins (text, length, "ACK UNKNOWN(10) "))
    return PILOT_EXCHANGE_REPLY_NO_TAGS;
  if (begins (text, length, "ERR ") || begins (text, length, "ACK UNKNOWN("))
    return PILOT_EXCHANGE_REPLY_REJECTED;
  if (!begins (text, length, "ACK "))
    return PILOT_EXCHANGE_REPLY_OTHER;
  return length >= tail && memcmp (text + length - tail, duplicate, tail) == 0 ? PILOT_EXCHANGE_REPLY_DUPLICATE : PILOT_EXCHANGE_REPLY_ACCEPTED;
}

static void
hash_field (PilotSha256 *hash, gconstpointer data, gsize length)
{
  guint8 prefix[8];

  pilot_bytes_put_u64 (prefix, length);
  pilot_sha256_update (hash, prefix, sizeof prefix);
  if (length > 0)
    pilot_sha256_update (hash, data, length);
}

static void
hash_text (PilotSha256 *hash, const gchar *text)
{
  hash_field (hash, text, text != NULL ? strlen (text) : 0);
}

void
pilot_exchange_duplicate_key (const gchar *source,
                              guint32 type,
                              const gchar *file_name,
                              const gchar *message_id,
                              const gchar *reply_to,
                              const guint8 *payload,
                              gsize length,
                              guint8 key[PILOT_SHA256_SIZE])
{
  g_autoptr (PilotSha256) hash = pilot_sha256_new ();
  guint8 number[4];

  pilot_bytes_put_u32 (number, type);
  hash_text (hash, source);
  pilot_sha256_update (hash, number, sizeof number);
  hash_text (hash, file_name);
  hash_text (hash, message_id);
  hash_text (hash, reply_to);
  hash_field (hash, payload, length);
  pilot_sha256_finish (hash, key);
}
