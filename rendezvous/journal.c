/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/journal.h"

/* Data on its way to the thread and back. */
typedef struct
{
  GPtrArray *changes;
  guint64 ticket;
  GError *error;
} Batch;

struct _PilotJournal {
  PilotStore *store; /* in use by the thread while in_flight */
  PilotJournalFunc callback;
  gpointer user_data;
  GThread *thread;
  GSource *results;       /* made ready by the thread */
  GAsyncQueue *to_thread; /* of Batch; a batch without changes ends the thread */
  GAsyncQueue *done;      /* of Batch */

  GPtrArray *pending; /* changes of the next batch */
  guint64 newest;
  guint64 durable;
  gboolean in_flight;
  gboolean urgent; /* somebody waits for something in `pending` */
};

static void
batch_free (Batch *batch)
{
  g_clear_pointer (&batch->changes, g_ptr_array_unref);
  g_clear_error (&batch->error);
  g_free (batch);
}

static Batch *
batch_new (PilotJournal *self)
{
  Batch *batch = g_new0 (Batch, 1);

  batch->ticket = self->newest;
  batch->changes = g_steal_pointer (&self->pending);
  self->pending = g_ptr_array_new_with_free_func ((GDestroyNotify) pilot_store_change_free);
  self->urgent = FALSE;
  return batch;
}

static void
apply_result (PilotJournal *self,
              Batch *batch)
{
  self->in_flight = FALSE;
  if (batch->error == NULL)
    self->durable = batch->ticket;
  else {
    /* What is pending was made on top of what was lost. No ticket is left to wait for. */
    g_ptr_array_set_size (self->pending, 0);
    self->urgent = FALSE;
    self->durable = self->newest;
  }
  self->callback (self, batch->ticket, batch->error, self->user_data);
  batch_free (batch);
  if (self->urgent)
    pilot_journal_flush (self);
}

static gboolean
results_dispatch (GSource *source,
                  GSourceFunc callback,
                  gpointer user_data)
{
  PilotJournal *self = user_data;
  Batch *batch;

  g_source_set_ready_time (source, -1);
  while ((batch = g_async_queue_try_pop (self->done)) != NULL)
    apply_result (self, batch);
  return G_SOURCE_CONTINUE;
}

static GSourceFuncs results_funcs = { .dispatch = results_dispatch };

static gboolean
never_called (gpointer user_data)
{
  g_assert_not_reached ();
}

static gpointer
commit_batches (gpointer user_data)
{
  PilotJournal *self = user_data;

  while (TRUE) {
    Batch *batch = g_async_queue_pop (self->to_thread);

    if (batch->changes == NULL) {
      batch_free (batch);
      return NULL;
    }
    pilot_store_apply (self->store, batch->changes, &batch->error);
    g_async_queue_push (self->done, batch);
    g_source_set_ready_time (self->results, 0);
  }
}

PilotJournal *
pilot_journal_new (PilotStore *store,
                   PilotJournalFunc callback,
                   gpointer user_data)
{
  PilotJournal *self = g_new0 (PilotJournal, 1);

  self->store = store;
  self->callback = callback;
  self->user_data = user_data;
  self->to_thread = g_async_queue_new ();
  self->done = g_async_queue_new ();
  self->pending = g_ptr_array_new_with_free_func ((GDestroyNotify) pilot_store_change_free);
  self->results = g_source_new (&results_funcs, sizeof (GSource));
  g_source_set_name (self->results, "[pilot] journal");
  g_source_set_priority (self->results, G_PRIORITY_HIGH);
  g_source_set_callback (self->results, never_called, self, NULL);
  g_source_attach (self->results, g_main_context_get_thread_default ());
  self->thread = g_thread_new ("pilot-journal", commit_batches, self);
  return self;
}

guint64
pilot_journal_add (PilotJournal *self,
                   PilotStoreChange *change)
{
  g_ptr_array_add (self->pending, change);
  self->urgent = TRUE;
  return ++self->newest;
}

void
pilot_journal_add_lazy (PilotJournal *self,
                        PilotStoreChange *change)
{
  g_ptr_array_add (self->pending, change);
}

void
pilot_journal_flush (PilotJournal *self)
{
  if (self->in_flight || self->pending->len == 0)
    return;
  self->in_flight = TRUE;
  g_async_queue_push (self->to_thread, batch_new (self));
}

guint64
pilot_journal_newest (PilotJournal *self)
{
  return self->newest;
}

guint64
pilot_journal_durable (PilotJournal *self)
{
  return self->durable;
}

/* Waits for the batch in the thread, if there is one. */
static gboolean
wait_for_result (PilotJournal *self,
                 GError **error)
{
  Batch *batch;
  gboolean ok;

  if (!self->in_flight)
    return TRUE;
  batch = g_async_queue_pop (self->done);
  self->in_flight = FALSE;
  ok = batch->error == NULL;
  if (!ok)
    g_propagate_error (error, g_steal_pointer (&batch->error));
  batch_free (batch);
  return ok;
}

gboolean
pilot_journal_close (PilotJournal *self,
                     GError **error)
{
  gboolean ok = wait_for_result (self, error);

  if (ok) {
    pilot_journal_flush (self);
    ok = wait_for_result (self, error);
  }
  g_async_queue_push (self->to_thread, g_new0 (Batch, 1));
  g_thread_join (self->thread);
  g_source_destroy (self->results);
  g_source_unref (self->results);
  g_async_queue_unref (self->to_thread);
  g_async_queue_unref (self->done);
  g_ptr_array_unref (self->pending);
  g_free (self);
  return ok;
}
