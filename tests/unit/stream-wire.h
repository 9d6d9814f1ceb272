/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "protocol/stream-private.h"

G_BEGIN_DECLS

/* Two streams, or one and a script, joined by a wire in virtual time: delay, jitter, loss, duplication, rate and a drop-tail queue. */

typedef struct {
  PilotPacket packet;
  guint8 data[4096];
} WirePacket;

typedef struct {
  gint64 delay, jitter;    /* us, one way */
  gdouble loss, duplicate; /* 0..1 */
  guint64 rate, queue;     /* bytes a second, bytes; 0 = no bound */
  gboolean cut;            /* nothing passes */
} WireConfig;

typedef struct {
  PilotStream *stream; /* NULL: scripted; what arrives stands in inbox */
  guint ready, changed;
  gboolean finished;
  GQueue inbox;      /* WirePacket: what this side's wire end received, when scripted */
  GPtrArray *flight; /* WireEvent toward this side */
  gint64 wire_free;
  guint64 sent, dropped;
  gint64 heard; /* when the peer was heard beside the stream */
  void (*on_turn) (gpointer user_data, gint64 now);
  gpointer user_data;
} WireEnd;

typedef struct {
  WireConfig config;
  WireEnd ends[2];
  GRand *rand;
  gint64 now;
} Wire;

Wire *wire_new (const WireConfig *config, guint32 seed);
void wire_free (Wire *wire);
/* An initiator at end 0, a responder made by its SYN at end 1. With @own FALSE the extensions are off on that end. */
PilotStream *wire_open (Wire *wire, guint end, gboolean own, gsize buffer);
/* Carries out what is due, moving time to @until at the latest; stops early when @done says so. */
gboolean wire_run (Wire *wire, gint64 until, gboolean (*done) (gpointer user_data), gpointer user_data);
/* What the stream at @end wants to send now, without any wire: for scripts. NULL = nothing. */
WirePacket *wire_take (Wire *wire, guint end);
/* Hands a packet to the stream at @end. */
void wire_put (Wire *wire, guint end, guint8 flags, guint32 seq, guint32 ack, guint16 window, const void *data, gsize length);
/* Moves the time to the next deadline of the stream at @end, at most to @until, and runs it. */
gint64 wire_tick (Wire *wire, guint end, gint64 until);

G_END_DECLS
