/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/node/node.h"

G_BEGIN_DECLS

/* Echo on pilot port 7 (services.md section 2): what comes is sent back, until the client closes. Trusted peers only. */
typedef struct _PilotEcho PilotEcho;

PilotEcho *pilot_echo_new (PilotNode *node);
void pilot_echo_free (PilotEcho *echo);
gboolean pilot_echo_start (PilotEcho *echo, GError **error);
void pilot_echo_stop (PilotEcho *echo);

G_END_DECLS
