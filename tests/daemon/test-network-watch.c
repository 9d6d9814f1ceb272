/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sched.h>
#include <unistd.h>

#include "daemon/node/node-private.h"
#include "tests/daemon/world.h"

/* Changes of addresses and routes, made with `ip` in a network namespace of the test's own. */

static void
ip (const char *arguments)
{
  g_autofree char *command = g_strconcat ("ip ", arguments, NULL);
  g_autoptr (GError) error = NULL;
  gint status = -1;

  g_assert_true (g_spawn_command_line_sync (command, NULL, NULL, &status, &error));
  g_assert_no_error (error);
  g_assert_true (g_spawn_check_wait_status (status, &error));
  g_assert_no_error (error);
}

static void
pass (guint milliseconds)
{
  gint64 end = g_get_monotonic_time () + milliseconds * 1000;

  WAIT (10, g_get_monotonic_time () > end);
}

static void
count (gpointer user_data)
{
  ++*(guint *) user_data;
}

/* A burst counts once, and nothing is said when nothing happens. */
static void
test_burst (void)
{
  guint changes = 0;
  g_autoptr (GError) error = NULL;
  PilotNetworkWatch *watch = pilot_network_watch_new (count, &changes, &error);

  g_assert_no_error (error);
  pass (500);
  g_assert_cmpuint (changes, ==, 0);
  ip ("address add 10.77.0.1/32 dev lo");
  ip ("address add 10.77.0.2/32 dev lo");
  ip ("address del 10.77.0.1/32 dev lo");
  WAIT (3, changes > 0);
  pass (500);
  g_assert_cmpuint (changes, ==, 1);
  ip ("address del 10.77.0.2/32 dev lo");
  pilot_network_watch_free (watch);
  pass (500);
  g_assert_cmpuint (changes, ==, 1);
}

static void
test_source (void)
{
  PilotEndpoint to, source;
  g_autofree char *text = NULL;

  g_assert_true (pilot_endpoint_parse ("127.0.0.9:9", &to, NULL));
  g_assert_true (pilot_network_source_address (&to, &source));
  text = pilot_endpoint_to_string (&source);
  g_assert_cmpstr (text, ==, "127.0.0.1:0");
  /* The namespace has no way out. */
  g_assert_true (pilot_endpoint_parse ("192.0.2.1:9", &to, NULL));
  g_assert_false (pilot_network_source_address (&to, &source));
}

static void
test_global_ipv6 (void)
{
  PilotEndpoint source;
  g_autofree char *text = NULL;

  if (!g_file_test ("/proc/sys/net/ipv6/conf/lo", G_FILE_TEST_EXISTS)) {
    g_test_skip ("no IPv6 on this machine");
    return;
  }
  g_assert_false (pilot_network_global_ipv6 (&source));
  g_assert_true (pilot_endpoint_is_none (&source));
  ip ("address add fd00:77::1/64 dev lo nodad");
  ip ("-6 route add default dev lo");
  /* Somebody translates that one, or there is no way out at all. */
  g_assert_false (pilot_network_global_ipv6 (&source));
  ip ("address add 2001:db8:77::1/64 dev lo nodad");
  g_assert_true (pilot_network_global_ipv6 (&source));
  text = pilot_endpoint_to_string (&source);
  g_assert_cmpstr (text, ==, "[2001:db8:77::1]:0");
  ip ("-6 route del default dev lo");
  ip ("address del 2001:db8:77::1/64 dev lo");
  ip ("address del fd00:77::1/64 dev lo");
}

static gboolean
is_path (World *world, PilotPath path)
{
  PilotPeerView *view = pilot_node_get_peer (world->hosts[0].node, pilot_node_get_id (world->hosts[1].node));
  gboolean is = view != NULL && view->info.session && view->info.path == path;

  pilot_peer_view_free (view);
  return is;
}

static void
befriend (World *world)
{
  PilotTrust *alpha = pilot_node_get_trust (world->hosts[0].node), *beta = pilot_node_get_trust (world->hosts[1].node);
  guint32 ids[] = { pilot_node_get_id (world->hosts[0].node), pilot_node_get_id (world->hosts[1].node) };
  g_autoptr (GError) error = NULL;
  const char *status;

  g_assert_true (pilot_trust_handshake (alpha, ids[1], "", NULL, &status, &error));
  g_assert_true (pilot_trust_handshake (beta, ids[0], "", NULL, &status, &error));
  WAIT (5, pilot_trust_is_trusted (alpha, ids[1]) && pilot_trust_is_trusted (beta, ids[0]));
}

/* The way to the beacon leaves from another address: every path is proven anew, and what does not concern it changes nothing. */
static void
test_node (void)
{
  World world;
  g_autofree char *outcome = NULL;

  world_init (&world);
  host_start (&world, 0);
  host_start (&world, 1);
  befriend (&world);
  outcome = host_ping (&world.hosts[0], pilot_node_get_id (world.hosts[1].node), 6000);
  g_assert_cmpstr (outcome, ==, "");
  WAIT (5, is_path (&world, PILOT_PATH_DIRECT));
  pass (1000);

  ip ("address add 10.77.0.1/32 dev lo");
  for (guint i = 0; i < 50; i++) {
    pass (20);
    g_assert_true (is_path (&world, PILOT_PATH_DIRECT));
  }
  ip ("route replace local 127.0.0.1 dev lo table local src 127.0.0.5");
  WAIT (3, is_path (&world, PILOT_PATH_RELAY));
  WAIT (5, is_path (&world, PILOT_PATH_DIRECT));
  ip ("route replace local 127.0.0.1 dev lo table local src 127.0.0.1");
  ip ("address del 10.77.0.1/32 dev lo");
  world_clear (&world);
}

static GLogWriterOutput
filter_log (GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer user_data)
{
  if (level & (G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_ERROR) || g_getenv ("PILOT_TEST_LOG") != NULL)
    return g_log_writer_standard_streams (level, fields, n_fields, user_data);
  return G_LOG_WRITER_HANDLED;
}

int
main (int argc, char **argv)
{
  /* Before any thread is there. */
  if (geteuid () != 0 || unshare (CLONE_NEWNET) != 0) {
    g_print ("1..0 # SKIP needs root, for a network namespace of its own\n");
    return 77;
  }
  ip ("link set lo up");
  g_test_init (&argc, &argv, NULL);
  g_log_set_writer_func (filter_log, NULL, NULL);
  g_test_add_func ("/daemon/network-watch/burst", test_burst);
  g_test_add_func ("/daemon/network-watch/source", test_source);
  g_test_add_func ("/daemon/network-watch/global-ipv6", test_global_ipv6);
  g_test_add_func ("/daemon/network-watch/node", test_node);
  return g_test_run ();
}
