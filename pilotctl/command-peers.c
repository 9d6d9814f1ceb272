/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/client.h"
#include "pilotctl/output.h"

#include <string.h>

static void
add_peer (GPtrArray *table, GVariant *peer)
{
  g_autofree char *hostname = output_clean (dict_string (peer, "hostname"));
  g_autofree char *rtt = dict_double (peer, "rtt_ms") > 0 ? g_strdup_printf ("%.1f ms", dict_double (peer, "rtt_ms")) : g_strdup ("");

  output_table_add (table, dict_string (peer, "address"), *hostname != '\0' ? hostname : "-",
                    *dict_string (peer, "path") != '\0' ? dict_string (peer, "path") : "-", dict_string (peer, "state"), rtt,
                    dict_boolean (peer, "trusted") ? "" : _("not trusted"), NULL);
}

int
command_peers (Invocation *invocation)
{
  int limit = -1;
  gboolean all = FALSE;
  g_autofree char *search = NULL;
  const GOptionEntry entries[] = {
    { "all", 0, 0, G_OPTION_ARG_NONE, &all, N_("All of them (the default)"), NULL },
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
  guint total = 0, encrypted = 0;
  int exit_code;

  client = client_open (invocation, entries, 0, 0, &exit_code);
  if (client == NULL)
    return exit_code;
  list = client_list (client, "Node", "ListPeers", &error);
  if (list == NULL)
    return output_error (invocation, error);
  g_variant_builder_init (&shown, G_VARIANT_TYPE ("aa{sv}"));
  for (gsize i = 0; i < g_variant_n_children (list); i++) {
    g_autoptr (GVariant) peer = g_variant_get_child_value (list, i);

    if (search != NULL && strstr (dict_string (peer, "hostname"), search) == NULL && strstr (dict_string (peer, "address"), search) == NULL)
      continue;
    total++;
    encrypted += dict_boolean (peer, "encrypted");
    if (limit >= 0 && total > (guint) limit)
      continue;
    g_variant_builder_add_value (&shown, peer);
    add_peer (table, peer);
  }
  lines = output_table_lines (table);
  for (guint i = 0; !invocation->json && lines[i] != NULL; i++)
    g_print ("%s\n", lines[i]);
  if (!invocation->json && total == 0)
    g_print (_("no peers\n"));
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert_value (&data, "peers", g_variant_builder_end (&shown));
  g_variant_dict_insert (&data, "total", "u", total);
  g_variant_dict_insert (&data, "encrypted", "u", encrypted);
  return output_ok (invocation, g_variant_dict_end (&data));
}
