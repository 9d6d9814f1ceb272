/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "libpilot/pilot-endpoint.h"

G_BEGIN_DECLS

/* "HOST:PORT" of a listening socket; host empty, "*" or absent means every address, which is returned as [::]. A literal address only. */
gboolean pilot_socket_parse (const gchar *text,
                             PilotEndpoint *address,
                             GError **error);
/* A bound, non-blocking socket of SOCK_STREAM (not listening yet) or SOCK_DGRAM; -1 on error. [::] takes IPv4 too, and falls back
 * to 0.0.0.0 where the system has no IPv6; `is_ipv6` (out) says which kind it became. */
int pilot_socket_bind (const PilotEndpoint *address,
                       int type,
                       gboolean *is_ipv6,
                       GError **error);
/* Where it is bound. PILOT_ENDPOINT_NONE when it is not. */
void pilot_socket_get_address (int fd,
                               PilotEndpoint *address);

G_END_DECLS
