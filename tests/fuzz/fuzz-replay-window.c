/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdint.h>
#include <string.h>

#include "protocol/replay-window.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

/* Records of a prefix (one of 16) and a signed step from the last counter. Check and commit agree, nothing is accepted twice. */
int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autofree PilotReceiveEpochs *epochs = g_new0 (PilotReceiveEpochs, 1);
  g_autoptr (GHashTable) accepted = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  guint64 counter = 0;

  for (; size >= 3; data += 3, size -= 3) {
    gint16 step = (gint16) (data[1] << 8 | data[2]);
    guint32 prefix = data[0] % 16;
    PilotReplayVerdict checked;

    counter += data[0] >= 0xf0 ? (guint64) step << 48 : (guint64) (gint64) step;
    checked = pilot_receive_epochs_check (epochs, prefix, counter, NULL);
    g_assert (pilot_receive_epochs_commit (epochs, prefix, counter, NULL) == checked);
    if (checked == PILOT_REPLAY_ACCEPT)
      g_assert (g_hash_table_add (accepted, g_strdup_printf ("%u:%" G_GUINT64_FORMAT, prefix, counter)));
  }
  return 0;
}
