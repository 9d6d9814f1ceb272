/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/client.h"
#include "pilotctl/output.h"

int
command_find (Invocation *invocation)
{
  g_autoptr (Client) client = NULL;
  g_autoptr (GVariant) reply = NULL;
  GError *error = NULL;
  GVariantDict data;
  const char *address, *hostname;
  gboolean is_public;
  guint32 node;
  int exit_code;

  client = client_open (invocation, NULL, 1, 1, &exit_code);
  if (client == NULL)
    return exit_code;
  reply = client_call (client, "Node", "Resolve", g_variant_new ("(s)", invocation->argv[1]), &error);
  if (reply == NULL && g_error_matches (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND)) {
    g_clear_error (&error);
    return output_fail (invocation, PILOT_ERROR_NOT_FOUND, NULL, _("cannot find \"%s\" — hostname not found or no mutual trust"), invocation->argv[1]);
  }
  if (reply == NULL)
    return output_error (invocation, error);
  g_variant_get (reply, "(u&s&sb)", &node, &address, &hostname, &is_public);
  if (!invocation->json) {
    g_autofree char *clean = output_clean (hostname);

    g_print (_("Hostname:  %s\nNode ID:   %u\nAddress:   %s\nVisible:   %s\n"), clean, node, address, is_public ? _("public") : _("private"));
  }
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "hostname", "s", hostname);
  g_variant_dict_insert (&data, "node_id", "u", node);
  g_variant_dict_insert (&data, "address", "s", address);
  g_variant_dict_insert (&data, "public", "b", is_public);
  return output_ok (invocation, g_variant_dict_end (&data));
}
