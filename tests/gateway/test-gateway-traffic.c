/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connections through a gateway, in a network namespace; streams in memory lead to its own inbound bridge. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "daemon/gateway/inbound.h"
#include "daemon/helper/subnet.h"
#include "tests/gateway/fake-node.h"
#include "tests/gateway/fixture.h"
#include "tests/gateway/namespace.h"
#include "tests/gateway/tcp.h"

static guint n_refused;
static const guint32 two[] = { 2 };

static void
test_source_addresses (void)
{
  g_assert_cmphex (pilot_inbound_loopback_source (2), ==, 0x7f530002);
  for (guint64 node = 1; node <= G_MAXUINT32; node = node * 3 + 1) {
    guint32 source = pilot_inbound_loopback_source (node);

    g_assert_cmphex (source >> 16, ==, 0x7f53);
    g_assert_cmphex (source & 0xffff, !=, 0);
    g_assert_cmphex (source & 0xffff, !=, 0xffff);
  }
}

static void
test_end_to_end (Fixture *fixture, gconstpointer mode)
{
  g_autofree char *options = g_strdup_printf ("{'ports': <'8080,9000-9001'>, 'mode': <'%s'>}", (const char *) mode);
  g_autoptr (GPtrArray) mappings = NULL;
  g_autoptr (GError) error = NULL;
  guint32 source;
  Server server;
  Client client;
  PilotMapping *mapping;

  server_start (&server, "127.0.0.1", 8080);
  mappings = fixture_start (fixture, options, two, 1, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (mappings->len, ==, 1);
  mapping = g_ptr_array_index (mappings, 0);
  g_assert_cmpstr (pilot_mapping_get_local_address (mapping), ==, "10.4.0.1");
  g_assert_cmpstr (pilot_mapping_get_state (mapping), ==, "up");
  g_assert_cmpstr (pilot_gateway_get_mode (fixture->gateway), ==, mode);
  g_assert_cmpuint (pilot_mapping_get_ports (mapping)->len, ==, 3);

  client = client_request ("10.4.0.1", 8080, 3 * 1024 * 1024);
  g_assert_cmpint (client.connect_error, ==, 0);
  g_assert_cmpint (client.read_error, ==, 0);
  g_assert_true (client.matches);
  g_assert_true (pilot_ipv4_parse ("10.4.0.1", &source, NULL));
  g_assert_cmpuint ((guint32) g_atomic_int_get (&server.last_source), ==, source);
  g_assert_cmpuint (pilot_mapping_get_total (mapping), ==, 1);
  g_assert_cmpuint (pilot_mapping_get_bytes_in (mapping), ==, 3 * 1024 * 1024);
  g_assert_cmpuint (pilot_mapping_get_bytes_out (mapping), ==, 3 * 1024 * 1024);

  /* Nothing listens on the peer: reset at once, and said why. A port that is not mapped is not even connected. */
  client = client_request ("10.4.0.1", 9000, 10);
  g_assert_cmpint (client.read_error, ==, ECONNRESET);
  g_assert_cmpint (client.took_us, <, G_USEC_PER_SEC);
  g_assert_cmpstr (pilot_mapping_get_last_error (mapping), !=, "");
  client = client_request ("10.4.0.1", 7777, 10);
  g_assert_cmpint (client.connect_error, ==, ECONNREFUSED);
  g_assert_cmpuint (pilot_mapping_get_open (mapping), ==, 0);
  server_stop (&server);
}

static void
test_parallel (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GPtrArray) mappings = NULL;
  g_autofree Client *clients = g_new0 (Client, 200);
  g_autoptr (GError) error = NULL;
  Server server;

  server_start (&server, "127.0.0.1", 8080);
  mappings = fixture_start (fixture, "{}", two, 1, &error);
  g_assert_no_error (error);
  g_assert_true (pilot_mapping_get_all_ports (g_ptr_array_index (mappings, 0)));
  for (guint i = 0; i < 200; i++)
    clients[i] = (Client) { .address = "10.4.0.1", .port = 8080, .length = 100000 + i };
  clients_run (clients, 200);
  for (guint i = 0; i < 200; i++)
    g_assert_true (clients[i].matches);
  g_assert_cmpuint (pilot_mapping_get_total (g_ptr_array_index (mappings, 0)), ==, 200);
  server_stop (&server);
}

/* The user's own server on the wildcard address neither hinders us nor is shown as the peer's. */
static void
test_own_server (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GPtrArray) mappings = NULL;
  g_autoptr (GError) error = NULL;
  Server own;
  Client client;

  server_start (&own, "0.0.0.0", 8080);
  fake_node_set_access (fixture->node, PILOT_ACCESS_DENIED);
  mappings = fixture_start (fixture, "{}", two, 1, &error);
  g_assert_no_error (error);
  client = client_request ("10.4.0.1", 8080, 10);
  g_assert_cmpint (client.read_error, ==, ECONNRESET);
  g_assert_cmpint (g_atomic_int_get (&own.connections), ==, 0);
  server_stop (&own);
}

static void
test_network_only (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GPtrArray) mappings = NULL;
  g_autoptr (GError) error = NULL;
  Server everywhere, local;
  Client client;

  server_start (&everywhere, "0.0.0.0", 8080);
  server_start (&local, "127.0.0.1", 8081);
  fake_node_set_access (fixture->node, PILOT_ACCESS_NETWORK_ONLY);
  mappings = fixture_start (fixture, "{}", two, 1, &error);
  g_assert_no_error (error);
  client = client_request ("10.4.0.1", 8080, 1000);
  g_assert_true (client.matches);
  client = client_request ("10.4.0.1", 8081, 1000);
  g_assert_cmpint (client.read_error, ==, ECONNRESET);
  g_assert_cmpint (g_atomic_int_get (&local.connections), ==, 0);
  server_stop (&everywhere);
  server_stop (&local);
}

/* The gateway's own listener is no server of this machine's. */
static void
test_no_way_to_ourselves (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GPtrArray) mappings = fixture_start (fixture, "{}", two, 1, NULL);
  g_autofree char *rules = output_of ("nft list chain ip pilot_0 nat_output");
  const char *place = strstr (rules, "redirect to :");
  guint16 port;
  Client client;

  g_assert_nonnull (place);
  port = strtoul (place + strlen ("redirect to :"), NULL, 10);
  client = client_request ("10.4.0.1", port, 10);
  g_assert_cmpint (client.read_error, ==, ECONNRESET);
  g_assert_cmpuint (pilot_mapping_get_total (g_ptr_array_index (mappings, 0)), ==, 1);
  /* Straight to it: no original destination that is mapped. */
  client = client_request ("127.0.0.1", port, 10);
  g_assert_cmpint (client.connect_error, ==, 0);
  g_assert_cmpint (client.read_error, ==, ECONNRESET);
  g_assert_cmpuint (pilot_mapping_get_total (g_ptr_array_index (mappings, 0)), ==, 1);
}

static void
test_dead_peer (Fixture *fixture, gconstpointer mode)
{
  static const guint32 nodes[] = { 2, 3, 4 };
  g_autofree char *options = g_strdup_printf ("{'ports': <'8080'>, 'mode': <'%s'>}", (const char *) mode);
  g_autoptr (GPtrArray) mappings = fixture_start (fixture, options, nodes, 3, NULL);
  Client client;
  Server server;
  gint64 give_up;

  g_assert_cmpuint (mappings->len, ==, 3);
  server_start (&server, "127.0.0.1", 8080);
  client = client_request ("10.4.0.2", 8080, 10);
  g_assert_cmpint (client.read_error, ==, ECONNRESET);
  g_assert_nonnull (strstr (pilot_mapping_get_last_error (g_ptr_array_index (mappings, 1)), "node 3"));
  /* Known to be dead now: the kernel refuses. The others live. */
  give_up = g_get_monotonic_time () + 3 * G_USEC_PER_SEC;
  do
    client = client_request ("10.4.0.2", 8080, 10);
  while (client.connect_error == 0 && g_get_monotonic_time () < give_up);
  g_assert_cmpint (client.connect_error, ==, ECONNREFUSED);
  client = client_request ("10.4.0.1", 8080, 10);
  g_assert_true (client.matches);
  /* It is tried again in a while. */
  give_up = g_get_monotonic_time () + 8 * G_USEC_PER_SEC;
  do
    client = client_request ("10.4.0.2", 8080, 10);
  while (client.connect_error != 0 && g_get_monotonic_time () < give_up);
  g_assert_cmpint (client.connect_error, ==, 0);

  client = client_request ("10.4.0.3", 8080, 10);
  g_assert_cmpint (client.read_error, ==, ECONNRESET);
  g_assert_cmpstr (pilot_mapping_get_last_error (g_ptr_array_index (mappings, 2)), ==, "node 4 is not trusted");
  server_stop (&server);
}

static void
test_unmap_ends_connections (Fixture *fixture, gconstpointer data)
{
  static const guint32 five[] = { 5 };
  g_autoptr (GPtrArray) mappings = fixture_start (fixture, "{}", five, 1, NULL);
  struct sockaddr_in name = socket_name ("10.4.0.1", 80);
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  g_autoptr (GError) error = NULL;
  char byte;

  g_assert_cmpint (connect (fd, (struct sockaddr *) &name, sizeof name), ==, 0);
  while (pilot_mapping_get_open (g_ptr_array_index (mappings, 0)) == 0)
    g_main_context_iteration (NULL, TRUE);
  g_assert_true (fixture_unmap (fixture, "10.4.0.1", &error));
  g_assert_no_error (error);
  g_assert_cmpint (recv (fd, &byte, 1, MSG_DONTWAIT), ==, -1);
  g_assert_cmpint (errno, ==, ECONNRESET);
  close (fd);
}

/* What is in flight with a peer ends with the trust in it; the mapping stays, its owner may trust again. */
static void
test_untrust_ends_connections (Fixture *fixture, gconstpointer data)
{
  static const guint32 both[] = { 2, 5 };
  g_autoptr (GPtrArray) mappings = fixture_start (fixture, "{}", both, 2, NULL);
  int fds[2];
  char byte;

  for (guint i = 0; i < 2; i++) {
    struct sockaddr_in name = socket_name (i == 0 ? "10.4.0.1" : "10.4.0.2", 80);

    fds[i] = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint (connect (fds[i], (struct sockaddr *) &name, sizeof name), ==, 0);
    while (pilot_mapping_get_total (g_ptr_array_index (mappings, i)) == 0)
      g_main_context_iteration (NULL, TRUE);
  }
  g_signal_emit_by_name (pilot_node_get_trust (fixture->node), "changed", 5, "revoked", "local");
  g_assert_cmpint (recv (fds[1], &byte, 1, MSG_DONTWAIT), ==, -1);
  g_assert_cmpint (errno, ==, ECONNRESET);
  g_assert_cmpuint (pilot_mapping_get_open (g_ptr_array_index (mappings, 1)), ==, 0);
  g_assert_cmpstr (pilot_mapping_get_state (g_ptr_array_index (mappings, 1)), ==, "up");
  close (fds[0]);
  close (fds[1]);
}

/* The other direction: a connection that the peer has here. */
static void
test_untrust_ends_inbound (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GPtrArray) mappings = fixture_start (fixture, "{'ports': <'8080'>}", two, 1, NULL);
  struct sockaddr_in name = socket_name ("10.4.0.1", 8080), here = socket_name ("127.0.0.1", 8080);
  int listener = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), client, server = -1, yes = 1;
  char byte;

  setsockopt (listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  g_assert_cmpint (bind (listener, (struct sockaddr *) &here, sizeof here), ==, 0);
  g_assert_cmpint (listen (listener, 4), ==, 0);
  client = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  g_assert_cmpint (connect (client, (struct sockaddr *) &name, sizeof name), ==, 0);
  g_assert_cmpint (send (client, "x", 1, MSG_NOSIGNAL), ==, 1);
  while ((server = accept (listener, NULL, NULL)) < 0)
    g_main_context_iteration (NULL, FALSE);
  /* One byte has come all the way: both bridges stand. */
  while (recv (server, &byte, 1, MSG_DONTWAIT) < 0)
    g_main_context_iteration (NULL, FALSE);
  g_signal_emit_by_name (pilot_node_get_trust (fixture->node), "changed", 2, "revoked", "by-peer");
  g_assert_cmpint (recv (server, &byte, 1, MSG_DONTWAIT), ==, -1);
  g_assert_cmpint (errno, ==, ECONNRESET);
  g_assert_cmpint (recv (client, &byte, 1, MSG_DONTWAIT), ==, -1);
  g_assert_cmpint (errno, ==, ECONNRESET);
  close (server);
  close (client);
  close (listener);
}

static void
count_refused (PilotStreamUser *user, PilotStream *stream, guint ready)
{
  if ((ready & PILOT_STREAM_READY_CLOSED) == 0)
    return;
  pilot_stream_release (stream, g_get_monotonic_time ());
  n_refused++;
}

/* A server that hangs: who calls it more often than is his share is refused, and another peer still gets through to it. */
static void
test_share_of_dials (Fixture *fixture, gconstpointer data)
{
  static const guint share = 1024, more = 10;
  static PilotStreamUser user = { .ready = count_refused };
  struct sockaddr_in here = socket_name ("127.0.0.1", 8080);
  int listener = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;

  n_refused = 0;
  fake_node_set_capacity (fixture->node, 16);
  setsockopt (listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  g_assert_cmpint (bind (listener, (struct sockaddr *) &here, sizeof here), ==, 0);
  g_assert_cmpint (listen (listener, 0), ==, 0);
  /* Its queue holds one, so that all others stay in SYN_SENT, which this one leaves. */
  g_assert_nonnull (pilot_node_connect (fixture->node, 6, 8080, &user, NULL));
  for (guint i = 0; i < share + more; i++)
    g_assert_nonnull (pilot_node_connect (fixture->node, 2, 8080, &user, NULL));
  while (n_refused < more)
    g_main_context_iteration (NULL, TRUE);
  g_assert_nonnull (pilot_node_connect (fixture->node, 6, 8080, &user, NULL));
  while (g_main_context_iteration (NULL, FALSE))
    ;
  g_assert_cmpuint (n_refused, ==, more);
  close (listener);
}

static guint n_complaints;

static void
count_open (PilotStreamUser *user, PilotStream *stream, guint ready)
{
  if ((ready & PILOT_STREAM_READY_CLOSED) != 0)
    count_refused (user, stream, ready);
}

/* Connections that stand: one peer has three quarters of the descriptors, another still gets through, and what ends makes room. */
static void
test_share_of_connections (Fixture *fixture, gconstpointer data)
{
  static const guint share = 75, more = 10;
  static PilotStreamUser user = { .ready = count_open };
  struct sockaddr_in here = socket_name ("127.0.0.1", 8080);
  struct rlimit before, few;
  PilotStream *first = NULL;
  int listener = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;

  n_refused = n_complaints = 0;
  /* The share is reckoned when the daemon begins. */
  fixture_end_run (fixture);
  g_assert_cmpint (getrlimit (RLIMIT_NOFILE, &before), ==, 0);
  few = (struct rlimit) { share / 3 * 4, before.rlim_max };
  g_assert_cmpint (setrlimit (RLIMIT_NOFILE, &few), ==, 0);
  fixture_begin_run (fixture);
  g_assert_cmpint (setrlimit (RLIMIT_NOFILE, &before), ==, 0);
  fake_node_set_capacity (fixture->node, 16);
  setsockopt (listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  g_assert_cmpint (bind (listener, (struct sockaddr *) &here, sizeof here), ==, 0);
  g_assert_cmpint (listen (listener, 1000), ==, 0);
  for (guint i = 0; i < share + more; i++) {
    PilotStream *stream = pilot_node_connect (fixture->node, 2, 8080, &user, NULL);

    g_assert_nonnull (stream);
    if (i == 0)
      first = stream;
  }
  while (n_refused < more)
    g_main_context_iteration (NULL, TRUE);
  while (g_main_context_iteration (NULL, FALSE))
    ;
  g_assert_cmpuint (n_refused, ==, more);
  g_assert_cmpuint (n_complaints, ==, 1);
  g_assert_nonnull (pilot_node_connect (fixture->node, 6, 8080, &user, NULL));
  while (g_main_context_iteration (NULL, FALSE))
    ;
  g_assert_cmpuint (n_refused, ==, more);
  pilot_stream_reset (first, g_get_monotonic_time ());
  pilot_stream_release (first, g_get_monotonic_time ());
  while (g_main_context_iteration (NULL, FALSE))
    ;
  for (guint i = 0; i < 2; i++)
    g_assert_nonnull (pilot_node_connect (fixture->node, 2, 8080, &user, NULL));
  while (n_refused < more + 1)
    g_main_context_iteration (NULL, TRUE);
  while (g_main_context_iteration (NULL, FALSE))
    ;
  g_assert_cmpuint (n_refused, ==, more + 1);
  close (listener);
}

static GLogWriterOutput
count_complaints (GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer user_data)
{
  for (gsize i = 0; i < n_fields; i++)
    if (g_str_equal (fields[i].key, "MESSAGE") && (g_str_has_prefix (fields[i].value, "cannot connect a peer's stream") || g_str_has_prefix (fields[i].value, "node 2 has as many"))) {
      n_complaints++;
      return G_LOG_WRITER_HANDLED;
    }
  return g_log_writer_default (level, fields, n_fields, user_data);
}

/* Without descriptors a peer's calls are refused; however many there are, the log says it once. */
static void
test_no_descriptors (Fixture *fixture, gconstpointer data)
{
  static const guint calls = 20;
  static PilotStreamUser user = { .ready = count_refused };
  GLogLevelFlags fatal = g_log_set_always_fatal (G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);
  struct rlimit before, none;
  int lowest = dup (0);

  close (lowest);
  n_refused = n_complaints = 0;
  fake_node_set_capacity (fixture->node, 16);
  g_assert_cmpint (getrlimit (RLIMIT_NOFILE, &before), ==, 0);
  none = (struct rlimit) { (rlim_t) lowest, before.rlim_max };
  g_assert_cmpint (setrlimit (RLIMIT_NOFILE, &none), ==, 0);
  for (guint i = 0; i < calls; i++)
    g_assert_nonnull (pilot_node_connect (fixture->node, 2, 8080, &user, NULL));
  while (n_refused < calls)
    g_main_context_iteration (NULL, TRUE);
  g_assert_cmpint (setrlimit (RLIMIT_NOFILE, &before), ==, 0);
  g_log_set_always_fatal (fatal);
  g_assert_cmpuint (n_complaints, ==, 1);
}

static int G_GNUC_PRINTF (1, 2)
    run (const char *format, ...)
{
  g_autofree char *command = NULL;
  g_autoptr (GError) error = NULL;
  va_list arguments;
  int status;

  va_start (arguments, format);
  command = g_strdup_vprintf (format, arguments);
  va_end (arguments);
  g_spawn_command_line_sync (command, NULL, NULL, &status, &error);
  g_assert_no_error (error);
  return status;
}

#define CONNECT "nsenter -t %d -n python3 -c 'import socket; socket.create_connection((\"%s\", %d), 1)'"

/* Another host on the wire that routes our subnet through us. */
static void
test_neighbour (Fixture *fixture, gconstpointer mode)
{
  const char *argv[] = { "unshare", "-n", "sleep", "60", NULL };
  g_autofree char *options = g_strdup_printf ("{'ports': <'8080'>, 'mode': <'%s'>}", (const char *) mode);
  g_autoptr (GPtrArray) mappings = fixture_start (fixture, options, two, 1, NULL);
  g_autofree char *ours = g_file_read_link ("/proc/self/ns/net", NULL), *link = NULL;
  g_autoptr (GError) error = NULL;
  Server server;
  GPid pid;

  g_assert_nonnull (mappings);
  g_spawn_async (NULL, (char **) argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid, &error);
  g_assert_no_error (error);
  link = g_strdup_printf ("/proc/%d/ns/net", pid);
  for (guint tries = 0; tries < 500; tries++) {
    g_autofree char *theirs = g_file_read_link (link, NULL);

    if (g_strcmp0 (theirs, ours) != 0)
      break;
    g_usleep (10000);
  }
  server_start (&server, "0.0.0.0", 9090);
  g_assert_cmpint (run ("ip link add gateway0 type veth peer name gateway1 netns %d", pid), ==, 0);
  g_assert_cmpint (run ("ip addr add 192.0.2.1/24 dev gateway0"), ==, 0);
  g_assert_cmpint (run ("ip link set gateway0 up"), ==, 0);
  g_assert_cmpint (run ("nsenter -t %d -n sh -c 'ip link set lo up; ip addr add 192.0.2.2/24 dev gateway1; ip link set gateway1 up; "
                        "ip route add 10.4.0.0/16 via 192.0.2.1'",
                        pid),
                   ==, 0);
  /* The way there works; the mapped address is not to be had. */
  g_assert_cmpint (run (CONNECT, pid, "192.0.2.1", 9090), ==, 0);
  g_assert_cmpint (run (CONNECT, pid, "10.4.0.1", 8080), !=, 0);
  /* With rules not even our own server by that name. */
  if (strcmp (mode, "redirect") == 0)
    g_assert_cmpint (run (CONNECT, pid, "10.4.0.1", 9090), !=, 0);
  g_assert_cmpuint (pilot_mapping_get_total (g_ptr_array_index (mappings, 0)), ==, 0);
  kill (pid, SIGTERM);
  g_assert_cmpint (waitpid (pid, NULL, 0), ==, pid);
  server_stop (&server);
}

int
main (int argc, char **argv)
{
  struct rlimit files = { 4096, 4096 };

  g_test_init (&argc, &argv, NULL);
  enter_namespace ();
  setrlimit (RLIMIT_NOFILE, &files);
  g_log_set_writer_func (count_complaints, NULL, NULL);
#define ADD(path, data, func) g_test_add (path, Fixture, data, fixture_set_up, func, fixture_tear_down)
  g_test_add_func ("/gateway/source-addresses", test_source_addresses);
  ADD ("/gateway/end-to-end/redirect", "redirect", test_end_to_end);
  ADD ("/gateway/end-to-end/listen", "listen", test_end_to_end);
  ADD ("/gateway/parallel", NULL, test_parallel);
  ADD ("/gateway/own-server", NULL, test_own_server);
  ADD ("/gateway/network-only", NULL, test_network_only);
  ADD ("/gateway/no-way-to-ourselves", NULL, test_no_way_to_ourselves);
  ADD ("/gateway/dead-peer/redirect", "redirect", test_dead_peer);
  ADD ("/gateway/dead-peer/listen", "listen", test_dead_peer);
  ADD ("/gateway/neighbour/redirect", "redirect", test_neighbour);
  ADD ("/gateway/neighbour/listen", "listen", test_neighbour);
  ADD ("/gateway/unmap-ends-connections", NULL, test_unmap_ends_connections);
  ADD ("/gateway/untrust-ends-connections", NULL, test_untrust_ends_connections);
  ADD ("/gateway/untrust-ends-inbound", NULL, test_untrust_ends_inbound);
  ADD ("/gateway/share-of-dials", NULL, test_share_of_dials);
  ADD ("/gateway/share-of-connections", NULL, test_share_of_connections);
  ADD ("/gateway/no-descriptors", NULL, test_no_descriptors);
  return g_test_run ();
}
