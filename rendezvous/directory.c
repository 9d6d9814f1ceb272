/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/directory-private.h"

#include <string.h>

#include "libpilot/pilot-error.h"
#include "protocol/crypto.h"
#include "rendezvous/hostname.h"

/* Multilinear hashing with random factors (Lemire, Kaser 2014). Whoever registers chooses his key, and an unsigned one may be any bytes: without a
 * secret he could fill the table with keys that all fall into one place. */
static guint
key_hash (gconstpointer key)
{
  static guint64 factors[1 + PILOT_KEY_SIZE / sizeof (guint32)];
  guint32 words[PILOT_KEY_SIZE / sizeof (guint32)];
  guint64 sum;

  if (factors[0] == 0)
    pilot_crypto_random ((guint8 *) factors, sizeof factors);
  memcpy (words, key, sizeof words);
  sum = factors[0];
  for (guint i = 0; i < G_N_ELEMENTS (words); i++)
    sum += factors[1 + i] * words[i];
  return (guint) (sum >> 32);
}

static gboolean
key_equal (gconstpointer a,
           gconstpointer b)
{
  return memcmp (a, b, PILOT_KEY_SIZE) == 0;
}

static void
node_free (PilotDirectoryNode *node)
{
  pilot_node_record_free (node->record);
  g_ptr_array_unref (node->requests);
  g_array_unref (node->responses);
  g_free (node);
}

static void
request_free (PilotDirectoryRequest *request)
{
  pilot_request_record_free (request->record);
  g_free (request);
}

PilotDirectoryNode *
pilot_directory_lookup (PilotDirectory *self,
                        guint32 id)
{
  return g_hash_table_lookup (self->nodes, GUINT_TO_POINTER (id));
}

static PilotDirectoryNode *
node_new (PilotDirectory *self,
          const PilotNodeRecord *record)
{
  PilotDirectoryNode *node = g_new0 (PilotDirectoryNode, 1);

  node->record = pilot_node_record_copy (record);
  node->requests = g_ptr_array_new_with_free_func ((GDestroyNotify) request_free);
  node->responses = g_array_new (FALSE, FALSE, sizeof (PilotDirectoryResponse));
  g_hash_table_insert (self->nodes, GUINT_TO_POINTER (record->id), node);
  g_hash_table_insert (self->keys, node->record->key, node);
  self->next_id = MAX (self->next_id, (guint64) record->id + 1);
  return node;
}

void
pilot_directory_add_change (PilotDirectory *self,
                            PilotStoreChange *change)
{
  pilot_journal_add (self->journal, change);
}

void
pilot_directory_save (PilotDirectory *self,
                      PilotDirectoryNode *node)
{
  node->seen_changed = FALSE;
  pilot_directory_add_change (self, pilot_store_change_node (node->record));
}

/* Loading */

static gboolean
load_node (const PilotNodeRecord *record,
           gpointer user_data,
           GError **error)
{
  PilotDirectory *self = user_data;
  PilotDirectoryNode *node;

  if (g_hash_table_contains (self->keys, record->key) || pilot_directory_lookup (self, record->id) != NULL) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "the store has node %u or its key twice", record->id);
    return FALSE;
  }
  if (record->live && record->hostname != NULL && g_hash_table_contains (self->hostnames, record->hostname)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "the store has the host name of node %u twice", record->id);
    return FALSE;
  }
  node = node_new (self, record);
  if (!record->live)
    return TRUE;
  self->n_live++;
  if (record->hostname != NULL)
    g_hash_table_insert (self->hostnames, node->record->hostname, node);
  return TRUE;
}

static gboolean
load_edge (const PilotEdgeRecord *record,
           gpointer user_data,
           GError **error)
{
  pilot_directory_put_edge (user_data, record->source, record->target, record->consent);
  return TRUE;
}

static gboolean
load_request (const PilotRequestRecord *record,
              gpointer user_data,
              GError **error)
{
  PilotDirectory *self = user_data;
  PilotDirectoryNode *node = pilot_directory_lookup (self, record->target);

  if (node != NULL)
    pilot_directory_put_request (self, node, record);
  return TRUE;
}

static gboolean
load_response (const PilotResponseRecord *record,
               gpointer user_data,
               GError **error)
{
  PilotDirectory *self = user_data;
  PilotDirectoryNode *node = pilot_directory_lookup (self, record->requester);
  PilotDirectoryResponse response = { *record, ++self->serial };

  if (node != NULL)
    g_array_append_val (node->responses, response);
  return TRUE;
}

static void
clear (PilotDirectory *self)
{
  g_hash_table_remove_all (self->hostnames);
  g_hash_table_remove_all (self->keys);
  g_hash_table_remove_all (self->edges);
  g_hash_table_remove_all (self->nodes);
  self->n_live = 0;
  self->next_id = 1;
}

static gboolean
load (PilotDirectory *self,
      GError **error)
{
  static const PilotStoreVisitor visitor = { load_node, load_edge, load_request, load_response };

  return pilot_store_load (self->store, &visitor, self, error);
}

PilotDirectory *
pilot_directory_new (PilotStore *store,
                     gboolean reference_consent,
                     GError **error)
{
  g_autoptr (PilotDirectory) self = g_new0 (PilotDirectory, 1);

  self->store = store;
  self->reference_consent = reference_consent;
  self->nodes = g_hash_table_new_full (NULL, NULL, NULL, (GDestroyNotify) node_free);
  self->keys = g_hash_table_new (key_hash, key_equal);
  self->hostnames = g_hash_table_new (g_str_hash, g_str_equal);
  self->edges = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, NULL);
  clear (self);
  if (!load (self, error))
    return NULL;
  return g_steal_pointer (&self);
}

void
pilot_directory_free (PilotDirectory *self)
{
  if (self == NULL)
    return;
  g_hash_table_unref (self->hostnames);
  g_hash_table_unref (self->keys);
  g_hash_table_unref (self->edges);
  g_hash_table_unref (self->nodes);
  g_free (self);
}

void
pilot_directory_set_journal (PilotDirectory *self,
                             PilotJournal *journal)
{
  self->journal = journal;
}

gboolean
pilot_directory_reload (PilotDirectory *self,
                        GError **error)
{
  g_autoptr (GHashTable) old = g_steal_pointer (&self->nodes);
  GHashTableIter iter;
  gpointer value;

  self->nodes = g_hash_table_new_full (NULL, NULL, NULL, (GDestroyNotify) node_free);
  clear (self);
  if (!load (self, error))
    return FALSE;
  /* What was never meant for the disk survives: where nodes are, and that they are alive. */
  g_hash_table_iter_init (&iter, self->nodes);
  while (g_hash_table_iter_next (&iter, NULL, &value)) {
    PilotDirectoryNode *node = value;
    PilotDirectoryNode *before = g_hash_table_lookup (old, GUINT_TO_POINTER (node->record->id));

    if (before == NULL || !key_equal (before->record->key, node->record->key))
      continue;
    node->source = before->source;
    node->record->last_seen = MAX (node->record->last_seen, before->record->last_seen);
    node->seen_changed = TRUE;
  }
  return TRUE;
}

/* Looking up */

const PilotNodeRecord *
pilot_directory_find (PilotDirectory *self,
                      guint32 id)
{
  PilotDirectoryNode *node = pilot_directory_lookup (self, id);

  return node != NULL && node->record->live ? node->record : NULL;
}

const PilotNodeRecord *
pilot_directory_require (PilotDirectory *self,
                         guint32 id,
                         GError **error)
{
  const PilotNodeRecord *record = pilot_directory_find (self, id);

  /* Go daemons register again when they read this text in the answer to a heartbeat (notes, section 8). */
  if (record == NULL)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "node %u: node not found", id);
  return record;
}

PilotDirectoryNode *
pilot_directory_require_node (PilotDirectory *self,
                              guint32 id,
                              GError **error)
{
  return pilot_directory_require (self, id, error) == NULL ? NULL : pilot_directory_lookup (self, id);
}

const PilotNodeRecord *
pilot_directory_find_hostname (PilotDirectory *self,
                               const gchar *hostname)
{
  PilotDirectoryNode *node = g_hash_table_lookup (self->hostnames, hostname);

  return node == NULL ? NULL : node->record;
}

const PilotNodeRecord *
pilot_directory_find_key (PilotDirectory *self,
                          const guint8 *key)
{
  PilotDirectoryNode *node = g_hash_table_lookup (self->keys, key);

  return node == NULL ? NULL : node->record;
}

static gint
compare_ids (gconstpointer a,
             gconstpointer b)
{
  const PilotNodeRecord *x = *(const PilotNodeRecord *const *) a, *y = *(const PilotNodeRecord *const *) b;

  return (x->id > y->id) - (x->id < y->id);
}

GPtrArray *
pilot_directory_list (PilotDirectory *self,
                      guint32 after,
                      guint max)
{
  GPtrArray *records = g_ptr_array_new ();
  GHashTableIter iter;
  gpointer value;

  g_hash_table_iter_init (&iter, self->nodes);
  while (g_hash_table_iter_next (&iter, NULL, &value)) {
    PilotDirectoryNode *node = value;

    if (node->record->live && node->record->id > after)
      g_ptr_array_add (records, node->record);
  }
  g_ptr_array_sort (records, compare_ids);
  if (records->len > max)
    g_ptr_array_set_size (records, (gint) max);
  return records;
}

guint
pilot_directory_count_live (PilotDirectory *self)
{
  return self->n_live;
}

const PilotEndpoint *
pilot_directory_get_source (PilotDirectory *self,
                            guint32 id)
{
  PilotDirectoryNode *node = pilot_directory_lookup (self, id);

  return node == NULL || pilot_endpoint_is_none (&node->source) ? NULL : &node->source;
}

void
pilot_directory_touch (PilotDirectory *self,
                       guint32 id,
                       const PilotEndpoint *source,
                       gint64 now)
{
  PilotDirectoryNode *node = pilot_directory_lookup (self, id);

  if (node == NULL)
    return;
  if (source != NULL)
    node->source = *source;
  if (now != node->record->last_seen) {
    node->record->last_seen = now;
    node->seen_changed = TRUE;
  }
}

void
pilot_directory_write_seen (PilotDirectory *self)
{
  GHashTableIter iter;
  gpointer value;

  g_hash_table_iter_init (&iter, self->nodes);
  while (g_hash_table_iter_next (&iter, NULL, &value)) {
    PilotDirectoryNode *node = value;

    if (!node->seen_changed)
      continue;
    node->seen_changed = FALSE;
    pilot_journal_add_lazy (self->journal, pilot_store_change_seen (node->record->id, node->record->last_seen));
  }
}

/* Registering */

/* The new [S-new] rule of the notes, 7.1: what a node says of its own address counts only when it is an address that others
 * could use; and an address other than the connection's only when the node proved who it is. Names are never stored. */
static gchar *
stored_endpoint (const PilotDirectoryRegistration *registration)
{
  PilotEndpoint endpoint = registration->source;
  PilotEndpoint claimed;
  const gchar *text = registration->listen_addr;
  const gchar *colon;
  guint64 port;

  if (text == NULL || *text == '\0')
    return pilot_endpoint_to_string (&endpoint);
  if (pilot_endpoint_parse (text, &claimed, NULL)) {
    gboolean usable = !pilot_endpoint_is_any (&claimed) && !pilot_endpoint_is_loopback (&claimed) &&
                      !pilot_endpoint_is_private (&claimed) && !pilot_endpoint_is_link_local (&claimed) &&
                      !pilot_endpoint_is_multicast (&claimed);

    if (usable && (registration->is_signed || pilot_endpoint_equal_host (&claimed, &endpoint)))
      return pilot_endpoint_to_string (&claimed);
    endpoint.port = claimed.port;
    return pilot_endpoint_to_string (&endpoint);
  }
  /* ":4000" and "name:4000" */
  colon = strrchr (text, ':');
  if (colon != NULL && g_ascii_string_to_unsigned (colon + 1, 10, 0, G_MAXUINT16, &port, NULL))
    endpoint.port = (guint16) port;
  return pilot_endpoint_to_string (&endpoint);
}

/* Only addresses of a LAN: a "LAN address" elsewhere would aim other nodes at a victim (notes, 17.11). One global IPv6 address is let
 * through, from who has proven his key: such a node may name any one address as its endpoint too. */
static gchar **
stored_lan_addrs (const PilotDirectoryRegistration *registration)
{
  const gchar *const *lan_addrs = registration->lan_addrs;
  gboolean may_be_global = registration->is_signed;
  g_autoptr (GPtrArray) kept = g_ptr_array_new_with_free_func (g_free);

  for (guint i = 0; lan_addrs != NULL && lan_addrs[i] != NULL && kept->len < PILOT_DIRECTORY_MAX_LAN_ADDRS; i++) {
    PilotEndpoint endpoint;
    gboolean is_global;

    if (strlen (lan_addrs[i]) > PILOT_DIRECTORY_MAX_LAN_ADDR || !pilot_endpoint_parse (lan_addrs[i], &endpoint, NULL))
      continue;
    is_global = may_be_global && pilot_endpoint_is_global_ipv6 (&endpoint);
    if (is_global || pilot_endpoint_is_private (&endpoint) || pilot_endpoint_is_link_local (&endpoint))
      g_ptr_array_add (kept, g_strdup (lan_addrs[i]));
    may_be_global &= !is_global;
  }
  if (kept->len == 0)
    return NULL;
  g_ptr_array_add (kept, NULL);
  return (gchar **) g_ptr_array_free (g_steal_pointer (&kept), FALSE);
}

static PilotDirectoryNode *
create_node (PilotDirectory *self,
             const guint8 *key,
             GError **error)
{
  PilotNodeRecord record = { 0 };

  if (g_hash_table_size (self->nodes) >= PILOT_DIRECTORY_MAX_NODES) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "registry full");
    return NULL;
  }
  if (self->next_id >= G_MAXUINT32) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "node ID space exhausted");
    return NULL;
  }
  record.id = (guint32) self->next_id;
  memcpy (record.key, key, PILOT_KEY_SIZE);
  return node_new (self, &record);
}

static void
set_hostname (PilotDirectory *self,
              PilotDirectoryNode *node,
              const gchar *hostname)
{
  if (node->record->hostname != NULL)
    g_hash_table_remove (self->hostnames, node->record->hostname);
  g_free (node->record->hostname);
  node->record->hostname = hostname == NULL || *hostname == '\0' ? NULL : g_strdup (hostname);
  if (node->record->hostname != NULL)
    g_hash_table_insert (self->hostnames, node->record->hostname, node);
}

/* A node that was away comes back with its id, its trust and nothing else (notes, 7.1). */
static void
revive (PilotDirectory *self,
        PilotDirectoryNode *node,
        gint64 now)
{
  PilotNodeRecord *record = node->record;

  record->live = TRUE;
  record->is_public = FALSE;
  record->key_created = now;
  g_clear_pointer (&record->tags, g_strfreev);
  self->n_live++;
}

static void
take_hostname (PilotDirectory *self,
               PilotDirectoryNode *node,
               const gchar *hostname,
               gchar **hostname_error)
{
  g_autoptr (GError) error = NULL;
  const PilotNodeRecord *holder = pilot_directory_find_hostname (self, hostname);

  if (!pilot_hostname_check (hostname, &error))
    *hostname_error = g_strdup (error->message);
  else if (holder != NULL && holder != node->record)
    *hostname_error = g_strdup_printf ("hostname \"%s\" already in use", hostname);
  else
    set_hostname (self, node, hostname);
}

const PilotNodeRecord *
pilot_directory_register (PilotDirectory *self,
                          const PilotDirectoryRegistration *registration,
                          gint64 now,
                          gchar **hostname_error,
                          GError **error)
{
  PilotDirectoryNode *node = g_hash_table_lookup (self->keys, registration->key);
  PilotNodeRecord *record;

  /* The latch holds for reaped nodes too, and across restarts (notes, 17.5). */
  if (node != NULL && node->record->latched && !registration->is_signed) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_REFUSED,
                 "node %u: unsigned registration cannot modify a signature-verified key", node->record->id);
    return NULL;
  }
  if (node == NULL && (node = create_node (self, registration->key, error)) == NULL)
    return NULL;
  record = node->record;
  if (!record->live)
    revive (self, node, now);
  record->latched |= registration->is_signed;
  record->relay_only = registration->relay_only;
  record->last_seen = now;
  node->source = registration->source;
  g_free (record->endpoint);
  record->endpoint = stored_endpoint (registration);
  g_strfreev (record->lan_addrs);
  record->lan_addrs = stored_lan_addrs (registration);
  if (registration->version != NULL && *registration->version != '\0') {
    g_free (record->version);
    record->version = g_strdup (registration->version);
  }
  if (record->owner == NULL && registration->owner != NULL && *registration->owner != '\0')
    record->owner = g_strdup (registration->owner);
  if (registration->hostname != NULL && *registration->hostname != '\0')
    take_hostname (self, node, registration->hostname, hostname_error);
  pilot_directory_save (self, node);
  return record;
}

/* Changing */

gboolean
pilot_directory_set_visibility (PilotDirectory *self,
                                guint32 id,
                                gboolean is_public,
                                GError **error)
{
  PilotDirectoryNode *node = pilot_directory_require_node (self, id, error);

  if (node == NULL)
    return FALSE;
  if (node->record->is_public == is_public)
    return TRUE;
  node->record->is_public = is_public;
  pilot_directory_save (self, node);
  return TRUE;
}

gboolean
pilot_directory_set_hostname (PilotDirectory *self,
                              guint32 id,
                              const gchar *hostname,
                              GError **error)
{
  PilotDirectoryNode *node = pilot_directory_require_node (self, id, error);
  const PilotNodeRecord *holder;

  if (node == NULL)
    return FALSE;
  /* Newer Go daemons announce their name every minute: that is not a change. */
  if (g_strcmp0 (node->record->hostname, *hostname == '\0' ? NULL : hostname) == 0)
    return TRUE;
  if (*hostname != '\0' && !pilot_hostname_check (hostname, error)) {
    g_prefix_error (error, "invalid hostname: ");
    return FALSE;
  }
  holder = pilot_directory_find_hostname (self, hostname);
  if (holder != NULL) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS, "hostname \"%s\" already in use by node %u", hostname, holder->id);
    return FALSE;
  }
  set_hostname (self, node, hostname);
  pilot_directory_save (self, node);
  return TRUE;
}

gboolean
pilot_directory_set_tags (PilotDirectory *self,
                          guint32 id,
                          const gchar *const *tags,
                          GError **error)
{
  PilotDirectoryNode *node = pilot_directory_require_node (self, id, error);
  gchar **kept;

  if (node == NULL || (kept = pilot_tags_normalize (tags, error)) == NULL)
    return FALSE;
  g_strfreev (node->record->tags);
  node->record->tags = kept;
  pilot_directory_save (self, node);
  return TRUE;
}

static void
retire (PilotDirectory *self,
        PilotDirectoryNode *node)
{
  set_hostname (self, node, NULL);
  node->record->live = FALSE;
  node->source = (PilotEndpoint) PILOT_ENDPOINT_INIT;
  self->n_live--;
  pilot_directory_save (self, node);
}

void
pilot_directory_deregister (PilotDirectory *self,
                            guint32 id)
{
  if (pilot_directory_find (self, id) != NULL)
    retire (self, pilot_directory_lookup (self, id));
}

guint
pilot_directory_reap (PilotDirectory *self,
                      gint64 now,
                      gint64 threshold)
{
  GHashTableIter iter;
  gpointer value;
  guint n = 0;

  g_hash_table_iter_init (&iter, self->nodes);
  while (g_hash_table_iter_next (&iter, NULL, &value)) {
    PilotDirectoryNode *node = value;

    if (!node->record->live || now - node->record->last_seen < threshold)
      continue;
    retire (self, node);
    n++;
  }
  return n;
}

gboolean
pilot_directory_rotate_key (PilotDirectory *self,
                            guint32 id,
                            const guint8 *new_key,
                            gint64 now,
                            GError **error)
{
  PilotDirectoryNode *node = pilot_directory_require_node (self, id, error);
  PilotDirectoryNode *holder = g_hash_table_lookup (self->keys, new_key);

  if (node == NULL)
    return FALSE;
  if (holder != NULL) {
    /* A duplicate of this request, after a lost answer, is signed with the old key and fails before it comes here. */
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS,
                 "invalid new_public_key: already in use by node %u", holder->record->id);
    return FALSE;
  }
  g_hash_table_remove (self->keys, node->record->key);
  memcpy (node->record->key, new_key, PILOT_KEY_SIZE);
  g_hash_table_insert (self->keys, node->record->key, node);
  node->record->key_created = node->record->key_rotated = now;
  node->record->rotate_count++;
  pilot_directory_save (self, node);
  return TRUE;
}
