/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

#include "pilot-macros.h"

G_BEGIN_DECLS

/**
 * PILOT_ERROR:
 *
 * The one error domain of Pilot. Every code has a name on D-Bus (`network.pilotprotocol.Pilot1.Error.NotFound`) and the
 * word the command line prints (`not_found`); both are registered on first use of the domain. Codes are only ever appended.
 */
#define PILOT_ERROR (pilot_error_quark ())

typedef enum {
  PILOT_ERROR_FAILED,            /* "internal": a fault of ours, or one nobody classified */
  PILOT_ERROR_INVALID_ARGUMENT,  /* "invalid_argument": malformed or out of range */
  PILOT_ERROR_NOT_FOUND,         /* "not_found" */
  PILOT_ERROR_ALREADY_EXISTS,    /* "already_exists": in use, or mapped to another */
  PILOT_ERROR_NOT_RUNNING,       /* "not_running": daemon, gateway or helper */
  PILOT_ERROR_PERMISSION_DENIED, /* "permission_denied": this caller may not */
  PILOT_ERROR_CONNECTION_FAILED, /* "connection_failed" */
  PILOT_ERROR_TIMEOUT,           /* "timeout" */
  PILOT_ERROR_TRUST_REQUIRED,    /* "trust_required": the peer is not trusted */
  PILOT_ERROR_EXHAUSTED,         /* "exhausted": no address, port or slot left */
  PILOT_ERROR_NOT_SUPPORTED,     /* "not_supported" */
  PILOT_ERROR_IO,                /* "io_error": the system refused: disk, socket */
  PILOT_ERROR_CONFLICT,          /* "conflict": overlaps something of somebody else's */
  PILOT_ERROR_CORRUPT,           /* "corrupt": stored or received data makes no sense */
  PILOT_ERROR_REFUSED,           /* "refused": the other side said no */
  PILOT_ERROR_NEEDS_PRIVILEGE,   /* "needs_privilege": a privilege of the daemon is missing */
  PILOT_ERROR_CANCELLED,         /* "cancelled" */
  PILOT_ERROR_BUSY,              /* "busy": try again */
  PILOT_ERROR_KEY_MISMATCH,      /* "key_mismatch": a peer's key is not the one on record */
  PILOT_ERROR_N_CODES
} PilotError;

PILOT_API GQuark pilot_error_quark (void);

/* The command line's word for a code, "internal" for an unknown one. Never NULL. */
PILOT_API const gchar *pilot_error_code_to_string (PilotError code);
/* FALSE (and `code` untouched) when the word is none of ours. */
PILOT_API gboolean pilot_error_code_from_string (const gchar *word,
                                                 PilotError *code);
/* Folds any GError to a code of ours: our own domain as it is, G_IO_ERROR and G_FILE_ERROR by meaning, others FAILED. */
PILOT_API PilotError pilot_error_code (const GError *error);

/* A hint tells the person what to do next. It travels inside the message, behind the ASCII unit separator (0x1F), so that it
 * survives D-Bus and g_propagate_prefixed_error(). Print with pilot_error_dup_message(), never `error->message` itself. */
#define PILOT_ERROR_HINT_SEPARATOR "\x1f"

/* Adds (or replaces) the hint; NULL removes it. */
PILOT_API void pilot_error_set_hint (GError *error,
                                     const gchar *format,
                                     ...) G_GNUC_PRINTF (2, 3);
/* (nullable): the hint, owned by the error. */
PILOT_API const gchar *pilot_error_get_hint (const GError *error);
/* (transfer full): the message without the hint and without GDBus's "GDBus.Error:…: " prefix. */
PILOT_API gchar *pilot_error_dup_message (const GError *error);

/* (transfer full): an outside text made fit for a message: at most 80 bytes of `text` (`length` bytes, -1 when terminated),
 * valid UTF-8, what cannot be printed as \xNN or \uNNNN, "…" where it was cut. Never pass outside text to a message without it. */
PILOT_API gchar *pilot_error_quote (const gchar *text,
                                    gssize length);

G_END_DECLS
