/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/gateway/bridge.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/gateway/socket-diag.h"
#include "daemon/gateway/socket-pair.h"

/* What one direction of one connection may move in one turn: the others come next. */
#define TURN_BUDGET (512 * 1024)
#define READ_MAX (256 * 1024)
/* How long a connection whose stream is over may go on saying things that nobody hears, before it is closed regardless. */
#define LINGER_SECONDS 10
/* When to ask whether a local program that sent FIN has closed its socket altogether: the first time, and from then on. */
#define CLOSED_CHECK_FIRST_MS 20
#define CLOSED_CHECK_MS 500

struct _PilotBridge {
  PilotStreamUser user; /* first: what the stream's user data points at */
  PilotBridgeGroup *group;
  PilotBridge *prev, *next;
  PilotBridge *dialing_prev, *dialing_next;
  PilotStream *stream; /* NULL once released */
  PilotPollerWatch *watch;
  gint64 dial_deadline;
  guint linger;       /* timeout of the last phase */
  guint closed_check; /* timeout, while FIN waits because the peer knows no half-close */
  int fd;
  guint32 events; /* what the poller watches for */
  guint32 peer;   /* of a joined stream */
  guint16 port;
  gboolean dialing;
  gboolean is_pair;    /* a socket pair, not TCP: see socket-pair.h */
  gboolean local_gone; /* pair: the program has closed its end; what it said before still counts */
  gboolean pull_again; /* pair: there was more than one turn may move */
  gboolean push_again;
  gboolean read_done;     /* FIN came from the local side */
  gboolean write_done;    /* FIN was given to the local side */
  gboolean stream_closed; /* the stream is over, in order */
};

static void bridge_ready (PilotStreamUser *user, PilotStream *stream, guint ready);

void
pilot_socket_reset (int fd)
{
  struct linger hard = { 1, 0 };

  setsockopt (fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  close (fd);
}

void
pilot_bridge_group_init (PilotBridgeGroup *group, PilotPoller *poller)
{
  *group = (PilotBridgeGroup) { .poller = poller };
}

static void
stop_dialing (PilotBridge *bridge)
{
  PilotBridgeGroup *group = bridge->group;

  if (!bridge->dialing)
    return;
  bridge->dialing = FALSE;
  if (bridge->dialing_prev != NULL)
    bridge->dialing_prev->dialing_next = bridge->dialing_next;
  else
    group->dialing_first = bridge->dialing_next;
  if (bridge->dialing_next != NULL)
    bridge->dialing_next->dialing_prev = bridge->dialing_prev;
  else
    group->dialing_last = bridge->dialing_prev;
  /* The timer stays set: setting it wakes the loop, going off for nothing once in a while costs less. */
}

/* Unlinks and frees it. The socket and the stream must have been dealt with. */
static void
bridge_free (PilotBridge *bridge, PilotStreamError error)
{
  PilotBridgeGroup *group = bridge->group;
  guint16 port = bridge->port;

  stop_dialing (bridge);
  g_clear_handle_id (&bridge->linger, g_source_remove);
  g_clear_handle_id (&bridge->closed_check, g_source_remove);
  if (bridge->prev != NULL)
    bridge->prev->next = bridge->next;
  else
    group->first = bridge->next;
  if (bridge->next != NULL)
    bridge->next->prev = bridge->prev;
  group->open--;
  if (group->shares != NULL)
    pilot_shares_give_back (group->shares, bridge->peer);
  g_slice_free (PilotBridge, bridge);
  if (group->ended != NULL)
    group->ended (group, port, error, group->user_data);
}

static void
drop_socket (PilotBridge *bridge, gboolean reset)
{
  if (bridge->fd < 0)
    return;
  g_clear_pointer (&bridge->watch, pilot_poller_remove);
  if (reset)
    pilot_socket_reset (bridge->fd);
  else if (bridge->is_pair)
    pilot_socket_pair_close (bridge->fd);
  else
    close (bridge->fd);
  bridge->fd = -1;
}

/* The end with an error: both sides are reset. @error is what the stream died of, NONE when the local side did. */
static void
bridge_abort (PilotBridge *bridge, PilotStreamError error)
{
  gint64 now = g_get_monotonic_time ();
  PilotStream *stream = g_steal_pointer (&bridge->stream);

  drop_socket (bridge, TRUE);
  if (stream != NULL) {
    if (error == PILOT_STREAM_ERROR_NONE)
      pilot_stream_reset (stream, now);
    pilot_stream_release (stream, now);
  }
  bridge_free (bridge, error);
}

/* Both directions of the socket are finished: the stream sends on by itself what it still holds. */
static void
bridge_finish (PilotBridge *bridge)
{
  PilotStream *stream = g_steal_pointer (&bridge->stream);

  drop_socket (bridge, FALSE);
  if (stream != NULL)
    pilot_stream_release (stream, g_get_monotonic_time ());
  bridge_free (bridge, PILOT_STREAM_ERROR_NONE);
}

static void
watch_for (PilotBridge *bridge, guint32 events)
{
  bridge->events = events;
  /* HUP is reported whether asked for or not; where we can do nothing about it yet (ring full) it must not wake us at every turn. Only then: a socket
   * that stays writable between two turns says so only where it is level-triggered. */
  gboolean edge = (events & (EPOLLIN | EPOLLOUT)) == 0;

  /* A pair is always readable, for the byte that stays in it: only what is new may wake us, unless we know that there is more. */
  if (bridge->is_pair && bridge->stream != NULL)
    edge |= !bridge->pull_again && !bridge->push_again;
  pilot_poller_modify (bridge->watch, edge ? events | EPOLLET : events);
}

static void
want (PilotBridge *bridge, guint32 event, gboolean wanted)
{
  watch_for (bridge, wanted ? bridge->events | event : bridge->events & ~event);
}

static gboolean
linger_over (gpointer user_data)
{
  PilotBridge *bridge = user_data;

  bridge->linger = 0;
  bridge_finish (bridge);
  return G_SOURCE_REMOVE;
}

static gboolean
check_closed (gpointer user_data)
{
  PilotBridge *bridge = user_data;
  PilotPoller *poller = bridge->group->poller;

  bridge->closed_check = 0;
  if (bridge->stream == NULL)
    return G_SOURCE_REMOVE;
  if (!pilot_socket_peer_closed (bridge->fd)) {
    bridge->closed_check = g_timeout_add (CLOSED_CHECK_MS, check_closed, bridge);
    return G_SOURCE_REMOVE;
  }
  bridge_finish (bridge);
  pilot_poller_kick (poller);
  return G_SOURCE_REMOVE;
}

/* FIN came from the local side. A Go peer closes both directions when it hears of it, so the stream holds it back (streams.md 3.3); a program that has closed
 * its socket waits for nothing more, and its peer must not wait either. FALSE when the bridge is gone. */
static gboolean
pull_end (PilotBridge *bridge)
{
  PilotStreamInfo info;

  bridge->read_done = TRUE;
  pilot_stream_shutdown_write (bridge->stream, g_get_monotonic_time ());
  if (bridge->write_done || bridge->local_gone) {
    bridge_finish (bridge);
    return FALSE;
  }
  want (bridge, EPOLLIN, FALSE);
  pilot_stream_info (bridge->stream, &info);
  /* Not at once: the kernel sends FIN a moment before it lets the socket go. A pair says so by itself. */
  if (!info.half_close && !bridge->is_pair)
    bridge->closed_check = g_timeout_add (CLOSED_CHECK_FIRST_MS, check_closed, bridge);
  return TRUE;
}

/* Socket to stream. FALSE when the bridge is gone. */
static gboolean
pull (PilotBridge *bridge)
{
  gsize moved = 0;

  bridge->pull_again = FALSE;
  while (!bridge->read_done) {
    struct iovec spans[2];
    guint n_spans = pilot_stream_write_vectors (bridge->stream, spans);
    gsize room = 0;
    gssize got;

    if (n_spans == 0) {
      /* The ring is full or the stream not open: WRITE or OPEN will come. Level-triggered, so look away until then. */
      want (bridge, EPOLLIN, FALSE);
      return TRUE;
    }
    if (moved >= TURN_BUDGET)
      break;
    for (guint i = 0; i < n_spans; i++) {
      spans[i].iov_len = MIN (spans[i].iov_len, READ_MAX - room);
      room += spans[i].iov_len;
    }
    got = bridge->is_pair ? pilot_socket_pair_readv (bridge->fd, spans, n_spans, room) : readv (bridge->fd, spans, n_spans);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0 && errno == EAGAIN)
      break;
    if (got < 0) {
      bridge_abort (bridge, PILOT_STREAM_ERROR_NONE);
      return FALSE;
    }
    if (got == 0)
      return pull_end (bridge);
    pilot_stream_write_commit (bridge->stream, got, g_get_monotonic_time ());
    bridge->group->bytes_out += got;
    moved += got;
    /* TCP says so itself when there is more; a pair tells its end to who asks. */
    if ((gsize) got < room && !bridge->is_pair)
      break;
  }
  bridge->pull_again = moved >= TURN_BUDGET;
  if (!bridge->read_done)
    want (bridge, EPOLLIN, TRUE);
  return TRUE;
}

/* Everything the stream had for us has been written: FIN, when there was one. FALSE when the bridge is gone. */
static gboolean
push_end (PilotBridge *bridge)
{
  gboolean over = bridge->stream_closed || pilot_stream_is_eof (bridge->stream);

  /* Both sides have said all they had, and nothing of it is unread: closing sends the FIN. */
  if (over && bridge->read_done && !bridge->is_pair) {
    bridge_finish (bridge);
    return FALSE;
  }
  want (bridge, EPOLLOUT, FALSE);
  if (bridge->write_done || !over)
    return TRUE;
  bridge->write_done = TRUE;
  if (shutdown (bridge->fd, SHUT_WR) != 0) {
    bridge_abort (bridge, PILOT_STREAM_ERROR_NONE);
    return FALSE;
  }
  if (bridge->read_done) {
    bridge_finish (bridge);
    return FALSE;
  }
  if (bridge->stream_closed) {
    /* Nobody hears the local side any more. Closing with its words unread would reset what it has yet to read from us: read
     * them away until it is done, for a while. */
    pilot_stream_release (g_steal_pointer (&bridge->stream), g_get_monotonic_time ());
    watch_for (bridge, EPOLLIN);
    bridge->linger = g_timeout_add_seconds (LINGER_SECONDS, linger_over, bridge);
  }
  return TRUE;
}

/* Stream to socket. FALSE when the bridge is gone. */
static gboolean
push (PilotBridge *bridge)
{
  gsize moved = 0;

  bridge->push_again = FALSE;
  if (bridge->local_gone)
    return TRUE; /* unread it stays: closing the stream resets it, as the peer must hear */
  for (;;) {
    struct iovec spans[2];
    struct msghdr message = { .msg_iov = spans };
    gsize length = 0;
    gssize put;

    message.msg_iovlen = pilot_stream_read_vectors (bridge->stream, spans);
    if (message.msg_iovlen == 0)
      return push_end (bridge);
    if (moved >= TURN_BUDGET)
      break;
    for (gsize i = 0; i < message.msg_iovlen; i++)
      length += spans[i].iov_len;
    put = sendmsg (bridge->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (put < 0 && errno == EINTR)
      continue;
    if (put < 0 && errno == EAGAIN)
      break;
    if (put < 0) {
      bridge_abort (bridge, PILOT_STREAM_ERROR_NONE);
      return FALSE;
    }
    pilot_stream_read_consume (bridge->stream, put, g_get_monotonic_time ());
    bridge->group->bytes_in += put;
    moved += put;
    if ((gsize) put < length)
      break;
  }
  bridge->push_again = moved >= TURN_BUDGET;
  /* Either the socket is full, or this connection had its share: both ways it says so itself when it is its turn. */
  want (bridge, EPOLLOUT, TRUE);
  return TRUE;
}

/* The last phase: read away what nobody hears. */
static void
discard (PilotBridge *bridge)
{
  static char nowhere[16384];
  gssize got = recv (bridge->fd, nowhere, sizeof nowhere, MSG_DONTWAIT);

  if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)))
    return;
  bridge_finish (bridge);
}

static void
socket_ready (int fd, guint32 events, gpointer user_data)
{
  PilotBridge *bridge = user_data;

  if (bridge->stream == NULL) {
    discard (bridge);
    return;
  }
  if ((events & EPOLLERR) != 0 || ((events & EPOLLHUP) != 0 && !bridge->write_done && !bridge->is_pair)) {
    /* A reset from the local side. (HUP after our own FIN only says that both are done: reading will tell.) */
    bridge_abort (bridge, PILOT_STREAM_ERROR_NONE);
    return;
  }
  if ((events & EPOLLHUP) != 0 && bridge->is_pair) {
    bridge->local_gone = TRUE;
    if (bridge->read_done) {
      bridge_finish (bridge);
      return;
    }
  }
  if ((events & (EPOLLIN | EPOLLHUP)) != 0 && !bridge->read_done && !pull (bridge))
    return;
  if ((events & EPOLLOUT) != 0)
    push (bridge);
}

static void
stream_over (PilotBridge *bridge, PilotStream *stream)
{
  PilotStreamError error = pilot_stream_get_error (stream);

  if (error != PILOT_STREAM_ERROR_NONE) {
    bridge_abort (bridge, error);
    return;
  }
  bridge->stream_closed = TRUE;
  if (bridge->local_gone || (bridge->write_done && bridge->read_done))
    bridge_finish (bridge);
  else if (bridge->write_done) {
    pilot_stream_release (g_steal_pointer (&bridge->stream), g_get_monotonic_time ());
    watch_for (bridge, EPOLLIN);
    bridge->linger = g_timeout_add_seconds (LINGER_SECONDS, linger_over, bridge);
  } else
    push (bridge);
}

static void
bridge_ready (PilotStreamUser *user, PilotStream *stream, guint ready)
{
  PilotBridge *bridge = (PilotBridge *) user;

  if ((ready & PILOT_STREAM_READY_OPEN) != 0 && bridge->dialing) {
    stop_dialing (bridge);
    if (bridge->group->opened != NULL)
      bridge->group->opened (bridge->group, bridge->port, bridge->group->user_data);
  }
  if ((ready & PILOT_STREAM_READY_CLOSED) != 0) {
    stream_over (bridge, stream);
    return;
  }
  if ((ready & (PILOT_STREAM_READY_READ | PILOT_STREAM_READY_EOF)) != 0 && (bridge->events & EPOLLOUT) == 0 && !push (bridge))
    return;
  /* While the socket is watched it says so itself when there is something to read. */
  if ((ready & (PILOT_STREAM_READY_OPEN | PILOT_STREAM_READY_WRITE)) != 0 && !bridge->read_done && (bridge->events & EPOLLIN) == 0)
    pull (bridge);
}

static PilotBridge *
bridge_new (PilotBridgeGroup *group, int fd, guint16 port)
{
  PilotBridge *bridge = g_slice_new0 (PilotBridge);

  bridge->user.ready = bridge_ready;
  bridge->group = group;
  bridge->fd = fd;
  bridge->port = port;
  bridge->next = group->first;
  if (group->first != NULL)
    group->first->prev = bridge;
  group->first = bridge;
  group->open++;
  group->total++;
  return bridge;
}

static void
arm_dial_timer (PilotBridgeGroup *group)
{
  g_source_set_ready_time (group->dial_timer, group->dialing_first != NULL ? group->dialing_first->dial_deadline : -1);
}

static gboolean
dial_timer_due (gpointer user_data)
{
  PilotBridgeGroup *group = user_data;
  gint64 now = g_get_monotonic_time ();

  while (group->dialing_first != NULL && group->dialing_first->dial_deadline <= now) {
    PilotBridge *bridge = group->dialing_first;
    PilotStream *stream = g_steal_pointer (&bridge->stream);

    drop_socket (bridge, TRUE);
    pilot_stream_reset (stream, now);
    pilot_stream_release (stream, now);
    bridge_free (bridge, PILOT_STREAM_ERROR_TIMEOUT);
    pilot_poller_kick (group->poller);
  }
  arm_dial_timer (group);
  return G_SOURCE_CONTINUE;
}

static gboolean
ready_time_source_dispatch (GSource *source, GSourceFunc callback, gpointer user_data)
{
  g_source_set_ready_time (source, -1);
  return callback (user_data);
}

static GSourceFuncs ready_time_source_funcs = {
  .dispatch = ready_time_source_dispatch,
};

/* One timer for all dials: they time out in the order they began. */
static void
start_dialing (PilotBridge *bridge)
{
  PilotBridgeGroup *group = bridge->group;

  bridge->dialing = TRUE;
  bridge->dial_deadline = g_get_monotonic_time () + group->dial_timeout_us;
  bridge->dialing_prev = group->dialing_last;
  if (group->dialing_last != NULL)
    group->dialing_last->dialing_next = bridge;
  else
    group->dialing_first = bridge;
  group->dialing_last = bridge;
  if (group->dial_timeout_us == 0)
    return;
  if (group->dial_timer == NULL) {
    group->dial_timer = g_source_new (&ready_time_source_funcs, sizeof (GSource));
    g_source_set_callback (group->dial_timer, dial_timer_due, group, NULL);
    g_source_attach (group->dial_timer, g_main_context_get_thread_default ());
  }
  if (g_source_get_ready_time (group->dial_timer) < 0)
    arm_dial_timer (group);
}

gboolean
pilot_bridge_open (PilotBridgeGroup *group, int fd, guint16 port, PilotBridgeDial dial, gpointer user_data, GError **error)
{
  PilotBridge *bridge = bridge_new (group, fd, port);

  bridge->stream = dial (&bridge->user, user_data, error);
  if (bridge->stream == NULL) {
    void (*ended) (PilotBridgeGroup *, guint16, PilotStreamError, gpointer) = group->ended;

    /* The caller hears of it by the error; it need not hear of it twice. */
    group->ended = NULL;
    pilot_socket_reset (fd);
    bridge->fd = -1;
    bridge_free (bridge, PILOT_STREAM_ERROR_NONE);
    group->ended = ended;
    return FALSE;
  }
  start_dialing (bridge);
  /* From the first moment: a client that gives up while we dial is to be noticed, and what it says may go into the ring already. */
  bridge->events = EPOLLIN;
  bridge->watch = pilot_poller_add (group->poller, fd, EPOLLIN, socket_ready, bridge);
  return TRUE;
}

static PilotBridge *
join (PilotBridgeGroup *group, int fd, guint16 port, PilotStream *stream, gboolean is_pair)
{
  PilotBridge *bridge = bridge_new (group, fd, port);
  struct iovec spans[2];

  bridge->is_pair = is_pair;
  bridge->stream = stream;
  pilot_stream_set_user_data (stream, &bridge->user);
  bridge->events = EPOLLIN;
  /* OUT too where the stream holds data already: its READY was signalled before we were there. */
  if (pilot_stream_read_vectors (stream, spans) > 0 || pilot_stream_is_eof (stream))
    bridge->events |= EPOLLOUT;
  bridge->watch = pilot_poller_add (group->poller, fd, is_pair ? bridge->events | EPOLLET : bridge->events, socket_ready, bridge);
  return bridge;
}

void
pilot_bridge_join (PilotBridgeGroup *group, int fd, guint16 port, PilotStream *stream, guint32 peer)
{
  int one = 1;

  /* Best effort: without it the connection works all the same. */
  setsockopt (fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  join (group, fd, port, stream, FALSE)->peer = peer;
}

void
pilot_bridge_join_pair (PilotBridgeGroup *group, int fd, guint16 port, PilotStream *stream)
{
  join (group, fd, port, stream, TRUE);
}

void
pilot_bridge_group_reset_peer (PilotBridgeGroup *group, guint32 peer)
{
  PilotBridge *next;

  for (PilotBridge *bridge = group->first; bridge != NULL; bridge = next) {
    PilotStreamInfo info;

    next = bridge->next;
    if (bridge->stream == NULL)
      continue; /* nothing is carried any more: only the socket says its last */
    pilot_stream_info (bridge->stream, &info);
    if (info.remote.node == peer)
      bridge_abort (bridge, PILOT_STREAM_ERROR_NONE);
  }
  pilot_poller_kick (group->poller);
}

void
pilot_bridge_group_reset (PilotBridgeGroup *group)
{
  while (group->first != NULL)
    bridge_abort (group->first, PILOT_STREAM_ERROR_NONE);
  if (group->dial_timer != NULL) {
    g_source_destroy (group->dial_timer);
    g_clear_pointer (&group->dial_timer, g_source_unref);
  }
  pilot_poller_kick (group->poller);
}
