/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/directory-private.h"

#include <string.h>

#include "libpilot/pilot-error.h"

#define MAX_JUSTIFICATION 1024

/* Edges: who consented to whom (registry notes, 17.1) */

static gint64
edge_key (guint32 source,
          guint32 target)
{
  return (gint64) (((guint64) source << 32) | target);
}

static PilotConsent
get_edge (PilotDirectory *self,
          guint32 source,
          guint32 target)
{
  gint64 key = edge_key (source, target);

  return GPOINTER_TO_UINT (g_hash_table_lookup (self->edges, &key));
}

void
pilot_directory_put_edge (PilotDirectory *self,
                          guint32 source,
                          guint32 target,
                          PilotConsent consent)
{
  PilotDirectoryNode *node = pilot_directory_lookup (self, source);
  gint64 key = edge_key (source, target);
  gboolean before = g_hash_table_contains (self->edges, &key);

  if (consent == 0)
    g_hash_table_remove (self->edges, &key);
  else
    g_hash_table_insert (self->edges, g_memdup2 (&key, sizeof key), GUINT_TO_POINTER (consent));
  if (node != NULL)
    node->n_edges = node->n_edges + (consent != 0) - before;
}

static void
change_edge (PilotDirectory *self,
             guint32 source,
             guint32 target,
             PilotConsent add,
             PilotConsent remove)
{
  PilotConsent before = get_edge (self, source, target);
  PilotEdgeRecord edge = { source, target, (before & ~remove) | add };

  if (edge.consent == before)
    return;
  pilot_directory_put_edge (self, source, target, edge.consent);
  pilot_directory_add_change (self, pilot_store_change_edge (&edge));
}

/* A node cannot fill the registry with consent to everybody. */
static gboolean
check_room (PilotDirectoryNode *node,
            PilotConsent existing,
            GError **error)
{
  if (existing != 0 || node->n_edges < PILOT_DIRECTORY_MAX_EDGES)
    return TRUE;
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "too many peers of node %u (max %d)", node->record->id,
               PILOT_DIRECTORY_MAX_EDGES);
  return FALSE;
}

gboolean
pilot_directory_is_trusted (PilotDirectory *self,
                            guint32 a,
                            guint32 b)
{
  PilotConsent forth = get_edge (self, a, b), back = get_edge (self, b, a);

  if (self->reference_consent)
    return ((forth | back) & (PILOT_CONSENT_REPORT | PILOT_CONSENT_RESPOND)) != 0;
  return forth != 0 && back != 0;
}

gboolean
pilot_directory_may_resolve (PilotDirectory *self,
                             guint32 requester,
                             guint32 target)
{
  const PilotNodeRecord *record = pilot_directory_find (self, target);

  return record != NULL && pilot_directory_find (self, requester) != NULL &&
         (record->is_public || requester == target || pilot_directory_is_trusted (self, requester, target));
}

gboolean
pilot_directory_report_trust (PilotDirectory *self,
                              guint32 id,
                              guint32 peer,
                              GError **error)
{
  PilotDirectoryNode *node = pilot_directory_require_node (self, id, error);

  if (node == NULL)
    return FALSE;
  /* A peer that is away for now will be back with the same id, so the order in which nodes re-register does not matter. */
  if (pilot_directory_lookup (self, peer) == NULL) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "node %u: node not found", peer);
    return FALSE;
  }
  if (id == peer) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "invalid peer_id: a node cannot trust itself");
    return FALSE;
  }
  if (!check_room (node, get_edge (self, id, peer), error))
    return FALSE;
  change_edge (self, id, peer, PILOT_CONSENT_REPORT, 0);
  return TRUE;
}

/* Requests and responses */

static PilotDirectoryRequest *
find_request (PilotDirectoryNode *target,
              guint32 requester,
              guint *index)
{
  for (guint i = 0; i < target->requests->len; i++) {
    PilotDirectoryRequest *request = g_ptr_array_index (target->requests, i);

    if (request->record->requester != requester)
      continue;
    *index = i;
    return request;
  }
  return NULL;
}

void
pilot_directory_put_request (PilotDirectory *self,
                             PilotDirectoryNode *node,
                             const PilotRequestRecord *record)
{
  PilotDirectoryRequest *request = g_new (PilotDirectoryRequest, 1);
  guint index;

  request->record = pilot_request_record_copy (record);
  request->serial = ++self->serial;
  if (find_request (node, record->requester, &index) != NULL)
    g_ptr_array_remove_index (node->requests, index);
  g_ptr_array_add (node->requests, request);
}

static void
remove_request (PilotDirectory *self,
                PilotDirectoryNode *node,
                guint index)
{
  PilotDirectoryRequest *request = g_ptr_array_index (node->requests, index);

  pilot_directory_add_change (self, pilot_store_change_request_gone (node->record->id, request->record->requester));
  g_ptr_array_remove_index (node->requests, index);
}

static guint
count_undelivered (PilotDirectoryNode *node)
{
  guint n = 0;

  for (guint i = 0; i < node->requests->len; i++)
    n += !((PilotDirectoryRequest *) g_ptr_array_index (node->requests, i))->record->delivered;
  return n;
}

/* Delivered requests wait for an answer for ever; only the newest are kept. */
static void
trim_requests (PilotDirectory *self,
               PilotDirectoryNode *node)
{
  for (guint i = 0; node->requests->len >= PILOT_DIRECTORY_MAX_PENDING && i < node->requests->len;) {
    PilotDirectoryRequest *request = g_ptr_array_index (node->requests, i);

    if (!request->record->delivered) {
      i++;
      continue;
    }
    change_edge (self, request->record->requester, node->record->id, 0, PILOT_CONSENT_REQUEST);
    remove_request (self, node, i);
  }
}

gboolean
pilot_directory_request (PilotDirectory *self,
                         guint32 from,
                         guint32 to,
                         const gchar *justification,
                         gint64 now,
                         GError **error)
{
  PilotDirectoryNode *source = pilot_directory_require_node (self, from, error);
  PilotDirectoryNode *target = source == NULL ? NULL : pilot_directory_require_node (self, to, error);
  PilotRequestRecord record = { to, from, (gchar *) justification, now, FALSE };
  PilotDirectoryRequest *before;
  gsize length = strlen (justification);
  guint index;

  if (target == NULL)
    return FALSE;
  if (length > MAX_JUSTIFICATION)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "justification too large: %" G_GSIZE_FORMAT " bytes (max %d)",
                 length, MAX_JUSTIFICATION);
  else if (from == to)
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "invalid to_node_id: a node cannot trust itself");
  else if ((before = find_request (target, from, &index)) != NULL && !before->record->delivered)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS, "handshake request already pending from node %u", from);
  else if (count_undelivered (target) >= PILOT_DIRECTORY_MAX_INBOX)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "handshake inbox full for node %u", to);
  else if (check_room (source, get_edge (self, from, to), error)) {
    trim_requests (self, target);
    pilot_directory_put_request (self, target, &record);
    pilot_directory_add_change (self, pilot_store_change_request (&record));
    change_edge (self, from, to, PILOT_CONSENT_REQUEST, 0);
    return TRUE;
  }
  return FALSE;
}

static void
remove_response (PilotDirectory *self,
                 PilotDirectoryNode *node,
                 guint32 responder)
{
  for (guint i = 0; i < node->responses->len; i++)
    if (g_array_index (node->responses, PilotDirectoryResponse, i).record.responder == responder) {
      pilot_directory_add_change (self, pilot_store_change_response_gone (node->record->id, responder));
      g_array_remove_index (node->responses, i);
      return;
    }
}

static void
put_response (PilotDirectory *self,
              PilotDirectoryNode *node,
              const PilotResponseRecord *record)
{
  PilotDirectoryResponse response = { *record, ++self->serial };

  /* The newest of each sender, and of all the newest hundred. */
  remove_response (self, node, record->responder);
  if (node->responses->len >= PILOT_DIRECTORY_MAX_RESPONSES)
    remove_response (self, node, g_array_index (node->responses, PilotDirectoryResponse, 0).record.responder);
  g_array_append_val (node->responses, response);
  pilot_directory_add_change (self, pilot_store_change_response (record));
}

gboolean
pilot_directory_respond (PilotDirectory *self,
                         guint32 id,
                         guint32 peer,
                         PilotResponseKind kind,
                         gint64 now,
                         GError **error)
{
  PilotDirectoryNode *node = pilot_directory_require_node (self, id, error);
  PilotDirectoryNode *requester = node == NULL ? NULL : pilot_directory_require_node (self, peer, error);
  PilotResponseRecord response = { peer, id, kind, now };
  PilotDirectoryRequest *request;
  guint index;

  if (requester == NULL)
    return FALSE;
  request = find_request (node, peer, &index);
  /* A rejection needs no request here: it may have been asked directly. */
  if (request == NULL && kind == PILOT_RESPONSE_ACCEPT) {
    /* Go daemons answer twice for one approval: the second finds everything done. */
    if ((get_edge (self, id, peer) & PILOT_CONSENT_RESPOND) && pilot_directory_is_trusted (self, id, peer))
      return TRUE;
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "no pending handshake request from node %u", peer);
    return FALSE;
  }
  if (kind == PILOT_RESPONSE_ACCEPT) {
    if (!check_room (node, get_edge (self, id, peer), error))
      return FALSE;
    remove_request (self, node, index);
    change_edge (self, id, peer, PILOT_CONSENT_RESPOND, 0);
    /* The request is answered with yes: its consent holds, even if a rejection went before. */
    change_edge (self, peer, id, PILOT_CONSENT_REQUEST, 0);
  } else
    /* The request stays, as in the reference, so that the user may change his mind; its consent does not. */
    change_edge (self, peer, id, 0, PILOT_CONSENT_REQUEST);
  put_response (self, requester, &response);
  return TRUE;
}

void
pilot_directory_settle_request (PilotDirectory *self,
                                guint32 id,
                                guint32 peer)
{
  PilotDirectoryNode *node = pilot_directory_lookup (self, id);
  guint index;
  PilotDirectoryRequest *request = node != NULL ? find_request (node, peer, &index) : NULL;

  if (request == NULL || request->record->delivered)
    return;
  request->record->delivered = TRUE;
  pilot_directory_add_change (self, pilot_store_change_request (request->record));
}

gboolean
pilot_directory_revoke_trust (PilotDirectory *self,
                              guint32 id,
                              guint32 peer,
                              GError **error)
{
  PilotDirectoryNode *node = pilot_directory_require_node (self, id, error);
  PilotDirectoryNode *other = pilot_directory_lookup (self, peer);
  PilotDirectoryRequest *request;
  guint index;

  if (node == NULL)
    return FALSE;
  if (other == NULL || (get_edge (self, id, peer) == 0 && !pilot_directory_is_trusted (self, id, peer))) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "no trust pair between %u and %u", id, peer);
    return FALSE;
  }
  change_edge (self, id, peer, 0, get_edge (self, id, peer));
  change_edge (self, peer, id, 0, get_edge (self, peer, id));
  /* What was asked and answered before must not bring the trust back. */
  if ((request = find_request (other, id, &index)) != NULL)
    remove_request (self, other, index);
  remove_response (self, node, peer);
  remove_response (self, other, id);
  return TRUE;
}

GArray *
pilot_directory_poll (PilotDirectory *self,
                      guint32 id)
{
  GArray *items = g_array_new (FALSE, TRUE, sizeof (PilotDirectoryItem));
  PilotDirectoryNode *node = pilot_directory_lookup (self, id);

  for (guint i = 0; node != NULL && i < node->requests->len; i++) {
    PilotDirectoryRequest *request = g_ptr_array_index (node->requests, i);
    PilotDirectoryItem item = { TRUE, request->record->requester, request->serial, request->record->justification, 0,
                                request->record->time };

    if (!request->record->delivered)
      g_array_append_val (items, item);
  }
  for (guint i = 0; node != NULL && i < node->responses->len; i++) {
    PilotDirectoryResponse *response = &g_array_index (node->responses, PilotDirectoryResponse, i);
    PilotDirectoryItem item = { FALSE, response->record.responder, response->serial, NULL, response->record.kind,
                                response->record.time };

    g_array_append_val (items, item);
  }
  return items;
}

void
pilot_directory_delivered (PilotDirectory *self,
                           guint32 id,
                           GArray *items)
{
  PilotDirectoryNode *node = pilot_directory_lookup (self, id);

  for (guint i = 0; node != NULL && i < items->len; i++) {
    const PilotDirectoryItem *item = &g_array_index (items, PilotDirectoryItem, i);
    PilotDirectoryRequest *request;
    guint index;

    if (item->is_request) {
      request = find_request (node, item->peer, &index);
      if (request == NULL || request->serial != item->serial || request->record->delivered)
        continue;
      request->record->delivered = TRUE;
      pilot_directory_add_change (self, pilot_store_change_request (request->record));
      continue;
    }
    for (index = 0; index < node->responses->len; index++)
      if (g_array_index (node->responses, PilotDirectoryResponse, index).serial == item->serial) {
        remove_response (self, node, item->peer);
        break;
      }
  }
}
