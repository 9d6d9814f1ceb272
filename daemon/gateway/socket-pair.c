/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/gateway/socket-pair.h"

#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "libpilot/pilot-error.h"

gboolean
pilot_socket_pair_new (int fds[2], GError **error)
{
  int one = 1;

  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot make a pair of sockets: %s", g_strerror (errno));
    return FALSE;
  }
  if (ioctl (fds[0], FIONBIO, &one) != 0 || write (fds[1], "", 1) != 1) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot prepare a pair of sockets: %s", g_strerror (errno));
    close (fds[0]);
    close (fds[1]);
    return FALSE;
  }
  return TRUE;
}

static gboolean
at_end (int fd)
{
  struct pollfd state = { .fd = fd, .events = POLLRDHUP };

  return poll (&state, 1, 0) == 1 && (state.revents & (POLLRDHUP | POLLHUP)) != 0;
}

/* The spans behind a byte for the one that is taken away, cut to @length bytes after it. */
static gssize
take (int fd, const struct iovec *spans, guint n_spans, gsize length)
{
  char known;
  struct iovec cut[3] = { { &known, 1 } };
  guint n = 1;

  for (guint i = 0; i < n_spans && length > 0; i++) {
    cut[n] = spans[i];
    cut[n].iov_len = MIN (cut[n].iov_len, length);
    length -= cut[n++].iov_len;
  }
  return readv (fd, cut, (int) n);
}

static guint8 *
place (const struct iovec *spans, gsize offset)
{
  while (offset >= spans->iov_len)
    offset -= (spans++)->iov_len;
  return (guint8 *) spans->iov_base + offset;
}

gssize
pilot_socket_pair_readv (int fd, const struct iovec *spans, guint n_spans, gsize length)
{
  int waiting = 0;
  gssize got;

  /* First, so that what was sent before the end is not overtaken by it. */
  gboolean end = at_end (fd);

  if (ioctl (fd, SIOCINQ, &waiting) != 0)
    return -1;
  if (waiting <= 1) {
    errno = EAGAIN;
    return end ? 0 : -1;
  }
  length = MIN (length, (gsize) waiting - 1);
  got = take (fd, spans, n_spans, length - 1);
  if (got <= 0)
    return got;
  /* `got` counts the byte taken away, and the one that is only looked at takes its place. */
  if (recv (fd, place (spans, (gsize) got - 1), 1, MSG_PEEK | MSG_DONTWAIT) != 1)
    return -1;
  return got;
}

void
pilot_socket_pair_close (int fd)
{
  char known;

  (void) !recv (fd, &known, 1, MSG_DONTWAIT);
  close (fd);
}
