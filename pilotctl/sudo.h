/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "pilotctl/command.h"

G_BEGIN_DECLS

/* pilotctl as root on behalf of somebody. What root believes of that user's side is told in docs/privileges.md. */

/* TRUE when sudo runs us as root for another user. */
gboolean sudo_get_user (guint32 *uid);
/* (nullable): the variable @name, which names a program to run or a folder to write to. Not under sudo: the environment is then another's. */
const char *sudo_getenv (const char *name);
/* As root: gives every privilege up for good and goes on as @uid. What a user says of his files is then no matter of belief. Does nothing as anybody else. */
gboolean sudo_become (guint32 uid, GError **error);
/* Whether @folder, which may not be there yet, is ours to keep something in: root reads and writes in no folder of somebody else's, who can put a link in the way. */
gboolean sudo_check_folder (const char *folder, GError **error);

G_END_DECLS
