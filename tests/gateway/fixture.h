/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/gateway/gateway.h"

/* The whole gateway on a node in memory (fake-node.h): real rules, real sockets, the real allocator. To be used in a network namespace. */

typedef struct {
  char *directory;
  PilotPoller *poller;
  PilotNode *node;
  PilotAllocator *allocator;
  PilotGateway *gateway;
} Fixture;

/* For g_test_add(). What is torn down has left neither addresses nor rules. */
void fixture_set_up (Fixture *fixture, gconstpointer data);
void fixture_tear_down (Fixture *fixture, gconstpointer data);
/* A daemon begins, on the folder there is. */
void fixture_begin_run (Fixture *fixture);
/* As a crash would: nothing is told, nothing cleaned, descriptors are closed. */
void fixture_end_run (Fixture *fixture);

/* The operations of the gateway, finished. @options is a GVariant text. */
GPtrArray *fixture_start (Fixture *fixture, const char *options, const guint32 *nodes, guint n_nodes, GError **error);
PilotMapping *fixture_map (Fixture *fixture, guint32 node, const char *local, GError **error);
gboolean fixture_unmap (Fixture *fixture, const char *local, GError **error);
gboolean fixture_stop (Fixture *fixture, GError **error);
gboolean fixture_restore (Fixture *fixture, GError **error);

char *output_of (const char *command);
