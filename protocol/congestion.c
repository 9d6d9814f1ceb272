/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/congestion.h"

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
