/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bottleneck-private.h"

#include <math.h>
#include <string.h>

/* The line, its queue, what goes wrong on it, and our streams at its ends. */

#define CODEL_TARGET_NS (5 * 1000000)
#define CODEL_INTERVAL_NS (100 * 1000000)
#define CODEL_MTU 1514

typedef enum { EVENT_ARRIVE, /* a packet at its end */
               EVENT_SERVED, /* the line has sent one and takes the next */
               EVENT_WAKE,   /* a flow's timer */
} EventKind;

typedef struct
{
  gint64 time_ns;
  guint64 number;
  EventKind kind;
  guint end;
  gpointer data;
} Event;

struct _Bottleneck {
  BottleneckConfig config;
  BottleneckFlow flows[BOTTLENECK_MAX_FLOWS];
  guint n_flows;
  GRand *random;
  gint64 now_ns;
  Event *events;
  guint n_events, capacity;
  guint64 number;
  BottleneckPacket *free, *first, *last; /* the queue */
  guint64 queued;
  gboolean busy, in_burst;
  gint64 last_arrival_ns[2];
  gdouble police_tokens;
  gint64 police_at_ns;
  /* RFC 8289. */
  gint64 first_above_ns, drop_next_ns;
  guint drop_count, last_drop_count;
  gboolean dropping;
  PilotSiblings siblings[2]; /* at either end */
  BottleneckCounters counters;
};

static gboolean
is_earlier (const Event *a,
            const Event *b)
{
  return a->time_ns != b->time_ns ? a->time_ns < b->time_ns : a->number < b->number;
}

static void
push (Bottleneck *self,
      gint64 time_ns,
      EventKind kind,
      guint end,
      gpointer data)
{
  Event event = { MAX (time_ns, self->now_ns), self->number++, kind, end, data };
  guint at;

  if (self->n_events == self->capacity) {
    self->capacity = MAX (1024, self->capacity * 2);
    self->events = g_renew (Event, self->events, self->capacity);
  }
  for (at = self->n_events++; at > 0 && is_earlier (&event, &self->events[(at - 1) / 2]); at = (at - 1) / 2)
    self->events[at] = self->events[(at - 1) / 2];
  self->events[at] = event;
}

static Event
pop (Bottleneck *self)
{
  Event first = self->events[0], last = self->events[--self->n_events];
  guint at = 0;

  for (;;) {
    guint child = at * 2 + 1;

    if (child >= self->n_events)
      break;
    if (child + 1 < self->n_events && is_earlier (&self->events[child + 1], &self->events[child]))
      child++;
    if (!is_earlier (&self->events[child], &last))
      break;
    self->events[at] = self->events[child];
    at = child;
  }
  self->events[at] = last;
  return first;
}

static gdouble
draw (Bottleneck *self)
{
  return g_rand_double (self->random);
}

gint64
bottleneck_now (Bottleneck *self)
{
  return self->now_ns / 1000;
}

const BottleneckCounters *
bottleneck_counters (Bottleneck *self)
{
  return &self->counters;
}

void
bottleneck_forget_waits (Bottleneck *self)
{
  self->counters.worst_wait = 0;
  self->counters.total_wait = 0;
  self->counters.n_waits = 0;
}

/* --- packets --- */

BottleneckPacket *
bottleneck_packet_new (Bottleneck *self,
                       BottleneckFlow *flow,
                       guint to)
{
  BottleneckPacket *packet = self->free;

  if (packet != NULL)
    self->free = packet->next;
  else
    packet = g_new (BottleneckPacket, 1);
  packet->next = NULL;
  packet->flow = flow;
  packet->to = to;
  return packet;
}

static void
give_back (Bottleneck *self,
           BottleneckPacket *packet)
{
  packet->next = self->free;
  self->free = packet;
}

static void
drop (Bottleneck *self,
      BottleneckPacket *packet,
      guint64 *counter)
{
  (*counter)++;
  packet->flow->dropped_packets++;
  give_back (self, packet);
}

/* --- the line --- */

static gboolean
is_lost (Bottleneck *self)
{
  const BottleneckConfig *config = &self->config;

  if (config->loss > 0 && draw (self) < config->loss)
    return TRUE;
  if (config->burst_loss <= 0)
    return FALSE;
  /* Two states: within a burst everything is lost; its length and the share of loss give the chances of leaving and entering it. */
  if (self->in_burst)
    self->in_burst = draw (self) >= 1 / config->burst_length;
  else
    self->in_burst = draw (self) < config->burst_loss / (config->burst_length * (1 - config->burst_loss));
  return self->in_burst;
}

static gboolean
is_policed (Bottleneck *self,
            guint size)
{
  const BottleneckConfig *config = &self->config;

  if (config->police_rate == 0)
    return FALSE;
  self->police_tokens += (gdouble) (self->now_ns - self->police_at_ns) * (gdouble) config->police_rate / 1e9;
  self->police_tokens = MIN (self->police_tokens, (gdouble) config->police_burst);
  self->police_at_ns = self->now_ns;
  if (self->police_tokens < size)
    return TRUE;
  self->police_tokens -= size;
  return FALSE;
}

/* From the line, or straight away for acknowledgements: when the packet is at its end. */
static void
travel (Bottleneck *self,
        BottleneckPacket *packet)
{
  const BottleneckConfig *config = &self->config;
  gint64 arrival = self->now_ns + config->delay * 1000;
  gint64 *last = &self->last_arrival_ns[packet->to];

  if (config->jitter > 0)
    arrival += (gint64) (draw (self) * (gdouble) config->jitter * 1000);
  arrival = MAX (arrival, *last);
  if (packet->to == 1 && config->reorder > 0 && draw (self) < config->reorder)
    arrival += config->reorder_delay * 1000;
  else
    *last = arrival;
  push (self, arrival + packet->flow->extra_delay * 1000, EVENT_ARRIVE, 0, packet);
}

static BottleneckPacket *
dequeue (Bottleneck *self)
{
  BottleneckPacket *packet = self->first;

  if (packet == NULL)
    return NULL;
  self->first = packet->next;
  if (self->first == NULL)
    self->last = NULL;
  self->queued -= packet->wire_size;
  return packet;
}

/* RFC 8289 section 5.6: has the wait been above the target for a whole interval? */
static gboolean
codel_should_drop (Bottleneck *self,
                   const BottleneckPacket *packet)
{
  if (packet == NULL || self->now_ns - packet->queued_ns < CODEL_TARGET_NS || self->queued <= CODEL_MTU) {
    self->first_above_ns = 0;
    return FALSE;
  }
  if (self->first_above_ns == 0) {
    self->first_above_ns = self->now_ns + CODEL_INTERVAL_NS;
    return FALSE;
  }
  return self->now_ns >= self->first_above_ns;
}

static gint64
codel_law (gint64 time_ns,
           guint count)
{
  return time_ns + (gint64) (CODEL_INTERVAL_NS / sqrt (count));
}

static BottleneckPacket *
codel_dequeue (Bottleneck *self)
{
  BottleneckPacket *packet = dequeue (self);
  gboolean should = codel_should_drop (self, packet);

  if (self->dropping) {
    if (!should)
      self->dropping = FALSE;
    while (self->dropping && self->now_ns >= self->drop_next_ns) {
      drop (self, packet, &self->counters.dropped_codel);
      self->drop_count++;
      packet = dequeue (self);
      if (!codel_should_drop (self, packet))
        self->dropping = FALSE;
      else
        self->drop_next_ns = codel_law (self->drop_next_ns, self->drop_count);
    }
  } else if (should) {
    guint delta = self->drop_count - self->last_drop_count;

    drop (self, packet, &self->counters.dropped_codel);
    packet = dequeue (self);
    codel_should_drop (self, packet);
    self->dropping = TRUE;
    self->drop_count = delta > 1 && self->now_ns - self->drop_next_ns < 16 * (gint64) CODEL_INTERVAL_NS ? delta : 1;
    self->drop_next_ns = codel_law (self->now_ns, self->drop_count);
    self->last_drop_count = self->drop_count;
  }
  return packet;
}

static void
serve (Bottleneck *self)
{
  BottleneckPacket *packet = self->config.codel ? codel_dequeue (self) : dequeue (self);
  gint64 wait;

  self->busy = packet != NULL;
  if (packet == NULL)
    return;
  wait = (self->now_ns - packet->queued_ns) / 1000;
  self->counters.worst_wait = MAX (self->counters.worst_wait, wait);
  self->counters.total_wait += (gdouble) wait;
  self->counters.n_waits++;
  push (self, self->now_ns + packet->wire_size * G_GINT64_CONSTANT (1000000000) / (gint64) self->config.rate, EVENT_SERVED, 0, packet);
}

void
bottleneck_send (Bottleneck *self,
                 BottleneckPacket *packet)
{
  if (packet->to == 0) {
    travel (self, packet);
    return;
  }
  packet->flow->sent_packets++;
  if (is_lost (self)) {
    drop (self, packet, &self->counters.dropped_loss);
    return;
  }
  if (is_policed (self, packet->wire_size)) {
    drop (self, packet, &self->counters.dropped_police);
    return;
  }
  if (self->queued + packet->wire_size > self->config.queue) {
    drop (self, packet, &self->counters.dropped_tail);
    return;
  }
  packet->queued_ns = self->now_ns;
  if (self->last != NULL)
    self->last->next = packet;
  else
    self->first = packet;
  self->last = packet;
  self->queued += packet->wire_size;
  if (!self->busy)
    serve (self);
}

/* --- our streams --- */

static guint
segment_size (const BottleneckConfig *config)
{
  if (config->mss > 0)
    return config->mss;
  return config->plain ? 1152 : BOTTLENECK_FRAME - BOTTLENECK_OVERHEAD;
}

static guint
overhead (const BottleneckConfig *config)
{
  return config->plain ? BOTTLENECK_PLAIN_OVERHEAD : BOTTLENECK_OVERHEAD;
}

static void
on_hook (PilotStream *stream,
         gpointer overlay)
{
  /* Every turn asks for output, deadline and readiness by itself. */
}

static void
on_finished (PilotStream *stream,
             gint64 now,
             gpointer overlay)
{
}

static PilotSiblings *
on_siblings_asked (PilotStream *stream,
                   gpointer overlay)
{
  BottleneckFlow *flow = overlay;

  return &flow->line->siblings[stream == flow->streams[1]];
}

static const PilotStreamHooks hooks = { .changed = on_hook, .ready = on_hook, .finished = on_finished };
static const PilotStreamHooks sibling_hooks = { .changed = on_hook, .ready = on_hook, .finished = on_finished, .siblings = on_siblings_asked };

static void
launch (Bottleneck *self,
        BottleneckFlow *flow,
        guint end,
        const PilotStreamSegment *segment)
{
  BottleneckPacket *packet = bottleneck_packet_new (self, flow, !end);
  gsize at = 0;

  packet->packet = (PilotPacket){
    .flags = segment->flags,
    .protocol = PILOT_PROTOCOL_STREAM,
    .seq = segment->seq,
    .ack = segment->ack,
    .window = segment->window,
    .payload_length = segment->payload_length,
    .payload = packet->data,
  };
  for (guint i = 0; i < segment->n_payload; i++) {
    memcpy (packet->data + at, segment->payload[i].iov_base, segment->payload[i].iov_len);
    at += segment->payload[i].iov_len;
  }
  packet->wire_size = segment->payload_length + overhead (&self->config);
  bottleneck_send (self, packet);
}

static void
write_some (Bottleneck *self,
            BottleneckFlow *flow)
{
  PilotStream *stream = flow->streams[0];
  guint64 left = flow->bytes > 0 ? flow->bytes - flow->written : G_MAXUINT64;
  struct iovec vectors[2];
  guint n;

  if (pilot_stream_get_state (stream) != PILOT_STREAM_STATE_ESTABLISHED)
    return;
  while (left > 0 && (n = pilot_stream_write_vectors (stream, vectors)) > 0) {
    guint64 total = 0;

    /* Zeros: what looks like SACK would be split, and what stands in fresh memory is not the same twice. */
    for (guint i = 0; i < n; i++) {
      memset (vectors[i].iov_base, 0, vectors[i].iov_len);
      total += vectors[i].iov_len;
    }
    total = MIN (total, left);
    pilot_stream_write_commit (stream, total, bottleneck_now (self));
    flow->written += total;
    left -= total;
  }
}

static void
read_some (Bottleneck *self,
           BottleneckFlow *flow)
{
  struct iovec vectors[2];
  guint n;

  while ((n = pilot_stream_read_vectors (flow->streams[1], vectors)) > 0) {
    gsize total = 0;

    for (guint i = 0; i < n; i++)
      total += vectors[i].iov_len;
    bottleneck_delivered (self, flow, total);
    pilot_stream_read_consume (flow->streams[1], total, bottleneck_now (self));
  }
}

static void
turn (Bottleneck *self,
      BottleneckFlow *flow,
      guint end)
{
  guint mss = segment_size (&self->config);
  gint64 now = bottleneck_now (self);
  PilotStreamSegment segment;

  if (pilot_stream_deadline (flow->streams[end]) <= now)
    pilot_stream_advance (flow->streams[end], now);
  pilot_stream_take_ready (flow->streams[end]);
  if (end == 0)
    write_some (self, flow);
  else
    read_some (self, flow);
  while (pilot_stream_output (flow->streams[end], &segment, mss, now))
    launch (self, flow, end, &segment);
  bottleneck_wake (self, flow, end, MAX (pilot_stream_deadline (flow->streams[end]), now + 1));
}

static void
receive (Bottleneck *self,
         BottleneckPacket *packet)
{
  BottleneckFlow *flow = packet->flow;
  guint end = packet->to;
  gint64 now = bottleneck_now (self);

  if (packet->packet.flags == PILOT_PACKET_SYN &&
      pilot_stream_get_state (flow->streams[1]) == PILOT_STREAM_STATE_SYN_RECEIVED) {
    pilot_stream_input_syn (flow->streams[1], &packet->packet, now);
    pilot_stream_accept (flow->streams[1], now);
  } else {
    pilot_siblings_spoke (&self->siblings[end], flow->streams[end], now);
    pilot_stream_input (flow->streams[end], &packet->packet, now);
  }
  turn (self, flow, end);
}

static void
start_stream (Bottleneck *self,
              BottleneckFlow *flow)
{
  for (guint end = 0; end < 2; end++) {
    PilotStreamConfig config = {
      .id = end + 1,
      .initiator = end == 0,
      .extensions = !self->config.plain,
      .local = { 0, end + 1 },
      .remote = { 0, 2 - end },
      .initial_sequence = 0xfffff000u + end,
      .congestion = self->config.congestion,
      .hooks = self->config.siblings ? &sibling_hooks : &hooks,
      .overlay = flow,
    };

    flow->streams[end] = pilot_stream_new (&config, bottleneck_now (self));
  }
  pilot_stream_tunnel_ready (flow->streams[0], bottleneck_now (self));
  turn (self, flow, 0);
}

/* --- flows --- */

void
bottleneck_wake (Bottleneck *self,
                 BottleneckFlow *flow,
                 guint end,
                 gint64 time)
{
  if (time == G_MAXINT64 || time >= flow->wake_at[end])
    return;
  flow->wake_at[end] = time;
  push (self, time * 1000, EVENT_WAKE, end, flow);
}

static void
wake (Bottleneck *self,
      BottleneckFlow *flow,
      guint end)
{
  if (flow->wake_at[end] > bottleneck_now (self))
    return;
  flow->wake_at[end] = G_MAXINT64;
  if (flow->kind != BOTTLENECK_STREAM)
    bottleneck_tcp_wake (self, flow);
  else if (flow->streams[0] == NULL)
    start_stream (self, flow);
  else
    turn (self, flow, end);
}

void
bottleneck_delivered (Bottleneck *self,
                      BottleneckFlow *flow,
                      guint64 bytes)
{
  gint64 step = bottleneck_now (self) / BOTTLENECK_STEP;

  flow->delivered += bytes;
  if (step < BOTTLENECK_STEPS)
    flow->steps[step] += bytes;
  if (flow->bytes > 0 && flow->delivered >= flow->bytes && flow->finished_at < 0)
    flow->finished_at = bottleneck_now (self);
}

BottleneckFlow *
bottleneck_add (Bottleneck *self,
                BottleneckKind kind,
                gint64 start,
                guint64 bytes)
{
  BottleneckFlow *flow = &self->flows[self->n_flows++];

  g_assert_cmpuint (self->n_flows, <=, BOTTLENECK_MAX_FLOWS);
  *flow = (BottleneckFlow) { .line = self, .kind = kind, .start = start, .bytes = bytes, .finished_at = -1, .wake_at = { G_MAXINT64, G_MAXINT64 } };
  if (kind != BOTTLENECK_STREAM)
    bottleneck_tcp_start (self, flow);
  bottleneck_wake (self, flow, 0, start);
  return flow;
}

Bottleneck *
bottleneck_new (const BottleneckConfig *config,
                guint32 seed)
{
  Bottleneck *self = g_new0 (Bottleneck, 1);

  self->config = *config;
  self->random = g_rand_new_with_seed (seed);
  self->police_tokens = (gdouble) config->police_burst;
  return self;
}

static void
free_list (BottleneckPacket *packet)
{
  while (packet != NULL) {
    BottleneckPacket *next = packet->next;

    g_free (packet);
    packet = next;
  }
}

void
bottleneck_free (Bottleneck *self)
{
  for (guint i = 0; i < self->n_events; i++)
    if (self->events[i].kind != EVENT_WAKE)
      g_free (self->events[i].data);
  free_list (self->first);
  free_list (self->free);
  for (guint i = 0; i < self->n_flows; i++) {
    for (guint end = 0; end < 2; end++)
      g_clear_pointer (&self->flows[i].streams[end], pilot_stream_free);
    bottleneck_tcp_free (&self->flows[i]);
  }
  g_rand_free (self->random);
  g_free (self->events);
  g_free (self);
}

static gboolean
is_over (Bottleneck *self)
{
  for (guint i = 0; i < self->n_flows; i++)
    if (self->flows[i].bytes == 0 || self->flows[i].finished_at < 0)
      return FALSE;
  return TRUE;
}

static void
handle (Bottleneck *self,
        const Event *event)
{
  BottleneckPacket *packet = event->data;

  switch (event->kind) {
  case EVENT_WAKE:
    wake (self, event->data, event->end);
    return;
  case EVENT_SERVED:
    travel (self, packet);
    serve (self);
    return;
  case EVENT_ARRIVE:
    if (packet->flow->kind == BOTTLENECK_STREAM)
      receive (self, packet);
    else
      bottleneck_tcp_receive (self, packet);
    give_back (self, packet);
    return;
  }
}

void
bottleneck_run (Bottleneck *self,
                gint64 until)
{
  while (self->n_events > 0 && self->events[0].time_ns <= until * 1000 && !is_over (self)) {
    Event event = pop (self);

    self->now_ns = event.time_ns;
    handle (self, &event);
  }
  if (!is_over (self))
    self->now_ns = until * 1000;
  for (guint i = 0; i < self->n_flows; i++)
    if (self->flows[i].streams[0] != NULL) {
      PilotStreamInfo info;

      pilot_stream_info (self->flows[i].streams[0], &info);
      self->flows[i].window = info.congestion_window;
    }
}

gdouble
bottleneck_rate (const BottleneckFlow *flow,
                 gint64 from,
                 gint64 to)
{
  guint64 sum = 0;

  for (gint64 step = from / BOTTLENECK_STEP; step < MIN (to / BOTTLENECK_STEP, BOTTLENECK_STEPS); step++)
    sum += flow->steps[step];
  return (gdouble) sum * BOTTLENECK_SECOND / (gdouble) (to - from);
}

gdouble
bottleneck_capacity (const BottleneckConfig *config)
{
  guint mss = segment_size (config);

  return (gdouble) config->rate * mss / (mss + overhead (config));
}
