/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/helper/privileged.h"

#include <string.h>
#include <unistd.h>

#include "daemon/helper/capability.h"
#include "daemon/helper/port-holder.h"
#include "daemon/helper/privileged-local.h"
#include "daemon/helper/privileged-remote.h"
#include "libpilot/pilot-error.h"

G_DEFINE_INTERFACE (PilotPrivileged, pilot_privileged, G_TYPE_OBJECT)

static void
pilot_privileged_default_init (PilotPrivilegedInterface *interface)
{
}

static void
listen_request_free (PilotListenRequest *request)
{
  if (request->fd >= 0)
    close (request->fd);
  g_clear_error (&request->error);
  g_free (request);
}

PilotPrivilegedPlan *
pilot_privileged_plan_new (void)
{
  PilotPrivilegedPlan *plan = g_new0 (PilotPrivilegedPlan, 1);

  plan->add = g_array_new (FALSE, FALSE, sizeof (guint32));
  plan->remove = g_array_new (FALSE, FALSE, sizeof (guint32));
  plan->require = g_array_new (FALSE, FALSE, sizeof (guint32));
  plan->listeners = g_ptr_array_new_with_free_func ((GDestroyNotify) listen_request_free);
  plan->redirects = g_ptr_array_new_with_free_func ((GDestroyNotify) pilot_redirect_free);
  plan->redirect_fd = -1;
  return plan;
}

void
pilot_privileged_plan_free (PilotPrivilegedPlan *plan)
{
  if (plan->redirect_fd >= 0)
    close (plan->redirect_fd);
  g_array_unref (plan->add);
  g_array_unref (plan->remove);
  g_array_unref (plan->require);
  g_ptr_array_unref (plan->listeners);
  g_ptr_array_unref (plan->redirects);
  g_free (plan);
}

void
pilot_privileged_plan_add_listener (PilotPrivilegedPlan *plan, guint32 address, guint16 port)
{
  PilotListenRequest *request = g_new0 (PilotListenRequest, 1);

  request->address = address;
  request->port = port;
  request->fd = -1;
  g_ptr_array_add (plan->listeners, request);
}

/* The addresses first; @added tells which were not there before. */
static gboolean
apply_addresses (PilotPrivileged *self, PilotPrivilegedPlan *plan, GArray *before, GArray *added, GError **error)
{
  PilotPrivilegedInterface *iface = PILOT_PRIVILEGED_GET_IFACE (self);

  for (guint i = 0; i < plan->add->len; i++) {
    guint32 address = g_array_index (plan->add, guint32, i);

    if (!iface->add_address (self, address, error))
      return FALSE;
    if (!pilot_ipv4_contains (before, address))
      g_array_append_val (added, address);
  }
  return TRUE;
}

/* The helper may not look into other users' processes, nor may we, but each sees some: the better answer wins. */
static void
name_holder (PilotListenRequest *request)
{
  g_autofree char *holder = NULL;

  if (!g_error_matches (request->error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS))
    return;
  holder = pilot_port_holder_describe (request->address, request->port);
  if (holder == NULL || strstr (holder, "(pid ") == NULL)
    return;
  g_clear_error (&request->error);
  g_set_error (&request->error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS, "port %u is held by %s", request->port, holder);
}

static gboolean
check_required (PilotPrivilegedPlan *plan, GError **error)
{
  for (guint i = 0; i < plan->require->len; i++) {
    guint32 address = g_array_index (plan->require, guint32, i);
    g_autoptr (GString) reasons = g_string_new (NULL);
    char text[PILOT_IPV4_TEXT_SIZE];
    PilotError code = PILOT_ERROR_FAILED;
    gboolean any = FALSE;

    for (guint j = 0; j < plan->listeners->len; j++) {
      const PilotListenRequest *request = g_ptr_array_index (plan->listeners, j);

      if (request->address != address)
        continue;
      any = any || request->fd >= 0;
      if (request->error != NULL) {
        code = pilot_error_code (request->error);
        g_string_append_printf (reasons, "%s%s", reasons->len > 0 ? "; " : "", request->error->message);
      }
    }
    if (!any) {
      g_set_error (error, PILOT_ERROR, code, "no port of %s can be listened on: %s", pilot_ipv4_format (address, text), reasons->str);
      return FALSE;
    }
  }
  return TRUE;
}

static gboolean
apply_sockets_and_rules (PilotPrivileged *self, PilotPrivilegedPlan *plan, GError **error)
{
  PilotPrivilegedInterface *iface = PILOT_PRIVILEGED_GET_IFACE (self);

  for (guint i = 0; i < plan->listeners->len; i++) {
    PilotListenRequest *request = g_ptr_array_index (plan->listeners, i);

    request->fd = iface->open_listener (self, request->address, request->port, &request->error);
    name_holder (request);
  }
  if (!check_required (plan, error))
    return FALSE;
  if (plan->want_redirect) {
    plan->redirect_fd = iface->open_redirect_listener (self, &plan->redirect_port, error);
    if (plan->redirect_fd < 0)
      return FALSE;
  }
  return !plan->set_rules || iface->set_rules (self, plan->redirects, error);
}

/* The change is in force by now: what cannot be removed is a leftover to be told of, not a reason to undo. */
static void
apply_removals (PilotPrivileged *self, PilotPrivilegedPlan *plan, GArray *before)
{
  PilotPrivilegedInterface *iface = PILOT_PRIVILEGED_GET_IFACE (self);

  for (guint i = 0; i < before->len; i++) {
    guint32 address = g_array_index (before, guint32, i);
    g_autoptr (GError) error = NULL;

    if (pilot_ipv4_contains (plan->add, address) || (!plan->remove_strays && !pilot_ipv4_contains (plan->remove, address)))
      continue;
    if (!iface->remove_address (self, address, &error) && !g_error_matches (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND))
      g_warning ("an address is left behind: %s", error->message);
  }
}

gboolean
pilot_privileged_apply (PilotPrivileged *self, PilotPrivilegedPlan *plan, GError **error)
{
  PilotPrivilegedInterface *iface = PILOT_PRIVILEGED_GET_IFACE (self);
  g_autoptr (GArray) added = g_array_new (FALSE, FALSE, sizeof (guint32));
  g_autoptr (GArray) before = NULL;

  if (plan->check_overlap && !iface->check_overlap (self, error))
    return FALSE;
  before = iface->list_addresses (self, error);
  if (before == NULL)
    return FALSE;
  if (apply_addresses (self, plan, before, added, error) && apply_sockets_and_rules (self, plan, error)) {
    apply_removals (self, plan, before);
    return TRUE;
  }
  for (guint i = 0; i < added->len; i++) {
    g_autoptr (GError) undo_error = NULL;

    if (!iface->remove_address (self, g_array_index (added, guint32, i), &undo_error))
      g_warning ("an address is left behind: %s", undo_error->message);
  }
  return FALSE;
}

static void
apply_thread (GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
  g_autoptr (PilotPrivilegedPlan) plan = data;
  GError *error = NULL;

  if (pilot_privileged_apply (source, plan, &error))
    g_task_return_pointer (task, g_steal_pointer (&plan), (GDestroyNotify) pilot_privileged_plan_free);
  else
    g_task_return_error (task, error);
}

void
pilot_privileged_apply_async (PilotPrivileged *self, PilotPrivilegedPlan *plan, GCancellable *cancellable,
                              GAsyncReadyCallback callback, gpointer user_data)
{
  g_autoptr (GTask) task = g_task_new (self, cancellable, callback, user_data);

  g_task_set_source_tag (task, pilot_privileged_apply_async);
  /* A change that was made must be known: a late cancellation does not hide it. */
  g_task_set_check_cancellable (task, FALSE);
  /* The thread takes it. */
  g_task_set_task_data (task, plan, NULL);
  g_task_run_in_thread (task, apply_thread);
}

PilotPrivilegedPlan *
pilot_privileged_apply_finish (PilotPrivileged *self, GAsyncResult *result, GError **error)
{
  return g_task_propagate_pointer (G_TASK (result), error);
}

static void
cleanup_thread (GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
  GError *error = NULL;

  if (PILOT_PRIVILEGED_GET_IFACE (source)->cleanup (source, GPOINTER_TO_INT (data), &error))
    g_task_return_boolean (task, TRUE);
  else
    g_task_return_error (task, error);
}

void
pilot_privileged_cleanup_async (PilotPrivileged *self, gboolean quit, GCancellable *cancellable,
                                GAsyncReadyCallback callback, gpointer user_data)
{
  g_autoptr (GTask) task = g_task_new (self, cancellable, callback, user_data);

  g_task_set_check_cancellable (task, FALSE);
  g_task_set_task_data (task, GINT_TO_POINTER (quit), NULL);
  g_task_run_in_thread (task, cleanup_thread);
}

gboolean
pilot_privileged_cleanup_finish (PilotPrivileged *self, GAsyncResult *result, GError **error)
{
  return g_task_propagate_boolean (G_TASK (result), error);
}

gboolean
pilot_privileged_is_alive (PilotPrivileged *self)
{
  return PILOT_PRIVILEGED_GET_IFACE (self)->is_alive (self);
}

typedef struct {
  char *subnet;
  char *socket;
} FindData;

static void
find_data_free (FindData *data)
{
  g_free (data->subnet);
  g_free (data->socket);
  g_free (data);
}

static PilotPrivileged *
find (const FindData *data, GError **error)
{
  g_autoptr (GError) local_error = NULL;
  PilotPrivileged *found;
  PilotSubnet subnet;

  if (!pilot_subnet_parse_text (data->subnet, &subnet, error))
    return NULL;
  if (pilot_capability_has_net_admin ())
    return pilot_privileged_local_new (getuid (), &subnet);
  found = pilot_privileged_remote_new (data->socket, &subnet, &local_error);
  if (found != NULL)
    return found;
  if (!g_error_matches (local_error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING)) {
    g_propagate_error (error, g_steal_pointer (&local_error));
    return NULL;
  }
  if (pilot_subnet_is_loopback (&subnet))
    return pilot_privileged_local_new (getuid (), &subnet);
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED,
               "adding an address of %s to this machine needs CAP_NET_ADMIN, and no pilot-helper serves this user", data->subnet);
  if (error != NULL)
    pilot_error_set_hint (*error, "run: sudo pilotctl gateway start …");
  return NULL;
}

static void
find_thread (GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
  GError *error = NULL;
  PilotPrivileged *found = find (data, &error);

  if (found != NULL)
    g_task_return_pointer (task, found, g_object_unref);
  else
    g_task_return_error (task, error);
}

void
pilot_privileged_find_async (const char *subnet, const char *socket, GCancellable *cancellable,
                             GAsyncReadyCallback callback, gpointer user_data)
{
  g_autoptr (GTask) task = g_task_new (NULL, cancellable, callback, user_data);
  FindData *data = g_new0 (FindData, 1);

  data->subnet = g_strdup (subnet);
  data->socket = g_strdup (socket);
  g_task_set_task_data (task, data, (GDestroyNotify) find_data_free);
  g_task_run_in_thread (task, find_thread);
}

PilotPrivileged *
pilot_privileged_find_finish (GAsyncResult *result, GError **error)
{
  return g_task_propagate_pointer (G_TASK (result), error);
}
