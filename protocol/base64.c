/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/crypto.h"

#include <string.h>

/* GLib's decoder skips what it does not know and accepts unused bits, so one key would have many texts; this one has its own. */

static const gchar ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static gint
digit_value (gchar c)
{
  if (c >= 'A' && c <= 'Z')
    return c - 'A';
  if (c >= 'a' && c <= 'z')
    return c - 'a' + 26;
  if (c >= '0' && c <= '9')
    return c - '0' + 52;
  if (c == '+')
    return 62;
  if (c == '/')
    return 63;
  return -1;
}

gchar *
pilot_base64_encode_to (gconstpointer data, gsize size, gchar *text)
{
  const guint8 *bytes = data;
  gchar *out = text;

  for (gsize i = 0; i < size; i += 3) {
    gsize left = MIN (size - i, 3);
    guint32 group = (guint32) bytes[i] << 16;

    if (left > 1)
      group |= (guint32) bytes[i + 1] << 8;
    if (left > 2)
      group |= bytes[i + 2];
    *out++ = ALPHABET[group >> 18];
    *out++ = ALPHABET[group >> 12 & 63];
    *out++ = left > 1 ? ALPHABET[group >> 6 & 63] : '=';
    *out++ = left > 2 ? ALPHABET[group & 63] : '=';
  }
  *out = '\0';
  return text;
}

gchar *
pilot_base64_encode (gconstpointer data, gsize size)
{
  return pilot_base64_encode_to (data, size, g_malloc ((size + 2) / 3 * 4 + 1));
}

/* The text is complete groups of four. Returns the bytes written or -1. `unused` collects the bits that
 * no byte took. */
static gssize
decode_groups (const gchar *text, gsize length, guint8 *data, gsize size, gboolean skip_newlines, guint *unused)
{
  gsize written = 0;
  guint32 group = 0;
  guint digits = 0, padding = 0;

  *unused = 0;
  for (gsize i = 0; i < length; i++) {
    gint value = digit_value (text[i]);

    if (skip_newlines && (text[i] == '\r' || text[i] == '\n'))
      continue;
    if (text[i] == '=' && digits >= 2 && digits + padding < 4) {
      padding++;
      continue;
    }
    if (value < 0 || padding > 0)
      return -1;
    group = group << 6 | (guint) value;
    if (++digits < 4)
      continue;
    if (size - written < 3)
      return -1;
    data[written++] = group >> 16;
    data[written++] = group >> 8 & 0xff;
    data[written++] = group & 0xff;
    group = 0;
    digits = 0;
  }
  if (digits == 0)
    return padding == 0 ? (gssize) written : -1;
  if (digits + padding != 4 || size - written < digits - 1)
    return -1;
  if (digits == 3) {
    data[written++] = group >> 10;
    data[written++] = group >> 2 & 0xff;
    *unused = group & 3;
  } else {
    data[written++] = group >> 4;
    *unused = group & 15;
  }
  return written;
}

gboolean
pilot_base64_decode (const gchar *text, gssize length, guint8 *data, gsize size)
{
  gsize have = length < 0 ? strlen (text) : (gsize) length;
  guint unused;

  if (have != (size + 2) / 3 * 4)
    return FALSE;
  return decode_groups (text, have, data, size, FALSE, &unused) == (gssize) size && unused == 0;
}

gssize
pilot_base64_decode_tolerant (const gchar *text, guint8 *data, gsize size)
{
  guint unused;

  return decode_groups (text, strlen (text), data, size, TRUE, &unused);
}
