/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <glib/gstdio.h>

#include "daemon/node/trust-private.h"
#include "libpilot/pilot-error.h"
#include "protocol/frame.h"
#include "protocol/trust-message.h"
#include "tests/daemon/world.h"

/* Two nodes of our own and a rendezvous, over real sockets. "Lands" means within the five seconds that are promised. */
#define LANDS 5.0

static guint32
id (World *world, guint index)
{
  return pilot_node_get_id (world->hosts[index].node);
}

static PilotTrust *
trust (World *world, guint index)
{
  return pilot_node_get_trust (world->hosts[index].node);
}

static gboolean
trusts (World *world, guint index, guint other)
{
  return pilot_trust_is_trusted (trust (world, index), id (world, other));
}

static gboolean
has (World *world, guint index, PilotTrustKind kind, guint other)
{
  g_autoptr (PilotTrustRecord) record = pilot_trust_lookup (trust (world, index), kind, id (world, other));

  return record != NULL;
}

static void
handshake (World *world, guint from, guint to, const char *ports, const char *expected)
{
  g_autoptr (GError) error = NULL;
  const char *status = NULL;

  g_assert_true (pilot_trust_handshake (trust (world, from), id (world, to), "let me in", ports, &status, &error));
  g_assert_no_error (error);
  g_assert_cmpstr (status, ==, expected);
}

static void
approve (World *world, guint at, guint from, const char *expected)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *opened = NULL;

  g_assert_true (pilot_trust_approve (trust (world, at), id (world, from), NULL, &opened, &error));
  g_assert_no_error (error);
  g_assert_cmpstr (opened, ==, expected);
}

static void
untrust (World *world, guint at, guint peer)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (pilot_trust_untrust (trust (world, at), id (world, peer), &error));
  g_assert_no_error (error);
}

static void
assert_ping (World *world, guint from, guint to, const char *expected)
{
  g_autofree char *outcome = host_ping (&world->hosts[from], id (world, to), 6000);

  g_assert_cmpstr (outcome, ==, expected);
}

static void
assert_access (World *world, guint at, guint peer, const char *expected)
{
  g_autofree char *ports = pilot_access_describe (pilot_node_get_access (world->hosts[at].node), id (world, peer));

  g_assert_cmpstr (ports, ==, expected);
}

static gboolean
is_direct (World *world, guint at, guint peer)
{
  PilotPeerView *view = pilot_node_get_peer (world->hosts[at].node, id (world, peer));
  gboolean direct = view != NULL && view->info.session && view->info.path == PILOT_PATH_DIRECT;

  pilot_peer_view_free (view);
  return direct;
}

static void
befriend (World *world)
{
  handshake (world, 0, 1, NULL, "sent");
  WAIT (LANDS, has (world, 1, PILOT_TRUST_PENDING, 0));
  approve (world, 1, 0, "all");
  WAIT (LANDS, trusts (world, 0, 1) && trusts (world, 1, 0));
}

static void
start_two (World *world)
{
  world_init (world);
  host_start (world, 0);
  host_start (world, 1);
  g_assert_cmpuint (id (world, 0), !=, id (world, 1));
}

/* --- the tests --- */

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
test_restart (void)
{
  World world;
  guint32 before;

  start_two (&world);
  befriend (&world);
  assert_ping (&world, 0, 1, "");
  before = id (&world, 1);
  host_stop (&world.hosts[1]);
  host_start (&world, 1);
  g_assert_cmpuint (id (&world, 1), ==, before);
  g_assert_true (trusts (&world, 1, 0));
  assert_access (&world, 1, 0, "all");
  assert_ping (&world, 1, 0, "");
  assert_ping (&world, 0, 1, "");
  world_clear (&world);
}

/* Without registry and beacon nodes that know each other's place go on; when they are back everything is found again. */
static void
test_rendezvous_away (void)
{
  World world;

  start_two (&world);
  befriend (&world);
  assert_ping (&world, 0, 1, "");
  world_stop_rendezvous (&world);
  WAIT (LANDS, strcmp (pilot_node_get_state (world.hosts[0].node), "connecting") == 0);
  g_assert_cmpstr (pilot_node_get_state_detail (world.hosts[0].node), !=, "");
  assert_ping (&world, 0, 1, "");
  assert_ping (&world, 1, 0, "");
  world_start_rendezvous (&world);
  WAIT (30, strcmp (pilot_node_get_state (world.hosts[0].node), "online") == 0 && strcmp (pilot_node_get_state (world.hosts[1].node), "online") == 0);
  assert_ping (&world, 0, 1, "");
  world_clear (&world);
}

static void
test_starts_without_registry (void)
{
  World world;
  g_autoptr (GError) error = NULL;

  world_init (&world);
  world_stop_rendezvous (&world);
  g_assert_true (host_try_start (&world, 0, &error));
  g_assert_no_error (error);
  g_assert_cmpstr (pilot_node_get_state (world.hosts[0].node), ==, "connecting");
  WAIT (LANDS, strstr (pilot_node_get_state_detail (world.hosts[0].node), "registry 127.0.0.1:") != NULL);
  world_start_rendezvous (&world);
  WAIT (30, strcmp (pilot_node_get_state (world.hosts[0].node), "online") == 0);
  world_clear (&world);
}

typedef struct {
  GAsyncResult *result;
} Wait;

static void
on_done (GObject *source, GAsyncResult *result, gpointer user_data)
{
  ((Wait *) user_data)->result = g_object_ref (result);
}

static guint32
resolve (World *world, guint at, const char *text, GError **error)
{
  Wait wait = { NULL };
  PilotNodeName *name;
  guint32 node = 0;

  pilot_node_resolve_async (world->hosts[at].node, text, NULL, on_done, &wait);
  WAIT (10, wait.result != NULL);
  name = pilot_node_resolve_finish (world->hosts[at].node, wait.result, error);
  if (name != NULL)
    node = name->node;
  pilot_node_name_free (name);
  g_object_unref (wait.result);
  return node;
}

static void
test_names (void)
{
  World world;
  Wait wait = { NULL };
  g_autoptr (GError) error = NULL;

  start_two (&world);
  pilot_node_set_hostname_async (world.hosts[1].node, "agent-beta", NULL, on_done, &wait);
  WAIT (LANDS, wait.result != NULL);
  g_assert_true (pilot_node_set_hostname_finish (world.hosts[1].node, wait.result, &error));
  g_assert_no_error (error);
  g_clear_object (&wait.result);
  g_assert_cmpstr (pilot_node_get_hostname (world.hosts[1].node), ==, "agent-beta");

  /* A private node is found by those it trusts, and by nobody else. */
  g_assert_cmpuint (resolve (&world, 0, "agent-beta", &error), ==, 0);
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND);
  g_clear_error (&error);
  befriend (&world);
  g_assert_cmpuint (resolve (&world, 0, "agent-beta", &error), ==, id (&world, 1));
  g_assert_no_error (error);
  g_assert_cmpuint (resolve (&world, 0, "0:0000.0000.037D", &error), ==, 893);
  g_assert_cmpuint (resolve (&world, 0, "893", &error), ==, 893);
  g_assert_no_error (error);
  g_assert_cmpuint (resolve (&world, 0, "not a name", &error), ==, 0);
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  world_clear (&world);
}

static gboolean
sees_as (World *world, guint host, guint peer, const char *hostname)
{
  PilotPeerView *view = pilot_node_get_peer (world->hosts[host].node, id (world, peer));
  gboolean same = view != NULL && strcmp (view->hostname, hostname) == 0;

  g_clear_pointer (&view, pilot_peer_view_free);
  return same;
}

/* A name given by a flag once is the registry's, not the configuration's: after a restart without the flag both ends still know it. */
static void
test_name_kept (void)
{
  World world;
  Wait wait = { NULL };
  g_autoptr (GError) error = NULL;
  g_autofree char *path = NULL;

  start_two (&world);
  pilot_node_set_hostname_async (world.hosts[1].node, "agent-beta", NULL, on_done, &wait);
  WAIT (LANDS, wait.result != NULL);
  g_assert_true (pilot_node_set_hostname_finish (world.hosts[1].node, wait.result, &error));
  g_clear_object (&wait.result);
  befriend (&world);
  host_stop (&world.hosts[0]);
  host_stop (&world.hosts[1]);
  path = g_build_filename (world.hosts[1].folder, "config.json", NULL);
  g_assert_cmpint (g_unlink (path), ==, 0);
  host_start (&world, 1);
  g_assert_cmpstr (pilot_node_get_hostname (world.hosts[1].node), ==, "agent-beta");
  host_start (&world, 0);
  assert_ping (&world, 0, 1, "");
  WAIT (LANDS, sees_as (&world, 0, 1, "agent-beta"));
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

/* A public node answers strangers on port 444 only; on others there is silence, not a refusal. Trusted, a closed port is refused at once. */
static void
test_strangers (void)
{
  World world;
  Wait wait = { NULL };
  g_autoptr (GError) error = NULL;
  gint64 began;

  start_two (&world);
  pilot_node_set_public_async (world.hosts[1].node, TRUE, NULL, on_done, &wait);
  WAIT (LANDS, wait.result != NULL);
  g_assert_true (pilot_node_set_public_finish (world.hosts[1].node, wait.result, &error));
  g_clear_object (&wait.result);
  assert_ping (&world, 0, 1, "timeout");

  befriend (&world);
  assert_ping (&world, 0, 1, "");
  pilot_echo_stop (world.hosts[1].echo);
  began = g_get_monotonic_time ();
  assert_ping (&world, 0, 1, "refused");
  g_assert_cmpint (g_get_monotonic_time () - began, <, G_USEC_PER_SEC / 2);
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

/* Somebody names node ids that are not his: all that is left of it is a count. */
static void
test_strangers_leave_nothing (void)
{
  World world;
  PilotNode *node;
  PilotIdentity identity;
  guint8 seed[PILOT_ED25519_SEED_SIZE] = { 3 }, x25519[PILOT_X25519_KEY_SIZE] = { 9 }, frame[PILOT_FRAME_PILA_SIZE];
  g_autoptr (GArray) own = NULL;
  g_autoptr (GSocket) socket = g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_DATAGRAM, G_SOCKET_PROTOCOL_UDP, NULL);
  g_autoptr (GSocketAddress) to = NULL;
  gint64 settled;
  gboolean seen = FALSE;

  start_two (&world);
  node = world.hosts[0].node;
  own = pilot_driver_get_endpoints (node->driver);
  to = g_inet_socket_address_new_from_string ("127.0.0.1", g_array_index (own, PilotEndpoint, 0).port);
  pilot_identity_init (&identity, seed);
  for (guint32 claimed = 100; claimed < 104; claimed++) {
    pilot_frame_build_pila (frame, claimed, x25519, &identity);
    g_assert_cmpint (g_socket_send_to (socket, to, (const char *) frame, sizeof frame, NULL, NULL), ==, sizeof frame);
  }
  settled = g_get_monotonic_time () + G_USEC_PER_SEC;
  while (g_get_monotonic_time () < settled) {
    seen |= g_hash_table_contains (node->peers, GUINT_TO_POINTER (103));
    WAIT (1, TRUE);
    g_main_context_iteration (NULL, FALSE);
  }
  g_assert_true (seen);
  for (guint32 claimed = 100; claimed < 104; claimed++)
    g_assert_false (g_hash_table_contains (node->peers, GUINT_TO_POINTER (claimed)));
  world_clear (&world);
}

static GLogWriterOutput
filter_log (GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer user_data)
{
  if (level & (G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_ERROR) || g_getenv ("PILOT_TEST_LOG") != NULL)
    return g_log_writer_standard_streams (level, fields, n_fields, user_data);
  return G_LOG_WRITER_HANDLED;
}

/* --- datagrams --- */

#define DATAGRAM_PORT 4000

static void
on_datagram (PilotNode *node, const PilotNodeDatagram *datagram, gpointer user_data)
{
  g_string_append_printf (user_data, "%u>%u %.*s;", datagram->source_port, datagram->port, (int) datagram->length, (const char *) datagram->data);
}

static void
send_datagram (World *world, guint from, guint to, guint16 port, const char *text)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (pilot_node_send_datagram (world->hosts[from].node, id (world, to), 1234, port, text, strlen (text), &error));
  g_assert_no_error (error);
}

/* The first waits for the tunnel; a port that is not bound, an unbound one and a peer no longer trusted get nothing. */
static void
test_datagrams (void)
{
  World world;
  g_autoptr (GString) got = g_string_new (NULL), others = g_string_new (NULL);
  g_autoptr (GError) error = NULL;
  PilotNode *receiver;

  start_two (&world);
  befriend (&world);
  receiver = world.hosts[1].node;
  g_assert_true (pilot_node_bind_datagram (receiver, DATAGRAM_PORT, on_datagram, got, NULL));
  g_assert_false (pilot_node_bind_datagram (receiver, DATAGRAM_PORT, on_datagram, got, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS);
  g_clear_error (&error);
  send_datagram (&world, 0, 1, DATAGRAM_PORT + 1, "nobody");
  send_datagram (&world, 0, 1, DATAGRAM_PORT, "one");
  WAIT (LANDS, got->len > 0);
  g_assert_cmpstr (got->str, ==, "1234>4000 one;");

  g_assert_true (pilot_node_bind_datagram (receiver, 0, on_datagram, others, NULL));
  send_datagram (&world, 0, 1, DATAGRAM_PORT + 1, "two");
  WAIT (LANDS, others->len > 0);
  g_assert_cmpstr (others->str, ==, "1234>4001 two;");
  g_assert_cmpstr (got->str, ==, "1234>4000 one;");
  pilot_node_unbind_datagram (receiver, DATAGRAM_PORT);
  send_datagram (&world, 0, 1, DATAGRAM_PORT, "three");
  WAIT (LANDS, g_str_has_suffix (others->str, "three;"));

  g_assert_false (pilot_node_send_datagram (world.hosts[0].node, id (&world, 1), 0, DATAGRAM_PORT, "", 0, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  g_assert_false (pilot_node_send_datagram (world.hosts[0].node, id (&world, 0), 0, DATAGRAM_PORT, "x", 1, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);

  g_string_truncate (others, 0);
  g_assert_true (pilot_trust_untrust (trust (&world, 1), id (&world, 0), NULL));
  WAIT (LANDS, !trusts (&world, 0, 1));
  pilot_node_send_datagram (world.hosts[0].node, id (&world, 1), 0, DATAGRAM_PORT, "four", 4, NULL);
  /* Long enough for it to have come. */
  assert_ping (&world, 0, 1, "trust_required");
  g_assert_cmpstr (others->str, ==, "");
  world_clear (&world);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_log_set_writer_func (filter_log, NULL, NULL);
  g_test_add_func ("/daemon/node/approve", test_approve);
  g_test_add_func ("/daemon/node/mutual", test_mutual);
  g_test_add_func ("/daemon/node/reject", test_reject);
  g_test_add_func ("/daemon/node/untrust", test_untrust);
  g_test_add_func ("/daemon/node/untrust-at-once", test_untrust_at_once);
  g_test_add_func ("/daemon/node/untrust-both", test_untrust_both);
  g_test_add_func ("/daemon/node/approve-unseen", test_approve_unseen);
  g_test_add_func ("/daemon/node/late-approval", test_late_approval);
  g_test_add_func ("/daemon/node/restart", test_restart);
  g_test_add_func ("/daemon/node/rendezvous-away", test_rendezvous_away);
  g_test_add_func ("/daemon/node/starts-without-registry", test_starts_without_registry);
  g_test_add_func ("/daemon/node/datagrams", test_datagrams);
  g_test_add_func ("/daemon/node/names", test_names);
  g_test_add_func ("/daemon/node/name-kept", test_name_kept);
  g_test_add_func ("/daemon/node/delivery", test_delivery);
  g_test_add_func ("/daemon/node/corrupt-trust", test_corrupt_trust);
  g_test_add_func ("/daemon/node/strangers", test_strangers);
  g_test_add_func ("/daemon/node/forged", test_forged);
  g_test_add_func ("/daemon/node/disk-full", test_disk_full);
  g_test_add_func ("/daemon/node/no-key-no-trust", test_no_key_no_trust);
  g_test_add_func ("/daemon/node/pending-expires", test_pending_expires);
  g_test_add_func ("/daemon/node/strangers-leave-nothing", test_strangers_leave_nothing);
  return g_test_run ();
}
