/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/client.h"

#include <gio/gunixfdlist.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "pilotctl/output.h"

#define BUS_NAME "network.pilotprotocol.Pilot1"
#define ROOT "/network/pilotprotocol/Pilot1"
#define CALL_TIMEOUT_MS 120000

struct _Client {
  GDBusConnection *connection;
  const char *name; /* NULL on a private socket */
  char *place;
  gboolean quiet;
};

static gboolean
answers (GDBusConnection *connection, const char *name, guint32 *pid)
{
  g_autoptr (GVariant) reply = NULL;
  g_autoptr (GVariant) value = NULL;

  reply = g_dbus_connection_call_sync (connection, name, ROOT, "org.freedesktop.DBus.Properties", "Get",
                                       g_variant_new ("(ss)", BUS_NAME ".Node", "Pid"), G_VARIANT_TYPE ("(v)"),
                                       G_DBUS_CALL_FLAGS_NO_AUTO_START, 5000, NULL, NULL);
  if (reply == NULL)
    return FALSE;
  g_variant_get (reply, "(v)", &value);
  if (pid != NULL)
    *pid = g_variant_get_uint32 (value);
  return TRUE;
}

static Client *
try_socket (const char *path, guint32 *pid)
{
  g_autofree char *escaped = g_dbus_address_escape_value (path);
  g_autofree char *address = g_strdup_printf ("unix:path=%s", escaped);
  g_autoptr (GDBusConnection) connection = NULL;
  Client *client;

  if (access (path, F_OK) != 0)
    return NULL;
  connection = g_dbus_connection_new_for_address_sync (address, G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT, NULL, NULL, NULL);
  if (connection == NULL || !answers (connection, NULL, pid))
    return NULL;
  client = g_new0 (Client, 1);
  client->connection = g_steal_pointer (&connection);
  client->place = g_strdup (path);
  return client;
}

static Client *
try_bus (GBusType type, const char *place)
{
  g_autoptr (GDBusConnection) connection = NULL;
  Client *client;

  if (type == G_BUS_TYPE_SESSION && g_getenv ("DBUS_SESSION_BUS_ADDRESS") == NULL)
    return NULL;
  connection = g_bus_get_sync (type, NULL, NULL);
  if (connection == NULL)
    return NULL;
  g_dbus_connection_set_exit_on_close (connection, FALSE);
  if (!answers (connection, BUS_NAME, NULL))
    return NULL;
  client = g_new0 (Client, 1);
  client->connection = g_steal_pointer (&connection);
  client->name = BUS_NAME;
  client->place = g_strdup (place);
  return client;
}

/* Under sudo the person's own daemon is meant, not root's. */
static void
add_sudo_user (GPtrArray *paths)
{
  const char *uid_text = g_getenv ("SUDO_UID");
  guint64 uid;
  struct passwd *user;

  if (geteuid () != 0 || uid_text == NULL || !g_ascii_string_to_unsigned (uid_text, 10, 1, G_MAXUINT32 - 1, &uid, NULL))
    return;
  g_ptr_array_add (paths, g_strdup_printf ("/run/user/%s/pilot/bus", uid_text));
  user = getpwuid ((uid_t) uid);
  if (user != NULL)
    g_ptr_array_add (paths, g_build_filename (user->pw_dir, ".pilot", "bus", NULL));
}

static GPtrArray *
candidate_sockets (void)
{
  GPtrArray *paths = g_ptr_array_new_with_free_func (g_free);
  const char *runtime = g_getenv ("XDG_RUNTIME_DIR"), *home = g_getenv ("PILOT_HOME");

  add_sudo_user (paths);
  if (runtime != NULL && *runtime != '\0')
    g_ptr_array_add (paths, g_build_filename (runtime, "pilot", "bus", NULL));
  g_ptr_array_add (paths, g_build_filename (home != NULL ? home : g_get_home_dir (), ".pilot", "bus", NULL));
  g_ptr_array_add (paths, g_strdup ("/run/pilot/bus"));
  return paths;
}

static GError *
not_running (const char *tried)
{
  GError *error = g_error_new_literal (PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, _("daemon is not running"));

  pilot_error_set_hint (error, _("start the daemon with: pilotctl daemon start  (tried %s)"), tried);
  return error;
}

static Client *
find_socket (GPtrArray *paths, GError **error)
{
  g_autoptr (Client) found = NULL;
  guint32 found_pid = 0;

  for (guint i = 0; i < paths->len; i++) {
    guint32 pid = 0;
    g_autoptr (Client) client = try_socket (paths->pdata[i], &pid);

    if (client == NULL)
      continue;
    if (found == NULL) {
      found = g_steal_pointer (&client);
      found_pid = pid;
    } else if (pid != found_pid) {
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_CONFLICT, _("two daemons answer: on \"%s\" and on \"%s\""), found->place, client->place);
      pilot_error_set_hint (*error, _("say which one is meant with --bus PATH"));
      return NULL;
    }
  }
  return g_steal_pointer (&found);
}

const char *
client_get_given_place (Invocation *invocation)
{
  const char *given = invocation->bus != NULL ? invocation->bus : g_getenv ("PILOT_BUS");

  return given != NULL && *given != '\0' ? given : NULL;
}

const char *
client_place_to_path (const char *place)
{
  if (g_str_equal (place, "session") || g_str_equal (place, "system"))
    return NULL;
  return g_str_has_prefix (place, "unix:path=") ? place + strlen ("unix:path=") : place;
}

Client *
client_new (Invocation *invocation, GError **error)
{
  const char *given = client_get_given_place (invocation);
  g_autoptr (GPtrArray) paths = NULL;
  g_autoptr (GError) local = NULL;
  g_autofree char *tried = NULL;
  Client *client;

  if (given != NULL) {
    const char *path = client_place_to_path (given);

    client = path != NULL                     ? try_socket (path, NULL)
             : g_str_equal (given, "session") ? try_bus (G_BUS_TYPE_SESSION, "session bus")
                                              : try_bus (G_BUS_TYPE_SYSTEM, "system bus");
    if (client == NULL) {
      g_propagate_error (error, not_running (given));
      return NULL;
    }
    client->quiet = invocation->json;
    return client;
  }

  paths = candidate_sockets ();
  client = find_socket (paths, &local);
  if (local != NULL) {
    g_propagate_error (error, g_steal_pointer (&local));
    return NULL;
  }
  if (client == NULL)
    client = try_bus (G_BUS_TYPE_SESSION, "session bus");
  if (client == NULL)
    client = try_bus (G_BUS_TYPE_SYSTEM, "system bus");
  if (client == NULL) {
    g_ptr_array_add (paths, NULL);
    tried = g_strjoinv (", ", (char **) paths->pdata);
    g_propagate_error (error, not_running (tried));
    return NULL;
  }
  client->quiet = invocation->json;
  return client;
}

Client *
client_open (Invocation *invocation, const GOptionEntry *entries, int min, int max, int *exit_code)
{
  GError *error = NULL;
  Client *client;

  if (!command_parse (invocation, entries, min, max, exit_code))
    return NULL;
  client = client_new (invocation, &error);
  if (client == NULL)
    *exit_code = output_error (invocation, error);
  return client;
}

void
client_free (Client *client)
{
  if (client == NULL)
    return;
  g_object_unref (client->connection);
  g_free (client->place);
  g_free (client);
}

const char *
client_get_place (Client *client)
{
  return client->place;
}

/* What the message bus knows of who owns our name there. */
static gboolean
ask_bus (Client *client, const char *method, guint32 *value, GError **error)
{
  g_autoptr (GVariant) reply = g_dbus_connection_call_sync (client->connection, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", method,
                                                            g_variant_new ("(s)", client->name), G_VARIANT_TYPE ("(u)"), G_DBUS_CALL_FLAGS_NONE,
                                                            CALL_TIMEOUT_MS, NULL, error);

  if (reply != NULL)
    g_variant_get (reply, "(u)", value);
  return reply != NULL;
}

/* (transfer full): of the daemon's end of a private socket. */
static GCredentials *
get_peer (Client *client, GError **error)
{
  GSocketConnection *stream = G_SOCKET_CONNECTION (g_dbus_connection_get_stream (client->connection));

  return g_socket_get_credentials (g_socket_connection_get_socket (stream), error);
}

gboolean
client_get_uid (Client *client, guint32 *uid, GError **error)
{
  g_autoptr (GCredentials) peer = NULL;

  if (client->name != NULL)
    return ask_bus (client, "GetConnectionUnixUser", uid, error);
  peer = get_peer (client, error);
  if (peer == NULL)
    return FALSE;
  *uid = g_credentials_get_unix_user (peer, error);
  return *uid != (guint32) -1;
}

gint64
client_get_pid (Client *client, GError **error)
{
  g_autoptr (GCredentials) peer = NULL;
  guint32 value;
  pid_t pid;

  if (client->name != NULL)
    return ask_bus (client, "GetConnectionUnixProcessID", &value, error) ? value : 0;
  peer = get_peer (client, error);
  if (peer == NULL)
    return 0;
  pid = g_credentials_get_unix_pid (peer, error);
  return MAX (pid, 0);
}

GVariant *
client_call (Client *client, const char *interface, const char *method, GVariant *arguments, GError **error)
{
  g_autofree char *full = g_strconcat (BUS_NAME ".", interface, NULL);

  return g_dbus_connection_call_sync (client->connection, client->name, ROOT, full, method, arguments, NULL,
                                      G_DBUS_CALL_FLAGS_NONE, CALL_TIMEOUT_MS, NULL, error);
}

GVariant *
client_call_fd (Client *client, const char *interface, const char *method, GVariant *arguments, const char *type, int *fd, GError **error)
{
  g_autofree char *full = g_strconcat (BUS_NAME ".", interface, NULL);
  g_autoptr (GUnixFDList) fds = NULL;
  g_autoptr (GVariant) reply = NULL;

  reply = g_dbus_connection_call_with_unix_fd_list_sync (client->connection, client->name, ROOT, full, method, arguments, G_VARIANT_TYPE (type),
                                                         G_DBUS_CALL_FLAGS_NONE, G_MAXINT, NULL, &fds, NULL, error);
  if (reply == NULL)
    return NULL;
  if (fds == NULL || g_unix_fd_list_get_length (fds) == 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_FAILED, _("the daemon answered without a descriptor"));
    return NULL;
  }
  *fd = g_unix_fd_list_get (fds, 0, error);
  return *fd >= 0 ? g_steal_pointer (&reply) : NULL;
}

GVariant *
client_call_long (Client *client, const char *interface, const char *method, GVariant *arguments, int fd, GError **error)
{
  g_autofree char *full = g_strconcat (BUS_NAME ".", interface, NULL);
  g_autoptr (GUnixFDList) fds = g_unix_fd_list_new ();

  if (fd >= 0 && g_unix_fd_list_append (fds, fd, error) < 0) {
    g_variant_unref (g_variant_ref_sink (arguments));
    return NULL;
  }
  return g_dbus_connection_call_with_unix_fd_list_sync (client->connection, client->name, ROOT, full, method, arguments, NULL,
                                                        G_DBUS_CALL_FLAGS_NONE, G_MAXINT, fds, NULL, NULL, error);
}

guint
client_subscribe (Client *client, const char *interface, const char *signal, GDBusSignalCallback handler, gpointer user_data)
{
  g_autofree char *full = g_strconcat (BUS_NAME ".", interface, NULL);

  return g_dbus_connection_signal_subscribe (client->connection, client->name, full, signal, ROOT, NULL, G_DBUS_SIGNAL_FLAGS_NONE, handler, user_data, NULL);
}

void
client_unsubscribe (Client *client, guint subscription)
{
  g_dbus_connection_signal_unsubscribe (client->connection, subscription);
}

gboolean
client_is_connected (Client *client)
{
  return !g_dbus_connection_is_closed (client->connection) && (client->name == NULL || answers (client->connection, client->name, NULL));
}

GVariant *
client_list (Client *client, const char *interface, const char *method, GError **error)
{
  g_autoptr (GVariant) reply = client_call (client, interface, method, NULL, error);

  return reply != NULL ? g_variant_get_child_value (reply, 0) : NULL;
}

GVariant *
client_get_property (Client *client, const char *interface, const char *property, GError **error)
{
  g_autofree char *full = g_strconcat (BUS_NAME ".", interface, NULL);
  g_autoptr (GVariant) reply = NULL;
  GVariant *value = NULL;

  reply = g_dbus_connection_call_sync (client->connection, client->name, ROOT, "org.freedesktop.DBus.Properties", "Get",
                                       g_variant_new ("(ss)", full, property), G_VARIANT_TYPE ("(v)"),
                                       G_DBUS_CALL_FLAGS_NONE, CALL_TIMEOUT_MS, NULL, error);
  if (reply != NULL)
    g_variant_get (reply, "(v)", &value);
  return value;
}

gboolean
client_resolve (Client *client, const char *name, guint32 *node_id, GError **error)
{
  g_autoptr (GVariant) reply = NULL;
  const char *address;
  PilotAddress parsed;
  g_autoptr (GError) local = NULL;

  if (pilot_address_parse_cli (name, &parsed, &local)) {
    if (parsed.node == 0) {
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, _("\"%s\" is no node's address: no node has the id 0"), name);
      return FALSE;
    }
    *node_id = parsed.node;
    return TRUE;
  }
  /* No host name has a colon: this is a malformed address, not an unknown name. A name may begin with a figure. */
  if (strchr (name, ':') != NULL) {
    g_propagate_error (error, g_steal_pointer (&local));
    return FALSE;
  }
  reply = client_call (client, "Node", "Resolve", g_variant_new ("(s)", name), error);
  if (reply == NULL)
    return FALSE;
  g_variant_get (reply, "(u&s&sb)", node_id, &address, NULL, NULL);
  if (!client->quiet)
    g_printerr (_("resolved \"%s\" → %s\n"), name, address);
  return TRUE;
}

Client *
client_open_node (Invocation *invocation, const GOptionEntry *entries, int min, int max, guint32 *node, int *exit_code)
{
  g_autoptr (Client) client = client_open (invocation, entries, min, max, exit_code);
  GError *error = NULL;

  if (client != NULL && !client_resolve (client, invocation->argv[1], node, &error)) {
    *exit_code = output_error (invocation, error);
    return NULL;
  }
  return g_steal_pointer (&client);
}

const char *
dict_string (GVariant *dict, const char *key)
{
  const char *value = "";

  g_variant_lookup (dict, key, "&s", &value);
  return value;
}

gint64
dict_int (GVariant *dict, const char *key)
{
  g_autoptr (GVariant) value = g_variant_lookup_value (dict, key, NULL);

  if (value == NULL)
    return 0;
  switch (g_variant_classify (value)) {
  case G_VARIANT_CLASS_UINT16:
    return g_variant_get_uint16 (value);
  case G_VARIANT_CLASS_UINT32:
    return g_variant_get_uint32 (value);
  case G_VARIANT_CLASS_INT32:
    return g_variant_get_int32 (value);
  case G_VARIANT_CLASS_UINT64:
    return (gint64) g_variant_get_uint64 (value);
  case G_VARIANT_CLASS_INT64:
    return g_variant_get_int64 (value);
  default:
    return 0;
  }
}

gboolean
dict_boolean (GVariant *dict, const char *key)
{
  gboolean value = FALSE;

  g_variant_lookup (dict, key, "b", &value);
  return value;
}

double
dict_double (GVariant *dict, const char *key)
{
  double value = 0;

  g_variant_lookup (dict, key, "d", &value);
  return value;
}
