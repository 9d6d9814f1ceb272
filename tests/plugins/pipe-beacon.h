/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/plugin-check/check.h"

G_BEGIN_DECLS

/* A beacon for the conformance suite, in the thread's main context: TLS with a certificate of its own, the login as the notes have it, and then
 * everything a client sends goes to all others, as it is. */
typedef struct _PipeBeacon PipeBeacon;

PipeBeacon *pipe_beacon_new (void);
void pipe_beacon_free (PipeBeacon *beacon);
const gchar *pipe_beacon_get_url (PipeBeacon *beacon);
const gchar *pipe_beacon_get_fingerprint (PipeBeacon *beacon);
/* Ends every connection, as a restart does. */
void pipe_beacon_drop_all (PipeBeacon *beacon);
/* Says goodbye to every connection (RFC 6455 section 7), as a beacon does that is shut down in order. */
void pipe_beacon_close_all (PipeBeacon *beacon);
/* From now on every login is refused. */
void pipe_beacon_set_refuse (PipeBeacon *beacon,
                             gboolean refuse);
/* The challenge is sent without "ts", as old beacons do. */
void pipe_beacon_set_old (PipeBeacon *beacon,
                          gboolean old);

/* This is sent in the place of the challenge; NULL: a challenge again. */
void pipe_beacon_set_greeting (PipeBeacon *beacon,
                               const gchar *greeting);

/* A prover for pilot_transport_set_prover(): node 893. */
gboolean pipe_beacon_prove (PilotTransport *transport,
                            const gchar *challenge,
                            PilotTransportProof *proof,
                            gpointer user_data,
                            GError **error);

/* A beacon for the tests of a relay; `pipe_beacon` is the one of the test that runs. */
extern const CheckRelay pipe_beacon_relay;
extern PipeBeacon *pipe_beacon;

G_END_DECLS
