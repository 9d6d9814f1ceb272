/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/client.h"
#include "pilotctl/output.h"

static int
set_hostname (Invocation *invocation, gboolean given)
{
  g_autoptr (Client) client = NULL;
  g_autoptr (GVariant) reply = NULL, node = NULL;
  GError *error = NULL;
  GVariantDict data;
  const char *hostname;
  int exit_code;

  client = client_open (invocation, NULL, given, given, &exit_code);
  if (client == NULL)
    return exit_code;
  hostname = given ? invocation->argv[1] : "";
  reply = client_call (client, "Node", "SetHostname", g_variant_new ("(s)", hostname), &error);
  if (reply == NULL)
    return output_error (invocation, error);
  if (!invocation->json) {
    if (given)
      g_print (_("hostname set: %s\n"), hostname);
    else
      g_print (_("hostname cleared\n"));
  }
  node = client_get_property (client, "Node", "NodeId", NULL);
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "hostname", "s", hostname);
  if (node != NULL)
    g_variant_dict_insert_value (&data, "node_id", node);
  return output_ok (invocation, g_variant_dict_end (&data));
}

int
command_set_hostname (Invocation *invocation)
{
  return set_hostname (invocation, TRUE);
}

int
command_clear_hostname (Invocation *invocation)
{
  return set_hostname (invocation, FALSE);
}

static int
set_visibility (Invocation *invocation, gboolean is_public)
{
  g_autoptr (Client) client = NULL;
  g_autoptr (GVariant) reply = NULL, node = NULL;
  GError *error = NULL;
  GVariantDict data;
  int exit_code;

  client = client_open (invocation, NULL, 0, 0, &exit_code);
  if (client == NULL)
    return exit_code;
  reply = client_call (client, "Node", "SetPublic", g_variant_new ("(b)", is_public), &error);
  if (reply == NULL)
    return output_error (invocation, error);
  if (!invocation->json)
    g_print (is_public ? _("this node is public: anyone may find it and ask for trust\n") : _("this node is private: only trusted nodes can find it\n"));
  node = client_get_property (client, "Node", "NodeId", NULL);
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "type", "s", "set_visibility_ok");
  g_variant_dict_insert (&data, "visibility", "s", is_public ? "public" : "private");
  if (node != NULL)
    g_variant_dict_insert_value (&data, "node_id", node);
  return output_ok (invocation, g_variant_dict_end (&data));
}

int
command_set_public (Invocation *invocation)
{
  return set_visibility (invocation, TRUE);
}

int
command_set_private (Invocation *invocation)
{
  return set_visibility (invocation, FALSE);
}
