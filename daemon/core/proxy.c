/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/proxy.h"

#include <string.h>

#include "libpilot/pilot-error.h"

static gboolean
is_proxy_url (const char *text)
{
  g_autofree char *url = pilot_proxy_normalize (text);

  return url != NULL;
}

gboolean
pilot_proxy_check (PilotConfig *config, GError **error)
{
  const char *value = pilot_config_get (config, "proxy");

  if (g_str_equal (value, "auto") || g_str_equal (value, "off") || is_proxy_url (value))
    return TRUE;
  /* Not quoted: it may be a URL with a slip and a password in it. */
  g_set_error_literal (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "the proxy is not auto, off or http://[USER:PASSWORD@]HOST:PORT (also https:// and socks5://)");
  return FALSE;
}

static gboolean
is_loopback (const char *host)
{
  g_autoptr (GInetAddress) address = g_inet_address_new_from_string (host);

  if (address != NULL)
    return g_inet_address_get_is_loopback (address);
  return g_ascii_strcasecmp (host, "localhost") == 0 || g_str_has_suffix (host, ".localhost");
}

/* Cuts a port off an entry of NO_PROXY, and the brackets around an IPv6 address. @port: 0 = none, which is every one. FALSE when it has one that is no port. */
static gboolean
split_entry (char *entry, char **host, guint *port)
{
  char *end = *entry == '[' ? strchr (entry, ']') : NULL, *colon = strchr (end != NULL ? end : entry, ':');
  guint64 number;

  *host = end != NULL ? entry + 1 : entry;
  *port = 0;
  if (end != NULL)
    *end = '\0';
  else if (colon != NULL && strchr (colon + 1, ':') != NULL) /* an IPv6 address without brackets */
    return TRUE;
  if (colon == NULL)
    return TRUE;
  *colon = '\0';
  if (!g_ascii_string_to_unsigned (colon + 1, 10, 1, G_MAXUINT16, &number, NULL))
    return FALSE;
  *port = (guint) number;
  return TRUE;
}

/* One entry of NO_PROXY: "*", a domain with everything below it, an address, a network; perhaps with a port, which is then the only one meant. It is
 * written to. */
static gboolean
is_exempted_by (const char *host, guint port, char *entry)
{
  g_autoptr (GInetAddress) address = g_inet_address_new_from_string (host);
  g_autoptr (GInetAddressMask) mask = NULL;
  gsize length, domain;
  guint only;

  if (!split_entry (entry, &entry, &only) || (only != 0 && only != port))
    return FALSE;
  if (g_str_equal (entry, "*"))
    return TRUE;
  if (address != NULL) {
    mask = g_inet_address_mask_new_from_string (entry, NULL);
    return mask != NULL && g_inet_address_mask_matches (mask, address);
  }
  entry += *entry == '*' && entry[1] == '.';
  entry += *entry == '.';
  length = strlen (host);
  domain = strlen (entry);
  if (domain == 0 || length < domain || g_ascii_strcasecmp (host + length - domain, entry) != 0)
    return FALSE;
  return length == domain || host[length - domain - 1] == '.';
}

static const char *
get_environment (const char *upper, const char *lower)
{
  const char *value = g_getenv (upper);

  if (value == NULL || *value == '\0')
    value = g_getenv (lower);
  return value != NULL && *value != '\0' ? value : NULL;
}

static gboolean
is_exempted (const char *host, guint port)
{
  const char *list = get_environment ("NO_PROXY", "no_proxy");
  g_auto (GStrv) entries = list != NULL ? g_strsplit (list, ",", -1) : NULL;

  for (guint i = 0; entries != NULL && entries[i] != NULL; i++)
    if (is_exempted_by (host, port, g_strstrip (entries[i])))
      return TRUE;
  return FALSE;
}

static char *
find_in_environment (void)
{
  const char *value = get_environment ("HTTPS_PROXY", "https_proxy");
  g_autofree char *url = NULL;

  if (value == NULL)
    value = get_environment ("ALL_PROXY", "all_proxy");
  if (value == NULL)
    return NULL;
  url = strstr (value, "://") != NULL ? g_strdup (value) : g_strconcat ("http://", value, NULL);
  if (is_proxy_url (url))
    return g_steal_pointer (&url);
  g_warning_once ("the proxy named by the environment is not of the form http://[USER:PASSWORD@]HOST:PORT (also https:// and socks5://) and is not used");
  return NULL;
}

gboolean
pilot_proxy_find (PilotConfig *config, const char *address, gboolean compat, char **url, const char **command)
{
  const char *value = pilot_config_get (config, "proxy");
  g_autoptr (GSocketConnectable) parsed = g_network_address_parse (address, 0, NULL);
  const char *host = parsed != NULL ? g_network_address_get_hostname (G_NETWORK_ADDRESS (parsed)) : address;
  guint port = parsed != NULL ? g_network_address_get_port (G_NETWORK_ADDRESS (parsed)) : 0;

  *url = NULL;
  *command = NULL;
  if (g_str_equal (value, "off") || is_loopback (host))
    return FALSE;
  if (!g_str_equal (value, "auto"))
    *url = g_strdup (value);
  else if (!compat || is_exempted (host, port))
    return FALSE;
  else
    *url = find_in_environment ();
  *command = pilot_config_get (config, "proxy_cmd");
  if (*command != NULL && **command == '\0')
    *command = NULL;
  return *url != NULL || *command != NULL;
}

PilotProxyResolver *
pilot_proxy_make_resolver (PilotConfig *config, const char *address, gboolean compat)
{
  g_autofree char *url = NULL;
  const char *command;

  return pilot_proxy_find (config, address, compat, &url, &command) ? pilot_proxy_resolver_new (url, command) : NULL;
}

char *
pilot_proxy_redact (const char *url)
{
  const char *at = strrchr (url, '@'), *scheme = strstr (url, "://");

  if (at == NULL)
    return g_strdup (url);
  return g_strdup_printf ("%.*s***%s", scheme != NULL ? (int) (scheme + 3 - url) : 0, url, at);
}
