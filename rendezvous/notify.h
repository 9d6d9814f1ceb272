/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* sd_notify(3) without libsystemd: one datagram to $NOTIFY_SOCKET. TRUE when there is no such socket, too. */
gboolean pilot_notify (const gchar *state,
                       GError **error);

G_END_DECLS
