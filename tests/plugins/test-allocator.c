/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every allocator owes the host, run against each; then what allocator-sequential promises besides. */
#include "allocator-sequential.h"
#include "daemon/plugin-check/allocator-fixture.h"
#include "mock-allocator.h"

static const CheckCandidate candidates[] = {
  { .name = "allocator-sequential", .get_type = pilot_allocator_sequential_get_type, .strict = TRUE },
  { .name = "mock-allocator", .get_type = mock_allocator_get_type, .strict = TRUE },
};

static void
assert_next (AllocatorFixture *f,
             guint32 node,
             const gchar *expected)
{
  g_autofree gchar *given = allocator_fixture_give (f->allocator, node, NULL);

  g_assert_cmpstr (given, ==, expected);
}

static void
test_sequence (AllocatorFixture *f,
               gconstpointer data)
{
  g_autofree gchar *wanted = NULL;

  g_assert_cmpstr (pilot_allocator_get_subnet (f->allocator), ==, "10.4.0.0/16");
  assert_next (f, 2, "10.4.0.1");
  assert_next (f, 3, "10.4.0.2");
  wanted = allocator_fixture_give (f->allocator, 7, "10.4.0.5");
  assert_next (f, 4, "10.4.0.3");
  /* Forward: what was given back comes again last. */
  allocator_fixture_release (f->allocator, 2);
  assert_next (f, 5, "10.4.0.4");
  assert_next (f, 6, "10.4.0.6");
  allocator_fixture_refuse (f->allocator, 8, "10.4.0.0", PILOT_ERROR_INVALID_ARGUMENT);
  allocator_fixture_refuse (f->allocator, 8, "10.4.3.255", PILOT_ERROR_INVALID_ARGUMENT);
  allocator_fixture_refuse (f->allocator, 8, "10.4.3.0", PILOT_ERROR_INVALID_ARGUMENT);
  allocator_fixture_refuse (f->allocator, 8, "10.5.0.1", PILOT_ERROR_INVALID_ARGUMENT);
  for (guint32 node = 100; node < 100 + 248; node++)
    g_free (allocator_fixture_give (f->allocator, node, NULL));
  assert_next (f, 400, "10.4.1.1");
}

static void
test_wrap (AllocatorFixture *f,
           gconstpointer data)
{
  g_assert_true (pilot_call_set_subnet (f->allocator, "10.9.8.248/29", NULL));
  assert_next (f, 1, "10.9.8.249");
  for (guint32 node = 2; node <= 6; node++)
    g_free (allocator_fixture_give (f->allocator, node, NULL));
  allocator_fixture_refuse (f->allocator, 7, NULL, PILOT_ERROR_EXHAUSTED);
  allocator_fixture_refuse (f->allocator, 7, "10.9.8.248", PILOT_ERROR_INVALID_ARGUMENT);
  allocator_fixture_refuse (f->allocator, 7, "10.9.8.255", PILOT_ERROR_INVALID_ARGUMENT);
  allocator_fixture_release (f->allocator, 3);
  allocator_fixture_release (f->allocator, 2);
  assert_next (f, 8, "10.9.8.250");
  assert_next (f, 9, "10.9.8.251");
  allocator_fixture_refuse (f->allocator, 7, NULL, PILOT_ERROR_EXHAUSTED);
}

/* Every address of a /22, each exactly once, none of them ending in 0 or 255. */
static void
test_all (AllocatorFixture *f,
          gconstpointer data)
{
  g_autoptr (GHashTable) seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

  g_assert_true (pilot_call_set_subnet (f->allocator, "10.9.4.0/22", NULL));
  for (guint32 node = 1; node <= 4 * 254; node++) {
    gchar *text = allocator_fixture_give (f->allocator, node, NULL);

    g_assert_false (g_str_has_suffix (text, ".0") || g_str_has_suffix (text, ".255"));
    g_assert_true (g_hash_table_add (seen, text));
  }
  allocator_fixture_refuse (f->allocator, 5000, NULL, PILOT_ERROR_EXHAUSTED);
}

static void
test_small (AllocatorFixture *f,
            gconstpointer data)
{
  const gchar *bad[] = { "10.0.0.0/31", "10.0.0.1/32", "10.0.0.0/7", "fd00::/8" };
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_assert_false (pilot_call_set_subnet (f->allocator, bad[i], &error));
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
    g_clear_error (&error);
  }
  g_assert_true (pilot_call_set_subnet (f->allocator, "10.0.0.0/30", NULL));
  assert_next (f, 1, "10.0.0.1");
  assert_next (f, 2, "10.0.0.2");
  allocator_fixture_refuse (f->allocator, 3, NULL, PILOT_ERROR_EXHAUSTED);
  g_assert_false (pilot_call_set_subnet (f->allocator, "10.1.0.0/16", &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_BUSY);
  g_assert_cmpstr (pilot_allocator_get_subnet (f->allocator), ==, "10.0.0.0/30");
  g_assert_true (pilot_call_set_subnet (f->allocator, "10.0.0.0/8", NULL));
  assert_next (f, 3, "10.0.0.3");
}

static void
test_restart (AllocatorFixture *f,
              gconstpointer data)
{
  g_autoptr (GInetAddress) a = g_inet_address_new_from_string ("10.4.0.2");
  g_autoptr (GInetAddress) b = g_inet_address_new_from_string ("10.4.0.5");

  g_assert_true (pilot_call_restore (f->allocator, &(PilotAddress) { 0, 5 }, b, NULL));
  g_assert_true (pilot_call_restore (f->allocator, &(PilotAddress) { 0, 2 }, a, NULL));
  assert_next (f, 9, "10.4.0.6");
  assert_next (f, 2, "10.4.0.2");
}

static void
test_configured (AllocatorFixture *f,
                 gconstpointer data)
{
  const CheckCandidate *candidate = data;
  g_autoptr (PilotAllocator) good = host_new (candidate->get_type (), candidate->name, NULL,
                                              host_settings ("{'subnet': <'172.20.0.0/24'>}"));
  g_autoptr (PilotAllocator) bad = host_new (candidate->get_type (), candidate->name, NULL,
                                             host_settings ("{'subnet': <'172.20.0.1/24'>}"));
  g_autoptr (PilotAllocator) type = host_new (candidate->get_type (), candidate->name, NULL, host_settings ("{'subnet': <5>}"));
  g_autofree gchar *given = NULL;

  g_assert_true (host_enable (good, NULL));
  given = allocator_fixture_give (good, 1, NULL);
  g_assert_cmpstr (given, ==, "172.20.0.1");
  g_assert_false (host_enable (bad, NULL));
  g_assert_false (host_enable (type, NULL));
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (candidates); i++)
    check_add_allocator (&candidates[i]);
  allocator_fixture_add (&candidates[0], "sequence", test_sequence);
  allocator_fixture_add (&candidates[0], "wrap", test_wrap);
  allocator_fixture_add (&candidates[0], "all", test_all);
  allocator_fixture_add (&candidates[0], "small", test_small);
  allocator_fixture_add (&candidates[0], "restart", test_restart);
  allocator_fixture_add (&candidates[0], "configured", test_configured);
  return g_test_run ();
}
