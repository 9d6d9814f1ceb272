/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/* Runs a shell command that prints the URL of a proxy. It is given 7 s; then, and when @cancellable is cancelled, it is killed with everything it has
 * started and that has not left its process group. */
void pilot_proxy_command_async (const gchar *command,
                                GCancellable *cancellable,
                                GAsyncReadyCallback callback,
                                gpointer user_data);
/* (transfer full) (nullable): the URL, as pilot_proxy_normalize() gives it. The words of an error hold nothing of what was printed. */
gchar *pilot_proxy_command_finish (GAsyncResult *result,
                                   GError **error);

G_END_DECLS
