/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Whether the program at the other end of a TCP connection within this machine, from which the end was read, has closed it for good: shutdown (SHUT_WR)
 * and close() send the same FIN, but the kernel knows whether a program still holds the socket (sock_diag(7)). FALSE also when the kernel does not
 * tell, as for a connection from another network namespace. Does not block. */
gboolean pilot_socket_peer_closed (int fd);

/* The user of the program at the other end of such a connection. FALSE when the kernel does not tell: another network namespace, or the program has
 * closed its socket already. Does not block. */
gboolean pilot_socket_get_peer_uid (int fd, guint32 *uid);

G_END_DECLS
