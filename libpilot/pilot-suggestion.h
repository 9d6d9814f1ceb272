/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/**
 * PilotSuggestion:
 * @word: what was written
 * @nearest: (nullable): the candidate it most likely meant; NULL while none is near enough. A third of the letters may be wrong
 * @distance: only a candidate that is nearer takes its place
 */
typedef struct {
  const char *word, *nearest;
  guint distance;
} PilotSuggestion;

void pilot_suggestion_init (PilotSuggestion *suggestion, const char *word);
/* @candidate has to outlive @suggestion. */
void pilot_suggestion_consider (PilotSuggestion *suggestion, const char *candidate);

G_END_DECLS
