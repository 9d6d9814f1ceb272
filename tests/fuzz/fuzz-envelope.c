/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdint.h>
#include <string.h>

#include "protocol/envelope.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

/* What parses prints to the very same text. */
int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autofree char *text = size > 0 ? g_strndup ((const char *) data, size) : g_strdup ("");
  g_autofree char *again = NULL;
  g_autoptr (GError) error = NULL;
  PilotEnvelope envelope;

  g_assert (pilot_envelope_parse (&envelope, text, &error) == (error == NULL));
  if (error != NULL)
    return 0;
  again = pilot_envelope_print (&envelope);
  g_assert (strcmp (again, text) == 0);
  return 0;
}
