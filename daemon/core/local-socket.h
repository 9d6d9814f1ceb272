/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>
#include <sys/types.h>

G_BEGIN_DECLS

/* Sockets in the file system that local programs talk to. */

/* Makes way for a socket of ours at @path: one that a killed daemon left, which answers nobody, is removed. ALREADY_EXISTS when somebody answers there,
 * INVALID_ARGUMENT when the path is too long; @flag names the option that gives another path. */
gboolean pilot_local_socket_clear (const char *path, const char *flag, GError **error);

/* Where a socket of ours stands: its file is removed only while it is still the same one. */
typedef struct {
  dev_t device;
  ino_t inode;
} PilotLocalSocketId;

/* A listening, non-blocking socket at @path, mode 0600 from before the first moment anybody can connect. -1 with an error: those of clear, IO. */
int pilot_local_socket_listen (const char *path, const char *flag, int backlog, PilotLocalSocketId *id, GError **error);
void pilot_local_socket_unlink (const char *path, const PilotLocalSocketId *id);

G_END_DECLS
