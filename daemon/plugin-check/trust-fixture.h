/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/plugin-check/check.h"
#include "daemon/plugin-check/host.h"

G_BEGIN_DECLS

/* An enabled trust store with a folder of its own that nothing is in: what the tests of stores run on. The data of a test is its CheckCandidate. */
typedef struct
{
  const CheckCandidate *candidate;
  gchar *folder;
  gchar *path; /* of trust.json in it */
  PilotTrustStore *store;
} TrustFixture;

/* Adds a test of that candidate: /NAME/@name. */
void trust_fixture_add (const CheckCandidate *candidate, const gchar *name, void (*func) (TrustFixture *, gconstpointer));
void trust_fixture_start (TrustFixture *f);
void trust_fixture_stop (TrustFixture *f);
/* Each of these has to succeed. */
void trust_fixture_load (TrustFixture *f);
void trust_fixture_put (TrustFixture *f, const PilotTrustRecord *record);
void trust_fixture_flush (TrustFixture *f);
/* A new process as far as the store can tell; it has loaded. */
void trust_fixture_restart (TrustFixture *f);
/* (transfer full): one with everything in it that means something for the kind. */
PilotTrustRecord *trust_fixture_make (PilotTrustKind kind, guint32 node);
/* @nodes: as "1 2 7". */
void trust_fixture_expect_list (TrustFixture *f, PilotTrustKind kind, const gchar *nodes);
void trust_fixture_expect_record (TrustFixture *f, const PilotTrustRecord *expected);

G_END_DECLS
