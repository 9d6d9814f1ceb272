/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>
#include "libpilot/pilot-trust-store.h"

G_BEGIN_DECLS

/*
 * PilotTrust: who is trusted, who asks, whom we asked (trust.md). Decides; the trust-store plugin only stores.
 *
 * Signals: "changed" (guint node, const char *state "granted"|"revoked", const char *reason),
 *          "request-added" (guint node), "request-removed" (guint node),
 *          "outgoing-changed" (guint node)
 */
#define PILOT_TYPE_TRUST (pilot_trust_get_type ())
G_DECLARE_FINAL_TYPE (PilotTrust, pilot_trust, PILOT, TRUST, GObject)

/* Answers at once; goes on in the background (direct on port 444, relayed through the registry, polling).
 * @ports: what the peer may reach here once trusted; NULL = nothing.
 * @status: static: "sent", "pending" (asked already), "trusted" (already). */
gboolean pilot_trust_handshake (PilotTrust *trust, guint32 node, const char *justification, const char *ports,
                                const char **status, GError **error);
/* The same, and waits (at most 2 s) for what becomes of the request: when the registry knows no such node it is withdrawn again, and that is the error,
 * NOT_FOUND. Everything else may still come good, and is told by pilot_trust_get_delivery(). _finish: static, as @status; NULL on error. */
void pilot_trust_handshake_async (PilotTrust *trust, guint32 node, const char *justification, const char *ports, GCancellable *cancellable,
                                  GAsyncReadyCallback callback, gpointer user_data);
const char *pilot_trust_handshake_finish (PilotTrust *trust, GAsyncResult *result, GError **error);
/* @ports NULL = the configured default; @opened (transfer full): what the peer may reach now. NOT_FOUND when nothing is pending. */
gboolean pilot_trust_approve (PilotTrust *trust, guint32 node, const char *ports, char **opened, GError **error);
/* The same; a request that the registry still holds is fetched first (at most 3 s), so that nobody has to list requests before he answers one.
 * _finish: (transfer full) what the peer may reach now. */
void pilot_trust_approve_async (PilotTrust *trust, guint32 node, const char *ports, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data);
char *pilot_trust_approve_finish (PilotTrust *trust, GAsyncResult *result, GError **error);
gboolean pilot_trust_reject (PilotTrust *trust, guint32 node, const char *reason, GError **error);
gboolean pilot_trust_untrust (PilotTrust *trust, guint32 node, GError **error);
gboolean pilot_trust_is_trusted (PilotTrust *trust, guint32 node);
/* PilotTrustRecord* elements, transfer full; kind TRUSTED, PENDING or OUTGOING. */
GPtrArray *pilot_trust_list (PilotTrust *trust, PilotTrustKind kind);
/* What became of a request of ours, in this run: NULL = on its way, "" = it waits for its answer, else why the registry did not take it. */
const char *pilot_trust_get_delivery (PilotTrust *trust, guint32 node);
PilotTrustRecord *pilot_trust_lookup (PilotTrust *trust, PilotTrustKind kind, guint32 node);
/* Polls the registry now if allowed to (a local client asks for pending or trust); completes within 3 s. */
void pilot_trust_refresh_async (PilotTrust *trust, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data);
gboolean pilot_trust_refresh_finish (PilotTrust *trust, GAsyncResult *result, GError **error);

G_END_DECLS
