/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/core/config.h"

G_BEGIN_DECLS

/* Through which HTTP proxy the daemon connects (beacon-and-nat.md section 8.3). What these return may hold credentials: it goes to whoever dials,
 * never into a log or a message. */

/* FALSE with INVALID_ARGUMENT when "proxy" is neither auto nor off nor http://[USER:PASSWORD@]HOST:PORT. */
gboolean pilot_proxy_check (PilotConfig *config, GError **error);
/* (transfer full) (nullable): the proxy on the way to @host; NULL = none. A named proxy serves every host; "auto" takes it from the environment
 * (HTTPS_PROXY, ALL_PROXY and the same in small letters, less NO_PROXY), and only in compat mode. Loopback is never proxied. */
char *pilot_proxy_find (PilotConfig *config, const char *host, gboolean compat);
/* (transfer full): @url without what stands before the '@'. */
char *pilot_proxy_redact (const char *url);

G_END_DECLS
