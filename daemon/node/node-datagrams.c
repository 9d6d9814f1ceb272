/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "node-private.h"

#include "libpilot/pilot-error.h"

/* Datagrams of the overlay: who gets them, who sends them. */

static PilotNodeDatagramPort *
find (PilotNode *node, guint16 port)
{
  PilotNodeDatagramPort *bound = g_hash_table_lookup (node->datagram_ports, GUINT_TO_POINTER ((guint) port));

  return bound != NULL ? bound : g_hash_table_lookup (node->datagram_ports, GUINT_TO_POINTER (0));
}

gboolean
pilot_node_bind_datagram (PilotNode *node, guint16 port, PilotDatagramFunc func, gpointer user_data, GError **error)
{
  PilotNodeDatagramPort *bound;

  if (g_hash_table_contains (node->datagram_ports, GUINT_TO_POINTER ((guint) port))) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS, "datagrams to pilot port %u are taken by another program", port);
    return FALSE;
  }
  bound = g_new (PilotNodeDatagramPort, 1);
  bound->func = func;
  bound->user_data = user_data;
  g_hash_table_insert (node->datagram_ports, GUINT_TO_POINTER ((guint) port), bound);
  return TRUE;
}

void
pilot_node_unbind_datagram (PilotNode *node, guint16 port)
{
  g_hash_table_remove (node->datagram_ports, GUINT_TO_POINTER ((guint) port));
}

/* Called by the engine, which has looked at trust already: must not call it back. */
gboolean
pilot_node_admit_datagram (guint32 peer, guint16 port, gpointer user_data)
{
  PilotNode *node = user_data;

  return node->running && pilot_trust_is_trusted (node->trust, peer) && find (node, port) != NULL;
}

void
pilot_node_datagram (PilotNode *node, const PilotEvent *event)
{
  /* Trust may have ended, and the port been given up, since it was admitted. */
  PilotNodeDatagramPort *bound = pilot_node_admit_datagram (event->node, event->port, node) ? find (node, event->port) : NULL;
  PilotNodeDatagram datagram = { event->node, event->source_port, event->port, event->data, event->length };

  if (bound != NULL)
    bound->func (node, &datagram, bound->user_data);
}

static void
set_unreachable (PilotNode *node, guint32 peer, GError **error)
{
  PilotPeerInfo info;

  if (pilot_overlay_peer_info (node->overlay, peer, &info) && info.key_mismatch)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_KEY_MISMATCH, "node %u does not have the key that is trusted", peer);
  else
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CONNECTION_FAILED, "node %u cannot be reached: it does not answer the key exchange", peer);
}

gboolean
pilot_node_send_datagram (PilotNode *node, guint32 peer, guint16 source_port, guint16 port, const void *data, gsize length, GError **error)
{
  PilotAddress address = { .network = 0, .node = peer };
  gint64 now = g_get_monotonic_time ();

  if (!node->running || node->id == 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, "this node is not registered yet: %s", pilot_node_get_state_detail (node));
    return FALSE;
  }
  if (peer == 0 || peer == G_MAXUINT32 || peer == node->id || port == 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
                 peer == node->id ? "node %u is this node itself" : "datagrams cannot be sent to node %u port %u", peer, port);
    return FALSE;
  }
  switch (pilot_overlay_send_datagram (node->overlay, &address, source_port, port, data, length, now)) {
  case PILOT_DATAGRAM_QUEUED:
    pilot_node_peer (node, peer)->contacted_at = now;
    pilot_node_kick (node);
    return TRUE;
  case PILOT_DATAGRAM_BAD_LENGTH:
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "a datagram has 1 to %d bytes, not %" G_GSIZE_FORMAT, PILOT_DATAGRAM_MAX, length);
    return FALSE;
  case PILOT_DATAGRAM_FULL:
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "too many datagrams wait to be sent to node %u", peer);
    return FALSE;
  case PILOT_DATAGRAM_UNREACHABLE:
    set_unreachable (node, peer, error);
    return FALSE;
  }
  g_return_val_if_reached (FALSE);
}
