/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>
#include <sys/uio.h>

G_BEGIN_DECLS

/*
 * Two connected unix sockets, one for us, one for a program, that can tell the program of a reset.
 *
 * A unix socket knows FIN (shutdown) but has no way to send RST; the kernel makes one of it only when a socket is closed with something
 * unread in it: then the other side, once it has read what was sent to it, gets ECONNRESET instead of the end of file. So the last byte
 * that was taken from ours stays in its queue until the next ones come, and the first is put there before the program has its end.
 * Closing ours is then a reset; pilot_socket_pair_close() takes the byte away first.
 */

/* fds[0] is ours, non-blocking, to be read with pilot_socket_pair_readv() only; fds[1] the program's, blocking. IO. */
gboolean pilot_socket_pair_new (int fds[2], GError **error);
/* As readv(), at most @length bytes, which the spans must hold: 0 is the end, -1 with EAGAIN when there is nothing new. */
gssize pilot_socket_pair_readv (int fd, const struct iovec *spans, guint n_spans, gsize length);
/* Closes ours in order. */
void pilot_socket_pair_close (int fd);

G_END_DECLS
