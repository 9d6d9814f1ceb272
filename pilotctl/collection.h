/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "pilotctl/command.h"

G_BEGIN_DECLS

/**
 * Collection:
 * @invocation: whose output it is
 * @count: how many to take; 0 = all that come
 * @taken: how many were
 * @timed_out: the time was over before
 *
 * What comes in over time: as text each on a line, as JSON one object in the end, or with no count each an object on a line of its own.
 */
typedef struct {
  Invocation *invocation;
  int count;
  int taken;
  gboolean timed_out;
  GVariantBuilder items;
} Collection;

void collection_init (Collection *collection, Invocation *invocation, int count);
gboolean collection_is_complete (Collection *collection);
/* @data (floating) is the JSON of one, @line its text. FALSE when stdout takes no more. */
gboolean collection_add (Collection *collection, GVariant *data, const char *line);
/* Says how it ended, with the items as @member; exit code. @error (transfer full) (nullable): why not well. */
int collection_end (Collection *collection, const char *member, GError *error);

G_END_DECLS
