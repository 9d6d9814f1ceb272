/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/*
 * A private D-Bus socket, and who is at the other end need not be a friend. Not part of the library that plugins see.
 *
 * Who listens there: root's programs talk to sockets of users. In two steps, so that the caller can look at who it is before a byte is said. Both steps block,
 * for a bounded time.
 */

/* The credentials are those of who called listen(), as the kernel knows them. */
typedef struct {
  guint32 uid;
  gint32 pid; /* 0: not to be seen from here */
} PilotPrivateBusPeer;

/* Connects to the socket @path. NOT_RUNNING when nobody listens there, CONNECTION_FAILED. */
GSocketConnection *pilot_private_bus_connect (const char *path, PilotPrivateBusPeer *peer, GError **error);
/* Who is at the other end of any D-Bus connection over a Unix socket; of a message bus that is who runs the bus. */
gboolean pilot_private_bus_get_peer (GIOStream *stream, PilotPrivateBusPeer *peer, GError **error);
/* Whether an error of a connection, or of a call on it, says that the other end has ended. */
gboolean pilot_private_bus_has_ended (const GError *error);
/* Authenticates as a client. TIMEOUT when that takes longer than @limit_ms; NOT_RUNNING when the other end closes before. */
GDBusConnection *pilot_private_bus_authenticate (GSocketConnection *stream, guint limit_ms, GError **error);

/* Who connects: whoever asks and asks, and does not read the answers, would be given memory without end. Ends @connection at the first call beyond @most that
 * are not answered, or whose answers are not read. Before its messages are processed. */
void pilot_private_bus_limit_calls (GDBusConnection *connection, guint most);

G_END_DECLS
