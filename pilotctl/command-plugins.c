/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/client.h"
#include "pilotctl/output.h"

int
command_plugins (Invocation *invocation)
{
  g_autoptr (Client) client = NULL;
  g_autoptr (GVariant) list = NULL;
  GError *error = NULL;
  GVariantDict data;
  int exit_code;

  client = client_open (invocation, NULL, 0, 0, &exit_code);
  if (client == NULL)
    return exit_code;
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
