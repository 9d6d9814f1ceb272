/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/helper/privileged-remote.h"

#include <gio/gunixfdlist.h>
#include <unistd.h>

#include "libpilot/pilot-error.h"
#include "libpilot/pilot-private-bus.h"

#define CALL_TIMEOUT_MS 10000
#define AUTHENTICATION_TIMEOUT_MS 5000

struct _PilotPrivilegedRemote {
  GObject parent_instance;
  GDBusConnection *connection;
  const char *name; /* NULL on a private socket */
};

static void pilot_privileged_remote_interface_init (PilotPrivilegedInterface *iface);

G_DEFINE_FINAL_TYPE_WITH_CODE (PilotPrivilegedRemote, pilot_privileged_remote, G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (PILOT_TYPE_PRIVILEGED, pilot_privileged_remote_interface_init))

/* Floating @parameters are sunk. @fd (nullable): the first descriptor of the answer. */
static GVariant *
call (PilotPrivilegedRemote *remote, const char *method, GVariant *parameters, const char *reply_type, int *fd, GError **error)
{
  g_autoptr (GUnixFDList) fds = NULL;
  g_autoptr (GVariant) reply = NULL;

  reply = g_dbus_connection_call_with_unix_fd_list_sync (remote->connection, remote->name, PILOT_HELPER_PATH, PILOT_HELPER_NAME,
                                                         method, parameters, G_VARIANT_TYPE (reply_type), G_DBUS_CALL_FLAGS_NONE,
                                                         CALL_TIMEOUT_MS, NULL, &fds, NULL, error);
  if (reply == NULL) {
    if (error != NULL && *error != NULL)
      g_dbus_error_strip_remote_error (*error);
    return NULL;
  }
  if (fd != NULL) {
    *fd = fds != NULL && g_unix_fd_list_get_length (fds) > 0 ? g_unix_fd_list_get (fds, 0, error) : -1;
    if (*fd < 0) {
      if (error != NULL && *error == NULL)
        g_set_error (error, PILOT_ERROR, PILOT_ERROR_FAILED, "pilot-helper answered without a descriptor");
      return NULL;
    }
  }
  return g_steal_pointer (&reply);
}

static gboolean
call_void (PilotPrivileged *self, const char *method, GVariant *parameters, GError **error)
{
  g_autoptr (GVariant) reply = call (PILOT_PRIVILEGED_REMOTE (self), method, parameters, "()", NULL, error);

  return reply != NULL;
}

static gboolean
remote_check_overlap (PilotPrivileged *self, GError **error)
{
  return call_void (self, "CheckOverlap", NULL, error);
}

static gboolean
remote_add_address (PilotPrivileged *self, guint32 address, GError **error)
{
  char text[PILOT_IPV4_TEXT_SIZE];

  return call_void (self, "AddAddress", g_variant_new ("(s)", pilot_ipv4_format (address, text)), error);
}

static gboolean
remote_remove_address (PilotPrivileged *self, guint32 address, GError **error)
{
  char text[PILOT_IPV4_TEXT_SIZE];

  return call_void (self, "RemoveAddress", g_variant_new ("(s)", pilot_ipv4_format (address, text)), error);
}

static GArray *
remote_list_addresses (PilotPrivileged *self, GError **error)
{
  g_autoptr (GVariant) reply = call (PILOT_PRIVILEGED_REMOTE (self), "ListAddresses", NULL, "(as)", NULL, error);
  g_autoptr (GArray) addresses = g_array_new (FALSE, FALSE, sizeof (guint32));
  g_autofree const char **texts = NULL;

  if (reply == NULL)
    return NULL;
  g_variant_get (reply, "(^a&s)", &texts);
  for (guint i = 0; texts[i] != NULL; i++) {
    guint32 address;

    if (!pilot_ipv4_parse (texts[i], &address, error))
      return NULL;
    g_array_append_val (addresses, address);
  }
  return g_steal_pointer (&addresses);
}

static gboolean
remote_set_rules (PilotPrivileged *self, const GPtrArray *redirects, GError **error)
{
  GVariantBuilder builder;
  char text[PILOT_IPV4_TEXT_SIZE];

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a(sbbaq)"));
  for (guint i = 0; i < redirects->len; i++) {
    const PilotRedirect *redirect = g_ptr_array_index (redirects, i);

    g_variant_builder_add (&builder, "(sbb@aq)", pilot_ipv4_format (redirect->address, text), redirect->every_port, redirect->silent,
                           g_variant_new_fixed_array (G_VARIANT_TYPE_UINT16, redirect->ports->data, redirect->ports->len,
                                                      sizeof (guint16)));
  }
  return call_void (self, "SetRules", g_variant_new ("(a(sbbaq))", &builder), error);
}

static int
remote_open_listener (PilotPrivileged *self, guint32 address, guint16 port, GError **error)
{
  g_autoptr (GVariant) reply = NULL;
  char text[PILOT_IPV4_TEXT_SIZE];
  int fd = -1;

  reply = call (PILOT_PRIVILEGED_REMOTE (self), "OpenListener", g_variant_new ("(sq)", pilot_ipv4_format (address, text), port),
                "(h)", &fd, error);
  return reply != NULL ? fd : -1;
}

static int
remote_open_redirect_listener (PilotPrivileged *self, guint16 *port, GError **error)
{
  g_autoptr (GVariant) reply = NULL;
  int fd = -1;

  reply = call (PILOT_PRIVILEGED_REMOTE (self), "OpenRedirectListener", NULL, "(hq)", &fd, error);
  if (reply == NULL)
    return -1;
  g_variant_get (reply, "(hq)", NULL, port);
  return fd;
}

static gboolean
remote_cleanup (PilotPrivileged *self, gboolean quit, GError **error)
{
  return call_void (self, quit ? "Quit" : "Cleanup", NULL, error);
}

static gboolean
remote_is_alive (PilotPrivileged *self)
{
  return !g_dbus_connection_is_closed (PILOT_PRIVILEGED_REMOTE (self)->connection);
}

static void
pilot_privileged_remote_interface_init (PilotPrivilegedInterface *iface)
{
  iface->check_overlap = remote_check_overlap;
  iface->add_address = remote_add_address;
  iface->remove_address = remote_remove_address;
  iface->list_addresses = remote_list_addresses;
  iface->set_rules = remote_set_rules;
  iface->open_listener = remote_open_listener;
  iface->open_redirect_listener = remote_open_redirect_listener;
  iface->cleanup = remote_cleanup;
  iface->is_alive = remote_is_alive;
}

static void
pilot_privileged_remote_init (PilotPrivilegedRemote *remote)
{
}

static void
pilot_privileged_remote_finalize (GObject *object)
{
  PilotPrivilegedRemote *remote = PILOT_PRIVILEGED_REMOTE (object);

  /* A private connection ends with its user: that is how the helper knows that the daemon has gone. */
  if (remote->connection != NULL && remote->name == NULL)
    g_dbus_connection_close (remote->connection, NULL, NULL, NULL);
  g_clear_object (&remote->connection);
  G_OBJECT_CLASS (pilot_privileged_remote_parent_class)->finalize (object);
}

static void
pilot_privileged_remote_class_init (PilotPrivilegedRemoteClass *class)
{
  G_OBJECT_CLASS (class)->finalize = pilot_privileged_remote_finalize;
}

char *
pilot_helper_socket_path (guint32 uid)
{
  return g_strdup_printf ("/run/pilot-helper/%u.sock", uid);
}

/* Whoever sits on the socket gets no say in our listeners unless it is root or we ourselves. */
static GDBusConnection *
connect_socket (const char *path, GError **error)
{
  PilotPrivateBusPeer server;
  g_autoptr (GSocketConnection) stream = pilot_private_bus_connect (path, &server, error);
  GDBusConnection *connection;

  if (stream == NULL) {
    g_prefix_error_literal (error, "cannot reach pilot-helper: ");
    return NULL;
  }
  if (server.uid != 0 && server.uid != getuid ()) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED, "the socket of pilot-helper is held by uid %u instead of root", server.uid);
    return NULL;
  }
  connection = pilot_private_bus_authenticate (stream, AUTHENTICATION_TIMEOUT_MS, error);
  if (connection == NULL)
    g_prefix_error (error, "cannot talk to pilot-helper (pid %d) at \"%s\": ", server.pid, path);
  return connection;
}

static PilotPrivilegedRemote *
remote_connect (const char *socket, GError **error)
{
  g_autofree char *path = socket != NULL ? g_strdup (socket) : pilot_helper_socket_path (getuid ());
  g_autoptr (PilotPrivilegedRemote) remote = g_object_new (PILOT_TYPE_PRIVILEGED_REMOTE, NULL);
  g_autoptr (GError) local_error = NULL;

  remote->connection = connect_socket (path, &local_error);
  /* A system service has its helper started by the bus. */
  if (remote->connection == NULL && g_error_matches (local_error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING) &&
      socket == NULL && g_getenv ("STATE_DIRECTORY") != NULL) {
    remote->connection = g_bus_get_sync (G_BUS_TYPE_SYSTEM, NULL, NULL);
    remote->name = PILOT_HELPER_NAME;
  }
  if (remote->connection == NULL) {
    g_propagate_error (error, g_steal_pointer (&local_error));
    return NULL;
  }
  return g_steal_pointer (&remote);
}

static GVariant *
remote_describe (PilotPrivilegedRemote *remote, GError **error)
{
  g_autoptr (GError) local_error = NULL;
  g_autoptr (GVariant) reply = call (remote, "Describe", NULL, "(a{sv})", NULL, &local_error);

  if (reply != NULL)
    return g_variant_get_child_value (reply, 0);
  if (g_error_matches (local_error, G_DBUS_ERROR, G_DBUS_ERROR_SERVICE_UNKNOWN) ||
      g_error_matches (local_error, G_DBUS_ERROR, G_DBUS_ERROR_NAME_HAS_NO_OWNER))
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, "no pilot-helper is on the system bus");
  /* One that ends between connect and its answer is one that is not there. */
  else if (pilot_private_bus_has_ended (local_error))
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, "pilot-helper ended before it answered: %s", local_error->message);
  else
    g_propagate_error (error, g_steal_pointer (&local_error));
  return NULL;
}

PilotPrivileged *
pilot_privileged_remote_new (const char *socket, const PilotSubnet *subnet, GError **error)
{
  g_autoptr (PilotPrivilegedRemote) remote = remote_connect (socket, error);
  g_autofree char *wanted = pilot_subnet_to_string (subnet);
  g_autoptr (GVariant) description = NULL;
  const char *served = "";

  if (remote == NULL)
    return NULL;
  description = remote_describe (remote, error);
  if (description == NULL)
    return NULL;
  g_variant_lookup (description, "subnet", "&s", &served);
  if (g_strcmp0 (served, wanted) != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CONFLICT,
                 "pilot-helper serves subnet %s, not %s: run \"sudo pilotctl gateway stop\" first", served, wanted);
    return NULL;
  }
  return PILOT_PRIVILEGED (g_steal_pointer (&remote));
}

GVariant *
pilot_helper_describe (const char *socket, GError **error)
{
  g_autoptr (PilotPrivilegedRemote) remote = remote_connect (socket, error);

  return remote != NULL ? remote_describe (remote, error) : NULL;
}

gboolean
pilot_helper_quit (const char *socket, GError **error)
{
  g_autoptr (PilotPrivilegedRemote) remote = remote_connect (socket, error);

  return remote != NULL && remote_cleanup (PILOT_PRIVILEGED (remote), TRUE, error);
}
