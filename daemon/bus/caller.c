/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/bus/caller.h"

struct _PilotCaller {
  GDBusConnection *connection;
  char *name; /* (nullable): on a private connection nobody has one */
  void (*gone) (gpointer user_data);
  gpointer user_data;
  gulong closed_handler;
  guint name_watch, closed_source;
};

static void
leave (PilotCaller *caller)
{
  void (*gone) (gpointer user_data) = caller->gone;

  caller->gone = NULL;
  if (gone != NULL)
    gone (caller->user_data);
}

static gboolean
on_already_closed (gpointer user_data)
{
  PilotCaller *caller = user_data;

  caller->closed_source = 0;
  leave (caller);
  return G_SOURCE_REMOVE;
}

static void
on_closed (GDBusConnection *connection, gboolean remote_vanished, GError *error, gpointer user_data)
{
  leave (user_data);
}

static void
on_name_vanished (GDBusConnection *connection, const char *name, gpointer user_data)
{
  leave (user_data);
}

PilotCaller *
pilot_caller_new (GDBusMethodInvocation *invocation, void (*gone) (gpointer user_data), gpointer user_data)
{
  PilotCaller *caller = g_new0 (PilotCaller, 1);

  caller->connection = g_object_ref (g_dbus_method_invocation_get_connection (invocation));
  caller->name = g_strdup (g_dbus_method_invocation_get_sender (invocation));
  caller->gone = gone;
  caller->user_data = user_data;
  caller->closed_handler = g_signal_connect (caller->connection, "closed", G_CALLBACK (on_closed), caller);
  /* Calls are authorized in a thread: it may have gone meanwhile, and said so. */
  if (g_dbus_connection_is_closed (caller->connection))
    caller->closed_source = g_idle_add (on_already_closed, caller);
  if (caller->name != NULL)
    caller->name_watch = g_bus_watch_name_on_connection (caller->connection, caller->name, G_BUS_NAME_WATCHER_FLAGS_NONE, NULL,
                                                         on_name_vanished, caller, NULL);
  return caller;
}

void
pilot_caller_free (PilotCaller *caller)
{
  if (caller == NULL)
    return;
  caller->gone = NULL;
  if (caller->name_watch != 0)
    g_bus_unwatch_name (caller->name_watch);
  g_clear_handle_id (&caller->closed_source, g_source_remove);
  g_clear_signal_handler (&caller->closed_handler, caller->connection);
  g_object_unref (caller->connection);
  g_free (caller->name);
  g_free (caller);
}

gboolean
pilot_caller_is (PilotCaller *caller, GDBusMethodInvocation *invocation)
{
  return caller->connection == g_dbus_method_invocation_get_connection (invocation) &&
         g_strcmp0 (caller->name, g_dbus_method_invocation_get_sender (invocation)) == 0;
}
