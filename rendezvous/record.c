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

static PilotChange *
change_new (PilotChangeKind kind)
{
  PilotChange *change = g_new0 (PilotChange, 1);

  change->kind = kind;
  return change;
}

PilotChange *
pilot_change_node (const PilotNodeRecord *record)
{
  PilotChange *change = change_new (PILOT_CHANGE_NODE);

  node_record_assign (&change->node, record);
  return change;
}

PilotChange *
pilot_change_seen (guint32 id,
                   gint64 last_seen)
{
  PilotChange *change = change_new (PILOT_CHANGE_SEEN);

  change->node.id = id;
  change->node.last_seen = last_seen;
  return change;
}

PilotChange *
pilot_change_edge (const PilotEdgeRecord *record)
{
  PilotChange *change = change_new (PILOT_CHANGE_EDGE);

  change->edge = *record;
  return change;
}

PilotChange *
pilot_change_request (const PilotRequestRecord *record)
{
  PilotChange *change = change_new (PILOT_CHANGE_REQUEST);

  change->request = *record;
  change->request.justification = g_strdup (record->justification);
  return change;
}

PilotChange *
pilot_change_request_gone (guint32 target,
                           guint32 requester)
{
  PilotChange *change = change_new (PILOT_CHANGE_REQUEST_GONE);

  change->request.target = target;
  change->request.requester = requester;
  return change;
}

PilotChange *
pilot_change_response (const PilotResponseRecord *record)
{
  PilotChange *change = change_new (PILOT_CHANGE_RESPONSE);

  change->response = *record;
  return change;
}

PilotChange *
pilot_change_response_gone (guint32 requester,
                            guint32 responder)
{
  PilotChange *change = change_new (PILOT_CHANGE_RESPONSE_GONE);

  change->response.requester = requester;
  change->response.responder = responder;
  return change;
}

void
pilot_change_free (PilotChange *change)
{
  if (change == NULL)
    return;
  if (change->kind == PILOT_CHANGE_NODE)
    node_record_clear (&change->node);
  else if (change->kind == PILOT_CHANGE_REQUEST)
    g_free (change->request.justification);
  g_free (change);
}
