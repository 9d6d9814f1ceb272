/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rendezvous/beacon-socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libpilot/pilot-error.h"
#include "rendezvous/socket.h"

/* Messages in one call: 64 datagrams, be they coalesced, of which these many messages hold a megabyte, or not. More than the
 * processor's cache holds makes it slower. */
#define BATCH 64
#define BATCH_COALESCED 16
/* A coalesced receive is at most 64 KiB less headers. */
#define DATAGRAM_SIZE 65536
/* The kernel's UDP_MAX_SEGMENTS before 6.9. */
#define MAX_SEGMENTS 64
/* What UDP over IPv6 carries in one message, be it cut afterwards or not. */
#define MAX_MESSAGE 65487
#define OUT_MESSAGES 256
#define OUT_VECTORS 1024
/* 20 ms of a path of 1 Gbit/s with small datagrams: the kernel counts its overhead against it. Larger ones are a queue that nobody wants to stand in. */
#define SOCKET_BUFFER (7 * 1024 * 1024)
#define SLOW_DESTINATIONS 64

/* Room for the address of ours, and for one int (UDP_GRO) or uint16_t (UDP_SEGMENT). */
typedef union {
  struct cmsghdr align;
  guint8 bytes[CMSG_SPACE (sizeof (struct in6_pktinfo)) + CMSG_SPACE (sizeof (gint))];
} Control;

/* A destination that refused segments of this size; larger ones are not tried there either. */
typedef struct
{
  PilotEndpoint to;
  gsize segment;
} Slow;

struct _PilotBeaconSocket {
  int fd;
  gboolean is_ipv6;
  gboolean gso;
  gboolean gro;
  PilotBeaconSocketStatistics statistics;
  Slow slow[SLOW_DESTINATIONS]; /* indexed by hash, a newcomer replaces */

  guint8 *buffers; /* BATCH of them */
  struct mmsghdr in[BATCH];
  struct iovec in_vectors[BATCH];
  struct sockaddr_storage in_names[BATCH];
  Control in_controls[BATCH];
  guint n_in;
  guint position;      /* in `in` */
  gsize offset;        /* in the datagrams of that message, which are all of this size but the last */
  gsize segment;       /* 0: not looked at yet */
  PilotEndpoint from;  /* of that message */
  PilotEndpoint local; /* of that message */

  struct mmsghdr out[OUT_MESSAGES];
  struct sockaddr_storage out_names[OUT_MESSAGES];
  Control out_controls[OUT_MESSAGES];
  guint8 out_small[OUT_MESSAGES][PILOT_BEACON_SOCKET_SMALL];
  struct iovec out_vectors[OUT_VECTORS]; /* one for each datagram */
  guint n_out;
  guint n_vectors;
  guint n_sent;
  gboolean is_cut; /* the message at n_sent goes datagram by datagram */
  guint n_cut;     /* so many of it have gone */

  /* The last message, which may grow. */
  PilotEndpoint last_to;
  PilotEndpoint last_local;
  gsize last_length; /* 0: it may not */
};

/* Receiving */

static guint
prepare (PilotBeaconSocket *self)
{
  const guint n = self->gro ? BATCH_COALESCED : BATCH;

  for (guint i = 0; i < n; i++) {
    self->in_vectors[i] = (struct iovec) { self->buffers + (gsize) i * DATAGRAM_SIZE, DATAGRAM_SIZE };
    self->in[i].msg_hdr = (struct msghdr) { .msg_name = &self->in_names[i], .msg_namelen = sizeof self->in_names[i], .msg_iov = &self->in_vectors[i], .msg_iovlen = 1, .msg_control = &self->in_controls[i], .msg_controllen = sizeof self->in_controls[i] };
  }
  return n;
}

gboolean
pilot_beacon_socket_receive (PilotBeaconSocket *self)
{
  const guint room = prepare (self);
  int n = recvmmsg (self->fd, self->in, room, MSG_DONTWAIT, NULL);

  self->statistics.receive_calls++;
  self->n_in = n > 0 ? (guint) n : 0;
  self->position = 0;
  self->segment = 0;
  return self->n_in > 0;
}

/* The address it was sent to, as a source for the answer: newer daemons take nothing from another (notes, 3). And the size of what was
 * coalesced. */
static void
read_control (PilotBeaconSocket *self,
              struct msghdr *message)
{
  self->local = (PilotEndpoint) PILOT_ENDPOINT_INIT;
  for (struct cmsghdr *header = CMSG_FIRSTHDR (message); header != NULL; header = CMSG_NXTHDR (message, header)) {
    if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO) {
      struct sockaddr_in6 address = { .sin6_family = AF_INET6 };
      struct in6_pktinfo info;

      memcpy (&info, CMSG_DATA (header), sizeof info);
      address.sin6_addr = info.ipi6_addr;
      if (IN6_IS_ADDR_LINKLOCAL (&info.ipi6_addr))
        address.sin6_scope_id = info.ipi6_ifindex;
      pilot_endpoint_from_sockaddr (&self->local, (struct sockaddr *) &address, sizeof address);
    } else if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
      struct sockaddr_in address = { .sin_family = AF_INET };
      struct in_pktinfo info;

      memcpy (&info, CMSG_DATA (header), sizeof info);
      address.sin_addr = info.ipi_addr;
      pilot_endpoint_from_sockaddr (&self->local, (struct sockaddr *) &address, sizeof address);
    } else if (header->cmsg_level == SOL_UDP && header->cmsg_type == UDP_GRO) {
      gint size;

      memcpy (&size, CMSG_DATA (header), sizeof size);
      if (size > 0)
        self->segment = (gsize) size;
    }
  }
}

/* Looks at the message at `position`; FALSE when there is nothing in it for us. */
static gboolean
open_message (PilotBeaconSocket *self)
{
  struct mmsghdr *message = &self->in[self->position];

  self->offset = 0;
  self->segment = message->msg_len;
  if (message->msg_len == 0 || (message->msg_hdr.msg_flags & MSG_TRUNC) != 0 ||
      !pilot_endpoint_from_sockaddr (&self->from, (struct sockaddr *) &self->in_names[self->position], message->msg_hdr.msg_namelen))
    return FALSE;
  read_control (self, &message->msg_hdr);
  return TRUE;
}

/* The datagram at `offset` of the open message; FALSE at its end. */
static gboolean
look_at_datagram (PilotBeaconSocket *self,
                  guint8 **data,
                  gsize *length)
{
  const gsize whole = self->in[self->position].msg_len;

  if (self->offset >= whole)
    return FALSE;
  *data = self->buffers + (gsize) self->position * DATAGRAM_SIZE + self->offset;
  *length = MIN (self->segment, whole - self->offset);
  return TRUE;
}

static void
take_datagram (PilotBeaconSocket *self,
               gsize length)
{
  self->offset += length;
  self->statistics.received++;
}

gboolean
pilot_beacon_socket_next (PilotBeaconSocket *self,
                          PilotEndpoint *from,
                          PilotEndpoint *local,
                          guint8 **data,
                          gsize *length)
{
  for (; self->position < self->n_in; self->position++, self->segment = 0) {
    if ((self->segment == 0 && !open_message (self)) || !look_at_datagram (self, data, length))
      continue;
    *from = self->from;
    *local = self->local;
    take_datagram (self, *length);
    return TRUE;
  }
  return FALSE;
}

gboolean
pilot_beacon_socket_next_alike (PilotBeaconSocket *self,
                                const guint8 *head,
                                gsize head_length,
                                guint8 **data,
                                gsize *length)
{
  if (self->position >= self->n_in || self->segment == 0 || !look_at_datagram (self, data, length) ||
      *length < head_length || memcmp (*data, head, head_length) != 0)
    return FALSE;
  take_datagram (self, *length);
  return TRUE;
}

gboolean
pilot_beacon_socket_has_next (PilotBeaconSocket *self)
{
  return self->position < self->n_in;
}

/* Queueing */

static void
set_local (PilotBeaconSocket *self,
           struct msghdr *message,
           Control *control,
           const PilotEndpoint *local)
{
  struct cmsghdr *header = &control->align;

  if (pilot_endpoint_is_none (local))
    return;
  message->msg_control = control;
  if (self->is_ipv6) {
    struct in6_pktinfo info = { .ipi6_ifindex = local->scope };
    struct sockaddr_storage address;

    pilot_endpoint_to_sockaddr (local, TRUE, &address);
    info.ipi6_addr = ((struct sockaddr_in6 *) &address)->sin6_addr;
    *header = (struct cmsghdr) { .cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_PKTINFO, .cmsg_len = CMSG_LEN (sizeof info) };
    memcpy (CMSG_DATA (header), &info, sizeof info);
    message->msg_controllen = CMSG_SPACE (sizeof info);
  } else {
    struct in_pktinfo info = { 0 };

    memcpy (&info.ipi_spec_dst, local->address, sizeof info.ipi_spec_dst);
    *header = (struct cmsghdr) { .cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO, .cmsg_len = CMSG_LEN (sizeof info) };
    memcpy (CMSG_DATA (header), &info, sizeof info);
    message->msg_controllen = CMSG_SPACE (sizeof info);
  }
}

#define SEGMENT_SPACE CMSG_SPACE (sizeof (guint16))

/* Behind the address, which has its own place in front. */
static void
set_segment (struct msghdr *message,
             Control *control,
             gsize size)
{
  const guint16 value = (guint16) size;
  struct cmsghdr *header = (struct cmsghdr *) (gpointer) (control->bytes + message->msg_controllen);

  *header = (struct cmsghdr) { .cmsg_level = SOL_UDP, .cmsg_type = UDP_SEGMENT, .cmsg_len = CMSG_LEN (sizeof value) };
  memcpy (CMSG_DATA (header), &value, sizeof value);
  message->msg_control = control;
  message->msg_controllen += SEGMENT_SPACE;
}

static Slow *
slow_slot (PilotBeaconSocket *self,
           const PilotEndpoint *to)
{
  return &self->slow[pilot_endpoint_hash (to) % SLOW_DESTINATIONS];
}

static gboolean
is_slow (PilotBeaconSocket *self,
         const PilotEndpoint *to,
         gsize segment)
{
  const Slow *slow = slow_slot (self, to);

  return segment >= slow->segment && pilot_endpoint_equal (&slow->to, to);
}

static gboolean
fits_last (PilotBeaconSocket *self,
           const PilotEndpoint *to,
           const PilotEndpoint *local,
           gsize length)
{
  const struct msghdr *message;
  gsize first;

  if (self->last_length == 0)
    return FALSE;
  message = &self->out[self->n_out - 1].msg_hdr;
  first = message->msg_iov[0].iov_len;
  return length <= first && message->msg_iovlen < MAX_SEGMENTS && self->last_length + length <= MAX_MESSAGE &&
         pilot_endpoint_equal (&self->last_to, to) && pilot_endpoint_equal (&self->last_local, local) &&
         (message->msg_iovlen > 1 || !is_slow (self, to, first));
}

void
pilot_beacon_socket_queue (PilotBeaconSocket *self,
                           const PilotEndpoint *to,
                           const PilotEndpoint *local,
                           guint8 *data,
                           gsize length)
{
  struct msghdr *message;

  g_assert (self->n_vectors < OUT_VECTORS);
  self->out_vectors[self->n_vectors] = (struct iovec) { data, length };
  if (self->gso && fits_last (self, to, local, length)) {
    message = &self->out[self->n_out - 1].msg_hdr;
    if (message->msg_iovlen == 1)
      set_segment (message, &self->out_controls[self->n_out - 1], message->msg_iov[0].iov_len);
    message->msg_iovlen++;
    /* One that is shorter is the last of its message. */
    self->last_length = length < message->msg_iov[0].iov_len ? 0 : self->last_length + length;
  } else {
    guint i = self->n_out++;

    g_assert (i < OUT_MESSAGES);
    message = &self->out[i].msg_hdr;
    *message = (struct msghdr) { .msg_name = &self->out_names[i], .msg_iov = &self->out_vectors[self->n_vectors], .msg_iovlen = 1 };
    message->msg_namelen = pilot_endpoint_to_sockaddr (to, self->is_ipv6, &self->out_names[i]);
    set_local (self, message, &self->out_controls[i], local);
    self->last_to = *to;
    self->last_local = *local;
    self->last_length = length;
  }
  self->n_vectors++;
}

void
pilot_beacon_socket_queue_small (PilotBeaconSocket *self,
                                 const PilotEndpoint *to,
                                 const PilotEndpoint *local,
                                 const guint8 *data,
                                 gsize length)
{
  guint8 *copy = self->out_small[self->n_out];

  g_assert (length <= PILOT_BEACON_SOCKET_SMALL);
  memcpy (copy, data, length);
  /* On its own: there is room for one beside each message. */
  self->last_length = 0;
  pilot_beacon_socket_queue (self, to, local, copy, length);
  self->last_length = 0;
}

gboolean
pilot_beacon_socket_has_room (PilotBeaconSocket *self)
{
  return self->n_out + PILOT_BEACON_SOCKET_ANSWERS <= OUT_MESSAGES && self->n_vectors + PILOT_BEACON_SOCKET_ANSWERS <= OUT_VECTORS;
}

gboolean
pilot_beacon_socket_has_queued (PilotBeaconSocket *self)
{
  return self->n_out > 0;
}

/* Sending */

/* What is left of the message at `n_sent`, one by one. Returns as sendmmsg() does. */
static int
send_pieces (PilotBeaconSocket *self)
{
  const struct msghdr *whole = &self->out[self->n_sent].msg_hdr;
  guint n = (guint) whole->msg_iovlen - self->n_cut;
  struct mmsghdr pieces[MAX_SEGMENTS];

  for (guint i = 0; i < n; i++) {
    struct msghdr *piece = &pieces[i].msg_hdr;

    *piece = *whole;
    piece->msg_iov += self->n_cut + i;
    piece->msg_iovlen = 1;
    piece->msg_controllen -= SEGMENT_SPACE;
    if (piece->msg_controllen == 0)
      piece->msg_control = NULL;
  }
  return sendmmsg (self->fd, pieces, n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void
next_message (PilotBeaconSocket *self)
{
  self->n_sent++;
  self->is_cut = FALSE;
  self->n_cut = 0;
}

/* `n` messages have gone, or datagrams of the one that is cut. */
static void
advance (PilotBeaconSocket *self,
         guint n)
{
  if (self->is_cut) {
    self->statistics.sent += n;
    self->n_cut += n;
    if (self->n_cut == self->out[self->n_sent].msg_hdr.msg_iovlen)
      next_message (self);
    return;
  }
  for (guint i = 0; i < n; i++)
    self->statistics.sent += self->out[self->n_sent + i].msg_hdr.msg_iovlen;
  self->n_sent += n;
}

/* The kernel did not take what comes first, and not for want of room. */
static void
refused (PilotBeaconSocket *self,
         int number)
{
  const struct msghdr *message = &self->out[self->n_sent].msg_hdr;
  PilotEndpoint to;

  /* Segmentation may be broken anywhere: EIO is the device (no checksum offload), the others this path (segment larger than its MTU). The
   * same datagrams go again at once, in pieces. */
  if (!self->is_cut && message->msg_iovlen > 1 && (number == EIO || number == EINVAL || number == EMSGSIZE)) {
    self->statistics.fallbacks++;
    self->is_cut = TRUE;
    if (number == EIO)
      self->gso = FALSE;
    else if (pilot_endpoint_from_sockaddr (&to, message->msg_name, message->msg_namelen))
      *slow_slot (self, &to) = (Slow) { to, number == EMSGSIZE ? message->msg_iov[0].iov_len : 0 };
    return;
  }
  /* This one destination: unreachable, too big, an ICMP error of an earlier one. The others shall not suffer. */
  if (self->is_cut) {
    self->statistics.refused++;
    self->n_cut++;
    if (self->n_cut == message->msg_iovlen)
      next_message (self);
  } else {
    self->statistics.refused += message->msg_iovlen;
    next_message (self);
  }
}

gboolean
pilot_beacon_socket_flush (PilotBeaconSocket *self)
{
  while (self->n_sent < self->n_out) {
    int n = self->is_cut ? send_pieces (self)
                         : sendmmsg (self->fd, self->out + self->n_sent, self->n_out - self->n_sent, MSG_DONTWAIT | MSG_NOSIGNAL);

    self->statistics.send_calls++;
    if (n > 0)
      advance (self, (guint) n);
    else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      /* What is queued meanwhile, if anything, must not be added to what may have gone in part. */
      self->last_length = 0;
      return FALSE;
    } else if (errno != EINTR)
      refused (self, errno);
  }
  self->n_out = self->n_sent = self->n_vectors = 0;
  self->last_length = 0;
  return TRUE;
}

guint
pilot_beacon_socket_drop (PilotBeaconSocket *self)
{
  guint n = 0;

  for (guint i = self->n_sent; i < self->n_out; i++)
    n += (guint) self->out[i].msg_hdr.msg_iovlen;
  n -= self->n_cut;
  self->n_out = self->n_sent = self->n_vectors = self->n_cut = 0;
  self->is_cut = FALSE;
  self->last_length = 0;
  return n;
}

/* Life */

static gboolean
set_int (int fd,
         int level,
         int option,
         int value)
{
  return setsockopt (fd, level, option, &value, sizeof value) == 0;
}

static gboolean
set_options (PilotBeaconSocket *self,
             gboolean offload,
             GError **error)
{
  socklen_t length = sizeof (int);
  int value = 0;

  if (!(self->is_ipv6 ? set_int (self->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) : set_int (self->fd, IPPROTO_IP, IP_PKTINFO, 1))) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot learn the address of datagrams: %s", g_strerror (errno));
    return FALSE;
  }
  /* As large as the system allows: FORCE is for root, the other is cut to net.core.rmem_max and wmem_max. */
  if (!set_int (self->fd, SOL_SOCKET, SO_RCVBUFFORCE, SOCKET_BUFFER) && !set_int (self->fd, SOL_SOCKET, SO_RCVBUF, SOCKET_BUFFER))
    g_debug ("cannot enlarge the receive buffer: %s", g_strerror (errno));
  if (!set_int (self->fd, SOL_SOCKET, SO_SNDBUFFORCE, SOCKET_BUFFER) && !set_int (self->fd, SOL_SOCKET, SO_SNDBUF, SOCKET_BUFFER))
    g_debug ("cannot enlarge the send buffer: %s", g_strerror (errno));
  if (offload) {
    self->gso = getsockopt (self->fd, SOL_UDP, UDP_SEGMENT, &value, &length) == 0;
    self->gro = set_int (self->fd, SOL_UDP, UDP_GRO, 1);
  }
  return TRUE;
}

PilotBeaconSocket *
pilot_beacon_socket_new (const PilotEndpoint *address,
                         gboolean offload,
                         GError **error)
{
  g_autoptr (PilotBeaconSocket) self = g_new0 (PilotBeaconSocket, 1);

  self->fd = pilot_socket_bind (address, SOCK_DGRAM, &self->is_ipv6, error);
  if (self->fd < 0 || !set_options (self, offload, error))
    return NULL;
  /* Not cleared: four megabytes that are touched only as far as datagrams fill them. */
  self->buffers = g_malloc ((gsize) BATCH * DATAGRAM_SIZE);
  return g_steal_pointer (&self);
}

void
pilot_beacon_socket_free (PilotBeaconSocket *self)
{
  if (self == NULL)
    return;
  if (self->fd >= 0)
    close (self->fd);
  g_free (self->buffers);
  g_free (self);
}

int
pilot_beacon_socket_get_fd (PilotBeaconSocket *self)
{
  return self->fd;
}

const PilotBeaconSocketStatistics *
pilot_beacon_socket_get_statistics (PilotBeaconSocket *self)
{
  return &self->statistics;
}
