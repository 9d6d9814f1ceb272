/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdint.h>

#include "protocol/ipc-message.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
check_inside (const guint8 *part, gsize part_length, const guint8 *frame, gsize length)
{
  if (part_length > 0)
    g_assert (part > frame && part_length < length && part <= frame + length - part_length);
}

/* Every frame of a stream is taken apart; what comes out lies within it, and the cutting makes progress. */
int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  const guint8 *frame;
  gsize length, consumed;

  while (pilot_ipc_cut (data, size, &frame, &length, &consumed) == PILOT_IPC_CUT_FRAME) {
    g_autoptr (GError) error = NULL;
    PilotIpcRequest request;

    g_assert (consumed >= 5 && consumed <= size && length >= 1 && frame + length == data + consumed);
    g_assert (pilot_ipc_parse (frame, length, &request, &error) == (error == NULL));
    g_assert (request.opcode == frame[0]);
    if (error == NULL) {
      check_inside (request.data, request.data_length, frame, length);
      check_inside (request.token, request.token_length, frame, length);
    }
    data += consumed;
    size -= consumed;
  }
  return 0;
}
