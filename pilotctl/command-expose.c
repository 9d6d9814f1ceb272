/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#include "pilotctl/client.h"
#include "pilotctl/output.h"

static int
change (Invocation *invocation, const char *method, const char *sentence)
{
  g_autofree char *ports = NULL;
  const GOptionEntry entries[] = {
    { "ports", 0, 0, G_OPTION_ARG_STRING, &ports, N_("\"all\", \"network\" or a list such as 22,80,8000-8100"), "LIST" },
    { NULL }
  };
  g_autoptr (Client) client = NULL;
  g_autoptr (GVariant) reply = NULL;
  GError *error = NULL;
  GVariantDict data;
  const char *opened;
  guint32 node;
  int exit_code;

  client = client_open_node (invocation, entries, 1, 1, &node, &exit_code);
  if (client == NULL)
    return exit_code;
  reply = client_call (client, "Node", method, g_variant_new ("(us)", node, ports != NULL ? ports : ""), &error);
  if (reply == NULL)
    return output_error (invocation, error);
  g_variant_get (reply, "(&s)", &opened);
  if (!invocation->json)
    g_print (sentence, node, opened);
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "node_id", "u", node);
  g_variant_dict_insert (&data, "access", "s", opened);
  return output_ok (invocation, g_variant_dict_end (&data));
}

int
command_expose (Invocation *invocation)
{
  return change (invocation, "Expose", _("node %u may now reach here: %s\n"));
}

int
command_unexpose (Invocation *invocation)
{
  return change (invocation, "Unexpose", _("node %u may still reach here: %s\n"));
}
