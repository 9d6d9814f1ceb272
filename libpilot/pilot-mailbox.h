/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/*
 * What the data exchange has left on disk (services.md 3.8), for those who look at it: the daemon for desktop tools, pilotctl also when no daemon
 * runs. Not part of the library that plugins see. Everything blocks; links and what is half written are passed over.
 */
typedef enum {
  PILOT_MAILBOX_INBOX,    /* inbox/<id>.json: messages */
  PILOT_MAILBOX_RECEIVED, /* received/<name>: files */
} PilotMailbox;

/* An entry: a message without its ".json", or a file. */
typedef struct {
  char *name;
  guint64 bytes;
  gint64 modified; /* us since 1970 */
} PilotMailboxEntry;

/* A message that was read. */
typedef struct {
  char *id, *from, *type, *received_at, *message_id, *reply_to; /* "" = none */
  char *encoding;                                               /* "utf8" or "base64" */
  gint64 bytes;
  GBytes *data;     /* as it was sent */
  gboolean is_text; /* type TEXT or JSON, and valid UTF-8 */
} PilotMailboxMessage;

void pilot_mailbox_message_free (PilotMailboxMessage *message);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotMailboxMessage, pilot_mailbox_message_free)

/* (transfer full) The folder of a mailbox below a state directory. */
char *pilot_mailbox_folder (const char *state, PilotMailbox mailbox);
/* (transfer full) PilotMailboxEntry elements, newest first. A folder that is not there is empty. */
GPtrArray *pilot_mailbox_list (const char *state, PilotMailbox mailbox, GError **error);
/* NOT_FOUND; CORRUPT for a file that is no message. */
PilotMailboxMessage *pilot_mailbox_read (const char *state, const char *id, GError **error);
/* (transfer full) The beginning of a text, at most @length characters, on one line and fit for a terminal; "" for what is no text. */
char *pilot_mailbox_preview (const PilotMailboxMessage *message, gsize length);
/* A descriptor for reading, or -1. NOT_FOUND also for what is no regular file or a name with a slash. */
int pilot_mailbox_open (const char *state, PilotMailbox mailbox, const char *name, GError **error);
gboolean pilot_mailbox_delete (const char *state, PilotMailbox mailbox, const char *name, GError **error);
/* Files that came in part and wait to be continued: deletes those last written before @before (us since 1970). Returns how many. */
guint pilot_mailbox_delete_partials (const char *state, gint64 before);

G_END_DECLS
