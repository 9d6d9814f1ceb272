/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/fuzz/mangle.h"

#include <string.h>

#define MAX_GROWTH 64

static void
change (GByteArray *input,
        GRand *rand)
{
  guint at = input->len > 0 ? (guint) g_rand_int_range (rand, 0, (gint) input->len) : 0;
  guint8 byte = (guint8) g_rand_int (rand);

  switch (g_rand_int_range (rand, 0, 6)) {
  case 0:
    if (input->len > 0)
      input->data[at] ^= (guint8) (1u << g_rand_int_range (rand, 0, 8));
    break;
  case 1:
    if (input->len > 0)
      input->data[at] = byte;
    break;
  case 2:
    g_byte_array_set_size (input, at);
    break;
  case 3:
    if (input->len > 0)
      g_byte_array_remove_index (input, at);
    break;
  case 4:
    for (gint n = g_rand_int_range (rand, 1, MAX_GROWTH); n > 0; n--)
      g_byte_array_append (input, &byte, 1);
    break;
  default:
    if (input->len > 0) {
      g_autofree guint8 *tail = g_memdup2 (input->data + at, input->len - at);

      g_byte_array_append (input, tail, input->len - at);
    }
  }
}

GByteArray *
mangle (const guint8 *data,
        gsize size,
        GRand *rand)
{
  GByteArray *input = g_byte_array_sized_new ((guint) size + MAX_GROWTH);

  g_byte_array_append (input, data, (guint) size);
  for (gint n = g_rand_int_range (rand, 1, 5); n > 0; n--)
    change (input, rand);
  return input;
}

GByteArray *
mangle_for_sure (const guint8 *data,
                 gsize size,
                 GRand *rand)
{
  for (;;) {
    GByteArray *input = mangle (data, size, rand);

    if (input->len > 0 && (input->len < size || memcmp (input->data, data, size) != 0))
      return input;
    g_byte_array_unref (input);
  }
}
