/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "node-private.h"

/* How long the first registration waits for the beacon to say where we are. Milliseconds. */
#define OBSERVE_WAIT 1500

/* --- what we register --- */

static void
add_endpoints (GStrvBuilder *list, GArray *own, gboolean (*is_wanted) (PilotNode *node, const PilotEndpoint *endpoint), PilotNode *node)
{
  for (guint i = 0; i < own->len; i++) {
    const PilotEndpoint *endpoint = &g_array_index (own, PilotEndpoint, i);
    g_autofree char *text = NULL;

    if (!is_wanted (node, endpoint))
      continue;
    text = pilot_endpoint_to_string (endpoint);
    g_strv_builder_add (list, text);
  }
}

/* The IPv6 address that we send from: nothing translates it, and by whatever family the beacon is asked, it sees one of them only. */
static gboolean
is_global (PilotNode *node, const PilotEndpoint *endpoint)
{
  return !pilot_endpoint_is_none (&node->global) && pilot_endpoint_equal_host (endpoint, &node->global);
}

static gboolean
is_lan (PilotNode *node, const PilotEndpoint *endpoint)
{
  return pilot_endpoint_is_private (endpoint) || pilot_endpoint_is_link_local (endpoint);
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
  pilot_network_global_ipv6 (&node->global);
  if (!profile->relay_only) {
    /* Registries keep the first few. */
    add_endpoints (lan, own, is_global, node);
    add_endpoints (lan, own, is_lan, node);
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
  pilot_node_beacon_missed (node); /* the first time: it had its time to answer */
  pilot_node_update_profile (node);
  pilot_registry_session_register (node->session);
  return G_SOURCE_REMOVE;
}

void
pilot_node_register (PilotNode *node, gboolean anew)
{
  if (anew)
    pilot_registry_client_reconnect (node->registry);
  g_clear_handle_id (&node->register_source, g_source_remove);
  on_register (node);
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

/* --- another network --- */

/* What we send from toward the beacon. TRUE when it is another address than before. */
static gboolean
source_changed (PilotNode *node)
{
  PilotEndpoint source;
  gchar text[PILOT_ENDPOINT_TEXT_SIZE];

  if (!pilot_network_source_address (&node->beacon, &source)) {
    /* The same address may come back in another network. And its name may have an address of the other family. */
    node->source = (PilotEndpoint) PILOT_ENDPOINT_INIT;
    pilot_node_find_beacon (node);
    return FALSE;
  }
  if (pilot_endpoint_equal_host (&source, &node->source))
    return FALSE;
  node->source = source;
  g_message ("the network has changed: sending from %s now", pilot_endpoint_format (&source, text));
  return TRUE;
}

/* Routes come and go for many reasons, the gateway's own among them: ours is whether peers see us somewhere else. */
static void
on_network_changed (gpointer user_data)
{
  PilotNode *node = user_data;
  PilotEndpoint global, before = node->global;
  gboolean moved, global_changed;

  if (pilot_endpoint_is_none (&node->beacon))
    return;
  moved = source_changed (node);
  pilot_network_global_ipv6 (&global);
  global_changed = !pilot_endpoint_equal_host (&global, &before);
  if (!moved && !global_changed)
    return;
  if (moved)
    pilot_driver_reconnect (node->driver);
  /* An IPv6 address that comes beside what there was moves nobody. */
  if (moved || !pilot_endpoint_is_none (&before))
    pilot_overlay_network_changed (node->overlay, g_get_monotonic_time ());
  pilot_node_kick (node);
  pilot_node_register (node, moved);
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
  pilot_node_find_beacon (node);
  node->register_source = g_timeout_add (wait ? OBSERVE_WAIT : 0, on_register, node);
}

void
pilot_node_stop_endpoint (PilotNode *node)
{
  g_clear_pointer (&node->network_watch, pilot_network_watch_free);
  g_clear_handle_id (&node->beacon_source, g_source_remove);
  g_clear_handle_id (&node->register_source, g_source_remove);
}
