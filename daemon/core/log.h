/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Sets how the daemon logs: to the journal with its fields when it is started by the service manager, else one line an entry on standard error,
 * as text ("2026-11-24T01:20:00Z warning node: …") or as JSON. @level: "debug", "info", "warn", "error". INVALID_ARGUMENT for another word. */
gboolean pilot_log_init (const char *level, const char *format, GError **error);

G_END_DECLS
