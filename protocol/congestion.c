/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/congestion.h"

/* RFC 6928: with a single segment on the way, which a path of 64 KiB makes of the first window, the receiver waits for a second before it answers. */
#define INITIAL_SEGMENTS 2

void
pilot_congestion_init (PilotCongestion *self,
                       const PilotCongestionClass *class,
                       guint segment_size,
                       gint64 now)
{
  *self = (PilotCongestion) { .class = class, .segment_size = segment_size };
  class->init (self, now);
}

void
pilot_congestion_set_segment_size (PilotCongestion *self,
                                   guint segment_size,
                                   gboolean initial)
{
  self->segment_size = segment_size;
  if (initial)
    self->window = MAX (self->window, (guint64) INITIAL_SEGMENTS * segment_size);
}

guint64
pilot_congestion_get_threshold (const PilotCongestion *self)
{
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
