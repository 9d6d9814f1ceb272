/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/packet.h"

#include <libdeflate.h>

#include "protocol/bytes.h"

/* Offsets of the header's fields. */
enum {
  OFFSET_VERSION = 0,
  OFFSET_PROTOCOL = 1,
  OFFSET_LENGTH = 2,
  OFFSET_SOURCE = 4,
  OFFSET_DESTINATION = 10,
  OFFSET_SOURCE_PORT = 16,
  OFFSET_DESTINATION_PORT = 18,
  OFFSET_SEQ = 20,
  OFFSET_ACK = 24,
  OFFSET_WINDOW = 28,
  OFFSET_CHECKSUM = 30,
};

/* And of the short one, which begins alike. */
enum {
  SHORT_OFFSET_SOURCE_PORT = 2,
  SHORT_OFFSET_DESTINATION_PORT = 4,
  SHORT_OFFSET_SEQ = 6,
  SHORT_OFFSET_ACK = 10,
  SHORT_OFFSET_WINDOW = 14,
};

guint32
pilot_packet_crc32 (guint32 crc, const guint8 *data, gsize length)
{
  return libdeflate_crc32 (crc, data, length);
}

/* The checksum counts its own four bytes as zero. */
static guint32
packet_checksum (const guint8 *data, gsize payload_length)
{
  static const guint8 zero[4] = { 0 };
  guint32 crc;

  crc = libdeflate_crc32 (0, data, OFFSET_CHECKSUM);
  crc = libdeflate_crc32 (crc, zero, sizeof zero);
  if (payload_length > 0)
    crc = libdeflate_crc32 (crc, data + PILOT_PACKET_HEADER_SIZE, payload_length);
  return crc;
}

static void
get_address (PilotAddress *address, const guint8 *data)
{
  address->network = pilot_bytes_get_u16 (data);
  address->node = pilot_bytes_get_u32 (data + 2);
}

static void
put_address (guint8 *data, const PilotAddress *address)
{
  pilot_bytes_put_u16 (data, address->network);
  pilot_bytes_put_u32 (data + 2, address->node);
}

static PilotPacketStatus
decode (PilotPacket *packet, const guint8 *data, gsize length, gboolean may_be_unsummed)
{
  guint16 payload_length;
  guint32 checksum;

  if (length < PILOT_PACKET_HEADER_SIZE)
    return PILOT_PACKET_TOO_SHORT;
  payload_length = pilot_bytes_get_u16 (data + OFFSET_LENGTH);
  if (length - PILOT_PACKET_HEADER_SIZE < payload_length)
    return PILOT_PACKET_TRUNCATED;
  checksum = pilot_bytes_get_u32 (data + OFFSET_CHECKSUM);
  packet->short_header = FALSE;
  packet->unsummed = checksum == 0 && may_be_unsummed;
  if (!packet->unsummed && checksum != packet_checksum (data, payload_length))
    return PILOT_PACKET_BAD_CHECKSUM;
  if (data[OFFSET_VERSION] >> 4 != PILOT_PACKET_VERSION)
    return PILOT_PACKET_BAD_VERSION;

  packet->flags = data[OFFSET_VERSION] & 0x0f;
  packet->protocol = data[OFFSET_PROTOCOL];
  get_address (&packet->source, data + OFFSET_SOURCE);
  get_address (&packet->destination, data + OFFSET_DESTINATION);
  packet->source_port = pilot_bytes_get_u16 (data + OFFSET_SOURCE_PORT);
  packet->destination_port = pilot_bytes_get_u16 (data + OFFSET_DESTINATION_PORT);
  packet->seq = pilot_bytes_get_u32 (data + OFFSET_SEQ);
  packet->ack = pilot_bytes_get_u32 (data + OFFSET_ACK);
  packet->window = pilot_bytes_get_u16 (data + OFFSET_WINDOW);
  packet->payload_length = payload_length;
  packet->payload = data + PILOT_PACKET_HEADER_SIZE;
  return PILOT_PACKET_OK;
}

static PilotPacketStatus
decode_short (PilotPacket *packet, const guint8 *data, gsize length)
{
  if (length < PILOT_PACKET_SHORT_HEADER_SIZE)
    return PILOT_PACKET_TOO_SHORT;
  if (length - PILOT_PACKET_SHORT_HEADER_SIZE > PILOT_PACKET_MAX_PAYLOAD)
    return PILOT_PACKET_TOO_LONG;
  /* Nothing but what follows a stream's opening has one. */
  if (data[OFFSET_PROTOCOL] != PILOT_PROTOCOL_STREAM || (data[OFFSET_VERSION] & PILOT_PACKET_SYN) != 0)
    return PILOT_PACKET_BAD_VERSION;
  *packet = (PilotPacket){
    .flags = data[OFFSET_VERSION] & 0x0f,
    .protocol = PILOT_PROTOCOL_STREAM,
    .source_port = pilot_bytes_get_u16 (data + SHORT_OFFSET_SOURCE_PORT),
    .destination_port = pilot_bytes_get_u16 (data + SHORT_OFFSET_DESTINATION_PORT),
    .seq = pilot_bytes_get_u32 (data + SHORT_OFFSET_SEQ),
    .ack = pilot_bytes_get_u32 (data + SHORT_OFFSET_ACK),
    .window = pilot_bytes_get_u16 (data + SHORT_OFFSET_WINDOW),
    .payload_length = (guint32) (length - PILOT_PACKET_SHORT_HEADER_SIZE),
    .payload = data + PILOT_PACKET_SHORT_HEADER_SIZE,
    .unsummed = TRUE,
    .short_header = TRUE,
  };
  return PILOT_PACKET_OK;
}

PilotPacketStatus
pilot_packet_decode (PilotPacket *packet, const guint8 *data, gsize length)
{
  return decode (packet, data, length, FALSE);
}

PilotPacketStatus
pilot_packet_decode_sealed (PilotPacket *packet, const guint8 *data, gsize length)
{
  if (length > 0 && data[OFFSET_VERSION] >> 4 == PILOT_PACKET_SHORT_VERSION)
    return decode_short (packet, data, length);
  return decode (packet, data, length, TRUE);
}

gchar *
pilot_packet_describe_error (PilotPacketStatus status, const guint8 *data, gsize length)
{
  switch (status) {
  case PILOT_PACKET_TOO_SHORT:
    return g_strdup_printf ("packet too short: %" G_GSIZE_FORMAT " bytes (min %d)", length, PILOT_PACKET_HEADER_SIZE);
  case PILOT_PACKET_TRUNCATED:
    return g_strdup_printf ("packet truncated: have %" G_GSIZE_FORMAT " bytes, need %d", length,
                            PILOT_PACKET_HEADER_SIZE + pilot_bytes_get_u16 (data + OFFSET_LENGTH));
  case PILOT_PACKET_BAD_CHECKSUM:
    return g_strdup ("checksum mismatch");
  case PILOT_PACKET_BAD_VERSION:
    return g_strdup_printf ("unsupported protocol version %d (expected %d)", data[OFFSET_VERSION] >> 4, PILOT_PACKET_VERSION);
  case PILOT_PACKET_TOO_LONG:
    return g_strdup_printf ("packet too long: %" G_GSIZE_FORMAT " bytes (max %d)", length, PILOT_PACKET_SHORT_HEADER_SIZE + PILOT_PACKET_MAX_PAYLOAD);
  case PILOT_PACKET_OK:
    break;
  }
  g_return_val_if_reached (g_strdup ("no error"));
}

static void
encode_header (const PilotPacket *packet, guint8 *out)
{
  out[OFFSET_VERSION] = PILOT_PACKET_VERSION << 4 | (packet->flags & 0x0f);
  out[OFFSET_PROTOCOL] = packet->protocol;
  pilot_bytes_put_u16 (out + OFFSET_LENGTH, packet->payload_length);
  put_address (out + OFFSET_SOURCE, &packet->source);
  put_address (out + OFFSET_DESTINATION, &packet->destination);
  pilot_bytes_put_u16 (out + OFFSET_SOURCE_PORT, packet->source_port);
  pilot_bytes_put_u16 (out + OFFSET_DESTINATION_PORT, packet->destination_port);
  pilot_bytes_put_u32 (out + OFFSET_SEQ, packet->seq);
  pilot_bytes_put_u32 (out + OFFSET_ACK, packet->ack);
  pilot_bytes_put_u16 (out + OFFSET_WINDOW, packet->window);
  pilot_bytes_put_u32 (out + OFFSET_CHECKSUM, 0);
}

static void
encode_short_header (const PilotPacket *packet, guint8 *out)
{
  out[OFFSET_VERSION] = PILOT_PACKET_SHORT_VERSION << 4 | (packet->flags & 0x0f);
  out[OFFSET_PROTOCOL] = packet->protocol;
  pilot_bytes_put_u16 (out + SHORT_OFFSET_SOURCE_PORT, packet->source_port);
  pilot_bytes_put_u16 (out + SHORT_OFFSET_DESTINATION_PORT, packet->destination_port);
  pilot_bytes_put_u32 (out + SHORT_OFFSET_SEQ, packet->seq);
  pilot_bytes_put_u32 (out + SHORT_OFFSET_ACK, packet->ack);
  pilot_bytes_put_u16 (out + SHORT_OFFSET_WINDOW, packet->window);
}

gsize
pilot_packet_encode (const PilotPacket *packet, guint8 *out, gsize out_size)
{
  const gsize header = pilot_packet_header_size (packet);
  const gsize size = header + packet->payload_length;
  const gboolean summed = !packet->unsummed && !packet->short_header;

  if (packet->payload_length > PILOT_PACKET_MAX_PAYLOAD || size > out_size)
    return 0;

  /* The payload first: where it overlaps the header's place it would be overwritten. */
  if (packet->payload_length > 0 && packet->payload != out + header && (summed || packet->payload != NULL))
    memmove (out + header, packet->payload, packet->payload_length);
  if (packet->short_header)
    encode_short_header (packet, out);
  else
    encode_header (packet, out);
  if (summed)
    pilot_bytes_put_u32 (out + OFFSET_CHECKSUM, libdeflate_crc32 (0, out, size));
  return size;
}
