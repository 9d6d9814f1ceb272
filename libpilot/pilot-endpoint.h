/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>
#include <sys/socket.h>

#include "pilot-macros.h"

G_BEGIN_DECLS

enum {
  PILOT_ENDPOINT_NONE = 0,
  PILOT_ENDPOINT_IPV4 = 4,
  PILOT_ENDPOINT_IPV6 = 6,
};

/* Where a datagram goes to or came from, as a plain value. An IPv4-mapped IPv6 address is always stored as IPv4, with the
 * address in the first four bytes and zeros behind, so that equal endpoints are equal bytes. */
typedef struct
{
  guint8 family;      /* PILOT_ENDPOINT_NONE, _IPV4, _IPV6 */
  guint8 transport;   /* the host's index of the transport it belongs to; 0 for the first. A plugin copies it and never reads it */
  guint16 port;       /* host byte order */
  guint8 address[16]; /* network byte order */
  guint32 scope;      /* interface index of a link-local IPv6 address, else 0 */
} PilotEndpoint;

#define PILOT_ENDPOINT_INIT \
  {                         \
    0                       \
  }
/* Room for the longest text "[address%scope]:port" with the final zero. */
#define PILOT_ENDPOINT_TEXT_SIZE 80

/* "1.2.3.4:5" or "[2001:db8::1]:5": literal addresses only, no name is looked up. Port 0 is allowed (bind to any).
 * Errors are PILOT_ERROR_INVALID_ARGUMENT. */
PILOT_API gboolean pilot_endpoint_parse (const gchar *text,
                                         PilotEndpoint *endpoint,
                                         GError **error);
/* Writes the text into `buffer` and returns it; "none" for PILOT_ENDPOINT_NONE. */
PILOT_API gchar *pilot_endpoint_format (const PilotEndpoint *endpoint,
                                        gchar buffer[PILOT_ENDPOINT_TEXT_SIZE]);
PILOT_API gchar *pilot_endpoint_to_string (const PilotEndpoint *endpoint);

/* FALSE (and family NONE) for a family that is neither IPv4 nor IPv6, or a length too short for it. Sets transport to 0. */
PILOT_API gboolean pilot_endpoint_from_sockaddr (PilotEndpoint *endpoint,
                                                 const struct sockaddr *address,
                                                 socklen_t length);
/* Returns the length written, 0 for PILOT_ENDPOINT_NONE. With `map_ipv4` an IPv4 address is written as IPv4-mapped IPv6,
 * which is what a dual-stack socket wants. */
PILOT_API socklen_t pilot_endpoint_to_sockaddr (const PilotEndpoint *endpoint,
                                                gboolean map_ipv4,
                                                struct sockaddr_storage *address);

/* All fields count, the transport too. */
PILOT_API gboolean pilot_endpoint_equal (const PilotEndpoint *a,
                                         const PilotEndpoint *b);
/* Same address (and scope), any port. */
PILOT_API gboolean pilot_endpoint_equal_host (const PilotEndpoint *a,
                                              const PilotEndpoint *b);
PILOT_API gboolean pilot_endpoint_equal_func (gconstpointer a,
                                              gconstpointer b);
PILOT_API guint pilot_endpoint_hash (gconstpointer endpoint);
PILOT_API gboolean pilot_endpoint_is_none (const PilotEndpoint *endpoint);
/* 0.0.0.0 or ::. */
PILOT_API gboolean pilot_endpoint_is_any (const PilotEndpoint *endpoint);
PILOT_API gboolean pilot_endpoint_is_loopback (const PilotEndpoint *endpoint);
PILOT_API gboolean pilot_endpoint_is_link_local (const PilotEndpoint *endpoint);
/* RFC 1918, RFC 6598 (carrier NAT), RFC 4193. Neither loopback nor link-local. */
PILOT_API gboolean pilot_endpoint_is_private (const PilotEndpoint *endpoint);
PILOT_API gboolean pilot_endpoint_is_multicast (const PilotEndpoint *endpoint);
/* Of 2000::/3, the IPv6 addresses given out for use on the internet (RFC 4291 section 2.4, IANA). FALSE for IPv4. */
PILOT_API gboolean pilot_endpoint_is_global_ipv6 (const PilotEndpoint *endpoint);

G_END_DECLS
