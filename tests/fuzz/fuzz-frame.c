/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdint.h>
#include <string.h>

#include "protocol/frame.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  static const guint8 key[PILOT_AEAD_KEY_SIZE] = { 1 };
  g_autofree guint8 *copy = g_memdup2 (data, size);
  PilotKeyExchange exchange;
  PilotSealedFrame sealed;
  gsize length;

  if (pilot_frame_parse_key_exchange (&exchange, data, size))
    pilot_frame_verify_pila (&exchange);
  if (size >= PILOT_FRAME_MAGIC_SIZE && pilot_frame_parse_pils (&sealed, copy, size)) {
    g_autoptr (PilotAead) aead = pilot_aead_new (key);

    g_assert (pilot_frame_classify (data, size) == PILOT_FRAME_PILS);
    /* Without the key nothing opens; sealed again it does. */
    g_assert (!pilot_frame_open_pils (&sealed, aead, &length));
    g_assert (pilot_frame_seal_pils (copy, aead, sealed.node, sealed.prefix, sealed.counter, size - PILOT_FRAME_PILS_OVERHEAD) == size);
    g_assert (pilot_frame_open_pils (&sealed, aead, &length));
    g_assert (length == size - PILOT_FRAME_PILS_OVERHEAD);
  }
  return 0;
}
