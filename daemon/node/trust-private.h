/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/node/node-private.h"
#include "protocol/trust-message.h"

G_BEGIN_DECLS

/* Shared by trust.c (tables, decisions), trust-approval.c (one that may have to fetch the request first), trust-asking.c (a request whose asker waits for what becomes of it), trust-revocation.c (how trust ends), trust-direct.c (messages on port 444) and trust-relay.c (the registry's inbox). */

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
  GHashTable *deliveries; /* node -> what became of our request to it, as pilot_trust_get_delivery() tells */
  GHashTable *revoking;   /* node -> Revoking: revocations under way */
  GHashTable *anew;       /* node: asked after a revocation of our own, so that the peer's may still be on its way */
  GHashTable *heard;      /* node: to be told again; handled from the loop */
  guint heard_source;
  GQueue asking; /* GTask: who waits for what becomes of a request */
  gboolean running;
};

/* --- trust.c --- */
/* Trusts @peer, durably. @key NULL = not known yet: asked for in the background. @reason as in trust.md section 10. */
gboolean pilot_trust_grant (PilotTrust *trust, guint32 peer, const guint8 *key, gboolean mutual, const char *reason, GError **error);
/* What a peer says, authenticated by the caller. @key NULL = not known. */
void pilot_trust_handle_request (PilotTrust *trust, guint32 peer, const guint8 *key, const char *justification);
void pilot_trust_handle_accept (PilotTrust *trust, guint32 peer, const guint8 *key);
void pilot_trust_handle_reject (PilotTrust *trust, guint32 peer);
const PilotTrustRecord *pilot_trust_peek (PilotTrust *trust, PilotTrustKind kind, guint32 peer);
gint64 pilot_trust_now (void); /* Unix seconds */
/* Forgets requests that nobody answered for 30 days. */
void pilot_trust_expire_pending (PilotTrust *trust);

#define PILOT_TRUST_KIND_BIT(kind) (1u << (kind))
gboolean pilot_trust_has (PilotTrust *trust, PilotTrustKind kind, guint32 peer);
/* One change of one peer: takes away the records of the kinds in @remove (bits), then puts @put. Durable, or nothing has changed. */
gboolean pilot_trust_commit (PilotTrust *trust, guint32 peer, guint remove, const PilotTrustRecord *put, GError **error);
void pilot_trust_emit_changed (PilotTrust *trust, guint32 peer, const char *what, const char *reason);
void pilot_trust_emit_removed (PilotTrust *trust, guint32 peer, gboolean pending, gboolean outgoing);
/* The engine learns whether the peer is trusted now, and with which key. */
void pilot_trust_tell_engine (PilotTrust *trust, guint32 peer);
/* Sends our request for trust again, by every way there is; nothing when there is none. */
void pilot_trust_send_request (PilotTrust *trust, guint32 peer);
/* The request to @peer is in the hands of the peer or of the registry (@error NULL), or the registry does not take it. */
void pilot_trust_note_delivery (PilotTrust *trust, guint32 peer, const GError *error);
/* Forgets the request to @peer, for which no answer will come. */
void pilot_trust_withdraw (PilotTrust *trust, guint32 peer);
/* Is this a node that a user may name here, and is the node running? */
gboolean pilot_trust_check_peer (PilotTrust *trust, guint32 peer, GError **error);

/* --- trust-asking.c --- */
/* Who waits for what becomes of a request hears it. @error: nullable, borrowed. */
void pilot_trust_asking_told (PilotTrust *trust, guint32 peer, const GError *error);

/* --- trust-revocation.c --- */
/* The peer says that it trusts us no more. @sent_at: when it said so, Unix seconds; a request of ours that is newer stands. */
void pilot_trust_handle_revoke (PilotTrust *trust, guint32 peer, gint64 sent_at);
/* Tells the peer (unless it was the one who told us), and lets the tunnel go when that is done, or after a time of grace. */
void pilot_trust_start_revocation (PilotTrust *trust, guint32 peer, gboolean by_peer);
/* It is trusted again, or asked again: nothing more to tell. */
void pilot_trust_stop_revocation (PilotTrust *trust, guint32 peer);
/* A message of the peer's has come, or will not: the tunnel of a revocation that is done with may have waited for that. */
void pilot_trust_resume_revocation (PilotTrust *trust, guint32 peer);
void pilot_trust_revoking_free (gpointer revoking);

/* --- trust-direct.c --- */
typedef void (*PilotTrustSentFunc) (PilotTrust *trust, guint32 peer, gboolean sent, gpointer user_data);
PilotTrustDirect *pilot_trust_direct_new (PilotTrust *trust);
void pilot_trust_direct_free (PilotTrustDirect *direct);
/* Whether a message of @peer is on its way: its stream is open. */
gboolean pilot_trust_direct_is_receiving (PilotTrustDirect *direct, guint32 peer);
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
