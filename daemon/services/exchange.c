/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/services/exchange-private.h"

#include "libpilot/pilot-error.h"

#define WORKERS 4
/* However much one peer sends or is sent: the others' turn comes. */
#define WORKERS_OF_PEER 2
#define MAX_SESSIONS 256
#define MAX_SESSIONS_OF_PEER 32
/* Files in pieces, on all connections of a peer: each holds three descriptors. */
#define MAX_OPEN_OF_PEER 64
#define KEPT_TRANSFERS 64
#define SWEEP_SECONDS 5
#define PROGRESS_INTERVAL (200 * 1000)

enum {
  SIGNAL_MESSAGE,
  SIGNAL_FILE,
  SIGNAL_TRANSFER,
  N_SIGNALS
};
static guint signals[N_SIGNALS];

G_DEFINE_FINAL_TYPE (PilotExchange, pilot_exchange, G_TYPE_OBJECT)

/* --- work in threads --- */

typedef struct {
  PilotExchange *exchange; /* held; only the main loop looks into it */
  guint32 peer;
  GList link;      /* of exchange->jobs, while it waits */
  gboolean shared; /* it has a place of the peer's share */
  void (*work) (gpointer data);
  void (*done) (PilotExchange *exchange, gpointer data);
  gpointer data;
} Job;

static void
job_start (Job *job)
{
  PilotExchange *exchange = job->exchange;

  g_queue_unlink (&exchange->jobs, &job->link);
  g_thread_pool_push (exchange->workers, job, NULL);
}

/* In the order in which they came, but for peers who have their share already. */
static void
start_jobs (PilotExchange *exchange)
{
  for (GList *item = exchange->jobs.head, *next; item != NULL && pilot_shares_get_taken (exchange->worker_shares) < WORKERS; item = next) {
    Job *job = item->data;

    next = item->next;
    job->shared = pilot_shares_take (exchange->worker_shares, job->peer);
    if (job->shared)
      job_start (job);
  }
}

static gboolean
job_done (gpointer user_data)
{
  Job *job = user_data;
  PilotExchange *exchange = job->exchange;

  if (job->shared)
    pilot_shares_give_back (exchange->worker_shares, job->peer);
  job->done (exchange, job->data);
  start_jobs (exchange);
  g_object_unref (exchange);
  g_free (job);
  return G_SOURCE_REMOVE;
}

static void
job_run (gpointer data, gpointer user_data)
{
  Job *job = data;

  job->work (job->data);
  g_idle_add_full (G_PRIORITY_DEFAULT, job_done, job, NULL);
}

void
pilot_exchange_run (PilotExchange *exchange,
                    guint32 peer,
                    void (*work) (gpointer data),
                    void (*done) (PilotExchange *exchange, gpointer data),
                    gpointer data)
{
  Job *job = g_new0 (Job, 1);

  job->exchange = g_object_ref (exchange);
  job->peer = peer;
  job->link.data = job;
  job->work = work;
  job->done = done;
  job->data = data;
  if (exchange->workers == NULL)
    exchange->workers = g_thread_pool_new (job_run, NULL, WORKERS, FALSE, NULL);
  g_queue_push_tail_link (&exchange->jobs, &job->link);
  start_jobs (exchange);
}

/* --- transfers --- */

const char *
pilot_transfer_state_to_string (PilotTransferState state)
{
  static const char *const names[] = { "reading", "connecting", "sending", "verifying", "done", "failed" };

  return names[state];
}

static void
transfer_free (gpointer data)
{
  PilotTransfer *transfer = data;

  g_free (transfer->name);
  g_free (transfer->answer);
  g_clear_error (&transfer->error);
  g_free (transfer);
}

static gboolean
is_over (const PilotTransfer *transfer)
{
  return transfer->state == PILOT_TRANSFER_DONE || transfer->state == PILOT_TRANSFER_FAILED;
}

PilotTransfer *
pilot_exchange_add_transfer (PilotExchange *exchange, gboolean incoming, guint32 node, const char *name, guint64 size)
{
  PilotTransfer *transfer = g_new0 (PilotTransfer, 1);
  guint over = 0;

  for (GList *item = exchange->transfers.tail, *before; item != NULL; item = before) {
    before = item->prev;
    if (!is_over (item->data) || ++over < KEPT_TRANSFERS)
      continue;
    transfer_free (item->data);
    g_queue_delete_link (&exchange->transfers, item);
  }
  transfer->id = ++exchange->last_transfer;
  transfer->incoming = incoming;
  transfer->node = node;
  transfer->name = g_strdup (name);
  transfer->size = size;
  transfer->started = g_get_monotonic_time ();
  g_queue_push_tail (&exchange->transfers, transfer);
  return transfer;
}

void
pilot_transfer_changed (PilotExchange *exchange, PilotTransfer *transfer, PilotTransferState state)
{
  transfer->state = state;
  transfer->changed = g_get_monotonic_time ();
  g_signal_emit (exchange, signals[SIGNAL_TRANSFER], 0, transfer);
}

void
pilot_transfer_progress (PilotExchange *exchange, PilotTransfer *transfer, guint64 bytes)
{
  transfer->bytes = bytes;
  if (g_get_monotonic_time () - transfer->changed >= PROGRESS_INTERVAL)
    pilot_transfer_changed (exchange, transfer, transfer->state);
}

void
pilot_transfer_failed (PilotExchange *exchange, PilotTransfer *transfer, GError *error)
{
  g_clear_error (&transfer->error);
  transfer->error = error;
  pilot_transfer_changed (exchange, transfer, PILOT_TRANSFER_FAILED);
}

GPtrArray *
pilot_exchange_list_transfers (PilotExchange *exchange)
{
  GPtrArray *list = g_ptr_array_new ();

  for (GList *item = exchange->transfers.head; item != NULL; item = item->next)
    g_ptr_array_add (list, item->data);
  return list;
}

void
pilot_exchange_message_received (PilotExchange *exchange, const PilotExchangeMessage *message)
{
  g_signal_emit (exchange, signals[SIGNAL_MESSAGE], 0, message);
}

void
pilot_exchange_file_received (PilotExchange *exchange, const PilotExchangeFile *file)
{
  g_signal_emit (exchange, signals[SIGNAL_FILE], 0, file);
}

/* --- life --- */

const char *
pilot_exchange_get_folder (PilotExchange *exchange)
{
  return exchange->folder;
}

gboolean
pilot_exchange_is_receiving (PilotExchange *exchange)
{
  return exchange->receiving;
}

gboolean
pilot_exchange_start (PilotExchange *exchange, GError **error)
{
  PilotConfig *config = pilot_node_get_config (exchange->node);
  gint64 limit = pilot_config_get_int (config, "dataexchange_max_frame");

  exchange->folder = g_strdup (pilot_config_get_state_directory (config));
  exchange->limit = (gsize) CLAMP (limit, PILOT_EXCHANGE_LEAST_LIMIT, G_MAXINT32);
  exchange->base64 = pilot_config_get_boolean (config, "dataexchange_b64");
  exchange->running = TRUE;
  if (pilot_config_get_boolean (config, "no_dataexchange"))
    return TRUE;
  if (!pilot_exchange_store_prepare (exchange->folder, error)) {
    g_prefix_error (error, "cannot prepare \"%s\" for messages and files: ", exchange->folder);
    return FALSE;
  }
  exchange->receiving = pilot_node_bind (exchange->node, PILOT_EXCHANGE_PORT, FALSE, pilot_exchange_on_stream, exchange, error);
  if (exchange->receiving)
    exchange->sweep_source = g_timeout_add_seconds (SWEEP_SECONDS, pilot_exchange_sweep, exchange);
  return exchange->receiving;
}

void
pilot_exchange_stop (PilotExchange *exchange)
{
  if (exchange->receiving)
    pilot_node_unbind (exchange->node, PILOT_EXCHANGE_PORT);
  exchange->running = exchange->receiving = FALSE;
  g_atomic_int_set (&exchange->cancel, 1);
  pilot_exchange_uploads_stop (exchange);
  pilot_exchange_letters_stop (exchange);
  while (exchange->sessions.head != NULL)
    pilot_exchange_session_end (exchange->sessions.head->data, FALSE);
  g_clear_handle_id (&exchange->sweep_source, g_source_remove);
  /* What was begun is written to the end; what reads a long file sees that it is to stop. */
  while (exchange->jobs.head != NULL)
    job_start (exchange->jobs.head->data);
  if (exchange->workers != NULL)
    g_thread_pool_free (g_steal_pointer (&exchange->workers), FALSE, TRUE);
}

static void
pilot_exchange_finalize (GObject *object)
{
  PilotExchange *exchange = PILOT_EXCHANGE (object);

  g_queue_clear_full (&exchange->transfers, transfer_free);
  g_hash_table_unref (exchange->open);
  pilot_shares_free (exchange->open_shares);
  pilot_shares_free (exchange->session_shares);
  pilot_shares_free (exchange->worker_shares);
  pilot_exchange_seen_free (exchange->seen);
  g_object_unref (exchange->node);
  g_free (exchange->folder);
  G_OBJECT_CLASS (pilot_exchange_parent_class)->finalize (object);
}

static void
pilot_exchange_class_init (PilotExchangeClass *class)
{
  const char *const names[N_SIGNALS] = { "message-received", "file-received", "transfer-changed" };

  G_OBJECT_CLASS (class)->finalize = pilot_exchange_finalize;
  for (guint i = 0; i < N_SIGNALS; i++)
    signals[i] = g_signal_new (names[i], PILOT_TYPE_EXCHANGE, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 1, G_TYPE_POINTER);
}

static void
pilot_exchange_init (PilotExchange *exchange)
{
  exchange->open = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  exchange->seen = pilot_exchange_seen_new ();
  exchange->worker_shares = pilot_shares_new (WORKERS, WORKERS_OF_PEER);
  exchange->session_shares = pilot_shares_new (MAX_SESSIONS, MAX_SESSIONS_OF_PEER);
  exchange->open_shares = pilot_shares_new (G_MAXUINT, MAX_OPEN_OF_PEER);
}

PilotExchange *
pilot_exchange_new (PilotNode *node)
{
  PilotExchange *exchange = g_object_new (PILOT_TYPE_EXCHANGE, NULL);

  exchange->node = g_object_ref (node);
  return exchange;
}
