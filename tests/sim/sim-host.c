/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "sim.h"

#include <string.h>

#include "protocol/bytes.h"
#include "protocol/beacon-message.h"
#include "protocol/frame.h"

/* The driver of one overlay, and the registry that answers it. */

#define ITEMS 4

SimHost *
sim_host_by_node (Sim *sim,
                  guint32 node)
{
  for (guint i = 0; i < sim->n_hosts; i++)
    if (sim->hosts[i].node == node)
      return &sim->hosts[i];
  return NULL;
}

static void
host_random (guint8 *out,
             gsize length,
             gpointer user_data)
{
  SimHost *host = user_data;

  for (gsize i = 0; i < length; i++)
    out[i] = (guint8) (sim_random (&host->random) >> 32);
}

static PilotAdmit
host_admit (guint32 node,
            guint16 port,
            gpointer user_data)
{
  SimHost *host = user_data;
  SimFlow *flow = sim_flow_by_port (host->sim, port);

  if (flow == NULL || flow->kind == SIM_FLOW_REFUSED)
    return PILOT_ADMIT_REFUSE;
  if (flow->kind == SIM_FLOW_STRANGER)
    return PILOT_ADMIT_SILENCE;
  if (flow->client.host->node != node || flow->server.host != host)
    sim_fail (host->sim, "a SYN for flow %u came to host %u as from node %u", flow->index, host->index, node);
  return PILOT_ADMIT_ACCEPT;
}

static gboolean
host_admit_datagram (guint32 node,
                     guint16 port,
                     gpointer user_data)
{
  SimHost *host = user_data;

  return host->datagrams_admitted && port != SIM_UNBOUND_PORT;
}

/* No nonce is ever used twice, whatever happened before (watched where datagrams leave). */
static void
watch_nonce (SimHost *host,
             const guint8 *data,
             gsize length)
{
  Sim *sim = host->sim;
  guint64 key;

  if (length > PILOT_BEACON_RELAY_HEADER_SIZE && data[0] == PILOT_BEACON_RELAY) {
    data += PILOT_BEACON_RELAY_HEADER_SIZE;
    length -= PILOT_BEACON_RELAY_HEADER_SIZE;
  }
  if (pilot_frame_classify (data, length) != PILOT_FRAME_PILS || length < PILOT_FRAME_PILS_HEADER_SIZE)
    return;
  key = pilot_bytes_get_u64 (data + 12) * 0x9e3779b97f4a7c15u ^ (guint64) pilot_bytes_get_u32 (data + 8) << 17;
  if (!g_hash_table_add (sim->nonces, g_memdup2 (&key, sizeof key)))
    sim_fail (sim, "host %u used a nonce twice", host->index);
}

static void
record (SimHost *host,
        const PilotEndpoint *to,
        const guint8 *data,
        gsize length)
{
  Sim *sim = host->sim;
  SimRecorded *recorded;

  if (!sim_random_chance (&sim->random, 30))
    return;
  recorded = &sim->recorded[sim->n_recorded++ % SIM_RECORDED];
  g_free (recorded->data);
  *recorded = (SimRecorded) { g_memdup2 (data, length), length, host->endpoint, *to };
}

static gboolean
send_all (SimHost *host)
{
  Sim *sim = host->sim;
  PilotTransmit items[ITEMS];
  guint n;

  for (guint i = 0; i < ITEMS; i++)
    items[i] = (PilotTransmit) { .data = sim->buffers + (gsize) i * PILOT_TRANSMIT_CAPACITY,
                                .capacity = PILOT_TRANSMIT_CAPACITY };
  n = pilot_overlay_transmit (host->overlay, items, ITEMS, sim->now);
  for (guint i = 0; i < n; i++) {
    gsize step = items[i].segment_size == 0 ? items[i].length : items[i].segment_size;

    if (items[i].length == 0 || items[i].length > PILOT_TRANSMIT_CAPACITY)
      sim_fail (sim, "transmit filled %zu bytes", items[i].length);
    for (gsize at = 0; at < items[i].length; at += step) {
      gsize length = MIN (step, items[i].length - at);

      watch_nonce (host, items[i].data + at, length);
      host->sent_direct += !pilot_endpoint_equal (&items[i].to, &sim->beacon);
      record (host, &items[i].to, items[i].data + at, length);
      sim_send (host, &items[i].to, items[i].data + at, length);
    }
  }
  return n > 0;
}

typedef struct
{
  SimHost *host;
  guint incarnation;
  guint32 node;
  gboolean key; /* or endpoints */
} Question;

static void
answer_key (SimHost *asker,
            SimHost *target,
            guint32 node)
{
  Sim *sim = asker->sim;
  const guint8 *key = target == NULL || sim_random_chance (&sim->random, sim->registry_failures)
                          ? NULL
                          : target->identity.public_key;

  if (key != NULL && sim->lie_about == (gint) target->index)
    key = sim->lie;
  pilot_overlay_peer_key (asker->overlay, node, key, sim->now);
}

static void
answer_endpoints (SimHost *asker,
                  SimHost *target,
                  guint32 node)
{
  Sim *sim = asker->sim;
  PilotEndpoint candidates[2];
  guint n = 0;

  if (target == NULL || sim_random_chance (&sim->random, sim->registry_failures)) {
    pilot_overlay_peer_unresolved (asker->overlay, node, sim->now);
    return;
  }
  if (target->nat >= 0 && target->nat == asker->nat)
    candidates[n++] = target->endpoint;
  if (!pilot_endpoint_is_none (&sim->seen[target->index]))
    candidates[n++] = sim->seen[target->index];
  pilot_overlay_peer_endpoints (asker->overlay, node, candidates, n, target->relay_only, sim->now);
}

static void
answer (Sim *sim,
        gpointer data)
{
  g_autofree Question *question = data;
  SimHost *asker = question->host;
  SimHost *target = sim_host_by_node (sim, question->node);

  if (asker->overlay == NULL || asker->incarnation != question->incarnation)
    return;
  if (question->key)
    answer_key (asker, target, question->node);
  else
    answer_endpoints (asker, target, question->node);
  sim_host_run (asker);
}

static void
ask (SimHost *host,
     guint32 node,
     gboolean key)
{
  Question *question = g_new (Question, 1);

  *question = (Question) { host, host->incarnation, node, key };
  sim_at_owned (host->sim, host->sim->now + host->sim->registry_delay, answer, question);
}

/* With a pin nothing but the key of that pin makes a session, whatever the registry says; and a key is another only when it is. */
static void
check_keys (SimHost *host,
            const PilotEvent *event,
            const PilotPeerInfo *info)
{
  SimHost *other = sim_host_by_node (host->sim, event->node);

  if (!host->sim->watch_keys)
    return;
  if (info->session && memcmp (info->key, other->trusted_key, sizeof info->key) != 0)
    sim_fail (host->sim, "host %u has a session with host %u under a key that it does not trust", host->index, other->index);
  if (event->type == PILOT_EVENT_KEY_MISMATCH && memcmp (other->identity.public_key, other->trusted_key, sizeof info->key) == 0)
    sim_fail (host->sim, "host %u calls the key of host %u another, and nobody holds one", host->index, other->index);
}

static void
handle_event (SimHost *host,
              const PilotEvent *event)
{
  PilotStreamInfo info;
  PilotPeerInfo peer;

  switch (event->type) {
  case PILOT_EVENT_NEED_KEY:
    ask (host, event->node, TRUE);
    break;
  case PILOT_EVENT_NEED_ENDPOINTS:
    ask (host, event->node, FALSE);
    break;
  case PILOT_EVENT_KEY_MISMATCH:
    if (pilot_overlay_peer_info (host->overlay, event->node, &peer))
      check_keys (host, event, &peer);
    host->key_events++;
    break;
  case PILOT_EVENT_STREAM_INCOMING:
    pilot_stream_info (event->stream, &info);
    sim_flow_incoming (host, event->stream, info.local_port, info.remote.node);
    break;
  case PILOT_EVENT_STREAM:
    sim_flow_event (host, event->stream, event->ready);
    break;
  case PILOT_EVENT_PEER_CHANGED:
    host->rekeyed += event->rekeyed;
    if (pilot_overlay_peer_info (host->overlay, event->node, &peer) && peer.session) {
      check_keys (host, event, &peer);
      host->established++;
    }
    break;
  case PILOT_EVENT_PONG:
    host->pongs++;
    break;
  case PILOT_EVENT_DATAGRAM:
    if (host->datagrams != NULL)
      g_ptr_array_add (host->datagrams, g_strdup_printf ("%u:%u>%u %.*s", event->node, event->source_port, event->port, (int) MIN (event->length, 64),
                                                         (const char *) event->data));
    break;
  case PILOT_EVENT_OBSERVED_ENDPOINT:
    host->beacon_answers++;
    break;
  case PILOT_EVENT_BEACON_SILENT:
    host->beacon_silences++;
    break;
  case PILOT_EVENT_PEER_UNREACHABLE:
  case PILOT_EVENT_HANDSHAKE_WAITING:
    break;
  }
}

static void
wake (Sim *sim,
      gpointer data)
{
  SimHost *host = data;

  /* Superseded by an earlier one, or the host is down. */
  if (host->overlay == NULL || host->wake_at != sim->now)
    return;
  host->wake_at = G_MAXINT64;
  pilot_overlay_advance (host->overlay, sim->now);
  sim_host_run (host);
}

/* One turn of the driver, until nothing is left to do now. */
void
sim_host_run (SimHost *host)
{
  Sim *sim = host->sim;
  PilotEvent event;
  gint64 deadline;
  guint turns = 0;

  for (;;) {
    gboolean busy = FALSE;

    while (pilot_overlay_next_event (host->overlay, &event)) {
      handle_event (host, &event);
      busy = TRUE;
    }
    while (send_all (host))
      busy = TRUE;
    if (!busy && pilot_overlay_deadline (host->overlay) > sim->now)
      break;
    if (!busy)
      pilot_overlay_advance (host->overlay, sim->now);
    if (++turns > 10000) {
      sim_fail (sim, "host %u spins at %" G_GINT64_FORMAT, host->index, sim->now);
      break;
    }
  }
  deadline = MAX (pilot_overlay_deadline (host->overlay), sim->now + 1);
  if (deadline < host->wake_at) {
    host->wake_at = deadline;
    sim_at (sim, deadline, wake, host);
  }
}

void
sim_host_receive (SimHost *host,
                  const PilotEndpoint *from,
                  guint8 *data,
                  gsize length,
                  gboolean cut)
{
  PilotReceivedDatagram item = { .from = *from, .data = data, .length = length, .segment_size = cut ? PILOT_TRANSPORT_CUT : 0 };

  if (host->overlay == NULL)
    return;
  pilot_overlay_receive (host->overlay, &item, 1, host->sim->now);
  sim_host_run (host);
}

static const guint8 *
trusted_key (const SimHost *host)
{
  return host->incarnation == 0 ? host->identity.public_key : host->trusted_key;
}

void
sim_host_start (SimHost *host)
{
  Sim *sim = host->sim;
  PilotOverlayConfig config = { .node_id = host->node, .extensions = sim->extensions, .relay_only = host->relay_only };
  PilotOverlayHost callbacks = { host_random, host_admit, host, host_admit_datagram };

  memcpy (config.ed25519_seed, host->identity.seed, sizeof config.ed25519_seed);
  if (host->incarnation++ == 0)
    memcpy (host->trusted_key, host->identity.public_key, sizeof host->trusted_key);
  host->wake_at = G_MAXINT64;
  host->overlay = pilot_overlay_new (&config, &callbacks, sim->now);
  pilot_overlay_set_beacon (host->overlay, &sim->beacon, sim->now);
  for (guint i = 0; i < sim->n_hosts; i++)
    if (&sim->hosts[i] != host)
      pilot_overlay_set_trusted (host->overlay, sim->hosts[i].node, TRUE,
                                 sim->pins ? trusted_key (&sim->hosts[i]) : NULL, sim->now);
  sim_host_run (host);
}

/* As kill -9: nobody is told. */
void
sim_host_stop (SimHost *host)
{
  if (host->overlay == NULL)
    return;
  sim_flow_host_lost (host);
  g_clear_pointer (&host->overlay, pilot_overlay_free);
}
