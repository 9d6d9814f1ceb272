/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How trust ends: by our user, or by the peer. The peer hears of it first, then the tunnel goes. */
#include "trust-private.h"

#include "daemon/core/plugin/call.h"
#include "libpilot/pilot-error.h"

#define COOLDOWN 300
/* How long a revocation may use the tunnel before it goes, in milliseconds. */
#define REVOKE_GRACE 5000
/* How long the tunnel stays after the peer's revocation: its acknowledgement has to get through. */
#define REVOKED_GRACE 300
/* And for a message of the peer's that has begun to come: a Go node whose user asks again at once sends it before the tunnel goes, and does not see that it
 * was lost with it. */
#define RECEIVE_GRACE 2000

typedef struct {
  PilotTrust *trust;
  guint32 peer;
  guint timeout_source;
  gboolean by_peer;
  gboolean done; /* there is nothing more to tell: the tunnel waits for a message of the peer's */
  gboolean told;
} Revoking;

#define EVERY_END (PILOT_TRUST_KIND_BIT (PILOT_TRUST_TRUSTED) | PILOT_TRUST_KIND_BIT (PILOT_TRUST_PENDING) | PILOT_TRUST_KIND_BIT (PILOT_TRUST_OUTGOING))

static gboolean
has_any (PilotTrust *trust, guint32 peer, guint kinds)
{
  for (guint kind = 0; kind < PILOT_TRUST_N_KINDS; kind++)
    if ((kinds & PILOT_TRUST_KIND_BIT (kind)) != 0 && pilot_trust_has (trust, kind, peer))
      return TRUE;
  return FALSE;
}

/* Everything but telling the peer and the engine: the records of @kinds go, @put comes. */
static gboolean
end (PilotTrust *trust, guint32 peer, guint kinds, const PilotTrustRecord *put, const char *reason, GError **error)
{
  gboolean trusted = pilot_trust_has (trust, PILOT_TRUST_TRUSTED, peer), pending = pilot_trust_has (trust, PILOT_TRUST_PENDING, peer);
  gboolean outgoing = (kinds & PILOT_TRUST_KIND_BIT (PILOT_TRUST_OUTGOING)) != 0 && pilot_trust_has (trust, PILOT_TRUST_OUTGOING, peer);
  g_autoptr (GError) minor = NULL;

  if (!pilot_trust_commit (trust, peer, kinds, put, error))
    return FALSE;
  /* What a request promised to open goes with the request. */
  if (!pilot_access_revoke (trust->node->access, peer, NULL, &minor) ||
      (!pilot_trust_has (trust, PILOT_TRUST_OUTGOING, peer) && !pilot_node_state_set_ports (trust->node->state, peer, NULL, &minor)))
    g_warning ("what was opened for node %u is still written down: %s", peer, minor->message);
  pilot_node_await_no_answer (trust->node, peer);
  pilot_trust_emit_removed (trust, peer, pending, outgoing);
  if (trusted) {
    g_message ("node %u is not trusted any more (%s)", peer, reason);
    pilot_trust_emit_changed (trust, peer, "revoked", reason);
  }
  pilot_node_emit_peer_changed (trust->node, peer);
  return TRUE;
}

void
pilot_trust_stop_revocation (PilotTrust *trust, guint32 peer)
{
  g_autoptr (GError) error = NULL;

  /* A revocation that has not left yet would undo what comes now. */
  if (g_hash_table_remove (trust->revoking, GUINT_TO_POINTER (peer)))
    pilot_trust_direct_cancel (trust->direct, peer);
  if (!pilot_node_state_set_revocation (trust->node->state, peer, FALSE, &error))
    g_warning ("node.json: %s", error->message);
}

static gboolean on_revoke_timeout (gpointer user_data);

/* The tunnel goes, unless there is trust again. */
static void
close_revocation (Revoking *revoking)
{
  PilotTrust *trust = revoking->trust;
  guint32 peer = revoking->peer;
  gboolean tell_by_registry = !revoking->by_peer && !revoking->told;

  g_hash_table_remove (trust->revoking, GUINT_TO_POINTER (peer));
  if (pilot_trust_has (trust, PILOT_TRUST_TRUSTED, peer))
    return;
  pilot_trust_tell_engine (trust, peer);
  pilot_trust_relay_revoke (trust->relay, peer);
  /* There is no relayed revocation. A rejection is relayed, and one of our own nodes that gets it from somebody it trusts asks the registry. Only when the
   * peer was not reached: a Go node that asks again meanwhile takes it for the answer, and drops the acceptance that follows. */
  if (tell_by_registry)
    pilot_trust_relay_tell_revoked (trust->relay, peer);
  if (pilot_trust_has (trust, PILOT_TRUST_OUTGOING, peer))
    pilot_trust_send_request (trust, peer);
}

static void
finish_revocation (Revoking *revoking, gboolean told)
{
  PilotTrust *trust = revoking->trust;
  g_autoptr (GError) error = NULL;

  revoking->done = TRUE;
  revoking->told = told;
  pilot_trust_direct_cancel (trust->direct, revoking->peer);
  if (told && !pilot_node_state_set_revocation (trust->node->state, revoking->peer, FALSE, &error))
    g_warning ("node.json: %s", error->message);
  g_clear_handle_id (&revoking->timeout_source, g_source_remove);
  if (pilot_trust_direct_is_receiving (trust->direct, revoking->peer))
    revoking->timeout_source = g_timeout_add (RECEIVE_GRACE, on_revoke_timeout, revoking);
  else
    close_revocation (revoking);
}

void
pilot_trust_resume_revocation (PilotTrust *trust, guint32 peer)
{
  Revoking *revoking = g_hash_table_lookup (trust->revoking, GUINT_TO_POINTER (peer));

  if (revoking != NULL && revoking->done && !pilot_trust_direct_is_receiving (trust->direct, peer))
    close_revocation (revoking);
}

static gboolean
on_revoke_timeout (gpointer user_data)
{
  Revoking *revoking = user_data;

  revoking->timeout_source = 0;
  if (revoking->done)
    close_revocation (revoking);
  else
    finish_revocation (revoking, FALSE);
  return G_SOURCE_REMOVE;
}

static void
on_revoke_sent (PilotTrust *trust, guint32 peer, gboolean sent, gpointer user_data)
{
  Revoking *revoking = g_hash_table_lookup (trust->revoking, GUINT_TO_POINTER (peer));

  if (revoking != NULL && !revoking->done)
    finish_revocation (revoking, sent);
}

void
pilot_trust_revoking_free (gpointer data)
{
  Revoking *revoking = data;

  g_clear_handle_id (&revoking->timeout_source, g_source_remove);
  g_free (revoking);
}

void
pilot_trust_start_revocation (PilotTrust *trust, guint32 peer, gboolean by_peer)
{
  Revoking *revoking;

  if (g_hash_table_contains (trust->revoking, GUINT_TO_POINTER (peer)))
    return;
  revoking = g_new0 (Revoking, 1);
  revoking->trust = trust;
  revoking->peer = peer;
  revoking->by_peer = by_peer;
  revoking->timeout_source = g_timeout_add (by_peer ? REVOKED_GRACE : REVOKE_GRACE, on_revoke_timeout, revoking);
  g_hash_table_insert (trust->revoking, GUINT_TO_POINTER (peer), revoking);
  if (!by_peer)
    pilot_trust_direct_send (trust->direct, peer, PILOT_TRUST_MESSAGE_REVOKE, NULL, on_revoke_sent, NULL);
}

void
pilot_trust_handle_revoke (PilotTrust *trust, guint32 peer, gint64 sent_at)
{
  const PilotTrustRecord *outgoing = pilot_trust_peek (trust, PILOT_TRUST_OUTGOING, peer);
  guint ended = PILOT_TRUST_KIND_BIT (PILOT_TRUST_TRUSTED) | PILOT_TRUST_KIND_BIT (PILOT_TRUST_PENDING);
  /* Times of messages run ahead of the clock when there are several in a second. */
  gint64 ahead = g_hash_table_contains (trust->anew, GUINT_TO_POINTER (peer)) ? PILOT_TRUST_MAX_AHEAD / 2 : -1;
  gboolean asked_since = outgoing != NULL && outgoing->time + ahead >= sent_at;
  g_autoptr (GError) error = NULL;

  /* A request made after it, while it was on its way, asks for new trust and stands. */
  if (!asked_since)
    ended |= PILOT_TRUST_KIND_BIT (PILOT_TRUST_OUTGOING);
  if (!has_any (trust, peer, ended))
    return;
  /* An accept of ours that is still on its way would undo it; a request is sent anew when the revocation is done with. */
  pilot_trust_direct_cancel (trust->direct, peer);
  if (!end (trust, peer, ended, NULL, "by_peer", &error)) {
    g_warning ("trust in node %u cannot be removed: %s", peer, error->message);
    return;
  }
  pilot_trust_start_revocation (trust, peer, TRUE);
}

gboolean
pilot_trust_untrust (PilotTrust *trust, guint32 peer, GError **error)
{
  g_autoptr (PilotTrustRecord) revoked = NULL;
  g_autoptr (GError) minor = NULL;

  if (!pilot_trust_check_peer (trust, peer, error))
    return FALSE;
  if (!pilot_trust_has (trust, PILOT_TRUST_TRUSTED, peer) && !pilot_trust_has (trust, PILOT_TRUST_OUTGOING, peer)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "node %u is not trusted", peer);
    return FALSE;
  }
  revoked = pilot_trust_record_new (PILOT_TRUST_REVOKED, peer);
  revoked->time = pilot_trust_now ();
  revoked->until = revoked->time + COOLDOWN;
  pilot_trust_direct_cancel (trust->direct, peer);
  if (!end (trust, peer, EVERY_END, revoked, "local", error))
    return FALSE;
  if (!pilot_node_state_set_revocation (trust->node->state, peer, TRUE, &minor))
    g_warning ("after a restart node %u would not be told again: %s", peer, minor->message);
  pilot_trust_start_revocation (trust, peer, FALSE);
  return TRUE;
}
