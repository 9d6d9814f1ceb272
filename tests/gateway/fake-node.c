/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/gateway/fake-node.h"

#include <string.h>

#include "libpilot/pilot-error.h"

struct _PilotStream {
  PilotNode *node;
  PilotStream *other; /* NULL when that end has been freed */
  gpointer user_data;
  guint8 *data; /* received, not yet consumed */
  gsize capacity;
  gsize start, length;
  guint pending;
  gboolean open, fin_sent, fin_received, closed, released, blocked;
  PilotStreamError error;
  guint16 port;
  guint32 peer;
};

struct _PilotNode {
  GObject parent_instance;
  PilotPoller *poller;
  PilotConfig *config;
  PilotTrust *trust;
  PilotAccess *access;
  GPtrArray *streams;
  gsize capacity; /* of streams to be made; 0 = FAKE_BUFFER */
  PilotServiceFunc bridge;
  gpointer bridge_data;
};

struct _PilotTrust {
  GObject parent_instance;
};
struct _PilotAccess {
  GObject parent_instance;
  PilotAccessVerdict verdict;
};
struct _PilotConfig {
  GObject parent_instance;
  char *directory, *helper_socket;
};

G_DEFINE_FINAL_TYPE (PilotNode, pilot_node, G_TYPE_OBJECT)
G_DEFINE_FINAL_TYPE (PilotTrust, pilot_trust, G_TYPE_OBJECT)
G_DEFINE_FINAL_TYPE (PilotAccess, pilot_access, G_TYPE_OBJECT)
G_DEFINE_FINAL_TYPE (PilotConfig, pilot_config, G_TYPE_OBJECT)

static void
pilot_trust_init (PilotTrust *trust)
{
}
static void
pilot_trust_class_init (PilotTrustClass *class)
{
  g_signal_new ("changed", G_TYPE_FROM_CLASS (class), G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 3, G_TYPE_UINT, G_TYPE_STRING, G_TYPE_STRING);
}
static void
pilot_access_init (PilotAccess *access)
{
  access->verdict = PILOT_ACCESS_ALLOWED;
}
static void
pilot_access_class_init (PilotAccessClass *class)
{
}
static void
pilot_config_init (PilotConfig *config)
{
}

static void
pilot_config_finalize (GObject *object)
{
  g_free (PILOT_CONFIG (object)->directory);
  g_free (PILOT_CONFIG (object)->helper_socket);
  G_OBJECT_CLASS (pilot_config_parent_class)->finalize (object);
}

static void
pilot_config_class_init (PilotConfigClass *class)
{
  G_OBJECT_CLASS (class)->finalize = pilot_config_finalize;
}

/* ---- streams ---- */

static void
notify (PilotStream *stream, guint ready)
{
  stream->pending |= ready;
  pilot_poller_kick (stream->node->poller);
}

static PilotStream *
stream_new (PilotNode *node)
{
  PilotStream *stream = g_new0 (PilotStream, 1);

  stream->node = node;
  stream->capacity = node->capacity > 0 ? node->capacity : FAKE_BUFFER;
  stream->data = g_malloc (stream->capacity);
  g_ptr_array_add (node->streams, stream);
  return stream;
}

static void
stream_free (gpointer data)
{
  PilotStream *stream = data;

  g_free (stream->data);
  g_free (stream);
}

void
fake_node_set_capacity (PilotNode *node, gsize capacity)
{
  node->capacity = capacity;
}

static void
close_in_order (PilotStream *stream)
{
  if (!stream->closed && stream->fin_sent && stream->fin_received) {
    stream->closed = TRUE;
    notify (stream, PILOT_STREAM_READY_CLOSED);
  }
}

static void
fail_stream (PilotStream *stream, PilotStreamError error)
{
  if (stream->closed)
    return;
  stream->closed = TRUE;
  stream->error = error;
  stream->length = 0;
  notify (stream, PILOT_STREAM_READY_CLOSED);
}

void
pilot_stream_accept (PilotStream *stream, gint64 now)
{
  g_assert_false (stream->open);
  stream->open = TRUE;
  if (stream->other != NULL) {
    stream->other->open = TRUE;
    notify (stream->other, PILOT_STREAM_READY_OPEN);
  }
}

void
pilot_stream_refuse (PilotStream *stream, gint64 now)
{
  g_assert_false (stream->open);
  if (stream->other != NULL)
    fail_stream (stream->other, PILOT_STREAM_ERROR_REFUSED);
  stream->closed = stream->released = TRUE;
}

guint
pilot_stream_write_vectors (PilotStream *stream, struct iovec vectors[2])
{
  PilotStream *other = stream->other;
  gsize end;

  g_assert_false (stream->released);
  if (!stream->open || stream->fin_sent || stream->closed || other == NULL || other->length == other->capacity) {
    stream->blocked = TRUE;
    return 0;
  }
  end = (other->start + other->length) % other->capacity;
  vectors[0].iov_base = other->data + end;
  vectors[0].iov_len = end < other->start ? other->start - end : other->capacity - end;
  if (end < other->start || other->start == 0)
    return 1;
  vectors[1].iov_base = other->data;
  vectors[1].iov_len = other->start;
  return 2;
}

void
pilot_stream_write_commit (PilotStream *stream, gsize length, gint64 now)
{
  g_assert_cmpuint (stream->other->length + length, <=, stream->other->capacity);
  /* Nobody reads what comes after the release: TCP answers with a reset. */
  if (stream->other->released) {
    fail_stream (stream, PILOT_STREAM_ERROR_RESET);
    return;
  }
  if (stream->other->length == 0)
    notify (stream->other, PILOT_STREAM_READY_READ);
  stream->other->length += length;
}

guint
pilot_stream_read_vectors (PilotStream *stream, struct iovec vectors[2])
{
  g_assert_false (stream->released);
  if (stream->length == 0)
    return 0;
  vectors[0].iov_base = stream->data + stream->start;
  vectors[0].iov_len = MIN (stream->length, stream->capacity - stream->start);
  if (vectors[0].iov_len == stream->length)
    return 1;
  vectors[1].iov_base = stream->data;
  vectors[1].iov_len = stream->length - vectors[0].iov_len;
  return 2;
}

void
pilot_stream_read_consume (PilotStream *stream, gsize length, gint64 now)
{
  g_assert_cmpuint (length, <=, stream->length);
  stream->start = (stream->start + length) % stream->capacity;
  stream->length -= length;
  if (stream->other != NULL && stream->other->blocked) {
    stream->other->blocked = FALSE;
    notify (stream->other, PILOT_STREAM_READY_WRITE);
  }
}

void
pilot_stream_shutdown_write (PilotStream *stream, gint64 now)
{
  if (stream->fin_sent || stream->closed)
    return;
  stream->fin_sent = TRUE;
  if (stream->other != NULL) {
    stream->other->fin_received = TRUE;
    notify (stream->other, PILOT_STREAM_READY_EOF);
    close_in_order (stream->other);
  }
  close_in_order (stream);
}

void
pilot_stream_reset (PilotStream *stream, gint64 now)
{
  g_assert_false (stream->released);
  if (stream->other != NULL)
    fail_stream (stream->other, PILOT_STREAM_ERROR_RESET);
  stream->closed = TRUE;
}

void
pilot_stream_release (PilotStream *stream, gint64 now)
{
  g_assert_false (stream->released);
  pilot_stream_shutdown_write (stream, now);
  stream->released = TRUE;
  stream->user_data = NULL;
  pilot_poller_kick (stream->node->poller);
}

gboolean
pilot_stream_is_eof (PilotStream *stream)
{
  return stream->fin_received && stream->length == 0;
}

PilotStreamError
pilot_stream_get_error (PilotStream *stream)
{
  return stream->error;
}

const char *
pilot_stream_error_to_string (PilotStreamError error)
{
  return "an error";
}

void
pilot_stream_info (PilotStream *stream, PilotStreamInfo *info)
{
  *info = (PilotStreamInfo) { .local_port = stream->port, .remote.node = stream->peer };
}

void
pilot_stream_set_user_data (PilotStream *stream, gpointer user_data)
{
  stream->user_data = user_data;
}

void
fake_stream_pair (PilotNode *node, PilotStream **a, PilotStream **b)
{
  *a = stream_new (node);
  *b = stream_new (node);
  (*a)->other = *b;
  (*b)->other = *a;
  (*a)->open = (*b)->open = TRUE;
  (*a)->peer = (*b)->peer = 2;
}

/* ---- the node ---- */

static void
pump (gint64 now, gpointer user_data)
{
  PilotNode *node = user_data;

  for (guint i = 0; i < node->streams->len; i++) {
    PilotStream *stream = g_ptr_array_index (node->streams, i);
    guint ready = stream->pending;

    stream->pending = 0;
    if (ready != 0 && !stream->released && stream->user_data != NULL)
      ((PilotStreamUser *) stream->user_data)->ready (stream->user_data, stream, ready);
  }
  for (guint i = node->streams->len; i-- > 0;) {
    PilotStream *stream = g_ptr_array_index (node->streams, i);

    /* Data for the other end lies in the other end: this one can go. */
    if (!stream->released)
      continue;
    if (stream->other != NULL)
      stream->other->other = NULL;
    g_ptr_array_remove_index (node->streams, i);
  }
}

static void
pilot_node_init (PilotNode *node)
{
  node->streams = g_ptr_array_new_with_free_func (stream_free);
  node->trust = g_object_new (PILOT_TYPE_TRUST, NULL);
  node->access = g_object_new (PILOT_TYPE_ACCESS, NULL);
  node->config = g_object_new (PILOT_TYPE_CONFIG, NULL);
}

static void
pilot_node_finalize (GObject *object)
{
  PilotNode *node = PILOT_NODE (object);

  pilot_poller_set_pump (node->poller, NULL, NULL);
  g_ptr_array_unref (node->streams);
  g_object_unref (node->trust);
  g_object_unref (node->access);
  g_object_unref (node->config);
  G_OBJECT_CLASS (pilot_node_parent_class)->finalize (object);
}

static void
pilot_node_class_init (PilotNodeClass *class)
{
  G_OBJECT_CLASS (class)->finalize = pilot_node_finalize;
  g_signal_new ("peer-changed", G_TYPE_FROM_CLASS (class), G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 1, G_TYPE_UINT);
}

PilotNode *
fake_node_new (PilotPoller *poller, const char *state_directory)
{
  PilotNode *node = g_object_new (PILOT_TYPE_NODE, NULL);

  node->poller = poller;
  node->config->directory = g_strdup (state_directory);
  pilot_poller_set_pump (poller, pump, node);
  return node;
}

void
fake_node_set_access (PilotNode *node, PilotAccessVerdict verdict)
{
  node->access->verdict = verdict;
}

void
fake_node_set_helper_socket (PilotNode *node, const char *path)
{
  g_free (node->config->helper_socket);
  node->config->helper_socket = g_strdup (path);
}

guint
fake_node_count_streams (PilotNode *node)
{
  return node->streams->len;
}

PilotStream *
pilot_node_connect (PilotNode *node, guint32 peer, guint16 port, PilotStreamUser *user, GError **error)
{
  PilotStream *ours = stream_new (node), *theirs;

  ours->user_data = user;
  ours->port = port;
  ours->peer = peer;
  if (peer == 3)
    fail_stream (ours, PILOT_STREAM_ERROR_NO_KEY_EXCHANGE);
  if (peer != 2 && peer != 6)
    return ours;
  theirs = stream_new (node);
  theirs->port = port;
  theirs->peer = peer;
  ours->other = theirs;
  theirs->other = ours;
  if (node->bridge != NULL)
    node->bridge (node, theirs, peer, node->bridge_data);
  pilot_poller_kick (node->poller);
  return ours;
}

GError *
pilot_node_stream_error (PilotNode *node, guint32 peer, guint16 port, PilotStreamError error)
{
  return g_error_new (PILOT_ERROR, PILOT_ERROR_CONNECTION_FAILED, "node %u, port %u: error %d", peer, port, error);
}

void
pilot_node_set_bridge (PilotNode *node, PilotServiceFunc func, gpointer user_data)
{
  node->bridge = func;
  node->bridge_data = user_data;
}

void
pilot_node_kick (PilotNode *node)
{
  pilot_poller_kick (node->poller);
}

guint32
pilot_node_get_id (PilotNode *node)
{
  return 1;
}

PilotTrust *
pilot_node_get_trust (PilotNode *node)
{
  return node->trust;
}

PilotAccess *
pilot_node_get_access (PilotNode *node)
{
  return node->access;
}

PilotOverlay *
pilot_node_get_overlay (PilotNode *node)
{
  return NULL;
}

PilotConfig *
pilot_node_get_config (PilotNode *node)
{
  return node->config;
}

PilotPoller *
pilot_node_get_poller (PilotNode *node)
{
  return node->poller;
}

PilotPeerView *
pilot_node_get_peer (PilotNode *node, guint32 peer)
{
  return NULL;
}

void
pilot_peer_view_free (PilotPeerView *view)
{
}

gboolean
pilot_overlay_peer_info (PilotOverlay *overlay, guint32 node, PilotPeerInfo *info)
{
  *info = (PilotPeerInfo) { .node = node, .has_key = TRUE, .path = PILOT_PATH_DIRECT };
  return TRUE;
}

gboolean
pilot_trust_is_trusted (PilotTrust *trust, guint32 node)
{
  return node != 4;
}

PilotAccessVerdict
pilot_access_check (PilotAccess *access, guint32 node, const guint8 key[32], guint16 port)
{
  return access->verdict;
}

const char *
pilot_config_get (PilotConfig *config, const char *key)
{
  return strcmp (key, "helper-socket") == 0 ? config->helper_socket : NULL;
}

const char *
pilot_config_get_state_directory (PilotConfig *config)
{
  return config->directory;
}
