/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/beacon-message.h"

#include "protocol/bytes.h"

static const guint8 MAPPED_PREFIX[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

static gboolean
decode_endpoint (PilotEndpoint *endpoint, const guint8 *body, gsize length)
{
  gsize ip_length;

  if (length < 1)
    return FALSE;
  ip_length = body[0];
  if ((ip_length != 4 && ip_length != 16) || length < 1 + ip_length + 2)
    return FALSE;
  memset (endpoint, 0, sizeof *endpoint);
  endpoint->port = pilot_bytes_get_u16 (body + 1 + ip_length);
  if (ip_length == 16 && memcmp (body + 1, MAPPED_PREFIX, sizeof MAPPED_PREFIX) != 0) {
    endpoint->family = PILOT_ENDPOINT_IPV6;
    memcpy (endpoint->address, body + 1, 16);
  } else {
    endpoint->family = PILOT_ENDPOINT_IPV4;
    memcpy (endpoint->address, body + 1 + ip_length - 4, 4);
  }
  return TRUE;
}

static gsize
encode_endpoint (const PilotEndpoint *endpoint, guint8 *body, gsize size)
{
  const guint8 *address = endpoint->address;
  gsize ip_length;

  switch (endpoint->family) {
  case PILOT_ENDPOINT_IPV4:
    ip_length = 4;
    break;
  case PILOT_ENDPOINT_IPV6:
    ip_length = 16;
    if (memcmp (address, MAPPED_PREFIX, sizeof MAPPED_PREFIX) == 0) {
      ip_length = 4;
      address += sizeof MAPPED_PREFIX;
    }
    break;
  default:
    return 0;
  }
  if (size < 1 + ip_length + 2)
    return 0;
  body[0] = ip_length;
  memcpy (body + 1, address, ip_length);
  pilot_bytes_put_u16 (body + 1 + ip_length, endpoint->port);
  return 1 + ip_length + 2;
}

/* The body behind a type byte whose layout is ids and a frame. */
static gboolean
decode_relay (PilotBeaconMessage *message, const guint8 *body, gsize length, gboolean has_target, gsize min_frame)
{
  gsize ids = has_target ? 8 : 4;

  if (length < ids + min_frame)
    return FALSE;
  message->node = pilot_bytes_get_u32 (body);
  if (has_target)
    message->target = pilot_bytes_get_u32 (body + 4);
  message->frame = body + ids;
  message->frame_length = length - ids;
  return TRUE;
}

static gboolean
decode_sync (PilotBeaconMessage *message, const guint8 *body, gsize length)
{
  if (length < 6)
    return FALSE;
  message->node = pilot_bytes_get_u32 (body);
  message->node_count = pilot_bytes_get_u16 (body + 4);
  message->nodes = body + 6;
  return length - 6 >= 4 * (gsize) message->node_count;
}

gboolean
pilot_beacon_message_decode (PilotBeaconMessage *message, const guint8 *data, gsize length)
{
  const guint8 *body;

  memset (message, 0, sizeof *message);
  if (length < 1)
    return FALSE;
  message->type = data[0];
  body = data + 1;
  length--;

  switch (message->type) {
  case PILOT_BEACON_DISCOVER:
  case PILOT_BEACON_DISCOVER_EX:
    if (length < 4)
      return FALSE;
    message->node = pilot_bytes_get_u32 (body);
    message->key = length >= 4 + PILOT_BEACON_KEY_SIZE ? body + 4 : NULL;
    return TRUE;
  case PILOT_BEACON_DISCOVER_REPLY:
  case PILOT_BEACON_PUNCH_COMMAND:
    return decode_endpoint (&message->endpoint, body, length);
  case PILOT_BEACON_PUNCH_REQUEST:
    if (length < 8)
      return FALSE;
    message->node = pilot_bytes_get_u32 (body);
    message->target = pilot_bytes_get_u32 (body + 4);
    message->grant = length >= 8 + PILOT_BEACON_GRANT_SIZE ? body + 8 : NULL;
    return TRUE;
  case PILOT_BEACON_RELAY:
  case PILOT_BEACON_RELAY_DELIVER_DEST:
    return decode_relay (message, body, length, TRUE, 0);
  case PILOT_BEACON_RELAY_DELIVER:
    return decode_relay (message, body, length, FALSE, 1);
  case PILOT_BEACON_SYNC:
    return decode_sync (message, body, length);
  case PILOT_BEACON_NOTIFY:
    if (length < 1)
      return FALSE;
    message->kind = body[0];
    return TRUE;
  default:
    return FALSE;
  }
}

/* Ids and what follows them; `tail` may stand in its place already. */
static gsize
encode_ids (const PilotBeaconMessage *message, guint8 *body, gsize size, gboolean has_target, const guint8 *tail, gsize tail_length)
{
  gsize ids = has_target ? 8 : 4;

  if (size < ids || size - ids < tail_length)
    return 0;
  if (tail_length > 0 && tail != body + ids)
    memmove (body + ids, tail, tail_length);
  pilot_bytes_put_u32 (body, message->node);
  if (has_target)
    pilot_bytes_put_u32 (body + 4, message->target);
  return ids + tail_length;
}

static gsize
encode_sync (const PilotBeaconMessage *message, guint8 *body, gsize size)
{
  gsize bytes = 4 * (gsize) message->node_count;

  if (message->node_count > PILOT_BEACON_SYNC_MAX_NODES || size < 6 + bytes)
    return 0;
  if (bytes > 0 && message->nodes != body + 6)
    memmove (body + 6, message->nodes, bytes);
  pilot_bytes_put_u32 (body, message->node);
  pilot_bytes_put_u16 (body + 4, message->node_count);
  return 6 + bytes;
}

static gsize
encode_body (const PilotBeaconMessage *message, guint8 *body, gsize size)
{
  switch (message->type) {
  case PILOT_BEACON_DISCOVER:
  case PILOT_BEACON_DISCOVER_EX:
    return encode_ids (message, body, size, FALSE, message->key, message->key != NULL ? PILOT_BEACON_KEY_SIZE : 0);
  case PILOT_BEACON_DISCOVER_REPLY:
  case PILOT_BEACON_PUNCH_COMMAND:
    return encode_endpoint (&message->endpoint, body, size);
  case PILOT_BEACON_PUNCH_REQUEST:
    return encode_ids (message, body, size, TRUE, message->grant, message->grant != NULL ? PILOT_BEACON_GRANT_SIZE : 0);
  case PILOT_BEACON_RELAY:
  case PILOT_BEACON_RELAY_DELIVER_DEST:
    return encode_ids (message, body, size, TRUE, message->frame, message->frame_length);
  case PILOT_BEACON_RELAY_DELIVER:
    return encode_ids (message, body, size, FALSE, message->frame, message->frame_length);
  case PILOT_BEACON_SYNC:
    return encode_sync (message, body, size);
  case PILOT_BEACON_NOTIFY:
    if (size < 1)
      return 0;
    body[0] = message->kind;
    return 1;
  default:
    return 0;
  }
}

gsize
pilot_beacon_message_encode (const PilotBeaconMessage *message, guint8 *out, gsize size)
{
  gsize length;

  if (size < 1)
    return 0;
  length = encode_body (message, out + 1, size - 1);
  if (length == 0)
    return 0;
  out[0] = message->type;
  return 1 + length;
}

guint32
pilot_beacon_message_sync_node (const PilotBeaconMessage *message, guint16 index)
{
  g_return_val_if_fail (index < message->node_count, 0);
  return pilot_bytes_get_u32 (message->nodes + 4 * (gsize) index);
}

void
pilot_beacon_write_relay_header (guint8 *out, guint32 sender, guint32 destination)
{
  out[0] = PILOT_BEACON_RELAY;
  pilot_bytes_put_u32 (out + 1, sender);
  pilot_bytes_put_u32 (out + 5, destination);
}

guint8 *
pilot_beacon_relay_to_deliver (guint8 *data, gsize length, gsize *deliver_length)
{
  guint32 sender;
  guint8 *deliver = data + (PILOT_BEACON_RELAY_HEADER_SIZE - PILOT_BEACON_RELAY_DELIVER_HEADER_SIZE);

  g_return_val_if_fail (length >= PILOT_BEACON_RELAY_HEADER_SIZE, NULL);
  sender = pilot_bytes_get_u32 (data + 1);
  deliver[0] = PILOT_BEACON_RELAY_DELIVER;
  pilot_bytes_put_u32 (deliver + 1, sender);
  *deliver_length = length - (PILOT_BEACON_RELAY_HEADER_SIZE - PILOT_BEACON_RELAY_DELIVER_HEADER_SIZE);
  return deliver;
}
