/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/bus/caller.h"
#include "daemon/gateway/bridge.h"
#include "daemon/node/node.h"

G_BEGIN_DECLS

/* Method calls that are answered with a stream, as a descriptor: the dials under way, and the bridges of the streams that programs hold. */
typedef struct {
  PilotNode *node;
  PilotBridgeGroup group;
  GQueue dials;
} PilotStreamCalls;

void pilot_stream_calls_init (PilotStreamCalls *calls, PilotNode *node);
/* Answers what waits, resets what is open. */
void pilot_stream_calls_clear (PilotStreamCalls *calls);
/* Opens a stream and answers @invocation with (hb), as Streams.Dial states it, when it is open, or with the error; ends when the caller leaves. @timeout_ms 0: the engine's own
 * limits. @first (nullable): what is said first on the stream, at most 2 KiB. */
void pilot_stream_calls_dial (PilotStreamCalls *calls, GDBusMethodInvocation *invocation, guint32 node, guint16 port, guint timeout_ms, GBytes *first);
/* Joins an open stream that has no user to a socket pair; *@fd is the program's end, *@info what the stream is. @ready: what happened to the stream meanwhile. On error the
 * stream is reset. */
gboolean pilot_stream_calls_join (PilotStreamCalls *calls, PilotStream *stream, guint ready, int *fd, PilotStreamInfo *info, GError **error);
/* Answers with @values, whose handle 0 is @fd. Takes @fd. */
void pilot_stream_calls_answer (GDBusMethodInvocation *invocation, GVariant *values, int fd);

G_END_DECLS
