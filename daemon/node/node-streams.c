/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "node-private.h"

#include <string.h>

#include "libpilot/pilot-error.h"
#include "trust-private.h"

/* --- services and streams --- */

gboolean
pilot_node_bind (PilotNode *node, guint16 port, gboolean open_to_strangers, PilotServiceFunc func, gpointer user_data, GError **error)
{
  PilotNodeService *service;

  if (port == 0 || g_hash_table_contains (node->services, GUINT_TO_POINTER ((guint) port))) {
    g_set_error (error, PILOT_ERROR, port == 0 ? PILOT_ERROR_INVALID_ARGUMENT : PILOT_ERROR_ALREADY_EXISTS, "pilot port %u cannot be bound: %s", port,
                 port == 0 ? "it is for control" : "a service has it");
    return FALSE;
  }
  service = g_new0 (PilotNodeService, 1);
  service->port = port;
  service->open_to_strangers = open_to_strangers;
  service->func = func;
  service->user_data = user_data;
  g_hash_table_insert (node->services, GUINT_TO_POINTER ((guint) port), service);
  return TRUE;
}

void
pilot_node_unbind (PilotNode *node, guint16 port)
{
  g_hash_table_remove (node->services, GUINT_TO_POINTER ((guint) port));
}

void
pilot_node_set_bridge (PilotNode *node, PilotServiceFunc func, gpointer user_data)
{
  node->bridge = func;
  node->bridge_data = user_data;
}

PilotStream *
pilot_node_connect (PilotNode *node, guint32 peer, guint16 port, PilotStreamUser *user, GError **error)
{
  PilotAddress address = { .network = 0, .node = peer };
  gint64 now = g_get_monotonic_time ();
  PilotStream *stream;

  if (!node->running || node->id == 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, "this node is not registered yet: %s", pilot_node_get_state_detail (node));
    return NULL;
  }
  if (peer == 0 || peer == G_MAXUINT32 || peer == node->id || port == 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, peer == node->id ? "node %u is this node itself" : "node %u port %u cannot be connected to",
                 peer, port);
    return NULL;
  }
  stream = pilot_overlay_connect (node->overlay, &address, port, now);
  if (stream == NULL) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "too many open streams");
    return NULL;
  }
  pilot_node_peer (node, peer)->contacted_at = now;
  if (port != PILOT_TRUST_PORT)
    pilot_node_peer (node, peer)->dialled_at = now;
  pilot_stream_set_user_data (stream, user);
  pilot_node_kick (node);
  return stream;
}

gboolean
pilot_node_disconnect (PilotNode *node, guint32 id)
{
  if (node->overlay == NULL || !pilot_overlay_reset_stream (node->overlay, id, g_get_monotonic_time ()))
    return FALSE;
  pilot_node_kick (node);
  return TRUE;
}

GError *
pilot_node_stream_error (PilotNode *node, guint32 peer, guint16 port, PilotStreamError error)
{
  switch (error) {
  case PILOT_STREAM_ERROR_NONE:
    return g_error_new (PILOT_ERROR, PILOT_ERROR_CONNECTION_FAILED, "node %u closed the connection to port %u", peer, port);
  case PILOT_STREAM_ERROR_REFUSED:
    return g_error_new (PILOT_ERROR, PILOT_ERROR_REFUSED, "node %u refused the connection to port %u", peer, port);
  case PILOT_STREAM_ERROR_RESET:
    return g_error_new (PILOT_ERROR, PILOT_ERROR_CONNECTION_FAILED, "node %u reset the connection to port %u", peer, port);
  case PILOT_STREAM_ERROR_TIMEOUT:
    return g_error_new (PILOT_ERROR, PILOT_ERROR_TIMEOUT, "node %u did not answer on port %u", peer, port);
  case PILOT_STREAM_ERROR_NO_KEY_EXCHANGE:
    return g_error_new (PILOT_ERROR, PILOT_ERROR_TIMEOUT, "node %u cannot be reached: it does not answer the key exchange%s%s", peer,
                        node->beacon_trouble != NULL ? ", and " : "", node->beacon_trouble != NULL ? node->beacon_trouble : "");
  case PILOT_STREAM_ERROR_UNRESOLVED:
    if (pilot_node_peer (node, peer)->unknown)
      return g_error_new (PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "the registry knows no node %u", peer);
    if (!pilot_trust_is_trusted (node->trust, peer))
      return g_error_new (PILOT_ERROR, PILOT_ERROR_TRUST_REQUIRED, "the registry does not say where node %u is: it does not trust this node", peer);
    return g_error_new (PILOT_ERROR, PILOT_ERROR_CONNECTION_FAILED, "the registry does not say where node %u is%s%s", peer,
                        pilot_registry_session_is_online (node->session) ? "" : ": ",
                        pilot_registry_session_is_online (node->session) ? "" : pilot_node_get_state_detail (node));
  case PILOT_STREAM_ERROR_KEY_MISMATCH:
    return g_error_new (PILOT_ERROR, PILOT_ERROR_KEY_MISMATCH, "node %u does not have the key that is trusted", peer);
  case PILOT_STREAM_ERROR_LOST:
    return g_error_new (PILOT_ERROR, PILOT_ERROR_CONNECTION_FAILED, "the connection to node %u was lost", peer);
  case PILOT_STREAM_ERROR_REVOKED:
    return g_error_new (PILOT_ERROR, PILOT_ERROR_TRUST_REQUIRED, "trust with node %u has ended", peer);
  default:
    return g_error_new (PILOT_ERROR, PILOT_ERROR_FAILED, "the connection to node %u port %u ended", peer, port);
  }
}

/* --- ping: one echo on a new stream --- */

#define ECHO_PORT 7

typedef struct {
  PilotStreamUser user; /* first */
  PilotNode *node;
  PilotStream *stream;
  guint32 peer;
  char text[24];
  gsize length, received;
  gint64 started, rtt_us;
  guint timeout_source;
  gulong cancel_handler;
  guint cancel_source;
} Ping;

static void
ping_free (gpointer data)
{
  Ping *ping = data;

  g_clear_handle_id (&ping->timeout_source, g_source_remove);
  g_clear_handle_id (&ping->cancel_source, g_source_remove);
  g_free (ping);
}

static GTask *
ping_end (GTask *task)
{
  Ping *ping = g_task_get_task_data (task);
  GCancellable *cancellable = g_task_get_cancellable (task);

  g_clear_handle_id (&ping->timeout_source, g_source_remove);
  if (ping->cancel_handler != 0)
    g_signal_handler_disconnect (cancellable, ping->cancel_handler);
  ping->cancel_handler = 0;
  if (ping->stream != NULL) {
    pilot_stream_set_user_data (ping->stream, NULL);
    pilot_stream_release (g_steal_pointer (&ping->stream), g_get_monotonic_time ());
    pilot_node_kick (ping->node);
  }
  return task;
}

/* FALSE when what came back is not what was sent. */
static gboolean
ping_read (Ping *ping, PilotStream *stream)
{
  struct iovec vectors[2];
  guint n;

  while ((n = pilot_stream_read_vectors (stream, vectors)) > 0) {
    gsize taken = 0;

    for (guint i = 0; i < n; i++) {
      if (vectors[i].iov_len > ping->length - ping->received || memcmp (vectors[i].iov_base, ping->text + ping->received, vectors[i].iov_len) != 0)
        return FALSE;
      ping->received += vectors[i].iov_len;
      taken += vectors[i].iov_len;
    }
    pilot_stream_read_consume (stream, taken, g_get_monotonic_time ());
  }
  return TRUE;
}

static void ping_ready (PilotStreamUser *user, PilotStream *stream, guint ready);

typedef struct {
  Ping ping; /* first */
  GTask *task;
} PingState;

static void
ping_ready (PilotStreamUser *user, PilotStream *stream, guint ready)
{
  Ping *ping = (Ping *) user;
  GTask *task = ((PingState *) user)->task;

  if (ready & PILOT_STREAM_READY_OPEN)
    pilot_stream_write (stream, ping->text, ping->length, g_get_monotonic_time ());
  if (ready & PILOT_STREAM_READY_READ) {
    if (!ping_read (ping, stream)) {
      g_task_return_new_error (ping_end (task), PILOT_ERROR, PILOT_ERROR_CORRUPT, "node %u answered something else", ping->peer);
      g_object_unref (task);
      return;
    }
    if (ping->received == ping->length) {
      ping->rtt_us = g_get_monotonic_time () - ping->started;
      g_task_return_boolean (ping_end (task), TRUE);
      g_object_unref (task);
      return;
    }
  }
  if (ready & (PILOT_STREAM_READY_CLOSED | PILOT_STREAM_READY_EOF)) {
    GError *error = pilot_node_stream_error (ping->node, ping->peer, ECHO_PORT, pilot_stream_get_error (stream));

    g_task_return_error (ping_end (task), error);
    g_object_unref (task);
  }
}

static gboolean
on_ping_timeout (gpointer user_data)
{
  GTask *task = user_data;
  Ping *ping = g_task_get_task_data (task);

  ping->timeout_source = 0;
  g_task_return_new_error (ping_end (task), PILOT_ERROR, PILOT_ERROR_TIMEOUT, "node %u did not answer in time", ping->peer);
  g_object_unref (task);
  return G_SOURCE_REMOVE;
}

static gboolean
on_ping_cancel_idle (gpointer user_data)
{
  GTask *task = user_data;
  Ping *ping = g_task_get_task_data (task);

  ping->cancel_source = 0;
  ping_end (task);
  g_task_return_new_error (task, G_IO_ERROR, G_IO_ERROR_CANCELLED, "cancelled");
  g_object_unref (task);
  return G_SOURCE_REMOVE;
}

static void
on_ping_cancelled (GCancellable *cancellable, gpointer user_data)
{
  GTask *task = user_data;
  Ping *ping = g_task_get_task_data (task);

  /* Not from inside the signal: the handler could not be disconnected there. */
  if (ping->cancel_source == 0)
    ping->cancel_source = g_idle_add (on_ping_cancel_idle, task);
}

void
pilot_node_ping_async (PilotNode *node, guint32 peer, guint sequence, guint timeout_ms, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
  GTask *task = g_task_new (node, cancellable, callback, user_data);
  PingState *state = g_new0 (PingState, 1);
  Ping *ping = &state->ping;
  GError *error = NULL;

  g_task_set_check_cancellable (task, FALSE);
  state->task = task;
  ping->user.ready = ping_ready;
  ping->node = node;
  ping->peer = peer;
  ping->length = (gsize) g_snprintf (ping->text, sizeof ping->text, "ping-%u", sequence);
  ping->started = g_get_monotonic_time ();
  g_task_set_task_data (task, state, ping_free);
  ping->stream = pilot_node_connect (node, peer, ECHO_PORT, &ping->user, &error);
  if (ping->stream == NULL) {
    g_task_return_error (task, error);
    g_object_unref (task);
    return;
  }
  ping->timeout_source = g_timeout_add (MAX (timeout_ms, 1), on_ping_timeout, task);
  if (cancellable != NULL) {
    gulong handler = g_cancellable_connect (cancellable, G_CALLBACK (on_ping_cancelled), task, NULL);

    ping->cancel_handler = handler;
  }
}

gboolean
pilot_node_ping_finish (PilotNode *node, GAsyncResult *result, gint64 *rtt_us, guint *bytes, GError **error)
{
  Ping *ping;

  g_return_val_if_fail (g_task_is_valid (result, node), FALSE);
  if (!g_task_propagate_boolean (G_TASK (result), error))
    return FALSE;
  ping = g_task_get_task_data (G_TASK (result));
  if (rtt_us != NULL)
    *rtt_us = ping->rtt_us;
  if (bytes != NULL)
    *bytes = (guint) ping->length;
  return TRUE;
}
