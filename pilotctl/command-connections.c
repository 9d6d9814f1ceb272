/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/client.h"
#include "pilotctl/output.h"

static void
add_connection (GPtrArray *table, GVariant *one)
{
  g_autofree char *id = g_strdup_printf ("%u", (guint) dict_int (one, "id"));
  g_autofree char *ends = g_strdup_printf (":%d → %s:%d", (int) dict_int (one, "local_port"), dict_string (one, "remote_addr"), (int) dict_int (one, "remote_port"));
  g_autofree char *sent = output_bytes ((guint64) dict_int (one, "bytes_sent")), *received = output_bytes ((guint64) dict_int (one, "bytes_recv"));
  g_autofree char *figures = g_strdup_printf (_("sent %s, received %s, rtt %.1f ms, retransmitted %d"), sent, received,
                                              dict_double (one, "srtt_ms"), (int) dict_int (one, "retransmits"));

  output_table_add (table, id, ends, dict_string (one, "state"), figures, NULL);
}

int
command_connections (Invocation *invocation)
{
  g_autoptr (Client) client = NULL;
  g_autoptr (GVariant) list = NULL;
  g_autoptr (GPtrArray) table = output_table_new ();
  GError *error = NULL;
  GVariantDict data;
  gsize n;
  int exit_code;

  client = client_open (invocation, NULL, 0, 0, &exit_code);
  if (client == NULL)
    return exit_code;
  list = client_list (client, "Node", "ListConnections", &error);
  if (list == NULL)
    return output_error (invocation, error);
  n = g_variant_n_children (list);
  for (gsize i = 0; i < n; i++) {
    g_autoptr (GVariant) one = g_variant_get_child_value (list, i);

    add_connection (table, one);
  }
  if (!invocation->json)
    output_table_print (table);
  if (!invocation->json && n == 0)
    g_print (_("no connections\n"));
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert_value (&data, "connections", list);
  g_variant_dict_insert (&data, "total", "u", (guint32) n);
  return output_ok (invocation, g_variant_dict_end (&data));
}
