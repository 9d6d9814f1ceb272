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
/* Puts the table before every method of an interface. */
void pilot_authority_guard (GDBusInterfaceSkeleton *skeleton);

G_END_DECLS
