/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/* (transfer full) A copy with one to four changes: bits, bytes, its end, a byte taken out, a run put in, its tail twice. It may be empty, and changes may
 * undo each other. The same generator makes the same changes. */
GByteArray *mangle (const guint8 *data, gsize size, GRand *rand);
/* (transfer full) The same, but never the model itself, with or without bytes behind its end, and never empty. */
GByteArray *mangle_for_sure (const guint8 *data, gsize size, GRand *rand);
