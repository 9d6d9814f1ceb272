/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>

/* The vectors of tests/vectors. Everything here ends the test when the data is not as expected. */

/* (transfer full) The object a file holds. */
JsonObject *vectors_load (const gchar *name);
/* (transfer full) The whole text of a file. */
gchar *vectors_load_text (const gchar *name);
/* (transfer full) Bytes of a hex text, one zero byte behind them; `length` (out) in bytes. */
guint8 *vectors_unhex (const gchar *hex, gsize *length);
/* (transfer full) Bytes of the hex text in a member. */
guint8 *vectors_hex_member (JsonObject *object, const gchar *name, gsize *length);
/* Exactly `size` bytes into `out`. */
void vectors_hex_into (JsonObject *object, const gchar *name, guint8 *out, gsize size);
