/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/node/node-private.h"
#include "protocol/trust-message.h"

G_BEGIN_DECLS

/* Shared by trust.c (tables, decisions), trust-direct.c (messages on port 444) and trust-relay.c (the registry's inbox). */

#define PILOT_TRUST_PORT 444
#define PILOT_TRUST_MAX_OUTGOING 1024

typedef struct _PilotTrustDirect PilotTrustDirect;
typedef struct _PilotTrustRelay PilotTrustRelay;

struct _PilotTrust {
  GObject parent_instance;

  PilotNode *node; /* not held: it holds us */
  PilotTrustStore *store;
  GHashTable *tables[PILOT_TRUST_N_KINDS]; /* node -> PilotTrustRecord: what the store has, for quick looks */
  PilotTrustDirect *direct;
  PilotTrustRelay *relay;
  GHashTable *revoking; /* node -> Revoking: revocations under way */
  GHashTable *heard;    /* node: to be told again; handled from the loop */
  guint heard_source;
  gboolean running;
};

/* --- trust.c --- */
/* Trusts @peer, durably. @key NULL = not known yet: asked for in the background. @reason as in trust.md section 10. */
gboolean pilot_trust_grant (PilotTrust *trust, guint32 peer, const guint8 *key, gboolean mutual, const char *reason, GError **error);
/* What a peer says, authenticated by the caller. @key NULL = not known. */
void pilot_trust_handle_request (PilotTrust *trust, guint32 peer, const guint8 *key, const char *justification);
void pilot_trust_handle_accept (PilotTrust *trust, guint32 peer, const guint8 *key);
void pilot_trust_handle_reject (PilotTrust *trust, guint32 peer);
void pilot_trust_handle_revoke (PilotTrust *trust, guint32 peer);
const PilotTrustRecord *pilot_trust_peek (PilotTrust *trust, PilotTrustKind kind, guint32 peer);
gint64 pilot_trust_now (void); /* Unix seconds */
/* Forgets requests that nobody answered for 30 days. */
void pilot_trust_expire_pending (PilotTrust *trust);

/* --- trust-direct.c --- */
typedef void (*PilotTrustSentFunc) (PilotTrust *trust, guint32 peer, gboolean sent, gpointer user_data);
PilotTrustDirect *pilot_trust_direct_new (PilotTrust *trust);
void pilot_trust_direct_free (PilotTrustDirect *direct);
gboolean pilot_trust_direct_start (PilotTrustDirect *direct, GError **error);
void pilot_trust_direct_stop (PilotTrustDirect *direct);
/* In the background; messages to one peer go one after the other. @func (nullable) hears how it went; not called after a cancel. */
void pilot_trust_direct_send (PilotTrustDirect *direct, guint32 peer, PilotTrustMessageType type, const char *text, PilotTrustSentFunc func, gpointer user_data);
/* Forgets what has not been sent to @peer yet: it would contradict what comes now. */
void pilot_trust_direct_cancel (PilotTrustDirect *direct, guint32 peer);

/* --- trust-relay.c --- */
PilotTrustRelay *pilot_trust_relay_new (PilotTrust *trust);
void pilot_trust_relay_free (PilotTrustRelay *relay);
void pilot_trust_relay_stop (PilotTrustRelay *relay);
void pilot_trust_relay_wind_down (PilotTrustRelay *relay);
void pilot_trust_relay_start (PilotTrustRelay *relay);
/* An own request through the registry; polls every 2 s for the next 2 minutes. */
void pilot_trust_relay_request (PilotTrustRelay *relay, guint32 peer, const char *justification);
void pilot_trust_relay_respond (PilotTrustRelay *relay, guint32 peer, gboolean accept);
void pilot_trust_relay_tell_revoked (PilotTrustRelay *relay, guint32 peer);
void pilot_trust_relay_report (PilotTrustRelay *relay, guint32 peer);
void pilot_trust_relay_revoke (PilotTrustRelay *relay, guint32 peer);
void pilot_trust_relay_notified (PilotTrustRelay *relay);
void pilot_trust_relay_poll (PilotTrustRelay *relay);
void pilot_trust_relay_refresh (PilotTrustRelay *relay, GTask *task); /* (transfer full) */

G_END_DECLS
