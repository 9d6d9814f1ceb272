/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

#include "protocol/stream-interval.h"

G_BEGIN_DECLS

/* What our own nodes tell each other in SYN and SYN-ACK (docs/extensions.md). */
typedef struct {
  gint window_scale; /* -1: not offered */
  gboolean half_close;
  guint sack_blocks;
  guint segment_size;
  gboolean mtu_probes;    /* answers probes of the path */
  gboolean unsummed;      /* takes packets without a checksum */
  gboolean short_headers; /* takes packets with a short header */
} PilotStreamExtensions;

#define PILOT_STREAM_EXTENSIONS_SIZE 64

/* FALSE: the payload says nothing (a Go peer). */
gboolean pilot_stream_extensions_decode (PilotStreamExtensions *extensions, const guint8 *data, gsize length);
/* Writes at most PILOT_STREAM_EXTENSIONS_SIZE bytes; returns how many. */
gsize pilot_stream_extensions_encode (const PilotStreamExtensions *extensions, guint8 *out);

/* SACK payloads (streams.md section 5). */
#define PILOT_STREAM_SACK_MAX 7
#define PILOT_STREAM_SACK_SIZE(n) (5 + 8 * (n))

/* Would a receiver take this payload for SACK? The first five bytes decide, with the length. */
gboolean pilot_stream_sack_resembles (const guint8 *data, gsize length, guint max_blocks);
/* Number of blocks; 0: not SACK but data. An edge after @send_next, or left not before right, makes it data. */
guint pilot_stream_sack_decode (const guint8 *data, gsize length, guint max_blocks, guint32 send_next,
                                PilotStreamInterval *blocks);
gsize pilot_stream_sack_encode (const PilotStreamInterval *blocks, guint n_blocks, guint8 *out);

G_END_DECLS
