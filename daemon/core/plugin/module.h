/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "libpilot/pilot.h"

G_BEGIN_DECLS

/* Checks the folder: owned by root or this process's user, writable by nobody else. Returns a descriptor, -1 with an error. */
gint pilot_module_open_directory (const gchar *directory,
                                  GError **error);

/**
 * pilot_module_open:
 * @directory_fd: from pilot_module_open_directory()
 * @file_name: the file's name in that folder
 *
 * The checks in order: regular file, owner, mode; immediate and local binding; the symbol; magic; ABI; kind; name. Nothing of the module is
 * called but what the dynamic linker itself runs. The module stays resident if it could be opened at all.
 *
 * Returns: (transfer none) (nullable): the descriptor, which stays valid for ever
 */
const PilotPluginDescriptor *pilot_module_open (gint directory_fd,
                                                const gchar *file_name,
                                                GError **error);

/* The class function of the type and its check against the kind, then an object. The first call into the module. */
PilotPlugin *pilot_module_create (const PilotPluginDescriptor *descriptor,
                                  const gchar *state_dir,
                                  GVariant *settings,
                                  GError **error);

G_END_DECLS
