/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/congestion.h"

/* A token bucket lets a burst through at any rate and drops what exceeds its own, without a queue that would tell of it (T. Flach et al., "An Internet-Wide
 * Analysis of Traffic Policing", SIGCOMM 2016). Delivery rates learned from bursts are too high for ever then, and so is what is lost. BBR's first version
 * kept to the rate that went through in two long intervals that lost much and were alike. Here a question is added: is less lost at that rate? A path that
 * loses at random loses the same share at any. */
#define INTERVAL_ROUNDS 8
#define LOSS_PERCENT 5
#define HOLD_ROUNDS 48
#define TRIES 2
/* Rates that differ by less than an eighth are the same. */
#define SAME_DIVISOR 8
#define PAUSE_MIN 32
#define PAUSE_MAX 1024

static gboolean
is_same (guint64 a,
         guint64 b)
{
  return a <= b + b / SAME_DIVISOR && b <= a + a / SAME_DIVISOR;
}

void
pilot_congestion_policer_forget (PilotCongestionPolicer *self)
{
  self->rounds = 0;
  self->interval_rate = 0;
}

static void
begin (PilotCongestionPolicer *self,
       gint64 now)
{
  self->rounds = self->queued = 0;
  self->delivered = self->lost = 0;
  self->since = now;
}

/* An interval without a limit is over. */
static void
look (PilotCongestionPolicer *self,
      guint64 rate,
      guint64 share)
{
  const gboolean lossy = share > LOSS_PERCENT * 10000 && self->queued * 4 <= INTERVAL_ROUNDS;
  const guint64 before = self->interval_rate;

  self->interval_rate = lossy ? rate : 0;
  if (rate > self->known_rate + self->known_rate / SAME_DIVISOR)
    self->known_rate = 0;
  if (self->pause > 0)
    self->pause--;
  if (!lossy || self->pause > 0)
    return;
  if (before > 0 && is_same (rate, before))
    self->rate = MIN (rate, before);
  self->held = self->tries = 0;
  self->share_before = share;
}

/* An interval at the limit is over. */
static void
judge (PilotCongestionPolicer *self,
       guint64 rate,
       guint64 share)
{
  self->held += INTERVAL_ROUNDS;
  if (share > self->share_before / 2 && share < self->share_before * 4 / 5 && self->tries++ < TRIES) {
    /* What had been saved up in the bucket was counted, too. */
    self->rate = MIN (self->rate, rate);
    return;
  }
  if (share > self->share_before / 2) {
    /* It was not the rate: that path loses what it loses. */
    self->next_pause = CLAMP (self->next_pause * 2, PAUSE_MIN, PAUSE_MAX);
    self->pause = self->next_pause;
    self->rate = self->known_rate = self->interval_rate = 0;
    return;
  }
  self->known_rate = self->rate;
  self->next_pause = 0;
  if (self->held >= HOLD_ROUNDS)
    self->rate = self->interval_rate = 0;
}

void
pilot_congestion_policer_round (PilotCongestionPolicer *self,
                                guint64 delivered,
                                guint64 lost,
                                gboolean queued,
                                gint64 now)
{
  guint64 share, rate;

  if (self->rate == 0 && self->known_rate > 0 && lost * 100 > (lost + delivered) * LOSS_PERCENT) {
    /* Asked again, and it is still there. */
    self->rate = self->known_rate;
    self->held = self->tries = 0;
    self->share_before = lost * 1000000 / (lost + delivered);
    self->rounds = 0;
    return;
  }
  if (self->rounds == 0)
    begin (self, now);
  else {
    self->delivered += delivered;
    self->lost += lost;
    self->queued += queued;
  }
  /* The first call begins the interval. */
  if (self->rounds++ < INTERVAL_ROUNDS || now <= self->since)
    return;
  share = self->lost * 1000000 / MAX (self->lost + self->delivered, 1);
  rate = self->delivered * G_USEC_PER_SEC / (guint64) (now - self->since);
  if (self->rate > 0)
    judge (self, rate, share);
  else
    look (self, rate, share);
  begin (self, now);
  self->rounds = 1;
}
