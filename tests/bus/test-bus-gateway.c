/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* network.pilotprotocol.Pilot1.Gateway and Mapping objects, with a real gateway in a namespace. */
#include <string.h>

#include "tests/bus/service.h"

#define ADDED " org.freedesktop.DBus.ObjectManager.InterfacesAdded ('" ROOT "/mappings/"
#define REMOVED " org.freedesktop.DBus.ObjectManager.InterfacesRemoved ('" ROOT "/mappings/"
#define GATEWAY_CHANGED " org.freedesktop.DBus.Properties.PropertiesChanged ('" PREFIX "Gateway', "
#define FIRST "/mappings/10_4_0_1"

static char *
text_of (GVariant *record, const char *key)
{
  g_autoptr (GVariant) value = g_variant_lookup_value (record, key, NULL);

  g_assert_nonnull (value);
  return g_variant_print (value, FALSE);
}

static void
assert_text (GVariant *record, const char *key, const char *expected)
{
  g_autofree char *found = text_of (record, key);

  g_assert_cmpstr (found, ==, expected);
}

static void
assert_mappings (Service *service, guint expected)
{
  g_autoptr (GVariant) reply = service_ask (service, "", "Gateway.ListMappings", "()");
  g_autoptr (GVariant) list = g_variant_get_child_value (reply, 0);

  g_assert_cmpuint (g_variant_n_children (list), ==, expected);
  for (guint i = 0; i < expected; i++) {
    g_autoptr (GVariant) record = g_variant_get_child_value (list, i);

    service_assert_record (record, "ListMappings");
  }
}

static void
test_start (Service *service, gconstpointer via)
{
  g_autofree char *id = g_strdup_printf ("%u", service_id (service, 1)), *address = g_strdup_printf ("'0:0000.0000.%04X'", service_id (service, 1));
  g_autoptr (GVariant) reply = NULL, list = NULL, first = NULL, second = NULL;

  assert_property (service, "", "Gateway.Active", "false");
  assert_mappings (service, 0);
  reply = service_ask (service, "", "Gateway.Start", "({'ports': <'80,8080'>}, ['%s', '0:0000.0000.0009'])", id);
  list = g_variant_get_child_value (reply, 0);
  g_assert_cmpuint (g_variant_n_children (list), ==, 2);
  first = g_variant_get_child_value (list, 0);
  second = g_variant_get_child_value (list, 1);
  service_assert_record (first, "ListMappings");
  assert_text (first, "local_ip", "'10.4.0.1'");
  assert_text (first, "pilot_addr", address);
  assert_text (first, "state", "'up'");
  assert_text (first, "all_ports", "false");
  assert_text (second, "local_ip", "'10.4.0.2'");
  assert_text (second, "node_id", "9");
  assert_mappings (service, 2);

  assert_property (service, "", "Gateway.Active", "true");
  assert_property (service, "", "Gateway.Subnet", "'10.4.0.0/16'");
  assert_property (service, "", "Gateway.Ports", "'80,8080'");
  assert_property (service, "", "Gateway.Mode", "'redirect'");
  WAIT (LANDS, service_heard (service, GATEWAY_CHANGED "*'Active': <true>*") == 1);
  WAIT (LANDS, service_heard (service, ADDED "*") == 2);
  assert_property (service, FIRST, "Mapping.LocalAddress", "'10.4.0.1'");
  assert_property (service, FIRST, "Mapping.PilotAddress", address);
  assert_property (service, FIRST, "Mapping.NodeId", id);
  assert_property (service, FIRST, "Mapping.Hostname", "''");
  assert_property (service, FIRST, "Mapping.State", "'up'");
  assert_property (service, FIRST, "Mapping.AllPorts", "false");
  assert_property (service, FIRST, "Mapping.Ports", "[(80, 'redirected', ''), (8080, 'redirected', '')]");
  assert_property (service, FIRST, "Mapping.OpenConnections", "0");
  assert_property (service, FIRST, "Mapping.TotalConnections", "0");
  assert_property (service, FIRST, "Mapping.BytesIn", "0");
  assert_property (service, FIRST, "Mapping.BytesOut", "0");
  assert_property (service, FIRST, "Mapping.Path", "''");
  assert_property (service, FIRST, "Mapping.LastError", "''");

  g_variant_unref (service_ask (service, "", "Gateway.Stop", "()"));
  WAIT (LANDS, service_heard (service, REMOVED "*") == 2);
  WAIT (LANDS, service_heard (service, GATEWAY_CHANGED "*'Active': <false>*") == 1);
  assert_mappings (service, 0);
  g_assert_false (service_lists (service, FIRST, "Mapping"));
  g_free (service_refused (service, "", "Gateway.Stop", "NotRunning", "()"));
  g_free (service_refused (service, "", "Gateway.Map", "NotRunning", "('9', '', @a{sv} {})"));
}

static void
test_map (Service *service, gconstpointer via)
{
  g_autoptr (GVariant) started = service_ask (service, "", "Gateway.Start", "(@a{sv} {}, @as [])");
  g_autoptr (GVariant) next = NULL, given = NULL, record = NULL;

  assert_mappings (service, 0);
  next = service_ask (service, "", "Gateway.Map", "('7', '', @a{sv} {})");
  record = g_variant_get_child_value (next, 0);
  service_assert_record (record, "ListMappings");
  assert_text (record, "local_ip", "'10.4.0.1'");
  assert_text (record, "all_ports", "true");
  given = service_ask (service, "", "Gateway.Map", "('0:0000.0000.0008', '10.4.7.7', {'ports': <'22'>})");
  assert_mappings (service, 2);
  assert_property (service, "/mappings/10_4_7_7", "Mapping.Ports", "[(22, 'redirected', '')]");

  /* Through the object, and by its address. */
  g_variant_unref (service_ask (service, FIRST, "Mapping.Unmap", "()"));
  WAIT (LANDS, service_heard (service, REMOVED "10_4_0_1'*") == 1);
  g_variant_unref (service_ask (service, "", "Gateway.Unmap", "('10.4.7.7',)"));
  WAIT (LANDS, service_heard (service, REMOVED "10_4_7_7'*") == 1);
  assert_mappings (service, 0);
  g_free (service_refused (service, "", "Gateway.Unmap", "NotFound", "('10.4.7.7',)"));
  g_free (service_refused (service, FIRST, "Mapping.Unmap", "org.freedesktop.DBus.Error.UnknownMethod", "()"));
}

/* Nothing is changed by what is refused: no mapping, no object, no signal. */
static void
test_refusals (Service *service, gconstpointer via)
{
  static const struct {
    const char *method, *arguments, *error;
  } cases[] = {
    { "Gateway.Start", "({'ports': <''>, 'colour': <'red'>}, ['9'])", "InvalidArgument" },
    { "Gateway.Start", "({'ports': <80>}, ['9'])", "InvalidArgument" },
    { "Gateway.Start", "({'ports': <'0'>}, ['9'])", "InvalidArgument" },
    { "Gateway.Start", "({'ports': <'65536'>}, ['9'])", "InvalidArgument" },
    { "Gateway.Start", "({'mode': <'magic'>}, ['9'])", "InvalidArgument" },
    { "Gateway.Start", "({'mode': <true>}, ['9'])", "InvalidArgument" },
    { "Gateway.Start", "({'subnet': <'10.9.0.0/24'>}, ['9'])", "Conflict" },
    { "Gateway.Start", "({'subnet': <'10.4.0.0'>}, ['9'])", "InvalidArgument" },
    { "Gateway.Start", "({'subnet': <16>}, ['9'])", "InvalidArgument" },
    { "Gateway.Start", "({'uid': <'root'>}, ['9'])", "InvalidArgument" },
    { "Gateway.Start", "(@a{sv} {}, ['0:zzz'])", "InvalidArgument" },
    { "Gateway.Start", "(@a{sv} {}, ['9', ''])", "InvalidArgument" },
    { "Gateway.Start", "(@a{sv} {}, ['9', 'nobody-here'])", "NotFound" },
    { "Gateway.Map", "('', '', @a{sv} {})", "InvalidArgument" },
    { "Gateway.Map", "('0:zzz', '', @a{sv} {})", "InvalidArgument" },
    { "Gateway.Map", "('9', '10.4.0', @a{sv} {})", "InvalidArgument" },
    { "Gateway.Map", "('9', '192.168.0.1', @a{sv} {})", "InvalidArgument" },
    { "Gateway.Map", "('9', '10.4.0.0', @a{sv} {})", "InvalidArgument" },
    { "Gateway.Map", "('9', '10.4.0.1', @a{sv} {})", "AlreadyExists" },
    { "Gateway.Map", "('7', '10.4.0.9', @a{sv} {})", "AlreadyExists" },
    { "Gateway.Map", "('9', '', {'ports': <'x'>})", "InvalidArgument" },
    { "Gateway.Map", "('9', '', {'ports': <uint16 80>})", "InvalidArgument" },
    { "Gateway.Map", "('9', '', {'colour': <'red'>})", "InvalidArgument" },
    { "Gateway.Unmap", "('10.4.0.77',)", "NotFound" },
    { "Gateway.Unmap", "('here',)", "InvalidArgument" },
    { "Gateway.Unmap", "('',)", "InvalidArgument" },
  };
  g_autofree char *own = g_strdup_printf ("('%u', '', @a{sv} {})", service_id (service, 0));

  g_free (service_refused (service, "", "Gateway.Start", "InvalidArgument", "(@a{sv} {}, ['%u'])", service_id (service, 0)));
  assert_property (service, "", "Gateway.Active", "false");
  g_variant_unref (service_ask (service, "", "Gateway.Start", "({'ports': <'80'>}, ['7'])"));
  WAIT (LANDS, service_heard (service, ADDED "*") == 1);
  WAIT (LANDS, service_heard (service, GATEWAY_CHANGED "*") == 1);
  service_forget_signals (service);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *message = NULL;

    g_test_message ("%s %s", cases[i].method, cases[i].arguments);
    message = service_refused (service, "", cases[i].method, cases[i].error, "%s", cases[i].arguments);
    g_assert_cmpuint (strlen (message), >, 10);
  }
  g_free (service_refused (service, "", "Gateway.Map", "InvalidArgument", "%s", own));
  assert_mappings (service, 1);
  assert_property (service, "", "Gateway.Ports", "'80'");
  g_assert_cmpuint (service->signals->len, ==, 0);
}

/* --- traffic --- */

static gboolean
on_incoming (GThreadedSocketService *server, GSocketConnection *connection, GObject *source, gpointer user_data)
{
  GInputStream *input = g_io_stream_get_input_stream (G_IO_STREAM (connection));
  GOutputStream *output = g_io_stream_get_output_stream (G_IO_STREAM (connection));
  char buffer[4096];
  gssize got;

  while ((got = g_input_stream_read (input, buffer, sizeof buffer, NULL, NULL)) > 0)
    if (!g_output_stream_write_all (output, buffer, got, NULL, NULL, NULL))
      break;
  return TRUE;
}

typedef struct {
  gsize length, received;
  gint received_all, may_close, done;
} Transfer;

static gpointer
transfer (gpointer data)
{
  Transfer *transfer = data;
  g_autoptr (GSocketClient) client = g_socket_client_new ();
  g_autoptr (GError) error = NULL;
  g_autoptr (GSocketConnection) connection = g_socket_client_connect_to_host (client, "10.4.0.1", 8080, NULL, &error);
  g_autofree char *bytes = g_malloc0 (transfer->length), *back = g_malloc (transfer->length);

  g_assert_no_error (error);
  g_output_stream_write_all (g_io_stream_get_output_stream (G_IO_STREAM (connection)), bytes, transfer->length, NULL, NULL, &error);
  g_assert_no_error (error);
  g_input_stream_read_all (g_io_stream_get_input_stream (G_IO_STREAM (connection)), back, transfer->length, &transfer->received, NULL, &error);
  g_assert_no_error (error);
  g_atomic_int_set (&transfer->received_all, 1);
  while (!g_atomic_int_get (&transfer->may_close))
    g_usleep (1000);
  g_io_stream_close (G_IO_STREAM (connection), NULL, NULL);
  g_atomic_int_set (&transfer->done, 1);
  return NULL;
}

/* Traffic is counted and told on demand; signals tell of connections and of the path. */
static void
test_counters (Service *service, gconstpointer via)
{
  g_autoptr (GSocketService) server = g_threaded_socket_service_new (4);
  g_autoptr (GSocketAddress) address = g_inet_socket_address_new_from_string ("127.0.0.1", 8080);
  /* The way in on the peer's side. */
  g_autoptr (PilotGateway) theirs = pilot_gateway_new (service->world.hosts[1].node, service->world.hosts[1].plugins);
  g_autoptr (GError) error = NULL;
  Transfer job = { .length = 50000 };
  GThread *thread;

  g_assert_true (g_socket_listener_add_address (G_SOCKET_LISTENER (server), address, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, NULL, NULL, &error));
  g_assert_no_error (error);
  g_signal_connect (server, "run", G_CALLBACK (on_incoming), NULL);
  service_befriend (service);
  g_variant_unref (service_ask (service, "", "Node.Expose", "(uint32 %u, '')", service_id (service, 1)));
  {
    g_autoptr (GError) refused = NULL;
    g_autofree char *opened = NULL;
    Host *peer = &service->world.hosts[1];

    g_assert_true (pilot_access_grant (pilot_node_get_access (peer->node), service_id (service, 0), NULL, "all", &opened, &refused));
    g_assert_no_error (refused);
  }
  g_variant_unref (service_ask (service, "", "Gateway.Start", "(@a{sv} {}, ['%u'])", service_id (service, 1)));
  service_forget_signals (service);
  thread = g_thread_new ("transfer", transfer, &job);
  WAIT (20, g_atomic_int_get (&job.received_all));
  g_assert_cmpuint (job.received, ==, job.length);
  WAIT (LANDS, service_heard (service, FIRST " org.freedesktop.DBus.Properties.PropertiesChanged *'OpenConnections': <uint32 1>*") == 1);
  assert_property (service, FIRST, "Mapping.OpenConnections", "1");
  assert_property (service, FIRST, "Mapping.TotalConnections", "1");
  /* Asked for, they are true at any time. */
  assert_property (service, FIRST, "Mapping.BytesIn", "50000");
  assert_property (service, FIRST, "Mapping.BytesOut", "50000");
  g_atomic_int_set (&job.may_close, 1);
  WAIT (20, g_atomic_int_get (&job.done));
  g_thread_join (thread);
  WAIT (LANDS, service_heard (service, FIRST " org.freedesktop.DBus.Properties.PropertiesChanged *'OpenConnections': <uint32 0>*") == 1);

  assert_property (service, FIRST, "Mapping.Path", "'direct'");
  g_assert_cmpuint (service_heard (service, "*'BytesIn'*"), ==, 0);
  g_assert_cmpuint (service_heard (service, "*'BytesOut'*"), ==, 0);
  g_assert_cmpuint (service_heard (service, "*'TotalConnections'*"), ==, 0);
  pilot_gateway_shutdown (theirs);
  g_socket_service_stop (server);
  g_socket_listener_close (G_SOCKET_LISTENER (server));
}

int
main (int argc, char **argv)
{
  service_init (&argc, &argv);
  service_add_test ("/bus/gateway/start", test_start);
  service_add_test ("/bus/gateway/map", test_map);
  service_add_test ("/bus/gateway/refusals", test_refusals);
  service_add_test ("/bus/gateway/counters", test_counters);
  return g_test_run ();
}
