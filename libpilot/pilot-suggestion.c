/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilot-suggestion.h"

#include <string.h>

#define WORD_MAX 64

/* How many letters have to be put in, taken out or changed, or neighbours swapped, to make @b of @a. */
static guint
edit_distance (const char *a, const char *b)
{
  gsize length = strlen (b);
  g_autofree guint *rows = g_new (guint, 3 * (length + 1));
  guint *before = rows, *above = rows + length + 1, *row = rows + 2 * (length + 1);

  for (gsize j = 0; j <= length; j++)
    row[j] = j;
  for (gsize i = 0; a[i] != '\0'; i++) {
    guint *spare = before;

    before = above;
    above = row;
    row = spare;
    row[0] = i + 1;
    for (gsize j = 1; j <= length; j++) {
      row[j] = MIN (MIN (above[j], row[j - 1]) + 1, above[j - 1] + (a[i] == b[j - 1] ? 0 : 1));
      if (i > 0 && j > 1 && a[i] == b[j - 2] && a[i - 1] == b[j - 1])
        row[j] = MIN (row[j], before[j - 2] + 1);
    }
  }
  return row[length];
}

void
pilot_suggestion_init (PilotSuggestion *suggestion, const char *word)
{
  *suggestion = (PilotSuggestion) { .word = word, .distance = strlen (word) > WORD_MAX ? 0 : (guint) strlen (word) / 3 + 1 };
}

void
pilot_suggestion_consider (PilotSuggestion *suggestion, const char *candidate)
{
  guint distance = suggestion->distance > 0 ? edit_distance (suggestion->word, candidate) : 0;

  if (distance < suggestion->distance) {
    suggestion->distance = distance;
    suggestion->nearest = candidate;
  }
}
