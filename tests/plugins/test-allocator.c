/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every allocator owes the host, run against each; then what allocator-sequential promises besides. */
#include <string.h>

#include "allocator-sequential.h"
#include "host.h"
#include "mock-allocator.h"

typedef struct
{
  const gchar *name;
  GType (*get_type) (void);
} Candidate;

static const Candidate candidates[] = {
  { "allocator-sequential", pilot_allocator_sequential_get_type },
  { "mock-allocator", mock_allocator_get_type },
};

typedef struct
{
  PilotAllocator *allocator;
} Fixture;

static void
set_up (Fixture *f,
        gconstpointer data)
{
  const Candidate *candidate = data;
  g_autoptr (GError) error = NULL;

  f->allocator = host_new (candidate->get_type (), candidate->name, NULL, NULL);
  /* First of all: the right one was made. */
  g_assert_cmpstr (G_OBJECT_TYPE_NAME (f->allocator), ==, g_type_name (candidate->get_type ()));
  g_assert_cmpstr (pilot_plugin_get_name (PILOT_PLUGIN (f->allocator)), ==, candidate->name);
  g_assert_true (host_enable (f->allocator, &error));
  g_assert_no_error (error);
}

static void
tear_down (Fixture *f,
           gconstpointer data)
{
  g_assert_true (host_disable (f->allocator, NULL));
  g_assert_finalize_object (f->allocator);
}

static gchar *
allocate (PilotAllocator *allocator,
          guint32 node,
          const gchar *wanted)
{
  g_autoptr (GInetAddress) address = wanted != NULL ? g_inet_address_new_from_string (wanted) : NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (GInetAddress) given = pilot_call_allocate (allocator, &(PilotAddress) { 0, node }, address, &error);

  g_assert_no_error (error);
  return g_inet_address_to_string (given);
}

static void
assert_refused (PilotAllocator *allocator,
                guint32 node,
                const gchar *wanted,
                PilotError code)
{
  g_autoptr (GInetAddress) address = wanted != NULL ? g_inet_address_new_from_string (wanted) : NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (GInetAddress) given = pilot_call_allocate (allocator, &(PilotAddress) { 0, node }, address, &error);

  g_assert_null (given);
  g_assert_error (error, PILOT_ERROR, (gint) code);
  g_assert_true (g_str_has_prefix (error->message, pilot_plugin_get_name (PILOT_PLUGIN (allocator))));
}

static void
release (PilotAllocator *allocator,
         guint32 node)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (pilot_call_release (allocator, &(PilotAddress) { 0, node }, &error));
  g_assert_no_error (error);
}

static void
test_distinct (Fixture *f,
               gconstpointer data)
{
  g_autoptr (GHashTable) seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

  for (guint32 node = 1; node <= 100; node++)
    g_assert_true (g_hash_table_add (seen, allocate (f->allocator, node, NULL)));
}

static void
test_same_again (Fixture *f,
                 gconstpointer data)
{
  g_autofree gchar *first = allocate (f->allocator, 7, NULL);
  g_autofree gchar *second = allocate (f->allocator, 7, NULL);
  g_autofree gchar *wanted = allocate (f->allocator, 7, first);

  g_assert_cmpstr (first, ==, second);
  g_assert_cmpstr (first, ==, wanted);
}

static void
test_wanted (Fixture *f,
             gconstpointer data)
{
  g_autofree gchar *first = allocate (f->allocator, 7, NULL);
  g_autofree gchar *second = allocate (f->allocator, 8, NULL);
  g_autofree gchar *again = NULL;

  assert_refused (f->allocator, 9, first, PILOT_ERROR_ALREADY_EXISTS);
  assert_refused (f->allocator, 7, second, PILOT_ERROR_ALREADY_EXISTS);
  assert_refused (f->allocator, 9, "203.0.113.9", PILOT_ERROR_INVALID_ARGUMENT);
  assert_refused (f->allocator, 9, "2001:db8::1", PILOT_ERROR_INVALID_ARGUMENT);
  /* Nothing of it changed anything. */
  release (f->allocator, 8);
  again = allocate (f->allocator, 9, second);
  g_assert_cmpstr (again, ==, second);
}

static void
test_release (Fixture *f,
              gconstpointer data)
{
  const PilotAddress nobody = { 0, 99 };
  g_autofree gchar *first = allocate (f->allocator, 7, NULL);
  g_autofree gchar *second = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_false (pilot_call_release (f->allocator, &nobody, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND);
  g_clear_error (&error);
  release (f->allocator, 7);
  g_assert_false (pilot_call_release (f->allocator, &(PilotAddress) { 0, 7 }, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND);
  second = allocate (f->allocator, 8, first);
  g_assert_cmpstr (first, ==, second);
}

static void
test_restore (Fixture *f,
              gconstpointer data)
{
  g_autofree gchar *text = allocate (f->allocator, 7, NULL);
  g_autofree gchar *other = NULL, *again = NULL;
  g_autoptr (GInetAddress) local = g_inet_address_new_from_string (text);
  g_autoptr (GInetAddress) outside = g_inet_address_new_from_string ("203.0.113.9");
  g_autoptr (GError) error = NULL;

  release (f->allocator, 7);
  g_assert_true (pilot_call_restore (f->allocator, &(PilotAddress) { 0, 7 }, local, &error));
  g_assert_no_error (error);
  again = allocate (f->allocator, 7, NULL);
  g_assert_cmpstr (again, ==, text);
  other = allocate (f->allocator, 8, NULL);
  g_assert_cmpstr (other, !=, text);
  g_assert_false (pilot_call_restore (f->allocator, &(PilotAddress) { 0, 9 }, local, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS);
  g_clear_error (&error);
  g_assert_false (pilot_call_restore (f->allocator, &(PilotAddress) { 0, 9 }, outside, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
}

/* The network is part of the pilot address. */
static void
test_networks (Fixture *f,
               gconstpointer data)
{
  g_autoptr (GInetAddress) a = pilot_call_allocate (f->allocator, &(PilotAddress) { 1, 7 }, NULL, NULL);
  g_autoptr (GInetAddress) b = pilot_call_allocate (f->allocator, &(PilotAddress) { 2, 7 }, NULL, NULL);

  g_assert_nonnull (a);
  g_assert_nonnull (b);
  g_assert_false (g_inet_address_equal (a, b));
}

static void
test_subnet (Fixture *f,
             gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GInetAddressMask) subnet = pilot_call_get_subnet (f->allocator, &error);
  g_autofree gchar *before = g_strdup (pilot_allocator_get_subnet (f->allocator));
  g_autofree gchar *property = NULL;

  g_assert_no_error (error);
  g_assert_nonnull (subnet);
  g_object_get (f->allocator, "subnet", &property, NULL);
  g_assert_cmpstr (property, ==, before);
  for (guint i = 0; i < 4; i++) {
    const gchar *bad[] = { "rubbish", "10.4.0.1/16", "10.4.0.0", "10.4.0.0/99" };

    g_assert_false (pilot_call_set_subnet (f->allocator, bad[i], &error));
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
    g_clear_error (&error);
    g_assert_cmpstr (pilot_allocator_get_subnet (f->allocator), ==, before);
  }
}

static void
test_again (Fixture *f,
            gconstpointer data)
{
  g_autofree gchar *text = NULL;

  g_assert_true (host_disable (f->allocator, NULL));
  g_assert_true (host_enable (f->allocator, NULL));
  text = allocate (f->allocator, 7, NULL);
  g_assert_nonnull (text);
}

static void
test_settings (Fixture *f,
               gconstpointer data)
{
  const Candidate *candidate = data;
  g_autoptr (GError) error = NULL;
  g_autoptr (GObject) other = host_new (candidate->get_type (), candidate->name, NULL, host_settings ("{'no-such-key': <1>}"));

  g_assert_false (host_enable (other, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  g_assert_nonnull (strstr (error->message, "no-such-key"));
}

/* allocator-sequential */

static void
assert_next (Fixture *f,
             guint32 node,
             const gchar *expected)
{
  g_autofree gchar *given = allocate (f->allocator, node, NULL);

  g_assert_cmpstr (given, ==, expected);
}

static void
test_sequence (Fixture *f,
               gconstpointer data)
{
  g_autofree gchar *wanted = NULL;

  g_assert_cmpstr (pilot_allocator_get_subnet (f->allocator), ==, "10.4.0.0/16");
  assert_next (f, 2, "10.4.0.1");
  assert_next (f, 3, "10.4.0.2");
  wanted = allocate (f->allocator, 7, "10.4.0.5");
  assert_next (f, 4, "10.4.0.3");
  /* Forward: what was given back comes again last. */
  release (f->allocator, 2);
  assert_next (f, 5, "10.4.0.4");
  assert_next (f, 6, "10.4.0.6");
  assert_refused (f->allocator, 8, "10.4.0.0", PILOT_ERROR_INVALID_ARGUMENT);
  assert_refused (f->allocator, 8, "10.4.3.255", PILOT_ERROR_INVALID_ARGUMENT);
  assert_refused (f->allocator, 8, "10.4.3.0", PILOT_ERROR_INVALID_ARGUMENT);
  assert_refused (f->allocator, 8, "10.5.0.1", PILOT_ERROR_INVALID_ARGUMENT);
  for (guint32 node = 100; node < 100 + 248; node++)
    g_free (allocate (f->allocator, node, NULL));
  assert_next (f, 400, "10.4.1.1");
}

static void
test_wrap (Fixture *f,
           gconstpointer data)
{
  g_assert_true (pilot_call_set_subnet (f->allocator, "10.9.8.248/29", NULL));
  assert_next (f, 1, "10.9.8.249");
  for (guint32 node = 2; node <= 6; node++)
    g_free (allocate (f->allocator, node, NULL));
  assert_refused (f->allocator, 7, NULL, PILOT_ERROR_EXHAUSTED);
  assert_refused (f->allocator, 7, "10.9.8.248", PILOT_ERROR_INVALID_ARGUMENT);
  assert_refused (f->allocator, 7, "10.9.8.255", PILOT_ERROR_INVALID_ARGUMENT);
  release (f->allocator, 3);
  release (f->allocator, 2);
  assert_next (f, 8, "10.9.8.250");
  assert_next (f, 9, "10.9.8.251");
  assert_refused (f->allocator, 7, NULL, PILOT_ERROR_EXHAUSTED);
}

/* Every address of a /22, each exactly once, none of them ending in 0 or 255. */
static void
test_all (Fixture *f,
          gconstpointer data)
{
  g_autoptr (GHashTable) seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

  g_assert_true (pilot_call_set_subnet (f->allocator, "10.9.4.0/22", NULL));
  for (guint32 node = 1; node <= 4 * 254; node++) {
    gchar *text = allocate (f->allocator, node, NULL);

    g_assert_false (g_str_has_suffix (text, ".0") || g_str_has_suffix (text, ".255"));
    g_assert_true (g_hash_table_add (seen, text));
  }
  assert_refused (f->allocator, 5000, NULL, PILOT_ERROR_EXHAUSTED);
}

static void
test_small (Fixture *f,
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
  assert_refused (f->allocator, 3, NULL, PILOT_ERROR_EXHAUSTED);
  g_assert_false (pilot_call_set_subnet (f->allocator, "10.1.0.0/16", &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_BUSY);
  g_assert_cmpstr (pilot_allocator_get_subnet (f->allocator), ==, "10.0.0.0/30");
  g_assert_true (pilot_call_set_subnet (f->allocator, "10.0.0.0/8", NULL));
  assert_next (f, 3, "10.0.0.3");
}

static void
test_restart (Fixture *f,
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
test_configured (Fixture *f,
                 gconstpointer data)
{
  const Candidate *candidate = data;
  g_autoptr (PilotAllocator) good = host_new (candidate->get_type (), candidate->name, NULL,
                                              host_settings ("{'subnet': <'172.20.0.0/24'>}"));
  g_autoptr (PilotAllocator) bad = host_new (candidate->get_type (), candidate->name, NULL,
                                             host_settings ("{'subnet': <'172.20.0.1/24'>}"));
  g_autoptr (PilotAllocator) type = host_new (candidate->get_type (), candidate->name, NULL, host_settings ("{'subnet': <5>}"));
  g_autofree gchar *given = NULL;

  g_assert_true (host_enable (good, NULL));
  given = allocate (good, 1, NULL);
  g_assert_cmpstr (given, ==, "172.20.0.1");
  g_assert_false (host_enable (bad, NULL));
  g_assert_false (host_enable (type, NULL));
}

static void
add (const Candidate *candidate,
     const gchar *name,
     void (*func) (Fixture *, gconstpointer))
{
  g_autofree gchar *path = g_strdup_printf ("/%s/%s", candidate->name, name);

  g_test_add (path, Fixture, candidate, set_up, func, tear_down);
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (candidates); i++) {
    add (&candidates[i], "distinct", test_distinct);
    add (&candidates[i], "same-again", test_same_again);
    add (&candidates[i], "wanted", test_wanted);
    add (&candidates[i], "release", test_release);
    add (&candidates[i], "restore", test_restore);
    add (&candidates[i], "networks", test_networks);
    add (&candidates[i], "subnet", test_subnet);
    add (&candidates[i], "again", test_again);
    add (&candidates[i], "settings", test_settings);
  }
  add (&candidates[0], "sequence", test_sequence);
  add (&candidates[0], "wrap", test_wrap);
  add (&candidates[0], "all", test_all);
  add (&candidates[0], "small", test_small);
  add (&candidates[0], "restart", test_restart);
  add (&candidates[0], "configured", test_configured);
  return g_test_run ();
}
