/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/client.h"
#include "pilotctl/duration.h"
#include "pilotctl/output.h"

#define TIMEOUT_MAX 3600

static void
print_error (guint sequence, const GError *error)
{
  g_autofree char *message = output_message (error);

  g_print (_("seq=%u error: %s\n"), sequence, message);
}

static GVariant *
ping_once (Invocation *invocation, Client *client, guint32 node, guint sequence, guint timeout_ms, gboolean *ok)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GVariant) reply = client_call_long (client, "Node", "Ping", g_variant_new ("(uuu)", node, sequence, timeout_ms), -1, &error);
  GVariantDict result;
  double rtt_ms;
  guint32 bytes;

  g_variant_dict_init (&result, NULL);
  g_variant_dict_insert (&result, "seq", "u", sequence);
  *ok = reply != NULL;
  if (reply == NULL) {
    g_autofree char *message = pilot_error_dup_message (error);

    g_variant_dict_insert (&result, "error", "s", message);
    if (!invocation->json)
      print_error (sequence, error);
  } else {
    g_variant_get (reply, "(du)", &rtt_ms, &bytes);
    g_variant_dict_insert (&result, "rtt_ms", "d", rtt_ms);
    g_variant_dict_insert (&result, "bytes", "u", bytes);
    if (!invocation->json)
      g_print (_("seq=%u bytes=%u time=%.3f ms\n"), sequence, bytes, rtt_ms);
  }
  return g_variant_dict_end (&result);
}

int
command_ping (Invocation *invocation)
{
  int count = 4;
  g_autofree char *timeout = NULL;
  const GOptionEntry entries[] = {
    { "count", 0, 0, G_OPTION_ARG_INT, &count, N_("How often (default 4)"), "N" },
    { "timeout", 0, 0, G_OPTION_ARG_STRING, &timeout, N_("How long to wait for each answer (default 5s)"), "D" },
    { NULL }
  };
  g_autoptr (Client) client = NULL;
  GVariantBuilder results;
  GError *error = NULL;
  GVariantDict data;
  PilotAddress address = { 0 };
  char text[PILOT_ADDRESS_TEXT_SIZE];
  double seconds = 5;
  guint n_ok = 0;
  int exit_code;

  if (!command_parse (invocation, entries, 1, 1, &exit_code))
    return exit_code;
  if (timeout != NULL)
    seconds = duration_parse (timeout);
  if (count < 1 || !(seconds >= 0.001 && seconds <= TIMEOUT_MAX))
    return output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, NULL, _("--count needs a number from 1 up, --timeout a time such as 500ms or 5s, at most an hour"));
  client = client_new (invocation, &error);
  if (client == NULL || !client_resolve (client, invocation->argv[1], &address.node, &error))
    return output_error (invocation, error);
  pilot_address_format (&address, text);
  if (!invocation->json)
    g_print ("PING %s\n", text);
  g_variant_builder_init (&results, G_VARIANT_TYPE ("aa{sv}"));
  for (int i = 0; i < count; i++) {
    gboolean ok;

    if (i > 0)
      g_usleep (G_USEC_PER_SEC);
    g_variant_builder_add_value (&results, ping_once (invocation, client, address.node, (guint) i, (guint) (seconds * 1000), &ok));
    n_ok += ok;
  }
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert (&data, "target", "s", text);
  g_variant_dict_insert (&data, "to", "s", text);
  g_variant_dict_insert_value (&data, "results", g_variant_builder_end (&results));
  g_variant_dict_insert (&data, "timeout", "b", n_ok == 0);
  output_ok (invocation, g_variant_dict_end (&data));
  return n_ok > 0 ? EXIT_OK : EXIT_FAILED;
}
