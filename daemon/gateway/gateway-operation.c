/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/gateway/gateway-private.h"

#include "libpilot/pilot-error.h"

static void
begin_first (PilotGateway *gateway)
{
  GTask *task = g_queue_peek_head (&gateway->operations);

  if (task == NULL)
    return;
  if (gateway->shut_down)
    pilot_operation_return (task, g_error_new (PILOT_ERROR, PILOT_ERROR_CANCELLED, "the daemon is going down"), NULL, NULL);
  else
    ((PilotOperation *) g_task_get_task_data (task))->begin (task);
}

void
pilot_operation_queue (GTask *task, PilotOperation *operation, GDestroyNotify free_operation)
{
  PilotGateway *gateway = g_task_get_source_object (task);

  g_task_set_task_data (task, operation, free_operation);
  g_queue_push_tail (&gateway->operations, task);
  if (gateway->operations.length == 1)
    begin_first (gateway);
}

void
pilot_operation_queue_simple (GTask *task, void (*begin) (GTask *task))
{
  PilotOperation *operation = g_new0 (PilotOperation, 1);

  operation->begin = begin;
  pilot_operation_queue (task, operation, g_free);
}

void
pilot_operation_return (GTask *task, GError *error, gpointer result, GDestroyNotify free_result)
{
  g_autoptr (PilotGateway) gateway = g_object_ref (g_task_get_source_object (task));

  g_queue_pop_head (&gateway->operations);
  if (error != NULL)
    g_task_return_error (task, error);
  else if (result != NULL)
    g_task_return_pointer (task, result, free_result);
  else
    g_task_return_boolean (task, TRUE);
  g_object_unref (task);
  begin_first (gateway);
}
