/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Tells the service manager how we are, when there is one (sd_notify(3): one datagram to $NOTIFY_SOCKET): "READY=1", "STOPPING=1",
 * "STATUS=…". Without one it does nothing; one that cannot be told is a warning, because nothing else can be done about it. */
void pilot_service_manager_notify (const char *message);

G_END_DECLS
