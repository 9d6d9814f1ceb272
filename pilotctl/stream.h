/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "pilotctl/client.h"
#include "pilotctl/progress.h"

G_BEGIN_DECLS

/* A stream of the overlay, as the daemon hands it out: a socket. */
typedef struct {
  int fd; /* non-blocking; -1 = none */
  guint32 node;
  guint16 port; /* the other side's */
  gboolean half_close;
} Stream;

#define STREAM_NONE \
  {                 \
    .fd = -1        \
  }

/* Opens a stream to a port of a node. @seconds: for the dial; 0 = as long as it takes. */
gboolean stream_dial (Client *client, guint32 node, guint16 port, double seconds, Stream *stream, GError **error);
/* Takes a descriptor that the daemon handed out otherwise. */
void stream_take (Stream *stream, int fd, guint32 node, guint16 port, gboolean half_close);
/* The next stream to a port that was listened on. @seconds 0: for ever. */
gboolean stream_accept (Client *client, guint16 port, double seconds, Stream *stream, GError **error);
void stream_clear (Stream *stream);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Stream, stream_clear)

/* Writes or reads all of @length, waiting at most @seconds for it. CONNECTION_FAILED when the other side ended first, TIMEOUT. */
gboolean stream_write_all (Stream *stream, const void *data, gsize length, double seconds, GError **error);
gboolean stream_read_all (Stream *stream, void *data, gsize length, double seconds, GError **error);
/* The error for what errno says of a stream. */
void stream_set_error (const Stream *stream, int error_number, GError **error);

/**
 * Exchange: what goes to and fro on a stream until both sides are done.
 * @message, @input: what to send: bytes, or a descriptor that is read to its end (-1 = none)
 * @answer, @output: where what comes goes: bytes, at most @answer_max of them, or a descriptor
 * @quiet_seconds: how long nothing may come once everything was sent; 0 = for ever
 * @sent, @received: bytes (out)
 * @last: the last byte that went to @output (out)
 */
typedef struct {
  const void *message;
  gsize message_length;
  int input;
  GByteArray *answer;
  gsize answer_max;
  int output;
  double quiet_seconds;
  Progress *progress; /* (nullable) */
  guint64 sent, received;
  guint8 last;
} Exchange;

/* FALSE with an error: TIMEOUT (nothing came, or it did not end), CONNECTION_FAILED (reset), IO (input or output), EXHAUSTED (too long an answer). A
 * peer that cannot end one direction alone is done when it has answered and then been quiet for two seconds. */
gboolean stream_exchange (Stream *stream, Exchange *exchange, GError **error);

G_END_DECLS
