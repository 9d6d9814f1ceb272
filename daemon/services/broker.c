/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "broker.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/core/shares.h"
#include "daemon/services/hoarder.h"
#include "libpilot/pilot-error.h"
#include "protocol/rate-limit.h"
#include "protocol/topic-message.h"

#define MAX_SESSIONS 4096
#define MAX_SESSIONS_OF_PEER 256
#define MAX_PER_TOPIC 1000
#define EVERYTHING "*"
#define PUBLISH_INTERVAL_US 10000
#define PUBLISH_BURST 200
#define MAX_WAITING (4 * 1024 * 1024)
/* Frames that come in pieces, of all connections together: above that the peer who holds most of it loses his largest. */
#define MAX_ASSEMBLING (64 * 1024 * 1024)
#define KEPT_INPUT (64 * 1024)
#define FIRST_FRAME_SECONDS 30
#define STALL_SECONDS 15
#define SWEEP_SECONDS 5
#define SAY_EVERY (10 * G_USEC_PER_SEC)

/* A connection: the stream of a peer, or the socket of a program of this machine, which only listens. */
typedef struct {
  PilotStreamUser user; /* first */
  PilotBroker *broker;
  PilotStream *stream; /* NULL: local */
  guint32 peer;
  int fd; /* -1: a peer */
  PilotPollerWatch *watch;
  GList link;

  char *topic; /* NULL: has not subscribed yet */
  GByteArray *input;
  PilotTokenBucket bucket;
  guint64 dropped; /* of its own events, since it was last said */
  gint64 said_at;

  GQueue output; /* of GBytes */
  gsize waiting, offset;
  gint64 moved_at;
} Session;

struct _PilotBroker {
  PilotNode *node;
  GQueue sessions;
  PilotShares *shares;
  GHashTable *topics; /* topic -> GPtrArray of Session */
  gsize assembling;
  gboolean active;
  guint sweep_source;
  PilotBrokerStats stats;
};

/* --- connections --- */

static void
leave_topic (Session *session)
{
  GPtrArray *members = g_hash_table_lookup (session->broker->topics, session->topic);

  g_ptr_array_remove (members, session);
  if (members->len == 0)
    g_hash_table_remove (session->broker->topics, session->topic);
  session->broker->stats.subscribers--;
}

static void
session_end (Session *session, gboolean reset)
{
  PilotBroker *broker = session->broker;
  gint64 now = g_get_monotonic_time ();

  if (session->topic != NULL)
    leave_topic (session);
  g_queue_unlink (&broker->sessions, &session->link);
  pilot_shares_give_back (broker->shares, session->stream != NULL ? session->peer : PILOT_SHARES_OWN);
  if (session->stream != NULL) {
    pilot_stream_set_user_data (session->stream, NULL);
    if (reset)
      pilot_stream_reset (session->stream, now);
    pilot_stream_release (session->stream, now);
    pilot_node_kick (broker->node);
  } else {
    g_clear_pointer (&session->watch, pilot_poller_remove);
    close (session->fd);
  }
  broker->assembling -= session->input->len;
  g_byte_array_unref (session->input);
  g_queue_clear_full (&session->output, (GDestroyNotify) g_bytes_unref);
  g_free (session->topic);
  g_free (session);
}

static gboolean
on_sweep (gpointer user_data)
{
  PilotBroker *broker = user_data;
  gint64 now = g_get_monotonic_time ();

  for (GList *item = broker->sessions.head; item != NULL;) {
    Session *session = item->data;
    gint64 idle = now - session->moved_at;

    item = item->next;
    if ((session->output.length > 0 && idle > STALL_SECONDS * G_USEC_PER_SEC) || (session->topic == NULL && idle > FIRST_FRAME_SECONDS * G_USEC_PER_SEC)) {
      g_message ("event stream: node %u %s: closed", session->peer, session->topic != NULL ? "has taken nothing for a while" : "did not subscribe");
      session_end (session, TRUE);
    }
  }
  if (broker->sessions.length > 0)
    return G_SOURCE_CONTINUE;
  broker->sweep_source = 0;
  return G_SOURCE_REMOVE;
}

static Session *
session_new (PilotBroker *broker)
{
  Session *session = g_new0 (Session, 1);

  session->broker = broker;
  session->fd = -1;
  session->input = g_byte_array_new ();
  session->moved_at = g_get_monotonic_time ();
  session->link.data = session;
  g_queue_init (&session->output);
  g_queue_push_tail_link (&broker->sessions, &session->link);
  if (broker->sweep_source == 0)
    broker->sweep_source = g_timeout_add_seconds (SWEEP_SECONDS, on_sweep, broker);
  return session;
}

/* FALSE when the topic has as many as it may. */
static gboolean
session_subscribe (Session *session, const char *topic)
{
  GPtrArray *members = g_hash_table_lookup (session->broker->topics, topic);

  if (members == NULL) {
    members = g_ptr_array_new ();
    g_hash_table_insert (session->broker->topics, g_strdup (topic), members);
  }
  if (members->len >= MAX_PER_TOPIC)
    return FALSE;
  g_ptr_array_add (members, session);
  session->topic = g_strdup (topic);
  session->broker->stats.subscribers++;
  return TRUE;
}

/* --- out --- */

/* Bytes that were taken; 0: not now; -1: it is gone. */
static gssize
put (Session *session, const guint8 *data, gsize length)
{
  gssize sent;

  if (session->stream != NULL)
    return (gssize) pilot_stream_write (session->stream, data, length, g_get_monotonic_time ());
  sent = send (session->fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : sent;
}

static void
flush (Session *session)
{
  while (session->output.head != NULL) {
    GBytes *frame = session->output.head->data;
    gsize size;
    const guint8 *data = g_bytes_get_data (frame, &size);
    gssize taken = put (session, data + session->offset, size - session->offset);

    if (taken <= 0)
      break; /* that it is gone is told where it is watched */
    session->moved_at = g_get_monotonic_time ();
    session->offset += (gsize) taken;
    session->waiting -= (gsize) taken;
    if (session->offset == size) {
      session->offset = 0;
      session->broker->stats.delivered++;
      g_bytes_unref (g_queue_pop_head (&session->output));
    }
  }
  if (session->watch != NULL)
    pilot_poller_modify (session->watch, session->output.head != NULL ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void
say_dropped (Session *session, const char *why)
{
  gint64 now = g_get_monotonic_time ();

  session->dropped++;
  if (session->said_at != 0 && now - session->said_at < SAY_EVERY)
    return;
  g_message ("event stream: node %u %s: %" G_GUINT64_FORMAT " events dropped", session->peer, why, session->dropped);
  session->said_at = now;
  session->dropped = 0;
}

static void
deliver (Session *session, GBytes *frame)
{
  gsize size = g_bytes_get_size (frame);

  /* One event is always taken, however large. */
  if (session->output.length > 0 && session->waiting + size > MAX_WAITING) {
    session->broker->stats.dropped_slow++;
    say_dropped (session, "reads too slowly");
    return;
  }
  if (session->output.length == 0)
    session->moved_at = g_get_monotonic_time ();
  g_queue_push_tail (&session->output, g_bytes_ref (frame));
  session->waiting += size;
  flush (session);
}

static void
deliver_to (PilotBroker *broker, const char *topic, GBytes *frame, Session *except)
{
  GPtrArray *members = g_hash_table_lookup (broker->topics, topic);

  for (guint i = 0; members != NULL && i < members->len; i++)
    if (members->pdata[i] != except)
      deliver (members->pdata[i], frame);
}

static void
publish (PilotBroker *broker, const char *topic, GBytes *frame, Session *from)
{
  broker->stats.published++;
  deliver_to (broker, topic, frame, from);
  if (!g_str_equal (topic, EVERYTHING))
    deliver_to (broker, EVERYTHING, frame, from);
  pilot_node_kick (broker->node);
}

/* --- in --- */

/* One whole frame. FALSE: the connection is to be closed. */
static gboolean
handle_frame (Session *session, const PilotTopicMessage *message, const guint8 *data)
{
  g_autofree char *topic = g_strndup (message->topic, message->topic_length);
  g_autoptr (GBytes) frame = NULL;

  if (session->topic == NULL)
    return session_subscribe (session, topic);
  if (!pilot_token_bucket_take (&session->bucket, PUBLISH_INTERVAL_US, PUBLISH_BURST, g_get_monotonic_time ())) {
    session->broker->stats.dropped_rate++;
    say_dropped (session, "publishes too fast");
    return TRUE;
  }
  frame = g_bytes_new (data, message->size);
  publish (session->broker, topic, frame, session);
  return TRUE;
}

/* What has come, as far as it makes frames. FALSE: the connection is to be closed. */
static gboolean
take_frames (Session *session)
{
  PilotTopicMessage message;
  PilotTopicMessageStatus status;
  gsize used = 0;

  while ((status = pilot_topic_message_decode (&message, session->input->data + used, session->input->len - used)) == PILOT_TOPIC_MESSAGE_OK) {
    if (!handle_frame (session, &message, session->input->data + used))
      return FALSE;
    used += message.size;
  }
  if (used > 0) {
    if (used == session->input->len && used > KEPT_INPUT) {
      /* A large one came once: its room is not kept. */
      g_byte_array_unref (session->input);
      session->input = g_byte_array_new ();
    } else
      g_byte_array_remove_range (session->input, 0, (guint) used);
    session->broker->assembling -= used;
    session->moved_at = g_get_monotonic_time ();
  }
  return status != PILOT_TOPIC_MESSAGE_INVALID;
}

static PilotHolding
describe (gconstpointer data)
{
  const Session *session = data;

  return (PilotHolding) { .peer = session->peer, .held = session->input->len };
}

/* FALSE when @session had to go itself. */
static gboolean
make_room (Session *session, gsize length)
{
  PilotBroker *broker = session->broker;

  while (broker->assembling + length > MAX_ASSEMBLING) {
    Session *largest = pilot_hoarder_find (&broker->sessions, describe);

    /* What a stream can hand over at once is less than that, so somebody holds something. */
    g_assert (largest != NULL);
    g_message ("event stream: too many large events at once: node %u is closed", largest->peer);
    session_end (largest, TRUE);
    if (largest == session)
      return FALSE;
  }
  return TRUE;
}

/* FALSE when it is gone. */
static gboolean
session_read (Session *session)
{
  PilotBroker *broker = session->broker;
  struct iovec vectors[2];

  while (pilot_stream_read_vectors (session->stream, vectors) > 0) {
    gsize length = vectors[0].iov_len;

    if (!make_room (session, length))
      return FALSE;
    g_byte_array_append (session->input, vectors[0].iov_base, (guint) length);
    broker->assembling += length;
    pilot_stream_read_consume (session->stream, length, g_get_monotonic_time ());
    if (!take_frames (session)) {
      session_end (session, TRUE);
      return FALSE;
    }
  }
  return TRUE;
}

static void
session_ready (PilotStreamUser *user, PilotStream *stream, guint ready)
{
  Session *session = (Session *) user;

  /* What it has published before it closed still counts. */
  if (!session_read (session))
    return;
  if ((ready & PILOT_STREAM_READY_CLOSED) != 0 || pilot_stream_is_eof (stream))
    session_end (session, FALSE);
  else
    flush (session);
}

static void
on_stream (PilotNode *node, PilotStream *stream, guint32 peer, gpointer user_data)
{
  PilotBroker *broker = user_data;
  gint64 now = g_get_monotonic_time ();
  Session *session;

  if (!pilot_shares_take (broker->shares, peer)) {
    pilot_stream_refuse (stream, now);
    return;
  }
  session = session_new (broker);
  session->user.ready = session_ready;
  session->stream = stream;
  session->peer = peer;
  pilot_stream_set_user_data (stream, &session->user);
  pilot_stream_accept (stream, now);
}

/* --- programs of this machine --- */

static void
on_local_ready (int fd, guint32 events, gpointer user_data)
{
  Session *session = user_data;
  char nothing[64];
  gssize got;

  if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
    session_end (session, FALSE);
    return;
  }
  if ((events & EPOLLIN) != 0) {
    /* It has nothing to say here: only that it is done. */
    got = recv (fd, nothing, sizeof nothing, MSG_DONTWAIT);
    if (got >= 0 || (errno != EAGAIN && errno != EINTR)) {
      session_end (session, FALSE);
      return;
    }
  }
  flush (session);
}

static gboolean
check_active (PilotBroker *broker, GError **error)
{
  if (!broker->active)
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, "the event stream of this node is switched off");
  return broker->active;
}

int
pilot_broker_subscribe (PilotBroker *broker, const char *topic, GError **error)
{
  Session *session;
  int fds[2];

  if (!check_active (broker, error))
    return -1;
  if (!pilot_shares_take (broker->shares, PILOT_SHARES_OWN)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "the event stream has %d connections already", MAX_SESSIONS);
    return -1;
  }
  /* Ours is never waited for (MSG_DONTWAIT); the program's is for it to set. */
  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot make a pair of sockets: %s", g_strerror (errno));
    pilot_shares_give_back (broker->shares, PILOT_SHARES_OWN);
    return -1;
  }
  session = session_new (broker);
  session->fd = fds[0];
  session->peer = pilot_node_get_id (broker->node);
  session->watch = pilot_poller_add (pilot_node_get_poller (broker->node), session->fd, EPOLLIN, on_local_ready, session);
  if (session_subscribe (session, topic))
    return fds[1];
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "the topic has %d subscribers already", MAX_PER_TOPIC);
  session_end (session, FALSE);
  close (fds[1]);
  return -1;
}

gboolean
pilot_broker_publish (PilotBroker *broker, GBytes *frame, GError **error)
{
  PilotTopicMessage message;
  g_autofree char *topic = NULL;
  gsize length;
  const guint8 *data = g_bytes_get_data (frame, &length);

  if (!check_active (broker, error))
    return FALSE;
  if (pilot_topic_message_decode (&message, data, length) != PILOT_TOPIC_MESSAGE_OK || message.size != length) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "this is no event");
    return FALSE;
  }
  topic = g_strndup (message.topic, message.topic_length);
  publish (broker, topic, frame, NULL);
  return TRUE;
}

/* --- life --- */

gboolean
pilot_broker_start (PilotBroker *broker, GError **error)
{
  broker->active = pilot_node_bind (broker->node, PILOT_BROKER_PORT, FALSE, on_stream, broker, error);
  return broker->active;
}

void
pilot_broker_stop (PilotBroker *broker)
{
  if (broker->active)
    pilot_node_unbind (broker->node, PILOT_BROKER_PORT);
  broker->active = FALSE;
  while (broker->sessions.head != NULL)
    session_end (broker->sessions.head->data, FALSE);
  g_clear_handle_id (&broker->sweep_source, g_source_remove);
}

gboolean
pilot_broker_is_active (PilotBroker *broker)
{
  return broker->active;
}

void
pilot_broker_get_stats (PilotBroker *broker, PilotBrokerStats *stats)
{
  *stats = broker->stats;
}

PilotBroker *
pilot_broker_new (PilotNode *node)
{
  PilotBroker *broker = g_new0 (PilotBroker, 1);

  broker->node = g_object_ref (node);
  broker->topics = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify) g_ptr_array_unref);
  g_queue_init (&broker->sessions);
  broker->shares = pilot_shares_new (MAX_SESSIONS, MAX_SESSIONS_OF_PEER);
  return broker;
}

void
pilot_broker_free (PilotBroker *broker)
{
  if (broker == NULL)
    return;
  pilot_broker_stop (broker);
  pilot_shares_free (broker->shares);
  g_hash_table_unref (broker->topics);
  g_object_unref (broker->node);
  g_free (broker);
}
