/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

#include "pilot-address.h"
#include "pilot-plugin.h"

G_BEGIN_DECLS

#define PILOT_TYPE_ALLOCATOR (pilot_allocator_get_type ())
PILOT_API
G_DECLARE_DERIVABLE_TYPE (PilotAllocator, pilot_allocator, PILOT, ALLOCATOR, PilotPlugin)

/**
 * PilotAllocatorClass:
 * @allocate: (transfer full): gives @address a local IP, @wanted if not NULL. An address that has one already gets the same again,
 *   unless another is wanted. Errors: PILOT_ERROR_INVALID_ARGUMENT (@wanted is outside the subnet or never given),
 *   PILOT_ERROR_ALREADY_EXISTS (@wanted is in use, or @address has another), PILOT_ERROR_EXHAUSTED
 * @release: takes it back. PILOT_ERROR_NOT_FOUND if @address has none
 * @restore: claims for @address the IP it had in an earlier run. Errors as @allocate with @local wanted
 * @set_subnet: takes a subnet the base class has found well formed. PILOT_ERROR_INVALID_ARGUMENT when it does not suit (too small,
 *   other family), PILOT_ERROR_BUSY while an IP outside of it is given out. May be NULL: the subnet is fixed
 * @get_subnet: (transfer none): CIDR text, as "10.4.0.0/16"
 *
 * Says which local IP a pilot address gets, and nothing else: it opens no socket, adds no address, and stores nothing. The host keeps
 * the mappings and hands them back with @restore after a restart.
 */
struct _PilotAllocatorClass {
  PilotPluginClass parent_class;

  GInetAddress *(*allocate) (PilotAllocator *self,
                             const PilotAddress *address,
                             GInetAddress *wanted,
                             GError **error);
  gboolean (*release) (PilotAllocator *self,
                       const PilotAddress *address,
                       GError **error);
  gboolean (*restore) (PilotAllocator *self,
                       const PilotAddress *address,
                       GInetAddress *local,
                       GError **error);
  gboolean (*set_subnet) (PilotAllocator *self,
                          GInetAddressMask *subnet,
                          GError **error);
  const gchar *(*get_subnet) (PilotAllocator *self);

  gpointer padding[8];
};

/* For the host. See the class for what each does. */
PILOT_API GInetAddress *pilot_allocator_allocate (PilotAllocator *self,
                                                  const PilotAddress *address,
                                                  GInetAddress *wanted,
                                                  GError **error);
PILOT_API gboolean pilot_allocator_release (PilotAllocator *self,
                                            const PilotAddress *address,
                                            GError **error);
PILOT_API gboolean pilot_allocator_restore (PilotAllocator *self,
                                            const PilotAddress *address,
                                            GInetAddress *local,
                                            GError **error);
/* Also the property "subnet" (read-only, notifies). `cidr` must be strict "ADDRESS/LENGTH" without host bits. */
PILOT_API gboolean pilot_allocator_set_subnet (PilotAllocator *self,
                                               const gchar *cidr,
                                               GError **error);
/* Never NULL from a sound allocator. */
PILOT_API const gchar *pilot_allocator_get_subnet (PilotAllocator *self);

/* (transfer full) (nullable): what "10.4.0.0/16" means, or NULL with PILOT_ERROR_INVALID_ARGUMENT. */
PILOT_API GInetAddressMask *pilot_subnet_parse (const gchar *cidr,
                                                GError **error);

G_END_DECLS
