/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/stream.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pilotctl/arguments.h"
#include "pilotctl/output.h"

#define BLOCK (64 * 1024)
/* How long a peer that cannot end its side alone has to be quiet before its answer counts as whole. */
#define ANSWERED_QUIET 2.0

/* --- opening and closing --- */

void
stream_take (Stream *stream, int fd, guint32 node, guint16 port, gboolean half_close)
{
  int one = 1;

  *stream = (Stream) { .fd = fd, .node = node, .port = port, .half_close = half_close };
  ioctl (fd, FIONBIO, &one);
}

static GVariant *
options (double seconds)
{
  GVariantDict dict;

  g_variant_dict_init (&dict, NULL);
  if (seconds > 0)
    g_variant_dict_insert (&dict, "timeout_ms", "u", (guint32) CLAMP (seconds * 1000, 1, G_MAXINT));
  return g_variant_dict_end (&dict);
}

gboolean
stream_dial (Client *client, guint32 node, guint16 port, double seconds, Stream *stream, GError **error)
{
  int fd;
  g_autoptr (GVariant) reply = client_call_fd (client, "Streams", "Dial", g_variant_new ("(uq@a{sv})", node, port, options (seconds)), &fd, error);
  gboolean half_close;

  if (reply == NULL)
    return FALSE;
  g_variant_get (reply, "(hb)", NULL, &half_close);
  stream_take (stream, fd, node, port, half_close);
  return TRUE;
}

gboolean
stream_accept (Client *client, guint16 port, double seconds, Stream *stream, GError **error)
{
  int fd;
  g_autoptr (GVariant) reply = client_call_fd (client, "Streams", "Accept", g_variant_new ("(q@a{sv})", port, options (seconds)), &fd, error);
  guint32 node;
  guint16 remote_port;
  gboolean half_close;

  if (reply == NULL)
    return FALSE;
  g_variant_get (reply, "(uqhb)", &node, &remote_port, NULL, &half_close);
  stream_take (stream, fd, node, remote_port, half_close);
  return TRUE;
}

void
stream_clear (Stream *stream)
{
  if (stream->fd >= 0)
    close (stream->fd);
  stream->fd = -1;
}

/* --- whole messages --- */

void
stream_set_error (const Stream *stream, int error_number, GError **error)
{
  switch (error_number) {
  case 0:
  case EPIPE:
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CONNECTION_FAILED, _("node %u closed the connection"), stream->node);
    break;
  case ECONNRESET:
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CONNECTION_FAILED, _("the connection to node %u was reset"), stream->node);
    break;
  case ETIMEDOUT:
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_TIMEOUT, _("node %u did not answer in time"), stream->node);
    break;
  default:
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, _("connection to node %u: %s"), stream->node, g_strerror (error_number));
  }
}

/* Milliseconds for poll(): -1 = for ever. */
static int
milliseconds_until (gint64 deadline)
{
  if (deadline == G_MAXINT64)
    return -1;
  return (int) CLAMP ((deadline - g_get_monotonic_time () + 999) / 1000, 0, 1000000);
}

static gboolean
transfer_all (Stream *stream, guint8 *data, gsize length, gboolean out, double seconds, GError **error)
{
  gint64 deadline = deadline_after (seconds);

  while (length > 0) {
    gssize moved = out ? send (stream->fd, data, length, MSG_NOSIGNAL) : recv (stream->fd, data, length, 0);

    if (moved > 0) {
      data += moved;
      length -= (gsize) moved;
    } else if (moved < 0 && errno == EAGAIN) {
      struct pollfd state = { .fd = stream->fd, .events = out ? POLLOUT : POLLIN };
      int ready = poll (&state, 1, milliseconds_until (deadline));

      if (ready == 0) {
        stream_set_error (stream, ETIMEDOUT, error);
        return FALSE;
      }
    } else if (moved == 0 || errno != EINTR) {
      stream_set_error (stream, moved == 0 ? 0 : errno, error);
      return FALSE;
    }
  }
  return TRUE;
}

gboolean
stream_write_all (Stream *stream, const void *data, gsize length, double seconds, GError **error)
{
  return transfer_all (stream, (guint8 *) data, length, TRUE, seconds, error);
}

gboolean
stream_read_all (Stream *stream, void *data, gsize length, double seconds, GError **error)
{
  return transfer_all (stream, data, length, FALSE, seconds, error);
}

/* --- to and fro --- */

typedef struct {
  guint8 data[BLOCK];
  gsize start, end;
} Buffer;

typedef struct {
  Stream *stream;
  Exchange *exchange;
  Buffer out, in;      /* toward the peer, from it */
  gboolean input_done; /* nothing more will be put into `out` */
  gboolean shut;       /* and the peer was told so, or hears nothing any more */
  gboolean ended;      /* the peer has said so of its side */
  int write_error;     /* why not all of it arrived */
  gboolean output_is_pipe;
  gint64 quiet_since;
} Run;

static gboolean
is_empty (const Buffer *buffer)
{
  return buffer->start == buffer->end;
}

static gboolean
read_input (Run *run, GError **error)
{
  gssize got = read (run->exchange->input, run->out.data, BLOCK);

  if (got < 0 && (errno == EINTR || errno == EAGAIN))
    return TRUE;
  if (got < 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, _("cannot read the input: %s"), g_strerror (errno));
    return FALSE;
  }
  run->input_done = got == 0;
  run->out.start = 0;
  run->out.end = (gsize) got;
  return TRUE;
}

/* The next piece of what is to be sent. */
static gboolean
refill (Run *run)
{
  Exchange *exchange = run->exchange;
  gsize length = MIN (exchange->message_length, BLOCK);

  if (length == 0)
    return FALSE;
  memcpy (run->out.data, exchange->message, length);
  exchange->message = (const guint8 *) exchange->message + length;
  exchange->message_length -= length;
  run->out.start = 0;
  run->out.end = length;
  return TRUE;
}

static void
write_stream (Run *run)
{
  while (!is_empty (&run->out) || refill (run)) {
    gssize put = send (run->stream->fd, run->out.data + run->out.start, run->out.end - run->out.start, MSG_NOSIGNAL);

    if (put < 0 && errno == EINTR)
      continue;
    if (put < 0 && errno == EAGAIN)
      return;
    if (put < 0) {
      /* It listens no more; what it has said is still read. */
      run->write_error = errno;
      run->shut = run->input_done = TRUE;
      run->out.start = run->out.end = 0;
      run->exchange->message_length = 0;
      return;
    }
    run->out.start += (gsize) put;
    run->exchange->sent += (guint64) put;
    run->quiet_since = g_get_monotonic_time ();
  }
}

static gboolean
take_answer (Run *run, GError **error)
{
  Exchange *exchange = run->exchange;

  if (exchange->answer == NULL)
    return TRUE;
  if (exchange->answer->len + (run->in.end - run->in.start) > exchange->answer_max) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, _("the answer has more than %zu bytes"), exchange->answer_max);
    return FALSE;
  }
  g_byte_array_append (exchange->answer, run->in.data + run->in.start, (guint) (run->in.end - run->in.start));
  run->in.start = run->in.end = 0;
  return TRUE;
}

static gboolean
read_stream (Run *run, GError **error)
{
  gssize got = recv (run->stream->fd, run->in.data, BLOCK, 0);

  if (got < 0 && (errno == EINTR || errno == EAGAIN))
    return TRUE;
  if (got < 0) {
    stream_set_error (run->stream, errno, error);
    return FALSE;
  }
  run->ended = got == 0;
  run->in.start = 0;
  run->in.end = (gsize) got;
  run->exchange->received += (guint64) got;
  run->quiet_since = g_get_monotonic_time ();
  return take_answer (run, error);
}

static gboolean
write_output (Run *run, GError **error)
{
  gsize length = run->in.end - run->in.start;
  /* A pipe that is ready takes this much without making us wait. */
  gssize put = write (run->exchange->output, run->in.data + run->in.start, run->output_is_pipe ? MIN (length, PIPE_BUF) : length);

  if (put < 0 && (errno == EINTR || errno == EAGAIN))
    return TRUE;
  if (put < 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, _("cannot write the output: %s"), g_strerror (errno));
    return FALSE;
  }
  if (put > 0)
    run->exchange->last = run->in.data[run->in.start + (gsize) put - 1];
  run->in.start += (gsize) put;
  return TRUE;
}

static gboolean
all_sent (Run *run)
{
  return run->input_done && is_empty (&run->out) && run->exchange->message_length == 0;
}

/* When to give up waiting for the peer; G_MAXINT64 = never. */
static gint64
quiet_deadline (Run *run)
{
  Exchange *exchange = run->exchange;
  double seconds = exchange->quiet_seconds;

  if (!all_sent (run) || run->ended || !is_empty (&run->in))
    return G_MAXINT64;
  if (!run->stream->half_close && exchange->received > 0)
    seconds = seconds > 0 ? MIN (seconds, ANSWERED_QUIET) : ANSWERED_QUIET;
  return seconds > 0 ? run->quiet_since + (gint64) (seconds * G_USEC_PER_SEC) : G_MAXINT64;
}

/* Both directions are over, by a reset, or in order: then nobody waits for what may still come from a terminal. */
static void
hang_up (Run *run)
{
  socklen_t length = sizeof run->write_error;

  if (!is_empty (&run->out) || run->exchange->message_length > 0)
    run->write_error = EPIPE;
  else
    getsockopt (run->stream->fd, SOL_SOCKET, SO_ERROR, &run->write_error, &length);
  run->shut = run->input_done = TRUE;
  run->out.start = run->out.end = 0;
  run->exchange->message_length = 0;
}

static gboolean
turn (Run *run, gboolean *over, GError **error)
{
  Exchange *exchange = run->exchange;
  gboolean want_input = !run->input_done && exchange->input >= 0 && is_empty (&run->out) && exchange->message_length == 0;
  gboolean want_send = !run->shut && (!is_empty (&run->out) || exchange->message_length > 0);
  gboolean want_receive = !run->ended && is_empty (&run->in);
  struct pollfd states[3] = {
    { .fd = want_input ? exchange->input : -1, .events = POLLIN },
    { .fd = want_send || want_receive || (run->ended && !run->shut) ? run->stream->fd : -1, .events = (short) ((want_send ? POLLOUT : 0) | (want_receive ? POLLIN : 0)) },
    { .fd = is_empty (&run->in) ? -1 : exchange->output, .events = POLLOUT },
  };
  gint64 deadline = quiet_deadline (run);
  int ready = poll (states, G_N_ELEMENTS (states), milliseconds_until (deadline));

  if (ready < 0 && errno != EINTR) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "poll: %s", g_strerror (errno));
    return FALSE;
  }
  if (ready <= 0) {
    if (g_get_monotonic_time () < deadline)
      return TRUE;
    *over = TRUE;
    if (!run->stream->half_close && exchange->received > 0)
      return TRUE;
    stream_set_error (run->stream, ETIMEDOUT, error);
    return FALSE;
  }
  if ((states[1].revents & POLLHUP) != 0 && run->ended)
    hang_up (run);
  if (states[2].revents != 0 && !write_output (run, error))
    return FALSE;
  if ((states[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && want_receive && !read_stream (run, error))
    return FALSE;
  if ((states[1].revents & (POLLOUT | POLLERR)) != 0 && want_send)
    write_stream (run);
  return states[0].revents == 0 || run->input_done || read_input (run, error);
}

gboolean
stream_exchange (Stream *stream, Exchange *exchange, GError **error)
{
  g_autofree Run *run = g_new0 (Run, 1);
  struct stat output;
  gboolean over = FALSE;

  run->stream = stream;
  run->exchange = exchange;
  run->input_done = exchange->input < 0;
  run->output_is_pipe = exchange->answer == NULL && fstat (exchange->output, &output) == 0 && (S_ISFIFO (output.st_mode) || S_ISSOCK (output.st_mode));
  run->quiet_since = g_get_monotonic_time ();
  while (!over) {
    if (all_sent (run) && !run->shut) {
      run->shut = TRUE;
      shutdown (stream->fd, SHUT_WR);
      run->quiet_since = g_get_monotonic_time ();
    }
    if (run->shut && run->ended && is_empty (&run->in))
      break;
    if (!turn (run, &over, error))
      return FALSE;
    if (exchange->progress != NULL)
      progress_update (exchange->progress, exchange->sent + exchange->received);
  }
  if (run->write_error != 0)
    stream_set_error (stream, run->write_error, error);
  return run->write_error == 0;
}
