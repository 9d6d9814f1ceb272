/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "rendezvous/record.h"

G_BEGIN_DECLS

/**
 * PilotStore:
 *
 * Where the registry's state survives a restart. An engine is a struct that begins with this one. No function keeps what
 * it is given. load() and apply() are never called at the same time, but apply() is called in the journal's thread.
 */
typedef struct _PilotStore PilotStore;

/* Receives the whole state; every function must be set. Records belong to the store. FALSE, with an error, stops the load. */
typedef struct
{
  gboolean (*node) (const PilotNodeRecord *record,
                    gpointer user_data,
                    GError **error);
  gboolean (*edge) (const PilotEdgeRecord *record,
                    gpointer user_data,
                    GError **error);
  gboolean (*request) (const PilotRequestRecord *record,
                       gpointer user_data,
                       GError **error);
  gboolean (*response) (const PilotResponseRecord *record,
                        gpointer user_data,
                        GError **error);
} PilotStoreVisitor;

struct _PilotStore {
  gint64 created; /* Unix seconds: when this store was made */

  gboolean (*load) (PilotStore *store,
                    const PilotStoreVisitor *visitor,
                    gpointer user_data,
                    GError **error);
  /* All changes or none, on stable storage when it returns TRUE. */
  gboolean (*apply) (PilotStore *store,
                     GPtrArray *changes,
                     GError **error);
  void (*close) (PilotStore *store);
};

/* Wrappers: call these. */
gboolean pilot_store_load (PilotStore *store,
                           const PilotStoreVisitor *visitor,
                           gpointer user_data,
                           GError **error);
gboolean pilot_store_apply (PilotStore *store,
                            GPtrArray *changes,
                            GError **error);
void pilot_store_close (PilotStore *store);

/* (transfer full): a store in memory, for tests and for a rendezvous that may forget. */
PilotStore *pilot_store_memory_new (void);
/* Makes the next `n` apply() calls fail, as a full disk does. */
void pilot_store_memory_fail (PilotStore *store,
                              guint n);

/* (transfer full): the SQLite database at `path`, made when nothing is there. Errors: PILOT_ERROR_CORRUPT for a file that is
 * damaged, empty or somebody else's (it is left as it is), PILOT_ERROR_BUSY when another process has it, PILOT_ERROR_IO. */
PilotStore *pilot_store_sqlite_new (const gchar *path,
                                    GError **error);
/* Limits the file to `pages` pages: what a full disk does, for tests. */
gboolean pilot_store_sqlite_set_max_pages (PilotStore *store,
                                           guint pages,
                                           GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotStore, pilot_store_close)

G_END_DECLS
