/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "tests/unit/stream-wire.h"

G_BEGIN_DECLS

/* A stream against a scripted Go peer, packet by packet. */

#define SECOND G_USEC_PER_SEC
#define MS 1000
#define ISS 0xfffffff0u

typedef struct {
  Wire *wire;
  PilotStream *stream;
} Fixture;

extern const guint8 zeros[65536];

/* (transfer full): what the stream sends next, with these flags. */
WirePacket *expect (Fixture *f, guint8 flags);
void expect_nothing (Fixture *f);
void discard_output (Fixture *f);
/* A stream that dials. */
void begin (Fixture *f);
/* Connected to a peer without extensions: its ISN is 0, its window so many segments. */
void connect_window (Fixture *f, guint16 window);
/* The window of Go peers is 512. */
void connect_go (Fixture *f);
/* From the peer: everything up to byte @number has come. */
void ack (Fixture *f, guint32 number, guint16 window);
/* From the peer: zeros. */
void data (Fixture *f, guint32 seq, gsize length);
/* Bytes. */
gsize readable (Fixture *f);

static inline void
end (Fixture *f)
{
  wire_free (f->wire);
}

G_END_DECLS
