/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdint.h>
#include <string.h>

#include "protocol/identity.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autofree gchar *text = NULL;
  PilotIdentity identity, again;

  if (!pilot_identity_parse (&identity, (const gchar *) data, size, NULL))
    return 0;
  text = pilot_identity_print (&identity);
  g_assert (pilot_identity_parse (&again, text, strlen (text), NULL));
  g_assert (memcmp (&identity, &again, sizeof again) == 0);
  return 0;
}
