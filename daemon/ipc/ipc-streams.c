/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/ipc/ipc-private.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "libpilot/pilot-error.h"

/* The client's whole wait is 30 s, and an answer that comes later would be taken for that of its next dial (ipc.md W1). */
#define DIAL_SECONDS 25
/* The most data in one frame. Go's driver keeps 256 frames of each stream that is not read, and then stops reading altogether: few large ones put that off. */
#define PUSH_MAX (64 * 1024)
#define TURN_BUDGET (512 * 1024)
/* A client with this much unread gets no new streams. */
#define ACCEPT_BACKLOG (256 * 1024)
/* How long the stream may have no room for what a client wrote before it closed. */
#define CLOSING_SECONDS 60
/* What those may hold in all. A client holds 4 MiB at most, but may come again and again: above this who left first loses what is left of his. */
#define MAX_CLOSING ((gsize) 32 * 1024 * 1024)
/* When an end is said again: a driver forgets one that comes before it has the stream in its table (ipc.md W3). */
static const guint repeats_ms[] = { 100, 1000, 5000 };

/* A port that a client listens on. */
typedef struct {
  PilotIpcClient *client;
  guint16 port;
} PilotIpcPort;

struct _PilotIpcConn {
  PilotStreamUser user; /* first: what the stream's user data points at */
  PilotIpc *ipc;
  PilotIpcClient *client; /* NULL = nobody's: in ipc->closing */
  PilotStream *stream;
  GList link;          /* of client->conns or ipc->closing */
  GList readable_link; /* of client->readable; data NULL while it is not in there */
  guint32 id, peer;
  guint16 port;
  gboolean dialing;
  gboolean over;       /* the stream has ended both ways; what it still holds can be read */
  GByteArray *pending; /* (nullable) what the client wrote and the stream had no room for, from pending_at on */
  gsize pending_at;
  gint64 moved_at; /* while closing: when the stream took some of it last */
  guint source;    /* limit of a dial, or of closing */
};

/* A stream that ended by itself, until the client has closed it or has been told often enough. */
typedef struct {
  PilotIpcClient *client;
  guint32 id;
  guint step, source;
} Finished;

static void conn_ready (PilotStreamUser *user, PilotStream *stream, guint ready);

/* --- ends that are said again --- */

static void
finished_free (gpointer data)
{
  Finished *finished = data;

  g_clear_handle_id (&finished->source, g_source_remove);
  g_free (finished);
}

static void
put_end (PilotIpcClient *client, guint32 id)
{
  pilot_ipc_put_conn (client->out, PILOT_IPC_CLOSE_OK, id);
}

static gboolean
on_repeat (gpointer user_data)
{
  Finished *finished = user_data;
  PilotIpcClient *client = finished->client;

  finished->source = 0;
  finished->step++;
  /* What it has not read yet says it already. */
  if (pilot_ipc_client_backlog (client) == 0) {
    put_end (client, finished->id);
    pilot_ipc_client_flush (client);
  }
  if (finished->step < G_N_ELEMENTS (repeats_ms))
    finished->source = g_timeout_add (repeats_ms[finished->step], on_repeat, finished);
  else
    g_hash_table_remove (client->finished, GUINT_TO_POINTER (finished->id));
  return G_SOURCE_REMOVE;
}

static void
say_end (PilotIpcClient *client, guint32 id)
{
  Finished *finished;

  put_end (client, id);
  if (g_hash_table_size (client->finished) >= PILOT_IPC_MAX_CONNS)
    return;
  finished = g_new0 (Finished, 1);
  finished->client = client;
  finished->id = id;
  finished->source = g_timeout_add (repeats_ms[0], on_repeat, finished);
  g_hash_table_insert (client->finished, GUINT_TO_POINTER (id), finished);
}

/* --- a stream and its client --- */

static gsize
pending_length (PilotIpcConn *conn)
{
  return conn->pending != NULL ? conn->pending->len - conn->pending_at : 0;
}

static void
set_readable (PilotIpcConn *conn, gboolean readable)
{
  if ((conn->readable_link.data != NULL) == readable)
    return;
  if (readable) {
    conn->readable_link.data = conn;
    g_queue_push_tail_link (&conn->client->readable, &conn->readable_link);
  } else {
    g_queue_unlink (&conn->client->readable, &conn->readable_link);
    conn->readable_link.data = NULL;
  }
}

static PilotIpcConn *
conn_new (PilotIpcClient *client, guint32 peer, guint16 port)
{
  PilotIpcConn *conn = g_new0 (PilotIpcConn, 1);

  conn->user.ready = conn_ready;
  conn->ipc = client->ipc;
  conn->client = client;
  conn->peer = peer;
  conn->port = port;
  conn->link.data = conn;
  return conn;
}

/* It has a stream: the client owns it from now on. */
static void
conn_attach (PilotIpcConn *conn, PilotStream *stream)
{
  PilotStreamInfo info;

  pilot_stream_info (stream, &info);
  conn->stream = stream;
  conn->id = info.id;
  g_queue_push_tail_link (&conn->client->conns, &conn->link);
  g_hash_table_insert (conn->ipc->conns, GUINT_TO_POINTER (conn->id), conn);
}

/* Lets the stream go, which sends on by itself what it holds. The connection must be in no list any more. */
static void
conn_free (PilotIpcConn *conn)
{
  g_clear_handle_id (&conn->source, g_source_remove);
  pilot_stream_set_user_data (conn->stream, NULL);
  pilot_stream_release (conn->stream, g_get_monotonic_time ());
  pilot_node_kick (conn->ipc->node);
  g_clear_pointer (&conn->pending, g_byte_array_unref);
  g_free (conn);
}

/* It is nobody's, and ends. */
static void
conn_leave_closing (PilotIpcConn *conn)
{
  g_queue_unlink (&conn->ipc->closing, &conn->link);
  conn->ipc->closing_bytes -= pending_length (conn);
}

void
pilot_ipc_conn_reset (PilotIpcConn *conn)
{
  conn_leave_closing (conn);
  pilot_stream_reset (conn->stream, g_get_monotonic_time ());
  conn_free (conn);
}

static gboolean
on_closing_timeout (gpointer user_data)
{
  PilotIpcConn *conn = user_data;

  if (g_get_monotonic_time () - conn->moved_at < CLOSING_SECONDS * (gint64) G_USEC_PER_SEC)
    return G_SOURCE_CONTINUE;
  conn->source = 0;
  pilot_ipc_conn_reset (conn);
  return G_SOURCE_REMOVE;
}

/* The client has nothing to do with it any more; what it wrote still goes out. */
static void
conn_detach (PilotIpcConn *conn)
{
  PilotIpcClient *client = conn->client;
  PilotIpc *ipc = conn->ipc;

  set_readable (conn, FALSE);
  if (client->dial == conn)
    client->dial = NULL;
  g_queue_unlink (&client->conns, &conn->link);
  g_hash_table_remove (ipc->conns, GUINT_TO_POINTER (conn->id));
  g_clear_handle_id (&conn->source, g_source_remove);
  if (pending_length (conn) > 0) {
    client->send_queued -= pending_length (conn);
    /* Frames behind that may have been left alone. */
    pilot_ipc_client_wake (client);
  }
  conn->client = NULL;
  if (conn->over || pending_length (conn) == 0) {
    conn_free (conn);
    return;
  }
  g_queue_push_tail_link (&ipc->closing, &conn->link);
  ipc->closing_bytes += pending_length (conn);
  conn->moved_at = g_get_monotonic_time ();
  conn->source = g_timeout_add_seconds (CLOSING_SECONDS, on_closing_timeout, conn);
  while (ipc->closing_bytes > MAX_CLOSING)
    pilot_ipc_conn_reset (ipc->closing.head->data);
}

/* Everything was read to its end, or nobody can read more. The caller flushes. */
static void
conn_finish (PilotIpcConn *conn)
{
  PilotIpcClient *client = conn->client;
  guint32 id = conn->id;

  conn_detach (conn);
  say_end (client, id);
}

/* What waits goes into the stream as far as it has room. */
static void
conn_drain (PilotIpcConn *conn)
{
  gsize length = pending_length (conn), taken;

  if (length == 0)
    return;
  taken = pilot_stream_write (conn->stream, conn->pending->data + conn->pending_at, length, g_get_monotonic_time ());
  conn->pending_at += taken;
  if (taken > 0)
    conn->moved_at = g_get_monotonic_time ();
  if (taken == length) {
    g_clear_pointer (&conn->pending, g_byte_array_unref);
    conn->pending_at = 0;
  } else if (conn->pending_at > conn->pending->len / 2) {
    g_byte_array_remove_range (conn->pending, 0, (guint) conn->pending_at);
    conn->pending_at = 0;
  }
  if (conn->client != NULL) {
    conn->client->send_queued -= taken;
    if (taken > 0)
      pilot_ipc_client_wake (conn->client);
    return;
  }
  conn->ipc->closing_bytes -= taken;
  if (taken == length) {
    conn_leave_closing (conn);
    conn_free (conn);
  }
}

/* --- stream to client --- */

/* One frame. FALSE when the socket takes no more now. */
static gboolean
conn_push (PilotIpcConn *conn, gsize *moved)
{
  PilotIpcClient *client = conn->client;
  guint8 header[PILOT_IPC_RECV_HEADER_SIZE];
  struct iovec parts[3] = { { header, sizeof header } };
  struct msghdr message = { .msg_iov = parts };
  guint n_spans = pilot_stream_read_vectors (conn->stream, parts + 1);
  gsize length = 0;
  gssize put;

  if (n_spans == 0) {
    set_readable (conn, FALSE);
    if (conn->over || pilot_stream_is_eof (conn->stream))
      conn_finish (conn);
    return TRUE;
  }
  for (guint i = 1; i <= n_spans; i++) {
    parts[i].iov_len = MIN (parts[i].iov_len, PUSH_MAX - length);
    length += parts[i].iov_len;
  }
  pilot_ipc_recv_header (header, conn->id, length);
  message.msg_iovlen = n_spans + 1;
  do
    put = sendmsg (client->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (put < 0 && errno == EINTR);
  if (put < 0)
    return FALSE; /* full; or gone, which the poller will say */
  /* A frame that was begun has to end: its rest goes first. */
  for (guint i = 0; i <= n_spans; i++) {
    gsize done = MIN ((gsize) put, parts[i].iov_len);

    g_byte_array_append (client->out, (const guint8 *) parts[i].iov_base + done, (guint) (parts[i].iov_len - done));
    put -= (gssize) done;
  }
  pilot_stream_read_consume (conn->stream, length, g_get_monotonic_time ());
  *moved += length;
  /* The others are next. */
  set_readable (conn, FALSE);
  set_readable (conn, TRUE);
  return TRUE;
}

void
pilot_ipc_client_push (PilotIpcClient *client)
{
  gsize moved = 0;

  while (client->readable.length > 0 && moved < TURN_BUDGET && pilot_ipc_client_write (client))
    if (!conn_push (client->readable.head->data, &moved))
      break;
  /* An end that came last. */
  pilot_ipc_client_write (client);
  if (moved > 0)
    pilot_node_kick (client->ipc->node);
}

/* --- dial --- */

/* Only an answer that somebody waits for: a driver that gave up takes an error for the answer of what it asks now (ipc.md W1, W2, W6). */
static void
dial_failed (PilotIpcConn *conn, const char *text)
{
  PilotIpcClient *client = conn->client;

  conn_detach (conn);
  if (client->calls.length > 0)
    return;
  pilot_ipc_put_error (client->out, text);
  pilot_ipc_client_flush (client);
}

static void
dial_over (PilotIpcConn *conn)
{
  PilotStreamError error = pilot_stream_get_error (conn->stream);
  g_autoptr (GError) why = NULL;

  conn->over = TRUE;
  switch (error) {
  case PILOT_STREAM_ERROR_REFUSED:
    dial_failed (conn, "connection refused");
    break;
  case PILOT_STREAM_ERROR_TIMEOUT:
    dial_failed (conn, "dial timeout");
    break;
  case PILOT_STREAM_ERROR_NO_KEY_EXCHANGE:
    dial_failed (conn, "dial timeout: key exchange with peer did not complete");
    break;
  default:
    why = pilot_node_stream_error (conn->ipc->node, conn->peer, conn->port, error);
    dial_failed (conn, why->message);
    break;
  }
}

static gboolean
on_dial_timeout (gpointer user_data)
{
  PilotIpcConn *conn = user_data;
  PilotPeerInfo info;
  gboolean session = pilot_overlay_peer_info (pilot_node_get_overlay (conn->ipc->node), conn->peer, &info) && info.session;

  conn->source = 0;
  dial_failed (conn, session ? "dial timeout" : "dial timeout: key exchange with peer did not complete");
  return G_SOURCE_REMOVE;
}

static void
dial_open (PilotIpcConn *conn)
{
  PilotIpcClient *client = conn->client;

  conn->dialing = FALSE;
  client->dial = NULL;
  g_clear_handle_id (&conn->source, g_source_remove);
  pilot_ipc_put_conn (client->out, PILOT_IPC_DIAL_OK, conn->id);
  pilot_ipc_client_flush (client);
}

void
pilot_ipc_dial (PilotIpcClient *client, const PilotIpcRequest *request)
{
  g_autoptr (GError) error = NULL;
  PilotIpcConn *conn;
  PilotStream *stream;

  /* Go's driver has one dial at a time: it gave the former up. Answered, that would be taken for the answer of this one, and data go to the wrong peer. */
  pilot_ipc_cancel (client);
  conn = conn_new (client, request->address.node, request->port);
  if (client->conns.length >= PILOT_IPC_MAX_CONNS)
    g_set_error (&error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "dial: per-client connection quota (%d) reached", PILOT_IPC_MAX_CONNS);
  else if (request->address.network != 0)
    g_set_error (&error, PILOT_ERROR, PILOT_ERROR_NOT_SUPPORTED, "network %u is not one this node is in", request->address.network);
  else if ((stream = pilot_node_connect (client->ipc->node, conn->peer, conn->port, &conn->user, &error)) != NULL) {
    conn->dialing = TRUE;
    conn_attach (conn, stream);
    client->dial = conn;
    conn->source = g_timeout_add_seconds (DIAL_SECONDS, on_dial_timeout, conn);
    return;
  }
  g_free (conn);
  pilot_ipc_put_error (client->out, error->message);
  pilot_ipc_client_flush (client);
}

void
pilot_ipc_cancel (PilotIpcClient *client)
{
  if (client->dial != NULL)
    conn_detach (client->dial);
}

/* --- events of streams --- */

static void
conn_ready (PilotStreamUser *user, PilotStream *stream, guint ready)
{
  PilotIpcConn *conn = (PilotIpcConn *) user;
  PilotIpcClient *client = conn->client;

  if ((ready & PILOT_STREAM_READY_CLOSED) != 0) {
    if (client == NULL) {
      conn_leave_closing (conn);
      conn_free (conn);
      return;
    }
    /* One that was opened and is over in the same breath was opened. */
    if (conn->dialing && (ready & PILOT_STREAM_READY_OPEN) == 0) {
      dial_over (conn);
      return;
    }
    conn->over = TRUE;
  }
  if ((ready & PILOT_STREAM_READY_OPEN) != 0 && conn->dialing)
    dial_open (conn);
  /* conn_drain() may be the last that happens to it. */
  if (client != NULL && (ready & (PILOT_STREAM_READY_READ | PILOT_STREAM_READY_EOF | PILOT_STREAM_READY_CLOSED)) != 0) {
    set_readable (conn, TRUE);
    if (!conn->over)
      conn_drain (conn);
    pilot_ipc_client_flush (client);
    return;
  }
  conn_drain (conn);
}

/* --- ports --- */

static void
on_incoming (PilotNode *node, PilotStream *stream, guint32 peer, gpointer user_data)
{
  PilotIpcPort *port = user_data;
  PilotIpcClient *client = port->client;
  gint64 now = g_get_monotonic_time ();
  PilotStreamInfo info;
  PilotIpcConn *conn;

  if (client->conns.length >= PILOT_IPC_MAX_CONNS || pilot_ipc_client_backlog (client) >= ACCEPT_BACKLOG) {
    pilot_stream_refuse (stream, now);
    return;
  }
  conn = conn_new (client, peer, port->port);
  conn_attach (conn, stream);
  pilot_stream_set_user_data (stream, &conn->user);
  pilot_stream_accept (stream, now);
  pilot_stream_info (stream, &info);
  pilot_ipc_put_accept (client->out, port->port, conn->id, &info.remote, info.remote_port);
  pilot_ipc_client_flush (client);
}

void
pilot_ipc_bind (PilotIpcCall *call, const PilotIpcRequest *request)
{
  PilotIpcClient *client = call->client;
  GError *error = NULL;
  PilotIpcPort *port = g_new (PilotIpcPort, 1);

  *port = (PilotIpcPort) { client, request->port };
  if (pilot_node_bind (client->ipc->node, request->port, FALSE, on_incoming, port, &error)) {
    g_hash_table_insert (client->ports, GUINT_TO_POINTER ((guint) request->port), port);
    pilot_ipc_call_reply_port (call, request->port);
    return;
  }
  g_free (port);
  if (g_error_matches (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS)) {
    g_error_free (error);
    pilot_ipc_call_fail (call, "port %u already bound", request->port);
  } else
    pilot_ipc_call_fail_error (call, "bind", error);
}

void
pilot_ipc_unbind (PilotIpcCall *call, const PilotIpcRequest *request)
{
  PilotIpcClient *client = call->client;

  if (!g_hash_table_contains (client->ports, GUINT_TO_POINTER ((guint) request->port))) {
    pilot_ipc_call_fail (call, "unbind: port is not owned by this client");
    return;
  }
  pilot_node_unbind (client->ipc->node, request->port);
  g_hash_table_remove (client->ports, GUINT_TO_POINTER ((guint) request->port));
  pilot_ipc_call_reply_port (call, request->port);
}

/* --- send and close --- */

void
pilot_ipc_send (PilotIpcClient *client, const PilotIpcRequest *request)
{
  PilotIpcConn *conn = g_hash_table_lookup (client->ipc->conns, GUINT_TO_POINTER (request->conn_id));
  gsize taken = 0;

  if (conn == NULL || conn->client != client || conn->over || conn->dialing) {
    /* Somebody else's or nobody's: not a word. One that has ended and that the client knows no end of: the end again. */
    if (g_hash_table_contains (client->finished, GUINT_TO_POINTER (request->conn_id))) {
      put_end (client, request->conn_id);
      pilot_ipc_client_flush (client);
    }
    return;
  }
  if (pending_length (conn) == 0)
    taken = pilot_stream_write (conn->stream, request->data, request->data_length, g_get_monotonic_time ());
  if (taken == request->data_length)
    return;
  if (conn->pending == NULL)
    conn->pending = g_byte_array_new ();
  g_byte_array_append (conn->pending, request->data + taken, (guint) (request->data_length - taken));
  client->send_queued += request->data_length - taken;
}

void
pilot_ipc_close (PilotIpcCall *call, const PilotIpcRequest *request)
{
  PilotIpcClient *client = call->client;
  PilotIpcConn *conn = g_hash_table_lookup (client->ipc->conns, GUINT_TO_POINTER (request->conn_id));

  if (conn == NULL) {
    if (!g_hash_table_remove (client->finished, GUINT_TO_POINTER (request->conn_id)))
      pilot_node_disconnect (client->ipc->node, request->conn_id);
  } else if (conn->dialing)
    dial_failed (conn, "connection closed");
  else if (conn->client == client)
    conn_detach (conn);
  else {
    PilotIpcClient *owner = conn->client;

    conn_finish (conn);
    pilot_ipc_client_flush (owner);
  }
  pilot_ipc_call_reply_conn (call, request->conn_id);
}

/* --- the client --- */

void
pilot_ipc_client_init_streams (PilotIpcClient *client)
{
  client->ports = g_hash_table_new_full (NULL, NULL, NULL, g_free);
  client->finished = g_hash_table_new_full (NULL, NULL, NULL, finished_free);
}

void
pilot_ipc_client_release (PilotIpcClient *client)
{
  GHashTableIter iter;
  gpointer key;

  g_hash_table_iter_init (&iter, client->ports);
  while (g_hash_table_iter_next (&iter, &key, NULL))
    pilot_node_unbind (client->ipc->node, (guint16) GPOINTER_TO_UINT (key));
  while (client->conns.head != NULL)
    conn_detach (client->conns.head->data);
  g_hash_table_unref (client->ports);
  g_hash_table_unref (client->finished);
}
