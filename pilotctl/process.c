/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of a file that holds a number and a line end. */
#define PID_FILE_MAX 64

void
process_clear (Process *process)
{
  if (process->fd >= 0)
    close (process->fd);
  process->fd = -1;
}

/* All four of its user ids (real, effective, saved, of the file system): a program with the set-user-ID bit is not its caller's alone. */
static gboolean
is_of (pid_t pid, guint32 uid)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/status", (int) pid), *status = NULL;
  const char *line;
  guint ids[4];

  if (!g_file_get_contents (path, &status, NULL, NULL))
    return FALSE;
  line = strstr (status, "\nUid:");
  return line != NULL && sscanf (line, "\nUid: %u %u %u %u", &ids[0], &ids[1], &ids[2], &ids[3]) == 4 && ids[0] == uid && ids[1] == uid && ids[2] == uid && ids[3] == uid;
}

gboolean
process_open (Process *process, gint64 pid, guint32 uid, GError **error)
{
  *process = (Process) PROCESS_NONE;
  if (pid <= 0 || pid > G_MAXINT || (process->fd = (int) syscall (SYS_pidfd_open, (pid_t) pid, 0)) < 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, _("the process of the daemon cannot be seen from here"));
    return FALSE;
  }
  process->pid = (pid_t) pid;
  /* Looked at after it was taken hold of: were it another one by now, nothing would come of a signal. */
  if (is_of (process->pid, uid))
    return TRUE;
  process_clear (process);
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED, _("process %d is not user id %u's, whose daemon answers"), (int) pid, uid);
  return FALSE;
}

/* Is it that program, or has its number been given to another one? */
static gboolean
has_name (pid_t pid, const char *wanted)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/comm", (int) pid), *name = NULL;

  return g_file_get_contents (path, &name, NULL, NULL) && g_str_equal (g_strchomp (name), wanted);
}

/* The number in a file, and whose file it is. No link is followed: it would be the word of who made it, in another's name. */
static gboolean
read_pid (const char *path, gint64 *pid, guint32 *owner)
{
  int fd = open (path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  char text[PID_FILE_MAX + 1];
  struct stat info;
  gssize length;

  if (fd < 0)
    return FALSE;
  length = fstat (fd, &info) == 0 && S_ISREG (info.st_mode) ? read (fd, text, PID_FILE_MAX) : -1;
  close (fd);
  text[MAX (length, 0)] = '\0';
  *pid = g_ascii_strtoll (text, NULL, 10);
  *owner = info.st_uid;
  return length > 0;
}

gboolean
process_open_file (Process *process, const char *path, const char *name)
{
  guint32 owner;
  gint64 pid;

  if (!read_pid (path, &pid, &owner) || !process_open (process, pid, owner, NULL))
    return FALSE;
  if (has_name (process->pid, name))
    return TRUE;
  process_clear (process);
  return FALSE;
}

gboolean
process_signal (Process *process, int signal, GError **error)
{
  if (syscall (SYS_pidfd_send_signal, process->fd, signal, NULL, 0) == 0 || errno == ESRCH)
    return TRUE;
  g_set_error (error, PILOT_ERROR, errno == EPERM ? PILOT_ERROR_PERMISSION_DENIED : PILOT_ERROR_FAILED, _("cannot stop the daemon (pid %d): %s"), (int) process->pid,
               g_strerror (errno));
  return FALSE;
}

gboolean
process_wait (Process *process, guint seconds)
{
  struct pollfd poll_fd = { .fd = process->fd, .events = POLLIN };
  gint64 end = g_get_monotonic_time () + seconds * G_USEC_PER_SEC, left;
  int result = 0;

  /* A process that waits to be reaped by somebody else has ended too. */
  while (result <= 0 && (left = end - g_get_monotonic_time ()) > 0) {
    result = poll (&poll_fd, 1, (int) (left / 1000) + 1);
    if (result < 0 && errno != EINTR)
      return FALSE;
  }
  return result > 0;
}
