/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/record.h"

static void
node_record_assign (PilotNodeRecord *record,
                    const PilotNodeRecord *source)
{
  *record = *source;
  record->hostname = g_strdup (source->hostname);
  record->endpoint = g_strdup (source->endpoint);
  record->version = g_strdup (source->version);
  record->owner = g_strdup (source->owner);
  record->lan_addrs = g_strdupv (source->lan_addrs);
  record->tags = g_strdupv (source->tags);
}

static void
node_record_clear (PilotNodeRecord *record)
{
  g_free (record->hostname);
  g_free (record->endpoint);
  g_free (record->version);
  g_free (record->owner);
  g_strfreev (record->lan_addrs);
  g_strfreev (record->tags);
}

PilotNodeRecord *
pilot_node_record_copy (const PilotNodeRecord *record)
{
  PilotNodeRecord *copy = g_new0 (PilotNodeRecord, 1);

  node_record_assign (copy, record);
  return copy;
}

void
pilot_node_record_free (PilotNodeRecord *record)
{
  if (record == NULL)
    return;
  node_record_clear (record);
  g_free (record);
}

PilotRequestRecord *
pilot_request_record_copy (const PilotRequestRecord *record)
{
  PilotRequestRecord *copy = g_new (PilotRequestRecord, 1);

  *copy = *record;
  copy->justification = g_strdup (record->justification);
  return copy;
}

void
pilot_request_record_free (PilotRequestRecord *record)
{
  if (record == NULL)
    return;
  g_free (record->justification);
  g_free (record);
}

static PilotStoreChange *
change_new (PilotStoreChangeKind kind)
{
  PilotStoreChange *change = g_new0 (PilotStoreChange, 1);

  change->kind = kind;
  return change;
}

PilotStoreChange *
pilot_store_change_node (const PilotNodeRecord *record)
{
  PilotStoreChange *change = change_new (PILOT_STORE_CHANGE_NODE);

  node_record_assign (&change->node, record);
  return change;
}

PilotStoreChange *
pilot_store_change_seen (guint32 id,
                         gint64 last_seen)
{
  PilotStoreChange *change = change_new (PILOT_STORE_CHANGE_SEEN);

  change->node.id = id;
  change->node.last_seen = last_seen;
  return change;
}

PilotStoreChange *
pilot_store_change_edge (const PilotEdgeRecord *record)
{
  PilotStoreChange *change = change_new (PILOT_STORE_CHANGE_EDGE);

  change->edge = *record;
  return change;
}

PilotStoreChange *
pilot_store_change_request (const PilotRequestRecord *record)
{
  PilotStoreChange *change = change_new (PILOT_STORE_CHANGE_REQUEST);

  change->request = *record;
  change->request.justification = g_strdup (record->justification);
  return change;
}

PilotStoreChange *
pilot_store_change_request_gone (guint32 target,
                                 guint32 requester)
{
  PilotStoreChange *change = change_new (PILOT_STORE_CHANGE_REQUEST_GONE);

  change->request.target = target;
  change->request.requester = requester;
  return change;
}

PilotStoreChange *
pilot_store_change_response (const PilotResponseRecord *record)
{
  PilotStoreChange *change = change_new (PILOT_STORE_CHANGE_RESPONSE);

  change->response = *record;
  return change;
}

PilotStoreChange *
pilot_store_change_response_gone (guint32 requester,
                                  guint32 responder)
{
  PilotStoreChange *change = change_new (PILOT_STORE_CHANGE_RESPONSE_GONE);

  change->response.requester = requester;
  change->response.responder = responder;
  return change;
}

void
pilot_store_change_free (PilotStoreChange *change)
{
  if (change == NULL)
    return;
  if (change->kind == PILOT_STORE_CHANGE_NODE)
    node_record_clear (&change->node);
  else if (change->kind == PILOT_STORE_CHANGE_REQUEST)
    g_free (change->request.justification);
  g_free (change);
}
