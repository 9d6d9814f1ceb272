/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilot-json.h"

#include <math.h>
#include <string.h>

#include "pilot-error.h"

/* Where the scan is. The containers it is inside of are bits of `stack`: 1 for an object. Nothing recurses. */
typedef struct
{
  const gchar *start;
  const gchar *p;
  const gchar *end;
  const gchar *problem;
} Scan;

#define DEPTH_LIMIT 512

static gboolean
fail (Scan *scan,
      const gchar *problem)
{
  scan->problem = problem;
  return FALSE;
}

static void
skip_space (Scan *scan)
{
  while (scan->p < scan->end && (*scan->p == ' ' || *scan->p == '\t' || *scan->p == '\n' || *scan->p == '\r'))
    scan->p++;
}

static gboolean
scan_word (Scan *scan,
           const gchar *word)
{
  const gsize length = strlen (word);

  if ((gsize) (scan->end - scan->p) < length || memcmp (scan->p, word, length) != 0)
    return fail (scan, "unknown word");
  scan->p += length;
  return TRUE;
}

static gboolean
scan_digits (Scan *scan)
{
  const gchar *first = scan->p;

  while (scan->p < scan->end && g_ascii_isdigit (*scan->p))
    scan->p++;
  return scan->p > first || fail (scan, "digit expected");
}

static gboolean
check_integer (Scan *scan,
               const gchar *first)
{
  const gboolean negative = *first == '-';
  const guint64 limit = negative ? (guint64) G_MAXINT64 + 1 : (guint64) G_MAXINT64;
  guint64 sum = 0;

  for (const gchar *p = first + negative; p < scan->p; p++) {
    const guint64 digit = (guint64) (*p - '0');

    if (sum > (limit - digit) / 10)
      return fail (scan, "whole number out of range");
    sum = sum * 10 + digit;
  }
  return TRUE;
}

/* The text need not be terminated, so what stands behind the number must not be read with it. */
static gboolean
check_double (Scan *scan,
              const gchar *first)
{
  gchar copy[128];
  const gsize length = (gsize) (scan->p - first);

  if (length >= sizeof copy)
    return fail (scan, "number too long");
  memcpy (copy, first, length);
  copy[length] = '\0';
  return isfinite (g_ascii_strtod (copy, NULL)) || fail (scan, "number out of range");
}

static gboolean
scan_number (Scan *scan)
{
  const gchar *first = scan->p;
  gboolean whole = TRUE;

  if (*scan->p == '-')
    scan->p++;
  if (scan->p < scan->end && *scan->p == '0')
    scan->p++;
  else if (!scan_digits (scan))
    return FALSE;
  if (scan->p < scan->end && *scan->p == '.') {
    whole = FALSE;
    scan->p++;
    if (!scan_digits (scan))
      return FALSE;
  }
  if (scan->p < scan->end && (*scan->p == 'e' || *scan->p == 'E')) {
    whole = FALSE;
    scan->p++;
    if (scan->p < scan->end && (*scan->p == '+' || *scan->p == '-'))
      scan->p++;
    if (!scan_digits (scan))
      return FALSE;
  }
  return whole ? check_integer (scan, first) : check_double (scan, first);
}

static gboolean
scan_hex4 (Scan *scan,
           guint *unit)
{
  *unit = 0;
  if (scan->end - scan->p < 4)
    return fail (scan, "unfinished escape");
  for (guint i = 0; i < 4; i++) {
    const gint digit = g_ascii_xdigit_value (*scan->p++);

    if (digit < 0)
      return fail (scan, "bad escape");
    *unit = *unit << 4 | (guint) digit;
  }
  return TRUE;
}

static gboolean
scan_escape (Scan *scan)
{
  guint unit;

  if (scan->p >= scan->end)
    return fail (scan, "unfinished escape");
  if (*scan->p != 'u') {
    if (*scan->p == '\0' || strchr ("\"\\/bfnrt", *scan->p) == NULL)
      return fail (scan, "bad escape");
    scan->p++;
    return TRUE;
  }
  scan->p++;
  if (!scan_hex4 (scan, &unit))
    return FALSE;
  if (unit == 0)
    return fail (scan, "zero character");
  if (unit >= 0xdc00 && unit <= 0xdfff)
    return fail (scan, "lone surrogate");
  if (unit < 0xd800 || unit > 0xdbff)
    return TRUE;
  if (scan->end - scan->p < 2 || scan->p[0] != '\\' || scan->p[1] != 'u')
    return fail (scan, "lone surrogate");
  scan->p += 2;
  if (!scan_hex4 (scan, &unit))
    return FALSE;
  return (unit >= 0xdc00 && unit <= 0xdfff) || fail (scan, "lone surrogate");
}

static gboolean
scan_string (Scan *scan)
{
  if (scan->p >= scan->end || *scan->p != '"')
    return fail (scan, "string expected");
  scan->p++;
  while (scan->p < scan->end) {
    const guchar c = (guchar) *scan->p++;

    if (c == '"')
      return TRUE;
    if (c < 0x20)
      return fail (scan, "control character in a string");
    if (c == '\\' && !scan_escape (scan))
      return FALSE;
  }
  return fail (scan, "unfinished string");
}

static gboolean
scan_scalar (Scan *scan)
{
  if (scan->p >= scan->end)
    return fail (scan, "value expected");
  switch (*scan->p) {
  case '"':
    return scan_string (scan);
  case 't':
    return scan_word (scan, "true");
  case 'f':
    return scan_word (scan, "false");
  case 'n':
    return scan_word (scan, "null");
  default:
    if (*scan->p == '-' || g_ascii_isdigit (*scan->p))
      return scan_number (scan);
    return fail (scan, "value expected");
  }
}

static gboolean
scan_member_name (Scan *scan)
{
  skip_space (scan);
  if (!scan_string (scan))
    return FALSE;
  skip_space (scan);
  if (scan->p >= scan->end || *scan->p != ':')
    return fail (scan, "colon expected");
  scan->p++;
  return TRUE;
}

static gboolean
scan_document (Scan *scan,
               guint max_depth)
{
  guint8 is_object[DEPTH_LIMIT];
  guint depth = 0;

  for (;;) {
    gboolean opened = FALSE;

    skip_space (scan);
    if (scan->p < scan->end && (*scan->p == '{' || *scan->p == '[')) {
      if (depth >= MIN (max_depth, DEPTH_LIMIT))
        return fail (scan, "nested too deeply");
      is_object[depth++] = *scan->p++ == '{';
      opened = TRUE;
    } else if (!scan_scalar (scan)) {
      return FALSE;
    }
    /* Behind a value: out of as many containers as end here, or on to the next value. */
    for (;;) {
      if (depth == 0)
        return TRUE;
      skip_space (scan);
      if (scan->p >= scan->end)
        return fail (scan, "unfinished");
      if (*scan->p == (is_object[depth - 1] ? '}' : ']')) {
        scan->p++;
        depth--;
        opened = FALSE;
        continue;
      }
      if (!opened) {
        if (*scan->p != ',')
          return fail (scan, "comma expected");
        scan->p++;
      }
      if (is_object[depth - 1] && !scan_member_name (scan))
        return FALSE;
      break;
    }
  }
}

gboolean
pilot_json_scan (const gchar *data,
                 gsize length,
                 gsize max_length,
                 guint max_depth,
                 GError **error)
{
  Scan scan = { data, data, data + length, NULL };

  g_return_val_if_fail (data != NULL || length == 0, FALSE);

  if (length > max_length) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "JSON of %" G_GSIZE_FORMAT " bytes (max %" G_GSIZE_FORMAT ")",
                 length, max_length);
    return FALSE;
  }
  if (!g_utf8_validate_len (data, length, NULL)) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "bad JSON: not UTF-8, or with a zero byte");
    return FALSE;
  }
  if (scan_document (&scan, max_depth)) {
    skip_space (&scan);
    if (scan.p == scan.end)
      return TRUE;
    scan.problem = "something behind the end";
  }
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "bad JSON at byte %" G_GSIZE_FORMAT ": %s",
               (gsize) (scan.p - scan.start), scan.problem);
  return FALSE;
}
