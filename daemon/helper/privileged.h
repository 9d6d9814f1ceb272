/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

#include "daemon/helper/nft-rules.h"

G_BEGIN_DECLS

/*
 * PilotPrivileged: what the gateway needs of a privilege. In process (PilotPrivilegedLocal) where the daemon holds the capabilities,
 * else pilot-helper over a private D-Bus socket (PilotPrivilegedRemote).
 *
 * The class functions wait (for the kernel, or for the helper's answer), so the daemon calls none of them in its loop: it hands a
 * plan to pilot_privileged_apply_async(), which works it off in a thread. One plan at a time.
 */
#define PILOT_TYPE_PRIVILEGED (pilot_privileged_get_type ())
G_DECLARE_INTERFACE (PilotPrivileged, pilot_privileged, PILOT, PRIVILEGED, GObject)

struct _PilotPrivilegedInterface {
  GTypeInterface parent_iface;

  gboolean (*check_overlap) (PilotPrivileged *self, GError **error);
  gboolean (*add_address) (PilotPrivileged *self, guint32 address, GError **error);
  gboolean (*remove_address) (PilotPrivileged *self, guint32 address, GError **error);
  GArray *(*list_addresses) (PilotPrivileged *self, GError **error);
  gboolean (*set_rules) (PilotPrivileged *self, const GPtrArray *redirects, GError **error);
  int (*open_listener) (PilotPrivileged *self, guint32 address, guint16 port, GError **error);
  int (*open_redirect_listener) (PilotPrivileged *self, guint16 *port, GError **error);
  /* Removes everything of ours; @quit: nothing more will be wanted, the helper may end. */
  gboolean (*cleanup) (PilotPrivileged *self, gboolean quit, GError **error);
  gboolean (*is_alive) (PilotPrivileged *self);
};

/* One listener wanted, and what became of it. */
typedef struct {
  guint32 address;
  guint16 port;
  int fd; /* -1 = failed, or taken by the caller */
  GError *error;
} PilotListenRequest;

/*
 * PilotPrivilegedPlan: one change, all or nothing, in this order: overlap check, addresses, listeners, redirect listener, rules,
 * removals. A listener that cannot be opened fails alone (its @error says why). When a step fails the steps before are undone
 * (addresses that this plan itself added are removed, sockets closed).
 */
typedef struct {
  gboolean check_overlap;
  GArray *add;            /* guint32 */
  GPtrArray *listeners;   /* PilotListenRequest* */
  GArray *require;        /* guint32: the plan fails when every listener wanted on such an address failed */
  gboolean want_redirect; /* open the redirect listener */
  int redirect_fd;        /* out; -1, or taken by the caller */
  guint16 redirect_port;  /* out */
  gboolean set_rules;
  GPtrArray *redirects;   /* PilotRedirect*: the whole table */
  GArray *remove;         /* guint32; missing ones are no error */
  gboolean remove_strays; /* also what carries our label and is not in @add */
} PilotPrivilegedPlan;

PilotPrivilegedPlan *pilot_privileged_plan_new (void);
void pilot_privileged_plan_free (PilotPrivilegedPlan *plan);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PilotPrivilegedPlan, pilot_privileged_plan_free)
void pilot_privileged_plan_add_listener (PilotPrivilegedPlan *plan, guint32 address, guint16 port);

/* Takes the plan and gives it back, filled, in finish (NULL on error). */
void pilot_privileged_apply_async (PilotPrivileged *self, PilotPrivilegedPlan *plan, GCancellable *cancellable,
                                   GAsyncReadyCallback callback, gpointer user_data);
PilotPrivilegedPlan *pilot_privileged_apply_finish (PilotPrivileged *self, GAsyncResult *result, GError **error);
void pilot_privileged_cleanup_async (PilotPrivileged *self, gboolean quit, GCancellable *cancellable,
                                     GAsyncReadyCallback callback, gpointer user_data);
gboolean pilot_privileged_cleanup_finish (PilotPrivileged *self, GAsyncResult *result, GError **error);
/* FALSE when the helper has gone: look for another one. */
gboolean pilot_privileged_is_alive (PilotPrivileged *self);

/* Worked off in the calling thread. For tests and the functions above. */
gboolean pilot_privileged_apply (PilotPrivileged *self, PilotPrivilegedPlan *plan, GError **error);

/*
 * Finds who does the work for this process inside @subnet: in process with CAP_NET_ADMIN; else the helper at @socket (NULL:
 * /run/pilot-helper/UID.sock), for a system service the helper on the system bus; else, for a 127.x subnet, in process with what
 * an ordinary user may do. PERMISSION_DENIED with the remedy as hint when there is nobody; CONFLICT when the helper serves another subnet.
 */
void pilot_privileged_find_async (const char *subnet, const char *socket, GCancellable *cancellable,
                                  GAsyncReadyCallback callback, gpointer user_data);
PilotPrivileged *pilot_privileged_find_finish (GAsyncResult *result, GError **error);

G_END_DECLS
