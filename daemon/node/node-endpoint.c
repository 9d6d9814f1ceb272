/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "node-private.h"

#include <string.h>

/* How long the first registration waits for the beacon to say where we are; and how often a beacon's name is looked up (again). */
#define OBSERVE_WAIT 1500
#define BEACON_RETRY 5
#define BEACON_REFRESH 300

/* --- what we register --- */

static gboolean
is_lan (const PilotEndpoint *endpoint)
{
  return endpoint->family == PILOT_ENDPOINT_IPV4 && (pilot_endpoint_is_private (endpoint) || pilot_endpoint_is_link_local (endpoint));
}

/* Where the world reaches us: what the user says, what the beacon saw of the tunnel socket itself, else the bound port and let the registry put
 * the address it sees before it (registry.md 7.1). */
static char *
listen_address (PilotNode *node, GArray *own)
{
  const char *configured = pilot_config_get (node->config, "endpoint");
  guint16 port = own->len > 0 ? g_array_index (own, PilotEndpoint, 0).port : 0;

  /* In compat mode there is none; what the beacon sees is a TCP connection. */
  if (pilot_config_is_compat (node->config))
    return g_strdup ("0.0.0.0:0");
  if (configured != NULL && *configured != '\0')
    return g_strdup (configured);
  if (!pilot_endpoint_is_none (&node->observed))
    return pilot_endpoint_to_string (&node->observed);
  return g_strdup_printf ("0.0.0.0:%u", port);
}

gboolean
pilot_node_is_relay_only (PilotNode *node)
{
  return pilot_config_is_compat (node->config) || pilot_config_get_boolean (node->config, "relay_only");
}

void
pilot_node_update_profile (PilotNode *node)
{
  PilotRegistryProfile *profile = pilot_registry_session_profile (node->session);
  g_autoptr (GArray) own = pilot_driver_get_endpoints (node->driver);
  g_autoptr (GStrvBuilder) lan = g_strv_builder_new ();
  const char *owner = pilot_config_get (node->config, "email");

  profile->relay_only = pilot_node_is_relay_only (node);
  for (guint i = 0; i < own->len && !profile->relay_only; i++) {
    const PilotEndpoint *endpoint = &g_array_index (own, PilotEndpoint, i);

    if (is_lan (endpoint)) {
      g_autofree char *text = pilot_endpoint_to_string (endpoint);

      g_strv_builder_add (lan, text);
    }
  }
  pilot_registry_profile_clear (profile);
  profile->listen_addr = listen_address (node, own);
  profile->lan_addrs = g_strv_builder_end (lan);
  profile->owner = g_strdup (owner != NULL && *owner != '\0' ? owner : NULL);
  profile->hostname = g_strdup (node->hostname);
  profile->version = g_strdup ("v" PILOT_VERSION);
  profile->is_public = node->is_public;
}

static gboolean
on_register (gpointer user_data)
{
  PilotNode *node = user_data;

  node->register_source = 0;
  pilot_node_update_profile (node);
  pilot_registry_session_register (node->session);
  return G_SOURCE_REMOVE;
}

void
pilot_node_observed (PilotNode *node, const PilotEndpoint *endpoint)
{
  g_autofree char *text = NULL;
  gboolean first = pilot_endpoint_is_none (&node->observed);

  if (pilot_config_is_compat (node->config))
    return;
  if (pilot_endpoint_equal (&node->observed, endpoint))
    return;
  node->observed = *endpoint;
  text = pilot_endpoint_to_string (endpoint);
  g_debug ("the beacon sees us at %s", text);
  /* At the first one the registration may still be waiting for it. */
  if (first && node->register_source != 0)
    g_source_remove (node->register_source);
  else if (node->register_source != 0)
    return;
  node->register_source = g_timeout_add (first ? 0 : 100, on_register, node);
}

/* --- the beacon --- */

static void resolve_beacon (PilotNode *node);

static gboolean
on_beacon_timer (gpointer user_data)
{
  PilotNode *node = user_data;

  node->beacon_source = 0;
  resolve_beacon (node);
  return G_SOURCE_REMOVE;
}

static void
set_beacon (PilotNode *node, const PilotEndpoint *endpoint)
{
  gint64 now = g_get_monotonic_time ();

  if (pilot_endpoint_equal (&node->beacon, endpoint))
    return;
  node->beacon = *endpoint;
  if (!pilot_network_source_address (endpoint, &node->source))
    node->source = (PilotEndpoint) PILOT_ENDPOINT_INIT;
  pilot_overlay_set_beacon (node->overlay, endpoint, now);
  pilot_overlay_discover (node->overlay, now);
  pilot_node_kick (node);
}

static void
on_beacon_address (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (PilotNode) node = user_data;
  g_autoptr (GError) error = NULL;
  g_autoptr (GSocketAddress) address = g_socket_address_enumerator_next_finish (G_SOCKET_ADDRESS_ENUMERATOR (source), result, &error);
  struct sockaddr_storage native;
  PilotEndpoint endpoint;

  if (!node->running)
    return;
  if (address == NULL || !g_socket_address_to_native (address, &native, sizeof native, &error) ||
      !pilot_endpoint_from_sockaddr (&endpoint, (struct sockaddr *) &native, sizeof native)) {
    g_message ("cannot look up beacon \"%s\": %s", pilot_config_get (node->config, "beacon"), error != NULL ? error->message : "no address");
    node->beacon_source = g_timeout_add_seconds (BEACON_RETRY, on_beacon_timer, node);
    return;
  }
  set_beacon (node, &endpoint);
  node->beacon_source = g_timeout_add_seconds (BEACON_REFRESH, on_beacon_timer, node);
}

static void
resolve_beacon (PilotNode *node)
{
  const char *text = pilot_config_get (node->config, "beacon");
  g_autoptr (GSocketConnectable) connectable = NULL;
  g_autoptr (GSocketAddressEnumerator) enumerator = NULL;
  g_autoptr (GError) error = NULL;
  g_auto (GStrv) list = NULL;
  PilotEndpoint endpoint;

  if (pilot_config_is_compat (node->config)) {
    if (pilot_driver_find_relay (node->driver, pilot_config_get (node->config, "compat_beacon"), &endpoint))
      set_beacon (node, &endpoint);
    else
      g_warning ("no transport leads to the compat beacon: see `pilotctl plugins`");
    return;
  }
  if (text == NULL || *text == '\0')
    return;
  list = g_strsplit (text, ",", 2);
  g_strstrip (list[0]);
  if (pilot_endpoint_parse (list[0], &endpoint, NULL)) {
    set_beacon (node, &endpoint);
    return;
  }
  connectable = g_network_address_parse (list[0], 9001, &error);
  if (connectable == NULL) {
    g_warning ("beacon \"%s\" is not of the form HOST:PORT", list[0]);
    return;
  }
  enumerator = g_socket_connectable_enumerate (connectable);
  g_socket_address_enumerator_next_async (enumerator, node->cancellable, on_beacon_address, g_object_ref (node));
}

/* --- another network --- */

static void
on_network_changed (gpointer user_data)
{
  PilotNode *node = user_data;
  PilotEndpoint source;
  gchar text[PILOT_ENDPOINT_TEXT_SIZE];

  if (pilot_endpoint_is_none (&node->beacon))
    return;
  if (!pilot_network_source_address (&node->beacon, &source)) {
    /* The same address may come back in another network. */
    node->source = (PilotEndpoint) PILOT_ENDPOINT_INIT;
    return;
  }
  /* Routes come and go for many reasons, the gateway's own among them: ours is whether peers see us somewhere else. */
  if (pilot_endpoint_equal_host (&source, &node->source))
    return;
  node->source = source;
  g_message ("the network has changed: sending from %s now", pilot_endpoint_format (&source, text));
  pilot_driver_reconnect (node->driver);
  pilot_overlay_network_changed (node->overlay, g_get_monotonic_time ());
  pilot_node_kick (node);
  /* The old connection has an address that is gone, and the beacon believes us only when the registry knows the new one. */
  pilot_registry_client_reconnect (node->registry);
  g_clear_handle_id (&node->register_source, g_source_remove);
  on_register (node);
}

void
pilot_node_start_endpoint (PilotNode *node)
{
  const char *beacon = pilot_config_get (node->config, "beacon");
  gboolean wait = beacon != NULL && *beacon != '\0' && !pilot_config_is_compat (node->config);
  g_autoptr (GError) error = NULL;

  node->network_watch = pilot_network_watch_new (on_network_changed, node, &error);
  if (node->network_watch == NULL)
    g_warning ("%s; after a change of network peers are found again within two minutes only", error->message);
  resolve_beacon (node);
  node->register_source = g_timeout_add (wait ? OBSERVE_WAIT : 0, on_register, node);
}

void
pilot_node_stop_endpoint (PilotNode *node)
{
  g_clear_pointer (&node->network_watch, pilot_network_watch_free);
  g_clear_handle_id (&node->beacon_source, g_source_remove);
  g_clear_handle_id (&node->register_source, g_source_remove);
}
