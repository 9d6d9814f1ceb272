/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * false-daemon FD: listens on the socket FD, which whoever starts it has made, and answers what D-Bus clients ask with whatever its standard input says, of any
 * type. Knows no interface: nothing it says has to be what was asked for. Runs until it is killed; "ready" on standard output when it answers.
 *
 *   Node.Resolve: (2, 'x')        the answer to this method
 *   Node.Pid: <'x'>               the value of this property
 *   Streams.Dial@ /etc/passwd     with the answer goes a descriptor of this file
 *   *: ('x',)                     the answer to every other method; without this line they are errors
 *   *property: <'x'>              the value of every other property
 *   mute: yes                     takes connections and says nothing at all
 */
#include <fcntl.h>
#include <gio/gio.h>
#include <gio/gunixfdlist.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "Node.Resolve" -> GVariant; with "@" behind it -> a path. */
static GHashTable *script;
static gboolean mute;

/* The last part of an interface, and the member: "Node.Pid". */
static char *
short_name (const char *interface, const char *member)
{
  const char *dot = interface != NULL ? strrchr (interface, '.') : NULL;

  return g_strdup_printf ("%s.%s", dot != NULL ? dot + 1 : "", member);
}

static GVariant *
find_answer (const char *name, const char *otherwise)
{
  const char *text = g_hash_table_lookup (script, name);
  g_autoptr (GError) error = NULL;
  GVariant *value;

  if (text == NULL)
    text = g_hash_table_lookup (script, otherwise);
  if (text == NULL)
    return NULL;
  value = g_variant_parse (NULL, text, NULL, NULL, &error);
  if (value == NULL)
    g_error ("%s: %s", name, error->message);
  return value;
}

static GDBusMessage *
make_reply (GDBusMessage *message)
{
  g_autofree char *name = short_name (g_dbus_message_get_interface (message), g_dbus_message_get_member (message)), *with_fd = g_strconcat (name, "@", NULL);
  const char *path = g_hash_table_lookup (script, with_fd);
  GVariant *body = g_dbus_message_get_body (message), *answer;
  GDBusMessage *reply;

  if (g_str_equal (name, "Properties.Get")) {
    const char *interface, *property;
    g_autofree char *wanted = NULL;

    g_variant_get (body, "(&s&s)", &interface, &property);
    wanted = short_name (interface, property);
    answer = find_answer (wanted, "*property");
    answer = answer != NULL ? g_variant_new_tuple (&answer, 1) : NULL;
  } else
    answer = find_answer (name, "*");
  if (answer == NULL)
    return g_dbus_message_new_method_error (message, "org.freedesktop.DBus.Error.Failed", "the script has no %s", name);
  reply = g_dbus_message_new_method_reply (message);
  /* A body is a tuple, whatever else it is. */
  g_dbus_message_set_body (reply, g_variant_is_of_type (answer, G_VARIANT_TYPE_TUPLE) ? answer : g_variant_new_tuple (&answer, 1));
  if (path != NULL) {
    int fd = open (path, O_RDWR | O_CLOEXEC);
    g_autoptr (GUnixFDList) fds = g_unix_fd_list_new_from_array (&fd, 1);

    g_dbus_message_set_unix_fd_list (reply, fds);
  }
  return reply;
}

/* In the thread of GDBus. */
static GDBusMessage *
answer_all (GDBusConnection *connection, GDBusMessage *message, gboolean incoming, gpointer user_data)
{
  g_autoptr (GDBusMessage) reply = NULL;

  if (!incoming || g_dbus_message_get_message_type (message) != G_DBUS_MESSAGE_TYPE_METHOD_CALL)
    return message;
  reply = make_reply (message);
  g_dbus_connection_send_message (connection, reply, G_DBUS_SEND_MESSAGE_FLAGS_NONE, NULL, NULL);
  g_object_unref (message);
  return NULL;
}

static void
on_authenticated (GObject *source, GAsyncResult *result, gpointer user_data)
{
  GDBusConnection *connection = g_dbus_connection_new_finish (result, NULL); /* kept until the process ends */

  if (connection == NULL)
    return;
  g_dbus_connection_add_filter (connection, answer_all, NULL, NULL);
  g_dbus_connection_start_message_processing (connection);
}

static gboolean
on_connection (GSocketService *service, GSocketConnection *stream, GObject *source, gpointer user_data)
{
  g_autofree char *guid = g_dbus_generate_guid ();

  g_object_ref (stream);
  if (!mute)
    g_dbus_connection_new (G_IO_STREAM (stream), guid, G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_SERVER | G_DBUS_CONNECTION_FLAGS_DELAY_MESSAGE_PROCESSING, NULL, NULL,
                           on_authenticated, NULL);
  return TRUE;
}

static void
read_script (void)
{
  char line[65536];

  script = g_hash_table_new (g_str_hash, g_str_equal);
  while (fgets (line, sizeof line, stdin) != NULL) {
    gsize length = strcspn (g_strchomp (line), ":@");

    if (line[length] == '\0')
      continue;
    g_hash_table_insert (script, g_strndup (line, length + (line[length] == '@')), g_strdup (g_strchug (line + length + 1)));
  }
  mute = g_hash_table_contains (script, "mute");
}

int
main (int argc, char **argv)
{
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr (GSocketService) service = g_socket_service_new ();
  g_autoptr (GSocket) socket = NULL;
  g_autoptr (GError) error = NULL;

  if (argc != 2 || (socket = g_socket_new_from_fd (atoi (argv[1]), &error)) == NULL)
    g_error ("%s", error != NULL ? error->message : "usage: false-daemon FD");
  read_script ();
  g_signal_connect (service, "incoming", G_CALLBACK (on_connection), NULL);
  if (!g_socket_listener_add_socket (G_SOCKET_LISTENER (service), socket, NULL, &error))
    g_error ("%s", error->message);
  puts ("ready");
  fflush (stdout);
  g_main_loop_run (loop);
  return 0;
}
