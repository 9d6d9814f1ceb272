/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "daemon/services/exchange.h"
#include "daemon/services/exchange-link.h"
#include "daemon/services/exchange-store.h"
#include "libpilot/pilot-error.h"
#include "protocol/bytes.h"
#include "protocol/json.h"
#include "tests/daemon/world.h"

/* Messages and files between nodes of our own in one process, and raw frames of a peer that obeys no rule. */

typedef struct {
  World world;
  GString *told; /* "message TEXT 5; file a.txt 4;" of host 1 */
} Play;

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

static void
start (Play *play, guint index)
{
  host_start (&play->world, index);
  if (index == 1) {
    g_signal_connect (play->world.hosts[1].exchange, "message-received", G_CALLBACK (on_message), play);
    g_signal_connect (play->world.hosts[1].exchange, "file-received", G_CALLBACK (on_file), play);
  }
}

static guint32
id (Play *play, guint index)
{
  return pilot_node_get_id (play->world.hosts[index].node);
}

static PilotTrust *
trust (Play *play, guint index)
{
  return pilot_node_get_trust (play->world.hosts[index].node);
}

static void
befriend (Play *play, guint from, guint to)
{
  const char *status;

  g_assert_true (pilot_trust_handshake (trust (play, from), id (play, to), "", NULL, &status, NULL));
  g_assert_true (pilot_trust_handshake (trust (play, to), id (play, from), "", NULL, &status, NULL));
  WAIT (10, pilot_trust_is_trusted (trust (play, from), id (play, to)) && pilot_trust_is_trusted (trust (play, to), id (play, from)));
}

static void
play_start (Play *play)
{
  memset (play, 0, sizeof *play);
  play->told = g_string_new (NULL);
  world_init (&play->world);
  start (play, 0);
  start (play, 1);
  befriend (play, 0, 1);
}

static void
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
static GPtrArray *
names (Play *play, guint index, const char *folder)
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

static guint
count (Play *play, guint index, const char *folder)
{
  g_autoptr (GPtrArray) list = names (play, index, folder);

  return list->len;
}

/* The only message of host 1, or the newest. */
static JsonObject *
letter (Play *play)
{
  g_autoptr (GPtrArray) list = names (play, 1, "inbox");
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

/* --- sending as the daemon does --- */

static void
on_result (GObject *source, GAsyncResult *result, gpointer user_data)
{
  *(GAsyncResult **) user_data = g_object_ref (result);
}

static PilotExchangeReceipt *
send_message (Play *play, guint32 type, const void *data, gsize length, const char *message_id, gboolean trace, gboolean reuse, GError **error)
{
  const PilotExchangeSendOptions options = { type, message_id, NULL, trace, reuse, 20000 };
  g_autoptr (GBytes) bytes = g_bytes_new (data, length);
  g_autoptr (GAsyncResult) result = NULL;

  pilot_exchange_send_async (play->world.hosts[0].exchange, id (play, 1), bytes, &options, on_result, &result);
  WAIT (30, result != NULL);
  return pilot_exchange_send_finish (play->world.hosts[0].exchange, result, error);
}

static void
send_right (Play *play, guint32 type, const void *data, gsize length, const char *expected)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PilotExchangeReceipt) receipt = send_message (play, type, data, length, NULL, FALSE, FALSE, &error);

  g_assert_no_error (error);
  g_assert_cmpstr (receipt->answer, ==, expected);
  g_assert_true (receipt->tagged);
  g_assert_cmpuint (strlen (receipt->message_id), ==, 32);
}

static void
test_messages (void)
{
  static const guint8 binary[] = { 0xff, 0x00 };
  Play play;

  play_start (&play);
  send_right (&play, PILOT_EXCHANGE_TEXT, "hello <&> ü\n", 13, "ACK TEXT 13 bytes");
  {
    g_autoptr (JsonObject) got = letter (&play);
    g_autofree char *from = g_strdup_printf ("0:0000.0000.%04X", id (&play, 0));

    g_assert_cmpstr (pilot_json_get_string (got, "data"), ==, "hello <&> ü\n");
    g_assert_cmpstr (pilot_json_get_string (got, "data_encoding"), ==, "utf8");
    g_assert_cmpint (pilot_json_get_int64 (got, "bytes"), ==, 13);
    g_assert_cmpstr (pilot_json_get_string (got, "from"), ==, from);
    g_assert_cmpstr (pilot_json_get_string (got, "type"), ==, "TEXT");
    g_assert_cmpuint (strlen (pilot_json_get_string (got, "message_id")), ==, 32);
    g_assert_false (json_object_has_member (got, "reply_to"));
    g_assert_false (json_object_has_member (got, "data_b64"));
  }
  send_right (&play, PILOT_EXCHANGE_BINARY, binary, sizeof binary, "ACK BINARY 2 bytes");
  send_right (&play, PILOT_EXCHANGE_JSON, "{}", 2, "ACK JSON 2 bytes");
  send_right (&play, PILOT_EXCHANGE_TEXT, "", 0, "ACK TEXT 0 bytes");
  g_assert_cmpuint (count (&play, 1, "inbox"), ==, 4);
  {
    g_autoptr (GPtrArray) list = names (&play, 1, "inbox");
    g_autofree char *text = NULL;

    g_assert_true (g_file_get_contents (list->pdata[0], &text, NULL, NULL));
    g_assert_nonnull (strstr (text, "\"data_b64\":\"/wA=\",\"data_encoding\":\"base64\""));
  }
  g_assert_cmpstr (play.told->str, ==, "message TEXT 13 -;message BINARY 2 -;message JSON 2 -;message TEXT 0 -;");
  play_stop (&play);
}

static void
test_reuse_and_trace (void)
{
  Play play;

  play_start (&play);
  for (guint i = 0; i < 3; i++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (PilotExchangeReceipt) receipt = send_message (&play, PILOT_EXCHANGE_TEXT, "a", 1, NULL, FALSE, TRUE, &error);

    g_assert_no_error (error);
    g_assert_cmpint (receipt->reused, ==, i > 0);
  }
  {
    g_autoptr (GError) error = NULL;
    g_autoptr (PilotExchangeReceipt) receipt = send_message (&play, PILOT_EXCHANGE_TEXT, "traced", 6, NULL, TRUE, FALSE, &error);

    g_assert_no_error (error);
    g_assert_cmpstr (receipt->answer, ==, "ACK TEXT 6 bytes");
    g_assert_nonnull (receipt->trace);
    g_assert_cmpint (pilot_json_get_int64 (receipt->trace, "received_at_ns"), <=, pilot_json_get_int64 (receipt->trace, "inbox_written_at_ns"));
    g_assert_cmpint (pilot_json_get_int64 (receipt->trace, "inbox_written_at_ns"), <=, pilot_json_get_int64 (receipt->trace, "ack_sent_at_ns"));
  }
  play_stop (&play);
}

/* --- raw frames --- */

typedef struct {
  ExchangeLink *link;
  gboolean open, ended;
  GString *texts;     /* the texts of the answers, each with ";" behind it */
  GPtrArray *streams; /* GBytes: payloads of FILESTREAM answers */
} Raw;

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

static Raw *
raw_new (Play *play, guint from)
{
  Raw *raw = g_new0 (Raw, 1);
  g_autoptr (GError) error = NULL;

  raw->texts = g_string_new (NULL);
  raw->streams = g_ptr_array_new_with_free_func ((GDestroyNotify) g_bytes_unref);
  raw->link = exchange_link_new (play->world.hosts[from].node, id (play, 1), &raw_handler, raw, &error);
  g_assert_no_error (error);
  WAIT (10, raw->open);
  return raw;
}

static void
raw_free (Raw *raw)
{
  if (raw->link != NULL)
    exchange_link_close (raw->link, FALSE);
  g_string_free (raw->texts, TRUE);
  g_ptr_array_unref (raw->streams);
  g_free (raw);
}

static GByteArray *
raw_out (Raw *raw)
{
  return exchange_link_get_out (raw->link);
}

static void
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
static char *
stream_answer (Raw *raw, guint index)
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

static void
assert_stream_answer (Raw *raw, guint index, const char *expected)
{
  g_autofree char *got = stream_answer (raw, index);

  g_assert_cmpstr (got, ==, expected);
}

/* Every kind of frame at once on one connection: answered in order, and it stays usable. */
static void
test_frames (void)
{
  static const guint32 unsupported[] = { 6, 8, 9, 11, 0 };
  Play play;
  Raw *raw;

  play_start (&play);
  raw = raw_new (&play, 0);
  pilot_exchange_append (raw_out (raw), PILOT_EXCHANGE_TEXT, "hello", 5);
  for (guint i = 0; i < G_N_ELEMENTS (unsupported); i++)
    pilot_exchange_append (raw_out (raw), unsupported[i], "x", 1);
  raw_file (raw, "a.txt", 5, "DATA");
  raw_file (raw, "", 0, "lost");
  pilot_exchange_append (raw_out (raw), PILOT_EXCHANGE_TRACE, "short", 5);
  pilot_exchange_append_tagged (raw_out (raw), "m1", "r1", PILOT_EXCHANGE_TEXT, "tagged", 6);
  pilot_exchange_append_tagged (raw_out (raw), "m2", NULL, 6, "", 0);
  pilot_exchange_append (raw_out (raw), PILOT_EXCHANGE_TEXT, "last", 4);
  exchange_link_flush (raw->link);
  WAIT (10, strstr (raw->texts->str, "ACK TEXT 4 bytes;") != NULL);
  g_assert_cmpstr (raw->texts->str, ==,
                   "ACK TEXT 5 bytes;"
                   "ERR UNKNOWN(6) save failed: unsupported frame type 6;"
                   "ERR GOVERNED save failed: unsupported frame type 8;"
                   "ERR GOVERNED_FILESTREAM save failed: unsupported frame type 9;"
                   "ERR UNKNOWN(11) save failed: unsupported frame type 11;"
                   "ERR UNKNOWN(0) save failed: unsupported frame type 0;"
                   "ACK FILE 4 bytes;"
                   "ERR FILE save failed: the frame names no file;"
                   "ERR trace parse: trace payload too short: 5 bytes;"
                   "ACK TEXT 6 bytes;"
                   "ERR UNKNOWN(6) save failed: unsupported frame type 6;"
                   "ACK TEXT 4 bytes;");
  g_assert_cmpuint (count (&play, 1, "inbox"), ==, 3);
  g_assert_cmpuint (count (&play, 1, "received"), ==, 1);
  g_assert_cmpstr (play.told->str, ==, "message TEXT 5 -;file 4;message TEXT 6 r1;message TEXT 4 -;");
  raw_free (raw);
  play_stop (&play);
}

/* Each of these ends the connection, and nothing is written. */
static void
test_hostile (void)
{
  static const struct {
    const char *name;
    gsize length;
  } bad_names[] = { { "../x", 4 }, { "a/b", 3 }, { "a\\b", 3 }, { ".", 1 }, { "..", 2 }, { "a\xff", 2 }, { "a\0b", 3 }, { "/etc/passwd", 11 } };
  static const struct {
    const char *payload;
    gsize length;
  } bad_tags[] = { { "\0\0", 2 }, { "\x04\x01{}", 4 }, { "\0\2{}\0\0\0\x0ahi", 10 }, { "\0\x14{\"message_id\":\"a b\"}\0\0\0\1", 26 } };
  char longest[PILOT_EXCHANGE_MAX_NAME + 1];
  Play play;

  play_start (&play);
  memset (longest, 'x', sizeof longest);
  for (guint i = 0; i < G_N_ELEMENTS (bad_names) + 1 + G_N_ELEMENTS (bad_tags) + 1; i++) {
    Raw *raw = raw_new (&play, 0);

    if (i < G_N_ELEMENTS (bad_names))
      raw_file (raw, bad_names[i].name, bad_names[i].length, "data");
    else if (i == G_N_ELEMENTS (bad_names))
      raw_file (raw, longest, sizeof longest, "data");
    else if (i <= G_N_ELEMENTS (bad_names) + G_N_ELEMENTS (bad_tags)) {
      guint j = i - 1 - G_N_ELEMENTS (bad_names);

      pilot_exchange_append (raw_out (raw), PILOT_EXCHANGE_TAGGED, bad_tags[j].payload, bad_tags[j].length);
    } else
      pilot_exchange_append_header (raw_out (raw), PILOT_EXCHANGE_TEXT, PILOT_EXCHANGE_DEFAULT_LIMIT + 1);
    exchange_link_flush (raw->link);
    WAIT (10, raw->ended);
    g_assert_cmpstr (raw->texts->str, ==, "");
    raw_free (raw);
  }
  g_assert_cmpuint (count (&play, 1, "inbox"), ==, 0);
  g_assert_cmpuint (count (&play, 1, "received"), ==, 0);
  play_stop (&play);
}

/* Names that are allowed, and what becomes of them. */
static void
test_names (void)
{
  static const struct {
    const char *name, *prefix, *suffix;
  } cases[] = {
    { "a.txt", "a-", ".txt" },
    { ".bashrc", "-2", ".bashrc" },
    { "..a", "_-", ".a" },
    { "-rf", "-rf-", "" },
    { "esc\033[2J\n.sh", "esc_[2J_-", ".sh" },
    { "a..b.tar.gz", "a..b.tar-", ".gz" },
    { "Grüße", "Grüße-", "" },
    { "tail.this-is-an-extension-that-is-far-too-long-for-one", "tail.this-is", "-for-one-" },
  };
  Play play;
  Raw *raw;

  play_start (&play);
  raw = raw_new (&play, 0);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GPtrArray) list = NULL;
    g_autofree char *base = NULL;

    g_string_truncate (raw->texts, 0);
    raw_file (raw, cases[i].name, strlen (cases[i].name), "DATA");
    exchange_link_flush (raw->link);
    WAIT (10, raw->texts->len > 0);
    g_assert_cmpstr (raw->texts->str, ==, "ACK FILE 4 bytes;");
    list = names (&play, 1, "received");
    g_assert_cmpuint (list->len, ==, 1);
    base = g_path_get_basename (list->pdata[0]);
    g_test_message ("%s", base);
    g_assert_true (g_str_has_prefix (base, cases[i].prefix));
    if (i < G_N_ELEMENTS (cases) - 1)
      g_assert_true (g_str_has_suffix (base, cases[i].suffix));
    else
      g_assert_nonnull (strstr (base, cases[i].suffix));
    g_assert_cmpint (g_unlink (list->pdata[0]), ==, 0);
  }
  raw_free (raw);
  play_stop (&play);
}

static void
test_duplicates (void)
{
  Play play;
  Raw *one, *two;

  play_start (&play);
  one = raw_new (&play, 0);
  two = raw_new (&play, 0);
  /* At the same time on two connections, and twice on each. */
  for (guint i = 0; i < 2; i++) {
    pilot_exchange_append_tagged (raw_out (one), "m1", "r1", PILOT_EXCHANGE_TEXT, "hello", 5);
    pilot_exchange_append_tagged (raw_out (two), "m1", "r1", PILOT_EXCHANGE_TEXT, "hello", 5);
  }
  exchange_link_flush (one->link);
  exchange_link_flush (two->link);
  WAIT (10, strlen (one->texts->str) + strlen (two->texts->str) == strlen ("ACK TEXT 5 bytes;") * 4 + strlen (" (duplicate)") * 3);
  g_assert_cmpuint (count (&play, 1, "inbox"), ==, 1);
  /* Another content, another id, no id: not the same. */
  pilot_exchange_append_tagged (raw_out (one), "m1", "r1", PILOT_EXCHANGE_TEXT, "hellO", 5);
  pilot_exchange_append_tagged (raw_out (one), "m2", "r1", PILOT_EXCHANGE_TEXT, "hello", 5);
  pilot_exchange_append (raw_out (one), PILOT_EXCHANGE_TEXT, "hello", 5);
  pilot_exchange_append (raw_out (one), PILOT_EXCHANGE_TEXT, "hello", 5);
  exchange_link_flush (one->link);
  WAIT (10, count (&play, 1, "inbox") == 5);
  raw_free (one);
  raw_free (two);
  play_stop (&play);
}

/* --- files in pieces --- */

static guint8 *
blob (gsize length, guint32 seed)
{
  guint8 *data = g_malloc (length);
  guint32 x = seed;

  for (gsize i = 0; i < length; i++) {
    x = x * 1664525 + 1013904223;
    data[i] = (guint8) (x >> 24);
  }
  return data;
}

static int
blob_file (Play *play, const guint8 *data, gsize length)
{
  g_autofree char *path = g_build_filename (play->world.folder, "to-send", NULL);
  g_autoptr (GError) error = NULL;
  int fd;

  g_assert_true (g_file_set_contents (path, (const char *) data, (gssize) length, &error));
  fd = open (path, O_RDONLY | O_CLOEXEC);
  g_assert_cmpint (fd, >=, 0);
  return fd;
}

static PilotTransfer *
transfer (Play *play, guint index, guint64 number)
{
  g_autoptr (GPtrArray) list = pilot_exchange_list_transfers (play->world.hosts[index].exchange);

  for (guint i = 0; i < list->len; i++)
    if (((PilotTransfer *) list->pdata[i])->id == number)
      return list->pdata[i];
  g_assert_not_reached ();
}

static guint64
begin_file (Play *play, guint from, int fd, gboolean streamed)
{
  g_autoptr (GError) error = NULL;
  guint64 number = pilot_exchange_send_file (play->world.hosts[from].exchange, fd, id (play, 1), "blob.bin", streamed, 30000, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (number, !=, 0);
  return number;
}

static gboolean
is_over (const PilotTransfer *item)
{
  return item->state == PILOT_TRANSFER_DONE || item->state == PILOT_TRANSFER_FAILED;
}

static PilotTransfer *
finish_file (Play *play, guint from, guint64 number)
{
  PilotTransfer *item = transfer (play, from, number);

  WAIT (60, is_over (item));
  return item;
}

static PilotTransfer *
send_blob (Play *play, guint from, const guint8 *data, gsize length, gboolean streamed)
{
  PilotTransfer *item = finish_file (play, from, begin_file (play, from, blob_file (play, data, length), streamed));

  g_assert_no_error (item->error);
  return item;
}

/* The newest file of host 1 has this content. */
static void
assert_received (Play *play, guint n, const guint8 *data, gsize length)
{
  g_autoptr (GPtrArray) list = names (play, 1, "received");
  g_autofree char *got = NULL;
  struct stat info;
  gsize got_length;

  g_assert_cmpuint (list->len, ==, n);
  g_assert_true (g_file_get_contents (list->pdata[n - 1], &got, &got_length, NULL));
  g_assert_cmpuint (got_length, ==, length);
  g_assert_true (memcmp (got, data, length) == 0);
  g_assert_cmpint (stat (list->pdata[n - 1], &info), ==, 0);
  g_assert_cmpuint (info.st_mode & 07777, ==, 0600);
}

static guint
count_partials (Play *play)
{
  g_autofree char *path = g_build_filename (play->world.hosts[1].folder, "received", ".partial", NULL);
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  guint n = 0;

  while (dir != NULL && g_dir_read_name (dir) != NULL)
    n++;
  return n;
}

static void
test_files (void)
{
  static const gsize sizes[] = { 0, 1, PILOT_EXCHANGE_CHUNK_SIZE, PILOT_EXCHANGE_CHUNK_SIZE + 1, 20 * 1024 * 1024 + 7 };
  Play play;

  play_start (&play);
  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++) {
    g_autofree guint8 *data = blob (sizes[i], i);
    PilotTransfer *item = send_blob (&play, 0, data, sizes[i], TRUE);

    g_assert_true (item->streamed);
    g_assert_cmpuint (item->bytes, ==, sizes[i]);
    g_assert_cmpuint (item->resumed, ==, 0);
    assert_received (&play, i + 1, data, sizes[i]);
  }
  {
    g_autofree guint8 *data = blob (300000, 77);
    PilotTransfer *item = send_blob (&play, 0, data, 300000, FALSE);

    g_assert_false (item->streamed);
    g_assert_cmpstr (item->answer, ==, "ACK FILE 300000 bytes");
    assert_received (&play, G_N_ELEMENTS (sizes) + 1, data, 300000);
  }
  g_assert_cmpuint (count_partials (&play), ==, 0);
  play_stop (&play);
}

static void
raw_init (Raw *raw, const guint8 *data, gsize length, guint8 sha256[PILOT_SHA256_SIZE])
{
  pilot_crypto_sha256 (data, length, sha256);
  pilot_exchange_append_stream_init (raw_out (raw), sha256, length, "blob.bin");
}

/* Leaves @length bytes of a file of @size behind, as host @from. */
static void
leave_partial (Play *play, guint from, const guint8 *data, gsize size, gsize length, const guint8 *content)
{
  Raw *raw = raw_new (play, from);
  guint8 sha256[PILOT_SHA256_SIZE];

  raw_init (raw, data, size, sha256);
  pilot_exchange_append_stream_offset (raw_out (raw), PILOT_EXCHANGE_CHUNK, sha256, 0, content, length);
  exchange_link_flush (raw->link);
  assert_stream_answer (raw, 0, "5 0");
  {
    g_autofree char *expected = g_strdup_printf ("3 %" G_GSIZE_FORMAT, length);

    assert_stream_answer (raw, 1, expected);
  }
  raw_free (raw);
  /* The other side has to see the end. */
  WAIT (10, is_over (transfer (play, 1, 1)));
}

static void
test_resume (void)
{
  const gsize size = 400000, half = 150001;
  g_autofree guint8 *data = blob (size, 5);
  PilotTransfer *item;
  Play play;

  play_start (&play);
  leave_partial (&play, 0, data, size, half, data);
  g_assert_cmpuint (count_partials (&play), ==, 1);
  item = send_blob (&play, 0, data, size, TRUE);
  g_assert_cmpuint (item->resumed, ==, half);
  assert_received (&play, 1, data, size);
  g_assert_cmpuint (count_partials (&play), ==, 0);
  play_stop (&play);
}

/* A partial that is not the beginning of the file goes, and the file comes all the same. */
static void
test_spoiled (void)
{
  const gsize size = 400000, half = 150001;
  g_autofree guint8 *data = blob (size, 5), *other = blob (size, 6);
  PilotTransfer *item;
  Play play;

  play_start (&play);
  leave_partial (&play, 0, data, size, half, other);
  item = send_blob (&play, 0, data, size, TRUE);
  g_assert_cmpuint (item->resumed, ==, 0);
  assert_received (&play, 1, data, size);
  play_stop (&play);
}

/* What another sender has begun is not touched. */
static void
test_senders (void)
{
  const gsize size = 400000, half = 150001;
  g_autofree guint8 *data = blob (size, 5), *other = blob (size, 6);
  PilotTransfer *item;
  Play play;

  play_start (&play);
  start (&play, 2);
  befriend (&play, 2, 1);
  leave_partial (&play, 2, data, size, half, other);
  item = send_blob (&play, 0, data, size, TRUE);
  g_assert_cmpuint (item->resumed, ==, 0);
  assert_received (&play, 1, data, size);
  g_assert_cmpuint (count_partials (&play), ==, 1);
  play_stop (&play);
}

static void
test_stream_frames (void)
{
  g_autofree guint8 *data = blob (100, 9);
  guint8 sha256[PILOT_SHA256_SIZE], wrong[PILOT_SHA256_SIZE];
  Play play;
  Raw *raw;

  play_start (&play);
  raw = raw_new (&play, 0);
  pilot_crypto_sha256 (data, 100, sha256);
  pilot_exchange_append_stream_offset (raw_out (raw), PILOT_EXCHANGE_CHUNK, sha256, 0, data, 10);
  pilot_exchange_append_stream_done (raw_out (raw), sha256);
  pilot_exchange_append (raw_out (raw), PILOT_EXCHANGE_FILESTREAM, "short", 5);
  raw_init (raw, data, 100, sha256);
  pilot_exchange_append_stream_offset (raw_out (raw), PILOT_EXCHANGE_CHUNK, sha256, 50, data + 50, 50); /* too early */
  pilot_exchange_append_stream_offset (raw_out (raw), PILOT_EXCHANGE_CHUNK, sha256, 0, data, 60);
  pilot_exchange_append_stream_offset (raw_out (raw), PILOT_EXCHANGE_CHUNK, sha256, 0, data, 60); /* again */
  pilot_exchange_append_stream_done (raw_out (raw), sha256);
  exchange_link_flush (raw->link);
  assert_stream_answer (raw, 0, "7 0 no active transfer (send INIT first)");
  assert_stream_answer (raw, 1, "6 1 no active transfer");
  assert_stream_answer (raw, 2, "6 1 malformed stream frame");
  assert_stream_answer (raw, 3, "5 0");
  assert_stream_answer (raw, 4, "3 0");
  assert_stream_answer (raw, 5, "3 60");
  assert_stream_answer (raw, 6, "3 60");
  assert_stream_answer (raw, 7, "6 1 incomplete: have 60 of 100 bytes");

  /* Continued; then more than was announced. */
  raw_init (raw, data, 100, sha256);
  pilot_exchange_append_stream_offset (raw_out (raw), PILOT_EXCHANGE_CHUNK, sha256, 60, data, 41);
  exchange_link_flush (raw->link);
  assert_stream_answer (raw, 8, "5 60");
  assert_stream_answer (raw, 9, "6 1 chunk at 60 of 41 bytes exceeds declared size 100");

  /* An id that is not the beginning of the digest; a size that nobody has room for. */
  memset (wrong, 1, sizeof wrong);
  raw_init (raw, data, 100, sha256);
  memset (raw_out (raw)->data + PILOT_EXCHANGE_HEADER_SIZE + 1, 7, PILOT_EXCHANGE_TRANSFER_ID_SIZE);
  pilot_exchange_append_stream_init (raw_out (raw), wrong, G_MAXUINT64, "huge");
  exchange_link_flush (raw->link);
  assert_stream_answer (raw, 10, "6 1 malformed INIT");
  {
    g_autofree char *got = stream_answer (raw, 11);

    g_assert_true (g_str_has_prefix (got, "6 1 receiver disk quota exceeded: need 18446744073709551615, "));
  }
  raw_free (raw);
  play_stop (&play);
}

/* The same file twice at once: each arrives whole. */
static void
test_twice_at_once (void)
{
  const gsize size = 8 * 1024 * 1024;
  g_autofree guint8 *data = blob (size, 11);
  guint64 numbers[2];
  Play play;

  play_start (&play);
  for (guint i = 0; i < 2; i++)
    numbers[i] = begin_file (&play, 0, blob_file (&play, data, size), TRUE);
  for (guint i = 0; i < 2; i++)
    g_assert_no_error (finish_file (&play, 0, numbers[i])->error);
  assert_received (&play, 2, data, size);
  g_assert_cmpuint (count_partials (&play), ==, 0);
  play_stop (&play);
}

/* The receiver goes away in the middle and comes back: the sender goes on by itself, where it was. */
static void
test_receiver_restarts (void)
{
  const gsize size = 40 * 1024 * 1024;
  g_autofree guint8 *data = blob (size, 12);
  PilotTransfer *item;
  guint64 number;
  Play play;

  play_start (&play);
  number = begin_file (&play, 0, blob_file (&play, data, size), TRUE);
  item = transfer (&play, 0, number);
  WAIT (30, item->bytes > 2 * 1024 * 1024);
  g_assert_cmpint (item->state, ==, PILOT_TRANSFER_SENDING);
  host_stop (&play.world.hosts[1]);
  start (&play, 1);
  WAIT (60, is_over (item));
  g_assert_no_error (item->error);
  g_assert_cmpuint (item->resumed, >, 0);
  assert_received (&play, 1, data, size);
  play_stop (&play);
}

static void
test_cancel (void)
{
  const gsize size = 40 * 1024 * 1024;
  g_autofree guint8 *data = blob (size, 13);
  g_autoptr (GError) error = NULL;
  PilotTransfer *item;
  Play play;

  play_start (&play);
  item = transfer (&play, 0, begin_file (&play, 0, blob_file (&play, data, size), TRUE));
  WAIT (30, item->bytes > 1024 * 1024);
  g_assert_true (pilot_exchange_cancel (play.world.hosts[0].exchange, item->id, NULL));
  g_assert_error (item->error, PILOT_ERROR, PILOT_ERROR_CANCELLED);
  g_assert_false (pilot_exchange_cancel (play.world.hosts[0].exchange, item->id, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND);
  WAIT (10, is_over (transfer (&play, 1, 1)));
  g_assert_cmpuint (count_partials (&play), ==, 1);
  g_assert_cmpuint (count (&play, 1, "received"), ==, 0);
  play_stop (&play);
}

/* --- limits --- */

/* A file of this size that takes no room on the disk. */
static void
sparse (Play *play, const char *folder, const char *name, guint64 size)
{
  g_autofree char *path = g_build_filename (play->world.hosts[1].folder, folder, name, NULL);
  int fd = open (path, O_WRONLY | O_CREAT, 0600);

  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (ftruncate (fd, (off_t) size), ==, 0);
  close (fd);
}

static void
test_quota (void)
{
  g_autofree guint8 *data = blob (100000, 3);
  PilotTransfer *item;
  Play play;
  Raw *raw;

  play_start (&play);
  sparse (&play, "received", "large", PILOT_EXCHANGE_RECEIVED_BYTES - 50000);
  item = finish_file (&play, 0, begin_file (&play, 0, blob_file (&play, data, 100000), TRUE));
  g_assert_error (item->error, PILOT_ERROR, PILOT_ERROR_REFUSED);
  g_assert_nonnull (strstr (item->error->message, "receiver disk quota exceeded: need 100000, 50000 of 2147483648 available"));
  g_assert_cmpuint (count_partials (&play), ==, 0);
  item = finish_file (&play, 0, begin_file (&play, 0, blob_file (&play, data, 100000), FALSE));
  g_assert_error (item->error, PILOT_ERROR, PILOT_ERROR_REFUSED);
  g_assert_nonnull (strstr (item->error->message, "received-files quota exceeded: 2147433648 + 100000"));
  item = send_blob (&play, 0, data, 1000, TRUE);

  /* The inbox makes room: the oldest goes. */
  sparse (&play, "inbox", "TEXT-old.json", PILOT_EXCHANGE_INBOX_BYTES - 10);
  raw = raw_new (&play, 0);
  pilot_exchange_append (raw_out (raw), PILOT_EXCHANGE_TEXT, "hello", 5);
  exchange_link_flush (raw->link);
  WAIT (10, raw->texts->len > 0);
  g_assert_cmpstr (raw->texts->str, ==, "ACK TEXT 5 bytes;");
  g_assert_cmpuint (count (&play, 1, "inbox"), ==, 1);
  {
    g_autoptr (JsonObject) got = letter (&play);

    g_assert_cmpstr (pilot_json_get_string (got, "data"), ==, "hello");
  }
  raw_free (raw);
  play_stop (&play);
}

/* --- peers that know less --- */

/* A peer of v1.9: what it does not know it acknowledges as unknown, and stores nothing. */
typedef struct {
  PilotStreamUser user;
  PilotStream *stream;
  PilotExchangeReader *reader;
  GString *seen;
} Old;

static void
old_ready (PilotStreamUser *user, PilotStream *stream, guint ready)
{
  Old *old = (Old *) user;
  struct iovec vectors[2];
  gint64 now = g_get_monotonic_time ();

  while (pilot_stream_read_vectors (stream, vectors) > 0) {
    gboolean complete;
    gsize used;

    g_assert_true (pilot_exchange_reader_push (old->reader, vectors[0].iov_base, vectors[0].iov_len, &used, &complete, NULL));
    pilot_stream_read_consume (stream, used, now);
    if (complete) {
      PilotExchangeFrame frame;
      g_autofree char *name = NULL, *text = NULL;
      g_autoptr (GByteArray) out = g_byte_array_new ();

      pilot_exchange_reader_get (old->reader, &frame);
      name = frame.type <= PILOT_EXCHANGE_FILE ? pilot_exchange_type_to_string (frame.type) : g_strdup_printf ("UNKNOWN(%u)", frame.type);
      text = g_strdup_printf ("ACK %s %" G_GSIZE_FORMAT " bytes", name, frame.length);
      g_string_append_printf (old->seen, "%s;", name);
      pilot_exchange_append (out, PILOT_EXCHANGE_TEXT, text, strlen (text));
      pilot_stream_write (stream, out->data, out->len, now);
      pilot_exchange_reader_next (old->reader);
    }
  }
  if ((ready & PILOT_STREAM_READY_CLOSED) || pilot_stream_is_eof (stream)) {
    pilot_stream_set_user_data (stream, NULL);
    pilot_stream_release (stream, now);
    pilot_exchange_reader_free (old->reader);
    g_free (old);
  }
}

static void
on_old_stream (PilotNode *node, PilotStream *stream, guint32 peer, gpointer user_data)
{
  Old *old = g_new0 (Old, 1);

  old->user.ready = old_ready;
  old->reader = pilot_exchange_reader_new (PILOT_EXCHANGE_MAX_PAYLOAD);
  old->seen = user_data;
  pilot_stream_set_user_data (stream, &old->user);
  pilot_stream_accept (stream, g_get_monotonic_time ());
  g_string_append (old->seen, "connection;");
}

static void
test_old_peer (void)
{
  g_autofree guint8 *data = blob (100000, 3);
  g_autoptr (GString) seen = g_string_new (NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (PilotExchangeReceipt) receipt = NULL;
  PilotTransfer *item;
  Play play;

  play_start (&play);
  pilot_node_unbind (play.world.hosts[1].node, PILOT_EXCHANGE_PORT);
  g_assert_true (pilot_node_bind (play.world.hosts[1].node, PILOT_EXCHANGE_PORT, FALSE, on_old_stream, seen, NULL));
  receipt = send_message (&play, PILOT_EXCHANGE_TEXT, "hello", 5, NULL, FALSE, FALSE, &error);
  g_assert_no_error (error);
  g_assert_false (receipt->tagged);
  g_assert_cmpstr (receipt->answer, ==, "ACK TEXT 5 bytes");
  g_assert_cmpstr (seen->str, ==, "connection;UNKNOWN(10);TEXT;");
  g_string_truncate (seen, 0);
  item = send_blob (&play, 0, data, 100000, TRUE);
  g_assert_false (item->streamed);
  g_assert_cmpstr (seen->str, ==, "connection;UNKNOWN(7);connection;FILE;");
  play_stop (&play);
}

/* Strangers reach nothing; a peer whose trust is taken away loses his connection. */
static void
test_trust (void)
{
  g_autoptr (GError) error = NULL, again = NULL;
  g_autoptr (PilotExchangeReceipt) receipt = NULL;
  Play play;
  Raw *raw;

  play_start (&play);
  raw = raw_new (&play, 0);
  g_assert_true (pilot_trust_untrust (trust (&play, 1), id (&play, 0), NULL));
  pilot_exchange_append (raw_out (raw), PILOT_EXCHANGE_TEXT, "hello", 5);
  exchange_link_flush (raw->link);
  WAIT (15, raw->ended);
  raw_free (raw);
  WAIT (10, !pilot_trust_is_trusted (trust (&play, 0), id (&play, 1)));
  receipt = send_message (&play, PILOT_EXCHANGE_TEXT, "hello", 5, NULL, FALSE, FALSE, &error);
  g_assert_null (receipt);
  g_assert_nonnull (error);
  g_assert_cmpuint (count (&play, 1, "inbox"), ==, 0);
  play_stop (&play);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/daemon/exchange/messages", test_messages);
  g_test_add_func ("/daemon/exchange/reuse-and-trace", test_reuse_and_trace);
  g_test_add_func ("/daemon/exchange/frames", test_frames);
  g_test_add_func ("/daemon/exchange/hostile", test_hostile);
  g_test_add_func ("/daemon/exchange/names", test_names);
  g_test_add_func ("/daemon/exchange/duplicates", test_duplicates);
  g_test_add_func ("/daemon/exchange/files", test_files);
  g_test_add_func ("/daemon/exchange/resume", test_resume);
  g_test_add_func ("/daemon/exchange/spoiled", test_spoiled);
  g_test_add_func ("/daemon/exchange/senders", test_senders);
  g_test_add_func ("/daemon/exchange/stream-frames", test_stream_frames);
  g_test_add_func ("/daemon/exchange/twice-at-once", test_twice_at_once);
  g_test_add_func ("/daemon/exchange/receiver-restarts", test_receiver_restarts);
  g_test_add_func ("/daemon/exchange/cancel", test_cancel);
  g_test_add_func ("/daemon/exchange/quota", test_quota);
  g_test_add_func ("/daemon/exchange/old-peer", test_old_peer);
  g_test_add_func ("/daemon/exchange/trust", test_trust);
  return g_test_run ();
}
