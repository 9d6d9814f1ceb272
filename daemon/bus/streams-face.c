/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/bus/authority.h"
#include "daemon/bus/bus-private.h"

#include <gio/gunixfdlist.h>

#include "daemon/bus/stream-call.h"
#include "daemon/services/datagram-socket.h"
#include "daemon/services/port-listener.h"
#include "libpilot/pilot-error.h"

#define MAX_LISTENS 256
#define MAX_ACCEPTS 64 /* that wait on one port */

struct _PilotStreamsFace {
  PilotDBusStreams *skeleton;
  PilotNode *node;
  PilotStreamCalls calls;
  PilotDatagramSockets *datagrams;
  GHashTable *listens; /* port -> Listen */
};

/* A port that a caller listens on, and its calls of Accept that wait. */
typedef struct {
  PilotStreamsFace *face;
  PilotPortListener *listener;
  PilotCaller *caller;
  GQueue accepts;
} Listen;

typedef struct {
  Listen *listen;
  GDBusMethodInvocation *invocation;
  guint timeout_source;
  GList link;
} Accept;

/* --- options --- */

/* One option that may be there and no other: what is misspelt must not be taken for the default. */
static gboolean
read_option (GVariant *options, const char *name, const char *type, gpointer value, GError **error)
{
  gboolean present = name != NULL && g_variant_lookup (options, name, type, value);

  if (g_variant_n_children (options) == (present ? 1 : 0))
    return TRUE;
  if (name != NULL)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "the only option is \"%s\", of type \"%s\"", name, type);
  else
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "there are no options yet");
  return FALSE;
}

/* --- streams --- */

static gboolean
on_dial (PilotDBusStreams *skeleton, GDBusMethodInvocation *invocation, GUnixFDList *fds, guint32 node, guint16 port, GVariant *options,
         PilotStreamsFace *face)
{
  GError *error = NULL;
  guint32 timeout_ms = 0;

  if (!read_option (options, "timeout_ms", "u", &timeout_ms, &error))
    g_dbus_method_invocation_take_error (invocation, error);
  else
    pilot_stream_calls_dial (&face->calls, invocation, node, port, timeout_ms, NULL);
  return TRUE;
}

static GDBusMethodInvocation *
accept_end (Accept *accept)
{
  GDBusMethodInvocation *invocation = accept->invocation;

  g_queue_unlink (&accept->listen->accepts, &accept->link);
  g_clear_handle_id (&accept->timeout_source, g_source_remove);
  g_free (accept);
  return invocation;
}

static void
answer_accept (Listen *listen, PilotStream *stream, guint ready, GDBusMethodInvocation *invocation)
{
  PilotStreamInfo info;
  GError *error = NULL;
  int fd;

  if (!pilot_stream_calls_join (&listen->face->calls, stream, ready, &fd, &info, &error))
    g_dbus_method_invocation_take_error (invocation, error);
  else
    pilot_stream_calls_answer (invocation, g_variant_new ("(uqhb)", info.remote.node, info.remote_port, 0, info.half_close), fd);
}

static void
on_arrived (PilotPortListener *listener, gpointer user_data)
{
  Listen *listen = user_data;
  PilotStream *stream;
  guint ready;

  while (listen->accepts.head != NULL && (stream = pilot_port_listener_take (listener, &ready)) != NULL)
    answer_accept (listen, stream, ready, accept_end (listen->accepts.head->data));
}

static void
listen_free (gpointer data)
{
  Listen *listen = data;

  while (listen->accepts.head != NULL)
    g_dbus_method_invocation_return_error (accept_end (listen->accepts.head->data), PILOT_ERROR, PILOT_ERROR_CANCELLED, "nobody listens on port %u any more",
                                           pilot_port_listener_get_port (listen->listener));
  pilot_port_listener_free (listen->listener);
  pilot_caller_free (listen->caller);
  g_free (listen);
}

static void
unlisten (Listen *listen)
{
  g_hash_table_remove (listen->face->listens, GUINT_TO_POINTER ((guint) pilot_port_listener_get_port (listen->listener)));
}

static void
on_caller_gone (gpointer user_data)
{
  unlisten (user_data);
}

static gboolean
on_listen (PilotDBusStreams *skeleton, GDBusMethodInvocation *invocation, guint16 port, GVariant *options, PilotStreamsFace *face)
{
  GError *error = NULL;
  Listen *listen;

  if (!read_option (options, NULL, NULL, NULL, &error)) {
    g_dbus_method_invocation_take_error (invocation, error);
    return TRUE;
  }
  if (g_hash_table_size (face->listens) >= MAX_LISTENS) {
    g_dbus_method_invocation_return_error (invocation, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "programs listen on %d ports already", MAX_LISTENS);
    return TRUE;
  }
  listen = g_new0 (Listen, 1);
  listen->face = face;
  listen->listener = pilot_port_listener_new (face->node, port, on_arrived, listen, &error);
  if (listen->listener == NULL) {
    g_free (listen);
    g_dbus_method_invocation_take_error (invocation, error);
    return TRUE;
  }
  g_queue_init (&listen->accepts);
  g_hash_table_insert (face->listens, GUINT_TO_POINTER ((guint) port), listen);
  listen->caller = pilot_caller_new (invocation, on_caller_gone, listen);
  pilot_dbus_streams_complete_listen (skeleton, invocation);
  return TRUE;
}

/* The caller's own, else NULL with an error. */
static Listen *
find_listen (PilotStreamsFace *face, GDBusMethodInvocation *invocation, guint16 port, GError **error)
{
  Listen *listen = g_hash_table_lookup (face->listens, GUINT_TO_POINTER ((guint) port));

  if (listen != NULL && pilot_caller_is (listen->caller, invocation))
    return listen;
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "this caller does not listen on port %u", port);
  return NULL;
}

static gboolean
on_unlisten (PilotDBusStreams *skeleton, GDBusMethodInvocation *invocation, guint16 port, PilotStreamsFace *face)
{
  GError *error = NULL;
  Listen *listen = find_listen (face, invocation, port, &error);

  if (listen == NULL) {
    g_dbus_method_invocation_take_error (invocation, error);
    return TRUE;
  }
  unlisten (listen);
  pilot_dbus_streams_complete_unlisten (skeleton, invocation);
  return TRUE;
}

static gboolean
on_accept_timeout (gpointer user_data)
{
  Accept *accept = user_data;
  guint16 port = pilot_port_listener_get_port (accept->listen->listener);

  accept->timeout_source = 0;
  g_dbus_method_invocation_return_error (accept_end (accept), PILOT_ERROR, PILOT_ERROR_TIMEOUT, "nobody opened a stream to port %u in time", port);
  return G_SOURCE_REMOVE;
}

static gboolean
on_accept (PilotDBusStreams *skeleton, GDBusMethodInvocation *invocation, GUnixFDList *fds, guint16 port, GVariant *options, PilotStreamsFace *face)
{
  GError *error = NULL;
  guint32 timeout_ms = 0;
  PilotStream *stream;
  Listen *listen = NULL;
  Accept *accept;
  guint ready;

  if (!read_option (options, "timeout_ms", "u", &timeout_ms, &error) || (listen = find_listen (face, invocation, port, &error)) == NULL) {
    g_dbus_method_invocation_take_error (invocation, error);
    return TRUE;
  }
  stream = pilot_port_listener_take (listen->listener, &ready);
  if (stream != NULL) {
    answer_accept (listen, stream, ready, invocation);
    pilot_node_kick (face->node);
    return TRUE;
  }
  if (listen->accepts.length >= MAX_ACCEPTS) {
    g_dbus_method_invocation_return_error (invocation, PILOT_ERROR, PILOT_ERROR_BUSY, "%d calls wait on port %u already", MAX_ACCEPTS, port);
    return TRUE;
  }
  accept = g_new0 (Accept, 1);
  accept->listen = listen;
  accept->invocation = invocation;
  accept->link.data = accept;
  if (timeout_ms > 0)
    accept->timeout_source = g_timeout_add (timeout_ms, on_accept_timeout, accept);
  g_queue_push_tail_link (&listen->accepts, &accept->link);
  return TRUE;
}

/* --- datagrams --- */

static gboolean
on_send_datagram (PilotDBusStreams *skeleton, GDBusMethodInvocation *invocation, guint32 node, guint16 port, GVariant *data, GVariant *options,
                  PilotStreamsFace *face)
{
  GError *error = NULL;
  guint16 source_port = 0;
  gsize length;
  gconstpointer bytes = g_variant_get_fixed_array (data, &length, 1);

  if (!read_option (options, "source_port", "q", &source_port, &error) ||
      !pilot_node_send_datagram (face->node, node, source_port, port, bytes, length, &error))
    g_dbus_method_invocation_take_error (invocation, error);
  else
    pilot_dbus_streams_complete_send_datagram (skeleton, invocation);
  return TRUE;
}

static gboolean
on_open_datagrams (PilotDBusStreams *skeleton, GDBusMethodInvocation *invocation, GUnixFDList *fds, guint16 port, GVariant *options,
                   PilotStreamsFace *face)
{
  GError *error = NULL;
  int fd = -1;

  if (!read_option (options, NULL, NULL, NULL, &error) || (fd = pilot_datagram_sockets_open (face->datagrams, &port, &error)) < 0)
    g_dbus_method_invocation_take_error (invocation, error);
  else
    pilot_stream_calls_answer (invocation, g_variant_new ("(hq)", 0, port), fd);
  return TRUE;
}

/* --- what is held --- */

static void
add_port (GVariantBuilder *list, guint16 port, const char *kind, guint waiting)
{
  GVariantDict dict;

  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "port", "q", port);
  g_variant_dict_insert (&dict, "kind", "s", kind);
  g_variant_dict_insert (&dict, "waiting", "u", waiting);
  g_variant_builder_add_value (list, g_variant_dict_end (&dict));
}

static void
add_datagram_port (guint16 port, gpointer user_data)
{
  add_port (user_data, port, "datagram", 0);
}

static gboolean
on_list_ports (PilotDBusStreams *skeleton, GDBusMethodInvocation *invocation, PilotStreamsFace *face)
{
  GVariantBuilder list;
  GHashTableIter iter;
  Listen *listen;

  g_variant_builder_init (&list, G_VARIANT_TYPE ("aa{sv}"));
  g_hash_table_iter_init (&iter, face->listens);
  while (g_hash_table_iter_next (&iter, NULL, (gpointer *) &listen))
    add_port (&list, pilot_port_listener_get_port (listen->listener), "stream", pilot_port_listener_get_waiting (listen->listener));
  pilot_datagram_sockets_foreach (face->datagrams, add_datagram_port, &list);
  pilot_dbus_streams_complete_list_ports (skeleton, invocation, g_variant_builder_end (&list));
  return TRUE;
}

/* --- life --- */

PilotStreamsFace *
pilot_streams_face_new (PilotBus *bus)
{
  static const struct {
    const char *signal;
    GCallback handler;
  } handlers[] = {
    { "handle-dial", G_CALLBACK (on_dial) },
    { "handle-listen", G_CALLBACK (on_listen) },
    { "handle-unlisten", G_CALLBACK (on_unlisten) },
    { "handle-accept", G_CALLBACK (on_accept) },
    { "handle-send-datagram", G_CALLBACK (on_send_datagram) },
    { "handle-open-datagrams", G_CALLBACK (on_open_datagrams) },
    { "handle-list-ports", G_CALLBACK (on_list_ports) },
  };
  PilotStreamsFace *face = g_new0 (PilotStreamsFace, 1);

  face->skeleton = pilot_dbus_streams_skeleton_new ();
  face->node = bus->node;
  face->datagrams = pilot_datagram_sockets_new (bus->node);
  face->listens = g_hash_table_new_full (NULL, NULL, NULL, listen_free);
  pilot_stream_calls_init (&face->calls, bus->node);
  for (guint i = 0; i < G_N_ELEMENTS (handlers); i++)
    g_signal_connect (face->skeleton, handlers[i].signal, handlers[i].handler, face);
  pilot_authority_guard (G_DBUS_INTERFACE_SKELETON (face->skeleton));
  g_ptr_array_add (bus->faces, g_object_ref (face->skeleton));
  return face;
}

void
pilot_streams_face_free (PilotStreamsFace *face)
{
  g_signal_handlers_disconnect_by_data (face->skeleton, face);
  g_hash_table_unref (face->listens);
  pilot_stream_calls_clear (&face->calls);
  pilot_datagram_sockets_free (face->datagrams);
  g_object_unref (face->skeleton);
  g_free (face);
}
