/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "harness.h"

G_BEGIN_DECLS

/* A client of the beacon over WebSocket that writes every byte by hand. */

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define UPGRADE(path, extra)                                                                                               \
  "GET " path " HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" \
  "Sec-WebSocket-Key: " KEY "\r\n" extra "\r\n"
#define GOOD UPGRADE ("/v1/compat", "Sec-WebSocket-Protocol: pilot.v1\r\n")

typedef struct
{
  guint8 opcode;
  guint8 data[65600];
  gsize length;
} Frame;

/* The head of the answer; (transfer full). */
gchar *read_head (Client *client);
/* @first: the byte of flags and opcode. Masked, as clients have to. */
void send_frame (Client *client, guint8 first, gconstpointer data, gsize length);
/* FALSE at the end of the connection. */
gboolean read_frame (Client *client, Frame *frame);
/* The next frame. */
void expect_frame (Client *client, guint8 opcode, gconstpointer data, gsize length);
/* A close frame with this status and reason comes, after whatever else, and then the end. */
void expect_closed (Client *client, guint16 status, const gchar *reason);
/* Upgraded; the challenge as text "TS:NONCE" (transfer full). */
gchar *upgrade (Client *client, const gchar *request);
void send_login (Client *client, guint32 node, const gchar *key, const gchar *signature);
/* Writes a relay request of @length bytes of payload, which follow from the length. Returns its size. */
gsize relay (guint8 *data, guint32 from, guint32 to, gsize length);
/* That of relay(). */
void expect_delivery (Client *client, guint32 from, gsize length);

G_END_DECLS
