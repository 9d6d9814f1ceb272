/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <pilot.h>

G_BEGIN_DECLS

#define PILOT_TYPE_ALLOCATOR_SEQUENTIAL (pilot_allocator_sequential_get_type ())
G_DECLARE_FINAL_TYPE (PilotAllocatorSequential, pilot_allocator_sequential, PILOT, ALLOCATOR_SEQUENTIAL, PilotAllocator)

G_END_DECLS
