/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/bench/load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * Bulk transfers. A client asks by one line, “BYTES KIND”, and is sent so many bytes; KIND is the congestion control of what sends them, - for the
 * usual one.
 *
 * send: answers everybody, in turn. take: takes what comes for so many seconds, and prints the Mbit/s of what came after the first SKIP of them. What is
 * counted at both ends of that time is the mean of its first and of its last tenth, as data comes in lumps. fetch: takes so many bytes and prints the
 * Mbit/s, without what came first. take-on: takes what comes until it is ended, and says “busy” when the transfer is under way.
 */

/* Small enough to stay in the cache of the processor: where a program has its data from is not what is measured. */
#define BLOCK (128 * 1024)
#define TURN (256 * 1024)
#define BUFFER (128 * 1024)
#define MOST_SECONDS 3600
#define SILENT_SECONDS 20
#define WITHOUT_END 1000000000000
#define UNDER_WAY (64 * 1024 * 1024)

typedef struct
{
  int fd;
  long left; /* -1: the question has not come whole */
  size_t n_question;
  char question[64];
} Sending;

/* --- send --- */

/* False when the question makes no sense. */
static bool
read_question (Sending *sending)
{
  const size_t room = sizeof sending->question - 1 - sending->n_question;
  const ssize_t got = recv (sending->fd, sending->question + sending->n_question, room, 0);
  char kind[16] = "-", *end;

  if (got < 0 && (errno == EAGAIN || errno == EINTR))
    return true;
  if (got <= 0)
    return false;
  sending->n_question += (size_t) got;
  if (sending->question[sending->n_question - 1] != '\n')
    return sending->n_question < sizeof sending->question - 1;
  sending->left = strtol (sending->question, &end, 10);
  if (sending->left < 0 || end == sending->question || (*end == ' ' && sscanf (end, "%15s", kind) != 1))
    return false;
  return strcmp (kind, "-") == 0 || setsockopt (sending->fd, IPPROTO_TCP, TCP_CONGESTION, kind, (socklen_t) strlen (kind)) == 0;
}

/* False when everything was sent, or nobody takes it. */
static bool
send_some (Sending *sending)
{
  static char block[BLOCK];
  long moved = 0;

  while (sending->left > 0 && moved < TURN) {
    const ssize_t put = send (sending->fd, block, sending->left < BLOCK ? (size_t) sending->left : BLOCK, MSG_NOSIGNAL);

    if (put < 0)
      return errno == EAGAIN || errno == EINTR;
    sending->left -= put;
    moved += put;
  }
  return sending->left > 0;
}

static bool
serve_one (int epoll, Sending *sending)
{
  if (sending->left < 0) {
    struct epoll_event event = { .events = EPOLLOUT, .data = { .ptr = sending } };

    if (!read_question (sending))
      return false;
    if (sending->left < 0)
      return true;
    if (epoll_ctl (epoll, EPOLL_CTL_MOD, sending->fd, &event) != 0)
      load_die ("epoll_ctl");
  }
  return send_some (sending);
}

static void
take_all (int epoll, int listening)
{
  int fd;

  while ((fd = accept4 (listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
    Sending *sending = calloc (1, sizeof *sending);

    if (sending == NULL)
      load_die ("calloc");
    sending->fd = fd;
    sending->left = -1;
    load_watch (epoll, fd, EPOLLIN, (epoll_data_t) { .ptr = sending });
  }
  if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
    load_die ("accept4");
}

void
load_send (const char *port)
{
  int listening = load_listen (port), epoll = load_epoll ();

  load_watch (epoll, listening, EPOLLIN, (epoll_data_t) { .ptr = NULL });
  for (;;) {
    struct epoll_event events[LOAD_EVENTS];
    const int n = load_wait (epoll, events, -1);

    for (int i = 0; i < n; i++) {
      Sending *sending = events[i].data.ptr;

      if (sending == NULL)
        take_all (epoll, listening);
      else if (!serve_one (epoll, sending)) {
        close (sending->fd);
        free (sending);
      }
    }
  }
}

/* --- take, fetch --- */

static int
ask (const char *address, const char *port, long bytes, const char *kind)
{
  const struct timeval silent = { .tv_sec = SILENT_SECONDS };
  struct sockaddr_in to = load_name (address, port);
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

  if (fd < 0 || setsockopt (fd, SOL_SOCKET, SO_RCVTIMEO, &silent, sizeof silent) != 0 || connect (fd, (struct sockaddr *) &to, sizeof to) != 0)
    load_die ("cannot connect");
  if (dprintf (fd, "%ld %s\n", bytes, kind) < 0)
    load_die ("cannot ask");
  return fd;
}

/* The mean of when it was, and of what had come by then. */
typedef struct
{
  double seconds, bytes;
  long n;
} Edge;

static void
note (Edge *edge, double seconds, double bytes)
{
  edge->seconds += seconds;
  edge->bytes += bytes;
  edge->n++;
}

static double
seconds_of (const char *text)
{
  char *end;
  const double seconds = strtod (text, &end);

  if (end == text || *end != '\0' || !(seconds >= 0 && seconds <= MOST_SECONDS)) {
    fprintf (stderr, "load: “%s” is not a number of seconds up to %d\n", text, MOST_SECONDS);
    exit (2);
  }
  return seconds;
}

void
load_take (const char *address, const char *port, const char *seconds, const char *skip, const char *kind)
{
  static char buffer[BUFFER];
  const double until = seconds_of (seconds), from = seconds_of (skip), tenth = (until - from) / 10;
  int fd = ask (address, port, WITHOUT_END, kind);
  const double began = load_now ();
  Edge first = { 0 }, last = { 0 };
  double bytes = 0;

  for (double at = 0; at < until; at = load_now () - began) {
    ssize_t got;

    if (at >= from && (at < from + tenth || first.n == 0))
      note (&first, at, bytes);
    else if (at >= until - tenth)
      note (&last, at, bytes);
    got = recv (fd, buffer, sizeof buffer, 0);
    if (got <= 0)
      load_die ("the connection ended");
    bytes += (double) got;
  }
  note (&last, load_now () - began, bytes);
  if (first.n == 0) {
    fprintf (stderr, "load: nothing came\n");
    exit (1);
  }
  printf ("%f\n", (last.bytes / (double) last.n - first.bytes / (double) first.n) * 8e-6 / (last.seconds / (double) last.n - first.seconds / (double) first.n));
  close (fd);
}

void
load_fetch (const char *address, const char *port, const char *bytes)
{
  static char buffer[BUFFER];
  const long wanted = load_number (bytes, WITHOUT_END);
  int fd = ask (address, port, wanted, "-");
  double began = 0;
  long first = 0, taken = 0;
  ssize_t got;

  while ((got = recv (fd, buffer, sizeof buffer, 0)) > 0) {
    taken += got;
    if (first == 0) {
      first = got;
      began = load_now ();
    }
  }
  if (got < 0 || taken != wanted) {
    fprintf (stderr, "load: %ld of %ld bytes came\n", taken, wanted);
    exit (1);
  }
  printf ("%f\n", (double) (taken - first) * 8e-6 / (load_now () - began));
  close (fd);
}

void
load_take_on (const char *address, const char *port)
{
  static char buffer[BUFFER];
  int fd = ask (address, port, WITHOUT_END, "-");
  ssize_t got;

  for (long taken = 0; (got = recv (fd, buffer, sizeof buffer, 0)) > 0; taken += got)
    if (taken < UNDER_WAY && taken + got >= UNDER_WAY) {
      printf ("busy\n");
      fflush (stdout);
    }
  load_die ("the connection ended");
}
