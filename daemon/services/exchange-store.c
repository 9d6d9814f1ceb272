/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/services/exchange-store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "daemon/services/exchange-senders.h"
#include "libpilot/pilot-error.h"
#include "protocol/json.h"

#define PARTIALS ".partial"
#define TEMPORARY_PREFIX ".tmp-"
#define PARTIAL_DAYS 7
/* With the stamp, and while it is written with the prefix, a name stays below what every file system takes: 255 bytes. */
#define MAX_STEM 180
#define MAX_EXTENSION 32
/* After room was made, so that it is not made for each message. */
#define INBOX_FILES_AFTER (PILOT_EXCHANGE_INBOX_FILES - 64)
#define INBOX_BYTES_AFTER (PILOT_EXCHANGE_INBOX_BYTES / 10 * 9)

/* Part of every name, beside the time: unique in this process. */
static gint sequence;

static gboolean
fail (GError **error, const char *what)
{
  const int saved = errno;

  g_set_error (error, PILOT_ERROR, saved == ENOSPC || saved == EDQUOT ? PILOT_ERROR_EXHAUSTED : PILOT_ERROR_IO, "%s: %s", what, g_strerror (saved));
  return FALSE;
}

/* --- folders --- */

/* A descriptor, or -1. The folder itself may be a link of the user's, to a larger disk. */
static int
open_folder (const char *state, const char *folder, GError **error)
{
  g_autofree char *path = g_build_filename (state, folder, NULL);
  int fd;

  if (mkdir (path, 0700) != 0 && errno != EEXIST) {
    fail (error, "mkdir");
    return -1;
  }
  fd = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    fail (error, "open folder");
  return fd;
}

static int
open_partials (int folder, GError **error)
{
  int fd;

  if (mkdirat (folder, PARTIALS, 0700) != 0 && errno != EEXIST) {
    fail (error, "mkdir");
    return -1;
  }
  fd = openat (folder, PARTIALS, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0)
    fail (error, "open folder");
  return fd;
}

typedef struct {
  char *name;
  guint64 size;
  gint64 modified; /* ns */
} Entry;

static void
entry_clear (gpointer data)
{
  g_free (((Entry *) data)->name);
}

/* The regular files of a folder, what is half written included. */
static GArray *
list_folder (int folder)
{
  GArray *entries = g_array_new (FALSE, FALSE, sizeof (Entry));
  int fd = openat (folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *dir = fd >= 0 ? fdopendir (fd) : NULL;
  struct dirent *item;

  g_array_set_clear_func (entries, entry_clear);
  if (dir == NULL) {
    if (fd >= 0)
      close (fd);
    return entries;
  }
  while ((item = readdir (dir)) != NULL) {
    struct stat info;
    Entry entry;

    if (fstatat (folder, item->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG (info.st_mode))
      continue;
    entry.name = g_strdup (item->d_name);
    entry.size = (guint64) info.st_size;
    entry.modified = (gint64) info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
    g_array_append_val (entries, entry);
  }
  closedir (dir);
  return entries;
}

/* Whose partial that is: partial_name() says it behind the first dot that is not of the prefix. */
static guint32
partial_sender (const char *name)
{
  const char *dot = strchr (g_str_has_prefix (name, TEMPORARY_PREFIX) ? name + strlen (TEMPORARY_PREFIX) : name, '.');

  return dot != NULL ? (guint32) g_ascii_strtoull (dot + 1, NULL, 16) : 0;
}

typedef struct {
  guint64 bytes;
  guint files;
} Amount;

typedef struct {
  Amount all, own;
} Received;

/* `senders` NULL: partials, whose names tell. */
static void
measure (int folder, GHashTable *senders, guint32 sender, Received *received)
{
  g_autoptr (GArray) entries = list_folder (folder);

  for (guint i = 0; i < entries->len; i++) {
    const Entry *entry = &g_array_index (entries, Entry, i);
    const guint32 from = senders != NULL ? GPOINTER_TO_UINT (g_hash_table_lookup (senders, entry->name)) : partial_sender (entry->name);

    received->all.bytes += entry->size;
    received->all.files++;
    if (from != sender)
      continue;
    received->own.bytes += entry->size;
    received->own.files++;
  }
}

/* received/ with its partials: what all have there, and what this sender has. */
static Received
measure_received (const char *state, int folder, guint32 sender)
{
  g_autoptr (GHashTable) senders = pilot_exchange_senders_load (state, folder);
  int partials = openat (folder, PARTIALS, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  Received received = { 0 };

  measure (folder, senders, sender, &received);
  if (partials < 0)
    return received;
  measure (partials, NULL, sender, &received);
  close (partials);
  return received;
}

/* How much a share of so many times the quota leaves. */
static guint64
room_left (const Amount *amount, guint64 promised, guint shares)
{
  const guint64 quota = shares * PILOT_EXCHANGE_RECEIVED_BYTES, taken = amount->bytes + promised;

  return taken < quota ? quota - taken : 0;
}

/* Is there room for so many bytes in as many files more, of this sender and of all? */
static gboolean
check_quota (const Received *received, const PilotExchangePromised *promised, guint64 need, guint n_files, const char *what, GError **error)
{
  const guint64 own = room_left (&received->own, promised->own, 1), all = room_left (&received->all, promised->all, PILOT_EXCHANGE_RECEIVED_SHARES);
  const gboolean is_own = own <= all;

  if (received->own.files + n_files > PILOT_EXCHANGE_RECEIVED_FILES || received->all.files + n_files > PILOT_EXCHANGE_RECEIVED_SHARES * PILOT_EXCHANGE_RECEIVED_FILES) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "%s exceeded: %u files of yours, %u in all", what, received->own.files, received->all.files);
    return FALSE;
  }
  if (need <= MIN (own, all))
    return TRUE;
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "%s exceeded: need %" G_GUINT64_FORMAT ", %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " available%s", what, need,
               MIN (own, all), (is_own ? 1 : PILOT_EXCHANGE_RECEIVED_SHARES) * PILOT_EXCHANGE_RECEIVED_BYTES, is_own ? " to you" : "");
  return FALSE;
}

static guint64
disk_free (int folder)
{
  struct statvfs info;

  return fstatvfs (folder, &info) == 0 ? (guint64) info.f_bavail * info.f_frsize : G_MAXUINT64;
}

static void
remove_old (int folder, gint64 before, const char *prefix)
{
  g_autoptr (GArray) entries = list_folder (folder);

  for (guint i = 0; i < entries->len; i++) {
    const Entry *entry = &g_array_index (entries, Entry, i);

    if (entry->modified < before && g_str_has_prefix (entry->name, prefix))
      unlinkat (folder, entry->name, 0);
  }
}

gboolean
pilot_exchange_store_prepare (const char *state, GError **error)
{
  const char *const folders[] = { "inbox", "received" };

  for (guint i = 0; i < G_N_ELEMENTS (folders); i++) {
    int folder = open_folder (state, folders[i], error), partials;

    if (folder < 0)
      return FALSE;
    remove_old (folder, G_MAXINT64, TEMPORARY_PREFIX);
    partials = openat (folder, PARTIALS, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (partials >= 0) {
      remove_old (partials, G_MAXINT64, TEMPORARY_PREFIX);
      remove_old (partials, (g_get_real_time () - PARTIAL_DAYS * G_TIME_SPAN_DAY) * 1000, "");
      close (partials);
    }
    close (folder);
  }
  return TRUE;
}

/* --- names --- */

/* "20261125-171942.123-000007", local time. */
static char *
stamp (void)
{
  g_autoptr (GDateTime) now = g_date_time_new_now_local ();
  g_autofree char *time = g_date_time_format (now, "%Y%m%d-%H%M%S");

  return g_strdup_printf ("%s.%03d-%06u", time, g_date_time_get_microsecond (now) / 1000, (guint) g_atomic_int_add (&sequence, 1) + 1);
}

/* At most so many bytes, whole characters; what a terminal would obey becomes "_". */
static char *
tame (const char *text, gsize length, gsize most)
{
  GString *tamed = g_string_new (NULL);

  for (const char *p = text; p < text + length; p = g_utf8_next_char (p)) {
    const gunichar c = g_utf8_get_char (p);
    const gsize size = (gsize) (g_utf8_next_char (p) - p);

    if (tamed->len + size > most)
      break;
    if (g_unichar_isprint (c))
      g_string_append_len (tamed, p, (gssize) size);
    else
      g_string_append_c (tamed, '_');
  }
  return g_string_free (tamed, FALSE);
}

/* <stem>-<stamp><extension> for a name from outside. Never hidden, never long. */
static char *
received_name (const char *name)
{
  const char *dot = strrchr (name, '.');
  const gsize length = strlen (name);
  gsize stem_length;
  g_autofree char *stem = NULL, *extension = NULL, *middle = stamp ();
  char *made;

  if (*name == '\0')
    return g_strdup_printf ("received-%s.bin", middle);
  if (dot == NULL || strlen (dot) > MAX_EXTENSION)
    dot = name + length;
  stem_length = (gsize) (dot - name);
  stem = tame (name, stem_length, MAX_STEM);
  extension = tame (dot, length - stem_length, MAX_EXTENSION);
  made = g_strdup_printf ("%s-%s%s", stem, middle, extension);
  if (*made == '.')
    *made = '_';
  return made;
}

/* --- writing --- */

static gboolean
write_all (int fd, const guint8 *data, gsize length, off_t offset)
{
  while (length > 0) {
    const gssize written = pwrite (fd, data, length, offset);

    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      return FALSE;
    data += written;
    length -= (gsize) written;
    offset += written;
  }
  return TRUE;
}

/* Moves without replacing. */
static gboolean
put_in_place (int from_folder, const char *from, int folder, const char *name)
{
  if (renameat2 (from_folder, from, folder, name, RENAME_NOREPLACE) == 0)
    return TRUE;
  if (errno != EINVAL && errno != ENOSYS)
    return FALSE;
  /* A file system without that flag. */
  if (linkat (from_folder, from, folder, name, 0) != 0)
    return FALSE;
  unlinkat (from_folder, from, 0);
  return TRUE;
}

/* A whole new file, on disk when this comes back. */
static gboolean
write_new (int folder, const char *name, const guint8 *data, gsize length, GError **error)
{
  g_autofree char *temporary = g_strdup_printf (TEMPORARY_PREFIX "%s", name);
  int fd = openat (folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  gboolean good;
  int saved;

  if (fd < 0)
    return fail (error, "write");
  good = write_all (fd, data, length, 0) && fsync (fd) == 0;
  saved = errno;
  if (close (fd) != 0 && good) {
    good = FALSE;
    saved = errno;
  }
  errno = saved;
  if (good && put_in_place (folder, temporary, folder, name)) {
    fsync (folder);
    return TRUE;
  }
  saved = errno;
  unlinkat (folder, temporary, 0);
  errno = saved;
  return fail (error, "write");
}

/* --- messages --- */

/* RFC 3339 with nanoseconds and the local offset. */
static char *
time_text (void)
{
  struct timespec now;
  struct tm local;
  char date[32], offset[8];

  clock_gettime (CLOCK_REALTIME, &now);
  localtime_r (&now.tv_sec, &local);
  strftime (date, sizeof date, "%Y-%m-%dT%H:%M:%S", &local);
  strftime (offset, sizeof offset, "%z", &local);
  if (local.tm_gmtoff == 0)
    return g_strdup_printf ("%s.%09ldZ", date, now.tv_nsec);
  return g_strdup_printf ("%s.%09ld%.3s:%s", date, now.tv_nsec, offset, offset + 3);
}

static void
append_member (GString *out, const char *name, const char *text, gssize length)
{
  g_string_append_printf (out, ",\"%s\":", name);
  pilot_json_append_string (out, text, length);
}

/* Whether a text is to be kept as text: valid, and not such that its escapes would be most of the file (a control character takes six bytes). */
static gboolean
is_plain (const guint8 *data, gsize length)
{
  gsize escapes = 0;

  for (gsize i = 0; i < length; i++)
    escapes += data[i] < 0x20 && data[i] != '\n' && data[i] != '\t' && data[i] != '\r';
  return escapes <= length / 8 + 1024 && g_utf8_validate_len ((const char *) data, length, NULL);
}

/* One object, members in the order of their names, as the Go daemon writes it. */
static GString *
letter_text (const PilotExchangeLetter *letter)
{
  GString *out = g_string_sized_new (letter->length + 256);
  g_autofree char *time = time_text ();
  gboolean plain = !letter->binary && !letter->base64 && is_plain (letter->data, letter->length);

  g_string_append_printf (out, "{\"bytes\":%" G_GSIZE_FORMAT, letter->length);
  if (plain)
    append_member (out, "data", (const char *) letter->data, (gssize) letter->length);
  else {
    g_autofree char *encoded = g_base64_encode (letter->data, letter->length);

    append_member (out, "data_b64", encoded, -1);
  }
  append_member (out, "data_encoding", plain ? "utf8" : "base64", -1);
  append_member (out, "from", letter->from, -1);
  if (letter->message_id != NULL)
    append_member (out, "message_id", letter->message_id, -1);
  append_member (out, "received_at", time, -1);
  if (letter->reply_to != NULL)
    append_member (out, "reply_to", letter->reply_to, -1);
  append_member (out, "type", letter->type, -1);
  g_string_append_c (out, '}');
  return out;
}

static int
oldest_first (gconstpointer a, gconstpointer b)
{
  const Entry *x = a, *y = b;

  return x->modified != y->modified ? (x->modified < y->modified ? -1 : 1) : strcmp (x->name, y->name);
}

/* Removes the oldest until so much more fits. */
static void
make_room (int folder, guint64 length, PilotExchangeUsage *usage)
{
  g_autoptr (GArray) entries = list_folder (folder);
  gboolean over;

  *usage = (PilotExchangeUsage) { .known = TRUE, .measured = TRUE, .files = entries->len };
  for (guint i = 0; i < entries->len; i++)
    usage->bytes += g_array_index (entries, Entry, i).size;
  over = usage->files >= PILOT_EXCHANGE_INBOX_FILES || usage->bytes + length > PILOT_EXCHANGE_INBOX_BYTES;
  if (!over)
    return;
  g_array_sort (entries, oldest_first);
  for (guint i = 0; i < entries->len && (usage->files >= INBOX_FILES_AFTER || usage->bytes + length > INBOX_BYTES_AFTER); i++) {
    const Entry *entry = &g_array_index (entries, Entry, i);

    if (unlinkat (folder, entry->name, 0) != 0 && errno != ENOENT)
      continue;
    usage->files--;
    usage->bytes -= entry->size;
  }
}

char *
pilot_exchange_store_letter (const char *state, const PilotExchangeLetter *letter, PilotExchangeUsage *usage, GError **error)
{
  GString *text = letter_text (letter);
  g_autofree char *middle = stamp ();
  g_autofree char *id = g_strdup_printf ("%s-%s", letter->type, middle);
  g_autofree char *name = g_strconcat (id, ".json", NULL);
  gboolean good = FALSE;
  int folder = -1;

  if (text->len > INBOX_BYTES_AFTER)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "inbox byte budget exceeded: %" G_GSIZE_FORMAT " > %" G_GUINT64_FORMAT, text->len, INBOX_BYTES_AFTER);
  else
    folder = open_folder (state, "inbox", error);
  if (folder >= 0) {
    if (!usage->known || usage->files >= PILOT_EXCHANGE_INBOX_FILES || usage->bytes + text->len > PILOT_EXCHANGE_INBOX_BYTES)
      make_room (folder, text->len, usage);
    if (disk_free (folder) < text->len + PILOT_EXCHANGE_DISK_RESERVE)
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "disk full: need %" G_GSIZE_FORMAT " bytes", text->len);
    else
      good = write_new (folder, name, (const guint8 *) text->str, text->len, error);
    close (folder);
  }
  if (good) {
    usage->files++;
    usage->bytes += text->len;
  }
  g_string_free (text, TRUE);
  return good ? g_steal_pointer (&id) : NULL;
}

/* --- files --- */

char *
pilot_exchange_store_file (const char *state,
                           guint32 sender,
                           const char *name,
                           const guint8 *data,
                           gsize length,
                           const PilotExchangePromised *promised,
                           GError **error)
{
  int folder = open_folder (state, "received", error);
  g_autofree char *stored = received_name (name);
  gboolean good = FALSE;
  Received received;

  if (folder < 0)
    return NULL;
  received = measure_received (state, folder, sender);
  if (check_quota (&received, promised, length, 1, "received-files quota", error)) {
    if (disk_free (folder) < length + PILOT_EXCHANGE_DISK_RESERVE)
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "disk full: need %" G_GSIZE_FORMAT " bytes", length);
    else
      good = write_new (folder, stored, data, length, error);
  }
  close (folder);
  if (!good)
    return NULL;
  pilot_exchange_senders_note (state, stored, sender);
  return g_steal_pointer (&stored);
}

/* --- files in pieces --- */

struct _PilotPartial {
  char *state;
  guint32 sender;
  int folder, partials, fd;
  char *name; /* in partials; NULL: moved or removed */
  gboolean alone;
  guint64 size, cursor;
  guint8 sha256[PILOT_SHA256_SIZE];
  PilotSha256 *hash; /* of everything so far; NULL when it began in the middle */
};

static char *
partial_name (guint32 sender, const guint8 *id, gboolean alone)
{
  GString *name = g_string_new (alone ? TEMPORARY_PREFIX : NULL);

  for (guint i = 0; i < PILOT_EXCHANGE_TRANSFER_ID_SIZE; i++)
    g_string_append_printf (name, "%02x", id[i]);
  g_string_append_printf (name, ".%08x", sender);
  if (alone)
    g_string_append_printf (name, ".%08x", g_random_int ());
  return g_string_free (name, FALSE);
}

/* Whether there is room for what is still to come. */
static gboolean
check_room (PilotPartial *partial, const PilotExchangePromised *promised, GError **error)
{
  const guint64 need = partial->size - partial->cursor, free_bytes = disk_free (partial->folder);
  const Received received = measure_received (partial->state, partial->folder, partial->sender);

  /* Its own file is counted already: it has been opened. */
  if (!check_quota (&received, promised, need, 0, "receiver disk quota", error))
    return FALSE;
  if (need > free_bytes || free_bytes - need < PILOT_EXCHANGE_DISK_RESERVE) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED,
                 "receiver disk full: need %" G_GUINT64_FORMAT " bytes, %" G_GUINT64_FORMAT " free (keeping %" G_GUINT64_FORMAT " in reserve)", need, free_bytes,
                 PILOT_EXCHANGE_DISK_RESERVE);
    return FALSE;
  }
  return TRUE;
}

PilotPartial *
pilot_partial_open (const char *state,
                    guint32 sender,
                    const guint8 sha256[PILOT_SHA256_SIZE],
                    guint64 size,
                    gboolean alone,
                    const PilotExchangePromised *promised,
                    GError **error)
{
  g_autoptr (PilotPartial) partial = g_new0 (PilotPartial, 1);
  struct stat info;

  partial->partials = partial->fd = -1;
  partial->state = g_strdup (state);
  partial->sender = sender;
  partial->size = size;
  partial->alone = alone;
  memcpy (partial->sha256, sha256, PILOT_SHA256_SIZE);
  partial->folder = open_folder (state, "received", error);
  if (partial->folder < 0 || (partial->partials = open_partials (partial->folder, error)) < 0)
    return NULL;
  partial->name = partial_name (sender, sha256, alone);
  partial->fd = openat (partial->partials, partial->name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (partial->fd < 0 || fstat (partial->fd, &info) != 0) {
    fail (error, "open partial");
    return NULL;
  }
  if (!S_ISREG (info.st_mode)) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_IO, "open partial: not a regular file");
    return NULL;
  }
  if ((guint64) info.st_size <= size)
    partial->cursor = (guint64) info.st_size;
  else if (ftruncate (partial->fd, 0) != 0) {
    fail (error, "open partial");
    return NULL;
  }
  if (partial->cursor == 0)
    partial->hash = pilot_sha256_new ();
  if (!check_room (partial, promised, error)) {
    partial->alone = partial->alone || partial->cursor == 0;
    return NULL;
  }
  return g_steal_pointer (&partial);
}

guint64
pilot_partial_get_cursor (PilotPartial *partial)
{
  return partial->cursor;
}

static void
partial_remove (PilotPartial *partial)
{
  if (partial->name != NULL)
    unlinkat (partial->partials, partial->name, 0);
  g_clear_pointer (&partial->name, g_free);
}

gboolean
pilot_partial_append (PilotPartial *partial, const guint8 *data, gsize length, GError **error)
{
  if (length > partial->size - partial->cursor) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "chunk at %" G_GUINT64_FORMAT " of %" G_GSIZE_FORMAT " bytes exceeds declared size %" G_GUINT64_FORMAT,
                 partial->cursor, length, partial->size);
    return FALSE;
  }
  if (disk_free (partial->folder) < length + PILOT_EXCHANGE_DISK_RESERVE / 2) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "receiver disk full: need %" G_GUINT64_FORMAT " bytes, %" G_GUINT64_FORMAT " free (keeping %" G_GUINT64_FORMAT " in reserve)",
                 partial->size - partial->cursor, disk_free (partial->folder), PILOT_EXCHANGE_DISK_RESERVE);
    partial_remove (partial);
    return FALSE;
  }
  if (!write_all (partial->fd, data, length, (off_t) partial->cursor)) {
    g_autofree char *what = g_strdup_printf ("write at %" G_GUINT64_FORMAT, partial->cursor);

    fail (error, what);
    if (error == NULL || g_error_matches (*error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED))
      partial_remove (partial);
    return FALSE;
  }
  if (partial->hash != NULL)
    pilot_sha256_update (partial->hash, data, length);
  partial->cursor += length;
  return TRUE;
}

/* What was on disk before this transfer has to be read. */
static gboolean
hash_from_disk (PilotPartial *partial, const gint *cancel, GError **error)
{
  g_autofree guint8 *block = g_malloc (256 * 1024);
  guint64 at = 0;

  if (partial->hash != NULL)
    return TRUE;
  partial->hash = pilot_sha256_new ();
  while (at < partial->size) {
    const gssize n = pread (partial->fd, block, 256 * 1024, (off_t) at);

    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0 || g_atomic_int_get (cancel)) {
      if (n >= 0)
        errno = n == 0 ? EIO : ECANCELED;
      g_clear_pointer (&partial->hash, pilot_sha256_free);
      return fail (error, "read");
    }
    pilot_sha256_update (partial->hash, block, (gsize) n);
    at += (guint64) n;
  }
  return TRUE;
}

char *
pilot_partial_finish (PilotPartial *partial, const char *name, const gint *cancel, GError **error)
{
  g_autofree char *stored = received_name (name);
  guint8 digest[PILOT_SHA256_SIZE];

  if (partial->cursor != partial->size) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "incomplete: have %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " bytes", partial->cursor, partial->size);
    return NULL;
  }
  if (!hash_from_disk (partial, cancel, error))
    return NULL;
  pilot_sha256_finish (partial->hash, digest);
  if (memcmp (digest, partial->sha256, sizeof digest) != 0) {
    partial_remove (partial);
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_CORRUPT, "sha256 mismatch — file corrupt, .partial removed");
    return NULL;
  }
  if (fsync (partial->fd) != 0) {
    fail (error, "fsync");
    return NULL;
  }
  if (!put_in_place (partial->partials, partial->name, partial->folder, stored)) {
    fail (error, "rename");
    return NULL;
  }
  fsync (partial->folder);
  pilot_exchange_senders_note (partial->state, stored, partial->sender);
  g_clear_pointer (&partial->name, g_free);
  return g_steal_pointer (&stored);
}

void
pilot_partial_close (PilotPartial *partial)
{
  if (partial == NULL)
    return;
  if (partial->alone)
    partial_remove (partial);
  if (partial->fd >= 0)
    close (partial->fd);
  if (partial->partials >= 0)
    close (partial->partials);
  if (partial->folder >= 0)
    close (partial->folder);
  pilot_sha256_free (partial->hash);
  g_free (partial->name);
  g_free (partial->state);
  g_free (partial);
}
