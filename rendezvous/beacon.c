/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/beacon.h"

#include <string.h>

#include "protocol/beacon-message.h"
#include "protocol/bytes.h"
#include "protocol/rate-limit.h"
#include "rendezvous/beacon-socket.h"
#include "rendezvous/socket.h"

#define NANOSECONDS G_GINT64_CONSTANT (1000000000)
#define BATCHES_PER_TURN 4 /* some milliseconds; then the registry gets a turn */
#define DISCOVER_SPACING (30 * G_USEC_PER_SEC)
#define NOTIFY_SPACING G_USEC_PER_SEC
#define PUNCH_BURST 10
#define PUNCH_INTERVAL (G_USEC_PER_SEC / 10)

/* A registration. Times are g_get_monotonic_time(). */
typedef struct
{
  PilotBeaconLink *link; /* (nullable): then no datagram counts, and the endpoint is none */
  PilotEndpoint endpoint;
  PilotEndpoint local; /* the address of ours it talks to: deliveries must come from there */
  gint64 seen;
  gboolean wants_dest; /* deliver as 0x09 */
  gint64 notified;
  PilotTokenBucket punches;
  PilotTokenBucket relayed; /* in nanoseconds: a limit above a million datagrams a second is one too */
} Registration;

/* Where a message came from: an address, or a link. */
typedef struct
{
  PilotEndpoint from;  /* of a link: what its node is told it looks like */
  PilotEndpoint local; /* of ours; none for a link */
  PilotBeaconLink *link;
} Source;

struct _PilotBeacon {
  PilotReactorWatch watch; /* first: the watch is the beacon */
  PilotReactor *reactor;
  PilotBeaconSocket *socket;
  PilotBeaconLimits limits;
  PilotBeaconPolicy policy;
  gboolean has_policy;
  gpointer user_data;
  GHashTable *nodes; /* id -> Registration */
  PilotBeaconStatistics statistics;
  gint64 now; /* of this batch */
  /* A batch that does not fit into the socket is kept, and nothing more is read until it is gone. While a link's message is handled then,
   * nothing can be queued. */
  gboolean is_blocked;
};

/* Sending */

/* TRUE when everything is gone. What is left waits for the socket, and so does what was received and not yet looked at. */
static gboolean
flush (PilotBeacon *self)
{
  const PilotBeaconSocketStatistics *statistics = pilot_beacon_socket_get_statistics (self->socket);
  guint64 before = statistics->refused;
  gboolean done = pilot_beacon_socket_flush (self->socket);

  self->statistics.dropped_send += statistics->refused - before;
  pilot_reactor_modify (self->reactor, &self->watch, done && !pilot_beacon_socket_has_next (self->socket) ? EPOLLIN : EPOLLOUT);
  return done;
}

/* Queues a datagram. `data` must stay until the batch is sent. */
static void
queue (PilotBeacon *self,
       const PilotEndpoint *to,
       const PilotEndpoint *local,
       guint8 *data,
       gsize length)
{
  if (self->is_blocked)
    self->statistics.dropped_send++;
  else
    pilot_beacon_socket_queue (self->socket, to, local, data, length);
}

/* To an address, or by a link: that goes at once. */
static void
queue_message (PilotBeacon *self,
               PilotBeaconLink *link,
               const PilotEndpoint *to,
               const PilotEndpoint *local,
               const PilotBeaconMessage *message)
{
  guint8 data[PILOT_BEACON_ENDPOINT_MAX_SIZE];
  gsize length = pilot_beacon_message_encode (message, data, sizeof data);

  G_STATIC_ASSERT (sizeof data <= PILOT_BEACON_SOCKET_SMALL);
  if (length == 0)
    return;
  if (link == NULL && !self->is_blocked)
    pilot_beacon_socket_queue_small (self->socket, to, local, data, length);
  else if (link == NULL || !link->deliver (link, data, length))
    self->statistics.dropped_send++;
}

/* Registrations */

static Registration *
lookup (PilotBeacon *self,
        guint32 node)
{
  return g_hash_table_lookup (self->nodes, GUINT_TO_POINTER (node));
}

/* Nothing in a discover proves who sent it, so what the registry has proved decides: a datagram from the host of the node's
 * own registry connection always counts; another one only if it does not take the place of such a registration, and no more
 * often than every 30 s (beacon notes, 2.2). */
static gboolean
may_move (PilotBeacon *self,
          guint32 node,
          const Registration *registration,
          const PilotEndpoint *from)
{
  const PilotEndpoint *source = self->has_policy ? self->policy.get_source (node, self->user_data) : NULL;

  if (pilot_endpoint_equal (&registration->endpoint, from))
    return TRUE;
  if (source != NULL && pilot_endpoint_equal_host (source, from))
    return TRUE;
  if (source != NULL && pilot_endpoint_equal_host (source, &registration->endpoint) &&
      self->now - registration->seen < 4 * DISCOVER_SPACING)
    return FALSE;
  return self->now - registration->seen >= DISCOVER_SPACING;
}

static gboolean
is_from (const Registration *registration,
         const Source *source)
{
  if (source->link != NULL || registration->link != NULL)
    return registration->link == source->link;
  return pilot_endpoint_equal (&registration->endpoint, &source->from);
}

/* NULL when the table is full, or the registry has not heard of this node. */
static Registration *
add (PilotBeacon *self,
     guint32 node)
{
  Registration *registration;

  if (g_hash_table_size (self->nodes) >= self->limits.max_nodes ||
      (self->has_policy && !self->policy.is_known (node, self->user_data)))
    return NULL;
  registration = g_new0 (Registration, 1);
  g_hash_table_insert (self->nodes, GUINT_TO_POINTER (node), registration);
  return registration;
}

/* The registration after this message, or NULL when the node has none. */
static Registration *
update (PilotBeacon *self,
        guint32 node,
        const Source *source)
{
  Registration *registration;

  if (node == 0 || node == G_MAXUINT32)
    return NULL;
  registration = lookup (self, node);
  /* One that came by a link was authenticated when it was attached. */
  if (source->link != NULL || (registration != NULL && registration->link != NULL))
    return registration;
  if (registration == NULL) {
    registration = add (self, node);
    if (registration == NULL)
      return NULL;
  } else if (!may_move (self, node, registration, &source->from))
    return registration;
  registration->endpoint = source->from;
  registration->local = source->local;
  registration->seen = self->now;
  return registration;
}

static void
take_discover (PilotBeacon *self,
               const PilotBeaconMessage *message,
               const Source *source)
{
  Registration *registration = update (self, message->node, source);
  PilotBeaconMessage reply = { .type = PILOT_BEACON_DISCOVER_REPLY, .endpoint = source->from };

  if (registration != NULL && message->type == PILOT_BEACON_DISCOVER_EX && source->link == NULL && is_from (registration, source))
    registration->wants_dest = TRUE;
  /* Node id 0 is a probe before registering, an unknown id somebody else's: they learn their address all the same. */
  queue_message (self, source->link, &source->from, &source->local, &reply);
}

static void
take_punch (PilotBeacon *self,
            const PilotBeaconMessage *message,
            const Source *source)
{
  Registration *requester = update (self, message->node, source);
  Registration *target = lookup (self, message->target);
  PilotBeaconMessage command = { .type = PILOT_BEACON_PUNCH_COMMAND };

  /* Only for who really is there: else anybody could make two strangers send to each other. */
  if (requester == NULL || target == NULL || !is_from (requester, source)) {
    self->statistics.dropped_unknown++;
    return;
  }
  if (!pilot_token_bucket_take (&requester->punches, PUNCH_INTERVAL, PUNCH_BURST, self->now)) {
    self->statistics.dropped_limit++;
    return;
  }
  /* Who comes by a link has no address to be reached at, and no business with that of others. */
  if (requester->link != NULL || target->link != NULL ||
      (self->has_policy && !self->policy.may_punch (message->node, message->target, self->user_data))) {
    self->statistics.dropped_unverified++;
    return;
  }
  command.endpoint = target->endpoint;
  queue_message (self, NULL, &requester->endpoint, &requester->local, &command);
  command.endpoint = requester->endpoint;
  queue_message (self, NULL, &target->endpoint, &target->local, &command);
}

/* Whoever sends faster than that loses what is too much, and not all of the rest of a second. What was not used is kept for a second. */
static gboolean
within_relay_limit (PilotBeacon *self,
                    Registration *sender)
{
  const guint limit = self->limits.relay_limit;

  return limit == 0 || pilot_token_bucket_take (&sender->relayed, NANOSECONDS / limit, limit, self->now * 1000);
}

/* `relay_unverified` is for the reference's habits with UDP; by a link nobody speaks for another. */
static gboolean
is_verified (PilotBeacon *self,
             const Registration *sender,
             const Source *source)
{
  return (sender != NULL && is_from (sender, source)) || (self->limits.relay_unverified && source->link == NULL);
}

static void
relay (PilotBeacon *self,
       Registration *destination,
       guint8 *data,
       gsize length)
{
  gsize deliver_length = length;

  if (destination->wants_dest)
    data[0] = PILOT_BEACON_RELAY_DELIVER_DEST; /* the same layout as the request */
  else
    data = pilot_beacon_relay_to_deliver (data, length, &deliver_length);
  if (destination->link == NULL)
    queue (self, &destination->endpoint, &destination->local, data, deliver_length);
  else if (!destination->link->deliver (destination->link, data, deliver_length)) {
    self->statistics.dropped_send++;
    return;
  }
  self->statistics.relayed++;
}

/* A datagram behind the one just relayed, of the same sender (what came in one message is from one address) to the same destination. Links bring one by one, and to
 * deliver by one may end it. */
static gboolean
next_alike (PilotBeacon *self,
            const Source *source,
            const Registration *destination,
            const guint8 *header,
            guint8 **data,
            gsize *length)
{
  if (source->link != NULL || destination->link != NULL || !pilot_beacon_socket_has_room (self->socket) ||
      !pilot_beacon_socket_next_alike (self->socket, header, PILOT_BEACON_RELAY_HEADER_SIZE, data, length))
    return FALSE;
  self->statistics.received++;
  return TRUE;
}

static void
take_relay (PilotBeacon *self,
            const Source *source,
            guint8 *data,
            gsize length)
{
  Registration *sender = lookup (self, pilot_bytes_get_u32 (data + 1));
  Registration *destination = lookup (self, pilot_bytes_get_u32 (data + 5));
  guint8 header[PILOT_BEACON_RELAY_HEADER_SIZE];

  if (destination == NULL) {
    self->statistics.dropped_unknown++;
    return;
  }
  if (!is_verified (self, sender, source)) {
    self->statistics.dropped_unverified++;
    return;
  }
  memcpy (header, data, sizeof header); /* relaying writes over it */
  do {
    if (sender != NULL && !within_relay_limit (self, sender))
      self->statistics.dropped_limit++;
    else
      relay (self, destination, data, length);
  } while (next_alike (self, source, destination, header, &data, &length));
}

/* Receiving */

static void
take_message (PilotBeacon *self,
              const Source *source,
              guint8 *data,
              gsize length)
{
  PilotBeaconMessage message;

  self->statistics.received++;
  if (length >= PILOT_BEACON_RELAY_HEADER_SIZE && data[0] == PILOT_BEACON_RELAY) {
    take_relay (self, source, data, length);
    return;
  }
  /* Nobody but a reflection attack sends from port 0 or to a group. */
  if (source->from.port == 0 || pilot_endpoint_is_multicast (&source->from) || !pilot_beacon_message_decode (&message, data, length)) {
    self->statistics.dropped_malformed++;
    return;
  }
  if (message.type == PILOT_BEACON_DISCOVER || message.type == PILOT_BEACON_DISCOVER_EX)
    take_discover (self, &message, source);
  else if (message.type == PILOT_BEACON_PUNCH_REQUEST)
    take_punch (self, &message, source);
  else
    self->statistics.dropped_malformed++;
}

/* What is left of a batch. FALSE when it has to wait for the socket. */
static gboolean
take_batch (PilotBeacon *self)
{
  Source source = { .link = NULL };
  guint8 *data;
  gsize length;

  do {
    while (pilot_beacon_socket_has_room (self->socket) && pilot_beacon_socket_next (self->socket, &source.from, &source.local, &data, &length))
      take_message (self, &source, data, length);
    if (!flush (self))
      return FALSE;
  } while (pilot_beacon_socket_has_next (self->socket));
  return TRUE;
}

static void
beacon_ready (PilotReactorWatch *watch,
              guint32 events)
{
  PilotBeacon *self = (PilotBeacon *) watch;

  if (!flush (self) || !take_batch (self))
    return;
  /* To look once more than needed takes less than to come back for what has arrived meanwhile. */
  for (guint i = 0; i < BATCHES_PER_TURN && pilot_beacon_socket_receive (self->socket); i++) {
    self->now = g_get_monotonic_time ();
    if (!take_batch (self))
      return;
  }
}

/* Links */

/* What is queued points into the caller's buffer: it goes now or not at all. */
static void
flush_or_drop (PilotBeacon *self)
{
  if (!pilot_beacon_socket_has_queued (self->socket) || flush (self))
    return;
  self->statistics.dropped_send += pilot_beacon_socket_drop (self->socket);
  flush (self);
}

gboolean
pilot_beacon_attach (PilotBeacon *self,
                     PilotBeaconLink *link,
                     PilotBeaconLink **former)
{
  Registration *registration = lookup (self, link->node);

  *former = NULL;
  if (registration == NULL)
    registration = add (self, link->node);
  if (registration == NULL)
    return FALSE;
  *former = registration->link;
  registration->link = link;
  registration->endpoint = registration->local = (PilotEndpoint) PILOT_ENDPOINT_INIT;
  registration->wants_dest = FALSE;
  registration->seen = g_get_monotonic_time ();
  return TRUE;
}

void
pilot_beacon_detach (PilotBeacon *self,
                     PilotBeaconLink *link)
{
  Registration *registration = lookup (self, link->node);

  if (registration != NULL && registration->link == link)
    g_hash_table_remove (self->nodes, GUINT_TO_POINTER (link->node));
}

void
pilot_beacon_take (PilotBeacon *self,
                   PilotBeaconLink *link,
                   guint8 *data,
                   gsize length)
{
  const Source source = { .from = link->remote, .link = link };
  Registration *registration = lookup (self, link->node);

  if (length == 0 || registration == NULL || registration->link != link)
    return;
  self->is_blocked = pilot_beacon_socket_has_queued (self->socket) && !flush (self);
  self->now = registration->seen = g_get_monotonic_time ();
  take_message (self, &source, data, length);
  if (!self->is_blocked)
    flush_or_drop (self);
  self->is_blocked = FALSE;
}

/* Life */

PilotBeacon *
pilot_beacon_new (PilotReactor *reactor,
                  const PilotEndpoint *address,
                  const PilotBeaconLimits *limits,
                  const PilotBeaconPolicy *policy,
                  gpointer user_data,
                  GError **error)
{
  g_autoptr (PilotBeacon) self = g_new0 (PilotBeacon, 1);

  self->socket = pilot_beacon_socket_new (address, !limits->no_offload, error);
  if (self->socket == NULL)
    return NULL;
  self->watch.ready = beacon_ready;
  self->reactor = reactor;
  self->limits = *limits;
  self->user_data = user_data;
  self->has_policy = policy != NULL;
  if (policy != NULL)
    self->policy = *policy;
  self->nodes = g_hash_table_new_full (NULL, NULL, NULL, g_free);
  if (!pilot_reactor_add (reactor, &self->watch, pilot_beacon_socket_get_fd (self->socket), EPOLLIN, error))
    return NULL;
  return g_steal_pointer (&self);
}

void
pilot_beacon_free (PilotBeacon *self)
{
  if (self == NULL)
    return;
  if (self->watch.added)
    pilot_reactor_remove (self->reactor, &self->watch);
  pilot_beacon_socket_free (self->socket);
  g_clear_pointer (&self->nodes, g_hash_table_unref);
  g_free (self);
}

void
pilot_beacon_get_address (PilotBeacon *self,
                          PilotEndpoint *address)
{
  pilot_socket_get_address (pilot_beacon_socket_get_fd (self->socket), address);
}

gboolean
pilot_beacon_find (PilotBeacon *self,
                   guint32 node,
                   PilotEndpoint *endpoint)
{
  Registration *registration = lookup (self, node);

  if (registration == NULL || registration->link != NULL || g_get_monotonic_time () - registration->seen > (gint64) self->limits.node_lifetime * G_USEC_PER_SEC)
    return FALSE;
  *endpoint = registration->endpoint;
  return TRUE;
}

void
pilot_beacon_notify (PilotBeacon *self,
                     guint32 node)
{
  PilotBeaconMessage message = { .type = PILOT_BEACON_NOTIFY, .kind = PILOT_BEACON_NOTIFY_HANDSHAKE };
  Registration *registration = lookup (self, node);
  gint64 now = g_get_monotonic_time ();

  /* With a batch waiting for the socket there is no room, and what is lost here costs only time. */
  if (registration == NULL || (registration->link == NULL && pilot_beacon_socket_has_queued (self->socket)) || (registration->notified != 0 && now - registration->notified < NOTIFY_SPACING))
    return;
  registration->notified = now;
  queue_message (self, registration->link, &registration->endpoint, &registration->local, &message);
  if (registration->link == NULL)
    flush (self);
}

static gboolean
is_expired (gpointer key,
            gpointer value,
            gpointer user_data)
{
  const Registration *registration = value;

  return registration->link == NULL && registration->seen < *(gint64 *) user_data;
}

void
pilot_beacon_expire (PilotBeacon *self)
{
  gint64 limit = g_get_monotonic_time () - (gint64) self->limits.node_lifetime * G_USEC_PER_SEC;

  g_hash_table_foreach_remove (self->nodes, is_expired, &limit);
}

const PilotBeaconStatistics *
pilot_beacon_get_statistics (PilotBeacon *self)
{
  return &self->statistics;
}
