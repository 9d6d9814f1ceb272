/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "protocol/replay-window.h"
#include "tests/unit/vectors.h"

static const gchar *const VERDICTS[] = { "accept", "replay", "outside-window", "stale-epoch", "exhausted" };
static const gchar *const EPOCHS[] = { "newest", "new", "older", "retired" };

static void
test_window_vectors (void)
{
  g_autoptr (JsonObject) tunnel = vectors_load ("tunnel.json");
  JsonArray *array = json_object_get_array_member (tunnel, "replay_window");

  g_assert_cmpuint (json_array_get_length (array), ==, 4);
  for (guint i = 0; i < json_array_get_length (array); i++) {
    JsonArray *sequence = json_object_get_array_member (json_array_get_object_element (array, i), "sequence");
    PilotReplayWindow window = { 0 };

    for (guint k = 0; k < json_array_get_length (sequence); k++) {
      JsonArray *step = json_array_get_array_element (sequence, k);
      guint64 counter = g_ascii_strtoull (json_array_get_string_element (step, 0), NULL, 10);
      PilotReplayWindow before = window;

      g_assert_cmpstr (VERDICTS[pilot_replay_window_check (&window, counter)], ==, json_array_get_string_element (step, 1));
      g_assert_cmpmem (&before, sizeof before, &window, sizeof window);
      g_assert_cmpstr (VERDICTS[pilot_replay_window_commit (&window, counter)], ==, json_array_get_string_element (step, 1));
    }
  }
}

static void
test_epoch_vectors (void)
{
  g_autoptr (JsonObject) tunnel = vectors_load ("tunnel.json");
  JsonArray *sequence = json_object_get_array_member (json_object_get_object_member (tunnel, "receive_epochs"), "sequence");
  PilotReceiveEpochs epochs = { 0 };

  for (guint i = 0; i < json_array_get_length (sequence); i++) {
    JsonObject *step = json_array_get_object_element (sequence, i);
    guint32 prefix = (guint32) g_ascii_strtoull (json_object_get_string_member (step, "prefix"), NULL, 16);
    guint64 counter = g_ascii_strtoull (json_object_get_string_member (step, "counter"), NULL, 10);
    PilotReplayVerdict checked, committed;
    PilotEpoch epoch, committed_epoch;

    checked = pilot_receive_epochs_check (&epochs, prefix, counter, &epoch);
    committed = pilot_receive_epochs_commit (&epochs, prefix, counter, &committed_epoch);
    g_test_message ("step %u", i);
    g_assert_cmpint (checked, ==, committed);
    g_assert_cmpint (epoch, ==, committed_epoch);
    g_assert_cmpstr (VERDICTS[checked], ==, json_object_get_string_member (step, "verdict"));
    g_assert_cmpstr (EPOCHS[epoch], ==, json_object_get_string_member (step, "epoch"));
  }
}

/* Counters 0 and 2^64-1 are counters like others; the ends do not loop or wrap. */
static void
test_ends (void)
{
  PilotReplayWindow window = { 0 };

  g_assert_cmpint (pilot_replay_window_commit (&window, 0), ==, PILOT_REPLAY_ACCEPT);
  g_assert_cmpint (pilot_replay_window_commit (&window, 0), ==, PILOT_REPLAY_REPLAY);
  g_assert_cmpint (pilot_replay_window_commit (&window, G_MAXUINT64), ==, PILOT_REPLAY_ACCEPT);
  g_assert_cmpint (pilot_replay_window_commit (&window, G_MAXUINT64), ==, PILOT_REPLAY_REPLAY);
  g_assert_cmpint (pilot_replay_window_commit (&window, G_MAXUINT64 - 255), ==, PILOT_REPLAY_ACCEPT);
  g_assert_cmpint (pilot_replay_window_commit (&window, G_MAXUINT64 - 256), ==, PILOT_REPLAY_OUTSIDE);
  g_assert_cmpint (pilot_replay_window_commit (&window, 0), ==, PILOT_REPLAY_OUTSIDE);
}

static gboolean
was_accepted (GHashTable *seen, guint64 counter)
{
  return g_hash_table_contains (seen, &counter);
}

/* Against a model that remembers everything. */
static void
test_model (void)
{
  g_autoptr (GHashTable) seen = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, NULL);
  PilotReplayWindow window = { 0 };
  guint64 max = 0;

  for (guint i = 0; i < 20000; i++) {
    gint32 step = g_test_rand_int_range (-300, 20);
    guint64 counter = step < 0 && max < (guint64) -step ? 0 : max + (guint64) (gint64) step;
    PilotReplayVerdict want = PILOT_REPLAY_ACCEPT;

    if (g_test_rand_int_range (0, 500) == 0)
      counter = max + (guint64) g_test_rand_int_range (1, 1000);
    if (g_hash_table_size (seen) > 0 && counter < max && max - counter > 255)
      want = PILOT_REPLAY_OUTSIDE;
    else if (was_accepted (seen, counter))
      want = PILOT_REPLAY_REPLAY;
    g_assert_cmpint (pilot_replay_window_commit (&window, counter), ==, want);
    if (want == PILOT_REPLAY_ACCEPT) {
      g_hash_table_add (seen, g_memdup2 (&counter, sizeof counter));
      max = MAX (max, counter);
    }
  }
}

static void
test_exhausted (void)
{
  g_autofree PilotReceiveEpochs *epochs = g_new0 (PilotReceiveEpochs, 1);
  guint32 limit = 1 + PILOT_RECEIVE_EPOCHS_OLDER + PILOT_RECEIVE_EPOCHS_RETIRED;

  for (guint32 prefix = 1; prefix <= limit; prefix++)
    g_assert_cmpint (pilot_receive_epochs_commit (epochs, prefix, 1, NULL), ==, PILOT_REPLAY_ACCEPT);
  g_assert_cmpint (pilot_receive_epochs_commit (epochs, limit + 1, 1, NULL), ==, PILOT_REPLAY_EXHAUSTED);
  g_assert_cmpint (pilot_receive_epochs_commit (epochs, limit, 2, NULL), ==, PILOT_REPLAY_ACCEPT);
  g_assert_cmpint (pilot_receive_epochs_commit (epochs, 1, 2, NULL), ==, PILOT_REPLAY_STALE_EPOCH);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/replay-window/vectors", test_window_vectors);
  g_test_add_func ("/replay-window/epochs", test_epoch_vectors);
  g_test_add_func ("/replay-window/ends", test_ends);
  g_test_add_func ("/replay-window/model", test_model);
  g_test_add_func ("/replay-window/exhausted", test_exhausted);
  return g_test_run ();
}
