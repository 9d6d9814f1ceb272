/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Kinds of proxies for every GSocketClient of the process, by the scheme of the URL. May be called more than once.
 *
 * "https", in the place of GIO's own: that one compares the certificate with the address the proxy's name has led to, and not with the name, so nearly
 * no certificate passes (GLib 2.74).
 *
 * PILOT_PROXY_HTTP: GIO's "http" under another name, because libsoup makes CONNECT itself for "http", and repeats what was refused up to twenty times
 * when the proxy keeps the connection (libsoup 3.2). */
#define PILOT_PROXY_HTTP "pilot-http"
void pilot_proxy_kinds_register (void);

G_END_DECLS
