/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* A port, 1 to 65535. INVALID_ARGUMENT. */
gboolean port_parse (const char *text, guint16 *port, GError **error);
/* A time of an option; NULL gives @standard. 0 ("for ever") can be said only where it is the standard. INVALID_ARGUMENT. */
gboolean seconds_parse (const char *text, double standard, double *seconds, GError **error);

/* Of g_get_monotonic_time(), so many seconds from now; 0 = never, G_MAXINT64. */
gint64 deadline_after (double seconds);

G_END_DECLS
