/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/stream-wire.h"

#include <string.h>

typedef struct {
  gint64 due;
  guint64 number;
  WirePacket packet;
} WireEvent;

static void
on_changed (PilotStream *stream,
            gpointer overlay)
{
  ((WireEnd *) overlay)->changed++;
}

static void
on_ready (PilotStream *stream,
          gpointer overlay)
{
}

static void
on_finished (PilotStream *stream,
             gint64 now,
             gpointer overlay)
{
  g_assert_false (((WireEnd *) overlay)->finished);
  ((WireEnd *) overlay)->finished = TRUE;
}

static gint64
on_heard_asked (PilotStream *stream,
                gpointer overlay)
{
  return ((WireEnd *) overlay)->heard;
}

static const PilotStreamHooks hooks = { on_changed, on_ready, on_finished, on_heard_asked };

Wire *
wire_new (const WireConfig *config,
          guint32 seed)
{
  Wire *wire = g_new0 (Wire, 1);

  wire->config = *config;
  wire->rand = g_rand_new_with_seed (seed);
  wire->now = 1000000;
  for (guint i = 0; i < 2; i++) {
    wire->ends[i].flight = g_ptr_array_new_with_free_func (g_free);
    g_queue_init (&wire->ends[i].inbox);
  }
  return wire;
}

void
wire_free (Wire *wire)
{
  for (guint i = 0; i < 2; i++) {
    g_clear_pointer (&wire->ends[i].stream, pilot_stream_free);
    g_ptr_array_unref (wire->ends[i].flight);
    g_queue_clear_full (&wire->ends[i].inbox, g_free);
  }
  g_rand_free (wire->rand);
  g_free (wire);
}

PilotStream *
wire_open (Wire *wire,
           guint end,
           gboolean own,
           gsize buffer)
{
  PilotStreamConfig config = {
    .id = end + 1,
    .local = { 0, end + 1 },
    .remote = { 0, 2 - end },
    .local_port = end == 0 ? 49152 : 80,
    .remote_port = end == 0 ? 80 : 49152,
    .initiator = end == 0,
    .initial_sequence = end == 0 ? 0xfffffff0u : 77,
    .extensions = own,
    .receive_window_max = buffer,
    .send_buffer_max = buffer,
    .hooks = &hooks,
    .overlay = &wire->ends[end],
  };

  wire->ends[end].stream = pilot_stream_new (&config, wire->now);
  if (end == 0)
    pilot_stream_tunnel_ready (wire->ends[end].stream, wire->now);
  return wire->ends[end].stream;
}

static void
fill (WirePacket *packet,
      const PilotStreamSegment *segment)
{
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
  g_assert_cmpuint (at, ==, segment->payload_length);
}

static void
launch (Wire *wire,
        guint from,
        const WirePacket *packet)
{
  WireEnd *end = &wire->ends[from], *to = &wire->ends[!from];
  gint64 leave = wire->now;
  gsize size = packet->packet.payload_length + 70;
  guint copies = 1;

  end->sent++;
  if (wire->config.rate > 0) {
    gint64 start = MAX (end->wire_free, wire->now * 1000);

    if (wire->config.queue > 0 && (guint64) (start / 1000 - wire->now) * wire->config.rate / 1000000 > wire->config.queue) {
      end->dropped++;
      return;
    }
    end->wire_free = start + (gint64) (size * 1000000000u / wire->config.rate);
    leave = end->wire_free / 1000;
  }
  if (wire->config.cut || g_rand_double (wire->rand) < wire->config.loss) {
    end->dropped++;
    return;
  }
  if (wire->config.duplicate > 0 && g_rand_double (wire->rand) < wire->config.duplicate)
    copies = 2;
  for (guint i = 0; i < copies; i++) {
    WireEvent *event = g_new (WireEvent, 1);
    guint at;

    event->due = leave + wire->config.delay;
    if (wire->config.jitter > 0)
      event->due += g_rand_int_range (wire->rand, 0, (gint32) wire->config.jitter);
    event->packet = *packet;
    event->packet.packet.payload = event->packet.data;
    for (at = to->flight->len; at > 0 && ((WireEvent *) to->flight->pdata[at - 1])->due > event->due; at--)
      ;
    g_ptr_array_insert (to->flight, (gint) at, event);
  }
}

/* A restful copy of a packet's data that the sanitizer watches the edges of. */
static void
hand_over (Wire *wire,
           guint end,
           const PilotPacket *packet)
{
  PilotPacket copy = *packet;
  g_autofree guint8 *data = g_memdup2 (packet->payload, packet->payload_length);

  copy.payload = data;
  if (end == 1 && wire->ends[1].stream != NULL && copy.flags == PILOT_PACKET_SYN &&
      pilot_stream_get_state (wire->ends[1].stream) == PILOT_STREAM_STATE_SYN_RECEIVED) {
    pilot_stream_input_syn (wire->ends[1].stream, &copy, wire->now);
    pilot_stream_accept (wire->ends[1].stream, wire->now);
  } else if (wire->ends[end].stream != NULL)
    pilot_stream_input (wire->ends[end].stream, &copy, wire->now);
}

WirePacket *
wire_take (Wire *wire,
           guint end)
{
  PilotStreamSegment segment;
  WirePacket *packet;

  if (!pilot_stream_output (wire->ends[end].stream, &segment, 1152, wire->now))
    return NULL;
  packet = g_new (WirePacket, 1);
  fill (packet, &segment);
  return packet;
}

void
wire_put (Wire *wire,
          guint end,
          guint8 flags,
          guint32 seq,
          guint32 ack,
          guint16 window,
          const void *data,
          gsize length)
{
  PilotPacket packet = { .flags = flags, .protocol = PILOT_PROTOCOL_STREAM, .seq = seq, .ack = ack, .window = window, .payload = data, .payload_length = length };

  hand_over (wire, end, &packet);
}

gint64
wire_tick (Wire *wire,
           guint end,
           gint64 until)
{
  gint64 deadline = pilot_stream_deadline (wire->ends[end].stream);

  wire->now = MAX (wire->now, MIN (deadline, until));
  pilot_stream_advance (wire->ends[end].stream, wire->now);
  return wire->now;
}

static gboolean
turn (Wire *wire,
      guint end)
{
  WireEnd *self = &wire->ends[end];
  PilotStreamSegment segment;
  gboolean did = FALSE;

  while (self->flight->len > 0 && ((WireEvent *) self->flight->pdata[0])->due <= wire->now) {
    WireEvent *event = g_ptr_array_steal_index (self->flight, 0);

    hand_over (wire, end, &event->packet.packet);
    g_free (event);
  }
  if (self->stream == NULL)
    return FALSE;
  if (pilot_stream_deadline (self->stream) <= wire->now)
    pilot_stream_advance (self->stream, wire->now);
  self->ready |= pilot_stream_take_ready (self->stream);
  if (self->on_turn != NULL)
    self->on_turn (self->user_data, wire->now);
  while (pilot_stream_output (self->stream, &segment, 1152, wire->now)) {
    WirePacket packet;

    fill (&packet, &segment);
    launch (wire, end, &packet);
    did = TRUE;
  }
  return did;
}

gboolean
wire_run (Wire *wire,
          gint64 until,
          gboolean (*done) (gpointer user_data),
          gpointer user_data)
{
  while (wire->now <= until) {
    gint64 next = G_MAXINT64;

    turn (wire, 0);
    turn (wire, 1);
    if (done != NULL && done (user_data))
      return TRUE;
    for (guint i = 0; i < 2; i++) {
      if (wire->ends[i].flight->len > 0)
        next = MIN (next, ((WireEvent *) wire->ends[i].flight->pdata[0])->due);
      if (wire->ends[i].stream != NULL)
        next = MIN (next, pilot_stream_deadline (wire->ends[i].stream));
    }
    if (next == G_MAXINT64 || next > until) {
      wire->now = until;
      break;
    }
    wire->now = MAX (next, wire->now + 1);
  }
  return done != NULL && done (user_data);
}
