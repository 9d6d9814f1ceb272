/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <pilot.h>

G_BEGIN_DECLS

/*
 * What every plugin of a class owes the host, as tests: run against ours, linked in (tests/plugins), and against anybody's module (pilot-plugin-check).
 * The rules stand in the headers of libpilot; a test says which in its summary.
 */

/* What a relay is connected to, in this process. */
typedef struct
{
  void (*begin) (void);
  void (*end) (void);
  gchar *(*make_settings) (void); /* (transfer full) */
  const gchar *(*get_address) (void);
  PilotTransportProver prove;
} CheckRelay;

/**
 * CheckCandidate:
 * @name: the plugin's, or one of several of the same type
 * @settings: (nullable): GVariant text of type a{sv}, as in the configuration
 * @relay: (nullable): for transports that are relays
 * @fill_disk: (nullable): for stores that are in no file: has the next flush fail
 * @strict: beyond the rules: an allocator gives any free address that is wanted, a store leaves nothing but trust.json, a transport hears of
 *   destinations nobody is at
 */
typedef struct
{
  const gchar *name;
  GType (*get_type) (void);
  const gchar *settings;
  const CheckRelay *relay;
  void (*fill_disk) (PilotTrustStore *store);
  gboolean strict;
} CheckCandidate;

/* A test: its name, the rule it is about, its function on the fixture of its class. */
typedef struct
{
  const gchar *name, *title;
  GCallback func;
  gboolean not_of_relays; /* a beacon hears everything, and says nothing of who is not there */
} CheckCase;

/* Each ends with a NULL name. */
extern const CheckCase check_allocator_cases[], check_transport_cases[], check_trust_store_cases[];

/* Each adds its tests as /NAME/CASE; the candidate has to live until they have run. */
void check_add_allocator (const CheckCandidate *candidate);
void check_add_transport (const CheckCandidate *candidate);
void check_add_trust_store (const CheckCandidate *candidate);

G_END_DECLS
