/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bottleneck.h"

G_BEGIN_DECLS

#define TCP_PAYLOAD 1448
#define TCP_WIRE_SIZE 1514

typedef struct _BottleneckPacket BottleneckPacket;

struct _BottleneckPacket {
  BottleneckPacket *next;
  BottleneckFlow *flow;
  guint to; /* end of the flow it goes to: 1 = with the data, 0 = back */
  guint wire_size;
  gint64 queued_ns;
  guint64 number; /* the model: segment, or what the segment acknowledged */
  guint64 order;  /* the model: of the transmission */
  gint64 sent;
  PilotPacket packet; /* ours */
  guint8 data[PILOT_PACKET_MAX_PAYLOAD];
};

/* bottleneck.c */
BottleneckPacket *bottleneck_packet_new (Bottleneck *self, BottleneckFlow *flow, guint to);
/* Takes the packet. */
void bottleneck_send (Bottleneck *self, BottleneckPacket *packet);
void bottleneck_wake (Bottleneck *self, BottleneckFlow *flow, guint end, gint64 time);
void bottleneck_delivered (Bottleneck *self, BottleneckFlow *flow, guint64 bytes);

/* bottleneck-tcp.c */
void bottleneck_tcp_start (Bottleneck *self, BottleneckFlow *flow);
void bottleneck_tcp_receive (Bottleneck *self, BottleneckPacket *packet);
void bottleneck_tcp_wake (Bottleneck *self, BottleneckFlow *flow);
void bottleneck_tcp_free (BottleneckFlow *flow);

G_END_DECLS
