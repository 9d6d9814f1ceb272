/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/busy-poll.h"

/* So many looks in a row that found something: the processor was free all the while, so a retreat is half as long the next time. */
#define HITS_TO_FORGIVE 1024

void
pilot_busy_poll_turn_begins (PilotBusyPoll *rule, gint64 now)
{
  if (now - rule->ended > PILOT_BUSY_POLL_LONGEST)
    rule->streak = 0;
  else if (rule->streak < PILOT_BUSY_POLL_STREAK)
    rule->streak++;
  if (rule->looked != 0 && ++rule->hits >= HITS_TO_FORGIVE) {
    rule->hits = 0;
    rule->retreat /= 2;
  }
}

void
pilot_busy_poll_turn_ends (PilotBusyPoll *rule, gsize bytes, gint64 now)
{
  if (bytes > PILOT_BUSY_POLL_BYTES)
    rule->streak = 0;
  rule->ended = now;
  rule->looked = 0;
}

gboolean
pilot_busy_poll_look (PilotBusyPoll *rule, gint64 now)
{
  if (rule->streak < PILOT_BUSY_POLL_STREAK || now < rule->not_before)
    return FALSE;
  if (rule->looked != 0 && now - rule->looked > PILOT_BUSY_POLL_LONGEST) {
    /* Who was let go first did not come back for longer than anything waited for here takes. */
    rule->retreat = CLAMP (2 * rule->retreat, PILOT_BUSY_POLL_RETREAT_FIRST, PILOT_BUSY_POLL_RETREAT_LAST);
    rule->not_before = now + rule->retreat;
    rule->hits = 0;
    return FALSE;
  }
  if (now - rule->ended > PILOT_BUSY_POLL_LONGEST) {
    rule->streak = 0;
    return FALSE;
  }
  rule->looked = now;
  return TRUE;
}
