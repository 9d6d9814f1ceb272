/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/*
 * Who sent what lies in received/. The names there do not tell (they are as the Go daemon makes them), so a file beside the folder does, a line for each.
 * It is lost without harm: a file that nobody is known to have sent counts for all together, and for no single one.
 *
 * Everything here blocks, and may be called from several worker threads at once.
 */

/* Adds a file that has been put into received/. What goes wrong is logged. */
void pilot_exchange_senders_note (const char *state, const char *name, guint32 sender);
/* (transfer full) name → GUINT_TO_POINTER (sender). `received`: the folder; lines of files that are gone from it are dropped now and then. */
GHashTable *pilot_exchange_senders_load (const char *state, int received);

G_END_DECLS
