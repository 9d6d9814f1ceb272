/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Another user of the machine calls every method there is, on the private socket and through the bus of the machine: reads what everybody may, changes
 * nothing. He sees no object but those that everybody may list, and hears of no other. */
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "daemon/bus/authority.h"
#include "daemon/bus/bus-private.h"
#include "tests/bus/service.h"

#define NOBODY 65534
#define LAST_NAME "that-is-all"

/* --- the other user: a process of its own. test-bus-caller --call ADDRESS NAME UID, paths follow as INTERFACE=PATH --- */

/* Zero, "", empty: what a method with these arguments takes. */
static GVariant *
empty_arguments (GDBusMethodInfo *method)
{
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE_TUPLE);
  for (GDBusArgInfo **argument = method->in_args; argument != NULL && *argument != NULL; argument++) {
    const char *signature = (*argument)->signature;
    g_autofree char *text = g_strdup_printf ("@%s %s", signature,
                                             strcmp (signature, "s") == 0         ? "''"
                                             : strcmp (signature, "b") == 0       ? "true"
                                             : g_str_has_prefix (signature, "a{") ? "{}"
                                             : *signature == 'a'                  ? "[]"
                                             : *signature == 'h'                  ? "handle 0"
                                                                                  : "0");

    g_variant_builder_add_value (&builder, g_variant_parse (NULL, text, NULL, NULL, NULL));
  }
  return g_variant_builder_end (&builder);
}

/* Prints one line: Interface.Method, a tab, the error's name or "answered". */
static void
print_outcome (GDBusConnection *connection, const char *name, const char *path, const char *interface, GDBusMethodInfo *method)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GVariant) reply = g_dbus_connection_call_sync (connection, name, path, interface, method->name, empty_arguments (method), NULL,
                                                            G_DBUS_CALL_FLAGS_NO_AUTO_START, 20000, NULL, &error);
  g_autofree char *error_name = reply == NULL ? g_dbus_error_get_remote_error (error) : NULL;

  g_print ("%s.%s\t%s\n", interface, method->name, reply != NULL ? "answered" : error_name != NULL ? error_name
                                                                                                   : error->message);
}

static void
print_property (GDBusConnection *connection, const char *name)
{
  g_autoptr (GVariant) reply = g_dbus_connection_call_sync (connection, name, ROOT, "org.freedesktop.DBus.Properties", "Get",
                                                            g_variant_new ("(ss)", PREFIX "Node", "State"), NULL, G_DBUS_CALL_FLAGS_NONE, 20000, NULL, NULL);
  g_autofree char *text = reply != NULL ? g_variant_print (reply, FALSE) : g_strdup ("nothing");

  g_print ("State\t%s\n", text);
}

static void
print_texts (const char *what, GVariant *reply)
{
  g_autofree char *text = reply != NULL ? g_variant_print (reply, FALSE) : g_strdup ("nothing");

  /* One line each: an introspection has many. */
  g_strdelimit (text, "\n", ' ');
  g_print ("%s\t%s\n", what, text);
}

/* What tells of the objects: their list, the list of paths beside @path, the properties at @path. */
static void
print_objects (GDBusConnection *connection, const char *name, const char *interface, const char *path)
{
  g_autofree char *folder = g_path_get_dirname (path);
  g_autoptr (GVariant) objects = NULL, paths = NULL, values = NULL;

  objects = g_dbus_connection_call_sync (connection, name, ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", NULL, NULL,
                                         G_DBUS_CALL_FLAGS_NONE, 20000, NULL, NULL);
  paths = g_dbus_connection_call_sync (connection, name, folder, "org.freedesktop.DBus.Introspectable", "Introspect", NULL, NULL,
                                       G_DBUS_CALL_FLAGS_NONE, 20000, NULL, NULL);
  values = g_dbus_connection_call_sync (connection, name, path, "org.freedesktop.DBus.Properties", "GetAll", g_variant_new ("(s)", interface), NULL,
                                        G_DBUS_CALL_FLAGS_NONE, 20000, NULL, NULL);
  print_texts ("objects", objects);
  print_texts ("paths", paths);
  print_texts ("values", values);
}

static GDBusConnection *
connect_as (const char *address, const char *name, uid_t uid)
{
  GDBusConnection *connection;
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (setresgid (uid, uid, uid), ==, 0);
  g_assert_cmpint (setresuid (uid, uid, uid), ==, 0);
  /* It ends with the test, however that ends. */
  g_assert_cmpint (prctl (PR_SET_PDEATHSIG, SIGKILL), ==, 0);
  connection = g_dbus_connection_new_for_address_sync (address,
                                                       G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
                                                           (name != NULL ? G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION : 0),
                                                       NULL, NULL, &error);
  g_assert_no_error (error);
  return connection;
}

static void
on_signal (GDBusConnection *connection, const char *sender, const char *path, const char *interface, const char *member, GVariant *arguments, gpointer user_data)
{
  g_autofree char *text = g_variant_print (arguments, FALSE);

  g_print ("%s %s.%s %s\n", path, interface, member, text);
  if (strstr (text, LAST_NAME) != NULL)
    g_main_loop_quit (user_data);
}

/* Prints every signal, until one that tells of the last name of the node. test-bus-caller --listen ADDRESS NAME UID */
static int
listen_to_everything (char **argv)
{
  const char *name = *argv[3] != '\0' ? argv[3] : NULL;
  g_autoptr (GDBusConnection) connection = connect_as (argv[2], name, (uid_t) atoi (argv[4]));
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);

  g_dbus_connection_signal_subscribe (connection, name, NULL, NULL, NULL, NULL, G_DBUS_SIGNAL_FLAGS_NONE, on_signal, loop, NULL);
  /* Answered: the daemon knows the connection, and the bus the subscription. */
  print_property (connection, name);
  g_main_loop_run (loop);
  return 0;
}

static int
call_everything (int argc, char **argv)
{
  const char *name = *argv[3] != '\0' ? argv[3] : NULL;
  g_autoptr (GDBusNodeInfo) stated = service_load_interface ();
  g_autoptr (GDBusConnection) connection = connect_as (argv[2], name, (uid_t) atoi (argv[4]));

  print_property (connection, name);
  for (int i = 5; i < argc; i++) {
    g_auto (GStrv) parts = g_strsplit (argv[i], "=", 2);

    print_objects (connection, name, parts[0], parts[1]);
  }
  for (GDBusInterfaceInfo **interface = stated->interfaces; *interface != NULL; interface++) {
    const char *path = ROOT;

    for (int i = 5; i < argc; i++)
      if (g_str_has_prefix (argv[i], (*interface)->name) && argv[i][strlen ((*interface)->name)] == '=')
        path = argv[i] + strlen ((*interface)->name) + 1;
    for (GDBusMethodInfo **method = (*interface)->methods; method != NULL && *method != NULL; method++)
      print_outcome (connection, name, path, (*interface)->name, *method);
  }
  return 0;
}

/* --- a message bus that lets every user in, as the system bus does; GTestDBus's is for one user --- */

static GSubprocess *
start_open_bus (Service *service)
{
  static const char config[] = "<busconfig><listen>unix:tmpdir=/tmp</listen><auth>EXTERNAL</auth><policy context='default'>"
                               "<allow user='*'/><allow own='*'/><allow send_type='method_call'/><allow send_destination='*'/>"
                               "<allow receive_sender='*'/></policy></busconfig>";
  g_autofree char *path = NULL, *argument = NULL, *address = NULL;
  g_autoptr (GDataInputStream) output = NULL;
  g_autoptr (GError) error = NULL;
  GSubprocess *bus;
  int fd = g_file_open_tmp ("open-bus-XXXXXX.conf", &path, &error);

  g_assert_no_error (error);
  close (fd);
  g_assert_true (g_file_set_contents (path, config, -1, NULL));
  argument = g_strconcat ("--config-file=", path, NULL);
  bus = g_subprocess_new (G_SUBPROCESS_FLAGS_STDOUT_PIPE, &error, "dbus-daemon", "--nofork", "--nopidfile", "--print-address", argument, NULL);
  g_assert_no_error (error);
  output = g_data_input_stream_new (g_subprocess_get_stdout_pipe (bus));
  address = g_data_input_stream_read_line (output, NULL, NULL, &error);
  g_assert_no_error (error);
  g_unlink (path);
  g_assert_nonnull (address);
  g_free (service->bus_address);
  service->bus_address = g_steal_pointer (&address);
  service->system = TRUE;
  g_setenv ("DBUS_SYSTEM_BUS_ADDRESS", service->bus_address, TRUE);
  return bus;
}

static void
stop_bus (GSubprocess *bus)
{
  g_subprocess_send_signal (bus, SIGTERM);
  g_subprocess_wait (bus, NULL, NULL);
  g_object_unref (bus);
}

/* --- the test --- */

static void
on_result (GObject *source, GAsyncResult *result, gpointer user_data)
{
  *(GAsyncResult **) user_data = g_object_ref (result);
}

static void
on_exited (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (g_subprocess_communicate_utf8_finish (G_SUBPROCESS (source), result, user_data, NULL, &error));
  g_assert_no_error (error);
}

/* This program again, as another user. */
static GSubprocess *
start_other (Service *service, const char *mode)
{
  g_autofree char *self = g_file_read_link ("/proc/self/exe", NULL), *private = g_strconcat ("unix:path=", service->socket, NULL);
  g_autofree char *uid = g_strdup_printf ("%u", NOBODY);
  g_autofree char *request = g_strdup_printf (PREFIX "TrustRequest=" ROOT "/requests/%u", service_id (service, 2));
  g_autofree char *peer = g_strdup_printf (PREFIX "Peer=" ROOT "/peers/%u", service_id (service, 1));
  g_autoptr (GError) error = NULL;
  GSubprocess *other = g_subprocess_new (G_SUBPROCESS_FLAGS_STDOUT_PIPE, &error, self, mode, service->bus_address != NULL ? service->bus_address : private,
                                         service->bus_address != NULL ? BUS_NAME : "", uid, peer, PREFIX "Mapping=" ROOT "/mappings/10_4_0_1", request, NULL);

  g_assert_no_error (error);
  return other;
}

/* All that it prints until it ends. */
static char *
read_other (GSubprocess *other)
{
  char *output = NULL;

  g_subprocess_communicate_utf8_async (other, NULL, NULL, on_exited, &output);
  WAIT (60, output != NULL);
  g_assert_true (g_subprocess_get_successful (other));
  return output;
}

/* An object of which @interface says that only its owner may see it is none for others. */
static gboolean
is_hidden (const char *interface)
{
  return pilot_authority_lookup_object (interface) == PILOT_AUTHORITY_OWNER;
}

static void
check_outcome (const char *full, const char *outcome)
{
  g_auto (GStrv) parts = g_strsplit (full + strlen (PREFIX), ".", 2);
  g_autofree char *interface = g_strconcat (PREFIX, parts[0], NULL);
  gboolean denied = strcmp (outcome, PREFIX "Error.PermissionDenied") == 0;

  g_test_message ("%s: %s", full, outcome);
  if (is_hidden (interface))
    g_assert_cmpstr (outcome, ==, "org.freedesktop.DBus.Error.UnknownMethod");
  else if (pilot_authority_lookup (interface, parts[1]) == PILOT_AUTHORITY_ANYONE)
    g_assert_cmpstr (outcome, ==, "answered");
  else if (!denied)
    g_error ("another user called %s: %s", full, outcome);
}

/* One object of each kind: a peer that is trusted and mapped, and a node that asks. */
static void
make_objects (Service *service)
{
  g_autofree char *request = NULL;
  g_autoptr (GError) error = NULL;
  const char *status;

  service_befriend (service);
  host_start (&service->world, 2);
  request = g_strdup_printf ("/requests/%u", service_id (service, 2));
  g_assert_true (pilot_trust_handshake (pilot_node_get_trust (service->world.hosts[2].node), service_id (service, 0), "please", NULL, &status, &error));
  g_assert_no_error (error);
  WAIT (LANDS, service_is_asked (service, 2));
  g_assert_true (service_lists (service, request, "TrustRequest") == !service->system);
  g_variant_unref (service_ask (service, "", "Gateway.Start", "(@a{sv} {}, ['%u'])", service_id (service, 1)));
}

/* What tells of objects, three lines for each: mappings are for everybody, peers and requests are not. */
static void
check_objects (char **lines)
{
  guint n_hidden = 0;

  for (guint i = 0; lines[i] != NULL; i++) {
    g_test_message ("%s", lines[i]);
    n_hidden += g_str_has_prefix (lines[i], "values\tnothing") ? 1 : 0;
    if (g_str_has_prefix (lines[i], "objects\t")) {
      g_assert_nonnull (strstr (lines[i], "mappings/10_4_0_1"));
      g_assert_null (strstr (lines[i], "/requests/"));
      g_assert_null (strstr (lines[i], "/peers/"));
    }
  }
  g_assert_cmpuint (n_hidden, ==, 2);
}

static void
check_other_user (Service *service)
{
  g_autoptr (GSubprocess) other = NULL;
  g_autofree char *output = NULL, *request = NULL;
  g_auto (GStrv) lines = NULL;
  guint n_methods = 0;

  make_objects (service);
  service_forget_signals (service);
  other = start_other (service, "--call");
  output = read_other (other);
  request = g_strdup_printf ("node name=\\\"%u\\\"", service_id (service, 2));
  g_assert_null (strstr (output, request));
  lines = g_strsplit (g_strstrip (output), "\n", -1);
  g_assert_cmpstr (lines[0], ==, "State\t(<'online'>,)");
  check_objects (lines + 1);
  for (guint i = 1; lines[i] != NULL; i++) {
    g_auto (GStrv) fields = g_strsplit (lines[i], "\t", 2);

    if (!g_str_has_prefix (fields[0], PREFIX))
      continue;
    check_outcome (fields[0], fields[1]);
    n_methods++;
  }
  g_assert_cmpuint (n_methods, >, 20);
  /* Nothing has changed by it. */
  g_assert_cmpuint (service_heard (service, "*InterfacesRemoved*"), ==, 0);
  assert_property (service, "", "Gateway.Active", "true");
  assert_property (service, "/mappings/10_4_0_1", "Mapping.State", "'up'");
  g_assert_true (pilot_trust_is_trusted (pilot_node_get_trust (service->world.hosts[0].node), service_id (service, 1)));
}

/* Requests and peers come, change and go; another user hears of the mapping and of the node. */
static void
check_signals (Service *service)
{
  g_autoptr (GSubprocess) other = start_other (service, "--listen");
  g_autoptr (GDataInputStream) stream = g_data_input_stream_new (g_subprocess_get_stdout_pipe (other));
  g_autoptr (GAsyncResult) begun = NULL;
  g_autofree char *first = NULL, *heard = NULL;

  g_data_input_stream_read_line_async (stream, G_PRIORITY_DEFAULT, NULL, on_result, &begun);
  WAIT (60, begun != NULL);
  first = g_data_input_stream_read_line_finish (stream, begun, NULL, NULL);
  g_assert_cmpstr (first, ==, "State\t(<'online'>,)");
  service_forget_signals (service);
  g_variant_unref (service_ask (service, "", "Node.Approve", "(uint32 %u, @a{sv} {})", service_id (service, 2)));
  g_variant_unref (service_ask (service, "", "Node.Unexpose", "(uint32 %u, '')", service_id (service, 1)));
  g_variant_unref (service_ask (service, "", "Node.Expose", "(uint32 %u, '4711')", service_id (service, 1)));
  g_variant_unref (service_ask (service, "", "Gateway.Unmap", "('10.4.0.1',)"));
  if (!service->system)
    WAIT (LANDS, service_heard (service, "*InterfacesRemoved*/requests/*") > 0 && service_heard (service, "*4711*") > 0);
  g_variant_unref (service_ask (service, "", "Node.SetHostname", "('" LAST_NAME "',)"));
  heard = read_other (other);
  g_test_message ("%s", heard);
  g_assert_nonnull (strstr (heard, "/mappings/10_4_0_1"));
  g_assert_nonnull (strstr (heard, LAST_NAME));
  g_assert_null (strstr (heard, "/requests/"));
  g_assert_null (strstr (heard, "/peers/"));
  g_assert_null (strstr (heard, "4711"));
}

static void
test_private (void)
{
  Service service = { 0 };

  g_unsetenv ("DBUS_SESSION_BUS_ADDRESS");
  service_begin (&service);
  check_other_user (&service);
  check_signals (&service);
  service_end (&service);
}

static void
test_message_bus (void)
{
  Service service = { 0 };
  GSubprocess *bus = start_open_bus (&service);

  service_begin (&service);
  check_other_user (&service);
  check_signals (&service);
  service_end (&service);
  stop_bus (bus);
}

/* A message bus that ends is looked for until there is one again. */
static void
test_bus_comes_back (void)
{
  Service service = { 0 };
  GSubprocess *bus = start_open_bus (&service);

  service_begin (&service);
  stop_bus (bus);
  WAIT (LANDS, g_hash_table_size (service.bus->connections) == 0);
  bus = start_open_bus (&service);
  g_clear_object (&service.connection);
  service.connection = service_connect (&service, &service.name);
  WAIT (30, service_answers (&service));
  service_end (&service);
  stop_bus (bus);
}

int
main (int argc, char **argv)
{
  if (argc > 4 && strcmp (argv[1], "--call") == 0)
    return call_everything (argc, argv);
  if (argc > 4 && strcmp (argv[1], "--listen") == 0)
    return listen_to_everything (argv);
  service_init (&argc, &argv);
  g_test_add_func ("/bus/caller/private", test_private);
  g_test_add_func ("/bus/caller/message-bus", test_message_bus);
  g_test_add_func ("/bus/caller/bus-comes-back", test_bus_comes_back);
  return g_test_run ();
}
