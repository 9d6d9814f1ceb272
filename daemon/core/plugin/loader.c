/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/plugin/loader.h"

#include <unistd.h>

#include "daemon/core/plugin/call.h"
#include "daemon/core/plugin/module.h"

struct _PilotPluginLoader {
  GObject parent_instance;

  GStrv directories;
  gchar *state_dir;
  GHashTable *modes; /* NAME → static mode word */
  GPtrArray *infos;  /* PilotPluginInfo, sorted by name once loaded */
  PilotPluginSettingsFunc settings;
  gpointer settings_data;
  guint enable_ms;
  guint disable_ms;
  gboolean loaded;
};

enum {
  SIGNAL_CHANGED,
  N_SIGNALS
};

static guint signals[N_SIGNALS];

G_DEFINE_FINAL_TYPE (PilotPluginLoader, pilot_plugin_loader, G_TYPE_OBJECT)

static const gchar mode_required[] = "required";
static const gchar mode_optional[] = "optional";
static const gchar mode_disabled[] = "disabled";

const gchar *
pilot_plugin_state_to_string (PilotPluginState state)
{
  static const gchar *const names[] = { "loaded", "enabled", "failed", "disabled" };

  return (guint) state < G_N_ELEMENTS (names) ? names[state] : "unknown";
}

static void
info_free (gpointer data)
{
  PilotPluginInfo *info = data;

  g_free (info->name);
  g_free (info->file);
  g_free (info->description);
  g_free (info->error);
  g_clear_object (&info->plugin);
  g_free (info);
}

static void
info_set_state (PilotPluginLoader *self,
                PilotPluginInfo *info,
                PilotPluginState state)
{
  info->state = state;
  g_signal_emit (self, signals[SIGNAL_CHANGED], 0, info);
}

/* Takes the error. What is shown to people is one line without a hint. */
static void
info_fail (PilotPluginLoader *self,
           PilotPluginInfo *info,
           GError *error)
{
  g_free (info->error);
  info->error = pilot_error_dup_message (error);
  g_error_free (error);
  if (info->required)
    g_warning ("plugin \"%s\" (%s), which is required: %s", info->name, info->file != NULL ? info->file : "no file", info->error);
  else
    g_message ("plugin \"%s\" (%s): %s", info->name, info->file, info->error);
  info_set_state (self, info, PILOT_PLUGIN_STATE_FAILED);
}

static PilotPluginInfo *
find_info (PilotPluginLoader *self,
           const gchar *name)
{
  for (guint i = 0; i < self->infos->len; i++) {
    PilotPluginInfo *info = g_ptr_array_index (self->infos, i);

    if (g_str_equal (info->name, name))
      return info;
  }
  return NULL;
}

static const gchar *
get_mode (PilotPluginLoader *self,
          const gchar *name)
{
  const gchar *mode = g_hash_table_lookup (self->modes, name);

  return mode != NULL ? mode : mode_optional;
}

static PilotPluginInfo *
add_info (PilotPluginLoader *self,
          const gchar *name,
          gchar *file)
{
  PilotPluginInfo *info = g_new0 (PilotPluginInfo, 1);

  info->name = g_strdup (name);
  info->file = file;
  info->required = get_mode (self, name) == mode_required;
  g_ptr_array_add (self->infos, info);
  return info;
}

static GVariant *
get_settings (PilotPluginLoader *self,
              const gchar *name)
{
  GVariant *settings = NULL;

  if (self->settings != NULL)
    settings = self->settings (name, self->settings_data);
  if (settings == NULL)
    settings = g_variant_new ("a{sv}", NULL);
  return g_variant_take_ref (settings);
}

static void
load_module (PilotPluginLoader *self,
             PilotPluginInfo *info,
             gint directory_fd,
             const gchar *file_name)
{
  const PilotPluginDescriptor *descriptor;
  g_autoptr (GVariant) settings = NULL;
  GError *error = NULL;

  descriptor = pilot_module_open (directory_fd, file_name, &error);
  if (descriptor == NULL) {
    info_fail (self, info, error);
    return;
  }
  info->kind = (PilotPluginKind) descriptor->kind;
  info->description = g_strdup (descriptor->description);
  settings = get_settings (self, info->name);
  info->plugin = pilot_module_create (descriptor, self->state_dir, settings, &error);
  if (info->plugin == NULL) {
    info_fail (self, info, error);
    return;
  }
  info_set_state (self, info, PILOT_PLUGIN_STATE_LOADED);
}

static void
load_file (PilotPluginLoader *self,
           const gchar *directory,
           gint directory_fd,
           const gchar *file_name)
{
  g_autofree gchar *name = g_strndup (file_name, strlen (file_name) - strlen (".so"));
  const PilotPluginInfo *first = find_info (self, name);
  PilotPluginInfo *info;

  if (first != NULL) {
    g_message ("plugin file \"%s/%s\" ignored: \"%s\" was found first", directory, file_name, first->file);
    return;
  }
  info = add_info (self, name, g_build_filename (directory, file_name, NULL));
  if (get_mode (self, name) == mode_disabled)
    info_set_state (self, info, PILOT_PLUGIN_STATE_DISABLED);
  else
    load_module (self, info, directory_fd, file_name);
}

static gint
compare_strings (gconstpointer a,
                 gconstpointer b)
{
  return g_strcmp0 (*(const gchar *const *) a, *(const gchar *const *) b);
}

/* A folder that does not exist is an empty one. One that is unsafe fails every file in it, each visibly. */
static void
load_directory (PilotPluginLoader *self,
                const gchar *directory)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GError) error = NULL;
  g_autoptr (GDir) dir = NULL;
  const gchar *name;
  gint fd;

  dir = g_dir_open (directory, 0, NULL);
  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL)
    if (g_str_has_suffix (name, ".so") && name[0] != '.')
      g_ptr_array_add (names, g_utf8_make_valid (name, -1));
  g_ptr_array_sort (names, compare_strings);

  fd = pilot_module_open_directory (directory, &error);
  if (fd < 0)
    g_message ("plugin folder \"%s\": %s", directory, error->message);
  for (guint i = 0; i < names->len; i++) {
    name = g_ptr_array_index (names, i);
    if (fd >= 0)
      load_file (self, directory, fd, name);
    else {
      g_autofree gchar *word = g_strndup (name, strlen (name) - strlen (".so"));

      if (find_info (self, word) == NULL)
        info_fail (self, add_info (self, word, g_build_filename (directory, name, NULL)), g_error_copy (error));
    }
  }
  if (fd >= 0)
    close (fd);
}

static gint
compare_infos (gconstpointer a,
               gconstpointer b)
{
  return g_strcmp0 ((*(PilotPluginInfo *const *) a)->name, (*(PilotPluginInfo *const *) b)->name);
}

static gboolean
check_required (PilotPluginLoader *self,
                GError **error)
{
  for (guint i = 0; i < self->infos->len; i++) {
    const PilotPluginInfo *info = g_ptr_array_index (self->infos, i);

    if (info->required && info->state == PILOT_PLUGIN_STATE_FAILED) {
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_FAILED, "the plugin \"%s\" is required but failed: %s%s%s",
                   info->name, info->file != NULL ? info->file : "", info->file != NULL ? ": " : "", info->error);
      return FALSE;
    }
  }
  return TRUE;
}

static void
add_missing (PilotPluginLoader *self)
{
  g_autofree gchar *searched = g_strjoinv ("\", \"", self->directories);
  GHashTableIter iter;
  const gchar *name, *mode;

  g_hash_table_iter_init (&iter, self->modes);
  while (g_hash_table_iter_next (&iter, (gpointer *) &name, (gpointer *) &mode))
    if (mode == mode_required && find_info (self, name) == NULL)
      info_fail (self, add_info (self, name, NULL),
                 g_error_new (PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "no file \"%s.so\" in \"%s\"", name, searched));
}

gboolean
pilot_plugin_loader_load (PilotPluginLoader *self,
                          GError **error)
{
  g_return_val_if_fail (PILOT_IS_PLUGIN_LOADER (self), FALSE);
  g_return_val_if_fail (!self->loaded, FALSE);

  self->loaded = TRUE;
  for (guint i = 0; self->directories[i] != NULL; i++)
    load_directory (self, self->directories[i]);
  add_missing (self);
  g_ptr_array_sort (self->infos, compare_infos);
  return check_required (self, error);
}

/* All of them under way at once; the task completes with the last. */
typedef struct
{
  GTask *task;
  PilotPluginInfo *info;
} Step;

static void
step_done (GTask *task)
{
  PilotPluginLoader *self = g_task_get_source_object (task);
  guint left = GPOINTER_TO_UINT (g_task_get_task_data (task)) - 1;
  GError *error = NULL;

  g_task_set_task_data (task, GUINT_TO_POINTER (left), NULL);
  if (left > 0)
    return;
  if (g_task_get_source_tag (task) != pilot_plugin_loader_enable_async || check_required (self, &error))
    g_task_return_boolean (task, TRUE);
  else
    g_task_return_error (task, error);
}

static void
enabled_cb (GObject *source,
            GAsyncResult *result,
            gpointer user_data)
{
  Step *step = user_data;
  g_autoptr (GTask) task = step->task;
  PilotPluginLoader *self = g_task_get_source_object (task);
  GError *error = NULL;

  if (pilot_call_enable_finish (PILOT_PLUGIN (source), result, &error)) {
    g_clear_pointer (&step->info->error, g_free);
    info_set_state (self, step->info, PILOT_PLUGIN_STATE_ENABLED);
  } else {
    info_fail (self, step->info, error);
  }
  g_free (step);
  step_done (task);
}

static void
disabled_cb (GObject *source,
             GAsyncResult *result,
             gpointer user_data)
{
  Step *step = user_data;
  g_autoptr (GTask) task = step->task;
  PilotPluginLoader *self = g_task_get_source_object (task);
  GError *error = NULL;

  if (pilot_call_disable_finish (PILOT_PLUGIN (source), result, &error))
    info_set_state (self, step->info, PILOT_PLUGIN_STATE_LOADED);
  else
    info_fail (self, step->info, error);
  g_free (step);
  step_done (task);
}

static void
run_all (PilotPluginLoader *self,
         GTask *task,
         gboolean enable,
         GCancellable *cancellable)
{
  const PilotPluginState from = enable ? PILOT_PLUGIN_STATE_LOADED : PILOT_PLUGIN_STATE_ENABLED;

  /* One more than there are, so that it cannot complete before all were started. */
  g_task_set_task_data (task, GUINT_TO_POINTER (1), NULL);
  for (guint i = 0; i < self->infos->len; i++) {
    PilotPluginInfo *info = g_ptr_array_index (self->infos, i);
    Step *step;

    if (info->state != from)
      continue;
    step = g_new0 (Step, 1);
    step->task = g_object_ref (task);
    step->info = info;
    g_task_set_task_data (task, GUINT_TO_POINTER (GPOINTER_TO_UINT (g_task_get_task_data (task)) + 1), NULL);
    if (enable)
      pilot_call_enable_async (info->plugin, self->enable_ms, cancellable, enabled_cb, step);
    else
      pilot_call_disable_async (info->plugin, self->disable_ms, NULL, disabled_cb, step);
  }
  step_done (task);
}

void
pilot_plugin_loader_enable_async (PilotPluginLoader *self,
                                  GCancellable *cancellable,
                                  GAsyncReadyCallback callback,
                                  gpointer user_data)
{
  g_autoptr (GTask) task = g_task_new (self, NULL, callback, user_data);

  g_task_set_source_tag (task, pilot_plugin_loader_enable_async);
  run_all (self, task, TRUE, cancellable);
}

gboolean
pilot_plugin_loader_enable_finish (PilotPluginLoader *self,
                                   GAsyncResult *result,
                                   GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, self), FALSE);

  return g_task_propagate_boolean (G_TASK (result), error);
}

void
pilot_plugin_loader_disable_async (PilotPluginLoader *self,
                                   GAsyncReadyCallback callback,
                                   gpointer user_data)
{
  g_autoptr (GTask) task = g_task_new (self, NULL, callback, user_data);

  g_task_set_source_tag (task, pilot_plugin_loader_disable_async);
  run_all (self, task, FALSE, NULL);
}

gboolean
pilot_plugin_loader_disable_finish (PilotPluginLoader *self,
                                    GAsyncResult *result,
                                    GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, self), FALSE);

  return g_task_propagate_boolean (G_TASK (result), error);
}

GPtrArray *
pilot_plugin_loader_list (PilotPluginLoader *self)
{
  GPtrArray *list = g_ptr_array_new ();

  for (guint i = 0; i < self->infos->len; i++)
    g_ptr_array_add (list, g_ptr_array_index (self->infos, i));
  return list;
}

const PilotPluginInfo *
pilot_plugin_loader_lookup (PilotPluginLoader *self,
                            const gchar *name)
{
  return find_info (self, name);
}

PilotPlugin *
pilot_plugin_loader_get_enabled (PilotPluginLoader *self,
                                 PilotPluginKind kind,
                                 const gchar *name)
{
  for (guint i = 0; i < self->infos->len; i++) {
    const PilotPluginInfo *info = g_ptr_array_index (self->infos, i);

    if (info->state == PILOT_PLUGIN_STATE_ENABLED && info->kind == kind &&
        (name == NULL || g_str_equal (info->name, name)))
      return info->plugin;
  }
  return NULL;
}

gboolean
pilot_plugin_loader_set_modes (PilotPluginLoader *self,
                               GHashTable *modes,
                               GError **error)
{
  g_autoptr (GHashTable) copy = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  GHashTableIter iter;
  const gchar *name, *word;

  g_return_val_if_fail (PILOT_IS_PLUGIN_LOADER (self) && !self->loaded, FALSE);

  g_hash_table_iter_init (&iter, modes);
  while (g_hash_table_iter_next (&iter, (gpointer *) &name, (gpointer *) &word)) {
    const gchar *mode = NULL;

    for (guint i = 0; i < 3; i++)
      if (g_strcmp0 (word, (const gchar *[]) { mode_required, mode_optional, mode_disabled }[i]) == 0)
        mode = (const gchar *[]) { mode_required, mode_optional, mode_disabled }[i];
    if (mode == NULL) {
      g_autofree gchar *quoted = pilot_error_quote (word != NULL ? word : "", -1);

      g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
                   "plugin \"%s\" is set to \"%s\" (expected required, optional or disabled)", name, quoted);
      return FALSE;
    }
    g_hash_table_insert (copy, g_strdup (name), (gpointer) mode);
  }
  g_hash_table_unref (self->modes);
  self->modes = g_steal_pointer (&copy);
  return TRUE;
}

void
pilot_plugin_loader_set_settings (PilotPluginLoader *self,
                                  PilotPluginSettingsFunc func,
                                  gpointer user_data)
{
  g_return_if_fail (PILOT_IS_PLUGIN_LOADER (self));

  self->settings = func;
  self->settings_data = user_data;
}

void
pilot_plugin_loader_set_deadlines (PilotPluginLoader *self,
                                   guint enable_ms,
                                   guint disable_ms)
{
  g_return_if_fail (PILOT_IS_PLUGIN_LOADER (self));

  self->enable_ms = enable_ms;
  self->disable_ms = disable_ms;
}

static void
pilot_plugin_loader_finalize (GObject *object)
{
  PilotPluginLoader *self = PILOT_PLUGIN_LOADER (object);

  g_ptr_array_unref (self->infos);
  g_hash_table_unref (self->modes);
  g_strfreev (self->directories);
  g_free (self->state_dir);
  G_OBJECT_CLASS (pilot_plugin_loader_parent_class)->finalize (object);
}

static void
pilot_plugin_loader_class_init (PilotPluginLoaderClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = pilot_plugin_loader_finalize;
  signals[SIGNAL_CHANGED] = g_signal_new ("changed", PILOT_TYPE_PLUGIN_LOADER, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                                          G_TYPE_NONE, 1, G_TYPE_POINTER);
}

static void
pilot_plugin_loader_init (PilotPluginLoader *self)
{
  self->infos = g_ptr_array_new_with_free_func (info_free);
  self->modes = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  self->enable_ms = 20 * 1000;
  self->disable_ms = 5 * 1000;
}

PilotPluginLoader *
pilot_plugin_loader_new (const gchar *const *directories,
                         const gchar *state_dir)
{
  PilotPluginLoader *self = g_object_new (PILOT_TYPE_PLUGIN_LOADER, NULL);

  self->directories = g_strdupv ((gchar **) directories);
  self->state_dir = g_strdup (state_dir);
  return self;
}
