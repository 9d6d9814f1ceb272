/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/bus/bus.h"
#include "daemon/bus/private-socket.h"
#include "pilot-dbus.h"

G_BEGIN_DECLS

#define PILOT_BUS_ROOT "/network/pilotprotocol/Pilot1"

typedef struct _PilotStreamsFace PilotStreamsFace;
typedef struct _PilotMessagesFace PilotMessagesFace;
typedef struct _PilotEventsFace PilotEventsFace;

struct _PilotBus {
  PilotNode *node;
  PilotGateway *gateway;
  PilotExchange *exchange;
  PilotPluginLoader *loader;
  PilotBroker *broker; /* (nullable) */

  /* bus-server.c */
  PilotPrivateSocket *private_socket;
  gboolean system; /* our name is on the bus of the machine, not on one user's */
  char *socket_path;
  guint name_id, name_retry;
  gboolean bus_missed; /* said already that there is none */

  /* objects.c */
  GHashTable *connections; /* GDBusConnection -> registration of its ObjectManager: the same objects on each */
  GHashTable *objects;     /* path -> PilotDBusObjectSkeleton */

  GPtrArray *faces; /* GDBusInterfaceSkeleton: the interfaces of the root object */
  PilotDBusNode *node_face;
  PilotDBusGateway *gateway_face;
  PilotDBusPlugins *plugins_face;
  PilotStreamsFace *streams_face;
  PilotMessagesFace *messages_face;
  PilotEventsFace *events_face;
};

gboolean pilot_bus_server_start (PilotBus *bus, GError **error);
void pilot_bus_server_stop (PilotBus *bus);
/* Everything there is and will be appears on this connection, until it is taken from it. */
void pilot_bus_export (PilotBus *bus, GDBusConnection *connection);
void pilot_bus_unexport (PilotBus *bus, GDBusConnection *connection);
/* Whether nobody but the daemon's own user and root hears what is said on a connection. */
gboolean pilot_bus_is_for_owner (PilotBus *bus, GDBusConnection *connection);
/* Takes the object; it appears on every connection where it may be seen (authority.h), those to come included. Replaces one at the same path. */
void pilot_bus_add_object (PilotBus *bus, PilotDBusObjectSkeleton *object);
void pilot_bus_remove_object (PilotBus *bus, const char *path);
PilotDBusObject *pilot_bus_lookup_object (PilotBus *bus, const char *path); /* borrowed */

PilotDBusNode *pilot_node_face_new (PilotBus *bus);
PilotDBusGateway *pilot_gateway_face_new (PilotBus *bus);
PilotDBusPlugins *pilot_plugins_face_new (PilotBus *bus);
PilotStreamsFace *pilot_streams_face_new (PilotBus *bus);
void pilot_streams_face_free (PilotStreamsFace *face);
PilotMessagesFace *pilot_messages_face_new (PilotBus *bus);
GDBusInterfaceSkeleton *pilot_messages_face_get_skeleton (PilotMessagesFace *face);
void pilot_messages_face_free (PilotMessagesFace *face);
PilotEventsFace *pilot_events_face_new (PilotBus *bus);
void pilot_events_face_free (PilotEventsFace *face);
/* Mappings, peers and trust requests as objects of their own, kept in step by signals. */
void pilot_object_faces_start (PilotBus *bus);
void pilot_object_faces_stop (PilotBus *bus);

/* a{sv} of a mapping as ListMappings states it; floating. */
GVariant *pilot_gateway_face_describe (PilotMapping *mapping);
/* "redirected", "listening", "held" or "failed". */
const char *pilot_gateway_face_port_state (PilotPortState state);
/* Answers the call when it is done. */
void pilot_gateway_face_unmap (PilotBus *bus, GDBusMethodInvocation *invocation, const char *local_ip);
/* The only option of Handshake and Approve, "ports" s; NULL when absent. What opens ports is taken strictly: an empty list, another
 * type or an option that is not known is INVALID_ARGUMENT, never the default. */
gboolean pilot_bus_read_ports (GVariant *options, const char **ports, GError **error);

G_END_DECLS
