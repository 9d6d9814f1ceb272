/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/node/trust-private.h"

#include "libpilot/pilot-error.h"

/* A request for trust whose asker waits a moment for what becomes of it: a node that does not exist is worth knowing at once. */

#define PATIENCE 2000 /* milliseconds */

typedef struct {
  guint32 peer;
  const char *status; /* static */
  guint timeout_source;
} Asking;

static void
asking_free (gpointer data)
{
  Asking *asking = data;

  g_clear_handle_id (&asking->timeout_source, g_source_remove);
  g_free (asking);
}

/* (transfer full) */
static void
asking_end (GTask *task, GError *error)
{
  Asking *asking = g_task_get_task_data (task);
  PilotTrust *trust = g_task_get_source_object (task);

  g_queue_remove (&trust->asking, task);
  if (error != NULL)
    g_task_return_error (task, error);
  else
    g_task_return_pointer (task, (gpointer) asking->status, NULL);
  g_object_unref (task);
}

static gboolean
on_patience (gpointer user_data)
{
  Asking *asking = g_task_get_task_data (user_data);

  asking->timeout_source = 0;
  asking_end (user_data, NULL);
  return G_SOURCE_REMOVE;
}

void
pilot_trust_asking_told (PilotTrust *trust, guint32 peer, const GError *error)
{
  gboolean unknown = g_error_matches (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND);

  for (GList *item = trust->asking.head, *next; item != NULL; item = next) {
    const Asking *asking = g_task_get_task_data (item->data);

    next = item->next;
    if (asking->peer != peer)
      continue;
    if (unknown)
      pilot_trust_withdraw (trust, peer);
    asking_end (item->data, unknown ? g_error_copy (error) : NULL);
  }
}

void
pilot_trust_handshake_async (PilotTrust *trust, guint32 peer, const char *justification, const char *ports, GCancellable *cancellable,
                             GAsyncReadyCallback callback, gpointer user_data)
{
  GTask *task = g_task_new (trust, cancellable, callback, user_data);
  Asking *asking = g_new0 (Asking, 1);
  GError *error = NULL;

  asking->peer = peer;
  g_task_set_task_data (task, asking, asking_free);
  /* First: the answer may be there before the call that asks for it has returned. */
  g_queue_push_tail (&trust->asking, task);
  if (!pilot_trust_handshake (trust, peer, justification, ports, &asking->status, &error))
    asking_end (task, error);
  else if (g_str_equal (asking->status, "trusted"))
    asking_end (task, NULL);
  else
    asking->timeout_source = g_timeout_add (PATIENCE, on_patience, task);
}

const char *
pilot_trust_handshake_finish (PilotTrust *trust, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, trust), NULL);
  return g_task_propagate_pointer (G_TASK (result), error);
}
