/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "trust-private.h"

#include <string.h>

#include "daemon/core/plugin/call.h"
#include "libpilot/pilot-error.h"

#define MAX_PENDING 256
#define MAX_PENDING_PER_SOURCE 16
#define PENDING_LIFETIME (30 * 24 * 3600)

G_DEFINE_FINAL_TYPE (PilotTrust, pilot_trust, G_TYPE_OBJECT)

enum { SIGNAL_CHANGED,
       SIGNAL_REQUEST_ADDED,
       SIGNAL_REQUEST_REMOVED,
       SIGNAL_OUTGOING_CHANGED,
       N_SIGNALS };
static guint signals[N_SIGNALS];

gint64
pilot_trust_now (void)
{
  return g_get_real_time () / G_USEC_PER_SEC;
}

/* --- tables: the store is the truth, these are for quick looks --- */

static void
reload (PilotTrust *trust)
{
  for (guint kind = 0; kind < PILOT_TRUST_N_KINDS; kind++) {
    g_autoptr (GPtrArray) records = pilot_call_list (trust->store, kind);

    g_hash_table_remove_all (trust->tables[kind]);
    for (guint i = 0; i < records->len; i++) {
      PilotTrustRecord *record = records->pdata[i];

      g_hash_table_insert (trust->tables[kind], GUINT_TO_POINTER (record->node), pilot_trust_record_copy (record));
    }
  }
}

const PilotTrustRecord *
pilot_trust_peek (PilotTrust *trust, PilotTrustKind kind, guint32 peer)
{
  return g_hash_table_lookup (trust->tables[kind], GUINT_TO_POINTER (peer));
}

gboolean
pilot_trust_has (PilotTrust *trust, PilotTrustKind kind, guint32 peer)
{
  return pilot_trust_peek (trust, kind, peer) != NULL;
}

/* Puts the store back to what the tables say for one peer, after a change that failed half way. */
static void
undo (PilotTrust *trust, guint32 peer)
{
  for (guint kind = 0; kind < PILOT_TRUST_N_KINDS; kind++) {
    const PilotTrustRecord *record = pilot_trust_peek (trust, kind, peer);
    g_autoptr (GError) error = NULL;

    if (record != NULL ? !pilot_call_put (trust->store, record, &error) : !pilot_call_remove (trust->store, kind, peer, &error)) {
      if (!g_error_matches (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND))
        g_warning ("the trust store cannot undo a change: %s", error->message);
    }
  }
}

/* One change of one peer: takes away the records of the kinds in @remove, then puts @put. Durable, or nothing has changed. */
gboolean
pilot_trust_commit (PilotTrust *trust, guint32 peer, guint remove, const PilotTrustRecord *put, GError **error)
{
  gboolean changed = put != NULL;
  gboolean ok = TRUE;

  for (guint kind = 0; ok && kind < PILOT_TRUST_N_KINDS; kind++) {
    if ((remove & (1u << kind)) == 0 || !pilot_trust_has (trust, kind, peer))
      continue;
    changed = TRUE;
    ok = pilot_call_remove (trust->store, kind, peer, error);
  }
  if (ok && put != NULL)
    ok = pilot_call_put (trust->store, put, error);
  if (!ok) {
    undo (trust, peer);
    return FALSE;
  }
  if (!changed)
    return TRUE;
  ok = pilot_call_flush (trust->store, error);
  reload (trust);
  return ok;
}

#define ALL_KINDS (PILOT_TRUST_KIND_BIT (PILOT_TRUST_TRUSTED) | PILOT_TRUST_KIND_BIT (PILOT_TRUST_PENDING) | PILOT_TRUST_KIND_BIT (PILOT_TRUST_OUTGOING) | PILOT_TRUST_KIND_BIT (PILOT_TRUST_REVOKED))

/* A request of ours came or went: what became of an earlier one says nothing any more. */
static void
outgoing_changed (PilotTrust *trust, guint32 peer)
{
  g_hash_table_remove (trust->deliveries, GUINT_TO_POINTER (peer));
  g_signal_emit (trust, signals[SIGNAL_OUTGOING_CHANGED], 0, peer);
}

void
pilot_trust_emit_removed (PilotTrust *trust, guint32 peer, gboolean pending, gboolean outgoing)
{
  if (pending)
    g_signal_emit (trust, signals[SIGNAL_REQUEST_REMOVED], 0, peer);
  if (outgoing)
    outgoing_changed (trust, peer);
}

void
pilot_trust_emit_changed (PilotTrust *trust, guint32 peer, const char *what, const char *reason)
{
  g_signal_emit (trust, signals[SIGNAL_CHANGED], 0, peer, what, reason);
}

/* --- the engine's view --- */

void
pilot_trust_tell_engine (PilotTrust *trust, guint32 peer)
{
  const PilotTrustRecord *record = pilot_trust_peek (trust, PILOT_TRUST_TRUSTED, peer);

  pilot_overlay_set_trusted (trust->node->overlay, peer, record != NULL, record != NULL && record->has_key ? record->key : NULL, g_get_monotonic_time ());
  pilot_node_kick (trust->node);
}

/* A record made before its key was known takes the one it sees first (trust.md section 7). */
static void
adopt_key (PilotTrust *trust, guint32 peer, const guint8 *key)
{
  const PilotTrustRecord *old = pilot_trust_peek (trust, PILOT_TRUST_TRUSTED, peer);
  g_autoptr (PilotTrustRecord) record = NULL;
  g_autoptr (GError) error = NULL;

  if (key == NULL || old == NULL || old->has_key)
    return;
  record = pilot_trust_record_copy (old);
  pilot_trust_record_set_key (record, key);
  if (!pilot_trust_commit (trust, peer, 0, record, &error)) {
    g_warning ("the key of node %u is not remembered: %s", peer, error->message);
    return;
  }
  pilot_trust_tell_engine (trust, peer);
}

static void
on_key_for_record (PilotNode *node, guint32 peer, const guint8 *key, gpointer user_data)
{
  if (node->trust != NULL && node->trust->running)
    adopt_key (node->trust, peer, key);
}

/* --- granting and ending --- */

/* What our own request promised to open once it is granted. */
static void
open_promised_ports (PilotTrust *trust, guint32 peer, const guint8 *key)
{
  const char *ports = pilot_node_state_get_ports (trust->node->state, peer);
  g_autofree char *opened = NULL;
  g_autoptr (GError) error = NULL;

  if (ports == NULL)
    return;
  if (!pilot_access_grant (trust->node->access, peer, key, ports, &opened, &error) ||
      !pilot_node_state_set_ports (trust->node->state, peer, NULL, &error))
    g_warning ("ports \"%s\" are not opened for node %u: %s", ports, peer, error->message);
  else
    g_message ("node %u may reach here: %s", peer, opened);
}

gboolean
pilot_trust_grant (PilotTrust *trust, guint32 peer, const guint8 *key, gboolean mutual, const char *reason, GError **error)
{
  g_autoptr (PilotTrustRecord) record = pilot_trust_record_new (PILOT_TRUST_TRUSTED, peer);
  gboolean pending = pilot_trust_has (trust, PILOT_TRUST_PENDING, peer), outgoing = pilot_trust_has (trust, PILOT_TRUST_OUTGOING, peer);

  record->time = pilot_trust_now ();
  record->mutual = mutual;
  pilot_trust_record_set_key (record, key);
  if (!pilot_trust_commit (trust, peer, ALL_KINDS & ~PILOT_TRUST_KIND_BIT (PILOT_TRUST_TRUSTED), record, error))
    return FALSE;
  pilot_trust_stop_revocation (trust, peer);
  g_hash_table_remove (trust->anew, GUINT_TO_POINTER (peer));
  pilot_trust_tell_engine (trust, peer);
  if (outgoing)
    open_promised_ports (trust, peer, key);
  if (key == NULL)
    pilot_node_lookup_key (trust->node, peer, on_key_for_record, NULL);
  g_message ("node %u is trusted (%s)", peer, reason);
  pilot_trust_emit_removed (trust, peer, pending, outgoing);
  pilot_trust_emit_changed (trust, peer, "granted", reason);
  pilot_node_emit_peer_changed (trust->node, peer);
  return TRUE;
}

/* --- what peers say --- */

/* By every way there is: which one works depends on how the request came and on who can reach whom (trust.md section 11.3). */
static void
send_accept (PilotTrust *trust, guint32 peer)
{
  pilot_trust_relay_report (trust->relay, peer);
  pilot_trust_relay_respond (trust->relay, peer, TRUE);
  pilot_trust_direct_send (trust->direct, peer, PILOT_TRUST_MESSAGE_ACCEPT, NULL, NULL, NULL);
}

static guint
count_from (PilotTrust *trust, guint32 source)
{
  GHashTableIter iter;
  gpointer value;
  guint n = 0;

  g_hash_table_iter_init (&iter, trust->tables[PILOT_TRUST_PENDING]);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    n += ((PilotTrustRecord *) value)->source == source ? 1 : 0;
  return n;
}

/* A request comes by two ways, and again after a restart of whoever asks. @old may be NULL. */
static gboolean
is_same_request (const PilotTrustRecord *old, const PilotTrustRecord *record)
{
  return old != NULL && old->has_key == record->has_key && (!old->has_key || memcmp (old->key, record->key, sizeof old->key) == 0) &&
         g_strcmp0 (old->justification, record->justification) == 0;
}

static void
queue_request (PilotTrust *trust, guint32 peer, const guint8 *key, const char *justification)
{
  g_autoptr (PilotTrustRecord) record = NULL;
  g_autoptr (GError) error = NULL;

  if (!pilot_trust_has (trust, PILOT_TRUST_PENDING, peer) &&
      (g_hash_table_size (trust->tables[PILOT_TRUST_PENDING]) >= MAX_PENDING || count_from (trust, peer) >= MAX_PENDING_PER_SOURCE)) {
    g_warning ("a request for trust from node %u is dropped: too many wait already", peer);
    return;
  }
  record = pilot_trust_record_new (PILOT_TRUST_PENDING, peer);
  record->time = pilot_trust_now ();
  record->source = peer;
  record->justification = pilot_trust_sanitize (justification);
  pilot_trust_record_set_key (record, key);
  if (is_same_request (pilot_trust_peek (trust, PILOT_TRUST_PENDING, peer), record))
    return;
  if (!pilot_trust_commit (trust, peer, 0, record, &error)) {
    g_warning ("a request for trust from node %u cannot be stored: %s", peer, error->message);
    return;
  }
  g_message ("node %u asks for trust", peer);
  g_signal_emit (trust, signals[SIGNAL_REQUEST_ADDED], 0, peer);
}

void
pilot_trust_handle_request (PilotTrust *trust, guint32 peer, const guint8 *key, const char *justification)
{
  const PilotTrustRecord *record = pilot_trust_peek (trust, PILOT_TRUST_TRUSTED, peer);
  const char *reason = NULL;
  g_autoptr (GError) error = NULL;

  if (peer == trust->node->id)
    return;
  if (record != NULL && (!record->has_key || key == NULL || memcmp (record->key, key, sizeof record->key) == 0)) {
    adopt_key (trust, peer, key);
    send_accept (trust, peer);
    return;
  }
  if (record != NULL)
    /* The id has a new key behind it: perhaps a rotation, perhaps somebody else. Only the user can tell: it stays a request. */
    pilot_node_security_event (trust->node, "key-changed", peer, "it asks for trust with another key than the one that is trusted");
  else if (key == NULL)
    /* Trust that nobody looks at is given to a key, never to a bare node id (trust.md checklist 8): the user decides. */
    g_debug ("the key of node %u is not known: its request waits", peer);
  else if (pilot_trust_has (trust, PILOT_TRUST_OUTGOING, peer))
    reason = "mutual";
  else if (pilot_config_get_boolean (trust->node->config, "trust_auto_approve"))
    reason = "auto_approve";

  if (reason == NULL)
    queue_request (trust, peer, key, justification);
  else if (pilot_trust_grant (trust, peer, key, strcmp (reason, "mutual") == 0, reason, &error))
    send_accept (trust, peer);
  else
    g_warning ("trust in node %u cannot be stored: %s", peer, error->message);
}

void
pilot_trust_handle_accept (PilotTrust *trust, guint32 peer, const guint8 *key)
{
  const PilotTrustRecord *revoked = pilot_trust_peek (trust, PILOT_TRUST_REVOKED, peer);
  g_autoptr (GError) error = NULL;

  if (pilot_trust_has (trust, PILOT_TRUST_TRUSTED, peer)) {
    adopt_key (trust, peer, key);
    return;
  }
  if (!pilot_trust_has (trust, PILOT_TRUST_OUTGOING, peer) || (revoked != NULL && revoked->until > pilot_trust_now ())) {
    g_debug ("an acceptance from node %u that nobody asked for is ignored", peer);
    return;
  }
  if (pilot_trust_grant (trust, peer, key, TRUE, "mutual", &error))
    pilot_trust_relay_report (trust->relay, peer);
  else
    g_warning ("trust in node %u cannot be stored: %s", peer, error->message);
}

void
pilot_trust_withdraw (PilotTrust *trust, guint32 peer)
{
  g_autoptr (GError) error = NULL;

  if (!pilot_trust_has (trust, PILOT_TRUST_OUTGOING, peer))
    return;
  if (!pilot_trust_commit (trust, peer, PILOT_TRUST_KIND_BIT (PILOT_TRUST_OUTGOING), NULL, &error)) {
    g_warning ("the request to node %u cannot be forgotten: %s", peer, error->message);
    return;
  }
  outgoing_changed (trust, peer);
}

void
pilot_trust_handle_reject (PilotTrust *trust, guint32 peer)
{
  if (pilot_trust_has (trust, PILOT_TRUST_OUTGOING, peer))
    g_message ("node %u does not want trust", peer);
  pilot_trust_withdraw (trust, peer);
}

static gboolean
on_heard (gpointer user_data)
{
  PilotTrust *trust = user_data;
  GHashTableIter iter;
  gpointer key;

  trust->heard_source = 0;
  g_hash_table_iter_init (&iter, trust->heard);
  while (g_hash_table_iter_next (&iter, &key, NULL)) {
    guint32 peer = GPOINTER_TO_UINT (key);
    PilotPeerInfo info;

    g_hash_table_iter_remove (&iter);
    if (pilot_node_state_has_revocation (trust->node->state, peer) && !pilot_trust_has (trust, PILOT_TRUST_TRUSTED, peer))
      pilot_trust_start_revocation (trust, peer, FALSE);
    else if (pilot_overlay_peer_info (trust->node->overlay, peer, &info) && info.confirmed && info.has_key)
      adopt_key (trust, peer, info.key);
  }
  return G_SOURCE_REMOVE;
}

void
pilot_trust_heard (PilotTrust *trust, guint32 peer)
{
  const PilotTrustRecord *record = pilot_trust_peek (trust, PILOT_TRUST_TRUSTED, peer);

  if (!trust->running || !((record != NULL && !record->has_key) || pilot_node_state_has_revocation (trust->node->state, peer)))
    return;
  g_hash_table_add (trust->heard, GUINT_TO_POINTER (peer));
  if (trust->heard_source == 0)
    trust->heard_source = g_timeout_add (50, on_heard, trust);
}

gboolean
pilot_trust_expects (PilotTrust *trust, guint32 peer)
{
  return pilot_trust_has (trust, PILOT_TRUST_OUTGOING, peer) || pilot_trust_has (trust, PILOT_TRUST_PENDING, peer);
}

/* --- what the user says --- */

gboolean
pilot_trust_check_peer (PilotTrust *trust, guint32 peer, GError **error)
{
  if (!trust->running) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, "the node is not running");
    return FALSE;
  }
  if (peer == 0 || peer == G_MAXUINT32 || peer == trust->node->id) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, peer == trust->node->id ? "node %u is this node itself" : "node id %u cannot be", peer);
    return FALSE;
  }
  return TRUE;
}

void
pilot_trust_note_delivery (PilotTrust *trust, guint32 peer, const GError *error)
{
  const char *known = pilot_trust_get_delivery (trust, peer);

  /* "Already pending": an earlier run had it delivered. */
  if (g_error_matches (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS))
    error = NULL;
  if (error != NULL && known != NULL && *known == '\0')
    return; /* it got there by another way */
  pilot_trust_asking_told (trust, peer, error);
  if (pilot_trust_has (trust, PILOT_TRUST_OUTGOING, peer))
    g_hash_table_insert (trust->deliveries, GUINT_TO_POINTER (peer), error == NULL ? g_strdup ("") : pilot_error_dup_message (error));
}

const char *
pilot_trust_get_delivery (PilotTrust *trust, guint32 peer)
{
  return g_hash_table_lookup (trust->deliveries, GUINT_TO_POINTER (peer));
}

static void
on_request_sent (PilotTrust *trust, guint32 peer, gboolean sent, gpointer user_data)
{
  if (sent)
    pilot_trust_note_delivery (trust, peer, NULL);
}

void
pilot_trust_send_request (PilotTrust *trust, guint32 peer)
{
  const PilotTrustRecord *record = pilot_trust_peek (trust, PILOT_TRUST_OUTGOING, peer);
  const char *justification;

  if (record == NULL || trust->node->id == 0)
    return; /* pilot_trust_registered() sends it */
  justification = record->justification != NULL ? record->justification : "";
  /* Both ways: a private node cannot be reached directly, a Go node may look into its inbox once a minute only. */
  pilot_trust_relay_request (trust->relay, peer, justification);
  pilot_trust_direct_send (trust->direct, peer, PILOT_TRUST_MESSAGE_REQUEST, justification, on_request_sent, NULL);
}

static void
evict_oldest_outgoing (PilotTrust *trust)
{
  const PilotTrustRecord *oldest = NULL;
  GHashTableIter iter;
  gpointer value;
  g_autoptr (GError) error = NULL;

  if (g_hash_table_size (trust->tables[PILOT_TRUST_OUTGOING]) < PILOT_TRUST_MAX_OUTGOING)
    return;
  g_hash_table_iter_init (&iter, trust->tables[PILOT_TRUST_OUTGOING]);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    if (oldest == NULL || ((PilotTrustRecord *) value)->time < oldest->time)
      oldest = value;
  if (!pilot_trust_commit (trust, oldest->node, PILOT_TRUST_KIND_BIT (PILOT_TRUST_OUTGOING), NULL, &error))
    g_warning ("an old request cannot be forgotten: %s", error->message);
}

/* They asked us before: our asking is the answer. */
static gboolean
answer_by_asking (PilotTrust *trust, guint32 peer, const char *ports, GError **error)
{
  const PilotTrustRecord *pending = pilot_trust_peek (trust, PILOT_TRUST_PENDING, peer);
  guint8 key[32];
  gboolean has_key = pending->has_key;

  if (has_key)
    memcpy (key, pending->key, sizeof key);
  if (ports != NULL && !pilot_access_grant (trust->node->access, peer, has_key ? key : NULL, ports, NULL, error))
    return FALSE;
  if (!pilot_trust_grant (trust, peer, has_key ? key : NULL, TRUE, "mutual", error))
    return FALSE;
  send_accept (trust, peer);
  return TRUE;
}

gboolean
pilot_trust_handshake (PilotTrust *trust, guint32 peer, const char *justification, const char *ports, const char **status, GError **error)
{
  const PilotTrustRecord *old;
  g_autoptr (PilotTrustRecord) record = NULL;
  gboolean revoked;

  if (!pilot_trust_check_peer (trust, peer, error) || (ports != NULL && !pilot_access_parse_ports (ports, error)))
    return FALSE;
  if (justification != NULL && strlen (justification) > PILOT_TRUST_MAX_JUSTIFICATION) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "the justification is longer than %d bytes", PILOT_TRUST_MAX_JUSTIFICATION);
    return FALSE;
  }
  old = pilot_trust_peek (trust, PILOT_TRUST_TRUSTED, peer);
  if (old != NULL) {
    *status = "trusted";
    return ports == NULL || pilot_access_grant (trust->node->access, peer, old->has_key ? old->key : NULL, ports, NULL, error);
  }
  if (pilot_trust_has (trust, PILOT_TRUST_PENDING, peer)) {
    *status = "trusted";
    return answer_by_asking (trust, peer, ports, error);
  }
  *status = pilot_trust_has (trust, PILOT_TRUST_OUTGOING, peer) ? "pending" : "sent";
  evict_oldest_outgoing (trust);
  record = pilot_trust_record_new (PILOT_TRUST_OUTGOING, peer);
  record->time = pilot_trust_now ();
  record->justification = pilot_trust_sanitize (justification != NULL ? justification : "");
  if (ports != NULL && !pilot_node_state_set_ports (trust->node->state, peer, ports, error))
    return FALSE;
  revoked = pilot_trust_has (trust, PILOT_TRUST_REVOKED, peer);
  if (!pilot_trust_commit (trust, peer, PILOT_TRUST_KIND_BIT (PILOT_TRUST_REVOKED), record, error))
    return FALSE;
  if (revoked)
    g_hash_table_add (trust->anew, GUINT_TO_POINTER (peer));
  outgoing_changed (trust, peer);
  /* A revocation on its way has to arrive first, or it would take back what this brings; it sends the request when it is done. */
  if (!g_hash_table_contains (trust->revoking, GUINT_TO_POINTER (peer))) {
    pilot_trust_stop_revocation (trust, peer);
    pilot_trust_send_request (trust, peer);
  }
  return TRUE;
}

static GError *
not_asked (guint32 peer)
{
  GError *error = g_error_new (PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "node %u has not asked for trust", peer);

  pilot_error_set_hint (error, "see: pilotctl pending");
  return error;
}

gboolean
pilot_trust_approve (PilotTrust *trust, guint32 peer, const char *ports, char **opened, GError **error)
{
  const PilotTrustRecord *pending = pilot_trust_peek (trust, PILOT_TRUST_PENDING, peer);
  g_autofree char *granted = NULL;
  g_autoptr (GError) minor = NULL;
  guint8 key[32];
  gboolean has_key;

  if (!pilot_trust_check_peer (trust, peer, error))
    return FALSE;
  if (pending == NULL) {
    g_propagate_error (error, not_asked (peer));
    return FALSE;
  }
  has_key = pending->has_key;
  if (has_key)
    memcpy (key, pending->key, sizeof key);
  if (!pilot_access_grant (trust->node->access, peer, has_key ? key : NULL, ports, &granted, error))
    return FALSE;
  if (!pilot_trust_grant (trust, peer, has_key ? key : NULL, pilot_trust_has (trust, PILOT_TRUST_OUTGOING, peer), "approved", error)) {
    if (!pilot_access_revoke (trust->node->access, peer, NULL, &minor))
      g_warning ("what was opened for node %u is still written down: %s", peer, minor->message);
    return FALSE;
  }
  send_accept (trust, peer);
  if (opened != NULL)
    *opened = g_steal_pointer (&granted);
  return TRUE;
}

gboolean
pilot_trust_reject (PilotTrust *trust, guint32 peer, const char *reason, GError **error)
{
  if (!pilot_trust_check_peer (trust, peer, error))
    return FALSE;
  if (!pilot_trust_has (trust, PILOT_TRUST_PENDING, peer)) {
    g_propagate_error (error, not_asked (peer));
    return FALSE;
  }
  if (!pilot_trust_commit (trust, peer, PILOT_TRUST_KIND_BIT (PILOT_TRUST_PENDING), NULL, error))
    return FALSE;
  g_signal_emit (trust, signals[SIGNAL_REQUEST_REMOVED], 0, peer);
  pilot_trust_relay_respond (trust->relay, peer, FALSE);
  pilot_trust_direct_send (trust->direct, peer, PILOT_TRUST_MESSAGE_REJECT, reason != NULL ? reason : "", NULL, NULL);
  return TRUE;
}

gboolean
pilot_trust_is_trusted (PilotTrust *trust, guint32 peer)
{
  return pilot_trust_has (trust, PILOT_TRUST_TRUSTED, peer);
}

GPtrArray *
pilot_trust_list (PilotTrust *trust, PilotTrustKind kind)
{
  GPtrArray *records = g_ptr_array_new_with_free_func ((GDestroyNotify) pilot_trust_record_free);
  GHashTableIter iter;
  gpointer value;

  g_hash_table_iter_init (&iter, trust->tables[kind]);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    g_ptr_array_add (records, pilot_trust_record_copy (value));
  return records;
}

PilotTrustRecord *
pilot_trust_lookup (PilotTrust *trust, PilotTrustKind kind, guint32 peer)
{
  const PilotTrustRecord *record = pilot_trust_peek (trust, kind, peer);

  return record != NULL ? pilot_trust_record_copy (record) : NULL;
}

void
pilot_trust_refresh_async (PilotTrust *trust, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
  pilot_trust_relay_refresh (trust->relay, g_task_new (trust, cancellable, callback, user_data));
}

gboolean
pilot_trust_refresh_finish (PilotTrust *trust, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, trust), FALSE);
  return g_task_propagate_boolean (G_TASK (result), error);
}

/* --- life --- */

void
pilot_trust_expire_pending (PilotTrust *trust)
{
  g_autoptr (GPtrArray) records = pilot_trust_list (trust, PILOT_TRUST_PENDING);
  gint64 now = pilot_trust_now ();

  for (guint i = 0; i < records->len; i++) {
    const PilotTrustRecord *record = records->pdata[i];
    g_autoptr (GError) error = NULL;

    if (now - record->time <= PENDING_LIFETIME)
      continue;
    if (pilot_trust_commit (trust, record->node, PILOT_TRUST_KIND_BIT (PILOT_TRUST_PENDING), NULL, &error))
      g_signal_emit (trust, signals[SIGNAL_REQUEST_REMOVED], 0, record->node);
    else
      g_warning ("an old request cannot be forgotten: %s", error->message);
  }
}

gboolean
pilot_trust_start (PilotTrust *trust, GError **error)
{
  GHashTableIter iter;
  gpointer key;

  if (!pilot_call_load (trust->store, error))
    return FALSE;
  reload (trust);
  trust->running = TRUE;
  pilot_trust_expire_pending (trust);
  g_hash_table_iter_init (&iter, trust->tables[PILOT_TRUST_TRUSTED]);
  while (g_hash_table_iter_next (&iter, &key, NULL))
    pilot_trust_tell_engine (trust, GPOINTER_TO_UINT (key));
  return pilot_trust_direct_start (trust->direct, error);
}

void
pilot_trust_wind_down (PilotTrust *trust)
{
  pilot_trust_relay_wind_down (trust->relay);
}

void
pilot_trust_stop (PilotTrust *trust)
{
  trust->running = FALSE;
  g_clear_handle_id (&trust->heard_source, g_source_remove);
  g_hash_table_remove_all (trust->revoking);
  pilot_trust_direct_stop (trust->direct);
  pilot_trust_relay_stop (trust->relay);
}

void
pilot_trust_registered (PilotTrust *trust)
{
  g_autoptr (GArray) revocations = pilot_node_state_list_revocations (trust->node->state);
  GHashTableIter iter;
  gpointer key, value;

  if (!trust->running)
    return;
  pilot_trust_relay_start (trust->relay);
  g_hash_table_iter_init (&iter, trust->tables[PILOT_TRUST_TRUSTED]);
  while (g_hash_table_iter_next (&iter, &key, &value)) {
    pilot_trust_relay_report (trust->relay, GPOINTER_TO_UINT (key));
    if (!((PilotTrustRecord *) value)->has_key)
      pilot_node_lookup_key (trust->node, GPOINTER_TO_UINT (key), on_key_for_record, NULL);
  }
  g_hash_table_iter_init (&iter, trust->tables[PILOT_TRUST_OUTGOING]);
  while (g_hash_table_iter_next (&iter, &key, NULL))
    pilot_trust_send_request (trust, GPOINTER_TO_UINT (key));
  for (guint i = 0; i < revocations->len; i++)
    if (!pilot_trust_has (trust, PILOT_TRUST_TRUSTED, g_array_index (revocations, guint32, i)))
      pilot_trust_start_revocation (trust, g_array_index (revocations, guint32, i), FALSE);
}

void
pilot_trust_notified (PilotTrust *trust)
{
  if (trust->running)
    pilot_trust_relay_notified (trust->relay);
}

PilotTrust *
pilot_trust_new (PilotNode *node, PilotTrustStore *store)
{
  PilotTrust *trust = g_object_new (PILOT_TYPE_TRUST, NULL);

  trust->node = node;
  trust->store = g_object_ref (store);
  trust->direct = pilot_trust_direct_new (trust);
  trust->relay = pilot_trust_relay_new (trust);
  return trust;
}

static void
pilot_trust_finalize (GObject *object)
{
  PilotTrust *trust = PILOT_TRUST (object);

  g_clear_handle_id (&trust->heard_source, g_source_remove);
  g_clear_pointer (&trust->direct, pilot_trust_direct_free);
  g_clear_pointer (&trust->relay, pilot_trust_relay_free);
  g_hash_table_unref (trust->deliveries);
  g_hash_table_unref (trust->revoking);
  g_hash_table_unref (trust->anew);
  g_hash_table_unref (trust->heard);
  for (guint kind = 0; kind < PILOT_TRUST_N_KINDS; kind++)
    g_hash_table_unref (trust->tables[kind]);
  g_clear_object (&trust->store);
  G_OBJECT_CLASS (pilot_trust_parent_class)->finalize (object);
}

static void
pilot_trust_class_init (PilotTrustClass *klass)
{
  GType type = G_TYPE_FROM_CLASS (klass);

  G_OBJECT_CLASS (klass)->finalize = pilot_trust_finalize;
  signals[SIGNAL_CHANGED] = g_signal_new ("changed", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 3, G_TYPE_UINT, G_TYPE_STRING, G_TYPE_STRING);
  signals[SIGNAL_REQUEST_ADDED] = g_signal_new ("request-added", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 1, G_TYPE_UINT);
  signals[SIGNAL_REQUEST_REMOVED] = g_signal_new ("request-removed", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 1, G_TYPE_UINT);
  signals[SIGNAL_OUTGOING_CHANGED] = g_signal_new ("outgoing-changed", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 1, G_TYPE_UINT);
}

static void
pilot_trust_init (PilotTrust *trust)
{
  for (guint kind = 0; kind < PILOT_TRUST_N_KINDS; kind++)
    trust->tables[kind] = g_hash_table_new_full (NULL, NULL, NULL, (GDestroyNotify) pilot_trust_record_free);
  trust->deliveries = g_hash_table_new_full (NULL, NULL, NULL, g_free);
  trust->revoking = g_hash_table_new_full (NULL, NULL, NULL, pilot_trust_revoking_free);
  trust->anew = g_hash_table_new (NULL, NULL);
  trust->heard = g_hash_table_new (NULL, NULL);
}
