/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/helper/subnet.h"

#include <arpa/inet.h>
#include <string.h>

#include "libpilot/pilot-error.h"

static guint32
prefix_mask (guint prefix)
{
  return prefix == 0 ? 0 : G_MAXUINT32 << (32 - prefix);
}

gboolean
pilot_ipv4_parse (const char *text, guint32 *address, GError **error)
{
  struct in_addr in;

  /* inet_pton() takes the dotted quad alone: no octal, no short forms. */
  if (text == NULL || inet_pton (AF_INET, text, &in) != 1) {
    g_autofree char *quoted = pilot_error_quote (text != NULL ? text : "", -1);

    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "\"%s\" is not an IPv4 address", quoted);
    return FALSE;
  }
  *address = ntohl (in.s_addr);
  return TRUE;
}

char *
pilot_ipv4_format (guint32 address, char buffer[PILOT_IPV4_TEXT_SIZE])
{
  g_snprintf (buffer, PILOT_IPV4_TEXT_SIZE, "%u.%u.%u.%u",
              address >> 24, (address >> 16) & 0xff, (address >> 8) & 0xff, address & 0xff);
  return buffer;
}

gboolean
pilot_ipv4_contains (const GArray *addresses, guint32 address)
{
  for (guint i = 0; i < addresses->len; i++)
    if (g_array_index (addresses, guint32, i) == address)
      return TRUE;
  return FALSE;
}

gboolean
pilot_subnet_parse_text (const char *text, PilotSubnet *subnet, GError **error)
{
  g_autofree char *quoted = pilot_error_quote (text != NULL ? text : "", -1);
  const char *slash = text != NULL ? strchr (text, '/') : NULL;
  g_autofree char *head = slash != NULL ? g_strndup (text, slash - text) : NULL;
  guint32 network;
  guint64 prefix;

  if (slash == NULL || !g_ascii_string_to_unsigned (slash + 1, 10, 8, 30, &prefix, NULL) ||
      !pilot_ipv4_parse (head, &network, NULL)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
                 "\"%s\" is not a subnet: write it as 10.4.0.0/16, with a length from 8 to 30", quoted);
    return FALSE;
  }
  if ((network & ~prefix_mask (prefix)) != 0) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
                 "subnet \"%s\" has bits set behind its length", quoted);
    return FALSE;
  }
  if (network >> 24 == 0 || network >> 28 >= 0xe) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
                 "subnet \"%s\" has no addresses for hosts", quoted);
    return FALSE;
  }
  *subnet = (PilotSubnet) { network, prefix };
  return TRUE;
}

char *
pilot_subnet_to_string (const PilotSubnet *subnet)
{
  char text[PILOT_IPV4_TEXT_SIZE];

  return g_strdup_printf ("%s/%u", pilot_ipv4_format (subnet->network, text), subnet->prefix);
}

gboolean
pilot_subnet_contains (const PilotSubnet *subnet, guint32 address)
{
  return (address & prefix_mask (subnet->prefix)) == subnet->network;
}

gboolean
pilot_subnet_overlaps (const PilotSubnet *subnet, guint32 address, guint prefix)
{
  guint32 mask = prefix_mask (MIN (subnet->prefix, prefix));

  return (address & mask) == (subnet->network & mask);
}

gboolean
pilot_subnet_check_host (const PilotSubnet *subnet, guint32 address, GError **error)
{
  g_autofree char *cidr = pilot_subnet_to_string (subnet);
  char text[PILOT_IPV4_TEXT_SIZE];

  pilot_ipv4_format (address, text);
  if (!pilot_subnet_contains (subnet, address)) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT, "address %s is not in subnet %s", text, cidr);
    return FALSE;
  }
  if (address == subnet->network || address == (subnet->network | ~prefix_mask (subnet->prefix)) ||
      (address & 0xff) == 0 || (address & 0xff) == 255 || address == INADDR_LOOPBACK) {
    g_set_error (error, PILOT_ERROR, PILOT_ERROR_INVALID_ARGUMENT,
                 "address %s of subnet %s cannot be given to a peer", text, cidr);
    return FALSE;
  }
  return TRUE;
}

gboolean
pilot_subnet_is_loopback (const PilotSubnet *subnet)
{
  return subnet->network >> 24 == 127;
}
