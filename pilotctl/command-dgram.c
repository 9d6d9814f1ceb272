/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "pilotctl/arguments.h"
#include "pilotctl/output.h"
#include "pilotctl/trust-check.h"

int
command_dgram (Invocation *invocation)
{
  g_autofree char *message = NULL;
  gboolean unchecked = FALSE;
  const GOptionEntry entries[] = {
    { "data", 0, 0, G_OPTION_ARG_STRING, &message, N_("What to send, at most 65428 bytes"), "TEXT" },
    TRUST_UNCHECKED_ENTRY (&unchecked),
    { NULL }
  };
  g_autoptr (Client) client = NULL;
  g_autoptr (GVariant) reply = NULL;
  char address[PILOT_ADDRESS_TEXT_SIZE];
  GError *error = NULL;
  GVariantDict data;
  guint32 node;
  guint16 port;
  gsize length;
  int exit_code;

  if (!command_parse (invocation, entries, 2, 2, &exit_code))
    return exit_code;
  if (message == NULL)
    return output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, NULL, _("--data is missing"));
  length = strlen (message);
  if (!port_parse (invocation->argv[2], &port, &error))
    return output_error (invocation, error);
  client = client_new (invocation, &error);
  if (client == NULL || !trust_reach (client, invocation->argv[1], unchecked, &node, address, &error))
    return output_error (invocation, error);
  reply = client_call (client, "Streams", "SendDatagram",
                       g_variant_new ("(uq@ay@a{sv})", node, port, g_variant_new_fixed_array (G_VARIANT_TYPE_BYTE, message, length, 1), g_variant_new ("a{sv}", NULL)),
                       &error);
  if (reply == NULL)
    return output_error (invocation, error);
  if (!invocation->json)
    g_print (_("sent %zu byte(s) to %s port %u\n"), length, address, port);
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "target", "s", address);
  g_variant_dict_insert (&data, "port", "q", port);
  g_variant_dict_insert (&data, "bytes", "t", (guint64) length);
  return output_ok (invocation, g_variant_dict_end (&data));
}
