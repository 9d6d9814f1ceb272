/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "sim-pair.h"

#include <string.h>

Pair
pair_new (gint nat_alpha,
          gint nat_beta)
{
  Sim *sim = g_new0 (Sim, 1);
  gint nats[2] = { nat_alpha, nat_beta };

  sim->random.state = 42;
  sim->nonces = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, NULL);
  sim->buffers = g_malloc ((gsize) 4 * PILOT_TRANSMIT_CAPACITY);
  sim->beacon = sim_endpoint (0x2a000001, 9001);
  sim->lie_about = -1;
  sim->extensions = TRUE;
  sim->pins = TRUE;
  sim->registry_delay = 20 * SIM_MS;
  memset (sim->lie, 0x17, sizeof sim->lie);
  sim->n_hosts = 2;
  for (guint i = 0; i < 2; i++) {
    SimHost *host = &sim->hosts[i];
    guint8 seed[PILOT_ED25519_SEED_SIZE] = { (guint8) (i + 1) };

    host->sim = sim;
    host->index = i;
    host->node = 7 + i;
    host->random.state = i + 1;
    pilot_identity_init (&host->identity, seed);
    host->nat = -1;
    host->endpoint = sim_endpoint (0x2e000001 + i, 5000);
    host->link.delay = 5 * SIM_MS;
    if (nats[i] >= 0) {
      host->nat = (gint) sim->n_nats;
      host->endpoint = sim_endpoint (0xc0a80001 + (i << 8), 5000);
      sim->nats[sim->n_nats].type = (SimNatType) nats[i];
      sim->nats[sim->n_nats].address = 0x2c000001 + i;
      sim->nats[sim->n_nats++].next_port = 20000;
    }
  }
  return (Pair) { sim, &sim->hosts[0], &sim->hosts[1] };
}

void
pair_run (Pair *pair,
          gint64 duration)
{
  gint64 until = pair->sim->now + duration;

  while (pair->sim->failure == NULL && sim_next_time (pair->sim) <= until)
    sim_step (pair->sim);
  pair->sim->now = MAX (pair->sim->now, until);
  g_assert_cmpstr (pair->sim->failure, ==, NULL);
}

void
pair_start (Pair *pair)
{
  sim_host_start (pair->alpha);
  sim_host_start (pair->beta);
  pair_run (pair, SIM_SECOND);
}

void
pair_end (Pair *pair)
{
  sim_host_stop (pair->alpha);
  sim_host_stop (pair->beta);
  sim_events_clear (pair->sim);
  for (guint i = 0; i < SIM_RECORDED; i++)
    g_free (pair->sim->recorded[i].data);
  g_hash_table_unref (pair->sim->nonces);
  g_free (pair->sim->buffers);
  g_free (pair->sim);
}

gboolean
pair_ping (Pair *pair,
           SimHost *from,
           SimHost *to,
           gint64 within)
{
  guint before = from->pongs;

  pilot_overlay_ping (from->overlay, to->node, pair->sim->now);
  sim_host_run (from);
  pair_run (pair, within);
  return from->pongs > before;
}

PilotPeerInfo
pair_peer (SimHost *host,
           SimHost *other)
{
  PilotPeerInfo info = { 0 };

  pilot_overlay_peer_info (host->overlay, other->node, &info);
  return info;
}

void
pair_inject (Pair *pair,
             const guint8 *frame,
             gsize length)
{
  PilotEndpoint from = sim_endpoint (0x2d000001, 4000);

  sim_inject (pair->alpha, &from, frame, length);
}

SimFlow *
pair_dial (Pair *pair,
           SimFlowKind kind,
           guint64 there,
           guint64 back)
{
  SimFlow *flow = &pair->sim->flows[pair->sim->n_flows];

  *flow = (SimFlow) { .sim = pair->sim, .index = pair->sim->n_flows, .port = (guint16) (1000 + pair->sim->n_flows), .kind = kind, .seed = 9, .start = pair->sim->now };
  flow->client = (SimEnd) { .flow = flow, .host = pair->alpha, .is_client = TRUE, .to_write = there, .to_read = back };
  flow->server = (SimEnd) { .flow = flow, .host = pair->beta, .to_write = back, .to_read = there };
  pair->sim->n_flows++;
  sim_flow_start (pair->sim, flow);
  return flow;
}
