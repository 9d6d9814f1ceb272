/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The loader against modules that break each rule, and one that breaks none. */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/core/plugin/call.h"
#include "daemon/core/plugin/loader.h"

typedef struct
{
  gchar *folder;
  GHashTable *modes;
  PilotPluginLoader *loader;
  GMainLoop *loop;
  gboolean success;
  GError *error;
  guint changes;
} Fixture;

static void
set_up (Fixture *f,
        gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  f->folder = g_dir_make_tmp ("plugins-test-XXXXXX", &error);
  g_assert_no_error (error);
  f->modes = g_hash_table_new (g_str_hash, g_str_equal);
  f->loop = g_main_loop_new (NULL, FALSE);
}

static void
tear_down (Fixture *f,
           gconstpointer data)
{
  g_autoptr (GDir) dir = g_dir_open (f->folder, 0, NULL);
  const gchar *name;

  while ((name = g_dir_read_name (dir)) != NULL) {
    g_autofree gchar *path = g_build_filename (f->folder, name, NULL);

    g_assert_cmpint (g_remove (path), ==, 0);
  }
  g_assert_cmpint (g_rmdir (f->folder), ==, 0);
  g_clear_object (&f->loader);
  g_hash_table_unref (f->modes);
  g_main_loop_unref (f->loop);
  g_clear_error (&f->error);
  g_free (f->folder);
}

static void
put_file (Fixture *f,
          const gchar *name,
          const gchar *data,
          gsize length,
          gint mode)
{
  g_autofree gchar *path = g_build_filename (f->folder, name, NULL);
  g_autoptr (GError) error = NULL;

  g_file_set_contents (path, data, (gssize) length, &error);
  g_assert_no_error (error);
  g_assert_cmpint (g_chmod (path, (mode_t) mode), ==, 0);
}

/* Installs the test module `module` under the name `name`. */
static void
put_module_as (Fixture *f,
               const gchar *module,
               const gchar *name,
               gint mode)
{
  g_autofree gchar *from = g_strdup_printf ("%s/%s.so", MODULE_DIR, module);
  g_autofree gchar *file = g_strconcat (name, ".so", NULL);
  g_autoptr (GError) error = NULL;
  g_autofree gchar *data = NULL;
  gsize length;

  g_file_get_contents (from, &data, &length, &error);
  g_assert_no_error (error);
  put_file (f, file, data, length, mode);
}

static void
put_module (Fixture *f,
            const gchar *module)
{
  put_module_as (f, module, module, 0644);
}

static void
changed_cb (PilotPluginLoader *loader,
            const PilotPluginInfo *info,
            Fixture *f)
{
  f->changes++;
}

static gboolean
load (Fixture *f)
{
  const gchar *const folders[] = { f->folder, NULL };
  g_autoptr (GError) error = NULL;

  f->loader = pilot_plugin_loader_new (folders, NULL);
  g_signal_connect (f->loader, "changed", G_CALLBACK (changed_cb), f);
  pilot_plugin_loader_set_modes (f->loader, f->modes, &error);
  g_assert_no_error (error);
  pilot_plugin_loader_set_deadlines (f->loader, 50, 50);
  g_clear_error (&f->error);
  return pilot_plugin_loader_load (f->loader, &f->error);
}

static const PilotPluginInfo *
look (Fixture *f,
      const gchar *name)
{
  const PilotPluginInfo *info = pilot_plugin_loader_lookup (f->loader, name);

  g_assert_nonnull (info);
  return info;
}

static void
enabled_cb (GObject *source,
            GAsyncResult *result,
            gpointer user_data)
{
  Fixture *f = user_data;

  g_clear_error (&f->error);
  f->success = pilot_plugin_loader_enable_finish (PILOT_PLUGIN_LOADER (source), result, &f->error);
  g_main_loop_quit (f->loop);
}

static void
disabled_cb (GObject *source,
             GAsyncResult *result,
             gpointer user_data)
{
  Fixture *f = user_data;

  f->success = pilot_plugin_loader_disable_finish (PILOT_PLUGIN_LOADER (source), result, &f->error);
  g_main_loop_quit (f->loop);
}

static void
enable (Fixture *f)
{
  pilot_plugin_loader_enable_async (f->loader, NULL, enabled_cb, f);
  g_main_loop_run (f->loop);
}

static void
disable (Fixture *f)
{
  pilot_plugin_loader_disable_async (f->loader, disabled_cb, f);
  g_main_loop_run (f->loop);
}

static void
assert_failed (Fixture *f,
               const gchar *name,
               const gchar *words)
{
  const PilotPluginInfo *info = look (f, name);

  g_assert_cmpint (info->state, ==, PILOT_PLUGIN_STATE_FAILED);
  g_assert_nonnull (info->error);
  if (strstr (info->error, words) == NULL)
    g_error ("%s: \"%s\" does not say \"%s\"", name, info->error, words);
  g_assert_null (strchr (info->error, '\n'));
  g_assert_null (strstr (info->error, "/proc/self"));
  g_assert_true (g_str_has_prefix (info->file, f->folder));
}

static void
test_good (Fixture *f,
           gconstpointer data)
{
  const PilotPluginInfo *info;
  guint before;

  put_module (f, "good");
  put_file (f, "README", "not looked at", 13, 0644);
  g_assert_true (load (f));
  g_assert_no_error (f->error);
  info = look (f, "good");
  g_assert_cmpint (info->state, ==, PILOT_PLUGIN_STATE_LOADED);
  g_assert_cmpint (info->kind, ==, PILOT_PLUGIN_KIND_ALLOCATOR);
  g_assert_cmpstr (info->description, ==, "test data");
  g_assert_cmpstr (pilot_plugin_get_name (info->plugin), ==, "good");
  g_assert_null (pilot_plugin_loader_get_enabled (f->loader, PILOT_PLUGIN_KIND_ALLOCATOR, NULL));
  before = f->changes;

  enable (f);
  g_assert_true (f->success);
  g_assert_cmpint (info->state, ==, PILOT_PLUGIN_STATE_ENABLED);
  g_assert_cmpuint (f->changes, ==, before + 1);
  g_assert_true (pilot_plugin_loader_get_enabled (f->loader, PILOT_PLUGIN_KIND_ALLOCATOR, NULL) == info->plugin);
  g_assert_true (pilot_plugin_loader_get_enabled (f->loader, PILOT_PLUGIN_KIND_ALLOCATOR, "good") == info->plugin);
  g_assert_null (pilot_plugin_loader_get_enabled (f->loader, PILOT_PLUGIN_KIND_ALLOCATOR, "other"));
  g_assert_null (pilot_plugin_loader_get_enabled (f->loader, PILOT_PLUGIN_KIND_TRANSPORT, NULL));
  disable (f);
  g_assert_true (f->success);
  g_assert_cmpint (info->state, ==, PILOT_PLUGIN_STATE_LOADED);
}

/* Each broken module is told by its own words, and the good one beside them works. */
static void
test_broken (Fixture *f,
             gconstpointer data)
{
  static const struct
  {
    const gchar *module;
    const gchar *words;
  } cases[] = {
    { "no-symbol", "no symbol \"pilot_plugin_descriptor\"" },
    { "abi-major", "built for plugin ABI 2." },
    { "abi-minor", "needs plugin ABI 1.2" },
    { "magic", "magic is 0x12345678" },
    { "kind", "unknown plugin kind 99" },
    { "type", "does not derive from \"PilotAllocator\"" },
    { "other-name", "its file must be \"somebody-else.so\"" },
    { "no-name", "lacks the field \"name\"" },
    { "no-type", "does not derive from" },
    { "abstract", "is abstract" },
    { "unresolved", "pilot_function_that_exists_nowhere" },
  };
  g_autoptr (GPtrArray) list = NULL;

  put_module (f, "good");
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    put_module (f, cases[i].module);
  g_assert_true (load (f));
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    assert_failed (f, cases[i].module, cases[i].words);
  list = pilot_plugin_loader_list (f->loader);
  g_assert_cmpuint (list->len, ==, G_N_ELEMENTS (cases) + 1);
  for (guint i = 1; i < list->len; i++)
    g_assert_cmpstr (((PilotPluginInfo *) list->pdata[i - 1])->name, <, ((PilotPluginInfo *) list->pdata[i])->name);
  enable (f);
  g_assert_true (f->success);
  g_assert_cmpint (look (f, "good")->state, ==, PILOT_PLUGIN_STATE_ENABLED);
  disable (f);
}

static void
test_files (Fixture *f,
            gconstpointer data)
{
  g_autofree gchar *link = g_build_filename (f->folder, "link.so", NULL);
  g_autofree gchar *folder = g_build_filename (f->folder, "folder.so", NULL);
  g_autofree gchar *pipe = g_build_filename (f->folder, "pipe.so", NULL);
  g_autofree gchar *target = g_strdup_printf ("%s/good.so", MODULE_DIR);

  put_module_as (f, "good", "group", 0664);
  put_module_as (f, "good", "world", 0646);
  put_file (f, "text.so", "I am no module\n", 15, 0644);
  put_file (f, "empty.so", "", 0, 0644);
  g_assert_cmpint (symlink (target, link), ==, 0);
  g_assert_cmpint (g_mkdir (folder, 0755), ==, 0);
  g_assert_cmpint (mkfifo (pipe, 0644), ==, 0);
  put_module (f, "good");
  g_assert_true (load (f));
  assert_failed (f, "group", "writable by others (mode 0664)");
  assert_failed (f, "world", "writable by others (mode 0646)");
  assert_failed (f, "text", "not a loadable module");
  assert_failed (f, "empty", "not a loadable module");
  assert_failed (f, "link", "symbolic link");
  assert_failed (f, "folder", "not a regular file");
  assert_failed (f, "pipe", "not a regular file");
  g_assert_cmpint (look (f, "good")->state, ==, PILOT_PLUGIN_STATE_LOADED);
}

static void
test_owner (Fixture *f,
            gconstpointer data)
{
  g_autofree gchar *path = g_build_filename (f->folder, "good.so", NULL);

  if (geteuid () != 0) {
    g_test_skip ("only root can give a file away");
    return;
  }
  put_module (f, "good");
  g_assert_cmpint (chown (path, 12345, 12345), ==, 0);
  g_assert_true (load (f));
  assert_failed (f, "good", "belongs to user 12345");
}

static void
test_unsafe_folder (Fixture *f,
                    gconstpointer data)
{
  put_module (f, "good");
  g_assert_cmpint (g_chmod (f->folder, 0777), ==, 0);
  g_hash_table_insert (f->modes, (gpointer) "good", (gpointer) "required");
  g_assert_false (load (f));
  g_assert_error (f->error, PILOT_ERROR, PILOT_ERROR_FAILED);
  assert_failed (f, "good", "the plugin folder is writable by others (mode 0777)");
  g_assert_cmpint (g_chmod (f->folder, 0700), ==, 0);
}

static void
test_two_folders (Fixture *f,
                  gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autofree gchar *second = g_dir_make_tmp ("plugins-test-XXXXXX", &error);
  g_autofree gchar *copy = g_build_filename (second, "good.so", NULL);
  const gchar *const folders[] = { f->folder, second, "/nonexistent/plugins", NULL };
  g_autoptr (GPtrArray) list = NULL;

  put_module (f, "good");
  put_file (f, "good.so.bak", "x", 1, 0644);
  g_assert_true (g_file_set_contents (copy, "would fail", -1, NULL));
  f->loader = pilot_plugin_loader_new (folders, NULL);
  g_assert_true (pilot_plugin_loader_load (f->loader, &error));
  g_assert_no_error (error);
  list = pilot_plugin_loader_list (f->loader);
  g_assert_cmpuint (list->len, ==, 1);
  g_assert_cmpint (look (f, "good")->state, ==, PILOT_PLUGIN_STATE_LOADED);
  g_remove (copy);
  g_rmdir (second);
}

static void
test_modes (Fixture *f,
            gconstpointer data)
{
  g_autoptr (GHashTable) wrong = g_hash_table_new (g_str_hash, g_str_equal);
  g_autoptr (GError) error = NULL;
  const gchar *const folders[] = { f->folder, NULL };
  g_autoptr (PilotPluginLoader) other = pilot_plugin_loader_new (folders, NULL);

  put_module (f, "good");
  put_file (f, "text.so", "not opened", 10, 0666);
  g_hash_table_insert (f->modes, (gpointer) "text", (gpointer) "disabled");
  g_hash_table_insert (f->modes, (gpointer) "good", (gpointer) "required");
  g_hash_table_insert (f->modes, (gpointer) "absent", (gpointer) "optional");
  g_assert_true (load (f));
  g_assert_cmpint (look (f, "text")->state, ==, PILOT_PLUGIN_STATE_DISABLED);
  g_assert_null (look (f, "text")->error);
  g_assert_true (look (f, "good")->required);
  g_assert_null (pilot_plugin_loader_lookup (f->loader, "absent"));

  g_hash_table_insert (wrong, (gpointer) "good", (gpointer) "perhaps");
  g_assert_false (pilot_plugin_loader_set_modes (other, wrong, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  g_assert_nonnull (strstr (error->message, "\"perhaps\""));
}

static void
test_required (Fixture *f,
               gconstpointer data)
{
  const gchar *names[] = { "absent", "abi-major" };

  put_module (f, "good");
  put_module (f, "abi-major");
  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    g_hash_table_remove_all (f->modes);
    g_hash_table_insert (f->modes, (gpointer) names[i], (gpointer) "required");
    g_assert_false (load (f));
    g_assert_error (f->error, PILOT_ERROR, PILOT_ERROR_FAILED);
    g_assert_nonnull (strstr (f->error->message, names[i]));
    g_assert_cmpint (look (f, names[i])->state, ==, PILOT_PLUGIN_STATE_FAILED);
    g_assert_cmpint (look (f, "good")->state, ==, PILOT_PLUGIN_STATE_LOADED);
    g_clear_object (&f->loader);
  }
}

static void
test_enable_fails (Fixture *f,
                   gconstpointer data)
{
  put_module (f, "good");
  put_module (f, "enable-false");
  put_module (f, "enable-both");
  put_module (f, "enable-fails");
  put_module (f, "enable-never");
  put_module (f, "disable-never");
  g_assert_true (load (f));
  enable (f);
  g_assert_true (f->success);
  assert_failed (f, "enable-false", "enable-false: enable failed without saying why");
  assert_failed (f, "enable-both", "both");
  assert_failed (f, "enable-fails", "enable-fails: the cable is not plugged in");
  assert_failed (f, "enable-never", "did not complete within 50 ms");
  g_assert_cmpint (look (f, "good")->state, ==, PILOT_PLUGIN_STATE_ENABLED);
  disable (f);
  assert_failed (f, "disable-never", "disable-never: disable did not complete within 50 ms");
  g_assert_cmpint (look (f, "good")->state, ==, PILOT_PLUGIN_STATE_LOADED);
}

static void
test_required_enable (Fixture *f,
                      gconstpointer data)
{
  put_module (f, "enable-never");
  put_module (f, "good");
  g_hash_table_insert (f->modes, (gpointer) "enable-never", (gpointer) "required");
  g_assert_true (load (f));
  enable (f);
  g_assert_false (f->success);
  g_assert_error (f->error, PILOT_ERROR, PILOT_ERROR_FAILED);
  g_assert_nonnull (strstr (f->error->message, "enable-never"));
  g_assert_cmpint (look (f, "good")->state, ==, PILOT_PLUGIN_STATE_ENABLED);
  disable (f);
}

static void
test_breaches (Fixture *f,
               gconstpointer data)
{
  PilotAddress address = { 0, 1 };
  g_autoptr (GInetAddress) wanted = g_inet_address_new_from_string ("10.9.0.7");
  g_autoptr (GInetAddress) given = NULL;
  g_autoptr (GError) error = NULL;
  PilotAllocator *allocator;

  put_module (f, "breaches");
  g_assert_true (load (f));
  enable (f);
  allocator = PILOT_ALLOCATOR (look (f, "breaches")->plugin);

  g_assert_null (pilot_call_allocate (allocator, &address, NULL, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_FAILED);
  g_assert_true (g_str_has_prefix (error->message, "breaches: allocate failed without"));
  g_clear_error (&error);
  address.node = 2;
  g_assert_null (pilot_call_allocate (allocator, &address, NULL, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_FAILED);
  g_clear_error (&error);
  address.node = 3;
  g_assert_null (pilot_call_allocate (allocator, &address, NULL, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED);
  g_assert_cmpstr (error->message, ==, "breaches: both");
  g_clear_error (&error);
  address.node = 4;
  g_assert_null (pilot_call_allocate (allocator, &address, wanted, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_FAILED);
  g_clear_error (&error);
  g_assert_false (pilot_call_release (allocator, &address, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_FAILED);
  given = pilot_call_allocate (allocator, &address, NULL, NULL);
  g_assert_nonnull (given);
  disable (f);
}

/* The modules the project ships, as the build made them. */
static void
test_shipped (Fixture *f,
              gconstpointer data)
{
  g_auto (GStrv) files = g_strsplit (SHIPPED, ":", -1);

  for (guint i = 0; files[i] != NULL; i++) {
    g_autofree gchar *base = g_path_get_basename (files[i]);
    g_autofree gchar *contents = NULL;
    gsize length;

    g_assert_true (g_file_get_contents (files[i], &contents, &length, NULL));
    put_file (f, base, contents, length, 0644);
  }
  g_assert_true (load (f));
  g_assert_cmpint (look (f, "transport-udp")->kind, ==, PILOT_PLUGIN_KIND_TRANSPORT);
  g_assert_cmpint (look (f, "allocator-sequential")->kind, ==, PILOT_PLUGIN_KIND_ALLOCATOR);
  g_assert_cmpint (look (f, "trust-file")->kind, ==, PILOT_PLUGIN_KIND_TRUST_STORE);
  for (guint i = 0; files[i] != NULL; i++) {
    g_autofree gchar *base = g_path_get_basename (files[i]);
    g_autofree gchar *name = g_strndup (base, strlen (base) - 3);

    g_assert_cmpint (look (f, name)->state, ==, PILOT_PLUGIN_STATE_LOADED);
  }
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  /* A plugin that fails is said to the log; here that is the subject and no failure of the test. */
  g_log_set_always_fatal (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL | G_LOG_FLAG_RECURSION);
#define ADD(name) g_test_add ("/loader/" #name, Fixture, NULL, set_up, test_##name, tear_down)
  ADD (good);
  ADD (broken);
  ADD (files);
  ADD (owner);
  ADD (unsafe_folder);
  ADD (two_folders);
  ADD (modes);
  ADD (required);
  ADD (enable_fails);
  ADD (required_enable);
  ADD (breaches);
  ADD (shipped);
  return g_test_run ();
}
