/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Does this process hold CAP_NET_ADMIN effectively? */
gboolean pilot_capability_has_net_admin (void);
/* Gives up every capability but CAP_NET_ADMIN and CAP_NET_BIND_SERVICE, in all sets, the bounding set where allowed, and the way to
 * get any back by executing something (no_new_privs). */
gboolean pilot_capability_drop_others (GError **error);

G_END_DECLS
