/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* network.pilotprotocol.Pilot1.Node, but for trust: properties, settings, names, lists, ping, signals. */
#include <string.h>
#include <unistd.h>

#include "daemon/node/node-private.h"
#include "tests/bus/service.h"

static void
test_properties (Service *service, gconstpointer via)
{
  g_autofree char *pid = g_strdup_printf ("%d", getpid ());
  g_autofree char *id = g_strdup_printf ("%u", service_id (service, 0));
  g_autofree char *address = g_strdup_printf ("'0:0000.0000.%04X'", service_id (service, 0));
  g_autofree char *registry = pilot_endpoint_to_string (&service->world.registry), *beacon = pilot_endpoint_to_string (&service->world.beacon);
  g_autofree char *registry_text = g_strdup_printf ("'%s'", registry), *beacon_text = g_strdup_printf ("'%s'", beacon);
  g_autofree char *key = g_strdup_printf ("'%s'", pilot_node_get_public_key (service->world.hosts[0].node));
  g_autofree char *started = g_strdup_printf ("%" G_GINT64_FORMAT, pilot_node_get_started (service->world.hosts[0].node));

  assert_property (service, "", "Node.Pid", pid);
  assert_property (service, "", "Node.NodeId", id);
  assert_property (service, "", "Node.Address", address);
  assert_property (service, "", "Node.Hostname", "''");
  assert_property (service, "", "Node.PublicKey", key);
  assert_property (service, "", "Node.State", "'online'");
  WAIT_PROPERTY (service, "", "Node.StateDetail", "''"); /* the beacon has answered */
  assert_property (service, "", "Node.Public", "false");
  assert_property (service, "", "Node.Registry", registry_text);
  assert_property (service, "", "Node.Beacon", beacon_text);
  assert_property (service, "", "Node.Started", started);
  g_assert_cmpint (llabs (g_get_real_time () / G_USEC_PER_SEC - g_ascii_strtoll (started, NULL, 10)), <, 60);
  {
    g_autofree char *version = service_get (service, "", "Node.Version");

    g_assert_cmpstr (version, !=, "''");
  }
}

/* Nothing on the object can be written, whatever it is called. */
static void
test_read_only (Service *service, gconstpointer via)
{
  g_free (service_refused (service, "", "org.freedesktop.DBus.Properties.Set", "org.freedesktop.DBus.Error.InvalidArgs",
                           "('" PREFIX "Node', 'Hostname', <'mine'>)"));
  assert_property (service, "", "Node.Hostname", "''");
}

static void
on_done (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (pilot_node_set_hostname_finish (PILOT_NODE (source), result, &error));
  g_assert_no_error (error);
  *(gboolean *) user_data = TRUE;
}

static void
set_peer_hostname (Service *service, const char *hostname)
{
  gboolean done = FALSE;

  pilot_node_set_hostname_async (service->world.hosts[1].node, hostname, NULL, on_done, &done);
  WAIT (LANDS, done);
}

static void
test_hostname (Service *service, gconstpointer via)
{
  static const char *const bad[] = { "Upper", "with space", "dot.ted", "-begins", "ends-", "under_score", "\xc3\xa4" };

  g_variant_unref (service_ask (service, "", "Node.SetHostname", "('agent-alpha',)"));
  assert_property (service, "", "Node.Hostname", "'agent-alpha'");
  WAIT (LANDS, service_heard (service, " org.freedesktop.DBus.Properties.PropertiesChanged ('" PREFIX "Node', *'Hostname': <'agent-alpha'>*") == 1);
  service_forget_signals (service);
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++)
    g_free (service_refused (service, "", "Node.SetHostname", "InvalidArgument", "('%s',)", bad[i]));
  /* What only the registry knows. */
  g_free (service_refused (service, "", "Node.SetHostname", "InvalidArgument", "('localhost',)"));
  set_peer_hostname (service, "taken");
  g_free (service_refused (service, "", "Node.SetHostname", "AlreadyExists", "('taken',)"));
  assert_property (service, "", "Node.Hostname", "'agent-alpha'");
  g_assert_cmpuint (service_heard (service, "*Hostname*"), ==, 0);
  g_variant_unref (service_ask (service, "", "Node.SetHostname", "('',)"));
  assert_property (service, "", "Node.Hostname", "''");
  WAIT (LANDS, service_heard (service, "*'Hostname': <''>*") == 1);
}

static void
test_public (Service *service, gconstpointer via)
{
  g_variant_unref (service_ask (service, "", "Node.SetPublic", "(true,)"));
  assert_property (service, "", "Node.Public", "true");
  WAIT (LANDS, service_heard (service, "*PropertiesChanged ('" PREFIX "Node', *'Public': <true>*") == 1);
  g_variant_unref (service_ask (service, "", "Node.SetPublic", "(false,)"));
  WAIT (LANDS, service_heard (service, "*'Public': <false>*") == 1);
  g_free (service_refused (service, "", "Node.SetPublic", "org.freedesktop.DBus.Error.InvalidArgs", "('true',)"));
}

static void
test_resolve (Service *service, gconstpointer via)
{
  static const char *const malformed[] = { "not a name", "0:zzz", "0:0000.0000", "0", "0:0000.0000.0000", "", "1.2.3.4" };

  g_autoptr (GVariant) by_address = service_ask (service, "", "Node.Resolve", "('0:0000.0000.037D',)");
  g_autoptr (GVariant) by_id = service_ask (service, "", "Node.Resolve", "('893',)");
  g_autofree char *text = g_variant_print (by_address, FALSE);

  g_assert_cmpstr (text, ==, "(893, '0:0000.0000.037D', '', false)");
  g_assert_true (g_variant_equal (by_address, by_id));
  for (guint i = 0; i < G_N_ELEMENTS (malformed); i++)
    g_free (service_refused (service, "", "Node.Resolve", "InvalidArgument", "('%s',)", malformed[i]));
  g_free (service_refused (service, "", "Node.Resolve", "NotFound", "('nobody-here',)"));

  /* One's own name is found like any other. */
  g_variant_unref (service_ask (service, "", "Node.SetHostname", "('agent-alpha',)"));
  g_variant_unref (service_ask (service, "", "Node.SetPublic", "(true,)"));
  {
    g_autoptr (GVariant) by_name = service_ask (service, "", "Node.Resolve", "('agent-alpha',)");
    g_autofree char *expected = g_strdup_printf ("(%u, '0:0000.0000.%04X', 'agent-alpha', true)", service_id (service, 0), service_id (service, 0));
    g_autofree char *found = g_variant_print (by_name, FALSE);

    g_assert_cmpstr (found, ==, expected);
  }
}

static void
test_statistics (Service *service, gconstpointer via)
{
  static const char *const counters[] = { "uptime_secs", "connections", "peers", "bytes_sent", "bytes_recv", "handshake_pending_count" };
  g_autoptr (GVariant) reply = service_ask (service, "", "Node.GetStatistics", "()");
  g_autoptr (GVariant) statistics = g_variant_get_child_value (reply, 0);

  for (guint i = 0; i < G_N_ELEMENTS (counters); i++) {
    g_autoptr (GVariant) value = g_variant_lookup_value (statistics, counters[i], NULL);

    if (value == NULL)
      g_error ("there is no \"%s\"", counters[i]);
  }
}

/* The registry goes and comes back: whoever follows the properties sees it, with a reason. */
static void
test_state (Service *service, gconstpointer via)
{
  g_autofree char *detail = NULL;

  world_stop_rendezvous (&service->world);
  WAIT_PROPERTY (service, "", "Node.State", "'connecting'");
  WAIT (LANDS, service_heard (service, "*PropertiesChanged ('" PREFIX "Node', *'State': <'connecting'>*") >= 1);
  detail = service_get (service, "", "Node.StateDetail");
  g_assert_nonnull (strstr (detail, "registry"));
  world_start_rendezvous (&service->world);
  WAIT (30, service_heard (service, "*PropertiesChanged ('" PREFIX "Node', *'State': <'online'>*") == 1);
  WAIT_PROPERTY (service, "", "Node.StateDetail", "''");
}

static void
test_ping (Service *service, gconstpointer via)
{
  guint32 peer = service_id (service, 1);
  g_autoptr (GVariant) reply = NULL;
  g_autofree char *untrusted = service_refused (service, "", "Node.Ping", "TrustRequired", "(uint32 %u, uint32 1, uint32 5000)", peer);
  double rtt;
  guint32 bytes;

  g_assert_nonnull (strstr (untrusted, "node"));
  service_befriend (service);
  reply = service_ask (service, "", "Node.Ping", "(uint32 %u, uint32 12, uint32 5000)", peer);
  g_variant_get (reply, "(du)", &rtt, &bytes);
  g_assert_cmpfloat (rtt, >, 0);
  g_assert_cmpfloat (rtt, <, 5000);
  g_assert_cmpuint (bytes, ==, strlen ("ping-12"));

  g_free (service_refused (service, "", "Node.Ping", "InvalidArgument", "(uint32 %u, uint32 1, uint32 5000)", service_id (service, 0)));
  pilot_echo_stop (service->world.hosts[1].echo);
  g_free (service_refused (service, "", "Node.Ping", "Refused", "(uint32 %u, uint32 1, uint32 5000)", peer));
}

typedef struct {
  PilotStreamUser user; /* first */
  guint ready;
} Stream;

static void
on_ready (PilotStreamUser *user, PilotStream *stream, guint ready)
{
  ((Stream *) user)->ready |= ready;
}

static void
assert_empty (Service *service, const char *method)
{
  g_autoptr (GVariant) reply = service_ask (service, "", method, "()");
  g_autofree char *text = g_variant_print (reply, TRUE);

  g_assert_cmpstr (text, ==, "(@aa{sv} [],)");
}

/* The record whose @key (a number) is @value; NULL = there is none. */
static GVariant *
find_record (Service *service, const char *method, const char *key, guint value)
{
  g_autoptr (GVariant) reply = service_ask (service, "", method, "()");
  g_autoptr (GVariant) list = g_variant_get_child_value (reply, 0);

  for (gsize i = 0; i < g_variant_n_children (list); i++) {
    g_autoptr (GVariant) record = g_variant_get_child_value (list, i), number = g_variant_lookup_value (record, key, NULL);
    g_autofree char *text = g_variant_print (number, FALSE);

    if (g_ascii_strtoull (text, NULL, 10) == value)
      return g_steal_pointer (&record);
  }
  return NULL;
}

static void
test_lists (Service *service, gconstpointer via)
{
  PilotNode *node = service->world.hosts[0].node;
  g_autoptr (GVariant) peer = NULL, connection = NULL;
  Stream opened = { .user.ready = on_ready };
  PilotStream *stream;
  guint32 connections = 0;

  assert_empty (service, "Node.ListPeers");
  assert_empty (service, "Node.ListConnections");

  service_befriend (service);
  stream = pilot_node_connect (node, service_id (service, 1), 7, &opened.user, NULL);
  pilot_node_kick (node);
  WAIT (LANDS, opened.ready & PILOT_STREAM_READY_OPEN);
  peer = find_record (service, "Node.ListPeers", "node_id", service_id (service, 1));
  g_assert_nonnull (peer);
  service_assert_record (peer, "ListPeers");
  g_variant_lookup (peer, "connections", "u", &connections);
  g_assert_cmpuint (connections, >=, 1);
  connection = find_record (service, "Node.ListConnections", "remote_port", 7);
  g_assert_nonnull (connection);
  pilot_stream_reset (stream, g_get_monotonic_time ());
  pilot_stream_release (stream, g_get_monotonic_time ());
  pilot_node_kick (node);
}

static void
test_security_event (Service *service, gconstpointer via)
{
  /* It is a warning in the log, which GTest would end the test for; structured messages cannot be expected. */
  GLogLevelFlags fatal = g_log_set_always_fatal (G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);

  pilot_node_security_event (service->world.hosts[0].node, "key-mismatch", 7, "its key is another one");
  g_log_set_always_fatal (fatal);
  WAIT (LANDS, service_heard (service, " Node.SecurityEvent ('key-mismatch', 7, 'its key is another one')") == 1);
}

int
main (int argc, char **argv)
{
  service_init (&argc, &argv);
  service_add_test ("/bus/node/properties", test_properties);
  service_add_test ("/bus/node/read-only", test_read_only);
  service_add_test ("/bus/node/hostname", test_hostname);
  service_add_test ("/bus/node/public", test_public);
  service_add_test ("/bus/node/resolve", test_resolve);
  service_add_test ("/bus/node/statistics", test_statistics);
  service_add_test ("/bus/node/state", test_state);
  service_add_test ("/bus/node/ping", test_ping);
  service_add_test ("/bus/node/lists", test_lists);
  service_add_test ("/bus/node/security-event", test_security_event);
  return g_test_run ();
}
