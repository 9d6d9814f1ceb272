/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilot-address.h"

#include <string.h>

#include "pilot-error.h"

/* An unsigned decimal without sign, space or underscore; leading zeros are allowed, as in the reference implementation. */
static gboolean
parse_decimal (const gchar *text,
               gsize length,
               guint32 maximum,
               guint32 *value)
{
  guint64 sum = 0;

  if (length == 0)
    return FALSE;
  for (gsize i = 0; i < length; i++) {
    if (!g_ascii_isdigit (text[i]))
      return FALSE;
    sum = sum * 10 + (guint64) (text[i] - '0');
    if (sum > maximum)
      return FALSE;
  }
  *value = (guint32) sum;
  return TRUE;
}

/* what: "PART"remark, with PART made fit for a message. */
static void
set_invalid (GError **error,
             const gchar *part,
             gsize length,
             const gchar *what,
             const gchar *remark)
{
  g_autofree gchar *quoted = pilot_error_quote (part, (gssize) length);

  g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "%s: \"%s\"%s", what, quoted, remark);
}

static gboolean
parse_hex_group (const gchar *group,
                 guint16 *value,
                 GError **error)
{
  guint sum = 0;

  for (guint i = 0; i < 4; i++) {
    gint digit = g_ascii_xdigit_value (group[i]);

    if (digit < 0) {
      set_invalid (error, group, 4,
                   "invalid hex group", ": not four hex digits");
      return FALSE;
    }
    sum = sum << 4 | (guint) digit;
  }
  *value = (guint16) sum;
  return TRUE;
}

/* Points `groups` at the three groups of "NNNN.HHHH.LLLL". Their lengths are checked before any is converted. */
static gboolean
split_groups (const gchar *text,
              gsize length,
              const gchar *groups[3],
              GError **error)
{
  const gchar *start = text;
  gsize lengths[3];
  guint n = 0;

  for (const gchar *p = text;; p++) {
    if (p < text + length && *p != '.')
      continue;
    if (n < 3) {
      groups[n] = start;
      lengths[n] = (gsize) (p - start);
    }
    n++;
    if (p >= text + length)
      break;
    start = p + 1;
  }

  if (n != 3) {
    set_invalid (error, text, length,
                 "invalid address", " (expected 3 dot-separated hex groups)");
    return FALSE;
  }
  for (guint i = 0; i < 3; i++)
    if (lengths[i] != 4) {
      set_invalid (error, groups[i], lengths[i],
                   "invalid hex group", " (expected 4 digits)");
      return FALSE;
    }
  return TRUE;
}

static gboolean
parse_span (const gchar *text,
            gsize length,
            PilotAddress *address,
            GError **error)
{
  const gchar *colon = memchr (text, ':', length);
  const gchar *groups[3];
  guint32 network;
  guint16 repeated, high, low;

  if (colon == NULL) {
    set_invalid (error, text, length,
                 "invalid address", " (expected N:XXXX.YYYY.YYYY)");
    return FALSE;
  }
  if (!parse_decimal (text, (gsize) (colon - text), G_MAXUINT16, &network)) {
    set_invalid (error, text, (gsize) (colon - text),
                 "invalid network ID", ": not a number from 0 to 65535");
    return FALSE;
  }
  if (!split_groups (colon + 1, (gsize) (text + length - colon - 1), groups, error) ||
      !parse_hex_group (groups[0], &repeated, error))
    return FALSE;
  if (repeated != network) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
                 "network mismatch: decimal %" G_GUINT32_FORMAT " != hex 0x%04X", network, repeated);
    return FALSE;
  }
  if (!parse_hex_group (groups[1], &high, error) ||
      !parse_hex_group (groups[2], &low, error))
    return FALSE;

  address->network = (guint16) network;
  address->node = (guint32) high << 16 | low;
  return TRUE;
}

gboolean
pilot_address_parse (const gchar *text,
                     PilotAddress *address,
                     GError **error)
{
  g_return_val_if_fail (text != NULL && address != NULL, FALSE);

  return parse_span (text, strlen (text), address, error);
}

gboolean
pilot_address_parse_cli (const gchar *text,
                         PilotAddress *address,
                         GError **error)
{
  guint32 node;

  g_return_val_if_fail (text != NULL && address != NULL, FALSE);

  if (parse_decimal (text, strlen (text), G_MAXUINT32, &node)) {
    *address = (PilotAddress) { .network = 0, .node = node };
    return TRUE;
  }
  return pilot_address_parse (text, address, error);
}

gboolean
pilot_address_parse_socket (const gchar *text,
                            PilotAddress *address,
                            guint16 *port,
                            GError **error)
{
  const gchar *colon;
  PilotAddress parsed;
  guint32 number;

  g_return_val_if_fail (text != NULL && address != NULL && port != NULL, FALSE);

  colon = strrchr (text, ':');
  if (colon == NULL) {
    set_invalid (error, text, strlen (text),
                 "invalid socket address", " (no port)");
    return FALSE;
  }
  if (!parse_span (text, (gsize) (colon - text), &parsed, error))
    return FALSE;
  if (!parse_decimal (colon + 1, strlen (colon + 1), G_MAXUINT16, &number)) {
    set_invalid (error, colon + 1, strlen (colon + 1),
                 "invalid port", ": not a number from 0 to 65535");
    return FALSE;
  }
  *address = parsed;
  *port = (guint16) number;
  return TRUE;
}

gchar *
pilot_address_format (const PilotAddress *address,
                      gchar buffer[PILOT_ADDRESS_TEXT_SIZE])
{
  g_snprintf (buffer, PILOT_ADDRESS_TEXT_SIZE, "%u:%04X.%04X.%04X", address->network, address->network,
              address->node >> 16, address->node & 0xffff);
  return buffer;
}

gchar *
pilot_address_format_socket (const PilotAddress *address,
                             guint16 port,
                             gchar buffer[PILOT_SOCKET_ADDRESS_TEXT_SIZE])
{
  gchar text[PILOT_ADDRESS_TEXT_SIZE];

  g_snprintf (buffer, PILOT_SOCKET_ADDRESS_TEXT_SIZE, "%s:%u", pilot_address_format (address, text), port);
  return buffer;
}

gchar *
pilot_address_to_string (const PilotAddress *address)
{
  gchar text[PILOT_ADDRESS_TEXT_SIZE];

  return g_strdup (pilot_address_format (address, text));
}

void
pilot_address_pack (const PilotAddress *address,
                    guint8 bytes[PILOT_ADDRESS_SIZE])
{
  bytes[0] = (guint8) (address->network >> 8);
  bytes[1] = (guint8) address->network;
  bytes[2] = (guint8) (address->node >> 24);
  bytes[3] = (guint8) (address->node >> 16);
  bytes[4] = (guint8) (address->node >> 8);
  bytes[5] = (guint8) address->node;
}

void
pilot_address_unpack (const guint8 bytes[PILOT_ADDRESS_SIZE],
                      PilotAddress *address)
{
  address->network = (guint16) (bytes[0] << 8 | bytes[1]);
  address->node = (guint32) bytes[2] << 24 | (guint32) bytes[3] << 16 | (guint32) bytes[4] << 8 | bytes[5];
}

gboolean
pilot_address_equal (const PilotAddress *a,
                     const PilotAddress *b)
{
  return a->network == b->network && a->node == b->node;
}

gboolean
pilot_address_equal_func (gconstpointer a,
                          gconstpointer b)
{
  return pilot_address_equal (a, b);
}

guint
pilot_address_hash (gconstpointer address)
{
  const PilotAddress *a = address;

  return a->node * 2654435761u ^ a->network;
}

gboolean
pilot_address_is_zero (const PilotAddress *address)
{
  return address->network == 0 && address->node == 0;
}

gboolean
pilot_address_is_broadcast (const PilotAddress *address)
{
  return address->node == PILOT_NODE_BROADCAST;
}
