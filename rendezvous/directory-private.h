/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "rendezvous/directory.h"

G_BEGIN_DECLS

/* Shared by directory.c (nodes) and trust.c (who may reach whom); nobody else includes it. */

typedef struct
{
  PilotRequestRecord *record;
  guint64 serial;
} PilotDirectoryRequest;

typedef struct
{
  PilotResponseRecord record;
  guint64 serial;
} PilotDirectoryResponse;

typedef struct
{
  PilotNodeRecord *record;
  PilotEndpoint source;  /* of its last authenticated request */
  gboolean seen_changed; /* last_seen is newer than the journal's */
  GPtrArray *requests;   /* PilotDirectoryRequest, oldest first: delivered or not, none accepted */
  GArray *responses;     /* PilotDirectoryResponse, oldest first: not delivered yet */
  guint n_edges;         /* edges that begin here */
} PilotDirectoryNode;

struct _PilotDirectory {
  PilotStore *store;
  PilotJournal *journal;
  gboolean reference_consent;
  GHashTable *nodes;     /* id -> PilotDirectoryNode */
  GHashTable *keys;      /* key -> PilotDirectoryNode */
  GHashTable *hostnames; /* of live nodes */
  GHashTable *edges;     /* source, target -> PilotConsent */
  guint64 next_id;       /* 64 bits, so that the last id is followed by the end and not by 0 */
  guint64 serial;
  guint n_live;
};

PilotDirectoryNode *pilot_directory_lookup (PilotDirectory *self,
                                            guint32 id);
PilotDirectoryNode *pilot_directory_require_node (PilotDirectory *self,
                                                  guint32 id,
                                                  GError **error);
void pilot_directory_add_change (PilotDirectory *self,
                                 PilotStoreChange *change);
void pilot_directory_save (PilotDirectory *self,
                           PilotDirectoryNode *node);
/* In memory only. */
void pilot_directory_put_edge (PilotDirectory *self,
                               guint32 source,
                               guint32 target,
                               PilotConsent consent);
void pilot_directory_put_request (PilotDirectory *self,
                                  PilotDirectoryNode *node,
                                  const PilotRequestRecord *record);

G_END_DECLS
