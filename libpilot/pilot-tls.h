/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

#include "pilot-macros.h"

G_BEGIN_DECLS

/**
 * pilot_tls_hide_address:
 * @connection: (transfer none): a #GTlsClientConnection that has not begun its handshake, as from %G_SOCKET_CLIENT_TLS_HANDSHAKING; others are left
 *   alone
 *
 * Takes a literal address out of the server name that a client sends. It has no place there (RFC 6066 section 3), but GIO puts it there; and GnuTLS
 * servers, our rendezvous among them, refuse the handshake when it is one of IPv6. The certificate is compared with the address as before.
 */
PILOT_API void pilot_tls_hide_address (GIOStream *connection);

G_END_DECLS
