/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/client.h"
#include "pilotctl/output.h"

#include <string.h>

static gboolean
matches (GVariant *record, const char *search)
{
  g_autofree char *id = g_strdup_printf ("%u", (guint) dict_int (record, "node_id"));

  return search == NULL || strstr (dict_string (record, "hostname"), search) != NULL ||
         strstr (dict_string (record, "address"), search) != NULL || g_str_equal (id, search);
}

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
  int limit = -1;
  g_autofree char *search = NULL;
  const GOptionEntry entries[] = {
    { "limit", 0, 0, G_OPTION_ARG_INT, &limit, N_("At most so many"), "N" },
    { "search", 0, 0, G_OPTION_ARG_STRING, &search, N_("Only those that match"), "TEXT" },
    { NULL }
  };
  g_autoptr (Client) client = NULL;
  g_autoptr (GVariant) list = NULL;
  g_autoptr (GPtrArray) table = output_table_new ();
  g_auto (GStrv) lines = NULL;
  GVariantBuilder shown;
  GError *error = NULL;
  GVariantDict data;
  guint total = 0;
  int exit_code;

  client = client_open (invocation, entries, 0, 0, &exit_code);
  if (client == NULL)
    return exit_code;
  list = client_list (client, "Node", "ListTrusted", &error);
  if (list == NULL)
    return output_error (invocation, error);
  g_variant_builder_init (&shown, G_VARIANT_TYPE ("aa{sv}"));
  for (gsize i = 0; i < g_variant_n_children (list); i++) {
    g_autoptr (GVariant) record = g_variant_get_child_value (list, i);

    if (!matches (record, search))
      continue;
    total++;
    if (limit >= 0 && total > (guint) limit)
      continue;
    g_variant_builder_add_value (&shown, record);
    add_record (table, record);
  }
  lines = output_table_lines (table);
  for (guint i = 0; !invocation->json && lines[i] != NULL; i++)
    g_print ("%s\n", lines[i]);
  if (!invocation->json && total == 0)
    g_print (_("no trusted peers\n"));
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert_value (&data, "trusted", g_variant_builder_end (&shown));
  g_variant_dict_insert (&data, "total", "u", total);
  return output_ok (invocation, g_variant_dict_end (&data));
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

  client = client_open (invocation, NULL, 1, 1, &exit_code);
  if (client == NULL)
    return exit_code;
  if (!client_resolve (client, invocation->argv[1], &node, &error))
    return output_error (invocation, error);
  reply = client_call (client, "Node", "Untrust", g_variant_new ("(u)", node), &error);
  if (reply == NULL)
    return output_error (invocation, error);
  if (!invocation->json)
    g_print (_("trust revoked for node %u; it is told as soon as it is reached\n"), node);
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "node_id", "u", node);
  return output_ok (invocation, g_variant_dict_end (&data));
}
