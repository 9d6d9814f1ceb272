/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/gateway/gateway-private.h"

#include <string.h>

#include "libpilot/pilot-error.h"

/*
 * A change is a state the gateway shall be in. Whatever asks for one (start, map, unmap, restore, a peer that fell silent), the steps are the
 * same: find who holds the privilege → write gateway.json → apply one plan → bring the objects in line. When the plan fails,
 * gateway.json is written back, and nothing has changed.
 */

typedef struct {
  PilotChange *change;
  PilotGatewayState *before;
  PilotPrivileged *privileged;
  gboolean redirect;  /* this attempt */
  gboolean fall_back; /* without nftables: plain listeners */
} Work;

static void step_apply (GTask *task);

PilotTarget *
pilot_target_new (guint32 node, guint32 local, const char *hostname, const GArray *ports)
{
  PilotTarget *target = g_new0 (PilotTarget, 1);

  target->node = node;
  target->local = local;
  target->hostname = g_strdup (hostname);
  target->uid = PILOT_UID_ANY;
  target->ports = g_array_new (FALSE, FALSE, sizeof (guint16));
  if (ports->len > 0)
    g_array_append_vals (target->ports, ports->data, ports->len);
  return target;
}

void
pilot_target_free (PilotTarget *target)
{
  g_free (target->hostname);
  g_array_unref (target->ports);
  g_clear_object (&target->mapping);
  g_free (target);
}

/* What there is: a change begins as no change. */
PilotChange *
pilot_change_new (PilotGateway *gateway)
{
  PilotChange *change = g_new0 (PilotChange, 1);
  GHashTableIter iter;
  gpointer value;

  change->subnet = g_strdup (gateway->subnet);
  change->ports = g_strdup (gateway->ports);
  change->mode_wanted = g_strdup (gateway->mode_wanted);
  change->targets = g_ptr_array_new_with_free_func ((GDestroyNotify) pilot_target_free);
  g_hash_table_iter_init (&iter, gateway->by_local);
  while (g_hash_table_iter_next (&iter, NULL, &value)) {
    PilotMapping *mapping = value;
    PilotTarget *target = pilot_target_new (pilot_mapping_get_peer (mapping), pilot_mapping_get_local (mapping),
                                            pilot_mapping_get_hostname (mapping), pilot_mapping_get_wanted (mapping));

    target->uid = pilot_mapping_get_uid (mapping);
    target->mapping = g_object_ref (mapping);
    g_ptr_array_add (change->targets, target);
  }
  return change;
}

void
pilot_change_free (PilotChange *change)
{
  g_free (change->subnet);
  g_free (change->ports);
  g_free (change->mode_wanted);
  g_ptr_array_unref (change->targets);
  g_free (change);
}

static void
work_free (Work *work)
{
  pilot_change_free (work->change);
  g_clear_pointer (&work->before, pilot_gateway_state_free);
  g_clear_object (&work->privileged);
  g_free (work);
}

static PilotGatewayState *
describe_change (const PilotChange *change)
{
  PilotGatewayState *state = pilot_gateway_state_new ();

  state->active = TRUE;
  g_free (state->subnet);
  g_free (state->ports);
  g_free (state->mode);
  state->subnet = g_strdup (change->subnet);
  state->ports = g_strdup (change->ports);
  state->mode = g_strdup (change->mode_wanted);
  for (guint i = 0; i < change->targets->len; i++) {
    const PilotTarget *target = g_ptr_array_index (change->targets, i);
    g_autofree char *ports = pilot_port_list_format (target->ports);

    pilot_gateway_state_add (state, target->node, target->local, target->hostname, ports, target->uid);
  }
  return state;
}

void
pilot_change_give_back (PilotChange *change, PilotGateway *gateway)
{
  PilotAllocator *allocator = pilot_gateway_get_allocator (gateway, NULL);

  for (guint i = 0; i < change->targets->len; i++) {
    PilotTarget *target = g_ptr_array_index (change->targets, i);
    PilotAddress address = { 0, target->node };
    g_autoptr (GError) error = NULL;

    if (target->allocated && allocator != NULL && !pilot_call_release (allocator, &address, &error))
      g_warning ("%s", error->message);
    target->allocated = FALSE;
  }
}

static void
change_failed (GTask *task, GError *error)
{
  Work *work = g_task_get_task_data (task);

  pilot_change_give_back (work->change, g_task_get_source_object (task));
  g_task_return_error (task, error);
  g_object_unref (task);
}

/* The ports a plain listener is opened for. */
static GArray *
listen_ports (const PilotTarget *target)
{
  if (target->ports->len > 0)
    return g_array_ref (target->ports);
  return pilot_port_list_parse (PILOT_PORT_LIST_DEFAULT, NULL);
}

static void
plan_redirect (PilotPrivilegedPlan *plan, const PilotTarget *target)
{
  PilotRedirect *redirect = pilot_redirect_new (target->local, target->ports->len == 0);

  redirect->silent = target->mapping != NULL && pilot_mapping_get_silent (target->mapping);
  if (target->ports->len > 0)
    g_array_append_vals (redirect->ports, target->ports->data, target->ports->len);
  g_ptr_array_add (plan->redirects, redirect);
}

static void
plan_listeners (PilotPrivilegedPlan *plan, const PilotTarget *target)
{
  g_autoptr (GArray) ports = listen_ports (target);
  gboolean any = FALSE;

  for (guint i = 0; i < ports->len; i++) {
    guint16 port = g_array_index (ports, guint16, i);

    if (target->mapping != NULL && pilot_mapping_has_listener (target->mapping, port))
      any = TRUE;
    else
      pilot_privileged_plan_add_listener (plan, target->local, port);
  }
  if (target->strict && !any)
    g_array_append_val (plan->require, target->local);
}

static PilotPrivilegedPlan *
make_plan (PilotGateway *gateway, Work *work)
{
  PilotPrivilegedPlan *plan = pilot_privileged_plan_new ();

  plan->check_overlap = !gateway->overlap_checked || g_strcmp0 (gateway->subnet, work->change->subnet) != 0;
  plan->remove_strays = TRUE;
  plan->set_rules = work->redirect;
  plan->want_redirect = work->redirect;
  for (guint i = 0; i < work->change->targets->len; i++) {
    const PilotTarget *target = g_ptr_array_index (work->change->targets, i);

    g_array_append_val (plan->add, target->local);
    if (work->redirect)
      plan_redirect (plan, target);
    else
      plan_listeners (plan, target);
  }
  return plan;
}

static void
take_redirect_listener (PilotGateway *gateway, PilotPrivilegedPlan *plan)
{
  if (!plan->want_redirect || (gateway->redirect_listener != NULL && gateway->redirect_port == plan->redirect_port))
    return;
  g_clear_pointer (&gateway->redirect_listener, pilot_listener_free);
  gateway->redirect_listener = pilot_listener_new (pilot_node_get_poller (gateway->node), plan->redirect_fd, TRUE,
                                                   pilot_gateway_redirected, gateway);
  gateway->redirect_port = plan->redirect_port;
  plan->redirect_fd = -1;
}

static void
take_listeners (PilotTarget *target, PilotPrivilegedPlan *plan)
{
  for (guint i = 0; i < plan->listeners->len; i++) {
    PilotListenRequest *request = g_ptr_array_index (plan->listeners, i);

    if (request->address != target->local)
      continue;
    pilot_mapping_add_listener (target->mapping, request->port, request->fd, request->error);
    request->fd = -1;
  }
}

/* For each mapping that shall be there no more. */
static void
foreach_missing (PilotGateway *gateway, PilotChange *change, void (*func) (PilotGateway *gateway, PilotMapping *mapping))
{
  g_autoptr (GList) mappings = g_hash_table_get_values (gateway->by_local);

  for (GList *item = mappings; item != NULL; item = item->next) {
    gboolean wanted = FALSE;

    for (guint i = 0; i < change->targets->len && !wanted; i++)
      wanted = ((PilotTarget *) g_ptr_array_index (change->targets, i))->mapping == item->data;
    if (!wanted)
      func (gateway, item->data);
  }
}

static void
reset_connections (PilotGateway *gateway, PilotMapping *mapping)
{
  pilot_mapping_reset_connections (mapping);
}

/* The system is as wanted: now the objects. @plan NULL: nothing was applied. */
static void
commit (PilotGateway *gateway, Work *work, PilotPrivilegedPlan *plan)
{
  PilotChange *change = work->change;

  if (gateway->shut_down)
    return;
  g_free (gateway->subnet);
  g_free (gateway->ports);
  g_free (gateway->mode_wanted);
  gateway->subnet = g_strdup (change->subnet);
  gateway->ports = g_strdup (change->ports);
  gateway->mode_wanted = g_strdup (change->mode_wanted);
  gateway->active = TRUE;
  foreach_missing (gateway, change, pilot_gateway_mapping_removed);
  if (plan == NULL)
    return;
  gateway->redirect = work->redirect;
  gateway->overlap_checked = TRUE;
  g_set_object (&gateway->privileged, work->privileged);
  take_redirect_listener (gateway, plan);
  for (guint i = 0; i < change->targets->len; i++) {
    PilotTarget *target = g_ptr_array_index (change->targets, i);
    gboolean is_new = target->mapping == NULL;

    target->allocated = FALSE;
    if (is_new)
      target->mapping = pilot_mapping_new (gateway->node, target->node, target->local, target->hostname);
    else if (pilot_mapping_is_down (target->mapping))
      pilot_mapping_set_last_error (target->mapping, "");
    pilot_mapping_set_wanted (target->mapping, target->ports);
    pilot_mapping_set_uid (target->mapping, target->uid);
    if (work->redirect)
      pilot_mapping_set_redirected (target->mapping);
    else
      take_listeners (target, plan);
    if (is_new)
      pilot_gateway_mapping_added (gateway, target->mapping);
  }
}

static void
applied (GObject *source, GAsyncResult *result, gpointer user_data)
{
  GTask *task = user_data;
  Work *work = g_task_get_task_data (task);
  PilotGateway *gateway = g_task_get_source_object (task);
  g_autoptr (PilotPrivilegedPlan) plan = NULL;
  g_autoptr (GError) undo_error = NULL;
  GError *error = NULL;

  plan = pilot_privileged_apply_finish (PILOT_PRIVILEGED (source), result, &error);
  if (plan != NULL) {
    commit (gateway, work, plan);
    g_task_return_boolean (task, TRUE);
    g_object_unref (task);
    return;
  }
  if (work->redirect && work->fall_back &&
      (g_error_matches (error, PILOT_ERROR, PILOT_ERROR_NOT_SUPPORTED) ||
       g_error_matches (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED))) {
    g_message ("plain listeners instead of redirection: %s", error->message);
    g_error_free (error);
    work->redirect = FALSE;
    step_apply (task);
    return;
  }
  if (!work->change->unsaved && !pilot_gateway_state_save (work->before, gateway->path, &undo_error))
    g_warning ("gateway.json names mappings that are not in force: %s", undo_error->message);
  change_failed (task, error);
}

static void
step_apply (GTask *task)
{
  PilotGateway *gateway = g_task_get_source_object (task);
  Work *work = g_task_get_task_data (task);

  foreach_missing (gateway, work->change, reset_connections);
  pilot_privileged_apply_async (work->privileged, make_plan (gateway, work), NULL, applied, task);
}

static void
step_save (GTask *task)
{
  PilotGateway *gateway = g_task_get_source_object (task);
  Work *work = g_task_get_task_data (task);
  g_autoptr (PilotGatewayState) after = describe_change (work->change);
  GError *error = NULL;

  if (!work->change->unsaved && !pilot_gateway_state_save (after, gateway->path, &error)) {
    g_prefix_error (&error, "cannot save the mappings, nothing was changed: ");
    change_failed (task, error);
    return;
  }
  if (work->privileged != NULL) {
    step_apply (task);
    return;
  }
  commit (gateway, work, NULL);
  g_task_return_boolean (task, TRUE);
  g_object_unref (task);
}

static void
found (GObject *source, GAsyncResult *result, gpointer user_data)
{
  GTask *task = user_data;
  Work *work = g_task_get_task_data (task);
  GError *error = NULL;

  work->privileged = pilot_privileged_find_finish (result, &error);
  if (work->privileged == NULL && !(work->change->forget_down && pilot_error_code (error) == PILOT_ERROR_PERMISSION_DENIED)) {
    change_failed (task, error);
    return;
  }
  g_clear_error (&error);
  step_save (task);
}

static PilotGatewayState *
describe_now (PilotGateway *gateway)
{
  g_autoptr (PilotChange) same = pilot_change_new (gateway);
  PilotGatewayState *state = describe_change (same);

  state->active = gateway->active;
  return state;
}

void
pilot_gateway_change_async (PilotGateway *gateway, PilotChange *change, GAsyncReadyCallback callback, gpointer user_data)
{
  GTask *task = g_task_new (gateway, NULL, callback, user_data);
  Work *work = g_new0 (Work, 1);

  work->change = change;
  work->before = describe_now (gateway);
  /* A gateway that runs keeps its way; a fresh one tries redirection first. */
  if (g_hash_table_size (gateway->by_local) > 0 && gateway->privileged != NULL)
    work->redirect = gateway->redirect;
  else
    work->redirect = strcmp (change->mode_wanted, "listen") != 0;
  work->fall_back = change->mode_wanted[0] == '\0' && (gateway->privileged == NULL || g_hash_table_size (gateway->by_local) == 0);
  g_task_set_task_data (task, work, (GDestroyNotify) work_free);
  if (gateway->privileged != NULL && pilot_privileged_is_alive (gateway->privileged) &&
      g_strcmp0 (gateway->subnet, change->subnet) == 0) {
    work->privileged = g_object_ref (gateway->privileged);
    step_save (task);
    return;
  }
  pilot_privileged_find_async (change->subnet, pilot_gateway_helper_socket (gateway), NULL, found, task);
}

gboolean
pilot_gateway_change_finish (PilotGateway *gateway, GAsyncResult *result, GError **error)
{
  return g_task_propagate_boolean (G_TASK (result), error);
}
