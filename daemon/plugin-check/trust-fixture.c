/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/plugin-check/trust-fixture.h"

#include <glib/gstdio.h>
#include <string.h>

void
trust_fixture_start (TrustFixture *f)
{
  g_autoptr (GError) error = NULL;

  f->store = host_new (f->candidate->get_type (), f->candidate->name, f->folder, f->candidate->settings != NULL ? host_settings (f->candidate->settings) : NULL);
  g_assert_cmpstr (G_OBJECT_TYPE_NAME (f->store), ==, g_type_name (f->candidate->get_type ()));
  g_assert_cmpstr (pilot_plugin_get_name (PILOT_PLUGIN (f->store)), ==, f->candidate->name);
  host_enable (f->store, &error);
  g_assert_no_error (error);
}

void
trust_fixture_stop (TrustFixture *f)
{
  g_assert_true (host_disable (f->store, NULL));
  g_assert_finalize_object (f->store);
  f->store = NULL;
}

void
trust_fixture_load (TrustFixture *f)
{
  g_autoptr (GError) error = NULL;

  pilot_call_load (f->store, &error);
  g_assert_no_error (error);
}

/* A new process as far as the store can tell. */
void
trust_fixture_restart (TrustFixture *f)
{
  trust_fixture_stop (f);
  trust_fixture_start (f);
  trust_fixture_load (f);
}

static void
set_up (TrustFixture *f,
        gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  f->candidate = data;
  f->folder = g_dir_make_tmp ("plugins-trust-XXXXXX", &error);
  g_assert_no_error (error);
  f->path = g_build_filename (f->folder, "trust.json", NULL);
  trust_fixture_start (f);
}

static void
tear_down (TrustFixture *f,
           gconstpointer data)
{
  g_autoptr (GDir) dir = NULL;
  const gchar *name;

  trust_fixture_stop (f);
  g_remove (f->path);
  dir = g_dir_open (f->folder, 0, NULL);
  while (dir != NULL && !f->candidate->strict && (name = g_dir_read_name (dir)) != NULL) {
    g_autofree gchar *path = g_build_filename (f->folder, name, NULL);

    g_remove (path);
  }
  /* Of ours nothing but the file was left: no temporary one either. */
  g_assert_cmpint (g_rmdir (f->folder), ==, 0);
  g_free (f->folder);
  g_free (f->path);
}

PilotTrustRecord *
trust_fixture_make (PilotTrustKind kind,
                    guint32 node)
{
  PilotTrustRecord *record = pilot_trust_record_new (kind, node);
  guint8 key[PILOT_TRUST_KEY_SIZE];

  memset (key, (gint) (node & 0xff), sizeof key);
  switch (kind) {
  case PILOT_TRUST_TRUSTED:
    pilot_trust_record_set_key (record, key);
    record->time = 1790000000;
    record->mutual = node % 2 == 0;
    record->network = (guint16) (node % 3);
    break;
  case PILOT_TRUST_PENDING:
    pilot_trust_record_set_key (record, key);
    record->time = 1790000001;
    record->source = node;
    record->justification = g_strdup ("let me \"read\" your <page> & ünïcödé \\ \n\t\x01\x7f");
    break;
  case PILOT_TRUST_OUTGOING:
    record->time = 1790000002;
    record->justification = g_strdup ("please");
    break;
  case PILOT_TRUST_REVOKED:
  default:
    record->until = 4000000000;
    break;
  }
  return record;
}

void
trust_fixture_put (TrustFixture *f,
                   const PilotTrustRecord *record)
{
  g_autoptr (GError) error = NULL;

  pilot_call_put (f->store, record, &error);
  g_assert_no_error (error);
}

void
trust_fixture_flush (TrustFixture *f)
{
  g_autoptr (GError) error = NULL;

  pilot_call_flush (f->store, &error);
  g_assert_no_error (error);
}

void
trust_fixture_expect_list (TrustFixture *f,
                           PilotTrustKind kind,
                           const gchar *nodes)
{
  g_autoptr (GPtrArray) list = pilot_call_list (f->store, kind);
  g_autoptr (GString) text = g_string_new (NULL);

  for (guint i = 0; i < list->len; i++)
    g_string_append_printf (text, "%s%u", i > 0 ? " " : "", ((PilotTrustRecord *) g_ptr_array_index (list, i))->node);
  g_assert_cmpstr (text->str, ==, nodes);
}

void
trust_fixture_expect_record (TrustFixture *f,
                             const PilotTrustRecord *expected)
{
  g_autoptr (GPtrArray) list = pilot_call_list (f->store, expected->kind);

  for (guint i = 0; i < list->len; i++)
    if (((PilotTrustRecord *) g_ptr_array_index (list, i))->node == expected->node) {
      g_assert_true (pilot_trust_record_equal (g_ptr_array_index (list, i), expected));
      return;
    }
  g_assert_not_reached ();
}

void
trust_fixture_add (const CheckCandidate *candidate,
                   const gchar *name,
                   void (*func) (TrustFixture *, gconstpointer))
{
  g_autofree gchar *path = g_strdup_printf ("/%s/%s", candidate->name, name);

  g_test_add (path, TrustFixture, candidate, set_up, func, tear_down);
}
