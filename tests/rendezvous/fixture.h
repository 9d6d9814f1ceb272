/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "harness.h"

G_BEGIN_DECLS

/* A server, a client of it, and two people who use it. */

typedef struct
{
  Harness harness;
  Client client;
  Person alice;
  Person bob;
} Fixture;

void fixture_init (Fixture *fixture);
void fixture_clear (Fixture *fixture);
void register_both (Fixture *fixture);

/* (transfer full): the answers. */
JsonObject *lookup (Client *client,
                    guint32 id);
JsonObject *resolve (Client *client,
                     Person *who,
                     guint32 target);
JsonObject *respond (Client *client,
                     Person *who,
                     guint32 peer,
                     gboolean accept);
/* FALSE: it is told that the target is private. */
gboolean can_resolve (Client *client,
                      Person *who,
                      guint32 target);
/* Takes the answer. */
void expect_ok (JsonObject *response);

G_END_DECLS
