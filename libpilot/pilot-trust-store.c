/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilot-trust-store.h"

#include <string.h>

#include "pilot-error.h"

G_DEFINE_BOXED_TYPE (PilotTrustRecord, pilot_trust_record, pilot_trust_record_copy, pilot_trust_record_free)

G_DEFINE_ABSTRACT_TYPE (PilotTrustStore, pilot_trust_store, PILOT_TYPE_PLUGIN)

const gchar *
pilot_trust_kind_to_string (PilotTrustKind kind)
{
  static const gchar *const names[] = { "trusted", "pending", "outgoing", "revoked" };

  G_STATIC_ASSERT (G_N_ELEMENTS (names) == PILOT_TRUST_N_KINDS);
  return (guint) kind < G_N_ELEMENTS (names) ? names[kind] : "unknown";
}

PilotTrustRecord *
pilot_trust_record_new (PilotTrustKind kind,
                        guint32 node)
{
  PilotTrustRecord *record = g_new0 (PilotTrustRecord, 1);

  record->kind = kind;
  record->node = node;
  return record;
}

PilotTrustRecord *
pilot_trust_record_copy (const PilotTrustRecord *record)
{
  PilotTrustRecord *copy;

  g_return_val_if_fail (record != NULL, NULL);

  copy = g_memdup2 (record, sizeof *record);
  copy->justification = g_strdup (record->justification);
  return copy;
}

void
pilot_trust_record_free (PilotTrustRecord *record)
{
  if (record == NULL)
    return;
  g_free (record->justification);
  g_free (record);
}

gboolean
pilot_trust_record_equal (const PilotTrustRecord *a,
                          const PilotTrustRecord *b)
{
  return a->kind == b->kind && a->node == b->node && !a->has_key == !b->has_key &&
         (!a->has_key || memcmp (a->key, b->key, sizeof a->key) == 0) &&
         a->time == b->time && a->until == b->until && !a->mutual == !b->mutual && a->network == b->network &&
         a->source == b->source && g_strcmp0 (a->justification, b->justification) == 0;
}

void
pilot_trust_record_set_key (PilotTrustRecord *record,
                            const guint8 *key)
{
  g_return_if_fail (record != NULL);

  record->has_key = key != NULL;
  if (key != NULL)
    memcpy (record->key, key, sizeof record->key);
  else
    memset (record->key, 0, sizeof record->key);
}

static gboolean
fail_unsupported (GError **error)
{
  g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_NOT_SUPPORTED, "this trust store does not implement it");
  return FALSE;
}

static gboolean
pilot_trust_store_real_load (PilotTrustStore *self,
                             GError **error)
{
  return fail_unsupported (error);
}

static gboolean
pilot_trust_store_real_put (PilotTrustStore *self,
                            const PilotTrustRecord *record,
                            GError **error)
{
  return fail_unsupported (error);
}

static gboolean
pilot_trust_store_real_remove (PilotTrustStore *self,
                               PilotTrustKind kind,
                               guint32 node,
                               GError **error)
{
  return fail_unsupported (error);
}

static GPtrArray *
pilot_trust_store_real_list (PilotTrustStore *self,
                             PilotTrustKind kind)
{
  return g_ptr_array_new_with_free_func ((GDestroyNotify) pilot_trust_record_free);
}

static void
pilot_trust_store_class_init (PilotTrustStoreClass *klass)
{
  klass->load = pilot_trust_store_real_load;
  klass->put = pilot_trust_store_real_put;
  klass->remove = pilot_trust_store_real_remove;
  klass->list = pilot_trust_store_real_list;
  klass->flush = pilot_trust_store_real_load;
}

static void
pilot_trust_store_init (PilotTrustStore *self)
{
}

gboolean
pilot_trust_store_load (PilotTrustStore *self,
                        GError **error)
{
  g_return_val_if_fail (PILOT_IS_TRUST_STORE (self), FALSE);

  return PILOT_TRUST_STORE_GET_CLASS (self)->load (self, error);
}

gboolean
pilot_trust_store_put (PilotTrustStore *self,
                       const PilotTrustRecord *record,
                       GError **error)
{
  g_return_val_if_fail (PILOT_IS_TRUST_STORE (self), FALSE);
  g_return_val_if_fail (record != NULL && (guint) record->kind < PILOT_TRUST_N_KINDS, FALSE);

  return PILOT_TRUST_STORE_GET_CLASS (self)->put (self, record, error);
}

gboolean
pilot_trust_store_remove (PilotTrustStore *self,
                          PilotTrustKind kind,
                          guint32 node,
                          GError **error)
{
  g_return_val_if_fail (PILOT_IS_TRUST_STORE (self), FALSE);
  g_return_val_if_fail ((guint) kind < PILOT_TRUST_N_KINDS, FALSE);

  return PILOT_TRUST_STORE_GET_CLASS (self)->remove (self, kind, node, error);
}

GPtrArray *
pilot_trust_store_list (PilotTrustStore *self,
                        PilotTrustKind kind)
{
  g_return_val_if_fail (PILOT_IS_TRUST_STORE (self), NULL);
  g_return_val_if_fail ((guint) kind < PILOT_TRUST_N_KINDS, NULL);

  return PILOT_TRUST_STORE_GET_CLASS (self)->list (self, kind);
}

gboolean
pilot_trust_store_flush (PilotTrustStore *self,
                         GError **error)
{
  g_return_val_if_fail (PILOT_IS_TRUST_STORE (self), FALSE);

  return PILOT_TRUST_STORE_GET_CLASS (self)->flush (self, error);
}
