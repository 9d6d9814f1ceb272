/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>

#include "protocol/bytes.h"
#include "protocol/identity.h"
#include "protocol/overlay.h"

/*
 * engine bulk MEGABYTES LOSS_PER_MILLE | engine idle STREAMS ROUND_TRIPS
 *
 * Two engines, joined by a line of a millisecond each way in virtual time, for instructions.py to count the instructions of. Only what
 * happens within measured() counts; what is of this file itself does not.
 */

#define STEP 1000
#define N_ITEMS 8
#define PORT 80
#define MESSAGE 64
/* Ethernet's 1500 less IPv4 and UDP. */
#define DATAGRAM_MAX 1472

typedef struct
{
  PilotEndpoint from;
  gsize length, segment_size;
  guint8 data[PILOT_TRANSMIT_CAPACITY];
} Datagram;

typedef struct
{
  PilotOverlay *overlay;
  PilotEndpoint endpoint;
  PilotIdentity identity;
  guint32 node;
  guint64 random;
  GPtrArray *inbox, *next; /* Datagram: now, and in the next step */
} Node;

typedef struct
{
  Node nodes[2];
  gint64 now;
  guint loss; /* per mille */
  guint64 random;
  GPtrArray *spare;
  guint64 to_write, written, read, n_open, n_accepted;
  PilotStream *client, *server; /* the pair that carries data: the newest */
  gboolean echo;
  guint n_round_trips;
} Line;

static guint64
draw (guint64 *state)
{
  guint64 z = *state += 0x9e3779b97f4a7c15u;

  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  return z ^ z >> 27;
}

static void
on_random (guint8 *out,
           gsize length,
           gpointer user_data)
{
  for (gsize i = 0; i < length; i++)
    out[i] = (guint8) (draw (&((Node *) user_data)->random) >> 32);
}

static PilotAdmit
on_admit (guint32 node,
          guint16 port,
          gpointer user_data)
{
  return PILOT_ADMIT_ACCEPT;
}

static Datagram *
copy (Line *line,
      const PilotEndpoint *from,
      const guint8 *data,
      gsize length,
      gsize segment_size)
{
  Datagram *datagram = line->spare->len > 0 ? g_ptr_array_steal_index_fast (line->spare, line->spare->len - 1) : g_new (Datagram, 1);

  datagram->from = *from;
  datagram->length = length;
  datagram->segment_size = segment_size;
  memcpy (datagram->data, data, length);
  return datagram;
}

/* A batch as it is, or its segments one by one where some are lost. */
static void
carry (Line *line,
       Node *from,
       Node *to,
       const PilotTransmit *item)
{
  gsize step = item->segment_size == 0 ? item->length : item->segment_size;

  if (step > DATAGRAM_MAX)
    return;
  if (line->loss == 0) {
    g_ptr_array_add (to->next, copy (line, &from->endpoint, item->data, item->length, item->segment_size));
    return;
  }
  for (gsize at = 0; at < item->length; at += step)
    if (draw (&line->random) % 1000 >= line->loss)
      g_ptr_array_add (to->next, copy (line, &from->endpoint, item->data + at, MIN (step, item->length - at), 0));
}

static void
write_bulk (Line *line)
{
  struct iovec vectors[2];
  guint n;

  while (line->written < line->to_write && (n = pilot_stream_write_vectors (line->client, vectors)) > 0) {
    guint64 total = 0;

    for (guint i = 0; i < n; i++) {
      memset (vectors[i].iov_base, 0, vectors[i].iov_len);
      total += vectors[i].iov_len;
    }
    total = MIN (total, line->to_write - line->written);
    pilot_stream_write_commit (line->client, total, line->now);
    line->written += total;
  }
}

static gsize
drain (Line *line,
       PilotStream *stream)
{
  struct iovec vectors[2];
  gsize all = 0;
  guint n;

  while ((n = pilot_stream_read_vectors (stream, vectors)) > 0) {
    gsize total = 0;

    for (guint i = 0; i < n; i++)
      total += vectors[i].iov_len;
    pilot_stream_read_consume (stream, total, line->now);
    all += total;
  }
  return all;
}

static void
stream_event (Line *line,
              PilotStream *stream,
              guint ready)
{
  static const guint8 message[MESSAGE];
  gsize got;

  if ((ready & PILOT_STREAM_READY_OPEN) != 0)
    line->n_open++;
  if (stream != line->client && stream != line->server)
    return;
  got = drain (line, stream);
  if (stream == line->server)
    line->read += got;
  if (line->echo && got > 0) {
    line->n_round_trips += stream == line->client;
    pilot_stream_write (stream, message, sizeof message, line->now);
  } else if (stream == line->client)
    write_bulk (line);
}

static void
handle (Line *line,
        Node *node,
        const PilotEvent *event)
{
  Node *other = &line->nodes[node == &line->nodes[0]];

  switch (event->type) {
  case PILOT_EVENT_NEED_KEY:
    pilot_overlay_peer_key (node->overlay, event->node, other->identity.public_key, line->now);
    break;
  case PILOT_EVENT_NEED_ENDPOINTS:
    pilot_overlay_peer_endpoints (node->overlay, event->node, &other->endpoint, 1, FALSE, line->now);
    break;
  case PILOT_EVENT_STREAM_INCOMING:
    line->server = event->stream;
    line->n_accepted++;
    pilot_stream_accept (event->stream, line->now);
    break;
  case PILOT_EVENT_STREAM:
    stream_event (line, event->stream, event->ready);
    break;
  default:
    break;
  }
}

static void
turn (Line *line,
      guint index,
      guint8 *buffers)
{
  Node *node = &line->nodes[index], *other = &line->nodes[!index];
  PilotTransmit items[N_ITEMS];
  PilotEvent event;
  guint n;

  for (guint i = 0; i < node->inbox->len; i++) {
    Datagram *datagram = node->inbox->pdata[i];
    PilotReceivedDatagram item = { .from = datagram->from, .data = datagram->data, .length = datagram->length, .segment_size = datagram->segment_size };

    pilot_overlay_receive (node->overlay, &item, 1, line->now);
    g_ptr_array_add (line->spare, datagram);
  }
  g_ptr_array_set_size (node->inbox, 0);
  if (pilot_overlay_deadline (node->overlay) <= line->now)
    pilot_overlay_advance (node->overlay, line->now);
  do {
    while (pilot_overlay_next_event (node->overlay, &event))
      handle (line, node, &event);
    for (guint i = 0; i < N_ITEMS; i++)
      items[i] = (PilotTransmit) { .data = buffers + (gsize) i * PILOT_TRANSMIT_CAPACITY, .capacity = PILOT_TRANSMIT_CAPACITY };
    n = pilot_overlay_transmit (node->overlay, items, N_ITEMS, line->now);
    for (guint i = 0; i < n; i++)
      carry (line, node, other, &items[i]);
  } while (n > 0);
}

static void
step (Line *line)
{
  static guint8 buffers[N_ITEMS * PILOT_TRANSMIT_CAPACITY];

  line->now += STEP;
  for (guint i = 0; i < 2; i++) {
    GPtrArray *swap = line->nodes[i].inbox;

    line->nodes[i].inbox = line->nodes[i].next;
    line->nodes[i].next = swap;
  }
  turn (line, 0, buffers);
  turn (line, 1, buffers);
}

static void
start (Line *line)
{
  line->now = 1000000;
  line->random = 99;
  line->spare = g_ptr_array_new_with_free_func (g_free);
  for (guint i = 0; i < 2; i++) {
    Node *node = &line->nodes[i];
    PilotOverlayConfig config = { .node_id = i + 1, .extensions = TRUE };
    PilotOverlayHost host = { on_random, on_admit, node };

    node->node = i + 1;
    node->random = i + 1;
    on_random (config.ed25519_seed, sizeof config.ed25519_seed, node);
    pilot_identity_init (&node->identity, config.ed25519_seed);
    node->endpoint = (PilotEndpoint) { .family = PILOT_ENDPOINT_IPV4, .port = 4000 };
    pilot_bytes_put_u32 (node->endpoint.address, 0x2c000001 + i);
    node->inbox = g_ptr_array_new ();
    node->next = g_ptr_array_new ();
    node->overlay = pilot_overlay_new (&config, &host, line->now);
  }
  for (guint i = 0; i < 2; i++)
    pilot_overlay_set_trusted (line->nodes[i].overlay, 2 - i, TRUE, line->nodes[!i].identity.public_key, line->now);
}

static void
stop (Line *line)
{
  for (guint i = 0; i < 2; i++) {
    pilot_overlay_free (line->nodes[i].overlay);
    g_ptr_array_extend_and_steal (line->spare, line->nodes[i].inbox);
    g_ptr_array_extend_and_steal (line->spare, line->nodes[i].next);
  }
  g_ptr_array_unref (line->spare);
}

static void
open_one (Line *line)
{
  const PilotAddress remote = { 0, 2 };
  guint64 wanted = line->n_open + 1;

  line->client = pilot_overlay_connect (line->nodes[0].overlay, &remote, PORT, line->now);
  if (line->client == NULL)
    g_error ("no stream after %" G_GUINT64_FORMAT, line->n_open);
  for (guint i = 0; line->n_open < wanted || line->n_accepted < wanted; i++) {
    if (i > 60000)
      g_error ("stream %" G_GUINT64_FORMAT " does not open", wanted);
    step (line);
  }
}

/* Named to valgrind: counting is on while it runs. */
static __attribute__ ((noinline)) void
measured (Line *line,
          guint64 bytes,
          guint round_trips)
{
  for (guint i = 0; line->read < bytes || line->n_round_trips < round_trips; i++) {
    if (i > 600000)
      g_error ("stalled with %" G_GUINT64_FORMAT " bytes read", line->read);
    step (line);
  }
}

static void
bulk (Line *line,
      guint megabytes)
{
  open_one (line);
  line->to_write = (guint64) megabytes * 1000000;
  write_bulk (line);
  measured (line, line->to_write, 0);
}

static void
idle (Line *line,
      guint n,
      guint round_trips)
{
  static const guint8 message[MESSAGE];

  for (guint i = 0; i < n; i++)
    open_one (line);
  /* What opening left behind is over: buffers given back, timers far away. */
  for (guint i = 0; i < 5000; i++)
    step (line);
  line->echo = TRUE;
  pilot_stream_write (line->client, message, sizeof message, line->now);
  measured (line, 0, round_trips);
}

int
main (int argc,
      char *argv[])
{
  Line line = { 0 };

  if (argc != 4)
    g_error ("usage: engine bulk MEGABYTES LOSS_PER_MILLE | engine idle STREAMS ROUND_TRIPS");
  start (&line);
  if (g_str_equal (argv[1], "bulk")) {
    line.loss = (guint) atoi (argv[3]);
    bulk (&line, (guint) atoi (argv[2]));
  } else
    idle (&line, (guint) atoi (argv[2]), (guint) atoi (argv[3]));
  stop (&line);
  return 0;
}
