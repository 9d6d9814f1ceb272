/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/listing.h"

#include <string.h>

#include "pilotctl/output.h"

static gboolean
matches (GVariant *record, const char *search)
{
  g_autofree char *id = g_strdup_printf ("%u", (guint) dict_int (record, "node_id"));

  return search == NULL || strstr (dict_string (record, "hostname"), search) != NULL ||
         strstr (dict_string (record, "address"), search) != NULL || g_str_equal (id, search);
}

int
listing_run (Invocation *invocation, const Listing *listing)
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
  GVariantBuilder shown;
  GError *error = NULL;
  GVariantDict data;
  guint total = 0, counted = 0;
  int exit_code;

  if (!command_parse (invocation, entries + !listing->has_all, 0, 0, &exit_code))
    return exit_code;
  if (limit < -1)
    return output_fail (invocation, PILOT_ERROR_INVALID_ARGUMENT, NULL, _("--limit needs a number from 0 up"));
  client = client_new (invocation, &error);
  if (client == NULL)
    return output_error (invocation, error);
  list = client_list (client, "Node", listing->method, &error);
  if (list == NULL)
    return output_error (invocation, error);
  g_variant_builder_init (&shown, G_VARIANT_TYPE ("aa{sv}"));
  for (gsize i = 0; i < g_variant_n_children (list); i++) {
    g_autoptr (GVariant) record = g_variant_get_child_value (list, i);

    if (!matches (record, search))
      continue;
    total++;
    counted += listing->counted != NULL && dict_boolean (record, listing->counted);
    if (limit >= 0 && total > (guint) limit)
      continue;
    g_variant_builder_add_value (&shown, record);
    listing->add (table, record);
  }
  if (!invocation->json)
    output_table_print (table);
  if (!invocation->json && total == 0)
    g_print ("%s\n", _(listing->none));
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert_value (&data, listing->member, g_variant_builder_end (&shown));
  g_variant_dict_insert (&data, "total", "u", total);
  if (listing->counted != NULL)
    g_variant_dict_insert (&data, listing->counted, "u", counted);
  return output_ok (invocation, g_variant_dict_end (&data));
}
