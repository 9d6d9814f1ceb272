/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "port-listener.h"

typedef struct {
  PilotStreamUser user; /* first */
  PilotPortListener *listener;
  PilotStream *stream;
  GList link;
  guint ready;
} Waiting;

struct _PilotPortListener {
  PilotNode *node;
  guint16 port;
  GQueue waiting;
  void (*arrived) (PilotPortListener *listener, gpointer user_data);
  gpointer user_data;
};

static PilotStream *
waiting_end (Waiting *waiting)
{
  PilotStream *stream = waiting->stream;

  pilot_stream_set_user_data (stream, NULL);
  g_queue_unlink (&waiting->listener->waiting, &waiting->link);
  g_free (waiting);
  return stream;
}

static void
waiting_ready (PilotStreamUser *user, PilotStream *stream, guint ready)
{
  Waiting *waiting = (Waiting *) user;

  waiting->ready |= ready;
  if ((ready & PILOT_STREAM_READY_CLOSED) != 0 && pilot_stream_get_error (stream) != PILOT_STREAM_ERROR_NONE)
    pilot_stream_release (waiting_end (waiting), g_get_monotonic_time ());
}

static void
on_stream (PilotNode *node, PilotStream *stream, guint32 peer, gpointer user_data)
{
  PilotPortListener *listener = user_data;
  gint64 now = g_get_monotonic_time ();
  Waiting *waiting;

  if (listener->waiting.length >= PILOT_PORT_BACKLOG) {
    pilot_stream_refuse (stream, now);
    return;
  }
  waiting = g_new0 (Waiting, 1);
  waiting->user.ready = waiting_ready;
  waiting->listener = listener;
  waiting->stream = stream;
  waiting->link.data = waiting;
  g_queue_push_tail_link (&listener->waiting, &waiting->link);
  pilot_stream_set_user_data (stream, &waiting->user);
  pilot_stream_accept (stream, now);
  listener->arrived (listener, listener->user_data);
}

PilotPortListener *
pilot_port_listener_new (PilotNode *node, guint16 port, void (*arrived) (PilotPortListener *listener, gpointer user_data), gpointer user_data,
                         GError **error)
{
  PilotPortListener *listener = g_new0 (PilotPortListener, 1);

  listener->node = node;
  listener->port = port;
  listener->arrived = arrived;
  listener->user_data = user_data;
  g_queue_init (&listener->waiting);
  if (pilot_node_bind (node, port, FALSE, on_stream, listener, error))
    return listener;
  g_free (listener);
  return NULL;
}

void
pilot_port_listener_free (PilotPortListener *listener)
{
  gint64 now = g_get_monotonic_time ();

  pilot_node_unbind (listener->node, listener->port);
  while (listener->waiting.head != NULL) {
    PilotStream *stream = waiting_end (listener->waiting.head->data);

    pilot_stream_reset (stream, now);
    pilot_stream_release (stream, now);
  }
  pilot_node_kick (listener->node);
  g_free (listener);
}

guint16
pilot_port_listener_get_port (PilotPortListener *listener)
{
  return listener->port;
}

guint
pilot_port_listener_get_waiting (PilotPortListener *listener)
{
  return listener->waiting.length;
}

PilotStream *
pilot_port_listener_take (PilotPortListener *listener, guint *ready)
{
  Waiting *waiting = listener->waiting.head != NULL ? listener->waiting.head->data : NULL;

  if (waiting == NULL)
    return NULL;
  *ready = waiting->ready;
  return waiting_end (waiting);
}
