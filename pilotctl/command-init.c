/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/config-file.h"
#include "pilotctl/output.h"

int
command_init (Invocation *invocation)
{
  g_autofree char *registry = NULL, *beacon = NULL, *hostname = NULL, *path = config_file_path ();
  const GOptionEntry entries[] = {
    { "registry", 0, 0, G_OPTION_ARG_STRING, &registry, N_("Address of the registry"), "HOST:PORT" },
    { "beacon", 0, 0, G_OPTION_ARG_STRING, &beacon, N_("Address of the beacon"), "HOST:PORT" },
    { "hostname", 0, 0, G_OPTION_ARG_STRING, &hostname, N_("Host name of this node"), "NAME" },
    { NULL }
  };
  g_autoptr (JsonObject) document = NULL;
  GError *error = NULL;
  GVariantDict data;
  int exit_code;

  if (!command_parse (invocation, entries, 0, 0, &exit_code))
    return exit_code;
  document = config_file_load (&error);
  if (document == NULL ||
      (registry != NULL && !config_file_set (document, "registry", registry, &error)) ||
      (beacon != NULL && !config_file_set (document, "beacon", beacon, &error)) ||
      (hostname != NULL && !config_file_set (document, "hostname", hostname, &error)) ||
      !config_file_save (document, &error))
    return output_error (invocation, error);
  if (!invocation->json)
    g_print (_("wrote %s\n"), path);
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "config_path", "s", path);
  g_variant_dict_insert (&data, "registry", "s", json_object_get_string_member_with_default (document, "registry", ""));
  g_variant_dict_insert (&data, "beacon", "s", json_object_get_string_member_with_default (document, "beacon", ""));
  g_variant_dict_insert (&data, "hostname", "s", json_object_get_string_member_with_default (document, "hostname", ""));
  return output_ok (invocation, g_variant_dict_end (&data));
}
