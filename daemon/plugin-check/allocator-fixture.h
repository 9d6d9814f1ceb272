/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/plugin-check/check.h"
#include "daemon/plugin-check/host.h"

G_BEGIN_DECLS

/* An enabled allocator: what the tests of allocators run on. The data of a test is its CheckCandidate. */
typedef struct
{
  PilotAllocator *allocator;
} AllocatorFixture;

/* Adds a test of that candidate: /NAME/@name. */
void allocator_fixture_add (const CheckCandidate *candidate, const gchar *name, void (*func) (AllocatorFixture *, gconstpointer));
/* (transfer full): the address that @node gets; @wanted: (nullable). */
gchar *allocator_fixture_give (PilotAllocator *allocator, guint32 node, const gchar *wanted);
/* It gets none, and this is why. */
void allocator_fixture_refuse (PilotAllocator *allocator, guint32 node, const gchar *wanted, PilotError code);
void allocator_fixture_release (PilotAllocator *allocator, guint32 node);

G_END_DECLS
