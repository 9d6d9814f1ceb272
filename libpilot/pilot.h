/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The one header a plugin includes. */

#include "pilot-address.h"
#include "pilot-allocator.h"
#include "pilot-endpoint.h"
#include "pilot-error.h"
#include "pilot-file.h"
#include "pilot-json.h"
#include "pilot-macros.h"
#include "pilot-plugin.h"
#include "pilot-proxy.h"
#include "pilot-tls.h"
#include "pilot-transport.h"
#include "pilot-trust-store.h"
