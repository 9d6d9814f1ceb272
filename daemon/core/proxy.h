/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/core/config.h"
#include "libpilot/pilot-proxy.h"

G_BEGIN_DECLS

/* Through which proxy the daemon connects (beacon-and-nat.md section 8.3). What these return may hold credentials: it goes to whoever dials,
 * never into a log or a message. */

/* FALSE with INVALID_ARGUMENT when "proxy" is neither auto nor off nor a URL that pilot_proxy_normalize() takes. */
gboolean pilot_proxy_check (PilotConfig *config, GError **error);
/* FALSE: no proxy on the way to @address, "HOST:PORT". A named proxy serves every host; "auto" takes it from the environment (HTTPS_PROXY, ALL_PROXY and the same in
 * small letters, less NO_PROXY), and only in compat mode. Loopback is never proxied. @url: (out) (transfer full) (nullable). @command: (out)
 * (nullable): "proxy_cmd", whose output goes before @url. One of both is not NULL. */
gboolean pilot_proxy_find (PilotConfig *config, const char *address, gboolean compat, char **url, const char **command);
/* (transfer full) (nullable): the same for whoever dials; NULL = no proxy. */
PilotProxyResolver *pilot_proxy_make_resolver (PilotConfig *config, const char *address, gboolean compat);
/* (transfer full): @url without what stands before the '@'. */
char *pilot_proxy_redact (const char *url);

G_END_DECLS
