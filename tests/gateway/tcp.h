/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>
#include <netinet/in.h>

/* Servers and clients, each in a thread, with blocking sockets. */

typedef struct {
  int listener;
  GThread *thread;
  gint connections;
  gint last_source; /* IPv4, host order */
} Server;

/* Reads up to the FIN, then answers with all of it: needs half-close. */
void server_start (Server *server, const char *address, guint16 port);
void server_stop (Server *server);

typedef struct {
  const char *address;
  guint16 port;
  gsize length;
  int connect_error, read_error;
  gint64 took_us;
  gboolean matches;
  gint done;
} Client;

/* Runs clients while the loop turns. Each sends @length bytes and a FIN, and expects them back. */
void clients_run (Client *clients, guint n_clients);
Client client_request (const char *address, guint16 port, gsize length);

struct sockaddr_in socket_name (const char *address, guint16 port);
