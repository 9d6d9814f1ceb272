/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/uio.h>
#include <glib.h>

#include "libpilot/pilot-address.h"

G_BEGIN_DECLS

/*
 * PilotStream: one reliable byte stream of the overlay (streams.md), as its user sees it.
 * A stream belongs to its PilotOverlay. Its user holds it from pilot_overlay_connect() or
 * PILOT_EVENT_STREAM_INCOMING until pilot_stream_release(); after that it must not be touched.
 */
typedef struct _PilotStream PilotStream;

/* Edge-triggered, merged: one PILOT_EVENT_STREAM per stream is queued at a time. */
typedef enum {
  PILOT_STREAM_READY_OPEN = 1 << 0,    /* SYN-ACK came: data may flow */
  PILOT_STREAM_READY_READ = 1 << 1,    /* data to read where there was none */
  PILOT_STREAM_READY_WRITE = 1 << 2,   /* space where a write vector had none, or less than a quarter */
  PILOT_STREAM_READY_EOF = 1 << 3,     /* the peer has shut down writing; what is buffered can still be read */
  PILOT_STREAM_READY_CLOSED = 1 << 4,  /* over in both directions; see pilot_stream_get_error() */
  PILOT_STREAM_READY_DRAINED = 1 << 5, /* everything written, FIN included, has been acknowledged */
} PilotStreamReady;

typedef enum {
  PILOT_STREAM_ERROR_NONE,            /* closed in order */
  PILOT_STREAM_ERROR_REFUSED,         /* RST while connecting */
  PILOT_STREAM_ERROR_RESET,           /* RST later */
  PILOT_STREAM_ERROR_TIMEOUT,         /* SYN unanswered */
  PILOT_STREAM_ERROR_NO_KEY_EXCHANGE, /* no session: peer dead or unreachable */
  PILOT_STREAM_ERROR_UNRESOLVED,      /* the registry does not tell where the peer is */
  PILOT_STREAM_ERROR_KEY_MISMATCH,    /* the peer's key is not the trusted one */
  PILOT_STREAM_ERROR_LOST,            /* retransmissions exhausted */
  PILOT_STREAM_ERROR_REVOKED,         /* trust withdrawn, peer forgotten */
} PilotStreamError;

typedef enum {
  PILOT_STREAM_STATE_CLOSED,
  PILOT_STREAM_STATE_SYN_SENT,
  PILOT_STREAM_STATE_SYN_RECEIVED,
  PILOT_STREAM_STATE_ESTABLISHED,
  PILOT_STREAM_STATE_FIN_WAIT_1,
  PILOT_STREAM_STATE_FIN_WAIT_2,
  PILOT_STREAM_STATE_CLOSE_WAIT,
  PILOT_STREAM_STATE_CLOSING,
  PILOT_STREAM_STATE_LAST_ACK,
  PILOT_STREAM_STATE_TIME_WAIT,
} PilotStreamState;

typedef struct {
  guint32 id;
  PilotStreamState state;
  PilotAddress local, remote;
  guint16 local_port, remote_port;
  gboolean initiator, own_kind, half_close;
  guint64 bytes_sent, bytes_received, segments_sent, segments_received, retransmits, fast_retransmits;
  guint64 sacks_sent, sacks_received, duplicate_acks;
  guint64 slow_start_threshold; /* bytes; 0 = none */
  guint64 held;                 /* bytes received beyond a hole */
  gboolean in_recovery;
  guint64 congestion_window, bytes_in_flight, send_buffered, receive_buffered, peer_window, receive_window;
  gint64 srtt_us, rttvar_us, rto_us, min_rtt_us;
  guint64 pacing_rate; /* bytes a second; 0 = none */
} PilotStreamInfo;

/* Answers to PILOT_EVENT_STREAM_INCOMING: SYN-ACK; RST; nothing at all. refuse and ignore also release it. */
void pilot_stream_accept (PilotStream *stream, gint64 now);
void pilot_stream_refuse (PilotStream *stream, gint64 now);
void pilot_stream_ignore (PilotStream *stream, gint64 now);

/**
 * pilot_stream_write_vectors:
 * @vectors: filled with up to two spans of free space in the send ring
 *
 * Lets the caller readv() straight into the ring; grows it up to its bound as needed.
 * Returns: the number of spans, 0 when the ring is full, or so nearly that what is left is not worth
 * a read (WRITE will be signalled), or the stream cannot be written to.
 */
guint pilot_stream_write_vectors (PilotStream *stream, struct iovec vectors[2]);
/* Says that @length bytes were put into the spans last handed out. */
void pilot_stream_write_commit (PilotStream *stream, gsize length, gint64 now);
/* Copying convenience for small messages: how many bytes were taken (0 when full). */
gsize pilot_stream_write (PilotStream *stream, const void *data, gsize length, gint64 now);

/* Spans of received, ordered data, so that the caller can writev() straight from the ring. 0 = none. */
guint pilot_stream_read_vectors (PilotStream *stream, struct iovec vectors[2]);
/* Says that @length bytes were used; opens the window (a window update is sent when due). */
void pilot_stream_read_consume (PilotStream *stream, gsize length, gint64 now);

/* No more will be written. FIN leaves after the data. Toward our own kind the other direction goes on; a Go peer
 * closes both, so toward it the FIN waits until the peer has shut down, or nothing moved for 60 s. */
void pilot_stream_shutdown_write (PilotStream *stream, gint64 now);
/* Both directions at once, RST to the peer, buffers dropped. */
void pilot_stream_reset (PilotStream *stream, gint64 now);
/* The user is done: what is not closed yet is closed in order (data sent, FIN), unread data that
 * arrives is answered with RST (RFC 9293 3.10.4 note, as TCP does). The handle is gone. */
void pilot_stream_release (PilotStream *stream, gint64 now);

gboolean pilot_stream_is_eof (PilotStream *stream); /* FIN received and everything read */
PilotStreamError pilot_stream_get_error (PilotStream *stream);
const char *pilot_stream_error_to_string (PilotStreamError error);
const char *pilot_stream_state_to_string (PilotStreamState state);
void pilot_stream_info (PilotStream *stream, PilotStreamInfo *info);
void pilot_stream_set_user_data (PilotStream *stream, gpointer user_data);
gpointer pilot_stream_get_user_data (PilotStream *stream);

G_END_DECLS
