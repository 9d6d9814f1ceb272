/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/plugin-check/allocator-fixture.h"

static void
set_up (AllocatorFixture *f,
        gconstpointer data)
{
  const CheckCandidate *candidate = data;
  g_autoptr (GError) error = NULL;

  f->allocator = host_new (candidate->get_type (), candidate->name, NULL, candidate->settings != NULL ? host_settings (candidate->settings) : NULL);
  /* First of all: the right one was made. */
  g_assert_cmpstr (G_OBJECT_TYPE_NAME (f->allocator), ==, g_type_name (candidate->get_type ()));
  g_assert_cmpstr (pilot_plugin_get_name (PILOT_PLUGIN (f->allocator)), ==, candidate->name);
  host_enable (f->allocator, &error);
  g_assert_no_error (error);
}

static void
tear_down (AllocatorFixture *f,
           gconstpointer data)
{
  g_assert_true (host_disable (f->allocator, NULL));
  g_assert_finalize_object (f->allocator);
}

gchar *
allocator_fixture_give (PilotAllocator *allocator,
                        guint32 node,
                        const gchar *wanted)
{
  g_autoptr (GInetAddress) address = wanted != NULL ? g_inet_address_new_from_string (wanted) : NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (GInetAddress) given = pilot_call_allocate (allocator, &(PilotAddress) { 0, node }, address, &error);

  g_assert_no_error (error);
  return g_inet_address_to_string (given);
}

void
allocator_fixture_refuse (PilotAllocator *allocator,
                          guint32 node,
                          const gchar *wanted,
                          PilotError code)
{
  g_autoptr (GInetAddress) address = wanted != NULL ? g_inet_address_new_from_string (wanted) : NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (GInetAddress) given = pilot_call_allocate (allocator, &(PilotAddress) { 0, node }, address, &error);

  g_assert_null (given);
  g_assert_error (error, PILOT_ERROR, (gint) code);
  g_assert_true (g_str_has_prefix (error->message, pilot_plugin_get_name (PILOT_PLUGIN (allocator))));
}

void
allocator_fixture_release (PilotAllocator *allocator,
                           guint32 node)
{
  g_autoptr (GError) error = NULL;

  pilot_call_release (allocator, &(PilotAddress) { 0, node }, &error);
  g_assert_no_error (error);
}

void
allocator_fixture_add (const CheckCandidate *candidate,
                       const gchar *name,
                       void (*func) (AllocatorFixture *, gconstpointer))
{
  g_autofree gchar *path = g_strdup_printf ("/%s/%s", candidate->name, name);

  g_test_add (path, AllocatorFixture, candidate, set_up, func, tear_down);
}
