/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/gateway/socket-diag.h"

/* Before the kernel's headers, which then leave out what these define. */
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <linux/inet_diag.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef union {
  struct sockaddr generic;
  struct sockaddr_in in;
  struct sockaddr_in6 in6;
} Address;

typedef struct {
  struct nlmsghdr header;
  struct inet_diag_req_v2 body;
} Request;

static void
put_address (const Address *address, __be32 where[4], __be16 *port)
{
  if (address->generic.sa_family == AF_INET6) {
    memcpy (where, &address->in6.sin6_addr, sizeof address->in6.sin6_addr);
    *port = address->in6.sin6_port;
  } else {
    where[0] = address->in.sin_addr.s_addr;
    *port = address->in.sin_port;
  }
}

/* The socket from `source` to `target`. FALSE when there is none, or nobody tells. Its inode is 0 when no program holds it. */
static gboolean
ask (const Address *source, const Address *target, struct inet_diag_msg *result)
{
  Request request = {
    .header = { .nlmsg_len = sizeof request, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST },
    .body = { .sdiag_family = source->generic.sa_family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0u, .id.idiag_cookie = { INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE } },
  };
  union {
    struct nlmsghdr header;
    guint8 bytes[4096];
  } answer;
  int netlink = socket (AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  gssize got = -1;

  if (netlink < 0)
    return FALSE;
  put_address (source, request.body.id.idiag_src, &request.body.id.idiag_sport);
  put_address (target, request.body.id.idiag_dst, &request.body.id.idiag_dport);
  /* The kernel answers within send(): there is nothing to wait for. */
  if (send (netlink, &request, sizeof request, 0) == sizeof request)
    got = recv (netlink, &answer, sizeof answer, MSG_DONTWAIT);
  close (netlink);
  if (got < (gssize) NLMSG_SPACE (sizeof *result) || answer.header.nlmsg_type != SOCK_DIAG_BY_FAMILY)
    return FALSE;
  memcpy (result, NLMSG_DATA (&answer.header), sizeof *result);
  return TRUE;
}

/* The socket of the program at the other end of @fd. */
static gboolean
ask_peer (int fd, struct inet_diag_msg *result)
{
  Address own, peer, original;
  socklen_t own_length = sizeof own, peer_length = sizeof peer, original_length = sizeof original.in;

  if (getsockname (fd, &own.generic, &own_length) != 0 || getpeername (fd, &peer.generic, &peer_length) != 0 ||
      (own.generic.sa_family != AF_INET && own.generic.sa_family != AF_INET6))
    return FALSE;
  if (ask (&peer, &own, result))
    return TRUE;
  /* A connection that was redirected to our listener: the program's socket has the address that it asked for. */
  return own.generic.sa_family == AF_INET && getsockopt (fd, IPPROTO_IP, SO_ORIGINAL_DST, &original, &original_length) == 0 &&
         ask (&peer, &original, result);
}

gboolean
pilot_socket_peer_closed (int fd)
{
  struct inet_diag_msg found;

  /* One that waits to be accepted has no program either. */
  return ask_peer (fd, &found) && found.idiag_inode == 0 && found.idiag_state != TCP_ESTABLISHED && found.idiag_state != TCP_CLOSE_WAIT;
}

gboolean
pilot_socket_get_peer_uid (int fd, guint32 *uid)
{
  struct inet_diag_msg found;

  /* Of a socket that no program holds the kernel may say 0, which is root. */
  if (!ask_peer (fd, &found) || found.idiag_inode == 0)
    return FALSE;
  *uid = found.idiag_uid;
  return TRUE;
}
