/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilot-mailbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <json-glib/json-glib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pilot-error.h"
#include "pilot-json.h"

/* A message of 64 MiB with every byte escaped, and its envelope. */
#define MAX_LENGTH ((gsize) 6 * 64 * 1024 * 1024 + 4096)
#define SUFFIX ".json"

static const char *
folder_name (PilotMailbox mailbox)
{
  return mailbox == PILOT_MAILBOX_INBOX ? "inbox" : "received";
}

char *
pilot_mailbox_folder (const char *state, PilotMailbox mailbox)
{
  return g_build_filename (state, folder_name (mailbox), NULL);
}

static void
entry_free (gpointer data)
{
  PilotMailboxEntry *entry = data;

  g_free (entry->name);
  g_free (entry);
}

static int
newest_first (gconstpointer a, gconstpointer b)
{
  const PilotMailboxEntry *x = *(PilotMailboxEntry *const *) a, *y = *(PilotMailboxEntry *const *) b;

  return x->modified != y->modified ? (x->modified > y->modified ? -1 : 1) : -strcmp (x->name, y->name);
}

/* A folder may be a link of its owner's, to a larger disk. But when root looks after somebody else's, under sudo, it must not be led to what is not his: what
 * is in there may be deleted. */
static gboolean
is_led_astray (int state, int folder)
{
  struct stat above, there;

  return geteuid () == 0 && (fstat (state, &above) != 0 || fstat (folder, &there) != 0 || above.st_uid != there.st_uid || (above.st_mode & 022) != 0);
}

/* -1: it cannot be opened, errno says why. */
static int
open_folder (const char *state, PilotMailbox mailbox)
{
  int above = open (state, O_PATH | O_DIRECTORY | O_CLOEXEC);
  int folder = above >= 0 ? openat (above, folder_name (mailbox), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  int saved = errno;

  if (folder >= 0 && is_led_astray (above, folder)) {
    close (folder);
    folder = -1;
    saved = EPERM;
  }
  if (above >= 0)
    close (above);
  errno = saved;
  return folder;
}

static gboolean
fail (GError **error, const char *state, PilotMailbox mailbox)
{
  const int saved = errno;
  g_autofree char *path = pilot_mailbox_folder (state, mailbox);

  g_set_error (error, PILOT_ERROR, saved == EACCES || saved == EPERM ? PILOT_ERROR_PERMISSION_DENIED : PILOT_ERROR_IO, "cannot read \"%s\": %s", path, g_strerror (saved));
  return FALSE;
}

/* (nullable): a file name as its mailbox calls it, NULL for what does not belong there. */
static char *
entry_name (PilotMailbox mailbox, const char *file)
{
  if (file[0] == '.')
    return NULL;
  if (mailbox == PILOT_MAILBOX_RECEIVED)
    return g_strdup (file);
  return g_str_has_suffix (file, SUFFIX) ? g_strndup (file, strlen (file) - strlen (SUFFIX)) : NULL;
}

GPtrArray *
pilot_mailbox_list (const char *state, PilotMailbox mailbox, GError **error)
{
  g_autoptr (GPtrArray) list = g_ptr_array_new_with_free_func (entry_free);
  int folder = open_folder (state, mailbox);
  struct dirent *item;
  DIR *dir;

  if (folder < 0 && errno == ENOENT)
    return g_steal_pointer (&list);
  dir = folder >= 0 ? fdopendir (folder) : NULL;
  if (dir == NULL) {
    fail (error, state, mailbox);
    if (folder >= 0)
      close (folder);
    return NULL;
  }
  while ((item = readdir (dir)) != NULL) {
    g_autofree char *name = entry_name (mailbox, item->d_name);
    PilotMailboxEntry *entry;
    struct stat info;

    if (name == NULL || fstatat (folder, item->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG (info.st_mode))
      continue;
    entry = g_new0 (PilotMailboxEntry, 1);
    entry->name = g_steal_pointer (&name);
    entry->bytes = (guint64) info.st_size;
    entry->modified = (gint64) info.st_mtim.tv_sec * G_USEC_PER_SEC + info.st_mtim.tv_nsec / 1000;
    g_ptr_array_add (list, entry);
  }
  closedir (dir);
  g_ptr_array_sort (list, newest_first);
  return g_steal_pointer (&list);
}

/* (transfer full) (nullable) The file of an entry; an error for a name that cannot be one. */
static char *
file_name (PilotMailbox mailbox, const char *name, GError **error)
{
  if (*name != '\0' && *name != '.' && strchr (name, '/') == NULL)
    return g_strconcat (name, mailbox == PILOT_MAILBOX_INBOX ? SUFFIX : "", NULL);
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "there is no such %s", mailbox == PILOT_MAILBOX_INBOX ? "message" : "file");
  return NULL;
}

int
pilot_mailbox_open (const char *state, PilotMailbox mailbox, const char *name, GError **error)
{
  g_autofree char *file = file_name (mailbox, name, error), *quoted = pilot_error_quote (name, -1);
  int folder, fd, saved;
  struct stat info;

  if (file == NULL)
    return -1;
  folder = open_folder (state, mailbox);
  fd = folder >= 0 ? openat (folder, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1;
  saved = errno;
  if (folder >= 0)
    close (folder);
  if (fd >= 0 && fstat (fd, &info) == 0 && S_ISREG (info.st_mode))
    return fd;
  if (fd >= 0) {
    close (fd);
    saved = ELOOP;
  }
  errno = saved;
  if (saved == ENOENT || saved == ELOOP)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "no %s \"%s\"", mailbox == PILOT_MAILBOX_INBOX ? "message" : "file", quoted);
  else
    fail (error, state, mailbox);
  return -1;
}

gboolean
pilot_mailbox_delete (const char *state, PilotMailbox mailbox, const char *name, GError **error)
{
  g_autofree char *file = file_name (mailbox, name, error), *quoted = pilot_error_quote (name, -1);
  int folder, saved;
  gboolean good;

  if (file == NULL)
    return FALSE;
  folder = open_folder (state, mailbox);
  good = folder >= 0 && unlinkat (folder, file, 0) == 0;
  saved = errno;
  if (folder >= 0)
    close (folder);
  errno = saved;
  if (good)
    return TRUE;
  if (saved == ENOENT)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "no %s \"%s\"", mailbox == PILOT_MAILBOX_INBOX ? "message" : "file", quoted);
  else
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot delete \"%s\": %s", quoted, g_strerror (saved));
  return FALSE;
}

guint
pilot_mailbox_delete_partials (const char *state, gint64 before)
{
  int folder = open_folder (state, PILOT_MAILBOX_RECEIVED);
  int partials = folder >= 0 ? openat (folder, ".partial", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
  DIR *dir = partials >= 0 ? fdopendir (partials) : NULL;
  struct dirent *item;
  guint n = 0;

  if (folder >= 0)
    close (folder);
  if (dir == NULL) {
    if (partials >= 0)
      close (partials);
    return 0;
  }
  while ((item = readdir (dir)) != NULL) {
    struct stat info;

    if (fstatat (partials, item->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG (info.st_mode) &&
        (gint64) info.st_mtim.tv_sec * G_USEC_PER_SEC + info.st_mtim.tv_nsec / 1000 < before && unlinkat (partials, item->d_name, 0) == 0)
      n++;
  }
  closedir (dir);
  return n;
}

/* --- messages --- */

void
pilot_mailbox_message_free (PilotMailboxMessage *message)
{
  g_free (message->id);
  g_free (message->from);
  g_free (message->type);
  g_free (message->received_at);
  g_free (message->message_id);
  g_free (message->reply_to);
  g_free (message->encoding);
  g_clear_pointer (&message->data, g_bytes_unref);
  g_free (message);
}

static char *
read_all (int fd, gsize *length)
{
  g_autoptr (GByteArray) bytes = g_byte_array_new ();
  guint8 block[64 * 1024];
  gssize n;

  while ((n = read (fd, block, sizeof block)) > 0 || (n < 0 && errno == EINTR)) {
    if (n < 0)
      continue;
    if (bytes->len + (gsize) n > MAX_LENGTH) {
      errno = EFBIG;
      return NULL;
    }
    g_byte_array_append (bytes, block, (guint) n);
  }
  if (n < 0)
    return NULL;
  *length = bytes->len;
  g_byte_array_append (bytes, (const guint8 *) "", 1);
  return (char *) g_byte_array_free (g_steal_pointer (&bytes), FALSE);
}

static char *
member (JsonObject *object, const char *name)
{
  JsonNode *node = json_object_get_member (object, name);

  return g_strdup (node != NULL && JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == G_TYPE_STRING ? json_node_get_string (node) : "");
}

static void
read_data (JsonObject *object, PilotMailboxMessage *message)
{
  g_autofree char *encoded = member (object, "data_b64"), *text = member (object, "data");
  gsize length = strlen (text);

  message->encoding = member (object, "data_encoding");
  if (*encoded != '\0') {
    guchar *decoded = g_base64_decode (encoded, &length);

    message->data = g_bytes_new_take (decoded, length);
  } else
    message->data = g_bytes_new_take (g_steal_pointer (&text), length);
  if (*message->encoding == '\0') {
    g_free (message->encoding);
    message->encoding = g_strdup (*encoded != '\0' ? "base64" : "utf8");
  }
  message->is_text = !g_str_equal (message->type, "BINARY") && g_utf8_validate_len (g_bytes_get_data (message->data, NULL), g_bytes_get_size (message->data), NULL);
}

static PilotMailboxMessage *
parse (const char *id, const char *text, gsize length, GError **error)
{
  g_autoptr (PilotMailboxMessage) message = g_new0 (PilotMailboxMessage, 1);
  g_autoptr (JsonParser) parser = json_parser_new ();
  JsonObject *object;
  JsonNode *bytes;

  if (!pilot_json_scan (text, length, MAX_LENGTH, PILOT_JSON_MAX_DEPTH, error) || !json_parser_load_from_data (parser, text, (gssize) length, error))
    return NULL;
  if (!JSON_NODE_HOLDS_OBJECT (json_parser_get_root (parser))) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "not an object");
    return NULL;
  }
  object = json_node_get_object (json_parser_get_root (parser));
  message->id = g_strdup (id);
  message->from = member (object, "from");
  message->type = member (object, "type");
  message->received_at = member (object, "received_at");
  message->message_id = member (object, "message_id");
  message->reply_to = member (object, "reply_to");
  bytes = json_object_get_member (object, "bytes");
  message->bytes = bytes != NULL && JSON_NODE_HOLDS_VALUE (bytes) ? json_node_get_int (bytes) : 0;
  read_data (object, message);
  return g_steal_pointer (&message);
}

PilotMailboxMessage *
pilot_mailbox_read (const char *state, const char *id, GError **error)
{
  g_autofree char *text = NULL, *quoted = pilot_error_quote (id, -1);
  g_autoptr (GError) local = NULL;
  PilotMailboxMessage *message;
  gsize length = 0;
  int fd = pilot_mailbox_open (state, PILOT_MAILBOX_INBOX, id, error);

  if (fd < 0)
    return NULL;
  text = read_all (fd, &length);
  close (fd);
  if (text == NULL) {
    fail (error, state, PILOT_MAILBOX_INBOX);
    return NULL;
  }
  message = parse (id, text, length, &local);
  if (message == NULL)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "\"%s\" is no message: %s", quoted, local->message);
  return message;
}

char *
pilot_mailbox_preview (const PilotMailboxMessage *message, gsize length)
{
  GString *preview = g_string_new (NULL);
  gsize size, n = 0;
  const char *p = g_bytes_get_data (message->data, &size), *end = p + size;

  for (; message->is_text && p < end && n < length; p = g_utf8_next_char (p), n++) {
    const gunichar c = g_utf8_get_char (p);

    g_string_append_unichar (preview, g_unichar_isprint (c) ? c : ' ');
  }
  return g_string_free (preview, FALSE);
}
