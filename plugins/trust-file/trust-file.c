/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "trust-file.h"

#include <errno.h>
#include <glib/gstdio.h>

#include "trust-document.h"

struct _PilotTrustFile {
  PilotTrustStore parent_instance;

  gchar *path;
  gboolean loaded;
  GHashTable *records; /* (kind, node) → PilotTrustRecord */
  GHashTable *saved;   /* the same as of the last flush while there are changes since, else NULL */
  JsonObject *rest;    /* what was read, for the keys that are not ours */
};

G_DEFINE_FINAL_TYPE (PilotTrustFile, pilot_trust_file, PILOT_TYPE_TRUST_STORE)

static const PilotPluginSetting settings[] = {
  { "path", "s", "the file; default \"trust.json\" in the daemon's state folder" },
  { NULL }
};

static guint
record_hash (gconstpointer record)
{
  const PilotTrustRecord *r = record;

  return r->node * 2654435761u ^ (guint) r->kind;
}

static gboolean
record_same_key (gconstpointer a,
                 gconstpointer b)
{
  const PilotTrustRecord *x = a, *y = b;

  return x->kind == y->kind && x->node == y->node;
}

static GHashTable *
new_table (void)
{
  return g_hash_table_new_full (record_hash, record_same_key, (GDestroyNotify) pilot_trust_record_free, NULL);
}

static void
forget_all (PilotTrustFile *self)
{
  g_hash_table_remove_all (self->records);
  g_clear_pointer (&self->saved, g_hash_table_unref);
  g_clear_pointer (&self->rest, json_object_unref);
  self->loaded = FALSE;
}

/* Before the first change since the last flush: what to go back to if the next one fails. */
static void
remember (PilotTrustFile *self)
{
  GHashTableIter iter;
  gpointer record;

  if (self->saved != NULL)
    return;
  self->saved = new_table ();
  g_hash_table_iter_init (&iter, self->records);
  while (g_hash_table_iter_next (&iter, &record, NULL))
    g_hash_table_add (self->saved, pilot_trust_record_copy (record));
}

static gint
compare_records (gconstpointer a,
                 gconstpointer b)
{
  const PilotTrustRecord *x = *(PilotTrustRecord *const *) a, *y = *(PilotTrustRecord *const *) b;

  if (x->kind != y->kind)
    return x->kind < y->kind ? -1 : 1;
  return x->node < y->node ? -1 : x->node > y->node;
}

static gboolean
fail_not_loaded (GError **error)
{
  g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, "the trust file was not loaded");
  return FALSE;
}

static gboolean
pilot_trust_file_enable (PilotPlugin *plugin,
                         GError **error)
{
  PilotTrustFile *self = PILOT_TRUST_FILE (plugin);
  const gchar *state_dir = pilot_plugin_get_state_dir (plugin);
  const gchar *path = NULL;

  if (!pilot_plugin_check_settings (plugin, settings, error))
    return FALSE;
  pilot_plugin_lookup_setting (plugin, "path", "&s", &path);
  if (path == NULL && state_dir == NULL) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
                         "no place for the file: there is no state folder, and the setting \"path\" is missing");
    return FALSE;
  }
  g_free (self->path);
  self->path = path != NULL ? g_strdup (path) : g_build_filename (state_dir, "trust.json", NULL);
  return TRUE;
}

static gboolean
pilot_trust_file_disable (PilotPlugin *plugin,
                          GError **error)
{
  PilotTrustFile *self = PILOT_TRUST_FILE (plugin);

  forget_all (self);
  g_clear_pointer (&self->path, g_free);
  return TRUE;
}

static gboolean
pilot_trust_file_load (PilotTrustStore *store,
                       GError **error)
{
  PilotTrustFile *self = PILOT_TRUST_FILE (store);
  g_autoptr (GPtrArray) records = g_ptr_array_new_with_free_func ((GDestroyNotify) pilot_trust_record_free);
  g_autoptr (GError) local = NULL;
  g_autofree gchar *data = NULL;
  JsonObject *rest = NULL;
  gsize length;

  forget_all (self);
  if (self->path == NULL)
    return fail_not_loaded (error);
  if (!pilot_file_load (self->path, TRUST_DOCUMENT_MAX_LENGTH, 022, &data, &length, &local)) {
    if (g_error_matches (local, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
      self->loaded = TRUE;
      return TRUE;
    }
    g_propagate_error (error, g_steal_pointer (&local));
    return FALSE;
  }
  if (!trust_document_parse (data, length, g_get_real_time () / G_USEC_PER_SEC, records, &rest, error)) {
    g_prefix_error (error, "%s: ", self->path);
    return FALSE;
  }
  self->rest = rest;
  g_ptr_array_set_free_func (records, NULL);
  for (guint i = 0; i < records->len; i++)
    g_hash_table_replace (self->records, g_ptr_array_index (records, i), g_ptr_array_index (records, i));
  self->loaded = TRUE;
  return TRUE;
}

static gboolean
pilot_trust_file_put (PilotTrustStore *store,
                      const PilotTrustRecord *record,
                      GError **error)
{
  PilotTrustFile *self = PILOT_TRUST_FILE (store);
  PilotTrustRecord *copy;

  if (!self->loaded)
    return fail_not_loaded (error);
  remember (self);
  copy = pilot_trust_record_copy (record);
  if (copy->justification != NULL) {
    g_autofree gchar *valid = g_utf8_make_valid (copy->justification, -1);
    gsize length = strlen (valid);

    if (length > PILOT_TRUST_JUSTIFICATION_MAX)
      length = (gsize) (g_utf8_find_prev_char (valid, valid + PILOT_TRUST_JUSTIFICATION_MAX + 1) - valid);
    g_free (copy->justification);
    copy->justification = length > 0 ? g_strndup (valid, length) : NULL;
  }
  g_hash_table_replace (self->records, copy, copy);
  return TRUE;
}

static gboolean
pilot_trust_file_remove (PilotTrustStore *store,
                         PilotTrustKind kind,
                         guint32 node,
                         GError **error)
{
  PilotTrustFile *self = PILOT_TRUST_FILE (store);
  const PilotTrustRecord key = { .kind = kind, .node = node };

  if (!self->loaded)
    return fail_not_loaded (error);
  if (!g_hash_table_contains (self->records, &key)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "node %u has no \"%s\" record", node,
                 pilot_trust_kind_to_string (kind));
    return FALSE;
  }
  remember (self);
  g_hash_table_remove (self->records, &key);
  return TRUE;
}

static GPtrArray *
pilot_trust_file_list (PilotTrustStore *store,
                       PilotTrustKind kind)
{
  PilotTrustFile *self = PILOT_TRUST_FILE (store);
  GPtrArray *list = g_ptr_array_new_with_free_func ((GDestroyNotify) pilot_trust_record_free);
  GHashTableIter iter;
  gpointer record;

  g_hash_table_iter_init (&iter, self->records);
  while (g_hash_table_iter_next (&iter, &record, NULL))
    if (((PilotTrustRecord *) record)->kind == kind)
      g_ptr_array_add (list, pilot_trust_record_copy (record));
  g_ptr_array_sort (list, compare_records);
  return list;
}

static gboolean
write_file (PilotTrustFile *self,
            GError **error)
{
  g_autoptr (GPtrArray) records = g_ptr_array_new ();
  g_autofree gchar *folder = g_path_get_dirname (self->path);
  g_autofree gchar *text = NULL;
  GHashTableIter iter;
  gpointer record;

  g_hash_table_iter_init (&iter, self->records);
  while (g_hash_table_iter_next (&iter, &record, NULL))
    g_ptr_array_add (records, record);
  g_ptr_array_sort (records, compare_records);
  text = trust_document_format (records, self->rest);
  if (g_mkdir_with_parents (folder, 0700) != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot make the folder \"%s\": %s", folder, g_strerror (errno));
    return FALSE;
  }
  return pilot_file_replace (self->path, text, strlen (text), 0600, error);
}

static gboolean
pilot_trust_file_flush (PilotTrustStore *store,
                        GError **error)
{
  PilotTrustFile *self = PILOT_TRUST_FILE (store);

  if (!self->loaded)
    return fail_not_loaded (error);
  if (self->saved == NULL)
    return TRUE;
  if (!write_file (self, error)) {
    g_hash_table_unref (self->records);
    self->records = g_steal_pointer (&self->saved);
    return FALSE;
  }
  g_clear_pointer (&self->saved, g_hash_table_unref);
  return TRUE;
}

static void
pilot_trust_file_finalize (GObject *object)
{
  PilotTrustFile *self = PILOT_TRUST_FILE (object);

  forget_all (self);
  g_hash_table_unref (self->records);
  g_free (self->path);
  G_OBJECT_CLASS (pilot_trust_file_parent_class)->finalize (object);
}

static void
pilot_trust_file_class_init (PilotTrustFileClass *klass)
{
  PilotPluginClass *plugin_class = PILOT_PLUGIN_CLASS (klass);
  PilotTrustStoreClass *store_class = PILOT_TRUST_STORE_CLASS (klass);

  G_OBJECT_CLASS (klass)->finalize = pilot_trust_file_finalize;
  plugin_class->enable = pilot_trust_file_enable;
  plugin_class->disable = pilot_trust_file_disable;
  store_class->load = pilot_trust_file_load;
  store_class->put = pilot_trust_file_put;
  store_class->remove = pilot_trust_file_remove;
  store_class->list = pilot_trust_file_list;
  store_class->flush = pilot_trust_file_flush;
}

static void
pilot_trust_file_init (PilotTrustFile *self)
{
  self->records = new_table ();
}
