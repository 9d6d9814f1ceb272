/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>
#include <libmnl/libmnl.h>

G_BEGIN_DECLS

/* One question to the kernel over netlink, and its answer. Waits for the kernel alone. */
typedef struct mnl_socket PilotNetlink;
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotNetlink, mnl_socket_close)

/* @protocol: NETLINK_ROUTE and so on. NULL with errno set. */
PilotNetlink *pilot_netlink_open (int protocol);
/* Sends @message, which wants an acknowledgement or is a dump, and reads what comes back up to the end. @callback (nullable): for each message of the
 * answer. 0, or the errno that the kernel answered. */
int pilot_netlink_exchange (PilotNetlink *netlink, struct nlmsghdr *message, mnl_cb_t callback, gpointer user_data);
/* "cannot @what: …", with the PilotError that stands for an errno. */
void pilot_netlink_set_error (GError **error, int code, const char *what);

G_END_DECLS
