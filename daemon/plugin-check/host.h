/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/core/plugin/call.h"

/* Makes and enables a plugin of that type as the loader would; `settings` (floating, nullable) as in the configuration. */
gpointer host_new (GType type,
                   const gchar *name,
                   const gchar *state_dir,
                   GVariant *settings);
gboolean host_enable (gpointer plugin,
                      GError **error);
gboolean host_disable (gpointer plugin,
                       GError **error);
/* "{'key': <'value'>}" */
GVariant *host_settings (const gchar *text);
