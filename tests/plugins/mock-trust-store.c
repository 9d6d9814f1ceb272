/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mock-trust-store.h"

struct _MockTrustStore {
  PilotTrustStore parent_instance;

  GPtrArray *records; /* sorted by kind, then node; NULL before load */
  gboolean full;
};

G_DEFINE_FINAL_TYPE (MockTrustStore, mock_trust_store, PILOT_TYPE_TRUST_STORE)

static GHashTable *disks;

static gpointer
copy_record (gconstpointer record,
             gpointer data)
{
  return pilot_trust_record_copy (record);
}

static GPtrArray *
copy_all (GPtrArray *records)
{
  GPtrArray *copy;

  if (records == NULL)
    return g_ptr_array_new_with_free_func ((GDestroyNotify) pilot_trust_record_free);
  copy = g_ptr_array_copy (records, copy_record, NULL);
  g_ptr_array_set_free_func (copy, (GDestroyNotify) pilot_trust_record_free);
  return copy;
}

static gint
compare (gconstpointer a,
         gconstpointer b)
{
  const PilotTrustRecord *x = *(PilotTrustRecord *const *) a, *y = *(PilotTrustRecord *const *) b;

  return x->node < y->node ? -1 : x->node > y->node;
}

static gboolean
take_out (MockTrustStore *self,
          PilotTrustKind kind,
          guint32 node)
{
  for (guint i = 0; i < self->records->len; i++) {
    const PilotTrustRecord *record = g_ptr_array_index (self->records, i);

    if (record->kind == kind && record->node == node) {
      g_ptr_array_remove_index (self->records, i);
      return TRUE;
    }
  }
  return FALSE;
}

static gboolean
check_loaded (MockTrustStore *self,
              GError **error)
{
  if (self->records == NULL)
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, "not loaded");
  return self->records != NULL;
}

static const gchar *
disk_name (MockTrustStore *self)
{
  return pilot_plugin_get_state_dir (PILOT_PLUGIN (self));
}

static gboolean
load (PilotTrustStore *store,
      GError **error)
{
  MockTrustStore *self = MOCK_TRUST_STORE (store);

  g_clear_pointer (&self->records, g_ptr_array_unref);
  self->records = copy_all (g_hash_table_lookup (disks, disk_name (self)));
  return TRUE;
}

static gboolean
put (PilotTrustStore *store,
     const PilotTrustRecord *record,
     GError **error)
{
  MockTrustStore *self = MOCK_TRUST_STORE (store);

  if (!check_loaded (self, error))
    return FALSE;
  take_out (self, record->kind, record->node);
  g_ptr_array_add (self->records, pilot_trust_record_copy (record));
  g_ptr_array_sort (self->records, compare);
  return TRUE;
}

static gboolean
take_away (PilotTrustStore *store,
           PilotTrustKind kind,
           guint32 node,
           GError **error)
{
  MockTrustStore *self = MOCK_TRUST_STORE (store);

  if (!check_loaded (self, error))
    return FALSE;
  if (take_out (self, kind, node))
    return TRUE;
  g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "no such record");
  return FALSE;
}

static GPtrArray *
list (PilotTrustStore *store,
      PilotTrustKind kind)
{
  MockTrustStore *self = MOCK_TRUST_STORE (store);
  GPtrArray *found = copy_all (NULL);

  for (guint i = 0; self->records != NULL && i < self->records->len; i++)
    if (((PilotTrustRecord *) g_ptr_array_index (self->records, i))->kind == kind)
      g_ptr_array_add (found, pilot_trust_record_copy (g_ptr_array_index (self->records, i)));
  return found;
}

static gboolean
flush (PilotTrustStore *store,
       GError **error)
{
  MockTrustStore *self = MOCK_TRUST_STORE (store);

  if (!check_loaded (self, error))
    return FALSE;
  if (self->full) {
    self->full = FALSE;
    load (store, NULL);
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_IO, "no space");
    return FALSE;
  }
  g_hash_table_replace (disks, g_strdup (disk_name (self)), copy_all (self->records));
  return TRUE;
}

static gboolean
enable (PilotPlugin *plugin,
        GError **error)
{
  static const PilotPluginSetting none[] = { { NULL } };

  return pilot_plugin_check_settings (plugin, none, error);
}

static gboolean
disable (PilotPlugin *plugin,
         GError **error)
{
  g_clear_pointer (&MOCK_TRUST_STORE (plugin)->records, g_ptr_array_unref);
  return TRUE;
}

static void
finalize (GObject *object)
{
  disable (PILOT_PLUGIN (object), NULL);
  G_OBJECT_CLASS (mock_trust_store_parent_class)->finalize (object);
}

static void
mock_trust_store_class_init (MockTrustStoreClass *klass)
{
  disks = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify) g_ptr_array_unref);
  G_OBJECT_CLASS (klass)->finalize = finalize;
  PILOT_PLUGIN_CLASS (klass)->enable = enable;
  PILOT_PLUGIN_CLASS (klass)->disable = disable;
  PILOT_TRUST_STORE_CLASS (klass)->load = load;
  PILOT_TRUST_STORE_CLASS (klass)->put = put;
  PILOT_TRUST_STORE_CLASS (klass)->remove = take_away;
  PILOT_TRUST_STORE_CLASS (klass)->list = list;
  PILOT_TRUST_STORE_CLASS (klass)->flush = flush;
}

static void
mock_trust_store_init (MockTrustStore *self)
{
}

void
mock_trust_store_fill_disk (MockTrustStore *self)
{
  self->full = TRUE;
}
