/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/*
 * PilotCore: the list of the daemon's parts. Starts them in order, stops those that run in the opposite order, each within a deadline.
 * Knows none of them.
 */
#define PILOT_TYPE_CORE (pilot_core_get_type ())
G_DECLARE_FINAL_TYPE (PilotCore, pilot_core, PILOT, CORE, GObject)

/* A step of a part: returns on @task (transfer full), TRUE or an error, now or later. NULL in the list: nothing to do. A start that may take long
 * looks at the cancellable of its task: it is cancelled when a stop is wanted meanwhile. */
typedef void (*PilotCoreStep) (gpointer part, GTask *task);

/* @deadline_ms: for each step of each part. */
PilotCore *pilot_core_new (guint deadline_ms);
/* Before start. @name for messages; @part stands until the core is gone. */
void pilot_core_add (PilotCore *core, const char *name, PilotCoreStep start, PilotCoreStep stop, gpointer part);
/* When a part fails, or is not up in time, the parts before it are stopped again and its error is returned. A stop during the start ends it
 * likewise, with CANCELLED. */
void pilot_core_start_async (PilotCore *core, GAsyncReadyCallback callback, gpointer user_data);
gboolean pilot_core_start_finish (PilotCore *core, GAsyncResult *result, GError **error);
/* Always completes; a part that fails or takes too long is named in a warning, and the rest is stopped all the same. */
void pilot_core_stop_async (PilotCore *core, GAsyncReadyCallback callback, gpointer user_data);
gboolean pilot_core_stop_finish (PilotCore *core, GAsyncResult *result, GError **error);

G_END_DECLS
