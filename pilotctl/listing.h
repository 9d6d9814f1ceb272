/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "pilotctl/client.h"

G_BEGIN_DECLS

/* A command that lists nodes: --search, --limit, a table or JSON. */
typedef struct {
  const char *method;                               /* of Node: answers the records */
  const char *member;                               /* of the JSON */
  const char *none;                                 /* said when there is none; marked with N_() */
  const char *counted;                              /* (nullable) how many have this set is told too */
  gboolean has_all;                                 /* --all, the default, is understood */
  void (*add) (GPtrArray *table, GVariant *record); /* a line of it */
} Listing;

int listing_run (Invocation *invocation, const Listing *listing);

G_END_DECLS
