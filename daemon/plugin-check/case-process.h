/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/**
 * case_process_run:
 * @module: the file of the plugin
 * @assignments: (nullable): its settings, KEY=VALUE
 * @name: the case
 * @output: (out) (transfer full): what it printed
 * @why: (out) (transfer full) (nullable): how it ended, when that was not well
 *
 * Runs one case in a process of its own, a minute at most.
 *
 * Returns: whether it ended well
 */
gboolean case_process_run (const gchar *module,
                           gchar **assignments,
                           const gchar *name,
                           gchar **output,
                           gchar **why);

G_END_DECLS
