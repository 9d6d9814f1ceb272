/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/services/exchange-private.h"

#include <string.h>

#include "libpilot/pilot-error.h"

/* FILESTREAM, the receiving side (services.md 3.7): files that come in pieces, can be continued, and are verified before they are put in place. */

/* Written at once. */
#define MAX_BATCH (1024 * 1024)
/* Pieces that came too early are kept up to here, on one connection in all; each counts for a little more than it holds. */
#define MAX_EARLY 786432
#define PIECE_COST 64
/* A newcomer takes over what its sender has left alone for so long: after a restart he comes again, on another connection. */
#define TAKE_OVER_AFTER (2 * (gint64) G_USEC_PER_SEC)

struct _ExchangeIncoming {
  GBytes *id; /* the key in the session's table */
  char *key;  /* in the exchange's table, NULL: its partial is its own */
  ExchangeSession *session;
  PilotTransfer *transfer;
  PilotPartial *partial;
  guint64 size, cursor; /* cursor: written, for the main loop to know */
  GQueue early;         /* Piece: came before what is in front of them, by offset */
  gint64 moved_at;
  gboolean ended; /* finished or failed: the transfer has been told */
};

typedef struct {
  guint64 offset;
  GBytes *data;
} Piece;

/* Pieces that follow each other, gathered for one write. */
typedef struct _ExchangeBatch {
  ExchangeSession *session;
  ExchangeIncoming *incoming;
  GByteArray *data;
  GArray *cursors; /* guint64: one for each piece, to be acknowledged */
  GError *error;
} ExchangeBatch;

/* Everything but the batch: what one piece of work on a partial needs. */
typedef struct {
  ExchangeSession *session;
  ExchangeIncoming *incoming;
  const char *folder;
  guint32 sender;
  guint8 sha256[PILOT_SHA256_SIZE];
  PilotExchangePromised promised;
  gboolean alone;
  const gint *cancel;
  char *stored;
  GError *error;
} PartialWork;

/* --- answers --- */

static void
complete (ExchangeSession *session, const guint8 *id, const char *reason)
{
  pilot_exchange_append_stream_complete (session->out, id, reason);
}

static void
acknowledge (ExchangeSession *session, ExchangeIncoming *incoming, guint64 cursor)
{
  pilot_exchange_append_stream_offset (session->out, PILOT_EXCHANGE_ACK, g_bytes_get_data (incoming->id, NULL), cursor, NULL, 0);
}

static void
incoming_fail (ExchangeIncoming *incoming, PilotError code, const char *reason)
{
  if (!incoming->ended)
    pilot_transfer_failed (incoming->session->exchange, incoming->transfer, g_error_new_literal (PILOT_ERROR, code, reason));
  incoming->ended = TRUE;
}

/* --- pieces that came too early --- */

static gsize
piece_cost (const Piece *piece)
{
  return g_bytes_get_size (piece->data) + PIECE_COST;
}

static void
piece_free (ExchangeIncoming *incoming, Piece *piece)
{
  incoming->session->early -= piece_cost (piece);
  g_bytes_unref (piece->data);
  g_free (piece);
}

/* What does not fit, or is there already, is dropped: the answer says from where on there is nothing. */
static void
keep_early (ExchangeIncoming *incoming, const PilotExchangeStreamMessage *message)
{
  GList *before = incoming->early.tail;
  Piece *piece;

  if (message->length == 0 || incoming->session->early + message->length + PIECE_COST > MAX_EARLY)
    return;
  /* From the end: they mostly come in order. */
  while (before != NULL && ((const Piece *) before->data)->offset > message->offset)
    before = before->prev;
  if (before != NULL && ((const Piece *) before->data)->offset == message->offset)
    return;
  piece = g_new (Piece, 1);
  piece->offset = message->offset;
  piece->data = g_bytes_new (message->data, message->length);
  incoming->session->early += piece_cost (piece);
  if (before != NULL)
    g_queue_insert_after (&incoming->early, before, piece);
  else
    g_queue_push_head (&incoming->early, piece);
}

/* Appends to @data, which ends at @next, what now follows. Returns where it ends then. */
static guint64
take_early (ExchangeIncoming *incoming, GByteArray *data, guint64 next)
{
  Piece *piece;

  while ((piece = g_queue_peek_head (&incoming->early)) != NULL && piece->offset <= next) {
    gsize length;
    const guint8 *bytes = g_bytes_get_data (piece->data, &length);

    if (piece->offset + length > next) {
      gsize known = (gsize) (next - piece->offset);

      g_byte_array_append (data, bytes + known, (guint) (length - known));
      next = piece->offset + length;
    }
    piece_free (incoming, g_queue_pop_head (&incoming->early));
  }
  return next;
}

/* --- the table of what is open --- */

PilotExchangePromised
pilot_exchange_promised (PilotExchange *exchange, guint32 sender)
{
  PilotExchangePromised promised = { .all = exchange->reserved };

  for (GList *item = exchange->sessions.head; item != NULL; item = item->next) {
    const ExchangeSession *session = item->data;
    guint64 sum = 0;
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init (&iter, session->incoming);
    while (g_hash_table_iter_next (&iter, NULL, &value)) {
      const ExchangeIncoming *incoming = value;

      /* A refused size must not shut out others while it is being refused. */
      if (!incoming->ended && incoming->size <= PILOT_EXCHANGE_RECEIVED_BYTES)
        sum += incoming->size - incoming->cursor;
    }
    promised.all += sum;
    promised.own += session->peer == sender ? sum + session->reserved : 0;
  }
  return promised;
}

void
pilot_exchange_incoming_free (gpointer data)
{
  ExchangeIncoming *incoming = data;
  ExchangeSession *session = incoming->session;

  incoming_fail (incoming, PILOT_ERROR_CONNECTION_FAILED, "the sender went away; what came is kept for the next attempt");
  /* Gathered and not written yet: not acknowledged either. */
  if (session->batch != NULL && session->batch->incoming == incoming)
    g_clear_pointer (&session->batch, pilot_exchange_batch_free);
  while (!g_queue_is_empty (&incoming->early))
    piece_free (incoming, g_queue_pop_head (&incoming->early));
  if (incoming->key != NULL)
    g_hash_table_remove (session->exchange->open, incoming->key);
  pilot_shares_give_back (session->exchange->open_shares, session->peer);
  pilot_partial_close (incoming->partial);
  g_bytes_unref (incoming->id);
  g_free (incoming->key);
  g_free (incoming);
}

void
pilot_exchange_batch_free (ExchangeBatch *batch)
{
  if (batch == NULL)
    return;
  g_byte_array_unref (batch->data);
  g_array_unref (batch->cursors);
  g_clear_error (&batch->error);
  g_free (batch);
}

static ExchangeIncoming *
lookup (ExchangeSession *session, const guint8 *id)
{
  g_autoptr (GBytes) key = g_bytes_new_static (id, PILOT_EXCHANGE_TRANSFER_ID_SIZE);

  return g_hash_table_lookup (session->incoming, key);
}

static void
drop (ExchangeIncoming *incoming)
{
  g_hash_table_remove (incoming->session->incoming, incoming->id);
}

/* Its sender is told why, and so is who listens here. */
static void
refuse (ExchangeIncoming *incoming, PilotError code, const char *reason)
{
  complete (incoming->session, g_bytes_get_data (incoming->id, NULL), reason);
  incoming_fail (incoming, code, reason);
  drop (incoming);
}

/* Whether the common partial of this transfer is free for a newcomer. Takes it from a connection that has gone quiet. */
static gboolean
claim (PilotExchange *exchange, const char *key)
{
  ExchangeIncoming *other = g_hash_table_lookup (exchange->open, key);

  if (other == NULL)
    return TRUE;
  if (other->session->busy || g_get_monotonic_time () - other->moved_at < TAKE_OVER_AFTER)
    return FALSE;
  refuse (other, PILOT_ERROR_BUSY, "a newer transfer of this file has taken it over");
  return TRUE;
}

/* --- writing --- */

static void
batch_work (gpointer data)
{
  ExchangeBatch *batch = data;

  pilot_partial_append (batch->incoming->partial, batch->data->data, batch->data->len, &batch->error);
}

static void
batch_done (PilotExchange *exchange, gpointer data)
{
  ExchangeBatch *batch = data;
  ExchangeSession *session = batch->session;
  ExchangeIncoming *incoming = batch->incoming;

  incoming->moved_at = g_get_monotonic_time ();
  if (batch->error != NULL)
    refuse (incoming, pilot_error_code (batch->error), batch->error->message);
  else {
    incoming->cursor = pilot_partial_get_cursor (incoming->partial);
    for (guint i = 0; i < batch->cursors->len; i++)
      acknowledge (session, incoming, g_array_index (batch->cursors, guint64, i));
    pilot_transfer_progress (exchange, incoming->transfer, incoming->cursor);
  }
  pilot_exchange_batch_free (batch);
  if (pilot_exchange_session_return (session))
    pilot_exchange_session_pump (session);
}

gboolean
pilot_exchange_incoming_flush (ExchangeSession *session)
{
  ExchangeBatch *batch = g_steal_pointer (&session->batch);

  if (batch == NULL)
    return FALSE;
  pilot_exchange_session_lend (session);
  pilot_exchange_run (session->exchange, session->peer, batch_work, batch_done, batch);
  return TRUE;
}

/* FALSE: what is gathered is written first. */
static gboolean
take_chunk (ExchangeSession *session, const PilotExchangeStreamMessage *message)
{
  ExchangeIncoming *incoming = lookup (session, message->id);
  ExchangeBatch *batch = session->batch;
  gboolean too_long;
  guint64 next;

  if (incoming == NULL) {
    pilot_exchange_append_stream_abort (session->out, message->id, "no active transfer (send INIT first)");
    return TRUE;
  }
  next = incoming->cursor + (batch != NULL ? batch->data->len : 0);
  too_long = message->offset > incoming->size || message->length > incoming->size - message->offset;
  if (batch != NULL && (batch->incoming != incoming || message->offset != next || too_long)) {
    pilot_exchange_incoming_flush (session);
    return FALSE;
  }
  if (too_long) {
    g_autofree char *reason = g_strdup_printf ("chunk at %" G_GUINT64_FORMAT " of %" G_GSIZE_FORMAT " bytes exceeds declared size %" G_GUINT64_FORMAT,
                                               message->offset, message->length, incoming->size);

    refuse (incoming, PILOT_ERROR_CORRUPT, reason);
    return TRUE;
  }
  /* What is there is acknowledged again. */
  if (message->offset != next) {
    if (message->offset > next)
      keep_early (incoming, message);
    acknowledge (session, incoming, incoming->cursor);
    return TRUE;
  }
  if (batch == NULL) {
    batch = session->batch = g_new0 (ExchangeBatch, 1);
    batch->session = session;
    batch->incoming = incoming;
    batch->data = g_byte_array_new ();
    batch->cursors = g_array_new (FALSE, FALSE, sizeof (guint64));
  }
  if (message->length > 0)
    g_byte_array_append (batch->data, message->data, (guint) message->length);
  next = take_early (incoming, batch->data, next + message->length);
  g_array_append_val (batch->cursors, next);
  if (batch->data->len >= MAX_BATCH)
    pilot_exchange_incoming_flush (session);
  return TRUE;
}

/* --- beginning --- */

static void
open_work (gpointer data)
{
  PartialWork *work = data;
  ExchangeIncoming *incoming = work->incoming;

  incoming->partial = pilot_partial_open (work->folder, work->sender, work->sha256, incoming->size, work->alone, &work->promised, &work->error);
}

static void
open_done (PilotExchange *exchange, gpointer data)
{
  PartialWork *work = data;
  ExchangeSession *session = work->session;
  ExchangeIncoming *incoming = work->incoming;

  incoming->moved_at = g_get_monotonic_time ();
  if (work->error != NULL) {
    g_message ("file from %s refused: %s", session->from, work->error->message);
    refuse (incoming, pilot_error_code (work->error), work->error->message);
  } else {
    incoming->cursor = incoming->transfer->resumed = incoming->transfer->bytes = pilot_partial_get_cursor (incoming->partial);
    pilot_exchange_append_stream_offset (session->out, PILOT_EXCHANGE_INIT_ACK, g_bytes_get_data (incoming->id, NULL), incoming->cursor, NULL, 0);
    pilot_transfer_changed (exchange, incoming->transfer, PILOT_TRANSFER_SENDING);
  }
  g_clear_error (&work->error);
  g_free (work);
  if (pilot_exchange_session_return (session))
    pilot_exchange_session_pump (session);
}

static char *
transfer_key (const guint8 *id, guint32 sender)
{
  g_autofree char *encoded = g_base64_encode (id, PILOT_EXCHANGE_TRANSFER_ID_SIZE);

  return g_strdup_printf ("%s.%u", encoded, sender);
}

/* What comes behind the last slash; "received.bin" where that is no name. */
static char *
base_name (const guint8 *data, gsize length)
{
  gsize start = length;

  while (start > 0 && data[start - 1] != '/' && data[start - 1] != '\\')
    start--;
  if (!pilot_exchange_name_is_valid ((const char *) data + start, length - start))
    return g_strdup ("received.bin");
  return g_strndup ((const char *) data + start, length - start);
}

static void
take_init (ExchangeSession *session, const PilotExchangeStreamMessage *message)
{
  PilotExchange *exchange = session->exchange;
  ExchangeIncoming *incoming = lookup (session, message->id);
  g_autofree char *name = base_name (message->data, message->length), *key = NULL;
  PartialWork *work;

  if (memcmp (message->id, message->sha256, PILOT_EXCHANGE_TRANSFER_ID_SIZE) != 0) {
    complete (session, message->id, "malformed INIT");
    return;
  }
  if (incoming != NULL) {
    incoming_fail (incoming, PILOT_ERROR_CANCELLED, "the sender begins again");
    drop (incoming);
  }
  if (!pilot_shares_take (exchange->open_shares, session->peer)) {
    complete (session, message->id, "too many concurrent transfers");
    return;
  }
  incoming = g_new0 (ExchangeIncoming, 1);
  incoming->id = g_bytes_new (message->id, PILOT_EXCHANGE_TRANSFER_ID_SIZE);
  incoming->session = session;
  incoming->size = message->size;
  incoming->transfer = pilot_exchange_add_transfer (exchange, TRUE, session->peer, name, message->size);
  incoming->transfer->streamed = TRUE;
  memcpy (incoming->transfer->sha256, message->sha256, PILOT_SHA256_SIZE);

  work = g_new0 (PartialWork, 1);
  work->session = session;
  work->incoming = incoming;
  work->folder = exchange->folder;
  work->sender = session->peer;
  memcpy (work->sha256, message->sha256, PILOT_SHA256_SIZE);
  work->promised = pilot_exchange_promised (exchange, session->peer);
  key = transfer_key (message->id, session->peer);
  work->alone = !claim (exchange, key);
  if (!work->alone) {
    incoming->key = g_strdup (key);
    g_hash_table_insert (exchange->open, g_strdup (key), incoming);
  }
  g_hash_table_insert (session->incoming, incoming->id, incoming);
  pilot_exchange_session_lend (session);
  pilot_exchange_run (exchange, session->peer, open_work, open_done, work);
}

/* --- end --- */

static void
finish_work (gpointer data)
{
  PartialWork *work = data;

  work->stored = pilot_partial_finish (work->incoming->partial, work->incoming->transfer->name, work->cancel, &work->error);
}

static void
finish_done (PilotExchange *exchange, gpointer data)
{
  PartialWork *work = data;
  ExchangeSession *session = work->session;
  ExchangeIncoming *incoming = work->incoming;

  complete (session, g_bytes_get_data (incoming->id, NULL), work->error != NULL ? work->error->message : NULL);
  if (work->error != NULL) {
    g_message ("file from %s is not good: %s", session->from, work->error->message);
    incoming_fail (incoming, pilot_error_code (work->error), work->error->message);
  } else {
    const PilotExchangeFile file = { work->stored, session->peer, incoming->size };

    incoming->ended = TRUE;
    incoming->transfer->answer = g_strdup (work->stored);
    pilot_transfer_changed (exchange, incoming->transfer, PILOT_TRANSFER_DONE);
    pilot_exchange_file_received (exchange, &file);
  }
  drop (incoming);
  g_free (work->stored);
  g_clear_error (&work->error);
  g_free (work);
  if (pilot_exchange_session_return (session))
    pilot_exchange_session_pump (session);
}

static void
take_done (ExchangeSession *session, const PilotExchangeStreamMessage *message)
{
  ExchangeIncoming *incoming = lookup (session, message->id);
  PartialWork *work;

  if (incoming == NULL) {
    complete (session, message->id, "no active transfer");
    return;
  }
  work = g_new0 (PartialWork, 1);
  work->session = session;
  work->incoming = incoming;
  work->cancel = &session->exchange->cancel;
  pilot_transfer_changed (session->exchange, incoming->transfer, PILOT_TRANSFER_VERIFYING);
  pilot_exchange_session_lend (session);
  pilot_exchange_run (session->exchange, session->peer, finish_work, finish_done, work);
}

gboolean
pilot_exchange_incoming_frame (ExchangeSession *session, const guint8 *payload, gsize length)
{
  static const guint8 no_id[PILOT_EXCHANGE_TRANSFER_ID_SIZE];
  PilotExchangeStreamMessage message;
  ExchangeIncoming *incoming;

  if (!pilot_exchange_parse_stream (payload, length, &message)) {
    if (message.id == NULL)
      complete (session, no_id, "malformed stream frame");
    else if (message.kind == PILOT_EXCHANGE_INIT || message.kind == PILOT_EXCHANGE_CHUNK)
      complete (session, message.id, message.kind == PILOT_EXCHANGE_INIT ? "malformed INIT" : "malformed CHUNK");
    return TRUE;
  }
  if (message.kind == PILOT_EXCHANGE_CHUNK)
    return take_chunk (session, &message);
  if (pilot_exchange_incoming_flush (session))
    return FALSE;
  switch (message.kind) {
  case PILOT_EXCHANGE_INIT:
    take_init (session, &message);
    break;
  case PILOT_EXCHANGE_DONE:
    take_done (session, &message);
    break;
  case PILOT_EXCHANGE_ABORT:
    incoming = lookup (session, message.id);
    if (incoming != NULL) {
      incoming_fail (incoming, PILOT_ERROR_CANCELLED, "the sender gave it up; what came is kept for the next attempt");
      drop (incoming);
    }
    break;
  default:
    break;
  }
  return TRUE;
}
