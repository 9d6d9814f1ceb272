/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/node/node-describe.h"

char *
pilot_describe_node (guint32 node)
{
  PilotAddress address = { 0, node };
  char text[PILOT_ADDRESS_TEXT_SIZE];

  if (node == 0)
    return g_strdup ("");
  pilot_address_format (&address, text);
  return g_strdup (text);
}

char *
pilot_describe_key (const guint8 *key)
{
  return g_base64_encode (key, 32);
}

const char *
pilot_describe_path (PilotPath path)
{
  switch (path) {
  case PILOT_PATH_DIRECT:
    return "direct";
  case PILOT_PATH_RELAY:
    return "relay";
  default:
    return "";
  }
}

static int
newest_first (gconstpointer a, gconstpointer b)
{
  const PilotTrustRecord *x = *(PilotTrustRecord *const *) a, *y = *(PilotTrustRecord *const *) b;

  return x->time > y->time ? -1 : x->time < y->time;
}

static GVariant *
describe_record (PilotNode *node, const PilotTrustRecord *record)
{
  g_autofree char *address = pilot_describe_node (record->node);
  g_autofree char *key = record->has_key ? pilot_describe_key (record->key) : g_strdup ("");
  g_autofree char *opened = NULL;
  const char *delivery;
  PilotPeerView *view;
  GVariantDict dict;

  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "node_id", "u", record->node);
  g_variant_dict_insert (&dict, "address", "s", address);
  if (record->kind != PILOT_TRUST_OUTGOING)
    g_variant_dict_insert (&dict, "public_key", "s", key);
  if (record->kind != PILOT_TRUST_TRUSTED)
    g_variant_dict_insert (&dict, "justification", "s", record->justification != NULL ? record->justification : "");
  switch (record->kind) {
  case PILOT_TRUST_TRUSTED:
    opened = pilot_access_describe (pilot_node_get_access (node), record->node);
    view = pilot_node_get_peer (node, record->node);
    g_variant_dict_insert (&dict, "approved_at", "x", record->time);
    g_variant_dict_insert (&dict, "mutual", "b", record->mutual);
    g_variant_dict_insert (&dict, "network", "q", record->network);
    g_variant_dict_insert (&dict, "access", "s", opened);
    g_variant_dict_insert (&dict, "hostname", "s", view != NULL && view->hostname != NULL ? view->hostname : "");
    if (view != NULL)
      pilot_peer_view_free (view);
    break;
  case PILOT_TRUST_PENDING:
    g_variant_dict_insert (&dict, "received_at", "x", record->time);
    break;
  default:
    g_variant_dict_insert (&dict, "sent_at", "x", record->time);
    delivery = pilot_trust_get_delivery (pilot_node_get_trust (node), record->node);
    g_variant_dict_insert (&dict, "state", "s", delivery == NULL ? "sending" : *delivery == '\0' ? "waiting"
                                                                                                 : "undelivered");
    g_variant_dict_insert (&dict, "detail", "s", delivery != NULL ? delivery : "");
    break;
  }
  return g_variant_dict_end (&dict);
}

GVariant *
pilot_describe_trust (PilotNode *node, PilotTrustKind kind)
{
  g_autoptr (GPtrArray) records = pilot_trust_list (pilot_node_get_trust (node), kind);
  GVariantBuilder list;

  g_ptr_array_sort (records, newest_first);
  g_variant_builder_init (&list, G_VARIANT_TYPE ("aa{sv}"));
  for (guint i = 0; i < records->len; i++)
    g_variant_builder_add_value (&list, describe_record (node, records->pdata[i]));
  return g_variant_builder_end (&list);
}

GVariant *
pilot_describe_peer (const PilotPeerView *view)
{
  const PilotPeerInfo *info = &view->info;
  g_autofree char *address = pilot_describe_node (info->node);
  gint64 last_seen = info->last_receive_us == 0 ? 0
                                                : (g_get_real_time () - (g_get_monotonic_time () - info->last_receive_us)) / G_USEC_PER_SEC;
  char endpoint[PILOT_ENDPOINT_TEXT_SIZE] = "";
  GVariantDict dict;

  if (info->session)
    pilot_endpoint_format (&info->endpoint, endpoint);
  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "node_id", "u", info->node);
  g_variant_dict_insert (&dict, "address", "s", address);
  g_variant_dict_insert (&dict, "hostname", "s", view->hostname != NULL ? view->hostname : "");
  g_variant_dict_insert (&dict, "trusted", "b", view->trusted);
  g_variant_dict_insert (&dict, "encrypted", "b", info->session);
  g_variant_dict_insert (&dict, "authenticated", "b", info->confirmed);
  g_variant_dict_insert (&dict, "relay", "b", info->path == PILOT_PATH_RELAY);
  g_variant_dict_insert (&dict, "path", "s", pilot_describe_path (info->path));
  g_variant_dict_insert (&dict, "endpoint", "s", endpoint);
  g_variant_dict_insert (&dict, "state", "s", view->state != NULL ? view->state : "");
  g_variant_dict_insert (&dict, "rtt_ms", "d", info->rtt_us / 1000.0);
  g_variant_dict_insert (&dict, "last_seen", "x", last_seen);
  g_variant_dict_insert (&dict, "bytes_sent", "t", info->bytes_sent);
  g_variant_dict_insert (&dict, "bytes_recv", "t", info->bytes_received);
  g_variant_dict_insert (&dict, "connections", "u", info->streams);
  return g_variant_dict_end (&dict);
}

GVariant *
pilot_describe_connection (const PilotStreamInfo *info)
{
  char remote[PILOT_ADDRESS_TEXT_SIZE];
  GVariantDict dict;

  pilot_address_format (&info->remote, remote);
  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "id", "u", info->id);
  g_variant_dict_insert (&dict, "local_port", "q", info->local_port);
  g_variant_dict_insert (&dict, "remote_addr", "s", remote);
  g_variant_dict_insert (&dict, "remote_port", "q", info->remote_port);
  g_variant_dict_insert (&dict, "state", "s", pilot_stream_state_to_string (info->state));
  g_variant_dict_insert (&dict, "cong_win", "t", info->congestion_window);
  g_variant_dict_insert (&dict, "in_flight", "t", info->bytes_in_flight);
  g_variant_dict_insert (&dict, "srtt_ms", "d", info->srtt_us / 1000.0);
  g_variant_dict_insert (&dict, "rttvar_ms", "d", info->rttvar_us / 1000.0);
  g_variant_dict_insert (&dict, "unacked", "t", info->send_buffered);
  g_variant_dict_insert (&dict, "peer_recv_win", "t", info->peer_window);
  g_variant_dict_insert (&dict, "recv_win", "t", info->receive_window);
  g_variant_dict_insert (&dict, "bytes_sent", "t", info->bytes_sent);
  g_variant_dict_insert (&dict, "bytes_recv", "t", info->bytes_received);
  g_variant_dict_insert (&dict, "segs_sent", "t", info->segments_sent);
  g_variant_dict_insert (&dict, "segs_recv", "t", info->segments_received);
  g_variant_dict_insert (&dict, "retransmits", "t", info->retransmits);
  g_variant_dict_insert (&dict, "fast_retx", "t", info->fast_retransmits);
  if (info->slow_start_threshold > 0)
    g_variant_dict_insert (&dict, "ssthresh", "t", info->slow_start_threshold);
  g_variant_dict_insert (&dict, "ooo_buf", "t", info->held);
  g_variant_dict_insert (&dict, "in_recovery", "b", info->in_recovery);
  g_variant_dict_insert (&dict, "sack_sent", "t", info->sacks_sent);
  g_variant_dict_insert (&dict, "sack_recv", "t", info->sacks_received);
  g_variant_dict_insert (&dict, "dup_acks", "t", info->duplicate_acks);
  return g_variant_dict_end (&dict);
}
