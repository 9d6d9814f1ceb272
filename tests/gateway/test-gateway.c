/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The whole gateway in a network namespace: real rules, real sockets, the real allocator; streams in memory lead to its own inbound bridge. */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "allocator-sequential.h"
#include "daemon/gateway/gateway.h"
#include "daemon/gateway/inbound.h"
#include "daemon/gateway/port-list.h"
#include "daemon/helper/privileged-remote.h"
#include "daemon/helper/subnet.h"
#include "libpilot/pilot-error.h"
#include "tests/gateway/fake-node.h"
#include "tests/gateway/namespace.h"

typedef struct {
  char *directory;
  PilotPoller *poller;
  PilotNode *node;
  PilotAllocator *allocator;
  PilotGateway *gateway;
} Fixture;

/* The one plugin there is. */
PilotPlugin *
pilot_plugin_loader_get_enabled (PilotPluginLoader *loader, PilotPluginKind kind, const gchar *name)
{
  return PILOT_PLUGIN ((gpointer) loader);
}

static G_GNUC_NO_INLINE char *
output_of (const char *command)
{
  char *output = NULL;

  g_spawn_command_line_sync (command, &output, NULL, NULL, NULL);
  return output;
}

static void
begin_run (Fixture *fixture)
{
  fixture->poller = pilot_poller_new (NULL, NULL);
  fixture->node = fake_node_new (fixture->poller, fixture->directory);
  fixture->allocator = g_object_new (PILOT_TYPE_ALLOCATOR_SEQUENTIAL, NULL);
  fixture->gateway = pilot_gateway_new (fixture->node, (gpointer) fixture->allocator);
}

/* As a crash would: nothing is told, nothing cleaned, descriptors are closed. */
static void
end_run (Fixture *fixture)
{
  pilot_gateway_shutdown (fixture->gateway);
  while (g_main_context_iteration (NULL, FALSE))
    ;
  g_object_unref (fixture->gateway);
  g_object_unref (fixture->allocator);
  g_object_unref (fixture->node);
  pilot_poller_free (fixture->poller);
}

static void
got_result (GObject *source, GAsyncResult *result, gpointer user_data)
{
  *(GAsyncResult **) user_data = g_object_ref (result);
}

static GAsyncResult *
wait_for (GAsyncResult **result)
{
  while (*result == NULL)
    g_main_context_iteration (NULL, TRUE);
  return *result;
}

static GPtrArray *
start (Fixture *fixture, const char *options, const guint32 *nodes, guint n_nodes, GError **error)
{
  g_autoptr (GVariant) variant = g_variant_ref_sink (g_variant_parse (G_VARIANT_TYPE_VARDICT, options, NULL, NULL, NULL));
  g_autofree PilotAddress *addresses = g_new0 (PilotAddress, n_nodes + 1);
  g_autoptr (GAsyncResult) result = NULL;

  for (guint i = 0; i < n_nodes; i++)
    addresses[i].node = nodes[i];
  pilot_gateway_start_async (fixture->gateway, variant, addresses, n_nodes, NULL, got_result, &result);
  return pilot_gateway_start_finish (fixture->gateway, wait_for (&result), error);
}

static PilotMapping *
map (Fixture *fixture, guint32 node, const char *local, GError **error)
{
  PilotAddress address = { 0, node };
  g_autoptr (GAsyncResult) result = NULL;

  pilot_gateway_map_async (fixture->gateway, &address, local, NULL, NULL, got_result, &result);
  return pilot_gateway_map_finish (fixture->gateway, wait_for (&result), error);
}

static gboolean
unmap (Fixture *fixture, const char *local, GError **error)
{
  g_autoptr (GAsyncResult) result = NULL;

  pilot_gateway_unmap_async (fixture->gateway, local, NULL, got_result, &result);
  return pilot_gateway_unmap_finish (fixture->gateway, wait_for (&result), error);
}

static gboolean
stop (Fixture *fixture, GError **error)
{
  g_autoptr (GAsyncResult) result = NULL;

  pilot_gateway_stop_async (fixture->gateway, NULL, got_result, &result);
  return pilot_gateway_stop_finish (fixture->gateway, wait_for (&result), error);
}

static gboolean
restore (Fixture *fixture, GError **error)
{
  g_autoptr (GAsyncResult) result = NULL;

  pilot_gateway_restore_async (fixture->gateway, NULL, got_result, &result);
  return pilot_gateway_restore_finish (fixture->gateway, wait_for (&result), error);
}

static void
set_up (Fixture *fixture, gconstpointer data)
{
  fixture->directory = g_dir_make_tmp ("gateway-XXXXXX", NULL);
  begin_run (fixture);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = g_build_filename (fixture->directory, "gateway.json", NULL);
  g_autofree char *addresses = NULL, *rules = NULL;

  stop (fixture, NULL);
  end_run (fixture);
  addresses = output_of ("ip -4 addr show lo label lo:pilot*");
  g_assert_cmpstr (addresses, ==, "");
  rules = output_of ("nft list ruleset");
  g_assert_cmpstr (rules, ==, "");
  g_unlink (path);
  g_assert_cmpint (g_rmdir (fixture->directory), ==, 0);
  g_free (fixture->directory);
}

/* ---- servers and clients, each in a thread, with blocking sockets ---- */

static struct sockaddr_in
name_of (const char *address, guint16 port)
{
  guint32 value = 0;

  g_assert_true (pilot_ipv4_parse (address, &value, NULL));
  return (struct sockaddr_in) { .sin_family = AF_INET, .sin_port = htons (port), .sin_addr.s_addr = htonl (value) };
}

typedef struct {
  int listener;
  GThread *thread;
  gint connections;
  gint last_source; /* IPv4, host order */
} Server;

/* Reads up to the FIN, then answers with all of it: needs half-close. */
static gpointer
serve_one (gpointer data)
{
  int fd = GPOINTER_TO_INT (data);
  g_autoptr (GByteArray) all = g_byte_array_new ();
  guint8 buffer[16384];
  gssize got;

  while ((got = recv (fd, buffer, sizeof buffer, 0)) > 0)
    g_byte_array_append (all, buffer, got);
  for (gsize sent = 0; got == 0 && sent < all->len;) {
    gssize put = send (fd, all->data + sent, all->len - sent, MSG_NOSIGNAL);

    if (put <= 0)
      break;
    sent += put;
  }
  close (fd);
  return NULL;
}

static gpointer
serve (gpointer data)
{
  Server *server = data;
  struct sockaddr_in name;
  socklen_t length = sizeof name;
  int fd;

  while ((fd = accept (server->listener, (struct sockaddr *) &name, &length)) >= 0) {
    g_atomic_int_set (&server->last_source, (gint) ntohl (name.sin_addr.s_addr));
    g_atomic_int_inc (&server->connections);
    g_thread_unref (g_thread_new ("serve", serve_one, GINT_TO_POINTER (fd)));
  }
  return NULL;
}

static void
server_start (Server *server, const char *address, guint16 port)
{
  struct sockaddr_in name = name_of (address, port);
  int one = 1;

  *server = (Server) { .listener = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
  setsockopt (server->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  g_assert_cmpint (bind (server->listener, (struct sockaddr *) &name, sizeof name), ==, 0);
  g_assert_cmpint (listen (server->listener, 512), ==, 0);
  server->thread = g_thread_new ("server", serve, server);
}

static void
server_stop (Server *server)
{
  shutdown (server->listener, SHUT_RD);
  g_thread_join (server->thread);
  close (server->listener);
}

typedef struct {
  const char *address;
  guint16 port;
  gsize length;
  int connect_error, read_error;
  gint64 took_us;
  gboolean matches;
  gint done;
} Client;

static gpointer
client_run (gpointer data)
{
  Client *client = data;
  struct sockaddr_in name = name_of (client->address, client->port);
  g_autofree guint8 *sent = g_malloc (client->length + 1), *received = g_malloc (client->length + 1);
  struct timeval limit = { 20, 0 };
  gint64 begin = g_get_monotonic_time ();
  gsize length = 0;
  gssize got = 0;
  int send_error = 0;
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

  for (gsize i = 0; i < client->length; i++)
    sent[i] = i * 31 + (i >> 8) + client->port;
  setsockopt (fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt (fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (connect (fd, (struct sockaddr *) &name, sizeof name) != 0)
    client->connect_error = errno;
  else {
    for (gsize at = 0; at < client->length && (got = send (fd, sent + at, client->length - at, MSG_NOSIGNAL)) > 0; at += got)
      ;
    send_error = got < 0 ? errno : 0;
    shutdown (fd, SHUT_WR);
    while (length <= client->length && (got = recv (fd, received + length, client->length + 1 - length, 0)) > 0)
      length += got;
    /* A reset that came before we had said everything was told to send(). */
    client->read_error = send_error != 0 ? ECONNRESET : got < 0 ? errno
                                                                : 0;
    client->matches = got == 0 && length == client->length && memcmp (sent, received, length) == 0;
  }
  close (fd);
  client->took_us = g_get_monotonic_time () - begin;
  g_atomic_int_set (&client->done, 1);
  return NULL;
}

/* Runs clients while the loop turns. */
static void
clients_run (Client *clients, guint n_clients)
{
  g_autofree GThread **threads = g_new0 (GThread *, n_clients);

  for (guint i = 0; i < n_clients; i++)
    threads[i] = g_thread_new ("client", client_run, &clients[i]);
  for (guint i = 0; i < n_clients; i++) {
    while (!g_atomic_int_get (&clients[i].done))
      if (!g_main_context_iteration (NULL, FALSE))
        g_usleep (200);
    g_thread_join (threads[i]);
  }
}

static Client
request (const char *address, guint16 port, gsize length)
{
  Client client = { .address = address, .port = port, .length = length };

  clients_run (&client, 1);
  return client;
}

/* ---- tests ---- */

static const guint32 two[] = { 2 };

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
  mappings = start (fixture, options, two, 1, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (mappings->len, ==, 1);
  mapping = g_ptr_array_index (mappings, 0);
  g_assert_cmpstr (pilot_mapping_get_local_address (mapping), ==, "10.4.0.1");
  g_assert_cmpstr (pilot_mapping_get_state (mapping), ==, "up");
  g_assert_cmpstr (pilot_gateway_get_mode (fixture->gateway), ==, mode);
  g_assert_cmpuint (pilot_mapping_get_ports (mapping)->len, ==, 3);

  client = request ("10.4.0.1", 8080, 3 * 1024 * 1024);
  g_assert_cmpint (client.connect_error, ==, 0);
  g_assert_cmpint (client.read_error, ==, 0);
  g_assert_true (client.matches);
  g_assert_true (pilot_ipv4_parse ("10.4.0.1", &source, NULL));
  g_assert_cmpuint ((guint32) g_atomic_int_get (&server.last_source), ==, source);
  g_assert_cmpuint (pilot_mapping_get_total (mapping), ==, 1);
  g_assert_cmpuint (pilot_mapping_get_bytes_in (mapping), ==, 3 * 1024 * 1024);
  g_assert_cmpuint (pilot_mapping_get_bytes_out (mapping), ==, 3 * 1024 * 1024);

  /* Nothing listens on the peer: reset at once, and said why. A port that is not mapped is not even connected. */
  client = request ("10.4.0.1", 9000, 10);
  g_assert_cmpint (client.read_error, ==, ECONNRESET);
  g_assert_cmpint (client.took_us, <, G_USEC_PER_SEC);
  g_assert_cmpstr (pilot_mapping_get_last_error (mapping), !=, "");
  client = request ("10.4.0.1", 7777, 10);
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
  mappings = start (fixture, "{}", two, 1, &error);
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
  mappings = start (fixture, "{}", two, 1, &error);
  g_assert_no_error (error);
  client = request ("10.4.0.1", 8080, 10);
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
  mappings = start (fixture, "{}", two, 1, &error);
  g_assert_no_error (error);
  client = request ("10.4.0.1", 8080, 1000);
  g_assert_true (client.matches);
  client = request ("10.4.0.1", 8081, 1000);
  g_assert_cmpint (client.read_error, ==, ECONNRESET);
  g_assert_cmpint (g_atomic_int_get (&local.connections), ==, 0);
  server_stop (&everywhere);
  server_stop (&local);
}

/* The gateway's own listener is no server of this machine's. */
static void
test_no_way_to_ourselves (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GPtrArray) mappings = start (fixture, "{}", two, 1, NULL);
  g_autofree char *rules = output_of ("nft list chain ip pilot_0 nat_output");
  const char *place = strstr (rules, "redirect to :");
  guint16 port;
  Client client;

  g_assert_nonnull (place);
  port = strtoul (place + strlen ("redirect to :"), NULL, 10);
  client = request ("10.4.0.1", port, 10);
  g_assert_cmpint (client.read_error, ==, ECONNRESET);
  g_assert_cmpuint (pilot_mapping_get_total (g_ptr_array_index (mappings, 0)), ==, 1);
  /* Straight to it: no original destination that is mapped. */
  client = request ("127.0.0.1", port, 10);
  g_assert_cmpint (client.connect_error, ==, 0);
  g_assert_cmpint (client.read_error, ==, ECONNRESET);
  g_assert_cmpuint (pilot_mapping_get_total (g_ptr_array_index (mappings, 0)), ==, 1);
}

static void
test_dead_peer (Fixture *fixture, gconstpointer mode)
{
  static const guint32 nodes[] = { 2, 3, 4 };
  g_autofree char *options = g_strdup_printf ("{'ports': <'8080'>, 'mode': <'%s'>}", (const char *) mode);
  g_autoptr (GPtrArray) mappings = start (fixture, options, nodes, 3, NULL);
  Client client;
  Server server;
  gint64 give_up;

  g_assert_cmpuint (mappings->len, ==, 3);
  server_start (&server, "127.0.0.1", 8080);
  client = request ("10.4.0.2", 8080, 10);
  g_assert_cmpint (client.read_error, ==, ECONNRESET);
  g_assert_nonnull (strstr (pilot_mapping_get_last_error (g_ptr_array_index (mappings, 1)), "node 3"));
  /* Known to be dead now: the kernel refuses. The others live. */
  give_up = g_get_monotonic_time () + 3 * G_USEC_PER_SEC;
  do
    client = request ("10.4.0.2", 8080, 10);
  while (client.connect_error == 0 && g_get_monotonic_time () < give_up);
  g_assert_cmpint (client.connect_error, ==, ECONNREFUSED);
  client = request ("10.4.0.1", 8080, 10);
  g_assert_true (client.matches);
  /* It is tried again in a while. */
  give_up = g_get_monotonic_time () + 8 * G_USEC_PER_SEC;
  do
    client = request ("10.4.0.2", 8080, 10);
  while (client.connect_error != 0 && g_get_monotonic_time () < give_up);
  g_assert_cmpint (client.connect_error, ==, 0);

  client = request ("10.4.0.3", 8080, 10);
  g_assert_cmpint (client.read_error, ==, ECONNRESET);
  g_assert_cmpstr (pilot_mapping_get_last_error (g_ptr_array_index (mappings, 2)), ==, "node 4 is not trusted");
  server_stop (&server);
}

static void
test_table (Fixture *fixture, gconstpointer data)
{
  static const guint32 nodes[] = { 2, 5 }, ourselves[] = { 3, 1 };
  g_autoptr (GPtrArray) mappings = NULL, more = NULL, list = NULL, none = NULL;
  g_autoptr (PilotMapping) third = NULL, again = NULL, fifth = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree char *before = NULL, *after = NULL, *alias = NULL;

  g_assert_null (map (fixture, 2, NULL, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING);
  g_clear_error (&error);
  mappings = start (fixture, "{'ports': <'80'>}", nodes, 2, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (pilot_mapping_get_local_address (g_ptr_array_index (mappings, 1)), ==, "10.4.0.2");
  third = map (fixture, 3, NULL, &error);
  g_assert_cmpstr (pilot_mapping_get_local_address (third), ==, "10.4.0.3");
  fifth = map (fixture, 7, "10.4.0.9", &error);
  g_assert_cmpstr (pilot_mapping_get_local_address (fifth), ==, "10.4.0.9");
  again = map (fixture, 3, NULL, &error);
  g_assert_true (again == third);
  g_assert_no_error (error);

  /* None of these changes anything. */
  before = output_of ("sh -c 'ip addr; nft list ruleset'");
  g_assert_null (map (fixture, 3, "10.4.0.8", &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS);
  g_clear_error (&error);
  g_assert_null (map (fixture, 8, "10.4.0.9", &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS);
  g_clear_error (&error);
  g_assert_null (map (fixture, 8, "10.5.0.1", &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  g_assert_null (map (fixture, 8, "10.4.0.255", &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  g_assert_null (map (fixture, 1, NULL, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  none = start (fixture, "{'ports': <'80,65536'>}", two, 1, &error);
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  none = start (fixture, "{'ports': <'0'>}", two, 1, &error);
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  none = start (fixture, "{}", ourselves + 1, 1, &error);
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  none = start (fixture, "{'subnet': <'10.6.0.0/16'>}", two, 1, &error);
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CONFLICT);
  g_clear_error (&error);
  g_assert_false (unmap (fixture, "10.4.0.77", &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND);
  g_clear_error (&error);
  g_assert_false (unmap (fixture, "127.0.0.1", &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND);
  g_clear_error (&error);
  after = output_of ("sh -c 'ip addr; nft list ruleset'");
  g_assert_cmpstr (before, ==, after);

  /* A second start adds. */
  more = start (fixture, "{'ports': <'8080'>}", two, 1, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (pilot_mapping_get_ports (g_ptr_array_index (more, 0))->len, ==, 2);
  g_assert_true (unmap (fixture, "10.4.0.1", &error));
  g_assert_no_error (error);
  alias = output_of ("ip -4 addr show to 10.4.0.1/32");
  g_assert_cmpstr (alias, ==, "");
  list = pilot_gateway_list (fixture->gateway);
  g_assert_cmpuint (list->len, ==, 3);
  g_assert_true (stop (fixture, &error));
  g_assert_no_error (error);
  g_assert_false (stop (fixture, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING);
  g_clear_error (&error);

  /* A new gateway begins anew, with what is the default. */
  g_clear_pointer (&more, g_ptr_array_unref);
  more = start (fixture, "{'subnet': <'10.6.0.0/16'>}", two, 1, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (pilot_mapping_get_local_address (g_ptr_array_index (more, 0)), ==, "10.6.0.1");
  g_assert_true (stop (fixture, &error));
  g_clear_pointer (&more, g_ptr_array_unref);
  more = start (fixture, "{}", two, 1, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (pilot_mapping_get_local_address (g_ptr_array_index (more, 0)), ==, "10.4.0.1");
}

static void
test_overlap (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GPtrArray) mappings = NULL, again = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree char *add = output_of ("ip route add blackhole 10.4.7.0/24");
  g_autofree char *path = g_build_filename (fixture->directory, "gateway.json", NULL);
  g_autofree char *del = NULL;

  mappings = start (fixture, "{}", two, 1, &error);
  g_assert_null (mappings);
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CONFLICT);
  g_assert_nonnull (strstr (error->message, "10.4.7.0/24"));
  g_clear_error (&error);
  g_assert_false (pilot_gateway_get_active (fixture->gateway));
  g_assert_false (g_file_test (path, G_FILE_TEST_EXISTS));
  del = output_of ("ip route del blackhole 10.4.7.0/24");
  /* What the failed start took is free again. */
  again = start (fixture, "{}", two, 1, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (again->len, ==, 1);
}

static void
test_held_ports (Fixture *fixture, gconstpointer data)
{
  static const guint32 five[] = { 5 };
  g_autoptr (GPtrArray) mappings = NULL, none = NULL;
  g_autoptr (GError) error = NULL;
  const PilotMappingPort *port;
  Server held;

  server_start (&held, "0.0.0.0", 8080);
  mappings = start (fixture, "{'ports': <'80,8080'>, 'mode': <'listen'>}", two, 1, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (pilot_mapping_get_state (g_ptr_array_index (mappings, 0)), ==, "partial");
  port = g_ptr_array_index (pilot_mapping_get_ports (g_ptr_array_index (mappings, 0)), 1);
  g_assert_cmpuint (port->port, ==, 8080);
  g_assert_cmpint (port->state, ==, PILOT_PORT_HELD);
  g_assert_nonnull (strstr (port->detail, "(pid "));
  none = start (fixture, "{'ports': <'8080'>}", five, 1, &error);
  g_assert_null (none);
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS);
  server_stop (&held);
}

static void
test_restore (Fixture *fixture, gconstpointer mode)
{
  static const guint32 nodes[] = { 3, 2 };
  g_autofree char *options = g_strdup_printf ("{'ports': <'8080'>, 'mode': <'%s'>}", (const char *) mode);
  g_autoptr (GPtrArray) mappings = start (fixture, options, nodes, 2, NULL);
  g_autoptr (GPtrArray) list = NULL;
  g_autofree char *foreign = output_of ("ip addr add 10.99.0.1/32 dev lo");
  g_autofree char *left = NULL, *check = NULL;
  g_autoptr (GError) error = NULL;
  Server server;
  Client client;

  g_assert_nonnull (mappings);
  g_clear_pointer (&mappings, g_ptr_array_unref);
  end_run (fixture);
  /* The addresses are still there, and nobody answers on them. */
  left = output_of ("ip -4 addr show lo label lo:pilot0");
  g_assert_nonnull (strstr (left, "10.4.0.2"));
  client = request ("10.4.0.2", 8080, 10);
  g_assert_cmpint (client.connect_error, ==, ECONNREFUSED);

  begin_run (fixture);
  g_assert_true (restore (fixture, &error));
  g_assert_no_error (error);
  list = pilot_gateway_list (fixture->gateway);
  g_assert_cmpuint (list->len, ==, 2);
  g_assert_cmpstr (pilot_mapping_get_local_address (g_ptr_array_index (list, 1)), ==, "10.4.0.2");
  g_assert_cmpstr (pilot_mapping_get_state (g_ptr_array_index (list, 1)), ==, "up");
  server_start (&server, "127.0.0.1", 8080);
  client = request ("10.4.0.2", 8080, 1000);
  g_assert_true (client.matches);
  server_stop (&server);
  check = output_of ("ip -4 addr show to 10.99.0.1/32");
  g_assert_nonnull (strstr (check, "10.99.0.1"));
  g_free (output_of ("ip addr del 10.99.0.1/32 dev lo"));
}

static void
test_corrupt_state (Fixture *fixture, gconstpointer data)
{
  static const char *const bad[] = {
    "",
    "{",
    "[]",
    "{}",
    "{\"subnet\":\"10.4.0.0/16\",\"ports\":\"\",\"mode\":\"\",\"mappings\":[{}]}",
    "{\"subnet\":\"10.4.0.0/16\",\"ports\":\"\",\"mode\":\"\",\"mappings\":[{\"pilot_addr\":\"0:0000.0000.0002\",\"local_ip\":\"10.5.0.1\",\"ports\":\"\"}]}",
    "{\"subnet\":\"10.4.0.0/16\",\"ports\":\"x\",\"mode\":\"\",\"mappings\":[]}",
  };
  g_autofree char *path = g_build_filename (fixture->directory, "gateway.json", NULL);

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;
    g_autofree char *text = NULL;

    g_assert_true (g_file_set_contents (path, bad[i], -1, NULL));
    g_assert_false (restore (fixture, &error));
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT);
    g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
    g_assert_cmpstr (text, ==, bad[i]);
  }
}

static void
test_unmap_ends_connections (Fixture *fixture, gconstpointer data)
{
  static const guint32 five[] = { 5 };
  g_autoptr (GPtrArray) mappings = start (fixture, "{}", five, 1, NULL);
  struct sockaddr_in name = name_of ("10.4.0.1", 80);
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  g_autoptr (GError) error = NULL;
  char byte;

  g_assert_cmpint (connect (fd, (struct sockaddr *) &name, sizeof name), ==, 0);
  while (pilot_mapping_get_open (g_ptr_array_index (mappings, 0)) == 0)
    g_main_context_iteration (NULL, TRUE);
  g_assert_true (unmap (fixture, "10.4.0.1", &error));
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
  g_autoptr (GPtrArray) mappings = start (fixture, "{}", both, 2, NULL);
  int fds[2];
  char byte;

  for (guint i = 0; i < 2; i++) {
    struct sockaddr_in name = name_of (i == 0 ? "10.4.0.1" : "10.4.0.2", 80);

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
  g_autoptr (GPtrArray) mappings = start (fixture, "{'ports': <'8080'>}", two, 1, NULL);
  struct sockaddr_in name = name_of ("10.4.0.1", 8080), here = name_of ("127.0.0.1", 8080);
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
  g_autoptr (GPtrArray) mappings = start (fixture, options, two, 1, NULL);
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

/* ---- an ordinary user's daemon, with pilot-helper ---- */

#define USER 12345

static const char *helper_program;

static void
become (uid_t uid)
{
  /* The saved id stays root's; what counts, the effective capabilities, go. */
  g_assert_cmpint (setresuid (uid, uid, 0), ==, 0);
}

static void
start_helper (const char *socket)
{
  g_autofree char *command = g_strdup_printf ("%s --uid %d --subnet 10.4.0.0/16 --socket %s", helper_program, USER, socket);
  g_autoptr (GError) error = NULL;
  int status;

  become (0);
  g_spawn_command_line_sync (command, NULL, NULL, &status, &error);
  g_assert_no_error (error);
  g_assert_cmpint (status, ==, 0);
  become (USER);
}

static void
user_set_up (Fixture *fixture, gconstpointer data)
{
  fixture->directory = g_dir_make_tmp ("gateway-XXXXXX", NULL);
  g_assert_cmpint (chown (fixture->directory, USER, USER), ==, 0);
  become (USER);
  begin_run (fixture);
}

static void
user_tear_down (Fixture *fixture, gconstpointer data)
{
  become (0);
  tear_down (fixture, data);
}

static void
test_user (Fixture *fixture, gconstpointer data)
{
  g_autofree char *folder = NULL, *socket = NULL, *lock = NULL, *state = g_build_filename (fixture->directory, "gateway.json", NULL);
  g_autoptr (GPtrArray) mappings = NULL, list = NULL;
  g_autoptr (GError) error = NULL;
  Server server;
  Client client;

  become (0);
  folder = g_dir_make_tmp ("gateway-XXXXXX", NULL);
  g_assert_cmpint (chmod (folder, 0755), ==, 0);
  socket = g_build_filename (folder, "helper.sock", NULL);
  lock = g_strconcat (socket, ".lock", NULL);
  become (USER);
  fake_node_set_helper_socket (fixture->node, socket);
  server_start (&server, "127.0.0.1", 8080);

  /* Nobody helps: refused, with the remedy, and nothing is left of it. */
  mappings = start (fixture, "{}", two, 1, &error);
  g_assert_null (mappings);
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED);
  g_assert_nonnull (strstr (pilot_error_get_hint (error), "sudo pilotctl gateway start"));
  g_clear_error (&error);
  g_assert_false (pilot_gateway_get_active (fixture->gateway));
  g_assert_false (g_file_test (state, G_FILE_TEST_EXISTS));

  start_helper (socket);
  mappings = start (fixture, "{}", two, 1, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (pilot_gateway_get_mode (fixture->gateway), ==, "redirect");
  client = request ("10.4.0.1", 8080, 100000);
  g_assert_true (client.matches);
  g_clear_pointer (&mappings, g_ptr_array_unref);

  /* The daemon dies and comes back; the helper has kept everything. */
  end_run (fixture);
  client = request ("10.4.0.1", 8080, 10);
  g_assert_cmpint (client.connect_error != 0 || client.read_error != 0, ==, TRUE);
  begin_run (fixture);
  fake_node_set_helper_socket (fixture->node, socket);
  g_assert_true (restore (fixture, &error));
  g_assert_no_error (error);
  g_clear_pointer (&list, g_ptr_array_unref);
  list = pilot_gateway_list (fixture->gateway);
  g_assert_cmpstr (pilot_mapping_get_last_error (g_ptr_array_index (list, 0)), ==, "");
  g_assert_cmpstr (pilot_mapping_get_state (g_ptr_array_index (list, 0)), ==, "up");
  g_clear_pointer (&list, g_ptr_array_unref);
  client = request ("10.4.0.1", 8080, 100000);
  g_assert_true (client.matches);
  end_run (fixture);

  /* As after a reboot: no helper, no address. The mapping is still known and says what it needs. */
  become (0);
  g_assert_true (pilot_helper_quit (socket, &error));
  become (USER);
  begin_run (fixture);
  fake_node_set_helper_socket (fixture->node, socket);
  g_assert_true (restore (fixture, &error));
  g_assert_no_error (error);
  list = pilot_gateway_list (fixture->gateway);
  g_assert_cmpuint (list->len, ==, 1);
  g_assert_cmpstr (pilot_mapping_get_state (g_ptr_array_index (list, 0)), ==, "needs-privilege");
  start_helper (socket);
  mappings = start (fixture, "{}", NULL, 0, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (pilot_mapping_get_state (g_ptr_array_index (list, 0)), ==, "up");
  client = request ("10.4.0.1", 8080, 100000);
  g_assert_true (client.matches);

  g_assert_true (stop (fixture, &error));
  g_assert_no_error (error);
  server_stop (&server);
  become (0);
  for (guint tries = 0; g_file_test (socket, G_FILE_TEST_EXISTS) && tries < 500; tries++)
    g_usleep (10000);
  g_assert_false (g_file_test (socket, G_FILE_TEST_EXISTS));
  g_unlink (lock);
  g_rmdir (folder);
}

/* The 127.x subnet needs no privilege at all. */
static void
test_user_loopback (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GPtrArray) mappings = NULL;
  g_autoptr (GError) error = NULL;
  Server server;
  Client client;

  fake_node_set_helper_socket (fixture->node, "/nonexistent/helper.sock");
  server_start (&server, "127.0.0.1", 8080);
  mappings = start (fixture, "{'subnet': <'127.84.0.0/16'>, 'ports': <'8080'>}", two, 1, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (pilot_gateway_get_mode (fixture->gateway), ==, "listen");
  client = request ("127.84.0.1", 8080, 100000);
  g_assert_true (client.matches);
  server_stop (&server);
}

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
test_port_lists (void)
{
  static const char *const bad[] = { "0", "65536", "80,", ",", "a", "80-", "90-80", "-1", "1-65535", "80;90" };
  g_autoptr (GArray) ports = pilot_port_list_parse (" 443, 80,80 ,8000-8002", NULL);
  g_autofree char *text = pilot_port_list_format (ports);

  g_assert_cmpstr (text, ==, "80,443,8000,8001,8002");
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;

    g_assert_false (pilot_port_list_check (bad[i], &error));
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  }
}

int
main (int argc, char **argv)
{
  struct rlimit files = { 4096, 4096 };

  g_test_init (&argc, &argv, NULL);
  g_assert_cmpint (argc, ==, 2);
  helper_program = argv[1];
  enter_namespace ();
  setrlimit (RLIMIT_NOFILE, &files);
#define ADD(path, data, func) g_test_add (path, Fixture, data, set_up, func, tear_down)
  g_test_add_func ("/gateway/source-addresses", test_source_addresses);
  g_test_add_func ("/gateway/port-lists", test_port_lists);
  ADD ("/gateway/end-to-end/redirect", "redirect", test_end_to_end);
  ADD ("/gateway/end-to-end/listen", "listen", test_end_to_end);
  ADD ("/gateway/parallel", NULL, test_parallel);
  ADD ("/gateway/own-server", NULL, test_own_server);
  ADD ("/gateway/network-only", NULL, test_network_only);
  ADD ("/gateway/no-way-to-ourselves", NULL, test_no_way_to_ourselves);
  ADD ("/gateway/dead-peer/redirect", "redirect", test_dead_peer);
  ADD ("/gateway/dead-peer/listen", "listen", test_dead_peer);
  ADD ("/gateway/table", NULL, test_table);
  ADD ("/gateway/overlap", NULL, test_overlap);
  ADD ("/gateway/held-ports", NULL, test_held_ports);
  ADD ("/gateway/restore/redirect", "redirect", test_restore);
  ADD ("/gateway/restore/listen", "listen", test_restore);
  ADD ("/gateway/neighbour/redirect", "redirect", test_neighbour);
  ADD ("/gateway/neighbour/listen", "listen", test_neighbour);
  ADD ("/gateway/corrupt-state", NULL, test_corrupt_state);
  ADD ("/gateway/unmap-ends-connections", NULL, test_unmap_ends_connections);
  ADD ("/gateway/untrust-ends-connections", NULL, test_untrust_ends_connections);
  ADD ("/gateway/untrust-ends-inbound", NULL, test_untrust_ends_inbound);
  g_test_add ("/gateway/user/helper", Fixture, NULL, user_set_up, test_user, user_tear_down);
  g_test_add ("/gateway/user/loopback", Fixture, NULL, user_set_up, test_user_loopback, user_tear_down);
  return g_test_run ();
}
