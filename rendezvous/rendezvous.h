/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "rendezvous/beacon.h"
#include "rendezvous/compat.h"
#include "rendezvous/server.h"
#include "rendezvous/store.h"

G_BEGIN_DECLS

/**
 * PilotRendezvous:
 *
 * Registry and beacon over one store: makes the parts, joins them, and runs their timers in the thread's default main context.
 */
typedef struct _PilotRendezvous PilotRendezvous;

typedef struct
{
  PilotEndpoint registry;       /* where to listen; port 0: any */
  PilotEndpoint registry_plain; /* a second listener without TLS; PILOT_ENDPOINT_NONE for none */
  PilotEndpoint beacon;
  PilotEndpoint compat;       /* beacon and registry over TLS on one port, for nodes without UDP; needs `tls`. NONE for none */
  PilotEndpoint compat_plain; /* the same in clear text, behind a TLS front */
  PilotTls *tls;              /* borrowed; NULL: plain TCP */
  gboolean reference_consent;
  gboolean beacon_open;        /* serve ids that the registry does not know */
  guint stale_threshold;       /* seconds without a heartbeat until a node is taken out */
  PilotServiceOptions service; /* beacon_port and created are filled in; strings are borrowed */
  PilotServerLimits server;
  PilotBeaconLimits beacon_limits;
  PilotCompatLimits compat_limits;
  gint64 (*now) (void); /* NULL: the real time */
} PilotRendezvousOptions;

/* Reference values. The caller sets addresses, and whatever it wants otherwise. */
void pilot_rendezvous_options_init (PilotRendezvousOptions *options);

/* Called once, when state and store have come apart and it cannot go on. */
typedef void (*PilotRendezvousFailed) (const GError *error,
                                       gpointer user_data);

/* (transfer full): listening. `store` is borrowed; `options` are copied. */
PilotRendezvous *pilot_rendezvous_new (PilotStore *store,
                                       const PilotRendezvousOptions *options,
                                       PilotRendezvousFailed failed,
                                       gpointer user_data,
                                       GError **error);
/* Ends everything and saves what is not saved yet; FALSE when that failed. */
gboolean pilot_rendezvous_close (PilotRendezvous *rendezvous,
                                 GError **error);
/* The addresses as bound. */
void pilot_rendezvous_get_registry (PilotRendezvous *rendezvous,
                                    PilotEndpoint *address);
void pilot_rendezvous_get_registry_plain (PilotRendezvous *rendezvous,
                                          PilotEndpoint *address);
void pilot_rendezvous_get_beacon (PilotRendezvous *rendezvous,
                                  PilotEndpoint *address);
void pilot_rendezvous_get_compat (PilotRendezvous *rendezvous,
                                  PilotEndpoint *address);
void pilot_rendezvous_get_compat_plain (PilotRendezvous *rendezvous,
                                        PilotEndpoint *address);
/* Borrowed; for tests. */
PilotDirectory *pilot_rendezvous_get_directory (PilotRendezvous *rendezvous);
PilotServer *pilot_rendezvous_get_server (PilotRendezvous *rendezvous);
PilotBeacon *pilot_rendezvous_get_beacon_object (PilotRendezvous *rendezvous);
/* NULL without a compat address. */
PilotCompat *pilot_rendezvous_get_compat_object (PilotRendezvous *rendezvous);

G_END_DECLS
