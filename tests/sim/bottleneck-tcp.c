/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bottleneck-private.h"

#include <math.h>

/*
 * A TCP to share the line with: segments of 1448 bytes, an acknowledgement that names what arrived (as SACK does without loss of
 * acknowledgements), loss told by three later transmissions that arrived (RFC 6675, RFC 8985), no pacing.
 */

#define SLOTS 65536
#define DUPLICATES 3
#define INITIAL_WINDOW 10
#define RTO_MIN (200 * BOTTLENECK_MS)
#define CUBIC_C 0.4
#define CUBIC_BETA 0.7
#define RENO_BETA 0.5
/* Linux: without a loss to grow back from, the window grows by 5 % in each round trip. */
#define CUBIC_SEARCH 0.05
/* HyStart as Linux has it: so many round trips of a round are looked at, and acknowledgements so close belong to one train. */
#define HYSTART_LOW_WINDOW 16
#define HYSTART_SAMPLES 8
#define HYSTART_TRAIN_GAP (2 * BOTTLENECK_MS)

typedef enum { FREE,
               IN_FLIGHT,
               LOST,
               ARRIVED } SlotState;

typedef struct
{
  SlotState state;
  guint64 order; /* of its last transmission */
} Slot;

typedef struct
{
  /* Sender. */
  Slot slots[SLOTS];
  guint64 transmitted[SLOTS]; /* by order: which segment it was */
  guint64 first, next, order; /* segments: oldest not known to have arrived, next new one; transmissions */
  guint64 scanned;            /* transmissions before this are known to be lost or to have arrived */
  guint64 newest;             /* order of the newest transmission that arrived */
  guint64 lost_from;
  guint in_flight, n_lost;
  gdouble window, threshold; /* segments */
  guint64 recovery_end;      /* in order of transmissions */
  gint64 srtt, min_rtt, last_progress;
  /* CUBIC. */
  gdouble w_max, origin, k, w_est; /* w_max: 0 = nothing was lost yet */
  gint64 epoch;
  /* HyStart. */
  guint64 round_end; /* in order of transmissions */
  gint64 round_start, round_rtt, last_ack;
  guint n_samples;
  /* Receiver. */
  guint64 expected;
  guint8 held[SLOTS];
} Tcp;

static void
send_segment (Bottleneck *self,
              BottleneckFlow *flow,
              guint64 number)
{
  Tcp *tcp = flow->model;
  Slot *slot = &tcp->slots[number % SLOTS];
  BottleneckPacket *packet = bottleneck_packet_new (self, flow, 1);

  slot->state = IN_FLIGHT;
  slot->order = tcp->order;
  tcp->transmitted[tcp->order % SLOTS] = number;
  packet->number = number;
  packet->order = tcp->order++;
  packet->wire_size = TCP_WIRE_SIZE;
  packet->sent = bottleneck_now (self);
  tcp->in_flight++;
  bottleneck_send (self, packet);
}

static gint64
timeout (const Tcp *tcp)
{
  return MAX (RTO_MIN, 2 * tcp->srtt);
}

static void
fill (Bottleneck *self,
      BottleneckFlow *flow)
{
  Tcp *tcp = flow->model;
  guint64 total = flow->bytes > 0 ? (flow->bytes + TCP_PAYLOAD - 1) / TCP_PAYLOAD : G_MAXUINT64;

  while (tcp->in_flight < tcp->window) {
    if (tcp->n_lost > 0) {
      while (tcp->slots[tcp->lost_from % SLOTS].state != LOST)
        tcp->lost_from++;
      tcp->n_lost--;
      send_segment (self, flow, tcp->lost_from);
    } else if (tcp->next < total && tcp->next - tcp->first < SLOTS / 2)
      send_segment (self, flow, tcp->next++);
    else
      break;
  }
  flow->window = (guint64) (tcp->window * TCP_PAYLOAD);
  if (tcp->in_flight > 0)
    bottleneck_wake (self, flow, 0, tcp->last_progress + timeout (tcp));
}

static void
reduce (BottleneckFlow *flow,
        Tcp *tcp)
{
  if (flow->kind == BOTTLENECK_RENO)
    tcp->threshold = MAX (tcp->window * RENO_BETA, 2);
  else {
    tcp->w_max = tcp->window < tcp->w_max ? tcp->window * (1 + CUBIC_BETA) / 2 : tcp->window;
    tcp->threshold = MAX (tcp->window * CUBIC_BETA, 2);
    tcp->epoch = 0;
  }
  tcp->window = tcp->threshold;
  tcp->recovery_end = tcp->order;
}

/* Leaves slow start before the queue is full: when the shortest round trip of a round has grown, or when the acknowledgements of a round come for half
 * a round trip without a gap, as those of an unpaced window that fills half the path do (Ha and Rhee, "Taming the elephants: New TCP slow start",
 * 2011; RFC 9406 has the first of the two). */
static void
hystart (Bottleneck *self,
         Tcp *tcp,
         const BottleneckPacket *packet,
         gint64 rtt)
{
  gint64 now = bottleneck_now (self);

  if (packet->order >= tcp->round_end) {
    tcp->round_end = tcp->order;
    tcp->round_start = tcp->last_ack = now;
    tcp->round_rtt = G_MAXINT64;
    tcp->n_samples = 0;
  }
  if (tcp->window >= tcp->threshold || tcp->window < HYSTART_LOW_WINDOW)
    return;
  if (now - tcp->last_ack <= HYSTART_TRAIN_GAP) {
    tcp->last_ack = now;
    if (now - tcp->round_start > tcp->min_rtt / 2)
      tcp->threshold = tcp->window;
  }
  if (tcp->n_samples < HYSTART_SAMPLES) {
    tcp->n_samples++;
    tcp->round_rtt = MIN (tcp->round_rtt, rtt);
  } else if (tcp->round_rtt > tcp->min_rtt + CLAMP (tcp->min_rtt / 8, 4 * BOTTLENECK_MS, 16 * BOTTLENECK_MS))
    tcp->threshold = tcp->window;
}

static void
grow (Bottleneck *self,
      BottleneckFlow *flow)
{
  Tcp *tcp = flow->model;
  gint64 now = bottleneck_now (self);
  gdouble t, target;

  if (tcp->window < tcp->threshold) {
    tcp->window += 1;
    return;
  }
  if (flow->kind == BOTTLENECK_RENO) {
    tcp->window += 1 / tcp->window;
    return;
  }
  if (tcp->epoch == 0) {
    tcp->epoch = now;
    tcp->origin = MAX (tcp->w_max, tcp->window);
    tcp->k = cbrt ((tcp->origin - tcp->window) / CUBIC_C);
    tcp->w_est = tcp->window;
  }
  t = (gdouble) (now - tcp->epoch + tcp->min_rtt) / BOTTLENECK_SECOND - tcp->k;
  target = CLAMP (CUBIC_C * t * t * t + tcp->origin, tcp->window, tcp->window * 1.5);
  if (tcp->w_max == 0)
    target = MAX (target, tcp->window * (1 + CUBIC_SEARCH));
  tcp->w_est += 3 * (1 - CUBIC_BETA) / (1 + CUBIC_BETA) / tcp->window;
  if (tcp->w_est > target)
    tcp->window = MAX (tcp->window, tcp->w_est);
  else
    tcp->window += (target - tcp->window) / tcp->window;
}

static void
mark_lost (Tcp *tcp,
           guint64 before)
{
  for (; tcp->scanned < before; tcp->scanned++) {
    guint64 number = tcp->transmitted[tcp->scanned % SLOTS];
    Slot *slot = &tcp->slots[number % SLOTS];

    if (number < tcp->first || slot->state != IN_FLIGHT || slot->order != tcp->scanned)
      continue;
    slot->state = LOST;
    tcp->in_flight--;
    if (tcp->n_lost++ == 0 || number < tcp->lost_from)
      tcp->lost_from = number;
  }
}

static void
acknowledged (Bottleneck *self,
              BottleneckFlow *flow,
              const BottleneckPacket *packet)
{
  Tcp *tcp = flow->model;
  Slot *slot = &tcp->slots[packet->number % SLOTS];
  gint64 rtt = bottleneck_now (self) - packet->sent;
  guint lost;

  if (packet->number < tcp->first || slot->state == ARRIVED)
    return;
  if (slot->state == IN_FLIGHT)
    tcp->in_flight--;
  else
    tcp->n_lost--;
  slot->state = ARRIVED;
  while (tcp->first < tcp->next && tcp->slots[tcp->first % SLOTS].state == ARRIVED)
    tcp->slots[tcp->first++ % SLOTS].state = FREE;
  tcp->last_progress = bottleneck_now (self);
  tcp->srtt = tcp->srtt == 0 ? rtt : (7 * tcp->srtt + rtt) / 8;
  tcp->min_rtt = tcp->min_rtt == 0 ? rtt : MIN (tcp->min_rtt, rtt);
  tcp->newest = MAX (tcp->newest, packet->order);
  lost = tcp->n_lost;
  if (tcp->newest >= DUPLICATES)
    mark_lost (tcp, tcp->newest - DUPLICATES + 1);
  if (tcp->n_lost > lost && packet->order >= tcp->recovery_end)
    reduce (flow, tcp);
  else if (packet->order >= tcp->recovery_end)
    grow (self, flow);
  if (flow->kind == BOTTLENECK_CUBIC)
    hystart (self, tcp, packet, rtt);
  fill (self, flow);
}

void
bottleneck_tcp_receive (Bottleneck *self,
                        BottleneckPacket *packet)
{
  BottleneckFlow *flow = packet->flow;
  Tcp *tcp = flow->model;
  BottleneckPacket *answer;

  if (packet->to == 0) {
    acknowledged (self, flow, packet);
    return;
  }
  if (packet->number >= tcp->expected)
    tcp->held[packet->number % SLOTS] = TRUE;
  while (tcp->held[tcp->expected % SLOTS]) {
    tcp->held[tcp->expected++ % SLOTS] = FALSE;
    bottleneck_delivered (self, flow, TCP_PAYLOAD);
  }
  answer = bottleneck_packet_new (self, flow, 0);
  answer->number = packet->number;
  answer->order = packet->order;
  answer->sent = packet->sent;
  answer->wire_size = 66;
  bottleneck_send (self, answer);
}

void
bottleneck_tcp_wake (Bottleneck *self,
                     BottleneckFlow *flow)
{
  Tcp *tcp = flow->model;
  gint64 now = bottleneck_now (self);

  if (tcp->in_flight > 0 && now >= tcp->last_progress + timeout (tcp)) {
    mark_lost (tcp, tcp->order);
    reduce (flow, tcp);
    tcp->window = 1;
    tcp->last_progress = now;
  } else if (tcp->next == 0)
    tcp->last_progress = now;
  fill (self, flow);
}

void
bottleneck_tcp_start (Bottleneck *self,
                      BottleneckFlow *flow)
{
  Tcp *tcp = g_new0 (Tcp, 1);

  tcp->window = INITIAL_WINDOW;
  tcp->threshold = 1e9;
  flow->model = tcp;
}

void
bottleneck_tcp_free (BottleneckFlow *flow)
{
  g_clear_pointer (&flow->model, g_free);
}
