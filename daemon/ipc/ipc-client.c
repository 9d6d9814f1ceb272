/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/ipc/ipc-private.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libpilot/pilot-error.h"
#include "protocol/json.h"

/* What one client may do in one turn of the loop, in bytes and in microseconds: the others come next. */
#define TURN_BUDGET (512 * 1024)
#define TURN_TIME 5000
#define READ_SIZE (64 * 1024)
/* A client whose streams have no room for this much, or that leaves this much unread, is not listened to until that is better. */
#define SEND_BUDGET (4 * 1024 * 1024)
#define BACKLOG_PAUSE (2 * 1024 * 1024)
/* Buffers that had to be larger than this once are given back. */
#define KEEP_BUFFER (256 * 1024)

/* --- out --- */

gsize
pilot_ipc_client_backlog (PilotIpcClient *client)
{
  return client->out->len - client->out_at;
}

static void
empty (GByteArray **buffer)
{
  if ((*buffer)->len > KEEP_BUFFER) {
    g_byte_array_unref (*buffer);
    *buffer = g_byte_array_new ();
  } else
    g_byte_array_set_size (*buffer, 0);
}

/* Whoever talks to the client may be deep inside something: the client goes away in its own turn, which the hangup brings about. */
static void
mark_broken (PilotIpcClient *client)
{
  client->broken = TRUE;
  shutdown (client->fd, SHUT_RDWR);
}

gboolean
pilot_ipc_client_write (PilotIpcClient *client)
{
  if (client->broken)
    return FALSE;
  while (pilot_ipc_client_backlog (client) > 0) {
    gssize put = send (client->fd, client->out->data + client->out_at, pilot_ipc_client_backlog (client), MSG_NOSIGNAL | MSG_DONTWAIT);

    if (put < 0 && errno == EINTR)
      continue;
    if (put < 0) {
      if (errno != EAGAIN)
        mark_broken (client);
      return FALSE;
    }
    client->out_at += (gsize) put;
  }
  empty (&client->out);
  client->out_at = 0;
  return TRUE;
}

static gboolean
may_read (PilotIpcClient *client)
{
  return client->calls.length < PILOT_IPC_MAX_CALLS && client->send_queued < SEND_BUDGET && pilot_ipc_client_backlog (client) < BACKLOG_PAUSE;
}

static void
update_watch (PilotIpcClient *client)
{
  guint32 events = EPOLLRDHUP;

  if (may_read (client))
    events |= EPOLLIN;
  if (pilot_ipc_client_backlog (client) > 0 || client->readable.length > 0 || client->woken)
    events |= EPOLLOUT;
  pilot_poller_modify (client->watch, events);
}

void
pilot_ipc_client_flush (PilotIpcClient *client)
{
  if (client->broken)
    return;
  pilot_ipc_client_push (client);
  update_watch (client);
}

void
pilot_ipc_client_wake (PilotIpcClient *client)
{
  client->woken = TRUE;
  update_watch (client);
}

/* --- in --- */

static gboolean
may_go_on (PilotIpcClient *client)
{
  if (!may_read (client))
    return FALSE;
  if (g_get_monotonic_time () < client->turn_end)
    return TRUE;
  client->woken = TRUE;
  return FALSE;
}

/* It waits for no answers any more: only what it said to streams and peers still counts. */
static gboolean
outlives (guint8 opcode)
{
  return opcode == PILOT_IPC_SEND || opcode == PILOT_IPC_CLOSE || opcode == PILOT_IPC_SEND_TO;
}

/* Takes the frames that are complete, as many as the limits allow; all of them when the client is gone. FALSE when it breaks the protocol. */
static gboolean
take_frames (PilotIpcClient *client, gboolean gone)
{
  gsize at = 0;
  PilotIpcCut cut = PILOT_IPC_CUT_MORE;

  while (gone || may_go_on (client)) {
    const guint8 *frame;
    gsize length, consumed;

    cut = pilot_ipc_cut (client->in->data + at, client->in->len - at, &frame, &length, &consumed);
    at += consumed;
    if (cut != PILOT_IPC_CUT_FRAME)
      break;
    if (!gone || outlives (frame[0]))
      pilot_ipc_dispatch (client, frame, length);
  }
  if (at == client->in->len)
    empty (&client->in);
  else if (at > 0)
    g_byte_array_remove_range (client->in, 0, (guint) at);
  return cut != PILOT_IPC_CUT_TOO_LONG;
}

/* FALSE when the connection is over. */
static gboolean
read_in (PilotIpcClient *client, gboolean gone)
{
  gsize moved = 0;

  while (gone || (moved < TURN_BUDGET && may_go_on (client))) {
    guint had = client->in->len;
    gssize got;

    g_byte_array_set_size (client->in, had + READ_SIZE);
    got = recv (client->fd, client->in->data + had, READ_SIZE, MSG_DONTWAIT);
    g_byte_array_set_size (client->in, had + (guint) MAX (got, 0));
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return errno == EAGAIN;
    if (got == 0)
      return FALSE;
    moved += (gsize) got;
    if (!take_frames (client, gone))
      return FALSE;
  }
  return TRUE;
}

static void
client_ready (int fd, guint32 events, gpointer user_data)
{
  PilotIpcClient *client = user_data;
  gboolean gone = (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0;

  client->woken = FALSE;
  client->turn_end = g_get_monotonic_time () + TURN_TIME;
  if ((events & EPOLLOUT) != 0 && !gone)
    pilot_ipc_client_push (client);
  /* A client that is gone waits for nothing: what it said last still counts, and that is bounded by what the socket holds. */
  if (!take_frames (client, gone) || !read_in (client, gone) || gone)
    pilot_ipc_client_free (client);
  else
    update_watch (client);
}

/* --- calls --- */

PilotIpcCall *
pilot_ipc_call_new (PilotIpcClient *client, guint8 opcode)
{
  PilotIpcCall *call = g_new0 (PilotIpcCall, 1);

  call->client = client;
  call->opcode = opcode;
  call->cancellable = g_cancellable_new ();
  call->link.data = call;
  g_queue_push_tail_link (&client->calls, &call->link);
  return call;
}

static void
call_free (PilotIpcCall *call)
{
  g_clear_pointer (&call->reply, g_byte_array_unref);
  g_object_unref (call->cancellable);
  g_free (call);
}

/* Sends the answers that are ready and whose turn it is. Drivers until v1.9 match answers of one kind in the order of their requests. */
static void
send_answers (PilotIpcClient *client)
{
  gboolean waits[256] = { FALSE };

  for (GList *item = client->calls.head; item != NULL;) {
    PilotIpcCall *call = item->data;

    item = item->next;
    if (call->reply == NULL || waits[call->opcode]) {
      waits[call->opcode] = TRUE;
      continue;
    }
    g_byte_array_append (client->out, call->reply->data, call->reply->len);
    g_queue_unlink (&client->calls, &call->link);
    call_free (call);
  }
  /* Fewer stand in its way now: frames that were left alone may go on. */
  if (client->in->len > 0)
    client->woken = TRUE;
  pilot_ipc_client_flush (client);
}

static void
answer (PilotIpcCall *call, GByteArray *reply)
{
  if (call->client == NULL) {
    g_byte_array_unref (reply);
    call_free (call);
    return;
  }
  call->reply = reply;
  send_answers (call->client);
}

void
pilot_ipc_call_reply (PilotIpcCall *call, JsonObject *body)
{
  g_autofree char *text = pilot_json_print (body);
  GByteArray *reply = g_byte_array_new ();
  gsize length = strlen (text);

  json_object_unref (body);
  if (length > PILOT_IPC_MAX_BODY)
    pilot_ipc_put_error (reply, "reply too large");
  else
    pilot_ipc_put (reply, call->opcode + 1, text, length);
  answer (call, reply);
}

void
pilot_ipc_call_reply_empty (PilotIpcCall *call)
{
  GByteArray *reply = g_byte_array_new ();

  pilot_ipc_put (reply, call->opcode + 1, NULL, 0);
  answer (call, reply);
}

void
pilot_ipc_call_reply_port (PilotIpcCall *call, guint16 port)
{
  GByteArray *reply = g_byte_array_new ();

  pilot_ipc_put_port (reply, call->opcode + 1, port);
  answer (call, reply);
}

void
pilot_ipc_call_reply_conn (PilotIpcCall *call, guint32 conn_id)
{
  GByteArray *reply = g_byte_array_new ();

  pilot_ipc_put_conn (reply, call->opcode + 1, conn_id);
  answer (call, reply);
}

void
pilot_ipc_call_fail (PilotIpcCall *call, const char *format, ...)
{
  GByteArray *reply = g_byte_array_new ();
  g_autofree char *text = NULL;
  va_list arguments;

  va_start (arguments, format);
  text = g_strdup_vprintf (format, arguments);
  va_end (arguments);
  pilot_ipc_put_error (reply, text);
  answer (call, reply);
}

void
pilot_ipc_call_fail_error (PilotIpcCall *call, const char *label, GError *error)
{
  g_autofree char *message = pilot_error_dup_message (error);

  g_error_free (error);
  pilot_ipc_call_fail (call, "%s: %s", label, message);
}

/* --- life --- */

PilotIpcClient *
pilot_ipc_client_new (PilotIpc *ipc, int fd)
{
  PilotIpcClient *client = g_new0 (PilotIpcClient, 1);

  client->ipc = ipc;
  client->fd = fd;
  client->in = g_byte_array_new ();
  client->out = g_byte_array_new ();
  client->link.data = client;
  pilot_ipc_client_init_streams (client);
  g_queue_push_tail_link (&ipc->clients, &client->link);
  client->watch = pilot_poller_add (pilot_node_get_poller (ipc->node), fd, EPOLLIN | EPOLLRDHUP, client_ready, client);
  return client;
}

void
pilot_ipc_client_free (PilotIpcClient *client)
{
  PilotIpcCall *call;

  client->broken = TRUE; /* nothing is written any more */
  pilot_ipc_client_release (client);
  while ((call = g_queue_peek_head (&client->calls)) != NULL) {
    g_queue_unlink (&client->calls, &call->link);
    call->client = NULL;
    /* An answer that waited for its turn is nobody's. Else who works at it frees it, by answering. */
    if (call->reply != NULL)
      call_free (call);
    else if (call->abandon != NULL)
      call->abandon (call);
    else
      g_cancellable_cancel (call->cancellable);
  }
  pilot_poller_remove (client->watch);
  close (client->fd);
  g_queue_unlink (&client->ipc->clients, &client->link);
  pilot_ipc_client_gone (client->ipc);
  g_byte_array_unref (client->in);
  g_byte_array_unref (client->out);
  g_free (client);
}
