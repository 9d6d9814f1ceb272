/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* What a gateway leaves when no daemon runs: addresses on lo, and gateway.json, from which the next daemon would have its mappings again. */

/* Whether there are addresses of @uid's gateway. The kernel tells anybody; only root can take them away (pilot-helper --cleanup). */
gboolean leftovers_has_addresses (guint32 uid);
/* Forgets the mappings of the state directory @folder; *@found becomes TRUE when there were any. BUSY when a daemon has the folder after all, and only does
 * not answer. */
gboolean leftovers_forget_mappings (const char *folder, gboolean *found, GError **error);

G_END_DECLS
