/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

#include "pilot-macros.h"

G_BEGIN_DECLS

/* A virtual address of the overlay: 48 bits (protocol notes, packets-and-tunnel.md section 1). A plain value: copy it. */
typedef struct
{
  guint16 network;
  guint32 node;
} PilotAddress;

#define PILOT_ADDRESS_INIT \
  {                        \
    0, 0                   \
  }
#define PILOT_NODE_BROADCAST G_MAXUINT32

/* Bytes on the wire. */
#define PILOT_ADDRESS_SIZE 6
/* Room for the longest text of an address, and of a socket address, with the final zero. */
#define PILOT_ADDRESS_TEXT_SIZE 24
#define PILOT_SOCKET_ADDRESS_TEXT_SIZE 32

/* "N:NNNN.HHHH.LLLL". Errors are PILOT_ERROR_INVALID_ARGUMENT in the words of section 1.3; on error `address` is left alone. */
PILOT_API gboolean pilot_address_parse (const gchar *text,
                                        PilotAddress *address,
                                        GError **error);

/* What a command accepts: the full text, or a bare decimal node id, which means that node on network 0. */
PILOT_API gboolean pilot_address_parse_cli (const gchar *text,
                                            PilotAddress *address,
                                            GError **error);

/* "N:NNNN.HHHH.LLLL:PORT". */
PILOT_API gboolean pilot_address_parse_socket (const gchar *text,
                                               PilotAddress *address,
                                               guint16 *port,
                                               GError **error);

/* Writes the text into `buffer` and returns it. Allocates nothing. */
PILOT_API gchar *pilot_address_format (const PilotAddress *address,
                                       gchar buffer[PILOT_ADDRESS_TEXT_SIZE]);
PILOT_API gchar *pilot_address_format_socket (const PilotAddress *address,
                                              guint16 port,
                                              gchar buffer[PILOT_SOCKET_ADDRESS_TEXT_SIZE]);

/* (transfer full): the text as a new string. */
PILOT_API gchar *pilot_address_to_string (const PilotAddress *address);

/* The six bytes of the wire, big endian. */
PILOT_API void pilot_address_pack (const PilotAddress *address,
                                   guint8 bytes[PILOT_ADDRESS_SIZE]);
PILOT_API void pilot_address_unpack (const guint8 bytes[PILOT_ADDRESS_SIZE],
                                     PilotAddress *address);

PILOT_API gboolean pilot_address_equal (const PilotAddress *a,
                                        const PilotAddress *b);
/* For GHashTable; takes PilotAddress pointers. */
PILOT_API gboolean pilot_address_equal_func (gconstpointer a,
                                             gconstpointer b);
PILOT_API guint pilot_address_hash (gconstpointer address);
PILOT_API gboolean pilot_address_is_zero (const PilotAddress *address);
PILOT_API gboolean pilot_address_is_broadcast (const PilotAddress *address);

G_END_DECLS
