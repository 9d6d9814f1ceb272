/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

#include "libpilot/pilot-endpoint.h"

G_BEGIN_DECLS

/* Messages between a node and a beacon, and between beacons (beacon-and-nat.md section 2). */

typedef enum {
  PILOT_BEACON_DISCOVER = 0x01,
  PILOT_BEACON_DISCOVER_REPLY = 0x02,
  PILOT_BEACON_PUNCH_REQUEST = 0x03,
  PILOT_BEACON_PUNCH_COMMAND = 0x04,
  PILOT_BEACON_RELAY = 0x05,
  PILOT_BEACON_RELAY_DELIVER = 0x06,
  PILOT_BEACON_SYNC = 0x07,
  PILOT_BEACON_DISCOVER_EX = 0x08,
  PILOT_BEACON_RELAY_DELIVER_DEST = 0x09,
  PILOT_BEACON_NOTIFY = 0x0a,
} PilotBeaconMessageType;

#define PILOT_BEACON_TYPE_LIMIT 0x10
#define PILOT_BEACON_NOTIFY_HANDSHAKE 0x01

#define PILOT_BEACON_DISCOVER_SIZE 5
#define PILOT_BEACON_PUNCH_REQUEST_SIZE 9
#define PILOT_BEACON_ENDPOINT_MAX_SIZE 20
#define PILOT_BEACON_RELAY_HEADER_SIZE 9
#define PILOT_BEACON_RELAY_DELIVER_HEADER_SIZE 5
#define PILOT_BEACON_NOTIFY_SIZE 2
#define PILOT_BEACON_SYNC_HEADER_SIZE 7
#define PILOT_BEACON_KEY_SIZE 32
#define PILOT_BEACON_GRANT_SIZE 72
/* Largest sync that fits one UDP datagram. */
#define PILOT_BEACON_SYNC_MAX_NODES 16375

/* One message; which fields count depends on the type. Pointers are borrowed views into the datagram. */
typedef struct
{
  PilotBeaconMessageType type;
  guint32 node;           /* 01, 08: the node; 03: who asks; 05, 06, 09: sender as stated, not verified; 07: the beacon */
  guint32 target;         /* 03: the node to reach; 05, 09: destination */
  guint8 kind;            /* 0A */
  PilotEndpoint endpoint; /* 02, 04; transport and scope are 0 */
  const guint8 *frame;    /* 05, 06, 09: the tunnel frame */
  gsize frame_length;     /* may be 0 in 05 and 09 */
  const guint8 *nodes;    /* 07: node_count ids of 4 bytes, read with pilot_beacon_message_sync_node() */
  guint16 node_count;
  const guint8 *key;   /* 01, 08: the Ed25519 key behind the id, or NULL */
  const guint8 *grant; /* 03: expiry (8) and signature (64), or NULL */
} PilotBeaconMessage;

/* FALSE for an unknown type, a short body or a bad endpoint: drop without an answer. Bytes behind a body are ignored. 06 needs one byte of frame. */
gboolean pilot_beacon_message_decode (PilotBeaconMessage *message,
                                      const guint8 *data,
                                      gsize length);
/* Returns the bytes written, 0 if `size` is too small or the message cannot be encoded. A frame that already stands in its place in `out` is not
 * moved. An IPv4-mapped endpoint is written as IPv4. */
gsize pilot_beacon_message_encode (const PilotBeaconMessage *message,
                                   guint8 *out,
                                   gsize size);
/* The `index`th node id of a decoded sync. */
guint32 pilot_beacon_message_sync_node (const PilotBeaconMessage *message,
                                        guint16 index);

/* The data path: writes the 9 bytes that make a frame a relay request; the frame follows at out + PILOT_BEACON_RELAY_HEADER_SIZE. */
void pilot_beacon_write_relay_header (guint8 *out,
                                      guint32 sender,
                                      guint32 destination);
/* Turns a received 05 into the 06 to deliver, in place: returns where it begins inside `data`, and its length. `length` is at least
 * PILOT_BEACON_RELAY_HEADER_SIZE. */
guint8 *pilot_beacon_relay_to_deliver (guint8 *data,
                                       gsize length,
                                       gsize *deliver_length);

G_END_DECLS
