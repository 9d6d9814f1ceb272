/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "daemon/node/node-private.h"
#include "daemon/services/exchange-private.h"
#include "libpilot/pilot-error.h"
#include "protocol/json.h"
#include "tests/daemon/exchange-play.h"

/* Messages, and frames of every kind. */

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

  pilot_exchange_send_async (play->world.hosts[0].exchange, play_id (play, 1), bytes, &options, on_result, &result);
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
    g_autoptr (JsonObject) got = play_letter (&play);
    g_autofree char *from = g_strdup_printf ("0:0000.0000.%04X", play_id (&play, 0));

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
  g_assert_cmpuint (play_count (&play, 1, "inbox"), ==, 4);
  {
    g_autoptr (GPtrArray) list = play_names (&play, 1, "inbox");
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
  g_assert_cmpuint (play_count (&play, 1, "inbox"), ==, 3);
  g_assert_cmpuint (play_count (&play, 1, "received"), ==, 1);
  g_assert_cmpstr (play.told->str, ==, "message TEXT 5 -;file 4;message TEXT 6 r1;message TEXT 4 -;");
  raw_free (raw);
  play_stop (&play);
}

/* A sender that waits for no answer. */
static void
test_unheard (void)
{
  Play play;
  Raw *raw;

  play_start (&play);
  raw = raw_new (&play, 0);
  for (guint i = 0; i < 5; i++)
    pilot_exchange_append (raw_out (raw), PILOT_EXCHANGE_TEXT, "hello", 5);
  exchange_link_flush (raw->link);
  raw_free (raw);
  WAIT (10, play_count (&play, 1, "inbox") == 5);
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
  g_assert_cmpuint (play_count (&play, 1, "inbox"), ==, 0);
  g_assert_cmpuint (play_count (&play, 1, "received"), ==, 0);
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
    { "a-name-that-is-as-long-as-a-name-may-be-and-has-a-long-extension-----------------------------------------------------------------------------"
      "---------------------------------------------------------------------------------.an-extension-of-thirty-two-byte",
      "a-name-that-is-", ".an-extension-of-thirty-two-byte" },
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
    list = play_names (&play, 1, "received");
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
  g_assert_cmpuint (play_count (&play, 1, "inbox"), ==, 1);
  /* Another content, another id, no id: not the same. */
  pilot_exchange_append_tagged (raw_out (one), "m1", "r1", PILOT_EXCHANGE_TEXT, "hellO", 5);
  pilot_exchange_append_tagged (raw_out (one), "m2", "r1", PILOT_EXCHANGE_TEXT, "hello", 5);
  pilot_exchange_append (raw_out (one), PILOT_EXCHANGE_TEXT, "hello", 5);
  pilot_exchange_append (raw_out (one), PILOT_EXCHANGE_TEXT, "hello", 5);
  exchange_link_flush (one->link);
  WAIT (10, play_count (&play, 1, "inbox") == 5);
  raw_free (one);
  raw_free (two);
  play_stop (&play);
}

/* --- peers that know less --- */

/* A peer of v1.9: what it does not know it acknowledges as unknown, and stores nothing. */
typedef struct {
  PilotStreamUser user;
  PilotStream *stream;
  PilotExchangeReader *reader;
  GString *seen; /* NULL: every answer is an empty frame */
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
      text = old->seen != NULL ? g_strdup_printf ("ACK %s %" G_GSIZE_FORMAT " bytes", name, frame.length) : g_strdup ("");
      if (old->seen != NULL)
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
  if (old->seen != NULL)
    g_string_append (old->seen, "connection;");
}

static void
test_old_peer (void)
{
  g_autofree guint8 *data = play_blob (100000, 3);
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
  item = play_send_blob (&play, 0, data, 100000, TRUE);
  g_assert_false (item->streamed);
  g_assert_cmpstr (seen->str, ==, "connection;UNKNOWN(7);connection;FILE;");
  play_stop (&play);
}

/* An answer without a byte is no consent, and nothing to fall over. */
static void
test_empty_answers (void)
{
  g_autofree guint8 *data = play_blob (1000, 3);
  g_autoptr (PilotExchangeReceipt) receipt = NULL;
  g_autoptr (GError) error = NULL;
  PilotTransfer *item;
  Play play;

  play_start (&play);
  pilot_node_unbind (play.world.hosts[1].node, PILOT_EXCHANGE_PORT);
  g_assert_true (pilot_node_bind (play.world.hosts[1].node, PILOT_EXCHANGE_PORT, FALSE, on_old_stream, NULL, NULL));
  receipt = send_message (&play, PILOT_EXCHANGE_TEXT, "hello", 5, NULL, FALSE, FALSE, &error);
  g_assert_null (receipt);
  g_assert_error (error, PILOT_ERROR, PILOT_ERROR_REFUSED);
  item = play_finish_file (&play, 0, play_begin_file (&play, 0, play_blob_file (&play, data, 1000), FALSE));
  g_assert_error (item->error, PILOT_ERROR, PILOT_ERROR_REFUSED);
  play_stop (&play);
}

/* All but the end of a message of the largest kind. */
static void
hoard (Raw *raw, const guint8 *block, gsize length)
{
  pilot_exchange_append_header (raw_out (raw), PILOT_EXCHANGE_TEXT, PILOT_EXCHANGE_DEFAULT_LIMIT);
  for (gsize at = 0; at < PILOT_EXCHANGE_DEFAULT_LIMIT; at += length) {
    g_byte_array_append (raw_out (raw), block, (guint) (at + length < PILOT_EXCHANGE_DEFAULT_LIMIT ? length : length - 4096));
    exchange_link_flush (raw->link);
    WAIT (20, raw_out (raw)->len == 0);
  }
}

/* Who fills what there is for unfinished messages goes, not who comes then with one of his own. */
static void
test_hoarder (void)
{
  const gsize length = 1024 * 1024;
  g_autofree guint8 *block = g_malloc (length);
  Raw *hoarders[4], *raw;
  guint n_ended = 0;
  Play play;

  memset (block, 'x', length);
  play_start (&play);
  raw = raw_new (&play, 0);
  for (guint i = 0; i < G_N_ELEMENTS (hoarders); i++) {
    hoarders[i] = raw_new (&play, 0);
    hoard (hoarders[i], block, length);
  }
  pilot_exchange_append (raw_out (raw), PILOT_EXCHANGE_TEXT, block, length);
  exchange_link_flush (raw->link);
  WAIT (20, raw->texts->len > 0 || raw->ended);
  g_assert_cmpstr (raw->texts->str, ==, "ACK TEXT 1048576 bytes;");
  for (guint i = 0; i < G_N_ELEMENTS (hoarders); i++) {
    n_ended += hoarders[i]->ended;
    raw_free (hoarders[i]);
  }
  g_assert_cmpuint (n_ended, ==, 1);
  raw_free (raw);
  play_stop (&play);
}

typedef struct {
  GMutex mutex;
  GCond cond;
  gboolean may_go;
  guint begun, done; /* done: in the main loop */
} Gate;

static void
gate_work (gpointer data)
{
  Gate *gate = data;

  g_mutex_lock (&gate->mutex);
  gate->begun++;
  while (!gate->may_go)
    g_cond_wait (&gate->cond, &gate->mutex);
  g_mutex_unlock (&gate->mutex);
}

static void
gate_done (PilotExchange *exchange, gpointer data)
{
  ((Gate *) data)->done++;
}

static guint
gate_begun (Gate *gate)
{
  guint begun;

  g_mutex_lock (&gate->mutex);
  begun = gate->begun;
  g_mutex_unlock (&gate->mutex);
  return begun;
}

static void
gate_open (Gate *gate)
{
  g_mutex_lock (&gate->mutex);
  gate->may_go = TRUE;
  g_cond_broadcast (&gate->cond);
  g_mutex_unlock (&gate->mutex);
}

/* One peer's work takes long, and there is more of it than there are workers: the others' is done meanwhile, and his in the end. */
static void
test_workers (void)
{
  PilotExchange *exchange;
  Gate slow = { 0 }, quick = { .may_go = TRUE };
  Play play;

  play_start (&play);
  exchange = play.world.hosts[1].exchange;
  for (guint i = 0; i < 10; i++)
    pilot_exchange_run (exchange, 7, gate_work, gate_done, &slow);
  for (guint i = 0; i < 10; i++)
    pilot_exchange_run (exchange, 8, gate_work, gate_done, &quick);
  WAIT (20, quick.done == 10 && gate_begun (&slow) == 2);
  g_assert_cmpuint (slow.done, ==, 0);
  gate_open (&slow);
  WAIT (20, slow.done == 10);

  /* At the end of the daemon all that was given is done. */
  for (guint i = 0; i < 10; i++)
    pilot_exchange_run (exchange, 8, gate_work, gate_done, &quick);
  pilot_exchange_stop (exchange);
  g_assert_cmpuint (gate_begun (&quick), ==, 20);
  WAIT (20, quick.done == 20);
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
  g_assert_true (pilot_trust_untrust (play_trust (&play, 1), play_id (&play, 0), NULL));
  pilot_exchange_append (raw_out (raw), PILOT_EXCHANGE_TEXT, "hello", 5);
  exchange_link_flush (raw->link);
  WAIT (15, raw->ended);
  raw_free (raw);
  WAIT (10, !pilot_trust_is_trusted (play_trust (&play, 0), play_id (&play, 1)));
  receipt = send_message (&play, PILOT_EXCHANGE_TEXT, "hello", 5, NULL, FALSE, FALSE, &error);
  g_assert_null (receipt);
  g_assert_nonnull (error);
  g_assert_cmpuint (play_count (&play, 1, "inbox"), ==, 0);
  play_stop (&play);
}

/* --- the reply window --- */

static void
on_stranger (PilotNode *node, PilotStream *stream, guint32 peer, gpointer user_data)
{
  (*(guint *) user_data)++;
  pilot_stream_refuse (stream, g_get_monotonic_time ());
}

static void
on_stream_ready (PilotStreamUser *user, PilotStream *stream, guint ready)
{
}

static PilotAdmit
admits (Play *play, guint16 port)
{
  return pilot_node_admit (play_id (play, 0), port, play->world.hosts[1].node);
}

/* A public service that the private host 1 has dialled, and does not trust, may answer on port 1001, and nowhere else (streams.md section 7.3). */
static void
test_answers (void)
{
  PilotStreamUser user = { on_stream_ready };
  g_autoptr (GAsyncResult) published = NULL;
  g_autoptr (GError) error = NULL;
  PilotStream *stream;
  Play play;
  guint asked = 0;

  memset (&play, 0, sizeof play);
  play.told = g_string_new (NULL);
  world_init (&play.world);
  play_start_host (&play, 0);
  play_start_host (&play, 1);
  pilot_node_set_public_async (play.world.hosts[0].node, TRUE, NULL, on_result, &published);
  WAIT (30, published != NULL);
  g_assert_true (pilot_node_set_public_finish (play.world.hosts[0].node, published, &error));
  g_clear_object (&published);
  g_assert_true (pilot_node_bind (play.world.hosts[0].node, 4000, TRUE, on_stranger, &asked, &error));
  g_assert_cmpint (admits (&play, 1001), ==, PILOT_ADMIT_SILENCE);

  stream = pilot_node_connect (play.world.hosts[1].node, play_id (&play, 0), 4000, &user, &error);
  g_assert_nonnull (stream);
  WAIT (30, asked == 1);
  pilot_stream_set_user_data (stream, NULL);
  pilot_stream_release (stream, g_get_monotonic_time ());
  send_right (&play, PILOT_EXCHANGE_TEXT, "answer", 6, "ACK TEXT 6 bytes");
  g_assert_cmpstr (play.told->str, ==, "message TEXT 6 -;");
  g_assert_cmpint (admits (&play, 7), ==, PILOT_ADMIT_SILENCE);
  g_assert_cmpint (admits (&play, 1002), ==, PILOT_ADMIT_SILENCE);
  g_assert_cmpint (admits (&play, 8080), ==, PILOT_ADMIT_SILENCE);

  /* Whoever was trusted and is not any more is no service that answers; telling it so is no dial. */
  play_befriend (&play, 0, 1);
  g_assert_true (pilot_trust_untrust (play_trust (&play, 1), play_id (&play, 0), &error));
  g_assert_cmpint (admits (&play, 1001), ==, PILOT_ADMIT_SILENCE);
  WAIT (30, !pilot_trust_is_trusted (play_trust (&play, 0), play_id (&play, 1)));
  g_assert_cmpint (admits (&play, 1001), ==, PILOT_ADMIT_SILENCE);
  play_stop (&play);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/daemon/exchange/messages", test_messages);
  g_test_add_func ("/daemon/exchange/reuse-and-trace", test_reuse_and_trace);
  g_test_add_func ("/daemon/exchange/frames", test_frames);
  g_test_add_func ("/daemon/exchange/unheard", test_unheard);
  g_test_add_func ("/daemon/exchange/hostile", test_hostile);
  g_test_add_func ("/daemon/exchange/names", test_names);
  g_test_add_func ("/daemon/exchange/duplicates", test_duplicates);
  g_test_add_func ("/daemon/exchange/old-peer", test_old_peer);
  g_test_add_func ("/daemon/exchange/empty-answers", test_empty_answers);
  g_test_add_func ("/daemon/exchange/hoarder", test_hoarder);
  g_test_add_func ("/daemon/exchange/workers", test_workers);
  g_test_add_func ("/daemon/exchange/trust", test_trust);
  g_test_add_func ("/daemon/exchange/answers", test_answers);
  return g_test_run ();
}
