/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <pilot.h>

G_BEGIN_DECLS

#define PILOT_TYPE_TRUST_FILE (pilot_trust_file_get_type ())
G_DECLARE_FINAL_TYPE (PilotTrustFile, pilot_trust_file, PILOT, TRUST_FILE, PilotTrustStore)

G_END_DECLS
