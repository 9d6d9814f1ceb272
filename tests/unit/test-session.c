/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "protocol/bytes.h"
#include "protocol/path.h"
#include "protocol/rate-limit.h"
#include "protocol/session.h"
#include "protocol/timer-heap.h"

/* Sessions, and the small parts the engine stands on: paths, timers, rate limits. */

static guint64 state = 1;

static void
count_up (guint8 *out,
          gsize length,
          gpointer user_data)
{
  for (gsize i = 0; i < length; i++)
    out[i] = (guint8) ((state = state * 6364136223846793005u + 1442695040888963407u) >> 56);
}

typedef struct
{
  PilotKeyStore *store;
  PilotSession *session;
  guint8 private_key[32], public_key[32];
} End;

static void
ends_init (End a[1],
           End b[1])
{
  count_up (a->private_key, 32, NULL);
  count_up (b->private_key, 32, NULL);
  pilot_x25519_public (a->private_key, a->public_key);
  pilot_x25519_public (b->private_key, b->public_key);
  a->store = pilot_key_store_new (count_up, NULL);
  b->store = pilot_key_store_new (count_up, NULL);
  a->session = pilot_session_new (a->store, a->private_key, b->public_key, TRUE, 0);
  b->session = pilot_session_new (b->store, b->private_key, a->public_key, FALSE, 0);
}

static void
end_clear (End *end)
{
  pilot_session_free (end->session);
  pilot_key_store_free (end->store);
}

static gsize
seal (End *end,
      guint32 node,
      guint8 *frame)
{
  memcpy (frame + PILOT_FRAME_PILS_HEADER_SIZE, "hello", 5);
  return pilot_session_seal (end->session, frame, node, 5);
}

static PilotSessionVerdict
open_copy (End *end,
           const guint8 *frame,
           gsize length)
{
  guint8 copy[256];
  PilotSealedFrame sealed;
  PilotEpoch epoch;
  gsize plain;
  PilotSessionVerdict verdict;

  memcpy (copy, frame, length);
  g_assert_true (pilot_frame_parse_pils (&sealed, copy, length));
  verdict = pilot_session_open (end->session, &sealed, &plain, &epoch);
  if (verdict == PILOT_SESSION_OPENED)
    g_assert_cmpmem (sealed.sealed, plain, "hello", 5);
  return verdict;
}

static void
test_ranges (void)
{
  End a, b;
  guint8 frame[256];

  ends_init (&a, &b);
  seal (&a, 1, frame);
  g_assert_cmpuint (pilot_bytes_get_u64 (frame + 12), ==, G_GUINT64_CONSTANT (1) << 62);
  seal (&b, 2, frame);
  g_assert_cmpuint (pilot_bytes_get_u64 (frame + 12), ==, G_GUINT64_CONSTANT (1) << 63);
  end_clear (&a);
  end_clear (&b);
}

/* Deriving the same key again neither repeats a nonce nor lets a recorded frame in. */
static void
test_continues (void)
{
  End a, b;
  guint8 first[256], second[256];
  gsize length;

  ends_init (&a, &b);
  length = seal (&a, 1, first);
  g_assert_cmpint (open_copy (&b, first, length), ==, PILOT_SESSION_OPENED);
  pilot_session_free (a.session);
  pilot_session_free (b.session);
  a.session = pilot_session_new (a.store, a.private_key, b.public_key, TRUE, 0);
  b.session = pilot_session_new (b.store, b.private_key, a.public_key, FALSE, 0);
  length = seal (&a, 1, second);
  g_assert_cmpmem (first + 8, 4, second + 8, 4);
  g_assert_cmpuint (pilot_bytes_get_u64 (second + 12), ==, pilot_bytes_get_u64 (first + 12) + 1);
  g_assert_cmpint (open_copy (&b, first, length), ==, PILOT_SESSION_REPLAY);
  g_assert_cmpint (open_copy (&b, second, length), ==, PILOT_SESSION_OPENED);
  end_clear (&a);
  end_clear (&b);
}

/* A reference node derives again at each fault and takes a new nonce prefix: for weeks if need be, and nothing recorded comes back. */
static void
test_many_prefixes (void)
{
  const guint32 n = 5 * PILOT_RECEIVE_EPOCHS_RETIRED;
  End a, b;
  guint8 frame[256];
  gsize length;

  ends_init (&a, &b);
  for (guint32 i = 0; i < 2 * n; i++) {
    memcpy (frame + PILOT_FRAME_PILS_HEADER_SIZE, "hello", 5);
    length = pilot_frame_seal_pils (frame, a.session->aead, 1, 1000 + i % n, 1, 5);
    g_assert_cmpint (open_copy (&b, frame, length), ==, i < n ? PILOT_SESSION_OPENED : PILOT_SESSION_REPLAY);
  }
  /* What a stranger makes up costs no memory, and moves nothing. */
  for (guint32 i = 0; i < n; i++) {
    memcpy (frame + PILOT_FRAME_PILS_HEADER_SIZE, "hello", 5);
    length = pilot_frame_seal_pils (frame, a.session->aead, 1, 100000 + i, 1, 5);
    frame[length - 1] ^= 1;
    g_assert_cmpint (open_copy (&b, frame, length), ==, PILOT_SESSION_FORGED);
  }
  length = seal (&a, 1, frame);
  g_assert_cmpint (open_copy (&b, frame, length), ==, PILOT_SESSION_OPENED);
  end_clear (&a);
  end_clear (&b);
}

static void
test_forged (void)
{
  End a, b;
  guint8 frame[256], forged[256];
  gsize length;

  ends_init (&a, &b);
  length = seal (&a, 1, frame);
  memcpy (forged, frame, length);
  /* A huge counter without the key moves nothing. */
  memset (forged + 12, 0xff, 8);
  for (guint i = 0; i < 10; i++)
    g_assert_cmpint (open_copy (&b, forged, length), ==, PILOT_SESSION_FORGED);
  g_assert_cmpuint (b.session->failures, ==, 10);
  g_assert_cmpint (open_copy (&b, frame, length), ==, PILOT_SESSION_OPENED);
  g_assert_cmpint (open_copy (&b, frame, length), ==, PILOT_SESSION_REPLAY);
  g_assert_cmpuint (b.session->failures, ==, 0);
  end_clear (&a);
  end_clear (&b);
}

/* The peer happens to use our own prefix: ours changes. */
static void
test_own_prefix (void)
{
  End a, b;
  guint8 frame[256];
  gsize length;

  ends_init (&a, &b);
  b.session->key->prefix = a.session->key->prefix;
  length = seal (&a, 1, frame);
  g_assert_cmpint (open_copy (&b, frame, length), ==, PILOT_SESSION_OPENED);
  g_assert_cmpuint (b.session->key->prefix, !=, a.session->key->prefix);
  end_clear (&a);
  end_clear (&b);
}

static void
test_low_order (void)
{
  PilotKeyStore *store = pilot_key_store_new (count_up, NULL);
  guint8 key[32] = { 1, 2, 3 }, zero[32] = { 0 };

  g_assert_null (pilot_session_new (store, key, zero, TRUE, 0));
  pilot_key_store_free (store);
}

typedef struct
{
  guint index;
  gint64 deadline;
} Timer;

/* Against the plainest implementation there is: looking through all of them. */
static void
test_timers (void)
{
  Timer timers[200] = { 0 };
  PilotTimerHeap heap = { 0 };

  for (guint i = 0; i < G_N_ELEMENTS (timers); i++)
    timers[i].deadline = G_MAXINT64;
  for (guint round = 0; round < 20000; round++) {
    Timer *timer;
    guint8 random[4];
    gint64 least = G_MAXINT64;
    gpointer owner;
    guint kind;

    count_up (random, sizeof random, NULL);
    timer = &timers[random[0] % G_N_ELEMENTS (timers)];
    timer->deadline = random[1] % 4 == 0 ? G_MAXINT64 : random[2] * 256 + random[3];
    pilot_timer_heap_set (&heap, &timer->index, timer->deadline, timer, 3);
    for (guint i = 0; i < G_N_ELEMENTS (timers); i++)
      least = MIN (least, timers[i].deadline);
    g_assert_cmpint (pilot_timer_heap_deadline (&heap), ==, least);
    if (random[1] % 8 != 1 || least == G_MAXINT64)
      continue;
    g_assert_false (pilot_timer_heap_pop (&heap, least - 1, &owner, &kind));
    g_assert_true (pilot_timer_heap_pop (&heap, least, &owner, &kind));
    g_assert_cmpint (((Timer *) owner)->deadline, ==, least);
    g_assert_cmpuint (((Timer *) owner)->index, ==, 0);
    g_assert_cmpuint (kind, ==, 3);
    ((Timer *) owner)->deadline = G_MAXINT64;
  }
  pilot_timer_heap_clear (&heap);
}

/* As the relay limit of the beacon uses it: a second's worth at once, then evenly, and a pause gives back at most a second's worth. */
static void
test_token_bucket (void)
{
  const gint64 second = 1000000000, interval = second / 3000000;
  const guint burst = 3000000;
  PilotTokenBucket bucket = { 0 };
  gint64 now = 77 * second;
  guint n = 0;

  for (guint i = 0; i < burst; i++)
    g_assert_true (pilot_token_bucket_take (&bucket, interval, burst, now));
  g_assert_false (pilot_token_bucket_take (&bucket, interval, burst, now));
  /* Twice too fast: every other one passes, from the first moment on. */
  for (guint i = 0; i < 1000; i++) {
    now += interval / 2 + 1;
    n += pilot_token_bucket_take (&bucket, interval, burst, now);
    g_assert_cmpuint (n, >=, i / 2);
    g_assert_cmpuint (n, <=, i / 2 + 5);
  }
  now += 100 * second;
  for (guint i = 0; i < burst; i++)
    g_assert_true (pilot_token_bucket_take (&bucket, interval, burst, now));
  g_assert_false (pilot_token_bucket_take (&bucket, interval, burst, now));
}

/* Who may wait is told for how long; nobody's turn is given away. */
static void
test_token_reserved (void)
{
  PilotTokenBucket bucket = { 0 };
  const gint64 now = 5000;
  gint64 at;

  for (guint i = 0; i < 3; i++) {
    g_assert_true (pilot_token_bucket_reserve (&bucket, 100, 3, 250, now, &at));
    g_assert_cmpint (at, ==, now);
  }
  g_assert_true (pilot_token_bucket_reserve (&bucket, 100, 3, 250, now, &at));
  g_assert_cmpint (at, ==, now + 100);
  g_assert_true (pilot_token_bucket_reserve (&bucket, 100, 3, 250, now, &at));
  g_assert_cmpint (at, ==, now + 200);
  g_assert_false (pilot_token_bucket_reserve (&bucket, 100, 3, 250, now, &at));
  g_assert_false (pilot_token_bucket_take (&bucket, 100, 3, now + 299));
  g_assert_true (pilot_token_bucket_take (&bucket, 100, 3, now + 300));
}

static void
test_rate_limit (void)
{
  static PilotRateLimit limit;
  guint32 first = 1, second = 2;
  gint64 now = 1000000;

  pilot_rate_limit_init (&limit, 200000, 5, 77);
  for (guint i = 0; i < 5; i++)
    g_assert_true (pilot_rate_limit_take (&limit, &first, sizeof first, now));
  g_assert_false (pilot_rate_limit_take (&limit, &first, sizeof first, now + 100000));
  g_assert_true (pilot_rate_limit_take (&limit, &second, sizeof second, now));
  g_assert_true (pilot_rate_limit_take (&limit, &first, sizeof first, now + 200000));
  g_assert_false (pilot_rate_limit_take (&limit, &first, sizeof first, now + 200000));
}

static PilotEndpoint
endpoint (guint8 last)
{
  return (PilotEndpoint) { .family = PILOT_ENDPOINT_IPV4, .port = 4000, .address = { 45, 0, 0, last } };
}

static void
test_path_learns (void)
{
  PilotPathState path = { 0 };
  PilotEndpoint one = endpoint (1), two = endpoint (2);

  g_assert_cmpint (pilot_path_choose (&path, FALSE), ==, PILOT_PATH_NONE);
  g_assert_cmpint (pilot_path_choose (&path, TRUE), ==, PILOT_PATH_RELAY);
  pilot_path_key_exchanged (&path, NULL, TRUE);
  /* Three direct frames leave the relay. */
  g_assert_false (pilot_path_received (&path, &one, 1));
  g_assert_false (pilot_path_received (&path, &one, 2));
  g_assert_false (pilot_path_received (&path, NULL, 3));
  g_assert_cmpint (pilot_path_choose (&path, TRUE), ==, PILOT_PATH_RELAY);
  g_assert_true (pilot_path_received (&path, &one, 4));
  g_assert_cmpint (pilot_path_choose (&path, TRUE), ==, PILOT_PATH_DIRECT);
  /* A key exchange, which can be a recording, does not move a proven endpoint; a frame does. */
  g_assert_false (pilot_path_key_exchanged (&path, &two, TRUE));
  g_assert_true (pilot_endpoint_equal (&path.direct, &one));
  g_assert_true (pilot_path_received (&path, &two, 5));
  g_assert_true (pilot_endpoint_equal (&path.direct, &two));
}

/* A peer that writes by both families is met by IPv6 as long as that is heard, so that two never change places without end. */
static void
test_path_families (void)
{
  PilotPathState path = { 0 };
  PilotEndpoint four = endpoint (1), six = { .family = PILOT_ENDPOINT_IPV6, .port = 4000, .address = { 0x20, 0x01, [15] = 1 } };
  gint64 now = 1000000;

  g_assert_true (pilot_path_received (&path, &four, now));
  g_assert_true (pilot_path_received (&path, &six, now));
  for (guint i = 0; i < 4; i++) {
    g_assert_false (pilot_path_received (&path, &four, now += 100000));
    g_assert_true (pilot_endpoint_equal (&path.direct, &six));
  }
  /* What comes by the other way shows that the peer lives. */
  g_assert_cmpint (path.last_direct_receive, ==, now);
  /* Nothing by IPv6 for half a second: the peer has only IPv4 now. */
  g_assert_true (pilot_path_received (&path, &four, now += 100000));
  g_assert_true (pilot_endpoint_equal (&path.direct, &four));
  g_assert_true (pilot_path_received (&path, &six, now));
}

static void
test_path_black_hole (void)
{
  PilotPathState path = { 0 };
  PilotEndpoint one = endpoint (1);

  pilot_path_received (&path, &one, 1000000);
  for (guint i = 0; i < 10; i++)
    g_assert_false (pilot_path_sent (&path, PILOT_PATH_DIRECT, 1, TRUE, 1000000 + i * 200000));
  g_assert_true (pilot_path_sent (&path, PILOT_PATH_DIRECT, 1, TRUE, 3100000));
  g_assert_cmpint (pilot_path_choose (&path, TRUE), ==, PILOT_PATH_RELAY);
  /* Without a beacon there is nowhere to go. */
  g_assert_cmpint (pilot_path_choose (&path, FALSE), ==, PILOT_PATH_DIRECT);
}

/* The peer has gone to the relay: what went unanswered meanwhile is lost, not late. */
static void
test_path_peer_on_relay (void)
{
  PilotPathState path = { 0 };
  PilotEndpoint one = endpoint (1);

  pilot_path_received (&path, &one, 1000000);
  g_assert_false (pilot_path_sent (&path, PILOT_PATH_DIRECT, 1, TRUE, 1000000));
  g_assert_false (pilot_path_received (&path, NULL, 1100000));
  g_assert_false (pilot_path_sent (&path, PILOT_PATH_DIRECT, 1, TRUE, 1400000));
  /* It answers directly after all. */
  pilot_path_received (&path, &one, 1450000);
  g_assert_false (pilot_path_sent (&path, PILOT_PATH_DIRECT, 2, TRUE, 1500000));
  g_assert_false (pilot_path_sent (&path, PILOT_PATH_DIRECT, 1, TRUE, 2100000));
  g_assert_true (pilot_path_received (&path, NULL, 2200000));
  g_assert_cmpint (pilot_path_choose (&path, TRUE), ==, PILOT_PATH_RELAY);
}

static void
test_path_probes_past_relay (void)
{
  PilotPathState path = { .relay = TRUE };

  for (guint i = 0; i < 20; i++)
    g_assert_false (pilot_path_sent (&path, PILOT_PATH_DIRECT, 1, TRUE, i * 1000000));
  g_assert_cmpuint (path.unanswered, ==, 0);
}

static void
test_path_pinned (void)
{
  PilotPathState path = { 0 };
  PilotEndpoint one = endpoint (1), targets[PILOT_PATH_MAX_CANDIDATES + 1];

  pilot_path_set_candidates (&path, &one, 1, TRUE);
  g_assert_cmpuint (pilot_path_targets (&path, targets), ==, 0);
  for (guint i = 0; i < 10; i++)
    pilot_path_received (&path, &one, i);
  g_assert_cmpint (pilot_path_choose (&path, TRUE), ==, PILOT_PATH_RELAY);
  g_assert_cmpint (pilot_path_choose (&path, FALSE), ==, PILOT_PATH_NONE);
}

static void
test_path_send_errors (void)
{
  PilotPathState path = { 0 };
  PilotEndpoint one = endpoint (1);

  pilot_path_received (&path, &one, 1);
  g_assert_false (pilot_path_send_failed (&path, TRUE));
  g_assert_false (pilot_path_send_failed (&path, TRUE));
  g_assert_true (pilot_path_send_failed (&path, TRUE));
  g_assert_cmpint (pilot_path_choose (&path, TRUE), ==, PILOT_PATH_RELAY);
}

int
main (int argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/session/ranges", test_ranges);
  g_test_add_func ("/session/continues", test_continues);
  g_test_add_func ("/session/many-prefixes", test_many_prefixes);
  g_test_add_func ("/session/forged", test_forged);
  g_test_add_func ("/session/own-prefix", test_own_prefix);
  g_test_add_func ("/session/low-order", test_low_order);
  g_test_add_func ("/timers", test_timers);
  g_test_add_func ("/rate-limit/table", test_rate_limit);
  g_test_add_func ("/rate-limit/bucket", test_token_bucket);
  g_test_add_func ("/rate-limit/reserved", test_token_reserved);
  g_test_add_func ("/path/learns", test_path_learns);
  g_test_add_func ("/path/families", test_path_families);
  g_test_add_func ("/path/black-hole", test_path_black_hole);
  g_test_add_func ("/path/peer-on-relay", test_path_peer_on_relay);
  g_test_add_func ("/path/probes-past-relay", test_path_probes_past_relay);
  g_test_add_func ("/path/pinned", test_path_pinned);
  g_test_add_func ("/path/send-errors", test_path_send_errors);
  return g_test_run ();
}
