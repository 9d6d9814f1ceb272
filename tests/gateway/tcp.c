/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/gateway/tcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/helper/subnet.h"

struct sockaddr_in
socket_name (const char *address, guint16 port)
{
  guint32 value = 0;

  g_assert_true (pilot_ipv4_parse (address, &value, NULL));
  return (struct sockaddr_in) { .sin_family = AF_INET, .sin_port = htons (port), .sin_addr.s_addr = htonl (value) };
}

/* Reads up to the FIN, then answers with all of it: needs half-close. */
static gpointer
serve_one (gpointer data)
{
  int fd = GPOINTER_TO_INT (data);
  g_autoptr (GByteArray) all = g_byte_array_new ();
  guint8 buffer[16384];
  gssize got;

  while ((got = recv (fd, buffer, sizeof buffer, 0)) > 0)
    g_byte_array_append (all, buffer, got);
  for (gsize sent = 0; got == 0 && sent < all->len;) {
    gssize put = send (fd, all->data + sent, all->len - sent, MSG_NOSIGNAL);

    if (put <= 0)
      break;
    sent += put;
  }
  close (fd);
  return NULL;
}

static gpointer
serve (gpointer data)
{
  Server *server = data;
  g_autoptr (GPtrArray) threads = g_ptr_array_new ();
  struct sockaddr_in name;
  socklen_t length = sizeof name;
  int fd;

  while ((fd = accept (server->listener, (struct sockaddr *) &name, &length)) >= 0) {
    g_atomic_int_set (&server->last_source, (gint) ntohl (name.sin_addr.s_addr));
    g_atomic_int_inc (&server->connections);
    g_ptr_array_add (threads, g_thread_new ("serve", serve_one, GINT_TO_POINTER (fd)));
  }
  /* A thread that is still ending when the test does is a leak to a sanitizer. */
  for (guint i = 0; i < threads->len; i++)
    g_thread_join (threads->pdata[i]);
  return NULL;
}

void
server_start (Server *server, const char *address, guint16 port)
{
  struct sockaddr_in name = socket_name (address, port);
  int one = 1;

  *server = (Server) { .listener = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
  setsockopt (server->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  g_assert_cmpint (bind (server->listener, (struct sockaddr *) &name, sizeof name), ==, 0);
  g_assert_cmpint (listen (server->listener, 512), ==, 0);
  server->thread = g_thread_new ("server", serve, server);
}

void
server_stop (Server *server)
{
  shutdown (server->listener, SHUT_RD);
  g_thread_join (server->thread);
  close (server->listener);
}

static gpointer
client_run (gpointer data)
{
  Client *client = data;
  struct sockaddr_in name = socket_name (client->address, client->port);
  g_autofree guint8 *sent = g_malloc (client->length + 1), *received = g_malloc (client->length + 1);
  struct timeval limit = { 20, 0 };
  gint64 begin = g_get_monotonic_time ();
  gsize length = 0;
  gssize got = 0;
  int send_error = 0;
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

  for (gsize i = 0; i < client->length; i++)
    sent[i] = i * 31 + (i >> 8) + client->port;
  setsockopt (fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt (fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (connect (fd, (struct sockaddr *) &name, sizeof name) != 0)
    client->connect_error = errno;
  else {
    for (gsize at = 0; at < client->length && (got = send (fd, sent + at, client->length - at, MSG_NOSIGNAL)) > 0; at += got)
      ;
    send_error = got < 0 ? errno : 0;
    shutdown (fd, SHUT_WR);
    while (length <= client->length && (got = recv (fd, received + length, client->length + 1 - length, 0)) > 0)
      length += got;
    /* A reset that came before we had said everything was told to send(). */
    client->read_error = send_error != 0 ? ECONNRESET : got < 0 ? errno
                                                                : 0;
    client->matches = got == 0 && length == client->length && memcmp (sent, received, length) == 0;
  }
  close (fd);
  client->took_us = g_get_monotonic_time () - begin;
  g_atomic_int_set (&client->done, 1);
  return NULL;
}

/* Runs clients while the loop turns. */
void
clients_run (Client *clients, guint n_clients)
{
  g_autofree GThread **threads = g_new0 (GThread *, n_clients);

  for (guint i = 0; i < n_clients; i++)
    threads[i] = g_thread_new ("client", client_run, &clients[i]);
  for (guint i = 0; i < n_clients; i++) {
    while (!g_atomic_int_get (&clients[i].done))
      if (!g_main_context_iteration (NULL, FALSE))
        g_usleep (200);
    g_thread_join (threads[i]);
  }
}

Client
client_request (const char *address, guint16 port, gsize length)
{
  Client client = { .address = address, .port = port, .length = length };

  clients_run (&client, 1);
  return client;
}
