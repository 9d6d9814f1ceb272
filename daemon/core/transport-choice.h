/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/core/config.h"

G_BEGIN_DECLS

/*
 * Whether this run goes over UDP or in compat mode, decided once, at the start (beacon-and-nat.md section 8.4). "auto" asks the beacon over UDP,
 * and when it does not answer, whether the compat beacon does over TCP. Only a compat beacon the user has named is ever asked: there is no public one.
 *
 * Errors: INVALID_ARGUMENT for settings that make no sense, CANCELLED.
 */
void pilot_transport_choose_async (PilotConfig *config, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data);
/* Tells the configuration too: pilot_config_is_compat(). */
gboolean pilot_transport_choose_finish (PilotConfig *config, GAsyncResult *result, GError **error);

G_END_DECLS
