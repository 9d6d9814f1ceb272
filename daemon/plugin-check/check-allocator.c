/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every allocator owes the host. */
#include "daemon/plugin-check/allocator-fixture.h"

#include <string.h>

/* Some allocators choose among what is free, others give each node one address and no other: of those it is nothing but "never given". */
static gboolean
may_be (const CheckCandidate *candidate,
        const GError *error)
{
  return !candidate->strict && g_error_matches (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
}

/* @local is somebody else's. */
static void
refuse_taken (AllocatorFixture *f,
              const CheckCandidate *candidate,
              guint32 node,
              GInetAddress *local,
              gboolean restoring)
{
  const PilotAddress address = { 0, node };
  g_autoptr (GInetAddress) given = NULL;
  g_autoptr (GError) error = NULL;

  if (restoring)
    g_assert_false (pilot_call_restore (f->allocator, &address, local, &error));
  else
    given = pilot_call_allocate (f->allocator, &address, local, &error);
  g_assert_null (given);
  if (!may_be (candidate, error))
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS);
}

/* @local is nobody's. */
static void
take_free (AllocatorFixture *f,
           const CheckCandidate *candidate,
           guint32 node,
           GInetAddress *local)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GInetAddress) given = pilot_call_allocate (f->allocator, &(PilotAddress) { 0, node }, local, &error);

  if (may_be (candidate, error))
    return;
  g_assert_no_error (error);
  g_assert_true (g_inet_address_equal (given, local));
}

static void
test_distinct (AllocatorFixture *f,
               gconstpointer data)
{
  g_autoptr (GHashTable) seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

  for (guint32 node = 1; node <= 100; node++)
    g_assert_true (g_hash_table_add (seen, allocator_fixture_give (f->allocator, node, NULL)));
}

static void
test_same_again (AllocatorFixture *f,
                 gconstpointer data)
{
  g_autofree gchar *first = allocator_fixture_give (f->allocator, 7, NULL);
  g_autofree gchar *second = allocator_fixture_give (f->allocator, 7, NULL);
  g_autofree gchar *wanted = allocator_fixture_give (f->allocator, 7, first);

  g_assert_cmpstr (first, ==, second);
  g_assert_cmpstr (first, ==, wanted);
}

static void
test_wanted (AllocatorFixture *f,
             gconstpointer data)
{
  g_autofree gchar *first = allocator_fixture_give (f->allocator, 7, NULL);
  g_autofree gchar *second = allocator_fixture_give (f->allocator, 8, NULL);
  g_autoptr (GInetAddress) of_seven = g_inet_address_new_from_string (first);
  g_autoptr (GInetAddress) of_eight = g_inet_address_new_from_string (second);

  refuse_taken (f, data, 9, of_seven, FALSE);
  refuse_taken (f, data, 7, of_eight, FALSE);
  allocator_fixture_refuse (f->allocator, 9, "203.0.113.9", PILOT_ERROR_INVALID_ARGUMENT);
  allocator_fixture_refuse (f->allocator, 9, "2001:db8::1", PILOT_ERROR_INVALID_ARGUMENT);
  /* Nothing of it changed anything. */
  allocator_fixture_release (f->allocator, 8);
  take_free (f, data, 9, of_eight);
}

static void
test_release (AllocatorFixture *f,
              gconstpointer data)
{
  const PilotAddress nobody = { 0, 99 };
  g_autofree gchar *text = allocator_fixture_give (f->allocator, 7, NULL);
  g_autoptr (GInetAddress) local = g_inet_address_new_from_string (text);
  g_autoptr (GError) error = NULL;

  g_assert_false (pilot_call_release (f->allocator, &nobody, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND);
  g_clear_error (&error);
  allocator_fixture_release (f->allocator, 7);
  g_assert_false (pilot_call_release (f->allocator, &(PilotAddress) { 0, 7 }, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND);
  take_free (f, data, 8, local);
}

static void
test_restore (AllocatorFixture *f,
              gconstpointer data)
{
  g_autofree gchar *text = allocator_fixture_give (f->allocator, 7, NULL);
  g_autofree gchar *other = NULL, *again = NULL;
  g_autoptr (GInetAddress) local = g_inet_address_new_from_string (text);
  g_autoptr (GInetAddress) outside = g_inet_address_new_from_string ("203.0.113.9");
  g_autoptr (GError) error = NULL;

  allocator_fixture_release (f->allocator, 7);
  g_assert_true (pilot_call_restore (f->allocator, &(PilotAddress) { 0, 7 }, local, &error));
  g_assert_no_error (error);
  again = allocator_fixture_give (f->allocator, 7, NULL);
  g_assert_cmpstr (again, ==, text);
  other = allocator_fixture_give (f->allocator, 8, NULL);
  g_assert_cmpstr (other, !=, text);
  refuse_taken (f, data, 9, local, TRUE);
  g_assert_false (pilot_call_restore (f->allocator, &(PilotAddress) { 0, 9 }, outside, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
}

/* The network is part of the pilot address. */
static void
test_networks (AllocatorFixture *f,
               gconstpointer data)
{
  const CheckCandidate *candidate = data;
  g_autoptr (GError) error = NULL;
  g_autoptr (GInetAddress) a = pilot_call_allocate (f->allocator, &(PilotAddress) { 1, 7 }, NULL, &error);
  g_autoptr (GInetAddress) b = error == NULL ? pilot_call_allocate (f->allocator, &(PilotAddress) { 2, 7 }, NULL, &error) : NULL;

  /* One that has no place for a network says so. */
  if (!candidate->strict && g_error_matches (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED))
    return;
  g_assert_no_error (error);
  g_assert_false (g_inet_address_equal (a, b));
}

static void
test_subnet (AllocatorFixture *f,
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
test_again (AllocatorFixture *f,
            gconstpointer data)
{
  g_autofree gchar *text = NULL;

  g_assert_true (host_disable (f->allocator, NULL));
  g_assert_true (host_enable (f->allocator, NULL));
  text = allocator_fixture_give (f->allocator, 7, NULL);
  g_assert_nonnull (text);
}

static void
test_settings (AllocatorFixture *f,
               gconstpointer data)
{
  const CheckCandidate *candidate = data;
  g_autoptr (GError) error = NULL;
  g_autoptr (GObject) other = host_new (candidate->get_type (), candidate->name, NULL, host_settings ("{'no-such-key': <1>}"));

  g_assert_false (host_enable (other, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  g_assert_nonnull (strstr (error->message, "no-such-key"));
}

const CheckCase check_allocator_cases[] = {
  { "distinct", "100 nodes get 100 addresses, all of them in the subnet",
    G_CALLBACK (test_distinct) },
  { "same-again", "a node that has an address gets the same again, wanted or not",
    G_CALLBACK (test_same_again) },
  { "wanted", "an address that another node has, or outside the subnet, is refused, and changes nothing",
    G_CALLBACK (test_wanted) },
  { "release", "an address is given back once, and is free then",
    G_CALLBACK (test_release) },
  { "restore", "what a node had in an earlier run is its own again, and nobody else gets it",
    G_CALLBACK (test_restore) },
  { "networks", "the network is part of the pilot address: no two get the same address, but a network may be refused",
    G_CALLBACK (test_networks) },
  { "subnet", "the subnet is well formed, and malformed ones are refused and change nothing",
    G_CALLBACK (test_subnet) },
  { "again", "after disable and enable it works as before",
    G_CALLBACK (test_again) },
  { "settings", "a key that it does not know is refused by enable, and named (pilot_plugin_check_settings)",
    G_CALLBACK (test_settings) },
  { NULL }
};

void
check_add_allocator (const CheckCandidate *candidate)
{
  for (const CheckCase *one = check_allocator_cases; one->name != NULL; one++)
    allocator_fixture_add (candidate, one->name, (void (*) (AllocatorFixture *, gconstpointer)) one->func);
}
