/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/helper/helper-service.h"

#include <gio/gunixfdlist.h>
#include <unistd.h>

#include "daemon/helper/privileged-remote.h"
#include "libpilot/pilot-error.h"
#include "libpilot/pilot-private-bus.h"
#include "pilot-helper-dbus.h"

/* Connections at one time, from the first byte on. Root has places of its own: a user shall not keep him from ending this. */
#define CLIENTS_MAX 16
#define ROOT_CLIENTS_MAX 4
#define AUTHENTICATION_SECONDS 5
/* The daemon has one at a time. */
#define CALLS_MAX 64
/* How long a client that asked us to end may take to read that we do. */
#define FAREWELL_SECONDS 1

/* A private connection. */
typedef struct {
  PilotHelperService *service;
  GDBusConnection *connection; /* NULL until it has authenticated */
  GCancellable *cancellable;
  guint limit; /* source that ends an authentication that takes too long */
  gboolean is_root;
} Client;

struct _PilotHelperService {
  GObject parent_instance;
  PilotHostNetwork *network;
  PilotDBusHelper *skeleton;
  GSocketService *listener;
  GPtrArray *clients; /* Client* */
  guint farewell;     /* source: we end */
  /* Whose rules are in force: a private connection, or a name on the bus. Their end suspends the network. */
  GDBusConnection *owner;
  guint owner_watch;
  char *owner_name;
};

G_DEFINE_FINAL_TYPE (PilotHelperService, pilot_helper_service, G_TYPE_OBJECT)

static guint quit_signal;

static void
suspend (PilotHelperService *service)
{
  g_message ("the daemon of uid %u has gone: connections are refused until it is back",
             pilot_host_network_get_uid (service->network));
  g_clear_object (&service->owner);
  g_clear_handle_id (&service->owner_watch, g_bus_unwatch_name);
  g_clear_pointer (&service->owner_name, g_free);
  pilot_host_network_suspend (service->network);
}

static void
owner_vanished (GDBusConnection *connection, const char *name, gpointer user_data)
{
  suspend (user_data);
}

/* The caller of a method that puts something in force. */
static void
remember_owner (PilotHelperService *service, GDBusMethodInvocation *invocation)
{
  GDBusConnection *connection = g_dbus_method_invocation_get_connection (invocation);
  const char *sender = g_dbus_method_invocation_get_sender (invocation);

  if (sender == NULL) {
    g_set_object (&service->owner, connection);
    return;
  }
  if (g_strcmp0 (sender, service->owner_name) == 0)
    return;
  g_clear_handle_id (&service->owner_watch, g_bus_unwatch_name);
  g_free (service->owner_name);
  service->owner_name = g_strdup (sender);
  service->owner_watch = g_bus_watch_name_on_connection (connection, sender, G_BUS_NAME_WATCHER_FLAGS_NONE,
                                                         NULL, owner_vanished, service, NULL);
}

static void
forget_owner (PilotHelperService *service)
{
  g_clear_object (&service->owner);
  g_clear_handle_id (&service->owner_watch, g_bus_unwatch_name);
  g_clear_pointer (&service->owner_name, g_free);
}

/* Answers with the error; TRUE because the call has been handled. */
static gboolean
fail (GDBusMethodInvocation *invocation, GError *error)
{
  g_dbus_method_invocation_take_error (invocation, error);
  return TRUE;
}

static gboolean
handle_describe (PilotHelperService *service, GDBusMethodInvocation *invocation)
{
  g_autofree char *subnet = pilot_subnet_to_string (pilot_host_network_get_subnet (service->network));
  GError *error = NULL;
  g_autoptr (GArray) addresses = pilot_host_network_list_addresses (service->network, &error);
  GVariantBuilder builder;

  if (addresses == NULL)
    return fail (invocation, error);
  g_variant_builder_init (&builder, G_VARIANT_TYPE_VARDICT);
  g_variant_builder_add (&builder, "{sv}", "subnet", g_variant_new_string (subnet));
  g_variant_builder_add (&builder, "{sv}", "uid", g_variant_new_uint32 (pilot_host_network_get_uid (service->network)));
  g_variant_builder_add (&builder, "{sv}", "pid", g_variant_new_uint32 (getpid ()));
  g_variant_builder_add (&builder, "{sv}", "addresses", g_variant_new_uint32 (addresses->len));
  pilot_dbus_helper_complete_describe (service->skeleton, invocation, g_variant_builder_end (&builder));
  return TRUE;
}

static gboolean
handle_check_overlap (PilotHelperService *service, GDBusMethodInvocation *invocation)
{
  GError *error = NULL;

  if (!pilot_host_network_check_overlap (service->network, &error))
    return fail (invocation, error);
  pilot_dbus_helper_complete_check_overlap (service->skeleton, invocation);
  return TRUE;
}

static gboolean
handle_add_address (PilotHelperService *service, GDBusMethodInvocation *invocation, const char *text)
{
  GError *error = NULL;
  guint32 address;

  if (!pilot_ipv4_parse (text, &address, &error) || !pilot_host_network_add_address (service->network, address, &error))
    return fail (invocation, error);
  pilot_dbus_helper_complete_add_address (service->skeleton, invocation);
  return TRUE;
}

static gboolean
handle_remove_address (PilotHelperService *service, GDBusMethodInvocation *invocation, const char *text)
{
  GError *error = NULL;
  guint32 address;

  if (!pilot_ipv4_parse (text, &address, &error) || !pilot_host_network_remove_address (service->network, address, &error))
    return fail (invocation, error);
  pilot_dbus_helper_complete_remove_address (service->skeleton, invocation);
  return TRUE;
}

static gboolean
handle_list_addresses (PilotHelperService *service, GDBusMethodInvocation *invocation)
{
  GError *error = NULL;
  g_autoptr (GArray) addresses = pilot_host_network_list_addresses (service->network, &error);
  g_autoptr (GStrvBuilder) texts = g_strv_builder_new ();
  g_auto (GStrv) list = NULL;
  char text[PILOT_IPV4_TEXT_SIZE];

  if (addresses == NULL)
    return fail (invocation, error);
  for (guint i = 0; i < addresses->len; i++)
    g_strv_builder_add (texts, pilot_ipv4_format (g_array_index (addresses, guint32, i), text));
  list = g_strv_builder_end (texts);
  pilot_dbus_helper_complete_list_addresses (service->skeleton, invocation, (const char *const *) list);
  return TRUE;
}

static GPtrArray *
redirects_from_variant (GVariant *variant, GError **error)
{
  g_autoptr (GPtrArray) redirects = g_ptr_array_new_with_free_func ((GDestroyNotify) pilot_redirect_free);
  gsize length = g_variant_n_children (variant);

  /* Bounded before anything is made of it. */
  if (length > PILOT_REDIRECTS_MAX) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "no more than %u addresses are redirected", PILOT_REDIRECTS_MAX);
    return NULL;
  }
  for (gsize i = 0; i < length; i++) {
    g_autoptr (GVariant) entry = g_variant_get_child_value (variant, i);
    g_autoptr (GVariant) ports = g_variant_get_child_value (entry, 3);
    g_autofree char *text = NULL;
    gboolean every_port, silent;
    PilotRedirect *redirect;
    gconstpointer data;
    guint32 address;
    gsize n_ports;

    g_variant_get (entry, "(sbb@aq)", &text, &every_port, &silent, NULL);
    if (!pilot_ipv4_parse (text, &address, error))
      return NULL;
    data = g_variant_get_fixed_array (ports, &n_ports, sizeof (guint16));
    if (n_ports > G_MAXUINT16) {
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "too many ports for %s", text);
      return NULL;
    }
    redirect = pilot_redirect_new (address, every_port);
    redirect->silent = silent;
    if (n_ports > 0)
      g_array_append_vals (redirect->ports, data, n_ports);
    g_ptr_array_add (redirects, redirect);
  }
  return g_steal_pointer (&redirects);
}

static gboolean
handle_set_rules (PilotHelperService *service, GDBusMethodInvocation *invocation, GVariant *variant)
{
  GError *error = NULL;
  g_autoptr (GPtrArray) redirects = redirects_from_variant (variant, &error);

  if (redirects == NULL || !pilot_host_network_set_rules (service->network, redirects, &error))
    return fail (invocation, error);
  remember_owner (service, invocation);
  pilot_dbus_helper_complete_set_rules (service->skeleton, invocation);
  return TRUE;
}

static gboolean
handle_open_listener (PilotHelperService *service, GDBusMethodInvocation *invocation, GUnixFDList *in_fds,
                      const char *text, guint16 port)
{
  GError *error = NULL;
  g_autoptr (GUnixFDList) fds = NULL;
  guint32 address;
  int fd;

  if (!pilot_ipv4_parse (text, &address, &error))
    return fail (invocation, error);
  fd = pilot_host_network_open_listener (service->network, address, port, &error);
  if (fd < 0)
    return fail (invocation, error);
  fds = g_unix_fd_list_new_from_array (&fd, 1);
  pilot_dbus_helper_complete_open_listener (service->skeleton, invocation, fds, g_variant_new_handle (0));
  return TRUE;
}

static gboolean
handle_open_redirect_listener (PilotHelperService *service, GDBusMethodInvocation *invocation, GUnixFDList *in_fds)
{
  GError *error = NULL;
  g_autoptr (GUnixFDList) fds = NULL;
  guint16 port;
  int fd = pilot_host_network_open_redirect_listener (service->network, &port, &error);

  if (fd < 0)
    return fail (invocation, error);
  remember_owner (service, invocation);
  fds = g_unix_fd_list_new_from_array (&fd, 1);
  pilot_dbus_helper_complete_open_redirect_listener (service->skeleton, invocation, fds, g_variant_new_handle (0), port);
  return TRUE;
}

static gboolean
handle_cleanup (PilotHelperService *service, GDBusMethodInvocation *invocation)
{
  GError *error = NULL;

  if (!pilot_host_network_cleanup (service->network, &error))
    return fail (invocation, error);
  forget_owner (service);
  pilot_dbus_helper_complete_cleanup (service->skeleton, invocation);
  return TRUE;
}

static gboolean
quit (gpointer user_data)
{
  PilotHelperService *service = user_data;

  service->farewell = 0;
  g_signal_emit (service, quit_signal, 0);
  return G_SOURCE_REMOVE;
}

static void
answer_sent (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (PilotHelperService) service = user_data;

  if (service->farewell != 0) {
    g_source_remove (service->farewell);
    quit (service);
  }
}

static gboolean
handle_quit (PilotHelperService *service, GDBusMethodInvocation *invocation)
{
  GDBusConnection *connection = g_dbus_method_invocation_get_connection (invocation);
  GError *error = NULL;

  if (!pilot_host_network_cleanup (service->network, &error))
    return fail (invocation, error);
  forget_owner (service);
  pilot_dbus_helper_complete_quit (service->skeleton, invocation);
  /* The answer shall be read, but not be waited for: who does not read could keep us for ever. */
  if (service->farewell == 0)
    service->farewell = g_timeout_add_seconds (FAREWELL_SECONDS, quit, service);
  g_dbus_connection_flush (connection, NULL, answer_sent, g_object_ref (service));
  return TRUE;
}

/* Calls that come over a message bus. (Private connections were checked when they were accepted.) Emitted in a thread of GDBus. */
static gboolean
authorize (PilotHelperService *service, GDBusMethodInvocation *invocation)
{
  const char *sender = g_dbus_method_invocation_get_sender (invocation);
  g_autoptr (GVariant) reply = NULL;
  guint32 uid = G_MAXUINT32;

  if (sender == NULL)
    return TRUE;
  reply = g_dbus_connection_call_sync (g_dbus_method_invocation_get_connection (invocation), "org.freedesktop.DBus",
                                       "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetConnectionUnixUser",
                                       g_variant_new ("(s)", sender), G_VARIANT_TYPE ("(u)"), G_DBUS_CALL_FLAGS_NONE, 5000, NULL, NULL);
  if (reply != NULL)
    g_variant_get (reply, "(u)", &uid);
  if (reply != NULL && (uid == 0 || uid == pilot_host_network_get_uid (service->network)))
    return TRUE;
  g_dbus_method_invocation_return_error (invocation, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED,
                                         "pilot-helper serves uid %u alone", pilot_host_network_get_uid (service->network));
  return FALSE;
}

static void
client_free (gpointer data)
{
  Client *client = data;
  GDBusInterfaceSkeleton *skeleton = G_DBUS_INTERFACE_SKELETON (client->service->skeleton);

  g_clear_handle_id (&client->limit, g_source_remove);
  g_clear_object (&client->cancellable);
  if (client->connection != NULL) {
    g_signal_handlers_disconnect_by_data (client->connection, client);
    if (g_dbus_interface_skeleton_has_connection (skeleton, client->connection))
      g_dbus_interface_skeleton_unexport_from_connection (skeleton, client->connection);
    g_dbus_connection_close (client->connection, NULL, NULL, NULL);
    g_object_unref (client->connection);
  }
  g_free (client);
}

static void
client_closed (GDBusConnection *connection, gboolean remote_peer_vanished, GError *error, gpointer user_data)
{
  Client *client = user_data;
  PilotHelperService *service = client->service;
  gboolean owned = connection == service->owner;

  g_ptr_array_remove_fast (service->clients, client);
  if (owned)
    suspend (service);
}

static void
client_authenticated (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Client *client = user_data;
  g_autoptr (PilotHelperService) service = client->service;
  g_autoptr (GError) error = NULL;

  g_clear_handle_id (&client->limit, g_source_remove);
  client->connection = g_dbus_connection_new_finish (result, &error);
  /* Who is gone already will not be told to us as closed any more, and would keep his place. */
  if (client->connection == NULL || g_dbus_connection_is_closed (client->connection) ||
      !g_dbus_interface_skeleton_export (G_DBUS_INTERFACE_SKELETON (service->skeleton), client->connection, PILOT_HELPER_PATH, &error)) {
    g_message ("a client is not served: %s", error != NULL ? error->message : "it has gone");
    g_ptr_array_remove_fast (service->clients, client);
    return;
  }
  g_dbus_connection_set_exit_on_close (client->connection, FALSE);
  g_signal_connect (client->connection, "closed", G_CALLBACK (client_closed), client);
  pilot_private_bus_limit_calls (client->connection, CALLS_MAX);
  g_dbus_connection_start_message_processing (client->connection);
}

static gboolean
authentication_late (gpointer user_data)
{
  Client *client = user_data;

  client->limit = 0;
  g_cancellable_cancel (client->cancellable);
  return G_SOURCE_REMOVE;
}

static gboolean
has_place (PilotHelperService *service, gboolean is_root)
{
  guint n = 0;

  for (guint i = 0; i < service->clients->len; i++)
    n += ((const Client *) service->clients->pdata[i])->is_root == is_root;
  return n < (is_root ? ROOT_CLIENTS_MAX : CLIENTS_MAX);
}

/* The kernel has said who it is. The other ways would have root look for cookies in files. */
static gboolean
is_external (GDBusAuthObserver *observer, const char *mechanism, gpointer user_data)
{
  return g_str_equal (mechanism, "EXTERNAL");
}

static gboolean
client_connected (GSocketService *listener, GSocketConnection *stream, GObject *source, gpointer user_data)
{
  PilotHelperService *service = user_data;
  guint32 served = pilot_host_network_get_uid (service->network);
  g_autofree char *guid = g_dbus_generate_guid ();
  g_autoptr (GDBusAuthObserver) observer = NULL;
  PilotPrivateBusPeer peer;
  Client *client;

  /* Before a byte is read. */
  if (!pilot_private_bus_get_peer (G_IO_STREAM (stream), &peer, NULL) || (peer.uid != 0 && peer.uid != served)) {
    g_message ("a client was turned away: this helper serves uid %u", served);
    g_io_stream_close (G_IO_STREAM (stream), NULL, NULL);
    return TRUE;
  }
  if (!has_place (service, peer.uid == 0)) {
    g_io_stream_close (G_IO_STREAM (stream), NULL, NULL);
    return TRUE;
  }
  client = g_new0 (Client, 1);
  client->service = service;
  client->is_root = peer.uid == 0;
  client->cancellable = g_cancellable_new ();
  client->limit = g_timeout_add_seconds (AUTHENTICATION_SECONDS, authentication_late, client);
  g_ptr_array_add (service->clients, client);
  g_object_ref (service);
  observer = g_dbus_auth_observer_new ();
  g_signal_connect (observer, "allow-mechanism", G_CALLBACK (is_external), NULL);
  g_dbus_connection_new (G_IO_STREAM (stream), guid, G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_SERVER | G_DBUS_CONNECTION_FLAGS_DELAY_MESSAGE_PROCESSING, observer,
                         client->cancellable, client_authenticated, client);
  return TRUE;
}

gboolean
pilot_helper_service_listen (PilotHelperService *service, int fd, GError **error)
{
  g_autoptr (GSocket) socket = g_socket_new_from_fd (fd, error);

  if (socket == NULL) {
    close (fd);
    return FALSE;
  }
  service->listener = g_socket_service_new ();
  if (!g_socket_listener_add_socket (G_SOCKET_LISTENER (service->listener), socket, NULL, error))
    return FALSE;
  g_signal_connect (service->listener, "incoming", G_CALLBACK (client_connected), service);
  g_socket_service_start (service->listener);
  return TRUE;
}

gboolean
pilot_helper_service_export (PilotHelperService *service, GDBusConnection *bus, GError **error)
{
  g_signal_connect_swapped (service->skeleton, "g-authorize-method", G_CALLBACK (authorize), service);
  return g_dbus_interface_skeleton_export (G_DBUS_INTERFACE_SKELETON (service->skeleton), bus, PILOT_HELPER_PATH, error);
}

static void
pilot_helper_service_init (PilotHelperService *service)
{
  static const struct {
    const char *signal;
    GCallback handler;
  } handlers[] = {
    { "handle-describe", G_CALLBACK (handle_describe) },
    { "handle-check-overlap", G_CALLBACK (handle_check_overlap) },
    { "handle-add-address", G_CALLBACK (handle_add_address) },
    { "handle-remove-address", G_CALLBACK (handle_remove_address) },
    { "handle-list-addresses", G_CALLBACK (handle_list_addresses) },
    { "handle-set-rules", G_CALLBACK (handle_set_rules) },
    { "handle-open-listener", G_CALLBACK (handle_open_listener) },
    { "handle-open-redirect-listener", G_CALLBACK (handle_open_redirect_listener) },
    { "handle-cleanup", G_CALLBACK (handle_cleanup) },
    { "handle-quit", G_CALLBACK (handle_quit) },
  };

  service->clients = g_ptr_array_new_with_free_func (client_free);
  service->skeleton = pilot_dbus_helper_skeleton_new ();
  for (guint i = 0; i < G_N_ELEMENTS (handlers); i++)
    g_signal_connect_swapped (service->skeleton, handlers[i].signal, handlers[i].handler, service);
}

static void
pilot_helper_service_dispose (GObject *object)
{
  PilotHelperService *service = PILOT_HELPER_SERVICE (object);

  if (service->listener != NULL) {
    g_signal_handlers_disconnect_by_data (service->listener, service);
    g_socket_service_stop (service->listener);
    g_socket_listener_close (G_SOCKET_LISTENER (service->listener));
  }
  forget_owner (service);
  g_clear_handle_id (&service->farewell, g_source_remove);
  g_clear_pointer (&service->clients, g_ptr_array_unref);
  if (service->skeleton != NULL) {
    g_signal_handlers_disconnect_by_data (service->skeleton, service);
    if (g_dbus_interface_skeleton_get_connection (G_DBUS_INTERFACE_SKELETON (service->skeleton)) != NULL)
      g_dbus_interface_skeleton_unexport (G_DBUS_INTERFACE_SKELETON (service->skeleton));
  }
  g_clear_object (&service->skeleton);
  g_clear_object (&service->listener);
  g_clear_object (&service->network);
  G_OBJECT_CLASS (pilot_helper_service_parent_class)->dispose (object);
}

static void
pilot_helper_service_class_init (PilotHelperServiceClass *class)
{
  G_OBJECT_CLASS (class)->dispose = pilot_helper_service_dispose;
  quit_signal = g_signal_new ("quit", G_TYPE_FROM_CLASS (class), G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
}

PilotHelperService *
pilot_helper_service_new (PilotHostNetwork *network)
{
  PilotHelperService *service = g_object_new (PILOT_TYPE_HELPER_SERVICE, NULL);

  service->network = g_object_ref (network);
  return service;
}
