/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A beacon whose name has several addresses, and what becomes of it when the one in use falls silent. */
#include <string.h>

#include "daemon/node/node-private.h"
#include "protocol/beacon-message.h"
#include "tests/daemon/world.h"

#define SECONDS 60
#define NAME "beacon.example"

/* --- a name with two addresses --- */

#define TEST_TYPE_RESOLVER (test_resolver_get_type ())
G_DECLARE_FINAL_TYPE (TestResolver, test_resolver, TEST, RESOLVER, GResolver)

struct _TestResolver {
  GResolver parent_instance;
};

G_DEFINE_FINAL_TYPE (TestResolver, test_resolver, G_TYPE_RESOLVER)

static void
free_addresses (gpointer list)
{
  g_resolver_free_addresses (list);
}

static void
lookup_by_name_async (GResolver *resolver, const gchar *name, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
  g_autoptr (GTask) task = g_task_new (resolver, cancellable, callback, user_data);
  GList *addresses = g_list_append (g_list_append (NULL, g_inet_address_new_from_string ("127.0.0.2")), g_inet_address_new_from_string ("127.0.0.1"));

  g_assert_cmpstr (name, ==, NAME);
  g_task_return_pointer (task, addresses, free_addresses);
}

static GList *
lookup_by_name_finish (GResolver *resolver, GAsyncResult *result, GError **error)
{
  return g_task_propagate_pointer (G_TASK (result), error);
}

static void
test_resolver_class_init (TestResolverClass *klass)
{
  G_RESOLVER_CLASS (klass)->lookup_by_name_async = lookup_by_name_async;
  G_RESOLVER_CLASS (klass)->lookup_by_name_finish = lookup_by_name_finish;
}

static void
test_resolver_init (TestResolver *self)
{
}

/* --- the beacon at the first of them --- */

typedef struct {
  GSocket *socket;
  GSource *source;
  gboolean answers;
} OtherBeacon;

static gboolean
on_datagram (GSocket *socket, GIOCondition condition, gpointer user_data)
{
  OtherBeacon *beacon = user_data;
  PilotBeaconMessage message = { .type = PILOT_BEACON_DISCOVER_REPLY };
  g_autoptr (GSocketAddress) from = NULL;
  struct sockaddr_storage native;
  guint8 data[PILOT_BEACON_ENDPOINT_MAX_SIZE];
  gsize length;

  g_assert_cmpint (g_socket_receive_from (socket, &from, (char *) data, sizeof data, NULL, NULL), >, 0);
  if (!beacon->answers)
    return G_SOURCE_CONTINUE;
  g_assert_true (g_socket_address_to_native (from, &native, sizeof native, NULL));
  g_assert_true (pilot_endpoint_from_sockaddr (&message.endpoint, (struct sockaddr *) &native, sizeof native));
  length = pilot_beacon_message_encode (&message, data, sizeof data);
  g_assert_cmpint (g_socket_send_to (socket, from, (char *) data, length, NULL, NULL), ==, length);
  return G_SOURCE_CONTINUE;
}

static void
other_beacon_open (OtherBeacon *beacon, guint16 port)
{
  g_autoptr (GSocketAddress) address = g_inet_socket_address_new_from_string ("127.0.0.2", port);
  g_autoptr (GError) error = NULL;

  beacon->answers = TRUE;
  beacon->socket = g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_DATAGRAM, G_SOCKET_PROTOCOL_UDP, &error);
  g_assert_no_error (error);
  g_assert_true (g_socket_bind (beacon->socket, address, FALSE, &error));
  g_socket_set_blocking (beacon->socket, FALSE);
  beacon->source = g_socket_create_source (beacon->socket, G_IO_IN, NULL);
  g_source_set_callback (beacon->source, G_SOURCE_FUNC (on_datagram), beacon, NULL);
  g_source_attach (beacon->source, NULL);
}

static void
other_beacon_close (OtherBeacon *beacon)
{
  g_source_destroy (beacon->source);
  g_source_unref (beacon->source);
  g_object_unref (beacon->socket);
}

/* --- the test --- */

static gboolean
hears (PilotNode *node, guint8 last_byte)
{
  return node->beacon_heard && node->beacon.address[3] == last_byte;
}

typedef struct {
  GResolver *before, *resolver;
  OtherBeacon other;
  World world;
  PilotNode *node;
} Fixture;

/* A node that uses the first of the two addresses. */
static void
set_up (Fixture *fixture, gconstpointer data)
{
  fixture->before = g_resolver_get_default ();
  fixture->resolver = g_object_new (TEST_TYPE_RESOLVER, NULL);
  g_resolver_set_default (fixture->resolver);
  world_init (&fixture->world);
  fixture->world.beacon_name = NAME;
  other_beacon_open (&fixture->other, fixture->world.beacon.port);
  host_start (&fixture->world, 0);
  fixture->node = fixture->world.hosts[0].node;
  WAIT (SECONDS, hears (fixture->node, 2));
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  other_beacon_close (&fixture->other);
  world_clear (&fixture->world);
  g_resolver_set_default (fixture->before);
  g_object_unref (fixture->resolver);
  g_object_unref (fixture->before);
}

/* Instead of when it is due, in 25 s; and again, because an answer from before may still be on its way. */
static gboolean
on_ask (gpointer user_data)
{
  PilotNode *node = user_data;

  pilot_overlay_discover (node->overlay, g_get_monotonic_time ());
  pilot_node_kick (node);
  return G_SOURCE_CONTINUE;
}

static void
on_link_changed (PilotRegistryClient *registry, gpointer user_data)
{
  ++*(guint *) user_data;
}

/* Every state there is to see, so that one that lasts a moment only is seen too. */
static void
on_changed (PilotNode *node, gpointer user_data)
{
  *(gboolean *) user_data |= strstr (pilot_node_get_state_detail (node), "the beacon " NAME) != NULL;
}

/* Heard once is not heard for ever. And what silences the beacon may silence the registry, which is asked on a new connection. */
static void
test_silent (Fixture *fixture, gconstpointer data)
{
  guint source = g_timeout_add (1000, on_ask, fixture->node), n_changes = 0;
  gboolean told = FALSE;
  gulong handler = g_signal_connect (fixture->node->registry, "link-changed", G_CALLBACK (on_link_changed), &n_changes);

  g_signal_connect (fixture->node, "changed", G_CALLBACK (on_changed), &told);
  fixture->other.answers = FALSE;
  WAIT (SECONDS, hears (fixture->node, 1));
  g_source_remove (source);
  g_assert_true (told);
  WAIT (SECONDS, n_changes > 0 && pilot_registry_client_is_connected (fixture->node->registry));
  g_signal_handler_disconnect (fixture->node->registry, handler);
  g_signal_handlers_disconnect_by_func (fixture->node, on_changed, &told);
}

/* A node that is registered, by TCP, and gets no UDP out says so; and no more when it does. */
static void
test_never (void)
{
  World world;
  OtherBeacon other;
  PilotNode *node;
  guint source;

  world_init (&world);
  world.beacon_name = "127.0.0.2";
  other_beacon_open (&other, world.beacon.port);
  other.answers = FALSE;
  host_start (&world, 0);
  node = world.hosts[0].node;
  WAIT (SECONDS, strstr (pilot_node_get_state_detail (node), "the beacon 127.0.0.2:") != NULL);
  g_assert_cmpstr (pilot_node_get_state (node), ==, "online");
  other.answers = TRUE;
  source = g_timeout_add (200, on_ask, node);
  WAIT (SECONDS, *pilot_node_get_state_detail (node) == '\0');
  g_source_remove (source);
  world_clear (&world);
  other_beacon_close (&other);
}

/* Asked for twice in a moment, the next address gets its turn, and not the one after it, which is the first again. */
static void
test_asked_twice (Fixture *fixture, gconstpointer data)
{
  pilot_node_beacon_silent (fixture->node);
  pilot_node_find_beacon (fixture->node);
  WAIT (SECONDS, hears (fixture->node, 1));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/daemon/node/beacon-silent", Fixture, NULL, set_up, test_silent, tear_down);
  g_test_add ("/daemon/node/beacon-asked-twice", Fixture, NULL, set_up, test_asked_twice, tear_down);
  g_test_add_func ("/daemon/node/beacon-never", test_never);
  return g_test_run ();
}
