/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/helper/port-holder.h"

#include <arpa/inet.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libpilot/pilot-error.h"

#define STATE_LISTEN 0x0a

/* One listening socket of /proc/net/tcp{,6} (proc(5)). */
typedef struct {
  gboolean wildcard, loopback;
  guint32 address; /* IPv4, host order; 0 when it is IPv6 */
  guint16 port;
  guint32 uid;
  guint64 inode;
} Entry;

/* Addresses stand there as 32-bit words in hex, each in the machine's own byte order. */
static gboolean
parse_entry (const char *line, Entry *entry)
{
  char local[33];
  guint port, state, uid;
  guint64 inode;
  guint32 words[4] = { 0 };
  gsize n_words;

  if (sscanf (line, " %*u: %32[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*x:%*x %*x:%*x %*x %u %*u %" G_GUINT64_FORMAT,
              local, &port, &state, &uid, &inode) != 5 ||
      state != STATE_LISTEN || port > G_MAXUINT16)
    return FALSE;
  n_words = strlen (local) / 8;
  if (n_words != 1 && n_words != 4)
    return FALSE;
  for (gsize i = 0; i < n_words; i++) {
    char word[9];

    g_strlcpy (word, local + 8 * i, sizeof word);
    words[i] = strtoul (word, NULL, 16);
  }
  *entry = (Entry) { .port = port, .uid = uid, .inode = inode };
  if (n_words == 1) {
    entry->address = ntohl (words[0]);
    entry->wildcard = words[0] == 0;
    entry->loopback = entry->address >> 24 == 127;
  } else {
    gboolean mapped = words[0] == 0 && words[1] == 0 && words[2] == htonl (0xffff);

    entry->wildcard = words[0] == 0 && words[1] == 0 && words[2] == 0 && words[3] == 0;
    entry->loopback = (words[0] == 0 && words[1] == 0 && words[2] == 0 && words[3] == htonl (1)) ||
                      (mapped && ntohl (words[3]) >> 24 == 127);
    entry->address = mapped ? ntohl (words[3]) : 0;
  }
  return TRUE;
}

/* Calls @func for each listener until it answers TRUE. */
static gboolean
find_listener (gboolean (*func) (const Entry *entry, gpointer user_data), gpointer user_data)
{
  static const char *const files[] = { "/proc/self/net/tcp", "/proc/self/net/tcp6" };

  for (guint i = 0; i < G_N_ELEMENTS (files); i++) {
    FILE *file = fopen (files[i], "re");
    gboolean found = FALSE;
    char line[512];

    while (file != NULL && !found && fgets (line, sizeof line, file) != NULL) {
      Entry entry;

      found = parse_entry (line, &entry) && func (&entry, user_data);
    }
    if (file != NULL)
      fclose (file);
    if (found)
      return TRUE;
  }
  return FALSE;
}

/* The process that has the socket open; 0 = not found, or not ours to see. */
static guint
find_process (guint64 inode)
{
  g_autofree char *wanted = g_strdup_printf ("socket:[%" G_GUINT64_FORMAT "]", inode);
  g_autoptr (GDir) processes = g_dir_open ("/proc", 0, NULL);
  const char *name;

  while (processes != NULL && (name = g_dir_read_name (processes)) != NULL) {
    g_autofree char *folder = g_strdup_printf ("/proc/%s/fd", name);
    g_autoptr (GDir) descriptors = g_ascii_isdigit (name[0]) ? g_dir_open (folder, 0, NULL) : NULL;
    const char *descriptor;

    while (descriptors != NULL && (descriptor = g_dir_read_name (descriptors)) != NULL) {
      g_autofree char *path = g_build_filename (folder, descriptor, NULL);
      g_autofree char *target = g_file_read_link (path, NULL);

      if (g_strcmp0 (target, wanted) == 0)
        return strtoul (name, NULL, 10);
    }
  }
  return 0;
}

static char *
describe_user (guint32 uid)
{
  char buffer[1024];
  struct passwd entry, *result = NULL;

  if (getpwuid_r (uid, &entry, buffer, sizeof buffer, &result) == 0 && result != NULL)
    return g_strdup (entry.pw_name);
  return g_strdup_printf ("%u", uid);
}

typedef struct {
  guint32 address;
  guint16 port;
  Entry entry;
} HolderSearch;

static gboolean
is_holder (const Entry *entry, gpointer user_data)
{
  HolderSearch *search = user_data;

  if (entry->port != search->port || (!entry->wildcard && entry->address != search->address))
    return FALSE;
  search->entry = *entry;
  return TRUE;
}

char *
pilot_port_holder_describe (guint32 address, guint16 port)
{
  HolderSearch search = { .address = address, .port = port };
  g_autofree char *user = NULL, *path = NULL, *comm = NULL, *name = NULL;
  guint pid;

  if (!find_listener (is_holder, &search))
    return NULL;
  user = describe_user (search.entry.uid);
  pid = find_process (search.entry.inode);
  if (pid == 0)
    return g_strdup_printf ("another program (user %s)", user);
  path = g_strdup_printf ("/proc/%u/comm", pid);
  if (!g_file_get_contents (path, &comm, NULL, NULL))
    return g_strdup_printf ("pid %u (user %s)", pid, user);
  /* A program calls itself what it likes, in bytes that are no text as well. */
  name = pilot_error_quote (g_strstrip (comm), -1);
  return g_strdup_printf ("%s (pid %u, user %s)", name, pid, user);
}
