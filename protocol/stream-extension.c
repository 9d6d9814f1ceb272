/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/stream-extension.h"

#include <string.h>

#include "protocol/packet.h"

enum { TLV_WINDOW_SCALE = 1,
       TLV_HALF_CLOSE = 2,
       TLV_SACK_BLOCKS = 3,
       TLV_SEGMENT_SIZE = 4,
       TLV_MTU_PROBES = 6,
       TLV_UNSUMMED = 7,
       TLV_SHORT_HEADERS = 8 };

static const guint8 magic[4] = { 'P', 'X', 'T', '1' };
static const guint8 sack_magic[4] = { 'S', 'A', 'C', 'K' };

static guint32
read32 (const guint8 *data)
{
  return (guint32) data[0] << 24 | (guint32) data[1] << 16 | (guint32) data[2] << 8 | data[3];
}

static void
write32 (guint8 *data,
         guint32 value)
{
  data[0] = value >> 24;
  data[1] = value >> 16;
  data[2] = value >> 8;
  data[3] = value;
}

static void
decode_one (PilotStreamExtensions *extensions,
            guint8 type,
            const guint8 *value,
            gsize length)
{
  if (type == TLV_WINDOW_SCALE && length == 1)
    extensions->window_scale = MIN (value[0], 14);
  else if (type == TLV_HALF_CLOSE && length == 0)
    extensions->half_close = TRUE;
  else if (type == TLV_SACK_BLOCKS && length == 1)
    extensions->sack_blocks = CLAMP (value[0], 1, PILOT_STREAM_SACK_MAX);
  else if (type == TLV_SEGMENT_SIZE && length == 2)
    extensions->segment_size = MAX (512, value[0] << 8 | value[1]);
  else if (type == TLV_MTU_PROBES && length == 0)
    extensions->mtu_probes = TRUE;
  else if (type == TLV_UNSUMMED && length == 0)
    extensions->unsummed = TRUE;
  else if (type == TLV_SHORT_HEADERS && length == 0)
    extensions->short_headers = TRUE;
}

gboolean
pilot_stream_extensions_decode (PilotStreamExtensions *extensions,
                                const guint8 *data,
                                gsize length)
{
  PilotStreamExtensions result = { .window_scale = -1, .sack_blocks = 4, .segment_size = 1152 };
  guint32 seen = 0;
  gsize at = sizeof magic;

  if (length < sizeof magic || length > PILOT_STREAM_EXTENSIONS_SIZE || memcmp (data, magic, sizeof magic) != 0)
    return FALSE;
  while (at < length) {
    guint8 type = data[at];

    if (length - at < 2 || data[at + 1] > length - at - 2)
      return FALSE;
    if (type >= 32 || (seen & 1u << type) == 0)
      decode_one (&result, type, data + at + 2, data[at + 1]);
    if (type < 32)
      seen |= 1u << type;
    at += 2u + data[at + 1];
  }
  *extensions = result;
  return TRUE;
}

gsize
pilot_stream_extensions_encode (const PilotStreamExtensions *extensions,
                                guint8 *out)
{
  gsize n = sizeof magic;

  memcpy (out, magic, sizeof magic);
  if (extensions->window_scale >= 0) {
    out[n++] = TLV_WINDOW_SCALE;
    out[n++] = 1;
    out[n++] = (guint8) extensions->window_scale;
  }
  if (extensions->half_close) {
    out[n++] = TLV_HALF_CLOSE;
    out[n++] = 0;
  }
  out[n++] = TLV_SACK_BLOCKS;
  out[n++] = 1;
  out[n++] = (guint8) extensions->sack_blocks;
  out[n++] = TLV_SEGMENT_SIZE;
  out[n++] = 2;
  out[n++] = (guint8) (extensions->segment_size >> 8);
  out[n++] = (guint8) extensions->segment_size;
  if (extensions->mtu_probes) {
    out[n++] = TLV_MTU_PROBES;
    out[n++] = 0;
  }
  if (extensions->unsummed) {
    out[n++] = TLV_UNSUMMED;
    out[n++] = 0;
  }
  if (extensions->short_headers) {
    out[n++] = TLV_SHORT_HEADERS;
    out[n++] = 0;
  }
  return n;
}

gboolean
pilot_stream_sack_resembles (const guint8 *data,
                             gsize length,
                             guint max_blocks)
{
  return length >= PILOT_STREAM_SACK_SIZE (1) && memcmp (data, sack_magic, sizeof sack_magic) == 0 &&
         data[4] >= 1 && data[4] <= max_blocks && length >= PILOT_STREAM_SACK_SIZE ((gsize) data[4]);
}

guint
pilot_stream_sack_decode (const guint8 *data,
                          gsize length,
                          guint max_blocks,
                          guint32 send_next,
                          PilotStreamInterval *blocks)
{
  guint n_blocks;

  if (!pilot_stream_sack_resembles (data, length, max_blocks) || length != PILOT_STREAM_SACK_SIZE ((gsize) data[4]))
    return 0;
  n_blocks = data[4];
  for (guint i = 0; i < n_blocks; i++) {
    blocks[i].left = read32 (data + 5 + 8 * i);
    blocks[i].right = read32 (data + 9 + 8 * i);
    blocks[i].fresh = FALSE;
    if (!pilot_seq_lt (blocks[i].left, blocks[i].right) || pilot_seq_gt (blocks[i].right, send_next))
      return 0;
  }
  return n_blocks;
}

gsize
pilot_stream_sack_encode (const PilotStreamInterval *blocks,
                          guint n_blocks,
                          guint8 *out)
{
  memcpy (out, sack_magic, sizeof sack_magic);
  out[4] = (guint8) n_blocks;
  for (guint i = 0; i < n_blocks; i++) {
    write32 (out + 5 + 8 * i, blocks[i].left);
    write32 (out + 9 + 8 * i, blocks[i].right);
  }
  return PILOT_STREAM_SACK_SIZE (n_blocks);
}
