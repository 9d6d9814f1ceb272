/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <stdint.h>
#include <string.h>

/* Runs a fuzz target without a fuzzer: every seed as it is, then mutated. The mutations are the same in every run; a crash names the seed file and
 * the number of its mutation. Each input is a copy of its exact size, so that a sanitizer sees a read beyond it. */

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

#define MUTATIONS 2000
#define MAX_GROWTH 64

static void
run_one (const guint8 *data, gsize size)
{
  g_autofree guint8 *copy = g_memdup2 (data, size);

  LLVMFuzzerTestOneInput (copy, size);
}

static void
mutate (GByteArray *input, GRand *rand)
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

static void
run_seed (const gchar *path)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GRand) rand = g_rand_new_with_seed (1);
  g_autofree gchar *data = NULL;
  gsize size;

  if (!g_file_get_contents (path, &data, &size, &error))
    g_error ("%s", error->message);
  run_one ((const guint8 *) data, size);
  for (guint i = 0; i < MUTATIONS; i++) {
    g_autoptr (GByteArray) input = g_byte_array_new ();

    g_byte_array_append (input, (const guint8 *) data, (guint) size);
    for (gint n = g_rand_int_range (rand, 1, 5); n > 0; n--)
      mutate (input, rand);
    run_one (input->data, input->len);
  }
}

int
main (int argc, char **argv)
{
  g_autoptr (GDir) folder = NULL;
  g_autoptr (GError) error = NULL;
  const gchar *name;
  guint seeds = 0;

  g_assert (argc == 2);
  folder = g_dir_open (argv[1], 0, &error);
  if (folder == NULL)
    g_error ("%s", error->message);
  while ((name = g_dir_read_name (folder)) != NULL) {
    g_autofree gchar *path = g_build_filename (argv[1], name, NULL);

    g_print ("# %s\n", path);
    run_seed (path);
    seeds++;
  }
  g_print ("1..1\n%s 1 - %u seeds, %u mutations of each\n", seeds > 0 ? "ok" : "not ok", seeds, MUTATIONS);
  return seeds > 0 ? 0 : 1;
}
