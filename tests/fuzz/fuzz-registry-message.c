/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdint.h>
#include <string.h>

#include "protocol/registry-message.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

/* A stream, cut at places its own bytes choose; the reader says the same as for the stream in one piece. */
static guint
read_stream (const guint8 *data, gsize size, gboolean cut)
{
  static const guint8 key[PILOT_ED25519_PUBLIC_SIZE] = { 1 };
  g_autoptr (PilotRegistryReader) reader = pilot_registry_reader_new (4096);
  guint messages = 0;

  while (size > 0) {
    g_autoptr (JsonObject) message = NULL;
    g_autoptr (GError) error = NULL;
    gsize part = cut ? MIN (size, 1 + (gsize) data[0] % 7) : size, consumed;

    if (!pilot_registry_reader_push (reader, data, part, &consumed, &message, &error)) {
      g_assert (error != NULL);
      return messages;
    }
    g_assert (consumed > 0 && consumed <= part);
    if (message != NULL) {
      messages++;
      pilot_registry_message_verify (message, key);
      pilot_registry_response_check (message, "lookup", NULL);
    }
    data += consumed;
    size -= consumed;
  }
  return messages;
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_assert (read_stream (data, size, TRUE) == read_stream (data, size, FALSE));
  return 0;
}
