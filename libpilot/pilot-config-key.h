/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/*
 * The keys of config.json, for the daemon that reads it and the tool that writes it. '-' and '_' are the same in a key. "PLUGIN.SETTING" is the plugin's to
 * judge, and what begins with '_' is a remark: both count as known.
 */

/* Whether a file may have it and be understood. */
gboolean pilot_config_key_is_known (const char *key);
/* Whether its value is a text: what is known, but no object and no remark. */
gboolean pilot_config_key_is_settable (const char *key);
/* (nullable): the known key that an unknown one most likely means, spelt with '_'. */
const char *pilot_config_key_find_nearest (const char *key);

G_END_DECLS
