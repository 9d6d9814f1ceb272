/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire-link.h"

#include <glib.h>
#include <math.h>
#include <string.h>

#define MS 1000000u

typedef struct
{
  uint64_t sent_ns;
  uint64_t got_ns;
  gboolean arrived;
} Trip;

static WireSettings
settings_make (const char *text)
{
  WireSettings settings;
  g_auto (GStrv) words = g_strsplit_set (text, " =", -1);

  wire_settings_init (&settings);
  for (guint i = 0; words[i] != NULL && words[i + 1] != NULL; i += 2)
    g_assert_cmpstr (wire_settings_parse (&settings, words[i], words[i + 1]), ==, NULL);
  return settings;
}

/* Sends @n frames of @length bytes, one each @gap_ns, and notes when each comes out. Frames carry their number; @order, when wanted,
 * gets the numbers as they arrive. */
static void
link_run (WireLink *link,
          guint n,
          gsize length,
          uint64_t gap_ns,
          Trip *trips,
          GArray *order)
{
  uint8_t frame[WIRE_FRAME_MAX] = { 0 };
  uint64_t now = 0;

  for (guint sent = 0; sent < n || wire_link_length (link) > 0;) {
    uint64_t next_send = sent < n ? (uint64_t) sent * gap_ns : UINT64_MAX;
    const uint8_t *out;
    gsize got;

    now = MIN (next_send, wire_link_deadline (link));
    while ((out = wire_link_peek (link, now, &got)) != NULL) {
      guint number;

      g_assert_cmpuint (got, ==, length);
      memcpy (&number, out, sizeof number);
      g_assert_false (trips[number].arrived);
      trips[number].arrived = TRUE;
      trips[number].got_ns = now;
      if (order != NULL)
        g_array_append_val (order, number);
      wire_link_pop (link);
    }
    if (now == next_send) {
      memcpy (frame, &sent, sizeof sent);
      trips[sent++].sent_ns = now;
      wire_link_push (link, now, frame, length);
    }
  }
}

static void
test_delay (void)
{
  const guint n = 10000;
  WireSettings settings = settings_make ("delay=30 jitter=5");
  WireLink *link = wire_link_new (&settings, 0);
  g_autofree Trip *trips = g_new0 (Trip, n);
  g_autoptr (GArray) order = g_array_new (FALSE, FALSE, sizeof (guint));
  double sum = 0;

  /* Far enough apart that keeping the order does not move them. */
  link_run (link, n, 1000, 20 * MS, trips, order);
  for (guint i = 0; i < n; i++) {
    double ms = (double) (trips[i].got_ns - trips[i].sent_ns) / MS;

    g_assert_true (trips[i].arrived);
    g_assert_cmpuint (g_array_index (order, guint, i), ==, i);
    g_assert_cmpfloat (ms, >=, 25);
    g_assert_cmpfloat (ms, <=, 35.001);
    sum += ms;
  }
  /* The mean of n uniform values in ±5 ms is within 5 sigma = 5 · 5/√3 / √n = 0.144 ms. */
  g_assert_cmpfloat (fabs (sum / n - 30), <, 0.15);
  wire_link_free (link);
}

static void
test_jitter_keeps_order (void)
{
  const guint n = 2000;
  WireSettings settings = settings_make ("delay=30 jitter=20");
  WireLink *link = wire_link_new (&settings, 0);
  g_autofree Trip *trips = g_new0 (Trip, n);
  g_autoptr (GArray) order = g_array_new (FALSE, FALSE, sizeof (guint));

  link_run (link, n, 100, MS / 10, trips, order);
  g_assert_cmpuint (order->len, ==, n);
  for (guint i = 0; i < n; i++)
    g_assert_cmpuint (g_array_index (order, guint, i), ==, i);
  wire_link_free (link);
}

/* Runs a lossy link and answers the share lost and the mean number of losses in a row. */
static void
loss_measure (const char *text,
              guint n,
              double *share,
              double *burst)
{
  WireSettings settings = settings_make (text);
  WireLink *link = wire_link_new (&settings, 0);
  g_autofree Trip *trips = g_new0 (Trip, n);
  guint lost = 0, bursts = 0;

  link_run (link, n, 64, MS, trips, NULL);
  for (guint i = 0; i < n; i++)
    if (!trips[i].arrived) {
      lost++;
      bursts += i == 0 || trips[i - 1].arrived;
    }
  g_assert_cmpuint (wire_link_counters (link)->lost, ==, lost);
  *share = (double) lost / n;
  *burst = (double) lost / MAX (1, bursts);
  wire_link_free (link);
}

static void
test_loss (void)
{
  double share, burst;

  loss_measure ("loss=2 seed=7", 200000, &share, &burst);
  /* Binomial: sigma = √(0.02 · 0.98 / 200000) = 0.00031; 5 sigma. */
  g_assert_cmpfloat (fabs (share - 0.02), <, 0.0016);
  /* Independent losses come 1 / (1 - p) in a row. */
  g_assert_cmpfloat (fabs (burst - 1 / 0.98), <, 0.02);

  loss_measure ("loss=100", 1000, &share, &burst);
  g_assert_cmpfloat (share, ==, 1);
  loss_measure ("loss=0", 1000, &share, &burst);
  g_assert_cmpfloat (share, ==, 0);
}

static void
test_loss_burst (void)
{
  double share, burst;

  loss_measure ("loss=5 burst=8 seed=3", 400000, &share, &burst);
  /* About 2 500 bursts of a geometric length with mean 8 and sigma 7.5: 5 sigma of the mean are 0.75. */
  g_assert_cmpfloat (fabs (burst - 8), <, 0.75);
  g_assert_cmpfloat (fabs (share - 0.05), <, 0.0075);
}

static void
test_reorder (void)
{
  const guint n = 50000;
  WireSettings settings = settings_make ("delay=20 reorder=10");
  WireLink *link = wire_link_new (&settings, 0);
  g_autofree Trip *trips = g_new0 (Trip, n);
  g_autoptr (GArray) order = g_array_new (FALSE, FALSE, sizeof (guint));
  guint late = 0, highest = 0;

  /* Held back by 2.5 ms, sent 1 ms apart: two overtake it, unless they are held back too. */
  link_run (link, n, 100, MS, trips, order);
  g_assert_cmpuint (order->len, ==, n);
  for (guint i = 0; i < n; i++) {
    guint number = g_array_index (order, guint, i);

    late += number < highest;
    highest = MAX (highest, number);
  }
  /* 0.1 · (1 - 0.1²) = 0.099; sigma 0.0013. */
  g_assert_cmpfloat (fabs ((double) late / n - 0.099), <, 0.007);
  wire_link_free (link);
}

static void
test_rate (void)
{
  const guint n = 5000;
  WireSettings settings = settings_make ("rate=100 queue=40000 delay=10");
  WireLink *link = wire_link_new (&settings, 0);
  g_autofree Trip *trips = g_new0 (Trip, n);
  double seconds;

  link_run (link, n, 1250, 1000, trips, NULL);
  seconds = (double) (trips[n - 1].got_ns - 10 * MS) / 1e9;
  /* 1250 bytes at 100 Mbit/s are 100 µs each. */
  g_assert_cmpfloat (fabs (seconds - n * 100e-6), <, 1e-3);
  wire_link_free (link);
}

static void
test_queue (void)
{
  const guint n = 1000;
  WireSettings settings = settings_make ("rate=10 queue=50");
  WireLink *link = wire_link_new (&settings, 0);
  g_autofree Trip *trips = g_new0 (Trip, n);
  guint arrived = 0;

  /* All at once: one is on its way, 50 000 bytes wait behind it, the rest is dropped. */
  link_run (link, n, 1000, 0, trips, NULL);
  for (guint i = 0; i < n; i++)
    arrived += trips[i].arrived;
  g_assert_cmpuint (arrived, >=, 50);
  g_assert_cmpuint (arrived, <=, 52);
  g_assert_cmpuint (wire_link_counters (link)->queue_full, ==, n - arrived);
  wire_link_free (link);
}

static void
test_bound (void)
{
  WireSettings settings = settings_make ("delay=60000");
  WireLink *link = wire_link_new (&settings, 0);
  uint8_t frame[WIRE_FRAME_MAX + 1] = { 0 };

  for (guint i = 0; i < WIRE_FRAMES_MAX + 10; i++)
    wire_link_push (link, i, frame, 60);
  g_assert_cmpuint (wire_link_length (link), ==, WIRE_FRAMES_MAX);
  g_assert_cmpuint (wire_link_counters (link)->overflow, ==, 10);
  wire_link_push (link, 0, frame, sizeof frame);
  g_assert_cmpuint (wire_link_counters (link)->overflow, ==, 11);
  wire_link_free (link);
}

static void
test_change (void)
{
  WireSettings settings = settings_make ("delay=100");
  WireLink *link = wire_link_new (&settings, 0);
  const uint8_t frame[60] = { 0 };
  gsize length;

  wire_link_push (link, 0, frame, sizeof frame);
  settings = settings_make ("delay=10");
  wire_link_set (link, &settings);
  wire_link_push (link, 95 * MS, frame, sizeof frame);
  g_assert_null (wire_link_peek (link, 99 * MS, &length));
  g_assert_cmpuint (wire_link_deadline (link), ==, 100 * MS);
  wire_link_pop (link);
  g_assert_cmpuint (wire_link_deadline (link), ==, 105 * MS);
  wire_link_free (link);
}

static void
test_seed (void)
{
  double first, again, other, burst;

  loss_measure ("loss=30 seed=11", 5000, &first, &burst);
  loss_measure ("loss=30 seed=11", 5000, &again, &burst);
  loss_measure ("loss=30 seed=12", 5000, &other, &burst);
  g_assert_cmpfloat (first, ==, again);
  g_assert_cmpfloat (first, !=, other);
}

static void
test_settings (void)
{
  const char *wrong[][2] = { { "delay", "-1" }, { "delay", "ten" }, { "delay", "" }, { "loss", "101" }, { "rate", "nan" }, { "rate", "inf" }, { "seed", "-1" }, { "seed", "1x" }, { "speed", "1" }, { "jitter", "3ms" }, { "seed", "99999999999999999999" } };

  for (guint i = 0; i < G_N_ELEMENTS (wrong); i++) {
    WireSettings settings = settings_make ("delay=5 seed=3");

    g_assert_nonnull (wire_settings_parse (&settings, wrong[i][0], wrong[i][1]));
    g_assert_cmpfloat (settings.delay_ms, ==, 5);
    g_assert_cmpuint (settings.seed, ==, 3);
  }
}

int
main (int argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/wire/delay", test_delay);
  g_test_add_func ("/wire/jitter-keeps-order", test_jitter_keeps_order);
  g_test_add_func ("/wire/loss", test_loss);
  g_test_add_func ("/wire/loss-burst", test_loss_burst);
  g_test_add_func ("/wire/reorder", test_reorder);
  g_test_add_func ("/wire/rate", test_rate);
  g_test_add_func ("/wire/queue", test_queue);
  g_test_add_func ("/wire/bound", test_bound);
  g_test_add_func ("/wire/change", test_change);
  g_test_add_func ("/wire/seed", test_seed);
  g_test_add_func ("/wire/settings", test_settings);
  return g_test_run ();
}
