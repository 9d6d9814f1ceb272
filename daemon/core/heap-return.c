/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/heap-return.h"

void
pilot_heap_return_carried (PilotHeapReturn *rule, gsize bytes, gint64 now)
{
  rule->carried += bytes;
  if (rule->carried - rule->counted < PILOT_HEAP_RETURN_STEP)
    return;
  rule->counted = rule->carried;
  rule->last = now;
}

gint64
pilot_heap_return_due (const PilotHeapReturn *rule)
{
  return rule->counted < PILOT_HEAP_RETURN_MUCH ? G_MAXINT64 : rule->last + PILOT_HEAP_RETURN_QUIET;
}

gboolean
pilot_heap_return_take (PilotHeapReturn *rule, gint64 now)
{
  if (now < pilot_heap_return_due (rule))
    return FALSE;
  *rule = (PilotHeapReturn) { 0 };
  return TRUE;
}
