/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/services/exchange-senders.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libpilot/pilot-file.h"

#define FILE_NAME "received-senders"
#define FILE_MAX (64 * 1024 * 1024)
/* "%08x name": the number and its space. */
#define NAME_AT 9
/* From so many lines on they are looked through for files that are gone. */
#define LINES_MANY 16384

static GMutex lock;

void
pilot_exchange_senders_note (const char *state, const char *name, guint32 sender)
{
  g_autofree char *path = g_build_filename (state, FILE_NAME, NULL), *line = g_strdup_printf ("%08x %s\n", sender, name);
  const gsize length = strlen (line);
  int fd;

  g_mutex_lock (&lock);
  fd = open (path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  /* One write: no other line can come between. */
  if (fd < 0 || write (fd, line, length) != (gssize) length)
    g_warning ("\"%s\": who sent \"%s\" is not noted: %s", path, name, g_strerror (errno));
  if (fd >= 0)
    close (fd);
  g_mutex_unlock (&lock);
}

static GHashTable *
parse (char *text, guint *n_lines)
{
  GHashTable *senders = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

  *n_lines = 0;
  for (char *line = text, *end; (end = strchr (line, '\n')) != NULL; line = end + 1) {
    *end = '\0';
    ++*n_lines;
    if (end - line > NAME_AT && line[NAME_AT - 1] == ' ')
      g_hash_table_insert (senders, g_strdup (line + NAME_AT), GUINT_TO_POINTER ((guint32) g_ascii_strtoull (line, NULL, 16)));
  }
  return senders;
}

static void
drop_gone (const char *path, GHashTable *senders, guint n_lines, int received)
{
  GString *text = g_string_new (NULL);
  g_autoptr (GError) error = NULL;
  GHashTableIter iter;
  gpointer name, sender;
  struct stat info;

  g_hash_table_iter_init (&iter, senders);
  while (g_hash_table_iter_next (&iter, &name, &sender))
    if (fstatat (received, name, &info, AT_SYMLINK_NOFOLLOW) == 0)
      g_string_append_printf (text, "%08x %s\n", GPOINTER_TO_UINT (sender), (const char *) name);
    else
      g_hash_table_iter_remove (&iter);
  /* So many files may really be there. */
  if (g_hash_table_size (senders) < n_lines && !pilot_file_replace (path, text->str, text->len, 0600, &error))
    g_warning ("%s", error->message);
  g_string_free (text, TRUE);
}

GHashTable *
pilot_exchange_senders_load (const char *state, int received)
{
  g_autofree char *path = g_build_filename (state, FILE_NAME, NULL), *text = NULL;
  g_autoptr (GError) error = NULL;
  GHashTable *senders;
  guint n_lines;

  g_mutex_lock (&lock);
  if (!pilot_file_load (path, FILE_MAX, 0022, &text, NULL, &error) && !g_error_matches (error, G_FILE_ERROR, G_FILE_ERROR_NOENT))
    g_warning ("%s", error->message);
  senders = parse (text != NULL ? text : (text = g_strdup ("")), &n_lines);
  if (n_lines >= LINES_MANY)
    drop_gone (path, senders, n_lines, received);
  g_mutex_unlock (&lock);
  return senders;
}
