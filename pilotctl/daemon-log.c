/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilotctl/daemon-log.h"

#include "pilotctl/output.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEPT_LOGS 5
#define PREFIX "pilot-"
#define SUFFIX ".log"

typedef struct {
  char *path;
  struct timespec changed;
} Log;

static void
log_clear (gpointer data)
{
  g_free (((Log *) data)->path);
}

static int
newest_first (gconstpointer a, gconstpointer b)
{
  const struct timespec *one = &((const Log *) a)->changed, *other = &((const Log *) b)->changed;

  if (one->tv_sec != other->tv_sec)
    return one->tv_sec > other->tv_sec ? -1 : 1;
  return (one->tv_nsec < other->tv_nsec) - (one->tv_nsec > other->tv_nsec);
}

/* 0 where @name is not that of a log. */
static pid_t
pid_in (const char *name)
{
  g_autofree char *digits = NULL;
  guint64 pid;

  if (!g_str_has_prefix (name, PREFIX) || !g_str_has_suffix (name, SUFFIX) || strlen (name) <= strlen (PREFIX) + strlen (SUFFIX))
    return 0;
  digits = g_strndup (name + strlen (PREFIX), strlen (name) - strlen (PREFIX) - strlen (SUFFIX));
  return g_ascii_string_to_unsigned (digits, 10, 1, G_MAXINT32, &pid, NULL) ? (pid_t) pid : 0;
}

/* Not what a process that runs may still write, nor what only has such a name. */
static gboolean
is_old (const char *path, pid_t pid, struct stat *status)
{
  return pid != 0 && kill (pid, 0) != 0 && errno == ESRCH && lstat (path, status) == 0 && S_ISREG (status->st_mode);
}

static GArray *
list_old (const char *folder, const char *except)
{
  GArray *logs = g_array_new (FALSE, FALSE, sizeof (Log));
  g_autoptr (GDir) dir = g_dir_open (folder, 0, NULL);
  const char *name;

  g_array_set_clear_func (logs, log_clear);
  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL) {
    g_autofree char *path = g_build_filename (folder, name, NULL);
    struct stat status;

    if (!g_str_equal (path, except) && is_old (path, pid_in (name), &status)) {
      Log log = { g_steal_pointer (&path), status.st_mtim };

      g_array_append_val (logs, log);
    }
  }
  g_array_sort (logs, newest_first);
  return logs;
}

static void
remove_old (const char *folder, const char *except)
{
  g_autoptr (GArray) logs = list_old (folder, except);

  for (guint i = KEPT_LOGS - 1; i < logs->len; i++)
    if (g_unlink (g_array_index (logs, Log, i).path) != 0)
      g_debug ("cannot remove \"%s\": %s", g_array_index (logs, Log, i).path, g_strerror (errno));
}

char *
daemon_log_adopt (const char *folder, const char *first, gint64 pid)
{
  g_autofree char *name = g_strdup_printf (PREFIX "%" G_GINT64_FORMAT SUFFIX, pid);
  g_autofree char *link_path = g_build_filename (folder, "pilot.log", NULL);
  char *path = g_build_filename (folder, name, NULL);

  if (g_rename (first, path) != 0) {
    g_free (path);
    return g_strdup (first);
  }
  if (g_unlink (link_path) != 0 && errno != ENOENT)
    g_debug ("cannot replace \"%s\": %s", link_path, g_strerror (errno));
  if (symlink (name, link_path) != 0)
    g_debug ("cannot link \"%s\": %s", link_path, g_strerror (errno));
  remove_old (folder, path);
  return path;
}

char *
daemon_log_last_line (const char *path, char **hint)
{
  g_autofree char *text = NULL;
  char *line;

  if (!g_file_get_contents (path, &text, NULL, NULL))
    return g_strdup ("");
  g_strchomp (text);
  line = strrchr (text, '\n');
  /* The daemon's hint stands below its error. */
  if (line != NULL && g_str_has_prefix (line + 1, "hint: ")) {
    *hint = output_clean (line + 1 + strlen ("hint: "));
    *line = '\0';
    line = strrchr (text, '\n');
  }
  return output_clean (line != NULL ? line + 1 : text);
}

/* (nullable) (transfer full): the message of a warning, in either form that the daemon's lines have (log_format). */
static char *
parse_warning (const char *line)
{
  g_autoptr (JsonNode) node = line[0] == '{' ? json_from_string (line, NULL) : NULL;
  JsonObject *entry = node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
  g_auto (GStrv) words = NULL;
  const char *message;

  if (entry != NULL)
    return g_str_equal (json_object_get_string_member_with_default (entry, "level", ""), "warn") ? output_clean (json_object_get_string_member_with_default (entry, "msg", "")) : NULL;
  words = g_strsplit (line, " ", 3);
  if (g_strv_length (words) < 3 || !g_str_equal (words[1], "warn"))
    return NULL;
  message = strstr (words[2], ": ");
  return output_clean (message != NULL ? message + strlen (": ") : words[2]);
}

char **
daemon_log_list_warnings (const char *path)
{
  g_autofree char *text = NULL;
  g_auto (GStrv) lines = NULL;
  GPtrArray *warnings = g_ptr_array_new ();

  if (g_file_get_contents (path, &text, NULL, NULL))
    lines = g_strsplit (text, "\n", -1);
  for (guint i = 0; lines != NULL && lines[i] != NULL; i++) {
    char *warning = parse_warning (lines[i]);

    if (warning != NULL)
      g_ptr_array_add (warnings, warning);
  }
  g_ptr_array_add (warnings, NULL);
  return (char **) g_ptr_array_free (warnings, FALSE);
}
