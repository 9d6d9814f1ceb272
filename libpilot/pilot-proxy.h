/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

#include "pilot-macros.h"

G_BEGIN_DECLS

#define PILOT_TYPE_PROXY_RESOLVER (pilot_proxy_resolver_get_type ())
PILOT_API
G_DECLARE_FINAL_TYPE (PilotProxyResolver, pilot_proxy_resolver, PILOT, PROXY_RESOLVER, GObject)

/**
 * pilot_proxy_normalize:
 * @url: http://, https:// or socks5:// (or socks5h://, the same), [USER:PASSWORD@]HOST[:PORT]; credentials with %xx
 *
 * The URL as GIO takes it, with a port: 80, 443 or 1080 where there is none. It holds whatever credentials @url holds: it goes to whoever dials,
 * never into a log or a message.
 *
 * Returns: (transfer full) (nullable): %NULL when it is no such URL
 */
PILOT_API gchar *pilot_proxy_normalize (const gchar *url);

/**
 * pilot_proxy_resolver_new:
 * @url: (nullable): the proxy, as pilot_proxy_normalize() takes it
 * @command: (nullable): a shell command that prints the URL of the proxy to use now, in the place of @url
 *
 * Names one proxy for every address, for #GSocketClient and libsoup, which do the rest: HTTP CONNECT (the target's name as it is), TLS with an
 * https:// proxy (its certificate checked against the system's store and the name in the URL), SOCKS 5. What @command has printed holds for 60 s,
 * or until pilot_proxy_resolver_refuse(); it is given 7 s. When it fails nothing is dialled past the proxy: the lookup fails, with words that hold
 * nothing of its output. At least one of both is given.
 *
 * Returns: (transfer full)
 */
PILOT_API PilotProxyResolver *pilot_proxy_resolver_new (const gchar *url,
                                                        const gchar *command);

/**
 * pilot_proxy_resolver_refuse:
 *
 * The proxy did not take the credentials (beacon-and-nat.md section 8.3).
 *
 * Returns: %TRUE when there is a command, which is asked anew by the next lookup: worth another attempt, once
 */
PILOT_API gboolean pilot_proxy_resolver_refuse (PilotProxyResolver *self);

/**
 * pilot_proxy_is_refusal:
 *
 * Returns: whether a connection failed with @error because the proxy wants (other) credentials, or answered what is no answer
 */
PILOT_API gboolean pilot_proxy_is_refusal (const GError *error);

G_END_DECLS
