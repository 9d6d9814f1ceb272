/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/**
 * PILOT_API:
 *
 * Marks a symbol as part of the stable interface. Everything else in libpilot is hidden.
 */
#define PILOT_API __attribute__ ((visibility ("default"))) extern
