/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdint.h>
#include <string.h>

#include "protocol/trust-message.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

/* What parses prints to something that parses and prints the same; a reader fed byte by byte never takes more than the parser. */
int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autoptr (PilotTrustMessage) message = pilot_trust_message_parse ((const gchar *) data, size, NULL), again = NULL, collected = NULL;
  g_autoptr (PilotTrustReader) reader = pilot_trust_reader_new ();
  g_autofree gchar *first = NULL, *second = NULL, *clean = NULL;
  guint8 key[PILOT_SHA256_SIZE];
  gsize length;

  for (size_t i = 0; i < size && collected == NULL; i++)
    if (!pilot_trust_reader_push (reader, data + i, 1, &collected, NULL))
      break;
  if (message == NULL)
    return 0;
  g_assert (collected != NULL);
  first = pilot_trust_message_print (message, &length);
  again = pilot_trust_message_parse (first, length, NULL);
  g_assert (again != NULL);
  second = pilot_trust_message_print (again, NULL);
  g_assert (strcmp (first, second) == 0);
  clean = pilot_trust_sanitize (message->justification);
  g_assert (strlen (clean) <= PILOT_TRUST_MAX_JUSTIFICATION && g_utf8_validate (clean, -1, NULL));
  pilot_trust_message_verify (message, 7, NULL);
  pilot_trust_message_replay_key (message, 7, key);
  return 0;
}
