/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

#include "libpilot/pilot-endpoint.h"
#include "protocol/overlay.h"

G_BEGIN_DECLS

/*
 * How one peer is reached (packets-and-tunnel.md section 8).  `relay` governs what we send; what we receive teaches, and
 * only authenticated frames do.  A plain value, all zero to begin with.
 */

#define PILOT_PATH_MAX_CANDIDATES 4
/* Direct frames that must arrive before traffic leaves the relay. */
#define PILOT_PATH_DIRECT_FRAMES 3

typedef struct
{
  PilotEndpoint direct; /* best known direct endpoint */
  gboolean proven;      /* an authenticated packet came from it */
  gboolean relay;
  gboolean pinned;                                     /* the registry says relay only */
  PilotEndpoint candidates[PILOT_PATH_MAX_CANDIDATES]; /* from the registry, LAN first */
  guint n_candidates;
  gint64 last_direct_receive; /* from wherever */
  gint64 heard_direct;        /* from `direct` itself */
  gint64 last_send;
  gint64 unanswered_since; /* first direct send after the last direct receive */
  guint unanswered;
  gboolean relayed; /* since the last direct receive an authenticated packet came by the relay */
  guint direct_frames;
  guint send_errors;
} PilotPathState;

/* Which way the next frame goes. Changes nothing. */
PilotPath pilot_path_choose (const PilotPathState *path,
                             gboolean have_beacon);
/* `n_frames` left by `used`. TRUE if that made a black hole evident and traffic moves to the relay. */
gboolean pilot_path_sent (PilotPathState *path,
                          PilotPath used,
                          guint n_frames,
                          gboolean have_beacon,
                          gint64 now);
/* An authenticated PILS came from `from`, NULL when relayed; there is a beacon then. TRUE if the way out changed. */
gboolean pilot_path_received (PilotPathState *path,
                              const PilotEndpoint *from,
                              gint64 now);
/* A key exchange was accepted. It can be a recording, so it never overrules a proven endpoint. TRUE if the way out changed. */
gboolean pilot_path_key_exchanged (PilotPathState *path,
                                   const PilotEndpoint *from,
                                   gboolean have_beacon);
void pilot_path_set_candidates (PilotPathState *path,
                                const PilotEndpoint *candidates,
                                guint n_candidates,
                                gboolean relay_only);
/* The network refused a frame sent directly. TRUE if traffic moves to the relay. */
gboolean pilot_path_send_failed (PilotPathState *path,
                                 gboolean have_beacon);
/* Nothing known is trusted any more; what was known becomes a candidate. */
void pilot_path_reset (PilotPathState *path,
                       gboolean have_beacon);
/* Endpoints to try, the proven one alone if there is one; at most PILOT_PATH_MAX_CANDIDATES + 1. */
guint pilot_path_targets (const PilotPathState *path,
                          PilotEndpoint targets[PILOT_PATH_MAX_CANDIDATES + 1]);

G_END_DECLS
