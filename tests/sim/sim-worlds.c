/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/frame.h"

/*
 * sim-worlds --from N --count N: worlds made from seeds, each run to its end and checked.
 * sim-worlds --seed N [--verbose]: one of them again.
 */

#define WORLD_END (900 * SIM_SECOND)
#define LINGER (180 * SIM_SECOND)

typedef struct
{
  gint64 at;
  guint kind; /* SimFault */
  guint host;
  gint64 length;
} Fault;

enum {
  FAULT_RESTART,
  FAULT_REBIND,
  FAULT_BLACKOUT,
  FAULT_BEACON,
  FAULT_NOISE,
  FAULT_MOVE,
  N_FAULTS,
  FAULT_MTU,
  FAULT_IDENTITY,
  FAULT_REGISTRY,
  FAULT_REPEAT,
};

typedef struct
{
  Sim *sim;
  Fault fault;
} FaultCall;

/* Every path carries IPv6's least. */
static const gint64 mtus[] = { 0, 1500, 1500, 1500, 1420, 1280, 9000 };

static void
start_host (Sim *sim,
            gpointer data)
{
  /* Two restarts may overlap. */
  sim_host_stop (data);
  sim_host_start (data);
}

/* A recording, perhaps damaged, from anywhere to anybody; or a key exchange under a stolen name. */
static void
noise (Sim *sim)
{
  SimHost *host = &sim->hosts[sim_random (&sim->random) % sim->n_hosts];
  SimHost *victim = &sim->hosts[sim_random (&sim->random) % sim->n_hosts];
  PilotEndpoint from = sim_endpoint (0x2d000001 + (guint32) (sim_random (&sim->random) % 3), 4000);

  if (sim_random_chance (&sim->random, 300)) {
    PilotIdentity identity;
    guint8 frame[PILOT_FRAME_PILA_SIZE], key[32] = { (guint8) sim_random (&sim->random), 7 };

    memcpy (identity.seed, sim->lie, sizeof identity.seed);
    pilot_identity_init (&identity, sim->lie);
    pilot_frame_build_pila (frame, victim->node, key, &identity);
    sim_inject (host, &from, frame, sizeof frame);
    return;
  }
  if (sim->n_recorded == 0)
    return;
  {
    SimRecorded *recorded = &sim->recorded[sim_random (&sim->random) % MIN (sim->n_recorded, SIM_RECORDED)];
    g_autofree guint8 *data = g_memdup2 (recorded->data, recorded->length);

    if (sim_random_chance (&sim->random, 500) && recorded->length > 5)
      data[4 + sim_random (&sim->random) % (recorded->length - 4)] ^= (guint8) (1 + sim_random (&sim->random) % 255);
    sim_inject (host, sim_random_chance (&sim->random, 300) ? &sim->beacon : &from, data, recorded->length);
  }
}

/* It starts anew as somebody else under its old number, and the registry says so. Who trusted the former trusts nobody there. */
static void
change_identity (SimHost *host)
{
  guint8 seed[PILOT_ED25519_SEED_SIZE];

  sim_host_stop (host);
  memcpy (seed, host->identity.seed, sizeof seed);
  seed[0]++;
  pilot_identity_clear (&host->identity);
  pilot_identity_init (&host->identity, seed);
  sim_host_start (host);
}

static void
run_fault (Sim *sim,
           gpointer data)
{
  g_autofree FaultCall *call = data;
  SimHost *host = &sim->hosts[call->fault.host];

  if (sim->verbose)
    g_print ("# %.6f: fault %u at host %u for %.3f s\n", sim->now / 1e6, call->fault.kind, call->fault.host,
             call->fault.length / 1e6);
  switch (call->fault.kind) {
  case FAULT_RESTART:
    sim_host_stop (host);
    sim_at (sim, sim->now + call->fault.length, start_host, host);
    break;
  case FAULT_REBIND:
    if (host->nat >= 0)
      sim_nat_rebind (&sim->nats[host->nat]);
    break;
  case FAULT_BLACKOUT:
    host->link.down_until = sim->now + call->fault.length;
    break;
  case FAULT_BEACON:
    sim->beacon_down_until = sim->now + call->fault.length;
    break;
  case FAULT_MTU:
    host->link.mtu = call->fault.length;
    break;
  case FAULT_IDENTITY:
    change_identity (host);
    break;
  case FAULT_REGISTRY:
    sim->registry_delay = call->fault.length;
    break;
  case FAULT_REPEAT:
    host->link.duplicate = (guint) (call->fault.length / SIM_MS);
    break;
  case FAULT_MOVE:
    host->endpoint.port++;
    if (host->overlay != NULL) {
      pilot_overlay_network_changed (host->overlay, sim->now);
      sim_host_run (host);
    }
    break;
  default:
    for (guint i = 0; i < 5; i++)
      noise (sim);
    break;
  }
}

static void
make_hosts (Sim *sim)
{
  SimRandom *random = &sim->random;
  gint64 rates[] = { 0, 0, 125000, 1250000, 12500000 };
  guint loss = sim_random_chance (random, 400) ? (guint) sim_random_range (random, 1, 80) : 0;

  sim->n_hosts = (guint) sim_random_range (random, 2, 4);
  sim->n_nats = (guint) sim_random_range (random, 1, 4);
  for (guint i = 0; i < sim->n_nats; i++) {
    sim->nats[i].type = (SimNatType) sim_random_range (random, SIM_NAT_FULL_CONE, SIM_NAT_SYMMETRIC);
    sim->nats[i].address = 0x2c000001 + i;
    sim->nats[i].next_port = (guint16) (20000 + i * 100);
  }
  for (guint i = 0; i < sim->n_hosts; i++) {
    SimHost *host = &sim->hosts[i];
    guint8 seed[PILOT_ED25519_SEED_SIZE];

    host->sim = sim;
    host->index = i;
    host->node = 100 + (guint32) sim_random_range (random, 0, 1000) * 10 + i;
    host->random.state = sim_random (random);
    for (guint k = 0; k < sizeof seed; k++)
      seed[k] = (guint8) sim_random (random);
    pilot_identity_init (&host->identity, seed);
    host->nat = sim_random_chance (random, 700) ? (gint) (sim_random (random) % sim->n_nats) : -1;
    host->endpoint = host->nat >= 0 ? sim_endpoint (0xc0a80001 + i + ((guint32) host->nat << 8), 5000)
                                    : sim_endpoint (0x2e000001 + i, 5000);
    host->relay_only = sim_random_chance (random, 60);
    host->link = (SimLink){
      .delay = sim_random_range (random, 100, 60 * SIM_MS),
      .jitter = sim_random_chance (random, 500) ? sim_random_range (random, 0, 20 * SIM_MS) : 0,
      .loss = loss,
      .duplicate = sim_random_chance (random, 300) ? 30 : 0,
      .reorder = sim_random_chance (random, 300) ? 30 : 0,
      .rate = rates[sim_random (random) % G_N_ELEMENTS (rates)],
      .queue = sim_random_range (random, 30000, 200000),
    };
  }
}

static guint64
random_size (SimRandom *random)
{
  switch (sim_random (random) % 5) {
  case 0:
    return 0;
  case 1:
    return (guint64) sim_random_range (random, 1, 100);
  case 2:
  case 3:
    return (guint64) sim_random_range (random, 100, 20000);
  default:
    return (guint64) sim_random_range (random, 20000, 150000);
  }
}

static void
make_flows (Sim *sim,
            gboolean faults)
{
  SimRandom *random = &sim->random;

  sim->n_flows = (guint) sim_random_range (random, 1, 10);
  for (guint i = 0; i < sim->n_flows; i++) {
    SimFlow *flow = &sim->flows[i];
    guint client = (guint) (sim_random (random) % sim->n_hosts);
    guint server = (client + 1 + (guint) (sim_random (random) % (sim->n_hosts - 1))) % sim->n_hosts;
    guint kind = (guint) (sim_random (random) % 20);

    flow->sim = sim;
    flow->index = i;
    flow->port = (guint16) (1000 + i);
    flow->seed = sim_random (random);
    flow->kind = kind == 0 ? SIM_FLOW_REFUSED : kind == 1                 ? SIM_FLOW_STRANGER
                                            : kind == 2                   ? SIM_FLOW_RESET
                                            : kind < 8 && sim->extensions ? SIM_FLOW_HALF_CLOSE
                                                                          : SIM_FLOW_BOTH;
    flow->start = sim_random_range (random, 100 * SIM_MS, 40 * SIM_SECOND);
    flow->may_fail = faults;
    flow->client = (SimEnd) { .flow = flow, .host = &sim->hosts[client], .is_client = TRUE };
    flow->server = (SimEnd) { .flow = flow, .host = &sim->hosts[server] };
    flow->client.to_write = flow->server.to_read = random_size (random);
    flow->server.to_write = flow->client.to_read = random_size (random);
    sim_at (sim, flow->start, sim_flow_start, flow);
  }
}

static gboolean
make_faults (Sim *sim)
{
  SimRandom *random = &sim->random;
  guint n = sim_random_chance (random, 500) ? (guint) sim_random_range (random, 1, 4) : 0;
  gboolean fatal = FALSE;

  for (guint i = 0; i < n; i++) {
    FaultCall *call = g_new (FaultCall, 1);

    *call = (FaultCall) { sim, { sim_random_range (random, SIM_SECOND, 60 * SIM_SECOND), (guint) (sim_random (random) % N_FAULTS), (guint) (sim_random (random) % sim->n_hosts), sim_random_range (random, 0, 20 * SIM_SECOND) } };
    /* Rubbish and a new mapping must never end a stream. Behind a new mapping nobody can be called until the next discover. */
    fatal |= call->fault.kind != FAULT_NOISE && call->fault.kind != FAULT_REBIND;
    sim->rebinds |= call->fault.kind == FAULT_REBIND;
    sim_at_owned (sim, call->fault.at, run_fault, call);
  }
  return fatal;
}

/* From a generator of their own: what else is in the worlds of old seeds stays. Another MTU must never end a stream. */
static void
make_mtus (Sim *sim)
{
  SimRandom random = { sim->seed ^ 0x6d7475 };

  for (guint i = 0; i < sim->n_hosts; i++)
    sim->hosts[i].link.mtu = mtus[sim_random (&random) % G_N_ELEMENTS (mtus)];
  for (guint i = sim_random_chance (&random, 500) ? 3 : 0; i > 0; i--) {
    FaultCall *call = g_new (FaultCall, 1);

    *call = (FaultCall) { sim, { sim_random_range (&random, SIM_SECOND, 45 * SIM_SECOND), FAULT_MTU, (guint) (sim_random (&random) % sim->n_hosts), mtus[sim_random (&random) % G_N_ELEMENTS (mtus)] } };
    sim_at_owned (sim, call->fault.at, run_fault, call);
  }
}

static void
add_fault (Sim *sim,
           SimRandom *random,
           guint kind,
           guint host,
           gint64 length)
{
  FaultCall *call = g_new (FaultCall, 1);

  *call = (FaultCall) { sim, { sim_random_range (random, SIM_SECOND, 45 * SIM_SECOND), kind, host, length } };
  sim_at_owned (sim, call->fault.at, run_fault, call);
}

/* Whose key is whose: a node id with another key behind it, answers of the registry that come late, datagrams that come twice.
 * Only the first two may keep a stream from coming about. */
static void
make_doubts (Sim *sim)
{
  SimRandom random = { sim->seed ^ 0x646f756274 };
  guint host = (guint) (sim_random (&random) % sim->n_hosts);

  if (sim_random_chance (&random, 150)) {
    add_fault (sim, &random, FAULT_IDENTITY, host, 0);
    for (guint i = 0; i < sim->n_flows; i++)
      sim->flows[i].may_fail |= sim->flows[i].client.host->index == host || sim->flows[i].server.host->index == host;
  }
  if (sim_random_chance (&random, 150)) {
    add_fault (sim, &random, FAULT_REGISTRY, 0, sim_random_range (&random, SIM_SECOND, 12 * SIM_SECOND));
    for (guint i = 0; i < sim->n_flows; i++)
      sim->flows[i].may_fail = TRUE;
  }
  if (sim_random_chance (&random, 150))
    add_fault (sim, &random, FAULT_REPEAT, host, sim_random_range (&random, 0, 900 * SIM_MS));
}

static Sim *
world_new (guint64 seed)
{
  Sim *sim = g_new0 (Sim, 1);
  gboolean faults;

  sim->seed = seed;
  sim->random.state = seed;
  sim->nonces = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, NULL);
  sim->buffers = g_malloc ((gsize) 4 * PILOT_TRANSMIT_CAPACITY);
  sim->beacon = sim_endpoint (0x2a000001, 9001);
  sim->lie_about = -1;
  for (guint i = 0; i < sizeof sim->lie; i++)
    sim->lie[i] = (guint8) sim_random (&sim->random);
  sim->extensions = sim_random_chance (&sim->random, 700);
  sim->pins = sim_random_chance (&sim->random, 500);
  sim->watch_keys = sim->pins;
  sim->registry_delay = sim_random_range (&sim->random, SIM_MS, 300 * SIM_MS);
  make_hosts (sim);
  /* A registry that lies about a pinned key is never believed: all goes on as if it told the truth. */
  if (sim->pins && sim_random_chance (&sim->random, 200))
    sim->lie_about = (gint) (sim_random (&sim->random) % sim->n_hosts);
  if (sim_random_chance (&sim->random, 100))
    sim->registry_failures = 200;
  faults = make_faults (sim) || sim->registry_failures > 0;
  make_flows (sim, faults);
  make_mtus (sim);
  make_doubts (sim);
  for (guint i = 0; i < sim->n_hosts; i++)
    sim_host_start (&sim->hosts[i]);
  return sim;
}

static void
world_free (Sim *sim)
{
  for (guint i = 0; i < sim->n_hosts; i++) {
    sim_host_stop (&sim->hosts[i]);
    pilot_identity_clear (&sim->hosts[i].identity);
  }
  sim_events_clear (sim);
  for (guint i = 0; i < SIM_RECORDED; i++)
    g_free (sim->recorded[i].data);
  g_hash_table_unref (sim->nonces);
  g_free (sim->buffers);
  g_free (sim->failure);
  g_free (sim);
}

static gboolean
all_ended (Sim *sim)
{
  for (guint i = 0; i < sim->n_flows; i++)
    if (!sim->flows[i].ended)
      return FALSE;
  return TRUE;
}

static gboolean
is_expected (const SimFlow *flow)
{
  switch (flow->kind) {
  case SIM_FLOW_REFUSED:
    return flow->error == PILOT_STREAM_ERROR_REFUSED;
  case SIM_FLOW_STRANGER:
    return flow->error == PILOT_STREAM_ERROR_TIMEOUT;
  default:
    return flow->error == PILOT_STREAM_ERROR_NONE;
  }
}

static void
check_flows (Sim *sim)
{
  for (guint i = 0; i < sim->n_flows; i++) {
    SimFlow *flow = &sim->flows[i];

    if (!flow->ended)
      sim_fail (sim, "flow %u has not ended: client wrote %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT ", read %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT, i, flow->client.written, flow->client.to_write,
                flow->client.read, flow->client.to_read);
    else if (sim->rebinds && (flow->error == PILOT_STREAM_ERROR_NO_KEY_EXCHANGE || flow->error == PILOT_STREAM_ERROR_TIMEOUT))
      continue;
    else if (!sim->extensions && flow->client.host->link.loss > 50 &&
             (flow->error == PILOT_STREAM_ERROR_LOST || flow->error == PILOT_STREAM_ERROR_RESET))
      /* By the relay every fifth exchange is lost then, and the reference gives up after seven: once in 40 000 streams. */
      continue;
    else if (!flow->may_fail && !is_expected (flow))
      sim_fail (sim, "flow %u of kind %u ended with \"%s\"", i, flow->kind, pilot_stream_error_to_string (flow->error));
  }
}

/* Everything released and long gone: nothing may be left. */
static void
check_hosts (Sim *sim)
{
  for (guint i = 0; i < sim->n_hosts; i++) {
    PilotOverlayStats stats;

    if (sim->hosts[i].overlay == NULL)
      continue;
    pilot_overlay_stats (sim->hosts[i].overlay, &stats);
    if (stats.streams != 0)
      sim_fail (sim, "host %u still has %u streams", i, stats.streams);
    if (stats.peers > sim->n_hosts)
      sim_fail (sim, "host %u has %u peers", i, stats.peers);
  }
}

static void
world_run (Sim *sim)
{
  gint64 end = WORLD_END;

  while (sim->failure == NULL && sim->n_events > 0 && sim->now < end) {
    sim_step (sim);
    if (end == WORLD_END && all_ended (sim))
      end = sim->now + LINGER;
  }
  check_flows (sim);
  for (guint i = 0; i < sim->n_flows && sim->failure == NULL; i++)
    /* A reset is said once and can be lost; a dial that failed may have got as far as the server. */
    if (sim->flows[i].server.stream != NULL && !sim->flows[i].may_fail && sim->flows[i].kind != SIM_FLOW_RESET &&
        sim->flows[i].error == PILOT_STREAM_ERROR_NONE)
      sim_fail (sim, "the server of flow %u never learned that it is over", i);
  if (sim->failure == NULL && end != WORLD_END)
    for (guint i = 0; i < sim->n_hosts; i++) {
      /* Servers whose peer vanished without a word hold on by right. */
      gboolean held = FALSE;

      for (guint k = 0; k < sim->n_flows; k++)
        held |= sim->flows[k].server.stream != NULL;
      if (!held)
        check_hosts (sim);
    }
}

static void
print_world (Sim *sim)
{
  for (guint i = 0; i < sim->n_hosts; i++)
    g_print ("# host %u: node %u nat %d type %d relay-only %d delay %" G_GINT64_FORMAT " us loss %u rate %" G_GINT64_FORMAT
             " incarnation %u\n",
             i, sim->hosts[i].node, sim->hosts[i].nat,
             sim->hosts[i].nat < 0 ? -1 : (gint) sim->nats[sim->hosts[i].nat].type, sim->hosts[i].relay_only,
             sim->hosts[i].link.delay, sim->hosts[i].link.loss, sim->hosts[i].link.rate, sim->hosts[i].incarnation);
  for (guint i = 0; i < sim->n_flows; i++)
    g_print ("# flow %u: kind %u, %u to %u, start %.3f, end %.3f, client %" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT
             ", server %" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT ", \"%s\"%s\n",
             i, sim->flows[i].kind,
             sim->flows[i].client.host->index, sim->flows[i].server.host->index, sim->flows[i].start / 1e6,
             sim->flows[i].ended_at / 1e6, sim->flows[i].client.read, sim->flows[i].client.to_read,
             sim->flows[i].server.read, sim->flows[i].server.to_read,
             pilot_stream_error_to_string (sim->flows[i].error), sim->flows[i].may_fail ? " (may fail)" : "");
}

static gboolean
run_seed (guint64 seed,
          gboolean verbose,
          guint64 *trace)
{
  Sim *sim = world_new (seed);
  gboolean good;

  sim->verbose = verbose;
  world_run (sim);
  good = sim->failure == NULL;
  if (!good)
    g_print ("# seed %" G_GUINT64_FORMAT " at %.6f s: %s\n# replay: sim-worlds --verbose --seed %" G_GUINT64_FORMAT "\n",
             seed, sim->now / 1e6, sim->failure, seed);
  if (verbose)
    print_world (sim);
  *trace = sim->trace ^ sim->n_datagrams;
  world_free (sim);
  return good;
}

int
main (int argc,
      char **argv)
{
  gint64 from = 1, count = 100, seed = -1;
  gboolean verbose = FALSE;
  const GOptionEntry entries[] = {
    { "from", 0, 0, G_OPTION_ARG_INT64, &from, "First seed", "N" },
    { "count", 0, 0, G_OPTION_ARG_INT64, &count, "How many seeds", "N" },
    { "seed", 0, 0, G_OPTION_ARG_INT64, &seed, "Just this one", "N" },
    { "verbose", 0, 0, G_OPTION_ARG_NONE, &verbose, "Print the world", NULL },
    { NULL },
  };
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);
  g_autoptr (GError) error = NULL;
  gint64 failed = 0;

  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, &argc, &argv, &error)) {
    g_printerr ("%s\n", error->message);
    return 2;
  }
  if (seed >= 0) {
    from = seed;
    count = 1;
  }
  g_print ("1..2\n");
  for (gint64 i = 0; i < count; i++) {
    guint64 trace;

    failed += !run_seed ((guint64) (from + i), verbose, &trace);
  }
  g_print ("%s 1 - %" G_GINT64_FORMAT " worlds from seed %" G_GINT64_FORMAT ", %" G_GINT64_FORMAT " failed\n",
           failed == 0 ? "ok" : "not ok", count, from, failed);
  {
    guint64 first, second;

    run_seed ((guint64) from, FALSE, &first);
    run_seed ((guint64) from, FALSE, &second);
    g_print ("%s 2 - the same seed gives the same world\n", first == second ? "ok" : "not ok");
    failed += first != second;
  }
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
