/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "sim.h"

#include <string.h>

#include "protocol/beacon-message.h"
#include "protocol/bytes.h"
#include "protocol/frame.h"

/* Links, NAT boxes, the beacon, and the queue of what will happen. */

#define IP_AND_UDP 28

struct _SimEvent {
  gint64 time;
  guint64 sequence;
  SimCallback callback;
  gpointer data;
  gboolean owned; /* the data is the callback's to free */
};

typedef struct
{
  gint host; /* -1: the beacon */
  PilotEndpoint from, to;
  gsize length;
  gboolean cut; /* on its way */
  guint8 data[];
} Datagram;

guint64
sim_random (SimRandom *random)
{
  guint64 z = random->state += 0x9e3779b97f4a7c15u;

  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

gint64
sim_random_range (SimRandom *random,
                  gint64 low,
                  gint64 high)
{
  return low + (gint64) (sim_random (random) % (guint64) (high - low + 1));
}

gboolean
sim_random_chance (SimRandom *random,
                   guint per_mille)
{
  return sim_random (random) % 1000 < per_mille;
}

void
sim_fail (Sim *sim,
          const char *format,
          ...)
{
  va_list arguments;

  if (sim->failure != NULL)
    return;
  va_start (arguments, format);
  sim->failure = g_strdup_vprintf (format, arguments);
  va_end (arguments);
}

static gboolean
earlier (const SimEvent *a,
         const SimEvent *b)
{
  return a->time != b->time ? a->time < b->time : a->sequence < b->sequence;
}

static void
add_event (Sim *sim,
           SimEvent event)
{
  guint at;

  if (sim->n_events == sim->capacity) {
    sim->capacity = MAX (256, sim->capacity * 2);
    sim->events = g_renew (SimEvent, sim->events, sim->capacity);
  }
  for (at = sim->n_events++; at > 0 && earlier (&event, &sim->events[(at - 1) / 2]); at = (at - 1) / 2)
    sim->events[at] = sim->events[(at - 1) / 2];
  sim->events[at] = event;
}

void
sim_at (Sim *sim,
        gint64 time,
        SimCallback callback,
        gpointer data)
{
  add_event (sim, (SimEvent) { MAX (time, sim->now), sim->sequence++, callback, data, FALSE });
}

void
sim_at_owned (Sim *sim,
              gint64 time,
              SimCallback callback,
              gpointer data)
{
  add_event (sim, (SimEvent) { MAX (time, sim->now), sim->sequence++, callback, data, TRUE });
}

static SimEvent
pop (Sim *sim)
{
  SimEvent first = sim->events[0];
  SimEvent last = sim->events[--sim->n_events];
  guint at = 0;

  for (;;) {
    guint child = at * 2 + 1;

    if (child >= sim->n_events)
      break;
    if (child + 1 < sim->n_events && earlier (&sim->events[child + 1], &sim->events[child]))
      child++;
    if (!earlier (&sim->events[child], &last))
      break;
    sim->events[at] = sim->events[child];
    at = child;
  }
  sim->events[at] = last;
  return first;
}

gboolean
sim_step (Sim *sim)
{
  SimEvent event;

  if (sim->n_events == 0)
    return FALSE;
  event = pop (sim);
  sim->now = event.time;
  event.callback (sim, event.data);
  return TRUE;
}

gint64
sim_next_time (Sim *sim)
{
  return sim->n_events == 0 ? G_MAXINT64 : sim->events[0].time;
}

/* Callbacks that own their data must not leak it when a world ends early. */
void
sim_events_clear (Sim *sim)
{
  for (guint i = 0; i < sim->n_events; i++)
    if (sim->events[i].owned)
      g_free (sim->events[i].data);
  g_clear_pointer (&sim->events, g_free);
}

PilotEndpoint
sim_endpoint (guint32 address,
              guint16 port)
{
  PilotEndpoint endpoint = { .family = PILOT_ENDPOINT_IPV4, .port = port };

  pilot_bytes_put_u32 (endpoint.address, address);
  return endpoint;
}

static guint32
address_of (const PilotEndpoint *endpoint)
{
  return pilot_bytes_get_u32 (endpoint->address);
}

static void
trace (Sim *sim,
       const guint8 *data,
       gsize length)
{
  guint64 hash = sim->trace ^ (guint64) sim->now ^ length << 40;

  for (gsize i = 0; i < length; i += 7)
    hash = (hash ^ data[i]) * 0x100000001b3u;
  sim->trace = hash * 0x9e3779b97f4a7c15u;
}

void
sim_nat_rebind (SimNat *nat)
{
  memset (nat->mappings, 0, sizeof nat->mappings);
  nat->next_port += 1000;
}

static SimMapping *
map_out (SimNat *nat,
         const PilotEndpoint *inside,
         const PilotEndpoint *remote)
{
  SimMapping *mapping = NULL;

  for (guint i = 0; i < SIM_NAT_MAX_MAPPINGS && mapping == NULL; i++)
    if (nat->mappings[i].used && pilot_endpoint_equal (&nat->mappings[i].inside, inside) &&
        (nat->type != SIM_NAT_SYMMETRIC || pilot_endpoint_equal (&nat->mappings[i].remote, remote)))
      mapping = &nat->mappings[i];
  if (mapping == NULL) {
    mapping = &nat->mappings[nat->next_mapping++ % SIM_NAT_MAX_MAPPINGS];
    *mapping = (SimMapping) { .used = TRUE, .inside = *inside, .remote = *remote, .port = nat->next_port };
    nat->next_port += 7;
  }
  for (guint i = 0; i < MIN (mapping->n_allowed, SIM_NAT_MAX_REMOTES); i++)
    if (pilot_endpoint_equal (&mapping->allowed[i], remote))
      return mapping;
  mapping->allowed[mapping->n_allowed++ % SIM_NAT_MAX_REMOTES] = *remote;
  return mapping;
}

/* The inside endpoint a datagram from `remote` to our outside `port` goes to, or NULL. */
static const PilotEndpoint *
map_in (SimNat *nat,
        guint16 port,
        const PilotEndpoint *remote)
{
  for (guint i = 0; i < SIM_NAT_MAX_MAPPINGS; i++) {
    SimMapping *mapping = &nat->mappings[i];

    if (!mapping->used || mapping->port != port)
      continue;
    if (nat->type == SIM_NAT_FULL_CONE)
      return &mapping->inside;
    for (guint k = 0; k < MIN (mapping->n_allowed, SIM_NAT_MAX_REMOTES); k++)
      if (nat->type == SIM_NAT_RESTRICTED ? pilot_endpoint_equal_host (&mapping->allowed[k], remote)
                                          : pilot_endpoint_equal (&mapping->allowed[k], remote))
        return &mapping->inside;
  }
  return NULL;
}

static gboolean
is_too_large (const SimLink *link,
              gsize length)
{
  return link->mtu > 0 && (gint64) length + IP_AND_UDP > link->mtu;
}

/* When something of `length` bytes that enters the link now leaves it; -1 = lost. */
static gint64
cross (Sim *sim,
       SimLink *link,
       guint direction,
       gint64 time,
       gsize length)
{
  gint64 start;

  if (time < link->down_until || (is_too_large (link, length) && !(link->cuts && direction == 1)) || sim_random_chance (&sim->random, link->loss))
    return -1;
  start = MAX (time, link->busy_until[direction]);
  if (link->rate > 0) {
    if ((start - time) * link->rate / SIM_SECOND > link->queue)
      return -1;
    link->busy_until[direction] = start + (gint64) length * SIM_SECOND / link->rate;
    start = link->busy_until[direction];
  }
  start += link->delay;
  if (link->jitter > 0)
    start += sim_random_range (&sim->random, 0, link->jitter);
  if (sim_random_chance (&sim->random, link->reorder))
    start += sim_random_range (&sim->random, SIM_MS, 30 * SIM_MS);
  return start;
}

static void deliver (Sim *sim, gpointer data);

static void
schedule (Sim *sim,
          gint64 time,
          gint host,
          const PilotEndpoint *from,
          const PilotEndpoint *to,
          const guint8 *data,
          gsize length,
          gboolean cut)
{
  Datagram *datagram = g_malloc (sizeof *datagram + length);

  datagram->host = host;
  datagram->from = *from;
  datagram->to = *to;
  datagram->length = length;
  datagram->cut = cut;
  memcpy (datagram->data, data, length);
  sim_at_owned (sim, time, deliver, datagram);
}

static void
down_link (Sim *sim,
           SimHost *host,
           const PilotEndpoint *from,
           gint64 time,
           const guint8 *data,
           gsize length)
{
  guint copies = sim_random_chance (&sim->random, host->link.duplicate) ? 2 : 1;

  for (guint i = 0; i < copies; i++) {
    gint64 arrival = cross (sim, &host->link, 1, time, length);

    if (arrival >= 0)
      schedule (sim, arrival, (gint) host->index, from, &host->endpoint, data, length, is_too_large (&host->link, length));
  }
}

/* From somewhere on the internet, at `time`, to a public endpoint. */
static void
route (Sim *sim,
       const PilotEndpoint *from,
       const PilotEndpoint *to,
       gint64 time,
       const guint8 *data,
       gsize length)
{
  if (pilot_endpoint_equal (to, &sim->beacon)) {
    schedule (sim, time, -1, from, to, data, length, FALSE);
    return;
  }
  for (guint i = 0; i < sim->n_hosts; i++) {
    SimHost *host = &sim->hosts[i];
    const PilotEndpoint *inside;

    if (host->nat < 0) {
      if (pilot_endpoint_equal (&host->endpoint, to))
        down_link (sim, host, from, time, data, length);
      continue;
    }
    if (sim->nats[host->nat].address != address_of (to))
      continue;
    inside = map_in (&sim->nats[host->nat], to->port, from);
    if (inside != NULL && pilot_endpoint_equal (inside, &host->endpoint))
      down_link (sim, host, from, time, data, length);
  }
}

void
sim_send (SimHost *host,
          const PilotEndpoint *to,
          const guint8 *data,
          gsize length)
{
  Sim *sim = host->sim;
  PilotEndpoint from = host->endpoint;
  gint64 time;

  sim->n_datagrams++;
  trace (sim, data, length);
  if (sim->passes != NULL && !sim->passes (host, data, length, sim->passes_data))
    return;
  time = cross (sim, &host->link, 0, sim->now, length);
  if (time < 0)
    return;
  if (pilot_endpoint_is_private (to) && host->nat >= 0) {
    for (guint i = 0; i < sim->n_hosts; i++)
      if (sim->hosts[i].nat == host->nat && pilot_endpoint_equal (&sim->hosts[i].endpoint, to))
        down_link (sim, &sim->hosts[i], &from, time, data, length);
    return;
  }
  if (host->nat >= 0) {
    SimNat *nat = &sim->nats[host->nat];

    from = sim_endpoint (nat->address, map_out (nat, &host->endpoint, to)->port);
    /* No hairpin. */
    if (address_of (to) == nat->address)
      return;
  }
  route (sim, &from, to, time, data, length);
}

void
sim_inject (SimHost *host,
            const PilotEndpoint *from,
            const guint8 *data,
            gsize length)
{
  schedule (host->sim, host->sim->now, (gint) host->index, from, &host->endpoint, data, length, FALSE);
}

static void
beacon_send (Sim *sim,
             const PilotEndpoint *to,
             const PilotBeaconMessage *message)
{
  guint8 data[64];
  gsize length = pilot_beacon_message_encode (message, data, sizeof data);

  route (sim, &sim->beacon, to, sim->now, data, length);
}

static void
beacon_receive (Sim *sim,
                Datagram *datagram)
{
  PilotBeaconMessage message;
  SimHost *host;

  if (sim->now < sim->beacon_down_until ||
      !pilot_beacon_message_decode (&message, datagram->data, datagram->length))
    return;
  if (message.type == PILOT_BEACON_DISCOVER) {
    PilotBeaconMessage reply = { .type = PILOT_BEACON_DISCOVER_REPLY, .endpoint = datagram->from };

    host = sim_host_by_node (sim, message.node);
    if (host != NULL)
      sim->seen[host->index] = datagram->from;
    beacon_send (sim, &datagram->from, &reply);
  } else if (message.type == PILOT_BEACON_PUNCH_REQUEST) {
    SimHost *target = sim_host_by_node (sim, message.target);
    PilotBeaconMessage command = { .type = PILOT_BEACON_PUNCH_COMMAND };

    host = sim_host_by_node (sim, message.node);
    if (host == NULL || target == NULL || pilot_endpoint_is_none (&sim->seen[target->index]))
      return;
    sim->seen[host->index] = datagram->from;
    command.endpoint = sim->seen[target->index];
    beacon_send (sim, &sim->seen[host->index], &command);
    command.endpoint = sim->seen[host->index];
    beacon_send (sim, &sim->seen[target->index], &command);
  } else if (message.type == PILOT_BEACON_RELAY && datagram->length >= PILOT_BEACON_RELAY_HEADER_SIZE) {
    gsize length;
    guint8 *data;

    host = sim_host_by_node (sim, message.target);
    if (host == NULL || pilot_endpoint_is_none (&sim->seen[host->index]))
      return;
    data = pilot_beacon_relay_to_deliver (datagram->data, datagram->length, &length);
    route (sim, &sim->beacon, &sim->seen[host->index], sim->now, data, length);
  }
}

static void
deliver (Sim *sim,
         gpointer data)
{
  g_autofree Datagram *datagram = data;

  if (datagram->host < 0)
    beacon_receive (sim, datagram);
  else if (pilot_endpoint_equal (&datagram->to, &sim->hosts[datagram->host].endpoint))
    sim_host_receive (&sim->hosts[datagram->host], &datagram->from, datagram->data, datagram->length, datagram->cut);
}
