/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <pilot.h>

/* The plainest allocator that keeps the rules of its class: a table of 200 slots in 192.0.2.0/24. */
#define MOCK_TYPE_ALLOCATOR (mock_allocator_get_type ())
G_DECLARE_FINAL_TYPE (MockAllocator, mock_allocator, MOCK, ALLOCATOR, PilotAllocator)
