/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/client.h"
#include "pilotctl/output.h"

/* (transfer full) (nullable): why the request has not got out yet, as a sentence. */
static char *
find_obstacle (Client *client, guint32 node)
{
  g_autoptr (GVariant) list = client_list (client, "Node", "ListOutgoing", NULL);

  for (gsize i = 0; list != NULL && i < g_variant_n_children (list); i++) {
    g_autoptr (GVariant) request = g_variant_get_child_value (list, i);

    if (dict_int (request, "node_id") == node && g_str_equal (dict_string (request, "state"), "undelivered"))
      return g_strdup (dict_string (request, "detail"));
  }
  return NULL;
}

static void
print_status (const char *status, guint32 node, const char *obstacle)
{
  g_autofree char *shown = output_clean (obstacle != NULL ? obstacle : "");

  if (g_str_equal (status, "trusted")) {
    g_print (_("node %u is trusted already\n"), node);
    return;
  }
  if (obstacle != NULL) {
    g_print (_("the request to node %u waits: %s\n"), node, shown);
    g_print (_("it is sent again when the registry takes it; see: pilotctl pending --outgoing\n"));
    return;
  }
  if (g_str_equal (status, "pending"))
    g_print (_("node %u has been asked already; it has not answered yet\n"), node);
  else
    g_print (_("handshake request sent to node %u\n"), node);
  g_print (_("its owner has to run: pilotctl approve; see: pilotctl pending --outgoing\n"));
}

int
command_handshake (Invocation *invocation)
{
  g_autofree char *ports = NULL, *obstacle = NULL;
  const GOptionEntry entries[] = {
    { "ports", 0, 0, G_OPTION_ARG_STRING, &ports, N_("What the peer may reach here once trusted (default: nothing)"), "LIST" },
    { NULL }
  };
  g_autoptr (Client) client = NULL;
  g_autoptr (GVariant) reply = NULL;
  GError *error = NULL;
  GVariantDict options, data;
  const char *status;
  guint32 node;
  int exit_code;

  client = client_open_node (invocation, entries, 1, 2, &node, &exit_code);
  if (client == NULL)
    return exit_code;
  g_variant_dict_init (&options, NULL);
  if (ports != NULL)
    g_variant_dict_insert (&options, "ports", "s", ports);
  reply = client_call (client, "Node", "Handshake",
                       g_variant_new ("(us@a{sv})", node, invocation->argc > 2 ? invocation->argv[2] : "", g_variant_dict_end (&options)), &error);
  if (reply == NULL)
    return output_error (invocation, error);
  g_variant_get (reply, "(&s)", &status);
  if (!g_str_equal (status, "trusted"))
    obstacle = find_obstacle (client, node);
  if (!invocation->json)
    print_status (status, node, obstacle);
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "node_id", "u", node);
  g_variant_dict_insert (&data, "status", "s", obstacle != NULL ? "undelivered" : status);
  if (obstacle != NULL)
    g_variant_dict_insert (&data, "detail", "s", obstacle);
  return output_ok (invocation, g_variant_dict_end (&data));
}
