/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* A line on the terminal for what takes longer than a second, on stderr; nothing where that is no terminal. */
typedef struct _Progress Progress;

/* @total: bytes to come, 0 = not known. */
Progress *progress_new (guint64 total);
/* What stands in front of the line; outside text must be clean. NULL: nothing. */
void progress_set_name (Progress *progress, const char *name);
/* What is being done, in place of rate and time left. NULL: those. */
void progress_set_note (Progress *progress, const char *note);
void progress_set_total (Progress *progress, guint64 total);
/* Bytes there were before count for no rate: it is that of the last seconds. */
void progress_update (Progress *progress, guint64 done);
/* Wipes the line away. */
void progress_free (Progress *progress);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Progress, progress_free)

G_END_DECLS
