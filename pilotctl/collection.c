/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/collection.h"

#include <string.h>

#include "pilotctl/output.h"

void
collection_init (Collection *collection, Invocation *invocation, int count)
{
  *collection = (Collection) { .invocation = invocation, .count = count };
  g_variant_builder_init (&collection->items, G_VARIANT_TYPE ("aa{sv}"));
}

gboolean
collection_is_complete (Collection *collection)
{
  return collection->count > 0 && collection->taken == collection->count;
}

gboolean
collection_add (Collection *collection, GVariant *data, const char *line)
{
  g_autoptr (GVariant) owned = g_variant_ref_sink (data);

  collection->taken++;
  if (!collection->invocation->json)
    return output_line (line, strlen (line));
  if (collection->count == 0)
    return output_object (owned);
  g_variant_builder_add_value (&collection->items, owned);
  return TRUE;
}

int
collection_end (Collection *collection, const char *member, GError *error)
{
  GVariantDict data;

  if (error != NULL) {
    g_variant_builder_clear (&collection->items);
    return output_error (collection->invocation, error);
  }
  if (collection->timed_out && !collection->invocation->json)
    g_printerr (_("timeout\n"));
  if (collection->count == 0) {
    g_variant_builder_clear (&collection->items);
    return EXIT_OK;
  }
  g_variant_dict_init (&data, NULL);
  g_variant_dict_insert_value (&data, member, g_variant_builder_end (&collection->items));
  g_variant_dict_insert (&data, "timeout", "b", collection->timed_out);
  return output_ok (collection->invocation, g_variant_dict_end (&data));
}
