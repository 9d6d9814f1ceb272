/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/services/exchange-private.h"

#include <string.h>

#include "daemon/services/hoarder.h"
#include "libpilot/pilot-error.h"
#include "protocol/json.h"

/* Bytes of unfinished frames in all sessions; above that the peer who has most of them loses his largest. */
#define MAX_HELD ((guint64) 256 * 1024 * 1024)
/* Answers the peer does not read: no further frame is looked at meanwhile. */
#define MAX_BACKLOG (64 * 1024)
/* Without a whole frame for so long the connection is closed, as v1.18 does. */
#define FRAME_LIMIT (120 * (gint64) G_USEC_PER_SEC)

/* --- sessions --- */

static void
session_account (ExchangeSession *session, gsize held)
{
  session->exchange->held += held;
  session->exchange->held -= session->held;
  session->held = held;
}

static void
session_free (ExchangeSession *session)
{
  session_account (session, 0);
  g_clear_pointer (&session->batch, pilot_exchange_batch_free);
  g_hash_table_unref (session->incoming);
  pilot_exchange_reader_free (session->reader);
  g_byte_array_unref (session->out);
  g_object_unref (session->exchange);
  g_free (session);
}

void
pilot_exchange_session_end (ExchangeSession *session, gboolean reset)
{
  PilotExchange *exchange = session->exchange;
  PilotStream *stream = g_steal_pointer (&session->stream);
  gint64 now = g_get_monotonic_time ();

  g_queue_unlink (&exchange->sessions, &session->link);
  pilot_shares_give_back (exchange->session_shares, session->peer);
  pilot_stream_set_user_data (stream, NULL);
  if (reset)
    pilot_stream_reset (stream, now);
  pilot_stream_release (stream, now);
  pilot_node_kick (exchange->node);
  /* What a worker has is freed when it comes back. */
  if (!session->busy)
    session_free (session);
}

void
pilot_exchange_session_lend (ExchangeSession *session)
{
  session->busy = TRUE;
}

gboolean
pilot_exchange_session_return (ExchangeSession *session)
{
  session->busy = FALSE;
  session_account (session, pilot_exchange_reader_held (session->reader));
  if (session->stream != NULL)
    return TRUE;
  session_free (session);
  return FALSE;
}

static void
flush (ExchangeSession *session)
{
  gsize written = pilot_stream_write (session->stream, session->out->data, session->out->len, g_get_monotonic_time ());

  if (written > 0)
    g_byte_array_remove_range (session->out, 0, (guint) written);
}

static void
answer (ExchangeSession *session, const char *text)
{
  pilot_exchange_append (session->out, PILOT_EXCHANGE_TEXT, text, strlen (text));
}

/* --- deliveries: one message, or a file that came whole --- */

typedef struct {
  ExchangeSession *session;
  GBytes *frame; /* the payload that was taken from the reader */
  const guint8 *data;
  gsize length;
  guint32 type;
  char *type_name, *name;
  PilotExchangeTag tag;
  gboolean trace, keyed;
  gint64 sent_at, received_at, written_at; /* ns since 1970; of a trace */
  guint8 key[PILOT_SHA256_SIZE];
  /* What the worker needs of the daemon, and what it gives back. */
  const char *folder;
  guint32 sender;
  char from[PILOT_ADDRESS_TEXT_SIZE];
  gboolean base64;
  PilotExchangePromised promised;
  PilotExchangeUsage before, inbox;
  char *stored;
  GError *error;
} Delivery;

static gint64
wall_ns (void)
{
  return g_get_real_time () * 1000;
}

static void
delivery_free (Delivery *delivery)
{
  g_bytes_unref (delivery->frame);
  g_free (delivery->type_name);
  g_free (delivery->name);
  pilot_exchange_tag_clear (&delivery->tag);
  g_free (delivery->stored);
  g_clear_error (&delivery->error);
  g_free (delivery);
}

static void
answer_trace (Delivery *delivery, const char *inner)
{
  g_autofree char *text = NULL;
  g_autoptr (JsonObject) object = json_object_new ();

  json_object_set_int_member (object, "sent_at_ns", delivery->sent_at);
  json_object_set_int_member (object, "received_at_ns", delivery->received_at);
  json_object_set_int_member (object, "inbox_written_at_ns", delivery->written_at);
  json_object_set_int_member (object, "ack_sent_at_ns", wall_ns ());
  json_object_set_string_member (object, "inner_ack", inner);
  text = pilot_json_print (object);
  pilot_exchange_append (delivery->session->out, PILOT_EXCHANGE_JSON, text, strlen (text));
}

static void
delivery_answer (Delivery *delivery, const char *text)
{
  if (delivery->trace)
    answer_trace (delivery, text);
  else
    answer (delivery->session, text);
  delivery_free (delivery);
}

/* After a worker: the session goes on with its next frame. */
static void
delivery_finish (Delivery *delivery, const char *text)
{
  ExchangeSession *session = delivery->session;

  delivery_answer (delivery, text);
  if (pilot_exchange_session_return (session))
    pilot_exchange_session_pump (session);
}

static void delivery_admit (PilotExchange *exchange, gpointer data);

/* Those that waited for an identical delivery ask again. */
static void
retry_waiting (PilotExchange *exchange, const guint8 *key)
{
  GQueue all = exchange->waiting;

  g_queue_init (&exchange->waiting);
  while (all.head != NULL) {
    Delivery *delivery = g_queue_pop_head (&all);

    if (memcmp (delivery->key, key, sizeof delivery->key) == 0)
      delivery_admit (exchange, delivery);
    else
      g_queue_push_tail (&exchange->waiting, delivery);
  }
}

static void
tell (PilotExchange *exchange, Delivery *delivery)
{
  if (delivery->type == PILOT_EXCHANGE_FILE) {
    const PilotExchangeFile file = { delivery->stored, delivery->session->peer, delivery->length };

    pilot_exchange_file_received (exchange, &file);
  } else {
    const PilotExchangeMessage message = { delivery->stored, delivery->session->peer, delivery->type, delivery->length,
                                           delivery->tag.message_id, delivery->tag.reply_to };

    pilot_exchange_message_received (exchange, &message);
  }
}

/* Workers write beside each other: what each has added is added up, unless one has looked. */
static void
update_usage (PilotExchange *exchange, const Delivery *delivery)
{
  if (delivery->inbox.measured) {
    exchange->inbox = delivery->inbox;
    exchange->inbox.measured = FALSE;
  } else {
    exchange->inbox.bytes += delivery->inbox.bytes - delivery->before.bytes;
    exchange->inbox.files += delivery->inbox.files - delivery->before.files;
  }
}

/* A file that came whole and is on its way to the disk. */
static void
reserve (Delivery *delivery, gssize change)
{
  delivery->session->exchange->reserved += change;
  delivery->session->reserved += change;
}

static void
delivery_stored (PilotExchange *exchange, gpointer data)
{
  Delivery *delivery = data;
  g_autofree char *text = NULL;
  guint8 key[PILOT_SHA256_SIZE];
  gboolean keyed = delivery->keyed;

  memcpy (key, delivery->key, sizeof key);
  delivery->written_at = wall_ns ();
  if (delivery->type == PILOT_EXCHANGE_FILE)
    reserve (delivery, -(gssize) delivery->length);
  else
    update_usage (exchange, delivery);
  if (delivery->stored != NULL)
    text = g_strdup_printf ("ACK %s %" G_GSIZE_FORMAT " bytes", delivery->type_name, delivery->length);
  else
    text = g_strdup_printf ("ERR %s save failed: %s", delivery->type_name, delivery->error->message);
  if (keyed)
    pilot_exchange_seen_end (exchange->seen, key, g_get_monotonic_time (), delivery->stored != NULL ? text : NULL);
  if (delivery->stored != NULL)
    tell (exchange, delivery);
  else
    g_message ("%s from %s was not stored: %s", delivery->type_name, delivery->from, delivery->error->message);
  delivery_finish (delivery, text);
  if (keyed)
    retry_waiting (exchange, key);
}

static void
store_work (gpointer data)
{
  Delivery *delivery = data;
  const PilotExchangeLetter letter = {
    .type = delivery->type_name,
    .from = delivery->from,
    .message_id = delivery->tag.message_id,
    .reply_to = delivery->tag.reply_to,
    .binary = delivery->type == PILOT_EXCHANGE_BINARY,
    .base64 = delivery->base64,
    .data = delivery->data,
    .length = delivery->length,
  };

  if (delivery->type == PILOT_EXCHANGE_FILE)
    delivery->stored = pilot_exchange_store_file (delivery->folder, delivery->sender, delivery->name, delivery->data, delivery->length, &delivery->promised, &delivery->error);
  else
    delivery->stored = pilot_exchange_store_letter (delivery->folder, &letter, &delivery->inbox, &delivery->error);
}

static void
delivery_store (PilotExchange *exchange, Delivery *delivery)
{
  if (!exchange->running) {
    /* Its connection is gone, too: the sender has no answer and comes again. */
    pilot_exchange_seen_end (exchange->seen, delivery->key, g_get_monotonic_time (), NULL);
    delivery_finish (delivery, "");
    return;
  }
  delivery->before = delivery->inbox = exchange->inbox;
  delivery->promised = pilot_exchange_promised (exchange, delivery->sender);
  if (delivery->type == PILOT_EXCHANGE_FILE)
    reserve (delivery, (gssize) delivery->length);
  pilot_exchange_run (exchange, delivery->session->peer, store_work, delivery_stored, delivery);
}

/* Its key is known: new, the same as one under way, or the same as one that is stored. */
static void
delivery_admit (PilotExchange *exchange, gpointer data)
{
  Delivery *delivery = data;
  const char *before;

  switch (pilot_exchange_seen_begin (exchange->seen, delivery->key, g_get_monotonic_time (), &before)) {
  case PILOT_EXCHANGE_SEEN_NEW:
    delivery_store (exchange, delivery);
    return;
  case PILOT_EXCHANGE_SEEN_RUNNING:
    g_queue_push_tail (&exchange->waiting, delivery);
    return;
  case PILOT_EXCHANGE_SEEN_STORED: {
    g_autofree char *text = g_strconcat (before, " (duplicate)", NULL);

    delivery_finish (delivery, text);
    return;
  }
  }
}

static void
key_work (gpointer data)
{
  Delivery *delivery = data;

  pilot_exchange_duplicate_key (delivery->from, delivery->type, delivery->name, delivery->tag.message_id, delivery->tag.reply_to, delivery->data, delivery->length,
                                delivery->key);
}

/* FALSE: the frame is such that the connection ends without an answer. Takes @delivery. */
static gboolean
deliver (ExchangeSession *session, Delivery *delivery)
{
  g_autofree char *text = NULL;

  delivery->type_name = pilot_exchange_type_to_string (delivery->type);
  switch (delivery->type) {
  case PILOT_EXCHANGE_FILE:
    if (!pilot_exchange_parse_file (delivery->data, delivery->length, &delivery->name, &delivery->data, &delivery->length, &delivery->error)) {
      g_message ("connection of %s ended: %s", session->from, delivery->error->message);
      delivery_free (delivery);
      return FALSE;
    }
    if (*delivery->name == '\0')
      text = g_strdup ("ERR FILE save failed: the frame names no file");
    break;
  case PILOT_EXCHANGE_TEXT:
  case PILOT_EXCHANGE_BINARY:
  case PILOT_EXCHANGE_JSON:
    break;
  default:
    text = g_strdup_printf ("ERR %s save failed: unsupported frame type %u", delivery->type_name, delivery->type);
  }
  if (text != NULL) {
    delivery_answer (delivery, text);
    return TRUE;
  }
  pilot_exchange_session_lend (session);
  delivery->folder = session->exchange->folder;
  delivery->sender = session->peer;
  delivery->base64 = session->exchange->base64;
  memcpy (delivery->from, session->from, sizeof delivery->from);
  delivery->keyed = delivery->tag.message_id != NULL;
  if (delivery->keyed)
    pilot_exchange_run (session->exchange, session->peer, key_work, delivery_admit, delivery);
  else
    delivery_store (session->exchange, delivery);
  return TRUE;
}

/* Takes the frame out of its wrapping: TAGGED around TRACE around what is to be stored, each at most once. */
static gboolean
unwrap (ExchangeSession *session, guint32 type, GBytes *frame)
{
  Delivery *delivery = g_new0 (Delivery, 1);
  g_autoptr (GError) error = NULL;

  delivery->session = session;
  delivery->frame = g_bytes_ref (frame);
  delivery->data = g_bytes_get_data (frame, &delivery->length);
  delivery->type = type;
  if (delivery->type == PILOT_EXCHANGE_TAGGED) {
    if (!pilot_exchange_parse_tagged (delivery->data, delivery->length, &delivery->tag, &error)) {
      g_message ("connection of %s ended: %s", session->from, error->message);
      delivery_free (delivery);
      return FALSE;
    }
    delivery->type = delivery->tag.inner_type;
    delivery->data += delivery->tag.inner_offset;
    delivery->length -= delivery->tag.inner_offset;
  }
  if (delivery->type == PILOT_EXCHANGE_TRACE) {
    if (!pilot_exchange_parse_trace (delivery->data, delivery->length, &delivery->type, &delivery->sent_at)) {
      g_autofree char *text = g_strdup_printf ("ERR trace parse: trace payload too short: %" G_GSIZE_FORMAT " bytes", delivery->length);

      answer (session, text);
      delivery_free (delivery);
      return TRUE;
    }
    delivery->trace = TRUE;
    delivery->received_at = delivery->written_at = wall_ns ();
    delivery->data += PILOT_EXCHANGE_TRACE_SIZE;
    delivery->length -= PILOT_EXCHANGE_TRACE_SIZE;
  }
  return deliver (session, delivery);
}

/* --- frames --- */

/* FALSE: the connection is to end. */
static gboolean
handle_frame (ExchangeSession *session)
{
  g_autoptr (GBytes) payload = NULL;
  PilotExchangeFrame frame;
  guint32 type;

  pilot_exchange_reader_get (session->reader, &frame);
  if (frame.type == PILOT_EXCHANGE_FILESTREAM) {
    if (!pilot_exchange_incoming_frame (session, frame.payload, frame.length))
      return TRUE; /* comes back when the batch is written */
    pilot_exchange_reader_next (session->reader);
    session->complete = FALSE;
  } else {
    if (pilot_exchange_incoming_flush (session))
      return TRUE;
    payload = pilot_exchange_reader_take (session->reader, &type);
    session->complete = FALSE;
    session->moved_at = g_get_monotonic_time ();
    return unwrap (session, type, payload);
  }
  session->moved_at = g_get_monotonic_time ();
  return TRUE;
}

/* What a worker has cannot be taken back. */
static PilotHolding
describe (gconstpointer data)
{
  const ExchangeSession *session = data;

  return (PilotHolding) { .peer = session->peer, .held = session->held, .kept = session->busy };
}

/* FALSE when @session is to end itself. */
static gboolean
make_room (ExchangeSession *session)
{
  while (session->exchange->held > MAX_HELD && session->held > PILOT_EXCHANGE_LEAST_LIMIT) {
    ExchangeSession *largest = pilot_hoarder_find (&session->exchange->sessions, describe);

    /* It is being read, so that no worker has it: at the least it finds itself. */
    if (largest == session)
      return FALSE;
    g_message ("connection of %s ended: too much is under way", largest->from);
    pilot_exchange_session_end (largest, TRUE);
  }
  return TRUE;
}

/* FALSE: nothing to read. */
static gboolean
read_some (ExchangeSession *session, GError **error)
{
  struct iovec vectors[2];
  gsize used;

  if (pilot_stream_read_vectors (session->stream, vectors) == 0)
    return FALSE;
  if (!pilot_exchange_reader_push (session->reader, vectors[0].iov_base, vectors[0].iov_len, &used, &session->complete, error))
    return FALSE;
  pilot_stream_read_consume (session->stream, used, g_get_monotonic_time ());
  session_account (session, pilot_exchange_reader_held (session->reader));
  if (!make_room (session)) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "too much is under way");
    return FALSE;
  }
  return TRUE;
}

void
pilot_exchange_session_pump (ExchangeSession *session)
{
  PilotExchange *exchange = session->exchange;
  g_autoptr (GError) error = NULL;

  while (!session->busy) {
    flush (session);
    if (session->out->len > MAX_BACKLOG && !session->closed) {
      /* WRITE will be signalled; what is not read closes the peer's window. What has come is written: it counts for who takes over. */
      pilot_exchange_incoming_flush (session);
      break;
    }
    if (!pilot_trust_is_trusted (pilot_node_get_trust (exchange->node), session->peer) && !pilot_node_awaits_answer (exchange->node, session->peer)) {
      pilot_exchange_session_end (session, TRUE);
      return;
    }
    if (!session->complete && !read_some (session, &error)) {
      if (error != NULL) {
        g_message ("connection of %s ended: %s", session->from, error->message);
        pilot_exchange_session_end (session, FALSE);
        return;
      }
      if (pilot_exchange_incoming_flush (session))
        break;
      if (session->closed || (pilot_stream_is_eof (session->stream) && session->out->len == 0)) {
        pilot_exchange_session_end (session, FALSE);
        return;
      }
      break;
    }
    if (session->complete && !handle_frame (session)) {
      pilot_exchange_session_end (session, FALSE);
      return;
    }
  }
  pilot_node_kick (exchange->node);
}

static void
session_ready (PilotStreamUser *user, PilotStream *stream, guint ready)
{
  ExchangeSession *session = (ExchangeSession *) user;

  if (ready & PILOT_STREAM_READY_CLOSED)
    session->closed = TRUE;
  /* A sender that goes away behind its last frame is heard to the end. */
  pilot_exchange_session_pump (session);
}

void
pilot_exchange_on_stream (PilotNode *node, PilotStream *stream, guint32 peer, gpointer user_data)
{
  PilotExchange *exchange = user_data;
  PilotAddress address = { 0, peer };
  gint64 now = g_get_monotonic_time ();
  ExchangeSession *session;

  if (!pilot_shares_take (exchange->session_shares, peer)) {
    pilot_stream_refuse (stream, now);
    return;
  }
  session = g_new0 (ExchangeSession, 1);
  session->user.ready = session_ready;
  session->exchange = g_object_ref (exchange);
  session->stream = stream;
  session->peer = peer;
  pilot_address_format (&address, session->from);
  session->reader = pilot_exchange_reader_new (exchange->limit);
  session->out = g_byte_array_new ();
  session->incoming = g_hash_table_new_full (g_bytes_hash, g_bytes_equal, NULL, pilot_exchange_incoming_free);
  session->moved_at = now;
  session->link.data = session;
  g_queue_push_tail_link (&exchange->sessions, &session->link);
  pilot_stream_set_user_data (stream, &session->user);
  pilot_stream_accept (stream, now);
}

gboolean
pilot_exchange_sweep (gpointer user_data)
{
  PilotExchange *exchange = user_data;
  gint64 now = g_get_monotonic_time ();

  for (GList *item = exchange->sessions.head; item != NULL;) {
    ExchangeSession *session = item->data;

    item = item->next;
    if (!session->busy && now - session->moved_at > FRAME_LIMIT)
      pilot_exchange_session_end (session, session->out->len > 0);
  }
  return G_SOURCE_CONTINUE;
}
