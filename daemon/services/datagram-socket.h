/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/node/node.h"

G_BEGIN_DECLS

/*
 * PilotDatagramSockets: the datagrams of one pilot port for a local program, through a unix socket (SOCK_SEQPACKET) that it was handed.
 *
 * Each packet is one datagram, behind 8 bytes: node u32, its port u16, 0 u16, big-endian; of the sender in what is read, of the receiver in
 * what is written. What the program does not read in time is dropped, the newest first, and counted. Closing its end frees the port.
 */
typedef struct _PilotDatagramSockets PilotDatagramSockets;

#define PILOT_DATAGRAM_SOCKET_HEADER 8

PilotDatagramSockets *pilot_datagram_sockets_new (PilotNode *node);
void pilot_datagram_sockets_free (PilotDatagramSockets *sockets);
/* The program's end, blocking, bound to *@port (0: an ephemeral one, told there). -1 with an error: ALREADY_EXISTS, EXHAUSTED, IO. */
int pilot_datagram_sockets_open (PilotDatagramSockets *sockets, guint16 *port, GError **error);
void pilot_datagram_sockets_foreach (PilotDatagramSockets *sockets, void (*func) (guint16 port, gpointer user_data), gpointer user_data);
/* Datagrams that came and were not read in time, of all sockets. */
guint64 pilot_datagram_sockets_get_dropped (PilotDatagramSockets *sockets);

G_END_DECLS
