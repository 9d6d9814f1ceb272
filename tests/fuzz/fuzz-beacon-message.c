/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdint.h>
#include <string.h>

#include "protocol/beacon-message.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

/* What decodes encodes, and what was encoded decodes to the same bytes again. */
int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autofree guint8 *out = g_malloc (size + 32), *again = g_malloc (size + 32);
  PilotBeaconMessage message;
  gsize length;

  if (!pilot_beacon_message_decode (&message, data, size))
    return 0;
  length = pilot_beacon_message_encode (&message, out, size + 32);
  if (length == 0) {
    g_assert (message.type == PILOT_BEACON_SYNC && message.node_count > PILOT_BEACON_SYNC_MAX_NODES);
    return 0;
  }
  g_assert (length <= size);
  g_assert (pilot_beacon_message_decode (&message, out, length));
  g_assert (pilot_beacon_message_encode (&message, again, size + 32) == length);
  g_assert (memcmp (out, again, length) == 0);
  for (guint i = 0; i < message.node_count; i++)
    pilot_beacon_message_sync_node (&message, (guint16) i);
  return 0;
}
