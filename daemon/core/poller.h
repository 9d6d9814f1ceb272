/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/*
 * PilotPoller: the sockets of the data path (tunnel sockets, bridged TCP connections,
 * gateway listeners) behind one epoll descriptor that is a single GSource, because
 * GMainContext polls all its descriptors at every turn, which is O(n).
 *
 * One turn: dispatch every ready watch (bounded), then call the pump once. The pump
 * moves the overlay: events, transmit, next deadline. Priority: G_PRIORITY_DEFAULT + 10,
 * so that D-Bus and registry traffic go first.
 */
typedef struct _PilotPoller PilotPoller;
typedef struct _PilotPollerWatch PilotPollerWatch;

/* @events: EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLRDHUP */
typedef void (*PilotPollerFunc) (int fd, guint32 events, gpointer user_data);
typedef void (*PilotPollerPump) (gint64 now_us, gpointer user_data);

PilotPoller *pilot_poller_new (GMainContext *context, GError **error);
void pilot_poller_free (PilotPoller *poller);
/* Level-triggered. The watch stays until pilot_poller_remove(); removing inside a callback (one's own watch or
 * another's, also one that is ready in the same turn) is safe. Does not own @fd. */
PilotPollerWatch *pilot_poller_add (PilotPoller *poller, int fd, guint32 events, PilotPollerFunc func, gpointer user_data);
void pilot_poller_modify (PilotPollerWatch *watch, guint32 events);
void pilot_poller_remove (PilotPollerWatch *watch);
void pilot_poller_set_pump (PilotPoller *poller, PilotPollerPump pump, gpointer user_data);
/* Absolute g_get_monotonic_time() at which the pump must run at the latest; G_MAXINT64 = never. */
void pilot_poller_set_deadline (PilotPoller *poller, gint64 deadline_us);
/* Whether to wait awake for the next of short messages that follow each other closely (busy-poll.h). Not from the beginning. */
void pilot_poller_set_busy_poll (PilotPoller *poller, gboolean allowed);
/* So much payload or datagram was moved in this turn: a transfer is not waited for awake. */
void pilot_poller_carried (PilotPoller *poller, gsize bytes);
/* The pump runs at the end of this turn, or in the next one when called from outside the poller. */
void pilot_poller_kick (PilotPoller *poller);

G_END_DECLS
