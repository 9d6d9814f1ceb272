/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/config-file.h"

#include <errno.h>
#include <glib/gi18n.h>
#include <glib/gstdio.h>
#include <string.h>

#include "libpilot/pilot-config-key.h"
#include "libpilot/pilot-error.h"
#include "libpilot/pilot-file.h"
#include "libpilot/pilot-json.h"
#include "pilotctl/sudo.h"

#define FILE_MAX (1024 * 1024)

char *
config_file_folder (void)
{
  const char *home = g_getenv ("PILOT_HOME");

  return g_build_filename (home != NULL && *home != '\0' ? home : g_get_home_dir (), ".pilot", NULL);
}

char *
config_file_path (void)
{
  g_autofree char *folder = config_file_folder ();

  return g_build_filename (folder, "config.json", NULL);
}

static JsonObject *
load_from (const char *folder, GError **error)
{
  g_autofree char *path = g_build_filename (folder, "config.json", NULL);
  g_autofree char *text = NULL;
  g_autoptr (GError) local = NULL;
  g_autoptr (JsonParser) parser = json_parser_new ();
  gsize length;

  if (!sudo_check_folder (folder, error))
    return NULL;
  if (!pilot_file_load (path, FILE_MAX, 0, &text, &length, &local)) {
    if (g_error_matches (local, G_FILE_ERROR, G_FILE_ERROR_NOENT))
      return json_object_new ();
    g_propagate_error (error, g_steal_pointer (&local));
    return NULL;
  }
  if (!pilot_json_scan (text, length, FILE_MAX, 32, &local) || !json_parser_load_from_data (parser, text, (gssize) length, &local) ||
      !JSON_NODE_HOLDS_OBJECT (json_parser_get_root (parser))) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, _("\"%s\" is corrupt (%s): correct it or move it away"), path,
                 local != NULL ? local->message : _("not an object"));
    return NULL;
  }
  return json_object_ref (json_node_get_object (json_parser_get_root (parser)));
}

JsonObject *
config_file_load (GError **error)
{
  g_autofree char *folder = config_file_folder ();

  return load_from (folder, error);
}

char *
config_file_state_folder (const char *folder)
{
  g_autoptr (JsonObject) document = load_from (folder, NULL);
  const char *given = NULL;

  if (document != NULL)
    given = json_object_get_string_member_with_default (document, json_object_has_member (document, "state_dir") ? "state_dir" : "state-dir", NULL);
  return g_strdup (given != NULL && *given != '\0' ? given : folder);
}

gboolean
config_file_save (JsonObject *document, GError **error)
{
  g_autofree char *folder = config_file_folder (), *path = config_file_path (), *text = NULL;
  g_autoptr (JsonNode) root = json_node_alloc ();

  if (!sudo_check_folder (folder, error))
    return FALSE;
  if (g_mkdir_with_parents (folder, 0700) != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, _("cannot make the folder \"%s\": %s"), folder, g_strerror (errno));
    return FALSE;
  }
  json_node_init_object (root, document);
  text = json_to_string (root, TRUE);
  return pilot_file_replace (path, text, strlen (text), 0600, error);
}

gboolean
config_file_set (JsonObject *document, const char *key, const char *value, GError **error)
{
  g_autofree char *name = g_strdelimit (g_strdup (key), "-", '_'), *dashed = g_strdelimit (g_strdup (name), "_", '-');

  if (!pilot_config_key_is_settable (name)) {
    const char *nearest = pilot_config_key_is_known (name) ? NULL : pilot_config_key_find_nearest (name);

    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, _("unknown configuration key \"%s\""), key);
    if (nearest != NULL)
      pilot_error_set_hint (*error, _("did you mean \"%s\"? pilot-config(5) lists the keys"), nearest);
    else
      pilot_error_set_hint (*error, _("see pilot-config(5) for the keys"));
    return FALSE;
  }
  /* In a file written by hand it may stand under its other spelling, and would be a second value or outlive the first. */
  if (!g_str_equal (dashed, name) && json_object_has_member (document, dashed))
    json_object_remove_member (document, dashed);
  if (*value == '\0') {
    if (json_object_has_member (document, name))
      json_object_remove_member (document, name);
  } else if (g_str_equal (value, "true") || g_str_equal (value, "false"))
    json_object_set_boolean_member (document, name, g_str_equal (value, "true"));
  else
    json_object_set_string_member (document, name, value);
  return TRUE;
}
