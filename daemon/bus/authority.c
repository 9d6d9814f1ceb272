/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/bus/authority.h"

#include <string.h>
#include <unistd.h>

#include "libpilot/pilot-error.h"

#define PREFIX "network.pilotprotocol.Pilot1."

/* The one table. A method that does not stand here can be called by nobody; tests/bus walks the XML and fails for one that is missing. */
static const struct {
  const char *interface, *method;
  PilotAuthority authority;
} table[] = {
  { "Node", "GetStatistics", PILOT_AUTHORITY_ANYONE },
  { "Node", "NetCheck", PILOT_AUTHORITY_OWNER },
  { "Node", "ListPeers", PILOT_AUTHORITY_ANYONE },
  { "Node", "Resolve", PILOT_AUTHORITY_OWNER },
  { "Node", "Lookup", PILOT_AUTHORITY_OWNER },
  { "Node", "SetHostname", PILOT_AUTHORITY_OWNER },
  { "Node", "SetPublic", PILOT_AUTHORITY_OWNER },
  { "Node", "Handshake", PILOT_AUTHORITY_OWNER },
  { "Node", "Approve", PILOT_AUTHORITY_OWNER },
  { "Node", "Reject", PILOT_AUTHORITY_OWNER },
  { "Node", "Untrust", PILOT_AUTHORITY_OWNER },
  { "Node", "Expose", PILOT_AUTHORITY_OWNER },
  { "Node", "Unexpose", PILOT_AUTHORITY_OWNER },
  { "Node", "ListTrusted", PILOT_AUTHORITY_OWNER },
  { "Node", "ListPending", PILOT_AUTHORITY_OWNER },
  { "Node", "ListOutgoing", PILOT_AUTHORITY_OWNER },
  { "Node", "ListConnections", PILOT_AUTHORITY_OWNER },
  { "Node", "Ping", PILOT_AUTHORITY_OWNER },
  { "Gateway", "Start", PILOT_AUTHORITY_OWNER },
  { "Gateway", "Stop", PILOT_AUTHORITY_OWNER },
  { "Gateway", "Map", PILOT_AUTHORITY_OWNER },
  { "Gateway", "Unmap", PILOT_AUTHORITY_OWNER },
  { "Gateway", "ListMappings", PILOT_AUTHORITY_ANYONE },
  { "Plugins", "List", PILOT_AUTHORITY_ANYONE },
  { "Plugins", "Set", PILOT_AUTHORITY_OWNER },
  { "Streams", "Dial", PILOT_AUTHORITY_OWNER },
  { "Streams", "Listen", PILOT_AUTHORITY_OWNER },
  { "Streams", "Unlisten", PILOT_AUTHORITY_OWNER },
  { "Streams", "Accept", PILOT_AUTHORITY_OWNER },
  { "Streams", "SendDatagram", PILOT_AUTHORITY_OWNER },
  { "Streams", "OpenDatagrams", PILOT_AUTHORITY_OWNER },
  { "Streams", "ListPorts", PILOT_AUTHORITY_OWNER },
  { "Messages", "SendMessage", PILOT_AUTHORITY_OWNER },
  { "Messages", "SendFile", PILOT_AUTHORITY_OWNER },
  { "Messages", "CancelTransfer", PILOT_AUTHORITY_OWNER },
  { "Messages", "ListTransfers", PILOT_AUTHORITY_OWNER },
  { "Messages", "ListInbox", PILOT_AUTHORITY_OWNER },
  { "Messages", "ReadMessage", PILOT_AUTHORITY_OWNER },
  { "Messages", "DeleteMessage", PILOT_AUTHORITY_OWNER },
  { "Messages", "ListReceived", PILOT_AUTHORITY_OWNER },
  { "Messages", "OpenReceived", PILOT_AUTHORITY_OWNER },
  { "Messages", "DeleteReceived", PILOT_AUTHORITY_OWNER },
  { "Events", "Subscribe", PILOT_AUTHORITY_OWNER },
  { "Events", "Publish", PILOT_AUTHORITY_OWNER },
  { "Events", "GetStatistics", PILOT_AUTHORITY_OWNER },
  { "Mapping", "Unmap", PILOT_AUTHORITY_OWNER },
  { "Peer", "Untrust", PILOT_AUTHORITY_OWNER },
  { "TrustRequest", "Approve", PILOT_AUTHORITY_OWNER },
  { "TrustRequest", "Reject", PILOT_AUTHORITY_OWNER },
};

PilotAuthority
pilot_authority_lookup (const char *interface, const char *method)
{
  if (!g_str_has_prefix (interface, PREFIX))
    return PILOT_AUTHORITY_DENIED;
  interface += strlen (PREFIX);
  for (guint i = 0; i < G_N_ELEMENTS (table); i++)
    if (g_str_equal (table[i].interface, interface) && g_str_equal (table[i].method, method))
      return table[i].authority;
  return PILOT_AUTHORITY_DENIED;
}

/* Objects carry values, and reads are answered without asking anybody. Each is for whoever may call the method that lists the same. */
static const struct {
  const char *object, *interface, *method;
} lists[] = {
  { "Mapping", "Gateway", "ListMappings" },
  { "Peer", "Node", "ListTrusted" }, /* key, mutual, access: more than ListPeers tells */
  { "TrustRequest", "Node", "ListPending" },
};

PilotAuthority
pilot_authority_lookup_object (const char *interface)
{
  for (guint i = 0; i < G_N_ELEMENTS (lists); i++)
    if (g_str_has_prefix (interface, PREFIX) && g_str_equal (lists[i].object, interface + strlen (PREFIX))) {
      g_autofree char *list = g_strconcat (PREFIX, lists[i].interface, NULL);

      return pilot_authority_lookup (list, lists[i].method);
    }
  return PILOT_AUTHORITY_DENIED;
}

static gboolean
is_owner (uid_t uid)
{
  return uid == 0 || uid == geteuid ();
}

gboolean
pilot_authority_is_owner (GDBusConnection *connection)
{
  GCredentials *credentials = g_dbus_connection_get_peer_credentials (connection);

  return !(g_dbus_connection_get_flags (connection) & G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION) && credentials != NULL &&
         is_owner (g_credentials_get_unix_user (credentials, NULL));
}

static gboolean
get_caller (GDBusMethodInvocation *invocation, uid_t *uid, GError **error)
{
  GDBusConnection *connection = g_dbus_method_invocation_get_connection (invocation);
  GCredentials *credentials = g_dbus_connection_get_peer_credentials (connection);
  g_autoptr (GVariant) reply = NULL;
  guint32 value;

  /* On a message bus the peer of the connection is the bus, and the bus knows who sent it. */
  if (!(g_dbus_connection_get_flags (connection) & G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION)) {
    if (credentials == NULL) {
      g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED, "the caller cannot be identified");
      return FALSE;
    }
    *uid = g_credentials_get_unix_user (credentials, error);
    return *uid != (uid_t) -1;
  }
  reply = g_dbus_connection_call_sync (connection, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                       "GetConnectionUnixUser",
                                       g_variant_new ("(s)", g_dbus_method_invocation_get_sender (invocation)),
                                       G_VARIANT_TYPE ("(u)"), G_DBUS_CALL_FLAGS_NONE, 5000, NULL, error);
  if (reply == NULL)
    return FALSE;
  g_variant_get (reply, "(u)", &value);
  *uid = value;
  return TRUE;
}

/* Runs in a thread of GDBus: looks at nothing but the call and the constant table. */
static gboolean
on_authorize_method (GDBusInterfaceSkeleton *skeleton, GDBusMethodInvocation *invocation, gpointer user_data)
{
  const char *method = g_dbus_method_invocation_get_method_name (invocation);
  PilotAuthority authority = pilot_authority_lookup (g_dbus_method_invocation_get_interface_name (invocation), method);
  g_autoptr (GError) error = NULL;
  uid_t uid;

  if (authority == PILOT_AUTHORITY_ANYONE)
    return TRUE;
  if (authority == PILOT_AUTHORITY_OWNER && get_caller (invocation, &uid, &error) && is_owner (uid))
    return TRUE;

  if (error == NULL) {
    error = g_error_new (PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED, "only the user of this daemon and root may call \"%s\"", method);
    pilot_error_set_hint (error, "this daemon runs as user id %u", (guint) geteuid ());
  }
  g_dbus_method_invocation_take_error (invocation, g_steal_pointer (&error));
  return FALSE;
}

void
pilot_authority_guard (GDBusInterfaceSkeleton *skeleton)
{
  g_signal_connect (skeleton, "g-authorize-method", G_CALLBACK (on_authorize_method), NULL);
}
