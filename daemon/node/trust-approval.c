/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "trust-private.h"

/* An approval that may have to fetch the request first. */

typedef struct {
  guint32 peer;
  char *ports;
} Approval;

static void
approval_free (gpointer data)
{
  Approval *approval = data;

  g_free (approval->ports);
  g_free (approval);
}

static void
approve_now (GTask *task)
{
  const Approval *approval = g_task_get_task_data (task);
  GError *error = NULL;
  char *opened = NULL;

  if (pilot_trust_approve (g_task_get_source_object (task), approval->peer, approval->ports, &opened, &error))
    g_task_return_pointer (task, opened, g_free);
  else
    g_task_return_error (task, error);
  g_object_unref (task);
}

static void
on_refreshed_for_approval (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GError) error = NULL;

  /* Without the registry what is known here decides. */
  if (!pilot_trust_refresh_finish (PILOT_TRUST (source), result, &error))
    g_debug ("requests could not be asked for: %s", error->message);
  approve_now (user_data);
}

void
pilot_trust_approve_async (PilotTrust *trust, guint32 peer, const char *ports, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
  GTask *task = g_task_new (trust, cancellable, callback, user_data);
  Approval *approval = g_new0 (Approval, 1);

  approval->peer = peer;
  approval->ports = g_strdup (ports);
  g_task_set_task_data (task, approval, approval_free);
  if (trust->running && !pilot_trust_has (trust, PILOT_TRUST_PENDING, peer) && pilot_trust_check_peer (trust, peer, NULL))
    pilot_trust_refresh_async (trust, cancellable, on_refreshed_for_approval, task);
  else
    approve_now (task);
}

char *
pilot_trust_approve_finish (PilotTrust *trust, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, trust), NULL);
  return g_task_propagate_pointer (G_TASK (result), error);
}
