/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "netcheck.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <glib-unix.h>

#include "daemon/node/node-private.h"
#include "libpilot/pilot-error.h"
#include "protocol/beacon-message.h"
#include "protocol/registry-message.h"

/* A lost datagram is repeated; who has not answered after the last is taken for silent. Milliseconds. */
#define ASK_EVERY 300
#define ASK_TIMES 5
/* So many of those until it is given up on a connection that loses nothing, but is slow where a proxy or a queue is on the way. */
#define COMPAT_TIMES 10
#define MAX_BEACONS 2

typedef struct {
  PilotEndpoint beacon, outside;
  gint64 sent_at, rtt; /* rtt: -1 until it has answered */
} Probe;

typedef struct {
  Probe probes[MAX_BEACONS];
  guint n_probes, n_asked;
  gboolean compat; /* the one beacon is asked through the tunnel: there is no other way to it */
  int fd;
  guint fd_source, timer;
  gboolean asking_registry;
  gint64 registry_asked, registry_rtt; /* rtt: -1 = no answer */
  char *registry_error;
} Check;

static void
check_free (gpointer data)
{
  Check *check = data;

  g_clear_handle_id (&check->fd_source, g_source_remove);
  g_clear_handle_id (&check->timer, g_source_remove);
  if (check->fd >= 0)
    close (check->fd);
  g_free (check->registry_error);
  g_free (check);
}

/* --- facts --- */

static gint64
read_limit (const char *path)
{
  g_autofree char *text = NULL;

  return g_file_get_contents (path, &text, NULL, NULL) ? g_ascii_strtoll (text, NULL, 10) : -1;
}

static void
add_endpoint (GVariantDict *dict, const char *key, const PilotEndpoint *endpoint)
{
  gchar text[PILOT_ENDPOINT_TEXT_SIZE] = "";

  if (!pilot_endpoint_is_none (endpoint))
    pilot_endpoint_format (endpoint, text);
  g_variant_dict_insert (dict, key, "s", text);
}

static gboolean
answered (const Probe *probe)
{
  return probe->rtt >= 0;
}

/* RFC 4787 section 4.1, as far as the beacons at hand can tell. */
static const char *
judge_mapping (const Check *check, const PilotEndpoint *local, gboolean translated)
{
  const Probe *first = &check->probes[0], *second = &check->probes[1];

  if (check->compat || !answered (first))
    return "unknown";
  if (!translated)
    return "none";
  if (check->n_probes > 1 && answered (second))
    return pilot_endpoint_equal (&first->outside, &second->outside)      ? "endpoint-independent"
           : pilot_endpoint_equal_host (&first->beacon, &second->beacon) ? "address-and-port-dependent"
                                                                         : "address-dependent";
  /* Only who gives ports at random would meet the same one by chance. */
  return first->outside.port == local->port ? "port-preserving" : "unknown";
}

static const char *
judge_udp (const Check *check)
{
  return check->compat ? "not-used" : check->n_probes == 0       ? "not-tried"
                                  : answered (&check->probes[0]) ? "open"
                                                                 : "no-answer";
}

static void
add_nat (GVariantDict *dict, Check *check)
{
  const Probe *first = &check->probes[0];
  PilotEndpoint local = PILOT_ENDPOINT_INIT;
  struct sockaddr_storage address;
  socklen_t length = sizeof address;
  gboolean translated;

  if (check->fd < 0 || !pilot_network_source_address (&first->beacon, &local))
    local = (PilotEndpoint) PILOT_ENDPOINT_INIT;
  if (check->fd >= 0 && getsockname (check->fd, (struct sockaddr *) &address, &length) == 0) {
    PilotEndpoint bound;

    if (pilot_endpoint_from_sockaddr (&bound, (struct sockaddr *) &address, length))
      local.port = bound.port;
  }
  translated = !check->compat && answered (first) && !pilot_endpoint_equal (&first->outside, &local);
  g_variant_dict_insert (dict, "udp", "s", judge_udp (check));
  g_variant_dict_insert (dict, "beacon_rtt_ms", "d", answered (first) ? first->rtt / 1000.0 : -1.0);
  g_variant_dict_insert (dict, "beacons_asked", "u", check->n_probes);
  g_variant_dict_insert (dict, "nat", "b", translated);
  g_variant_dict_insert (dict, "mapping", "s", judge_mapping (check, &local, translated));
  /* A beacon answers from where it was asked: whether others would get in, it cannot try. */
  g_variant_dict_insert (dict, "filtering", "s", "unknown");
  /* As this check sent; the tunnel has a port of its own. */
  add_endpoint (dict, "local", &local);
}

static gint
path_mtu (const Probe *probe)
{
  struct sockaddr_storage address = { 0 };
  socklen_t length = pilot_endpoint_to_sockaddr (&probe->beacon, FALSE, &address);
  gboolean is_ipv6 = address.ss_family == AF_INET6;
  gint value = 0, fd = length > 0 ? socket (address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
  socklen_t size = sizeof value;

  if (fd < 0)
    return 0;
  /* Only a connected socket knows; connecting sends nothing. */
  if (connect (fd, (struct sockaddr *) &address, length) != 0 ||
      getsockopt (fd, is_ipv6 ? IPPROTO_IPV6 : IPPROTO_IP, is_ipv6 ? IPV6_MTU : IP_MTU, &value, &size) != 0)
    value = 0;
  close (fd);
  return value;
}

/* Where peers meet us by IPv6, whichever family the beacon is asked by. */
static void
add_ipv6 (GVariantDict *dict)
{
  char text[INET6_ADDRSTRLEN] = "";
  PilotEndpoint global;

  if (pilot_network_global_ipv6 (&global))
    inet_ntop (AF_INET6, global.address, text, sizeof text);
  g_variant_dict_insert (dict, "ipv6", "s", text);
}

static GVariant *
facts (PilotNode *node, Check *check)
{
  g_auto (GVariantDict) dict = G_VARIANT_DICT_INIT (NULL);
  const char *beacon = pilot_config_get (node->config, check->compat ? "compat_beacon" : "beacon"), *trouble = pilot_driver_get_trouble (node->driver);

  g_variant_dict_insert (&dict, "transport", "s", check->compat ? "compat" : "udp");
  g_variant_dict_insert (&dict, "registry", "s", pilot_node_get_registry_address (node));
  g_variant_dict_insert (&dict, "registry_rtt_ms", "d", check->registry_rtt < 0 ? -1.0 : check->registry_rtt / 1000.0);
  g_variant_dict_insert (&dict, "registry_error", "s", check->registry_error != NULL ? check->registry_error : "");
  g_variant_dict_insert (&dict, "beacon", "s", beacon != NULL ? beacon : "");
  g_variant_dict_insert (&dict, "beacon_error", "s", trouble != NULL ? trouble : "");
  add_nat (&dict, check);
  /* Of the tunnel itself, not of the socket of this check. */
  add_endpoint (&dict, "outside", &node->observed);
  add_ipv6 (&dict);
  g_variant_dict_insert (&dict, "relay_only", "b", pilot_config_get_boolean (node->config, "relay_only"));
  g_variant_dict_insert (&dict, "mtu", "u", check->n_probes > 0 && !check->compat ? (guint) path_mtu (&check->probes[0]) : 0);
  g_variant_dict_insert (&dict, "receive_buffer_limit", "x", read_limit ("/proc/sys/net/core/rmem_max"));
  g_variant_dict_insert (&dict, "send_buffer_limit", "x", read_limit ("/proc/sys/net/core/wmem_max"));
  g_variant_dict_insert_value (&dict, "transports", pilot_driver_get_statistics (node->driver));
  return g_variant_ref_sink (g_variant_dict_end (&dict));
}

/* --- asking --- */

static gboolean
all_answered (const Check *check)
{
  for (guint i = 0; i < check->n_probes; i++)
    if (!answered (&check->probes[i]))
      return FALSE;
  return TRUE;
}

static gboolean
is_over (const Check *check)
{
  return check->n_asked > (check->compat ? COMPAT_TIMES : ASK_TIMES);
}

/* Takes its reference of the task when everybody has answered or had his time. */
static void
finish_if_done (GTask *task)
{
  Check *check = g_task_get_task_data (task);
  PilotNode *node = g_task_get_source_object (task);

  if (check->asking_registry || (!all_answered (check) && !is_over (check)) || node->netcheck != task)
    return;
  g_clear_handle_id (&check->fd_source, g_source_remove);
  g_clear_handle_id (&check->timer, g_source_remove);
  node->netcheck = NULL;
  g_task_return_pointer (task, facts (node, check), (GDestroyNotify) g_variant_unref);
  g_object_unref (task);
}

static gboolean
on_answer (int fd, GIOCondition condition, gpointer user_data)
{
  GTask *task = user_data;
  Check *check = g_task_get_task_data (task);
  struct sockaddr_storage address;
  socklen_t length = sizeof address;
  PilotBeaconMessage message;
  PilotEndpoint from;
  guint8 data[64];
  gssize n = recvfrom (fd, data, sizeof data, MSG_DONTWAIT, (struct sockaddr *) &address, &length);

  if (n <= 0 || !pilot_endpoint_from_sockaddr (&from, (struct sockaddr *) &address, length) ||
      !pilot_beacon_message_decode (&message, data, (gsize) n) || message.type != PILOT_BEACON_DISCOVER_REPLY)
    return G_SOURCE_CONTINUE;
  for (guint i = 0; i < check->n_probes; i++) {
    Probe *probe = &check->probes[i];

    if (answered (probe) || !pilot_endpoint_equal (&probe->beacon, &from))
      continue;
    probe->outside = message.endpoint;
    probe->rtt = g_get_monotonic_time () - probe->sent_at;
  }
  if (all_answered (check) && !check->asking_registry) {
    check->fd_source = 0;
    finish_if_done (task);
    return G_SOURCE_REMOVE;
  }
  return G_SOURCE_CONTINUE;
}

/* The answer to what the engine asked by itself a moment before counts too: it came the same way. */
void
pilot_netcheck_answered (PilotNode *node)
{
  Check *check = node->netcheck != NULL ? g_task_get_task_data (node->netcheck) : NULL;

  if (check == NULL || !check->compat || check->n_probes == 0 || answered (&check->probes[0]))
    return;
  check->probes[0].rtt = g_get_monotonic_time () - check->probes[0].sent_at;
  finish_if_done (node->netcheck);
}

static void
ask_compat_beacon (PilotNode *node, Probe *probe)
{
  probe->sent_at = g_get_monotonic_time ();
  pilot_overlay_discover (node->overlay, probe->sent_at);
  pilot_node_kick (node);
}

/* Node id 0: a beacon tells it its address and keeps nothing. */
static void
ask_udp_beacons (Check *check)
{
  PilotBeaconMessage message = { .type = PILOT_BEACON_DISCOVER };
  guint8 data[PILOT_BEACON_DISCOVER_SIZE];
  gsize size = pilot_beacon_message_encode (&message, data, sizeof data);

  for (guint i = 0; i < check->n_probes; i++) {
    struct sockaddr_storage address;
    socklen_t length = pilot_endpoint_to_sockaddr (&check->probes[i].beacon, FALSE, &address);

    if (answered (&check->probes[i]))
      continue;
    check->probes[i].sent_at = g_get_monotonic_time ();
    if (sendto (check->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *) &address, length) < 0)
      g_debug ("cannot ask the beacon: %s", g_strerror (errno));
  }
}

static gboolean
ask_beacons (gpointer user_data)
{
  GTask *task = user_data;
  Check *check = g_task_get_task_data (task);

  check->n_asked++;
  if (is_over (check)) {
    check->timer = 0;
    finish_if_done (task);
    return G_SOURCE_REMOVE;
  }
  if (!check->compat)
    ask_udp_beacons (check);
  else if (check->n_asked == 1)
    ask_compat_beacon (g_task_get_source_object (task), &check->probes[0]);
  return G_SOURCE_CONTINUE;
}

static void
on_registry (GObject *source, GAsyncResult *result, gpointer user_data)
{
  GTask *task = user_data;
  Check *check = g_task_get_task_data (task);
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) answer = pilot_registry_client_call_finish (PILOT_REGISTRY_CLIENT (source), result, &error);
  gboolean away = error != NULL && (g_error_matches (error, PILOT_ERROR, PILOT_ERROR_CONNECTION_FAILED) ||
                                    g_error_matches (error, PILOT_ERROR, PILOT_ERROR_TIMEOUT) ||
                                    g_error_matches (error, PILOT_ERROR, PILOT_ERROR_CANCELLED));

  check->asking_registry = FALSE;
  /* A refusal is an answer too. */
  if (away)
    check->registry_error = pilot_error_dup_message (error);
  else
    check->registry_rtt = g_get_monotonic_time () - check->registry_asked;
  finish_if_done (task);
  g_object_unref (task);
}

/* The beacon in use, and the next of the list that is a literal of the same family. */
static void
add_probes (PilotNode *node, Check *check)
{
  const char *text = pilot_config_get (node->config, "beacon");
  g_auto (GStrv) list = g_strsplit (text != NULL ? text : "", ",", 8);

  if (pilot_endpoint_is_none (&node->beacon))
    return;
  check->probes[check->n_probes++].beacon = node->beacon;
  if (check->compat)
    return;
  for (guint i = 0; list[i] != NULL && check->n_probes < MAX_BEACONS; i++) {
    PilotEndpoint endpoint;

    if (pilot_endpoint_parse (g_strstrip (list[i]), &endpoint, NULL) && endpoint.family == node->beacon.family &&
        !pilot_endpoint_equal (&endpoint, &node->beacon))
      check->probes[check->n_probes++].beacon = endpoint;
  }
  check->fd = socket (node->beacon.family == PILOT_ENDPOINT_IPV6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (check->fd < 0)
    check->n_probes = 0;
}

void
pilot_netcheck_async (PilotNode *node, GAsyncReadyCallback callback, gpointer user_data)
{
  GTask *task = g_task_new (node, NULL, callback, user_data);
  Check *check = g_new0 (Check, 1);

  check->fd = -1;
  check->compat = pilot_config_is_compat (node->config);
  check->registry_rtt = -1;
  for (guint i = 0; i < MAX_BEACONS; i++)
    check->probes[i].rtt = -1;
  g_task_set_task_data (task, check, check_free);
  if (!node->running || node->netcheck != NULL) {
    g_task_return_new_error (task, PILOT_ERROR, node->running ? PILOT_ERROR_BUSY : PILOT_ERROR_NOT_RUNNING, node->running ? "the network is being checked already" : "the node is stopping");
    g_object_unref (task);
    return;
  }
  node->netcheck = task;
  add_probes (node, check);
  check->asking_registry = TRUE;
  check->registry_asked = g_get_monotonic_time ();
  pilot_registry_client_call_async (node->registry, pilot_registry_request_lookup (node->id), "lookup", NULL, on_registry, g_object_ref (task));
  if (check->n_probes == 0)
    return;
  if (check->fd >= 0)
    check->fd_source = g_unix_fd_add (check->fd, G_IO_IN, on_answer, task);
  check->timer = g_timeout_add (ASK_EVERY, ask_beacons, task);
  ask_beacons (task);
}

GVariant *
pilot_netcheck_finish (PilotNode *node, GAsyncResult *result, GError **error)
{
  return g_task_propagate_pointer (G_TASK (result), error);
}
