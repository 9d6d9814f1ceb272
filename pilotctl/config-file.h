/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>
#include <json-glib/json-glib.h>

G_BEGIN_DECLS

/* config.json as `init` and `config` see it; the daemon reads it by itself. */
char *config_file_folder (void); /* ~/.pilot */
char *config_file_path (void);
/* A missing file is an empty object; a corrupt one is CORRUPT. */
JsonObject *config_file_load (GError **error);
/* (transfer full): where a daemon whose configuration is in @folder keeps its state, unless an option told it otherwise. */
char *config_file_state_folder (const char *folder);
gboolean config_file_save (JsonObject *document, GError **error);
/* INVALID_ARGUMENT for an unknown key. @value "" removes it. */
gboolean config_file_set (JsonObject *document, const char *key, const char *value, GError **error);

G_END_DECLS
