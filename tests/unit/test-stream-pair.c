/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "tests/unit/stream-wire.h"

/* Two streams against each other over a bad wire. */

#define BUFFER (8 * 1024 * 1024)

typedef struct {
  Wire *wire;
  guint64 to_send, sent, received;
  gboolean shut, bad;
  gint64 finished_at;
  gint64 read_after;
} Transfer;

static guint8
pattern (guint64 at)
{
  return (guint8) (at * 7 + (at >> 8) * 13 + (at >> 16));
}

static void
write_more (gpointer user_data,
            gint64 now)
{
  Transfer *transfer = user_data;
  PilotStream *stream = transfer->wire->ends[0].stream;

  while (transfer->sent < transfer->to_send) {
    struct iovec vectors[2];
    guint n = pilot_stream_write_vectors (stream, vectors);
    gsize put = 0;

    if (n == 0)
      break;
    for (guint i = 0; i < n; i++)
      for (gsize k = 0; k < vectors[i].iov_len && transfer->sent + put < transfer->to_send; k++)
        ((guint8 *) vectors[i].iov_base)[k] = pattern (transfer->sent + put++);
    pilot_stream_write_commit (stream, put, now);
    transfer->sent += put;
  }
  if (transfer->sent == transfer->to_send && !transfer->shut) {
    transfer->shut = TRUE;
    pilot_stream_shutdown_write (stream, now);
  }
}

static void
read_more (gpointer user_data,
           gint64 now)
{
  Transfer *transfer = user_data;
  PilotStream *stream = transfer->wire->ends[1].stream;
  struct iovec vectors[2];
  guint n;

  if (now < transfer->read_after)
    return;
  while ((n = pilot_stream_read_vectors (stream, vectors)) > 0) {
    gsize got = 0;

    for (guint i = 0; i < n; i++)
      for (gsize k = 0; k < vectors[i].iov_len; k++)
        transfer->bad |= ((guint8 *) vectors[i].iov_base)[k] != pattern (transfer->received + got++);
    transfer->received += got;
    pilot_stream_read_consume (stream, got, now);
  }
}

static gboolean
is_complete (gpointer user_data)
{
  Transfer *transfer = user_data;

  return transfer->received == transfer->to_send;
}

/* What the ends counted, of a wire on which something was lost or nothing was. */
static void
check_figures (Wire *wire,
               const WireConfig *config,
               guint64 bytes)
{
  PilotStreamInfo sender, receiver;

  pilot_stream_info (wire->ends[0].stream, &sender);
  pilot_stream_info (wire->ends[1].stream, &receiver);
  g_assert_cmpuint (receiver.held, ==, 0);
  if (config->duplicate == 0)
    g_assert_cmpuint (sender.sacks_received, <=, receiver.sacks_sent);
  if (config->loss > 0 && bytes > 10000000) {
    g_assert_cmpuint (sender.sacks_received, >, 0);
    g_assert_cmpuint (sender.duplicate_acks, >, 0);
    g_assert_cmpuint (sender.retransmits, >, 0);
  }
  if (config->loss == 0 && config->jitter == 0 && config->duplicate == 0 && config->rate == 0) {
    g_assert_cmpuint (sender.sacks_received, ==, 0);
    g_assert_cmpuint (receiver.sacks_sent, ==, 0);
    g_assert_false (sender.in_recovery);
  }
}

static gdouble
run_transfer (const WireConfig *config,
              guint32 seed,
              gboolean own_0,
              gboolean own_1,
              guint64 bytes,
              gint64 limit)
{
  Transfer transfer = { .wire = wire_new (config, seed), .to_send = bytes };
  Wire *wire = transfer.wire;
  PilotStreamInfo info;
  gdouble rate;
  gint64 start = wire->now;

  wire_open (wire, 0, own_0, BUFFER);
  wire_open (wire, 1, own_1, BUFFER);
  wire->ends[0].on_turn = write_more;
  wire->ends[1].on_turn = read_more;
  wire->ends[0].user_data = wire->ends[1].user_data = &transfer;
  if (!wire_run (wire, start + limit, is_complete, &transfer)) {
    pilot_stream_info (wire->ends[0].stream, &info);
    g_error ("seed %u: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " bytes, state %s, in flight %" G_GUINT64_FORMAT
             ", window %" G_GUINT64_FORMAT ", peer window %" G_GUINT64_FORMAT ", deadline in %" G_GINT64_FORMAT,
             seed, transfer.received, bytes, pilot_stream_state_to_string (info.state), info.bytes_in_flight,
             info.congestion_window, info.peer_window, pilot_stream_deadline (wire->ends[0].stream) - wire->now);
  }
  g_assert_false (transfer.bad);
  check_figures (wire, config, bytes);
  rate = (gdouble) bytes / ((wire->now - start) / 1e6);
  pilot_stream_info (wire->ends[0].stream, &info);
  g_test_message ("%.1f Mb/s, cwnd %" G_GUINT64_FORMAT ", srtt %" G_GINT64_FORMAT ", min %" G_GINT64_FORMAT
                  ", pacing %.1f Mb/s, retransmits %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " (dropped %" G_GUINT64_FORMAT ")",
                  rate * 8 / 1e6, info.congestion_window, info.srtt_us, info.min_rtt_us, info.pacing_rate * 8 / 1e6,
                  info.retransmits, info.segments_sent, wire->ends[0].dropped);
  g_assert_cmpint (info.own_kind, ==, own_0 && own_1);
  g_assert_cmpuint (info.congestion_window, <, 32 * 1024 * 1024);
  /* The end: our side has shut down; the other follows. */
  pilot_stream_release (wire->ends[1].stream, wire->now);
  wire_run (wire, wire->now + 40 * G_USEC_PER_SEC, NULL, NULL);
  g_assert_cmpint (pilot_stream_get_error (wire->ends[0].stream), ==, PILOT_STREAM_ERROR_NONE);
  g_assert_true (pilot_stream_is_eof (wire->ends[0].stream));
  pilot_stream_release (wire->ends[0].stream, wire->now);
  wire_run (wire, wire->now + 120 * G_USEC_PER_SEC, NULL, NULL);
  g_assert_true (wire->ends[0].finished);
  g_assert_true (wire->ends[1].finished);
  wire_free (wire);
  return rate * 8 / 1e6;
}

static void
test_in_order (void)
{
  WireConfig config = { .delay = 1000 };

  run_transfer (&config, 1, TRUE, TRUE, 1000000, 20 * G_USEC_PER_SEC);
  run_transfer (&config, 1, FALSE, FALSE, 1000000, 20 * G_USEC_PER_SEC);
  run_transfer (&config, 1, TRUE, FALSE, 1000000, 20 * G_USEC_PER_SEC);
  run_transfer (&config, 1, FALSE, TRUE, 1000000, 20 * G_USEC_PER_SEC);
}

static void
test_bad_wires (void)
{
  for (guint32 seed = 1; seed <= 300; seed++) {
    g_autoptr (GRand) rand = g_rand_new_with_seed (seed);
    WireConfig config = {
      .delay = g_rand_int_range (rand, 50, 40000),
      .jitter = g_rand_int_range (rand, 0, 20000),
      .loss = g_rand_double_range (rand, 0, 0.15),
      .duplicate = g_rand_double_range (rand, 0, 0.1),
      .rate = seed % 3 == 0 ? 1000000 : 0,
      .queue = 50000,
    };
    guint64 bytes = g_rand_int_range (rand, 1, 150000);

    run_transfer (&config, seed, seed & 1, (seed & 2) != 0 || (seed & 1), bytes, 180 * G_USEC_PER_SEC);
  }
}

static void
test_throughput (void)
{
  static const gdouble losses[] = { 0, 0.005, 0.02 };

  for (guint i = 0; i < G_N_ELEMENTS (losses); i++) {
    WireConfig config = { .delay = 15000, .loss = losses[i], .rate = 50000000, .queue = 1500000 };
    gdouble rate = run_transfer (&config, 5, TRUE, TRUE, 150000000, 60 * G_USEC_PER_SEC);

    g_test_message ("400 Mb/s, 30 ms, loss %.1f %%: %.0f Mb/s", losses[i] * 100, rate);
    g_assert_cmpfloat (rate, >=, 280);
  }
}

/* Longer than the buffers cover: the window stays with the model all the same. */
static void
test_long_path (void)
{
  WireConfig config = { .delay = 50000, .rate = 50000000, .queue = 5000000 };
  gdouble rate = run_transfer (&config, 5, TRUE, TRUE, 300000000, 60 * G_USEC_PER_SEC);

  g_test_message ("400 Mb/s, 100 ms: %.0f Mb/s", rate);
  g_assert_cmpfloat (rate, >=, 260);
}

static void
test_short_path (void)
{
  WireConfig config = { .delay = 30 };
  gdouble rate = run_transfer (&config, 5, TRUE, TRUE, 100000000, 60 * G_USEC_PER_SEC);

  g_test_message ("60 us round trip: %.0f Mb/s", rate);
  g_assert_cmpfloat (rate, >=, 8000);
}

/* A question and its answer first, then bulk: the few bytes of the question must not set the pace of what follows. */
static gboolean
has_question (gpointer user_data)
{
  Transfer *transfer = user_data;

  return transfer->received == 79;
}

static void
test_question_then_bulk (void)
{
  WireConfig config = { .delay = 1500 };
  Transfer transfer = { .wire = wire_new (&config, 9), .to_send = 79 };
  Wire *wire = transfer.wire;
  guint8 question[79];
  gint64 started;

  wire_open (wire, 0, TRUE, BUFFER);
  wire_open (wire, 1, TRUE, BUFFER);
  wire->ends[1].on_turn = read_more;
  wire->ends[0].user_data = wire->ends[1].user_data = &transfer;
  for (guint i = 0; i < sizeof question; i++)
    question[i] = pattern (i);
  wire_run (wire, wire->now + 100 * G_TIME_SPAN_MILLISECOND, NULL, NULL);
  g_assert_cmpuint (pilot_stream_write (wire->ends[0].stream, question, sizeof question, wire->now), ==, sizeof question);
  g_assert_true (wire_run (wire, wire->now + G_USEC_PER_SEC, has_question, &transfer));
  wire_run (wire, wire->now + 20 * G_TIME_SPAN_MILLISECOND, NULL, NULL);
  transfer.sent = 79;
  transfer.to_send = 4000000;
  wire->ends[0].on_turn = write_more;
  started = wire->now;
  g_assert_true (wire_run (wire, wire->now + 60 * G_USEC_PER_SEC, is_complete, &transfer));
  g_assert_false (transfer.bad);
  g_test_message ("4 MB after a question: %" G_GINT64_FORMAT " us", wire->now - started);
  /* Six or so round trips of 3 ms. */
  g_assert_cmpint (wire->now - started, <, 50 * G_TIME_SPAN_MILLISECOND);
  wire_free (wire);
}

static void
test_slow_reader (void)
{
  WireConfig config = { .delay = 5000 };
  Transfer transfer = { .wire = wire_new (&config, 3), .to_send = 30000000 };
  Wire *wire = transfer.wire;
  PilotStreamInfo info;

  transfer.read_after = wire->now + 100 * G_USEC_PER_SEC;
  wire_open (wire, 0, TRUE, BUFFER);
  wire_open (wire, 1, TRUE, BUFFER);
  wire->ends[0].on_turn = write_more;
  wire->ends[1].on_turn = read_more;
  wire->ends[0].user_data = wire->ends[1].user_data = &transfer;
  wire_run (wire, wire->now + 99 * G_USEC_PER_SEC, NULL, NULL);
  pilot_stream_info (wire->ends[1].stream, &info);
  g_assert_cmpuint (info.receive_buffered, <=, 2 * 1024 * 1024);
  g_assert_cmpuint (info.receive_buffered, >, 1024 * 1024);
  g_assert_cmpuint (transfer.sent, <, 12 * 1024 * 1024);
  g_assert_true (wire_run (wire, wire->now + 60 * G_USEC_PER_SEC, is_complete, &transfer));
  g_assert_false (transfer.bad);
  wire_free (wire);
}

/* What is left of a nearly full ring is for who writes, not worth a read; whoever was told so hears when there is room. */
static void
test_sliver (void)
{
  static const guint8 zeros[200 * 1024] = { 0 };
  WireConfig config = { .delay = 5000 };
  Wire *wire = wire_new (&config, 9);
  PilotStream *a = wire_open (wire, 0, TRUE, BUFFER);
  struct iovec vectors[2];

  wire_open (wire, 1, TRUE, BUFFER);
  /* Before the handshake is done nothing leaves the ring, which may hold 256 KiB. */
  g_assert_cmpuint (pilot_stream_write_vectors (a, vectors), >, 0);
  g_assert_cmpuint (pilot_stream_write (a, zeros, sizeof zeros, wire->now), ==, sizeof zeros);
  g_assert_cmpuint (pilot_stream_write_vectors (a, vectors), ==, 0);
  g_assert_cmpuint (pilot_stream_write (a, zeros, 1000, wire->now), ==, 1000);
  wire->ends[0].ready = 0;
  wire_run (wire, wire->now + G_USEC_PER_SEC, NULL, NULL);
  g_assert_true (wire->ends[0].ready & PILOT_STREAM_READY_WRITE);
  g_assert_cmpuint (pilot_stream_write_vectors (a, vectors), >, 0);
  wire_free (wire);
}

/* Request, shut down writing, read the whole answer. */
static void
test_half_close (void)
{
  WireConfig config = { .delay = 5000 };
  Wire *wire = wire_new (&config, 9);
  PilotStream *a = wire_open (wire, 0, TRUE, BUFFER), *b = wire_open (wire, 1, TRUE, BUFFER);
  struct iovec vectors[2];

  g_assert_cmpuint (pilot_stream_write (a, "GET", 3, wire->now), ==, 3);
  pilot_stream_shutdown_write (a, wire->now);
  wire_run (wire, wire->now + 100000, NULL, NULL);
  g_assert_cmpint (pilot_stream_get_state (a), ==, PILOT_STREAM_STATE_FIN_WAIT_2);
  g_assert_cmpint (pilot_stream_get_state (b), ==, PILOT_STREAM_STATE_CLOSE_WAIT);
  g_assert_true (wire->ends[0].ready & PILOT_STREAM_READY_DRAINED);
  g_assert_true (wire->ends[1].ready & PILOT_STREAM_READY_EOF);
  g_assert_cmpuint (pilot_stream_read_vectors (b, vectors), ==, 1);
  g_assert_cmpmem (vectors[0].iov_base, vectors[0].iov_len, "GET", 3);
  pilot_stream_read_consume (b, 3, wire->now);
  g_assert_true (pilot_stream_is_eof (b));
  for (guint i = 0; i < 50; i++) {
    g_assert_cmpuint (pilot_stream_write (b, "answer", 6, wire->now), ==, 6);
    wire_run (wire, wire->now + 300000, NULL, NULL);
  }
  pilot_stream_shutdown_write (b, wire->now);
  wire_run (wire, wire->now + 100000, NULL, NULL);
  g_assert_cmpint (pilot_stream_get_state (a), ==, PILOT_STREAM_STATE_TIME_WAIT);
  g_assert_cmpint (pilot_stream_get_state (b), ==, PILOT_STREAM_STATE_CLOSED);
  g_assert_cmpuint (pilot_stream_read_vectors (a, vectors), >=, 1);
  g_assert_cmpuint (vectors[0].iov_len, ==, 300);
  pilot_stream_read_consume (a, 300, wire->now);
  g_assert_true (pilot_stream_is_eof (a));
  wire_free (wire);
}

/* Reads the one byte that has come. */
static void
read_byte (PilotStream *stream,
           gint64 now)
{
  struct iovec vectors[2];

  g_assert_cmpuint (pilot_stream_read_vectors (stream, vectors), ==, 1);
  g_assert_cmpuint (vectors[0].iov_len, ==, 1);
  pilot_stream_read_consume (stream, 1, now);
}

/* A connection of one question and one answer costs no packet that carries nothing, though programs take their time: 1 ms for each step. */
static void
test_brief (void)
{
  WireConfig config = { .delay = 100 };
  Wire *wire = wire_new (&config, 9);
  PilotStream *a = wire_open (wire, 0, TRUE, BUFFER), *b = wire_open (wire, 1, TRUE, BUFFER);
  PilotStreamInfo info;
  gint64 over;

  g_assert_cmpuint (pilot_stream_write (a, "x", 1, wire->now), ==, 1);
  wire_run (wire, wire->now + 1000, NULL, NULL);
  read_byte (b, wire->now);
  wire_run (wire, wire->now + 1000, NULL, NULL);
  g_assert_cmpuint (pilot_stream_write (b, "y", 1, wire->now), ==, 1);
  wire_run (wire, wire->now + 1000, NULL, NULL);
  read_byte (a, wire->now);
  pilot_stream_shutdown_write (a, wire->now);
  wire_run (wire, wire->now + 1000, NULL, NULL);
  g_assert_true (pilot_stream_is_eof (b));
  pilot_stream_shutdown_write (b, wire->now);
  wire_run (wire, wire->now + 1000, NULL, NULL);
  g_assert_cmpint (pilot_stream_get_state (a), ==, PILOT_STREAM_STATE_TIME_WAIT);
  g_assert_cmpint (pilot_stream_get_state (b), ==, PILOT_STREAM_STATE_CLOSED);
  /* SYN, question, FIN, acknowledgement of the other's FIN. */
  pilot_stream_info (a, &info);
  g_assert_cmpuint (info.segments_sent, ==, 4);
  /* SYN-ACK, answer, FIN: the last two acknowledge what they answer. */
  pilot_stream_info (b, &info);
  g_assert_cmpuint (info.segments_sent, ==, 3);
  /* What is left waits for one thing, and for that with all others of the same tenth of a second. */
  pilot_stream_release (a, wire->now);
  g_assert_false (wire->ends[0].finished);
  over = pilot_stream_deadline (a);
  g_assert_cmpint (over - wire->now, >=, G_USEC_PER_SEC - 1000);
  g_assert_cmpint (over - wire->now, <=, G_USEC_PER_SEC + 100000);
  g_assert_cmpint (over % 100000, ==, 0);
  pilot_stream_advance (a, over);
  g_assert_true (wire->ends[0].finished);
  wire_free (wire);
}

/* Idle streams give their rings back and rarely want to be woken. */
static void
test_idle (void)
{
  WireConfig config = { .delay = 5000 };
  Wire *wire = wire_new (&config, 9);
  PilotStream *a = wire_open (wire, 0, TRUE, BUFFER), *b = wire_open (wire, 1, TRUE, BUFFER);
  guint64 sent;

  pilot_stream_write (a, "x", 1, wire->now);
  wire_run (wire, wire->now + 10 * G_USEC_PER_SEC, NULL, NULL);
  pilot_stream_read_consume (b, 1, wire->now);
  wire_run (wire, wire->now + 80 * G_USEC_PER_SEC, NULL, NULL);
  g_assert_cmpint (pilot_stream_deadline (a) - wire->now, >=, 30 * G_USEC_PER_SEC);
  g_assert_cmpint (pilot_stream_deadline (b) - wire->now, >=, 30 * G_USEC_PER_SEC);
  sent = wire->ends[0].sent + wire->ends[1].sent;
  wire_run (wire, wire->now + (gint64) 3600 * G_USEC_PER_SEC, NULL, NULL);
  g_assert_cmpint (pilot_stream_get_state (a), ==, PILOT_STREAM_STATE_ESTABLISHED);
  g_assert_cmpint (pilot_stream_get_state (b), ==, PILOT_STREAM_STATE_ESTABLISHED);
  g_assert_cmpuint (wire->ends[0].sent + wire->ends[1].sent - sent, <, 60);
  wire->config.cut = TRUE;
  wire_run (wire, wire->now + 900 * G_USEC_PER_SEC, NULL, NULL);
  g_assert_cmpint (pilot_stream_get_error (a), ==, PILOT_STREAM_ERROR_LOST);
  wire_free (wire);
}

/* A minute without a path: nothing is lost between our own nodes. */
static void
test_outage (void)
{
  WireConfig config = { .delay = 5000 };
  Transfer transfer = { .wire = wire_new (&config, 3), .to_send = 20000000 };
  Wire *wire = transfer.wire;

  wire_open (wire, 0, TRUE, BUFFER);
  wire_open (wire, 1, TRUE, BUFFER);
  wire->ends[0].on_turn = write_more;
  wire->ends[1].on_turn = read_more;
  wire->ends[0].user_data = wire->ends[1].user_data = &transfer;
  wire_run (wire, wire->now + 30000, NULL, NULL);
  wire->config.cut = TRUE;
  wire_run (wire, wire->now + 60 * G_USEC_PER_SEC, NULL, NULL);
  g_assert_cmpint (pilot_stream_get_state (wire->ends[0].stream), !=, PILOT_STREAM_STATE_CLOSED);
  wire->config.cut = FALSE;
  g_assert_true (wire_run (wire, wire->now + 20 * G_USEC_PER_SEC, is_complete, &transfer));
  g_assert_false (transfer.bad);
  wire_free (wire);
}

static void
test_release_with_data_coming (void)
{
  WireConfig config = { .delay = 5000 };
  Wire *wire = wire_new (&config, 9);
  PilotStream *a = wire_open (wire, 0, TRUE, BUFFER), *b = wire_open (wire, 1, TRUE, BUFFER);

  wire_run (wire, wire->now + 100000, NULL, NULL);
  pilot_stream_release (a, wire->now);
  wire_run (wire, wire->now + 100000, NULL, NULL);
  g_assert_cmpint (pilot_stream_get_state (b), ==, PILOT_STREAM_STATE_CLOSE_WAIT);
  pilot_stream_write (b, "late", 4, wire->now);
  wire_run (wire, wire->now + 100000, NULL, NULL);
  g_assert_cmpint (pilot_stream_get_error (b), ==, PILOT_STREAM_ERROR_RESET);
  g_assert_true (wire->ends[0].finished);
  wire_free (wire);
}

/* The SYN has opened the peer's side; its answer finds nobody. */
static void
test_release_while_opening (void)
{
  WireConfig config = { .delay = 5000 };

  for (guint own = 0; own < 2; own++) {
    Wire *wire = wire_new (&config, 9);
    PilotStream *a = wire_open (wire, 0, own, BUFFER), *b = wire_open (wire, 1, own, BUFFER);

    wire_run (wire, wire->now + 7000, NULL, NULL);
    g_assert_cmpint (pilot_stream_get_state (a), ==, PILOT_STREAM_STATE_SYN_SENT);
    g_assert_cmpint (pilot_stream_get_state (b), ==, PILOT_STREAM_STATE_ESTABLISHED);
    pilot_stream_release (a, wire->now);
    wire_run (wire, wire->now + 100000, NULL, NULL);
    g_assert_cmpint (pilot_stream_get_state (b), ==, PILOT_STREAM_STATE_CLOSED);
    g_assert_cmpint (pilot_stream_get_error (b), ==, PILOT_STREAM_ERROR_RESET);
    g_assert_true (wire->ends[0].finished);
    wire_free (wire);
  }
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/stream/pair/in-order", test_in_order);
  g_test_add_func ("/stream/pair/bad-wires", test_bad_wires);
  g_test_add_func ("/stream/pair/throughput", test_throughput);
  g_test_add_func ("/stream/pair/long-path", test_long_path);
  g_test_add_func ("/stream/pair/short-path", test_short_path);
  g_test_add_func ("/stream/pair/sliver", test_sliver);
  g_test_add_func ("/stream/pair/slow-reader", test_slow_reader);
  g_test_add_func ("/stream/pair/question-then-bulk", test_question_then_bulk);
  g_test_add_func ("/stream/pair/half-close", test_half_close);
  g_test_add_func ("/stream/pair/brief", test_brief);
  g_test_add_func ("/stream/pair/idle", test_idle);
  g_test_add_func ("/stream/pair/outage", test_outage);
  g_test_add_func ("/stream/pair/release-with-data-coming", test_release_with_data_coming);
  g_test_add_func ("/stream/pair/release-while-opening", test_release_while_opening);
  return g_test_run ();
}
