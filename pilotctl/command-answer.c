/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/client.h"
#include "pilotctl/output.h"

int
command_approve (Invocation *invocation)
{
  g_autofree char *ports = NULL;
  const GOptionEntry entries[] = {
    { "ports", 0, 0, G_OPTION_ARG_STRING, &ports, N_("What it may reach here (default: the configured expose-default)"), "LIST" },
    { NULL }
  };
  g_autoptr (Client) client = NULL;
  g_autoptr (GVariant) reply = NULL;
  GError *error = NULL;
  GVariantDict options, data;
  const char *opened;
  guint32 node;
  int exit_code;

  client = client_open_node (invocation, entries, 1, 1, &node, &exit_code);
  if (client == NULL)
    return exit_code;
  g_variant_dict_init (&options, NULL);
  if (ports != NULL)
    g_variant_dict_insert (&options, "ports", "s", ports);
  reply = client_call (client, "Node", "Approve", g_variant_new ("(u@a{sv})", node, g_variant_dict_end (&options)), &error);
  if (reply == NULL)
    return output_error (invocation, error);
  g_variant_get (reply, "(&s)", &opened);
  if (!invocation->json) {
    g_print (_("trust established with node %u\n"), node);
    if (g_str_equal (opened, "all"))
      g_print (_("it may now reach every TCP port of this machine; to change that: pilotctl unexpose %u\n"), node);
    else if (g_str_equal (opened, "network"))
      g_print (_("it may now reach every server of this machine that listens on more than loopback\n"));
    else if (g_str_equal (opened, "none"))
      g_print (_("it may reach no port of this machine; to change that: pilotctl expose %u --ports LIST\n"), node);
    else
      g_print (_("it may now reach these TCP ports of this machine: %s\n"), opened);
  }
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "status", "s", "approved");
  g_variant_dict_insert (&data, "node_id", "u", node);
  g_variant_dict_insert (&data, "access", "s", opened);
  return output_ok (invocation, g_variant_dict_end (&data));
}

int
command_reject (Invocation *invocation)
{
  g_autoptr (Client) client = NULL;
  g_autoptr (GVariant) reply = NULL;
  GError *error = NULL;
  GVariantDict data;
  guint32 node;
  int exit_code;

  client = client_open_node (invocation, NULL, 1, 2, &node, &exit_code);
  if (client == NULL)
    return exit_code;
  reply = client_call (client, "Node", "Reject", g_variant_new ("(us)", node, invocation->argc > 2 ? invocation->argv[2] : ""), &error);
  if (reply == NULL)
    return output_error (invocation, error);
  if (!invocation->json)
    g_print (_("handshake from node %u rejected\n"), node);
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "status", "s", "rejected");
  g_variant_dict_insert (&data, "node_id", "u", node);
  return output_ok (invocation, g_variant_dict_end (&data));
}
