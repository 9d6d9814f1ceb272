/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <json-glib/json-glib.h>
#include <pilot.h>

G_BEGIN_DECLS

/* The longest trust.json that is read, in bytes. */
#define TRUST_DOCUMENT_MAX_LENGTH (16 * 1024 * 1024)

/**
 * trust_document_parse:
 * @now: unix seconds: revoked entries that ended before are left out
 * @records: (element-type PilotTrustRecord): what was read is appended
 * @rest: (out) (transfer full): the whole top-level object, for its keys that are not ours
 *
 * Reads trust.json (trust.md section 9). An entry whose time cannot be read is left out, as the Go daemon does; anything else that is
 * wrong is PILOT_ERROR_CORRUPT.
 */
gboolean trust_document_parse (const gchar *data,
                               gsize length,
                               gint64 now,
                               GPtrArray *records,
                               JsonObject **rest,
                               GError **error);

/* (transfer full): the text the Go daemon would write: two-space indent, no final newline. `records` in the order to be written;
 * keys of `rest` (nullable) that are not ours follow. */
gchar *trust_document_format (GPtrArray *records,
                              JsonObject *rest);

G_END_DECLS
