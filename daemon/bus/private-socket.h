/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/*
 * The socket on which programs talk D-Bus to the daemon without a message bus. Any user of the machine may connect where he gets to it, so that what others
 * take is bounded: GDBusServer gives everybody who connects a thread, for as long as he says nothing, and without descriptors it tries to accept for ever,
 * a line in the log each time. The daemon's own user and root, who could end it as well, wait behind nobody else.
 */
typedef struct _PilotPrivateSocket PilotPrivateSocket;

/* A connection whose other end has said who it is; no call of it is looked at before this returns. In the main loop. */
typedef void (*PilotPrivateSocketFunc) (GDBusConnection *connection, gpointer user_data);

/* Listens at @path. NULL with an error: those of pilot_local_socket_listen(). */
PilotPrivateSocket *pilot_private_socket_new (const char *path, PilotPrivateSocketFunc arrived, gpointer user_data, GError **error);
/* Connections that have arrived live on. */
void pilot_private_socket_free (PilotPrivateSocket *socket);

G_END_DECLS
