/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/node/node.h"

G_BEGIN_DECLS

/*
 * PilotBroker: the event stream on pilot port 1002 (services.md section 4). Trusted peers only.
 *
 * The first frame of a connection subscribes to its topic ("*": everything); each later one is published to the subscribers of its topic, then to
 * those of "*", never back. Nothing is stored. A subscriber that does not read stalls nobody: 4 MiB wait for it, then what is newest is dropped for it;
 * one that has taken nothing for 15 s is closed. A connection publishes 100 events a second, 200 at once. What is dropped is counted and logged.
 */
typedef struct _PilotBroker PilotBroker;

#define PILOT_BROKER_PORT 1002

typedef struct {
  guint subscribers;
  guint64 published, delivered; /* events; delivered: to each subscriber */
  guint64 dropped_rate, dropped_slow;
} PilotBrokerStats;

PilotBroker *pilot_broker_new (PilotNode *node);
void pilot_broker_free (PilotBroker *broker);
gboolean pilot_broker_start (PilotBroker *broker, GError **error);
void pilot_broker_stop (PilotBroker *broker);
gboolean pilot_broker_is_active (PilotBroker *broker);
void pilot_broker_get_stats (PilotBroker *broker, PilotBrokerStats *stats);
/* A subscriber of this machine: frames are read from the descriptor, which is the caller's, blocking. -1 with an error: NOT_RUNNING, EXHAUSTED, IO. */
int pilot_broker_subscribe (PilotBroker *broker, const char *topic, GError **error);
/* @frame: whole, of pilot_topic_message_encode(). NOT_RUNNING, INVALID_ARGUMENT (a topic that is not for publishing). */
gboolean pilot_broker_publish (PilotBroker *broker, GBytes *frame, GError **error);

G_END_DECLS
