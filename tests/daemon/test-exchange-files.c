/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib/gstdio.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "daemon/services/exchange-store.h"
#include "libpilot/pilot-error.h"
#include "protocol/json.h"
#include "tests/daemon/exchange-play.h"

/* Files: whole, in pieces, continued; and what there is room for. */

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
  raw_assert_stream_answer (raw, 0, "5 0");
  {
    g_autofree char *expected = g_strdup_printf ("3 %" G_GSIZE_FORMAT, length);

    raw_assert_stream_answer (raw, 1, expected);
  }
  raw_free (raw);
  /* The other side has to see the end. */
  WAIT (10, play_is_over (play_transfer (play, 1, 1)));
}

static void
test_files (void)
{
  static const gsize sizes[] = { 0, 1, PILOT_EXCHANGE_CHUNK_SIZE, PILOT_EXCHANGE_CHUNK_SIZE + 1, 20 * 1024 * 1024 + 7 };
  Play play;

  play_start (&play);
  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++) {
    g_autofree guint8 *data = play_blob (sizes[i], i);
    PilotTransfer *item = play_send_blob (&play, 0, data, sizes[i], TRUE);

    g_assert_true (item->streamed);
    g_assert_cmpuint (item->bytes, ==, sizes[i]);
    g_assert_cmpuint (item->resumed, ==, 0);
    play_assert_received (&play, i + 1, data, sizes[i]);
  }
  {
    g_autofree guint8 *data = play_blob (300000, 77);
    PilotTransfer *item = play_send_blob (&play, 0, data, 300000, FALSE);

    g_assert_false (item->streamed);
    g_assert_cmpstr (item->answer, ==, "ACK FILE 300000 bytes");
    play_assert_received (&play, G_N_ELEMENTS (sizes) + 1, data, 300000);
  }
  g_assert_cmpuint (play_count_partials (&play), ==, 0);
  play_stop (&play);
}

static void
test_resume (void)
{
  const gsize size = 400000, half = 150001;
  g_autofree guint8 *data = play_blob (size, 5);
  PilotTransfer *item;
  Play play;

  play_start (&play);
  leave_partial (&play, 0, data, size, half, data);
  g_assert_cmpuint (play_count_partials (&play), ==, 1);
  item = play_send_blob (&play, 0, data, size, TRUE);
  g_assert_cmpuint (item->resumed, ==, half);
  play_assert_received (&play, 1, data, size);
  g_assert_cmpuint (play_count_partials (&play), ==, 0);
  play_stop (&play);
}

/* A partial that is not the beginning of the file goes, and the file comes all the same. */
static void
test_spoiled (void)
{
  const gsize size = 400000, half = 150001;
  g_autofree guint8 *data = play_blob (size, 5), *other = play_blob (size, 6);
  PilotTransfer *item;
  Play play;

  play_start (&play);
  leave_partial (&play, 0, data, size, half, other);
  item = play_send_blob (&play, 0, data, size, TRUE);
  g_assert_cmpuint (item->resumed, ==, 0);
  play_assert_received (&play, 1, data, size);
  play_stop (&play);
}

/* What another sender has begun is not touched. */
static void
test_senders (void)
{
  const gsize size = 400000, half = 150001;
  g_autofree guint8 *data = play_blob (size, 5), *other = play_blob (size, 6);
  PilotTransfer *item;
  Play play;

  play_start (&play);
  play_start_host (&play, 2);
  play_befriend (&play, 2, 1);
  leave_partial (&play, 2, data, size, half, other);
  item = play_send_blob (&play, 0, data, size, TRUE);
  g_assert_cmpuint (item->resumed, ==, 0);
  play_assert_received (&play, 1, data, size);
  g_assert_cmpuint (play_count_partials (&play), ==, 1);
  play_stop (&play);
}

static void
send_piece (Raw *raw, const guint8 *sha256, const guint8 *data, gsize offset, gsize length)
{
  pilot_exchange_append_stream_offset (raw_out (raw), PILOT_EXCHANGE_CHUNK, sha256, offset, data + offset, length);
}

/* Pieces that overtake others are kept, up to a bound, and count when those are there. Each has one answer. */
static void
test_early_pieces (void)
{
  const gsize piece = PILOT_EXCHANGE_CHUNK_SIZE, size = 24 * PILOT_EXCHANGE_CHUNK_SIZE;
  g_autofree guint8 *data = play_blob (size, 10);
  guint8 sha256[PILOT_SHA256_SIZE], small[PILOT_SHA256_SIZE];
  guint answer = 0;
  Play play;
  Raw *raw;

  play_start (&play);
  raw = raw_new (&play, 0);
  pilot_crypto_sha256 (data, 100, small);
  raw_init (raw, data, 100, small);
  send_piece (raw, small, data, 70, 30);
  send_piece (raw, small, data, 50, 30); /* laps over */
  send_piece (raw, small, data, 70, 30); /* again */
  send_piece (raw, small, data, 50, 0);
  send_piece (raw, small, data, 0, 60);
  send_piece (raw, small, data, 70, 30);
  pilot_exchange_append_stream_done (raw_out (raw), small);
  exchange_link_flush (raw->link);
  raw_assert_stream_answer (raw, answer++, "5 0");
  for (guint i = 0; i < 4; i++)
    raw_assert_stream_answer (raw, answer++, "3 0");
  raw_assert_stream_answer (raw, answer++, "3 100");
  raw_assert_stream_answer (raw, answer++, "3 100");
  raw_assert_stream_answer (raw, answer++, "6 0 ");
  play_assert_received (&play, 1, data, 100);

  /* Fifteen fit; the others have to come again. */
  pilot_crypto_sha256 (data, size, sha256);
  raw_init (raw, data, size, sha256);
  for (gsize offset = piece; offset < size; offset += piece)
    send_piece (raw, sha256, data, offset, piece);
  send_piece (raw, sha256, data, 0, piece);
  exchange_link_flush (raw->link);
  raw_assert_stream_answer (raw, answer++, "5 0");
  for (gsize offset = piece; offset < size; offset += piece)
    raw_assert_stream_answer (raw, answer++, "3 0");
  raw_assert_stream_answer (raw, answer++, "3 786432");
  for (gsize offset = 16 * piece; offset < size; offset += piece)
    send_piece (raw, sha256, data, offset, piece);
  pilot_exchange_append_stream_done (raw_out (raw), sha256);
  exchange_link_flush (raw->link);
  answer += 8;
  raw_assert_stream_answer (raw, answer++, "6 0 ");
  play_assert_received (&play, 2, data, size);

  /* Early and beyond the end. */
  raw_init (raw, data, 100, small);
  send_piece (raw, small, data, 10, 5);
  send_piece (raw, small, data, 200, 1);
  exchange_link_flush (raw->link);
  raw_assert_stream_answer (raw, answer++, "5 0");
  raw_assert_stream_answer (raw, answer++, "3 0");
  raw_assert_stream_answer (raw, answer++, "6 1 chunk at 200 of 1 bytes exceeds declared size 100");
  raw_free (raw);
  play_stop (&play);
}

static void
test_stream_frames (void)
{
  g_autofree guint8 *data = play_blob (100, 9);
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
  pilot_exchange_append_stream_offset (raw_out (raw), PILOT_EXCHANGE_CHUNK, sha256, 70, data + 70, 30); /* too early, and what is between never comes */
  pilot_exchange_append_stream_offset (raw_out (raw), PILOT_EXCHANGE_CHUNK, sha256, 0, data, 60);
  pilot_exchange_append_stream_offset (raw_out (raw), PILOT_EXCHANGE_CHUNK, sha256, 0, data, 60); /* again */
  pilot_exchange_append_stream_done (raw_out (raw), sha256);
  exchange_link_flush (raw->link);
  raw_assert_stream_answer (raw, 0, "7 0 no active transfer (send INIT first)");
  raw_assert_stream_answer (raw, 1, "6 1 no active transfer");
  raw_assert_stream_answer (raw, 2, "6 1 malformed stream frame");
  raw_assert_stream_answer (raw, 3, "5 0");
  raw_assert_stream_answer (raw, 4, "3 0");
  raw_assert_stream_answer (raw, 5, "3 60");
  raw_assert_stream_answer (raw, 6, "3 60");
  raw_assert_stream_answer (raw, 7, "6 1 incomplete: have 60 of 100 bytes");

  /* Continued; then more than was announced. */
  raw_init (raw, data, 100, sha256);
  pilot_exchange_append_stream_offset (raw_out (raw), PILOT_EXCHANGE_CHUNK, sha256, 60, data, 41);
  exchange_link_flush (raw->link);
  raw_assert_stream_answer (raw, 8, "5 60");
  raw_assert_stream_answer (raw, 9, "6 1 chunk at 60 of 41 bytes exceeds declared size 100");

  /* An id that is not the beginning of the digest; a size that nobody has room for. */
  memset (wrong, 1, sizeof wrong);
  raw_init (raw, data, 100, sha256);
  memset (raw_out (raw)->data + PILOT_EXCHANGE_HEADER_SIZE + 1, 7, PILOT_EXCHANGE_TRANSFER_ID_SIZE);
  pilot_exchange_append_stream_init (raw_out (raw), wrong, G_MAXUINT64, "huge");
  exchange_link_flush (raw->link);
  raw_assert_stream_answer (raw, 10, "6 1 malformed INIT");
  {
    g_autofree char *got = raw_stream_answer (raw, 11);

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
  g_autofree guint8 *data = play_blob (size, 11);
  guint64 numbers[2];
  Play play;

  play_start (&play);
  for (guint i = 0; i < 2; i++)
    numbers[i] = play_begin_file (&play, 0, play_blob_file (&play, data, size), TRUE);
  for (guint i = 0; i < 2; i++)
    g_assert_no_error (play_finish_file (&play, 0, numbers[i])->error);
  play_assert_received (&play, 2, data, size);
  g_assert_cmpuint (play_count_partials (&play), ==, 0);
  play_stop (&play);
}

/* A connection that says one byte of a file, then four pieces of a file nobody has announced, and so on, and reads no answer until it is told to. */
typedef struct {
  PilotStreamUser user; /* first */
  PilotStream *stream;
  GByteArray *out;
  guint8 sha256[PILOT_SHA256_SIZE];
  guint64 offset, written;
  gboolean reads;
} Deaf;

static void
deaf_ready (PilotStreamUser *user, PilotStream *stream, guint ready)
{
  static const guint8 unknown[PILOT_EXCHANGE_TRANSFER_ID_SIZE] = { 9 };
  Deaf *deaf = (Deaf *) user;
  struct iovec vectors[2];
  gint64 now = g_get_monotonic_time ();

  while (deaf->reads && pilot_stream_read_vectors (stream, vectors) > 0)
    pilot_stream_read_consume (stream, vectors[0].iov_len, now);
  for (;;) {
    gsize taken;

    if (deaf->out->len == 0) {
      pilot_exchange_append_stream_offset (deaf->out, PILOT_EXCHANGE_CHUNK, deaf->sha256, deaf->offset++, (const guint8 *) "x", 1);
      for (guint i = 0; i < 4; i++)
        pilot_exchange_append_stream_offset (deaf->out, PILOT_EXCHANGE_CHUNK, unknown, 0, (const guint8 *) "", 0);
    }
    taken = pilot_stream_write (stream, deaf->out->data, deaf->out->len, now);
    if (taken == 0)
      return;
    deaf->written += taken;
    g_byte_array_remove_range (deaf->out, 0, (guint) taken);
  }
}

static void
deaf_pause (guint64 *before, const Deaf *deaf)
{
  gint64 end = g_get_monotonic_time () + 3 * G_USEC_PER_SEC;

  *before = deaf->written;
  WAIT (10, g_get_monotonic_time () > end);
}

/* What a connection had gathered when it was not served any more, because it reads no answers, and its file was taken over by another. */
static void
test_taken_over (void)
{
  const guint64 size = 256 * 1024 * 1024;
  Deaf deaf = { .user.ready = deaf_ready, .out = g_byte_array_new (), .sha256 = { 1, 2, 3 } };
  g_autofree char *answer = NULL;
  guint64 before;
  Play play;
  Raw *raw;

  play_start (&play);
  pilot_exchange_append_stream_init (deaf.out, deaf.sha256, size, "one.bin");
  deaf.stream = pilot_node_connect (play.world.hosts[0].node, play_id (&play, 1), PILOT_EXCHANGE_PORT, &deaf.user, NULL);
  g_assert_nonnull (deaf.stream);
  do
    deaf_pause (&before, &deaf);
  while (deaf.written == 0 || deaf.written > before);
  raw = raw_new (&play, 0);
  pilot_exchange_append_stream_init (raw_out (raw), deaf.sha256, size, "one.bin");
  exchange_link_flush (raw->link);
  answer = raw_stream_answer (raw, 0);
  g_assert_true (g_str_has_prefix (answer, "5 ") && !g_str_equal (answer, "5 0"));
  g_assert_error (play_transfer (&play, 1, 1)->error, PILOT_ERROR, PILOT_ERROR_BUSY);
  deaf.reads = TRUE;
  deaf_ready (&deaf.user, deaf.stream, 0);
  pilot_node_kick (play.world.hosts[0].node);
  WAIT (20, deaf.written > before + 1024 * 1024);
  pilot_stream_set_user_data (deaf.stream, NULL);
  pilot_stream_reset (deaf.stream, g_get_monotonic_time ());
  pilot_stream_release (deaf.stream, g_get_monotonic_time ());
  g_byte_array_unref (deaf.out);
  raw_free (raw);
  play_stop (&play);
}

/* The receiver goes away in the middle and comes back: the sender goes on by itself, where it was. */
static void
test_receiver_restarts (void)
{
  const gsize size = 40 * 1024 * 1024;
  g_autofree guint8 *data = play_blob (size, 12);
  PilotTransfer *item;
  guint64 number;
  Play play;

  play_start (&play);
  number = play_begin_file (&play, 0, play_blob_file (&play, data, size), TRUE);
  item = play_transfer (&play, 0, number);
  WAIT (30, item->bytes > 2 * 1024 * 1024);
  g_assert_cmpint (item->state, ==, PILOT_TRANSFER_SENDING);
  host_stop (&play.world.hosts[1]);
  play_start_host (&play, 1);
  WAIT (60, play_is_over (item));
  g_assert_no_error (item->error);
  g_assert_cmpuint (item->resumed, >, 0);
  play_assert_received (&play, 1, data, size);
  play_stop (&play);
}

static void
test_cancel (void)
{
  const gsize size = 40 * 1024 * 1024;
  g_autofree guint8 *data = play_blob (size, 13);
  g_autoptr (GError) error = NULL;
  PilotTransfer *item;
  Play play;

  play_start (&play);
  item = play_transfer (&play, 0, play_begin_file (&play, 0, play_blob_file (&play, data, size), TRUE));
  WAIT (30, item->bytes > 1024 * 1024);
  g_assert_true (pilot_exchange_cancel (play.world.hosts[0].exchange, item->id, NULL));
  g_assert_error (item->error, PILOT_ERROR, PILOT_ERROR_CANCELLED);
  g_assert_false (pilot_exchange_cancel (play.world.hosts[0].exchange, item->id, &error));
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND);
  WAIT (10, play_is_over (play_transfer (&play, 1, 1)));
  g_assert_cmpuint (play_count_partials (&play), ==, 1);
  g_assert_cmpuint (play_count (&play, 1, "received"), ==, 0);
  play_stop (&play);
}

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
  g_autofree guint8 *data = play_blob (100000, 3);
  PilotTransfer *item;
  Play play;
  Raw *raw;

  play_start (&play);
  sparse (&play, "received", "large", PILOT_EXCHANGE_RECEIVED_SHARES * PILOT_EXCHANGE_RECEIVED_BYTES - 50000);
  item = play_finish_file (&play, 0, play_begin_file (&play, 0, play_blob_file (&play, data, 100000), TRUE));
  g_assert_error (item->error, PILOT_ERROR, PILOT_ERROR_REFUSED);
  g_assert_nonnull (strstr (item->error->message, "receiver disk quota exceeded: need 100000, 50000 of 8589934592 available"));
  g_assert_cmpuint (play_count_partials (&play), ==, 0);
  item = play_finish_file (&play, 0, play_begin_file (&play, 0, play_blob_file (&play, data, 100000), FALSE));
  g_assert_error (item->error, PILOT_ERROR, PILOT_ERROR_REFUSED);
  g_assert_nonnull (strstr (item->error->message, "received-files quota exceeded: need 100000, 50000 of 8589934592 available"));
  item = play_send_blob (&play, 0, data, 1000, TRUE);

  /* The inbox makes room: the oldest goes. */
  sparse (&play, "inbox", "TEXT-old.json", PILOT_EXCHANGE_INBOX_BYTES - 10);
  raw = raw_new (&play, 0);
  pilot_exchange_append (raw_out (raw), PILOT_EXCHANGE_TEXT, "hello", 5);
  exchange_link_flush (raw->link);
  WAIT (10, raw->texts->len > 0);
  g_assert_cmpstr (raw->texts->str, ==, "ACK TEXT 5 bytes;");
  g_assert_cmpuint (play_count (&play, 1, "inbox"), ==, 1);
  {
    g_autoptr (JsonObject) got = play_letter (&play);

    g_assert_cmpstr (pilot_json_get_string (got, "data"), ==, "hello");
  }
  raw_free (raw);
  play_stop (&play);
}

static char *
only_received (Play *play)
{
  g_autofree char *path = g_build_filename (play->world.hosts[1].folder, "received", NULL);
  g_autoptr (GDir) folder = g_dir_open (path, 0, NULL);
  const char *name;

  while ((name = g_dir_read_name (folder)) != NULL)
    if (*name != '.')
      return g_strdup (name);
  g_assert_not_reached ();
}

/* One sender has his share full: he is refused, by either way of sending and after a restart too, and another is not. When the user makes room, he is
 * let in again. */
static void
test_share (gconstpointer streamed)
{
  g_autofree guint8 *data = play_blob (100000, 3);
  g_autofree char *name = NULL, *path = NULL;
  PilotTransfer *item;
  Play play;

  play_start (&play);
  play_start_host (&play, 2);
  play_befriend (&play, 2, 1);
  play_send_blob (&play, 0, data, 1000, GPOINTER_TO_INT (streamed));
  name = only_received (&play);
  sparse (&play, "received", name, PILOT_EXCHANGE_RECEIVED_BYTES - 50000);
  host_stop (&play.world.hosts[1]);
  play_start_host (&play, 1);
  for (guint i = 0; i < 2; i++) {
    item = play_finish_file (&play, 0, play_begin_file (&play, 0, play_blob_file (&play, data, 100000), i == 0));
    g_assert_error (item->error, PILOT_ERROR, PILOT_ERROR_REFUSED);
    g_assert_nonnull (strstr (item->error->message, "quota exceeded: need 100000, 50000 of 2147483648 available to you"));
  }
  play_send_blob (&play, 2, data, 100000, TRUE);
  play_send_blob (&play, 2, data, 100000, FALSE);
  path = g_build_filename (play.world.hosts[1].folder, "received", name, NULL);
  g_assert_cmpint (g_unlink (path), ==, 0);
  play_send_blob (&play, 0, data, 100000, TRUE);
  play_stop (&play);
}

/* However many connections a peer makes, its open files are counted together: they are descriptors of ours. */
static void
test_many_open (void)
{
  guint8 sha256[PILOT_SHA256_SIZE];
  Raw *first, *second;
  Play play;

  play_start (&play);
  first = raw_new (&play, 0);
  for (guint i = 0; i < 64; i++) {
    g_autofree guint8 *data = play_blob (1000, i);

    raw_init (first, data, 1000, sha256);
  }
  exchange_link_flush (first->link);
  raw_assert_stream_answer (first, 63, "5 0");
  second = raw_new (&play, 0);
  {
    g_autofree guint8 *data = play_blob (1000, 64);

    raw_init (second, data, 1000, sha256);
    exchange_link_flush (second->link);
    raw_assert_stream_answer (second, 0, "6 1 too many concurrent transfers");
  }
  /* The first connection is over: there is room. */
  raw_free (first);
  WAIT (10, play_is_over (play_transfer (&play, 1, 64)));
  {
    g_autofree guint8 *data = play_blob (1000, 64);

    raw_init (second, data, 1000, sha256);
    exchange_link_flush (second->link);
    raw_assert_stream_answer (second, 1, "5 0");
  }
  raw_free (second);
  play_stop (&play);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/daemon/exchange/files", test_files);
  g_test_add_func ("/daemon/exchange/resume", test_resume);
  g_test_add_func ("/daemon/exchange/spoiled", test_spoiled);
  g_test_add_func ("/daemon/exchange/senders", test_senders);
  g_test_add_func ("/daemon/exchange/stream-frames", test_stream_frames);
  g_test_add_func ("/daemon/exchange/early-pieces", test_early_pieces);
  g_test_add_func ("/daemon/exchange/twice-at-once", test_twice_at_once);
  g_test_add_func ("/daemon/exchange/taken-over", test_taken_over);
  g_test_add_func ("/daemon/exchange/receiver-restarts", test_receiver_restarts);
  g_test_add_func ("/daemon/exchange/cancel", test_cancel);
  g_test_add_func ("/daemon/exchange/quota", test_quota);
  g_test_add_func ("/daemon/exchange/many-open", test_many_open);
  g_test_add_data_func ("/daemon/exchange/share/streamed", GINT_TO_POINTER (TRUE), test_share);
  g_test_add_data_func ("/daemon/exchange/share/whole", GINT_TO_POINTER (FALSE), test_share);
  return g_test_run ();
}
