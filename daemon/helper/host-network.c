/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/helper/host-network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/helper/netlink-address.h"
#include "daemon/helper/port-holder.h"
#include "libpilot/pilot-error.h"

#define LISTEN_BACKLOG 1024
/* Where the redirect listener is looked for first: ports nobody but root can take over while nobody holds them. */
#define RESERVED_PORT_LAST 1023
#define RESERVED_PORT_FIRST 600

struct _PilotHostNetwork {
  GObject parent_instance;
  guint32 uid;
  PilotSubnet subnet;
  char label[PILOT_LABEL_SIZE];
  GArray *loopback_addresses; /* "added" addresses of a 127.x subnet */
  GPtrArray *redirects;       /* copy of the rules in force, for suspend */
  int redirect_fd;
  guint16 redirect_port;
};

G_DEFINE_FINAL_TYPE (PilotHostNetwork, pilot_host_network, G_TYPE_OBJECT)

static void
pilot_host_network_init (PilotHostNetwork *network)
{
  network->redirect_fd = -1;
  network->loopback_addresses = g_array_new (FALSE, FALSE, sizeof (guint32));
  network->redirects = g_ptr_array_new_with_free_func ((GDestroyNotify) pilot_redirect_free);
}

static void
close_redirect_listener (PilotHostNetwork *network)
{
  if (network->redirect_fd >= 0)
    close (network->redirect_fd);
  network->redirect_fd = -1;
  network->redirect_port = 0;
}

static void
pilot_host_network_finalize (GObject *object)
{
  PilotHostNetwork *network = PILOT_HOST_NETWORK (object);

  close_redirect_listener (network);
  g_array_unref (network->loopback_addresses);
  g_ptr_array_unref (network->redirects);
  G_OBJECT_CLASS (pilot_host_network_parent_class)->finalize (object);
}

static void
pilot_host_network_class_init (PilotHostNetworkClass *class)
{
  G_OBJECT_CLASS (class)->finalize = pilot_host_network_finalize;
}

PilotHostNetwork *
pilot_host_network_new (guint32 uid, const PilotSubnet *subnet)
{
  PilotHostNetwork *network = g_object_new (PILOT_TYPE_HOST_NETWORK, NULL);

  network->uid = uid;
  network->subnet = *subnet;
  pilot_netlink_label (uid, network->label);
  return network;
}

guint32
pilot_host_network_get_uid (PilotHostNetwork *network)
{
  return network->uid;
}

const PilotSubnet *
pilot_host_network_get_subnet (PilotHostNetwork *network)
{
  return &network->subnet;
}

gboolean
pilot_host_network_check_overlap (PilotHostNetwork *network, GError **error)
{
  return pilot_netlink_check_overlap (network->label, &network->subnet, error);
}

GArray *
pilot_host_network_list_addresses (PilotHostNetwork *network, GError **error)
{
  if (pilot_subnet_is_loopback (&network->subnet))
    return g_array_copy (network->loopback_addresses);
  return pilot_netlink_list_addresses (network->label, error);
}

gboolean
pilot_host_network_add_address (PilotHostNetwork *network, guint32 address, GError **error)
{
  g_autoptr (GArray) present = NULL;

  if (!pilot_subnet_check_host (&network->subnet, address, error))
    return FALSE;
  present = pilot_host_network_list_addresses (network, error);
  if (present == NULL)
    return FALSE;
  if (pilot_ipv4_contains (present, address))
    return TRUE;
  if (present->len >= PILOT_REDIRECTS_MAX) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "no more than %u addresses are added", PILOT_REDIRECTS_MAX);
    return FALSE;
  }
  if (pilot_subnet_is_loopback (&network->subnet)) {
    g_array_append_val (network->loopback_addresses, address);
    return TRUE;
  }
  return pilot_netlink_add_address (network->label, address, error);
}

gboolean
pilot_host_network_remove_address (PilotHostNetwork *network, guint32 address, GError **error)
{
  GArray *list = network->loopback_addresses;
  char text[PILOT_IPV4_TEXT_SIZE];

  if (!pilot_subnet_check_host (&network->subnet, address, error))
    return FALSE;
  if (!pilot_subnet_is_loopback (&network->subnet))
    return pilot_netlink_remove_address (network->label, address, error);
  for (guint i = 0; i < list->len; i++)
    if (g_array_index (list, guint32, i) == address) {
      g_array_remove_index_fast (list, i);
      return TRUE;
    }
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "address %s is not ours", pilot_ipv4_format (address, text));
  return FALSE;
}

static int
listening_socket (guint32 address, guint16 port, const char *device)
{
  struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons (port), .sin_addr.s_addr = htonl (address) };
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  int one = 1, saved;

  if (fd < 0)
    return -1;
  /* Reuse, so that listen() can revive it beside connections that were accepted before (and after a restart). Linux still
   * refuses a second listener. */
  if (setsockopt (fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
      (device == NULL || setsockopt (fd, SOL_SOCKET, SO_BINDTODEVICE, device, strlen (device) + 1) == 0) &&
      bind (fd, (struct sockaddr *) &name, sizeof name) == 0 && listen (fd, LISTEN_BACKLOG) == 0)
    return fd;
  saved = errno;
  close (fd);
  errno = saved;
  return -1;
}

static gboolean
open_redirect_listener (PilotHostNetwork *network, GError **error)
{
  struct sockaddr_in name;
  socklen_t length = sizeof name;
  int fd = -1;

  if (network->redirect_fd >= 0)
    return TRUE;
  for (guint port = RESERVED_PORT_LAST; fd < 0 && port >= RESERVED_PORT_FIRST; port--) {
    struct servent *known = getservbyport (htons (port), "tcp");

    if (known != NULL)
      continue;
    fd = listening_socket (INADDR_LOOPBACK, port, NULL);
    if (fd < 0 && errno == EACCES)
      break;
  }
  if (fd < 0)
    fd = listening_socket (INADDR_LOOPBACK, 0, NULL);
  if (fd < 0 || getsockname (fd, (struct sockaddr *) &name, &length) != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot open the gateway's listener on 127.0.0.1: %s", g_strerror (errno));
    if (fd >= 0)
      close (fd);
    return FALSE;
  }
  network->redirect_fd = fd;
  network->redirect_port = ntohs (name.sin_port);
  return TRUE;
}

static int
duplicate (int fd, GError **error)
{
  int copy = fcntl (fd, F_DUPFD_CLOEXEC, 3);

  if (copy < 0)
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_IO, "cannot duplicate a socket: %s", g_strerror (errno));
  return copy;
}

int
pilot_host_network_open_redirect_listener (PilotHostNetwork *network, guint16 *port, GError **error)
{
  if (!open_redirect_listener (network, error))
    return -1;
  *port = network->redirect_port;
  return duplicate (network->redirect_fd, error);
}

static gboolean
check_redirects (PilotHostNetwork *network, const GPtrArray *redirects, GError **error)
{
  g_autoptr (GHashTable) seen = g_hash_table_new (NULL, NULL);
  gsize elements = 0;

  if (redirects->len > PILOT_REDIRECTS_MAX) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "no more than %u addresses are redirected", PILOT_REDIRECTS_MAX);
    return FALSE;
  }
  for (guint i = 0; i < redirects->len; i++) {
    const PilotRedirect *redirect = g_ptr_array_index (redirects, i);

    if (!pilot_subnet_check_host (&network->subnet, redirect->address, error))
      return FALSE;
    if (!g_hash_table_add (seen, GUINT_TO_POINTER (redirect->address))) {
      g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "an address is named twice");
      return FALSE;
    }
    for (guint j = 0; j < redirect->ports->len; j++)
      if (g_array_index (redirect->ports, guint16, j) == 0) {
        g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "port 0 cannot be redirected");
        return FALSE;
      }
    elements += redirect->ports->len;
  }
  if (elements > PILOT_REDIRECT_ELEMENTS_MAX) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_EXHAUSTED, "no more than %u ports are redirected", PILOT_REDIRECT_ELEMENTS_MAX);
    return FALSE;
  }
  return TRUE;
}

static PilotRedirect *
copy_redirect (const PilotRedirect *redirect)
{
  PilotRedirect *copy = pilot_redirect_new (redirect->address, redirect->every_port);

  copy->silent = redirect->silent;
  g_array_append_vals (copy->ports, redirect->ports->data, redirect->ports->len);
  return copy;
}

/* Who may not set rules has none to take away: a subnet in 127.0.0.0/8 is served without any privilege. */
static gboolean
clear_rules (PilotHostNetwork *network, GError **error)
{
  g_autoptr (GError) local_error = NULL;

  if (pilot_nft_rules_clear (network->uid, NULL, &local_error) ||
      (network->redirects->len == 0 && g_error_matches (local_error, PILOT_ERROR, PILOT_ERROR_PERMISSION_DENIED)))
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&local_error));
  return FALSE;
}

gboolean
pilot_host_network_set_rules (PilotHostNetwork *network, const GPtrArray *redirects, GError **error)
{
  g_autoptr (GPtrArray) copies = g_ptr_array_new_with_free_func ((GDestroyNotify) pilot_redirect_free);

  if (!check_redirects (network, redirects, error))
    return FALSE;
  if (redirects->len == 0) {
    if (!clear_rules (network, error))
      return FALSE;
  } else {
    if (!open_redirect_listener (network, error) ||
        !pilot_nft_rules_apply (network->uid, network->redirect_port, redirects, error))
      return FALSE;
  }
  for (guint i = 0; i < redirects->len; i++)
    g_ptr_array_add (copies, copy_redirect (g_ptr_array_index (redirects, i)));
  g_ptr_array_unref (network->redirects);
  network->redirects = g_steal_pointer (&copies);
  return TRUE;
}

int
pilot_host_network_open_listener (PilotHostNetwork *network, guint32 address, guint16 port, GError **error)
{
  g_autoptr (GArray) present = NULL;
  char text[PILOT_IPV4_TEXT_SIZE];
  PilotError code = PILOT_ERROR_IO;
  int fd;

  if (!pilot_subnet_check_host (&network->subnet, address, error))
    return -1;
  pilot_ipv4_format (address, text);
  if (port == 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "port 0 cannot be listened on");
    return -1;
  }
  present = pilot_host_network_list_addresses (network, error);
  if (present == NULL)
    return -1;
  if (!pilot_ipv4_contains (present, address)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_NOT_FOUND, "address %s was not added", text);
    return -1;
  }
  /* Bound to lo: a neighbour that routes the address through this machine gets nothing. */
  fd = listening_socket (address, port, "lo");
  if (fd >= 0)
    return fd;
  if (errno == EADDRINUSE) {
    g_autofree char *holder = pilot_port_holder_describe (address, port);

    g_set_error (error, PILOT_ERROR, PILOT_ERROR_ALREADY_EXISTS, "port %u is held by %s", port,
                 holder != NULL ? holder : "another program");
    return -1;
  }
  if (errno == EACCES || errno == EPERM)
    code = PILOT_ERROR_PERMISSION_DENIED;
  g_set_error (error, PILOT_ERROR, code, "cannot listen on %s:%u: %s%s", text, port, g_strerror (errno),
               code == PILOT_ERROR_PERMISSION_DENIED ? " (CAP_NET_BIND_SERVICE is needed)" : "");
  return -1;
}

void
pilot_host_network_suspend (PilotHostNetwork *network)
{
  struct linger hard = { 1, 0 };
  g_autoptr (GError) error = NULL;
  int fd;

  if (network->redirects->len > 0 && !pilot_nft_rules_apply (network->uid, 0, network->redirects, &error))
    g_warning ("connections to mapped addresses may wait until the daemon is back: %s", error->message);
  /* The daemon has the same socket, and whether it waits is a property of both: nobody may make us wait. Nor may who goes on connecting. */
  if (network->redirect_fd < 0 || fcntl (network->redirect_fd, F_SETFL, O_NONBLOCK) != 0)
    return;
  for (guint i = 0; i <= LISTEN_BACKLOG && (fd = accept4 (network->redirect_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0; i++) {
    setsockopt (fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close (fd);
  }
}

static gboolean
remove_addresses (const char *label, gboolean *found, GError **error)
{
  g_autoptr (GArray) present = pilot_netlink_list_addresses (label, error);

  if (present == NULL)
    return FALSE;
  *found = *found || present->len > 0;
  for (guint i = 0; i < present->len; i++)
    if (!pilot_netlink_remove_address (label, g_array_index (present, guint32, i), error))
      return FALSE;
  return TRUE;
}

gboolean
pilot_host_network_cleanup (PilotHostNetwork *network, GError **error)
{
  gboolean found = FALSE;

  /* Rules first: without the addresses they would only catch what goes elsewhere. */
  if (!clear_rules (network, error))
    return FALSE;
  g_ptr_array_set_size (network->redirects, 0);
  close_redirect_listener (network);
  g_array_set_size (network->loopback_addresses, 0);
  return remove_addresses (network->label, &found, error);
}

gboolean
pilot_host_network_remove_leftovers (guint32 uid, gboolean *found, GError **error)
{
  char label[PILOT_LABEL_SIZE];

  return pilot_nft_rules_clear (uid, found, error) && remove_addresses (pilot_netlink_label (uid, label), found, error);
}
