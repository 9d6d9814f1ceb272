/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <pilot.h>

/* Keeps the rules of its class without a disk: what is "stored" is a table per state folder, kept for the life of the process. */
#define MOCK_TYPE_TRUST_STORE (mock_trust_store_get_type ())
G_DECLARE_FINAL_TYPE (MockTrustStore, mock_trust_store, MOCK, TRUST_STORE, PilotTrustStore)

/* The next flush fails as on a full disk. */
void mock_trust_store_fill_disk (MockTrustStore *self);
