/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/*
 * PilotConfig: what the daemon was told. Precedence: flag, environment, file (config.json), default. Keys as the Go daemon's where it has them
 * (cli.md 5.2), '-' and '_' alike. Unknown keys are told, and preserved when it is rewritten.
 */
#define PILOT_TYPE_CONFIG (pilot_config_get_type ())
G_DECLARE_FINAL_TYPE (PilotConfig, pilot_config, PILOT, CONFIG, GObject)

PilotConfig *pilot_config_new (void);
/* A missing file is fine; a corrupt one is CORRUPT and is left untouched; INVALID_ARGUMENT when what is true or false is neither. */
gboolean pilot_config_load (PilotConfig *config, const char *path, GError **error);
/* Tells the log of keys in the file that nobody knows, and what they may have been meant to be. */
void pilot_config_warn_of_unknown (PilotConfig *config);
/* Says that @key cannot be @value: INVALID_ARGUMENT, and always FALSE. @expected: "auto or off". */
gboolean pilot_config_refuse (const char *key, const char *value, const char *expected, GError **error);
void pilot_config_set_flag (PilotConfig *config, const char *key, const char *value);
const char *pilot_config_get (PilotConfig *config, const char *key); /* NULL = not set anywhere and no default */
gboolean pilot_config_get_boolean (PilotConfig *config, const char *key);
gint64 pilot_config_get_int (PilotConfig *config, const char *key);
/* Whether flag, environment or file say something of it. */
gboolean pilot_config_is_set (PilotConfig *config, const char *key);
/* What "transport" came to (transport-choice.h): compat mode, or UDP. */
void pilot_config_set_compat (PilotConfig *config, gboolean compat);
gboolean pilot_config_is_compat (PilotConfig *config);
/* (transfer full) (nullable): "HOST:PORT" of "compat_beacon". */
char *pilot_config_get_compat_address (PilotConfig *config);
/* "pinned" or "system": how the certificate of the compat beacon is checked. */
const char *pilot_config_get_compat_trust (PilotConfig *config);
/* "required", "optional" or "disabled" for a plugin (object "plugins" of the file; defaults built in). */
const char *pilot_config_get_plugin_mode (PilotConfig *config, const char *plugin);
/* Settings object of a plugin ("plugin-settings": { NAME: {…} }) as a{sv}, with global keys that concern it merged; floating, never NULL. */
GVariant *pilot_config_get_plugin_settings (PilotConfig *config, const char *plugin);
/* Writes one key, durably (set-hostname and the like): to the file, or with "system" to settings.json in the state directory, which goes
 * before the file. Other keys of the file stay as they are there now. IO when it cannot be written, CORRUPT when it is none any more; then nothing has
 * changed. */
gboolean pilot_config_store (PilotConfig *config, const char *key, const char *value, GError **error);
/* Where state lives: ~/.pilot, or $STATE_DIRECTORY of the service. */
const char *pilot_config_get_state_directory (PilotConfig *config);
/* Where the private bus socket is: $XDG_RUNTIME_DIR/pilot/bus, else STATE/bus; /run/pilot/bus for the service. */
const char *pilot_config_get_bus_path (PilotConfig *config);

G_END_DECLS
