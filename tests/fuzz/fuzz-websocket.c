/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdint.h>
#include <string.h>

#include "protocol/websocket.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

#define MAX_MESSAGE 2048

/* What came out of a stream of frames, and how it ended. */
typedef struct
{
  GByteArray *messages; /* opcode, length and payload of each */
  gboolean failed;
  PilotWebsocketStatus status;
} Outcome;

static void
add (Outcome *outcome, const PilotWebsocketMessage *message)
{
  guint8 opcode = (guint8) message->opcode;
  guint32 length = (guint32) message->length;

  g_assert (message->opcode != PILOT_WEBSOCKET_CONTINUATION);
  g_assert (message->length <= MAX_MESSAGE);
  g_assert (message->opcode < PILOT_WEBSOCKET_CLOSE || message->length <= PILOT_WEBSOCKET_MAX_CONTROL);
  g_byte_array_append (outcome->messages, &opcode, 1);
  g_byte_array_append (outcome->messages, (const guint8 *) &length, sizeof length);
  if (length > 0)
    g_byte_array_append (outcome->messages, message->data, length);
}

static Outcome
read_stream (const guint8 *data, gsize size, gboolean cut)
{
  g_autoptr (PilotWebsocketReader) reader = pilot_websocket_reader_new (MAX_MESSAGE);
  g_autofree guint8 *copy = g_memdup2 (data, size);
  Outcome outcome = { g_byte_array_new (), FALSE, PILOT_WEBSOCKET_NORMAL };
  gsize at = 0;

  while (at < size) {
    gsize part = cut ? MIN (size - at, 1 + (gsize) data[at] % 7) : size - at, consumed;
    PilotWebsocketMessage message;

    if (!pilot_websocket_reader_push (reader, copy + at, part, &consumed, &message, &outcome.status)) {
      g_assert (outcome.status == PILOT_WEBSOCKET_PROTOCOL_ERROR || outcome.status == PILOT_WEBSOCKET_TOO_BIG);
      outcome.failed = TRUE;
      return outcome;
    }
    g_assert (consumed > 0 && consumed <= part);
    g_assert (pilot_websocket_reader_pending (reader) <= 2 * MAX_MESSAGE + 14);
    if (message.opcode != PILOT_WEBSOCKET_NONE)
      add (&outcome, &message);
    at += consumed;
  }
  return outcome;
}

static void
read_request (const guint8 *data, gsize size)
{
  g_autofree gchar *copy = g_memdup2 (data, size);
  gsize end = pilot_http_find_end (copy, size);
  PilotHttpRequest request;

  if (end == 0 || !pilot_http_request_parse (copy, end, &request))
    return;
  g_assert (request.path >= copy && request.path + request.path_length <= copy + end && request.path[0] == '/');
  g_assert (request.method_length > 0);
  if (pilot_websocket_is_key (request.key, request.key_length)) {
    gchar accept[PILOT_WEBSOCKET_ACCEPT_SIZE];

    pilot_websocket_accept (request.key, request.key_length, accept);
    g_assert (strlen (accept) == PILOT_WEBSOCKET_ACCEPT_SIZE - 1);
  }
}

/* The first byte says whether the rest is a request or frames. A stream says the same in one piece and in many. */
int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  Outcome whole, cut;

  if (size == 0)
    return 0;
  if (data[0] & 1) {
    read_request (data + 1, size - 1);
    return 0;
  }
  whole = read_stream (data + 1, size - 1, FALSE);
  cut = read_stream (data + 1, size - 1, TRUE);
  g_assert (whole.failed == cut.failed && whole.status == cut.status && whole.messages->len == cut.messages->len);
  g_assert (whole.messages->len == 0 || memcmp (whole.messages->data, cut.messages->data, whole.messages->len) == 0);
  g_byte_array_unref (whole.messages);
  g_byte_array_unref (cut.messages);
  return 0;
}
