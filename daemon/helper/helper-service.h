/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

#include "daemon/helper/host-network.h"

G_BEGIN_DECLS

/*
 * PilotHelperService: PilotHostNetwork behind D-Bus. Answers the network's uid and root, nobody else. When the client that set the rules
 * goes away, the network is suspended: addresses and rules stay, connections are refused until the next one comes.
 *
 * Signals: "quit" () after a Quit that succeeded
 */
#define PILOT_TYPE_HELPER_SERVICE (pilot_helper_service_get_type ())
G_DECLARE_FINAL_TYPE (PilotHelperService, pilot_helper_service, PILOT, HELPER_SERVICE, GObject)

PilotHelperService *pilot_helper_service_new (PilotHostNetwork *network);
/* Serves clients of a listening Unix socket; takes the descriptor. */
gboolean pilot_helper_service_listen (PilotHelperService *service, int fd, GError **error);
/* Serves the object on a message bus; asks it for each caller's uid. The name is the caller's to own. */
gboolean pilot_helper_service_export (PilotHelperService *service, GDBusConnection *bus, GError **error);

G_END_DECLS
