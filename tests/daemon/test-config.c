/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib/gstdio.h>
#include <string.h>

#include "daemon/core/config.h"
#include "libpilot/pilot-error.h"

typedef struct {
  char *folder, *file, *settings;
} Fixture;

static void
setup (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  fixture->folder = g_dir_make_tmp ("pilot-config-XXXXXX", &error);
  g_assert_no_error (error);
  fixture->file = g_build_filename (fixture->folder, "config.json", NULL);
  fixture->settings = g_build_filename (fixture->folder, "settings.json", NULL);
}

static void
teardown (Fixture *fixture, gconstpointer data)
{
  g_unlink (fixture->file);
  g_unlink (fixture->settings);
  g_assert_cmpint (g_rmdir (fixture->folder), ==, 0);
  g_free (fixture->folder);
  g_free (fixture->file);
  g_free (fixture->settings);
}

static void
write_file (const char *path, const char *text)
{
  g_autoptr (GError) error = NULL;

  g_file_set_contents_full (path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, &error);
  g_assert_no_error (error);
}

static void
assert_file (const char *path, const char *text)
{
  g_autofree char *found = NULL;
  g_autoptr (GError) error = NULL;

  g_file_get_contents (path, &found, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (found, ==, text);
}

static PilotConfig *
load (Fixture *fixture, gboolean system)
{
  PilotConfig *config = pilot_config_new ();
  g_autoptr (GError) error = NULL;

  pilot_config_set_flag (config, "state-dir", fixture->folder);
  if (system)
    pilot_config_set_flag (config, "system", "true");
  pilot_config_load (config, fixture->file, &error);
  g_assert_no_error (error);
  return config;
}

static void
store (PilotConfig *config, const char *key, const char *value)
{
  g_autoptr (GError) error = NULL;

  pilot_config_store (config, key, value, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (pilot_config_get (config, key), ==, value);
}

/* A user's daemon changes the user's file and keeps what it does not know. */
static void
test_user (Fixture *fixture, gconstpointer data)
{
  g_autoptr (PilotConfig) config = NULL;
  g_autoptr (PilotConfig) again = NULL;

  write_file (fixture->file, "{ \"hostname\": \"old\", \"unknown\": 7 }");
  config = load (fixture, FALSE);
  g_assert_cmpstr (pilot_config_get (config, "hostname"), ==, "old");
  store (config, "hostname", "new");
  again = load (fixture, FALSE);
  g_assert_cmpstr (pilot_config_get (again, "hostname"), ==, "new");
  g_assert_cmpint (pilot_config_get_int (again, "unknown"), ==, 7);
  g_assert_false (g_file_test (fixture->settings, G_FILE_TEST_EXISTS));
}

/* What somebody else wrote into the file meanwhile stays there; a file that is none any more is not replaced. */
static void
test_changed_meanwhile (Fixture *fixture, gconstpointer data)
{
  g_autoptr (PilotConfig) config = NULL;
  g_autoptr (PilotConfig) again = NULL;
  g_autoptr (GError) error = NULL;

  config = load (fixture, FALSE);
  write_file (fixture->file, "{ \"hostname\": \"old\", \"registry\": \"192.0.2.1:9000\" }");
  store (config, "hostname", "new");
  again = load (fixture, FALSE);
  g_assert_cmpstr (pilot_config_get (again, "hostname"), ==, "new");
  g_assert_cmpstr (pilot_config_get (again, "registry"), ==, "192.0.2.1:9000");

  write_file (fixture->file, "{ \"hostname\": ");
  g_assert_false (pilot_config_store (config, "hostname", "newer", &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT);
  g_assert_cmpstr (pilot_config_get (config, "hostname"), ==, "new");
  assert_file (fixture->file, "{ \"hostname\": ");
}

/* The service leaves the administrator's file alone; what it stored goes before that, and flags before both. */
static void
test_system (Fixture *fixture, gconstpointer data)
{
  const char *text = "{ \"hostname\": \"old\", \"public\": true, \"email\": \"a@b\" }";
  g_autoptr (PilotConfig) config = NULL;
  g_autoptr (PilotConfig) again = NULL;

  write_file (fixture->file, text);
  config = load (fixture, TRUE);
  g_assert_cmpstr (pilot_config_get (config, "hostname"), ==, "old");
  store (config, "hostname", "new");
  store (config, "public", "false");
  assert_file (fixture->file, text);

  again = load (fixture, TRUE);
  g_assert_cmpstr (pilot_config_get (again, "hostname"), ==, "new");
  g_assert_false (pilot_config_get_boolean (again, "public"));
  g_assert_cmpstr (pilot_config_get (again, "email"), ==, "a@b");
  /* Cleared is cleared: the file's value does not come back. */
  store (again, "hostname", "");
  pilot_config_set_flag (again, "hostname", "flag");
  g_assert_cmpstr (pilot_config_get (again, "hostname"), ==, "flag");
  assert_file (fixture->file, text);
}

/* A user's daemon does not read the service's file. */
static void
test_settings_are_the_services (Fixture *fixture, gconstpointer data)
{
  g_autoptr (PilotConfig) config = NULL;

  write_file (fixture->settings, "{ \"hostname\": \"service\" }");
  config = load (fixture, FALSE);
  g_assert_null (pilot_config_get (config, "hostname"));
}

static void
test_corrupt (Fixture *fixture, gconstpointer data)
{
  g_autoptr (PilotConfig) config = pilot_config_new ();
  g_autoptr (GError) error = NULL;

  write_file (fixture->file, "{ \"hostname\": \"old\" }");
  write_file (fixture->settings, "{ \"hostname\": ");
  pilot_config_set_flag (config, "state-dir", fixture->folder);
  pilot_config_set_flag (config, "system", "true");
  g_assert_false (pilot_config_load (config, fixture->file, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT);
  g_assert_nonnull (strstr (error->message, fixture->settings));
  assert_file (fixture->settings, "{ \"hostname\": ");
}

static void
test_neither (Fixture *fixture, gconstpointer data)
{
  static const char *const wrong[] = { "{ \"no-echo\": \"ture\" }", "{ \"public\": 2 }", "{ \"trust_auto_approve\": \"True\" }" };

  for (guint i = 0; i < G_N_ELEMENTS (wrong); i++) {
    g_autoptr (PilotConfig) config = pilot_config_new ();
    g_autoptr (GError) error = NULL;

    write_file (fixture->file, wrong[i]);
    pilot_config_set_flag (config, "state-dir", fixture->folder);
    g_assert_false (pilot_config_load (config, fixture->file, &error));
    g_assert_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT);
  }
}

static GPtrArray *told; /* warnings, while they are collected */

static GLogWriterOutput
collect (GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer user_data)
{
  if (told == NULL || !(level & G_LOG_LEVEL_WARNING))
    return g_log_writer_default (level, fields, n_fields, user_data);
  for (gsize i = 0; i < n_fields; i++)
    if (g_str_equal (fields[i].key, "MESSAGE"))
      g_ptr_array_add (told, g_strdup (fields[i].value));
  return G_LOG_WRITER_HANDLED;
}

/* A slip of the pen is told, with what was meant if it can be seen; remarks, settings of plugins and both spellings are none. */
static void
test_unknown (Fixture *fixture, gconstpointer data)
{
  static const char *const expected[] = {
    "config.json: unknown key \"registy\" is ignored: did you mean \"registry\"?",
    "config.json: unknown key \"webhook\" is ignored",
    "config.json: unknown key \"a\\x1bb\" is ignored",
    "config.json: unknown key \"keep-alive\" is ignored: did you mean \"keepalive\"?",
  };
  g_autoptr (PilotConfig) config = NULL;

  write_file (fixture->file, "{ \"registy\": \"192.0.2.1:9000\", \"_why\": \"a remark\", \"log-level\": \"info\", \"no_echo\": true, \"webhook\": \"x\", \"a\\u001bb\": 1,"
                             " \"plugins\": {}, \"plugin-settings\": {}, \"transport-udp.offload\": \"auto\", \"keep-alive\": 5 }");
  config = load (fixture, FALSE);
  told = g_ptr_array_new_with_free_func (g_free);
  pilot_config_warn_of_unknown (config);
  g_assert_cmpuint (told->len, ==, G_N_ELEMENTS (expected));
  for (guint i = 0; i < told->len; i++)
    g_assert_true (g_str_has_suffix (told->pdata[i], expected[i]));
  g_clear_pointer (&told, g_ptr_array_unref);
}

/* The objects have two spellings as every key has. */
static void
test_objects (Fixture *fixture, gconstpointer data)
{
  g_autoptr (PilotConfig) config = NULL;
  g_autoptr (GVariant) settings = NULL;
  gint64 value = 0;

  write_file (fixture->file, "{ \"plugins\": { \"trust-file\": \"optional\" }, \"plugin_settings\": { \"trust-file\": { \"limit\": 7 } } }");
  config = load (fixture, FALSE);
  g_assert_cmpstr (pilot_config_get_plugin_mode (config, "trust-file"), ==, "optional");
  settings = g_variant_ref_sink (pilot_config_get_plugin_settings (config, "trust-file"));
  g_assert_true (g_variant_lookup (settings, "limit", "x", &value));
  g_assert_cmpint (value, ==, 7);
}

/* The file is looked for where state is by default, and may say that it is elsewhere. */
static void
test_state_directory (Fixture *fixture, gconstpointer data)
{
  g_autoptr (PilotConfig) config = pilot_config_new ();
  g_autoptr (GError) error = NULL;

  g_assert_cmpstr (pilot_config_get_state_directory (config), !=, "/elsewhere");
  write_file (fixture->file, "{ \"state-dir\": \"/elsewhere\" }");
  g_assert_true (pilot_config_load (config, fixture->file, &error));
  g_assert_no_error (error);
  g_assert_cmpstr (pilot_config_get_state_directory (config), ==, "/elsewhere");
}

/* What could not be written has not happened. */
static void
test_store_fails (Fixture *fixture, gconstpointer data)
{
  g_autoptr (PilotConfig) config = NULL;
  g_autoptr (GError) error = NULL;

  write_file (fixture->file, "{ \"hostname\": \"old\" }");
  config = load (fixture, TRUE);
  /* A folder where the file should go: fails for root too. */
  g_assert_cmpint (g_mkdir (fixture->settings, 0700), ==, 0);
  g_assert_false (pilot_config_store (config, "hostname", "new", &error));
  g_assert_nonnull (error);
  g_assert_cmpstr (pilot_config_get (config, "hostname"), ==, "old");
  g_assert_cmpint (g_rmdir (fixture->settings), ==, 0);
}

/* A plugin's setting as a key of its own goes before the object of its settings; a flag before the file. */
static void
test_plugin_setting (Fixture *fixture, gconstpointer data)
{
  g_autoptr (PilotConfig) config = NULL;
  g_autoptr (GVariant) udp = NULL, other = NULL, flagged = NULL;
  const char *value = NULL;

  write_file (fixture->file, "{ \"plugin-settings\": { \"transport-udp\": { \"offload\": \"auto\", \"listen\": \":7\" } },"
                             " \"transport-udp.offload\": \"off\" }");
  config = load (fixture, FALSE);
  udp = g_variant_ref_sink (pilot_config_get_plugin_settings (config, "transport-udp"));
  g_assert_true (g_variant_lookup (udp, "offload", "&s", &value));
  g_assert_cmpstr (value, ==, "off");
  g_assert_true (g_variant_lookup (udp, "listen", "&s", &value));
  g_assert_cmpstr (value, ==, ":7");
  other = g_variant_ref_sink (pilot_config_get_plugin_settings (config, "transport"));
  g_assert_false (g_variant_lookup (other, "offload", "&s", &value));
  pilot_config_set_flag (config, "transport-udp.offload", "auto");
  flagged = g_variant_ref_sink (pilot_config_get_plugin_settings (config, "transport-udp"));
  g_assert_true (g_variant_lookup (flagged, "offload", "&s", &value));
  g_assert_cmpstr (value, ==, "auto");
}

/* What the service changed itself counts as much, and the administrator's file stays as it is. */
static void
test_plugin_setting_changed (Fixture *fixture, gconstpointer data)
{
  const char *text = "{ \"transport-udp.offload\": \"auto\" }";
  const char *value = NULL;

  write_file (fixture->file, text);
  for (guint i = 0; i < 2; i++) {
    g_autoptr (PilotConfig) config = load (fixture, i == 0);
    g_autoptr (PilotConfig) again = NULL;
    g_autoptr (GVariant) udp = NULL;

    store (config, "transport-udp.offload", "off");
    if (i == 0)
      assert_file (fixture->file, text);
    else /* once, and as it was spelt there */
      assert_file (fixture->file, "{\n  \"transport-udp.offload\" : \"off\"\n}");
    again = load (fixture, i == 0);
    udp = g_variant_ref_sink (pilot_config_get_plugin_settings (again, "transport-udp"));
    g_assert_true (g_variant_lookup (udp, "offload", "&s", &value));
    g_assert_cmpstr (value, ==, "off");
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_log_set_writer_func (collect, NULL, NULL);
  g_test_add ("/config/user", Fixture, NULL, setup, test_user, teardown);
  g_test_add ("/config/changed-meanwhile", Fixture, NULL, setup, test_changed_meanwhile, teardown);
  g_test_add ("/config/system", Fixture, NULL, setup, test_system, teardown);
  g_test_add ("/config/settings-are-the-services", Fixture, NULL, setup, test_settings_are_the_services, teardown);
  g_test_add ("/config/corrupt", Fixture, NULL, setup, test_corrupt, teardown);
  g_test_add ("/config/plugin-setting", Fixture, NULL, setup, test_plugin_setting, teardown);
  g_test_add ("/config/plugin-setting-changed", Fixture, NULL, setup, test_plugin_setting_changed, teardown);
  g_test_add ("/config/store-fails", Fixture, NULL, setup, test_store_fails, teardown);
  g_test_add ("/config/neither-true-nor-false", Fixture, NULL, setup, test_neither, teardown);
  g_test_add ("/config/unknown", Fixture, NULL, setup, test_unknown, teardown);
  g_test_add ("/config/objects", Fixture, NULL, setup, test_objects, teardown);
  g_test_add ("/config/state-directory", Fixture, NULL, setup, test_state_directory, teardown);
  return g_test_run ();
}
