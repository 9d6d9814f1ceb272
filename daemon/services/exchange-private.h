/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/core/shares.h"
#include "daemon/services/exchange.h"
#include "daemon/services/exchange-seen.h"
#include "daemon/services/exchange-store.h"

G_BEGIN_DECLS

/* Shared by the files exchange*.c; nobody else includes it. */

typedef struct _ExchangeSession ExchangeSession; /* exchange-receiver.c: a connection that came in */

struct _PilotExchange {
  GObject parent_instance;

  PilotNode *node;
  char *folder;
  gsize limit;     /* longest payload taken */
  gboolean base64; /* messages are kept as base64 always */
  gboolean running, receiving;

  GThreadPool *workers;
  GQueue jobs; /* Job, of exchange.c: that wait */
  PilotShares *worker_shares;
  gint cancel; /* read by workers: the daemon stops */

  GQueue sessions; /* ExchangeSession */
  PilotShares *session_shares;
  guint64 held;             /* bytes of frames under way in all of them */
  PilotShares *open_shares; /* files that come in pieces */
  GHashTable *open;         /* "<id>.<sender>" -> ExchangeIncoming whose partial is the common one */
  guint64 reserved;         /* bytes promised to files that come whole and are on their way to the disk */
  PilotExchangeUsage inbox;
  PilotExchangeSeen *seen;
  GQueue waiting; /* deliveries that wait for an identical one */
  guint sweep_source;

  guint64 last_transfer;
  GQueue transfers; /* PilotTransfer, newest last */
  GQueue uploads;   /* ExchangeUpload: files that go out */
  GQueue letters;   /* ExchangeLetter: messages that go out */
  GQueue parked;    /* ExchangeParked: connections kept for the next message */
};

/* --- exchange.c --- */

/* Runs @work in a worker thread, on @data alone, then @done in the main loop. One @peer never has all workers. */
void pilot_exchange_run (PilotExchange *exchange,
                         guint32 peer,
                         void (*work) (gpointer data),
                         void (*done) (PilotExchange *exchange, gpointer data),
                         gpointer data);
PilotTransfer *pilot_exchange_add_transfer (PilotExchange *exchange, gboolean incoming, guint32 node, const char *name, guint64 size);
/* Tells who listens; for mere progress not more often than they can draw it. */
void pilot_transfer_changed (PilotExchange *exchange, PilotTransfer *transfer, PilotTransferState state);
void pilot_transfer_progress (PilotExchange *exchange, PilotTransfer *transfer, guint64 bytes);
/* Takes @error. */
void pilot_transfer_failed (PilotExchange *exchange, PilotTransfer *transfer, GError *error);
void pilot_exchange_message_received (PilotExchange *exchange, const PilotExchangeMessage *message);
void pilot_exchange_file_received (PilotExchange *exchange, const PilotExchangeFile *file);

/* --- exchange-receiver.c --- */

struct _ExchangeSession {
  PilotStreamUser user; /* first */
  PilotExchange *exchange;
  PilotStream *stream; /* NULL: over */
  guint32 peer;
  char from[PILOT_ADDRESS_TEXT_SIZE];
  GList link;
  PilotExchangeReader *reader;
  gboolean complete; /* a whole frame stands in the reader */
  gboolean busy;     /* a worker has something of this session */
  gboolean closed;   /* over; what has come is still read */
  gsize held;        /* what is counted in exchange->held */
  gsize reserved;    /* likewise in exchange->reserved */
  GByteArray *out;
  gint64 moved_at;      /* the last whole frame */
  GHashTable *incoming; /* transfer id -> ExchangeIncoming */
  gsize early;          /* what pieces of files that came too early cost */
  struct _ExchangeBatch *batch;
};

void pilot_exchange_on_stream (PilotNode *node, PilotStream *stream, guint32 peer, gpointer user_data);
/* @reset: at once, without what is still to be sent. The session may be gone afterwards. */
void pilot_exchange_session_end (ExchangeSession *session, gboolean reset);
void pilot_exchange_session_lend (ExchangeSession *session); /* before a worker runs */
/* After it ran: FALSE when the session was over, and is gone. */
gboolean pilot_exchange_session_return (ExchangeSession *session);
/* Goes on reading, after a worker gave back what it had. */
void pilot_exchange_session_pump (ExchangeSession *session);
gboolean pilot_exchange_sweep (gpointer user_data);

/* --- exchange-incoming.c --- */

typedef struct _ExchangeIncoming ExchangeIncoming;
/* One FILESTREAM frame. FALSE: not now, the batch has to be written first; it has been started. */
gboolean pilot_exchange_incoming_frame (ExchangeSession *session, const guint8 *payload, gsize length);
/* Starts to write what is gathered. FALSE: nothing is. */
gboolean pilot_exchange_incoming_flush (ExchangeSession *session);
void pilot_exchange_incoming_free (gpointer incoming);
void pilot_exchange_batch_free (struct _ExchangeBatch *batch);
PilotExchangePromised pilot_exchange_promised (PilotExchange *exchange, guint32 sender);

/* --- exchange-letter.c, exchange-upload.c --- */

void pilot_exchange_letters_stop (PilotExchange *exchange);
void pilot_exchange_uploads_stop (PilotExchange *exchange);

G_END_DECLS
