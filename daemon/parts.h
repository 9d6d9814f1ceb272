/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/core/config.h"
#include "daemon/core/core.h"
#include "daemon/core/poller.h"

G_BEGIN_DECLS

/* What pilotd is made of, in the order of its start: plugins, node, services, gateway, bus, local socket. The one place that knows all of them. */
typedef struct _PilotParts PilotParts;

PilotParts *pilot_parts_new (PilotConfig *config, PilotPoller *poller, PilotCore *core);
void pilot_parts_free (PilotParts *parts);

G_END_DECLS
