/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Who listens on @port so that @address:@port cannot be bound: "nginx (pid 812, user www-data)", as far as this process may know;
 * "another program (user 33)" when it may not see the process. NULL when nobody is found. Reads /proc: not for the data path. (transfer full) */
char *pilot_port_holder_describe (guint32 address, guint16 port);

G_END_DECLS
