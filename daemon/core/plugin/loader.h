/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "libpilot/pilot.h"

G_BEGIN_DECLS

typedef enum {
  PILOT_PLUGIN_STATE_LOADED, /* an object exists, not (or no longer) enabled */
  PILOT_PLUGIN_STATE_ENABLED,
  PILOT_PLUGIN_STATE_FAILED,   /* `error` says why */
  PILOT_PLUGIN_STATE_DISABLED, /* by configuration: the file was not opened */
} PilotPluginState;

/* "loaded", "enabled", "failed", "disabled". */
const gchar *pilot_plugin_state_to_string (PilotPluginState state);

/* What is known of one plugin. Owned by the loader; changes when the state does, never goes away before the loader. */
typedef struct
{
  gchar *name;          /* the word for it everywhere; from the file's name */
  gchar *file;          /* full path; NULL when required but not found */
  gchar *description;   /* (nullable) */
  PilotPluginKind kind; /* NONE while not known */
  PilotPluginState state;
  gboolean required;
  gchar *error;        /* (nullable): one line */
  PilotPlugin *plugin; /* (nullable): NULL when it failed to load or is DISABLED */
} PilotPluginInfo;

/* (transfer floating or full) (nullable): the settings of one plugin as a{sv}. */
typedef GVariant *(*PilotPluginSettingsFunc) (const gchar *name,
                                              gpointer user_data);

/*
 * PilotPluginLoader: finds, checks, loads, enables and disables plugins. Knows no D-Bus.
 *
 * Modules stay resident for the life of the process. No failure is fatal but that of a plugin the configuration calls required.
 *
 * Signal "changed" (const PilotPluginInfo *): a state changed.
 */
#define PILOT_TYPE_PLUGIN_LOADER (pilot_plugin_loader_get_type ())
G_DECLARE_FINAL_TYPE (PilotPluginLoader, pilot_plugin_loader, PILOT, PLUGIN_LOADER, GObject)

/* `directories` (ends with NULL) are searched in that order; `state_dir` is handed to the plugins and may be NULL. */
PilotPluginLoader *pilot_plugin_loader_new (const gchar *const *directories,
                                            const gchar *state_dir);
/* NAME → "required", "optional" or "disabled"; a plugin not named is optional. Copied. Before load. */
gboolean pilot_plugin_loader_set_modes (PilotPluginLoader *self,
                                        GHashTable *modes,
                                        GError **error);
/* Before load. `user_data` must outlive the loader's load. */
void pilot_plugin_loader_set_settings (PilotPluginLoader *self,
                                       PilotPluginSettingsFunc func,
                                       gpointer user_data);
/* How long enable and disable of one plugin may take, in milliseconds. Default 20 s and 5 s. */
void pilot_plugin_loader_set_deadlines (PilotPluginLoader *self,
                                        guint enable_ms,
                                        guint disable_ms);
/* Opens every file "*.so". Once. FALSE only if a required plugin is missing or failed; all others were loaded all the same. */
gboolean pilot_plugin_loader_load (PilotPluginLoader *self,
                                   GError **error);
/* Enables what is loaded, all at the same time. FALSE in finish only if a required one failed. */
void pilot_plugin_loader_enable_async (PilotPluginLoader *self,
                                       GCancellable *cancellable,
                                       GAsyncReadyCallback callback,
                                       gpointer user_data);
gboolean pilot_plugin_loader_enable_finish (PilotPluginLoader *self,
                                            GAsyncResult *result,
                                            GError **error);
/* Disables what is enabled, all at the same time. Always completes; failures are in the infos. */
void pilot_plugin_loader_disable_async (PilotPluginLoader *self,
                                        GAsyncReadyCallback callback,
                                        gpointer user_data);
gboolean pilot_plugin_loader_disable_finish (PilotPluginLoader *self,
                                             GAsyncResult *result,
                                             GError **error);
/* (transfer container) (element-type PilotPluginInfo): all, in the order of their names. */
GPtrArray *pilot_plugin_loader_list (PilotPluginLoader *self);
/* (transfer none) (nullable) */
const PilotPluginInfo *pilot_plugin_loader_lookup (PilotPluginLoader *self,
                                                   const gchar *name);
/* (transfer none) (nullable): the enabled plugin of that kind called `name`; NULL: the first in the order of names. */
PilotPlugin *pilot_plugin_loader_get_enabled (PilotPluginLoader *self,
                                              PilotPluginKind kind,
                                              const gchar *name);

G_END_DECLS
