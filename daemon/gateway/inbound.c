/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/gateway/inbound.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/core/shares.h"
#include "daemon/gateway/bridge.h"
#include "protocol/rate-limit.h"

/* A local server with a full queue drops the SYN; the peer's own dial gives up about then. */
#define CONNECT_TIMEOUT_MS 8000
/* Connects under way at one time, of one peer and over all: a server that hangs must not eat our descriptors, nor he who calls it the share of others. */
#define DIALS_OF_PEER 1024
#define DIALS_MAX 4096
#define CANDIDATES_MAX 16
/* Half of the streams that the engine has for all. */
#define CONNECTIONS_OF_PEER 32768
#define COMPLAIN_EVERY (60 * (gint64) G_USEC_PER_SEC)
/* Reaches servers on the wildcard address, not those on 127.0.0.1 (linux-facts.md). Outside of what peers are given. */
#define NETWORK_PROBE 0x7f520001u  /* 127.82.0.1 */
#define SOURCE_NETWORK 0x7f530000u /* 127.83.0.0/16 */

typedef union {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
} SocketName;

/* One incoming stream that waits for its local connection. */
typedef struct {
  PilotStreamUser user; /* first */
  PilotInbound *inbound;
  GList link;
  PilotStream *stream;
  PilotPollerWatch *watch;
  int fd;
  gint64 deadline;
  guint32 node;
  guint16 port;
  gboolean handed_over;   /* the connection, with its place, to a bridge */
  gboolean network_tried; /* the addresses of the network cards are among the candidates */
  guint n_candidates, next;
  SocketName candidates[CANDIDATES_MAX];
} Dial;

struct _PilotInbound {
  PilotNode *node;
  PilotInboundSource source;
  PilotInboundForbidden forbidden;
  gpointer user_data;
  PilotShares *shares;      /* of the dials */
  PilotShares *connections; /* of those and of the bridges */
  GQueue dials;             /* the oldest first: all have the same time */
  GSource *timer;           /* one for all dials; not set anew when the first of them ends before its time */
  PilotBridgeGroup group;
  PilotTokenBucket complained;
};

static void dial_next (Dial *dial);

guint32
pilot_inbound_loopback_source (guint32 node)
{
  guint32 host = node;

  /* Small ids, which are all there are in most networks, keep their number; others are spread over the rest. */
  if (host == 0 || host > 0xfffe)
    host = 1 + (node * 2654435761u >> 16) % 0xfffe;
  return SOURCE_NETWORK | host;
}

static void
dial_free (Dial *dial)
{
  g_queue_unlink (&dial->inbound->dials, &dial->link);
  pilot_shares_give_back (dial->inbound->shares, dial->node);
  if (!dial->handed_over)
    pilot_shares_give_back (dial->inbound->connections, dial->node);
  g_clear_pointer (&dial->watch, pilot_poller_remove);
  if (dial->fd >= 0)
    close (dial->fd);
  g_free (dial);
}

/* Forbidden and closed look alike to a trusted peer. */
static void
dial_refuse (Dial *dial)
{
  pilot_stream_refuse (dial->stream, g_get_monotonic_time ());
  dial_free (dial);
}

static void
add_v4 (Dial *dial, guint32 address)
{
  SocketName *name;

  if (dial->n_candidates == CANDIDATES_MAX)
    return;
  name = &dial->candidates[dial->n_candidates++];
  name->v4 = (struct sockaddr_in) { .sin_family = AF_INET, .sin_port = htons (dial->port), .sin_addr.s_addr = htonl (address) };
}

static void
add_v6 (Dial *dial, const struct in6_addr *address)
{
  SocketName *name;

  if (dial->n_candidates == CANDIDATES_MAX)
    return;
  name = &dial->candidates[dial->n_candidates++];
  name->v6 = (struct sockaddr_in6) { .sin6_family = AF_INET6, .sin6_port = htons (dial->port), .sin6_addr = *address };
}

/* Servers bound to one address of a network card. Addresses on lo are ours, or meant for this machine alone. */
static void
add_network_addresses (Dial *dial)
{
  struct ifaddrs *list = NULL;

  if (getifaddrs (&list) != 0)
    return;
  for (struct ifaddrs *entry = list; entry != NULL; entry = entry->ifa_next) {
    const SocketName *name = (const SocketName *) entry->ifa_addr;

    if (name == NULL || (entry->ifa_flags & IFF_UP) == 0 || (entry->ifa_flags & IFF_LOOPBACK) != 0)
      continue;
    if (name->any.sa_family == AF_INET)
      add_v4 (dial, ntohl (name->v4.sin_addr.s_addr));
    else if (name->any.sa_family == AF_INET6 && !IN6_IS_ADDR_LINKLOCAL (&name->v6.sin6_addr))
      add_v6 (dial, &name->v6.sin6_addr);
  }
  freeifaddrs (list);
}

static gboolean
bind_to (int fd, guint32 source)
{
  struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl (source) };

  return bind (fd, (struct sockaddr *) &name, sizeof name) == 0;
}

/* A source that tells the peer apart. Where the system does not let us (no such address), the connection is not made from 127.0.0.1 instead. */
static gboolean
bind_source (Dial *dial, int fd)
{
  PilotInbound *inbound = dial->inbound;
  guint32 mapped = inbound->source != NULL ? inbound->source (dial->node, inbound->user_data) : 0;
  int one = 1;

  setsockopt (fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
  return (mapped != 0 && bind_to (fd, mapped)) || bind_to (fd, pilot_inbound_loopback_source (dial->node));
}

static socklen_t
name_length (const SocketName *name)
{
  return name->any.sa_family == AF_INET ? sizeof name->v4 : sizeof name->v6;
}

/* TCP can connect a socket to itself when nobody listens and the kernel picks the wanted port as source. */
static gboolean
is_connected_to_itself (int fd, const SocketName *remote)
{
  SocketName local = { 0 };
  socklen_t length = sizeof local;

  return getsockname (fd, &local.any, &length) == 0 && length == name_length (remote) && memcmp (&local, remote, length) == 0;
}

/* The local connection stands. FALSE when it leads nowhere. */
static gboolean
dial_connected (Dial *dial)
{
  PilotInbound *inbound = dial->inbound;
  PilotStream *stream = dial->stream;
  guint16 port = dial->port;
  guint32 peer = dial->node;
  int fd = dial->fd;

  if (is_connected_to_itself (fd, &dial->candidates[dial->next - 1]))
    return FALSE;
  dial->fd = -1;
  dial->handed_over = TRUE;
  dial_free (dial);
  pilot_stream_accept (stream, g_get_monotonic_time ());
  pilot_bridge_join (&inbound->group, fd, port, stream, peer);
  return TRUE;
}

static void
dial_ready (int fd, guint32 events, gpointer user_data)
{
  Dial *dial = user_data;
  int error = 0;
  socklen_t length = sizeof error;

  if (getsockopt (fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0 || error != 0 || !dial_connected (dial))
    dial_next (dial);
}

static gboolean
has_candidate (Dial *dial)
{
  /* Listing them takes ten system calls, and most servers are found on loopback. */
  if (dial->next == dial->n_candidates && !dial->network_tried) {
    dial->network_tried = TRUE;
    add_network_addresses (dial);
  }
  return dial->next < dial->n_candidates;
}

/* Within one machine a connection is made, or refused, before connect() returns, which says EINPROGRESS all the same: asked again it knows. */
static gboolean
connect_now (int fd, const SocketName *name)
{
  if (connect (fd, &name->any, name_length (name)) == 0)
    return TRUE;
  return errno == EINPROGRESS && connect (fd, &name->any, name_length (name)) == 0;
}

/* One socket to one candidate. FALSE when that leads nowhere; else @dial is connected, which ends it, or waits for the poller. */
static gboolean
dial_try (Dial *dial, int fd, const SocketName *name)
{
  if (name->any.sa_family == AF_INET && !bind_source (dial, fd))
    return FALSE;
  dial->fd = fd;
  if (connect_now (fd, name)) {
    if (dial_connected (dial))
      return TRUE;
  } else if (errno == EALREADY) {
    dial->watch = pilot_poller_add (pilot_node_get_poller (dial->inbound->node), fd, EPOLLOUT, dial_ready, dial);
    return TRUE;
  }
  dial->fd = -1;
  return FALSE;
}

/* Whoever is trusted may call as often as he likes, and must not fill the log with that. */
static void
complain (Dial *dial, int code)
{
  if (pilot_token_bucket_take (&dial->inbound->complained, COMPLAIN_EVERY, 1, g_get_monotonic_time ()))
    g_warning ("cannot connect a peer's stream to port %u: %s", dial->port, g_strerror (code));
}

/* Tries the next candidate; refuses the stream when there is none left. */
static void
dial_next (Dial *dial)
{
  g_clear_pointer (&dial->watch, pilot_poller_remove);
  if (dial->fd >= 0)
    close (dial->fd);
  dial->fd = -1;
  while (has_candidate (dial)) {
    const SocketName *name = &dial->candidates[dial->next++];
    int fd = socket (name->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 && errno == EAFNOSUPPORT)
      continue;
    if (fd < 0) {
      complain (dial, errno);
      break;
    }
    if (dial_try (dial, fd, name))
      return;
    close (fd);
  }
  dial_refuse (dial);
}

/* The peer gave up, or the tunnel did, before there was a local connection. */
static void
dial_stream_ready (PilotStreamUser *user, PilotStream *stream, guint ready)
{
  Dial *dial = (Dial *) user;

  if ((ready & PILOT_STREAM_READY_CLOSED) == 0)
    return;
  pilot_stream_release (stream, g_get_monotonic_time ());
  dial_free (dial);
}

static gboolean
dials_due (gpointer user_data)
{
  PilotInbound *inbound = user_data;
  gint64 now = g_get_monotonic_time ();
  Dial *dial;

  while ((dial = g_queue_peek_head (&inbound->dials)) != NULL && dial->deadline <= now) {
    dial_refuse (dial);
    pilot_node_kick (inbound->node);
  }
  g_source_set_ready_time (inbound->timer, dial != NULL ? dial->deadline : -1);
  return G_SOURCE_CONTINUE;
}

static gboolean
timer_dispatch (GSource *source, GSourceFunc callback, gpointer user_data)
{
  return callback (user_data);
}

static GSourceFuncs timer_funcs = {
  .dispatch = timer_dispatch,
};

static PilotAccessVerdict
check_access (PilotInbound *inbound, guint32 peer, guint16 port)
{
  PilotPeerInfo info;

  if (!pilot_overlay_peer_info (pilot_node_get_overlay (inbound->node), peer, &info) || !info.has_key)
    return PILOT_ACCESS_DENIED;
  return pilot_access_check (pilot_node_get_access (inbound->node), peer, info.key, port);
}

static gboolean
take_places (PilotInbound *inbound, guint32 peer)
{
  if (!pilot_shares_take (inbound->shares, peer))
    return FALSE;
  if (pilot_shares_take (inbound->connections, peer))
    return TRUE;
  pilot_shares_give_back (inbound->shares, peer);
  if (pilot_token_bucket_take (&inbound->complained, COMPLAIN_EVERY, 1, g_get_monotonic_time ()))
    g_message ("node %u has as many connections to this machine as one peer may have: others are refused", peer);
  return FALSE;
}

/* One peer may hold three quarters of the descriptors: the others, and what the daemon does for itself, have the rest. */
static guint
connections_of_peer (void)
{
  struct rlimit limit;

  return getrlimit (RLIMIT_NOFILE, &limit) == 0 ? (guint) MIN (limit.rlim_cur / 4 * 3, CONNECTIONS_OF_PEER) : CONNECTIONS_OF_PEER;
}

static void
stream_incoming (PilotNode *node, PilotStream *stream, guint32 peer, gpointer user_data)
{
  static const struct in6_addr loopback6 = IN6ADDR_LOOPBACK_INIT;
  PilotInbound *inbound = user_data;
  PilotAccessVerdict verdict;
  PilotStreamInfo info;
  Dial *dial;

  pilot_stream_info (stream, &info);
  /* Asked again here: what lets a peer in to this machine is decided next to what connects it. */
  verdict = check_access (inbound, peer, info.local_port);
  if (verdict == PILOT_ACCESS_DENIED || info.local_port == 0 || (inbound->forbidden != NULL && inbound->forbidden (info.local_port, inbound->user_data)) ||
      !take_places (inbound, peer)) {
    pilot_stream_refuse (stream, g_get_monotonic_time ());
    return;
  }
  dial = g_new0 (Dial, 1);
  dial->user.ready = dial_stream_ready;
  dial->inbound = inbound;
  dial->link.data = dial;
  dial->stream = stream;
  dial->fd = -1;
  dial->node = peer;
  dial->port = info.local_port;
  g_queue_push_tail_link (&inbound->dials, &dial->link);
  pilot_stream_set_user_data (stream, &dial->user);
  if (verdict == PILOT_ACCESS_NETWORK_ONLY)
    add_v4 (dial, NETWORK_PROBE);
  else {
    add_v4 (dial, INADDR_LOOPBACK);
    add_v6 (dial, &loopback6);
  }
  dial->deadline = g_get_monotonic_time () + CONNECT_TIMEOUT_MS * 1000;
  if (g_source_get_ready_time (inbound->timer) < 0)
    g_source_set_ready_time (inbound->timer, dial->deadline);
  dial_next (dial);
}

PilotInbound *
pilot_inbound_new (PilotNode *node, PilotInboundSource source, PilotInboundForbidden forbidden, gpointer user_data)
{
  PilotInbound *inbound = g_new0 (PilotInbound, 1);

  inbound->node = node;
  inbound->source = source;
  inbound->forbidden = forbidden;
  inbound->user_data = user_data;
  inbound->shares = pilot_shares_new (DIALS_MAX, DIALS_OF_PEER);
  g_queue_init (&inbound->dials);
  inbound->timer = g_source_new (&timer_funcs, sizeof (GSource));
  g_source_set_callback (inbound->timer, dials_due, inbound, NULL);
  g_source_attach (inbound->timer, g_main_context_get_thread_default ());
  pilot_bridge_group_init (&inbound->group, pilot_node_get_poller (node));
  inbound->group.shares = inbound->connections = pilot_shares_new (G_MAXUINT, connections_of_peer ());
  pilot_node_set_bridge (node, stream_incoming, inbound);
  return inbound;
}

void
pilot_inbound_reset_peer (PilotInbound *inbound, guint32 peer)
{
  GList *next;

  for (GList *item = inbound->dials.head; item != NULL; item = next) {
    Dial *dial = item->data;

    next = item->next;
    if (dial->node == peer)
      dial_refuse (dial);
  }
  pilot_bridge_group_reset_peer (&inbound->group, peer);
}

void
pilot_inbound_free (PilotInbound *inbound)
{
  pilot_node_set_bridge (inbound->node, NULL, NULL);
  while (inbound->dials.head != NULL)
    dial_refuse (inbound->dials.head->data);
  pilot_shares_free (inbound->shares);
  g_source_destroy (inbound->timer);
  g_source_unref (inbound->timer);
  pilot_bridge_group_reset (&inbound->group);
  pilot_shares_free (inbound->connections);
  pilot_node_kick (inbound->node);
  g_free (inbound);
}
