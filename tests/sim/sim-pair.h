/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "sim.h"

G_BEGIN_DECLS

/* Two hosts of a small world, each behind a NAT of its own or none, trusting each other. */
typedef struct
{
  Sim *sim;
  SimHost *alpha, *beta;
} Pair;

/* SimNatType of each, or -1: on the internet. Free with pair_end(). */
Pair pair_new (gint nat_alpha, gint nat_beta);
/* Both hosts up, and a second for them to find the beacon. */
void pair_start (Pair *pair);
/* Carries out what happens within the duration; ends the test when an invariant of the simulator breaks. */
void pair_run (Pair *pair, gint64 duration);
void pair_end (Pair *pair);
/* Whether a ping from one to the other is answered in time. */
gboolean pair_ping (Pair *pair, SimHost *from, SimHost *to, gint64 within);
/* What a host knows of another; all zero when nothing. */
PilotPeerInfo pair_peer (SimHost *host, SimHost *other);
/* To alpha, from somewhere on the internet. */
void pair_inject (Pair *pair, const guint8 *frame, gsize length);
/* A flow from alpha to beta that starts now: bytes there and back. */
SimFlow *pair_dial (Pair *pair, SimFlowKind kind, guint64 there, guint64 back);

G_END_DECLS
