/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* The server's side of a WebSocket (RFC 6455): the opening handshake and the framing, without input or output. No extension is spoken. */

typedef enum {
  PILOT_WEBSOCKET_NONE = -1, /* no message yet */
  PILOT_WEBSOCKET_CONTINUATION = 0x0,
  PILOT_WEBSOCKET_TEXT = 0x1,
  PILOT_WEBSOCKET_BINARY = 0x2,
  PILOT_WEBSOCKET_CLOSE = 0x8,
  PILOT_WEBSOCKET_PING = 0x9,
  PILOT_WEBSOCKET_PONG = 0xa,
} PilotWebsocketOpcode;

/* RFC 6455 section 7.4.1. */
typedef enum {
  PILOT_WEBSOCKET_NORMAL = 1000,
  PILOT_WEBSOCKET_GOING_AWAY = 1001,
  PILOT_WEBSOCKET_PROTOCOL_ERROR = 1002,
  PILOT_WEBSOCKET_POLICY = 1008,
  PILOT_WEBSOCKET_TOO_BIG = 1009,
} PilotWebsocketStatus;

#define PILOT_WEBSOCKET_MAX_CONTROL 125
/* Of a frame the server sends. */
#define PILOT_WEBSOCKET_MAX_HEADER 10
#define PILOT_WEBSOCKET_ACCEPT_SIZE 29

/* --- the opening handshake --- */

/* Where the head of an HTTP message ends (behind the empty line), 0 while it is incomplete. */
gsize pilot_http_find_end (const gchar *data,
                           gsize length);

/* What a request says, as far as the upgrade needs it. Texts are borrowed from the head, with their length. */
typedef struct
{
  const gchar *method, *path, *origin, *key;
  gsize method_length, path_length, origin_length, key_length; /* path without the query; origin and key 0 when there is none */
  gboolean wants_upgrade;                                      /* "Connection: upgrade" and "Upgrade: websocket" */
  gboolean is_version_13;
  gboolean offers_pilot; /* "pilot.v1" among its protocols */
} PilotHttpRequest;

/* `length` ends behind the empty line. FALSE for what is no HTTP/1.1 request. */
gboolean pilot_http_request_parse (const gchar *head,
                                   gsize length,
                                   PilotHttpRequest *request);
/* Whether a piece of a request is this text, letter for letter. */
gboolean pilot_http_text_equal (const gchar *text,
                                gsize length,
                                const gchar *expected);
/* Whether the key is base64 of 16 bytes. */
gboolean pilot_websocket_is_key (const gchar *key,
                                 gsize length);
/* The value of "Sec-WebSocket-Accept" (RFC 6455 section 4.2.2). */
void pilot_websocket_accept (const gchar *key,
                             gsize length,
                             gchar accept[PILOT_WEBSOCKET_ACCEPT_SIZE]);

/* --- frames --- */

/* Cuts what a client sends into messages. Memory grows with what has arrived, never with what a header announces, and only for a message that
 * does not lie in one piece in what was pushed. */
typedef struct _PilotWebsocketReader PilotWebsocketReader;

typedef struct
{
  PilotWebsocketOpcode opcode; /* NONE: incomplete; never CONTINUATION */
  guint8 *data;                /* unmasked; in what was pushed, or the reader's: gone with the next push */
  gsize length;
} PilotWebsocketMessage;

/* (transfer full): `max_message` bounds a message, all its fragments together. */
PilotWebsocketReader *pilot_websocket_reader_new (gsize max_message);
void pilot_websocket_reader_free (PilotWebsocketReader *reader);
void pilot_websocket_reader_set_max (PilotWebsocketReader *reader,
                                     gsize max_message);
/* Takes bytes up to the end of one message, unmasking in place; `consumed` (out) is how many: call again with the rest, as long as there is one.
 * On FALSE the connection is to be closed with `status` (out): PROTOCOL_ERROR or TOO_BIG. */
gboolean pilot_websocket_reader_push (PilotWebsocketReader *reader,
                                      guint8 *data,
                                      gsize length,
                                      gsize *consumed,
                                      PilotWebsocketMessage *message,
                                      PilotWebsocketStatus *status);
/* Bytes held of an incomplete message. */
gsize pilot_websocket_reader_pending (PilotWebsocketReader *reader);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotWebsocketReader, pilot_websocket_reader_free)

/* Writes the header of an unfragmented, unmasked frame (the server's) before `length` bytes of payload; returns its size. */
gsize pilot_websocket_write_header (guint8 out[PILOT_WEBSOCKET_MAX_HEADER],
                                    PilotWebsocketOpcode opcode,
                                    gsize length);

G_END_DECLS
