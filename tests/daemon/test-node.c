/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <glib/gstdio.h>

#include "daemon/node/node-private.h"
#include "libpilot/pilot-error.h"
#include "protocol/frame.h"
#include "tests/daemon/pair.h"

static void
test_restart (void)
{
  World world;
  guint32 before;

  start_two (&world);
  befriend (&world);
  assert_ping (&world, 0, 1, "");
  before = id (&world, 1);
  host_stop (&world.hosts[1]);
  host_start (&world, 1);
  g_assert_cmpuint (id (&world, 1), ==, before);
  g_assert_true (trusts (&world, 1, 0));
  assert_access (&world, 1, 0, "all");
  assert_ping (&world, 1, 0, "");
  assert_ping (&world, 0, 1, "");
  world_clear (&world);
}

/* Without registry and beacon nodes that know each other's place go on; when they are back everything is found again. */
static void
test_rendezvous_away (void)
{
  World world;

  start_two (&world);
  befriend (&world);
  assert_ping (&world, 0, 1, "");
  /* What is under way through a relay that ends is lost, and a ping is one packet. */
  WAIT (15, is_direct (&world, 0, 1) && is_direct (&world, 1, 0));
  world_stop_rendezvous (&world);
  WAIT (LANDS, strcmp (pilot_node_get_state (world.hosts[0].node), "connecting") == 0);
  g_assert_cmpstr (pilot_node_get_state_detail (world.hosts[0].node), !=, "");
  assert_ping (&world, 0, 1, "");
  assert_ping (&world, 1, 0, "");
  world_start_rendezvous (&world);
  WAIT (30, strcmp (pilot_node_get_state (world.hosts[0].node), "online") == 0 && strcmp (pilot_node_get_state (world.hosts[1].node), "online") == 0);
  assert_ping (&world, 0, 1, "");
  world_clear (&world);
}

static void
test_starts_without_registry (void)
{
  World world;
  g_autoptr (GError) error = NULL;

  world_init (&world);
  world_stop_rendezvous (&world);
  g_assert_true (host_try_start (&world, 0, &error));
  g_assert_no_error (error);
  g_assert_cmpstr (pilot_node_get_state (world.hosts[0].node), ==, "connecting");
  WAIT (LANDS, strstr (pilot_node_get_state_detail (world.hosts[0].node), "registry 127.0.0.1:") != NULL);
  world_start_rendezvous (&world);
  WAIT (30, strcmp (pilot_node_get_state (world.hosts[0].node), "online") == 0);
  world_clear (&world);
}

typedef struct {
  GAsyncResult *result;
} Wait;

static void
on_done (GObject *source, GAsyncResult *result, gpointer user_data)
{
  ((Wait *) user_data)->result = g_object_ref (result);
}

static guint32
resolve (World *world, guint at, const char *text, GError **error)
{
  Wait wait = { NULL };
  PilotNodeName *name;
  guint32 node = 0;

  pilot_node_resolve_async (world->hosts[at].node, text, NULL, on_done, &wait);
  WAIT (10, wait.result != NULL);
  name = pilot_node_resolve_finish (world->hosts[at].node, wait.result, error);
  if (name != NULL)
    node = name->node;
  pilot_node_name_free (name);
  g_object_unref (wait.result);
  return node;
}

static void
test_names (void)
{
  World world;
  Wait wait = { NULL };
  g_autoptr (GError) error = NULL;

  start_two (&world);
  pilot_node_set_hostname_async (world.hosts[1].node, "agent-beta", NULL, on_done, &wait);
  WAIT (LANDS, wait.result != NULL);
  g_assert_true (pilot_node_set_hostname_finish (world.hosts[1].node, wait.result, &error));
  g_assert_no_error (error);
  g_clear_object (&wait.result);
  g_assert_cmpstr (pilot_node_get_hostname (world.hosts[1].node), ==, "agent-beta");
  pilot_node_set_hostname_async (world.hosts[1].node, "893", NULL, on_done, &wait);
  WAIT (LANDS, wait.result != NULL);
  g_assert_false (pilot_node_set_hostname_finish (world.hosts[1].node, wait.result, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  g_clear_object (&wait.result);

  /* A private node is found by those it trusts, and by nobody else. */
  g_assert_cmpuint (resolve (&world, 0, "agent-beta", &error), ==, 0);
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND);
  g_assert_nonnull (strstr (pilot_error_get_hint (error), "number or address"));
  g_clear_error (&error);
  befriend (&world);
  g_assert_cmpuint (resolve (&world, 0, "agent-beta", &error), ==, id (&world, 1));
  g_assert_no_error (error);
  g_assert_cmpuint (resolve (&world, 0, "0:0000.0000.037D", &error), ==, 893);
  g_assert_cmpuint (resolve (&world, 0, "893", &error), ==, 893);
  g_assert_no_error (error);
  g_assert_cmpuint (resolve (&world, 0, "not a name", &error), ==, 0);
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  world_clear (&world);
}

static gboolean
sees_as (World *world, guint host, guint peer, const char *hostname)
{
  PilotPeerView *view = pilot_node_get_peer (world->hosts[host].node, id (world, peer));
  gboolean same = view != NULL && strcmp (view->hostname, hostname) == 0;

  g_clear_pointer (&view, pilot_peer_view_free);
  return same;
}

/* A name given by a flag once is the registry's, not the configuration's: after a restart without the flag both ends still know it. */
static void
test_name_kept (void)
{
  World world;
  Wait wait = { NULL };
  g_autoptr (GError) error = NULL;
  g_autofree char *path = NULL;

  start_two (&world);
  pilot_node_set_hostname_async (world.hosts[1].node, "agent-beta", NULL, on_done, &wait);
  WAIT (LANDS, wait.result != NULL);
  g_assert_true (pilot_node_set_hostname_finish (world.hosts[1].node, wait.result, &error));
  g_clear_object (&wait.result);
  befriend (&world);
  host_stop (&world.hosts[0]);
  host_stop (&world.hosts[1]);
  path = g_build_filename (world.hosts[1].folder, "config.json", NULL);
  g_assert_cmpint (g_unlink (path), ==, 0);
  host_start (&world, 1);
  g_assert_cmpstr (pilot_node_get_hostname (world.hosts[1].node), ==, "agent-beta");
  host_start (&world, 0);
  assert_ping (&world, 0, 1, "");
  WAIT (LANDS, sees_as (&world, 0, 1, "agent-beta"));
  world_clear (&world);
}

/* A public node answers strangers on port 444 only; on others there is silence, not a refusal. Trusted, a closed port is refused at once. */
static void
test_strangers (void)
{
  World world;
  Wait wait = { NULL };
  g_autoptr (GError) error = NULL;
  gint64 began;

  start_two (&world);
  pilot_node_set_public_async (world.hosts[1].node, TRUE, NULL, on_done, &wait);
  WAIT (LANDS, wait.result != NULL);
  g_assert_true (pilot_node_set_public_finish (world.hosts[1].node, wait.result, &error));
  g_clear_object (&wait.result);
  assert_ping (&world, 0, 1, "timeout");

  befriend (&world);
  assert_ping (&world, 0, 1, "");
  pilot_echo_stop (world.hosts[1].echo);
  began = g_get_monotonic_time ();
  assert_ping (&world, 0, 1, "refused");
  g_assert_cmpint (g_get_monotonic_time () - began, <, G_USEC_PER_SEC / 2);
  world_clear (&world);
}

typedef struct {
  PilotStreamUser user; /* first */
  PilotStream *stream;
  guint *opened;
} Echo;

static void
echo_ready (PilotStreamUser *user, PilotStream *stream, guint ready)
{
  *((Echo *) user)->opened += (ready & PILOT_STREAM_READY_OPEN) != 0;
}

static gboolean
echoes (World *world, guint from, guint to)
{
  g_autofree char *outcome = host_ping (&world->hosts[from], id (world, to), 6000);

  return *outcome == '\0';
}

/* One peer has not all of what there is: others still ping. */
static void
test_echo_shares (void)
{
  static Echo streams[256];
  World world;
  guint opened = 0;

  start_two (&world);
  befriend (&world);
  for (guint i = 0; i < G_N_ELEMENTS (streams); i++) {
    streams[i] = (Echo) { .user.ready = echo_ready, .opened = &opened };
    streams[i].stream = pilot_node_connect (world.hosts[0].node, id (&world, 1), 7, &streams[i].user, NULL);
    g_assert_nonnull (streams[i].stream);
  }
  WAIT (LANDS, opened == G_N_ELEMENTS (streams));
  assert_ping (&world, 0, 1, "refused");
  /* The other way is somebody else's share; and what is given back is free. */
  assert_ping (&world, 1, 0, "");
  for (guint i = 0; i < G_N_ELEMENTS (streams); i++) {
    pilot_stream_set_user_data (streams[i].stream, NULL);
    pilot_stream_reset (streams[i].stream, g_get_monotonic_time ());
    pilot_stream_release (streams[i].stream, g_get_monotonic_time ());
  }
  pilot_node_kick (world.hosts[0].node);
  WAIT (LANDS, echoes (&world, 0, 1));
  world_clear (&world);
}

/* Somebody names node ids that are not his: all that is left of it is a count. */
static void
test_strangers_leave_nothing (void)
{
  World world;
  PilotNode *node;
  PilotIdentity identity;
  guint8 seed[PILOT_ED25519_SEED_SIZE] = { 3 }, x25519[PILOT_X25519_KEY_SIZE] = { 9 }, frame[PILOT_FRAME_PILA_SIZE];
  g_autoptr (GArray) own = NULL;
  g_autoptr (GSocket) socket = g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_DATAGRAM, G_SOCKET_PROTOCOL_UDP, NULL);
  g_autoptr (GSocketAddress) to = NULL;
  gint64 settled;
  gboolean seen = FALSE;

  start_two (&world);
  node = world.hosts[0].node;
  own = pilot_driver_get_endpoints (node->driver);
  to = g_inet_socket_address_new_from_string ("127.0.0.1", g_array_index (own, PilotEndpoint, 0).port);
  pilot_identity_init (&identity, seed);
  for (guint32 claimed = 100; claimed < 104; claimed++) {
    pilot_frame_build_pila (frame, claimed, x25519, &identity);
    g_assert_cmpint (g_socket_send_to (socket, to, (const char *) frame, sizeof frame, NULL, NULL), ==, sizeof frame);
  }
  settled = g_get_monotonic_time () + G_USEC_PER_SEC;
  while (g_get_monotonic_time () < settled) {
    seen |= g_hash_table_contains (node->peers, GUINT_TO_POINTER (103));
    WAIT (1, TRUE);
    g_main_context_iteration (NULL, FALSE);
  }
  g_assert_true (seen);
  for (guint32 claimed = 100; claimed < 104; claimed++)
    g_assert_false (g_hash_table_contains (node->peers, GUINT_TO_POINTER (claimed)));
  world_clear (&world);
}

/* --- datagrams --- */

#define DATAGRAM_PORT 4000

static void
on_datagram (PilotNode *node, const PilotNodeDatagram *datagram, gpointer user_data)
{
  g_string_append_printf (user_data, "%u>%u %.*s;", datagram->source_port, datagram->port, (int) datagram->length, (const char *) datagram->data);
}

static void
send_datagram (World *world, guint from, guint to, guint16 port, const char *text)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (pilot_node_send_datagram (world->hosts[from].node, id (world, to), 1234, port, text, strlen (text), &error));
  g_assert_no_error (error);
}

/* The first waits for the tunnel; a port that is not bound, an unbound one and a peer no longer trusted get nothing. */
static void
test_datagrams (void)
{
  World world;
  g_autoptr (GString) got = g_string_new (NULL), others = g_string_new (NULL);
  g_autoptr (GError) error = NULL;
  PilotNode *receiver;

  start_two (&world);
  befriend (&world);
  receiver = world.hosts[1].node;
  g_assert_true (pilot_node_bind_datagram (receiver, DATAGRAM_PORT, on_datagram, got, NULL));
  g_assert_false (pilot_node_bind_datagram (receiver, DATAGRAM_PORT, on_datagram, got, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS);
  g_clear_error (&error);
  send_datagram (&world, 0, 1, DATAGRAM_PORT + 1, "nobody");
  send_datagram (&world, 0, 1, DATAGRAM_PORT, "one");
  WAIT (LANDS, got->len > 0);
  g_assert_cmpstr (got->str, ==, "1234>4000 one;");

  g_assert_true (pilot_node_bind_datagram (receiver, 0, on_datagram, others, NULL));
  send_datagram (&world, 0, 1, DATAGRAM_PORT + 1, "two");
  WAIT (LANDS, others->len > 0);
  g_assert_cmpstr (others->str, ==, "1234>4001 two;");
  g_assert_cmpstr (got->str, ==, "1234>4000 one;");
  pilot_node_unbind_datagram (receiver, DATAGRAM_PORT);
  send_datagram (&world, 0, 1, DATAGRAM_PORT, "three");
  WAIT (LANDS, g_str_has_suffix (others->str, "three;"));

  g_assert_false (pilot_node_send_datagram (world.hosts[0].node, id (&world, 1), 0, DATAGRAM_PORT, "", 0, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  g_assert_false (pilot_node_send_datagram (world.hosts[0].node, id (&world, 0), 0, DATAGRAM_PORT, "x", 1, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);

  g_string_truncate (others, 0);
  g_assert_true (pilot_trust_untrust (trust (&world, 1), id (&world, 0), NULL));
  WAIT (LANDS, !trusts (&world, 0, 1));
  pilot_node_send_datagram (world.hosts[0].node, id (&world, 1), 0, DATAGRAM_PORT, "four", 4, NULL);
  /* Long enough for it to have come. */
  assert_ping (&world, 0, 1, "trust_required");
  g_assert_cmpstr (others->str, ==, "");
  world_clear (&world);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_log_set_writer_func (pair_filter_log, NULL, NULL);
  g_test_add_func ("/daemon/node/restart", test_restart);
  g_test_add_func ("/daemon/node/rendezvous-away", test_rendezvous_away);
  g_test_add_func ("/daemon/node/starts-without-registry", test_starts_without_registry);
  g_test_add_func ("/daemon/node/datagrams", test_datagrams);
  g_test_add_func ("/daemon/node/names", test_names);
  g_test_add_func ("/daemon/node/name-kept", test_name_kept);
  g_test_add_func ("/daemon/node/strangers", test_strangers);
  g_test_add_func ("/daemon/node/echo-shares", test_echo_shares);
  g_test_add_func ("/daemon/node/strangers-leave-nothing", test_strangers_leave_nothing);
  return g_test_run ();
}
