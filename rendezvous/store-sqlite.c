/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib/gstdio.h>
#include "libpilot/pilot-error.h"

/* "PLTR": marks the file as ours in SQLite's header. */
#define APPLICATION_ID 0x504C5452
#define SCHEMA_VERSION 1

enum {
  STATEMENT_NODE,
  STATEMENT_SEEN,
  STATEMENT_EDGE,
  STATEMENT_EDGE_GONE,
  STATEMENT_REQUEST,
  STATEMENT_REQUEST_GONE,
  STATEMENT_RESPONSE,
  STATEMENT_RESPONSE_GONE,
  N_STATEMENTS
};

static const gchar *const statement_text[N_STATEMENTS] = {
  /* Not REPLACE: a key that another node has must be an error, not the end of that node. */
  "INSERT INTO node (id, key, live, latched, public, relay_only, hostname, endpoint, version, owner, lan_addrs,"
  " tags, last_seen, key_created, key_rotated, rotate_count) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
  " ON CONFLICT (id) DO UPDATE SET key = excluded.key, live = excluded.live, latched = excluded.latched,"
  " public = excluded.public, relay_only = excluded.relay_only, hostname = excluded.hostname, endpoint = excluded.endpoint,"
  " version = excluded.version, owner = excluded.owner, lan_addrs = excluded.lan_addrs, tags = excluded.tags,"
  " last_seen = excluded.last_seen, key_created = excluded.key_created, key_rotated = excluded.key_rotated,"
  " rotate_count = excluded.rotate_count",
  "UPDATE node SET last_seen = ?2 WHERE id = ?1",
  "INSERT OR REPLACE INTO edge (source, target, consent) VALUES (?,?,?)",
  "DELETE FROM edge WHERE source = ? AND target = ?",
  "INSERT OR REPLACE INTO request (target, requester, justification, time, delivered) VALUES (?,?,?,?,?)",
  "DELETE FROM request WHERE target = ? AND requester = ?",
  "INSERT OR REPLACE INTO response (requester, responder, accept, time) VALUES (?,?,?,?)",
  "DELETE FROM response WHERE requester = ? AND responder = ?",
};

static const gchar schema[] =
    "BEGIN;"
    "CREATE TABLE meta (created INTEGER NOT NULL);"
    "CREATE TABLE node (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, live INTEGER NOT NULL, latched INTEGER NOT NULL,"
    " public INTEGER NOT NULL, relay_only INTEGER NOT NULL, hostname TEXT, endpoint TEXT, version TEXT, owner TEXT,"
    " lan_addrs TEXT, tags TEXT, last_seen INTEGER NOT NULL, key_created INTEGER NOT NULL, key_rotated INTEGER NOT NULL,"
    " rotate_count INTEGER NOT NULL);"
    "CREATE TABLE edge (source INTEGER, target INTEGER, consent INTEGER NOT NULL, PRIMARY KEY (source, target)) WITHOUT ROWID;"
    "CREATE TABLE request (target INTEGER, requester INTEGER, justification TEXT NOT NULL, time INTEGER NOT NULL,"
    " delivered INTEGER NOT NULL, PRIMARY KEY (target, requester)) WITHOUT ROWID;"
    "CREATE TABLE response (requester INTEGER, responder INTEGER, accept INTEGER NOT NULL, time INTEGER NOT NULL,"
    " PRIMARY KEY (requester, responder)) WITHOUT ROWID;"
    "COMMIT;";

typedef struct
{
  PilotStore base;
  gchar *path;
  sqlite3 *db;
  sqlite3_stmt *statements[N_STATEMENTS];
} SqliteStore;

static PilotError
code_of (int result)
{
  switch (result & 0xff) {
  case SQLITE_CORRUPT:
  case SQLITE_NOTADB:
    return PILOT_ERROR_CORRUPT;
  case SQLITE_BUSY:
  case SQLITE_LOCKED:
    return PILOT_ERROR_BUSY;
  default:
    return PILOT_ERROR_IO;
  }
}

static gboolean
fail (SqliteStore *self,
      const gchar *what,
      GError **error)
{
  int result = sqlite3_extended_errcode (self->db);

  if (code_of (result) == PILOT_ERROR_BUSY)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_BUSY, "store \"%s\" is in use by another process", self->path);
  else
    g_set_error (error, PILOT_ERROR, code_of (result), "cannot %s store \"%s\": %s", what, self->path, sqlite3_errmsg (self->db));
  return FALSE;
}

static gboolean
execute (SqliteStore *self,
         const gchar *sql,
         const gchar *what,
         GError **error)
{
  if (sqlite3_exec (self->db, sql, NULL, NULL, NULL) != SQLITE_OK)
    return fail (self, what, error);
  return TRUE;
}

/* One value of one row. */
static gboolean
query_int (SqliteStore *self,
           const gchar *sql,
           gint64 *value,
           GError **error)
{
  sqlite3_stmt *statement = NULL;
  gboolean ok;

  if (sqlite3_prepare_v2 (self->db, sql, -1, &statement, NULL) != SQLITE_OK)
    return fail (self, "read", error);
  ok = sqlite3_step (statement) == SQLITE_ROW;
  if (ok)
    *value = sqlite3_column_int64 (statement, 0);
  else
    fail (self, "read", error);
  sqlite3_finalize (statement);
  return ok;
}

static void
bind_strv (sqlite3_stmt *statement,
           int index,
           gchar **strv)
{
  if (strv == NULL || strv[0] == NULL)
    sqlite3_bind_null (statement, index);
  else
    sqlite3_bind_text (statement, index, g_strjoinv ("\n", strv), -1, g_free);
}

static void
bind_text (sqlite3_stmt *statement,
           int index,
           const gchar *text)
{
  sqlite3_bind_text (statement, index, text, -1, SQLITE_STATIC);
}

static void
bind_node (sqlite3_stmt *statement,
           const PilotNodeRecord *node)
{
  sqlite3_bind_int64 (statement, 1, node->id);
  sqlite3_bind_blob (statement, 2, node->key, sizeof node->key, SQLITE_STATIC);
  sqlite3_bind_int (statement, 3, node->live);
  sqlite3_bind_int (statement, 4, node->latched);
  sqlite3_bind_int (statement, 5, node->is_public);
  sqlite3_bind_int (statement, 6, node->relay_only);
  bind_text (statement, 7, node->hostname);
  bind_text (statement, 8, node->endpoint);
  bind_text (statement, 9, node->version);
  bind_text (statement, 10, node->owner);
  bind_strv (statement, 11, node->lan_addrs);
  bind_strv (statement, 12, node->tags);
  sqlite3_bind_int64 (statement, 13, node->last_seen);
  sqlite3_bind_int64 (statement, 14, node->key_created);
  sqlite3_bind_int64 (statement, 15, node->key_rotated);
  sqlite3_bind_int64 (statement, 16, node->rotate_count);
}

static sqlite3_stmt *
bind_change (SqliteStore *self,
             const PilotStoreChange *change)
{
  sqlite3_stmt **s = self->statements;

  switch (change->kind) {
  case PILOT_STORE_CHANGE_NODE:
    bind_node (s[STATEMENT_NODE], &change->node);
    return s[STATEMENT_NODE];
  case PILOT_STORE_CHANGE_SEEN:
    sqlite3_bind_int64 (s[STATEMENT_SEEN], 1, change->node.id);
    sqlite3_bind_int64 (s[STATEMENT_SEEN], 2, change->node.last_seen);
    return s[STATEMENT_SEEN];
  case PILOT_STORE_CHANGE_EDGE:
    s += change->edge.consent == 0 ? STATEMENT_EDGE_GONE : STATEMENT_EDGE;
    sqlite3_bind_int64 (*s, 1, change->edge.source);
    sqlite3_bind_int64 (*s, 2, change->edge.target);
    if (change->edge.consent != 0)
      sqlite3_bind_int (*s, 3, change->edge.consent);
    return *s;
  case PILOT_STORE_CHANGE_REQUEST:
  case PILOT_STORE_CHANGE_REQUEST_GONE:
    s += change->kind == PILOT_STORE_CHANGE_REQUEST ? STATEMENT_REQUEST : STATEMENT_REQUEST_GONE;
    sqlite3_bind_int64 (*s, 1, change->request.target);
    sqlite3_bind_int64 (*s, 2, change->request.requester);
    if (change->kind == PILOT_STORE_CHANGE_REQUEST) {
      bind_text (*s, 3, change->request.justification);
      sqlite3_bind_int64 (*s, 4, change->request.time);
      sqlite3_bind_int (*s, 5, change->request.delivered);
    }
    return *s;
  case PILOT_STORE_CHANGE_RESPONSE:
  case PILOT_STORE_CHANGE_RESPONSE_GONE:
    s += change->kind == PILOT_STORE_CHANGE_RESPONSE ? STATEMENT_RESPONSE : STATEMENT_RESPONSE_GONE;
    sqlite3_bind_int64 (*s, 1, change->response.requester);
    sqlite3_bind_int64 (*s, 2, change->response.responder);
    if (change->kind == PILOT_STORE_CHANGE_RESPONSE) {
      sqlite3_bind_int (*s, 3, change->response.kind);
      sqlite3_bind_int64 (*s, 4, change->response.time);
    }
    return *s;
  default:
    g_assert_not_reached ();
  }
}

static gboolean
sqlite_apply (PilotStore *store,
              GPtrArray *changes,
              GError **error)
{
  SqliteStore *self = (SqliteStore *) store;
  gboolean ok = TRUE;

  if (!execute (self, "BEGIN IMMEDIATE", "write", error))
    return FALSE;
  for (guint i = 0; ok && i < changes->len; i++) {
    sqlite3_stmt *statement = bind_change (self, g_ptr_array_index (changes, i));

    if (sqlite3_step (statement) != SQLITE_DONE)
      ok = fail (self, "write", error);
    sqlite3_reset (statement);
    sqlite3_clear_bindings (statement);
  }
  /* With synchronous=FULL the commit returns when the write-ahead log is on the disk. */
  ok = ok && execute (self, "COMMIT", "write", error);
  /* After some failures SQLite has rolled back by itself. */
  if (!ok && !sqlite3_get_autocommit (self->db) && sqlite3_exec (self->db, "ROLLBACK", NULL, NULL, NULL) != SQLITE_OK)
    g_critical ("cannot roll back store \"%s\": %s", self->path, sqlite3_errmsg (self->db));
  return ok;
}

static gchar **
column_strv (sqlite3_stmt *statement,
             int column)
{
  const gchar *text = (const gchar *) sqlite3_column_text (statement, column);

  return text == NULL ? NULL : g_strsplit (text, "\n", -1);
}

/* A row that cannot be ours stops the start: a registry that guesses would give somebody's id to another key. */
static gboolean
corrupt (SqliteStore *self,
         const gchar *table,
         GError **error)
{
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "store \"%s\" is damaged: a row of table \"%s\" makes no sense",
               self->path, table);
  return FALSE;
}

static gboolean
column_id (sqlite3_stmt *statement,
           int column,
           guint32 *id)
{
  gint64 value = sqlite3_column_int64 (statement, column);

  *id = (guint32) value;
  return value > 0 && value < G_MAXUINT32;
}

static gboolean
load_node (SqliteStore *self,
           sqlite3_stmt *s,
           const PilotStoreVisitor *visitor,
           gpointer user_data,
           GError **error)
{
  PilotNodeRecord node = { 0 };
  g_auto (GStrv) lan_addrs = column_strv (s, 10);
  g_auto (GStrv) tags = column_strv (s, 11);

  if (!column_id (s, 0, &node.id) || sqlite3_column_bytes (s, 1) != PILOT_KEY_SIZE)
    return corrupt (self, "node", error);
  memcpy (node.key, sqlite3_column_blob (s, 1), PILOT_KEY_SIZE);
  node.live = sqlite3_column_int (s, 2);
  node.latched = sqlite3_column_int (s, 3);
  node.is_public = sqlite3_column_int (s, 4);
  node.relay_only = sqlite3_column_int (s, 5);
  node.hostname = (gchar *) sqlite3_column_text (s, 6);
  node.endpoint = (gchar *) sqlite3_column_text (s, 7);
  node.version = (gchar *) sqlite3_column_text (s, 8);
  node.owner = (gchar *) sqlite3_column_text (s, 9);
  node.lan_addrs = lan_addrs;
  node.tags = tags;
  node.last_seen = sqlite3_column_int64 (s, 12);
  node.key_created = sqlite3_column_int64 (s, 13);
  node.key_rotated = sqlite3_column_int64 (s, 14);
  node.rotate_count = (guint32) sqlite3_column_int64 (s, 15);
  return visitor->node (&node, user_data, error);
}

static gboolean
load_edge (SqliteStore *self,
           sqlite3_stmt *s,
           const PilotStoreVisitor *visitor,
           gpointer user_data,
           GError **error)
{
  PilotEdgeRecord edge = { 0 };

  if (!column_id (s, 0, &edge.source) || !column_id (s, 1, &edge.target))
    return corrupt (self, "edge", error);
  edge.consent = (PilotConsent) sqlite3_column_int (s, 2);
  return visitor->edge (&edge, user_data, error);
}

static gboolean
load_request (SqliteStore *self,
              sqlite3_stmt *s,
              const PilotStoreVisitor *visitor,
              gpointer user_data,
              GError **error)
{
  PilotRequestRecord request = { 0 };

  if (!column_id (s, 0, &request.target) || !column_id (s, 1, &request.requester) || sqlite3_column_text (s, 2) == NULL)
    return corrupt (self, "request", error);
  request.justification = (gchar *) sqlite3_column_text (s, 2);
  request.time = sqlite3_column_int64 (s, 3);
  request.delivered = sqlite3_column_int (s, 4);
  return visitor->request (&request, user_data, error);
}

static gboolean
load_response (SqliteStore *self,
               sqlite3_stmt *s,
               const PilotStoreVisitor *visitor,
               gpointer user_data,
               GError **error)
{
  PilotResponseRecord response = { 0 };

  if (!column_id (s, 0, &response.requester) || !column_id (s, 1, &response.responder))
    return corrupt (self, "response", error);
  if (sqlite3_column_int (s, 2) < PILOT_RESPONSE_REJECT || sqlite3_column_int (s, 2) > PILOT_RESPONSE_REVOKE)
    return corrupt (self, "response", error);
  response.kind = (PilotResponseKind) sqlite3_column_int (s, 2);
  response.time = sqlite3_column_int64 (s, 3);
  return visitor->response (&response, user_data, error);
}

static const struct
{
  const gchar *sql;
  gboolean (*load) (SqliteStore *, sqlite3_stmt *, const PilotStoreVisitor *, gpointer, GError **);
} loaders[] = {
  { "SELECT id, key, live, latched, public, relay_only, hostname, endpoint, version, owner, lan_addrs, tags, last_seen,"
    " key_created, key_rotated, rotate_count FROM node ORDER BY id",
    load_node },
  { "SELECT source, target, consent FROM edge", load_edge },
  { "SELECT target, requester, justification, time, delivered FROM request ORDER BY time", load_request },
  { "SELECT requester, responder, accept, time FROM response ORDER BY time", load_response },
};

static gboolean
sqlite_load (PilotStore *store,
             const PilotStoreVisitor *visitor,
             gpointer user_data,
             GError **error)
{
  SqliteStore *self = (SqliteStore *) store;

  for (guint i = 0; i < G_N_ELEMENTS (loaders); i++) {
    sqlite3_stmt *statement = NULL;
    gboolean ok = TRUE;
    int result;

    if (sqlite3_prepare_v2 (self->db, loaders[i].sql, -1, &statement, NULL) != SQLITE_OK)
      return fail (self, "read", error);
    while (ok && (result = sqlite3_step (statement)) == SQLITE_ROW)
      ok = loaders[i].load (self, statement, visitor, user_data, error);
    if (ok && result != SQLITE_DONE)
      ok = fail (self, "read", error);
    sqlite3_finalize (statement);
    if (!ok)
      return FALSE;
  }
  return TRUE;
}

static void
sqlite_close (PilotStore *store)
{
  SqliteStore *self = (SqliteStore *) store;

  for (guint i = 0; i < N_STATEMENTS; i++)
    sqlite3_finalize (self->statements[i]);
  if (self->db != NULL && sqlite3_close (self->db) != SQLITE_OK)
    g_critical ("cannot close store \"%s\": %s", self->path, sqlite3_errmsg (self->db));
  g_free (self->path);
  g_free (self);
}

static gboolean
sync_folder (const gchar *path,
             GError **error)
{
  g_autofree gchar *folder = g_path_get_dirname (path);
  int fd = open (folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

  if (fd < 0 || fsync (fd) != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot write folder \"%s\": %s", folder, g_strerror (errno));
    if (fd >= 0)
      close (fd);
    return FALSE;
  }
  close (fd);
  return TRUE;
}

/* A new database is made under another name and moved into place whole, so that a file at `path` is always a complete
 * one: what is empty or cut short is damage, and never silently replaced by an empty registry (notes, 17.16). */
static gboolean
create (SqliteStore *self,
        GError **error)
{
  g_autofree gchar *temporary = g_strconcat (self->path, ".new", NULL);
  g_autofree gchar *pragmas = g_strdup_printf ("PRAGMA application_id = %d; PRAGMA user_version = %d;"
                                               "INSERT INTO meta VALUES (%" G_GINT64_FORMAT ")",
                                               APPLICATION_ID,
                                               SCHEMA_VERSION, g_get_real_time () / G_USEC_PER_SEC);
  mode_t mask;
  int result;

  if (g_unlink (temporary) != 0 && errno != ENOENT) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot remove \"%s\": %s", temporary, g_strerror (errno));
    return FALSE;
  }
  /* Who trusts whom is nobody else's business. */
  mask = umask (0077);
  result = sqlite3_open_v2 (temporary, &self->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
  umask (mask);
  if (result != SQLITE_OK)
    return fail (self, "create", error);
  if (!execute (self, "PRAGMA synchronous = FULL", "create", error) || !execute (self, schema, "create", error) ||
      !execute (self, pragmas, "create", error))
    return FALSE;
  sqlite3_close (self->db);
  self->db = NULL;
  /* No overwriting: another process may have made one meanwhile. */
  if (link (temporary, self->path) != 0 || g_unlink (temporary) != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot create store \"%s\": %s", self->path, g_strerror (errno));
    return FALSE;
  }
  return sync_folder (self->path, error);
}

static gboolean
check (SqliteStore *self,
       GError **error)
{
  g_autoptr (GError) local_error = NULL;
  sqlite3_stmt *statement = NULL;
  gint64 id = 0, version = 0;
  gboolean sound;

  if (!query_int (self, "PRAGMA application_id", &id, error) || !query_int (self, "PRAGMA user_version", &version, error))
    return FALSE;
  if (id != APPLICATION_ID) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "\"%s\" is not a store of pilot-rendezvous", self->path);
    return FALSE;
  }
  if (version != SCHEMA_VERSION) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "store \"%s\" has format %" G_GINT64_FORMAT ", this program reads format %d", self->path, version, SCHEMA_VERSION);
    return FALSE;
  }
  if (sqlite3_prepare_v2 (self->db, "PRAGMA quick_check(1)", -1, &statement, NULL) != SQLITE_OK)
    return fail (self, "check", error);
  sound = sqlite3_step (statement) == SQLITE_ROW && g_strcmp0 ((const gchar *) sqlite3_column_text (statement, 0), "ok") == 0;
  if (!sound)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "store \"%s\" is damaged: restore it from a copy; it was left as it is",
                 self->path);
  sqlite3_finalize (statement);
  return sound;
}

static gboolean
open_existing (SqliteStore *self,
               GError **error)
{
  struct stat status;

  if (stat (self->path, &status) != 0 || !S_ISREG (status.st_mode)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "store \"%s\" is not a regular file", self->path);
    return FALSE;
  }
  if (status.st_size == 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "store \"%s\" is empty: restore it from a copy, or remove it to "
                                                          "start a new network",
                 self->path);
    return FALSE;
  }
  if (sqlite3_open_v2 (self->path, &self->db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
    return fail (self, "open", error);
  /* SQLite falls back to reading only without a word. */
  if (sqlite3_db_readonly (self->db, "main") != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "store \"%s\" cannot be written", self->path);
    return FALSE;
  }
  /* Exclusive: two registries on one store would give out the same ids. It also needs no shared memory file. */
  return execute (self, "PRAGMA locking_mode = EXCLUSIVE", "open", error) && check (self, error) &&
         execute (self, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 1000;"
                        "BEGIN IMMEDIATE; UPDATE meta SET created = created; COMMIT",
                  "write", error) &&
         query_int (self, "SELECT created FROM meta", &self->base.created, error);
}

PilotStore *
pilot_store_sqlite_new (const gchar *path,
                        GError **error)
{
  SqliteStore *self = g_new0 (SqliteStore, 1);
  g_autoptr (PilotStore) store = &self->base;
  struct stat status;

  self->base.load = sqlite_load;
  self->base.apply = sqlite_apply;
  self->base.close = sqlite_close;
  self->path = g_strdup (path);

  if (lstat (path, &status) != 0) {
    if (errno != ENOENT) {
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot open store \"%s\": %s", path, g_strerror (errno));
      return NULL;
    }
    if (!create (self, error))
      return NULL;
    g_message ("created a new, empty store \"%s\"", path);
  }
  if (!open_existing (self, error))
    return NULL;
  for (guint i = 0; i < N_STATEMENTS; i++)
    if (sqlite3_prepare_v3 (self->db, statement_text[i], -1, SQLITE_PREPARE_PERSISTENT, &self->statements[i], NULL) != SQLITE_OK) {
      fail (self, "open", error);
      return NULL;
    }
  return g_steal_pointer (&store);
}

gboolean
pilot_store_sqlite_set_max_pages (PilotStore *store,
                                  guint pages,
                                  GError **error)
{
  g_autofree gchar *sql = g_strdup_printf ("PRAGMA max_page_count = %u", pages);

  return execute ((SqliteStore *) store, sql, "limit", error);
}
