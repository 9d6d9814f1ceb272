/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "transport-udp.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>

#include "udp-socket.h"

#define SEND_MESSAGES 64
/* Datagrams one call may take: 64, be they coalesced by the kernel, of which these many messages hold some thousand, or not. */
#define RECEIVE_MESSAGES 64
#define RECEIVE_COALESCED 16
/* A coalesced receive is at most 64 KiB less headers. */
#define RECEIVE_SIZE 65536
/* Batches read in one dispatch: the loop has other work too, and the descriptor stays readable. */
#define RECEIVE_ROUNDS 4
/* The kernel's UDP_MAX_SEGMENTS before 6.9. */
#define MAX_SEGMENTS 64
#define SLOW_DESTINATIONS 64
#define ERROR_ROUNDS 64
/* What every path carries in one piece: IPv6's least MTU, less its header and UDP's. */
#define SMALL_DATAGRAM 1232
/* A burst of a fast path at 30 ms: 4 MiB each way. The kernel counts its own overhead against it, so that the least still holds 64 datagrams. */
#define BUFFER_SIZE (4 * 1024 * 1024)
#define BUFFER_LEAST (128 * 1024)
#define BUFFER_MOST (64 * 1024 * 1024)

/* Room for one control message holding an int (UDP_GRO, IP_RECVFRAGSIZE) or a uint16_t (UDP_SEGMENT): what was cut is not coalesced. */
typedef union {
  struct cmsghdr align;
  guint8 bytes[CMSG_SPACE (sizeof (gint))];
} Control;

typedef struct
{
  struct mmsghdr headers[SEND_MESSAGES];
  struct iovec vectors[SEND_MESSAGES];
  struct sockaddr_storage addresses[SEND_MESSAGES];
  Control controls[SEND_MESSAGES];
  guint items[SEND_MESSAGES]; /* which item a message is of */
  gsize ends[SEND_MESSAGES];  /* where in it the message ends */
} Outgoing;

typedef struct
{
  struct mmsghdr headers[RECEIVE_MESSAGES];
  struct iovec vectors[RECEIVE_MESSAGES];
  struct sockaddr_storage addresses[RECEIVE_MESSAGES];
  Control controls[RECEIVE_MESSAGES];
  PilotReceivedDatagram items[RECEIVE_MESSAGES];
  guint8 data[RECEIVE_MESSAGES][RECEIVE_SIZE];
} Incoming;

/* A destination that refused segmented sends of segments of this size; larger ones are not tried there either. */
typedef struct
{
  PilotEndpoint to;
  gsize segment;
} Slow;

struct _PilotTransportUdp {
  PilotTransport parent_instance;

  UdpSocket socket;
  Outgoing *out;
  Incoming *in;
  gboolean want_write;          /* a send met a full buffer; cleared when the descriptor is writable again */
  Slow slow[SLOW_DESTINATIONS]; /* indexed by hash, a newcomer replaces */

  guint64 datagrams_sent, bytes_sent, datagrams_received, bytes_received;
  guint64 send_calls, receive_calls, dropped, fallbacks, failures;
};

G_DEFINE_FINAL_TYPE (PilotTransportUdp, pilot_transport_udp, PILOT_TYPE_TRANSPORT)

static const PilotPluginSetting settings[] = {
  { "listen", "s", "where to receive: \"HOST:PORT\", or \":PORT\" for all addresses; default \":0\", any port" },
  { "offload", "s", "segmentation and receive offload: \"auto\" or \"off\"; default \"auto\"" },
  { "buffer", "s", "bytes of socket buffer asked for each way, 131072 to 67108864; default 4194304" },
  { NULL }
};

static gboolean
parse_buffer (const gchar *text,
              guint *buffer,
              GError **error)
{
  g_autofree gchar *quoted = NULL;
  guint64 value;

  if (g_ascii_string_to_unsigned (text, 10, BUFFER_LEAST, BUFFER_MOST, &value, NULL)) {
    *buffer = (guint) value;
    return TRUE;
  }
  quoted = pilot_error_quote (text, -1);
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "setting \"buffer\" is \"%s\" (expected bytes, %d to %d)", quoted, BUFFER_LEAST,
               BUFFER_MOST);
  return FALSE;
}

static gboolean
parse_offload (const gchar *text,
               gboolean *is_auto,
               GError **error)
{
  g_autofree gchar *quoted = NULL;

  *is_auto = g_str_equal (text, "auto");
  if (*is_auto || g_str_equal (text, "off"))
    return TRUE;
  quoted = pilot_error_quote (text, -1);
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "setting \"offload\" is \"%s\" (expected auto or off)", quoted);
  return FALSE;
}

static gboolean
pilot_transport_udp_enable (PilotPlugin *plugin,
                            GError **error)
{
  PilotTransportUdp *self = PILOT_TRANSPORT_UDP (plugin);
  const gchar *listen = ":0";
  const gchar *offload = "auto";
  const gchar *buffer = NULL;
  guint size = BUFFER_SIZE;
  gboolean is_auto;

  if (!pilot_plugin_check_settings (plugin, settings, error))
    return FALSE;
  pilot_plugin_lookup_setting (plugin, "listen", "&s", &listen);
  pilot_plugin_lookup_setting (plugin, "offload", "&s", &offload);
  pilot_plugin_lookup_setting (plugin, "buffer", "&s", &buffer);
  if (!parse_offload (offload, &is_auto, error))
    return FALSE;
  if (buffer != NULL && !parse_buffer (buffer, &size, error))
    return FALSE;
  if (!udp_socket_open (&self->socket, listen, is_auto, size, error))
    return FALSE;
  self->out = g_new0 (Outgoing, 1);
  /* Not cleared: four megabytes that are touched only as far as packets fill them. */
  self->in = g_new (Incoming, 1);
  self->want_write = FALSE;
  memset (self->slow, 0, sizeof self->slow);
  return TRUE;
}

static gboolean
pilot_transport_udp_disable (PilotPlugin *plugin,
                             GError **error)
{
  PilotTransportUdp *self = PILOT_TRANSPORT_UDP (plugin);

  udp_socket_close (&self->socket);
  g_clear_pointer (&self->out, g_free);
  g_clear_pointer (&self->in, g_free);
  self->want_write = FALSE;
  return TRUE;
}

static gboolean
is_network_error (gint number)
{
  switch (number) {
  case ECONNREFUSED:
  case EHOSTUNREACH:
  case EHOSTDOWN:
  case ENETUNREACH:
  case ENETDOWN:
  case ENONET:
  case ENOPROTOOPT:
  case EOPNOTSUPP:
  case EPROTO:
  case EACCES:
  case EMSGSIZE:
  case EPERM:
    return TRUE;
  default:
    return FALSE;
  }
}

/* Reads one entry of the error queue; FALSE when it is empty. */
static gboolean
read_error (PilotTransportUdp *self)
{
  guint8 original[64];
  union {
    struct cmsghdr align;
    guint8 bytes[512];
  } control;
  struct sockaddr_storage address;
  struct iovec vector = { original, sizeof original };
  struct msghdr header = {
    .msg_name = &address,
    .msg_namelen = sizeof address,
    .msg_iov = &vector,
    .msg_iovlen = 1,
    .msg_control = &control,
    .msg_controllen = sizeof control,
  };
  PilotEndpoint to;

  if (recvmsg (self->socket.fd, &header, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
    return FALSE;
  if (!pilot_endpoint_from_sockaddr (&to, (struct sockaddr *) &address, header.msg_namelen))
    return TRUE;
  for (struct cmsghdr *c = CMSG_FIRSTHDR (&header); c != NULL; c = CMSG_NXTHDR (&header, c)) {
    struct sock_extended_err reason;

    if (!(c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) &&
        !(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
      continue;
    memcpy (&reason, CMSG_DATA (c), sizeof reason);
    self->failures++;
    pilot_transport_report_send_failed (PILOT_TRANSPORT (self), &to, (gint) reason.ee_errno);
  }
  return TRUE;
}

static void
drain_errors (PilotTransportUdp *self)
{
  for (guint i = 0; i < ERROR_ROUNDS && self->socket.fd >= 0; i++)
    if (!read_error (self))
      break;
}

static Slow *
slow_slot (PilotTransportUdp *self,
           const PilotEndpoint *to)
{
  return &self->slow[pilot_endpoint_hash (to) % SLOW_DESTINATIONS];
}

static gboolean
is_slow (PilotTransportUdp *self,
         const PilotEndpoint *to,
         gsize segment)
{
  const Slow *slow = slow_slot (self, to);

  return segment >= slow->segment && pilot_endpoint_equal (&slow->to, to);
}

/* One message: from `offset` of the item, as much as the kernel takes in one piece. Returns where it ends. */
static gsize
fill_message (PilotTransportUdp *self,
              guint index,
              const PilotSendBatch *item,
              gsize offset)
{
  Outgoing *out = self->out;
  struct msghdr *header = &out->headers[index].msg_hdr;
  gsize left = item->length - offset;
  gsize segment = item->segment_size == 0 ? item->length : item->segment_size;
  gsize length = MIN (left, segment);

  *header = (struct msghdr){
    .msg_name = &out->addresses[index],
    .msg_namelen = pilot_endpoint_to_sockaddr (&item->to, self->socket.ipv6, &out->addresses[index]),
    .msg_iov = &out->vectors[index],
    .msg_iovlen = 1,
  };
  if (left > segment && self->socket.gso && !is_slow (self, &item->to, segment)) {
    const guint16 size = (guint16) segment;
    struct cmsghdr *control;

    length = MIN (left, segment * MAX_SEGMENTS);
    header->msg_control = &out->controls[index];
    header->msg_controllen = CMSG_SPACE (sizeof size);
    control = CMSG_FIRSTHDR (header);
    control->cmsg_level = SOL_UDP;
    control->cmsg_type = UDP_SEGMENT;
    control->cmsg_len = CMSG_LEN (sizeof size);
    memcpy (CMSG_DATA (control), &size, sizeof size);
  }
  out->vectors[index] = (struct iovec) { (gpointer) (item->data + offset), length };
  return offset + length;
}

/* Where in the items the next message begins. */
typedef struct
{
  guint item;
  gsize offset;
} Cursor;

typedef enum { NEED_NOTHING,
               NEED_WHOLE, /* one, larger than what every path carries, and to arrive in one piece or not at all */
               NEED_CUT,   /* as large, and to arrive in any way */
} Need;

static Need
need_of (const PilotSendBatch *item)
{
  if (item->length <= SMALL_DATAGRAM || (item->segment_size > 0 && item->segment_size < item->length))
    return NEED_NOTHING;
  return item->segment_size > 0 ? NEED_WHOLE : NEED_CUT;
}

static guint
fill_messages (PilotTransportUdp *self,
               const PilotSendBatch *items,
               guint n_items,
               Cursor cursor,
               Need *need)
{
  guint n = 0;

  *need = NEED_NOTHING;
  while (n < SEND_MESSAGES && cursor.item < n_items) {
    Need next = need_of (&items[cursor.item]);

    /* One setting of the socket for one call. */
    if (next != NEED_NOTHING && *need != NEED_NOTHING && next != *need)
      break;
    *need = MAX (*need, next);
    cursor.offset = fill_message (self, n, &items[cursor.item], cursor.offset);
    self->out->items[n] = cursor.item;
    self->out->ends[n] = cursor.offset;
    n++;
    if (cursor.offset >= items[cursor.item].length)
      cursor = (Cursor) { cursor.item + 1, 0 };
  }
  return n;
}

static guint64
count_datagrams (gsize length,
                 gsize segment_size)
{
  return segment_size == 0 || segment_size >= length ? 1 : (length + segment_size - 1) / segment_size;
}

static void
count_sent (PilotTransportUdp *self,
            const PilotSendBatch *items,
            guint n)
{
  for (guint i = 0; i < n; i++) {
    const PilotSendBatch *item = &items[self->out->items[i]];
    gsize length = self->out->vectors[i].iov_len;

    self->bytes_sent += length;
    self->datagrams_sent += count_datagrams (length, item->segment_size);
  }
}

static void
advance (PilotTransportUdp *self,
         const PilotSendBatch *items,
         guint message,
         Cursor *cursor)
{
  cursor->item = self->out->items[message];
  cursor->offset = self->out->ends[message];
  if (cursor->offset >= items[cursor->item].length)
    *cursor = (Cursor) { cursor->item + 1, 0 };
}

typedef enum {
  REFUSAL_AGAIN, /* make the messages again from the same place */
  REFUSAL_CUT,   /* the same, and let IP cut this item's */
  REFUSAL_SKIP,  /* this message is lost */
  REFUSAL_WAIT,  /* the buffer is full */
  REFUSAL_FATAL, /* errno says why */
} Refusal;

/* What to do about the first message, which the kernel did not take. */
static Refusal
judge_refusal (PilotTransportUdp *self,
               gint number,
               const PilotSendBatch *item,
               gboolean *retried)
{
  const PilotEndpoint *to = &item->to;
  const gboolean segmented = self->out->headers[0].msg_hdr.msg_controllen > 0;

  if (number == EINTR)
    return REFUSAL_AGAIN;
  if (number == EAGAIN || number == EWOULDBLOCK)
    return REFUSAL_WAIT;
  /* What was sized for a larger path, or met one that carries less than the least anybody counts on, arrives all the same: IP has to cut. */
  if (number == EMSGSIZE && !segmented && self->socket.whole && need_of (item) != NEED_WHOLE)
    return REFUSAL_CUT;
  /* Segmentation may be broken anywhere: EIO is the device (no checksum offload), the others this path (segment larger than its
   * MTU). The same data goes again, in pieces. */
  if (segmented && (number == EIO || number == EINVAL || number == EMSGSIZE)) {
    if (number == EIO)
      self->socket.gso = FALSE;
    else
      *slow_slot (self, to) = (Slow) { *to, number == EMSGSIZE ? item->segment_size : 0 };
    self->fallbacks++;
    return REFUSAL_AGAIN;
  }
  if (number == ENOBUFS || number == ENOMEM)
    return REFUSAL_SKIP;
  if (is_network_error (number) || number == EADDRNOTAVAIL || number == EINVAL || number == EAFNOSUPPORT ||
      number == EDESTADDRREQ || number == EIO) {
    /* It may be the report about an earlier datagram to somebody else, which the queue tells; then this one was not tried. */
    if (!*retried && is_network_error (number)) {
      *retried = TRUE;
      drain_errors (self);
      return REFUSAL_AGAIN;
    }
    return REFUSAL_SKIP;
  }
  return REFUSAL_FATAL;
}

static gboolean
fail_not_running (GError **error)
{
  g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_NOT_RUNNING, "the transport is not enabled");
  return FALSE;
}

/* An item that was cut short by a full buffer is sent again as a whole, so some of its datagrams may go twice. Whoever receives sealed
 * datagrams drops the second copy; a lost one would cost a round trip. */
static gboolean
pilot_transport_udp_send (PilotTransport *transport,
                          const PilotSendBatch *items,
                          guint n_items,
                          guint *n_sent,
                          GError **error)
{
  PilotTransportUdp *self = PILOT_TRANSPORT_UDP (transport);
  Cursor cursor = { 0, 0 };
  gboolean retried = FALSE, cut = FALSE;

  *n_sent = 0;
  while (cursor.item < n_items) {
    const PilotEndpoint *to = &items[cursor.item].to;
    gint taken, number;
    Need need;
    guint n;

    if (self->socket.fd < 0)
      return fail_not_running (error);
    /* What has to be cut goes without the others, or one of them that must not be would undo the setting, for ever. */
    n = fill_messages (self, items, cut ? cursor.item + 1 : n_items, cursor, &need);
    if (cut)
      need = NEED_CUT;
    if (need != NEED_NOTHING && self->socket.whole != (need == NEED_WHOLE) &&
        !udp_socket_set_whole (&self->socket, need == NEED_WHOLE))
      g_debug ("cannot tell IP whether to cut datagrams: %s", g_strerror (errno));
    taken = sendmmsg (self->socket.fd, self->out->headers, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    number = errno;
    self->send_calls++;
    if (taken > 0) {
      count_sent (self, items, (guint) taken);
      advance (self, items, (guint) taken - 1, &cursor);
      *n_sent = cursor.item;
      retried = cut = FALSE;
      continue;
    }
    switch (judge_refusal (self, number, &items[cursor.item], &retried)) {
    case REFUSAL_CUT:
      cut = TRUE;
      G_GNUC_FALLTHROUGH;
    case REFUSAL_AGAIN:
      /* It goes on in pieces, but whoever made it should make smaller ones. */
      if (number == EMSGSIZE && !retried)
        pilot_transport_report_send_failed (transport, to, number);
      break;
    case REFUSAL_SKIP:
      self->dropped++;
      advance (self, items, 0, &cursor);
      *n_sent = cursor.item;
      retried = cut = FALSE;
      /* Last: who hears of it may send, which makes the messages anew. Full queues are loss like any other on the way. */
      if (number != ENOBUFS && number != ENOMEM) {
        self->failures++;
        pilot_transport_report_send_failed (transport, to, number);
      }
      break;
    case REFUSAL_WAIT:
      self->want_write = TRUE;
      return TRUE;
    case REFUSAL_FATAL:
    default:
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot send: %s", g_strerror (number));
      return FALSE;
    }
  }
  return TRUE;
}

/* Returns how many messages there is room for. Buffers that are not needed are not touched, so they take no memory. */
static guint
prepare_receive (PilotTransportUdp *self)
{
  Incoming *in = self->in;
  const guint n = self->socket.gro ? RECEIVE_COALESCED : RECEIVE_MESSAGES;

  for (guint i = 0; i < n; i++) {
    in->vectors[i] = (struct iovec) { in->data[i], RECEIVE_SIZE };
    in->headers[i].msg_len = 0;
    in->headers[i].msg_hdr = (struct msghdr){
      .msg_name = &in->addresses[i],
      .msg_namelen = sizeof in->addresses[i],
      .msg_iov = &in->vectors[i],
      .msg_iovlen = 1,
      .msg_control = &in->controls[i],
      .msg_controllen = sizeof in->controls[i],
    };
  }
  return n;
}

static gsize
get_segment_size (struct msghdr *header)
{
  for (struct cmsghdr *c = CMSG_FIRSTHDR (header); c != NULL; c = CMSG_NXTHDR (header, c)) {
    if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
      gint size;

      memcpy (&size, CMSG_DATA (c), sizeof size);
      return size > 0 ? (gsize) size : 0;
    }
    if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVFRAGSIZE) || (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVFRAGSIZE))
      return PILOT_TRANSPORT_CUT;
  }
  return 0;
}

/* Turns what the kernel filled in into items; empty and cut datagrams are left out. */
static guint
collect (PilotTransportUdp *self,
         guint n_messages)
{
  Incoming *in = self->in;
  guint n = 0;

  for (guint i = 0; i < n_messages; i++) {
    struct msghdr *header = &in->headers[i].msg_hdr;
    PilotReceivedDatagram *item = &in->items[n];

    if (in->headers[i].msg_len == 0 || (header->msg_flags & MSG_TRUNC) != 0 ||
        !pilot_endpoint_from_sockaddr (&item->from, header->msg_name, header->msg_namelen)) {
      self->dropped++;
      continue;
    }
    item->data = in->data[i];
    item->length = in->headers[i].msg_len;
    item->segment_size = get_segment_size (header);
    self->bytes_received += item->length;
    self->datagrams_received += count_datagrams (item->length, item->segment_size);
    n++;
  }
  return n;
}

static void
receive_all (PilotTransportUdp *self)
{
  for (guint round = 0; round < RECEIVE_ROUNDS && self->socket.fd >= 0; round++) {
    const guint room = prepare_receive (self);
    gint n = recvmmsg (self->socket.fd, self->in->headers, room, MSG_DONTWAIT, NULL);

    self->receive_calls++;
    if (n < 0) {
      /* A report about something sent earlier stands in front of the data. */
      if (is_network_error (errno)) {
        drain_errors (self);
        continue;
      }
      if (errno == EINTR)
        continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK)
        g_warning ("cannot receive: %s", g_strerror (errno));
      return;
    }
    pilot_transport_deliver (PILOT_TRANSPORT (self), self->in->items, collect (self, (guint) n));
    if ((guint) n < room)
      return;
  }
}

static void
pilot_transport_udp_dispatch (PilotTransport *transport,
                              GIOCondition ready)
{
  g_autoptr (PilotTransportUdp) self = g_object_ref (PILOT_TRANSPORT_UDP (transport));

  if (self->socket.fd < 0)
    return;
  if ((ready & G_IO_ERR) != 0)
    drain_errors (self);
  if ((ready & G_IO_IN) != 0)
    receive_all (self);
  if ((ready & G_IO_OUT) != 0 && self->want_write) {
    self->want_write = FALSE;
    pilot_transport_report_writable (transport);
  }
}

static GArray *
pilot_transport_udp_get_endpoints (PilotTransport *transport)
{
  return udp_socket_get_endpoints (&PILOT_TRANSPORT_UDP (transport)->socket);
}

static gint
pilot_transport_udp_get_poll_fd (PilotTransport *transport)
{
  return PILOT_TRANSPORT_UDP (transport)->socket.fd;
}

static GIOCondition
pilot_transport_udp_get_poll_events (PilotTransport *transport)
{
  return PILOT_TRANSPORT_UDP (transport)->want_write ? G_IO_IN | G_IO_OUT : G_IO_IN;
}

static guint
pilot_transport_udp_get_mtu (PilotTransport *transport)
{
  /* Ethernet, less the UDP header and that of the larger family in use. */
  return 1500 - 8 - (PILOT_TRANSPORT_UDP (transport)->socket.ipv6 ? 40 : 20);
}

static gint
pilot_transport_udp_get_preference (PilotTransport *transport)
{
  return 100;
}

/* "auto" tries anew what was given up, everywhere and toward single destinations. */
static gboolean
pilot_transport_udp_change (PilotPlugin *plugin,
                            const gchar *key,
                            GVariant *value,
                            GError **error)
{
  g_autoptr (PilotTransportUdp) self = g_object_ref (PILOT_TRANSPORT_UDP (plugin));
  gboolean is_auto;

  if (!g_str_equal (key, "offload")) {
    g_autofree gchar *quoted = pilot_error_quote (key, -1);

    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_SUPPORTED, "setting \"%s\" cannot be changed while it runs", quoted);
    return FALSE;
  }
  if (!g_variant_is_of_type (value, G_VARIANT_TYPE_STRING)) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "setting \"offload\" is no text (expected auto or off)");
    return FALSE;
  }
  if (!parse_offload (g_variant_get_string (value, NULL), &is_auto, error))
    return FALSE;
  /* What the kernel has joined already is not told apart once the option is gone. */
  receive_all (self);
  if (self->socket.fd < 0)
    return fail_not_running (error);
  udp_socket_set_offload (&self->socket, is_auto);
  memset (self->slow, 0, sizeof self->slow);
  return TRUE;
}

static GVariant *
pilot_transport_udp_get_stats (PilotTransport *transport)
{
  PilotTransportUdp *self = PILOT_TRANSPORT_UDP (transport);
  GVariantDict dict;

  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "datagrams-sent", "t", self->datagrams_sent);
  g_variant_dict_insert (&dict, "bytes-sent", "t", self->bytes_sent);
  g_variant_dict_insert (&dict, "datagrams-received", "t", self->datagrams_received);
  g_variant_dict_insert (&dict, "bytes-received", "t", self->bytes_received);
  g_variant_dict_insert (&dict, "send-calls", "t", self->send_calls);
  g_variant_dict_insert (&dict, "receive-calls", "t", self->receive_calls);
  g_variant_dict_insert (&dict, "dropped", "t", self->dropped);
  g_variant_dict_insert (&dict, "segmentation-fallbacks", "t", self->fallbacks);
  g_variant_dict_insert (&dict, "send-failures", "t", self->failures);
  g_variant_dict_insert (&dict, "receive-buffer", "u", udp_socket_get_buffer (&self->socket, SO_RCVBUF));
  g_variant_dict_insert (&dict, "send-buffer", "u", udp_socket_get_buffer (&self->socket, SO_SNDBUF));
  g_variant_dict_insert (&dict, "segmentation-offload", "b", self->socket.gso);
  g_variant_dict_insert (&dict, "receive-offload", "b", self->socket.gro);
  return g_variant_dict_end (&dict);
}

static void
pilot_transport_udp_finalize (GObject *object)
{
  pilot_transport_udp_disable (PILOT_PLUGIN (object), NULL);
  G_OBJECT_CLASS (pilot_transport_udp_parent_class)->finalize (object);
}

static void
pilot_transport_udp_class_init (PilotTransportUdpClass *klass)
{
  PilotPluginClass *plugin_class = PILOT_PLUGIN_CLASS (klass);
  PilotTransportClass *transport_class = PILOT_TRANSPORT_CLASS (klass);

  G_OBJECT_CLASS (klass)->finalize = pilot_transport_udp_finalize;
  plugin_class->enable = pilot_transport_udp_enable;
  plugin_class->disable = pilot_transport_udp_disable;
  plugin_class->change = pilot_transport_udp_change;
  transport_class->send = pilot_transport_udp_send;
  transport_class->get_endpoints = pilot_transport_udp_get_endpoints;
  transport_class->get_poll_fd = pilot_transport_udp_get_poll_fd;
  transport_class->get_poll_events = pilot_transport_udp_get_poll_events;
  transport_class->dispatch = pilot_transport_udp_dispatch;
  transport_class->get_mtu = pilot_transport_udp_get_mtu;
  transport_class->get_preference = pilot_transport_udp_get_preference;
  transport_class->get_stats = pilot_transport_udp_get_stats;
}

static void
pilot_transport_udp_init (PilotTransportUdp *self)
{
  self->socket.fd = -1;
}
