/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "trust-file.h"

PILOT_PLUGIN_DEFINE (PILOT_PLUGIN_KIND_TRUST_STORE, "trust-file", "trust.json as the Go daemon writes it",
                     pilot_trust_file_get_type)
