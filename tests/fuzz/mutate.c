/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdint.h>
#include <string.h>

#include "tests/fuzz/mangle.h"

/* Runs a fuzz target without a fuzzer: every seed as it is, then mangled, a hundred thousand times in all. The changes are the same in every run; a
 * crash names the seed file before it. Each input is a copy of its exact size, so that a sanitizer sees a read beyond it. */

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

#define MUTATIONS 100000

static void
run_one (const guint8 *data, gsize size)
{
  g_autofree guint8 *copy = g_memdup2 (data, size);

  LLVMFuzzerTestOneInput (copy, size);
}

static void
run_seed (const gchar *path, guint mutations)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GRand) rand = g_rand_new_with_seed (1);
  g_autofree gchar *data = NULL;
  gsize size;

  if (!g_file_get_contents (path, &data, &size, &error))
    g_error ("%s", error->message);
  run_one ((const guint8 *) data, size);
  for (guint i = 0; i < mutations; i++) {
    g_autoptr (GByteArray) input = mangle ((const guint8 *) data, size, rand);

    run_one (input->data, input->len);
  }
}

int
main (int argc, char **argv)
{
  g_autoptr (GDir) folder = NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) seeds = g_ptr_array_new_with_free_func (g_free);
  const gchar *name;

  g_assert (argc == 2);
  folder = g_dir_open (argv[1], 0, &error);
  if (folder == NULL)
    g_error ("%s", error->message);
  while ((name = g_dir_read_name (folder)) != NULL)
    g_ptr_array_add (seeds, g_build_filename (argv[1], name, NULL));
  for (guint i = 0; i < seeds->len; i++) {
    g_print ("# %s\n", (const gchar *) g_ptr_array_index (seeds, i));
    run_seed (g_ptr_array_index (seeds, i), MUTATIONS / seeds->len + 1);
  }
  g_print ("1..1\n%s 1 - %u seeds, %u mutations in all\n", seeds->len > 0 ? "ok" : "not ok", seeds->len, MUTATIONS);
  return seeds->len > 0 ? 0 : 1;
}
