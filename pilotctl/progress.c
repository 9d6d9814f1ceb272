/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/progress.h"

#include <unistd.h>

#include "pilotctl/output.h"

#define FIRST_AFTER G_USEC_PER_SEC
#define EVERY (G_USEC_PER_SEC / 5)
#define BAR_WIDTH 30

struct _Progress {
  guint64 total;
  gint64 started, drawn;
  gboolean visible;
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
progress_update (Progress *progress, guint64 done)
{
  gint64 now = g_get_monotonic_time ();
  g_autofree char *amount = NULL, *speed = NULL;
  char bar[BAR_WIDTH + 1];
  guint filled;

  if (!progress->visible || now - progress->started < FIRST_AFTER || now - progress->drawn < EVERY)
    return;
  progress->drawn = now;
  amount = output_bytes (done);
  speed = output_bytes ((guint64) ((double) done * G_USEC_PER_SEC / (double) (now - progress->started)));
  if (progress->total == 0) {
    g_printerr ("\r\033[K%s  %s/s", amount, speed);
    return;
  }
  filled = (guint) (MIN (done, progress->total) * BAR_WIDTH / progress->total);
  for (guint i = 0; i < BAR_WIDTH; i++)
    bar[i] = i < filled ? '#' : '.';
  bar[BAR_WIDTH] = '\0';
  g_printerr ("\r\033[K[%s] %3u %%  %s  %s/s", bar, (guint) (MIN (done, progress->total) * 100 / progress->total), amount, speed);
}

void
progress_free (Progress *progress)
{
  if (progress == NULL)
    return;
  if (progress->drawn != 0)
    g_printerr ("\r\033[K");
  g_free (progress);
}
