/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdint.h>
#include <string.h>

#include "protocol/packet.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

/* What decodes encodes to the same bytes. The checksum is repaired first, or nothing would decode. */
int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autofree guint8 *copy = g_memdup2 (data, size);
  g_autofree guint8 *out = g_malloc (PILOT_PACKET_HEADER_SIZE + PILOT_PACKET_MAX_PAYLOAD);
  PilotPacket packet;
  PilotPacketStatus status = pilot_packet_decode (&packet, data, size);
  PilotPacketStatus sealed = pilot_packet_decode_sealed (&packet, data, size);
  gsize length;

  if (size > 0 && data[0] >> 4 == PILOT_PACKET_SHORT_VERSION) {
    g_assert (status != PILOT_PACKET_OK && sealed != PILOT_PACKET_TRUNCATED && sealed != PILOT_PACKET_BAD_CHECKSUM);
    if (sealed == PILOT_PACKET_OK) {
      g_assert (packet.payload + packet.payload_length == data + size);
      g_assert (pilot_packet_encode (&packet, out, PILOT_PACKET_HEADER_SIZE + PILOT_PACKET_MAX_PAYLOAD) == size && memcmp (out, data, size) == 0);
    }
  } else
    g_assert (sealed == status || (status == PILOT_PACKET_BAD_CHECKSUM && packet.unsummed));
  status = pilot_packet_decode (&packet, data, size);
  if (status == PILOT_PACKET_BAD_CHECKSUM) {
    guint32 crc;

    length = PILOT_PACKET_HEADER_SIZE + (gsize) (copy[2] << 8 | copy[3]);
    memset (copy + 30, 0, 4);
    crc = GUINT32_TO_BE (pilot_packet_crc32 (0, copy, length));
    memcpy (copy + 30, &crc, 4);
    status = pilot_packet_decode (&packet, copy, size);
    g_assert (status == PILOT_PACKET_OK || status == PILOT_PACKET_BAD_VERSION);
  } else if (status == PILOT_PACKET_OK)
    g_assert (pilot_packet_decode (&packet, copy, size) == PILOT_PACKET_OK);
  if (status != PILOT_PACKET_OK) {
    g_autofree gchar *text = pilot_packet_describe_error (status, data, size);

    g_assert (text[0] != '\0');
    return 0;
  }
  length = pilot_packet_encode (&packet, out, PILOT_PACKET_HEADER_SIZE + PILOT_PACKET_MAX_PAYLOAD);
  g_assert (length > 0 && length <= size && memcmp (out, copy, length) == 0);
  return 0;
}
