/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilot-plugin.h"

#include "pilot-error.h"

typedef struct
{
  gchar *name;
  gchar *state_dir;
  GVariant *settings;
} PilotPluginPrivate;

enum {
  PROP_NAME = 1,
  PROP_SETTINGS,
  PROP_STATE_DIR,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

G_DEFINE_ABSTRACT_TYPE_WITH_PRIVATE (PilotPlugin, pilot_plugin, G_TYPE_OBJECT)

const gchar *
pilot_plugin_kind_to_string (PilotPluginKind kind)
{
  static const gchar *const names[] = {
    [PILOT_PLUGIN_KIND_NONE] = "none",
    [PILOT_PLUGIN_KIND_TRANSPORT] = "transport",
    [PILOT_PLUGIN_KIND_ALLOCATOR] = "allocator",
    [PILOT_PLUGIN_KIND_TRUST_STORE] = "trust-store",
  };

  G_STATIC_ASSERT (G_N_ELEMENTS (names) == PILOT_PLUGIN_N_KINDS);
  return (guint) kind < G_N_ELEMENTS (names) ? names[kind] : names[PILOT_PLUGIN_KIND_NONE];
}

/* Takes the error of an `enable` or `disable`. */
static void
return_outcome (GTask *task,
                gboolean done,
                GError *error,
                const gchar *what)
{
  /* Both set is a breach; an error is believed rather than dropped. */
  if (error != NULL)
    g_task_return_error (task, error);
  else if (done)
    g_task_return_boolean (task, TRUE);
  else
    g_task_return_new_error (task, PILOT_ERROR, PILOT_ERROR_FAILED, "%s failed without saying why", what);
}

static void
pilot_plugin_real_enable_async (PilotPlugin *self,
                                GCancellable *cancellable,
                                GAsyncReadyCallback callback,
                                gpointer user_data)
{
  g_autoptr (GTask) task = g_task_new (self, cancellable, callback, user_data);
  PilotPluginClass *klass = PILOT_PLUGIN_GET_CLASS (self);
  GError *error = NULL;
  gboolean done;

  g_task_set_source_tag (task, pilot_plugin_real_enable_async);
  done = klass->enable == NULL || klass->enable (self, &error);
  return_outcome (task, done, error, "enable");
}

static gboolean
pilot_plugin_real_enable_finish (PilotPlugin *self,
                                 GAsyncResult *result,
                                 GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, self), FALSE);

  return g_task_propagate_boolean (G_TASK (result), error);
}

static void
pilot_plugin_real_disable_async (PilotPlugin *self,
                                 GCancellable *cancellable,
                                 GAsyncReadyCallback callback,
                                 gpointer user_data)
{
  g_autoptr (GTask) task = g_task_new (self, cancellable, callback, user_data);
  PilotPluginClass *klass = PILOT_PLUGIN_GET_CLASS (self);
  GError *error = NULL;
  gboolean done;

  g_task_set_source_tag (task, pilot_plugin_real_disable_async);
  /* Disabling happens whatever the cancellable says. */
  g_task_set_check_cancellable (task, FALSE);
  done = klass->disable == NULL || klass->disable (self, &error);
  return_outcome (task, done, error, "disable");
}

static gboolean
pilot_plugin_real_disable_finish (PilotPlugin *self,
                                  GAsyncResult *result,
                                  GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, self), FALSE);

  return g_task_propagate_boolean (G_TASK (result), error);
}

static void
pilot_plugin_get_property (GObject *object,
                           guint id,
                           GValue *value,
                           GParamSpec *pspec)
{
  PilotPluginPrivate *priv = pilot_plugin_get_instance_private (PILOT_PLUGIN (object));

  switch (id) {
  case PROP_NAME:
    g_value_set_string (value, priv->name);
    break;
  case PROP_SETTINGS:
    g_value_set_variant (value, priv->settings);
    break;
  case PROP_STATE_DIR:
    g_value_set_string (value, priv->state_dir);
    break;
  default:
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  }
}

static void
pilot_plugin_set_property (GObject *object,
                           guint id,
                           const GValue *value,
                           GParamSpec *pspec)
{
  PilotPluginPrivate *priv = pilot_plugin_get_instance_private (PILOT_PLUGIN (object));

  switch (id) {
  case PROP_NAME:
    priv->name = g_value_dup_string (value);
    break;
  case PROP_SETTINGS:
    priv->settings = g_value_dup_variant (value);
    if (priv->settings == NULL)
      priv->settings = g_variant_ref_sink (g_variant_new ("a{sv}", NULL));
    break;
  case PROP_STATE_DIR:
    priv->state_dir = g_value_dup_string (value);
    break;
  default:
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  }
}

static void
pilot_plugin_finalize (GObject *object)
{
  PilotPluginPrivate *priv = pilot_plugin_get_instance_private (PILOT_PLUGIN (object));

  g_free (priv->name);
  g_free (priv->state_dir);
  g_variant_unref (priv->settings);
  G_OBJECT_CLASS (pilot_plugin_parent_class)->finalize (object);
}

static void
pilot_plugin_class_init (PilotPluginClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  const GParamFlags flags = G_PARAM_READWRITE | G_PARAM_CONSTRUCT_ONLY | G_PARAM_STATIC_STRINGS;

  object_class->get_property = pilot_plugin_get_property;
  object_class->set_property = pilot_plugin_set_property;
  object_class->finalize = pilot_plugin_finalize;
  klass->enable_async = pilot_plugin_real_enable_async;
  klass->enable_finish = pilot_plugin_real_enable_finish;
  klass->disable_async = pilot_plugin_real_disable_async;
  klass->disable_finish = pilot_plugin_real_disable_finish;

  properties[PROP_NAME] = g_param_spec_string ("name", NULL, NULL, "unnamed", flags);
  properties[PROP_SETTINGS] = g_param_spec_variant ("settings", NULL, NULL, G_VARIANT_TYPE_VARDICT, NULL, flags);
  properties[PROP_STATE_DIR] = g_param_spec_string ("state-dir", NULL, NULL, NULL, flags);
  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
pilot_plugin_init (PilotPlugin *self)
{
}

const gchar *
pilot_plugin_get_name (PilotPlugin *self)
{
  PilotPluginPrivate *priv = pilot_plugin_get_instance_private (self);

  g_return_val_if_fail (PILOT_IS_PLUGIN (self), NULL);

  return priv->name;
}

GVariant *
pilot_plugin_get_settings (PilotPlugin *self)
{
  PilotPluginPrivate *priv = pilot_plugin_get_instance_private (self);

  g_return_val_if_fail (PILOT_IS_PLUGIN (self), NULL);

  return priv->settings;
}

const gchar *
pilot_plugin_get_state_dir (PilotPlugin *self)
{
  PilotPluginPrivate *priv = pilot_plugin_get_instance_private (self);

  g_return_val_if_fail (PILOT_IS_PLUGIN (self), NULL);

  return priv->state_dir;
}

gboolean
pilot_plugin_lookup_setting (PilotPlugin *self,
                             const gchar *key,
                             const gchar *format,
                             ...)
{
  PilotPluginPrivate *priv = pilot_plugin_get_instance_private (self);
  g_autoptr (GVariant) value = NULL;
  va_list args;

  g_return_val_if_fail (PILOT_IS_PLUGIN (self), FALSE);
  g_return_val_if_fail (key != NULL && format != NULL, FALSE);

  value = g_variant_lookup_value (priv->settings, key, NULL);
  if (value == NULL || !g_variant_check_format_string (value, format, FALSE))
    return FALSE;
  va_start (args, format);
  g_variant_get_va (value, format, NULL, &args);
  va_end (args);
  return TRUE;
}

gboolean
pilot_plugin_check_settings (PilotPlugin *self,
                             const PilotPluginSetting *known,
                             GError **error)
{
  PilotPluginPrivate *priv = pilot_plugin_get_instance_private (self);
  GVariantIter iter;
  const gchar *key;
  GVariant *value;

  g_return_val_if_fail (PILOT_IS_PLUGIN (self), FALSE);
  g_return_val_if_fail (known != NULL, FALSE);

  g_variant_iter_init (&iter, priv->settings);
  while (g_variant_iter_next (&iter, "{&sv}", &key, &value)) {
    g_autoptr (GVariant) owned = value;
    const PilotPluginSetting *setting = known;

    while (setting->key != NULL && !g_str_equal (setting->key, key))
      setting++;
    if (setting->key == NULL) {
      g_autofree gchar *quoted = pilot_error_quote (key, -1);

      g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "unknown setting \"%s\"", quoted);
      return FALSE;
    }
    if (!g_variant_is_of_type (owned, G_VARIANT_TYPE (setting->type))) {
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
                   "setting \"%s\" is of type \"%s\" instead of \"%s\"", key,
                   g_variant_get_type_string (owned), setting->type);
      return FALSE;
    }
  }
  return TRUE;
}

gboolean
pilot_plugin_change_setting (PilotPlugin *self,
                             const gchar *key,
                             GVariant *value,
                             GError **error)
{
  PilotPluginPrivate *priv = pilot_plugin_get_instance_private (self);
  g_autoptr (GVariant) owned = g_variant_ref_sink (value);
  g_autoptr (GVariantDict) dict = NULL;

  g_return_val_if_fail (PILOT_IS_PLUGIN (self), FALSE);
  g_return_val_if_fail (key != NULL, FALSE);

  if (PILOT_PLUGIN_GET_CLASS (self)->change == NULL) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_NOT_SUPPORTED, "no setting can be changed while it runs");
    return FALSE;
  }
  if (!PILOT_PLUGIN_GET_CLASS (self)->change (self, key, owned, error))
    return FALSE;
  dict = g_variant_dict_new (priv->settings);
  g_variant_dict_insert_value (dict, key, owned);
  g_variant_unref (priv->settings);
  priv->settings = g_variant_ref_sink (g_variant_dict_end (dict));
  return TRUE;
}

void
pilot_plugin_enable_async (PilotPlugin *self,
                           GCancellable *cancellable,
                           GAsyncReadyCallback callback,
                           gpointer user_data)
{
  g_return_if_fail (PILOT_IS_PLUGIN (self));

  PILOT_PLUGIN_GET_CLASS (self)->enable_async (self, cancellable, callback, user_data);
}

gboolean
pilot_plugin_enable_finish (PilotPlugin *self,
                            GAsyncResult *result,
                            GError **error)
{
  g_return_val_if_fail (PILOT_IS_PLUGIN (self), FALSE);

  return PILOT_PLUGIN_GET_CLASS (self)->enable_finish (self, result, error);
}

void
pilot_plugin_disable_async (PilotPlugin *self,
                            GCancellable *cancellable,
                            GAsyncReadyCallback callback,
                            gpointer user_data)
{
  g_return_if_fail (PILOT_IS_PLUGIN (self));

  PILOT_PLUGIN_GET_CLASS (self)->disable_async (self, cancellable, callback, user_data);
}

gboolean
pilot_plugin_disable_finish (PilotPlugin *self,
                             GAsyncResult *result,
                             GError **error)
{
  g_return_val_if_fail (PILOT_IS_PLUGIN (self), FALSE);

  return PILOT_PLUGIN_GET_CLASS (self)->disable_finish (self, result, error);
}
