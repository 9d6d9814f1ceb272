/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "tests/daemon/world.h"

G_BEGIN_DECLS

/* Two nodes of our own and a rendezvous, over real sockets, and what is between them. Hosts are named by their index. "Lands" means within the five
 * seconds that are promised. */
#define LANDS 5.0

guint32 id (World *world, guint index);
PilotTrust *trust (World *world, guint index);
gboolean trusts (World *world, guint index, guint other);
/* Whether there is a record of that kind. */
gboolean has (World *world, guint index, PilotTrustKind kind, guint other);
/* Asks for trust, and is told @expected. */
void handshake (World *world, guint from, guint to, const char *ports, const char *expected);
/* Approves what is pending; @expected: what was opened. */
void approve (World *world, guint at, guint from, const char *expected);
void untrust (World *world, guint at, guint peer);
/* @expected: as host_ping(). */
void assert_ping (World *world, guint from, guint to, const char *expected);
void assert_access (World *world, guint at, guint peer, const char *expected);
gboolean is_direct (World *world, guint at, guint peer);
/* Host 0 asks, host 1 approves. */
void befriend (World *world);
/* Hosts 0 and 1, registered. */
void start_two (World *world);
/* Only what must not be; everything with PILOT_TEST_LOG. */
GLogWriterOutput pair_filter_log (GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer user_data);

G_END_DECLS
