/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

#include "pilot-macros.h"

G_BEGIN_DECLS

/* Bounds that suit everything this project reads, unless a message has its own. */
#define PILOT_JSON_MAX_DEPTH 32
#define PILOT_JSON_MAX_LENGTH (64 * 1024)

/**
 * pilot_json_scan:
 * @data: text from outside; need not end in zero
 * @length: its length in bytes
 * @max_length: the longest text that is accepted, in bytes
 * @max_depth: how many arrays and objects may stand inside each other
 *
 * Says whether the text is one strict RFC 8259 document. Text from outside passes here before json-glib sees it, because json-glib
 * recurses without bound, accepts comments, single quotes, empty input and trailing documents, and wraps large integers.
 *
 * Also refused, since no two readers agree on them: integers outside int64, numbers beyond the range of a double, "\u0000"
 * and lone surrogates in strings. Allocates nothing unless it fails.
 *
 * Returns: %TRUE if the text is sound, else %FALSE with PILOT_ERROR_CORRUPT
 */
PILOT_API gboolean pilot_json_scan (const gchar *data,
                                    gsize length,
                                    gsize max_length,
                                    guint max_depth,
                                    GError **error);

G_END_DECLS
