/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

#include "protocol/identity.h"

G_BEGIN_DECLS

/**
 * pilot_identity_file_open:
 * @path: where identity.json is, or is to be
 * @identity: (out): the key pair; wipe it with pilot_identity_clear()
 * @created: (out) (nullable): whether a new one was made
 *
 * Reads the identity of this node, or makes one (file 0600 in a folder 0700, durable before this returns). A file that others can read is
 * PILOT_ERROR_PERMISSION_DENIED, one that makes no sense PILOT_ERROR_CORRUPT; both are left untouched: an identity is never replaced, it is
 * what peers trust.
 */
gboolean pilot_identity_file_open (const char *path, PilotIdentity *identity, gboolean *created, GError **error);

G_END_DECLS
