/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>

G_BEGIN_DECLS

/* JSON from and to the network: json-glib behind the strict scan of libpilot/pilot-json.h.
 *
 * The getters follow registry.md "Value encoding rules": a member that is missing, null or of another type reads as zero. Where
 * that must be told apart there is a "read" function, which answers FALSE and leaves the value alone. */

/* (transfer full) The object a text holds; "null" is an empty one. Duplicate names: the last wins. PILOT_ERROR_CORRUPT for anything else.
 * `max_length` in bytes. */
JsonObject *pilot_json_parse_object (const gchar *data,
                                     gsize length,
                                     gsize max_length,
                                     GError **error);

/* A fraction is truncated; negative or too large reads as 0. */
guint32 pilot_json_get_uint32 (JsonObject *object,
                               const gchar *name);
guint16 pilot_json_get_uint16 (JsonObject *object,
                               const gchar *name);
/* A fraction is truncated. */
gint64 pilot_json_get_int64 (JsonObject *object,
                             const gchar *name);
gboolean pilot_json_get_boolean (JsonObject *object,
                                 const gchar *name);
/* Never NULL: "" if there is none. Borrowed from the object. */
const gchar *pilot_json_get_string (JsonObject *object,
                                    const gchar *name);
/* Borrowed; NULL if there is no such array or object. */
JsonArray *pilot_json_get_array (JsonObject *object,
                                 const gchar *name);
JsonObject *pilot_json_get_object (JsonObject *object,
                                   const gchar *name);
/* Element `index` as an object or a string, NULL if it is something else. Borrowed. */
JsonObject *pilot_json_array_get_object (JsonArray *array,
                                         guint index);
const gchar *pilot_json_array_get_string (JsonArray *array,
                                          guint index);

/* Present, of this type and in range. */
gboolean pilot_json_read_uint32 (JsonObject *object,
                                 const gchar *name,
                                 guint32 *value);
gboolean pilot_json_read_int64 (JsonObject *object,
                                const gchar *name,
                                gint64 *value);
gboolean pilot_json_read_boolean (JsonObject *object,
                                  const gchar *name,
                                  gboolean *value);
/* Borrowed. */
gboolean pilot_json_read_string (JsonObject *object,
                                 const gchar *name,
                                 const gchar **value);
/* Canonical base64 of exactly `size` bytes: a key (32) or a signature (64). */
gboolean pilot_json_read_base64 (JsonObject *object,
                                 const gchar *name,
                                 guint8 *data,
                                 gsize size);

/* (transfer full): one line without white space, names in the order of their bytes and strings escaped as Go's encoding/json does
 * with a map, so equal objects give equal bytes. */
gchar *pilot_json_print (JsonObject *object);

/* Appends `text` as a JSON string with its quotes, escaped as Go does: < > & U+2028 and U+2029 too; invalid UTF-8 becomes U+FFFD.
 * `length` -1 for a text that ends in zero. */
void pilot_json_append_string (GString *out,
                               const gchar *text,
                               gssize length);

G_END_DECLS
