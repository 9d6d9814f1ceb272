/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

#include "libpilot/pilot-endpoint.h"

G_BEGIN_DECLS

/*
 * How large a segment the path to one peer of our own kind carries, be it the direct one or the relay's: DPLPMTUD (RFC 8899) with the probes
 * of docs/extensions.md. Sizes are bytes of payload of a stream packet. A plain value, all zero to begin with.
 */

/* Number of no search: an answer with it says that segments were cut on their way. */
#define PILOT_MTU_NUMBER_CUT 0

typedef enum {
  PILOT_MTU_IDLE,   /* nothing asked yet */
  PILOT_MTU_WIDE,   /* the sizes of common networks, all at once */
  PILOT_MTU_NARROW, /* not even Ethernet's: what tunnels leave of it, one by one */
  PILOT_MTU_DONE,
} PilotMtuPhase;

typedef struct
{
  PilotEndpoint to; /* where the path that was measured begins: the peer itself, or the relay */
  gboolean relayed;
  guint size; /* that got through; 0 = none */
  PilotMtuPhase phase;
  guint next;        /* candidate */
  guint tries;       /* rounds of them left */
  gint64 due;        /* of the next probe, or of the end of waiting */
  guint32 number;    /* of the search; an answer to an older one tells nothing */
  gint64 settled_at; /* when the last search ended */
  gint64 wait;       /* for an answer, in that search: what was on the way when it ended is in by then */
  guint sent;        /* full segments since the path is in use: a search is only worth its bytes in bulk */
} PilotPathMtu;

/* Whether it is this path that is or was measured. */
gboolean pilot_path_mtu_is_of (const PilotPathMtu *self,
                               const PilotEndpoint *to,
                               gboolean relayed);
/* Largest payload for a packet to `to`: what is known of that path, else `base`. */
guint pilot_path_mtu_size (const PilotPathMtu *self,
                           const PilotEndpoint *to,
                           gboolean relayed,
                           guint base);
/* `n` full segments went to `to`. TRUE if a search begins: ask for the deadline again. */
gboolean pilot_path_mtu_used (PilotPathMtu *self,
                              const PilotEndpoint *to,
                              gboolean relayed,
                              guint n,
                              gint64 now);
/* The payload of the probe to send now, 0 for none. `rtt` 0 = not known. Call until 0. */
guint pilot_path_mtu_next (PilotPathMtu *self,
                           gint64 rtt,
                           gint64 now);
/* G_MAXINT64 = none. */
gint64 pilot_path_mtu_deadline (const PilotPathMtu *self);
/* A probe of search `number` with `payload` bytes has arrived at the peer. */
void pilot_path_mtu_answered (PilotPathMtu *self,
                              guint32 number,
                              guint payload,
                              gint64 now);
/* Large segments do not get through any more, or only seem not to: back to the base, and a new search finds out. */
void pilot_path_mtu_black_hole (PilotPathMtu *self,
                                gint64 now);
/* The network, or the peer, says that something was too large. While a search runs that is its answer, afterwards a black hole. TRUE if the latter. */
gboolean pilot_path_mtu_too_large (PilotPathMtu *self,
                                   gint64 now);

G_END_DECLS
