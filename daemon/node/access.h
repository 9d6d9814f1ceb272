/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/*
 * PilotAccess: which TCP ports of this machine a trusted peer may reach (access.json). Trust is symmetric, access is not.
 * Keyed by node id AND key. A port specification is "all", "network", "none" or a list such as "22,80,8000-8100".
 * "network" = every port, but only servers bound to more than loopback (see the inbound bridge).
 *
 * Signal: "changed" (guint node), when it is durable.
 */
#define PILOT_TYPE_ACCESS (pilot_access_get_type ())
G_DECLARE_FINAL_TYPE (PilotAccess, pilot_access, PILOT, ACCESS, GObject)

typedef enum {
  PILOT_ACCESS_DENIED,
  PILOT_ACCESS_ALLOWED,
  PILOT_ACCESS_NETWORK_ONLY,
} PilotAccessVerdict;

/* @expose_default: what a bare approve means (configuration key expose-default). */
PilotAccess *pilot_access_new (const char *path, const char *expose_default);
gboolean pilot_access_load (PilotAccess *access, GError **error);
PilotAccessVerdict pilot_access_check (PilotAccess *access, guint32 node, const guint8 key[32], guint16 port);
/* @ports NULL = the configured default. On success @opened (transfer full) is the specification now in force. Durable before it returns;
 * FALSE leaves the old state whole. */
gboolean pilot_access_grant (PilotAccess *access, guint32 node, const guint8 *key, const char *ports, char **opened, GError **error);
/* @ports NULL = everything. */
gboolean pilot_access_revoke (PilotAccess *access, guint32 node, const char *ports, GError **error);
/* The specification in force for a node ("none" when there is none). Transfer full. */
char *pilot_access_describe (PilotAccess *access, guint32 node);
/* Validates a specification: INVALID_ARGUMENT naming the bad part. */
gboolean pilot_access_parse_ports (const char *ports, GError **error);

G_END_DECLS
