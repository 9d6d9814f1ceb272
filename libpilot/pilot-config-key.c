/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilot-config-key.h"

#include <string.h>

#include "pilot-suggestion.h"

/* Those of cli.md 5.2 that mean something to this daemon, and our own. */
static const char *const settable[] = {
  "allocator",
  "beacon",
  "bus",
  "busy_poll",
  "compat_beacon",
  "congestion",
  "dataexchange_b64",
  "dataexchange_max_frame",
  "email",
  "endpoint",
  "expose_default",
  "hostname",
  "identity",
  "keepalive",
  "listen",
  "log_format",
  "log_level",
  "no_dataexchange",
  "no_echo",
  "no_eventstream",
  "proxy",
  "proxy_cmd",
  "public",
  "registry",
  "registry_fingerprint",
  "registry_tls",
  "registry_trust",
  "relay_only",
  "socket",
  "state_dir",
  "tls_trust",
  "transport",
  "trust_auto_approve",
  "trust_store",
};

/* Objects, and what is for tests and for the unit of the service. */
static const char *const others[] = { "extensions", "plugin_settings", "plugins", "system" };

static char *
canonical (const char *key)
{
  return g_strdelimit (g_strdup (key), "-", '_');
}

static gboolean
contains (const char *const *list, guint n, const char *name)
{
  for (guint i = 0; i < n; i++)
    if (g_str_equal (list[i], name))
      return TRUE;
  return FALSE;
}

static gboolean
is_of_plugin (const char *name)
{
  const char *dot = strchr (name, '.');

  return dot != NULL && dot != name && dot[1] != '\0' && strchr (dot + 1, '.') == NULL;
}

gboolean
pilot_config_key_is_settable (const char *key)
{
  g_autofree char *name = canonical (key);

  return contains (settable, G_N_ELEMENTS (settable), name) || is_of_plugin (name);
}

gboolean
pilot_config_key_is_known (const char *key)
{
  g_autofree char *name = canonical (key);

  return key[0] == '_' || contains (others, G_N_ELEMENTS (others), name) || pilot_config_key_is_settable (name);
}

const char *
pilot_config_key_find_nearest (const char *key)
{
  g_autofree char *name = canonical (key);
  PilotSuggestion suggestion;

  pilot_suggestion_init (&suggestion, name);
  for (guint i = 0; i < G_N_ELEMENTS (settable); i++)
    pilot_suggestion_consider (&suggestion, settable[i]);
  pilot_suggestion_consider (&suggestion, "plugin_settings");
  pilot_suggestion_consider (&suggestion, "plugins");
  return suggestion.nearest;
}
