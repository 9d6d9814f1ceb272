/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Claims a state directory (made 0700 if need be) for this process, until it ends however it may: flock on "pilot.lock", which holds our pid.
 * Returns the descriptor, or -1: ALREADY_EXISTS naming the other process, or IO. */
int pilot_lock_claim (const char *directory, GError **error);

G_END_DECLS
