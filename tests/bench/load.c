/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/bench/load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/*
 * load serve PORT | load connect ADDRESS PORT AT_ONCE EACH | load round-trip ADDRESS PORT
 * load send PORT | load take ADDRESS PORT SECONDS SKIP KIND | load fetch ADDRESS PORT BYTES | load take-on ADDRESS PORT
 *
 * The two ends of what tools/bench measures. One process and one epoll loop each, so that what is measured is what lies between them and not the
 * ends. The second line is transfer.c.
 *
 * serve: echoes. connect: so many connections at a time, AT_ONCE × EACH in all, each of one byte there and back; prints connections a second and how
 * many failed. round-trip: 64 bytes there and back, 3000 times after 200 that do not count; prints the median and the 99th percentile in µs.
 */

#define BACKLOG 1024
#define GIVE_UP_SECONDS 30
#define MESSAGE 64
#define ROUND_TRIPS 3000
#define ROUND_TRIPS_BEFORE 200

typedef struct
{
  int fd; /* -1: none */
  bool sent;
  double began;
} Connection;

typedef struct
{
  struct sockaddr_in to;
  int epoll;
  Connection *connections;
  long n, to_begin, to_end, failed;
} Run;

void
load_die (const char *what)
{
  fprintf (stderr, "load: %s: %s\n", what, strerror (errno));
  exit (1);
}

double
load_now (void)
{
  struct timespec at;

  clock_gettime (CLOCK_MONOTONIC, &at);
  return (double) at.tv_sec + (double) at.tv_nsec * 1e-9;
}

long
load_number (const char *text, long most)
{
  char *end;
  long value = strtol (text, &end, 10);

  if (*text == '\0' || *end != '\0' || value < 1 || value > most) {
    fprintf (stderr, "load: “%s” is not a number from 1 to %ld\n", text, most);
    exit (2);
  }
  return value;
}

struct sockaddr_in
load_name (const char *address, const char *port)
{
  struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons ((uint16_t) load_number (port, 65535)) };

  if (inet_pton (AF_INET, address, &name.sin_addr) != 1) {
    fprintf (stderr, "load: “%s” is not an IPv4 address\n", address);
    exit (2);
  }
  return name;
}

int
load_epoll (void)
{
  int fd = epoll_create1 (EPOLL_CLOEXEC);

  if (fd < 0)
    load_die ("epoll_create1");
  return fd;
}

void
load_watch (int epoll, int fd, uint32_t events, epoll_data_t data)
{
  struct epoll_event event = { .events = events, .data = data };

  if (epoll_ctl (epoll, EPOLL_CTL_ADD, fd, &event) != 0)
    load_die ("epoll_ctl");
}

/* How many of the LOAD_EVENTS there is room for. */
int
load_wait (int epoll, struct epoll_event *events, int milliseconds)
{
  int n = epoll_wait (epoll, events, LOAD_EVENTS, milliseconds);

  if (n < 0 && errno != EINTR)
    load_die ("epoll_wait");
  return n > 0 ? n : 0;
}

int
load_listen (const char *port)
{
  struct sockaddr_in name = load_name ("0.0.0.0", port);
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

  if (fd < 0 || setsockopt (fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 || setsockopt (fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
      bind (fd, (struct sockaddr *) &name, sizeof name) != 0 || listen (fd, BACKLOG) != 0)
    load_die ("cannot listen");
  return fd;
}

/* --- serve --- */

/* False when the connection is over. */
static bool
echo (int fd)
{
  char data[4096];
  ssize_t got = recv (fd, data, sizeof data, 0);

  if (got < 0 && (errno == EAGAIN || errno == EINTR))
    return true;
  return got > 0 && send (fd, data, (size_t) got, MSG_NOSIGNAL) == got;
}

static void
take_all (int epoll, int listening)
{
  int fd;

  while ((fd = accept4 (listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
    /* The question often stands there already. */
    if (echo (fd))
      load_watch (epoll, fd, EPOLLIN, (epoll_data_t) { .fd = fd });
    else
      close (fd);
  }
  if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
    load_die ("accept4");
}

static void
serve (const char *port)
{
  int listening = load_listen (port), epoll = load_epoll ();

  load_watch (epoll, listening, EPOLLIN, (epoll_data_t) { .fd = listening });
  for (;;) {
    struct epoll_event events[LOAD_EVENTS];
    const int n = load_wait (epoll, events, -1);

    for (int i = 0; i < n; i++) {
      int fd = events[i].data.fd;

      if (fd == listening)
        take_all (epoll, listening);
      else if (!echo (fd))
        close (fd);
    }
  }
}

/* --- connect --- */

static void
end (Run *run, Connection *connection, bool well)
{
  if (connection->fd >= 0)
    close (connection->fd);
  connection->fd = -1;
  run->failed += !well;
  run->to_end--;
}

static bool
send_question (Connection *connection)
{
  connection->sent = send (connection->fd, "x", 1, MSG_NOSIGNAL) == 1;
  return connection->sent || errno == EAGAIN;
}

static void
begin_next (Run *run, Connection *connection)
{
  /* One that fails at once makes room for the next. */
  while (run->to_begin > 0) {
    run->to_begin--;
    connection->began = load_now ();
    connection->fd = socket (AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd >= 0 && (connect (connection->fd, (struct sockaddr *) &run->to, sizeof run->to) == 0 || errno == EINPROGRESS) &&
        send_question (connection)) {
      load_watch (run->epoll, connection->fd, connection->sent ? EPOLLIN : EPOLLIN | EPOLLOUT | EPOLLET, (epoll_data_t) { .ptr = connection });
      return;
    }
    end (run, connection, false);
  }
}

static void
replace (Run *run, Connection *connection, bool well)
{
  end (run, connection, well);
  begin_next (run, connection);
}

static void
on_event (Run *run, Connection *connection)
{
  char answer;
  ssize_t got;

  if (!connection->sent && !send_question (connection)) {
    replace (run, connection, false);
    return;
  }
  got = recv (connection->fd, &answer, 1, 0);
  if (got >= 0 || (errno != EAGAIN && errno != EINTR))
    replace (run, connection, got == 1 && answer == 'x');
}

static void
give_up_late (Run *run)
{
  for (long i = 0; i < run->n; i++) {
    Connection *connection = &run->connections[i];

    if (connection->fd >= 0 && load_now () - connection->began > GIVE_UP_SECONDS)
      replace (run, connection, false);
  }
}

static void
count_connections (const char *address, const char *port, const char *at_once, const char *each)
{
  Run run = { .to = load_name (address, port), .epoll = load_epoll (), .n = load_number (at_once, 100000) };
  const long total = run.n * load_number (each, 1000000);
  double began;

  run.to_begin = run.to_end = total;
  run.connections = calloc ((size_t) run.n, sizeof *run.connections);
  if (run.connections == NULL)
    load_die ("calloc");
  began = load_now ();
  for (long i = 0; i < run.n; i++) {
    run.connections[i].fd = -1;
    begin_next (&run, &run.connections[i]);
  }
  while (run.to_end > 0) {
    struct epoll_event events[LOAD_EVENTS];
    const int n = load_wait (run.epoll, events, 1000);

    for (int i = 0; i < n; i++)
      on_event (&run, events[i].data.ptr);
    if (n == 0)
      give_up_late (&run);
  }
  printf ("%f %ld\n", (double) total / (load_now () - began), run.failed);
  free (run.connections);
}

/* --- round-trip --- */

static int
compare (const void *a, const void *b)
{
  double left = *(const double *) a, right = *(const double *) b;

  return (left > right) - (left < right);
}

static void
time_round_trips (const char *address, const char *port)
{
  static double times[ROUND_TRIPS];
  struct sockaddr_in to = load_name (address, port);
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
  char message[MESSAGE] = { 0 };

  if (fd < 0 || setsockopt (fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 || connect (fd, (struct sockaddr *) &to, sizeof to) != 0)
    load_die ("cannot connect");
  for (int i = -ROUND_TRIPS_BEFORE; i < ROUND_TRIPS; i++) {
    double began = load_now ();

    if (send (fd, message, sizeof message, MSG_NOSIGNAL) != MESSAGE || recv (fd, message, sizeof message, MSG_WAITALL) != MESSAGE)
      load_die ("the connection broke");
    if (i >= 0)
      times[i] = (load_now () - began) * 1e6;
  }
  close (fd);
  qsort (times, ROUND_TRIPS, sizeof *times, compare);
  printf ("%f %f\n", times[ROUND_TRIPS / 2], times[ROUND_TRIPS * 99 / 100]);
}

int
main (int argc, char **argv)
{
  struct rlimit files;

  if (getrlimit (RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit (RLIMIT_NOFILE, &files);
  }
  if (argc == 3 && strcmp (argv[1], "serve") == 0)
    serve (argv[2]);
  else if (argc == 6 && strcmp (argv[1], "connect") == 0)
    count_connections (argv[2], argv[3], argv[4], argv[5]);
  else if (argc == 4 && strcmp (argv[1], "round-trip") == 0)
    time_round_trips (argv[2], argv[3]);
  else if (argc == 3 && strcmp (argv[1], "send") == 0)
    load_send (argv[2]);
  else if (argc == 7 && strcmp (argv[1], "take") == 0)
    load_take (argv[2], argv[3], argv[4], argv[5], argv[6]);
  else if (argc == 5 && strcmp (argv[1], "fetch") == 0)
    load_fetch (argv[2], argv[3], argv[4]);
  else if (argc == 4 && strcmp (argv[1], "take-on") == 0)
    load_take_on (argv[2], argv[3]);
  else {
    fprintf (stderr, "usage: load serve PORT | load connect ADDRESS PORT AT_ONCE EACH | load round-trip ADDRESS PORT\n"
                     "       load send PORT | load take ADDRESS PORT SECONDS SKIP KIND | load fetch ADDRESS PORT BYTES | load take-on ADDRESS PORT\n");
    return 2;
  }
  return 0;
}
