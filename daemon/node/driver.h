/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/core/plugin/loader.h"
#include "daemon/core/poller.h"
#include "protocol/overlay.h"

G_BEGIN_DECLS

/*
 * PilotDriver: turns the crank of the engine: hands it what the transports receive, sends what it wants sent, gives its events to the node and
 * comes back at its deadline. Allocates nothing once it runs.
 */
typedef struct _PilotDriver PilotDriver;

typedef void (*PilotDriverEventFunc) (const PilotEvent *event, gpointer user_data);

/* Every transport that is enabled, the preferred one first: its place in that order is PilotEndpoint.transport. */
PilotDriver *pilot_driver_new (PilotPoller *poller, PilotPluginLoader *plugins, PilotOverlay *overlay, PilotDriverEventFunc func, gpointer user_data);
void pilot_driver_free (PilotDriver *driver);
/* Who answers the challenges of relays, and who hears that the trouble of a transport has changed. Before the start. */
void pilot_driver_set_login (PilotDriver *driver, PilotTransportProver prover, void (*trouble_changed) (gpointer user_data));
/* Registers with the poller. FAILED without any transport. */
gboolean pilot_driver_start (PilotDriver *driver, GError **error);
/* Sends what the engine still has to say, once, then lets go of the transports. */
void pilot_driver_stop (PilotDriver *driver);
/* (transfer full) PilotEndpoint elements: own endpoints of all transports. */
GArray *pilot_driver_get_endpoints (PilotDriver *driver);
/* Transports that hold a connection make it anew: the node has an id now, or the network is another. */
void pilot_driver_reconnect (PilotDriver *driver);
/* Why nothing can be sent by any transport; NULL = something can. */
const char *pilot_driver_get_trouble (PilotDriver *driver);
/* The endpoint that stands for the beacon @text in a relay transport. FALSE = no transport knows it. */
gboolean pilot_driver_find_relay (PilotDriver *driver, const char *text, PilotEndpoint *endpoint);
/* (transfer full) a{sv}: one a{sv} for each transport, under its name. */
GVariant *pilot_driver_get_statistics (PilotDriver *driver);

G_END_DECLS
