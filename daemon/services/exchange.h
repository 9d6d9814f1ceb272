/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/node/node.h"
#include "protocol/exchange-frame.h"
#include "protocol/json.h"

G_BEGIN_DECLS

/*
 * PilotExchange: messages and files between nodes, pilot port 1001 (services.md section 3). Receives from trusted peers, and from those we await an answer of, into inbox/ and received/
 * of the state directory, and sends.
 *
 * Signals: "message-received" (PilotExchangeMessage *)
 *          "file-received" (PilotExchangeFile *)
 *          "transfer-changed" (PilotTransfer *)
 */
#define PILOT_TYPE_EXCHANGE (pilot_exchange_get_type ())
G_DECLARE_FINAL_TYPE (PilotExchange, pilot_exchange, PILOT, EXCHANGE, GObject)

/* One message that was put into the inbox. */
typedef struct {
  const char *id; /* of its file, without ".json" */
  guint32 node;
  guint32 type; /* PilotExchangeType */
  gsize bytes;
  const char *message_id, *reply_to; /* NULL = none */
} PilotExchangeMessage;

/* One file that was put into received/. */
typedef struct {
  const char *name; /* in received/ */
  guint32 node;
  guint64 bytes;
} PilotExchangeFile;

typedef enum {
  PILOT_TRANSFER_READING,    /* a digest is made of the file */
  PILOT_TRANSFER_CONNECTING, /* or again, after the connection was lost */
  PILOT_TRANSFER_SENDING,
  PILOT_TRANSFER_VERIFYING, /* all is over there, or here: its digest is compared */
  PILOT_TRANSFER_DONE,
  PILOT_TRANSFER_FAILED,
} PilotTransferState;

/* A file under way, or one that was a while ago. */
typedef struct {
  guint64 id;
  gboolean incoming;
  guint32 node;
  char *name; /* as the sender calls it */
  guint64 size, bytes, resumed;
  PilotTransferState state;
  gboolean streamed; /* FILESTREAM: resumable, verified */
  guint8 sha256[PILOT_SHA256_SIZE];
  char *answer;            /* outgoing FILE: the text of the answer; incoming: the name in received/ */
  GError *error;           /* FAILED */
  gint64 started, changed; /* monotonic */
} PilotTransfer;

const char *pilot_transfer_state_to_string (PilotTransferState state);

PilotExchange *pilot_exchange_new (PilotNode *node);
/* Makes the folders; answers on port 1001, unless no_dataexchange says not to. */
gboolean pilot_exchange_start (PilotExchange *exchange, GError **error);
/* Ends what is under way and waits for what is on its way to the disk; partial files stay. */
void pilot_exchange_stop (PilotExchange *exchange);
/* The state directory: inbox/ and received/ are in it. */
const char *pilot_exchange_get_folder (PilotExchange *exchange);
/* Whether it receives. */
gboolean pilot_exchange_is_receiving (PilotExchange *exchange);

typedef struct {
  guint32 type;           /* TEXT, JSON or BINARY */
  const char *message_id; /* NULL: made here */
  const char *reply_to;   /* NULL: none */
  gboolean trace, reuse;
  guint timeout_ms;
} PilotExchangeSendOptions;

/* What came of a message. */
typedef struct {
  char *message_id; /* "" when it went untagged */
  char *answer;     /* the text of the peer's answer */
  gboolean tagged, duplicate, reused;
  JsonObject *trace; /* NULL: none asked for, or the peer does not know it */
} PilotExchangeReceipt;
void pilot_exchange_receipt_free (PilotExchangeReceipt *receipt);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotExchangeReceipt, pilot_exchange_receipt_free)

/* Sends a message and waits for the answer. REFUSED with the peer's words when it was not stored. */
void pilot_exchange_send_async (PilotExchange *exchange,
                                guint32 node,
                                GBytes *data,
                                const PilotExchangeSendOptions *options,
                                GAsyncReadyCallback callback,
                                gpointer user_data);
PilotExchangeReceipt *pilot_exchange_send_finish (PilotExchange *exchange, GAsyncResult *result, GError **error);

/* Sends the file behind a descriptor, which is taken. Goes on by itself, and goes on after the connection was lost, until nothing has moved for
 * @idle_ms; "transfer-changed" tells how it goes. @streamed FALSE: as one frame, as to an old peer. Returns its id, 0 with an error. */
guint64 pilot_exchange_send_file (PilotExchange *exchange, int fd, guint32 node, const char *name, gboolean streamed, guint idle_ms, GError **error);
/* FALSE: NOT_FOUND, or over already. */
gboolean pilot_exchange_cancel (PilotExchange *exchange, guint64 id, GError **error);
/* PilotTransfer elements, borrowed; those that ended last are kept. */
GPtrArray *pilot_exchange_list_transfers (PilotExchange *exchange);

G_END_DECLS
