/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/client.h"

#include <gio/gunixfdlist.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libpilot/pilot-private-bus.h"
#include "pilot-dbus.h"
#include "pilotctl/output.h"
#include "pilotctl/sudo.h"

#define BUS_NAME "network.pilotprotocol.Pilot1"
#define ROOT "/network/pilotprotocol/Pilot1"
#define CALL_TIMEOUT_MS 120000
/* For what a daemon answers without having to ask anybody. */
#define ANSWER_TIMEOUT_MS 5000

struct _Client {
  GDBusConnection *connection;
  const char *name; /* NULL on a private socket */
  char *place;
  gboolean quiet;
};

/* --- what is believed of who answers (docs/privileges.md) --- */

/* What is stated of an interface ("Node"); a program that asks for another one is wrong. */
static GDBusInterfaceInfo *
find_interface (const char *interface)
{
  GDBusInterfaceInfo *const interfaces[] = {
    pilot_dbus_node_interface_info (),
    pilot_dbus_gateway_interface_info (),
    pilot_dbus_plugins_interface_info (),
    pilot_dbus_streams_interface_info (),
    pilot_dbus_messages_interface_info (),
    pilot_dbus_events_interface_info (),
  };

  for (guint i = 0; i < G_N_ELEMENTS (interfaces); i++)
    if (g_str_equal (interfaces[i]->name + strlen (BUS_NAME "."), interface))
      return interfaces[i];
  g_error ("there is no interface %s", interface);
}

/* (transfer full): of a tuple of arguments. */
static GVariantType *
tuple_type (GDBusArgInfo **arguments)
{
  GString *text = g_string_new ("(");

  for (guint i = 0; arguments != NULL && arguments[i] != NULL; i++)
    g_string_append (text, arguments[i]->signature);
  return (GVariantType *) g_string_free (g_string_append_c (text, ')'), FALSE);
}

/* (transfer full): of what a method answers. GDBus refuses any other answer: all that reads one may rely on its type. */
static GVariantType *
reply_type (const char *interface, const char *method)
{
  GDBusMethodInfo *stated = g_dbus_interface_info_lookup_method (find_interface (interface), method);

  g_assert (stated != NULL);
  return tuple_type (stated->out_args);
}

static GVariant *
get_property (GDBusConnection *connection, const char *name, const char *interface, const char *property, int timeout_ms, GError **error)
{
  GDBusPropertyInfo *stated = g_dbus_interface_info_lookup_property (find_interface (interface), property);
  g_autofree char *full = g_strconcat (BUS_NAME ".", interface, NULL);
  g_autoptr (GVariant) reply = NULL, value = NULL;

  g_assert (stated != NULL);
  reply = g_dbus_connection_call_sync (connection, name, ROOT, "org.freedesktop.DBus.Properties", "Get", g_variant_new ("(ss)", full, property),
                                       G_VARIANT_TYPE ("(v)"), G_DBUS_CALL_FLAGS_NO_AUTO_START, timeout_ms, NULL, error);
  if (reply == NULL)
    return NULL;
  g_variant_get (reply, "(v)", &value);
  if (g_variant_is_of_type (value, G_VARIANT_TYPE (stated->signature)))
    return g_steal_pointer (&value);
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_FAILED, _("the daemon answered with type \"%s\" for %s.%s, which is of type \"%s\""),
               g_variant_get_type_string (value), interface, property, stated->signature);
  return NULL;
}

static gboolean
answers (GDBusConnection *connection, const char *name, guint32 *pid)
{
  g_autoptr (GVariant) value = get_property (connection, name, "Node", "Pid", ANSWER_TIMEOUT_MS, NULL);

  if (value != NULL && pid != NULL)
    *pid = g_variant_get_uint32 (value);
  return value != NULL;
}

/* Who is on a place that sudo's user may have made must be he himself, or root: another user's daemon is not led to by a link. */
static gboolean
is_expected (const PilotPrivateBusPeer *peer, const char *place, GError **error)
{
  guint32 user;

  if (!sudo_get_user (&user) || peer->uid == user || peer->uid == 0)
    return TRUE;
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_CONFLICT, _("user id %u answers on \"%s\", and not %u, who called sudo"), peer->uid, place, user);
  if (error != NULL)
    pilot_error_set_hint (*error, _("say which daemon is meant with --bus PATH"));
  return FALSE;
}

static Client *
client_take (GDBusConnection *connection, const char *name, const char *place)
{
  Client *client = g_new0 (Client, 1);

  client->connection = connection;
  client->name = name;
  client->place = g_strdup (place);
  return client;
}

/* NULL without an error: no daemon is there. @named: by who runs this, so that whoever is there is meant. */
static Client *
try_socket (const char *path, gboolean named, guint32 *pid, GError **error)
{
  g_autoptr (GSocketConnection) stream = NULL;
  g_autoptr (GDBusConnection) connection = NULL;
  PilotPrivateBusPeer peer;

  stream = pilot_private_bus_connect (path, &peer, NULL);
  if (stream == NULL || (!named && !is_expected (&peer, path, error)))
    return NULL;
  connection = pilot_private_bus_authenticate (stream, ANSWER_TIMEOUT_MS, NULL);
  if (connection == NULL || !answers (connection, NULL, pid))
    return NULL;
  return client_take (g_steal_pointer (&connection), NULL, path);
}

typedef struct {
  GDBusConnection *connection;
  gboolean done, over;
} BusSearch;

static void
on_bus (GObject *source, GAsyncResult *result, gpointer user_data)
{
  BusSearch *search = user_data;

  search->connection = g_bus_get_finish (result, NULL);
  search->done = TRUE;
}

static gboolean
on_bus_limit (gpointer user_data)
{
  BusSearch *search = user_data;

  search->over = TRUE;
  return G_SOURCE_REMOVE;
}

/* (transfer full) (nullable): the message bus, if it lets us in within seconds. GLib's thread waits longer for one that is mute: it is left alone, and @search
 * with it, until this process ends. */
static GDBusConnection *
get_bus (GBusType type)
{
  g_autoptr (GMainContext) context = g_main_context_new ();
  g_autoptr (GSource) limit = g_timeout_source_new (ANSWER_TIMEOUT_MS);
  BusSearch *search = g_new0 (BusSearch, 1);
  GDBusConnection *connection;

  g_main_context_push_thread_default (context);
  g_source_set_callback (limit, on_bus_limit, search, NULL);
  g_source_attach (limit, context);
  g_bus_get (type, NULL, on_bus, search);
  while (!search->done && !search->over)
    g_main_context_iteration (context, TRUE);
  g_source_destroy (limit);
  g_main_context_pop_thread_default (context);
  if (!search->done)
    return NULL;
  connection = search->connection;
  g_free (search);
  return connection;
}

/* Whether the address of a bus in @variable is one to go to. Under sudo it is another's word, and only a socket of this machine tells who is behind it; for
 * "autolaunch:" GLib would even run a program. */
static gboolean
may_ask_bus (const char *variable)
{
  const char *value = g_getenv (variable);
  g_auto (GStrv) addresses = value != NULL ? g_strsplit (value, ";", -1) : NULL;
  guint32 user;

  for (guint i = 0; addresses != NULL && sudo_get_user (&user) && addresses[i] != NULL; i++)
    if (*addresses[i] != '\0' && !g_str_has_prefix (addresses[i], "unix:"))
      return FALSE;
  return TRUE;
}

/* The same. */
static Client *
try_bus (GBusType type, gboolean named, const char *place, GError **error)
{
  g_autoptr (GDBusConnection) connection = NULL;
  PilotPrivateBusPeer peer;

  if ((type == G_BUS_TYPE_SESSION && g_getenv ("DBUS_SESSION_BUS_ADDRESS") == NULL) ||
      !may_ask_bus (type == G_BUS_TYPE_SESSION ? "DBUS_SESSION_BUS_ADDRESS" : "DBUS_SYSTEM_BUS_ADDRESS"))
    return NULL;
  connection = get_bus (type);
  if (connection == NULL)
    return NULL;
  g_dbus_connection_set_exit_on_close (connection, FALSE);
  if (!answers (connection, BUS_NAME, NULL) ||
      (!named && pilot_private_bus_get_peer (g_dbus_connection_get_stream (connection), &peer, NULL) && !is_expected (&peer, place, error)))
    return NULL;
  return client_take (g_steal_pointer (&connection), BUS_NAME, place);
}

/* --- finding it --- */

/* Under sudo the person's own daemon is meant, not root's. */
static void
add_sudo_user (GPtrArray *paths)
{
  struct passwd *user;
  guint32 uid;

  if (!sudo_get_user (&uid))
    return;
  g_ptr_array_add (paths, g_strdup_printf ("/run/user/%u/pilot/bus", uid));
  user = getpwuid (uid);
  if (user != NULL)
    g_ptr_array_add (paths, g_build_filename (user->pw_dir, ".pilot", "bus", NULL));
}

#define SERVICE_SOCKET "/run/pilot/bus"

static GPtrArray *
candidate_sockets (void)
{
  GPtrArray *paths = g_ptr_array_new_with_free_func (g_free);
  const char *runtime = g_getenv ("XDG_RUNTIME_DIR"), *home = g_getenv ("PILOT_HOME");

  add_sudo_user (paths);
  /* cron, su and the like leave the variable out; the daemon was started with it. */
  if (runtime != NULL && *runtime != '\0')
    g_ptr_array_add (paths, g_build_filename (runtime, "pilot", "bus", NULL));
  else
    g_ptr_array_add (paths, g_strdup_printf ("/run/user/%u/pilot/bus", (guint) geteuid ()));
  g_ptr_array_add (paths, g_build_filename (home != NULL ? home : g_get_home_dir (), ".pilot", "bus", NULL));
  g_ptr_array_add (paths, g_strdup (SERVICE_SOCKET));
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
    const char *path = paths->pdata[i];
    guint32 pid = 0;
    g_autoptr (GError) local = NULL;
    /* No user made the folder of the service. */
    g_autoptr (Client) client = try_socket (path, g_str_equal (path, SERVICE_SOCKET), &pid, &local);

    if (local != NULL) {
      g_propagate_error (error, g_steal_pointer (&local));
      return NULL;
    }
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

/* NULL without an error: no daemon is there. */
static Client *
open_given (const char *given, gboolean named, GError **error)
{
  const char *path = client_place_to_path (given);

  if (path != NULL)
    return try_socket (path, named, NULL, error);
  return g_str_equal (given, "session") ? try_bus (G_BUS_TYPE_SESSION, named, "session bus", error) : try_bus (G_BUS_TYPE_SYSTEM, named, "system bus", error);
}

static Client *
open_any (char **tried, GError **error)
{
  g_autoptr (GPtrArray) paths = candidate_sockets ();
  g_autoptr (GError) local = NULL;
  Client *client = find_socket (paths, &local);

  if (client == NULL && local == NULL)
    client = try_bus (G_BUS_TYPE_SESSION, FALSE, "session bus", &local);
  if (client == NULL && local == NULL)
    client = try_bus (G_BUS_TYPE_SYSTEM, FALSE, "system bus", &local);
  if (local != NULL)
    g_propagate_error (error, g_steal_pointer (&local));
  g_ptr_array_add (paths, NULL);
  *tried = g_strjoinv (", ", (char **) paths->pdata);
  return client;
}

Client *
client_new (Invocation *invocation, GError **error)
{
  const char *given = client_get_given_place (invocation);
  g_autofree char *tried = given != NULL ? g_strdup (given) : NULL;
  g_autoptr (GError) local = NULL;
  /* A variable may be of who called sudo. */
  Client *client = given != NULL ? open_given (given, invocation->bus != NULL, &local) : open_any (&tried, &local);

  if (client == NULL) {
    g_propagate_error (error, local != NULL ? g_steal_pointer (&local) : not_running (tried));
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

gboolean
client_get_uid (Client *client, guint32 *uid, GError **error)
{
  PilotPrivateBusPeer peer;

  if (!pilot_private_bus_get_peer (g_dbus_connection_get_stream (client->connection), &peer, error))
    return FALSE;
  /* Root's bus is believed. A user's own can only have a daemon of his, whatever it says. */
  if (client->name != NULL && peer.uid == 0)
    return ask_bus (client, "GetConnectionUnixUser", uid, error);
  *uid = peer.uid;
  return TRUE;
}

gint64
client_get_pid (Client *client, GError **error)
{
  PilotPrivateBusPeer peer;
  guint32 value;

  if (client->name != NULL)
    return ask_bus (client, "GetConnectionUnixProcessID", &value, error) ? value : 0;
  return pilot_private_bus_get_peer (g_dbus_connection_get_stream (client->connection), &peer, error) ? peer.pid : 0;
}

GVariant *
client_call (Client *client, const char *interface, const char *method, GVariant *arguments, GError **error)
{
  g_autofree char *full = g_strconcat (BUS_NAME ".", interface, NULL);
  g_autofree GVariantType *type = reply_type (interface, method);

  return g_dbus_connection_call_sync (client->connection, client->name, ROOT, full, method, arguments, type, G_DBUS_CALL_FLAGS_NONE, CALL_TIMEOUT_MS, NULL, error);
}

/* What is read and written as root is a stream: a file that is opened has other rules for who writes to it. */
static gboolean
is_socket (int fd)
{
  struct stat info;

  return fstat (fd, &info) == 0 && S_ISSOCK (info.st_mode);
}

GVariant *
client_call_fd (Client *client, const char *interface, const char *method, GVariant *arguments, int *fd, GError **error)
{
  g_autofree char *full = g_strconcat (BUS_NAME ".", interface, NULL);
  g_autofree GVariantType *type = reply_type (interface, method);
  g_autoptr (GUnixFDList) fds = NULL;
  g_autoptr (GVariant) reply = NULL;

  reply = g_dbus_connection_call_with_unix_fd_list_sync (client->connection, client->name, ROOT, full, method, arguments, type,
                                                         G_DBUS_CALL_FLAGS_NONE, G_MAXINT, NULL, &fds, NULL, error);
  if (reply == NULL)
    return NULL;
  if (fds == NULL || g_unix_fd_list_get_length (fds) == 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_FAILED, _("the daemon answered without a descriptor"));
    return NULL;
  }
  *fd = g_unix_fd_list_get (fds, 0, error);
  if (*fd < 0)
    return NULL;
  if (is_socket (*fd))
    return g_steal_pointer (&reply);
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_FAILED, _("the daemon answered with a descriptor that is no socket"));
  close (*fd);
  return NULL;
}

GVariant *
client_call_long (Client *client, const char *interface, const char *method, GVariant *arguments, int fd, GError **error)
{
  g_autofree char *full = g_strconcat (BUS_NAME ".", interface, NULL);
  g_autofree GVariantType *type = reply_type (interface, method);
  g_autoptr (GUnixFDList) fds = g_unix_fd_list_new ();

  if (fd >= 0 && g_unix_fd_list_append (fds, fd, error) < 0) {
    g_variant_unref (g_variant_ref_sink (arguments));
    return NULL;
  }
  return g_dbus_connection_call_with_unix_fd_list_sync (client->connection, client->name, ROOT, full, method, arguments, type,
                                                        G_DBUS_CALL_FLAGS_NONE, G_MAXINT, fds, NULL, NULL, error);
}

static void
on_answered (GObject *source, GAsyncResult *result, gpointer user_data)
{
  *(GAsyncResult **) user_data = g_object_ref (result);
}

GVariant *
client_call_until (Client *client, const char *interface, const char *method, GVariant *arguments, GCancellable *cancellable, GError **error)
{
  g_autofree char *full = g_strconcat (BUS_NAME ".", interface, NULL);
  g_autofree GVariantType *type = reply_type (interface, method);
  g_autoptr (GAsyncResult) result = NULL;

  g_dbus_connection_call (client->connection, client->name, ROOT, full, method, arguments, type, G_DBUS_CALL_FLAGS_NONE, G_MAXINT, cancellable, on_answered, &result);
  while (result == NULL)
    g_main_context_iteration (NULL, TRUE);
  return g_dbus_connection_call_finish (client->connection, result, error);
}

typedef struct {
  GDBusSignalCallback handler;
  gpointer user_data;
  GVariantType *type;
} Subscription;

static void
subscription_free (gpointer data)
{
  Subscription *subscription = data;

  g_variant_type_free (subscription->type);
  g_free (subscription);
}

/* What is not as stated is no such signal. */
static void
on_signal (GDBusConnection *connection, const char *sender, const char *path, const char *interface, const char *signal, GVariant *parameters, gpointer user_data)
{
  Subscription *subscription = user_data;

  if (g_variant_is_of_type (parameters, subscription->type))
    subscription->handler (connection, sender, path, interface, signal, parameters, subscription->user_data);
}

guint
client_subscribe (Client *client, const char *interface, const char *signal, GDBusSignalCallback handler, gpointer user_data)
{
  g_autofree char *full = g_strconcat (BUS_NAME ".", interface, NULL);
  Subscription *subscription = g_new0 (Subscription, 1);

  *subscription = (Subscription) { handler, user_data, tuple_type (g_dbus_interface_info_lookup_signal (find_interface (interface), signal)->args) };
  return g_dbus_connection_signal_subscribe (client->connection, client->name, full, signal, ROOT, NULL, G_DBUS_SIGNAL_FLAGS_NONE, on_signal, subscription, subscription_free);
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
  return get_property (client->connection, client->name, interface, property, CALL_TIMEOUT_MS, error);
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
