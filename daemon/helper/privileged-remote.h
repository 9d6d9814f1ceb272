/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/helper/privileged.h"

G_BEGIN_DECLS

/* PilotPrivileged by way of pilot-helper. */
#define PILOT_TYPE_PRIVILEGED_REMOTE (pilot_privileged_remote_get_type ())
G_DECLARE_FINAL_TYPE (PilotPrivilegedRemote, pilot_privileged_remote, PILOT, PRIVILEGED_REMOTE, GObject)

#define PILOT_HELPER_NAME "network.pilotprotocol.Pilot1.Helper"
#define PILOT_HELPER_PATH "/network/pilotprotocol/Pilot1/Helper"

/* (transfer full): where the helper of a user listens. */
char *pilot_helper_socket_path (guint32 uid);
/* Connects, makes sure that it talks to root (or to its own user), and asks which subnet is served. Waits. NOT_RUNNING when there is no
 * helper, CONFLICT when it serves another subnet. @socket NULL: the default. */
PilotPrivileged *pilot_privileged_remote_new (const char *socket, const PilotSubnet *subnet, GError **error);
/* As above without a wish for a subnet; the answer of Describe (transfer full), a{sv}. */
GVariant *pilot_helper_describe (const char *socket, GError **error);
/* Asks a helper to clean up and end. */
gboolean pilot_helper_quit (const char *socket, GError **error);

G_END_DECLS
