/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/client.h"
#include "pilotctl/output.h"

#include <string.h>

static int
set (Invocation *invocation, Client *client, const char *assignment)
{
  g_auto (GStrv) parts = g_strsplit (assignment, "=", 2);
  const char *key = parts[0] != NULL ? strchr (parts[0], '.') : NULL;
  g_autofree char *name = key != NULL ? g_strndup (parts[0], (gsize) (key - parts[0])) : NULL;
  g_autoptr (GVariant) reply = NULL;
  GError *error = NULL;
  GVariantDict data;

  if (key == NULL || parts[1] == NULL)
    return output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, NULL, _("usage: pilotctl plugins --set PLUGIN.KEY=VALUE"));
  reply = client_call (client, "Plugins", "Set", g_variant_new ("(sss)", name, key + 1, parts[1]), &error);
  if (reply == NULL)
    return output_error (invocation, error);
  if (!invocation->json)
    g_print (_("%s = %s, from now on\n"), parts[0], parts[1]);
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "key", "s", parts[0]);
  g_variant_dict_insert (&data, "value", "s", parts[1]);
  return output_ok (invocation, g_variant_dict_end (&data));
}

int
command_plugins (Invocation *invocation)
{
  g_autofree char *assignment = NULL;
  const GOptionEntry entries[] = {
    { "set", 0, 0, G_OPTION_ARG_STRING, &assignment, N_("Change a setting of a plugin that runs"), "PLUGIN.KEY=VALUE" },
    { NULL }
  };
  g_autoptr (Client) client = NULL;
  g_autoptr (GVariant) list = NULL;
  GError *error = NULL;
  GVariantDict data;
  int exit_code;

  client = client_open (invocation, entries, 0, 0, &exit_code);
  if (client == NULL)
    return exit_code;
  if (assignment != NULL)
    return set (invocation, client, assignment);
  list = client_list (client, "Plugins", "List", &error);
  if (list == NULL)
    return output_error (invocation, error);
  for (gsize i = 0; !invocation->json && i < g_variant_n_children (list); i++) {
    g_autoptr (GVariant) one = g_variant_get_child_value (list, i);
    g_autofree char *problem = output_clean (dict_string (one, "error"));

    g_print ("%-22s %-12s %-9s %-9s %s\n", dict_string (one, "name"), dict_string (one, "kind"), dict_string (one, "state"),
             dict_string (one, "mode"), *problem != '\0' ? problem : dict_string (one, "file"));
  }
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert_value (&data, "plugins", list);
  return output_ok (invocation, g_variant_dict_end (&data));
}
