/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/websocket.h"

#include <string.h>

#include "protocol/bytes.h"
#include "protocol/crypto.h"

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define PROTOCOL "pilot.v1"
#define KEY_SIZE 16
#define KEY_TEXT 24
#define MASK_SIZE 4
#define MAX_HEADER (2 + 8 + MASK_SIZE)

/* --- HTTP --- */

gsize
pilot_http_find_end (const gchar *data,
                     gsize length)
{
  const gchar *end = length < 4 ? NULL : memmem (data, length, "\r\n\r\n", 4);

  return end == NULL ? 0 : (gsize) (end - data) + 4;
}

gboolean
pilot_http_text_equal (const gchar *text,
                       gsize length,
                       const gchar *expected)
{
  return length == strlen (expected) && memcmp (text, expected, length) == 0;
}

static gboolean
equal_ignoring_case (const gchar *text,
                     gsize length,
                     const gchar *expected)
{
  return length == strlen (expected) && g_ascii_strncasecmp (text, expected, length) == 0;
}

static gboolean
is_space (gchar c)
{
  return c == ' ' || c == '\t';
}

static void
strip (const gchar **text,
       gsize *length)
{
  while (*length > 0 && is_space (**text)) {
    (*text)++;
    (*length)--;
  }
  while (*length > 0 && is_space ((*text)[*length - 1]))
    (*length)--;
}

/* Whether a list separated by commas has this element. */
static gboolean
list_has (const gchar *list,
          gsize length,
          const gchar *wanted)
{
  while (length > 0) {
    const gchar *comma = memchr (list, ',', length);
    gsize part = comma != NULL ? (gsize) (comma - list) : length, size = part;
    const gchar *element = list;

    strip (&element, &size);
    if (equal_ignoring_case (element, size, wanted))
      return TRUE;
    part += comma != NULL;
    list += part;
    length -= part;
  }
  return FALSE;
}

/* Printable, or a tab: no control character can hide another line in a value. */
static gboolean
is_clean (const gchar *text,
          gsize length)
{
  for (gsize i = 0; i < length; i++)
    if (((guint8) text[i] < 0x20 && text[i] != '\t') || text[i] == 0x7f)
      return FALSE;
  return TRUE;
}

/* "GET /path HTTP/1.1" */
static gboolean
parse_request_line (const gchar *line,
                    gsize length,
                    PilotHttpRequest *request)
{
  static const gchar version[] = " HTTP/1.1";
  const gsize version_length = sizeof version - 1;
  const gchar *space = memchr (line, ' ', length), *query;

  if (space == NULL || space == line || length < (gsize) (space - line) + 2 + version_length ||
      memcmp (line + length - version_length, version, version_length) != 0)
    return FALSE;
  request->method = line;
  request->method_length = (gsize) (space - line);
  request->path = space + 1;
  request->path_length = (gsize) (line + length - version_length - request->path);
  if (request->path[0] != '/' || memchr (request->path, ' ', request->path_length) != NULL)
    return FALSE;
  query = memchr (request->path, '?', request->path_length);
  if (query != NULL)
    request->path_length = (gsize) (query - request->path);
  return TRUE;
}

typedef struct
{
  gboolean upgrade, connection;
} Wishes;

static gboolean
parse_field (const gchar *line,
             gsize length,
             PilotHttpRequest *request,
             Wishes *wishes)
{
  const gchar *colon = memchr (line, ':', length);
  gsize name, size;
  const gchar *value;

  if (colon == NULL || colon == line)
    return FALSE;
  name = (gsize) (colon - line);
  /* A space before the colon, or a folded line, is how requests are smuggled (RFC 9112 section 5.1). */
  if (is_space (line[0]) || is_space (line[name - 1]))
    return FALSE;
  value = colon + 1;
  size = length - name - 1;
  strip (&value, &size);
  if (equal_ignoring_case (line, name, "upgrade"))
    wishes->upgrade = wishes->upgrade || list_has (value, size, "websocket");
  else if (equal_ignoring_case (line, name, "connection"))
    wishes->connection = wishes->connection || list_has (value, size, "upgrade");
  else if (equal_ignoring_case (line, name, "sec-websocket-version"))
    request->is_version_13 = pilot_http_text_equal (value, size, "13");
  else if (equal_ignoring_case (line, name, "sec-websocket-protocol"))
    request->offers_pilot = request->offers_pilot || list_has (value, size, PROTOCOL);
  else if (equal_ignoring_case (line, name, "sec-websocket-key")) {
    if (request->key_length > 0)
      return FALSE;
    request->key = value;
    request->key_length = size;
  } else if (equal_ignoring_case (line, name, "origin")) {
    request->origin = value;
    request->origin_length = size;
  }
  return TRUE;
}

gboolean
pilot_http_request_parse (const gchar *head,
                          gsize length,
                          PilotHttpRequest *request)
{
  const gchar *line = head, *end = head + length - 2; /* the empty line */
  gboolean first = TRUE;
  Wishes wishes = { 0 };

  memset (request, 0, sizeof *request);
  while (line < end) {
    const gchar *next = memmem (line, (gsize) (head + length - line), "\r\n", 2);
    gsize size = (gsize) (next - line);

    if (!is_clean (line, size) || !(first ? parse_request_line (line, size, request) : parse_field (line, size, request, &wishes)))
      return FALSE;
    first = FALSE;
    line = next + 2;
  }
  request->wants_upgrade = wishes.upgrade && wishes.connection;
  return !first;
}

gboolean
pilot_websocket_is_key (const gchar *key,
                        gsize length)
{
  guint8 bytes[KEY_SIZE];

  return length == KEY_TEXT && pilot_base64_decode (key, (gssize) length, bytes, sizeof bytes);
}

void
pilot_websocket_accept (const gchar *key,
                        gsize length,
                        gchar accept[PILOT_WEBSOCKET_ACCEPT_SIZE])
{
  g_autoptr (GChecksum) checksum = g_checksum_new (G_CHECKSUM_SHA1);
  guint8 digest[20];
  gsize size = sizeof digest;

  g_checksum_update (checksum, (const guint8 *) key, (gssize) length);
  g_checksum_update (checksum, (const guint8 *) GUID, sizeof GUID - 1);
  g_checksum_get_digest (checksum, digest, &size);
  pilot_base64_encode_to (digest, size, accept);
}

/* --- frames --- */

struct _PilotWebsocketReader {
  gsize max_message;
  guint8 header[MAX_HEADER];
  gsize header_have;
  gsize header_size;              /* 0 while its first two bytes are not there */
  guint64 length;                 /* of the frame's payload, once the header is complete */
  gsize done;                     /* of it */
  GByteArray *frame;              /* payload of a frame that does not lie in one piece */
  GByteArray *message;            /* the fragments before this frame */
  PilotWebsocketOpcode fragments; /* what they are part of, NONE when there are none */
};

PilotWebsocketReader *
pilot_websocket_reader_new (gsize max_message)
{
  PilotWebsocketReader *self = g_new0 (PilotWebsocketReader, 1);

  self->max_message = max_message;
  self->fragments = PILOT_WEBSOCKET_NONE;
  return self;
}

void
pilot_websocket_reader_free (PilotWebsocketReader *self)
{
  if (self == NULL)
    return;
  g_clear_pointer (&self->frame, g_byte_array_unref);
  g_clear_pointer (&self->message, g_byte_array_unref);
  g_free (self);
}

void
pilot_websocket_reader_set_max (PilotWebsocketReader *self,
                                gsize max_message)
{
  self->max_message = max_message;
}

gsize
pilot_websocket_reader_pending (PilotWebsocketReader *self)
{
  /* What was lent with the last message is no part of one any more. */
  return self->header_have + (self->header_size != 0 && self->frame != NULL ? self->frame->len : 0) +
         (self->fragments != PILOT_WEBSOCKET_NONE && self->message != NULL ? self->message->len : 0);
}

static PilotWebsocketOpcode
opcode_of (PilotWebsocketReader *self)
{
  return (PilotWebsocketOpcode) (self->header[0] & 0x0f);
}

static gboolean
is_control (PilotWebsocketOpcode opcode)
{
  return opcode >= PILOT_WEBSOCKET_CLOSE;
}

static gboolean
is_final (PilotWebsocketReader *self)
{
  return (self->header[0] & 0x80) != 0;
}

/* The first two bytes: everything but the length is known now. */
static gboolean
check_start (PilotWebsocketReader *self)
{
  PilotWebsocketOpcode opcode = opcode_of (self);
  guint8 length = self->header[1] & 0x7f;

  /* Reserved bits belong to extensions; a client's frames are masked (RFC 6455 sections 5.1, 5.2). */
  if ((self->header[0] & 0x70) != 0 || (self->header[1] & 0x80) == 0)
    return FALSE;
  switch (opcode) {
  case PILOT_WEBSOCKET_CONTINUATION:
    return self->fragments != PILOT_WEBSOCKET_NONE;
  case PILOT_WEBSOCKET_TEXT:
  case PILOT_WEBSOCKET_BINARY:
    return self->fragments == PILOT_WEBSOCKET_NONE;
  case PILOT_WEBSOCKET_CLOSE:
  case PILOT_WEBSOCKET_PING:
  case PILOT_WEBSOCKET_PONG:
    return is_final (self) && length <= PILOT_WEBSOCKET_MAX_CONTROL;
  case PILOT_WEBSOCKET_NONE:
  default:
    return FALSE;
  }
}

/* FALSE: not the shortest form, or the highest bit is set (section 5.2). */
static gboolean
read_length (PilotWebsocketReader *self)
{
  guint8 length = self->header[1] & 0x7f;

  if (length < 126)
    self->length = length;
  else if (length == 126) {
    self->length = pilot_bytes_get_u16 (self->header + 2);
    return self->length >= 126;
  } else {
    self->length = pilot_bytes_get_u64 (self->header + 2);
    return self->length > G_MAXUINT16 && (self->length >> 63) == 0;
  }
  return TRUE;
}

static gsize
size_of_header (guint8 second)
{
  guint8 length = second & 0x7f;

  return 2 + MASK_SIZE + (length == 126 ? 2 : length == 127 ? 8
                                                            : 0);
}

/* FALSE with a status; header_size stays 0 until the header is complete and good. */
static gboolean
take_header (PilotWebsocketReader *self,
             const guint8 *data,
             gsize length,
             gsize *consumed,
             PilotWebsocketStatus *status)
{
  gsize used = 0;

  while (self->header_size == 0 && used < length) {
    self->header[self->header_have++] = data[used++];
    if (self->header_have == 2 && !check_start (self)) {
      *status = PILOT_WEBSOCKET_PROTOCOL_ERROR;
      return FALSE;
    }
    if (self->header_have < 2 || self->header_have < size_of_header (self->header[1]))
      continue;
    if (!read_length (self)) {
      *status = PILOT_WEBSOCKET_PROTOCOL_ERROR;
      return FALSE;
    }
    if (!is_control (opcode_of (self)) &&
        self->length > self->max_message - MIN (self->message != NULL ? self->message->len : 0, self->max_message)) {
      *status = PILOT_WEBSOCKET_TOO_BIG;
      return FALSE;
    }
    self->header_size = self->header_have;
    self->done = 0;
  }
  *consumed = used;
  return TRUE;
}

static void
unmask (const guint8 mask[MASK_SIZE],
        guint8 *data,
        gsize length,
        gsize offset)
{
  for (gsize i = 0; i < length; i++)
    data[i] ^= mask[(offset + i) % MASK_SIZE];
}

/* The frame is complete, its payload at `data`. */
static void
finish_frame (PilotWebsocketReader *self,
              guint8 *data,
              gsize length,
              PilotWebsocketMessage *message)
{
  PilotWebsocketOpcode opcode = opcode_of (self);

  self->header_have = self->header_size = 0;
  if (is_control (opcode) || (is_final (self) && opcode != PILOT_WEBSOCKET_CONTINUATION)) {
    *message = (PilotWebsocketMessage) { opcode, data, length };
    return;
  }
  if (opcode != PILOT_WEBSOCKET_CONTINUATION)
    self->fragments = opcode;
  if (self->message == NULL)
    self->message = g_byte_array_new ();
  g_byte_array_append (self->message, data, (guint) length);
  if (!is_final (self))
    return;
  *message = (PilotWebsocketMessage) { self->fragments, self->message->data, self->message->len };
  self->fragments = PILOT_WEBSOCKET_NONE;
}

/* What the last push lent is gone now. */
static void
drop_lent (PilotWebsocketReader *self)
{
  if (self->header_size == 0)
    g_clear_pointer (&self->frame, g_byte_array_unref);
  if (self->fragments == PILOT_WEBSOCKET_NONE)
    g_clear_pointer (&self->message, g_byte_array_unref);
}

gboolean
pilot_websocket_reader_push (PilotWebsocketReader *self,
                             guint8 *data,
                             gsize length,
                             gsize *consumed,
                             PilotWebsocketMessage *message,
                             PilotWebsocketStatus *status)
{
  const guint8 *mask;
  gsize part;

  *message = (PilotWebsocketMessage) { PILOT_WEBSOCKET_NONE, NULL, 0 };
  *consumed = 0;
  drop_lent (self);
  if (!take_header (self, data, length, consumed, status))
    return FALSE;
  if (self->header_size == 0)
    return TRUE;
  mask = self->header + self->header_size - MASK_SIZE;
  part = (gsize) MIN (length - *consumed, self->length - self->done);
  data += *consumed;
  *consumed += part;
  unmask (mask, data, part, self->done);
  if (self->frame == NULL && part == self->length) {
    finish_frame (self, data, part, message);
    return TRUE;
  }
  if (self->frame == NULL)
    self->frame = g_byte_array_new ();
  if (part > 0)
    g_byte_array_append (self->frame, data, (guint) part);
  self->done += part;
  if (self->done == self->length)
    finish_frame (self, self->frame->data, self->frame->len, message);
  return TRUE;
}

gsize
pilot_websocket_write_header (guint8 out[PILOT_WEBSOCKET_MAX_HEADER],
                              PilotWebsocketOpcode opcode,
                              gsize length)
{
  out[0] = 0x80 | (guint8) opcode;
  if (length < 126) {
    out[1] = (guint8) length;
    return 2;
  }
  if (length <= G_MAXUINT16) {
    out[1] = 126;
    pilot_bytes_put_u16 (out + 2, (guint16) length);
    return 4;
  }
  out[1] = 127;
  pilot_bytes_put_u64 (out + 2, length);
  return 10;
}
