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
/* Registers with the poller. FAILED without any transport. */
gboolean pilot_driver_start (PilotDriver *driver, GError **error);
/* Sends what the engine still has to say, once, then lets go of the transports. */
void pilot_driver_stop (PilotDriver *driver);
/* (transfer full) PilotEndpoint elements: own endpoints of all transports. */
GArray *pilot_driver_get_endpoints (PilotDriver *driver);
/* (transfer full) a{sv}: one a{sv} for each transport, under its name. */
GVariant *pilot_driver_get_statistics (PilotDriver *driver);

G_END_DECLS
