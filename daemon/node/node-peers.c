/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "node-private.h"

#include <string.h>

#include "libpilot/pilot-error.h"

/* --- peers as others see them --- */

void
pilot_peer_view_free (PilotPeerView *view)
{
  if (view == NULL)
    return;
  g_free (view->hostname);
  g_free (view->state);
  g_free (view);
}

static const char *
state_of (const PilotPeerInfo *info, const PilotNodePeer *peer)
{
  if (info->key_mismatch)
    return "key-mismatch";
  if (info->silent)
    return "silent";
  if (info->session && info->unheard)
    return info->resting ? "idle" : "quiet";
  if (info->session)
    return "connected";
  if (info->streams > 0)
    return "connecting";
  if (peer != NULL && peer->unreachable)
    return "unreachable";
  return "idle";
}

static PilotPeerView *
make_view (PilotNode *node, guint32 id, const PilotPeerInfo *info)
{
  g_autoptr (PilotTrustRecord) record = pilot_trust_lookup (node->trust, PILOT_TRUST_TRUSTED, id);
  PilotNodePeer *peer = g_hash_table_lookup (node->peers, GUINT_TO_POINTER (id));
  PilotPeerView *view;

  if (record == NULL && info == NULL)
    return NULL;
  view = g_new0 (PilotPeerView, 1);
  if (info != NULL)
    view->info = *info;
  view->info.node = id;
  if (record != NULL) {
    view->trusted = TRUE;
    view->mutual = record->mutual;
    if (!view->info.has_key && record->has_key) {
      view->info.has_key = TRUE;
      memcpy (view->info.key, record->key, sizeof view->info.key);
    }
  }
  view->hostname = g_strdup (peer != NULL && peer->hostname != NULL ? peer->hostname : "");
  view->state = g_strdup (state_of (&view->info, peer));
  return view;
}

PilotPeerView *
pilot_node_get_peer (PilotNode *node, guint32 id)
{
  PilotPeerInfo info;
  gboolean known;

  if (node->overlay == NULL)
    return NULL;
  known = pilot_overlay_peer_info (node->overlay, id, &info);
  return make_view (node, id, known ? &info : NULL);
}

typedef struct {
  PilotNode *node;
  GHashTable *seen;
  GPtrArray *views;
} Collect;

static void
collect_peer (const PilotPeerInfo *info, gpointer user_data)
{
  Collect *collect = user_data;
  gboolean trusted = pilot_trust_is_trusted (collect->node->trust, info->node);

  if (!trusted && !info->session)
    return;
  g_hash_table_add (collect->seen, GUINT_TO_POINTER (info->node));
  g_ptr_array_add (collect->views, make_view (collect->node, info->node, info));
}

static gint
compare_views (gconstpointer a, gconstpointer b)
{
  guint32 left = (*(PilotPeerView **) a)->info.node, right = (*(PilotPeerView **) b)->info.node;

  return (left > right) - (left < right);
}

GPtrArray *
pilot_node_list_peers (PilotNode *node)
{
  GPtrArray *views = g_ptr_array_new_with_free_func ((GDestroyNotify) pilot_peer_view_free);
  g_autoptr (GHashTable) seen = g_hash_table_new (NULL, NULL);
  g_autoptr (GPtrArray) trusted = NULL;
  Collect collect = { node, seen, views };

  if (node->overlay == NULL)
    return views;
  pilot_overlay_foreach_peer (node->overlay, collect_peer, &collect);
  trusted = pilot_trust_list (node->trust, PILOT_TRUST_TRUSTED);
  for (guint i = 0; i < trusted->len; i++) {
    const PilotTrustRecord *record = trusted->pdata[i];

    if (!g_hash_table_contains (seen, GUINT_TO_POINTER (record->node)))
      g_ptr_array_add (views, make_view (node, record->node, NULL));
  }
  g_ptr_array_sort (views, compare_views);
  return views;
}

static void
collect_stream (const PilotStreamInfo *info, gpointer user_data)
{
  g_array_append_vals (user_data, info, 1);
}

GArray *
pilot_node_list_connections (PilotNode *node)
{
  GArray *streams = g_array_new (FALSE, TRUE, sizeof (PilotStreamInfo));

  if (node->overlay != NULL)
    pilot_overlay_foreach_stream (node->overlay, collect_stream, streams);
  return streams;
}

/* --- counters --- */

typedef struct {
  guint encrypted, authenticated, relay;
  GVariantBuilder list;
} Count;

static void
count_peer (Count *count, const PilotPeerInfo *info)
{
  gboolean relay = info->session && info->path == PILOT_PATH_RELAY;
  gboolean authenticated = info->session && info->has_key;

  count->encrypted += info->session ? 1 : 0;
  count->authenticated += authenticated ? 1 : 0;
  count->relay += relay ? 1 : 0;
  g_variant_builder_open (&count->list, G_VARIANT_TYPE_VARDICT);
  g_variant_builder_add (&count->list, "{sv}", "node_id", g_variant_new_uint32 (info->node));
  g_variant_builder_add (&count->list, "{sv}", "encrypted", g_variant_new_boolean (info->session));
  g_variant_builder_add (&count->list, "{sv}", "authenticated", g_variant_new_boolean (authenticated));
  g_variant_builder_add (&count->list, "{sv}", "relay", g_variant_new_boolean (relay));
  g_variant_builder_close (&count->list);
}

GVariant *
pilot_node_get_statistics (PilotNode *node)
{
  g_auto (GVariantDict) dict = G_VARIANT_DICT_INIT (NULL);
  PilotOverlayStats stats = { 0 };
  Count count = { 0 };
  g_autoptr (GPtrArray) peers = NULL;
  g_autoptr (GPtrArray) pending = NULL;
  const char *email = pilot_config_get (node->config, "email");
  gboolean compat = pilot_config_is_compat (node->config);
  const char *beacon = pilot_config_get (node->config, compat ? "compat_beacon" : "beacon");

  if (node->overlay == NULL || node->trust == NULL)
    return g_variant_dict_end (&dict);
  pilot_overlay_stats (node->overlay, &stats);
  g_variant_builder_init (&count.list, G_VARIANT_TYPE ("aa{sv}"));
  /* Those that are listed: a node somebody asked for, and that is not there, is no peer. */
  peers = pilot_node_list_peers (node);
  for (guint i = 0; i < peers->len; i++)
    count_peer (&count, &((PilotPeerView *) peers->pdata[i])->info);
  pending = pilot_trust_list (node->trust, PILOT_TRUST_PENDING);
  g_variant_dict_insert (&dict, "uptime_secs", "x", g_get_real_time () / G_USEC_PER_SEC - node->started);
  g_variant_dict_insert (&dict, "connections", "u", stats.streams);
  g_variant_dict_insert (&dict, "ports", "u", g_hash_table_size (node->services));
  g_variant_dict_insert (&dict, "peers", "u", peers->len);
  g_variant_dict_insert (&dict, "encrypted_peers", "u", count.encrypted);
  g_variant_dict_insert (&dict, "authenticated_peers", "u", count.authenticated);
  g_variant_dict_insert (&dict, "relay_peer_count", "u", count.relay);
  g_variant_dict_insert (&dict, "encrypt", "b", TRUE);
  g_variant_dict_insert (&dict, "identity", "b", TRUE);
  g_variant_dict_insert (&dict, "email", "s", email != NULL ? email : "");
  g_variant_dict_insert (&dict, "beacon_addr", "s", beacon != NULL ? beacon : "");
  g_variant_dict_insert (&dict, "transport", "s", compat ? "compat" : "udp");
  g_variant_dict_insert (&dict, "bytes_sent", "t", stats.bytes_sent);
  g_variant_dict_insert (&dict, "bytes_recv", "t", stats.bytes_received);
  g_variant_dict_insert (&dict, "pkts_sent", "t", stats.datagrams_sent);
  g_variant_dict_insert (&dict, "pkts_recv", "t", stats.datagrams_received);
  g_variant_dict_insert (&dict, "tunnel_encryption_success", "t", stats.sealed + stats.opened);
  g_variant_dict_insert (&dict, "tunnel_encryption_failure", "t", stats.open_failures);
  g_variant_dict_insert (&dict, "dropped_malformed", "t", stats.dropped_malformed);
  g_variant_dict_insert (&dict, "dropped_unauthenticated", "t", stats.dropped_unauthenticated);
  g_variant_dict_insert (&dict, "dropped_replay", "t", stats.dropped_replay);
  g_variant_dict_insert (&dict, "dropped_spoofed", "t", stats.dropped_spoofed);
  g_variant_dict_insert (&dict, "dropped_rate", "t", stats.dropped_rate);
  g_variant_dict_insert (&dict, "handshake_pending_count", "u", pending->len);
  g_variant_dict_insert (&dict, "peer_list", "aa{sv}", &count.list);
  {
    g_autoptr (GVariant) transports = pilot_driver_get_statistics (node->driver);

    g_variant_dict_insert_value (&dict, "transports", transports);
  }
  return g_variant_dict_end (&dict);
}
