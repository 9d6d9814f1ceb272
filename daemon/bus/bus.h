/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/gateway/gateway.h"
#include "daemon/node/node.h"
#include "daemon/services/broker.h"
#include "daemon/services/exchange.h"

G_BEGIN_DECLS

/*
 * PilotBus: the D-Bus face of the daemon, on top of everything; nothing below knows D-Bus. Serves the private socket always, and owns
 * the well-known name on the session bus (a user's daemon) or the system bus (--system) where there is one.
 */
typedef struct _PilotBus PilotBus;

PilotBus *pilot_bus_new (PilotNode *node, PilotGateway *gateway, PilotExchange *exchange, PilotPluginLoader *loader);
/* What .Events shows; before the start. Outlives the bus. */
void pilot_bus_set_broker (PilotBus *bus, PilotBroker *broker);
/* Serves the private socket, else fails. A missing message bus is no failure. */
gboolean pilot_bus_start (PilotBus *bus, GError **error);
void pilot_bus_stop (PilotBus *bus);
void pilot_bus_free (PilotBus *bus);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotBus, pilot_bus_free)

G_END_DECLS
