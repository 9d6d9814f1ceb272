/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <glib/gstdio.h>

#include "daemon/node/trust-private.h"
#include "libpilot/pilot-error.h"
#include "protocol/trust-message.h"
#include "tests/daemon/pair.h"

/* Trust between nodes over real sockets: how it comes, and how it ends. */

static void
test_approve (void)
{
  World world;
  g_autoptr (PilotTrustRecord) pending = NULL, record = NULL;
  g_autoptr (GError) error = NULL;
  guint8 key[32];
  gsize length;

  start_two (&world);
  assert_ping (&world, 0, 1, "trust_required");

  handshake (&world, 0, 1, NULL, "sent");
  handshake (&world, 0, 1, NULL, "pending");
  g_assert_true (has (&world, 0, PILOT_TRUST_OUTGOING, 1));
  WAIT (LANDS, has (&world, 1, PILOT_TRUST_PENDING, 0));
  pending = pilot_trust_lookup (trust (&world, 1), PILOT_TRUST_PENDING, id (&world, 0));
  g_assert_cmpstr (pending->justification, ==, "let me in");
  g_assert_true (pending->has_key);
  {
    g_autofree guchar *decoded = g_base64_decode (pilot_node_get_public_key (world.hosts[0].node), &length);

    g_assert_cmpmem (pending->key, 32, decoded, length);
    memcpy (key, decoded, 32);
  }
  g_assert_false (trusts (&world, 0, 1));
  approve (&world, 1, 0, "all");
  WAIT (LANDS, trusts (&world, 0, 1) && trusts (&world, 1, 0));
  g_assert_false (has (&world, 0, PILOT_TRUST_OUTGOING, 1));
  g_assert_false (has (&world, 1, PILOT_TRUST_PENDING, 0));
  record = pilot_trust_lookup (trust (&world, 1), PILOT_TRUST_TRUSTED, id (&world, 0));
  g_assert_cmpmem (record->key, 32, key, 32);
  WAIT (LANDS, has (&world, 0, PILOT_TRUST_TRUSTED, 1));

  /* Trust is symmetric, access is not: who asked has opened nothing. */
  assert_access (&world, 1, 0, "all");
  assert_access (&world, 0, 1, "none");
  assert_ping (&world, 0, 1, "");
  assert_ping (&world, 1, 0, "");
  /* The first packets may go through the beacon; what follows does not. */
  WAIT (3, is_direct (&world, 0, 1) && is_direct (&world, 1, 0));

  g_assert_false (pilot_trust_approve (trust (&world, 1), id (&world, 0), NULL, NULL, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND);
  handshake (&world, 0, 1, NULL, "trusted");
  world_clear (&world);
}

static void
test_mutual (void)
{
  World world;

  start_two (&world);
  handshake (&world, 0, 1, "80,443", "sent");
  handshake (&world, 1, 0, NULL, "sent");
  WAIT (LANDS, trusts (&world, 0, 1) && trusts (&world, 1, 0));
  assert_access (&world, 0, 1, "80,443");
  assert_access (&world, 1, 0, "none");
  assert_ping (&world, 1, 0, "");
  world_clear (&world);
}

static void
test_reject (void)
{
  World world;
  g_autoptr (GError) error = NULL;

  start_two (&world);
  handshake (&world, 0, 1, NULL, "sent");
  WAIT (LANDS, has (&world, 1, PILOT_TRUST_PENDING, 0));
  g_assert_true (pilot_trust_reject (trust (&world, 1), id (&world, 0), "no", &error));
  g_assert_false (has (&world, 1, PILOT_TRUST_PENDING, 0));
  WAIT (LANDS, !has (&world, 0, PILOT_TRUST_OUTGOING, 1));
  g_assert_false (trusts (&world, 0, 1));
  g_assert_false (pilot_trust_reject (trust (&world, 1), id (&world, 0), "no", &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND);
  world_clear (&world);
}

/* Either side ends it for both, and asking again works at once. */
static void
test_untrust (void)
{
  World world;

  start_two (&world);
  for (guint round = 0; round < 2; round++) {
    befriend (&world);
    assert_ping (&world, 0, 1, "");
    untrust (&world, round, !round);
    g_assert_false (trusts (&world, round, !round));
    WAIT (LANDS, !trusts (&world, !round, round));
    assert_access (&world, 1, 0, "none");
  }
  g_assert_nonnull (strstr (world.hosts[0].events->str, "revoked local"));
  g_assert_nonnull (strstr (world.hosts[0].events->str, "revoked by_peer"));
  world_clear (&world);
}

/* A request by hand, which comes in two parts. */
typedef struct {
  PilotStreamUser user; /* first */
  gboolean open;
} Request;

static void
request_ready (PilotStreamUser *user, PilotStream *stream, guint ready)
{
  Request *request = (Request *) user;

  request->open |= (ready & PILOT_STREAM_READY_OPEN) != 0;
}

static gboolean
is_told (World *world, guint at, guint peer)
{
  return !pilot_node_state_has_revocation (world->hosts[at].node->state, id (world, peer));
}

/* Who hears that trust is over and asks again at once is not lost with the tunnel that goes. */
static void
test_untrust_asked_again (void)
{
  World world;
  PilotNode *asker;
  Request request = { .user.ready = request_ready };
  PilotStream *stream;
  g_autoptr (PilotTrustMessage) message = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree char *bytes = NULL;
  gsize length;
  gint64 now;

  start_two (&world);
  befriend (&world);
  assert_ping (&world, 1, 0, "");
  asker = world.hosts[1].node;
  stream = pilot_node_connect (asker, id (&world, 0), PILOT_TRUST_PORT, &request.user, &error);
  g_assert_no_error (error);
  WAIT (LANDS, request.open);
  untrust (&world, 0, 1);
  WAIT (LANDS, !trusts (&world, 1, 0));
  /* Else the asker's own tunnel would go, and the stream with it. */
  pilot_trust_stop_revocation (trust (&world, 1), id (&world, 0));
  WAIT (LANDS, is_told (&world, 0, 1));
  g_assert_false (has (&world, 0, PILOT_TRUST_PENDING, 1));

  message = pilot_trust_message_new (&asker->identity, PILOT_TRUST_MESSAGE_REQUEST, id (&world, 1), id (&world, 0), "again", pilot_trust_now ());
  bytes = pilot_trust_message_print (message, &length);
  now = g_get_monotonic_time ();
  g_assert_cmpuint (pilot_stream_write (stream, bytes, length, now), ==, length);
  pilot_stream_shutdown_write (stream, now);
  pilot_node_kick (asker);
  WAIT (LANDS, has (&world, 0, PILOT_TRUST_PENDING, 1));
  g_assert_false (trusts (&world, 0, 1));
  /* The tunnel goes when it has been heard, and does not wait for ever for who says nothing. */
  WAIT (LANDS, !g_hash_table_contains (trust (&world, 0)->revoking, GUINT_TO_POINTER (id (&world, 1))));
  pilot_stream_release (stream, g_get_monotonic_time ());
  world_clear (&world);
}

static void
on_approved (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *opened = pilot_trust_approve_finish (PILOT_TRUST (source), result, &error);

  *(char **) user_data = error != NULL ? pilot_error_dup_message (error) : g_strdup (opened);
}

/* Tries again and again: both are in this loop, and the request may not have got to the registry yet. */
static gboolean
approved_now (World *world, char **result)
{
  if (*result == NULL || g_str_equal (*result, "80"))
    return *result != NULL;
  g_assert_cmpstr (*result, ==, "node 1 has not asked for trust");
  g_clear_pointer (result, g_free);
  pilot_trust_approve_async (trust (world, 1), id (world, 0), "80", NULL, on_approved, result);
  return FALSE;
}

/* Approving needs no listing before: what waits at the registry is fetched. Nor does it wait for what is not there. */
static void
test_approve_unseen (void)
{
  g_autofree char *first = NULL, *second = g_strdup ("node 1 has not asked for trust");
  World world;

  start_two (&world);
  pilot_trust_approve_async (trust (&world, 1), id (&world, 0), "80", NULL, on_approved, &first);
  WAIT (LANDS, first != NULL);
  g_assert_cmpstr (first, ==, "node 1 has not asked for trust");
  handshake (&world, 0, 1, NULL, "sent");
  WAIT (LANDS, approved_now (&world, &second));
  WAIT (LANDS, trusts (&world, 0, 1));
  world_clear (&world);
}

/* A copy of the first request may come late, be approved, and be ended by the revocation behind it: the user approves again. */
static gboolean
approve_what_waits (World *world)
{
  if (has (world, 1, PILOT_TRUST_PENDING, 0))
    approve (world, 1, 0, "all");
  return TRUE;
}

/* Both end it at the same time, and one asks again at once: the other's revocation, which is still on its way, does not take the request with it. */
static void
test_untrust_both (void)
{
  World world;

  start_two (&world);
  befriend (&world);
  untrust (&world, 0, 1);
  untrust (&world, 1, 0);
  handshake (&world, 0, 1, NULL, "sent");
  WAIT (LANDS * 3, approve_what_waits (&world) && trusts (&world, 0, 1) && trusts (&world, 1, 0));
  assert_ping (&world, 0, 1, "");
  world_clear (&world);
}

/* A revocation right behind an approval is not lost, whichever arrives first. */
static void
test_untrust_at_once (void)
{
  World world;
  gint64 settled;

  start_two (&world);
  handshake (&world, 0, 1, NULL, "sent");
  WAIT (LANDS, has (&world, 1, PILOT_TRUST_PENDING, 0));
  approve (&world, 1, 0, "all");
  untrust (&world, 1, 0);
  settled = g_get_monotonic_time () + 12 * G_USEC_PER_SEC;
  WAIT (20, g_get_monotonic_time () > settled);
  g_assert_false (trusts (&world, 0, 1));
  g_assert_false (trusts (&world, 1, 0));
  world_clear (&world);
}

static const char *
delivery (World *world, guint32 peer)
{
  return pilot_trust_get_delivery (pilot_node_get_trust (world->hosts[0].node), peer);
}

/* Whoever asked is told whether his request is anywhere. */
static void
test_delivery (void)
{
  World world;
  const char *status;
  g_autoptr (GError) error = NULL;

  start_two (&world);
  g_assert_true (pilot_trust_handshake (pilot_node_get_trust (world.hosts[0].node), 153, "hello", NULL, &status, &error));
  g_assert_no_error (error);
  g_assert_null (delivery (&world, 153));
  WAIT (LANDS, delivery (&world, 153) != NULL);
  g_assert_nonnull (strstr (delivery (&world, 153), "not found"));
  handshake (&world, 0, 1, "none", "sent");
  WAIT (LANDS, g_strcmp0 (delivery (&world, id (&world, 1)), "") == 0);
  /* The next run finds its request with the registry already. */
  host_stop (&world.hosts[0]);
  host_start (&world, 0);
  WAIT (LANDS, g_strcmp0 (delivery (&world, id (&world, 1)), "") == 0 && delivery (&world, 153) != NULL);
  g_assert_true (pilot_trust_untrust (pilot_node_get_trust (world.hosts[0].node), 153, &error));
  g_assert_null (delivery (&world, 153));
  world_clear (&world);
}

/* An approval long after the asking, with the asking node restarted in between. */
static void
test_late_approval (void)
{
  World world;

  start_two (&world);
  handshake (&world, 0, 1, "22", "sent");
  WAIT (LANDS, has (&world, 1, PILOT_TRUST_PENDING, 0));
  host_stop (&world.hosts[0]);
  host_start (&world, 0);
  g_assert_true (has (&world, 0, PILOT_TRUST_OUTGOING, 1));
  approve (&world, 1, 0, "all");
  WAIT (LANDS, trusts (&world, 0, 1));
  assert_access (&world, 0, 1, "22");
  world_clear (&world);
}

static void
test_corrupt_trust (void)
{
  World world;
  g_autoptr (GError) error = NULL;
  g_autofree char *path = NULL, *text = NULL;

  world_init (&world);
  world.hosts[0].folder = g_strdup_printf ("%s/0", world.folder);
  g_assert_cmpint (g_mkdir (world.hosts[0].folder, 0700), ==, 0);
  path = g_build_filename (world.hosts[0].folder, "trust.json", NULL);
  g_assert_true (g_file_set_contents_full (path, "{\"trusted\":", -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, NULL));
  g_assert_false (host_try_start (&world, 0, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT);
  g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
  g_assert_cmpstr (text, ==, "{\"trusted\":");
  world_clear (&world);
}

/* --- forged messages --- */

typedef struct {
  PilotStreamUser user; /* first */
  const char *text;
  gboolean done;
} Forger;

static void
forger_ready (PilotStreamUser *user, PilotStream *stream, guint ready)
{
  Forger *forger = (Forger *) user;

  if (ready & PILOT_STREAM_READY_OPEN) {
    g_assert_cmpuint (pilot_stream_write (stream, forger->text, strlen (forger->text), g_get_monotonic_time ()), ==, strlen (forger->text));
    pilot_stream_shutdown_write (stream, g_get_monotonic_time ());
  }
  if (ready & (PILOT_STREAM_READY_DRAINED | PILOT_STREAM_READY_CLOSED)) {
    pilot_stream_set_user_data (stream, NULL);
    pilot_stream_release (stream, g_get_monotonic_time ());
    forger->done = TRUE;
  }
}

static void
forge (World *world, const char *text)
{
  Forger forger = { .user = { forger_ready }, .text = text };
  g_autoptr (GError) error = NULL;
  gint64 settled;

  g_assert_nonnull (pilot_node_connect (world->hosts[0].node, id (world, 1), 444, &forger.user, &error));
  g_assert_no_error (error);
  WAIT (10, forger.done);
  settled = g_get_monotonic_time () + G_USEC_PER_SEC / 2;
  WAIT (5, g_get_monotonic_time () > settled);
}

static void
forge_message (World *world, const PilotIdentity *identity, PilotTrustMessageType type, guint32 as, gint64 age)
{
  g_autoptr (PilotTrustMessage) message = pilot_trust_message_new (identity, type, as, id (world, 1), "", g_get_real_time () / G_USEC_PER_SEC - age);
  g_autofree char *text = pilot_trust_message_print (message, NULL);

  forge (world, text);
}

/* Host 0, trusted by 1, speaks for host 2, whom 1 trusts too, or with a wrong time, key or signature: nothing changes. Then it speaks for
 * itself, and it does. */
static void
test_forged (void)
{
  World world;
  PilotIdentity own, other;
  g_autofree char *path = NULL, *text = NULL;
  guint8 seed[PILOT_ED25519_SEED_SIZE] = { 9 };
  g_autoptr (GError) error = NULL;
  gsize length;

  start_two (&world);
  host_start (&world, 2);
  befriend (&world);
  handshake (&world, 2, 1, NULL, "sent");
  WAIT (LANDS, has (&world, 1, PILOT_TRUST_PENDING, 2));
  approve (&world, 1, 2, "all");
  path = g_build_filename (world.hosts[0].folder, "identity.json", NULL);
  g_assert_true (g_file_get_contents (path, &text, &length, NULL));
  g_assert_true (pilot_identity_parse (&own, text, length, &error));
  pilot_identity_init (&other, seed);

  forge_message (&world, &own, PILOT_TRUST_MESSAGE_REVOKE, id (&world, 2), 0);
  g_assert_true (trusts (&world, 1, 2));
  forge_message (&world, &other, PILOT_TRUST_MESSAGE_REVOKE, id (&world, 0), 0);
  forge_message (&world, &own, PILOT_TRUST_MESSAGE_REVOKE, id (&world, 0), 302);
  forge_message (&world, &own, PILOT_TRUST_MESSAGE_REVOKE, id (&world, 0), -40);
  forge (&world, "{\"type\":\"handshake_revoke\",\"node_id\":1}");
  forge (&world, "rubbish");
  g_assert_true (trusts (&world, 1, 0));
  forge_message (&world, &own, PILOT_TRUST_MESSAGE_REVOKE, id (&world, 0), 0);
  g_assert_false (trusts (&world, 1, 0));
  g_assert_true (trusts (&world, 1, 2));
  world_clear (&world);
}

/* A disk that takes no more: whoever asked is told, and nothing has changed. */
static void
test_disk_full (void)
{
  World world;
  struct rlimit before, none;
  g_autoptr (GError) error = NULL;
  const char *status;
  g_autofree char *opened = NULL;

  start_two (&world);
  handshake (&world, 0, 1, NULL, "sent");
  WAIT (LANDS, has (&world, 1, PILOT_TRUST_PENDING, 0));
  signal (SIGXFSZ, SIG_IGN);
  g_assert_cmpint (getrlimit (RLIMIT_FSIZE, &before), ==, 0);
  none = before;
  none.rlim_cur = 0;
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &none), ==, 0);
  g_assert_false (pilot_trust_approve (trust (&world, 1), id (&world, 0), NULL, &opened, &error));
  g_assert_nonnull (error);
  g_clear_error (&error);
  g_assert_false (pilot_trust_reject (trust (&world, 1), id (&world, 0), "", &error));
  g_assert_nonnull (error);
  g_clear_error (&error);
  g_assert_false (pilot_trust_handshake (trust (&world, 1), 77, "", NULL, &status, &error));
  g_assert_nonnull (error);
  g_clear_error (&error);
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &before), ==, 0);

  g_assert_true (has (&world, 1, PILOT_TRUST_PENDING, 0));
  g_assert_false (trusts (&world, 1, 0));
  assert_access (&world, 1, 0, "none");
  host_stop (&world.hosts[1]);
  host_start (&world, 1);
  g_assert_true (has (&world, 1, PILOT_TRUST_PENDING, 0));
  approve (&world, 1, 0, "all");
  WAIT (LANDS, trusts (&world, 0, 1));
  world_clear (&world);
}

/* Nobody's key is known: what would be trust without a question becomes a question. */
static void
test_no_key_no_trust (void)
{
  World world;
  g_autoptr (GError) error = NULL;
  guint8 key[32] = { 5 };
  const char *status;

  start_two (&world);
  g_assert_true (pilot_trust_handshake (trust (&world, 0), 77, "", NULL, &status, &error));
  pilot_trust_handle_request (trust (&world, 0), 77, NULL, "me too");
  g_assert_false (pilot_trust_is_trusted (trust (&world, 0), 77));
  g_assert_nonnull (pilot_trust_peek (trust (&world, 0), PILOT_TRUST_PENDING, 77));
  pilot_trust_handle_request (trust (&world, 0), 77, key, "me too");
  g_assert_true (pilot_trust_is_trusted (trust (&world, 0), 77));
  world_clear (&world);
}

/* A request that nobody answered goes after 30 days, in a node that runs on. */
static void
test_pending_expires (void)
{
  World world;
  PilotTrustRecord *old;

  start_two (&world);
  pilot_trust_handle_request (trust (&world, 0), 77, NULL, "old");
  pilot_trust_handle_request (trust (&world, 0), 78, NULL, "young");
  old = (PilotTrustRecord *) pilot_trust_peek (trust (&world, 0), PILOT_TRUST_PENDING, 77);
  old->time -= 31 * 24 * 3600;
  pilot_trust_relay_poll (trust (&world, 0)->relay);
  WAIT (LANDS, pilot_trust_peek (trust (&world, 0), PILOT_TRUST_PENDING, 77) == NULL);
  g_assert_nonnull (pilot_trust_peek (trust (&world, 0), PILOT_TRUST_PENDING, 78));
  world_clear (&world);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_log_set_writer_func (pair_filter_log, NULL, NULL);
  g_test_add_func ("/daemon/trust/approve", test_approve);
  g_test_add_func ("/daemon/trust/mutual", test_mutual);
  g_test_add_func ("/daemon/trust/reject", test_reject);
  g_test_add_func ("/daemon/trust/untrust", test_untrust);
  g_test_add_func ("/daemon/trust/untrust-at-once", test_untrust_at_once);
  g_test_add_func ("/daemon/trust/untrust-both", test_untrust_both);
  g_test_add_func ("/daemon/trust/untrust-asked-again", test_untrust_asked_again);
  g_test_add_func ("/daemon/trust/approve-unseen", test_approve_unseen);
  g_test_add_func ("/daemon/trust/late-approval", test_late_approval);
  g_test_add_func ("/daemon/trust/delivery", test_delivery);
  g_test_add_func ("/daemon/trust/corrupt-trust", test_corrupt_trust);
  g_test_add_func ("/daemon/trust/forged", test_forged);
  g_test_add_func ("/daemon/trust/disk-full", test_disk_full);
  g_test_add_func ("/daemon/trust/no-key-no-trust", test_no_key_no_trust);
  g_test_add_func ("/daemon/trust/pending-expires", test_pending_expires);
  return g_test_run ();
}
