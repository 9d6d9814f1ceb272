/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "libpilot/pilot-endpoint.h"

G_BEGIN_DECLS

/* A token bucket for each host (IPv6: each /64, since every host has as many addresses as it likes). The table is bounded; when it is
 * full, hosts that are not in it are refused until others have their tokens back. */
typedef struct _PilotLimiter PilotLimiter;

/* (transfer full): `burst` at once, then `rate` a minute, both at least 1. */
PilotLimiter *pilot_limiter_new (guint burst,
                                 guint rate);
void pilot_limiter_free (PilotLimiter *limiter);
/* Takes one token. FALSE when the host has none left. `seconds`: now. */
gboolean pilot_limiter_take (PilotLimiter *limiter,
                             const PilotEndpoint *host,
                             gint64 seconds);

G_END_DECLS
