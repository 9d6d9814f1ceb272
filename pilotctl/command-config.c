/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/config-file.h"
#include "pilotctl/output.h"

#include <string.h>

#include "libpilot/pilot-config-key.h"

/* What is shown of a value: nothing of a token, nor of a proxy's URL with a password in it, which a command may hold too. */
static const char *
shown (const char *key, const char *value)
{
  gboolean secret = g_str_has_suffix (key, "token") || g_str_has_suffix (key, "secret") || (g_str_has_prefix (key, "proxy") && strchr (value, '@') != NULL);

  return secret ? "********" : value;
}

static int
set (Invocation *invocation, JsonObject *document, const char *assignment)
{
  g_auto (GStrv) parts = g_strsplit (assignment, "=", 2);
  GError *error = NULL;
  GVariantDict data;

  if (parts[0] == NULL || parts[1] == NULL)
    return output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, NULL, _("usage: pilotctl config --set KEY=VALUE"));
  if (!config_file_set (document, parts[0], parts[1], &error) || !config_file_save (document, &error))
    return output_error (invocation, error);
  if (!invocation->json && *parts[1] == '\0')
    g_print (_("%s removed (the daemon reads it at its next start)\n"), parts[0]);
  else if (!invocation->json)
    g_print (_("%s = %s (the daemon reads it at its next start)\n"), parts[0], shown (parts[0], parts[1]));
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "key", "s", parts[0]);
  g_variant_dict_insert (&data, "value", "s", shown (parts[0], parts[1]));
  return output_ok (invocation, g_variant_dict_end (&data));
}

/* The daemon ignores them, and says so in its log alone. */
static void
tell_unknown (Invocation *invocation, GList *members, GVariantDict *data)
{
  g_autoptr (GPtrArray) unknown = g_ptr_array_new ();

  for (GList *link = members; link != NULL; link = link->next) {
    const char *key = link->data, *nearest = pilot_config_key_find_nearest (key);
    g_autofree char *clean = output_clean (key);

    if (pilot_config_key_is_known (key))
      continue;
    g_ptr_array_add (unknown, link->data);
    if (!invocation->json && nearest != NULL)
      g_printerr (_("warning: unknown key \"%s\" is ignored: did you mean \"%s\"?\n"), clean, nearest);
    else if (!invocation->json)
      g_printerr (_("warning: unknown key \"%s\" is ignored\n"), clean);
  }
  if (unknown->len > 0)
    g_variant_dict_insert_value (data, "unknown_keys", g_variant_new_strv ((const char *const *) unknown->pdata, unknown->len));
}

int
command_config (Invocation *invocation)
{
  g_autofree char *assignment = NULL, *path = config_file_path ();
  const GOptionEntry entries[] = {
    { "set", 0, 0, G_OPTION_ARG_STRING, &assignment, N_("Change one key"), "KEY=VALUE" },
    { NULL }
  };
  g_autoptr (JsonObject) document = NULL;
  g_autoptr (GList) members = NULL;
  GError *error = NULL;
  GVariantDict data;
  int exit_code;

  if (!command_parse (invocation, entries, 0, 0, &exit_code))
    return exit_code;
  document = config_file_load (&error);
  if (document == NULL)
    return output_error (invocation, error);
  if (assignment != NULL)
    return set (invocation, document, assignment);

  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "config_path", "s", path);
  if (!invocation->json)
    g_print ("%-22s %s\n", "config_path", path);
  members = json_object_get_members (document);
  for (GList *link = members; link != NULL; link = link->next) {
    JsonNode *node = json_object_get_member (document, link->data);
    g_autofree char *text = json_to_string (node, FALSE);

    /* What is no value (plugins and the like) is shown as the text it is. */
    if (JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == G_TYPE_STRING) {
      g_free (text);
      text = json_node_dup_string (node);
    }
    if (!invocation->json)
      g_print ("%-22s %s\n", (char *) link->data, shown (link->data, text));
    g_variant_dict_insert (&data, link->data, "s", shown (link->data, text));
  }
  tell_unknown (invocation, members, &data);
  return output_ok (invocation, g_variant_dict_end (&data));
}
