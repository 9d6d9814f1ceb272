/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

typedef enum {
  PILOT_AUTHORITY_DENIED, /* in no table: nobody */
  PILOT_AUTHORITY_ANYONE, /* status: every user of this machine */
  PILOT_AUTHORITY_OWNER,  /* the daemon's own user and root */
} PilotAuthority;

/* What a method demands. DENIED for anything the table does not name. */
PilotAuthority pilot_authority_lookup (const char *interface, const char *method);
/* Who may see the objects with this interface: their properties and signals too. DENIED for what is no object. */
PilotAuthority pilot_authority_lookup_object (const char *interface);
/* Whether the daemon's own user or root is at the other end of a private connection. FALSE for a message bus, where many are. */
gboolean pilot_authority_is_owner (GDBusConnection *connection);
/* Puts the table before every method of an interface. */
void pilot_authority_guard (GDBusInterfaceSkeleton *skeleton);

G_END_DECLS
