/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/congestion.h"

/* RFC 9438 in integers, in units of a TCP segment on Ethernet so that the curve is that of a kernel's flow whatever our segments are. */
#define UNIT 1448
/* C = 0.4 segments / s^3, as a fraction. */
#define C_NUMERATOR 2
#define C_DENOMINATOR 5
/* No curve is followed for longer: the cube of this many milliseconds times UNIT fits 64 bits. */
#define MAX_TIME_MS 100000

static guint64
cube_root (guint64 value)
{
  guint64 root = 0;

  for (gint bit = 20; bit >= 0; bit--) {
    guint64 candidate = root | (guint64) 1 << bit;

    if (candidate * candidate * candidate <= value)
      root = candidate;
  }
  return root;
}

static void
begin (PilotCongestionCurve *self,
       guint64 window,
       guint alpha_permille,
       gint64 now)
{
  self->alpha_permille = alpha_permille;
  self->linear = window * 1000;
  self->epoch = now;
  /* K = cbrt ((W_max - W) / C), in us; within the root ms. */
  self->k = (gint64) cube_root ((self->origin - window) / UNIT * 1000000000u * C_DENOMINATOR / C_NUMERATOR) * 1000;
}

void
pilot_congestion_curve_begin (PilotCongestionCurve *self,
                              guint64 window,
                              gint64 now)
{
  self->origin = window;
  begin (self, window, PILOT_CURVE_RENO, now);
}

guint64
pilot_congestion_curve_reduce (PilotCongestionCurve *self,
                               guint64 window,
                               guint beta_percent,
                               gint64 now)
{
  guint64 reduced = window * beta_percent / 100;

  /* Fast convergence (section 4.7): a flow that did not get back to where it was gives way. */
  self->origin = window < self->origin ? window * (100 + beta_percent) / 200 : window;
  self->origin = MAX (self->origin, reduced);
  begin (self, reduced, 3000 * (100 - beta_percent) / (100 + beta_percent), now);
  return reduced;
}

guint64
pilot_congestion_curve_grow (PilotCongestionCurve *self,
                             guint64 window,
                             guint64 acked,
                             gint64 now)
{
  gint64 t = CLAMP ((now - self->epoch - self->k) / 1000, -MAX_TIME_MS, MAX_TIME_MS);
  gint64 cubic = (gint64) self->origin + t * t * t / 1000000 * UNIT / 1000 * C_NUMERATOR / C_DENOMINATOR;

  /* Section 4.3; in thousandths of bytes, because of a large window one acknowledgement is worth less than a byte. */
  self->linear += acked * UNIT * self->alpha_permille / MAX (window, 1);
  return MAX (window, MAX ((guint64) MAX (cubic, 0), self->linear / 1000));
}
