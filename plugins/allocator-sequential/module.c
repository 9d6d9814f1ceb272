/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "allocator-sequential.h"

PILOT_PLUGIN_DEFINE (PILOT_PLUGIN_KIND_ALLOCATOR, "allocator-sequential", "the next free address of a subnet: 10.4.0.1, 10.4.0.2, …",
                     pilot_allocator_sequential_get_type)
