/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/bus/authority.h"
#include "daemon/bus/bus-private.h"
#include "daemon/bus/fresh.h"
#include "daemon/node/node-describe.h"

static char *
peer_path (guint32 node)
{
  return g_strdup_printf (PILOT_BUS_ROOT "/peers/%u", node);
}

static char *
request_path (guint32 node)
{
  return g_strdup_printf (PILOT_BUS_ROOT "/requests/%u", node);
}

static char *
mapping_path (PilotMapping *mapping)
{
  char *path = g_strconcat (PILOT_BUS_ROOT "/mappings/", pilot_mapping_get_local_address (mapping), NULL);

  /* 10.4.0.1 -> 10_4_0_1; object paths know no dots, and no colons of IPv6. */
  return g_strdelimit (path, ".:", '_');
}

/* --- mappings --- */

static gboolean
on_mapping_unmap (PilotDBusMapping *face, GDBusMethodInvocation *invocation, PilotBus *bus)
{
  /* The object may go before the text has been read. */
  g_autofree char *local = g_strdup (pilot_dbus_mapping_get_local_address (face));

  pilot_gateway_face_unmap (bus, invocation, local);
  return TRUE;
}

static GVariant *
list_ports (PilotMapping *mapping)
{
  const GPtrArray *ports = pilot_mapping_get_ports (mapping);
  GVariantBuilder list;

  g_variant_builder_init (&list, G_VARIANT_TYPE ("a(qss)"));
  for (guint i = 0; ports != NULL && i < ports->len; i++) {
    const PilotMappingPort *port = ports->pdata[i];

    g_variant_builder_add (&list, "(qss)", port->port, pilot_gateway_face_port_state (port->state), port->detail != NULL ? port->detail : "");
  }
  return g_variant_builder_end (&list);
}

static void
fill_mapping (PilotDBusMapping *face, PilotMapping *mapping)
{
  g_autofree char *peer_state = pilot_mapping_dup_peer_state (mapping);
  PilotAddress address;
  char text[PILOT_ADDRESS_TEXT_SIZE];

  pilot_mapping_get_pilot_address (mapping, &address);
  pilot_address_format (&address, text);
  pilot_dbus_mapping_set_local_address (face, pilot_mapping_get_local_address (mapping));
  pilot_dbus_mapping_set_pilot_address (face, text);
  pilot_dbus_mapping_set_node_id (face, address.node);
  pilot_dbus_mapping_set_hostname (face, pilot_mapping_get_hostname (mapping));
  pilot_dbus_mapping_set_state (face, pilot_mapping_get_state (mapping));
  pilot_dbus_mapping_set_all_ports (face, pilot_mapping_get_all_ports (mapping));
  pilot_dbus_mapping_set_ports (face, list_ports (mapping));
  pilot_dbus_mapping_set_open_connections (face, pilot_mapping_get_open (mapping));
  pilot_dbus_mapping_set_total_connections (face, pilot_mapping_get_total (mapping));
  pilot_dbus_mapping_set_bytes_in (face, pilot_mapping_get_bytes_in (mapping));
  pilot_dbus_mapping_set_bytes_out (face, pilot_mapping_get_bytes_out (mapping));
  pilot_dbus_mapping_set_path (face, pilot_mapping_get_path (mapping));
  pilot_dbus_mapping_set_peer_state (face, peer_state);
  pilot_dbus_mapping_set_last_error (face, pilot_mapping_get_last_error (mapping));
  pilot_dbus_mapping_set_user_id (face, pilot_mapping_get_uid (mapping) != PILOT_UID_ANY ? (gint64) pilot_mapping_get_uid (mapping) : -1);
}

static void
refresh_mapping (GDBusInterfaceSkeleton *face, gpointer mapping)
{
  fill_mapping (PILOT_DBUS_MAPPING (face), mapping);
}

static void
on_mapping_added (PilotGateway *gateway, PilotMapping *mapping, PilotBus *bus)
{
  g_autofree char *path = mapping_path (mapping);
  PilotDBusObjectSkeleton *object = pilot_dbus_object_skeleton_new (path);
  g_autoptr (PilotDBusMapping) face = pilot_fresh_new (PILOT_DBUS_TYPE_MAPPING_SKELETON, refresh_mapping, g_object_ref (mapping), g_object_unref);

  fill_mapping (face, mapping);
  g_signal_connect (face, "handle-unmap", G_CALLBACK (on_mapping_unmap), bus);
  pilot_authority_guard (G_DBUS_INTERFACE_SKELETON (face));
  pilot_dbus_object_skeleton_set_mapping (object, face);
  pilot_bus_add_object (bus, object);
}

static void
on_mapping_removed (PilotGateway *gateway, PilotMapping *mapping, PilotBus *bus)
{
  g_autofree char *path = mapping_path (mapping);

  pilot_bus_remove_object (bus, path);
}

static void
on_mapping_changed (PilotGateway *gateway, PilotMapping *mapping, PilotBus *bus)
{
  g_autofree char *path = mapping_path (mapping);
  PilotDBusObject *object = pilot_bus_lookup_object (bus, path);

  if (object != NULL)
    fill_mapping (pilot_dbus_object_peek_mapping (object), mapping);
}

/* --- peers --- */

static gboolean
on_peer_untrust (PilotDBusPeer *face, GDBusMethodInvocation *invocation, PilotBus *bus)
{
  g_autoptr (GError) error = NULL;

  if (!pilot_trust_untrust (pilot_node_get_trust (bus->node), pilot_dbus_peer_get_node_id (face), &error))
    g_dbus_method_invocation_take_error (invocation, g_steal_pointer (&error));
  else
    pilot_dbus_peer_complete_untrust (face, invocation);
  return TRUE;
}

static void
fill_peer (PilotDBusPeer *face, PilotBus *bus, const PilotPeerView *view)
{
  const PilotPeerInfo *info = &view->info;
  g_autofree char *address = pilot_describe_node (info->node);
  g_autofree char *key = info->has_key ? pilot_describe_key (info->key) : g_strdup ("");
  g_autofree char *opened = pilot_access_describe (pilot_node_get_access (bus->node), info->node);

  pilot_dbus_peer_set_node_id (face, info->node);
  pilot_dbus_peer_set_address (face, address);
  pilot_dbus_peer_set_hostname (face, view->hostname != NULL ? view->hostname : "");
  pilot_dbus_peer_set_public_key (face, key);
  pilot_dbus_peer_set_trusted (face, view->trusted);
  pilot_dbus_peer_set_mutual (face, view->mutual);
  pilot_dbus_peer_set_access (face, opened);
  pilot_dbus_peer_set_state (face, view->state != NULL ? view->state : "");
  pilot_dbus_peer_set_encrypted (face, info->session);
  pilot_dbus_peer_set_path (face, pilot_describe_path (info->path));
  pilot_dbus_peer_set_round_trip_time (face, info->rtt_us);
  pilot_dbus_peer_set_last_seen (face, info->last_receive_us == 0 ? 0
                                                                  : (g_get_real_time () - (g_get_monotonic_time () - info->last_receive_us)) / G_USEC_PER_SEC);
}

static void
refresh_peer (GDBusInterfaceSkeleton *skeleton, gpointer user_data)
{
  PilotBus *bus = user_data;
  PilotDBusPeer *face = PILOT_DBUS_PEER (skeleton);
  PilotPeerView *view = pilot_node_get_peer (bus->node, pilot_dbus_peer_get_node_id (face));

  if (view != NULL)
    fill_peer (face, bus, view);
  pilot_peer_view_free (view);
}

static void
on_peer_changed (PilotNode *node, guint id, PilotBus *bus)
{
  g_autofree char *path = peer_path (id);
  PilotDBusObject *object = pilot_bus_lookup_object (bus, path);
  PilotPeerView *view = pilot_node_get_peer (node, id);

  if (view == NULL) {
    pilot_bus_remove_object (bus, path);
    return;
  }
  if (object == NULL) {
    PilotDBusObjectSkeleton *skeleton = pilot_dbus_object_skeleton_new (path);
    g_autoptr (PilotDBusPeer) face = pilot_fresh_new (PILOT_DBUS_TYPE_PEER_SKELETON, refresh_peer, bus, NULL);

    fill_peer (face, bus, view);
    g_signal_connect (face, "handle-untrust", G_CALLBACK (on_peer_untrust), bus);
    pilot_authority_guard (G_DBUS_INTERFACE_SKELETON (face));
    pilot_dbus_object_skeleton_set_peer (skeleton, face);
    pilot_bus_add_object (bus, skeleton);
  } else
    fill_peer (pilot_dbus_object_peek_peer (object), bus, view);
  pilot_peer_view_free (view);
}

static void
on_peer_removed (PilotNode *node, guint id, PilotBus *bus)
{
  g_autofree char *path = peer_path (id);

  pilot_bus_remove_object (bus, path);
}

static void
on_trust_changed (PilotTrust *trust, guint node, const char *state, const char *reason, PilotBus *bus)
{
  on_peer_changed (bus->node, node, bus);
}

static void
on_access_changed (PilotAccess *access, guint node, PilotBus *bus)
{
  on_peer_changed (bus->node, node, bus);
}

/* --- requests --- */

static gboolean
on_request_approve (PilotDBusTrustRequest *face, GDBusMethodInvocation *invocation, GVariant *options, PilotBus *bus)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *opened = NULL;
  const char *ports;

  if (!pilot_bus_read_ports (options, &ports, &error) ||
      !pilot_trust_approve (pilot_node_get_trust (bus->node), pilot_dbus_trust_request_get_node_id (face), ports, &opened, &error))
    g_dbus_method_invocation_take_error (invocation, g_steal_pointer (&error));
  else
    pilot_dbus_trust_request_complete_approve (face, invocation, opened);
  return TRUE;
}

static gboolean
on_request_reject (PilotDBusTrustRequest *face, GDBusMethodInvocation *invocation, const char *reason, PilotBus *bus)
{
  g_autoptr (GError) error = NULL;

  if (!pilot_trust_reject (pilot_node_get_trust (bus->node), pilot_dbus_trust_request_get_node_id (face), reason, &error))
    g_dbus_method_invocation_take_error (invocation, g_steal_pointer (&error));
  else
    pilot_dbus_trust_request_complete_reject (face, invocation);
  return TRUE;
}

static void
fill_request (PilotDBusTrustRequest *face, const PilotTrustRecord *record)
{
  g_autofree char *address = pilot_describe_node (record->node);
  g_autofree char *key = record->has_key ? pilot_describe_key (record->key) : g_strdup ("");

  pilot_dbus_trust_request_set_node_id (face, record->node);
  pilot_dbus_trust_request_set_address (face, address);
  pilot_dbus_trust_request_set_public_key (face, key);
  pilot_dbus_trust_request_set_justification (face, record->justification != NULL ? record->justification : "");
  pilot_dbus_trust_request_set_received (face, record->time);
}

/* Also when it comes again: by the registry after it came directly, or with other words. */
static void
on_request_added (PilotTrust *trust, guint node, PilotBus *bus)
{
  g_autoptr (PilotTrustRecord) record = pilot_trust_lookup (trust, PILOT_TRUST_PENDING, node);
  g_autofree char *path = request_path (node);
  PilotDBusObject *known = pilot_bus_lookup_object (bus, path);
  g_autoptr (PilotDBusTrustRequest) face = NULL;
  PilotDBusObjectSkeleton *object;

  if (record == NULL)
    return;
  if (known != NULL) {
    fill_request (pilot_dbus_object_peek_trust_request (known), record);
    return;
  }
  face = pilot_dbus_trust_request_skeleton_new ();
  fill_request (face, record);
  g_signal_connect (face, "handle-approve", G_CALLBACK (on_request_approve), bus);
  g_signal_connect (face, "handle-reject", G_CALLBACK (on_request_reject), bus);
  pilot_authority_guard (G_DBUS_INTERFACE_SKELETON (face));
  object = pilot_dbus_object_skeleton_new (path);
  pilot_dbus_object_skeleton_set_trust_request (object, face);
  pilot_bus_add_object (bus, object);
}

static void
on_request_removed (PilotTrust *trust, guint node, PilotBus *bus)
{
  g_autofree char *path = request_path (node);

  pilot_bus_remove_object (bus, path);
}

void
pilot_object_faces_start (PilotBus *bus)
{
  PilotTrust *trust = pilot_node_get_trust (bus->node);
  g_autoptr (GPtrArray) mappings = pilot_gateway_list (bus->gateway);
  g_autoptr (GPtrArray) requests = pilot_trust_list (trust, PILOT_TRUST_PENDING);
  g_autoptr (GPtrArray) trusted = pilot_trust_list (trust, PILOT_TRUST_TRUSTED);

  g_signal_connect (bus->gateway, "mapping-added", G_CALLBACK (on_mapping_added), bus);
  g_signal_connect (bus->gateway, "mapping-removed", G_CALLBACK (on_mapping_removed), bus);
  g_signal_connect (bus->gateway, "mapping-changed", G_CALLBACK (on_mapping_changed), bus);
  g_signal_connect (bus->node, "peer-changed", G_CALLBACK (on_peer_changed), bus);
  g_signal_connect (bus->node, "peer-removed", G_CALLBACK (on_peer_removed), bus);
  g_signal_connect (trust, "changed", G_CALLBACK (on_trust_changed), bus);
  g_signal_connect (pilot_node_get_access (bus->node), "changed", G_CALLBACK (on_access_changed), bus);
  g_signal_connect (trust, "request-added", G_CALLBACK (on_request_added), bus);
  g_signal_connect (trust, "request-removed", G_CALLBACK (on_request_removed), bus);

  for (guint i = 0; i < mappings->len; i++)
    on_mapping_added (bus->gateway, mappings->pdata[i], bus);
  for (guint i = 0; i < requests->len; i++)
    on_request_added (trust, ((PilotTrustRecord *) requests->pdata[i])->node, bus);
  for (guint i = 0; i < trusted->len; i++)
    on_peer_changed (bus->node, ((PilotTrustRecord *) trusted->pdata[i])->node, bus);
}

void
pilot_object_faces_stop (PilotBus *bus)
{
  g_signal_handlers_disconnect_by_data (bus->gateway, bus);
  g_signal_handlers_disconnect_by_data (bus->node, bus);
  g_signal_handlers_disconnect_by_data (pilot_node_get_trust (bus->node), bus);
  g_signal_handlers_disconnect_by_data (pilot_node_get_access (bus->node), bus);
}
