/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One direction of a long cable, in virtual time: what goes in comes out later, in another order, or not at all. It reads no clock and
 * makes no system call, so that its behaviour can be tested to the packet. */

/* The largest frame a link carries: an Ethernet frame of 1500 bytes of payload with two VLAN tags fits. */
#define WIRE_FRAME_MAX 1536

/* Memory bound of one direction: 32768 frames of 1536 bytes are 48 MiB, which is 400 Mbit/s for one second. */
#define WIRE_FRAMES_MAX 32768

typedef struct
{
  double delay_ms;  /* one way */
  double jitter_ms; /* uniform in ± this around the delay; never reorders by itself */
  double loss_percent;
  double burst;           /* mean number of frames lost in a row; up to 1 each loss is independent of the last */
  double reorder_percent; /* share of frames that arrive after frames sent later */
  double rate_mbit;       /* 0: as fast as they come */
  double queue_kb;        /* drop-tail queue in front of the rate limit, in units of 1000 bytes */
  uint64_t seed;
} WireSettings;

typedef struct
{
  uint64_t frames_in;
  uint64_t frames_out;
  uint64_t bytes_out;
  uint64_t lost;       /* dropped by the loss model */
  uint64_t queue_full; /* dropped because the queue in front of the rate limit was full */
  uint64_t overflow;   /* dropped because WIRE_FRAMES_MAX were under way: the settings ask for more than this program holds */
  uint64_t reordered;
} WireCounters;

typedef struct WireLink WireLink;

/* The settings a wire starts with: no delay, no loss, no limit, a queue of 256 kB for when a rate is set. */
void wire_settings_init (WireSettings *settings);

/* Sets one setting from its name ("delay", "jitter", "loss", "burst", "reorder", "rate", "queue", "seed") and its text.
 * Answers NULL, or what is wrong with it; the settings are then unchanged. */
const char *wire_settings_parse (WireSettings *settings,
                                 const char *name,
                                 const char *text);

/* Makes a link. @stream tells two links of one seed apart. NULL when there is no memory. */
WireLink *wire_link_new (const WireSettings *settings,
                         uint64_t stream);

void wire_link_free (WireLink *link);

/* Changes the settings from here on; frames already under way keep their time of arrival. A changed seed restarts the random numbers. */
void wire_link_set (WireLink *link,
                    const WireSettings *settings);

/* A frame goes in at @now_ns. It is copied, or lost. A frame longer than WIRE_FRAME_MAX counts as overflow. */
void wire_link_push (WireLink *link,
                     uint64_t now_ns,
                     const uint8_t *frame,
                     size_t length);

/* When the next frame comes out, in ns; UINT64_MAX when none is under way. */
uint64_t wire_link_deadline (const WireLink *link);

/* The frame that is due at @now_ns, or NULL. It stays valid until wire_link_pop(). */
const uint8_t *wire_link_peek (const WireLink *link,
                               uint64_t now_ns,
                               size_t *length);

/* Takes off the frame wire_link_peek() showed. */
void wire_link_pop (WireLink *link);

/* How many frames are under way. */
size_t wire_link_length (const WireLink *link);

const WireCounters *wire_link_counters (const WireLink *link);
