/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "protocol/stream-private.h"

G_BEGIN_DECLS

/*
 * Whose turn it is to send: deficit round robin with newcomers first (RFC 8290 section 4.2). A stream that was idle goes before those that are in the
 * middle of much, for one turn; then it stands behind them, also when it has said all, so that nobody holds the others up by being idle now and then.
 * A turn is what one datagram buffer holds, so that bulk is not cut into small pieces, and nobody waits for more than one of them.
 */
typedef struct {
  PilotStream *head, *tail;
} PilotTurnQueue;

typedef struct {
  PilotTurnQueue newcomers, others;
} PilotTurnOrder;

/* @stream may have something to send. */
void pilot_turn_order_join (PilotTurnOrder *self, PilotStream *stream);
/* Out of both queues, whatever it has to send. */
void pilot_turn_order_leave (PilotTurnOrder *self, PilotStream *stream);
/* Whose turn it is; NULL when nobody has something to send. */
PilotStream *pilot_turn_order_next (const PilotTurnOrder *self);
/* @stream, whose turn it is, has sent so many bytes; it has more to send or has not. @full: the buffer it wrote to takes nothing any more, and what is
 * little of its turn then is not worth another. FALSE: it is out of the queues. */
gboolean pilot_turn_order_sent (PilotTurnOrder *self, PilotStream *stream, gsize bytes, gboolean more, gboolean full);

G_END_DECLS
