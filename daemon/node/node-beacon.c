/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "node-private.h"

#include <string.h>

/* Seconds: until a name that could not be looked up is tried again, or the next of its addresses when one is silent; and until the addresses
 * of a name are looked up once more. */
#define BEACON_RETRY 5
#define BEACON_REFRESH 300

static gboolean
on_beacon_timer (gpointer user_data)
{
  PilotNode *node = user_data;

  node->beacon_source = 0;
  pilot_node_find_beacon (node);
  return G_SOURCE_REMOVE;
}

static void
look_again (PilotNode *node, guint seconds)
{
  g_clear_handle_id (&node->beacon_source, g_source_remove);
  node->beacon_source = g_timeout_add_seconds (seconds, on_beacon_timer, node);
}

/* (transfer full): the first of those that are configured, the one in use; "" = none. */
static char *
first_configured (PilotNode *node)
{
  const char *text = pilot_config_get (node->config, "beacon");

  return text != NULL ? g_strstrip (g_strndup (text, strcspn (text, ","))) : g_strdup ("");
}

/* @trouble: (transfer full) (nullable) */
static void
set_trouble (PilotNode *node, char *trouble)
{
  gboolean changed = g_strcmp0 (node->beacon_trouble, trouble) != 0;

  g_free (node->beacon_trouble);
  node->beacon_trouble = trouble;
  if (changed)
    g_signal_emit_by_name (node, "changed");
}

static void
set_beacon (PilotNode *node, const PilotEndpoint *endpoint)
{
  gint64 now = g_get_monotonic_time ();

  if (pilot_endpoint_equal (&node->beacon, endpoint))
    return;
  node->beacon = *endpoint;
  node->beacon_heard = FALSE;
  if (!pilot_network_source_address (endpoint, &node->source))
    node->source = (PilotEndpoint) PILOT_ENDPOINT_INIT;
  pilot_overlay_set_beacon (node->overlay, endpoint, now);
  pilot_overlay_discover (node->overlay, now);
  pilot_node_kick (node);
}

void
pilot_node_beacon_missed (PilotNode *node)
{
  g_autofree char *configured = first_configured (node);

  /* In compat mode the transport knows more, and says it. */
  if (node->beacon_heard || pilot_endpoint_is_none (&node->beacon) || pilot_config_is_compat (node->config))
    return;
  set_trouble (node, g_strdup_printf ("the beacon %s does not answer: it is down, or UDP is blocked here; see `pilotctl netcheck`", configured));
}

/* A name may have addresses of both families, and this host a way to one of them only, or a way that ends somewhere. The one in use stays while
 * it answers, else the next one's turn comes. */
static const PilotEndpoint *
choose_address (PilotNode *node, GArray *found)
{
  g_autoptr (GPtrArray) reachable = g_ptr_array_new ();
  const PilotEndpoint *any = &g_array_index (found, PilotEndpoint, 0);
  guint next = 0;

  for (guint i = 0; i < found->len; i++) {
    PilotEndpoint *endpoint = &g_array_index (found, PilotEndpoint, i);
    gboolean current = pilot_endpoint_equal (endpoint, &node->beacon);
    PilotEndpoint source;

    if (current)
      any = endpoint;
    if (!pilot_network_source_address (endpoint, &source))
      continue;
    if (current) {
      if (node->beacon_heard)
        return endpoint;
      next = reachable->len + 1;
    }
    g_ptr_array_add (reachable, endpoint);
  }
  if (reachable->len == 0)
    return any;
  return g_ptr_array_index (reachable, next % reachable->len);
}

static void
on_addresses (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (PilotNode) node = user_data;
  g_autoptr (GError) error = NULL;
  g_autolist (GInetAddress) addresses = g_resolver_lookup_by_name_finish (G_RESOLVER (source), result, &error);
  g_autoptr (GArray) found = g_array_new (FALSE, TRUE, sizeof (PilotEndpoint));
  g_autofree char *configured = first_configured (node);
  const PilotEndpoint *next;

  node->beacon_lookup = FALSE;
  if (!node->running)
    return;
  for (GList *item = addresses; item != NULL; item = item->next) {
    g_autoptr (GSocketAddress) address = g_inet_socket_address_new (item->data, node->beacon_port);
    struct sockaddr_storage native;
    PilotEndpoint endpoint;

    if (g_socket_address_to_native (address, &native, sizeof native, NULL) &&
        pilot_endpoint_from_sockaddr (&endpoint, (struct sockaddr *) &native, sizeof native))
      g_array_append_val (found, endpoint);
  }
  if (found->len == 0) {
    if (!node->beacon_lost)
      g_message ("cannot look up beacon \"%s\": %s", configured, error != NULL ? error->message : "no address");
    node->beacon_lost = TRUE;
    set_trouble (node, g_strdup_printf ("the name of the beacon %s cannot be looked up", configured));
    look_again (node, BEACON_RETRY);
    return;
  }
  node->beacon_lost = FALSE;
  next = choose_address (node, found);
  if (!pilot_endpoint_equal (next, &node->beacon))
    pilot_node_beacon_missed (node);
  set_beacon (node, next);
  look_again (node, node->beacon_heard || found->len == 1 ? BEACON_REFRESH : BEACON_RETRY);
}

static void
look_up (PilotNode *node, const char *name)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GSocketConnectable) address = g_network_address_parse (name, 9001, &error);
  g_autoptr (GResolver) resolver = NULL;

  /* Several things ask for it, and each answer passes over an address that is silent: two answers would come back to it. */
  if (node->beacon_lookup)
    return;
  if (address == NULL) {
    g_warning ("beacon \"%s\" is not of the form HOST:PORT", name);
    set_trouble (node, g_strdup_printf ("the beacon \"%s\" is not of the form HOST:PORT", name));
    return;
  }
  node->beacon_port = g_network_address_get_port (G_NETWORK_ADDRESS (address));
  node->beacon_lookup = TRUE;
  resolver = g_resolver_get_default ();
  g_resolver_lookup_by_name_async (resolver, g_network_address_get_hostname (G_NETWORK_ADDRESS (address)), node->cancellable, on_addresses, g_object_ref (node));
}

void
pilot_node_find_beacon (PilotNode *node)
{
  g_autofree char *configured = first_configured (node);
  PilotEndpoint endpoint;

  if (pilot_config_is_compat (node->config)) {
    if (pilot_driver_find_relay (node->driver, pilot_config_get (node->config, "compat_beacon"), &endpoint))
      set_beacon (node, &endpoint);
    else
      g_warning ("no transport leads to the compat beacon: see `pilotctl plugins`");
    return;
  }
  if (*configured == '\0')
    return;
  if (pilot_endpoint_parse (configured, &endpoint, NULL))
    set_beacon (node, &endpoint);
  else
    look_up (node, configured);
}

void
pilot_node_beacon_answered (PilotNode *node, const PilotEndpoint *outside)
{
  node->beacon_heard = TRUE;
  set_trouble (node, NULL);
  pilot_node_observed (node, outside);
  pilot_netcheck_answered (node);
}

void
pilot_node_beacon_silent (PilotNode *node)
{
  gchar text[PILOT_ENDPOINT_TEXT_SIZE];

  /* One that never answered is being replaced already. */
  if (!node->beacon_heard) {
    pilot_node_beacon_missed (node);
    return;
  }
  node->beacon_heard = FALSE;
  g_message ("the beacon at %s does not answer any more", pilot_endpoint_format (&node->beacon, text));
  pilot_node_beacon_missed (node);
  pilot_node_find_beacon (node);
  /* What silences the beacon may silence the registry, mostly the same host, too. */
  pilot_node_register (node, TRUE);
}
