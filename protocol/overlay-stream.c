/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "overlay-private.h"

#include <string.h>

/* How streams are found, made, given ports, admitted and ended. */

#define MIN_BUCKETS 64
#define PORT_FIRST PILOT_PORT_EPHEMERAL_FIRST
#define PORT_FIRST_OWN 1024
#define PORT_BLOCK 64
#define PORT_BLOCKS ((65536 - PORT_FIRST) / PORT_BLOCK)
/* Nobody may see a source port again before a reference node has forgotten the connection it belonged to. */
#define PORT_REST (30 * PILOT_SECOND)
#define DIAL_WAIT (15 * PILOT_SECOND)
/* All of a dial, resolve and key exchange included. */
#define DIAL_LIMIT (17500 * PILOT_MS)
/* A dial that the host gives up after so long without a sign of life tells of the peer; an earlier end may only tell of an impatient host. */
#define UNANSWERED (4 * PILOT_SECOND)
#define DISCOVER_BEFORE_DIAL (5 * PILOT_SECOND)
#define DEAD_WAIT (5 * PILOT_SECOND)
/* SYN tokens (streams.md section 7.2). */
#define SYN_INTERVAL (100 * PILOT_MS)
#define SYN_BURST 64
/* A little less than what a Go peer takes. Whoever had to wait longer takes no turn and waits for the end of his dial, unless the peer proves to be
 * of our kind. */
#define SYN_SENT_INTERVAL (110 * PILOT_MS)
#define SYN_SENT_BURST 60
#define SYN_SENT_PATIENCE (15 * PILOT_SECOND)
#define STRANGER_SYN_INTERVAL (10 * PILOT_MS)
#define STRANGER_SYN_BURST 100

static guint
hash (PilotOverlay *self,
      guint16 local_port,
      PilotAddress remote,
      guint16 remote_port)
{
  guint64 value = ((guint64) remote.node << 32 | (guint64) local_port << 16 | remote_port) ^ self->hash_secret;

  value = (value ^ remote.network) * 0xff51afd7ed558ccdu;
  value ^= value >> 33;
  value = (value ^ self->hash_secret) * 0xc4ceb9fe1a85ec53u;
  return (guint) (value >> 32);
}

static PilotStream **
bucket (PilotOverlay *self,
        guint16 local_port,
        PilotAddress remote,
        guint16 remote_port)
{
  return &self->buckets[hash (self, local_port, remote, remote_port) & (self->n_buckets - 1)];
}

static PilotStream *
lookup (PilotOverlay *self,
        guint16 local_port,
        PilotAddress remote,
        guint16 remote_port)
{
  for (PilotStream *stream = *bucket (self, local_port, remote, remote_port); stream != NULL;
       stream = pilot_stream_links (stream)->hash_next) {
    PilotStreamLinks *links = pilot_stream_links (stream);

    if (links->local_port == local_port && links->remote_port == remote_port &&
        links->remote.node == remote.node && links->remote.network == remote.network)
      return stream;
  }
  return NULL;
}

static void
insert (PilotOverlay *self,
        PilotStream *stream)
{
  PilotStreamLinks *links = pilot_stream_links (stream);
  PilotStream **head = bucket (self, links->local_port, links->remote, links->remote_port);

  links->hash_next = *head;
  *head = stream;
}

static void
resize (PilotOverlay *self,
        guint n_buckets)
{
  PilotStream **old = self->buckets;
  guint n_old = self->n_buckets;

  self->buckets = g_new0 (PilotStream *, n_buckets);
  self->n_buckets = n_buckets;
  for (guint i = 0; i < n_old; i++)
    for (PilotStream *stream = old[i], *next; stream != NULL; stream = next) {
      next = pilot_stream_links (stream)->hash_next;
      insert (self, stream);
    }
  g_free (old);
}

void
pilot_overlay_streams_init (PilotOverlay *self)
{
  resize (self, MIN_BUCKETS);
}

/* The host has answered, or there is nothing left to answer. */
static void
leave_incoming (PilotOverlay *self,
                PilotStreamLinks *links)
{
  PilotPeer *peer = links->peer;

  if (!links->incoming)
    return;
  links->incoming = FALSE;
  self->n_incoming--;
  peer->n_incoming--;
}

/* From here on no packet finds it. Its user may hold it on. */
static void
unlink_stream (PilotOverlay *self,
               PilotStream *stream)
{
  PilotStreamLinks *links = pilot_stream_links (stream);
  PilotPeer *peer = links->peer;

  if (links->hash_linked) {
    PilotStream **at = bucket (self, links->local_port, links->remote, links->remote_port);

    while (*at != stream)
      at = &pilot_stream_links (*at)->hash_next;
    *at = links->hash_next;
    links->hash_linked = FALSE;
    self->n_linked--;
  }
  if (peer == NULL)
    return;
  leave_incoming (self, links);
  if (links->peer_prev != NULL)
    pilot_stream_links (links->peer_prev)->peer_next = links->peer_next;
  else
    peer->streams = links->peer_next;
  if (links->peer_next != NULL)
    pilot_stream_links (links->peer_next)->peer_prev = links->peer_prev;
  peer->n_streams--;
  if (peer->port_blocks != NULL && links->local_port >= PORT_FIRST)
    peer->port_blocks[(links->local_port - PORT_FIRST) / PORT_BLOCK] = self->now;
  links->peer = NULL;
}

static void
free_stream (PilotOverlay *self,
             PilotStream *stream)
{
  PilotStreamLinks *links = pilot_stream_links (stream);

  unlink_stream (self, stream);
  pilot_overlay_drop_stream_event (self, stream);
  pilot_turn_order_leave (&self->turns, stream);
  pilot_timer_heap_remove (&self->timers, &links->timer_index);
  if (links->all_prev != NULL)
    pilot_stream_links (links->all_prev)->all_next = links->all_next;
  else
    self->all_streams = links->all_next;
  if (links->all_next != NULL)
    pilot_stream_links (links->all_next)->all_prev = links->all_prev;
  self->n_streams--;
  pilot_stream_free (stream);
}

void
pilot_overlay_reap_streams (PilotOverlay *self)
{
  while (self->finished != NULL) {
    PilotStream *stream = self->finished;

    self->finished = pilot_stream_links (stream)->finished_next;
    free_stream (self, stream);
  }
}

/* All that still exist, whoever holds them: the engine goes away. */
void
pilot_overlay_streams_clear (PilotOverlay *self)
{
  pilot_overlay_reap_streams (self);
  while (self->all_streams != NULL)
    free_stream (self, self->all_streams);
  g_clear_pointer (&self->buckets, g_free);
}

static void
on_changed (PilotStream *stream,
            gpointer overlay)
{
  PilotOverlay *self = overlay;
  PilotStreamLinks *links = pilot_stream_links (stream);

  if (pilot_stream_get_state (stream) != PILOT_STREAM_STATE_SYN_RECEIVED)
    leave_incoming (self, links);
  pilot_turn_order_join (&self->turns, stream);
}

/* It has no limit of SYNs, unlike what had to be expected: those that wait may go. */
static void
is_of_own_kind (PilotPeer *peer)
{
  gint64 now = peer->overlay->now;

  peer->own_kind = TRUE;
  if (peer->syns_sent.empty_at == 0)
    return;
  for (PilotStream *stream = peer->streams; stream != NULL; stream = pilot_stream_links (stream)->peer_next)
    if (pilot_stream_links (stream)->syn_slot > now) {
      pilot_stream_hold_syn (stream, now);
      pilot_turn_order_join (&peer->overlay->turns, stream);
    }
}

static void
on_ready (PilotStream *stream,
          gpointer overlay)
{
  PilotStreamLinks *links = pilot_stream_links (stream);
  PilotPeer *peer = links->peer;

  if (peer != NULL && !peer->own_kind && pilot_stream_is_own_kind (stream))
    is_of_own_kind (peer);
  if (peer != NULL && pilot_stream_get_error (stream) == PILOT_STREAM_ERROR_TIMEOUT && !peer->silent &&
      peer->last_receive < links->dialed_at) {
    /* Not a sign of life during all of the dial. */
    peer->silent = TRUE;
    pilot_overlay_emit_peer (peer, PILOT_EVENT_PEER_CHANGED);
  }
  pilot_overlay_emit_stream (stream, PILOT_EVENT_STREAM);
}

/* Called from within the stream: it is freed later, when nothing of it is on the stack. */
static void
on_finished (PilotStream *stream,
             gint64 now,
             gpointer overlay)
{
  PilotOverlay *self = overlay;
  PilotStreamLinks *links = pilot_stream_links (stream);
  PilotPeer *peer = links->peer;

  if (links->finished)
    return;
  links->finished = TRUE;
  if (peer != NULL && links->dialed_at != 0 && peer->last_receive < links->dialed_at && now - links->dialed_at >= UNANSWERED)
    pilot_peer_unheard (peer, FALSE);
  pilot_overlay_drop_stream_event (self, stream);
  links->finished_next = self->finished;
  self->finished = stream;
}

static gint64
on_heard_asked (PilotStream *stream,
                gpointer overlay)
{
  PilotPeer *peer = pilot_stream_links (stream)->peer;

  return peer != NULL ? peer->last_receive : 0;
}

static PilotSiblings *
on_siblings_asked (PilotStream *stream,
                   gpointer overlay)
{
  PilotPeer *peer = pilot_stream_links (stream)->peer;

  return peer != NULL ? &peer->siblings : NULL;
}

static const PilotStreamHooks hooks = { on_changed, on_ready, on_finished, on_heard_asked, on_siblings_asked };

static PilotStream *
make_stream (PilotPeer *peer,
             PilotAddress local,
             guint16 local_port,
             PilotAddress remote,
             guint16 remote_port,
             gboolean initiator,
             gint64 now)
{
  PilotOverlay *self = peer->overlay;
  PilotStreamConfig config = {
    .id = ++self->next_stream_id,
    .local = local,
    .remote = remote,
    .local_port = local_port,
    .remote_port = remote_port,
    .initiator = initiator,
    .extensions = self->extensions,
    .congestion = self->congestion,
    .receive_window_max = self->receive_window,
    .send_buffer_max = self->send_buffer,
    .hooks = &hooks,
    .overlay = self,
  };
  PilotStream *stream;
  PilotStreamLinks *links;

  /* Every version accepts any; a random one tells a new connection from the packets of an old one. */
  self->host.random ((guint8 *) &config.initial_sequence, sizeof config.initial_sequence, self->host.user_data);
  stream = pilot_stream_new (&config, now);
  links = pilot_stream_links (stream);
  links->overlay = self;
  links->peer = peer;
  links->local = local;
  links->remote = remote;
  links->local_port = local_port;
  links->remote_port = remote_port;
  links->hash_linked = TRUE;
  links->all_next = self->all_streams;
  if (self->all_streams != NULL)
    pilot_stream_links (self->all_streams)->all_prev = stream;
  self->all_streams = stream;
  links->peer_next = peer->streams;
  if (peer->streams != NULL)
    pilot_stream_links (peer->streams)->peer_prev = stream;
  peer->streams = stream;
  peer->last_app = now;
  /* It may have been idle: keepalive and watchdog run again. */
  if (peer->n_streams++ == 0)
    pilot_peer_schedule (peer, now);
  self->n_streams++;
  if (++self->n_linked > self->n_buckets && self->n_buckets < PILOT_MAX_STREAMS)
    resize (self, self->n_buckets * 2);
  insert (self, stream);
  return stream;
}

static gboolean
block_is_rested (PilotPeer *peer,
                 guint port,
                 gint64 now)
{
  gint64 used = peer->port_blocks[(port - PORT_FIRST) / PORT_BLOCK];

  return used == 0 || now - used >= PORT_REST;
}

/* Ports go round for each peer. A block is entered only when its last user has been gone for the time of rest. 0 = none. */
static guint16
choose_port (PilotPeer *peer,
             PilotAddress remote,
             guint16 remote_port,
             gint64 now)
{
  PilotOverlay *self = peer->overlay;
  guint first = peer->own_kind ? PORT_FIRST_OWN : PORT_FIRST;
  guint range = 65536 - first;

  if (peer->port_blocks == NULL) {
    guint32 start;

    peer->port_blocks = g_new0 (gint64, PORT_BLOCKS);
    self->host.random ((guint8 *) &start, sizeof start, self->host.user_data);
    peer->port_cursor = PORT_FIRST + start % (65536 - PORT_FIRST) / PORT_BLOCK * PORT_BLOCK;
  }
  for (guint tried = 0; tried < range; tried++) {
    guint port = peer->port_cursor;

    if (port < first || port > 65535)
      port = first;
    if (!peer->own_kind && port % PORT_BLOCK == 0 && !block_is_rested (peer, port, now)) {
      peer->port_cursor = port + PORT_BLOCK;
      tried += PORT_BLOCK - 1;
      continue;
    }
    peer->port_cursor = port + 1;
    if (lookup (self, (guint16) port, remote, remote_port) == NULL)
      return (guint16) port;
  }
  return 0;
}

void
pilot_overlay_begin_dial (PilotPeer *peer,
                          gint64 now)
{
  PilotOverlay *self = peer->overlay;

  if (peer->session != NULL && pilot_peer_can_send (peer))
    return;
  if (peer->dial_deadline == 0)
    peer->dial_deadline = now + DIAL_WAIT;
  pilot_peer_need_endpoints (peer, now);
  if (!peer->has_key)
    pilot_peer_need_key (peer, now);
  if (self->node != 0)
    pilot_key_exchange_start (peer, NULL, now);
  pilot_peer_schedule (peer, now);
}

PilotStream *
pilot_overlay_connect (PilotOverlay *self,
                       const PilotAddress *remote,
                       guint16 port,
                       gint64 now)
{
  PilotAddress local = { remote->network, self->node };
  PilotPeer *peer;
  PilotStream *stream;
  guint16 local_port;

  self->now = now;
  pilot_overlay_reap_streams (self);
  if (remote->node == self->node || remote->node == 0 || pilot_address_is_broadcast (remote) ||
      self->node == 0 || self->n_streams >= PILOT_MAX_STREAMS)
    return NULL;
  peer = pilot_peer_ensure (self, remote->node, FALSE);
  if (peer == NULL)
    return NULL;
  /* If our NAT has changed its mind meanwhile, answers through the relay need the new mapping. */
  if (self->have_beacon && now - self->discovered_at >= DISCOVER_BEFORE_DIAL)
    pilot_overlay_discover (self, now);
  local_port = choose_port (peer, *remote, port, now);
  if (local_port == 0)
    return NULL;
  stream = make_stream (peer, local, local_port, *remote, port, TRUE, now);
  pilot_stream_links (stream)->dialed_at = now;
  peer->last_app = now;
  if (peer->key_mismatch && now - peer->mismatch_at < DEAD_WAIT)
    pilot_stream_fail (stream, PILOT_STREAM_ERROR_KEY_MISMATCH, FALSE, now);
  else if (peer->session == NULL && now < peer->kx.gave_up_until)
    pilot_stream_fail (stream, PILOT_STREAM_ERROR_NO_KEY_EXCHANGE, FALSE, now);
  else {
    pilot_overlay_begin_dial (peer, now);
    if (pilot_peer_can_send (peer)) {
      pilot_stream_tunnel_ready (stream, now);
      pilot_turn_order_join (&self->turns, stream);
    }
  }
  return stream;
}

/* A Go peer takes 64 SYNs at once from one node and then ten a second, repeated ones included, and drops the others without a word (streams.md 7.2;
 * until v1.9 ten at once: then those that were dropped are repeated at that pace). */
gboolean
pilot_overlay_syn_may_go (PilotStream *stream,
                          gint64 now)
{
  PilotStreamLinks *links = pilot_stream_links (stream);
  PilotPeer *peer = links->peer;

  if (!pilot_stream_wants_syn (stream))
    return TRUE;
  if (links->syn_slot == 0 &&
      !pilot_token_bucket_reserve (&peer->syns_sent, SYN_SENT_INTERVAL, SYN_SENT_BURST, SYN_SENT_PATIENCE, now, &links->syn_slot))
    links->syn_slot = G_MAXINT64;
  if (links->syn_slot > now) {
    pilot_stream_hold_syn (stream, links->syn_slot);
    return FALSE;
  }
  links->syn_slot = 0;
  return TRUE;
}

static void
send_reset (PilotPeer *peer,
            const PilotPacket *syn,
            gint64 now)
{
  PilotPacket rst = { .flags = PILOT_PACKET_RST | PILOT_PACKET_ACK, .protocol = PILOT_PROTOCOL_STREAM, .source = syn->destination, .destination = syn->source, .source_port = syn->destination_port, .destination_port = syn->source_port, .ack = syn->seq + 1 };

  pilot_overlay_queue_packet (peer, &rst, NULL, now);
}

/* Trusted peers of our own kind, which say so in the SYN, open as many as they like. */
static gboolean
syn_is_allowed (PilotPeer *peer,
                const PilotPacket *syn,
                gint64 now)
{
  PilotOverlay *self = peer->overlay;

  if (self->n_streams >= PILOT_MAX_STREAMS || self->n_incoming >= PILOT_MAX_INCOMING || peer->n_incoming >= PILOT_MAX_INCOMING_OF_PEER)
    return FALSE;
  if (peer->trusted && (syn->payload_length > 0 || peer->own_kind))
    return TRUE;
  if (!pilot_token_bucket_take (&peer->syn_bucket, SYN_INTERVAL, SYN_BURST, now))
    return FALSE;
  return peer->trusted || pilot_token_bucket_take (&self->stranger_syns, STRANGER_SYN_INTERVAL, STRANGER_SYN_BURST, now);
}

static void
incoming (PilotPeer *peer,
          const PilotPacket *syn,
          gint64 now)
{
  PilotOverlay *self = peer->overlay;
  PilotStream *stream;

  if (!syn_is_allowed (peer, syn, now)) {
    self->stats.dropped_rate++;
    return;
  }
  switch (self->host.admit (peer->node, syn->destination_port, self->host.user_data)) {
  case PILOT_ADMIT_SILENCE:
    return;
  case PILOT_ADMIT_REFUSE:
    send_reset (peer, syn, now);
    return;
  case PILOT_ADMIT_ACCEPT:
    break;
  }
  stream = make_stream (peer, syn->destination, syn->destination_port, syn->source, syn->source_port, FALSE, now);
  pilot_stream_links (stream)->incoming = TRUE;
  self->n_incoming++;
  peer->n_incoming++;
  pilot_overlay_emit_stream (stream, PILOT_EVENT_STREAM_INCOMING);
  pilot_stream_input_syn (stream, syn, now);
}

static gboolean
is_over (PilotStream *stream)
{
  PilotStreamState state = pilot_stream_get_state (stream);

  return state == PILOT_STREAM_STATE_TIME_WAIT || state == PILOT_STREAM_STATE_CLOSED;
}

void
pilot_overlay_stream_packet (PilotPeer *peer,
                             const PilotPacket *packet,
                             gint64 now)
{
  PilotOverlay *self = peer->overlay;
  PilotStream *stream = lookup (self, packet->destination_port, packet->source, packet->source_port);
  gboolean is_syn = (packet->flags & (PILOT_PACKET_SYN | PILOT_PACKET_ACK)) == PILOT_PACKET_SYN;

  peer->last_app = now;
  if (stream != NULL && is_syn && is_over (stream)) {
    /* A new connection on an old one's ports (RFC 9293 3.6.1). */
    unlink_stream (self, stream);
    stream = NULL;
  }
  if (stream == NULL) {
    /* Never an RST for anything else: a reference node does not send one either, and a stale packet would kill a reused port. */
    if (is_syn)
      incoming (peer, packet, now);
    return;
  }
  pilot_siblings_spoke (&peer->siblings, stream, now);
  pilot_stream_input (stream, packet, now);
  pilot_turn_order_join (&self->turns, stream);
}

guint8 *
pilot_overlay_place (const guint8 *head,
                     gsize length,
                     gpointer user_data)
{
  PilotPeer *peer = user_data;
  const PilotAddress remote = { .node = peer->node };
  PilotPacket packet;
  PilotStream *stream;

  if (pilot_packet_decode_sealed (&packet, head, PILOT_PACKET_SHORT_HEADER_SIZE) != PILOT_PACKET_OK ||
      (packet.flags & (PILOT_PACKET_ACK | PILOT_PACKET_FIN | PILOT_PACKET_RST)) != PILOT_PACKET_ACK)
    return NULL;
  stream = lookup (peer->overlay, packet.destination_port, remote, packet.source_port);
  return stream != NULL ? pilot_stream_place (stream, packet.seq, length) : NULL;
}

static void
fail_where (PilotPeer *peer,
            PilotStreamError error,
            gboolean send_rst,
            gboolean dials,
            gboolean opened,
            gint64 now)
{
  if (dials)
    pilot_overlay_drop_datagrams (peer);
  for (PilotStream *stream = peer->streams, *next; stream != NULL; stream = next) {
    gboolean dial = pilot_stream_get_state (stream) == PILOT_STREAM_STATE_SYN_SENT;

    next = pilot_stream_links (stream)->peer_next;
    if (is_over (stream) || (dial ? !dials : !opened))
      continue;
    pilot_stream_fail (stream, error, send_rst, now);
    if (send_rst)
      pilot_overlay_drain_stream (stream, now);
  }
}

void
pilot_overlay_fail_streams (PilotPeer *peer,
                            PilotStreamError error,
                            gboolean send_rst,
                            gint64 now)
{
  fail_where (peer, error, send_rst, TRUE, TRUE, now);
}

void
pilot_overlay_fail_dials (PilotPeer *peer,
                          PilotStreamError error,
                          gint64 now)
{
  fail_where (peer, error, FALSE, TRUE, FALSE, now);
}

void
pilot_overlay_fail_opened (PilotPeer *peer,
                           PilotStreamError error,
                           gint64 now)
{
  fail_where (peer, error, FALSE, FALSE, TRUE, now);
}

void
pilot_overlay_detach_streams (PilotPeer *peer)
{
  while (peer->streams != NULL)
    unlink_stream (peer->overlay, peer->streams);
}

gint64
pilot_overlay_expire_dials (PilotPeer *peer,
                            gint64 now)
{
  gint64 next = G_MAXINT64;

  for (PilotStream *stream = peer->streams, *following; stream != NULL; stream = following) {
    PilotStreamLinks *links = pilot_stream_links (stream);

    following = links->peer_next;
    if (pilot_stream_get_state (stream) != PILOT_STREAM_STATE_SYN_SENT)
      continue;
    if (now - links->dialed_at >= DIAL_LIMIT)
      pilot_stream_fail (stream, PILOT_STREAM_ERROR_TIMEOUT, FALSE, now);
    else
      next = MIN (next, links->dialed_at + DIAL_LIMIT);
  }
  return next == G_MAXINT64 ? 0 : next;
}

void
pilot_overlay_tunnel_ready (PilotPeer *peer,
                            gint64 now)
{
  peer->dial_deadline = 0;
  peer->syn_deadline = pilot_overlay_expire_dials (peer, now);
  for (PilotStream *stream = peer->streams; stream != NULL; stream = pilot_stream_links (stream)->peer_next) {
    pilot_stream_tunnel_ready (stream, now);
    pilot_turn_order_join (&peer->overlay->turns, stream);
  }
  pilot_overlay_flush_datagrams (peer, now);
}

gboolean
pilot_overlay_reset_stream (PilotOverlay *self, guint32 id, gint64 now)
{
  for (PilotStream *stream = self->all_streams; stream != NULL; stream = pilot_stream_links (stream)->all_next) {
    PilotStreamInfo info;

    pilot_stream_info (stream, &info);
    if (info.id != id)
      continue;
    pilot_stream_reset (stream, now);
    return TRUE;
  }
  return FALSE;
}

void
pilot_overlay_foreach_stream (PilotOverlay *self,
                              void (*func) (const PilotStreamInfo *info, gpointer user_data),
                              gpointer user_data)
{
  for (PilotStream *stream = self->all_streams; stream != NULL; stream = pilot_stream_links (stream)->all_next) {
    PilotStreamInfo info;

    pilot_stream_info (stream, &info);
    func (&info, user_data);
  }
}
