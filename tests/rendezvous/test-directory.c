/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <locale.h>
#include <string.h>

#include "libpilot/pilot-error.h"
#include "rendezvous/directory.h"
#include "rendezvous/hostname.h"
#include "rendezvous/limiter.h"

/* The rules of the directory that would take too long, or too many nodes, over a socket. */

typedef struct
{
  PilotStore *store;
  PilotDirectory *directory;
  PilotJournal *journal;
  GError *failure; /* of the last commit */
  guint n_settled;
} Fixture;

static void
settled (PilotJournal *journal,
         guint64 ticket,
         const GError *error,
         gpointer user_data)
{
  Fixture *fixture = user_data;

  g_clear_error (&fixture->failure);
  fixture->failure = error == NULL ? NULL : g_error_copy (error);
  fixture->n_settled++;
}

static void
fixture_start (Fixture *fixture)
{
  g_autoptr (GError) error = NULL;

  fixture->directory = pilot_directory_new (fixture->store, FALSE, &error);
  g_assert_no_error (error);
  fixture->journal = pilot_journal_new (fixture->store, settled, fixture);
  pilot_directory_set_journal (fixture->directory, fixture->journal);
}

static void
fixture_stop (Fixture *fixture)
{
  g_autoptr (GError) error = NULL;

  pilot_journal_close (fixture->journal, &error);
  g_assert_no_error (error);
  pilot_directory_free (fixture->directory);
}

static void
fixture_init (Fixture *fixture)
{
  *fixture = (Fixture) { .store = pilot_store_memory_new () };
  fixture_start (fixture);
}

static void
fixture_clear (Fixture *fixture)
{
  fixture_stop (fixture);
  pilot_store_close (fixture->store);
  g_clear_error (&fixture->failure);
}

static guint32
add_node (Fixture *fixture,
          guint32 number,
          gint64 now)
{
  guint8 key[PILOT_KEY_SIZE] = { 0 };
  PilotDirectoryRegistration registration = { .key = key, .is_signed = TRUE, .listen_addr = "" };
  g_autofree gchar *hostname_error = NULL;
  g_autoptr (GError) error = NULL;
  const PilotNodeRecord *record;

  memcpy (key, &number, sizeof number);
  g_assert_true (pilot_endpoint_parse ("192.0.2.1:4000", &registration.source, NULL));
  record = pilot_directory_register (fixture->directory, &registration, now, &hostname_error, &error);
  g_assert_no_error (error);
  g_assert_null (hostname_error);
  return record->id;
}

static guint
poll_count (Fixture *fixture,
            guint32 id)
{
  g_autoptr (GArray) items = pilot_directory_poll (fixture->directory, id);

  return items->len;
}

static void
deliver_all (Fixture *fixture,
             guint32 id)
{
  g_autoptr (GArray) items = pilot_directory_poll (fixture->directory, id);

  pilot_directory_delivered (fixture->directory, id, items);
  g_assert_cmpuint (poll_count (fixture, id), ==, 0);
}

/* Polled and not answered, requests pile up: only so many, and an old one can no longer be accepted. */
static void
test_pending_bounded (void)
{
  Fixture fixture;
  g_autoptr (GError) error = NULL;

  fixture_init (&fixture);
  add_node (&fixture, 1, 10);
  for (guint32 i = 2; i <= PILOT_DIRECTORY_MAX_PENDING + 50; i++) {
    g_assert_true (pilot_directory_request (fixture.directory, add_node (&fixture, i, 10), 1, "", i, &error));
    if (poll_count (&fixture, 1) == PILOT_DIRECTORY_MAX_INBOX)
      deliver_all (&fixture, 1);
  }
  g_assert_no_error (error);
  g_assert_false (pilot_directory_respond (fixture.directory, 1, 2, PILOT_RESPONSE_ACCEPT, 99, &error));
  g_assert_cmpstr (error->message, ==, "no pending handshake request from node 2");
  g_clear_error (&error);
  g_assert_false (pilot_directory_is_trusted (fixture.directory, 1, 2));
  g_assert_true (pilot_directory_respond (fixture.directory, 1, PILOT_DIRECTORY_MAX_PENDING, PILOT_RESPONSE_ACCEPT, 99, &error));
  g_assert_true (pilot_directory_is_trusted (fixture.directory, 1, PILOT_DIRECTORY_MAX_PENDING));
  fixture_clear (&fixture);
}

/* A request that was refused before it was polled is not handed out, may be accepted after all, and may be made again. */
static void
test_settled (void)
{
  Fixture fixture;
  g_autoptr (GError) error = NULL;

  fixture_init (&fixture);
  add_node (&fixture, 1, 10);
  add_node (&fixture, 2, 10);
  g_assert_true (pilot_directory_request (fixture.directory, 2, 1, "", 11, &error));
  g_assert_true (pilot_directory_respond (fixture.directory, 1, 2, PILOT_RESPONSE_REJECT, 12, &error));
  g_assert_cmpuint (poll_count (&fixture, 1), ==, 1);
  pilot_directory_settle_request (fixture.directory, 1, 2);
  g_assert_cmpuint (poll_count (&fixture, 1), ==, 0);
  g_assert_true (pilot_directory_request (fixture.directory, 2, 1, "", 13, &error));
  g_assert_cmpuint (poll_count (&fixture, 1), ==, 1);
  pilot_directory_settle_request (fixture.directory, 1, 2);
  g_assert_true (pilot_directory_respond (fixture.directory, 1, 2, PILOT_RESPONSE_ACCEPT, 14, &error));
  g_assert_true (pilot_directory_is_trusted (fixture.directory, 1, 2));
  fixture_clear (&fixture);
}

/* A hundred answers, the newest of each sender. */
static void
test_responses_bounded (void)
{
  Fixture fixture;
  g_autoptr (GArray) items = NULL;

  fixture_init (&fixture);
  add_node (&fixture, 1, 10);
  for (guint32 i = 2; i < 152; i++)
    g_assert_true (pilot_directory_respond (fixture.directory, add_node (&fixture, i, 10), 1, PILOT_RESPONSE_REJECT, i, NULL));
  g_assert_true (pilot_directory_respond (fixture.directory, 100, 1, PILOT_RESPONSE_REJECT, 1000, NULL));
  items = pilot_directory_poll (fixture.directory, 1);
  g_assert_cmpuint (items->len, ==, PILOT_DIRECTORY_MAX_RESPONSES);
  g_assert_cmpuint (g_array_index (items, PilotDirectoryItem, 0).peer, ==, 52);
  g_assert_cmpuint (g_array_index (items, PilotDirectoryItem, 99).peer, ==, 100);
  g_assert_cmpint (g_array_index (items, PilotDirectoryItem, 99).time, ==, 1000);
  fixture_clear (&fixture);
}

static void
test_edges_bounded (void)
{
  Fixture fixture;
  g_autoptr (GError) error = NULL;

  fixture_init (&fixture);
  add_node (&fixture, 1, 10);
  for (guint32 i = 2; i <= PILOT_DIRECTORY_MAX_EDGES + 1; i++)
    g_assert_true (pilot_directory_report_trust (fixture.directory, 1, add_node (&fixture, i, 10), &error));
  add_node (&fixture, 1000000, 10);
  g_assert_false (pilot_directory_report_trust (fixture.directory, 1, PILOT_DIRECTORY_MAX_EDGES + 2, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED);
  g_clear_error (&error);
  /* What is there may be repeated, and one that goes makes room. */
  g_assert_true (pilot_directory_report_trust (fixture.directory, 1, 2, &error));
  g_assert_true (pilot_directory_revoke_trust (fixture.directory, 1, 2, &error));
  g_assert_true (pilot_directory_report_trust (fixture.directory, 1, PILOT_DIRECTORY_MAX_EDGES + 2, &error));
  fixture_clear (&fixture);
}

/* The same after a restart: ids, latch, edges, requests, responses, and where the next id is. */
static void
test_restart (void)
{
  Fixture fixture;
  g_autoptr (GError) error = NULL;

  fixture_init (&fixture);
  for (guint32 i = 1; i <= 4; i++)
    g_assert_cmpuint (add_node (&fixture, i, 10), ==, i);
  g_assert_true (pilot_directory_set_hostname (fixture.directory, 1, "one", &error));
  g_assert_true (pilot_directory_report_trust (fixture.directory, 1, 2, &error));
  g_assert_true (pilot_directory_report_trust (fixture.directory, 2, 1, &error));
  g_assert_true (pilot_directory_request (fixture.directory, 3, 1, "hello", 11, &error));
  g_assert_true (pilot_directory_respond (fixture.directory, 4, 1, PILOT_RESPONSE_REJECT, 12, &error));
  pilot_directory_deregister (fixture.directory, 4);
  fixture_stop (&fixture);
  fixture_start (&fixture);
  g_assert_cmpuint (pilot_directory_count_live (fixture.directory), ==, 3);
  g_assert_cmpuint (pilot_directory_find_hostname (fixture.directory, "one")->id, ==, 1);
  g_assert_true (pilot_directory_is_trusted (fixture.directory, 2, 1));
  g_assert_cmpuint (poll_count (&fixture, 1), ==, 2);
  /* The last id is not given to another although its node is gone. */
  g_assert_cmpuint (add_node (&fixture, 5, 10), ==, 5);
  g_assert_cmpuint (add_node (&fixture, 4, 10), ==, 4);
  fixture_clear (&fixture);
}

/* A commit that fails takes everything back, and leaves what was never meant for the disk. */
static void
test_reload (void)
{
  PilotEndpoint source;
  Fixture fixture;
  g_autoptr (GError) error = NULL;

  fixture_init (&fixture);
  add_node (&fixture, 1, 10);
  add_node (&fixture, 2, 10);
  pilot_journal_flush (fixture.journal);
  while (fixture.n_settled < 1)
    g_main_context_iteration (NULL, TRUE);
  g_assert_no_error (fixture.failure);
  pilot_store_memory_fail (fixture.store, 1);
  g_assert_true (pilot_endpoint_parse ("192.0.2.9:1", &source, NULL));
  pilot_directory_touch (fixture.directory, 1, &source, 77);
  g_assert_true (pilot_directory_report_trust (fixture.directory, 1, 2, &error));
  g_assert_true (pilot_directory_set_hostname (fixture.directory, 1, "one", &error));
  add_node (&fixture, 3, 10);
  pilot_journal_flush (fixture.journal);
  while (fixture.n_settled < 2)
    g_main_context_iteration (NULL, TRUE);
  g_assert_nonnull (fixture.failure);
  g_assert_true (pilot_directory_reload (fixture.directory, &error));
  g_assert_null (pilot_directory_find_hostname (fixture.directory, "one"));
  g_assert_null (pilot_directory_find (fixture.directory, 3));
  g_assert_true (pilot_endpoint_equal (pilot_directory_get_source (fixture.directory, 1), &source));
  g_assert_cmpint (pilot_directory_find (fixture.directory, 1)->last_seen, ==, 77);
  g_assert_cmpuint (add_node (&fixture, 4, 10), ==, 3);
  fixture_clear (&fixture);
}

static void
test_reap (void)
{
  Fixture fixture;

  fixture_init (&fixture);
  add_node (&fixture, 1, 100);
  add_node (&fixture, 2, 150);
  g_assert_cmpuint (pilot_directory_reap (fixture.directory, 199, 100), ==, 0);
  g_assert_cmpuint (pilot_directory_reap (fixture.directory, 200, 100), ==, 1);
  g_assert_null (pilot_directory_find (fixture.directory, 1));
  g_assert_nonnull (pilot_directory_find (fixture.directory, 2));
  g_assert_null (pilot_directory_get_source (fixture.directory, 1));
  g_assert_cmpuint (pilot_directory_count_live (fixture.directory), ==, 1);
  fixture_clear (&fixture);
}

static void
test_limiter (void)
{
  PilotLimiter *limiter = pilot_limiter_new (3, 60);
  PilotEndpoint a, b, c, d;

  g_assert_true (pilot_endpoint_parse ("192.0.2.1:1", &a, NULL));
  g_assert_true (pilot_endpoint_parse ("192.0.2.2:1", &b, NULL));
  g_assert_true (pilot_endpoint_parse ("[2001:db8::1]:1", &c, NULL));
  g_assert_true (pilot_endpoint_parse ("[2001:db8::ffff:2]:2", &d, NULL));
  for (guint i = 0; i < 3; i++)
    g_assert_true (pilot_limiter_take (limiter, &a, 100));
  a.port = 2;
  g_assert_false (pilot_limiter_take (limiter, &a, 100));
  g_assert_true (pilot_limiter_take (limiter, &b, 100));
  g_assert_true (pilot_limiter_take (limiter, &a, 101));
  g_assert_false (pilot_limiter_take (limiter, &a, 101));
  /* A clock that goes back gives nothing, and takes no more than a minute of patience. */
  g_assert_false (pilot_limiter_take (limiter, &a, 50));
  g_assert_true (pilot_limiter_take (limiter, &a, 51));
  g_assert_false (pilot_limiter_take (limiter, &a, 51));
  for (guint i = 0; i < 3; i++)
    g_assert_true (pilot_limiter_take (limiter, &a, 1000));
  g_assert_false (pilot_limiter_take (limiter, &a, 1000));
  /* One network, one bucket. */
  for (guint i = 0; i < 3; i++)
    g_assert_true (pilot_limiter_take (limiter, i % 2 == 0 ? &c : &d, 100));
  g_assert_false (pilot_limiter_take (limiter, &d, 100));
  pilot_limiter_free (limiter);
}

int
main (int argc,
      char **argv)
{
  setlocale (LC_ALL, "");
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/rendezvous/directory/pending-bounded", test_pending_bounded);
  g_test_add_func ("/rendezvous/directory/settled", test_settled);
  g_test_add_func ("/rendezvous/directory/responses-bounded", test_responses_bounded);
  g_test_add_func ("/rendezvous/directory/edges-bounded", test_edges_bounded);
  g_test_add_func ("/rendezvous/directory/restart", test_restart);
  g_test_add_func ("/rendezvous/directory/reload", test_reload);
  g_test_add_func ("/rendezvous/directory/reap", test_reap);
  g_test_add_func ("/rendezvous/directory/limiter", test_limiter);
  return g_test_run ();
}
