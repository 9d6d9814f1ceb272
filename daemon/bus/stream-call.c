/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/bus/stream-call.h"

#include <gio/gunixfdlist.h>
#include <unistd.h>

#include "daemon/gateway/socket-pair.h"
#include "libpilot/pilot-error.h"

#define MAX_DIALS 1024
#define MAX_STREAMS 8192

typedef struct {
  PilotStreamUser user; /* first */
  PilotStreamCalls *calls;
  GDBusMethodInvocation *invocation;
  PilotCaller *caller;
  PilotStream *stream;
  guint32 node;
  guint16 port;
  GBytes *first;
  guint timeout_source;
  GList link;
} Dial;

void
pilot_stream_calls_init (PilotStreamCalls *calls, PilotNode *node)
{
  calls->node = node;
  g_queue_init (&calls->dials);
  pilot_bridge_group_init (&calls->group, pilot_node_get_poller (node));
}

void
pilot_stream_calls_answer (GDBusMethodInvocation *invocation, GVariant *values, int fd)
{
  g_autoptr (GUnixFDList) list = g_unix_fd_list_new_from_array (&fd, 1);

  g_dbus_method_invocation_return_value_with_unix_fd_list (invocation, values, list);
}

gboolean
pilot_stream_calls_join (PilotStreamCalls *calls, PilotStream *stream, guint ready, int *fd, PilotStreamInfo *info, GError **error)
{
  PilotStreamUser *user;
  int fds[2];

  pilot_stream_info (stream, info);

  if (calls->group.open >= MAX_STREAMS)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "programs hold %d streams already", MAX_STREAMS);
  else if (pilot_socket_pair_new (fds, error)) {
    pilot_bridge_join_pair (&calls->group, fds[0], info->remote_port, stream);
    user = pilot_stream_get_user_data (stream);
    user->ready (user, stream, ready & ~(guint) PILOT_STREAM_READY_OPEN);
    *fd = fds[1];
    return TRUE;
  }
  pilot_stream_reset (stream, g_get_monotonic_time ());
  pilot_stream_release (stream, g_get_monotonic_time ());
  return FALSE;
}

/* Unlinks and frees; what is left of the stream is given up. The invocation has been answered. */
static void
dial_end (Dial *dial)
{
  PilotStreamCalls *calls = dial->calls;

  g_queue_unlink (&calls->dials, &dial->link);
  pilot_caller_free (dial->caller);
  g_clear_handle_id (&dial->timeout_source, g_source_remove);
  g_clear_pointer (&dial->first, g_bytes_unref);
  if (dial->stream != NULL) {
    pilot_stream_set_user_data (dial->stream, NULL);
    pilot_stream_reset (dial->stream, g_get_monotonic_time ());
    pilot_stream_release (dial->stream, g_get_monotonic_time ());
    pilot_node_kick (calls->node);
  }
  g_free (dial);
}

static void
dial_fail (Dial *dial, GError *error)
{
  g_dbus_method_invocation_take_error (dial->invocation, error);
  dial_end (dial);
}

static void
dial_opened (Dial *dial, guint ready)
{
  PilotStreamInfo info;
  GError *error = NULL;
  int fd;

  if (dial->first != NULL)
    pilot_stream_write (dial->stream, g_bytes_get_data (dial->first, NULL), g_bytes_get_size (dial->first), g_get_monotonic_time ());
  if (!pilot_stream_calls_join (dial->calls, g_steal_pointer (&dial->stream), ready, &fd, &info, &error)) {
    dial_fail (dial, error);
    return;
  }
  pilot_stream_calls_answer (dial->invocation, g_variant_new ("(hb)", 0, info.half_close), fd);
  dial_end (dial);
}

static void
dial_ready (PilotStreamUser *user, PilotStream *stream, guint ready)
{
  Dial *dial = (Dial *) user;

  if ((ready & PILOT_STREAM_READY_OPEN) != 0)
    dial_opened (dial, ready);
  else if ((ready & PILOT_STREAM_READY_CLOSED) != 0)
    dial_fail (dial, pilot_node_stream_error (dial->calls->node, dial->node, dial->port, pilot_stream_get_error (stream)));
}

static gboolean
on_timeout (gpointer user_data)
{
  Dial *dial = user_data;

  dial->timeout_source = 0;
  dial_fail (dial, g_error_new (PILOT_ERROR, PILOT_ERROR_TIMEOUT, "node %u did not answer on port %u in time", dial->node, dial->port));
  return G_SOURCE_REMOVE;
}

static void
on_caller_gone (gpointer user_data)
{
  dial_fail (user_data, g_error_new_literal (PILOT_ERROR, PILOT_ERROR_CANCELLED, "the caller has left"));
}

void
pilot_stream_calls_dial (PilotStreamCalls *calls, GDBusMethodInvocation *invocation, guint32 node, guint16 port, guint timeout_ms, GBytes *first)
{
  GError *error = NULL;
  Dial *dial;

  if (calls->dials.length >= MAX_DIALS) {
    g_dbus_method_invocation_return_error (invocation, PILOT_ERROR, PILOT_ERROR_BUSY, "%d dials are under way already", MAX_DIALS);
    return;
  }
  dial = g_new0 (Dial, 1);
  dial->user.ready = dial_ready;
  dial->calls = calls;
  dial->invocation = invocation;
  dial->node = node;
  dial->port = port;
  dial->first = first != NULL ? g_bytes_ref (first) : NULL;
  dial->link.data = dial;
  g_queue_push_tail_link (&calls->dials, &dial->link);
  dial->stream = pilot_node_connect (calls->node, node, port, &dial->user, &error);
  if (dial->stream == NULL) {
    dial_fail (dial, error);
    return;
  }
  dial->caller = pilot_caller_new (invocation, on_caller_gone, dial);
  if (timeout_ms > 0)
    dial->timeout_source = g_timeout_add (timeout_ms, on_timeout, dial);
}

void
pilot_stream_calls_clear (PilotStreamCalls *calls)
{
  while (calls->dials.head != NULL)
    dial_fail (calls->dials.head->data, g_error_new_literal (PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, "the daemon stops"));
  pilot_bridge_group_reset (&calls->group);
}
