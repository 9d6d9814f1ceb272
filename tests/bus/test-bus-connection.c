/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connections to the D-Bus face: what is stated is what is there, clients that come and go, the name, the socket, a message bus that ends. */
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>

#include "daemon/bus/bus-private.h"
#include "libpilot/pilot-error.h"
#include "tests/bus/service.h"

/* --- the stated interface --- */

static void
assert_same_arguments (const char *where, GDBusArgInfo **stated, GDBusArgInfo **found)
{
  guint i = 0;

  for (; stated != NULL && stated[i] != NULL; i++) {
    if (found == NULL || found[i] == NULL || strcmp (stated[i]->signature, found[i]->signature) != 0 || strcmp (stated[i]->name, found[i]->name) != 0)
      g_error ("%s: argument %u is another one", where, i);
  }
  if (found != NULL && found[i] != NULL)
    g_error ("%s: there are more arguments than stated", where);
}

static void
assert_same_interface (GDBusInterfaceInfo *stated, GDBusInterfaceInfo *found)
{
  guint n = 0;

  for (GDBusMethodInfo **method = stated->methods; method != NULL && *method != NULL; method++) {
    GDBusMethodInfo *other = g_dbus_interface_info_lookup_method (found, (*method)->name);

    g_assert_nonnull (other);
    assert_same_arguments ((*method)->name, (*method)->in_args, other->in_args);
    assert_same_arguments ((*method)->name, (*method)->out_args, other->out_args);
  }
  for (GDBusSignalInfo **signal = stated->signals; signal != NULL && *signal != NULL; signal++) {
    GDBusSignalInfo *other = g_dbus_interface_info_lookup_signal (found, (*signal)->name);

    g_assert_nonnull (other);
    assert_same_arguments ((*signal)->name, (*signal)->args, other->args);
  }
  for (GDBusPropertyInfo **property = stated->properties; property != NULL && *property != NULL; property++, n++) {
    GDBusPropertyInfo *other = g_dbus_interface_info_lookup_property (found, (*property)->name);

    g_assert_nonnull (other);
    g_assert_cmpstr ((*property)->signature, ==, other->signature);
    g_assert_cmpint (other->flags, ==, G_DBUS_PROPERTY_INFO_FLAGS_READABLE);
  }
  for (GDBusPropertyInfo **property = found->properties; property != NULL && *property != NULL; property++)
    n--;
  g_assert_cmpuint (n, ==, 0);
}

static void
assert_interface (Service *service, GDBusNodeInfo *stated, const char *path, const char *name)
{
  g_autofree char *full = g_strconcat (PREFIX, name, NULL);
  g_autoptr (GVariant) reply = service_ask (service, path, "org.freedesktop.DBus.Introspectable.Introspect", "()");
  g_autoptr (GDBusNodeInfo) node = NULL;
  g_autoptr (GError) error = NULL;
  const char *xml;

  g_variant_get (reply, "(&s)", &xml);
  node = g_dbus_node_info_new_for_xml (xml, &error);
  g_assert_no_error (error);
  g_assert_nonnull (g_dbus_node_info_lookup_interface (node, full));
  g_assert_nonnull (g_dbus_node_info_lookup_interface (stated, full));
  assert_same_interface (g_dbus_node_info_lookup_interface (stated, full), g_dbus_node_info_lookup_interface (node, full));
}

static void
test_introspection (Service *service, gconstpointer via)
{
  g_autoptr (GDBusNodeInfo) stated = service_load_interface ();
  g_autofree char *request = g_strdup_printf ("/requests/%u", service_id (service, 1)), *peer = g_strdup_printf ("/peers/%u", service_id (service, 1));

  service_be_asked (service, "");
  assert_interface (service, stated, request, "TrustRequest");
  g_variant_unref (service_ask (service, request, "TrustRequest.Approve", "(@a{sv} {},)"));
  assert_interface (service, stated, peer, "Peer");
  g_variant_unref (service_ask (service, "", "Gateway.Start", "(@a{sv} {}, ['9'])"));
  assert_interface (service, stated, "/mappings/10_4_0_1", "Mapping");
  for (GDBusInterfaceInfo **interface = stated->interfaces; *interface != NULL; interface++) {
    const char *name = (*interface)->name + strlen (PREFIX);

    if (!g_str_equal (name, "TrustRequest") && !g_str_equal (name, "Peer") && !g_str_equal (name, "Mapping"))
      assert_interface (service, stated, "", name);
  }
}

static void
test_plugins (Service *service, gconstpointer via)
{
  g_autoptr (GVariant) reply = service_ask (service, "", "Plugins.List", "()");
  g_autoptr (GVariant) list = g_variant_get_child_value (reply, 0);

  g_assert_cmpuint (g_variant_n_children (list), ==, 3);
  for (gsize i = 0; i < g_variant_n_children (list); i++) {
    g_autoptr (GVariant) plugin = g_variant_get_child_value (list, i);
    const char *state;

    service_assert_record (plugin, "List");
    g_variant_lookup (plugin, "state", "&s", &state);
    g_assert_cmpstr (state, ==, "enabled");
  }
}

static gboolean
has_segmentation (Service *service)
{
  g_autoptr (GVariant) stats = pilot_transport_get_stats (PILOT_TRANSPORT (pilot_plugin_loader_get_enabled (service->world.hosts[0].plugins, PILOT_PLUGIN_KIND_TRANSPORT, "transport-udp")));
  gboolean on = FALSE;

  g_assert_true (g_variant_lookup (stats, "segmentation-offload", "b", &on));
  return on;
}

/* At once, and stored for the next start; and nothing of it when it is refused. */
static void
test_plugin_setting (Service *service, gconstpointer via)
{
  PilotConfig *config = service->world.hosts[0].config;
  const gboolean before = has_segmentation (service);

  g_variant_unref (service_ask (service, "", "Plugins.Set", "('transport-udp', 'offload', 'off')"));
  g_assert_false (has_segmentation (service));
  g_assert_cmpstr (pilot_config_get (config, "transport-udp.offload"), ==, "off");
  g_free (service_refused (service, "", "Plugins.Set", "InvalidArgument", "('transport-udp', 'offload', 'on')"));
  g_free (service_refused (service, "", "Plugins.Set", "NotSupported", "('transport-udp', 'listen', ':7')"));
  g_free (service_refused (service, "", "Plugins.Set", "NotSupported", "('trust-file', 'path', '/tmp/x')"));
  g_free (service_refused (service, "", "Plugins.Set", "NotFound", "('no-such', 'offload', 'off')"));
  g_assert_cmpstr (pilot_config_get (config, "transport-udp.offload"), ==, "off");
  g_variant_unref (service_ask (service, "", "Plugins.Set", "('transport-udp', 'offload', 'auto')"));
  g_assert_cmpint (has_segmentation (service), ==, before);
  g_assert_cmpstr (pilot_config_get (config, "transport-udp.offload"), ==, "auto");
}

/* Wrong arguments and unknown names are told apart from what is refused. */
static void
test_wrong_calls (Service *service, gconstpointer via)
{
  g_free (service_refused (service, "", "Node.NoSuchMethod", "org.freedesktop.DBus.Error.UnknownMethod", "()"));
  g_free (service_refused (service, "", "NoSuchInterface.Ping", "org.freedesktop.DBus.Error.UnknownMethod", "()"));
  g_free (service_refused (service, "/peers/77", "Peer.Untrust", "org.freedesktop.DBus.Error.UnknownMethod", "()"));
  g_free (service_refused (service, "", "Node.Ping", "org.freedesktop.DBus.Error.InvalidArgs", "('two',)"));
  g_free (service_refused (service, "", "Gateway.Start", "org.freedesktop.DBus.Error.InvalidArgs", "(@a{ss} {}, ['9'])"));
}

/* --- clients --- */

static guint
count_connections (Service *service)
{
  GList *connections = g_dbus_interface_skeleton_get_connections (G_DBUS_INTERFACE_SKELETON (service->bus->node_face));
  guint n = g_list_length (connections);

  g_list_free_full (connections, g_object_unref);
  g_assert_cmpuint (g_hash_table_size (service->bus->connections), ==, n);
  return n;
}

static void
on_closed (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_dbus_connection_close_finish (G_DBUS_CONNECTION (source), result, NULL);
  *(gboolean *) user_data = TRUE;
}

static void
close_connection (GDBusConnection *connection)
{
  gboolean closed = FALSE;

  g_dbus_connection_close (connection, NULL, on_closed, &closed);
  WAIT (LANDS, closed);
}

/* Each command of pilotctl is a connection: nothing of it may stay behind. */
static void
test_come_and_go (Service *service, gconstpointer via)
{
  guint before = count_connections (service);
  const char *name;

  for (guint i = 0; i < 50; i++) {
    g_autoptr (GDBusConnection) connection = service_connect (service, &name);

    if (GPOINTER_TO_UINT (via) == SERVICE_PRIVATE)
      WAIT (LANDS, count_connections (service) == before + 1);
    close_connection (connection);
    WAIT (LANDS, count_connections (service) == before);
  }
}

static void
on_any_signal (GDBusConnection *connection, const char *sender, const char *path, const char *interface, const char *member,
               GVariant *arguments, gpointer user_data)
{
  *(guint *) user_data += 1;
}

/* Everybody is told, each once, and who has gone disturbs nobody. */
static void
test_two_clients (Service *service, gconstpointer via)
{
  const char *name;
  g_autoptr (GDBusConnection) second = service_connect (service, &name), third = service_connect (service, &name);
  guint second_heard = 0;

  g_dbus_connection_signal_subscribe (second, name, NULL, "InterfacesAdded", NULL, NULL, G_DBUS_SIGNAL_FLAGS_NONE, on_any_signal, &second_heard, NULL);
  close_connection (third);
  service_be_asked (service, "");
  WAIT (LANDS, second_heard >= 1 && service_heard (service, " org.freedesktop.DBus.ObjectManager.InterfacesAdded *requests*") == 1);
  g_variant_unref (service_ask (service, "", "Gateway.Start", "(@a{sv} {}, ['9', '7'])"));
  WAIT (LANDS, second_heard >= 3);
  close_connection (second);
  if (GPOINTER_TO_UINT (via) == SERVICE_PRIVATE)
    WAIT (LANDS, count_connections (service) == 1);
  assert_property (service, "/mappings/10_4_0_1", "Mapping.NodeId", "9");
  g_variant_unref (service_ask (service, "/mappings/10_4_0_1", "Mapping.Unmap", "()"));
  WAIT (LANDS, service_heard (service, " org.freedesktop.DBus.ObjectManager.InterfacesRemoved *mappings/10_4_0_1'*") == 1);
  g_assert_true (service_lists (service, "/mappings/10_4_0_2", "Mapping"));
}

/* --- the name --- */

/* Another daemon has the name: this one serves its socket, and shows nothing on the bus. */
static void
test_name_taken (Service *service, gconstpointer via)
{
  g_autoptr (GVariant) reply = NULL;
  const char *name;
  GDBusConnection *other;
  guint id;

  service_stop_bus (service);
  other = service_connect (service, &name);
  id = g_bus_own_name_on_connection (other, BUS_NAME, G_BUS_NAME_OWNER_FLAGS_NONE, NULL, NULL, NULL, NULL);
  WAIT (LANDS, g_dbus_connection_get_unique_name (other) != NULL);
  service_start_bus (service);
  WAIT (LANDS, g_hash_table_size (service->bus->connections) == 0);
  g_bus_unown_name (id);
  close_connection (other);
  g_object_unref (other);
  /* For the end of the test: somebody to say Stop to. */
  service_stop_bus (service);
  service_start_bus (service);
  WAIT (LANDS, service_answers (service));
}

/* The session ends before the daemon does. GIO would end the process with SIGTERM. */
static void
test_message_bus_ends (Service *service, gconstpointer via)
{
  const char *name;

  WAIT (LANDS, g_hash_table_size (service->bus->connections) == 1);
  g_dbus_connection_set_exit_on_close (service->connection, FALSE);
  g_test_dbus_stop (service->test_bus);
  WAIT (LANDS, g_hash_table_size (service->bus->connections) == 0);
  g_assert_cmpuint (count_connections (service), ==, 0);

  g_clear_object (&service->connection);
  g_clear_pointer (&service->bus_address, g_free);
  service->connection = service_connect (service, &name);
  service->name = NULL;
  g_assert_true (service_answers (service));
}

/* --- the socket --- */

static void
assert_start_fails (Service *service, guint host, PilotError code)
{
  Host *at = &service->world.hosts[host];
  g_autoptr (PilotBus) bus = pilot_bus_new (at->node, service->gateway, at->exchange, at->plugins);
  g_autoptr (GError) error = NULL;

  g_assert_false (pilot_bus_start (bus, &error));
  g_assert_error (error, PILOT_ERROR, (int) code);
}

static void
leave_dead_socket (const char *path)
{
  g_autoptr (GSocket) socket = g_socket_new (G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_DEFAULT, NULL);
  g_autoptr (GSocketAddress) address = g_unix_socket_address_new (path);
  g_autoptr (GError) error = NULL;

  g_socket_bind (socket, address, FALSE, &error);
  g_assert_no_error (error);
}

static void
test_socket (Service *service, gconstpointer via)
{
  g_autofree char *too_long = g_strnfill (200, 'x'), *long_path = g_build_filename (service->world.folder, too_long, NULL), *text = NULL;
  const char *name;

  /* One that lives keeps it. */
  pilot_config_set_flag (service->world.hosts[1].config, "bus", service->socket);
  assert_start_fails (service, 1, PILOT_ERROR_ALREADY_EXISTS);
  g_assert_true (service_answers (service));
  close_connection (service->connection);
  g_clear_object (&service->connection);
  service_stop_bus (service);
  g_assert_false (g_file_test (service->socket, G_FILE_TEST_EXISTS));

  /* A file is not a socket that somebody left. */
  g_assert_true (g_file_set_contents (service->socket, "of a person", -1, NULL));
  assert_start_fails (service, 1, PILOT_ERROR_ALREADY_EXISTS);
  g_assert_true (g_file_get_contents (service->socket, &text, NULL, NULL));
  g_assert_cmpstr (text, ==, "of a person");
  g_assert_cmpint (g_unlink (service->socket), ==, 0);

  host_start (&service->world, 2);
  pilot_config_set_flag (service->world.hosts[2].config, "bus", long_path);
  assert_start_fails (service, 2, PILOT_ERROR_INVALID_ARGUMENT);

  /* One of a daemon that was killed is in nobody's way. */
  leave_dead_socket (service->socket);
  service_start_bus (service);
  service->connection = service_connect (service, &name);
  WAIT (LANDS, service_answers (service));
}

int
main (int argc, char **argv)
{
  service_init (&argc, &argv);
  service_add_test ("/bus/connection/introspection", test_introspection);
  service_add_test ("/bus/connection/plugins", test_plugins);
  service_add_test ("/bus/connection/plugin-setting", test_plugin_setting);
  service_add_test ("/bus/connection/wrong-calls", test_wrong_calls);
  service_add_test ("/bus/connection/come-and-go", test_come_and_go);
  service_add_test ("/bus/connection/two-clients", test_two_clients);
#define ADD(path, via, test) g_test_add (path, Service, GUINT_TO_POINTER (via), service_set_up, test, service_tear_down)
  ADD ("/bus/connection/name-taken", SERVICE_MESSAGE_BUS, test_name_taken);
  ADD ("/bus/connection/message-bus-ends", SERVICE_MESSAGE_BUS, test_message_bus_ends);
  ADD ("/bus/connection/socket", SERVICE_PRIVATE, test_socket);
  return g_test_run ();
}
