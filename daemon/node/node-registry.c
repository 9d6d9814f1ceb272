/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "node-private.h"

#include <string.h>

#include "daemon/core/proxy.h"
#include "libpilot/pilot-error.h"

/* Which registry, over what. There is no built-in address: nobody is contacted whom the user did not name. */

static gboolean
is_given (const char *text)
{
  return text != NULL && *text != '\0';
}

static gboolean
find_proxy (PilotConfig *config, const char *address, char **url, const char **command)
{
  return pilot_proxy_find (config, address, pilot_config_is_compat (config), url, command);
}

static void
set_proxy (PilotRegistryClient *client, PilotConfig *config, const char *address)
{
  g_autoptr (PilotProxyResolver) resolver = NULL;
  g_autofree char *url = NULL;
  g_autofree char *shown = NULL;
  const char *command;

  if (!find_proxy (config, address, &url, &command))
    return;
  shown = url != NULL ? pilot_proxy_redact (url) : NULL;
  g_message ("the registry is reached through the proxy %s", command == NULL ? shown : "that a command names");
  resolver = pilot_proxy_resolver_new (url, command);
  pilot_registry_client_set_proxy (client, resolver);
}

/* (transfer full) (nullable): where the registry is when only TLS on the compat beacon's port leads out: in compat mode, and when a proxy, which
 * lets little else through, is on the way; unless "registry_tls" says how the registry is to be reached (beacon-and-nat.md section 8.2). */
static char *
find_compat_address (PilotConfig *config, const char *configured)
{
  g_autofree char *proxy = NULL;
  const char *command;

  if (pilot_config_is_set (config, "registry_tls"))
    return NULL;
  if (!pilot_config_is_compat (config) && !(is_given (configured) && find_proxy (config, configured, &proxy, &command)))
    return NULL;
  return pilot_config_get_compat_address (config);
}

PilotRegistryClient *
pilot_node_make_registry_client (PilotConfig *config, char **address, GError **error)
{
  const char *configured = pilot_config_get (config, "registry"), *trust = NULL;
  g_autofree char *place = find_compat_address (config, configured);
  PilotRegistryTls tls = PILOT_REGISTRY_TLS_NONE;
  PilotRegistryClient *client;

  if (place != NULL)
    trust = pilot_config_get_compat_trust (config);
  else if (pilot_config_get_boolean (config, "registry_tls"))
    trust = pilot_config_get (config, "registry_trust");
  if (place == NULL)
    place = g_strdup (configured);
  if (!is_given (place)) {
    g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "no registry is configured");
    if (error != NULL)
      pilot_error_set_hint (*error, "say where it is: `pilotctl init --registry HOST:9000 --beacon HOST:9001`, or --registry");
    return NULL;
  }
  if (trust != NULL)
    tls = g_str_equal (trust, "system") ? PILOT_REGISTRY_TLS_SYSTEM : PILOT_REGISTRY_TLS_PINNED;
  client = pilot_registry_client_new (place, tls, pilot_config_get (config, "registry_fingerprint"), error);
  if (client == NULL)
    return NULL;
  set_proxy (client, config, place);
  *address = g_steal_pointer (&place);
  return client;
}
