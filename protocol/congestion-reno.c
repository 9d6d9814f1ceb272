/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/congestion.h"

/* The figures are those of the reference (streams.md sections 4 and 4.5). */
#define INITIAL_WINDOW 40960
#define INITIAL_THRESHOLD 524288
#define MAX_WINDOW 1048576
#define MIN_THRESHOLD 8192
#define TIMEOUT_WINDOW 4096
#define MAX_SLOW_START_STEP 8192
#define MAX_AVOIDANCE_STEP 4096

void
pilot_congestion_init (PilotCongestion *self,
                       const PilotCongestionClass *class,
                       guint segment_size,
                       gint64 now)
{
  *self = (PilotCongestion) { .class = class, .segment_size = segment_size };
  class->init (self, now);
}

guint64
pilot_congestion_get_threshold (const PilotCongestion *self)
{
  if (self->class == &pilot_congestion_reno)
    return self->reno.threshold;
  if (self->class == &pilot_congestion_cubic)
    return self->cubic.threshold == G_MAXUINT64 ? 0 : self->cubic.threshold;
  return self->class == &pilot_congestion_bbr ? self->bbr.inflight_high : 0;
}

const PilotCongestionClass *
pilot_congestion_by_name (const char *name)
{
  const PilotCongestionClass *const classes[] = { &pilot_congestion_bbr, &pilot_congestion_cubic };

  for (guint i = 0; i < G_N_ELEMENTS (classes); i++)
    if (g_str_equal (classes[i]->name, name))
      return classes[i];
  return NULL;
}

static void
reno_init (PilotCongestion *self,
           gint64 now)
{
  self->window = INITIAL_WINDOW;
  self->quantum = 65536;
  self->reno.threshold = INITIAL_THRESHOLD;
}

static void
reno_acked (PilotCongestion *self,
            const PilotCongestionSample *sample)
{
  if (sample->in_recovery)
    return;
  if (self->window < self->reno.threshold)
    self->window += MIN (sample->newly_delivered, MAX_SLOW_START_STEP);
  else if (sample->newly_delivered > 0)
    self->window += MAX (1, 4096 * MIN (sample->newly_delivered, MAX_AVOIDANCE_STEP) / self->window);
  self->window = MIN (self->window, MAX_WINDOW);
}

static void
reno_lost (PilotCongestion *self,
           guint64 in_flight,
           gint64 now)
{
  self->reno.threshold = MAX (in_flight / 2, MIN_THRESHOLD);
  self->window = self->reno.threshold;
}

static void
reno_timeout (PilotCongestion *self,
              guint64 in_flight,
              gint64 now)
{
  self->reno.threshold = MAX (in_flight / 2, MIN_THRESHOLD);
  self->window = TIMEOUT_WINDOW;
}

static void
reno_restart (PilotCongestion *self,
              gint64 idle_since,
              gint64 now)
{
}

const PilotCongestionClass pilot_congestion_reno = {
  "reno",
  reno_init,
  reno_acked,
  reno_lost,
  reno_timeout,
  reno_restart,
};
