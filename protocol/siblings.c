/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/siblings.h"

/* They share a peer while their packets come in turns, no more than so far apart. */
#define TURNS_WITHIN 100000
/* As long as the shortest round trip of a stream counts for itself. */
#define HALF (10 * G_USEC_PER_SEC)

static void
forget (PilotSiblings *self)
{
  self->shortest[0] = self->shortest[1] = 0;
}

void
pilot_siblings_spoke (PilotSiblings *self,
                      gconstpointer stream,
                      gint64 now)
{
  if (now - self->spoke_at >= TURNS_WITHIN)
    forget (self);
  else if (self->speaker != stream)
    self->turned_at = now;
  self->speaker = stream;
  self->spoke_at = now;
}

gboolean
pilot_siblings_shared (const PilotSiblings *self,
                       gint64 now)
{
  return self->turned_at != 0 && now - self->turned_at < TURNS_WITHIN;
}

void
pilot_siblings_asked (PilotSiblings *self,
                      gconstpointer stream,
                      gint64 now)
{
  self->asker = stream;
  self->asked_at = now;
}

gboolean
pilot_siblings_others_ask (const PilotSiblings *self,
                           gconstpointer stream,
                           gint64 now)
{
  return self->asked_at != 0 && self->asker != stream && now - self->asked_at < TURNS_WITHIN;
}

void
pilot_siblings_measured (PilotSiblings *self,
                         gint64 rtt,
                         gint64 now)
{
  const gint64 age = now - self->half_began;

  if (now - rtt < self->moved_at)
    return;
  if (age >= HALF) {
    self->shortest[1] = age < 2 * HALF ? self->shortest[0] : 0;
    self->shortest[0] = 0;
    self->half_began = now;
  }
  rtt = MAX (rtt, 1);
  if (self->shortest[0] == 0 || rtt < self->shortest[0])
    self->shortest[0] = rtt;
}

gint64
pilot_siblings_shortest (const PilotSiblings *self,
                         gint64 now)
{
  const gint64 age = now - self->half_began;
  gint64 shortest = -1;

  for (guint i = 0; i < G_N_ELEMENTS (self->shortest); i++)
    if (self->shortest[i] > 0 && age < (2 - (gint64) i) * HALF && (shortest < 0 || self->shortest[i] < shortest))
      shortest = self->shortest[i];
  return shortest;
}

void
pilot_siblings_moved (PilotSiblings *self,
                      gint64 now)
{
  forget (self);
  self->moved_at = now;
}
