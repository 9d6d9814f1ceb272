/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pilot-endpoint.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>

#include "pilot-error.h"

static const guint8 mapped_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

static void
set_ipv6 (PilotEndpoint *endpoint,
          const guint8 address[16],
          guint32 scope)
{
  if (memcmp (address, mapped_prefix, sizeof mapped_prefix) == 0) {
    endpoint->family = PILOT_ENDPOINT_IPV4;
    memcpy (endpoint->address, address + 12, 4);
    return;
  }
  endpoint->family = PILOT_ENDPOINT_IPV6;
  memcpy (endpoint->address, address, 16);
  /* The kernel fills the scope in for link-local addresses only; one from elsewhere would make equal endpoints differ. */
  if (pilot_endpoint_is_link_local (endpoint))
    endpoint->scope = scope;
}

/* "address" or "address%scope", not terminated. */
static gboolean
parse_host (const gchar *text,
            gsize length,
            gboolean ipv6,
            PilotEndpoint *endpoint)
{
  gchar host[INET6_ADDRSTRLEN + 1 + IF_NAMESIZE];
  guint8 address[16];
  guint32 scope = 0;
  gchar *percent;

  if (length == 0 || length >= sizeof host)
    return FALSE;
  memcpy (host, text, length);
  host[length] = '\0';
  if (!ipv6) {
    endpoint->family = PILOT_ENDPOINT_IPV4;
    return inet_pton (AF_INET, host, endpoint->address) == 1;
  }

  percent = strchr (host, '%');
  if (percent != NULL) {
    guint64 number;

    *percent++ = '\0';
    scope = if_nametoindex (percent);
    if (scope == 0 && g_ascii_string_to_unsigned (percent, 10, 1, G_MAXINT32, &number, NULL))
      scope = (guint32) number;
    if (scope == 0)
      return FALSE;
  }
  if (inet_pton (AF_INET6, host, address) != 1)
    return FALSE;
  set_ipv6 (endpoint, address, scope);
  return TRUE;
}

gboolean
pilot_endpoint_parse (const gchar *text,
                      PilotEndpoint *endpoint,
                      GError **error)
{
  PilotEndpoint parsed = PILOT_ENDPOINT_INIT;
  const gchar *colon, *host, *end;
  guint64 port;
  gboolean ipv6;

  g_return_val_if_fail (text != NULL && endpoint != NULL, FALSE);

  colon = strrchr (text, ':');
  ipv6 = text[0] == '[';
  host = ipv6 ? text + 1 : text;
  end = colon;
  if (colon != NULL && ipv6)
    end = colon > text && colon[-1] == ']' ? colon - 1 : NULL;
  if (end == NULL || end < host || !parse_host (host, (gsize) (end - host), ipv6, &parsed)) {
    g_autofree gchar *quoted = pilot_error_quote (text, -1);

    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
                 "invalid endpoint: \"%s\" (expected IPV4:PORT or [IPV6]:PORT)", quoted);
    return FALSE;
  }
  if (!g_ascii_string_to_unsigned (colon + 1, 10, 0, G_MAXUINT16, &port, NULL)) {
    g_autofree gchar *quoted = pilot_error_quote (colon + 1, -1);

    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
                 "invalid port: \"%s\": not a number from 0 to 65535", quoted);
    return FALSE;
  }
  parsed.port = (guint16) port;
  *endpoint = parsed;
  return TRUE;
}

gchar *
pilot_endpoint_format (const PilotEndpoint *endpoint,
                       gchar buffer[PILOT_ENDPOINT_TEXT_SIZE])
{
  gchar host[INET6_ADDRSTRLEN];
  gchar scope[16] = "";

  switch (endpoint->family) {
  case PILOT_ENDPOINT_IPV4:
    inet_ntop (AF_INET, endpoint->address, host, sizeof host);
    g_snprintf (buffer, PILOT_ENDPOINT_TEXT_SIZE, "%s:%u", host, endpoint->port);
    break;
  case PILOT_ENDPOINT_IPV6:
    inet_ntop (AF_INET6, endpoint->address, host, sizeof host);
    if (endpoint->scope != 0)
      g_snprintf (scope, sizeof scope, "%%%u", endpoint->scope);
    g_snprintf (buffer, PILOT_ENDPOINT_TEXT_SIZE, "[%s%s]:%u", host, scope, endpoint->port);
    break;
  default:
    g_strlcpy (buffer, "none", PILOT_ENDPOINT_TEXT_SIZE);
    break;
  }
  return buffer;
}

gchar *
pilot_endpoint_to_string (const PilotEndpoint *endpoint)
{
  gchar text[PILOT_ENDPOINT_TEXT_SIZE];

  return g_strdup (pilot_endpoint_format (endpoint, text));
}

gboolean
pilot_endpoint_from_sockaddr (PilotEndpoint *endpoint,
                              const struct sockaddr *address,
                              socklen_t length)
{
  *endpoint = (PilotEndpoint) PILOT_ENDPOINT_INIT;
  if (length < sizeof address->sa_family)
    return FALSE;
  if (address->sa_family == AF_INET && length >= sizeof (struct sockaddr_in)) {
    const struct sockaddr_in *in = (const struct sockaddr_in *) (const void *) address;

    endpoint->family = PILOT_ENDPOINT_IPV4;
    endpoint->port = g_ntohs (in->sin_port);
    memcpy (endpoint->address, &in->sin_addr, 4);
    return TRUE;
  }
  if (address->sa_family == AF_INET6 && length >= sizeof (struct sockaddr_in6)) {
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *) (const void *) address;

    endpoint->port = g_ntohs (in6->sin6_port);
    set_ipv6 (endpoint, in6->sin6_addr.s6_addr, in6->sin6_scope_id);
    return TRUE;
  }
  return FALSE;
}

socklen_t
pilot_endpoint_to_sockaddr (const PilotEndpoint *endpoint,
                            gboolean map_ipv4,
                            struct sockaddr_storage *address)
{
  struct sockaddr_in *in = (struct sockaddr_in *) address;
  struct sockaddr_in6 *in6 = (struct sockaddr_in6 *) address;

  if (endpoint->family == PILOT_ENDPOINT_IPV4 && !map_ipv4) {
    memset (in, 0, sizeof *in);
    in->sin_family = AF_INET;
    in->sin_port = g_htons (endpoint->port);
    memcpy (&in->sin_addr, endpoint->address, 4);
    return sizeof *in;
  }
  if (endpoint->family != PILOT_ENDPOINT_IPV4 && endpoint->family != PILOT_ENDPOINT_IPV6)
    return 0;

  memset (in6, 0, sizeof *in6);
  in6->sin6_family = AF_INET6;
  in6->sin6_port = g_htons (endpoint->port);
  in6->sin6_scope_id = endpoint->scope;
  if (endpoint->family == PILOT_ENDPOINT_IPV4) {
    memcpy (in6->sin6_addr.s6_addr, mapped_prefix, sizeof mapped_prefix);
    memcpy (in6->sin6_addr.s6_addr + 12, endpoint->address, 4);
  } else {
    memcpy (in6->sin6_addr.s6_addr, endpoint->address, 16);
  }
  return sizeof *in6;
}

gboolean
pilot_endpoint_equal_host (const PilotEndpoint *a,
                           const PilotEndpoint *b)
{
  return a->family == b->family && a->scope == b->scope &&
         memcmp (a->address, b->address, sizeof a->address) == 0;
}

gboolean
pilot_endpoint_equal (const PilotEndpoint *a,
                      const PilotEndpoint *b)
{
  return a->port == b->port && a->transport == b->transport && pilot_endpoint_equal_host (a, b);
}

gboolean
pilot_endpoint_equal_func (gconstpointer a,
                           gconstpointer b)
{
  return pilot_endpoint_equal (a, b);
}

guint
pilot_endpoint_hash (gconstpointer endpoint)
{
  const PilotEndpoint *e = endpoint;
  guint hash = 2166136261u;

  /* FNV-1a. Not keyed: whoever hashes endpoints that strangers choose must bound the table. */
  for (guint i = 0; i < sizeof e->address; i++)
    hash = (hash ^ e->address[i]) * 16777619u;
  hash = (hash ^ (e->port & 0xff)) * 16777619u;
  hash = (hash ^ (e->port >> 8)) * 16777619u;
  hash = (hash ^ e->family) * 16777619u;
  hash = (hash ^ e->transport) * 16777619u;
  return (hash ^ e->scope) * 16777619u;
}

gboolean
pilot_endpoint_is_none (const PilotEndpoint *endpoint)
{
  return endpoint->family == PILOT_ENDPOINT_NONE;
}

gboolean
pilot_endpoint_is_any (const PilotEndpoint *endpoint)
{
  static const guint8 zero[16];

  return endpoint->family != PILOT_ENDPOINT_NONE && memcmp (endpoint->address, zero, sizeof zero) == 0;
}

gboolean
pilot_endpoint_is_loopback (const PilotEndpoint *endpoint)
{
  static const guint8 loopback[16] = { [15] = 1 };

  if (endpoint->family == PILOT_ENDPOINT_IPV4)
    return endpoint->address[0] == 127;
  return endpoint->family == PILOT_ENDPOINT_IPV6 && memcmp (endpoint->address, loopback, sizeof loopback) == 0;
}

gboolean
pilot_endpoint_is_link_local (const PilotEndpoint *endpoint)
{
  const guint8 *a = endpoint->address;

  if (endpoint->family == PILOT_ENDPOINT_IPV4)
    return a[0] == 169 && a[1] == 254;
  return endpoint->family == PILOT_ENDPOINT_IPV6 && a[0] == 0xfe && (a[1] & 0xc0) == 0x80;
}

gboolean
pilot_endpoint_is_private (const PilotEndpoint *endpoint)
{
  const guint8 *a = endpoint->address;

  if (endpoint->family == PILOT_ENDPOINT_IPV4)
    return a[0] == 10 || (a[0] == 172 && (a[1] & 0xf0) == 16) || (a[0] == 192 && a[1] == 168) ||
           (a[0] == 100 && (a[1] & 0xc0) == 64);
  return endpoint->family == PILOT_ENDPOINT_IPV6 && (a[0] & 0xfe) == 0xfc;
}

gboolean
pilot_endpoint_is_multicast (const PilotEndpoint *endpoint)
{
  if (endpoint->family == PILOT_ENDPOINT_IPV4)
    return (endpoint->address[0] & 0xf0) == 224;
  return endpoint->family == PILOT_ENDPOINT_IPV6 && endpoint->address[0] == 0xff;
}

gboolean
pilot_endpoint_is_global_ipv6 (const PilotEndpoint *endpoint)
{
  return endpoint->family == PILOT_ENDPOINT_IPV6 && (endpoint->address[0] & 0xe0) == 0x20;
}
