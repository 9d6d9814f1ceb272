/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* An IPv4 subnet and the addresses in it, all in host byte order. A plain value: copy it. */
typedef struct {
  guint32 network;
  guint prefix;
} PilotSubnet;

#define PILOT_IPV4_TEXT_SIZE 16

/* Strict "A.B.C.D/LENGTH" without host bits; LENGTH 8 to 30; no multicast, no 0.0.0.0/8. INVALID_ARGUMENT. */
gboolean pilot_subnet_parse_text (const char *text, PilotSubnet *subnet, GError **error);
/* (transfer full) */
char *pilot_subnet_to_string (const PilotSubnet *subnet);
/* Any address whatever inside it. */
gboolean pilot_subnet_contains (const PilotSubnet *subnet, guint32 address);
/* An address that may be given to a peer: inside, and neither the network's nor the broadcast address, nor .0 or .255. INVALID_ARGUMENT. */
gboolean pilot_subnet_check_host (const PilotSubnet *subnet, guint32 address, GError **error);
/* Do the two share an address? */
gboolean pilot_subnet_overlaps (const PilotSubnet *subnet, guint32 address, guint prefix);
/* Inside 127.0.0.0/8: those addresses are there without being added, and no neighbour can reach them. */
gboolean pilot_subnet_is_loopback (const PilotSubnet *subnet);

/* Strict dotted quad. INVALID_ARGUMENT. */
gboolean pilot_ipv4_parse (const char *text, guint32 *address, GError **error);
/* Is it one of an array of guint32? */
gboolean pilot_ipv4_contains (const GArray *addresses, guint32 address);
char *pilot_ipv4_format (guint32 address, char buffer[PILOT_IPV4_TEXT_SIZE]);

G_END_DECLS
