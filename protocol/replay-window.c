/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/replay-window.h"

#include <string.h>

static gboolean
test_bit (const PilotReplayWindow *window, guint64 counter)
{
  guint index = counter % PILOT_REPLAY_WINDOW_SIZE;

  return window->bits[index / 64] >> (index % 64) & 1;
}

static void
set_bit (PilotReplayWindow *window, guint64 counter)
{
  guint index = counter % PILOT_REPLAY_WINDOW_SIZE;

  window->bits[index / 64] |= G_GUINT64_CONSTANT (1) << (index % 64);
}

static void
clear_bit (PilotReplayWindow *window, guint64 counter)
{
  guint index = counter % PILOT_REPLAY_WINDOW_SIZE;

  window->bits[index / 64] &= ~(G_GUINT64_CONSTANT (1) << (index % 64));
}

PilotReplayVerdict
pilot_replay_window_check (const PilotReplayWindow *window, guint64 counter)
{
  if (!window->started || counter > window->max)
    return PILOT_REPLAY_ACCEPT;
  if (window->max - counter >= PILOT_REPLAY_WINDOW_SIZE)
    return PILOT_REPLAY_OUTSIDE;
  return test_bit (window, counter) ? PILOT_REPLAY_REPLAY : PILOT_REPLAY_ACCEPT;
}

PilotReplayVerdict
pilot_replay_window_commit (PilotReplayWindow *window, guint64 counter)
{
  PilotReplayVerdict verdict = pilot_replay_window_check (window, counter);

  if (verdict != PILOT_REPLAY_ACCEPT)
    return verdict;
  if (!window->started || counter > window->max) {
    if (!window->started || counter - window->max >= PILOT_REPLAY_WINDOW_SIZE)
      memset (window->bits, 0, sizeof window->bits);
    else
      for (guint64 skipped = window->max + 1; skipped < counter; skipped++)
        clear_bit (window, skipped);
    window->max = counter;
    window->started = TRUE;
  }
  set_bit (window, counter);
  return PILOT_REPLAY_ACCEPT;
}

/* Index among the older epochs, or -1. */
static gint
find_older (const PilotReceiveEpochs *epochs, guint32 prefix)
{
  for (guint i = 0; i < epochs->older_count; i++)
    if (epochs->older[i].prefix == prefix)
      return i;
  return -1;
}

static gboolean
is_retired (const PilotReceiveEpochs *epochs, guint32 prefix)
{
  for (guint i = 0; i < epochs->retired_count; i++)
    if (epochs->retired[i] == prefix)
      return TRUE;
  return FALSE;
}

/* Which window judges this prefix; NULL for a retired or a new one. `epoch` says which of the four cases it is. */
static const PilotReceiveEpoch *
find_epoch (const PilotReceiveEpochs *epochs, guint32 prefix, PilotEpoch *epoch)
{
  gint older;

  if (!epochs->newest.window.started) {
    *epoch = PILOT_EPOCH_NEWEST;
    return &epochs->newest;
  }
  if (prefix == epochs->newest.prefix) {
    *epoch = PILOT_EPOCH_NEWEST;
    return &epochs->newest;
  }
  older = find_older (epochs, prefix);
  if (older >= 0) {
    *epoch = PILOT_EPOCH_OLDER;
    return &epochs->older[older];
  }
  *epoch = is_retired (epochs, prefix) ? PILOT_EPOCH_RETIRED : PILOT_EPOCH_NEW;
  return NULL;
}

/* A new prefix needs room for the one it may push out. */
static gboolean
is_exhausted (const PilotReceiveEpochs *epochs)
{
  return epochs->older_count == PILOT_RECEIVE_EPOCHS_OLDER && epochs->retired_count == PILOT_RECEIVE_EPOCHS_RETIRED;
}

PilotReplayVerdict
pilot_receive_epochs_check (const PilotReceiveEpochs *epochs, guint32 prefix, guint64 counter, PilotEpoch *epoch)
{
  const PilotReceiveEpoch *found;
  PilotReplayVerdict verdict;
  PilotEpoch which;

  found = find_epoch (epochs, prefix, &which);
  if (which == PILOT_EPOCH_NEW && is_exhausted (epochs))
    return PILOT_REPLAY_EXHAUSTED;
  if (epoch != NULL)
    *epoch = which;
  if (which == PILOT_EPOCH_RETIRED)
    return PILOT_REPLAY_STALE_EPOCH;
  if (found == NULL)
    return PILOT_REPLAY_ACCEPT;
  verdict = pilot_replay_window_check (&found->window, counter);
  if (verdict != PILOT_REPLAY_ACCEPT && which == PILOT_EPOCH_OLDER)
    return PILOT_REPLAY_STALE_EPOCH;
  return verdict;
}

/* The newest joins the older ones; if they are full, the one that was silent longest is retired. */
static void
open_epoch (PilotReceiveEpochs *epochs, guint32 prefix)
{
  guint slot = epochs->older_count;

  if (slot == PILOT_RECEIVE_EPOCHS_OLDER) {
    slot = 0;
    for (guint i = 1; i < PILOT_RECEIVE_EPOCHS_OLDER; i++)
      if (epochs->older[i].used < epochs->older[slot].used)
        slot = i;
    epochs->retired[epochs->retired_count++] = epochs->older[slot].prefix;
  } else
    epochs->older_count++;
  epochs->older[slot] = epochs->newest;
  memset (&epochs->newest, 0, sizeof epochs->newest);
  epochs->newest.prefix = prefix;
}

PilotReplayVerdict
pilot_receive_epochs_commit (PilotReceiveEpochs *epochs, guint32 prefix, guint64 counter, PilotEpoch *epoch)
{
  PilotReceiveEpoch *target;
  PilotReplayVerdict verdict;
  PilotEpoch which = PILOT_EPOCH_NEWEST;

  verdict = pilot_receive_epochs_check (epochs, prefix, counter, &which);
  if (epoch != NULL && verdict != PILOT_REPLAY_EXHAUSTED)
    *epoch = which;
  if (verdict != PILOT_REPLAY_ACCEPT)
    return verdict;
  if (which == PILOT_EPOCH_NEW)
    open_epoch (epochs, prefix);
  if (which == PILOT_EPOCH_OLDER)
    target = &epochs->older[find_older (epochs, prefix)];
  else
    target = &epochs->newest;
  target->prefix = prefix;
  target->used = ++epochs->tick;
  return pilot_replay_window_commit (&target->window, counter);
}
