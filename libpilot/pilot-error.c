/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilot-error.h"

#include <gio/gio.h>
#include <string.h>

#define DBUS_PREFIX "network.pilotprotocol.Pilot1.Error."

/* One table for the three spellings of a code: enum, D-Bus name, word of the command line. */
static const GDBusErrorEntry dbus_names[] = {
  { PILOT_ERROR_FAILED, DBUS_PREFIX "Failed" },
  { PILOT_ERROR_INVALID_ARGUMENT, DBUS_PREFIX "InvalidArgument" },
  { PILOT_ERROR_NOT_FOUND, DBUS_PREFIX "NotFound" },
  { PILOT_ERROR_ALREADY_EXISTS, DBUS_PREFIX "AlreadyExists" },
  { PILOT_ERROR_NOT_RUNNING, DBUS_PREFIX "NotRunning" },
  { PILOT_ERROR_PERMISSION_DENIED, DBUS_PREFIX "PermissionDenied" },
  { PILOT_ERROR_CONNECTION_FAILED, DBUS_PREFIX "ConnectionFailed" },
  { PILOT_ERROR_TIMEOUT, DBUS_PREFIX "Timeout" },
  { PILOT_ERROR_TRUST_REQUIRED, DBUS_PREFIX "TrustRequired" },
  { PILOT_ERROR_EXHAUSTED, DBUS_PREFIX "Exhausted" },
  { PILOT_ERROR_NOT_SUPPORTED, DBUS_PREFIX "NotSupported" },
  { PILOT_ERROR_IO, DBUS_PREFIX "IO" },
  { PILOT_ERROR_CONFLICT, DBUS_PREFIX "Conflict" },
  { PILOT_ERROR_CORRUPT, DBUS_PREFIX "Corrupt" },
  { PILOT_ERROR_REFUSED, DBUS_PREFIX "Refused" },
  { PILOT_ERROR_NEEDS_PRIVILEGE, DBUS_PREFIX "NeedsPrivilege" },
  { PILOT_ERROR_CANCELLED, DBUS_PREFIX "Cancelled" },
  { PILOT_ERROR_BUSY, DBUS_PREFIX "Busy" },
  { PILOT_ERROR_KEY_MISMATCH, DBUS_PREFIX "KeyMismatch" },
};

static const gchar *const words[] = {
  [PILOT_ERROR_FAILED] = "internal",
  [PILOT_ERROR_INVALID_ARGUMENT] = "invalid_argument",
  [PILOT_ERROR_NOT_FOUND] = "not_found",
  [PILOT_ERROR_ALREADY_EXISTS] = "already_exists",
  [PILOT_ERROR_NOT_RUNNING] = "not_running",
  [PILOT_ERROR_PERMISSION_DENIED] = "permission_denied",
  [PILOT_ERROR_CONNECTION_FAILED] = "connection_failed",
  [PILOT_ERROR_TIMEOUT] = "timeout",
  [PILOT_ERROR_TRUST_REQUIRED] = "trust_required",
  [PILOT_ERROR_EXHAUSTED] = "exhausted",
  [PILOT_ERROR_NOT_SUPPORTED] = "not_supported",
  [PILOT_ERROR_IO] = "io_error",
  [PILOT_ERROR_CONFLICT] = "conflict",
  [PILOT_ERROR_CORRUPT] = "corrupt",
  [PILOT_ERROR_REFUSED] = "refused",
  [PILOT_ERROR_NEEDS_PRIVILEGE] = "needs_privilege",
  [PILOT_ERROR_CANCELLED] = "cancelled",
  [PILOT_ERROR_BUSY] = "busy",
  [PILOT_ERROR_KEY_MISMATCH] = "key_mismatch",
};

G_STATIC_ASSERT (G_N_ELEMENTS (dbus_names) == PILOT_ERROR_N_CODES);
G_STATIC_ASSERT (G_N_ELEMENTS (words) == PILOT_ERROR_N_CODES);

GQuark
pilot_error_quark (void)
{
  static gsize quark;

  g_dbus_error_register_error_domain ("pilot-error-quark", &quark, dbus_names, G_N_ELEMENTS (dbus_names));
  return (GQuark) quark;
}

const gchar *
pilot_error_code_to_string (PilotError code)
{
  return (guint) code < G_N_ELEMENTS (words) ? words[code] : words[PILOT_ERROR_FAILED];
}

gboolean
pilot_error_code_from_string (const gchar *word,
                              PilotError *code)
{
  g_return_val_if_fail (word != NULL && code != NULL, FALSE);

  for (guint i = 0; i < G_N_ELEMENTS (words); i++)
    if (g_str_equal (words[i], word)) {
      *code = (PilotError) i;
      return TRUE;
    }
  return FALSE;
}

static PilotError
code_from_io (gint code)
{
  switch (code) {
  case G_IO_ERROR_NOT_FOUND:
    return PILOT_ERROR_NOT_FOUND;
  case G_IO_ERROR_EXISTS:
  case G_IO_ERROR_ADDRESS_IN_USE:
    return PILOT_ERROR_ALREADY_EXISTS;
  case G_IO_ERROR_INVALID_ARGUMENT:
  case G_IO_ERROR_INVALID_FILENAME:
    return PILOT_ERROR_INVALID_ARGUMENT;
  case G_IO_ERROR_PERMISSION_DENIED:
    return PILOT_ERROR_PERMISSION_DENIED;
  case G_IO_ERROR_NOT_SUPPORTED:
    return PILOT_ERROR_NOT_SUPPORTED;
  case G_IO_ERROR_CANCELLED:
    return PILOT_ERROR_CANCELLED;
  case G_IO_ERROR_BUSY:
  case G_IO_ERROR_WOULD_BLOCK:
    return PILOT_ERROR_BUSY;
  case G_IO_ERROR_TIMED_OUT:
    return PILOT_ERROR_TIMEOUT;
  case G_IO_ERROR_CONNECTION_REFUSED:
    return PILOT_ERROR_REFUSED;
  case G_IO_ERROR_HOST_NOT_FOUND:
  case G_IO_ERROR_HOST_UNREACHABLE:
  case G_IO_ERROR_NETWORK_UNREACHABLE:
  case G_IO_ERROR_CONNECTION_CLOSED:
  case G_IO_ERROR_NOT_CONNECTED:
    return PILOT_ERROR_CONNECTION_FAILED;
  case G_IO_ERROR_INVALID_DATA:
    return PILOT_ERROR_CORRUPT;
  default:
    return PILOT_ERROR_IO;
  }
}

static PilotError
code_from_file (gint code)
{
  switch (code) {
  case G_FILE_ERROR_NOENT:
    return PILOT_ERROR_NOT_FOUND;
  case G_FILE_ERROR_EXIST:
    return PILOT_ERROR_ALREADY_EXISTS;
  case G_FILE_ERROR_ACCES:
  case G_FILE_ERROR_PERM:
    return PILOT_ERROR_PERMISSION_DENIED;
  case G_FILE_ERROR_INVAL:
    return PILOT_ERROR_INVALID_ARGUMENT;
  default:
    return PILOT_ERROR_IO;
  }
}

PilotError
pilot_error_code (const GError *error)
{
  g_return_val_if_fail (error != NULL, PILOT_ERROR_FAILED);

  if (error->domain == PILOT_ERROR)
    return (guint) error->code < PILOT_ERROR_N_CODES ? (PilotError) error->code : PILOT_ERROR_FAILED;
  if (error->domain == G_IO_ERROR)
    return code_from_io (error->code);
  if (error->domain == G_FILE_ERROR)
    return code_from_file (error->code);
  return PILOT_ERROR_FAILED;
}

void
pilot_error_set_hint (GError *error,
                      const gchar *format,
                      ...)
{
  g_autofree gchar *hint = NULL;
  g_autofree gchar *message = NULL;
  gsize length;

  g_return_if_fail (error != NULL);

  length = strcspn (error->message, PILOT_ERROR_HINT_SEPARATOR);
  if (format != NULL) {
    va_list args;

    va_start (args, format);
    hint = g_strdup_vprintf (format, args);
    va_end (args);
  }
  message = error->message;
  if (hint != NULL)
    error->message = g_strdup_printf ("%.*s" PILOT_ERROR_HINT_SEPARATOR "%s", (int) length, message, hint);
  else
    error->message = g_strndup (message, length);
}

const gchar *
pilot_error_get_hint (const GError *error)
{
  const gchar *separator;

  g_return_val_if_fail (error != NULL, NULL);

  separator = strstr (error->message, PILOT_ERROR_HINT_SEPARATOR);
  return separator != NULL && separator[1] != '\0' ? separator + 1 : NULL;
}

gchar *
pilot_error_dup_message (const GError *error)
{
  g_autoptr (GError) copy = NULL;

  g_return_val_if_fail (error != NULL, NULL);

  copy = g_error_copy (error);
  g_dbus_error_strip_remote_error (copy);
  return g_strndup (copy->message, strcspn (copy->message, PILOT_ERROR_HINT_SEPARATOR));
}

gchar *
pilot_error_quote (const gchar *text,
                   gssize length)
{
  const gsize limit = 80;
  gsize size = length < 0 ? strlen (text) : (gsize) length;
  g_autofree gchar *valid = g_utf8_make_valid (text, (gssize) MIN (size, limit));
  GString *quoted = g_string_sized_new (limit);

  for (const gchar *p = valid; *p != '\0'; p = g_utf8_next_char (p)) {
    const gunichar c = g_utf8_get_char (p);

    /* Not only ASCII's: U+009B begins a sequence like ESC [ does, U+202E turns what follows round. */
    if (g_unichar_isprint (c))
      g_string_append_unichar (quoted, c);
    else
      g_string_append_printf (quoted, c < 0x100 ? "\\x%02x" : "\\u%04x", c);
  }
  if (size > limit)
    g_string_append (quoted, "…");
  return g_string_free (quoted, FALSE);
}
