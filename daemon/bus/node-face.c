/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/bus/authority.h"
#include "daemon/bus/bus-private.h"
#include "daemon/node/node-describe.h"

#include <unistd.h>

#include "daemon/node/netcheck.h"
#include "libpilot/pilot-error.h"

/* What an asynchronous method needs to answer. */
typedef struct {
  PilotBus *bus;
  PilotDBusNode *face;
  GDBusMethodInvocation *invocation;
} Call;

static Call *
call_new (PilotBus *bus, PilotDBusNode *face, GDBusMethodInvocation *invocation)
{
  Call *call = g_new0 (Call, 1);

  call->bus = bus;
  call->face = g_object_ref (face);
  call->invocation = invocation; /* the handler owns it; answering takes it */
  return call;
}

static void
call_free (Call *call)
{
  g_object_unref (call->face);
  g_free (call);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Call, call_free)

static void
call_fail (Call *call, GError *error)
{
  g_dbus_method_invocation_take_error (call->invocation, error);
}

static void
refresh_properties (PilotBus *bus)
{
  PilotDBusNode *face = bus->node_face;
  PilotNode *node = bus->node;
  g_autofree char *address = pilot_describe_node (pilot_node_get_id (node));

  pilot_dbus_node_set_node_id (face, pilot_node_get_id (node));
  pilot_dbus_node_set_address (face, address);
  pilot_dbus_node_set_hostname (face, pilot_node_get_hostname (node));
  pilot_dbus_node_set_public_key (face, pilot_node_get_public_key (node));
  pilot_dbus_node_set_state (face, pilot_node_get_state (node));
  pilot_dbus_node_set_state_detail (face, pilot_node_get_state_detail (node));
  pilot_dbus_node_set_public (face, pilot_node_get_public (node));
  /* A tool that waits for a state must see it at once, not when the loop is idle. */
  g_dbus_interface_skeleton_flush (G_DBUS_INTERFACE_SKELETON (face));
}

static gboolean
on_get_statistics (PilotDBusNode *face, GDBusMethodInvocation *invocation, PilotBus *bus)
{
  pilot_dbus_node_complete_get_statistics (face, invocation, pilot_node_get_statistics (bus->node));
  return TRUE;
}

static void
on_net_checked (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (Call) call = user_data;
  g_autoptr (GError) error = NULL;
  g_autoptr (GVariant) facts = pilot_netcheck_finish (PILOT_NODE (source), result, &error);

  if (facts == NULL)
    call_fail (call, g_steal_pointer (&error));
  else
    pilot_dbus_node_complete_net_check (call->face, call->invocation, facts);
}

static gboolean
on_net_check (PilotDBusNode *face, GDBusMethodInvocation *invocation, PilotBus *bus)
{
  pilot_netcheck_async (bus->node, on_net_checked, call_new (bus, face, invocation));
  return TRUE;
}

static void
on_resolved (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (Call) call = user_data;
  g_autoptr (GError) error = NULL;
  PilotNodeName *name = pilot_node_resolve_finish (PILOT_NODE (source), result, &error);
  g_autofree char *address = NULL;

  if (name == NULL) {
    call_fail (call, g_steal_pointer (&error));
    return;
  }
  address = pilot_describe_node (name->node);
  pilot_dbus_node_complete_resolve (call->face, call->invocation, name->node, address,
                                    name->hostname != NULL ? name->hostname : "", name->is_public);
  pilot_node_name_free (name);
}

static gboolean
on_resolve (PilotDBusNode *face, GDBusMethodInvocation *invocation, const char *name, PilotBus *bus)
{
  pilot_node_resolve_async (bus->node, name, NULL, on_resolved, call_new (bus, face, invocation));
  return TRUE;
}

static void
on_looked_up (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (Call) call = user_data;
  g_autoptr (GError) error = NULL;
  PilotNodeName *name = pilot_node_lookup_finish (PILOT_NODE (source), result, &error);

  if (name == NULL) {
    call_fail (call, g_steal_pointer (&error));
    return;
  }
  pilot_dbus_node_complete_lookup (call->face, call->invocation, name->hostname, name->is_public);
  pilot_node_name_free (name);
}

static gboolean
on_lookup (PilotDBusNode *face, GDBusMethodInvocation *invocation, guint32 node, PilotBus *bus)
{
  pilot_node_lookup_async (bus->node, node, NULL, on_looked_up, call_new (bus, face, invocation));
  return TRUE;
}

static void
on_hostname_set (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (Call) call = user_data;
  g_autoptr (GError) error = NULL;

  if (!pilot_node_set_hostname_finish (PILOT_NODE (source), result, &error))
    call_fail (call, g_steal_pointer (&error));
  else
    pilot_dbus_node_complete_set_hostname (call->face, call->invocation);
}

static gboolean
on_set_hostname (PilotDBusNode *face, GDBusMethodInvocation *invocation, const char *hostname, PilotBus *bus)
{
  pilot_node_set_hostname_async (bus->node, hostname, NULL, on_hostname_set, call_new (bus, face, invocation));
  return TRUE;
}

static void
on_public_set (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (Call) call = user_data;
  g_autoptr (GError) error = NULL;

  if (!pilot_node_set_public_finish (PILOT_NODE (source), result, &error))
    call_fail (call, g_steal_pointer (&error));
  else
    pilot_dbus_node_complete_set_public (call->face, call->invocation);
}

static gboolean
on_set_public (PilotDBusNode *face, GDBusMethodInvocation *invocation, gboolean is_public, PilotBus *bus)
{
  pilot_node_set_public_async (bus->node, is_public, NULL, on_public_set, call_new (bus, face, invocation));
  return TRUE;
}

static void
on_asked (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (Call) call = user_data;
  g_autoptr (GError) error = NULL;
  const char *status = pilot_trust_handshake_finish (PILOT_TRUST (source), result, &error);

  if (status == NULL)
    call_fail (call, g_steal_pointer (&error));
  else
    pilot_dbus_node_complete_handshake (call->face, call->invocation, status);
}

static gboolean
on_handshake (PilotDBusNode *face, GDBusMethodInvocation *invocation, guint32 node, const char *justification, GVariant *options, PilotBus *bus)
{
  g_autoptr (GError) error = NULL;
  const char *ports;

  if (!pilot_bus_read_ports (options, &ports, &error) || (ports != NULL && !pilot_access_parse_ports (ports, &error)))
    g_dbus_method_invocation_take_error (invocation, g_steal_pointer (&error));
  else
    pilot_trust_handshake_async (pilot_node_get_trust (bus->node), node, justification, ports, NULL, on_asked, call_new (bus, face, invocation));
  return TRUE;
}

static void
on_approved (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (Call) call = user_data;
  g_autoptr (GError) error = NULL;
  g_autofree char *opened = pilot_trust_approve_finish (PILOT_TRUST (source), result, &error);

  if (opened == NULL)
    call_fail (call, g_steal_pointer (&error));
  else
    pilot_dbus_node_complete_approve (call->face, call->invocation, opened);
}

static gboolean
on_approve (PilotDBusNode *face, GDBusMethodInvocation *invocation, guint32 node, GVariant *options, PilotBus *bus)
{
  g_autoptr (GError) error = NULL;
  const char *ports;

  if (!pilot_bus_read_ports (options, &ports, &error))
    g_dbus_method_invocation_take_error (invocation, g_steal_pointer (&error));
  else
    pilot_trust_approve_async (pilot_node_get_trust (bus->node), node, ports, NULL, on_approved, call_new (bus, face, invocation));
  return TRUE;
}

static gboolean
on_reject (PilotDBusNode *face, GDBusMethodInvocation *invocation, guint32 node, const char *reason, PilotBus *bus)
{
  g_autoptr (GError) error = NULL;

  if (!pilot_trust_reject (pilot_node_get_trust (bus->node), node, reason, &error))
    g_dbus_method_invocation_take_error (invocation, g_steal_pointer (&error));
  else
    pilot_dbus_node_complete_reject (face, invocation);
  return TRUE;
}

static gboolean
on_untrust (PilotDBusNode *face, GDBusMethodInvocation *invocation, guint32 node, PilotBus *bus)
{
  g_autoptr (GError) error = NULL;

  if (!pilot_trust_untrust (pilot_node_get_trust (bus->node), node, &error))
    g_dbus_method_invocation_take_error (invocation, g_steal_pointer (&error));
  else
    pilot_dbus_node_complete_untrust (face, invocation);
  return TRUE;
}

static gboolean
on_expose (PilotDBusNode *face, GDBusMethodInvocation *invocation, guint32 node, const char *ports, PilotBus *bus)
{
  g_autoptr (PilotTrustRecord) record = pilot_trust_lookup (pilot_node_get_trust (bus->node), PILOT_TRUST_TRUSTED, node);
  g_autoptr (GError) error = NULL;
  g_autofree char *opened = NULL;

  if (record == NULL) {
    error = g_error_new (PILOT_ERROR, PILOT_ERROR_TRUST_REQUIRED, "node %u is not trusted", node);
    pilot_error_set_hint (error, "run: pilotctl handshake %u", node);
  } else
    pilot_access_grant (pilot_node_get_access (bus->node), node, record->has_key ? record->key : NULL,
                        *ports != '\0' ? ports : NULL, &opened, &error);
  if (error != NULL)
    g_dbus_method_invocation_take_error (invocation, g_steal_pointer (&error));
  else
    pilot_dbus_node_complete_expose (face, invocation, opened);
  return TRUE;
}

static gboolean
on_unexpose (PilotDBusNode *face, GDBusMethodInvocation *invocation, guint32 node, const char *ports, PilotBus *bus)
{
  PilotAccess *access = pilot_node_get_access (bus->node);
  g_autoptr (GError) error = NULL;
  g_autofree char *left = NULL;

  if (!pilot_access_revoke (access, node, *ports != '\0' ? ports : NULL, &error)) {
    g_dbus_method_invocation_take_error (invocation, g_steal_pointer (&error));
    return TRUE;
  }
  left = pilot_access_describe (access, node);
  pilot_dbus_node_complete_unexpose (face, invocation, left);
  return TRUE;
}

/* --- lists --- */

static gboolean
on_list_trusted (PilotDBusNode *face, GDBusMethodInvocation *invocation, PilotBus *bus)
{
  pilot_dbus_node_complete_list_trusted (face, invocation, pilot_describe_trust (bus->node, PILOT_TRUST_TRUSTED));
  return TRUE;
}

static gboolean
on_list_outgoing (PilotDBusNode *face, GDBusMethodInvocation *invocation, PilotBus *bus)
{
  pilot_dbus_node_complete_list_outgoing (face, invocation, pilot_describe_trust (bus->node, PILOT_TRUST_OUTGOING));
  return TRUE;
}

static void
on_refreshed (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (Call) call = user_data;
  g_autoptr (GError) error = NULL;

  /* Without the registry the list is what is known here, which is still an answer. */
  if (!pilot_trust_refresh_finish (PILOT_TRUST (source), result, &error))
    g_debug ("pending requests could not be asked for: %s", error->message);
  pilot_dbus_node_complete_list_pending (call->face, call->invocation, pilot_describe_trust (call->bus->node, PILOT_TRUST_PENDING));
}

static gboolean
on_list_pending (PilotDBusNode *face, GDBusMethodInvocation *invocation, PilotBus *bus)
{
  pilot_trust_refresh_async (pilot_node_get_trust (bus->node), NULL, on_refreshed, call_new (bus, face, invocation));
  return TRUE;
}

static gboolean
on_list_peers (PilotDBusNode *face, GDBusMethodInvocation *invocation, PilotBus *bus)
{
  g_autoptr (GPtrArray) peers = pilot_node_list_peers (bus->node);
  GVariantBuilder list;

  g_variant_builder_init (&list, G_VARIANT_TYPE ("aa{sv}"));
  for (guint i = 0; i < peers->len; i++)
    g_variant_builder_add_value (&list, pilot_describe_peer (peers->pdata[i]));
  pilot_dbus_node_complete_list_peers (face, invocation, g_variant_builder_end (&list));
  return TRUE;
}

static gboolean
on_list_connections (PilotDBusNode *face, GDBusMethodInvocation *invocation, PilotBus *bus)
{
  g_autoptr (GArray) connections = pilot_node_list_connections (bus->node);
  GVariantBuilder list;

  g_variant_builder_init (&list, G_VARIANT_TYPE ("aa{sv}"));
  for (guint i = 0; i < connections->len; i++)
    g_variant_builder_add_value (&list, pilot_describe_connection (&g_array_index (connections, PilotStreamInfo, i)));
  pilot_dbus_node_complete_list_connections (face, invocation, g_variant_builder_end (&list));
  return TRUE;
}

static void
on_pinged (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (Call) call = user_data;
  g_autoptr (GError) error = NULL;
  gint64 rtt_us;
  guint bytes;

  if (!pilot_node_ping_finish (PILOT_NODE (source), result, &rtt_us, &bytes, &error))
    call_fail (call, g_steal_pointer (&error));
  else
    pilot_dbus_node_complete_ping (call->face, call->invocation, rtt_us / 1000.0, bytes);
}

static gboolean
on_ping (PilotDBusNode *face, GDBusMethodInvocation *invocation, guint32 node, guint32 sequence, guint32 timeout_ms, PilotBus *bus)
{
  pilot_node_ping_async (bus->node, node, sequence, CLAMP (timeout_ms, 1, 600000), NULL, on_pinged, call_new (bus, face, invocation));
  return TRUE;
}

/* --- signals --- */

static void
on_node_changed (PilotNode *node, PilotBus *bus)
{
  refresh_properties (bus);
}

static void
on_trust_changed (PilotTrust *trust, guint node, const char *state, const char *reason, PilotBus *bus)
{
  pilot_dbus_node_emit_trust_changed (bus->node_face, node, state, reason != NULL ? reason : "");
}

static void
on_security_event (PilotNode *source, const char *kind, guint node, const char *message, PilotBus *bus)
{
  pilot_dbus_node_emit_security_event (bus->node_face, kind, node, message);
}

PilotDBusNode *
pilot_node_face_new (PilotBus *bus)
{
  static const struct {
    const char *signal;
    GCallback handler;
  } handlers[] = {
    { "handle-get-statistics", G_CALLBACK (on_get_statistics) },
    { "handle-net-check", G_CALLBACK (on_net_check) },
    { "handle-resolve", G_CALLBACK (on_resolve) },
    { "handle-lookup", G_CALLBACK (on_lookup) },
    { "handle-set-hostname", G_CALLBACK (on_set_hostname) },
    { "handle-set-public", G_CALLBACK (on_set_public) },
    { "handle-handshake", G_CALLBACK (on_handshake) },
    { "handle-approve", G_CALLBACK (on_approve) },
    { "handle-reject", G_CALLBACK (on_reject) },
    { "handle-untrust", G_CALLBACK (on_untrust) },
    { "handle-expose", G_CALLBACK (on_expose) },
    { "handle-unexpose", G_CALLBACK (on_unexpose) },
    { "handle-list-trusted", G_CALLBACK (on_list_trusted) },
    { "handle-list-pending", G_CALLBACK (on_list_pending) },
    { "handle-list-outgoing", G_CALLBACK (on_list_outgoing) },
    { "handle-list-peers", G_CALLBACK (on_list_peers) },
    { "handle-list-connections", G_CALLBACK (on_list_connections) },
    { "handle-ping", G_CALLBACK (on_ping) },
  };
  PilotConfig *config = pilot_node_get_config (bus->node);
  gboolean compat = pilot_config_is_compat (config);
  const char *beacon = pilot_config_get (config, compat ? "compat_beacon" : "beacon");
  PilotDBusNode *face = pilot_dbus_node_skeleton_new ();

  for (guint i = 0; i < G_N_ELEMENTS (handlers); i++)
    g_signal_connect (face, handlers[i].signal, handlers[i].handler, bus);
  pilot_authority_guard (G_DBUS_INTERFACE_SKELETON (face));
  pilot_dbus_node_set_version (face, PILOT_VERSION);
  pilot_dbus_node_set_pid (face, (guint32) getpid ());
  pilot_dbus_node_set_registry (face, pilot_node_get_registry_address (bus->node));
  pilot_dbus_node_set_transport (face, compat ? "compat" : "udp");
  pilot_dbus_node_set_beacon (face, beacon != NULL ? beacon : "");
  pilot_dbus_node_set_started (face, pilot_node_get_started (bus->node));
  bus->node_face = face;
  refresh_properties (bus);

  g_signal_connect (bus->node, "changed", G_CALLBACK (on_node_changed), bus);
  g_signal_connect (bus->node, "security-event", G_CALLBACK (on_security_event), bus);
  g_signal_connect (pilot_node_get_trust (bus->node), "changed", G_CALLBACK (on_trust_changed), bus);
  return face;
}
