/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/bus/authority.h"
#include "daemon/bus/bus-private.h"

#include <gio/gunixfdlist.h>

#include "daemon/bus/stream-call.h"
#include "libpilot/pilot-error.h"
#include "protocol/topic-message.h"

#define MAX_PUBLICATIONS 256
#define PUBLISH_SECONDS 30
/* How often an unacknowledged event is looked after: nothing tells of the last byte but the end of the stream. */
#define ACKNOWLEDGED_CHECK_MS 10

struct _PilotEventsFace {
  PilotDBusEvents *skeleton;
  PilotNode *node;
  PilotBroker *broker; /* (nullable) */
  PilotStreamCalls calls;
  GQueue publications;
};

/* An event on its way to another node: the stream is closed when all of it was acknowledged, so that the end does not overtake it. */
typedef struct {
  PilotStreamUser user; /* first */
  PilotEventsFace *face;
  GDBusMethodInvocation *invocation;
  PilotStream *stream;
  guint32 node;
  GByteArray *data; /* subscription and event */
  gsize written;
  guint timeout_source, check_source;
  GList link;
} Publication;

static gboolean
is_own (PilotEventsFace *face, guint32 node)
{
  return node == 0 || node == pilot_node_get_id (face->node);
}

static GBytes *
encode (const char *topic, gconstpointer data, gsize length, GError **error)
{
  GBytes *frame = pilot_topic_message_encode (topic, strlen (topic), data, length);

  if (frame == NULL)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "a topic has at most %d bytes and an event %d", PILOT_TOPIC_MAX, PILOT_TOPIC_PAYLOAD_MAX);
  return frame;
}

static gboolean
has_broker (PilotEventsFace *face, GError **error)
{
  if (face->broker == NULL)
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, "this node has no event stream");
  return face->broker != NULL;
}

static gboolean
refuse_options (GVariant *options, GError **error)
{
  if (g_variant_n_children (options) == 0)
    return TRUE;
  g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "there are no options yet");
  return FALSE;
}

static gboolean
on_subscribe (PilotDBusEvents *skeleton, GDBusMethodInvocation *invocation, GUnixFDList *fds, guint32 node, const char *topic, GVariant *options,
              PilotEventsFace *face)
{
  GError *error = NULL;
  g_autoptr (GBytes) frame = refuse_options (options, &error) ? encode (topic, NULL, 0, &error) : NULL;
  int fd;

  if (frame == NULL)
    g_dbus_method_invocation_take_error (invocation, error);
  else if (!is_own (face, node))
    pilot_stream_calls_dial (&face->calls, invocation, node, PILOT_BROKER_PORT, 0, frame);
  else if (!has_broker (face, &error) || (fd = pilot_broker_subscribe (face->broker, topic, &error)) < 0)
    g_dbus_method_invocation_take_error (invocation, error);
  else
    pilot_stream_calls_answer (invocation, g_variant_new ("(hb)", 0, TRUE), fd);
  return TRUE;
}

/* Answers, with the error when there is one, and frees. */
static void
publication_end (Publication *publication, GError *error)
{
  PilotEventsFace *face = publication->face;

  g_queue_unlink (&face->publications, &publication->link);
  g_clear_handle_id (&publication->timeout_source, g_source_remove);
  g_clear_handle_id (&publication->check_source, g_source_remove);
  if (publication->stream != NULL) {
    pilot_stream_set_user_data (publication->stream, NULL);
    pilot_stream_release (publication->stream, g_get_monotonic_time ());
    pilot_node_kick (face->node);
  }
  if (error != NULL)
    g_dbus_method_invocation_take_error (publication->invocation, error);
  else
    pilot_dbus_events_complete_publish (face->skeleton, publication->invocation);
  g_byte_array_unref (publication->data);
  g_free (publication);
}

static gboolean
on_check (gpointer user_data)
{
  Publication *publication = user_data;
  PilotStreamInfo info;

  pilot_stream_info (publication->stream, &info);
  /* One that has just ended holds nothing either, and has lost what it held: publication_ready() is about to hear why. */
  if (info.send_buffered > 0 || info.state == PILOT_STREAM_STATE_CLOSED)
    return G_SOURCE_CONTINUE;
  publication->check_source = 0;
  publication_end (publication, NULL);
  return G_SOURCE_REMOVE;
}

static void
publication_ready (PilotStreamUser *user, PilotStream *stream, guint ready)
{
  Publication *publication = (Publication *) user;
  gint64 now = g_get_monotonic_time ();
  struct iovec vectors[2];

  if ((ready & PILOT_STREAM_READY_CLOSED) != 0) {
    publication_end (publication, pilot_node_stream_error (publication->face->node, publication->node, PILOT_BROKER_PORT, pilot_stream_get_error (stream)));
    return;
  }
  /* Events of others on this topic, which come because one has to subscribe to publish. */
  while (pilot_stream_read_vectors (stream, vectors) > 0)
    pilot_stream_read_consume (stream, vectors[0].iov_len, now);
  if (publication->written < publication->data->len)
    publication->written += pilot_stream_write (stream, publication->data->data + publication->written, publication->data->len - publication->written, now);
  if (publication->written == publication->data->len && publication->check_source == 0)
    publication->check_source = g_timeout_add (ACKNOWLEDGED_CHECK_MS, on_check, publication);
}

static gboolean
on_timeout (gpointer user_data)
{
  Publication *publication = user_data;

  publication->timeout_source = 0;
  publication_end (publication, g_error_new (PILOT_ERROR, PILOT_ERROR_TIMEOUT, "node %u did not take the event in time", publication->node));
  return G_SOURCE_REMOVE;
}

static void
publish_to (PilotEventsFace *face, GDBusMethodInvocation *invocation, guint32 node, GBytes *subscription, GBytes *frame)
{
  Publication *publication = g_new0 (Publication, 1);
  GError *error = NULL;

  publication->user.ready = publication_ready;
  publication->face = face;
  publication->invocation = invocation;
  publication->node = node;
  publication->data = g_byte_array_new ();
  g_byte_array_append (publication->data, g_bytes_get_data (subscription, NULL), (guint) g_bytes_get_size (subscription));
  g_byte_array_append (publication->data, g_bytes_get_data (frame, NULL), (guint) g_bytes_get_size (frame));
  publication->link.data = publication;
  g_queue_push_tail_link (&face->publications, &publication->link);
  publication->stream = pilot_node_connect (face->node, node, PILOT_BROKER_PORT, &publication->user, &error);
  if (publication->stream == NULL)
    publication_end (publication, error);
  else
    publication->timeout_source = g_timeout_add_seconds (PUBLISH_SECONDS, on_timeout, publication);
}

static gboolean
on_publish (PilotDBusEvents *skeleton, GDBusMethodInvocation *invocation, guint32 node, const char *topic, GVariant *data, GVariant *options,
            PilotEventsFace *face)
{
  GError *error = NULL;
  g_autoptr (GBytes) subscription = NULL, frame = NULL;
  gsize length;
  gconstpointer bytes = g_variant_get_fixed_array (data, &length, 1);

  if (!refuse_options (options, &error) || (subscription = encode (topic, NULL, 0, &error)) == NULL || (frame = encode (topic, bytes, length, &error)) == NULL)
    g_dbus_method_invocation_take_error (invocation, error);
  else if (face->publications.length >= MAX_PUBLICATIONS)
    g_dbus_method_invocation_return_error (invocation, PILOT_ERROR, PILOT_ERROR_BUSY, "%d events are on their way already", MAX_PUBLICATIONS);
  else if (!is_own (face, node))
    publish_to (face, invocation, node, subscription, frame);
  else if (!has_broker (face, &error) || !pilot_broker_publish (face->broker, frame, &error))
    g_dbus_method_invocation_take_error (invocation, error);
  else
    pilot_dbus_events_complete_publish (skeleton, invocation);
  return TRUE;
}

static gboolean
on_get_statistics (PilotDBusEvents *skeleton, GDBusMethodInvocation *invocation, PilotEventsFace *face)
{
  PilotBrokerStats stats = { 0 };
  GVariantDict dict;

  if (face->broker != NULL)
    pilot_broker_get_stats (face->broker, &stats);
  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "active", "b", face->broker != NULL && pilot_broker_is_active (face->broker));
  g_variant_dict_insert (&dict, "subscribers", "u", stats.subscribers);
  g_variant_dict_insert (&dict, "published", "t", stats.published);
  g_variant_dict_insert (&dict, "delivered", "t", stats.delivered);
  g_variant_dict_insert (&dict, "dropped_rate", "t", stats.dropped_rate);
  g_variant_dict_insert (&dict, "dropped_slow", "t", stats.dropped_slow);
  pilot_dbus_events_complete_get_statistics (skeleton, invocation, g_variant_dict_end (&dict));
  return TRUE;
}

PilotEventsFace *
pilot_events_face_new (PilotBus *bus)
{
  PilotEventsFace *face = g_new0 (PilotEventsFace, 1);

  face->skeleton = pilot_dbus_events_skeleton_new ();
  face->node = bus->node;
  face->broker = bus->broker;
  g_queue_init (&face->publications);
  pilot_stream_calls_init (&face->calls, bus->node);
  g_signal_connect (face->skeleton, "handle-subscribe", G_CALLBACK (on_subscribe), face);
  g_signal_connect (face->skeleton, "handle-publish", G_CALLBACK (on_publish), face);
  g_signal_connect (face->skeleton, "handle-get-statistics", G_CALLBACK (on_get_statistics), face);
  pilot_authority_guard (G_DBUS_INTERFACE_SKELETON (face->skeleton));
  g_ptr_array_add (bus->faces, g_object_ref (face->skeleton));
  return face;
}

void
pilot_events_face_free (PilotEventsFace *face)
{
  g_signal_handlers_disconnect_by_data (face->skeleton, face);
  while (face->publications.head != NULL)
    publication_end (face->publications.head->data, g_error_new_literal (PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, "the daemon stops"));
  pilot_stream_calls_clear (&face->calls);
  g_object_unref (face->skeleton);
  g_free (face);
}
