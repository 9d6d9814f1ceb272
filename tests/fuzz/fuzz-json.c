/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdint.h>
#include <string.h>

#include "protocol/json.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

/* What parses prints to something that parses and prints the same. */
int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) object = pilot_json_parse_object ((const gchar *) data, size, 1 << 16, &error), again = NULL;
  g_autofree gchar *first = NULL, *second = NULL;

  g_assert ((object == NULL) == (error != NULL));
  if (object == NULL)
    return 0;
  first = pilot_json_print (object);
  again = pilot_json_parse_object (first, strlen (first), 1 << 20, &error);
  if (again == NULL)
    g_error ("%s: %s", error->message, first);
  second = pilot_json_print (again);
  g_assert (strcmp (first, second) == 0);
  return 0;
}
