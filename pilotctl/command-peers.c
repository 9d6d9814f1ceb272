/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/listing.h"
#include "pilotctl/output.h"

/* Who is alive is heard every 25 s, as long as there is anything between the two. */
#define QUIET_SECONDS 35

/* (transfer full) */
static char *
remark (GVariant *peer)
{
  gint64 quiet = g_get_real_time () / G_USEC_PER_SEC - dict_int (peer, "last_seen");
  g_autofree char *age = output_age (quiet);

  if (!dict_boolean (peer, "trusted"))
    return g_strdup (_("not trusted"));
  return dict_int (peer, "last_seen") > 0 && dict_boolean (peer, "encrypted") && quiet > QUIET_SECONDS ? g_strdup_printf (_("heard %s ago"), age) : g_strdup ("");
}

static void
add_peer (GPtrArray *table, GVariant *peer)
{
  g_autofree char *hostname = output_clean (dict_string (peer, "hostname"));
  g_autofree char *note = remark (peer);
  g_autofree char *rtt = dict_double (peer, "rtt_ms") > 0 ? g_strdup_printf ("%.1f ms", dict_double (peer, "rtt_ms")) : g_strdup ("");

  output_table_add (table, dict_string (peer, "address"), *hostname != '\0' ? hostname : "-",
                    *dict_string (peer, "path") != '\0' ? dict_string (peer, "path") : "-", dict_string (peer, "state"), rtt,
                    note, NULL);
}

int
command_peers (Invocation *invocation)
{
  static const Listing listing = { "ListPeers", "peers", N_("no peers"), "encrypted", TRUE, add_peer };

  return listing_run (invocation, &listing);
}
