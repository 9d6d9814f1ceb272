/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "trust-private.h"

#include <string.h>

#include "daemon/core/shares.h"
#include "daemon/node/trust-seen.h"
#include "libpilot/pilot-error.h"

/* Seconds for one message: a cold peer may need a whole key exchange first. */
#define SEND_TIMEOUT 25
#define RECEIVE_TIMEOUT 10
/* Milliseconds after which a message that was written and met no error counts as sent: toward a Go peer no FIN is acknowledged. */
#define SENT_AFTER 3000
#define MAX_RECEIVING 256
#define MAX_RECEIVING_OF_PEER 4
/* Seconds; more than a message is fresh. */
#define SEEN_LIFETIME 600
#define MAX_SEEN 4096

typedef struct {
  PilotStreamUser user; /* first */
  PilotTrustDirect *direct;
  guint32 peer;
  PilotTrustMessageType type;
  char *text;
  PilotTrustSentFunc func;
  gpointer user_data;
  PilotStream *stream; /* NULL while it waits its turn */
  char *bytes;
  gsize length, written;
  guint timeout_source;
} Send;

typedef struct {
  PilotStreamUser user; /* first */
  PilotTrustDirect *direct;
  guint32 peer;
  PilotStream *stream;
  PilotTrustReader *reader;
  guint timeout_source;
} Receive;

struct _PilotTrustDirect {
  PilotTrust *trust;
  GQueue sends;        /* Send, oldest first; at most one of each peer has a stream */
  GQueue receives;     /* Receive */
  PilotShares *shares; /* of them */
  PilotTrustSeen *seen;
  GHashTable *stamps; /* node -> the last timestamp sent: no two of our messages are the same bytes */
  gboolean bound;
};

static void start_next (PilotTrustDirect *direct, guint32 peer);

/* --- sending --- */

static void
send_free (Send *send, gboolean reset)
{
  gint64 now = g_get_monotonic_time ();

  g_clear_handle_id (&send->timeout_source, g_source_remove);
  if (send->stream != NULL) {
    pilot_stream_set_user_data (send->stream, NULL);
    if (reset)
      pilot_stream_reset (send->stream, now);
    pilot_stream_release (send->stream, now);
    pilot_node_kick (send->direct->trust->node);
  }
  g_free (send->text);
  g_free (send->bytes);
  g_free (send);
}

static void
send_done (Send *send, gboolean sent)
{
  PilotTrustDirect *direct = send->direct;
  PilotTrustSentFunc func = send->func;
  gpointer user_data = send->user_data;
  guint32 peer = send->peer;

  g_queue_remove (&direct->sends, send);
  g_debug ("message %d to node %u %s", (int) send->type, peer, sent ? "sent" : "not sent");
  send_free (send, !sent);
  if (func != NULL)
    func (direct->trust, peer, sent, user_data);
  start_next (direct, peer);
}

static gboolean
on_send_timeout (gpointer user_data)
{
  Send *send = user_data;

  send->timeout_source = 0;
  send_done (send, FALSE);
  return G_SOURCE_REMOVE;
}

static gboolean
on_sent_timeout (gpointer user_data)
{
  Send *send = user_data;

  send->timeout_source = 0;
  send_done (send, TRUE);
  return G_SOURCE_REMOVE;
}

static void
send_ready (PilotStreamUser *user, PilotStream *stream, guint ready)
{
  Send *send = (Send *) user;
  gint64 now = g_get_monotonic_time ();

  if (ready & PILOT_STREAM_READY_DRAINED) {
    send_done (send, TRUE);
    return;
  }
  if (ready & PILOT_STREAM_READY_CLOSED) {
    send_done (send, send->written == send->length && pilot_stream_get_error (stream) == PILOT_STREAM_ERROR_NONE);
    return;
  }
  if ((ready & (PILOT_STREAM_READY_OPEN | PILOT_STREAM_READY_WRITE)) == 0 || send->written == send->length)
    return;
  send->written += pilot_stream_write (stream, send->bytes + send->written, send->length - send->written, now);
  if (send->written < send->length)
    return;
  pilot_stream_shutdown_write (stream, now);
  g_clear_handle_id (&send->timeout_source, g_source_remove);
  send->timeout_source = g_timeout_add (SENT_AFTER, on_sent_timeout, send);
}

/* Our clock may stand still within a second, and a peer takes a second message with equal bytes for a replay (trust.md 3.4). */
static gint64
next_stamp (PilotTrustDirect *direct, guint32 peer)
{
  gint64 now = pilot_trust_now ();
  gint64 *last = g_hash_table_lookup (direct->stamps, GUINT_TO_POINTER (peer));

  if (last == NULL) {
    last = g_new0 (gint64, 1);
    g_hash_table_insert (direct->stamps, GUINT_TO_POINTER (peer), last);
  }
  *last = CLAMP (*last + 1, now, now + PILOT_TRUST_MAX_AHEAD / 2);
  return *last;
}

static gboolean
send_start (Send *send, GError **error)
{
  PilotNode *node = send->direct->trust->node;
  g_autoptr (PilotTrustMessage) message = NULL;
  gint64 stamp;

  if (node->id == 0) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, "not registered yet");
    return FALSE;
  }
  stamp = next_stamp (send->direct, send->peer);
  message = pilot_trust_message_new (&node->identity, send->type, node->id, send->peer, send->text, stamp);
  /* By the time and not by a count, which a restart of ours would begin again: no variation comes twice within 1024 s. */
  pilot_trust_message_vary (message, (guint) stamp);
  send->bytes = pilot_trust_message_print (message, &send->length);
  send->user.ready = send_ready;
  send->stream = pilot_node_connect (node, send->peer, PILOT_TRUST_PORT, &send->user, error);
  if (send->stream == NULL)
    return FALSE;
  send->timeout_source = g_timeout_add_seconds (SEND_TIMEOUT, on_send_timeout, send);
  return TRUE;
}

static gboolean
on_cannot_start (gpointer user_data)
{
  Send *send = user_data;

  send->timeout_source = 0;
  send_done (send, FALSE);
  return G_SOURCE_REMOVE;
}

static void
start_next (PilotTrustDirect *direct, guint32 peer)
{
  for (GList *item = direct->sends.head; item != NULL; item = item->next) {
    Send *send = item->data;
    g_autoptr (GError) error = NULL;

    if (send->peer != peer)
      continue;
    if (send->stream == NULL && send->timeout_source == 0 && !send_start (send, &error)) {
      g_debug ("message to node %u: %s", peer, error->message);
      send->timeout_source = g_idle_add (on_cannot_start, send); /* not from inside the caller's call */
    }
    return;
  }
}

void
pilot_trust_direct_send (PilotTrustDirect *direct, guint32 peer, PilotTrustMessageType type, const char *text, PilotTrustSentFunc func, gpointer user_data)
{
  Send *send;

  /* The same again while it has not been sent says nothing new. */
  for (GList *item = direct->sends.head; func == NULL && item != NULL; item = item->next)
    if (((Send *) item->data)->peer == peer && ((Send *) item->data)->type == type)
      return;
  send = g_new0 (Send, 1);
  send->direct = direct;
  send->peer = peer;
  send->type = type;
  send->text = g_strdup (text);
  send->func = func;
  send->user_data = user_data;
  g_queue_push_tail (&direct->sends, send);
  start_next (direct, peer);
}

void
pilot_trust_direct_cancel (PilotTrustDirect *direct, guint32 peer)
{
  for (GList *item = direct->sends.head; item != NULL;) {
    GList *next = item->next;
    Send *send = item->data;

    if (send->peer == peer) {
      g_queue_delete_link (&direct->sends, item);
      send_free (send, TRUE);
    }
    item = next;
  }
}

/* --- receiving --- */

static void
receive_free (Receive *receive)
{
  g_clear_handle_id (&receive->timeout_source, g_source_remove);
  pilot_stream_set_user_data (receive->stream, NULL);
  pilot_stream_release (receive->stream, g_get_monotonic_time ());
  pilot_node_kick (receive->direct->trust->node);
  pilot_shares_give_back (receive->direct->shares, receive->peer);
  pilot_trust_reader_free (receive->reader);
  g_free (receive);
}

/* Whether this is a copy of a message handled already. Time counts too: an honest repetition has another one. */
static gboolean
is_replay (PilotTrustDirect *direct, const PilotTrustMessage *message)
{
  guint8 key[PILOT_SHA256_SIZE + sizeof message->timestamp];

  if (!pilot_trust_message_replay_key (message, direct->trust->node->id, key))
    return TRUE;
  memcpy (key + PILOT_SHA256_SIZE, &message->timestamp, sizeof message->timestamp);
  return !pilot_trust_seen_add (direct->seen, key, sizeof key, pilot_trust_now ());
}

/* The tunnel's identity, the signature and the key must agree, for every type (trust.md, known weaknesses). */
static gboolean
is_authentic (PilotTrustDirect *direct, guint32 peer, const PilotTrustMessage *message, guint8 key[32])
{
  PilotNode *node = direct->trust->node;
  PilotPeerInfo info;

  if (message->node != peer) {
    g_message ("node %u sent a message in the name of node %u: ignored", peer, message->node);
    return FALSE;
  }
  if (!pilot_trust_message_is_fresh (message, pilot_trust_now ())) {
    g_message ("node %u sent a message with a wrong time (%" G_GINT64_FORMAT "): ignored; is one of the clocks wrong?", peer, message->timestamp);
    return FALSE;
  }
  if (!pilot_trust_message_verify (message, node->id, key)) {
    g_message ("node %u sent a message with a wrong signature: ignored", peer);
    return FALSE;
  }
  if (!pilot_overlay_peer_info (node->overlay, peer, &info) || !info.has_key || memcmp (info.key, key, sizeof info.key) != 0) {
    g_message ("node %u sent a message with a key that is not its tunnel's: ignored", peer);
    return FALSE;
  }
  return !is_replay (direct, message);
}

static void
handle (PilotTrustDirect *direct, guint32 peer, const PilotTrustMessage *message)
{
  PilotTrust *trust = direct->trust;
  guint8 key[32];

  if (!is_authentic (direct, peer, message, key))
    return;
  g_debug ("node %u: %s", peer, message->type_text);
  switch (message->type) {
  case PILOT_TRUST_MESSAGE_REQUEST:
    pilot_trust_handle_request (trust, peer, key, message->justification);
    break;
  case PILOT_TRUST_MESSAGE_ACCEPT:
    pilot_trust_handle_accept (trust, peer, key);
    break;
  case PILOT_TRUST_MESSAGE_REJECT:
    pilot_trust_handle_reject (trust, peer);
    break;
  case PILOT_TRUST_MESSAGE_REVOKE:
    pilot_trust_handle_revoke (trust, peer, message->timestamp);
    break;
  case PILOT_TRUST_MESSAGE_UNKNOWN:
  default:
    break;
  }
}

/* @message: nullable */
static void
receive_end (Receive *receive, const PilotTrustMessage *message)
{
  PilotTrustDirect *direct = receive->direct;
  guint32 peer = receive->peer;

  g_queue_remove (&direct->receives, receive);
  receive_free (receive);
  if (message != NULL)
    handle (direct, peer, message);
  pilot_trust_resume_revocation (direct->trust, peer);
}

static gboolean
on_receive_timeout (gpointer user_data)
{
  Receive *receive = user_data;

  receive->timeout_source = 0;
  receive_end (receive, NULL);
  return G_SOURCE_REMOVE;
}

static void
receive_ready (PilotStreamUser *user, PilotStream *stream, guint ready)
{
  Receive *receive = (Receive *) user;
  struct iovec vectors[2];

  while (pilot_stream_read_vectors (stream, vectors) > 0) {
    g_autoptr (PilotTrustMessage) message = NULL;
    g_autoptr (GError) error = NULL;
    gboolean ok = pilot_trust_reader_push (receive->reader, vectors[0].iov_base, vectors[0].iov_len, &message, &error);

    pilot_stream_read_consume (stream, vectors[0].iov_len, g_get_monotonic_time ());
    if (ok && message == NULL)
      continue;
    if (!ok)
      g_debug ("node %u sent no message: %s", receive->peer, error->message);
    receive_end (receive, message);
    return;
  }
  if (ready & (PILOT_STREAM_READY_CLOSED | PILOT_STREAM_READY_EOF))
    receive_end (receive, NULL);
}

gboolean
pilot_trust_direct_is_receiving (PilotTrustDirect *direct, guint32 peer)
{
  for (GList *item = direct->receives.head; item != NULL; item = item->next)
    if (((Receive *) item->data)->peer == peer)
      return TRUE;
  return FALSE;
}

static void
on_stream (PilotNode *node, PilotStream *stream, guint32 peer, gpointer user_data)
{
  PilotTrustDirect *direct = user_data;
  gint64 now = g_get_monotonic_time ();
  Receive *receive;

  if (!pilot_shares_take (direct->shares, peer)) {
    pilot_stream_refuse (stream, now);
    return;
  }
  receive = g_new0 (Receive, 1);
  receive->user.ready = receive_ready;
  receive->direct = direct;
  receive->peer = peer;
  receive->stream = stream;
  receive->reader = pilot_trust_reader_new ();
  receive->timeout_source = g_timeout_add_seconds (RECEIVE_TIMEOUT, on_receive_timeout, receive);
  g_queue_push_tail (&direct->receives, receive);
  pilot_stream_set_user_data (stream, &receive->user);
  pilot_stream_accept (stream, now);
}

/* --- life --- */

gboolean
pilot_trust_direct_start (PilotTrustDirect *direct, GError **error)
{
  direct->bound = pilot_node_bind (direct->trust->node, PILOT_TRUST_PORT, TRUE, on_stream, direct, error);
  return direct->bound;
}

void
pilot_trust_direct_stop (PilotTrustDirect *direct)
{
  Receive *receive;
  Send *send;

  if (direct->bound)
    pilot_node_unbind (direct->trust->node, PILOT_TRUST_PORT);
  direct->bound = FALSE;
  while ((receive = g_queue_pop_head (&direct->receives)) != NULL)
    receive_free (receive);
  while ((send = g_queue_pop_head (&direct->sends)) != NULL)
    send_free (send, FALSE);
}

PilotTrustDirect *
pilot_trust_direct_new (PilotTrust *trust)
{
  PilotTrustDirect *direct = g_new0 (PilotTrustDirect, 1);

  direct->trust = trust;
  g_queue_init (&direct->sends);
  g_queue_init (&direct->receives);
  direct->shares = pilot_shares_new (MAX_RECEIVING, MAX_RECEIVING_OF_PEER);
  direct->seen = pilot_trust_seen_new (MAX_SEEN, SEEN_LIFETIME);
  direct->stamps = g_hash_table_new_full (NULL, NULL, NULL, g_free);
  return direct;
}

void
pilot_trust_direct_free (PilotTrustDirect *direct)
{
  pilot_trust_direct_stop (direct);
  pilot_shares_free (direct->shares);
  pilot_trust_seen_free (direct->seen);
  g_hash_table_unref (direct->stamps);
  g_free (direct);
}
