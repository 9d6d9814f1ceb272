/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <signal.h>

#include "pilotctl/command.h"

G_BEGIN_DECLS

/* A process that may be ended: held by a descriptor, so that its number cannot become another's, and looked at. */
typedef struct {
  pid_t pid;
  int fd; /* of the pid; -1 = none */
} Process;

#define PROCESS_NONE \
  {                  \
    0, -1            \
  }

void process_clear (Process *process);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Process, process_clear)

/* @pid must be a process of @uid, with no other's rights: root, who may end any, ends for a user what that user could end. NOT_RUNNING; PERMISSION_DENIED when it
 * is another's. */
gboolean process_open (Process *process, gint64 pid, guint32 uid, GError **error);
/* The process that a file names, when it is one of the file's owner and of the program @name. FALSE: there is none. */
gboolean process_open_file (Process *process, const char *path, const char *name);
gboolean process_signal (Process *process, int signal, GError **error);
/* FALSE when it has not ended within @seconds. */
gboolean process_wait (Process *process, guint seconds);

G_END_DECLS
