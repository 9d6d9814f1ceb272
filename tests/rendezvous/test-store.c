/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib/gstdio.h>
#include <locale.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libpilot/pilot-error.h"
#include "rendezvous/journal.h"
#include "rendezvous/store.h"

typedef struct
{
  gchar *folder;
  gchar *path;
} Place;

static void
place_init (Place *place)
{
  g_autoptr (GError) error = NULL;

  place->folder = g_dir_make_tmp ("rendezvous-store-XXXXXX", &error);
  g_assert_no_error (error);
  place->path = g_build_filename (place->folder, "store.db", NULL);
}

static void
place_clear (Place *place)
{
  static const gchar *const names[] = { "store.db", "store.db-wal", "store.db-shm", "store.db.new", "store.db-journal" };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autofree gchar *path = g_build_filename (place->folder, names[i], NULL);

    g_unlink (path);
  }
  g_assert_cmpint (g_rmdir (place->folder), ==, 0);
  g_free (place->folder);
  g_free (place->path);
}

static GPtrArray *
changes_new (void)
{
  return g_ptr_array_new_with_free_func ((GDestroyNotify) pilot_store_change_free);
}

static PilotStoreChange *
make_node (guint32 id)
{
  gchar *lan[] = { (gchar *) "192.168.1.2:4000", (gchar *) "10.0.0.2:4000", NULL };
  gchar *tags[] = { (gchar *) "web", NULL };
  PilotNodeRecord record = { .id = id, .live = TRUE, .latched = TRUE, .relay_only = TRUE, .hostname = (gchar *) "alpha", .endpoint = (gchar *) "192.0.2.1:4000", .version = (gchar *) "v1", .lan_addrs = lan, .tags = tags, .last_seen = 1234567890123, .key_created = 5, .key_rotated = 6, .rotate_count = 7 };

  memcpy (record.key, &id, sizeof id);
  return pilot_store_change_node (&record);
}

/* Loading into texts, one a record. */

static gboolean
print_node (const PilotNodeRecord *record,
            gpointer user_data,
            GError **error)
{
  g_autofree gchar *lan = record->lan_addrs == NULL ? g_strdup ("-") : g_strjoinv ("+", record->lan_addrs);
  g_autofree gchar *tags = record->tags == NULL ? g_strdup ("-") : g_strjoinv ("+", record->tags);
  guint32 key;

  memcpy (&key, record->key, sizeof key);
  g_string_append_printf (user_data, "node %u %u %d%d%d%d %s %s %s %s %s %s %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " %u\n", record->id, key, record->live, record->latched, record->is_public,
                          record->relay_only, record->hostname, record->endpoint, record->version,
                          record->owner != NULL ? record->owner : "-", lan, tags, record->last_seen, record->key_created,
                          record->key_rotated, record->rotate_count);
  return TRUE;
}

static gboolean
print_edge (const PilotEdgeRecord *record,
            gpointer user_data,
            GError **error)
{
  g_string_append_printf (user_data, "edge %u %u %d\n", record->source, record->target, record->consent);
  return TRUE;
}

static gboolean
print_request (const PilotRequestRecord *record,
               gpointer user_data,
               GError **error)
{
  g_string_append_printf (user_data, "request %u %u \"%s\" %" G_GINT64_FORMAT " %d\n", record->target, record->requester,
                          record->justification, record->time, record->delivered);
  return TRUE;
}

static gboolean
print_response (const PilotResponseRecord *record,
                gpointer user_data,
                GError **error)
{
  g_string_append_printf (user_data, "response %u %u %d %" G_GINT64_FORMAT "\n", record->requester, record->responder,
                          record->kind, record->time);
  return TRUE;
}

static void
assert_state (PilotStore *store,
              const gchar *wanted)
{
  static const PilotStoreVisitor visitor = { print_node, print_edge, print_request, print_response };
  g_autoptr (GString) text = g_string_new (NULL);
  g_autoptr (GError) error = NULL;

  pilot_store_load (store, &visitor, text, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (text->str, ==, wanted);
}

#define NODE_1 "node 1 1 1101 alpha 192.0.2.1:4000 v1 - 192.168.1.2:4000+10.0.0.2:4000 web 1234567890123 5 6 7\n"
#define NODE_2 "node 2 2 1101 alpha 192.0.2.1:4000 v1 - 192.168.1.2:4000+10.0.0.2:4000 web 1234567890123 5 6 7\n"

static void
apply (PilotStore *store,
       GPtrArray *changes)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (pilot_store_apply (store, changes, &error));
  g_assert_no_error (error);
}

static void
fill (PilotStore *store)
{
  g_autoptr (GPtrArray) changes = changes_new ();

  g_ptr_array_add (changes, make_node (1));
  g_ptr_array_add (changes, pilot_store_change_edge (&(PilotEdgeRecord) { 1, 2, PILOT_CONSENT_REQUEST }));
  g_ptr_array_add (changes, pilot_store_change_request (&(PilotRequestRecord) { 2, 1, (gchar *) "it's \"me\"", 11, FALSE }));
  g_ptr_array_add (changes, pilot_store_change_response (&(PilotResponseRecord) { 1, 2, TRUE, 12 }));
  apply (store, changes);
}

#define FILLED NODE_1 "edge 1 2 2\n"                       \
                      "request 2 1 \"it's \"me\"\" 11 0\n" \
                      "response 1 2 1 12\n"

static void
check_engine (PilotStore *store)
{
  g_autoptr (GPtrArray) changes = changes_new ();

  assert_state (store, "");
  fill (store);
  assert_state (store, FILLED);

  g_ptr_array_add (changes, pilot_store_change_seen (1, 99));
  g_ptr_array_add (changes, pilot_store_change_edge (&(PilotEdgeRecord) { 1, 2, PILOT_CONSENT_REQUEST | PILOT_CONSENT_REPORT }));
  g_ptr_array_add (changes, pilot_store_change_request (&(PilotRequestRecord) { 2, 1, (gchar *) "again", 13, TRUE }));
  g_ptr_array_add (changes, pilot_store_change_response_gone (1, 2));
  apply (store, changes);
  assert_state (store, "node 1 1 1101 alpha 192.0.2.1:4000 v1 - 192.168.1.2:4000+10.0.0.2:4000 web 99 5 6 7\n"
                       "edge 1 2 3\nrequest 2 1 \"again\" 13 1\n");

  g_ptr_array_set_size (changes, 0);
  g_ptr_array_add (changes, pilot_store_change_edge (&(PilotEdgeRecord) { 1, 2, 0 }));
  g_ptr_array_add (changes, pilot_store_change_request_gone (2, 1));
  apply (store, changes);
  assert_state (store, "node 1 1 1101 alpha 192.0.2.1:4000 v1 - 192.168.1.2:4000+10.0.0.2:4000 web 99 5 6 7\n");
}

static void
test_memory (void)
{
  g_autoptr (PilotStore) store = pilot_store_memory_new ();

  check_engine (store);
}

static PilotStore *
open_store (const Place *place)
{
  g_autoptr (GError) error = NULL;
  PilotStore *store = pilot_store_sqlite_new (place->path, &error);

  g_assert_no_error (error);
  return store;
}

static void
test_sqlite (void)
{
  Place place;
  PilotStore *store;
  gint64 created;

  place_init (&place);
  store = open_store (&place);
  created = store->created;
  g_assert_cmpint (created, >, 1700000000);
  check_engine (store);
  pilot_store_close (store);
  store = open_store (&place);
  g_assert_cmpint (store->created, ==, created);
  assert_state (store, "node 1 1 1101 alpha 192.0.2.1:4000 v1 - 192.168.1.2:4000+10.0.0.2:4000 web 99 5 6 7\n");
  pilot_store_close (store);
  place_clear (&place);
}

/* A key cannot go from one node to another by a write. */
static void
test_key_unique (void)
{
  g_autoptr (GPtrArray) changes = changes_new ();
  g_autoptr (GError) error = NULL;
  PilotStoreChange *thief = make_node (2);
  PilotStore *store;
  Place place;

  place_init (&place);
  store = open_store (&place);
  fill (store);
  memset (thief->node.key, 0, sizeof thief->node.key);
  thief->node.key[0] = 1;
  g_ptr_array_add (changes, pilot_store_change_seen (1, 99));
  g_ptr_array_add (changes, thief);
  g_assert_false (pilot_store_apply (store, changes, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_IO);
  assert_state (store, FILLED); /* all or nothing */
  pilot_store_close (store);
  place_clear (&place);
}

/* The writer says "durable" for each batch and is killed without warning; what it said must be there. */
static void
test_kill (void)
{
  Place place;
  int pipe_fds[2];
  gchar said[1];
  pid_t child;
  int status;
  PilotStore *store;

  place_init (&place);
  g_assert_cmpint (pipe (pipe_fds), ==, 0);
  child = fork ();
  g_assert_cmpint (child, >=, 0);
  if (child == 0) {
    PilotStore *writer = pilot_store_sqlite_new (place.path, NULL);

    if (writer == NULL)
      _exit (1);
    fill (writer);
    if (write (pipe_fds[1], "d", 1) != 1)
      _exit (1);
    while (TRUE)
      pause ();
  }
  g_assert_cmpint (read (pipe_fds[0], said, 1), ==, 1);
  g_assert_cmpint (kill (child, SIGKILL), ==, 0);
  g_assert_cmpint (waitpid (child, &status, 0), ==, child);
  g_assert_true (WIFSIGNALED (status));
  store = open_store (&place);
  assert_state (store, FILLED);
  pilot_store_close (store);
  close (pipe_fds[0]);
  close (pipe_fds[1]);
  place_clear (&place);
}

static void
assert_refused (const Place *place,
                PilotError code,
                const gchar *text)
{
  g_autoptr (GError) error = NULL;
  g_autofree gchar *before = NULL, *after = NULL;
  gsize before_length = 0, after_length = 0;

  g_file_get_contents (place->path, &before, &before_length, NULL);
  g_assert_null (pilot_store_sqlite_new (place->path, &error));
  g_assert_error (error, PILOT_ERROR, (gint) code);
  g_assert_nonnull (strstr (error->message, text));
  g_assert_nonnull (strstr (error->message, place->path));
  g_file_get_contents (place->path, &after, &after_length, NULL);
  g_assert_cmpmem (before, before_length, after, after_length);
}

static void
test_refused (void)
{
  g_autoptr (GPtrArray) changes = changes_new ();
  g_autofree gchar *data = NULL;
  g_autofree gchar *noise = g_strnfill (8192, 'x');
  PilotStore *store;
  gsize length;
  Place place;

  place_init (&place);
  g_assert_true (g_file_set_contents (place.path, "", 0, NULL));
  assert_refused (&place, PILOT_ERROR_CORRUPT, "is empty");
  g_assert_true (g_file_set_contents (place.path, noise, 8192, NULL));
  assert_refused (&place, PILOT_ERROR_CORRUPT, "not a database");
  g_unlink (place.path);

  /* A real one with a hole in the middle, and one that was cut. */
  store = open_store (&place);
  for (guint32 id = 1; id <= 500; id++)
    g_ptr_array_add (changes, make_node (id));
  apply (store, changes);
  pilot_store_close (store);
  g_assert_true (g_file_get_contents (place.path, &data, &length, NULL));
  g_assert_cmpuint (length, >, 20 * 4096);
  memset (data + 10 * 4096, 'x', 4 * 4096);
  g_assert_true (g_file_set_contents (place.path, data, (gssize) length, NULL));
  assert_refused (&place, PILOT_ERROR_CORRUPT, place.path);
  g_assert_true (g_file_set_contents (place.path, data, (gssize) length / 2, NULL));
  assert_refused (&place, PILOT_ERROR_CORRUPT, place.path);
  place_clear (&place);
}

static void
test_busy (void)
{
  PilotStore *store;
  Place place;
  pid_t child;
  int status;

  place_init (&place);
  store = open_store (&place);
  fill (store);
  child = fork ();
  if (child == 0) {
    g_autoptr (GError) error = NULL;

    _exit (pilot_store_sqlite_new (place.path, &error) == NULL && g_error_matches (error, PILOT_ERROR, PILOT_ERROR_BUSY) ? 0 : 1);
  }
  g_assert_cmpint (waitpid (child, &status, 0), ==, child);
  g_assert_true (WIFEXITED (status));
  g_assert_cmpint (WEXITSTATUS (status), ==, 0);
  assert_state (store, FILLED);
  pilot_store_close (store);
  place_clear (&place);
}

static void
test_unwritable (void)
{
  Place place;
  g_autofree gchar *path = NULL;

  place_init (&place);
  path = place.path;
  place.path = g_build_filename (place.folder, "missing", "store.db", NULL);
  assert_refused (&place, PILOT_ERROR_IO, "cannot create");
  g_free (place.path);
  place.path = g_strdup (place.folder);
  assert_refused (&place, PILOT_ERROR_IO, "not a regular file");
  g_free (place.path);
  place.path = g_steal_pointer (&path);
  place_clear (&place);
}

/* The old state stays whole, and when there is room again, it goes on. */
static void
test_disk_full (void)
{
  g_autoptr (GPtrArray) changes = changes_new ();
  g_autoptr (GError) error = NULL;
  PilotStore *store;
  Place place;

  place_init (&place);
  store = open_store (&place);
  fill (store);
  g_assert_true (pilot_store_sqlite_set_max_pages (store, 12, NULL));
  for (guint32 id = 2; id <= 2000; id++)
    g_ptr_array_add (changes, make_node (id));
  g_assert_false (pilot_store_apply (store, changes, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_IO);
  g_assert_nonnull (strstr (error->message, "full"));
  assert_state (store, FILLED);
  g_assert_true (pilot_store_sqlite_set_max_pages (store, 100000, NULL));
  g_ptr_array_set_size (changes, 1);
  apply (store, changes);
  assert_state (store, NODE_1 NODE_2 "edge 1 2 2\n"
                                     "request 2 1 \"it's \"me\"\" 11 0\n"
                                     "response 1 2 1 12\n");
  pilot_store_close (store);
  place_clear (&place);
}

/* Journal */

typedef struct
{
  guint64 ticket;
  guint n;
  guint n_failed;
} Settled;

static void
settled (PilotJournal *journal,
         guint64 ticket,
         const GError *error,
         gpointer user_data)
{
  Settled *self = user_data;

  self->ticket = ticket;
  self->n++;
  self->n_failed += error != NULL;
}

static void
test_journal (void)
{
  g_autoptr (PilotStore) store = pilot_store_memory_new ();
  g_autoptr (GError) error = NULL;
  Settled result = { 0 };
  PilotJournal *journal = pilot_journal_new (store, settled, &result);
  guint64 ticket;

  pilot_journal_add (journal, make_node (1));
  pilot_journal_flush (journal);
  /* These gather while the first is on its way: one commit more, whatever their number. */
  for (guint i = 0; i < 100; i++)
    ticket = pilot_journal_add (journal, pilot_store_change_seen (1, 1000 + i));
  g_assert_cmpuint (pilot_journal_durable (journal), <, ticket);
  while (pilot_journal_durable (journal) < ticket)
    g_main_context_iteration (NULL, TRUE);
  g_assert_cmpuint (result.n, ==, 2);
  g_assert_cmpuint (result.ticket, ==, ticket);

  /* A failure settles every ticket given out. */
  pilot_store_memory_fail (store, 1);
  pilot_journal_add (journal, pilot_store_change_seen (1, 7));
  pilot_journal_flush (journal);
  ticket = pilot_journal_add (journal, pilot_store_change_seen (1, 8));
  while (result.n < 3)
    g_main_context_iteration (NULL, TRUE);
  g_assert_cmpuint (result.n_failed, ==, 1);
  g_assert_cmpuint (pilot_journal_durable (journal), ==, ticket);

  /* What is left is written at the end. */
  pilot_journal_add_lazy (journal, pilot_store_change_seen (1, 9));
  g_assert_true (pilot_journal_close (journal, &error));
  g_assert_no_error (error);
  assert_state (store, "node 1 1 1101 alpha 192.0.2.1:4000 v1 - 192.168.1.2:4000+10.0.0.2:4000 web 9 5 6 7\n");
}

int
main (int argc,
      char **argv)
{
  setlocale (LC_ALL, "");
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/rendezvous/store/memory", test_memory);
  g_test_add_func ("/rendezvous/store/sqlite", test_sqlite);
  g_test_add_func ("/rendezvous/store/key-unique", test_key_unique);
  g_test_add_func ("/rendezvous/store/kill", test_kill);
  g_test_add_func ("/rendezvous/store/refused", test_refused);
  g_test_add_func ("/rendezvous/store/busy", test_busy);
  g_test_add_func ("/rendezvous/store/unwritable", test_unwritable);
  g_test_add_func ("/rendezvous/store/disk-full", test_disk_full);
  g_test_add_func ("/rendezvous/journal", test_journal);
  return g_test_run ();
}
