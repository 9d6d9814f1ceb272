/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

#include "pilot-macros.h"

G_BEGIN_DECLS

/* A module works with a host whose major is equal and whose minor is not older. The major is in the plugin directory's name too. */
#define PILOT_ABI_MAJOR 1
#define PILOT_ABI_MINOR 1

#define PILOT_PLUGIN_MAGIC 0x504c5547u /* "PLUG" */

typedef enum {
  PILOT_PLUGIN_KIND_NONE,
  PILOT_PLUGIN_KIND_TRANSPORT,   /* derives from PilotTransport */
  PILOT_PLUGIN_KIND_ALLOCATOR,   /* derives from PilotAllocator */
  PILOT_PLUGIN_KIND_TRUST_STORE, /* derives from PilotTrustStore */
  PILOT_PLUGIN_N_KINDS
} PilotPluginKind;

/* "transport", "allocator", "trust-store"; "none" for anything else. */
PILOT_API const gchar *pilot_plugin_kind_to_string (PilotPluginKind kind);

#define PILOT_TYPE_PLUGIN (pilot_plugin_get_type ())
PILOT_API
G_DECLARE_DERIVABLE_TYPE (PilotPlugin, pilot_plugin, PILOT, PLUGIN, GObject)

/**
 * PilotPluginClass:
 * @enable: starts the plugin when that needs no waiting. FALSE with an error if it cannot
 * @disable: stops it and gives back everything it took, when that needs no waiting
 * @enable_async: instead of @enable for a plugin that has to wait for something. Must complete, cancelled or not
 * @enable_finish: belongs to @enable_async
 * @disable_async: instead of @disable. The host waits for it with a deadline
 * @disable_finish: belongs to @disable_async
 * @change: a setting gets another value while the plugin is enabled, at once. FALSE with %PILOT_ERROR_NOT_SUPPORTED for one that cannot. NULL: none
 *   can. Since ABI 1.1
 *
 * Creating a plugin does nothing; enabling starts it. A plugin that was disabled, or whose enable failed, can be enabled again.
 * The functions left NULL do nothing and succeed. All are called in the host's main loop and must not block.
 */
struct _PilotPluginClass {
  GObjectClass parent_class;

  gboolean (*enable) (PilotPlugin *self,
                      GError **error);
  gboolean (*disable) (PilotPlugin *self,
                       GError **error);

  void (*enable_async) (PilotPlugin *self,
                        GCancellable *cancellable,
                        GAsyncReadyCallback callback,
                        gpointer user_data);
  gboolean (*enable_finish) (PilotPlugin *self,
                             GAsyncResult *result,
                             GError **error);
  void (*disable_async) (PilotPlugin *self,
                         GCancellable *cancellable,
                         GAsyncReadyCallback callback,
                         gpointer user_data);
  gboolean (*disable_finish) (PilotPlugin *self,
                              GAsyncResult *result,
                              GError **error);

  gboolean (*change) (PilotPlugin *self,
                      const gchar *key,
                      GVariant *value,
                      GError **error);

  gpointer padding[7];
};

/* One key a plugin understands in its part of the configuration. */
typedef struct
{
  const gchar *key;
  const gchar *type;        /* GVariant type: "s", "b", "x" (every whole number), "d", "as" */
  const gchar *description; /* one line, for people */
} PilotPluginSetting;

/* The word the plugin is known by everywhere: file, folder, configuration, log. Set by the host. */
PILOT_API const gchar *pilot_plugin_get_name (PilotPlugin *self);
/* (transfer none): the plugin's part of the configuration, of type a{sv}. Never NULL. */
PILOT_API GVariant *pilot_plugin_get_settings (PilotPlugin *self);
/* (nullable): the folder in which the daemon keeps its state; NULL when it keeps none. */
PILOT_API const gchar *pilot_plugin_get_state_dir (PilotPlugin *self);
/* Like g_variant_lookup() in the settings: FALSE when the key is absent or of another type. */
PILOT_API gboolean pilot_plugin_lookup_setting (PilotPlugin *self,
                                                const gchar *key,
                                                const gchar *format,
                                                ...);
/* FALSE with PILOT_ERROR_INVALID_ARGUMENT when the settings hold a key not in `known` (ends with a NULL key), or one of another
 * type. To be called first in enable: a misspelt key must not be ignored silently. */
PILOT_API gboolean pilot_plugin_check_settings (PilotPlugin *self,
                                                const PilotPluginSetting *known,
                                                GError **error);

/* For the host: has an enabled plugin change a setting; when it has, the settings hold the new value. */
PILOT_API gboolean pilot_plugin_change_setting (PilotPlugin *self,
                                                const gchar *key,
                                                GVariant *value,
                                                GError **error);
/* For the host. Each _async call is followed by its _finish. */
PILOT_API void pilot_plugin_enable_async (PilotPlugin *self,
                                          GCancellable *cancellable,
                                          GAsyncReadyCallback callback,
                                          gpointer user_data);
PILOT_API gboolean pilot_plugin_enable_finish (PilotPlugin *self,
                                               GAsyncResult *result,
                                               GError **error);
PILOT_API void pilot_plugin_disable_async (PilotPlugin *self,
                                           GCancellable *cancellable,
                                           GAsyncReadyCallback callback,
                                           gpointer user_data);
PILOT_API gboolean pilot_plugin_disable_finish (PilotPlugin *self,
                                                GAsyncResult *result,
                                                GError **error);

/* The one symbol a module exports. Read as data, before any code of the module is called. */
typedef struct
{
  guint32 magic;
  guint32 size; /* of this struct when the module was built */
  guint32 abi_major;
  guint32 abi_minor;
  guint32 kind; /* PilotPluginKind */
  guint32 reserved;
  const gchar *name; /* equals the file's name without ".so" */
  const gchar *description;
  GType (*get_type) (void);
  gpointer padding[8];
} PilotPluginDescriptor;

#define PILOT_PLUGIN_SYMBOL "pilot_plugin_descriptor"

/* Exists in modules only. */
PILOT_API const PilotPluginDescriptor pilot_plugin_descriptor;

/**
 * PILOT_PLUGIN_DEFINE:
 * @kind_: a #PilotPluginKind
 * @name_: the plugin's name; the module's file is `NAME.so`
 * @description_: one line, for people
 * @get_type_: the type function of the class the module brings
 *
 * Stands once in the module's source file.
 */
#define PILOT_PLUGIN_DEFINE(kind_, name_, description_, get_type_) \
  const PilotPluginDescriptor pilot_plugin_descriptor = {          \
    .magic = PILOT_PLUGIN_MAGIC,                                   \
    .size = sizeof (PilotPluginDescriptor),                        \
    .abi_major = PILOT_ABI_MAJOR,                                  \
    .abi_minor = PILOT_ABI_MINOR,                                  \
    .kind = (kind_),                                               \
    .name = (name_),                                               \
    .description = (description_),                                 \
    .get_type = (get_type_),                                       \
  };

G_END_DECLS
