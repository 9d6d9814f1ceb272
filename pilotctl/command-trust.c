/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/client.h"
#include "pilotctl/listing.h"
#include "pilotctl/output.h"

static void
add_record (GPtrArray *table, GVariant *record)
{
  g_autoptr (GDateTime) time = g_date_time_new_from_unix_local (dict_int (record, "approved_at"));
  g_autofree char *date = time != NULL ? g_date_time_format (time, "%Y-%m-%d %H:%M") : g_strdup ("?");
  g_autofree char *hostname = output_clean (dict_string (record, "hostname"));
  g_autofree char *node = g_strdup_printf (_("node %u"), (guint) dict_int (record, "node_id"));
  g_autofree char *approved = g_strdup_printf (_("approved %s"), date);
  g_autofree char *access = g_strdup_printf (_("may reach here: %s"), dict_string (record, "access"));

  output_table_add (table, node, dict_string (record, "address"), *hostname != '\0' ? hostname : "-", approved, access, NULL);
}

int
command_trust (Invocation *invocation)
{
  static const Listing listing = { "ListTrusted", "trusted", N_("no trusted peers"), NULL, FALSE, add_record };

  return listing_run (invocation, &listing);
}

int
command_untrust (Invocation *invocation)
{
  g_autoptr (Client) client = NULL;
  g_autoptr (GVariant) reply = NULL;
  GError *error = NULL;
  GVariantDict data;
  guint32 node;
  int exit_code;

  client = client_open_node (invocation, NULL, 1, 1, &node, &exit_code);
  if (client == NULL)
    return exit_code;
  reply = client_call (client, "Node", "Untrust", g_variant_new ("(u)", node), &error);
  if (reply == NULL)
    return output_error (invocation, error);
  if (!invocation->json)
    g_print (_("trust revoked for node %u; it is told as soon as it is reached\n"), node);
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "node_id", "u", node);
  return output_ok (invocation, g_variant_dict_end (&data));
}
