/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Seconds of "300ms", "5s", "1h30m" or a plain number of seconds (cli.md 1.1); 0 for anything else, and for what is not above 0. */
double duration_parse (const char *text);

G_END_DECLS
