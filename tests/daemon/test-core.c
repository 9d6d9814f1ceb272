/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "daemon/core/core.h"
#include "libpilot/pilot-error.h"

static guint warnings;

static GLogWriterOutput
count_log (GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer user_data)
{
  warnings += level & G_LOG_LEVEL_WARNING ? 1 : 0;
  return G_LOG_WRITER_HANDLED;
}

/* Parts that write down what is done to them. */
static gboolean
on_give_up (gpointer user_data)
{
  g_task_return_new_error (user_data, PILOT_ERROR, PILOT_ERROR_FAILED, "given up");
  g_object_unref (user_data);
  return G_SOURCE_REMOVE;
}

typedef struct {
  const char *name;
  GString *log;
  gboolean fail, hang, late, patient;
  GTask *hanging;
} Part;

static gboolean
on_idle (gpointer user_data)
{
  g_task_return_boolean (user_data, TRUE);
  g_object_unref (user_data);
  return G_SOURCE_REMOVE;
}

/* Whoever waits for a cancellable looks at it. */
static void
on_cancelled (GCancellable *cancellable, gpointer user_data)
{
  g_idle_add (on_give_up, user_data);
}

static void
start (gpointer data, GTask *task)
{
  Part *part = data;

  g_string_append_printf (part->log, "+%s ", part->name);
  if (part->fail) {
    g_task_return_new_error (task, PILOT_ERROR, PILOT_ERROR_CORRUPT, "no good");
    g_object_unref (task);
  } else if (part->patient)
    g_cancellable_connect (g_task_get_cancellable (task), G_CALLBACK (on_cancelled), task, NULL);
  else if (part->hang)
    part->hanging = task;
  else
    g_idle_add (on_idle, task);
}

static void
stop (gpointer data, GTask *task)
{
  Part *part = data;

  g_string_append_printf (part->log, "-%s ", part->name);
  if (part->late)
    part->hanging = task;
  else
    g_idle_add (on_idle, task);
}

typedef struct {
  GMainLoop *loop;
  GString *log;
  Part parts[3];
  PilotCore *core;
  gboolean started, stopped;
  GError *error;
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  static const char *const names[] = { "a", "b", "c" };

  fixture->loop = g_main_loop_new (NULL, FALSE);
  fixture->log = g_string_new (NULL);
  fixture->core = pilot_core_new (200);
  for (guint i = 0; i < 3; i++) {
    fixture->parts[i].name = names[i];
    fixture->parts[i].log = fixture->log;
    pilot_core_add (fixture->core, names[i], start, stop, &fixture->parts[i]);
  }
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  for (guint i = 0; i < 3; i++)
    if (fixture->parts[i].hanging != NULL) {
      /* What comes late must be ignored. */
      g_task_return_boolean (fixture->parts[i].hanging, TRUE);
      g_clear_object (&fixture->parts[i].hanging);
    }
  while (g_main_context_iteration (NULL, FALSE))
    ;
  g_assert_finalize_object (fixture->core);
  g_clear_error (&fixture->error);
  g_string_free (fixture->log, TRUE);
  g_main_loop_unref (fixture->loop);
}

static void
on_started (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Fixture *fixture = user_data;

  fixture->started = pilot_core_start_finish (fixture->core, result, &fixture->error);
  g_main_loop_quit (fixture->loop);
}

static void
on_stopped (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Fixture *fixture = user_data;

  fixture->stopped = pilot_core_stop_finish (fixture->core, result, NULL);
  g_main_loop_quit (fixture->loop);
}

static void
run_start (Fixture *fixture)
{
  pilot_core_start_async (fixture->core, on_started, fixture);
  g_main_loop_run (fixture->loop);
}

static void
run_stop (Fixture *fixture)
{
  pilot_core_stop_async (fixture->core, on_stopped, fixture);
  g_main_loop_run (fixture->loop);
  g_assert_true (fixture->stopped);
}

static void
test_order (Fixture *fixture, gconstpointer data)
{
  run_start (fixture);
  g_assert_no_error (fixture->error);
  g_assert_true (fixture->started);
  run_stop (fixture);
  g_assert_cmpstr (fixture->log->str, ==, "+a +b +c -c -b -a ");
}

static void
test_failure (Fixture *fixture, gconstpointer data)
{
  fixture->parts[1].fail = TRUE;
  run_start (fixture);
  g_assert_false (fixture->started);
  g_assert_error (fixture->error, PILOT_ERROR, PILOT_ERROR_CORRUPT);
  g_assert_cmpstr (fixture->error->message, ==, "b: no good");
  g_assert_cmpstr (fixture->log->str, ==, "+a +b -a ");
}

static void
test_start_deadline (Fixture *fixture, gconstpointer data)
{
  fixture->parts[2].hang = TRUE;
  run_start (fixture);
  g_assert_error (fixture->error, PILOT_ERROR, PILOT_ERROR_TIMEOUT);
  g_assert_cmpstr (fixture->log->str, ==, "+a +b +c -b -a ");
}

static void
test_stop_deadline (Fixture *fixture, gconstpointer data)
{
  run_start (fixture);
  fixture->parts[1].late = TRUE;
  warnings = 0;
  run_stop (fixture);
  g_assert_cmpuint (warnings, ==, 1);
  g_assert_cmpstr (fixture->log->str, ==, "+a +b +c -c -b -a ");
}

static void
test_stop_while_starting (Fixture *fixture, gconstpointer data)
{
  pilot_core_start_async (fixture->core, on_started, fixture);
  pilot_core_stop_async (fixture->core, on_stopped, fixture);
  while (!fixture->stopped || fixture->error == NULL)
    g_main_context_iteration (NULL, TRUE);
  g_assert_false (fixture->started);
  g_assert_error (fixture->error, PILOT_ERROR, PILOT_ERROR_CANCELLED);
  g_assert_cmpstr (fixture->log->str, ==, "+a -a ");
}

/* A step that waits for something hears that nobody wants it any more. */
static void
test_stop_while_waiting (Fixture *fixture, gconstpointer data)
{
  g_clear_object (&fixture->core);
  fixture->core = pilot_core_new (60000);
  for (guint i = 0; i < 3; i++)
    pilot_core_add (fixture->core, fixture->parts[i].name, start, stop, &fixture->parts[i]);
  fixture->parts[1].patient = TRUE;
  pilot_core_start_async (fixture->core, on_started, fixture);
  while (strcmp (fixture->log->str, "+a +b ") != 0)
    g_main_context_iteration (NULL, TRUE);
  pilot_core_stop_async (fixture->core, on_stopped, fixture);
  while (!fixture->stopped || fixture->error == NULL)
    g_main_context_iteration (NULL, TRUE);
  g_assert_error (fixture->error, PILOT_ERROR, PILOT_ERROR_CANCELLED);
  g_assert_cmpstr (fixture->log->str, ==, "+a +b -a ");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_log_set_writer_func (count_log, NULL, NULL);
#define ADD(name, func) g_test_add ("/daemon/core/" name, Fixture, NULL, set_up, func, tear_down)
  ADD ("order", test_order);
  ADD ("failure", test_failure);
  ADD ("start-deadline", test_start_deadline);
  ADD ("stop-deadline", test_stop_deadline);
  ADD ("stop-while-starting", test_stop_while_starting);
  ADD ("stop-while-waiting", test_stop_while_waiting);
  return g_test_run ();
}
