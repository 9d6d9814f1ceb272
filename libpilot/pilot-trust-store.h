/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

#include "pilot-plugin.h"

G_BEGIN_DECLS

typedef enum {
  PILOT_TRUST_TRUSTED,  /* approved, or it answered our request */
  PILOT_TRUST_PENDING,  /* asked us, not yet answered */
  PILOT_TRUST_OUTGOING, /* we asked, no answer yet */
  PILOT_TRUST_REVOKED,  /* taken back or rejected: asking again is ignored until `until` */
  PILOT_TRUST_N_KINDS
} PilotTrustKind;

#define PILOT_TRUST_KEY_SIZE 32
/* Longest justification that is stored, in bytes; what is longer is cut at a character. */
#define PILOT_TRUST_JUSTIFICATION_MAX 1024

/* One record; (kind, node) is its key: a node may have one of each kind. A field that means nothing for the kind is 0. */
typedef struct
{
  PilotTrustKind kind;
  guint32 node;
  gboolean has_key;
  guint8 key[PILOT_TRUST_KEY_SIZE]; /* Ed25519 public key the trust is bound to */
  gint64 time;                      /* unix seconds: approved, received or asked at */
  gint64 until;                     /* unix seconds: end of the cool-down (REVOKED) */
  gboolean mutual;                  /* TRUSTED: we had asked too, or they answered our request */
  guint16 network;                  /* TRUSTED: not 0 when trust comes from that network */
  guint32 source;                   /* PENDING: node that delivered the request, 0 when not known */
  gchar *justification;             /* (nullable): PENDING, OUTGOING: what the asking side wrote. Outside text */
  gpointer padding[4];
} PilotTrustRecord;

#define PILOT_TYPE_TRUST_RECORD (pilot_trust_record_get_type ())
PILOT_API GType pilot_trust_record_get_type (void);
/* A new record of that kind, everything else 0. */
PILOT_API PilotTrustRecord *pilot_trust_record_new (PilotTrustKind kind,
                                                    guint32 node);
PILOT_API PilotTrustRecord *pilot_trust_record_copy (const PilotTrustRecord *record);
PILOT_API void pilot_trust_record_free (PilotTrustRecord *record);
PILOT_API gboolean pilot_trust_record_equal (const PilotTrustRecord *a,
                                             const PilotTrustRecord *b);
/* NULL: no key. */
PILOT_API void pilot_trust_record_set_key (PilotTrustRecord *record,
                                           const guint8 *key);
/* "trusted", "pending", "outgoing", "revoked". */
PILOT_API const gchar *pilot_trust_kind_to_string (PilotTrustKind kind);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotTrustRecord, pilot_trust_record_free)

#define PILOT_TYPE_TRUST_STORE (pilot_trust_store_get_type ())
PILOT_API
G_DECLARE_DERIVABLE_TYPE (PilotTrustStore, pilot_trust_store, PILOT, TRUST_STORE, PilotPlugin)

/**
 * PilotTrustStoreClass:
 * @load: reads what is stored; nothing stored yet is no error. PILOT_ERROR_CORRUPT when it makes no sense: nothing is loaded then
 *   and nothing stored is touched, not by a later @flush either (it fails with PILOT_ERROR_NOT_RUNNING)
 * @put: adds the record, or replaces the one with the same kind and node
 * @remove: takes it away. PILOT_ERROR_NOT_FOUND if there is none
 * @list: (transfer full) (element-type PilotTrustRecord): copies of all records of that kind in ascending order of node, with a free
 *   function. REVOKED records whose `until` has passed may be missing
 * @flush: makes all changes since the last flush durable, all or none. When it fails they are undone: @list gives the old state again
 *
 * Keeps what survives a restart of trust, and decides nothing. The host loads once after enabling and flushes before it answers whoever
 * asked for the change.
 */
struct _PilotTrustStoreClass {
  PilotPluginClass parent_class;

  gboolean (*load) (PilotTrustStore *self,
                    GError **error);
  gboolean (*put) (PilotTrustStore *self,
                   const PilotTrustRecord *record,
                   GError **error);
  gboolean (*remove) (PilotTrustStore *self,
                      PilotTrustKind kind,
                      guint32 node,
                      GError **error);
  GPtrArray *(*list) (PilotTrustStore *self,
                      PilotTrustKind kind);
  gboolean (*flush) (PilotTrustStore *self,
                     GError **error);

  gpointer padding[8];
};

/* For the host. See the class for what each does. */
PILOT_API gboolean pilot_trust_store_load (PilotTrustStore *self,
                                           GError **error);
PILOT_API gboolean pilot_trust_store_put (PilotTrustStore *self,
                                          const PilotTrustRecord *record,
                                          GError **error);
PILOT_API gboolean pilot_trust_store_remove (PilotTrustStore *self,
                                             PilotTrustKind kind,
                                             guint32 node,
                                             GError **error);
PILOT_API GPtrArray *pilot_trust_store_list (PilotTrustStore *self,
                                             PilotTrustKind kind);
PILOT_API gboolean pilot_trust_store_flush (PilotTrustStore *self,
                                            GError **error);

G_END_DECLS
