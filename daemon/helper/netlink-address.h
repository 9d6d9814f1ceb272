/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/helper/subnet.h"

G_BEGIN_DECLS

/*
 * Addresses on `lo`, over rtnetlink. Ours are known by a label ("lo:pilot1000"): RTM_DELADDR checks it, so a
 * foreign address can never be taken away by mistake. Every call opens and closes a socket of its own and waits only for the kernel.
 */

/* Label of an instance, ≤ 15 characters, one per uid. */
#define PILOT_LABEL_SIZE 16
char *pilot_netlink_label (guint32 uid, char buffer[PILOT_LABEL_SIZE]);

/* Adds @address/32 to lo. TRUE also when it is there already with our label; ALREADY_EXISTS when it is somebody else's;
 * PERMISSION_DENIED without CAP_NET_ADMIN. */
gboolean pilot_netlink_add_address (const char *label, guint32 address, GError **error);
/* NOT_FOUND when there is no such address with our label. */
gboolean pilot_netlink_remove_address (const char *label, guint32 address, GError **error);
/* (transfer full): guint32 addresses that carry the label. */
GArray *pilot_netlink_list_addresses (const char *label, GError **error);
/* CONFLICT naming the first address or route of this machine that overlaps the subnet; addresses with our label do not count. */
gboolean pilot_netlink_check_overlap (const char *label, const PilotSubnet *subnet, GError **error);
/* Brings lo up: a fresh network namespace has it down. */
gboolean pilot_netlink_set_loopback_up (GError **error);

G_END_DECLS
