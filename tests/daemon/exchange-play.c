/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/daemon/exchange-play.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "protocol/bytes.h"

static void
on_message (PilotExchange *exchange, const PilotExchangeMessage *message, Play *play)
{
  g_autofree char *type = pilot_exchange_type_to_string (message->type);

  g_string_append_printf (play->told, "message %s %" G_GSIZE_FORMAT " %s;", type, message->bytes, message->reply_to != NULL ? message->reply_to : "-");
}

static void
on_file (PilotExchange *exchange, const PilotExchangeFile *file, Play *play)
{
  g_string_append_printf (play->told, "file %" G_GUINT64_FORMAT ";", file->bytes);
}

void
play_start_host (Play *play, guint index)
{
  host_start (&play->world, index);
  if (index == 1) {
    g_signal_connect (play->world.hosts[1].exchange, "message-received", G_CALLBACK (on_message), play);
    g_signal_connect (play->world.hosts[1].exchange, "file-received", G_CALLBACK (on_file), play);
  }
}

guint32
play_id (Play *play, guint index)
{
  return pilot_node_get_id (play->world.hosts[index].node);
}

PilotTrust *
play_trust (Play *play, guint index)
{
  return pilot_node_get_trust (play->world.hosts[index].node);
}

void
play_befriend (Play *play, guint from, guint to)
{
  const char *status;

  g_assert_true (pilot_trust_handshake (play_trust (play, from), play_id (play, to), "", NULL, &status, NULL));
  g_assert_true (pilot_trust_handshake (play_trust (play, to), play_id (play, from), "", NULL, &status, NULL));
  WAIT (10, pilot_trust_is_trusted (play_trust (play, from), play_id (play, to)) && pilot_trust_is_trusted (play_trust (play, to), play_id (play, from)));
}

void
play_start (Play *play)
{
  memset (play, 0, sizeof *play);
  play->told = g_string_new (NULL);
  world_init (&play->world);
  play_start_host (play, 0);
  play_start_host (play, 1);
  play_befriend (play, 0, 1);
}

void
play_stop (Play *play)
{
  world_clear (&play->world);
  g_string_free (play->told, TRUE);
}

static int
by_name (gconstpointer a, gconstpointer b)
{
  return strcmp (*(char *const *) a, *(char *const *) b);
}

/* The names in a folder of host @index, sorted; none of them that begin with a dot. */
GPtrArray *
play_names (Play *play, guint index, const char *folder)
{
  g_autofree char *path = g_build_filename (play->world.hosts[index].folder, folder, NULL);
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  GPtrArray *list = g_ptr_array_new_with_free_func (g_free);
  const char *name;

  g_assert_nonnull (dir);
  while ((name = g_dir_read_name (dir)) != NULL)
    if (*name != '.')
      g_ptr_array_add (list, g_build_filename (path, name, NULL));
  g_ptr_array_sort (list, by_name);
  return list;
}

guint
play_count (Play *play, guint index, const char *folder)
{
  g_autoptr (GPtrArray) list = play_names (play, index, folder);

  return list->len;
}

JsonObject *
play_letter (Play *play)
{
  g_autoptr (GPtrArray) list = play_names (play, 1, "inbox");
  g_autofree char *text = NULL;
  g_autoptr (GError) error = NULL;
  JsonObject *object;
  struct stat info;
  gsize length;

  g_assert_cmpuint (list->len, >, 0);
  g_assert_true (g_file_get_contents (list->pdata[list->len - 1], &text, &length, &error));
  g_assert_cmpint (stat (list->pdata[list->len - 1], &info), ==, 0);
  g_assert_cmpuint (info.st_mode & 07777, ==, 0600);
  object = pilot_json_parse_object (text, length, length, &error);
  g_assert_no_error (error);
  return object;
}

static void
raw_opened (gpointer user_data)
{
  ((Raw *) user_data)->open = TRUE;
}

static void
raw_frame (const PilotExchangeFrame *frame, gpointer user_data)
{
  Raw *raw = user_data;

  if (frame->type == PILOT_EXCHANGE_FILESTREAM)
    g_ptr_array_add (raw->streams, g_bytes_new (frame->payload, frame->length));
  else
    g_string_append_printf (raw->texts, "%.*s;", (int) frame->length, (const char *) frame->payload);
}

static void
raw_drained (gpointer user_data)
{
}

static void
raw_ended (GError *error, gpointer user_data)
{
  Raw *raw = user_data;

  g_error_free (error);
  raw->ended = TRUE;
  exchange_link_close (g_steal_pointer (&raw->link), FALSE);
}

static const ExchangeLinkHandler raw_handler = { raw_opened, raw_frame, raw_drained, raw_ended };

Raw *
raw_new (Play *play, guint from)
{
  Raw *raw = g_new0 (Raw, 1);
  g_autoptr (GError) error = NULL;

  raw->texts = g_string_new (NULL);
  raw->streams = g_ptr_array_new_with_free_func ((GDestroyNotify) g_bytes_unref);
  raw->link = exchange_link_new (play->world.hosts[from].node, play_id (play, 1), &raw_handler, raw, &error);
  g_assert_no_error (error);
  WAIT (10, raw->open);
  return raw;
}

void
raw_free (Raw *raw)
{
  if (raw->link != NULL)
    exchange_link_close (raw->link, FALSE);
  g_string_free (raw->texts, TRUE);
  g_ptr_array_unref (raw->streams);
  g_free (raw);
}

GByteArray *
raw_out (Raw *raw)
{
  return exchange_link_get_out (raw->link);
}

void
raw_file (Raw *raw, const char *name, gsize name_length, const char *data)
{
  GByteArray *out = raw_out (raw);
  guint8 length[2];

  pilot_bytes_put_u16 (length, (guint16) name_length);
  pilot_exchange_append_header (out, PILOT_EXCHANGE_FILE, 2 + name_length + strlen (data));
  g_byte_array_append (out, length, 2);
  g_byte_array_append (out, (const guint8 *) name, (guint) name_length);
  g_byte_array_append (out, (const guint8 *) data, (guint) strlen (data));
}

/* Kind, and "COMPLETE <reason>" or the offset, of FILESTREAM answer @index. */
char *
raw_stream_answer (Raw *raw, guint index)
{
  PilotExchangeStreamMessage message;
  gsize length;
  const guint8 *payload;

  WAIT (10, raw->streams->len > index);
  payload = g_bytes_get_data (raw->streams->pdata[index], &length);
  g_assert_true (pilot_exchange_parse_stream (payload, length, &message));
  if (message.kind == PILOT_EXCHANGE_COMPLETE || message.kind == PILOT_EXCHANGE_ABORT)
    return g_strdup_printf ("%u %d %.*s", message.kind, message.failed, (int) message.length, (const char *) message.data);
  return g_strdup_printf ("%u %" G_GUINT64_FORMAT, message.kind, message.offset);
}

void
raw_assert_stream_answer (Raw *raw, guint index, const char *expected)
{
  g_autofree char *got = raw_stream_answer (raw, index);

  g_assert_cmpstr (got, ==, expected);
}

guint8 *
play_blob (gsize length, guint32 seed)
{
  guint8 *data = g_malloc (length);
  guint32 x = seed;

  for (gsize i = 0; i < length; i++) {
    x = x * 1664525 + 1013904223;
    data[i] = (guint8) (x >> 24);
  }
  return data;
}

int
play_blob_file (Play *play, const guint8 *data, gsize length)
{
  g_autofree char *path = g_build_filename (play->world.folder, "to-send", NULL);
  g_autoptr (GError) error = NULL;
  int fd;

  g_assert_true (g_file_set_contents (path, (const char *) data, (gssize) length, &error));
  fd = open (path, O_RDONLY | O_CLOEXEC);
  g_assert_cmpint (fd, >=, 0);
  return fd;
}

PilotTransfer *
play_transfer (Play *play, guint index, guint64 number)
{
  g_autoptr (GPtrArray) list = pilot_exchange_list_transfers (play->world.hosts[index].exchange);

  for (guint i = 0; i < list->len; i++)
    if (((PilotTransfer *) list->pdata[i])->id == number)
      return list->pdata[i];
  g_assert_not_reached ();
}

guint64
play_begin_file (Play *play, guint from, int fd, gboolean streamed)
{
  g_autoptr (GError) error = NULL;
  guint64 number = pilot_exchange_send_file (play->world.hosts[from].exchange, fd, play_id (play, 1), "blob.bin", streamed, 30000, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (number, !=, 0);
  return number;
}

gboolean
play_is_over (const PilotTransfer *item)
{
  return item->state == PILOT_TRANSFER_DONE || item->state == PILOT_TRANSFER_FAILED;
}

PilotTransfer *
play_finish_file (Play *play, guint from, guint64 number)
{
  PilotTransfer *item = play_transfer (play, from, number);

  WAIT (60, play_is_over (item));
  return item;
}

PilotTransfer *
play_send_blob (Play *play, guint from, const guint8 *data, gsize length, gboolean streamed)
{
  PilotTransfer *item = play_finish_file (play, from, play_begin_file (play, from, play_blob_file (play, data, length), streamed));

  g_assert_no_error (item->error);
  return item;
}

/* The newest file of host 1 has this content. */
void
play_assert_received (Play *play, guint n, const guint8 *data, gsize length)
{
  g_autoptr (GPtrArray) list = play_names (play, 1, "received");
  g_autofree char *got = NULL;
  struct stat info;
  gsize got_length;

  g_assert_cmpuint (list->len, ==, n);
  g_assert_true (g_file_get_contents (list->pdata[n - 1], &got, &got_length, NULL));
  g_assert_cmpuint (got_length, ==, length);
  g_assert_true (length == 0 || memcmp (got, data, length) == 0);
  g_assert_cmpint (stat (list->pdata[n - 1], &info), ==, 0);
  g_assert_cmpuint (info.st_mode & 07777, ==, 0600);
}

guint
play_count_partials (Play *play)
{
  g_autofree char *path = g_build_filename (play->world.hosts[1].folder, "received", ".partial", NULL);
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  guint n = 0;

  while (dir != NULL && g_dir_read_name (dir) != NULL)
    n++;
  return n;
}
