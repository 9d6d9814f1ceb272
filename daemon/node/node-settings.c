/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "node-private.h"

#include <string.h>

#include "libpilot/pilot-error.h"
#include "protocol/congestion.h"

/* What can be told to be wrong of the configuration before anything starts: a value that is no such value is not taken for the default. */

gboolean
pilot_node_check_hostname (const char *hostname, GError **error)
{
  g_autofree char *quoted = NULL;
  gboolean digits;
  GError *local;

  if (hostname == NULL || *hostname == '\0')
    return TRUE;
  /* Nobody would find it by that name: a number is a node id, wherever a node is named. */
  digits = strspn (hostname, "0123456789") == strlen (hostname);
  if (!digits && pilot_node_is_hostname (hostname))
    return TRUE;
  quoted = pilot_error_quote (hostname, -1);
  local = g_error_new (PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "\"%s\" is no host name", quoted);
  pilot_error_set_hint (local, digits ? "a number is taken for a node id: put a letter into it" : "a host name has at most 63 of a-z, 0-9 and -, and no - at either end");
  g_propagate_error (error, local);
  return FALSE;
}

static gboolean
check_keepalive (const char *value, GError **error)
{
  guint64 seconds;

  return value == NULL || g_ascii_string_to_unsigned (value, 10, 1, 3600, &seconds, NULL) || pilot_config_refuse ("keepalive", value, "1 to 3600 seconds", error);
}

/* By name or literal: it is the peers who make something of it. */
static gboolean
check_endpoint (const char *value, GError **error)
{
  g_autoptr (GSocketConnectable) address = NULL;

  if (value == NULL || *value == '\0')
    return TRUE;
  address = g_network_address_parse (value, 0, NULL);
  if (address != NULL && g_network_address_get_port (G_NETWORK_ADDRESS (address)) != 0)
    return TRUE;
  return pilot_config_refuse ("endpoint", value, "HOST:PORT", error);
}

static gboolean
check_expose_default (const char *value, GError **error)
{
  g_autoptr (GError) local = NULL;

  if (value == NULL || pilot_access_parse_ports (value, &local))
    return TRUE;
  g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "expose_default: %s", local->message);
  return FALSE;
}

gboolean
pilot_node_check_settings (PilotConfig *config, GError **error)
{
  const char *congestion = pilot_config_get (config, "congestion"), *trust = pilot_config_get (config, "registry_trust");

  if (pilot_congestion_by_name (congestion) == NULL)
    return pilot_config_refuse ("congestion", congestion, "bbr or cubic", error);
  if (*trust != '\0' && !g_str_equal (trust, "pinned") && !g_str_equal (trust, "system"))
    return pilot_config_refuse ("registry_trust", trust, "pinned or system", error);
  return pilot_node_check_hostname (pilot_config_get (config, "hostname"), error) && check_keepalive (pilot_config_get (config, "keepalive"), error) &&
         check_endpoint (pilot_config_get (config, "endpoint"), error) && check_expose_default (pilot_config_get (config, "expose_default"), error);
}
