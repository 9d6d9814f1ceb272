/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/services/exchange-link.h"
#include "daemon/services/exchange-private.h"

#include <string.h>

#include "libpilot/pilot-error.h"
#include "protocol/json.h"

/* How long a connection is kept for the next message. */
#define PARK_SECONDS 10
#define ID_BYTES 16

/* A message that goes out. It is tried in its fullest form first: what an old peer does not know is left off, on the same connection, and nothing of
 * what it did not know was stored. */
typedef struct {
  PilotExchange *exchange;
  GTask *task; /* its source object is the exchange */
  GList link;
  ExchangeLink *connection;
  guint32 node, type;
  GBytes *data;
  char *message_id, *reply_to;
  gboolean tagged, trace, reuse, reused;
  guint timeout_source;
} ExchangeLetter;

typedef struct {
  PilotExchange *exchange;
  GList link;
  ExchangeLink *connection;
  guint32 node;
  guint timeout_source;
} ExchangeParked;

void
pilot_exchange_receipt_free (PilotExchangeReceipt *receipt)
{
  g_free (receipt->message_id);
  g_free (receipt->answer);
  g_clear_pointer (&receipt->trace, json_object_unref);
  g_free (receipt);
}

/* --- parked connections --- */

static void
parked_free (ExchangeParked *parked)
{
  g_queue_unlink (&parked->exchange->parked, &parked->link);
  g_clear_handle_id (&parked->timeout_source, g_source_remove);
  if (parked->connection != NULL)
    exchange_link_close (parked->connection, FALSE);
  g_free (parked);
}

static void
on_parked_frame (const PilotExchangeFrame *frame, gpointer user_data)
{
  /* Nobody asked. */
  parked_free (user_data);
}

static void
on_parked_ended (GError *error, gpointer user_data)
{
  g_error_free (error);
  parked_free (user_data);
}

static void
on_nothing (gpointer user_data)
{
}

static const ExchangeLinkHandler parked_handler = { on_nothing, on_parked_frame, on_nothing, on_parked_ended };

static gboolean
on_parked_timeout (gpointer user_data)
{
  ((ExchangeParked *) user_data)->timeout_source = 0;
  parked_free (user_data);
  return G_SOURCE_REMOVE;
}

static void
park (ExchangeLetter *letter)
{
  ExchangeParked *parked = g_new0 (ExchangeParked, 1);

  parked->exchange = letter->exchange;
  parked->node = letter->node;
  parked->connection = g_steal_pointer (&letter->connection);
  exchange_link_hand_over (parked->connection, &parked_handler, parked);
  parked->timeout_source = g_timeout_add_seconds (PARK_SECONDS, on_parked_timeout, parked);
  parked->link.data = parked;
  g_queue_push_tail_link (&letter->exchange->parked, &parked->link);
}

static ExchangeLink *
unpark (PilotExchange *exchange, guint32 node, const ExchangeLinkHandler *handler, gpointer user_data)
{
  for (GList *item = exchange->parked.head; item != NULL; item = item->next) {
    ExchangeParked *parked = item->data;
    ExchangeLink *connection;

    if (parked->node != node)
      continue;
    connection = g_steal_pointer (&parked->connection);
    parked_free (parked);
    exchange_link_hand_over (connection, handler, user_data);
    return connection;
  }
  return NULL;
}

/* --- messages --- */

static const ExchangeLinkHandler letter_handler;

static void
letter_free (ExchangeLetter *letter)
{
  g_queue_unlink (&letter->exchange->letters, &letter->link);
  g_clear_handle_id (&letter->timeout_source, g_source_remove);
  if (letter->connection != NULL)
    exchange_link_close (letter->connection, FALSE);
  g_bytes_unref (letter->data);
  g_free (letter->message_id);
  g_free (letter->reply_to);
  g_object_unref (letter->task);
  g_free (letter);
}

/* Takes @error. */
static void
letter_fail (ExchangeLetter *letter, GError *error)
{
  g_autoptr (GTask) task = g_object_ref (letter->task);

  letter_free (letter);
  g_task_return_error (task, error);
}

static void
letter_send (ExchangeLetter *letter)
{
  GByteArray *out = exchange_link_get_out (letter->connection);
  gsize length;
  gconstpointer data = g_bytes_get_data (letter->data, &length);

  if (letter->trace)
    pilot_exchange_append_trace (out, letter->type, g_get_real_time () * 1000, data, length);
  else if (letter->tagged)
    pilot_exchange_append_tagged (out, letter->message_id, letter->reply_to, letter->type, data, length);
  else
    pilot_exchange_append (out, letter->type, data, length);
  exchange_link_flush (letter->connection);
}

/* Takes @answer and @trace. */
static void
letter_done (ExchangeLetter *letter, char *answer, gboolean duplicate, JsonObject *trace)
{
  g_autoptr (GTask) task = g_object_ref (letter->task);
  PilotExchangeReceipt *receipt = g_new0 (PilotExchangeReceipt, 1);

  receipt->answer = answer;
  receipt->duplicate = duplicate;
  receipt->trace = trace;
  receipt->tagged = letter->tagged && !letter->trace;
  receipt->message_id = g_strdup (receipt->tagged ? letter->message_id : "");
  receipt->reused = letter->reused;
  if (letter->reuse)
    park (letter);
  letter_free (letter);
  g_task_return_pointer (task, receipt, (GDestroyNotify) pilot_exchange_receipt_free);
}

static GError *
refused (ExchangeLetter *letter, const char *text)
{
  g_autofree char *quoted = exchange_link_quote ((const guint8 *) text, strlen (text));

  return g_error_new (PILOT_ERROR, PILOT_ERROR_REFUSED, "node %u did not take the message: %s", letter->node, quoted);
}

static gboolean
is_no_trace (const char *text)
{
  return g_str_has_prefix (text, "ERR UNKNOWN(5) ") || g_str_has_prefix (text, "ACK UNKNOWN(5) ");
}

static void
take_text (ExchangeLetter *letter, char *text, JsonObject *trace)
{
  g_autofree char *owned = text;
  g_autoptr (JsonObject) object = trace;

  /* A trace goes without the ids. */
  if (letter->trace && is_no_trace (text)) {
    letter->trace = FALSE;
    letter_send (letter);
    return;
  }
  switch (pilot_exchange_reply_classify (text, strlen (text))) {
  case PILOT_EXCHANGE_REPLY_NO_TAGS:
    if (letter->tagged && !letter->trace) {
      letter->tagged = FALSE;
      letter_send (letter);
      return;
    }
    letter_fail (letter, refused (letter, text));
    return;
  case PILOT_EXCHANGE_REPLY_REJECTED:
    letter_fail (letter, refused (letter, text));
    return;
  case PILOT_EXCHANGE_REPLY_ACCEPTED:
    letter_done (letter, g_steal_pointer (&owned), FALSE, g_steal_pointer (&object));
    return;
  case PILOT_EXCHANGE_REPLY_DUPLICATE:
    letter_done (letter, g_steal_pointer (&owned), TRUE, g_steal_pointer (&object));
    return;
  default:
    letter_fail (letter, refused (letter, text));
  }
}

static void
on_frame (const PilotExchangeFrame *frame, gpointer user_data)
{
  ExchangeLetter *letter = user_data;
  JsonObject *trace;

  if (letter->trace && frame->type == PILOT_EXCHANGE_JSON) {
    trace = pilot_json_parse_object ((const char *) frame->payload, frame->length, frame->length, NULL);
    take_text (letter, g_strdup (trace != NULL ? pilot_json_get_string (trace, "inner_ack") : ""), trace);
    return;
  }
  take_text (letter, g_utf8_make_valid ((const char *) frame->payload, (gssize) frame->length), NULL);
}

static void
on_opened (gpointer user_data)
{
  letter_send (user_data);
}

static void
on_ended (GError *error, gpointer user_data)
{
  ExchangeLetter *letter = user_data;

  /* Kept too long by the other side: that is no fault of this message. */
  if (letter->reused) {
    g_clear_error (&error);
    exchange_link_close (g_steal_pointer (&letter->connection), FALSE);
    letter->reused = FALSE;
    letter->connection = exchange_link_new (letter->exchange->node, letter->node, &letter_handler, letter, &error);
  }
  if (error != NULL)
    letter_fail (letter, error);
}

static gboolean
on_timeout (gpointer user_data)
{
  ExchangeLetter *letter = user_data;
  GError *error = g_error_new (PILOT_ERROR, PILOT_ERROR_TIMEOUT, "node %u did not answer in time: the message may have been stored or not", letter->node);

  letter->timeout_source = 0;
  letter_fail (letter, error);
  return G_SOURCE_REMOVE;
}

static const ExchangeLinkHandler letter_handler = { on_opened, on_frame, on_nothing, on_ended };

static char *
make_id (void)
{
  guint8 bytes[ID_BYTES];
  GString *id = g_string_new (NULL);

  pilot_crypto_random (bytes, sizeof bytes);
  for (guint i = 0; i < sizeof bytes; i++)
    g_string_append_printf (id, "%02x", bytes[i]);
  return g_string_free (id, FALSE);
}

static gboolean
check (GBytes *data, const PilotExchangeSendOptions *options, GError **error)
{
  const char *const ids[] = { options->message_id, options->reply_to };

  /* What any peer takes, and room for the tag. */
  if (g_bytes_get_size (data) > PILOT_EXCHANGE_MAX_PAYLOAD - 2048) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "a message of %" G_GSIZE_FORMAT " bytes is too long", g_bytes_get_size (data));
    pilot_error_set_hint (*error, "send it as a file: pilotctl send-file");
    return FALSE;
  }
  for (guint i = 0; i < G_N_ELEMENTS (ids); i++)
    if (ids[i] != NULL && !pilot_exchange_id_is_valid (ids[i])) {
      g_autofree char *quoted = pilot_error_quote (ids[i], -1);

      g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "\"%s\" is no id: 1 to 128 of A-Z a-z 0-9 - _ . :", quoted);
      return FALSE;
    }
  return TRUE;
}

void
pilot_exchange_send_async (PilotExchange *exchange,
                           guint32 node,
                           GBytes *data,
                           const PilotExchangeSendOptions *options,
                           GAsyncReadyCallback callback,
                           gpointer user_data)
{
  GTask *task = g_task_new (exchange, NULL, callback, user_data);
  ExchangeLetter *letter;
  GError *error = NULL;

  if (!check (data, options, &error)) {
    g_task_return_error (task, error);
    g_object_unref (task);
    return;
  }
  letter = g_new0 (ExchangeLetter, 1);
  letter->exchange = exchange;
  letter->task = task;
  letter->node = node;
  letter->type = options->type;
  letter->data = g_bytes_ref (data);
  letter->message_id = options->message_id != NULL ? g_strdup (options->message_id) : make_id ();
  letter->reply_to = g_strdup (options->reply_to);
  letter->tagged = TRUE;
  letter->trace = options->trace;
  letter->reuse = options->reuse;
  letter->link.data = letter;
  g_queue_push_tail_link (&exchange->letters, &letter->link);
  letter->connection = letter->reuse ? unpark (exchange, node, &letter_handler, letter) : NULL;
  letter->reused = letter->connection != NULL;
  if (letter->connection == NULL)
    letter->connection = exchange_link_new (exchange->node, node, &letter_handler, letter, &error);
  if (letter->connection == NULL) {
    letter_fail (letter, error);
    return;
  }
  letter->timeout_source = g_timeout_add (CLAMP (options->timeout_ms, 1, 3600000), on_timeout, letter);
  if (letter->reused)
    letter_send (letter);
}

PilotExchangeReceipt *
pilot_exchange_send_finish (PilotExchange *exchange, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, exchange), NULL);
  return g_task_propagate_pointer (G_TASK (result), error);
}

void
pilot_exchange_letters_stop (PilotExchange *exchange)
{
  while (exchange->parked.head != NULL)
    parked_free (exchange->parked.head->data);
  while (exchange->letters.head != NULL)
    letter_fail (exchange->letters.head->data, g_error_new_literal (PILOT_ERROR, PILOT_ERROR_CANCELLED, "the daemon stops"));
}
