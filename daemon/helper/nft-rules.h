/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/helper/subnet.h"

G_BEGIN_DECLS

/*
 * The one nftables table of an instance ("ip pilot_1000"). Its text is built here from typed values; nobody hands in text. It is
 * always replaced as a whole, in one transaction, and deleted as a whole.
 */

/* What is redirected for one mapped address. */
typedef struct {
  guint32 address; /* host byte order */
  gboolean every_port;
  gboolean silent; /* refuse new connections: the peer is known to be dead */
  GArray *ports;   /* guint16; not used with every_port */
} PilotRedirect;

PilotRedirect *pilot_redirect_new (guint32 address, gboolean every_port);
void pilot_redirect_free (PilotRedirect *redirect);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotRedirect, pilot_redirect_free)

/* Bounds of one table, so that a client cannot make the kernel hold more. */
#define PILOT_REDIRECTS_MAX 4096
#define PILOT_REDIRECT_ELEMENTS_MAX 65536

/* (transfer full): the table's commands. @listener: port on 127.0.0.1 that gets the connections; 0 = nobody listens, refuse all. */
char *pilot_nft_rules_format (guint32 uid, guint16 listener, const GPtrArray *redirects);
/* Replaces the table. NOT_SUPPORTED where the kernel has no nftables (or not what the rules use), PERMISSION_DENIED without CAP_NET_ADMIN. */
gboolean pilot_nft_rules_apply (guint32 uid, guint16 listener, const GPtrArray *redirects, GError **error);
/* Deletes the table. *@found (nullable) becomes TRUE when there was one. No table is no error, nor is a kernel without nftables; anything else that is in the way
 * is one: PERMISSION_DENIED without CAP_NET_ADMIN, IO. */
gboolean pilot_nft_rules_clear (guint32 uid, gboolean *found, GError **error);

G_END_DECLS
