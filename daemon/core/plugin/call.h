/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "libpilot/pilot.h"

G_BEGIN_DECLS

/*
 * Every call from the host into a plugin goes through here. Errors get the plugin's name in front. A plugin that breaks "false if and only if
 * an error is set", returns NULL where it may not, or never completes, yields an error (PILOT_ERROR_FAILED, _TIMEOUT), not a crash.
 */

/* Complete at the latest after `deadline_ms`; what the plugin does later is ignored. */
void pilot_call_enable_async (PilotPlugin *plugin,
                              guint deadline_ms,
                              GCancellable *cancellable,
                              GAsyncReadyCallback callback,
                              gpointer user_data);
gboolean pilot_call_enable_finish (PilotPlugin *plugin,
                                   GAsyncResult *result,
                                   GError **error);
void pilot_call_disable_async (PilotPlugin *plugin,
                               guint deadline_ms,
                               GCancellable *cancellable,
                               GAsyncReadyCallback callback,
                               gpointer user_data);
gboolean pilot_call_disable_finish (PilotPlugin *plugin,
                                    GAsyncResult *result,
                                    GError **error);

/* `value` floating or not. */
gboolean pilot_call_change_setting (PilotPlugin *plugin,
                                    const gchar *key,
                                    GVariant *value,
                                    GError **error);

gboolean pilot_call_send (PilotTransport *transport,
                          const PilotSendBatch *items,
                          guint n_items,
                          guint *n_sent,
                          GError **error);
/* (transfer full): empty after a breach. */
GArray *pilot_call_get_endpoints (PilotTransport *transport);
gboolean pilot_call_parse_endpoint (PilotTransport *transport,
                                    const gchar *text,
                                    PilotEndpoint *endpoint,
                                    GError **error);
/* (transfer full): never NULL. */
gchar *pilot_call_format_endpoint (PilotTransport *transport,
                                   const PilotEndpoint *endpoint);

/* What comes back is inside the subnet and, when an IP was wanted, that one. */
GInetAddress *pilot_call_allocate (PilotAllocator *allocator,
                                   const PilotAddress *address,
                                   GInetAddress *wanted,
                                   GError **error);
gboolean pilot_call_release (PilotAllocator *allocator,
                             const PilotAddress *address,
                             GError **error);
gboolean pilot_call_restore (PilotAllocator *allocator,
                             const PilotAddress *address,
                             GInetAddress *local,
                             GError **error);
gboolean pilot_call_set_subnet (PilotAllocator *allocator,
                                const gchar *cidr,
                                GError **error);
/* (transfer full) (nullable): NULL with an error when the plugin does not name a sound subnet. */
GInetAddressMask *pilot_call_get_subnet (PilotAllocator *allocator,
                                         GError **error);

gboolean pilot_call_load (PilotTrustStore *store,
                          GError **error);
gboolean pilot_call_put (PilotTrustStore *store,
                         const PilotTrustRecord *record,
                         GError **error);
gboolean pilot_call_remove (PilotTrustStore *store,
                            PilotTrustKind kind,
                            guint32 node,
                            GError **error);
/* (transfer full): holds records of that kind only, none twice; empty after a breach. */
GPtrArray *pilot_call_list (PilotTrustStore *store,
                            PilotTrustKind kind);
gboolean pilot_call_flush (PilotTrustStore *store,
                           GError **error);

G_END_DECLS
