/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Which frames of a session were received already (packets-and-tunnel.md sections 6.6, 6.7, 13.12). "check" is asked before authentication and changes
 * nothing; "commit" is told after it, judges again and then records. */

#define PILOT_REPLAY_WINDOW_SIZE 256
/* Older epochs that keep their window. */
#define PILOT_RECEIVE_EPOCHS_OLDER 4
/* Nonce prefixes of one session that are remembered as retired. A frame with a further new prefix is refused, unless the
 * caller remembers them elsewhere and empties the table. */
#define PILOT_RECEIVE_EPOCHS_RETIRED 256

typedef enum {
  PILOT_REPLAY_ACCEPT,
  PILOT_REPLAY_REPLAY,      /* this counter was accepted before */
  PILOT_REPLAY_OUTSIDE,     /* older than the window */
  PILOT_REPLAY_STALE_EPOCH, /* an older epoch's window refused it, or its epoch is retired: feeds no fault count */
  PILOT_REPLAY_EXHAUSTED,   /* too many prefixes in one session */
} PilotReplayVerdict;

typedef enum {
  PILOT_EPOCH_NEWEST,
  PILOT_EPOCH_NEW, /* this frame opens an epoch, or did */
  PILOT_EPOCH_OLDER,
  PILOT_EPOCH_RETIRED,
} PilotEpoch;

/* One window. All zero is an empty one. */
typedef struct
{
  guint64 max; /* highest accepted counter */
  guint64 bits[PILOT_REPLAY_WINDOW_SIZE / 64];
  gboolean started; /* anything accepted yet; max alone cannot say, 0 is a counter */
} PilotReplayWindow;

PilotReplayVerdict pilot_replay_window_check (const PilotReplayWindow *window,
                                              guint64 counter);
PilotReplayVerdict pilot_replay_window_commit (PilotReplayWindow *window,
                                               guint64 counter);

typedef struct
{
  PilotReplayWindow window;
  guint64 used; /* tick of the last accepted frame, for eviction */
  guint32 prefix;
} PilotReceiveEpoch;

/* The windows of one session, one for each nonce prefix its peer used. All zero is an empty one. */
typedef struct
{
  PilotReceiveEpoch newest;
  PilotReceiveEpoch older[PILOT_RECEIVE_EPOCHS_OLDER];
  guint older_count;
  guint retired_count;
  guint64 tick;
  guint32 retired[PILOT_RECEIVE_EPOCHS_RETIRED];
} PilotReceiveEpochs;

/* `epoch` (out) (nullable) is set for every verdict but PILOT_REPLAY_EXHAUSTED. */
PilotReplayVerdict pilot_receive_epochs_check (const PilotReceiveEpochs *epochs,
                                               guint32 prefix,
                                               guint64 counter,
                                               PilotEpoch *epoch);
PilotReplayVerdict pilot_receive_epochs_commit (PilotReceiveEpochs *epochs,
                                                guint32 prefix,
                                                guint64 counter,
                                                PilotEpoch *epoch);

G_END_DECLS
