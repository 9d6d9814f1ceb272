/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <pilot.h>

G_BEGIN_DECLS

/* What was opened, and what the kernel gave it. */
typedef struct
{
  gint fd;
  gboolean ipv6;       /* addresses are sockaddr_in6, IPv4 ones mapped */
  gboolean gso;        /* UDP_SEGMENT is known to the kernel */
  gboolean gro;        /* UDP_GRO is on */
  gboolean whole;      /* IP does not cut datagrams */
  PilotEndpoint bound; /* with the port the kernel chose */
} UdpSocket;

/* "HOST:PORT" with a literal address, or ":PORT" for every address of both families (of IPv4 alone where there is no IPv6).
 * `offload` FALSE leaves segmentation and receive offload off. `buffer` bytes are asked for each way; the kernel may give less. */
gboolean udp_socket_open (UdpSocket *self,
                          const gchar *listen,
                          gboolean offload,
                          guint buffer,
                          GError **error);
/* Segmentation and receive offload, as far as the kernel knows them, from now on or no more. */
void udp_socket_set_offload (UdpSocket *self,
                             gboolean on);
/* From now on datagrams arrive in one piece or not at all, or (FALSE, as in the beginning) IP may cut what is larger than the path's MTU. */
gboolean udp_socket_set_whole (UdpSocket *self,
                               gboolean on);
/* What the kernel gave of the buffer asked for (SO_RCVBUF, SO_SNDBUF), in bytes as it counts them: twice what was granted. */
guint udp_socket_get_buffer (UdpSocket *self,
                             gint option);
void udp_socket_close (UdpSocket *self);
/* (transfer full) (element-type PilotEndpoint): the addresses of this host others can reach the socket at. */
GArray *udp_socket_get_endpoints (UdpSocket *self);

G_END_DECLS
