/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "libpilot/pilot-endpoint.h"
#include "rendezvous/journal.h"

G_BEGIN_DECLS

/* Limits of the directory (registry notes, sections 9 and 17.11). */
#define PILOT_DIRECTORY_MAX_NODES 1000000
#define PILOT_DIRECTORY_MAX_INBOX 100
#define PILOT_DIRECTORY_MAX_PENDING 1000
#define PILOT_DIRECTORY_MAX_RESPONSES 100
#define PILOT_DIRECTORY_MAX_EDGES 10000 /* of one source */
#define PILOT_DIRECTORY_MAX_LAN_ADDRS 16
#define PILOT_DIRECTORY_MAX_LAN_ADDR 64
#define PILOT_DIRECTORY_MAX_OWNER 254
#define PILOT_DIRECTORY_MAX_VERSION 64
#define PILOT_DIRECTORY_MAX_TAGS 10

/**
 * PilotDirectory:
 *
 * What the registry knows and the rules by which it changes; no sockets, no JSON, no clock (`now` is Unix seconds). Changes
 * are in memory at once and in the journal; whoever answers for one waits for the journal. Error messages are the texts that
 * go over the wire (registry notes, section 7).
 */
typedef struct _PilotDirectory PilotDirectory;

/* What a node says of itself when it registers. Borrowed. */
typedef struct
{
  const guint8 *key;             /* PILOT_KEY_SIZE bytes */
  gboolean is_signed;            /* and the signature was right */
  const gchar *listen_addr;      /* as sent; NULL or "" when absent */
  PilotEndpoint source;          /* where the connection comes from */
  const gchar *const *lan_addrs; /* NULL-terminated, or NULL */
  const gchar *owner;
  const gchar *version;
  const gchar *hostname;
  gboolean relay_only;
} PilotDirectoryRegistration;

/* One thing a poll handed out. */
typedef struct
{
  gboolean is_request;
  guint32 peer;
  guint64 serial;
  const gchar *justification; /* of a request; borrowed until the directory changes */
  PilotResponseKind response; /* of a response */
  gint64 time;
} PilotDirectoryItem;

/* (transfer full): loads the store the journal writes to. `reference_consent`: one side's report_trust is enough. */
PilotDirectory *pilot_directory_new (PilotStore *store,
                                     gboolean reference_consent,
                                     GError **error);
void pilot_directory_free (PilotDirectory *directory);
/* Must be set before anything is changed. Borrowed. */
void pilot_directory_set_journal (PilotDirectory *directory,
                                  PilotJournal *journal);
/* Back to what the store has, after a commit failed. */
gboolean pilot_directory_reload (PilotDirectory *directory,
                                 GError **error);

/* NULL unless registered and not reaped. */
const PilotNodeRecord *pilot_directory_find (PilotDirectory *directory,
                                             guint32 id);
/* The same, with the error every operation gives for an unknown node. */
const PilotNodeRecord *pilot_directory_require (PilotDirectory *directory,
                                                guint32 id,
                                                GError **error);
const PilotNodeRecord *pilot_directory_find_hostname (PilotDirectory *directory,
                                                      const gchar *hostname);
/* A node that has this key, registered now or once. */
const PilotNodeRecord *pilot_directory_find_key (PilotDirectory *directory,
                                                 const guint8 *key);
/* Live nodes with an id above `after`, in the order of their ids, at most `max`: (transfer container). */
GPtrArray *pilot_directory_list (PilotDirectory *directory,
                                 guint32 after,
                                 guint max);
guint pilot_directory_count_live (PilotDirectory *directory);

/* `hostname_error` (out) (transfer full): why the host name was left out; the registration stands all the same. */
const PilotNodeRecord *pilot_directory_register (PilotDirectory *directory,
                                                 const PilotDirectoryRegistration *registration,
                                                 gint64 now,
                                                 gchar **hostname_error,
                                                 GError **error);
/* Known nodes only: the node is alive, and its registry connection comes from this host. */
void pilot_directory_touch (PilotDirectory *directory,
                            guint32 id,
                            const PilotEndpoint *source,
                            gint64 now);
/* The host its last authenticated request came from; NULL when there was none since the start. */
const PilotEndpoint *pilot_directory_get_source (PilotDirectory *directory,
                                                 guint32 id);
gboolean pilot_directory_set_visibility (PilotDirectory *directory,
                                         guint32 id,
                                         gboolean is_public,
                                         GError **error);
gboolean pilot_directory_set_hostname (PilotDirectory *directory,
                                       guint32 id,
                                       const gchar *hostname,
                                       GError **error);
/* Strips a leading '#' and removes doubles. */
gboolean pilot_directory_set_tags (PilotDirectory *directory,
                                   guint32 id,
                                   const gchar *const *tags,
                                   GError **error);
void pilot_directory_deregister (PilotDirectory *directory,
                                 guint32 id);
gboolean pilot_directory_rotate_key (PilotDirectory *directory,
                                     guint32 id,
                                     const guint8 *new_key,
                                     gint64 now,
                                     GError **error);
/* Takes nodes out that were silent for `threshold` seconds. Returns how many. */
guint pilot_directory_reap (PilotDirectory *directory,
                            gint64 now,
                            gint64 threshold);
/* Hands last-seen times that changed to the journal. */
void pilot_directory_write_seen (PilotDirectory *directory);

/* Trust: consent of both sides (notes, 17.1). */
gboolean pilot_directory_is_trusted (PilotDirectory *directory,
                                     guint32 a,
                                     guint32 b);
/* Whether `requester` may learn the endpoint of `target` (notes, 7.4). Both live. */
gboolean pilot_directory_may_resolve (PilotDirectory *directory,
                                      guint32 requester,
                                      guint32 target);
gboolean pilot_directory_report_trust (PilotDirectory *directory,
                                       guint32 id,
                                       guint32 peer,
                                       GError **error);
gboolean pilot_directory_revoke_trust (PilotDirectory *directory,
                                       guint32 id,
                                       guint32 peer,
                                       GError **error);
gboolean pilot_directory_request (PilotDirectory *directory,
                                  guint32 from,
                                  guint32 to,
                                  const gchar *justification,
                                  gint64 now,
                                  GError **error);
gboolean pilot_directory_respond (PilotDirectory *directory,
                                  guint32 id,
                                  guint32 peer,
                                  PilotResponseKind kind,
                                  gint64 now,
                                  GError **error);
/* The node has seen the peer's request another way and refused it: the copy that was not polled yet is not handed out any more, lest it
 * come to life later. */
void pilot_directory_settle_request (PilotDirectory *directory,
                                     guint32 id,
                                     guint32 peer);
/* (transfer full): array of PilotDirectoryItem, what waits for this node, oldest first. Nothing is removed. */
GArray *pilot_directory_poll (PilotDirectory *directory,
                              guint32 id);
/* The items reached the node: they leave its inboxes. Items that are gone meanwhile are passed over. */
void pilot_directory_delivered (PilotDirectory *directory,
                                guint32 id,
                                GArray *items);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotDirectory, pilot_directory_free)

G_END_DECLS
