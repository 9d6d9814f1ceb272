/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core.h"

#include "libpilot/pilot-error.h"

typedef struct {
  char *name;
  PilotCoreStep start, stop;
  gpointer part;
} Part;

struct _PilotCore {
  GObject parent_instance;

  GPtrArray *parts;
  guint deadline_ms;
  guint n_started; /* parts [0, n_started) run */
  guint timeout_source;
  guint serial; /* of the step in progress: what an earlier one returns late is ignored */
  GTask *starting;
  GCancellable *cancellable; /* of the steps of the start */
  GPtrArray *stopping;       /* GTask: all who wait for the stop; NULL = none is going on */
  GError *start_error;
};

G_DEFINE_FINAL_TYPE (PilotCore, pilot_core, G_TYPE_OBJECT)

typedef struct {
  guint serial;
  gboolean start;
} Step;

static void start_next (PilotCore *core);
static void stop_next (PilotCore *core);

static void
part_free (gpointer data)
{
  Part *part = data;

  g_free (part->name);
  g_free (part);
}

/* --- one step --- */

static void
start_stepped (PilotCore *core, GError *error)
{
  Part *part = core->parts->pdata[core->n_started];

  if (error == NULL)
    core->n_started++;
  if (core->stopping != NULL) {
    g_clear_error (&error);
    error = g_error_new_literal (PILOT_ERROR, PILOT_ERROR_CANCELLED, "stopped while starting");
  } else if (error != NULL)
    g_prefix_error (&error, "%s: ", part->name);
  if (error != NULL) {
    core->start_error = error;
    stop_next (core);
  } else
    start_next (core);
}

static void
stop_stepped (PilotCore *core, GError *error)
{
  Part *part = core->parts->pdata[core->n_started];

  if (error != NULL)
    g_warning ("%s did not stop as it should: %s", part->name, error->message);
  g_clear_error (&error);
  stop_next (core);
}

static void
stepped (PilotCore *core, gboolean start, GError *error)
{
  g_clear_handle_id (&core->timeout_source, g_source_remove);
  core->serial++;
  if (start)
    start_stepped (core, error);
  else
    stop_stepped (core, error);
}

static void
on_step (GObject *source, GAsyncResult *result, gpointer user_data)
{
  PilotCore *core = PILOT_CORE (source);
  g_autofree Step *step = user_data;
  GError *error = NULL;

  if (!g_task_propagate_boolean (G_TASK (result), &error) && error == NULL)
    error = g_error_new_literal (PILOT_ERROR, PILOT_ERROR_FAILED, "it failed and did not say why");
  if (step->serial == core->serial)
    stepped (core, step->start, error);
  else
    g_clear_error (&error);
}

static gboolean
on_start_timeout (gpointer user_data)
{
  PilotCore *core = user_data;

  core->timeout_source = 0;
  stepped (core, TRUE, g_error_new (PILOT_ERROR, PILOT_ERROR_TIMEOUT, "it did not start within %u ms", core->deadline_ms));
  return G_SOURCE_REMOVE;
}

static gboolean
on_stop_timeout (gpointer user_data)
{
  PilotCore *core = user_data;

  core->timeout_source = 0;
  stepped (core, FALSE, g_error_new (PILOT_ERROR, PILOT_ERROR_TIMEOUT, "it did not stop within %u ms", core->deadline_ms));
  return G_SOURCE_REMOVE;
}

static void
run_step (PilotCore *core, Part *part, gboolean start)
{
  Step *step = g_new (Step, 1);
  PilotCoreStep func = start ? part->start : part->stop;
  GTask *task;

  step->serial = core->serial;
  step->start = start;
  task = g_task_new (core, start ? core->cancellable : NULL, on_step, step);
  /* A part that is up in spite of it is to be stopped like the others. */
  g_task_set_check_cancellable (task, FALSE);
  core->timeout_source = g_timeout_add (core->deadline_ms, start ? on_start_timeout : on_stop_timeout, core);
  g_debug ("%s %s", start ? "starting" : "stopping", part->name);
  if (func != NULL) {
    func (part->part, task);
    return;
  }
  g_task_return_boolean (task, TRUE);
  g_object_unref (task);
}

/* --- the order --- */

static void
start_next (PilotCore *core)
{
  if (core->n_started < core->parts->len) {
    run_step (core, core->parts->pdata[core->n_started], TRUE);
    return;
  }
  g_task_return_boolean (core->starting, TRUE);
  g_clear_object (&core->starting);
}

static void
stop_next (PilotCore *core)
{
  GPtrArray *waiting;

  if (core->n_started > 0) {
    core->n_started--;
    run_step (core, core->parts->pdata[core->n_started], FALSE);
    return;
  }
  waiting = g_steal_pointer (&core->stopping);
  if (core->starting != NULL) {
    g_task_return_error (core->starting, g_steal_pointer (&core->start_error));
    g_clear_object (&core->starting);
  }
  for (guint i = 0; waiting != NULL && i < waiting->len; i++)
    g_task_return_boolean (waiting->pdata[i], TRUE);
  g_clear_pointer (&waiting, g_ptr_array_unref);
}

void
pilot_core_start_async (PilotCore *core, GAsyncReadyCallback callback, gpointer user_data)
{
  g_return_if_fail (core->starting == NULL && core->n_started == 0);
  core->starting = g_task_new (core, NULL, callback, user_data);
  g_clear_object (&core->cancellable);
  core->cancellable = g_cancellable_new ();
  start_next (core);
}

gboolean
pilot_core_start_finish (PilotCore *core, GAsyncResult *result, GError **error)
{
  return g_task_propagate_boolean (G_TASK (result), error);
}

void
pilot_core_stop_async (PilotCore *core, GAsyncReadyCallback callback, gpointer user_data)
{
  gboolean first = core->stopping == NULL;

  if (first)
    core->stopping = g_ptr_array_new_with_free_func (g_object_unref);
  g_ptr_array_add (core->stopping, g_task_new (core, NULL, callback, user_data));
  /* During the start its step ends first. */
  if (first && core->starting == NULL)
    stop_next (core);
  else if (first)
    g_cancellable_cancel (core->cancellable);
}

gboolean
pilot_core_stop_finish (PilotCore *core, GAsyncResult *result, GError **error)
{
  return g_task_propagate_boolean (G_TASK (result), error);
}

/* --- life --- */

void
pilot_core_add (PilotCore *core, const char *name, PilotCoreStep start, PilotCoreStep stop, gpointer part)
{
  Part *entry = g_new0 (Part, 1);

  entry->name = g_strdup (name);
  entry->start = start;
  entry->stop = stop;
  entry->part = part;
  g_ptr_array_add (core->parts, entry);
}

PilotCore *
pilot_core_new (guint deadline_ms)
{
  PilotCore *core = g_object_new (PILOT_TYPE_CORE, NULL);

  core->deadline_ms = deadline_ms;
  return core;
}

static void
pilot_core_finalize (GObject *object)
{
  PilotCore *core = PILOT_CORE (object);

  g_clear_handle_id (&core->timeout_source, g_source_remove);
  g_clear_error (&core->start_error);
  g_clear_object (&core->cancellable);
  g_clear_pointer (&core->stopping, g_ptr_array_unref);
  g_ptr_array_unref (core->parts);
  G_OBJECT_CLASS (pilot_core_parent_class)->finalize (object);
}

static void
pilot_core_class_init (PilotCoreClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = pilot_core_finalize;
}

static void
pilot_core_init (PilotCore *core)
{
  core->parts = g_ptr_array_new_with_free_func (part_free);
}
