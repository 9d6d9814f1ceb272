/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* simulate-line: what the simulator says of a wire of the lab, for tools/bench to set beside what the lab says. */

#include "bottleneck.h"
#include "tests/lab/wire/wire-link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct
{
  WireSettings wire;
  gdouble seconds, skip; /* of the transfer, and what is left out of them */
  gdouble start;         /* of ours after the other's, in ms */
  guint64 bytes;         /* a file of so many instead */
  gint beside;           /* a BottleneckKind; -1 = alone */
} Run;

static int
usage (FILE *out)
{
  fputs ("usage: simulate-line [SETTING=VALUE]...\n"
         "A stream of ours over a simulated line. Settings are those of pilot-wire (delay, jitter, loss, burst, reorder, rate, queue, seed) and\n"
         "  seconds, skip    how long, and how much of it does not count (5 and 1)\n"
         "  bytes            how long a file of so many bytes takes instead\n"
         "  beside           cubic or reno: such a flow of TCP shares the line\n"
         "  start            ours begins so many ms after the other's\n"
         "Prints Mbit/s of ours and of the other, or the seconds of the file.\n",
         out);
  return out == stdout ? 0 : 2;
}

static gboolean
parse_number (const gchar *text,
              gdouble *value)
{
  gchar *end;

  *value = g_ascii_strtod (text, &end);
  return end != text && *end == '\0' && *value >= 0 && *value <= 1e12;
}

/* FALSE: there is no such setting, or not with that value. */
static gboolean
set (Run *run,
     const gchar *name,
     const gchar *value)
{
  gdouble number;

  if (strcmp (name, "beside") == 0) {
    run->beside = strcmp (value, "cubic") == 0 ? BOTTLENECK_CUBIC : strcmp (value, "reno") == 0 ? BOTTLENECK_RENO
                                                                                                : -1;
    return run->beside >= 0;
  }
  if (wire_settings_parse (&run->wire, name, value) == NULL)
    return TRUE;
  if (!parse_number (value, &number))
    return FALSE;
  if (strcmp (name, "seconds") == 0)
    run->seconds = number;
  else if (strcmp (name, "skip") == 0)
    run->skip = number;
  else if (strcmp (name, "start") == 0)
    run->start = number;
  else if (strcmp (name, "bytes") == 0)
    run->bytes = (guint64) number;
  else
    return FALSE;
  return TRUE;
}

/* The wire's jitter is to both sides of its delay, the bottleneck's on top of it. */
static BottleneckConfig
line_config (const WireSettings *wire)
{
  const gdouble jitter = MIN (wire->jitter_ms, wire->delay_ms);
  BottleneckConfig config = {
    .delay = (gint64) ((wire->delay_ms - jitter) * BOTTLENECK_MS),
    .jitter = (gint64) (2 * jitter * BOTTLENECK_MS),
    .rate = (guint64) (wire->rate_mbit * 125000),
    .queue = (guint64) (wire->queue_kb * 1000),
    .reorder = wire->reorder_percent / 100,
    .reorder_delay = (gint64) (MAX (1, MAX (wire->jitter_ms, wire->delay_ms / 8)) * BOTTLENECK_MS),
  };

  if (wire->burst > 1) {
    config.burst_loss = wire->loss_percent / 100;
    config.burst_length = wire->burst;
  } else
    config.loss = wire->loss_percent / 100;
  return config;
}

static void
simulate (const Run *run)
{
  const BottleneckConfig config = line_config (&run->wire);
  const gint64 skip = (gint64) (run->skip * BOTTLENECK_SECOND), end = (gint64) (run->seconds * BOTTLENECK_SECOND);
  Bottleneck *line = bottleneck_new (&config, (guint32) run->wire.seed);
  BottleneckFlow *other = run->beside >= 0 ? bottleneck_add (line, run->beside, 0, 0) : NULL;
  BottleneckFlow *ours = bottleneck_add (line, BOTTLENECK_STREAM, (gint64) (run->start * BOTTLENECK_MS), run->bytes);

  bottleneck_run (line, end);
  if (run->bytes > 0)
    printf ("%.3f\n", (gdouble) ours->finished_at / BOTTLENECK_SECOND);
  else if (other == NULL)
    printf ("%.2f\n", bottleneck_rate (ours, skip, end) * 8e-6);
  else
    printf ("%.2f %.2f\n", bottleneck_rate (ours, skip, end) * 8e-6, bottleneck_rate (other, skip, end) * 8e-6);
  bottleneck_free (line);
}

int
main (int argc,
      char **argv)
{
  Run run = { .seconds = 5, .skip = 1, .beside = -1 };

  wire_settings_init (&run.wire);
  for (gint i = 1; i < argc; i++) {
    g_auto (GStrv) pair = g_strsplit (argv[i], "=", 2);

    if (strcmp (argv[i], "--help") == 0)
      return usage (stdout);
    if (pair[0] == NULL || pair[1] == NULL || !set (&run, pair[0], pair[1])) {
      fprintf (stderr, "simulate-line: “%s” is no setting it knows\n", argv[i]);
      return usage (stderr);
    }
  }
  if (run.wire.rate_mbit <= 0 || run.seconds > BOTTLENECK_STEPS / 10) {
    fprintf (stderr, "simulate-line: it needs a rate, and ends after at most %d seconds\n", BOTTLENECK_STEPS / 10);
    return usage (stderr);
  }
  simulate (&run);
  return 0;
}
