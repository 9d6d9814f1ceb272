/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/*
 * PilotBusyPoll: when a loop that has nothing left to do looks again for a moment instead of going to sleep, as the kernel does with SO_BUSY_POLL and KVM with
 * halt_poll_ns. To be woken takes 20 to 50 µs where a processor dozes off meanwhile (any virtual machine), and a question with its answer wakes six programs.
 *
 * Only while short messages follow each other closely, 16 turns in a row: then the next is waited for awake for up to 200 µs. One longer wait ends it, and so does a
 * turn that carried more than a short message: a transfer, or what comes now and then, never keeps a processor busy. Between two looks everybody else goes first; when that
 * takes long the processor is wanted, and it is left alone for a time that doubles, up to 8 s.
 *
 * No clock and no system call in here: the times are the caller's, in µs.
 */
#define PILOT_BUSY_POLL_LONGEST 200
#define PILOT_BUSY_POLL_STREAK 16
#define PILOT_BUSY_POLL_BYTES 1024
#define PILOT_BUSY_POLL_RETREAT_FIRST 125000
#define PILOT_BUSY_POLL_RETREAT_LAST 8000000

typedef struct {
  gint64 ended;      /* the last turn */
  gint64 looked;     /* the last look since then; 0 = none */
  gint64 not_before; /* others want the processor until then, as far as is known */
  gint64 retreat;    /* how long it was left to them the last time */
  guint streak;      /* short waits in a row */
  guint hits;        /* looks in a row that found something */
} PilotBusyPoll;

/* A turn begins, slept through until then or not; @bytes were carried by it when it ends. */
void pilot_busy_poll_turn_begins (PilotBusyPoll *rule, gint64 now);
void pilot_busy_poll_turn_ends (PilotBusyPoll *rule, gsize bytes, gint64 now);
/* Whether to look, for the first time after a turn or once more after others were let go first. FALSE: go to sleep. */
gboolean pilot_busy_poll_look (PilotBusyPoll *rule, gint64 now);

G_END_DECLS
