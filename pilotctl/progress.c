/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "pilotctl/output.h"

#define FIRST_AFTER G_USEC_PER_SEC
#define EVERY (G_USEC_PER_SEC / 5)
#define BAR_WIDTH 20
#define RATE_WINDOW (3 * (gint64) G_USEC_PER_SEC)

struct _Progress {
  char *name, *note;
  guint64 total;
  gint64 started, drawn;
  gboolean visible;
  /* The rate is measured from a sample; the next one takes its place when it is old. */
  gint64 sample_at, next_at;
  guint64 sample, next;
};

Progress *
progress_new (guint64 total)
{
  Progress *progress = g_new0 (Progress, 1);

  progress->total = total;
  progress->started = g_get_monotonic_time ();
  progress->visible = isatty (STDERR_FILENO);
  return progress;
}

void
progress_set_name (Progress *progress, const char *name)
{
  g_free (progress->name);
  progress->name = g_strdup (name);
}

void
progress_set_note (Progress *progress, const char *note)
{
  g_free (progress->note);
  progress->note = g_strdup (note);
}

void
progress_set_total (Progress *progress, guint64 total)
{
  progress->total = total;
}

/* Bytes a second; 0 = not known yet. */
static double
rate (Progress *progress, guint64 done, gint64 now)
{
  if (progress->sample_at == 0 || done < progress->sample) {
    progress->sample_at = progress->next_at = now;
    progress->sample = progress->next = done;
    return 0;
  }
  if (now - progress->next_at > RATE_WINDOW) {
    progress->sample_at = progress->next_at;
    progress->sample = progress->next;
    progress->next_at = now;
    progress->next = done;
  }
  return now - progress->sample_at < G_USEC_PER_SEC / 2 ? 0 : (double) (done - progress->sample) * G_USEC_PER_SEC / (double) (now - progress->sample_at);
}

static void
append_bar (GString *line, guint64 done, guint64 total)
{
  const double part = (double) MIN (done, total) / (double) total;

  g_string_append_c (line, '[');
  for (guint i = 0; i < BAR_WIDTH; i++)
    g_string_append_c (line, i < (guint) (part * BAR_WIDTH) ? '#' : '.');
  g_string_append_printf (line, "] %3u %%  ", (guint) (part * 100));
}

static void
append_rate (GString *line, guint64 done, guint64 total, double bytes_per_second)
{
  g_autofree char *speed = output_bytes ((guint64) bytes_per_second), *left = NULL;

  g_string_append_printf (line, _("  %s/s"), speed);
  if (total <= done)
    return;
  left = output_age ((gint64) ((double) (total - done) / bytes_per_second));
  g_string_append_printf (line, _("  %s left"), left);
}

void
progress_update (Progress *progress, guint64 done)
{
  const gint64 now = g_get_monotonic_time ();
  const double bytes_per_second = rate (progress, done, now);
  g_autofree char *amount = output_bytes (done);
  GString *line;

  if (!progress->visible || now - progress->started < FIRST_AFTER || now - progress->drawn < EVERY)
    return;
  progress->drawn = now;
  line = g_string_new (progress->name);
  if (line->len > 0)
    g_string_append (line, "  ");
  if (progress->total > 0)
    append_bar (line, done, progress->total);
  g_string_append (line, amount);
  if (progress->note != NULL)
    g_string_append_printf (line, "  %s", progress->note);
  else if (bytes_per_second > 0)
    append_rate (line, done, progress->total, bytes_per_second);
  fprintf (stderr, "\r\033[K%s", line->str);
  g_string_free (line, TRUE);
}

void
progress_free (Progress *progress)
{
  if (progress == NULL)
    return;
  if (progress->drawn != 0)
    fputs ("\r\033[K", stderr);
  g_free (progress->name);
  g_free (progress->note);
  g_free (progress);
}
