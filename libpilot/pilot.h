/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The one header a plugin includes. */

#include "pilot-address.h"
#include "pilot-endpoint.h"
#include "pilot-error.h"
#include "pilot-macros.h"
