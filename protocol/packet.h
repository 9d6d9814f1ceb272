/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

#include "libpilot/pilot-address.h"

G_BEGIN_DECLS

/* The packet of the overlay: a 34-byte header and a payload (packets-and-tunnel.md section 2). Between own nodes also with a short header of 16
 * bytes, without what the session and the datagram say already (docs/extensions.md, type 8). */

#define PILOT_PACKET_VERSION 1
#define PILOT_PACKET_SHORT_VERSION 2
#define PILOT_PACKET_HEADER_SIZE 34
#define PILOT_PACKET_SHORT_HEADER_SIZE 16
#define PILOT_PACKET_MAX_PAYLOAD 65535

enum {
  PILOT_PACKET_SYN = 1,
  PILOT_PACKET_ACK = 2,
  PILOT_PACKET_FIN = 4,
  PILOT_PACKET_RST = 8,
};

enum {
  PILOT_PROTOCOL_STREAM = 1,
  PILOT_PROTOCOL_DATAGRAM = 2,
  PILOT_PROTOCOL_CONTROL = 3,
};

enum {
  PILOT_PORT_PING = 0,
  PILOT_PORT_CONTROL = 1,
  PILOT_PORT_MTU_PROBE = 6, /* of control packets (docs/extensions.md) */
  PILOT_PORT_ECHO = 7,
  PILOT_PORT_HANDSHAKE = 444,
  PILOT_PORT_EPHEMERAL_FIRST = 49152,
};

typedef struct
{
  guint8 flags;    /* PILOT_PACKET_SYN and so on; four bits */
  guint8 protocol; /* PILOT_PROTOCOL_*; other values decode and are for the caller to ignore */
  guint16 source_port;
  guint16 destination_port;
  guint16 window; /* in segments; 0 = no flow control */
  PilotAddress source;
  PilotAddress destination;
  guint32 seq;
  guint32 ack;
  guint32 payload_length; /* bytes; at most PILOT_PACKET_MAX_PAYLOAD */
  const guint8 *payload;  /* borrowed: points into the decoded data */
  gboolean unsummed;      /* the checksum is left 0 (docs/extensions.md, type 7) */
  gboolean short_header;  /* has neither addresses nor length nor checksum (type 8) */
} PilotPacket;

typedef enum {
  PILOT_PACKET_OK,
  PILOT_PACKET_TOO_SHORT,
  PILOT_PACKET_TRUNCATED,
  PILOT_PACKET_BAD_CHECKSUM,
  PILOT_PACKET_BAD_VERSION,
  PILOT_PACKET_TOO_LONG, /* only with a short header, which states no length */
} PilotPacketStatus;

/* Decodes a packet; judges length, declared length, checksum and version in this order. Bytes after the declared payload are ignored.
 * `packet` is valid only after PILOT_PACKET_OK, and its payload only as long as `data`. Allocates nothing. */
PilotPacketStatus pilot_packet_decode (PilotPacket *packet,
                                       const guint8 *data,
                                       gsize length);

/* The same for what a session has authenticated, bytes by bytes: a checksum of 0 is not looked at (docs/extensions.md, type 7), any other is. One with a
 * short header (type 8) is decoded, too: its addresses are 0:0, for the caller to fill in from the session, and its payload is all that follows. */
PilotPacketStatus pilot_packet_decode_sealed (PilotPacket *packet,
                                              const guint8 *data,
                                              gsize length);

/* The text of the notes for a status other than PILOT_PACKET_OK (transfer full), from the arguments pilot_packet_decode() had. For logs. */
gchar *pilot_packet_describe_error (PilotPacketStatus status,
                                    const guint8 *data,
                                    gsize length);

/* Writes header and payload to `out` and returns the bytes written; 0 if the payload is above PILOT_PACKET_MAX_PAYLOAD or
 * `out_size` is too small. A payload that already stands at out + pilot_packet_header_size() is left where it is; one that overlaps is moved. Without a
 * checksum `payload` may be NULL: then only the header is written, and the payload is put behind it by whoever seals it. */
gsize pilot_packet_encode (const PilotPacket *packet,
                           guint8 *out,
                           gsize out_size);

/* Bytes in front of the payload. */
static inline gsize
pilot_packet_header_size (const PilotPacket *packet)
{
  return packet->short_header ? PILOT_PACKET_SHORT_HEADER_SIZE : PILOT_PACKET_HEADER_SIZE;
}

/* CRC-32 (IEEE 802.3), continued from `crc`; start with 0. */
guint32 pilot_packet_crc32 (guint32 crc,
                            const guint8 *data,
                            gsize length);

/* Serial number arithmetic of RFC 1982 on 32-bit sequence numbers: "before" within half the number space. */
static inline gint32
pilot_seq_diff (guint32 a, guint32 b)
{
  return (gint32) (a - b);
}

static inline gboolean
pilot_seq_lt (guint32 a, guint32 b)
{
  return pilot_seq_diff (a, b) < 0;
}

static inline gboolean
pilot_seq_le (guint32 a, guint32 b)
{
  return pilot_seq_diff (a, b) <= 0;
}

static inline gboolean
pilot_seq_gt (guint32 a, guint32 b)
{
  return pilot_seq_diff (a, b) > 0;
}

static inline gboolean
pilot_seq_ge (guint32 a, guint32 b)
{
  return pilot_seq_diff (a, b) >= 0;
}

static inline guint32
pilot_seq_max (guint32 a, guint32 b)
{
  return pilot_seq_lt (a, b) ? b : a;
}

static inline guint32
pilot_seq_min (guint32 a, guint32 b)
{
  return pilot_seq_lt (a, b) ? a : b;
}

G_END_DECLS
