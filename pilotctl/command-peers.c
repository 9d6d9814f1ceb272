/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/listing.h"
#include "pilotctl/output.h"

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
  static const Listing listing = { "ListPeers", "peers", N_("no peers"), "encrypted", TRUE, add_peer };

  return listing_run (invocation, &listing);
}
