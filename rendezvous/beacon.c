/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/beacon.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libpilot/pilot-error.h"
#include "protocol/beacon-message.h"
#include "protocol/bytes.h"
#include "rendezvous/socket.h"

#define BATCH 64
#define BATCHES_PER_TURN 16 /* then the registry gets a turn */
#define DATAGRAM_SIZE 65536
#define SOCKET_BUFFER (16 * 1024 * 1024)
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
  gint64 punch_credit; /* the time up to which punches are paid for */
  gint64 window_start; /* of the relay limit */
  guint window_count;
} Registration;

/* Where a message came from: an address, or a link. */
typedef struct
{
  PilotEndpoint from;  /* of a link: what its node is told it looks like */
  PilotEndpoint local; /* of ours; none for a link */
  PilotBeaconLink *link;
} Source;

typedef union {
  struct cmsghdr header;
  guint8 space[CMSG_SPACE (sizeof (struct in6_pktinfo))];
} Control;

struct _PilotBeacon {
  PilotReactorWatch watch; /* first: the watch is the beacon */
  PilotReactor *reactor;
  gboolean is_ipv6;
  PilotBeaconLimits limits;
  PilotBeaconPolicy policy;
  gboolean has_policy;
  gpointer user_data;
  GHashTable *nodes; /* id -> Registration */
  PilotBeaconStatistics statistics;
  gint64 now; /* of this batch */

  guint8 *buffers; /* BATCH datagrams */
  struct mmsghdr in[BATCH];
  struct iovec in_vec[BATCH];
  struct sockaddr_storage in_name[BATCH];
  Control in_control[BATCH];

  /* What goes out, at most two messages for one that came in; a batch that does not fit into the socket is kept, and nothing
   * more is read until it is gone. */
  struct mmsghdr out[2 * BATCH];
  struct iovec out_vec[2 * BATCH];
  struct sockaddr_storage out_name[2 * BATCH];
  Control out_control[2 * BATCH];
  guint8 out_small[2 * BATCH][PILOT_BEACON_ENDPOINT_MAX_SIZE];
  guint n_out;
  guint n_sent;
  gboolean is_blocked; /* while a link's message is handled: a batch waits for the socket, nothing more can be queued */
};

/* Sending */

static void
set_local_address (PilotBeacon *self,
                   struct msghdr *message,
                   Control *control,
                   const PilotEndpoint *local)
{
  struct cmsghdr *header = &control->header;

  message->msg_control = NULL;
  message->msg_controllen = 0;
  if (local == NULL || pilot_endpoint_is_none (local))
    return;
  message->msg_control = control;
  if (self->is_ipv6) {
    struct in6_pktinfo info = { .ipi6_ifindex = local->scope };
    struct sockaddr_storage address;

    pilot_endpoint_to_sockaddr (local, TRUE, &address);
    info.ipi6_addr = ((struct sockaddr_in6 *) &address)->sin6_addr;
    header->cmsg_level = IPPROTO_IPV6;
    header->cmsg_type = IPV6_PKTINFO;
    header->cmsg_len = CMSG_LEN (sizeof info);
    memcpy (CMSG_DATA (header), &info, sizeof info);
    message->msg_controllen = CMSG_SPACE (sizeof info);
  } else {
    struct in_pktinfo info = { 0 };

    memcpy (&info.ipi_spec_dst, local->address, sizeof info.ipi_spec_dst);
    header->cmsg_level = IPPROTO_IP;
    header->cmsg_type = IP_PKTINFO;
    header->cmsg_len = CMSG_LEN (sizeof info);
    memcpy (CMSG_DATA (header), &info, sizeof info);
    message->msg_controllen = CMSG_SPACE (sizeof info);
  }
}

/* Queues a datagram. `data` must stay until the batch is sent. */
static void
queue (PilotBeacon *self,
       const PilotEndpoint *to,
       const PilotEndpoint *local,
       guint8 *data,
       gsize length)
{
  guint i = self->n_out;
  struct msghdr *message = &self->out[i].msg_hdr;

  if (self->is_blocked) {
    self->statistics.dropped_send++;
    return;
  }
  g_assert (i < G_N_ELEMENTS (self->out));
  self->n_out++;
  self->out_vec[i] = (struct iovec) { data, length };
  *message = (struct msghdr) { .msg_name = &self->out_name[i], .msg_iov = &self->out_vec[i], .msg_iovlen = 1 };
  message->msg_namelen = pilot_endpoint_to_sockaddr (to, self->is_ipv6, &self->out_name[i]);
  set_local_address (self, message, &self->out_control[i], local);
}

/* TRUE when everything is gone. */
static gboolean
flush (PilotBeacon *self)
{
  while (self->n_sent < self->n_out) {
    int n = sendmmsg (self->watch.fd, self->out + self->n_sent, self->n_out - self->n_sent, MSG_DONTWAIT);

    if (n > 0)
      self->n_sent += (guint) n;
    else if (errno == EAGAIN) {
      pilot_reactor_modify (self->reactor, &self->watch, EPOLLOUT);
      return FALSE;
    } else if (errno != EINTR) {
      /* This one destination: unreachable, too big, an ICMP error of an earlier one. The others shall not suffer. */
      self->statistics.dropped_send++;
      self->n_sent++;
    }
  }
  self->n_out = self->n_sent = 0;
  pilot_reactor_modify (self->reactor, &self->watch, EPOLLIN);
  return TRUE;
}

/* To an address, or by a link: that goes at once. */
static void
queue_message (PilotBeacon *self,
               PilotBeaconLink *link,
               const PilotEndpoint *to,
               const PilotEndpoint *local,
               const PilotBeaconMessage *message)
{
  guint8 small[PILOT_BEACON_ENDPOINT_MAX_SIZE];
  guint8 *buffer = link != NULL || self->is_blocked ? small : self->out_small[self->n_out];
  gsize length = pilot_beacon_message_encode (message, buffer, sizeof small);

  if (length == 0)
    return;
  if (link == NULL)
    queue (self, to, local, buffer, length);
  else if (!link->deliver (link, buffer, length))
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
  if (requester->punch_credit < self->now - PUNCH_BURST * PUNCH_INTERVAL)
    requester->punch_credit = self->now - PUNCH_BURST * PUNCH_INTERVAL;
  if (requester->punch_credit + PUNCH_INTERVAL > self->now) {
    self->statistics.dropped_limit++;
    return;
  }
  requester->punch_credit += PUNCH_INTERVAL;
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

static gboolean
within_relay_limit (PilotBeacon *self,
                    Registration *sender)
{
  if (self->limits.relay_limit == 0)
    return TRUE;
  if (self->now - sender->window_start >= G_USEC_PER_SEC) {
    sender->window_start = self->now;
    sender->window_count = 0;
  }
  return sender->window_count++ < self->limits.relay_limit;
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
take_relay (PilotBeacon *self,
            const Source *source,
            guint8 *data,
            gsize length)
{
  Registration *sender = lookup (self, pilot_bytes_get_u32 (data + 1));
  Registration *destination = lookup (self, pilot_bytes_get_u32 (data + 5));
  gsize deliver_length = length;

  if (destination == NULL) {
    self->statistics.dropped_unknown++;
    return;
  }
  if (!is_verified (self, sender, source)) {
    self->statistics.dropped_unverified++;
    return;
  }
  if (sender != NULL && !within_relay_limit (self, sender)) {
    self->statistics.dropped_limit++;
    return;
  }
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

/* The address the datagram was sent to, as a source for the answer: newer daemons take nothing from another (notes, 3). */
static void
get_local_address (struct msghdr *message,
                   PilotEndpoint *local)
{
  *local = (PilotEndpoint) PILOT_ENDPOINT_INIT;
  for (struct cmsghdr *header = CMSG_FIRSTHDR (message); header != NULL; header = CMSG_NXTHDR (message, header)) {
    if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO) {
      struct sockaddr_in6 address = { .sin6_family = AF_INET6 };
      struct in6_pktinfo info;

      memcpy (&info, CMSG_DATA (header), sizeof info);
      address.sin6_addr = info.ipi6_addr;
      if (IN6_IS_ADDR_LINKLOCAL (&info.ipi6_addr))
        address.sin6_scope_id = info.ipi6_ifindex;
      pilot_endpoint_from_sockaddr (local, (struct sockaddr *) &address, sizeof address);
    } else if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
      struct sockaddr_in address = { .sin_family = AF_INET };
      struct in_pktinfo info;

      memcpy (&info, CMSG_DATA (header), sizeof info);
      address.sin_addr = info.ipi_addr;
      pilot_endpoint_from_sockaddr (local, (struct sockaddr *) &address, sizeof address);
    }
  }
}

static gboolean
receive_batch (PilotBeacon *self)
{
  int n;

  for (guint i = 0; i < BATCH; i++) {
    self->in_vec[i] = (struct iovec) { self->buffers + (gsize) i * DATAGRAM_SIZE, DATAGRAM_SIZE };
    self->in[i].msg_hdr = (struct msghdr) { .msg_name = &self->in_name[i], .msg_namelen = sizeof self->in_name[i], .msg_iov = &self->in_vec[i], .msg_iovlen = 1, .msg_control = &self->in_control[i], .msg_controllen = sizeof self->in_control[i] };
  }
  n = recvmmsg (self->watch.fd, self->in, BATCH, MSG_DONTWAIT, NULL);
  if (n <= 0)
    return FALSE;
  self->now = g_get_monotonic_time ();
  for (int i = 0; i < n; i++) {
    Source source = { .link = NULL };

    if (self->in[i].msg_len == 0 ||
        !pilot_endpoint_from_sockaddr (&source.from, (struct sockaddr *) &self->in_name[i], self->in[i].msg_hdr.msg_namelen))
      continue;
    get_local_address (&self->in[i].msg_hdr, &source.local);
    take_message (self, &source, self->buffers + (gsize) i * DATAGRAM_SIZE, self->in[i].msg_len);
  }
  return flush (self) && n == BATCH;
}

static void
beacon_ready (PilotReactorWatch *watch,
              guint32 events)
{
  PilotBeacon *self = (PilotBeacon *) watch;

  if (self->n_out > 0 && !flush (self))
    return;
  for (guint i = 0; i < BATCHES_PER_TURN && receive_batch (self); i++)
    ;
}

/* Links */

/* What is queued points into the caller's buffer: it goes now or not at all. */
static void
flush_or_drop (PilotBeacon *self)
{
  if (self->n_out == 0 || flush (self))
    return;
  self->statistics.dropped_send += self->n_out - self->n_sent;
  self->n_out = self->n_sent = 0;
  pilot_reactor_modify (self->reactor, &self->watch, EPOLLIN);
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
  self->is_blocked = self->n_out > 0 && !flush (self);
  self->now = registration->seen = g_get_monotonic_time ();
  take_message (self, &source, data, length);
  if (!self->is_blocked)
    flush_or_drop (self);
  self->is_blocked = FALSE;
}

/* Life */

static gboolean
set_options (PilotBeacon *self,
             int fd,
             GError **error)
{
  static const int on = 1, size = SOCKET_BUFFER;
  gboolean ok;

  ok = self->is_ipv6 ? setsockopt (fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on) == 0
                     : setsockopt (fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) == 0;
  if (!ok) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot learn the address of datagrams: %s", g_strerror (errno));
    return FALSE;
  }
  /* As large as the system allows: FORCE is for root, the other is cut to net.core.rmem_max. */
  if (setsockopt (fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0)
    setsockopt (fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  if (setsockopt (fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0)
    setsockopt (fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  return TRUE;
}

PilotBeacon *
pilot_beacon_new (PilotReactor *reactor,
                  const PilotEndpoint *address,
                  const PilotBeaconLimits *limits,
                  const PilotBeaconPolicy *policy,
                  gpointer user_data,
                  GError **error)
{
  g_autoptr (PilotBeacon) self = g_new0 (PilotBeacon, 1);
  int fd = pilot_socket_bind (address, SOCK_DGRAM, &self->is_ipv6, error);

  self->watch.fd = -1;
  if (fd < 0)
    return NULL;
  self->watch.ready = beacon_ready;
  self->reactor = reactor;
  self->limits = *limits;
  self->user_data = user_data;
  self->has_policy = policy != NULL;
  if (policy != NULL)
    self->policy = *policy;
  self->nodes = g_hash_table_new_full (NULL, NULL, NULL, g_free);
  self->buffers = g_malloc ((gsize) BATCH * DATAGRAM_SIZE);
  if (!set_options (self, fd, error) || !pilot_reactor_add (reactor, &self->watch, fd, EPOLLIN, error)) {
    close (fd);
    return NULL;
  }
  return g_steal_pointer (&self);
}

void
pilot_beacon_free (PilotBeacon *self)
{
  if (self == NULL)
    return;
  if (self->watch.added) {
    pilot_reactor_remove (self->reactor, &self->watch);
    close (self->watch.fd);
  }
  g_clear_pointer (&self->nodes, g_hash_table_unref);
  g_free (self->buffers);
  g_free (self);
}

void
pilot_beacon_get_address (PilotBeacon *self,
                          PilotEndpoint *address)
{
  pilot_socket_get_address (self->watch.fd, address);
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
  if (registration == NULL || (registration->link == NULL && self->n_out > 0) || (registration->notified != 0 && now - registration->notified < NOTIFY_SPACING))
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
