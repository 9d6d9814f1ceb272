/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "echo.h"

#include <string.h>

#include "daemon/core/shares.h"

#define ECHO_PORT 7
#define MAX_SESSIONS 1024
#define MAX_SESSIONS_OF_PEER 256
/* A reader slower than this loses its connection (services.md section 2), in seconds. */
#define STALL_LIMIT 30
#define TRACE_SIZE 12
#define TRACE_REPLY_SIZE 20

typedef struct {
  PilotStreamUser user; /* first */
  PilotEcho *echo;
  PilotStream *stream;
  guint32 peer;
  GList link;
  gboolean eof;
  gint64 moved_at;
} Session;

struct _PilotEcho {
  PilotNode *node;
  GQueue sessions;
  PilotShares *shares;
  guint sweep_source;
  gboolean bound;
};

static void
session_end (Session *session, gboolean reset)
{
  gint64 now = g_get_monotonic_time ();

  g_queue_unlink (&session->echo->sessions, &session->link);
  pilot_shares_give_back (session->echo->shares, session->peer);
  pilot_stream_set_user_data (session->stream, NULL);
  if (reset)
    pilot_stream_reset (session->stream, now);
  pilot_stream_release (session->stream, now);
  pilot_node_kick (session->echo->node);
  g_free (session);
}

/* A probe that measures: the time it was sent is given back, with the time it came, nanoseconds since 1970. TRUE if @data was one. */
static gboolean
answer_trace (Session *session, const guint8 *data, gsize length, gint64 now)
{
  guint8 reply[TRACE_REPLY_SIZE];
  struct iovec vectors[2];
  guint64 received = (guint64) g_get_real_time () * 1000;
  guint n;
  gsize room = 0;

  if (length < TRACE_SIZE || memcmp (data, "TRCE", 4) != 0)
    return FALSE;
  n = pilot_stream_write_vectors (session->stream, vectors);
  for (guint i = 0; i < n; i++)
    room += vectors[i].iov_len;
  if (room < sizeof reply)
    return FALSE;
  memcpy (reply, data, TRACE_SIZE);
  for (guint i = 0; i < 8; i++)
    reply[TRACE_SIZE + i] = (guint8) (received >> (56 - 8 * i));
  pilot_stream_write (session->stream, reply, sizeof reply, now);
  return TRUE;
}

static void
copy (Session *session)
{
  gint64 now = g_get_monotonic_time ();
  struct iovec vectors[2];

  while (pilot_stream_read_vectors (session->stream, vectors) > 0) {
    gsize taken = vectors[0].iov_len;

    if (!answer_trace (session, vectors[0].iov_base, vectors[0].iov_len, now))
      taken = pilot_stream_write (session->stream, vectors[0].iov_base, vectors[0].iov_len, now);
    if (taken == 0)
      return; /* full: WRITE will be signalled; what is not read closes the peer's window */
    session->moved_at = now;
    pilot_stream_read_consume (session->stream, taken, now);
  }
}

static void
session_ready (PilotStreamUser *user, PilotStream *stream, guint ready)
{
  Session *session = (Session *) user;

  if (ready & PILOT_STREAM_READY_CLOSED) {
    session_end (session, FALSE);
    return;
  }
  copy (session);
  if (pilot_stream_is_eof (stream))
    session_end (session, FALSE); /* everything was echoed; closes in order */
}

static gboolean
on_sweep (gpointer user_data)
{
  PilotEcho *echo = user_data;
  gint64 now = g_get_monotonic_time ();

  for (GList *item = echo->sessions.head; item != NULL;) {
    Session *session = item->data;
    struct iovec vectors[2];

    item = item->next;
    if (now - session->moved_at > STALL_LIMIT * (gint64) G_USEC_PER_SEC && pilot_stream_read_vectors (session->stream, vectors) > 0)
      session_end (session, TRUE);
  }
  if (echo->sessions.length > 0)
    return G_SOURCE_CONTINUE;
  echo->sweep_source = 0;
  return G_SOURCE_REMOVE;
}

static void
on_stream (PilotNode *node, PilotStream *stream, guint32 peer, gpointer user_data)
{
  PilotEcho *echo = user_data;
  gint64 now = g_get_monotonic_time ();
  Session *session;

  if (!pilot_shares_take (echo->shares, peer)) {
    pilot_stream_refuse (stream, now);
    return;
  }
  session = g_new0 (Session, 1);
  session->user.ready = session_ready;
  session->echo = echo;
  session->stream = stream;
  session->peer = peer;
  session->moved_at = now;
  session->link.data = session;
  g_queue_push_tail_link (&echo->sessions, &session->link);
  if (echo->sweep_source == 0)
    echo->sweep_source = g_timeout_add_seconds (10, on_sweep, echo);
  pilot_stream_set_user_data (stream, &session->user);
  pilot_stream_accept (stream, now);
}

gboolean
pilot_echo_start (PilotEcho *echo, GError **error)
{
  echo->bound = pilot_node_bind (echo->node, ECHO_PORT, FALSE, on_stream, echo, error);
  return echo->bound;
}

void
pilot_echo_stop (PilotEcho *echo)
{
  if (echo->bound)
    pilot_node_unbind (echo->node, ECHO_PORT);
  echo->bound = FALSE;
  while (echo->sessions.head != NULL)
    session_end (echo->sessions.head->data, FALSE);
  g_clear_handle_id (&echo->sweep_source, g_source_remove);
}

PilotEcho *
pilot_echo_new (PilotNode *node)
{
  PilotEcho *echo = g_new0 (PilotEcho, 1);

  echo->node = g_object_ref (node);
  g_queue_init (&echo->sessions);
  echo->shares = pilot_shares_new (MAX_SESSIONS, MAX_SESSIONS_OF_PEER);
  return echo;
}

void
pilot_echo_free (PilotEcho *echo)
{
  if (echo == NULL)
    return;
  pilot_echo_stop (echo);
  pilot_shares_free (echo->shares);
  g_object_unref (echo->node);
  g_free (echo);
}
