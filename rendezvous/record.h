/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* What the registry knows, as plain values. The directory keeps them in memory, the store on disk. */

#define PILOT_KEY_SIZE 32

/* A node. The record is never deleted: a node id belongs to its key for ever (registry notes, section 9). */
typedef struct
{
  guint32 id;
  guint8 key[PILOT_KEY_SIZE];
  gboolean live;    /* registered and not reaped */
  gboolean latched; /* this key once signed a register: unsigned ones are refused from then on (notes, 17.5) */
  gboolean is_public;
  gboolean relay_only;
  gchar *hostname;   /* NULL when none */
  gchar *endpoint;   /* "ip:port" of its tunnel socket, as registered */
  gchar *version;    /* NULL when none */
  gchar *owner;      /* a label, never a credential; NULL when none */
  gchar **lan_addrs; /* NULL when none */
  gchar **tags;      /* NULL when none */
  gint64 last_seen;  /* Unix seconds, like all times here */
  gint64 key_created;
  gint64 key_rotated; /* 0 when never */
  guint32 rotate_count;
} PilotNodeRecord;

/* What made `source` consent to talk with `target` (notes, 17.1). */
typedef enum {
  PILOT_CONSENT_REPORT = 1 << 0,  /* source sent report_trust */
  PILOT_CONSENT_REQUEST = 1 << 1, /* source asked, and the answer is open or yes */
  PILOT_CONSENT_RESPOND = 1 << 2, /* source accepted target's request */
} PilotConsent;

typedef struct
{
  guint32 source;
  guint32 target;
  PilotConsent consent; /* 0: there is no edge */
} PilotEdgeRecord;

/* A request for trust: it lives until it is accepted. Undelivered ones are the target's inbox. */
typedef struct
{
  guint32 target;
  guint32 requester;
  gchar *justification;
  gint64 time;
  gboolean delivered;
} PilotRequestRecord;

/* Stored as a number. */
typedef enum {
  PILOT_RESPONSE_REJECT,
  PILOT_RESPONSE_ACCEPT,
  PILOT_RESPONSE_REVOKE, /* a rejection that answers no request: trust that was ends. Our own extension */
} PilotResponseKind;

/* An answer that waits for the requester to poll it. */
typedef struct
{
  guint32 requester;
  guint32 responder;
  PilotResponseKind kind;
  gint64 time;
} PilotResponseRecord;

typedef enum {
  PILOT_STORE_CHANGE_NODE,    /* put */
  PILOT_STORE_CHANGE_SEEN,    /* node.id and node.last_seen only */
  PILOT_STORE_CHANGE_EDGE,    /* put; consent 0 removes */
  PILOT_STORE_CHANGE_REQUEST, /* put */
  PILOT_STORE_CHANGE_REQUEST_GONE,
  PILOT_STORE_CHANGE_RESPONSE, /* put */
  PILOT_STORE_CHANGE_RESPONSE_GONE,
} PilotStoreChangeKind;

/* One change of state on its way to the store. Owns its strings. */
typedef struct
{
  PilotStoreChangeKind kind;
  union {
    PilotNodeRecord node;
    PilotEdgeRecord edge;
    PilotRequestRecord request;
    PilotResponseRecord response;
  };
} PilotStoreChange;

PilotNodeRecord *pilot_node_record_copy (const PilotNodeRecord *record);
void pilot_node_record_free (PilotNodeRecord *record);
PilotRequestRecord *pilot_request_record_copy (const PilotRequestRecord *record);
void pilot_request_record_free (PilotRequestRecord *record);

/* (transfer full): each takes copies of what it is given. */
PilotStoreChange *pilot_store_change_node (const PilotNodeRecord *record);
PilotStoreChange *pilot_store_change_seen (guint32 id,
                                           gint64 last_seen);
PilotStoreChange *pilot_store_change_edge (const PilotEdgeRecord *record);
PilotStoreChange *pilot_store_change_request (const PilotRequestRecord *record);
PilotStoreChange *pilot_store_change_request_gone (guint32 target,
                                                   guint32 requester);
PilotStoreChange *pilot_store_change_response (const PilotResponseRecord *record);
PilotStoreChange *pilot_store_change_response_gone (guint32 requester,
                                                    guint32 responder);
void pilot_store_change_free (PilotStoreChange *change);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotNodeRecord, pilot_node_record_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotRequestRecord, pilot_request_record_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotStoreChange, pilot_store_change_free)

G_END_DECLS
