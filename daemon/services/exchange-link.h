/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/node/node.h"
#include "protocol/exchange-frame.h"

G_BEGIN_DECLS

/* A connection of ours to port 1001 of a peer: frames go out, answers come in. */
typedef struct _ExchangeLink ExchangeLink;

/* Called from the main loop, never from inside a call of the link. Each may close the link. */
typedef struct {
  void (*opened) (gpointer user_data);
  void (*frame) (const PilotExchangeFrame *frame, gpointer user_data);
  void (*drained) (gpointer user_data);              /* the stream has taken all that was to be sent */
  void (*ended) (GError *error, gpointer user_data); /* takes the error; the link is to be closed */
} ExchangeLinkHandler;

/* NULL with the error of pilot_node_connect(). */
ExchangeLink *exchange_link_new (PilotNode *node, guint32 peer, const ExchangeLinkHandler *handler, gpointer user_data, GError **error);
/* In order, after what is to be sent; or at once. */
void exchange_link_close (ExchangeLink *link, gboolean at_once);
/* Another user takes it over; it is open. */
void exchange_link_hand_over (ExchangeLink *link, const ExchangeLinkHandler *handler, gpointer user_data);
/* What is appended here is sent with exchange_link_flush(); empty again when the stream has taken all of it. */
GByteArray *exchange_link_get_out (ExchangeLink *link);
void exchange_link_flush (ExchangeLink *link);
/* (transfer full) What a peer has answered, fit for a message of ours: one line, not too long. */
char *exchange_link_quote (const guint8 *text, gsize length);
gboolean exchange_link_is_own_kind (ExchangeLink *link);

G_END_DECLS
