/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/store.h"

#include "libpilot/pilot-error.h"

typedef struct
{
  PilotStore base;
  GHashTable *nodes;     /* id -> PilotNodeRecord */
  GHashTable *edges;     /* source, target -> PilotEdgeRecord */
  GHashTable *requests;  /* target, requester -> PilotRequestRecord */
  GHashTable *responses; /* requester, responder -> PilotResponseRecord */
  guint fail;            /* apply() calls left to fail */
} MemoryStore;

static gint64 *
pair_key (guint32 a,
          guint32 b)
{
  gint64 *key = g_new (gint64, 1);

  *key = (gint64) (((guint64) a << 32) | b);
  return key;
}

static void
remove_pair (GHashTable *table,
             guint32 a,
             guint32 b)
{
  g_autofree gint64 *key = pair_key (a, b);

  g_hash_table_remove (table, key);
}

static gboolean
memory_load (PilotStore *store,
             const PilotStoreVisitor *visitor,
             gpointer user_data,
             GError **error)
{
  MemoryStore *self = (MemoryStore *) store;
  GHashTableIter iter;
  gpointer value;

  g_hash_table_iter_init (&iter, self->nodes);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    if (!visitor->node (value, user_data, error))
      return FALSE;
  g_hash_table_iter_init (&iter, self->edges);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    if (!visitor->edge (value, user_data, error))
      return FALSE;
  g_hash_table_iter_init (&iter, self->requests);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    if (!visitor->request (value, user_data, error))
      return FALSE;
  g_hash_table_iter_init (&iter, self->responses);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    if (!visitor->response (value, user_data, error))
      return FALSE;
  return TRUE;
}

static void
apply_one (MemoryStore *self,
           const PilotStoreChange *change)
{
  PilotNodeRecord *node;

  switch (change->kind) {
  case PILOT_STORE_CHANGE_NODE:
    g_hash_table_insert (self->nodes, GUINT_TO_POINTER (change->node.id), pilot_node_record_copy (&change->node));
    break;
  case PILOT_STORE_CHANGE_SEEN:
    node = g_hash_table_lookup (self->nodes, GUINT_TO_POINTER (change->node.id));
    if (node != NULL)
      node->last_seen = change->node.last_seen;
    break;
  case PILOT_STORE_CHANGE_EDGE:
    if (change->edge.consent == 0)
      remove_pair (self->edges, change->edge.source, change->edge.target);
    else
      g_hash_table_insert (self->edges, pair_key (change->edge.source, change->edge.target),
                           g_memdup2 (&change->edge, sizeof change->edge));
    break;
  case PILOT_STORE_CHANGE_REQUEST:
    g_hash_table_insert (self->requests, pair_key (change->request.target, change->request.requester),
                         pilot_request_record_copy (&change->request));
    break;
  case PILOT_STORE_CHANGE_REQUEST_GONE:
    remove_pair (self->requests, change->request.target, change->request.requester);
    break;
  case PILOT_STORE_CHANGE_RESPONSE:
    g_hash_table_insert (self->responses, pair_key (change->response.requester, change->response.responder),
                         g_memdup2 (&change->response, sizeof change->response));
    break;
  case PILOT_STORE_CHANGE_RESPONSE_GONE:
    remove_pair (self->responses, change->response.requester, change->response.responder);
    break;
  default:
    g_assert_not_reached ();
  }
}

static gboolean
memory_apply (PilotStore *store,
              GPtrArray *changes,
              GError **error)
{
  MemoryStore *self = (MemoryStore *) store;

  if (self->fail > 0) {
    self->fail--;
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_IO, "the store in memory was told to fail");
    return FALSE;
  }
  for (guint i = 0; i < changes->len; i++)
    apply_one (self, g_ptr_array_index (changes, i));
  return TRUE;
}

static void
memory_close (PilotStore *store)
{
  MemoryStore *self = (MemoryStore *) store;

  g_hash_table_unref (self->nodes);
  g_hash_table_unref (self->edges);
  g_hash_table_unref (self->requests);
  g_hash_table_unref (self->responses);
  g_free (self);
}

PilotStore *
pilot_store_memory_new (void)
{
  MemoryStore *self = g_new0 (MemoryStore, 1);

  self->base.created = g_get_real_time () / G_USEC_PER_SEC;
  self->base.load = memory_load;
  self->base.apply = memory_apply;
  self->base.close = memory_close;
  self->nodes = g_hash_table_new_full (NULL, NULL, NULL, (GDestroyNotify) pilot_node_record_free);
  self->edges = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, g_free);
  self->requests = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, (GDestroyNotify) pilot_request_record_free);
  self->responses = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, g_free);
  return &self->base;
}

void
pilot_store_memory_fail (PilotStore *store,
                         guint n)
{
  ((MemoryStore *) store)->fail = n;
}
