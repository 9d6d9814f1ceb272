/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* pilot-wire: a long cable between two TAP devices, for kernels without netem. Run by tools/lab inside a network namespace of the lab. */

#include "wire-link.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Frames read from one side before the other gets its turn. */
#define BATCH 256

typedef struct
{
  int taps[2];
  WireLink *links[2]; /* links[i] carries what came in at taps[i] to taps[1 - i] */
  uint64_t refused;   /* frames the kernel did not take, because the device was down */
  WireSettings settings;
  int timer;
  int control;
  int signals;
  int poll;
} Wire;

static uint64_t
now_ns (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (uint64_t) now.tv_sec * 1000000000u + (uint64_t) now.tv_nsec;
}

static int
fail (const char *what,
      const char *name)
{
  fprintf (stderr, "pilot-wire: cannot %s “%s”: %s\n", what, name, strerror (errno));
  return -1;
}

static int
tap_open (const char *name)
{
  struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI };
  int fd = open ("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

  if (fd < 0)
    return fail ("open", "/dev/net/tun");
  if (strlen (name) >= sizeof request.ifr_name) {
    errno = ENAMETOOLONG;
    return fail ("make the device", name);
  }
  strcpy (request.ifr_name, name);
  if (ioctl (fd, TUNSETIFF, &request) < 0)
    return fail ("make the device", name);
  return fd;
}

static int
control_open (const char *path)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd = socket (AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

  if (fd < 0)
    return fail ("make a socket for", path);
  if (strlen (path) >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return fail ("listen on", path);
  }
  strcpy (address.sun_path, path);
  /* The lab gives each wire a path of its own: a file there is what an ended wire left behind. */
  unlink (path);
  if (bind (fd, (struct sockaddr *) &address, sizeof address) < 0)
    return fail ("listen on", path);
  return fd;
}

static int
signals_open (void)
{
  sigset_t set;

  sigemptyset (&set);
  sigaddset (&set, SIGTERM);
  sigaddset (&set, SIGINT);
  sigprocmask (SIG_BLOCK, &set, NULL);
  return signalfd (-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static void
wire_describe (Wire *wire,
               char *text,
               size_t size)
{
  const WireSettings *s = &wire->settings;
  int used;

  used = snprintf (text, size,
                   "{\"delay\": %g, \"jitter\": %g, \"loss\": %g, \"burst\": %g, \"reorder\": %g, \"rate\": %g, \"queue\": %g, "
                   "\"seed\": %" PRIu64 ", \"refused\": %" PRIu64 ", \"directions\": [",
                   s->delay_ms, s->jitter_ms, s->loss_percent, s->burst, s->reorder_percent, s->rate_mbit, s->queue_kb,
                   s->seed, wire->refused);
  for (int i = 0; i < 2 && used > 0 && (size_t) used < size; i++) {
    const WireCounters *c = wire_link_counters (wire->links[i]);

    used += snprintf (text + used, size - (size_t) used,
                      "%s{\"in\": %" PRIu64 ", \"out\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"lost\": %" PRIu64
                      ", \"queue_full\": %" PRIu64 ", \"overflow\": %" PRIu64 ", \"reordered\": %" PRIu64 "}%s",
                      i == 0 ? "" : ", ", c->frames_in, c->frames_out, c->bytes_out, c->lost, c->queue_full, c->overflow,
                      c->reordered, i == 0 ? "" : "]}");
  }
}

/* One request: words of the form NAME=VALUE, which change all or nothing; none asks for the state. Answers JSON, or "error: …". */
static void
wire_obey (Wire *wire,
           char *request,
           char *answer,
           size_t size)
{
  WireSettings settings = wire->settings;
  char *rest = NULL;

  for (char *word = strtok_r (request, " \n", &rest); word != NULL; word = strtok_r (NULL, " \n", &rest)) {
    char *value = strchr (word, '=');
    const char *wrong = "a setting is NAME=VALUE";

    if (value != NULL) {
      *value++ = '\0';
      wrong = wire_settings_parse (&settings, word, value);
    }
    if (wrong != NULL) {
      snprintf (answer, size, "error: %s: %s", word, wrong);
      return;
    }
  }

  wire->settings = settings;
  wire_link_set (wire->links[0], &settings);
  wire_link_set (wire->links[1], &settings);
  wire_describe (wire, answer, size);
}

static void
control_readable (Wire *wire)
{
  char request[1024], answer[2048];
  struct sockaddr_un from;
  socklen_t from_length = sizeof from;
  ssize_t length;

  length = recvfrom (wire->control, request, sizeof request - 1, 0, (struct sockaddr *) &from, &from_length);
  if (length < 0)
    return;
  request[length] = '\0';
  wire_obey (wire, request, answer, sizeof answer);
  /* A caller that did not bind an address does not want the answer. */
  if (from_length > sizeof (sa_family_t) && sendto (wire->control, answer, strlen (answer), 0, (struct sockaddr *) &from, from_length) < 0)
    fail ("answer", from.sun_path);
}

static void
tap_readable (Wire *wire,
              int side)
{
  uint8_t frame[WIRE_FRAME_MAX + 1]; /* one more, so that a frame that was cut off is seen to be too long */
  uint64_t now = now_ns ();

  for (int i = 0; i < BATCH; i++) {
    ssize_t length = read (wire->taps[side], frame, sizeof frame);

    if (length <= 0)
      return;
    wire_link_push (wire->links[side], now, frame, (size_t) length);
  }
}

static void
deliver (Wire *wire)
{
  uint64_t now = now_ns ();

  for (int side = 0; side < 2; side++) {
    const uint8_t *frame;
    size_t length;

    while ((frame = wire_link_peek (wire->links[side], now, &length)) != NULL) {
      if (write (wire->taps[1 - side], frame, length) < 0)
        wire->refused++;
      wire_link_pop (wire->links[side]);
    }
  }
}

static void
timer_arm (Wire *wire)
{
  uint64_t a = wire_link_deadline (wire->links[0]);
  uint64_t b = wire_link_deadline (wire->links[1]);
  uint64_t next = a < b ? a : b;
  struct itimerspec when = { 0 };

  if (next != UINT64_MAX) {
    when.it_value.tv_sec = (time_t) (next / 1000000000u);
    when.it_value.tv_nsec = (long) (next % 1000000000u);
  }
  timerfd_settime (wire->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static int
wire_run (Wire *wire)
{
  const int fds[] = { wire->taps[0], wire->taps[1], wire->timer, wire->control, wire->signals };

  wire->poll = epoll_create1 (EPOLL_CLOEXEC);
  for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
    if (epoll_ctl (wire->poll, EPOLL_CTL_ADD, fds[i], &(struct epoll_event) { .events = EPOLLIN, .data.fd = fds[i] }) < 0)
      return fail ("watch", "a descriptor");

  for (;;) {
    struct epoll_event events[8];
    int n = epoll_wait (wire->poll, events, 8, -1);

    if (n < 0 && errno != EINTR)
      return fail ("wait on", "epoll");
    for (int i = 0; i < n; i++) {
      int fd = events[i].data.fd;
      uint64_t expirations;

      if (fd == wire->signals)
        return 0;
      else if (fd == wire->control)
        control_readable (wire);
      else if (fd == wire->timer)
        (void) !read (fd, &expirations, sizeof expirations);
      else
        tap_readable (wire, fd == wire->taps[0] ? 0 : 1);
    }
    deliver (wire);
    timer_arm (wire);
  }
}

static int
usage (FILE *out)
{
  fputs ("usage: pilot-wire --tap-a NAME --tap-b NAME --control SOCKET [--delay MS] [--jitter MS] [--loss PERCENT] [--burst N]\n"
         "                  [--reorder PERCENT] [--rate MBIT] [--queue KB] [--seed N]\n"
         "Joins two new TAP devices as a long cable; the settings apply to each direction. Prints “ready” when the devices exist.\n"
         "A datagram “delay=30 loss=2” to the control socket changes settings, an empty one asks for them.\n",
         out);
  return out == stdout ? 0 : 2;
}

int
main (int argc,
      char **argv)
{
  const struct option options[] = {
    { "tap-a", required_argument, NULL, 'a' },
    { "tap-b", required_argument, NULL, 'b' },
    { "control", required_argument, NULL, 'c' },
    { "help", no_argument, NULL, 'h' },
    { "delay", required_argument, NULL, 's' },
    { "jitter", required_argument, NULL, 's' },
    { "loss", required_argument, NULL, 's' },
    { "burst", required_argument, NULL, 's' },
    { "reorder", required_argument, NULL, 's' },
    { "rate", required_argument, NULL, 's' },
    { "queue", required_argument, NULL, 's' },
    { "seed", required_argument, NULL, 's' },
    { 0 },
  };
  Wire wire = { 0 };
  const char *tap_a = NULL, *tap_b = NULL, *control = NULL, *wrong;
  int option, which = 0;

  wire_settings_init (&wire.settings);
  while ((option = getopt_long (argc, argv, "h", options, &which)) >= 0)
    switch (option) {
    case 'a':
      tap_a = optarg;
      break;
    case 'b':
      tap_b = optarg;
      break;
    case 'c':
      control = optarg;
      break;
    case 'h':
      return usage (stdout);
    case 's':
      wrong = wire_settings_parse (&wire.settings, options[which].name, optarg);
      if (wrong != NULL) {
        fprintf (stderr, "pilot-wire: --%s %s: %s\n", options[which].name, optarg, wrong);
        return 2;
      }
      break;
    default:
      return usage (stderr);
    }
  if (tap_a == NULL || tap_b == NULL || control == NULL || optind != argc)
    return usage (stderr);

  if ((wire.taps[0] = tap_open (tap_a)) < 0 || (wire.taps[1] = tap_open (tap_b)) < 0 || (wire.control = control_open (control)) < 0)
    return 1;
  wire.signals = signals_open ();
  wire.timer = timerfd_create (CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  wire.links[0] = wire_link_new (&wire.settings, 0);
  wire.links[1] = wire_link_new (&wire.settings, 1);
  if (wire.signals < 0 || wire.timer < 0 || wire.links[0] == NULL || wire.links[1] == NULL)
    return fail ("start", "the wire") < 0;

  puts ("ready");
  fflush (stdout);
  return wire_run (&wire) < 0;
}
