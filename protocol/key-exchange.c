/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "overlay-private.h"

#include <string.h>

#include "protocol/bytes.h"

/* Key exchange with one peer (packets-and-tunnel.md sections 6 and 13). */

#define GRACE (30 * PILOT_SECOND)
/* A frame under the old key that comes this long after the switch was sent by somebody who is alive under the old key. */
#define REVERT_AFTER (500 * PILOT_MS)
/* Just after a frame under the old key would count. */
#define DOUBT_AFTER (600 * PILOT_MS)
#define DUPLICATE (250 * PILOT_MS)
#define REPLY_SPACING (1 * PILOT_SECOND)
#define REPLY_SILENCE (6 * PILOT_SECOND)
#define UNOPENED_SPACING (3 * PILOT_SECOND)
#define REFUSED_FOR (3 * PILOT_SECOND)
#define GIVE_UP_FOR (5 * PILOT_SECOND)
#define PARKED_FOR (10 * PILOT_SECOND)
#define STRANGER_ANSWER_INTERVAL (50 * PILOT_MS)
#define STRANGER_ANSWER_BURST 20

/* Waits after each of the six sends; the sum stays below what a local client waits for. */
static const gint64 waits[] = { 500 * PILOT_MS, 1 * PILOT_SECOND, 2 * PILOT_SECOND, 4 * PILOT_SECOND,
                                4 * PILOT_SECOND, 2500 * PILOT_MS };

static gboolean
with_request (PilotPeer *peer)
{
  return peer->session == NULL && (peer->kx.attempts > 0 || peer->kx.holds_session);
}

static void
send_direct (PilotPeer *peer,
             const PilotEndpoint *to)
{
  PilotOverlay *self = peer->overlay;

  pilot_overlay_queue (self, to, self->pila, sizeof self->pila);
  if (with_request (peer))
    pilot_overlay_queue (self, to, self->pilk, sizeof self->pilk);
}

static void
send_relayed (PilotPeer *peer)
{
  PilotOverlay *self = peer->overlay;

  pilot_overlay_queue_relay (self, peer->node, self->pila, sizeof self->pila);
  if (with_request (peer))
    pilot_overlay_queue_relay (self, peer->node, self->pilk, sizeof self->pilk);
}

/* To every place where the peer may be. FALSE if there is none yet. */
static gboolean
send_everywhere (PilotPeer *peer,
                 const PilotEndpoint *extra,
                 gint64 now)
{
  PilotEndpoint targets[PILOT_PATH_MAX_CANDIDATES + 1];
  guint n = pilot_path_targets (&peer->path, targets);
  gboolean extra_known = extra == NULL;

  for (guint i = 0; i < n; i++) {
    send_direct (peer, &targets[i]);
    extra_known |= extra != NULL && pilot_endpoint_equal (&targets[i], extra);
  }
  if (!extra_known)
    send_direct (peer, extra);
  if (peer->overlay->have_beacon) {
    send_relayed (peer);
    pilot_overlay_watch_beacon (peer->overlay, now);
  }
  return n > 0 || !extra_known || peer->overlay->have_beacon;
}

static void
attempt (PilotPeer *peer,
         const PilotEndpoint *extra,
         gint64 now)
{
  if (!send_everywhere (peer, extra, now)) {
    /* Nowhere to send to yet: endpoints are awaited, the dial's own deadline counts. */
    peer->kx.next_send = now + 500 * PILOT_MS;
    return;
  }
  peer->kx.next_send = now + waits[MIN (peer->kx.attempts, G_N_ELEMENTS (waits) - 1)];
  peer->kx.attempts++;
}

void
pilot_key_exchange_start (PilotPeer *peer,
                          const PilotEndpoint *extra,
                          gint64 now)
{
  if (peer->overlay->node == 0 || now < peer->kx.gave_up_until)
    return;
  if (peer->kx.pending) {
    if (extra != NULL)
      send_direct (peer, extra);
    return;
  }
  peer->kx.pending = TRUE;
  peer->kx.attempts = 0;
  attempt (peer, extra, now);
  pilot_peer_schedule (peer, now);
}

void
pilot_key_exchange_retarget (PilotPeer *peer,
                             gint64 now)
{
  PilotEndpoint targets[PILOT_PATH_MAX_CANDIDATES + 1];
  guint n = pilot_path_targets (&peer->path, targets);

  if (!peer->kx.pending || peer->kx.attempts == 0) {
    peer->kx.pending = FALSE;
    pilot_key_exchange_start (peer, NULL, now);
    return;
  }
  for (guint i = 0; i < n; i++)
    pilot_overlay_queue (peer->overlay, &targets[i], peer->overlay->pila, sizeof peer->overlay->pila);
}

void
pilot_key_exchange_relay_again (PilotPeer *peer)
{
  if (peer->kx.pending && peer->kx.attempts > 0 && peer->overlay->have_beacon)
    send_relayed (peer);
}

void
pilot_key_exchange_done (PilotPeer *peer)
{
  peer->kx.pending = FALSE;
  peer->kx.attempts = 0;
  peer->kx.gave_up_until = 0;
}

void
pilot_key_exchange_timeout (PilotPeer *peer,
                            gint64 now)
{
  if (peer->kx.attempts < G_N_ELEMENTS (waits)) {
    attempt (peer, NULL, now);
    return;
  }
  peer->kx.pending = FALSE;
  peer->kx.attempts = 0;
  peer->kx.gave_up_until = now + GIVE_UP_FOR;
  peer->silent = TRUE;
  peer->dial_deadline = 0;
  pilot_overlay_emit_peer (peer, PILOT_EVENT_PEER_UNREACHABLE);
  pilot_overlay_emit_peer (peer, PILOT_EVENT_PEER_CHANGED);
  if (peer->session == NULL)
    pilot_overlay_fail_dials (peer, PILOT_STREAM_ERROR_NO_KEY_EXCHANGE, now);
  else
    pilot_overlay_drop_datagrams (peer);
}

static gboolean
is_beacon (PilotOverlay *self,
           const PilotEndpoint *from)
{
  return self->have_beacon && pilot_endpoint_equal (from, &self->beacon);
}

/* Where to answer; NULL: through the relay. */
static const PilotEndpoint *
direct_source (PilotOverlay *self,
               const PilotEndpoint *from)
{
  return self->relay_only || is_beacon (self, from) ? NULL : from;
}

static void
reply (PilotPeer *peer,
       const PilotEndpoint *from,
       gint64 now)
{
  PilotOverlay *self = peer->overlay;
  const PilotEndpoint *direct = direct_source (self, from);

  peer->kx.last_reply = now;
  if (direct != NULL)
    pilot_overlay_queue (self, direct, self->pila, sizeof self->pila);
  else
    pilot_overlay_queue_relay (self, peer->node, self->pila, sizeof self->pila);
}

/* A key that was confirmed and then gave way to a confirmed one belongs to a process that is gone: its PILA is a recording. */
static gboolean
is_retired (PilotPeer *peer,
            const guint8 *x25519)
{
  for (guint i = 0; i < MIN (peer->n_retired, PILOT_MAX_RETIRED_KEYS); i++)
    if (memcmp (peer->retired[i], x25519, sizeof peer->retired[i]) == 0)
      return TRUE;
  return FALSE;
}

static void
retire (PilotPeer *peer,
        const PilotSession *session)
{
  guint at = peer->n_retired++ % PILOT_MAX_RETIRED_KEYS;

  memcpy (peer->retired[at], session->key->x25519, sizeof peer->retired[at]);
}

static void
ready (PilotPeer *peer,
       gint64 now)
{
  pilot_peer_keepalive (peer, NULL, now);
  pilot_peer_flush_pings (peer, now);
  pilot_overlay_tunnel_ready (peer, now);
  pilot_peer_upgrade_soon (peer, now);
  pilot_overlay_emit_peer (peer, PILOT_EVENT_PEER_CHANGED);
  pilot_peer_schedule (peer, now);
}

static void
same_key (PilotPeer *peer,
          const PilotEndpoint *from,
          gint64 now)
{
  gboolean heard = peer->session->confirmed && now - peer->last_receive <= REPLY_SILENCE;

  if (now - peer->session->installed < DUPLICATE) {
    if (pilot_path_key_exchanged (&peer->path, direct_source (peer->overlay, from), peer->overlay->have_beacon))
      pilot_peer_path_changed (peer, now);
    return;
  }
  pilot_key_exchange_done (peer);
  /* It asks again: it may lack our half. Once a second at most, so that two who do this calm down. */
  if (!heard && now - peer->kx.last_reply >= REPLY_SPACING) {
    reply (peer, from, now);
    pilot_peer_keepalive (peer, NULL, now);
  }
  pilot_peer_schedule (peer, now);
}

static void
install (PilotPeer *peer,
         PilotSession *session,
         const PilotEndpoint *from,
         gint64 now)
{
  PilotOverlay *self = peer->overlay;
  gboolean replaced = peer->session != NULL;

  if (replaced && !peer->session->confirmed && peer->previous != NULL && peer->previous->confirmed) {
    /* Several recordings in a row must not push out the key that is alive. */
    pilot_session_free (peer->session);
    peer->session = g_steal_pointer (&peer->previous);
  }
  g_clear_pointer (&peer->previous, pilot_session_free);
  if (replaced) {
    peer->previous = peer->session;
    peer->previous_until = now + GRACE;
    peer->event_rekeyed = TRUE;
    /* Unconfirmed on top of unconfirmed says nothing about a restart. */
    peer->replaced |= peer->previous->confirmed;
  } else {
    self->n_sessions++;
    peer->replaced = FALSE;
  }
  peer->session = session;
  peer->switched_at = now;
  peer->next_doubt = now + DOUBT_AFTER;
  peer->established_at = now;
  peer->unheard = FALSE;
  peer->last_app = now;
  peer->key_mismatch = FALSE;
  peer->kx.holds_session = FALSE;
  pilot_key_exchange_done (peer);
  if (pilot_path_key_exchanged (&peer->path, direct_source (self, from), self->have_beacon))
    pilot_overlay_emit_peer (peer, PILOT_EVENT_PEER_CHANGED);
  reply (peer, from, now);
  ready (peer, now);
}

/* The PILA is signed by the node's key. */
static void
accept_pila (PilotPeer *peer,
             const guint8 *x25519,
             const PilotEndpoint *from,
             gint64 now)
{
  PilotOverlay *self = peer->overlay;
  PilotSession *session;

  if (peer->session != NULL && memcmp (peer->session->key->x25519, x25519, PILOT_X25519_KEY_SIZE) == 0) {
    same_key (peer, from, now);
    return;
  }
  if (is_retired (peer, x25519))
    return;
  if (peer->previous != NULL && memcmp (peer->previous->key->x25519, x25519, PILOT_X25519_KEY_SIZE) == 0) {
    /* Either a recording of a dead run, or the run that lives while the newer key is the recording. Frames decide. */
    if (now - peer->kx.last_reply >= REPLY_SPACING)
      reply (peer, from, now);
    return;
  }
  session = pilot_session_new (self->keys, self->x25519_private, x25519, self->node < peer->node, now);
  if (session == NULL) {
    self->stats.dropped_unauthenticated++;
    return;
  }
  install (peer, session, from, now);
}

void
pilot_key_exchange_confirm (PilotPeer *peer,
                            gint64 now)
{
  if (peer->session->confirmed)
    return;
  peer->session->confirmed = TRUE;
  pilot_key_exchange_done (peer);
  if (peer->replaced) {
    peer->replaced = FALSE;
    if (peer->previous != NULL)
      retire (peer, peer->previous);
    /* One key per process: it has restarted and knows nothing of the streams it had. */
    pilot_overlay_fail_opened (peer, PILOT_STREAM_ERROR_RESET, now);
    pilot_overlay_tunnel_ready (peer, now);
  }
  pilot_overlay_emit_peer (peer, PILOT_EVENT_PEER_CHANGED);
}

void
pilot_key_exchange_previous (PilotPeer *peer,
                             gint64 now)
{
  PilotSession *dead = peer->session;

  if (dead->confirmed && peer->previous_until != G_MAXINT64)
    return;
  if (!dead->confirmed && now - peer->switched_at < REVERT_AFTER)
    return;
  /* The old key lives and the new one was a recording (13.5); or the one that looked like a recording is alive after all.
   * The other one is kept for opening only. */
  peer->session = peer->previous;
  peer->previous = dead;
  peer->previous_until = dead->confirmed ? now + GRACE : G_MAXINT64;
  peer->replaced = dead->confirmed;
  peer->switched_at = now;
  peer->event_rekeyed = TRUE;
  ready (peer, now);
}

static PilotStranger *
find_stranger (PilotOverlay *self,
               guint32 node)
{
  for (guint i = 0; i < PILOT_MAX_STRANGERS; i++)
    if (self->strangers[i].node == node)
      return &self->strangers[i];
  return NULL;
}

static void
park (PilotParkedPila *parked,
      const PilotEndpoint *from,
      const guint8 *frame)
{
  parked->present = TRUE;
  parked->from = *from;
  memcpy (parked->frame, frame, sizeof parked->frame);
}

static void
stranger_pila (PilotOverlay *self,
               guint32 node,
               const PilotEndpoint *from,
               const guint8 *frame,
               gint64 now)
{
  PilotStranger *stranger = find_stranger (self, node);
  PilotEvent event = { .type = PILOT_EVENT_NEED_KEY, .node = node };

  if (stranger != NULL && now < stranger->until) {
    /* Asked already, or refused a moment ago. */
    if (stranger->refused)
      self->stats.dropped_unauthenticated++;
    return;
  }
  for (guint i = 0; stranger == NULL && i < PILOT_MAX_STRANGERS; i++)
    if (self->strangers[i].node == 0 || now >= self->strangers[i].until)
      stranger = &self->strangers[i];
  if (stranger == NULL) {
    self->stats.dropped_rate++;
    return;
  }
  stranger->node = node;
  stranger->until = now + PARKED_FOR;
  stranger->refused = FALSE;
  park (&stranger->pila, from, frame);
  pilot_overlay_emit (self, &event);
}

/* The key in the frame is not the one expected. Ask the registry once: a rotation, a lie, or a forgery. Who cannot even sign with
 * the key that he shows is not worth a question. */
static void
mismatched_pila (PilotPeer *peer,
                 const PilotKeyExchange *exchange,
                 const PilotEndpoint *from,
                 const guint8 *frame,
                 gint64 now)
{
  if (now < peer->key_refused_until || !pilot_frame_verify_pila (exchange)) {
    peer->overlay->stats.dropped_unauthenticated++;
    return;
  }
  if (!peer->parked.present)
    park (&peer->parked, from, frame);
  pilot_peer_need_key (peer, now);
}

static void
judge_pila (PilotPeer *peer,
            const PilotEndpoint *from,
            const guint8 *frame,
            gint64 now)
{
  PilotKeyExchange exchange;

  if (!pilot_frame_parse_key_exchange (&exchange, frame, PILOT_FRAME_PILA_SIZE))
    return;
  if (!peer->has_key || memcmp (peer->key, exchange.ed25519_public, sizeof peer->key) != 0) {
    mismatched_pila (peer, &exchange, from, frame, now);
    return;
  }
  if (!pilot_frame_verify_pila (&exchange)) {
    peer->overlay->stats.dropped_unauthenticated++;
    return;
  }
  accept_pila (peer, exchange.x25519_public, from, now);
}

static gboolean
is_allowed (PilotOverlay *self,
            const PilotEndpoint *from,
            const PilotKeyExchange *exchange,
            gint64 now)
{
  /* One subscriber has a whole /64 of IPv6 addresses. */
  gsize host_length = from->family == PILOT_ENDPOINT_IPV6 ? 8 : 4;
  gboolean taken;

  if (exchange->node == 0 || exchange->node == PILOT_NODE_BROADCAST || self->node == 0)
    return FALSE;
  /* Ours, sent back, or under somebody else's name. */
  if (exchange->node == self->node ||
      memcmp (exchange->x25519_public, self->x25519_public, PILOT_X25519_KEY_SIZE) == 0) {
    self->stats.dropped_spoofed++;
    return FALSE;
  }
  if (!is_beacon (self, from))
    taken = pilot_rate_limit_take (&self->exchange_by_host, from->address, host_length, now);
  else
    taken = pilot_rate_limit_take (&self->exchange_by_node, &exchange->node, sizeof exchange->node, now);
  if (!taken)
    self->stats.dropped_rate++;
  return taken;
}

void
pilot_key_exchange_pila (PilotOverlay *self,
                         const PilotEndpoint *from,
                         const guint8 *data,
                         gsize length,
                         gint64 now)
{
  PilotKeyExchange exchange;
  PilotPeer *peer;

  if (!pilot_frame_parse_key_exchange (&exchange, data, length) || exchange.ed25519_public == NULL) {
    self->stats.dropped_malformed++;
    return;
  }
  if (!is_allowed (self, from, &exchange, now))
    return;
  peer = pilot_peer_lookup (self, exchange.node);
  if (peer == NULL)
    stranger_pila (self, exchange.node, from, data, now);
  else
    judge_pila (peer, from, data, now);
}

/* For somebody we keep nothing about: our PILA is the same for everyone, but it must not become a lever. */
static void
answer_stranger (PilotOverlay *self,
                 guint32 node,
                 const PilotEndpoint *from,
                 gboolean request,
                 gint64 now)
{
  const PilotEndpoint *direct = direct_source (self, from);

  if (!pilot_rate_limit_take (&self->unopened_by_node, &node, sizeof node, now) ||
      !pilot_token_bucket_take (&self->stranger_answers, STRANGER_ANSWER_INTERVAL, STRANGER_ANSWER_BURST, now)) {
    self->stats.dropped_rate++;
    return;
  }
  if (direct != NULL) {
    pilot_overlay_queue (self, direct, self->pila, sizeof self->pila);
    if (request)
      pilot_overlay_queue (self, direct, self->pilk, sizeof self->pilk);
  } else {
    pilot_overlay_queue_relay (self, node, self->pila, sizeof self->pila);
    if (request)
      pilot_overlay_queue_relay (self, node, self->pilk, sizeof self->pilk);
  }
}

/* A PILK is a request for our PILA and nothing else: it proves nothing, so it installs nothing (13.7). */
void
pilot_key_exchange_pilk (PilotOverlay *self,
                         const PilotEndpoint *from,
                         const guint8 *data,
                         gsize length,
                         gint64 now)
{
  PilotKeyExchange exchange;
  PilotPeer *peer;

  if (!pilot_frame_parse_key_exchange (&exchange, data, length)) {
    self->stats.dropped_malformed++;
    return;
  }
  if (!is_allowed (self, from, &exchange, now))
    return;
  peer = pilot_peer_lookup (self, exchange.node);
  if (peer == NULL) {
    answer_stranger (self, exchange.node, from, FALSE, now);
    return;
  }
  if (now - peer->kx.last_reply < DUPLICATE)
    return;
  reply (peer, from, now);
  if (peer->session == NULL)
    pilot_key_exchange_start (peer, NULL, now);
}

void
pilot_key_exchange_unopened (PilotOverlay *self,
                             guint32 node,
                             const PilotEndpoint *from,
                             gint64 now)
{
  PilotPeer *peer = pilot_peer_lookup (self, node);

  if (node == 0 || node == self->node || node == PILOT_NODE_BROADCAST || self->node == 0)
    return;
  if (peer == NULL) {
    answer_stranger (self, node, from, TRUE, now);
    return;
  }
  if (peer->kx.last_unopened != 0 && now - peer->kx.last_unopened < UNOPENED_SPACING)
    return;
  peer->kx.last_unopened = now;
  peer->kx.holds_session = peer->session == NULL;
  pilot_key_exchange_start (peer, direct_source (self, from), now);
}

static void
refuse_parked (PilotPeer *peer,
               gint64 now)
{
  peer->parked.present = FALSE;
  peer->key_refused_until = now + REFUSED_FOR;
}

/* Whether somebody holds `key` and speaks in the peer's name: the registry's word alone, or a forged frame alone, is no news. */
static gboolean
is_presented (PilotPeer *peer,
              const guint8 *key)
{
  PilotKeyExchange exchange;

  return peer->parked.present && pilot_frame_parse_key_exchange (&exchange, peer->parked.frame, sizeof peer->parked.frame) &&
         memcmp (exchange.ed25519_public, key, PILOT_ED25519_PUBLIC_SIZE) == 0 && pilot_frame_verify_pila (&exchange);
}

static void
report_mismatch (PilotPeer *peer,
                 gint64 now)
{
  refuse_parked (peer, now);
  /* What was agreed under the trusted key goes on; no other key gets anywhere. */
  if (peer->session != NULL)
    return;
  peer->key_mismatch = TRUE;
  peer->mismatch_at = now;
  peer->dial_deadline = 0;
  peer->kx.pending = FALSE;
  pilot_overlay_emit_peer (peer, PILOT_EVENT_KEY_MISMATCH);
  pilot_overlay_emit_peer (peer, PILOT_EVENT_PEER_CHANGED);
  pilot_overlay_fail_dials (peer, PILOT_STREAM_ERROR_KEY_MISMATCH, now);
}

static void
stranger_key (PilotOverlay *self,
              guint32 node,
              const guint8 *key,
              gint64 now)
{
  PilotStranger *stranger = find_stranger (self, node);
  PilotKeyExchange exchange;
  PilotPeer *peer = NULL;

  if (stranger == NULL || stranger->refused)
    return;
  if (key != NULL && pilot_frame_parse_key_exchange (&exchange, stranger->pila.frame, sizeof stranger->pila.frame) &&
      memcmp (exchange.ed25519_public, key, PILOT_ED25519_PUBLIC_SIZE) == 0 && pilot_frame_verify_pila (&exchange))
    peer = pilot_peer_ensure (self, node, FALSE);
  if (peer == NULL) {
    stranger->refused = TRUE;
    stranger->until = now + REFUSED_FOR;
    return;
  }
  peer->has_key = TRUE;
  memcpy (peer->key, key, sizeof peer->key);
  stranger->node = 0;
  accept_pila (peer, exchange.x25519_public, &stranger->pila.from, now);
}

/* The host made it a peer while the registry was being asked: from now on its pin counts. */
static void
stranger_became_peer (PilotPeer *peer)
{
  PilotStranger *stranger = find_stranger (peer->overlay, peer->node);

  if (stranger == NULL)
    return;
  if (!stranger->refused && !peer->parked.present)
    peer->parked = stranger->pila;
  stranger->node = 0;
}

/* The registry's word about a peer that is not pinned. `key` is always the one its session was made with: if it becomes
 * another, trust and access would be judged by a key the tunnel never proved. */
static void
learn_key (PilotPeer *peer,
           const guint8 *key,
           gint64 now)
{
  if (peer->has_key && memcmp (peer->key, key, sizeof peer->key) == 0)
    return;
  if (peer->session != NULL) {
    pilot_overlay_fail_streams (peer, PILOT_STREAM_ERROR_KEY_MISMATCH, FALSE, now);
    pilot_peer_drop_session (peer);
    pilot_overlay_emit_peer (peer, PILOT_EVENT_PEER_CHANGED);
  }
  peer->has_key = TRUE;
  memcpy (peer->key, key, sizeof peer->key);
  pilot_peer_schedule (peer, now);
}

void
pilot_key_exchange_key (PilotOverlay *self,
                        guint32 node,
                        const guint8 *key,
                        gint64 now)
{
  PilotPeer *peer = pilot_peer_lookup (self, node);

  if (peer == NULL) {
    stranger_key (self, node, key, now);
    return;
  }
  stranger_became_peer (peer);
  peer->key_asked = FALSE;
  if (key == NULL) {
    refuse_parked (peer, now);
    return;
  }
  if (peer->has_pin && memcmp (peer->pin, key, sizeof peer->pin) != 0 && is_presented (peer, key)) {
    report_mismatch (peer, now);
    return;
  }
  if (!peer->has_pin)
    learn_key (peer, key, now);
  if (peer->parked.present) {
    PilotParkedPila parked = peer->parked;

    /* If it still differs nothing more is asked for a while. */
    refuse_parked (peer, now);
    judge_pila (peer, &parked.from, parked.frame, now);
  }
}
