/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/core/poller.h"

G_BEGIN_DECLS

/*
 * PilotListener: accepts connections on one listening socket and hands them on. No error of accept() ends it.
 */
typedef struct _PilotListener PilotListener;

/* Takes @fd (non-blocking). @address and @port (host byte order) are what the client meant to reach. */
typedef void (*PilotListenerFunc) (int fd, guint32 address, guint16 port, gpointer user_data);

/* Takes @fd, a listening socket. @redirect: the destination is asked of the kernel (SO_ORIGINAL_DST), and a connection
 * without one is reset; else it is the socket's own. */
PilotListener *pilot_listener_new (PilotPoller *poller, int fd, gboolean redirect, PilotListenerFunc func, gpointer user_data);
void pilot_listener_free (PilotListener *listener);
/* Silent: the kernel refuses connections while the port stays ours. FALSE when it cannot be revived: somebody took the port meanwhile. */
gboolean pilot_listener_set_silent (PilotListener *listener, gboolean silent);

G_END_DECLS
