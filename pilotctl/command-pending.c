/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/client.h"
#include "pilotctl/output.h"

static void
print_request (GVariant *request, gboolean outgoing)
{
  g_autofree char *age = output_age (g_get_real_time () / G_USEC_PER_SEC - dict_int (request, outgoing ? "sent_at" : "received_at"));
  g_autofree char *justification = output_clean (dict_string (request, "justification"));
  g_autofree char *detail = output_clean (dict_string (request, "detail"));
  const char *state = dict_string (request, "state");

  g_print (outgoing ? _("node %u  %s  asked %s ago\n") : _("node %u  %s  received %s ago\n"),
           (guint) dict_int (request, "node_id"), dict_string (request, "address"), age);
  if (*justification != '\0')
    g_print ("  \"%s\"\n", justification);
  if (g_str_equal (state, "undelivered"))
    g_print (_("  not delivered: %s\n"), detail);
  else if (g_str_equal (state, "sending"))
    g_print (_("  not delivered yet\n"));
}

int
command_pending (Invocation *invocation)
{
  gboolean outgoing = FALSE;
  const GOptionEntry entries[] = {
    { "outgoing", 0, 0, G_OPTION_ARG_NONE, &outgoing, N_("Those this node sent"), NULL },
    { NULL }
  };
  g_autoptr (Client) client = NULL;
  g_autoptr (GVariant) list = NULL;
  GError *error = NULL;
  GVariantDict data;
  gsize n;
  int exit_code;

  client = client_open (invocation, entries, 0, 0, &exit_code);
  if (client == NULL)
    return exit_code;
  list = client_list (client, "Node", outgoing ? "ListOutgoing" : "ListPending", &error);
  if (list == NULL)
    return output_error (invocation, error);
  n = g_variant_n_children (list);
  if (!invocation->json) {
    for (gsize i = 0; i < n; i++) {
      g_autoptr (GVariant) request = g_variant_get_child_value (list, i);

      print_request (request, outgoing);
    }
    if (n == 0)
      g_print (outgoing ? _("no handshake requests waiting for an answer\n") : _("no pending handshake requests\n"));
    else if (!outgoing)
      g_print (_("answer with: pilotctl approve NODE, or: pilotctl reject NODE\n"));
  }
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert_value (&data, outgoing ? "outgoing" : "pending", list);
  return output_ok (invocation, g_variant_dict_end (&data));
}
