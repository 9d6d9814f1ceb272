/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/daemon/pair.h"

#include "libpilot/pilot-error.h"

guint32
id (World *world, guint index)
{
  return pilot_node_get_id (world->hosts[index].node);
}

PilotTrust *
trust (World *world, guint index)
{
  return pilot_node_get_trust (world->hosts[index].node);
}

gboolean
trusts (World *world, guint index, guint other)
{
  return pilot_trust_is_trusted (trust (world, index), id (world, other));
}

gboolean
has (World *world, guint index, PilotTrustKind kind, guint other)
{
  g_autoptr (PilotTrustRecord) record = pilot_trust_lookup (trust (world, index), kind, id (world, other));

  return record != NULL;
}

void
handshake (World *world, guint from, guint to, const char *ports, const char *expected)
{
  g_autoptr (GError) error = NULL;
  const char *status = NULL;

  g_assert_true (pilot_trust_handshake (trust (world, from), id (world, to), "let me in", ports, &status, &error));
  g_assert_no_error (error);
  g_assert_cmpstr (status, ==, expected);
}

void
approve (World *world, guint at, guint from, const char *expected)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *opened = NULL;

  g_assert_true (pilot_trust_approve (trust (world, at), id (world, from), NULL, &opened, &error));
  g_assert_no_error (error);
  g_assert_cmpstr (opened, ==, expected);
}

void
untrust (World *world, guint at, guint peer)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (pilot_trust_untrust (trust (world, at), id (world, peer), &error));
  g_assert_no_error (error);
}

void
assert_ping (World *world, guint from, guint to, const char *expected)
{
  g_autofree char *outcome = host_ping (&world->hosts[from], id (world, to), 6000);

  g_assert_cmpstr (outcome, ==, expected);
}

void
assert_access (World *world, guint at, guint peer, const char *expected)
{
  g_autofree char *ports = pilot_access_describe (pilot_node_get_access (world->hosts[at].node), id (world, peer));

  g_assert_cmpstr (ports, ==, expected);
}

gboolean
is_direct (World *world, guint at, guint peer)
{
  PilotPeerView *view = pilot_node_get_peer (world->hosts[at].node, id (world, peer));
  gboolean direct = view != NULL && view->info.session && view->info.path == PILOT_PATH_DIRECT;

  pilot_peer_view_free (view);
  return direct;
}

void
befriend (World *world)
{
  handshake (world, 0, 1, NULL, "sent");
  WAIT (LANDS, has (world, 1, PILOT_TRUST_PENDING, 0));
  approve (world, 1, 0, "all");
  WAIT (LANDS, trusts (world, 0, 1) && trusts (world, 1, 0));
}

void
start_two (World *world)
{
  world_init (world);
  host_start (world, 0);
  host_start (world, 1);
  g_assert_cmpuint (id (world, 0), !=, id (world, 1));
}

GLogWriterOutput
pair_filter_log (GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer user_data)
{
  if (level & (G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_ERROR) || g_getenv ("PILOT_TEST_LOG") != NULL)
    return g_log_writer_standard_streams (level, fields, n_fields, user_data);
  return G_LOG_WRITER_HANDLED;
}
