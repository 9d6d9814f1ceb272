/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilot-private-bus.h"

#include <gio/gunixsocketaddress.h>

#include "pilot-error.h"

gboolean
pilot_private_bus_get_peer (GIOStream *stream, PilotPrivateBusPeer *peer, GError **error)
{
  g_autoptr (GCredentials) credentials = NULL;
  uid_t uid;

  if (!G_IS_SOCKET_CONNECTION (stream)) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_NOT_SUPPORTED, "nobody knows who is at the other end: it is no socket of this machine");
    return FALSE;
  }
  credentials = g_socket_get_credentials (g_socket_connection_get_socket (G_SOCKET_CONNECTION (stream)), error);
  if (credentials == NULL)
    return FALSE;
  uid = g_credentials_get_unix_user (credentials, error);
  if (uid == (uid_t) -1)
    return FALSE;
  *peer = (PilotPrivateBusPeer) { .uid = uid, .pid = MAX (g_credentials_get_unix_pid (credentials, NULL), 0) };
  return TRUE;
}

GSocketConnection *
pilot_private_bus_connect (const char *path, PilotPrivateBusPeer *peer, GError **error)
{
  g_autoptr (GSocketClient) client = g_socket_client_new ();
  g_autoptr (GSocketAddress) address = g_unix_socket_address_new (path);
  g_autoptr (GSocketConnection) stream = NULL;
  g_autoptr (GError) local_error = NULL;

  /* Never waits: with a Unix socket the kernel says at once that the queue is full. */
  stream = g_socket_client_connect (client, G_SOCKET_CONNECTABLE (address), NULL, &local_error);
  if (stream == NULL) {
    gboolean absent = g_error_matches (local_error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND) || g_error_matches (local_error, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED);
    g_autofree char *quoted = pilot_error_quote (path, -1);

    g_set_error (error, PILOT_ERROR, absent ? PILOT_ERROR_NOT_RUNNING : PILOT_ERROR_CONNECTION_FAILED, "cannot connect to \"%s\": %s", quoted, local_error->message);
    return NULL;
  }
  return pilot_private_bus_get_peer (G_IO_STREAM (stream), peer, error) ? g_steal_pointer (&stream) : NULL;
}

typedef struct {
  gint most, open; /* @open: atomic */
} Calls;

/* In a thread of GDBus. An answer passes here when it is about to be written, and not before those that wait in front of it have been read. */
static GDBusMessage *
count_call (GDBusConnection *connection, GDBusMessage *message, gboolean incoming, gpointer user_data)
{
  const GDBusMessageType type = g_dbus_message_get_message_type (message);
  Calls *calls = user_data;

  if (!incoming) {
    if (type == G_DBUS_MESSAGE_TYPE_METHOD_RETURN || type == G_DBUS_MESSAGE_TYPE_ERROR)
      g_atomic_int_add (&calls->open, -1);
    return message;
  }
  if (g_atomic_int_add (&calls->open, 1) < calls->most)
    return message;
  g_dbus_connection_close (connection, NULL, NULL, NULL);
  g_object_unref (message);
  return NULL;
}

void
pilot_private_bus_limit_calls (GDBusConnection *connection, guint most)
{
  Calls *calls = g_new0 (Calls, 1);

  calls->most = (gint) most;
  g_dbus_connection_add_filter (connection, count_call, calls, g_free);
}

typedef struct {
  GDBusConnection *connection;
  GError *error;
  gboolean done;
} Authentication;

static gboolean
time_is_over (gpointer cancellable)
{
  g_cancellable_cancel (cancellable);
  return G_SOURCE_REMOVE;
}

static void
on_authenticated (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Authentication *authentication = user_data;

  authentication->connection = g_dbus_connection_new_finish (result, &authentication->error);
  authentication->done = TRUE;
}

gboolean
pilot_private_bus_has_ended (const GError *error)
{
  return g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CONNECTION_CLOSED) || g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CLOSED) ||
         g_error_matches (error, G_IO_ERROR, G_IO_ERROR_FAILED);
}

/* The other end closed, or said what nobody understands: what runs there is nothing that could be talked to. */
static GError *
explain (GError *error, guint limit_ms)
{
  g_autoptr (GError) owned = error;

  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    return g_error_new (PILOT_ERROR, PILOT_ERROR_TIMEOUT, "no authentication within %.3g s", limit_ms / 1000.0);
  if (pilot_private_bus_has_ended (error))
    return g_error_new (PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, "it ended before it answered: %s", error->message);
  return g_steal_pointer (&owned);
}

GDBusConnection *
pilot_private_bus_authenticate (GSocketConnection *stream, guint limit_ms, GError **error)
{
  g_autoptr (GMainContext) context = g_main_context_new ();
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GSource) limit = g_timeout_source_new (limit_ms);
  Authentication authentication = { 0 };

  /* GDBus reads what it is sent in a blocking way, and a limit of the socket would be one for each byte. */
  g_main_context_push_thread_default (context);
  g_source_set_callback (limit, time_is_over, cancellable, NULL);
  g_source_attach (limit, context);
  g_dbus_connection_new (G_IO_STREAM (stream), NULL, G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT, NULL, cancellable, on_authenticated, &authentication);
  while (!authentication.done)
    g_main_context_iteration (context, TRUE);
  g_source_destroy (limit);
  g_main_context_pop_thread_default (context);
  if (authentication.connection == NULL)
    g_propagate_error (error, explain (authentication.error, limit_ms));
  return authentication.connection;
}
