/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/node/node.h"

G_BEGIN_DECLS

/*
 * PilotPortListener: a pilot port that a local program listens on. Streams of trusted peers are accepted as they come and wait, at most
 * PILOT_PORT_BACKLOG of them, until the program takes them; more are refused. One that ends by a reset meanwhile is forgotten.
 */
typedef struct _PilotPortListener PilotPortListener;

#define PILOT_PORT_BACKLOG 64

/* @arrived: called when there is something to take. Binds the port: errors of pilot_node_bind(). */
PilotPortListener *pilot_port_listener_new (PilotNode *node, guint16 port, void (*arrived) (PilotPortListener *listener, gpointer user_data),
                                            gpointer user_data, GError **error);
/* Frees the port; what waits is reset. */
void pilot_port_listener_free (PilotPortListener *listener);
guint16 pilot_port_listener_get_port (PilotPortListener *listener);
guint pilot_port_listener_get_waiting (PilotPortListener *listener);
/* The oldest that waits, NULL when there is none. It is open and has no user: set one, then tell it @ready (what happened meanwhile). */
PilotStream *pilot_port_listener_take (PilotPortListener *listener, guint *ready);

G_END_DECLS
