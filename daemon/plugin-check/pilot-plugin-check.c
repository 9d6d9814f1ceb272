/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Loads a module as the daemon does and runs the tests of its class against it: see pilot-plugin-check(1). */
#include <glib/gstdio.h>
#include <locale.h>
#include <string.h>

#include "daemon/core/plugin/module.h"
#include "daemon/plugin-check/case-process.h"
#include "daemon/plugin-check/check.h"
#include "daemon/plugin-check/host.h"

/* The tests before those of the class. What they print is what the ones after them need to know. */
#define CASE_LOAD "load"
#define CASE_CREATE "create"
#define CASE_ENABLE "enable"
#define RELAY "relay"

typedef enum {
  EXIT_STATUS_OK = 0,
  EXIT_STATUS_FAILED = 1,
  EXIT_STATUS_USAGE = 2,
} ExitStatus;

typedef struct
{
  gchar *module, *only; /* `only`: in a process of its own, the case that it runs */
  gchar **assignments;
  guint n, failed;
} Run;

static void
run_clear (Run *run)
{
  g_free (run->module);
  g_free (run->only);
  g_strfreev (run->assignments);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Run, run_clear)

static const CheckCase *
cases_of (PilotPluginKind kind)
{
  switch (kind) {
  case PILOT_PLUGIN_KIND_TRANSPORT:
    return check_transport_cases;
  case PILOT_PLUGIN_KIND_ALLOCATOR:
    return check_allocator_cases;
  case PILOT_PLUGIN_KIND_TRUST_STORE:
    return check_trust_store_cases;
  default:
    return NULL;
  }
}

/* --- one case, in a process of its own: a module that crashes or never comes back takes nothing else with it --- */

/* "true", "5" and "text", as the configuration would have them. FALSE: no KEY=VALUE. */
static gboolean
add_setting (GVariantDict *settings,
             const gchar *assignment)
{
  const gchar *sign = strchr (assignment, '=');
  g_autofree gchar *key = sign != NULL ? g_strndup (assignment, (gsize) (sign - assignment)) : NULL;
  gint64 number;

  if (key == NULL || *key == '\0')
    return FALSE;
  if (g_str_equal (sign + 1, "true") || g_str_equal (sign + 1, "false"))
    g_variant_dict_insert (settings, key, "b", g_str_equal (sign + 1, "true"));
  else if (g_ascii_string_to_signed (sign + 1, 10, G_MININT64, G_MAXINT64, &number, NULL))
    g_variant_dict_insert (settings, key, "x", number);
  else
    g_variant_dict_insert (settings, key, "s", sign + 1);
  return TRUE;
}

/* (transfer full) (nullable): as text; NULL after saying what is wrong. */
static gchar *
read_settings (gchar **assignments)
{
  g_auto (GVariantDict) dict;
  g_autoptr (GVariant) settings = NULL;

  g_variant_dict_init (&dict, NULL);
  for (gchar **one = assignments; one != NULL && *one != NULL; one++)
    if (!add_setting (&dict, *one)) {
      g_printerr ("\"%s\" is not of the form KEY=VALUE\n", *one);
      return NULL;
    }
  settings = g_variant_ref_sink (g_variant_dict_end (&dict));
  return g_variant_print (settings, TRUE);
}

static const PilotPluginDescriptor *
open_module (const gchar *path)
{
  g_autofree gchar *folder = g_path_get_dirname (path), *file = g_path_get_basename (path);
  g_autoptr (GError) error = NULL;
  const gint fd = pilot_module_open_directory (folder, &error);
  const PilotPluginDescriptor *descriptor = fd >= 0 ? pilot_module_open (fd, file, &error) : NULL;

  if (descriptor == NULL)
    g_printerr ("%s\n", error->message);
  return descriptor;
}

static ExitStatus
create (const PilotPluginDescriptor *descriptor,
        const gchar *settings,
        gboolean enable)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GVariant) parsed = g_variant_ref_sink (host_settings (settings));
  g_autofree gchar *folder = g_dir_make_tmp ("plugin-check-XXXXXX", &error);
  g_autoptr (PilotPlugin) plugin = folder != NULL ? pilot_module_create (descriptor, folder, parsed, &error) : NULL;
  const gboolean good = plugin != NULL && (!enable || (host_enable (plugin, &error) && host_disable (plugin, &error)));

  if (folder != NULL && g_rmdir (folder) != 0)
    g_printerr ("it has left something in its folder \"%s\"\n", folder);
  if (!good) {
    g_printerr ("%s\n", error->message);
    return EXIT_STATUS_FAILED;
  }
  if (PILOT_IS_TRANSPORT (plugin) && pilot_transport_get_kind (PILOT_TRANSPORT (plugin)) == PILOT_TRANSPORT_RELAY)
    g_print (RELAY "\n");
  return EXIT_STATUS_OK;
}

static ExitStatus
run_case (Run *run)
{
  const PilotPluginDescriptor *descriptor = open_module (run->module);
  g_autofree gchar *settings = read_settings (run->assignments), *path = NULL;
  CheckCandidate candidate = { .settings = settings };

  if (descriptor == NULL || settings == NULL)
    return EXIT_STATUS_FAILED;
  if (g_str_equal (run->only, CASE_LOAD)) {
    g_print ("%u %u.%u %s: %s\n", descriptor->kind, descriptor->abi_major, descriptor->abi_minor, descriptor->name,
             descriptor->description != NULL ? descriptor->description : "");
    return EXIT_STATUS_OK;
  }
  if (g_str_equal (run->only, CASE_CREATE))
    return create (descriptor, settings, FALSE);
  if (g_str_equal (run->only, CASE_ENABLE))
    return create (descriptor, settings, TRUE);
  candidate.name = descriptor->name;
  candidate.get_type = descriptor->get_type;
  path = g_strdup_printf ("/%s/%s", descriptor->name, run->only);
  {
    gchar *words[] = { (gchar *) "pilot-plugin-check", (gchar *) "-p", path, NULL };
    gchar **argv = words;
    gint argc = G_N_ELEMENTS (words) - 1;

    g_test_init (&argc, &argv, NULL);
  }
  if (descriptor->kind == PILOT_PLUGIN_KIND_TRANSPORT)
    check_add_transport (&candidate);
  else if (descriptor->kind == PILOT_PLUGIN_KIND_ALLOCATOR)
    check_add_allocator (&candidate);
  else
    check_add_trust_store (&candidate);
  return g_test_run () == 0 ? EXIT_STATUS_OK : EXIT_STATUS_FAILED;
}

/* --- all of them --- */

/* What GTest says besides is about itself. */
static gboolean
is_told (const gchar *line)
{
  return *line != '\0' && !g_str_has_prefix (line, "TAP ") && !g_str_has_prefix (line, "# random seed") && !g_str_has_prefix (line, "1..") &&
         !g_str_has_prefix (line, "# Start of ") && !g_str_has_prefix (line, "# End of ") && !g_str_has_prefix (line, "ok ") &&
         !g_str_has_prefix (line, "not ok ") && !g_str_has_prefix (line, "Bail out!") && !g_str_equal (line, "**");
}

/* (transfer full) (nullable): what the case printed; NULL when it failed. */
static gchar *
try_case (Run *run,
          const gchar *name,
          const gchar *title)
{
  g_autofree gchar *output = NULL, *why = NULL;
  const gboolean good = case_process_run (run->module, run->assignments, name, &output, &why);
  const gchar *skip = good ? strstr (output, "# SKIP") : NULL;
  g_auto (GStrv) lines = g_strsplit (output, "\n", -1);

  g_print ("%s %u - %s: %s%s%.*s\n", good ? "ok" : "not ok", ++run->n, name, title, skip != NULL ? " " : "",
           skip != NULL ? (gint) strcspn (skip, "\n") : 0, skip != NULL ? skip : "");
  if (good)
    return g_steal_pointer (&output);
  run->failed++;
  for (gchar **line = lines; *line != NULL; line++)
    if (is_told (*line))
      g_print ("#   %s\n", *line);
  g_print ("#   %s\n", why);
  return NULL;
}

static void
check_all (Run *run)
{
  g_autofree gchar *loaded = try_case (run, CASE_LOAD, "folder, file, owner, mode, symbol, ABI, kind and name are as the daemon wants them");
  g_autofree gchar *created = NULL, *enabled = NULL;
  const CheckCase *cases = loaded != NULL ? cases_of ((PilotPluginKind) g_ascii_strtoull (loaded, NULL, 10)) : NULL;

  if (cases == NULL)
    return;
  g_print ("# %s, made for ABI %s", pilot_plugin_kind_to_string ((PilotPluginKind) g_ascii_strtoull (loaded, NULL, 10)), strchr (loaded, ' ') + 1);
  created = try_case (run, CASE_CREATE, "the type is of the class of its kind, and making an object does nothing");
  if (created != NULL)
    enabled = try_case (run, CASE_ENABLE, "with these settings it is enabled, and disabled again, each within 20 s");
  for (const CheckCase *one = cases; enabled != NULL && one->name != NULL; one++)
    if (g_str_has_prefix (created, RELAY))
      g_print ("ok %u - %s: %s # SKIP it is a relay, which needs its other side\n", ++run->n, one->name, one->title);
    else
      g_free (try_case (run, one->name, one->title));
}

int
main (int argc,
      char *argv[])
{
  g_auto (Run) run = { 0 };
  const GOptionEntry entries[] = {
    { "setting", 's', 0, G_OPTION_ARG_STRING_ARRAY, &run.assignments, "A setting, as in the configuration", "KEY=VALUE" },
    { "case", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_STRING, &run.only, NULL, NULL },
    G_OPTION_ENTRY_NULL
  };
  g_autoptr (GOptionContext) context = g_option_context_new ("MODULE.so - test a plugin of the Pilot daemon");
  g_autoptr (GError) error = NULL;
  g_autofree gchar *settings = NULL;

  setlocale (LC_ALL, "");
  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, &argc, &argv, &error) || argc != 2) {
    g_printerr ("pilot-plugin-check: %s\n", error != NULL ? error->message : "give one module, as ./allocator-hash.so");
    return EXIT_STATUS_USAGE;
  }
  settings = read_settings (run.assignments);
  if (settings == NULL)
    return EXIT_STATUS_USAGE;
  run.module = g_canonicalize_filename (argv[1], NULL);
  if (run.only != NULL)
    return run_case (&run);
  check_all (&run);
  g_print ("1..%u\n", run.n);
  return run.failed == 0 ? EXIT_STATUS_OK : EXIT_STATUS_FAILED;
}
