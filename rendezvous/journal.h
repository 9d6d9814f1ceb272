/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "rendezvous/store.h"

G_BEGIN_DECLS

/**
 * PilotJournal:
 *
 * Carries changes to the store in a thread of its own, since a commit waits for the disk and the loop also relays datagrams.
 * The thread is given data, never objects, and its result is applied in the loop. While one commit is on its way everything
 * that follows is gathered into the next one, so that the number of commits does not grow with the number of requests.
 */
typedef struct _PilotJournal PilotJournal;

/* Called in the loop. With `error` NULL, everything up to and including `ticket` is durable. With an error, the batch that
 * ended with `ticket` and all that was added after it are lost: load the state anew. */
typedef void (*PilotJournalFunc) (PilotJournal *journal,
                                  guint64 ticket,
                                  const GError *error,
                                  gpointer user_data);

/* The store must outlive the journal. The callback runs in the thread's default main context of the caller. */
PilotJournal *pilot_journal_new (PilotStore *store,
                                 PilotJournalFunc callback,
                                 gpointer user_data);
/* Waits for what was added, commits it and ends the thread. No callback is called any more. FALSE when the last commits failed. */
gboolean pilot_journal_close (PilotJournal *journal,
                              GError **error);

/* Takes the change. Returns its ticket: whoever answers for the change waits until it is durable. */
guint64 pilot_journal_add (PilotJournal *journal,
                           PilotStoreChange *change);
/* Like pilot_journal_add() for what need not be durable before an answer, such as last-seen times: it travels with the next
 * commit, at the latest when pilot_journal_flush() is called. */
void pilot_journal_add_lazy (PilotJournal *journal,
                             PilotStoreChange *change);
/* Starts a commit of what was added, unless one is on its way (it then follows at once). Call at the end of a turn of the loop. */
void pilot_journal_flush (PilotJournal *journal);
/* The newest ticket given out, and the newest durable one. */
guint64 pilot_journal_newest (PilotJournal *journal);
guint64 pilot_journal_durable (PilotJournal *journal);

G_END_DECLS
