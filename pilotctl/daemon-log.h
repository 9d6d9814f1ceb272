/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* What a daemon that pilotctl starts says: each run has a file of its own, pilot-PID.log, and pilot.log is a link to the newest. The last five are kept. */

/* (transfer full): a log that was begun as @first before the process was there gets its name in @folder, and old ones go, but those of processes that run.
 * Where it stays @first it could not be renamed. */
char *daemon_log_adopt (const char *folder, const char *first, gint64 pid);

/* (transfer full): the last line of a log, and the hint below it, if any; "" when it cannot be read. */
char *daemon_log_last_line (const char *path, char **hint);

/* (transfer full): the messages of the warnings in a log, for a line of a terminal each, up to NULL; none when it cannot be read. */
char **daemon_log_list_warnings (const char *path);

G_END_DECLS
