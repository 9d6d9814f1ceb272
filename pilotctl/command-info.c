/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/client.h"
#include "pilotctl/output.h"

static const char *const properties[][2] = {
  { "NodeId", "node_id" },
  { "Address", "address" },
  { "Hostname", "hostname" },
  { "PublicKey", "public_key" },
  { "State", "state" },
  { "StateDetail", "state_detail" },
  { "Public", "public" },
  { "Version", "version" },
  { "Pid", "pid" },
  { "Registry", "registry" },
  { "Beacon", "beacon_addr" },
  { "Transport", "transport" },
};

static void
print_text (GVariant *data)
{
  g_autofree char *age = output_age (dict_int (data, "uptime_secs"));
  g_autofree char *sent = output_bytes ((guint64) dict_int (data, "bytes_sent"));
  g_autofree char *received = output_bytes ((guint64) dict_int (data, "bytes_recv"));
  g_autofree char *detail = output_clean (dict_string (data, "state_detail"));

  g_print (_("● pilotd %s · up %s\n"), dict_string (data, "version"), age);
  g_print (_("  Address:    %s\n"), *dict_string (data, "address") != '\0' ? dict_string (data, "address") : _("(not registered yet)"));
  g_print (_("  Hostname:   %s\n"), *dict_string (data, "hostname") != '\0' ? dict_string (data, "hostname") : "-");
  g_print (_("  State:      %s%s%s\n"), dict_string (data, "state"), *detail != '\0' ? " — " : "", detail);
  g_print (_("  Visible:    %s\n"), dict_boolean (data, "public") ? _("public") : _("private"));
  g_print (_("  Public key: %s\n"), dict_string (data, "public_key"));
  g_print (_("  Registry:   %s\n"), dict_string (data, "registry"));
  g_print (_("  Transport:  %s\n"), dict_string (data, "transport"));
  g_print (_("  Peers:      %d, connections %d, pending requests %d\n"), (int) dict_int (data, "peers"), (int) dict_int (data, "connections"),
           (int) dict_int (data, "handshake_pending_count"));
  g_print (_("  Traffic:    sent %s, received %s\n"), sent, received);
}

int
command_info (Invocation *invocation)
{
  g_autoptr (Client) client = NULL;
  g_autoptr (GVariant) statistics = NULL, data = NULL;
  GError *error = NULL;
  GVariantDict dict;
  int exit_code;

  client = client_open (invocation, NULL, 0, 0, &exit_code);
  if (client == NULL)
    return exit_code;
  statistics = client_list (client, "Node", "GetStatistics", &error);
  if (statistics == NULL)
    return output_error (invocation, error);
  g_variant_dict_init (&dict, statistics);
  for (guint i = 0; i < G_N_ELEMENTS (properties); i++) {
    g_autoptr (GVariant) value = client_get_property (client, "Node", properties[i][0], &error);

    if (value == NULL) {
      g_variant_dict_clear (&dict);
      return output_error (invocation, error);
    }
    g_variant_dict_insert_value (&dict, properties[i][1], value);
  }
  data = g_variant_ref_sink (g_variant_dict_end (&dict));
  if (!invocation->json)
    print_text (data);
  return output_ok (invocation, data);
}
