/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

#include "protocol/exchange-frame.h"

G_BEGIN_DECLS

/*
 * What the data exchange keeps on disk (services.md 3.8): inbox/ and received/ below the state directory, folders 0700, files 0600.
 *
 * Everything here blocks and is called from worker threads, on arguments that belong to the call alone. File names are made here; of a name from
 * outside only what is harmless goes into them. Every file is created anew, written under a name that begins with a dot, and put in place without
 * replacing anything. Errors say what belongs behind "ERR <TYPE> save failed: ".
 */

/* Limits of v1.18; that of received/ is what one sender may have there, so that no one takes the room of others. */
#define PILOT_EXCHANGE_INBOX_FILES 10000
#define PILOT_EXCHANGE_INBOX_BYTES ((guint64) 256 * 1024 * 1024)
#define PILOT_EXCHANGE_RECEIVED_BYTES ((guint64) 2 * 1024 * 1024 * 1024)
/* Ours: v1.18 counts bytes only, and a million empty files are none. */
#define PILOT_EXCHANGE_RECEIVED_FILES 10000
/* All senders together may have so many times that. */
#define PILOT_EXCHANGE_RECEIVED_SHARES 4
/* Left free on the disk, whoever wants it. */
#define PILOT_EXCHANGE_DISK_RESERVE ((guint64) 16 * 1024 * 1024)

/* How much the inbox holds, as far as is known. */
typedef struct {
  gboolean known;
  gboolean measured; /* just now, by this call */
  guint64 bytes;
  guint files;
} PilotExchangeUsage;

typedef struct {
  const char *type; /* "TEXT", … */
  const char *from; /* address text */
  const char *message_id, *reply_to;
  gboolean binary, base64; /* base64 even where it is text */
  const guint8 *data;
  gsize length;
} PilotExchangeLetter;

/* Bytes of received/ that are promised to transfers under way and not on the disk yet: to all, and to this sender. */
typedef struct {
  guint64 all, own;
} PilotExchangePromised;

/* The state directory: makes the folders, clears what an earlier process left half written, and partials older than a week. */
gboolean pilot_exchange_store_prepare (const char *state, GError **error);

/* Writes a message. Where there is no room for it the oldest go. `usage`: of the inbox, brought up to date. (transfer full) its id: the name of its
 * file without ".json". */
char *pilot_exchange_store_letter (const char *state, const PilotExchangeLetter *letter, PilotExchangeUsage *usage, GError **error);

/* Writes a file that came whole. (transfer full) its name in received/. */
char *pilot_exchange_store_file (const char *state,
                                 guint32 sender,
                                 const char *name,
                                 const guint8 *data,
                                 gsize length,
                                 const PilotExchangePromised *promised,
                                 GError **error);

/* A file that comes in pieces. The partial file is named by transfer and sender: nobody continues, or spoils, what another began. */
typedef struct _PilotPartial PilotPartial;

/* `alone`: a partial of its own, that goes when it is not finished. Resumes what is there when it fits. */
PilotPartial *pilot_partial_open (const char *state,
                                  guint32 sender,
                                  const guint8 sha256[PILOT_SHA256_SIZE],
                                  guint64 size,
                                  gboolean alone,
                                  const PilotExchangePromised *promised,
                                  GError **error);
guint64 pilot_partial_get_cursor (PilotPartial *partial);
/* Appends. After PILOT_ERROR_EXHAUSTED, a full disk, the partial has been removed to free it. */
gboolean pilot_partial_append (PilotPartial *partial, const guint8 *data, gsize length, GError **error);
/* Verifies the whole and puts it in place. PILOT_ERROR_CORRUPT: other content, and the partial is gone, so that the next attempt begins anew.
 * `cancel`: looked at while a long file is read. (transfer full) its name in received/. */
char *pilot_partial_finish (PilotPartial *partial, const char *name, const gint *cancel, GError **error);
/* Keeps what is there for the next attempt, unless finished or alone. */
void pilot_partial_close (PilotPartial *partial);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotPartial, pilot_partial_close)

G_END_DECLS
