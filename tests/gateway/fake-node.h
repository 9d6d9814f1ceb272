/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/node/node.h"

/*
 * A node without a network, for the tests of the gateway: pilot_node_connect() to node 2 joins two streams in memory and hands the other
 * end to the inbound bridge of the same node. The streams keep the contract of protocol/stream.h: bounded buffers, edge-triggered
 * readiness, nothing called from inside a call.
 *
 * Node 1 is this node. 2 and 6 are alive and trusted. 3 is trusted and dead (no key exchange). 4 is not trusted. 5 is trusted and never answers.
 */
#define FAKE_BUFFER (64 * 1024)

PilotNode *fake_node_new (PilotPoller *poller, const char *state_directory);
/* Bytes that each end of the streams made from now on can hold. */
void fake_node_set_capacity (PilotNode *node, gsize capacity);
void fake_node_set_access (PilotNode *node, PilotAccessVerdict verdict);
void fake_node_set_helper_socket (PilotNode *node, const char *path);
/* Two streams joined to each other, both open. */
void fake_stream_pair (PilotNode *node, PilotStream **a, PilotStream **b);
guint fake_node_count_streams (PilotNode *node);
