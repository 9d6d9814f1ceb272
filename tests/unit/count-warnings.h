/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* From count_warnings_begin() on warnings end no test, and are not printed: they are counted here. */
extern guint n_warnings;
void count_warnings_begin (void);

G_END_DECLS
