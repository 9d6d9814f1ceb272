/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/helper/privileged.h"

G_BEGIN_DECLS

/* PilotPrivileged in this process, with the capabilities it has. */
#define PILOT_TYPE_PRIVILEGED_LOCAL (pilot_privileged_local_get_type ())
G_DECLARE_FINAL_TYPE (PilotPrivilegedLocal, pilot_privileged_local, PILOT, PRIVILEGED_LOCAL, GObject)

PilotPrivileged *pilot_privileged_local_new (guint32 uid, const PilotSubnet *subnet);

G_END_DECLS
