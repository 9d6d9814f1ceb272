/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/ipc/ipc-private.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/core/local-socket.h"
#include "libpilot/pilot-acceptor.h"
#include "libpilot/pilot-error.h"

#define BACKLOG 128

typedef struct {
  PilotIpc *ipc;
  char *path;
  int fd;
  PilotLocalSocketId id;
  PilotPollerWatch *watch;
  PilotAcceptor *acceptor;
} Socket;

/* --- datagrams: every client gets all that nothing else here takes (ipc.md section 4.5) --- */

/* A client with this much unread loses datagrams, not streams. */
#define DATAGRAM_BACKLOG (256 * 1024)

static void
on_datagram (PilotNode *node, const PilotNodeDatagram *datagram, gpointer user_data)
{
  PilotIpc *ipc = user_data;
  const PilotAddress source = { .network = 0, .node = datagram->peer };

  for (GList *item = ipc->clients.head; item != NULL; item = item->next) {
    PilotIpcClient *client = item->data;

    if (pilot_ipc_client_backlog (client) + datagram->length > DATAGRAM_BACKLOG)
      continue;
    pilot_ipc_put_recv_from (client->out, &source, datagram->source_port, datagram->port, datagram->data, datagram->length);
    pilot_ipc_client_flush (client);
  }
}

static void
watch_datagrams (PilotIpc *ipc)
{
  gboolean wanted = ipc->clients.length > 0;
  g_autoptr (GError) error = NULL;

  if (wanted == ipc->datagrams)
    return;
  if (!wanted)
    pilot_node_unbind_datagram (ipc->node, 0);
  else if (!pilot_node_bind_datagram (ipc->node, 0, on_datagram, ipc, &error)) {
    g_warning ("local clients get no datagrams: %s", error->message);
    return;
  }
  ipc->datagrams = wanted;
}

/* --- clients --- */

/* The same as on D-Bus: the daemon's own user, and root. Nothing is said to anybody else. */
static gboolean
may_connect (PilotIpc *ipc, int fd)
{
  struct ucred peer;
  socklen_t length = sizeof peer;

  if (getsockopt (fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && (peer.uid == 0 || peer.uid == geteuid ()))
    return TRUE;
  if (ipc->refused++ == 0)
    g_message ("a program of another user was sent away from the local socket");
  return FALSE;
}

static void
socket_accepted (int fd, const struct sockaddr *remote, socklen_t length, gpointer user_data)
{
  Socket *here = user_data;
  PilotIpc *ipc = here->ipc;

  if (may_connect (ipc, fd) && ipc->clients.length < PILOT_IPC_MAX_CLIENTS)
    pilot_ipc_client_new (ipc, fd);
  else
    close (fd);
}

static void
socket_watch (gboolean wanted, gpointer user_data)
{
  Socket *here = user_data;

  pilot_poller_modify (here->watch, wanted ? EPOLLIN : 0);
}

static const PilotAcceptorFuncs acceptor_funcs = { .accepted = socket_accepted, .watch = socket_watch };

static void
socket_ready (int fd, guint32 events, gpointer user_data)
{
  Socket *here = user_data;

  pilot_acceptor_ready (here->acceptor);
  watch_datagrams (here->ipc);
}

void
pilot_ipc_client_gone (PilotIpc *ipc)
{
  watch_datagrams (ipc);
}

/* --- sockets --- */

static void
socket_free (gpointer data)
{
  Socket *here = data;

  pilot_acceptor_free (here->acceptor);
  pilot_poller_remove (here->watch);
  close (here->fd);
  pilot_local_socket_unlink (here->path, &here->id);
  g_free (here->path);
  g_free (here);
}

static gboolean
serve (PilotIpc *ipc, const char *path, GError **error)
{
  PilotLocalSocketId id;
  int fd = pilot_local_socket_listen (path, "--socket", BACKLOG, &id, error);
  Socket *here;

  if (fd < 0)
    return FALSE;
  here = g_new0 (Socket, 1);
  here->ipc = ipc;
  here->path = g_strdup (path);
  here->fd = fd;
  here->id = id;
  here->acceptor = pilot_acceptor_new (fd, &acceptor_funcs, here);
  here->watch = pilot_poller_add (pilot_node_get_poller (ipc->node), fd, EPOLLIN, socket_ready, here);
  g_ptr_array_add (ipc->sockets, here);
  g_message ("the Go tools find this daemon at \"%s\"", path);
  return TRUE;
}

static void
serve_if_possible (PilotIpc *ipc, const char *path)
{
  g_autoptr (GError) error = NULL;

  if (!serve (ipc, path, &error))
    g_message ("the Go tools do not find this daemon at \"%s\": %s", path, error->message);
}

static gboolean
serve_all (PilotIpc *ipc, GError **error)
{
  PilotConfig *config = pilot_node_get_config (ipc->node);
  const char *path = pilot_config_get (config, "socket");
  const char *runtime = g_getenv ("XDG_RUNTIME_DIR");

  if (g_strcmp0 (path, "none") == 0)
    return TRUE;
  if (path != NULL && *path != '\0')
    return serve (ipc, path, error);
  if (pilot_config_get_boolean (config, "system")) {
    serve_if_possible (ipc, "/run/pilot/pilot.sock");
    return TRUE;
  }
  if (runtime != NULL && *runtime != '\0') {
    g_autofree char *own = g_build_filename (runtime, "pilot.sock", NULL);

    serve_if_possible (ipc, own);
  }
  serve_if_possible (ipc, "/tmp/pilot.sock");
  return TRUE;
}

static void
on_node_changed (PilotNode *node, PilotIpc *ipc)
{
  g_autoptr (GError) error = NULL;

  if (pilot_node_get_id (node) == 0)
    return;
  g_clear_signal_handler (&ipc->node_handler, node);
  if (!serve_all (ipc, &error))
    g_warning ("the Go tools do not find this daemon: %s", error->message);
}

/* --- life --- */

gboolean
pilot_ipc_start (PilotIpc *ipc, GError **error)
{
  if (pilot_node_get_id (ipc->node) != 0)
    return serve_all (ipc, error);
  ipc->node_handler = g_signal_connect (ipc->node, "changed", G_CALLBACK (on_node_changed), ipc);
  return TRUE;
}

void
pilot_ipc_stop (PilotIpc *ipc)
{
  g_clear_signal_handler (&ipc->node_handler, ipc->node);
  g_ptr_array_set_size (ipc->sockets, 0);
  while (ipc->clients.head != NULL)
    pilot_ipc_client_free (ipc->clients.head->data);
  while (ipc->closing.head != NULL)
    pilot_ipc_conn_reset (ipc->closing.head->data);
}

PilotIpc *
pilot_ipc_new (PilotNode *node)
{
  PilotIpc *ipc = g_new0 (PilotIpc, 1);

  ipc->node = g_object_ref (node);
  ipc->sockets = g_ptr_array_new_with_free_func (socket_free);
  ipc->conns = g_hash_table_new (NULL, NULL);
  return ipc;
}

void
pilot_ipc_free (PilotIpc *ipc)
{
  if (ipc == NULL)
    return;
  pilot_ipc_stop (ipc);
  g_ptr_array_unref (ipc->sockets);
  g_hash_table_unref (ipc->conns);
  g_object_unref (ipc->node);
  g_free (ipc);
}
