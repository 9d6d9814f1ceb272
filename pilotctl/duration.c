/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/duration.h"

#include <math.h>
#include <string.h>

static const struct {
  const char *unit; /* "ms" before "m" */
  double seconds;
} units[] = { { "ms", 0.001 }, { "s", 1 }, { "m", 60 }, { "h", 3600 } };

double
duration_parse (const char *text)
{
  double total = 0;
  char *end;

  for (const char *p = text; *p != '\0'; p = end) {
    double value;
    guint i = 0;

    /* Only figures: strtod would take signs, "inf" and hexadecimal numbers too. */
    if (!g_ascii_isdigit (*p) || (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')))
      return 0;
    value = g_ascii_strtod (p, &end);
    if (*end == '\0')
      return p == text && isfinite (value) ? value : 0;
    while (i < G_N_ELEMENTS (units) && !g_str_has_prefix (end, units[i].unit))
      i++;
    if (i == G_N_ELEMENTS (units))
      return 0;
    total += value * units[i].seconds;
    end += strlen (units[i].unit);
  }
  return isfinite (total) ? total : 0;
}
