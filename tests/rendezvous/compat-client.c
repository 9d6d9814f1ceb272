/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "compat-client.h"

#include <string.h>

#include "protocol/bytes.h"

/* The head of the answer; (transfer full). */
gchar *
read_head (Client *client)
{
  g_autoptr (GString) head = g_string_new (NULL);

  while (!g_str_has_suffix (head->str, "\r\n\r\n")) {
    guint8 byte;

    g_assert_true (client_read (client, &byte, 1));
    g_string_append_c (head, (gchar) byte);
    g_assert_cmpuint (head->len, <, 4096);
  }
  return g_string_free (g_steal_pointer (&head), FALSE);
}

void
send_frame (Client *client,
            guint8 first,
            gconstpointer data,
            gsize length)
{
  g_autofree guint8 *frame = g_malloc (length + 14);
  const guint8 mask[4] = { 0x37, 0xfa, 0x21, 0x3d };
  gsize size = 4;

  frame[0] = first;
  if (length < 126) {
    frame[1] = 0x80 | (guint8) length;
    size = 2;
  } else if (length <= G_MAXUINT16) {
    frame[1] = 0x80 | 126;
    pilot_bytes_put_u16 (frame + 2, (guint16) length);
  } else {
    frame[1] = 0x80 | 127;
    pilot_bytes_put_u64 (frame + 2, length);
    size = 10;
  }
  memcpy (frame + size, mask, 4);
  for (gsize i = 0; i < length; i++)
    frame[size + 4 + i] = ((const guint8 *) data)[i] ^ mask[i % 4];
  client_write (client, frame, size + 4 + length);
}

/* FALSE at the end of the connection. */
gboolean
read_frame (Client *client,
            Frame *frame)
{
  guint8 header[10];

  if (!client_read (client, header, 2))
    return FALSE;
  g_assert_cmpuint (header[0] & 0xf0, ==, 0x80); /* whole, without extensions */
  g_assert_cmpuint (header[1] & 0x80, ==, 0);    /* a server masks nothing */
  frame->opcode = header[0] & 0x0f;
  frame->length = header[1];
  if (frame->length == 126) {
    g_assert_true (client_read (client, header, 2));
    frame->length = pilot_bytes_get_u16 (header);
  } else if (frame->length == 127) {
    g_assert_true (client_read (client, header, 8));
    frame->length = (gsize) pilot_bytes_get_u64 (header);
  }
  g_assert_cmpuint (frame->length, <=, sizeof frame->data);
  g_assert_true (client_read (client, frame->data, frame->length));
  return TRUE;
}

void
expect_frame (Client *client,
              guint8 opcode,
              gconstpointer data,
              gsize length)
{
  g_autofree Frame *frame = g_new (Frame, 1);

  g_assert_true (read_frame (client, frame));
  g_assert_cmpuint (frame->opcode, ==, opcode);
  g_assert_cmpmem (frame->data, frame->length, data, length);
}

/* A close frame with this status and reason comes, after whatever else, and then the end. */
void
expect_closed (Client *client,
               guint16 status,
               const gchar *reason)
{
  g_autofree Frame *frame = g_new (Frame, 1);

  do
    g_assert_true (read_frame (client, frame));
  while (frame->opcode != 8);
  g_assert_cmpuint (frame->length, >=, 2);
  g_assert_cmpuint (pilot_bytes_get_u16 (frame->data), ==, status);
  g_assert_cmpmem (frame->data + 2, frame->length - 2, reason, strlen (reason));
  client_expect_close (client);
}

/* Upgraded; the challenge as text "TS:NONCE" (transfer full). */
gchar *
upgrade (Client *client,
         const gchar *request)
{
  g_autofree Frame *frame = g_new0 (Frame, 1);
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autofree gchar *head = NULL;
  JsonObject *object;

  client_write (client, request, strlen (request));
  head = read_head (client);
  g_assert_true (g_str_has_prefix (head, "HTTP/1.1 101 "));
  g_assert_nonnull (strstr (head, "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
  g_assert_null (strstr (head, "Extensions"));
  g_assert_true (read_frame (client, frame));
  g_assert_cmpuint (frame->opcode, ==, 1);
  g_assert_true (json_parser_load_from_data (parser, (const gchar *) frame->data, (gssize) frame->length, NULL));
  object = json_node_get_object (json_parser_get_root (parser));
  g_assert_cmpstr (json_object_get_string_member (object, "type"), ==, "auth_challenge");
  g_assert_cmpuint (strlen (json_object_get_string_member (object, "nonce")), ==, 64);
  return g_strdup_printf ("%" G_GINT64_FORMAT ":%s", json_object_get_int_member (object, "ts"), json_object_get_string_member (object, "nonce"));
}

void
send_login (Client *client,
            guint32 node,
            const gchar *key,
            const gchar *signature)
{
  g_autofree gchar *reply = g_strdup_printf ("{\"type\":\"auth_reply\",\"node_id\":%u,\"public_key\":\"%s\",\"sig\":\"%s\"}", node, key, signature);

  send_frame (client, 0x81, reply, strlen (reply));
}

gsize
relay (guint8 *data,
       guint32 from,
       guint32 to,
       gsize length)
{
  data[0] = 5;
  pilot_bytes_put_u32 (data + 1, from);
  pilot_bytes_put_u32 (data + 5, to);
  for (gsize i = 0; i < length; i++)
    data[9 + i] = (guint8) (i * 11 + length);
  return 9 + length;
}

void
expect_delivery (Client *client,
                 guint32 from,
                 gsize length)
{
  g_autofree guint8 *data = g_malloc (9 + length);

  relay (data, from, 0, length);
  data[4] = 6;
  pilot_bytes_put_u32 (data + 5, from);
  expect_frame (client, 2, data + 4, 5 + length);
}
