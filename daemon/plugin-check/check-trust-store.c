/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every trust store owes the host. */
#include "daemon/plugin-check/trust-fixture.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>

static void
test_empty (TrustFixture *f,
            gconstpointer data)
{
  trust_fixture_load (f);
  for (guint kind = 0; kind < PILOT_TRUST_N_KINDS; kind++)
    trust_fixture_expect_list (f, (PilotTrustKind) kind, "");
  trust_fixture_flush (f);
}

static void
test_not_loaded (TrustFixture *f,
                 gconstpointer data)
{
  g_autoptr (PilotTrustRecord) record = trust_fixture_make (PILOT_TRUST_TRUSTED, 7);
  g_autoptr (GError) error = NULL;

  g_assert_false (pilot_call_put (f->store, record, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING);
  g_clear_error (&error);
  g_assert_false (pilot_call_flush (f->store, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING);
}

static void
test_round_trip (TrustFixture *f,
                 gconstpointer data)
{
  trust_fixture_load (f);
  for (guint kind = 0; kind < PILOT_TRUST_N_KINDS; kind++)
    for (guint32 node = 3; node > 0; node--) {
      g_autoptr (PilotTrustRecord) record = trust_fixture_make ((PilotTrustKind) kind, node == 3 ? G_MAXUINT32 : node);

      trust_fixture_put (f, record);
    }
  trust_fixture_flush (f);
  trust_fixture_restart (f);
  for (guint kind = 0; kind < PILOT_TRUST_N_KINDS; kind++) {
    trust_fixture_expect_list (f, (PilotTrustKind) kind, "1 2 4294967295");
    for (guint32 node = 1; node <= 3; node++) {
      g_autoptr (PilotTrustRecord) record = trust_fixture_make ((PilotTrustKind) kind, node == 3 ? G_MAXUINT32 : node);

      trust_fixture_expect_record (f, record);
    }
  }
}

static void
test_replace (TrustFixture *f,
              gconstpointer data)
{
  g_autoptr (PilotTrustRecord) first = trust_fixture_make (PILOT_TRUST_TRUSTED, 7);
  g_autoptr (PilotTrustRecord) second = trust_fixture_make (PILOT_TRUST_TRUSTED, 7);

  pilot_trust_record_set_key (second, NULL);
  second->time++;
  trust_fixture_load (f);
  trust_fixture_put (f, first);
  trust_fixture_flush (f);
  trust_fixture_put (f, second);
  trust_fixture_expect_list (f, PILOT_TRUST_TRUSTED, "7");
  trust_fixture_expect_record (f, second);
  trust_fixture_flush (f);
  trust_fixture_restart (f);
  trust_fixture_expect_list (f, PILOT_TRUST_TRUSTED, "7");
  trust_fixture_expect_record (f, second);
}

static void
test_remove (TrustFixture *f,
             gconstpointer data)
{
  g_autoptr (PilotTrustRecord) trusted = trust_fixture_make (PILOT_TRUST_TRUSTED, 7);
  g_autoptr (PilotTrustRecord) pending = trust_fixture_make (PILOT_TRUST_PENDING, 7);
  g_autoptr (GError) error = NULL;

  trust_fixture_load (f);
  trust_fixture_put (f, trusted);
  trust_fixture_put (f, pending);
  trust_fixture_flush (f);
  g_assert_true (pilot_call_remove (f->store, PILOT_TRUST_PENDING, 7, &error));
  g_assert_no_error (error);
  g_assert_false (pilot_call_remove (f->store, PILOT_TRUST_PENDING, 7, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND);
  trust_fixture_flush (f);
  trust_fixture_restart (f);
  trust_fixture_expect_list (f, PILOT_TRUST_PENDING, "");
  trust_fixture_expect_record (f, trusted);
}

/* What was not flushed did not happen. */
static void
test_not_flushed (TrustFixture *f,
                  gconstpointer data)
{
  g_autoptr (PilotTrustRecord) first = trust_fixture_make (PILOT_TRUST_TRUSTED, 7);
  g_autoptr (PilotTrustRecord) second = trust_fixture_make (PILOT_TRUST_TRUSTED, 8);

  trust_fixture_load (f);
  trust_fixture_put (f, first);
  trust_fixture_flush (f);
  trust_fixture_put (f, second);
  g_assert_true (pilot_call_remove (f->store, PILOT_TRUST_TRUSTED, 7, NULL));
  trust_fixture_restart (f);
  trust_fixture_expect_list (f, PILOT_TRUST_TRUSTED, "7");
}

static void
test_copies (TrustFixture *f,
             gconstpointer data)
{
  g_autoptr (PilotTrustRecord) record = trust_fixture_make (PILOT_TRUST_PENDING, 7);
  g_autoptr (PilotTrustRecord) expected = pilot_trust_record_copy (record);
  g_autoptr (GPtrArray) list = NULL;

  trust_fixture_load (f);
  trust_fixture_put (f, record);
  record->justification[0] = 'X';
  record->source = 99;
  list = pilot_call_list (f->store, PILOT_TRUST_PENDING);
  trust_fixture_expect_record (f, expected);
  trust_fixture_stop (f);
  g_assert_true (pilot_trust_record_equal (g_ptr_array_index (list, 0), expected));
  trust_fixture_start (f);
}

/* Full disk: told to the caller, what was stored stays, and what is listed is what is stored. */
static void
test_disk_full (TrustFixture *f,
                gconstpointer data)
{
  g_autoptr (PilotTrustRecord) first = trust_fixture_make (PILOT_TRUST_TRUSTED, 7);
  g_autoptr (PilotTrustRecord) second = trust_fixture_make (PILOT_TRUST_TRUSTED, 8);
  struct rlimit before, tight;
  g_autoptr (GError) error = NULL;
  gboolean flushed;

  trust_fixture_load (f);
  trust_fixture_put (f, first);
  trust_fixture_flush (f);
  trust_fixture_put (f, second);
  g_assert_true (pilot_call_remove (f->store, PILOT_TRUST_TRUSTED, 7, NULL));

  if (f->candidate->fill_disk != NULL)
    f->candidate->fill_disk (f->store);
  g_assert_cmpint (getrlimit (RLIMIT_FSIZE, &before), ==, 0);
  signal (SIGXFSZ, SIG_IGN);
  tight = before;
  tight.rlim_cur = 16;
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &tight), ==, 0);
  flushed = pilot_call_flush (f->store, &error);
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &before), ==, 0);

  if (flushed && !f->candidate->strict) {
    g_test_skip ("it is in no file that a limit of size reaches");
    return;
  }
  g_assert_false (flushed);
  g_assert_nonnull (error);
  g_assert_cmpint (pilot_error_code (error), ==, PILOT_ERROR_IO);
  g_assert_true (g_str_has_prefix (error->message, f->candidate->name));
  trust_fixture_expect_list (f, PILOT_TRUST_TRUSTED, "7");
  trust_fixture_expect_record (f, first);
  trust_fixture_restart (f);
  trust_fixture_expect_list (f, PILOT_TRUST_TRUSTED, "7");
  trust_fixture_put (f, second);
  trust_fixture_flush (f);
  trust_fixture_restart (f);
  trust_fixture_expect_list (f, PILOT_TRUST_TRUSTED, "7 8");
}

static void
test_settings (TrustFixture *f,
               gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GObject) other = host_new (f->candidate->get_type (), f->candidate->name, f->folder,
                                        host_settings ("{'no-such-key': <1>}"));

  g_assert_false (host_enable (other, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
}

const CheckCase check_trust_store_cases[] = {
  { "empty", "nothing stored yet is no error",
    G_CALLBACK (test_empty) },
  { "not-loaded", "before load, put and flush fail with NOT_RUNNING",
    G_CALLBACK (test_not_loaded) },
  { "round-trip", "everything that means something for its kind is there after a restart, in ascending order of node",
    G_CALLBACK (test_round_trip) },
  { "replace", "put replaces the record of the same kind and node",
    G_CALLBACK (test_replace) },
  { "remove", "remove takes one record away, and fails with NOT_FOUND when there is none",
    G_CALLBACK (test_remove) },
  { "not-flushed", "what was not flushed is not there after a restart",
    G_CALLBACK (test_not_flushed) },
  { "copies", "put keeps a copy, list gives copies",
    G_CALLBACK (test_copies) },
  { "disk-full", "a flush that fails (IO) is undone, and what was stored before stays",
    G_CALLBACK (test_disk_full) },
  { "settings", "a key that it does not know is refused by enable (pilot_plugin_check_settings)",
    G_CALLBACK (test_settings) },
  { NULL }
};

void
check_add_trust_store (const CheckCandidate *candidate)
{
  for (const CheckCase *one = check_trust_store_cases; one->name != NULL; one++)
    trust_fixture_add (candidate, one->name, (void (*) (TrustFixture *, gconstpointer)) one->func);
}
